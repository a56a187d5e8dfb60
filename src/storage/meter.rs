//! Counts what a download has moved, and shows it a few times a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::progress::{Observer, Progress};

const PERIOD: Duration = Duration::from_millis(100);

/// Counts the bytes and files of one download; all its threads share it.
pub(super) struct Meter {
    observer: Observer,
    /// The files and bytes that the master has on record.
    totals: Option<(u64, u64)>,
    state: Mutex<State>,
}

struct State {
    progress: Progress,
    shown: Option<Instant>,
}

impl Meter {
    /// `totals` are the files and bytes that the master has on record.
    pub(super) fn new(observer: Observer, totals: Option<(u64, u64)>) -> Self {
        let meter = Self {
            observer,
            totals,
            state: Mutex::new(State {
                progress: Progress::default(),
                shown: None,
            }),
        };
        set_totals(&mut meter.lock().progress, totals);
        meter
    }

    /// The storage itself says how much there is.
    #[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
    pub(super) fn expect(&self, files: u64, bytes: u64) {
        self.change(|progress| set_totals(progress, Some((files, bytes))));
    }

    pub(super) fn add_bytes(&self, count: u64) {
        self.change(|progress| progress.bytes_done += count);
    }

    pub(super) fn add_file(&self) {
        self.change(|progress| progress.files_done += 1);
    }

    /// Back to nothing, because the download begins anew in another way.
    pub(super) fn restart(&self) {
        self.change(|progress| {
            (progress.bytes_done, progress.files_done) = (0, 0);
            set_totals(progress, self.totals);
        });
    }

    /// Shows the last state, whenever the one before was shown.
    pub(super) fn finish(&self) {
        let mut state = self.lock();
        state.shown = None;
        self.show(&mut state);
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        let mut state = self.lock();
        change(&mut state.progress);
        self.show(&mut state);
    }

    /// The lock is held while the observer looks, so that it is never called twice at the same time.
    fn show(&self, state: &mut State) {
        if state.shown.is_some_and(|at| at.elapsed() < PERIOD) {
            return;
        }
        let progress = &mut state.progress;
        progress.fraction = match progress.bytes_total {
            Some(0) => Some(1.0),
            Some(total) => Some((progress.bytes_done as f64 / total as f64).min(1.0)),
            None => None,
        };
        self.observer.show(progress);
        state.shown = Some(Instant::now());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn set_totals(progress: &mut Progress, totals: Option<(u64, u64)>) {
    progress.files_total = totals.map(|(files, _)| files);
    progress.bytes_total = totals.map(|(_, bytes)| bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_end_is_always_shown_and_what_lies_between_only_now_and_then() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let meter = Meter::new(
            Observer::new(move |progress: &Progress| log.lock().unwrap().push(progress.clone())),
            Some((2, 200)),
        );
        for _ in 0..100 {
            meter.add_bytes(2);
        }
        meter.add_file();
        meter.add_file();
        meter.finish();
        let seen = seen.lock().unwrap();
        assert!(seen.len() < 50, "{}", seen.len());
        let last = seen.last().unwrap();
        assert_eq!((last.bytes_done, last.files_done), (200, 2));
        assert_eq!(last.fraction, Some(1.0));
    }

    #[test]
    fn without_totals_there_is_no_fraction() {
        let seen = Arc::new(Mutex::new(None));
        let log = Arc::clone(&seen);
        let meter = Meter::new(
            Observer::new(move |progress: &Progress| *log.lock().unwrap() = Some(progress.clone())),
            None,
        );
        meter.add_bytes(5);
        let seen = seen.lock().unwrap().clone().unwrap();
        assert_eq!((seen.bytes_done, seen.fraction), (5, None));
    }
}
