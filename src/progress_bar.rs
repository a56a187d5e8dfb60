//! Bars on the terminal, for the `on_progress` of a long call.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::sealed::Bar;
use crate::experiment::WaitProgress;
use crate::progress::Progress;

/// The steps of a bar that knows only a fraction.
const STEPS: f64 = 1000.0;

/// What a [`progress_bar`] can show: the [`Progress`] of an upload or a download, and the [`WaitProgress`] of a wait.
pub trait Measurable: sealed::Draw {}

impl Measurable for Progress {}
impl Measurable for WaitProgress {}

mod sealed {
    use indicatif::ProgressBar;

    pub trait Draw {
        fn show_on(&self, bar: &Bar);
    }

    /// A bar that is left as it is when the call drops it. No type of indicatif is to be seen outside.
    pub struct Bar(pub(super) ProgressBar);

    impl Drop for Bar {
        fn drop(&mut self) {
            self.0.abandon();
        }
    }
}

/// A bar on the standard error output, if that is a terminal: give it to the `on_progress` of a call. Elsewhere nothing is shown.
///
/// It is green where the terminal has colours and `NO_COLOR` is not set, and stays on the terminal when the call has ended.
///
/// ```
/// use determined::{DownloadOptions, WaitOptions, progress_bar};
///
/// # let master = determined::testing::MockMaster::start();
/// # let experiment = master.experiment().create();
/// # let directory = tempfile::tempdir().expect("a temporary directory");
/// experiment.wait_with(WaitOptions::new().on_progress(progress_bar("wait")))?;
/// let best = experiment.top_checkpoint()?;
/// # let path = directory.path().join("best");
/// best.download_with(DownloadOptions::new().path(path).on_progress(progress_bar("download")))?;
/// # Ok::<(), determined::Error>(())
/// ```
pub fn progress_bar<E: Measurable>(
    label: impl Into<String>,
) -> impl Fn(&E) + Send + Sync + 'static {
    show_on(bar(label.into(), ProgressDrawTarget::stderr()))
}

fn bar(label: String, target: ProgressDrawTarget) -> ProgressBar {
    ProgressBar::with_draw_target(None, target)
        .with_prefix(label)
        .with_style(style("{prefix:8} {spinner} {bytes} {msg}"))
}

fn show_on<E: Measurable>(bar: ProgressBar) -> impl Fn(&E) + Send + Sync + 'static {
    let bar = Bar(bar);
    move |event| event.show_on(&bar)
}

impl sealed::Draw for Progress {
    fn show_on(&self, Bar(bar): &Bar) {
        if bar.length() != self.bytes_total {
            match self.bytes_total {
                Some(total) => {
                    bar.set_style(style(
                        "{prefix:8} [{bar:30.green}] {bytes}/{total_bytes} {bytes_per_sec} {msg}",
                    ));
                    bar.set_length(total);
                }
                None => bar.unset_length(),
            }
        }
        if let Some(files) = self.files_total {
            bar.set_message(format!("{}/{files} files", self.files_done));
        }
        bar.set_position(self.bytes_done);
    }
}

impl sealed::Draw for WaitProgress {
    fn show_on(&self, Bar(bar): &Bar) {
        if bar.length().is_none() {
            bar.set_style(style("{prefix:8} [{bar:30.green}] {percent:>3} % {msg}"));
            bar.set_length(STEPS as u64);
        }
        bar.set_message(self.state.to_string());
        // From 0 to 1, so that no rounding matters.
        bar.set_position((self.progress.unwrap_or(0.0) * STEPS) as u64);
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants of this file, and its tests draw with each.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use indicatif::TermLike;

    use super::*;
    use crate::experiment::ExperimentState;

    /// A terminal that remembers what was written.
    #[derive(Debug, Clone, Default)]
    struct Paper(Arc<Mutex<String>>);

    impl TermLike for Paper {
        fn width(&self) -> u16 {
            120
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn drawn<E: Measurable>(events: &[E]) -> String {
        let paper = Paper::default();
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(paper.clone()), 255);
        let show = show_on(bar("label".to_owned(), target));
        for event in events {
            show(event);
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(show);
        let text = paper.0.lock().unwrap().clone();
        assert!(text.contains("label"), "{text}");
        assert!(!text.contains("{"), "{text}");
        text
    }

    #[test]
    fn a_download_shows_bytes_and_files() {
        let at = |bytes_done, files_done| Progress {
            fraction: None,
            bytes_done,
            bytes_total: Some(2048),
            files_done,
            files_total: Some(2),
        };
        let text = drawn(&[at(0, 0), at(1024, 1), at(2048, 2)]);
        assert!(text.contains("2.00 KiB/2.00 KiB"), "{text}");
        assert!(text.contains("2/2 files"), "{text}");
        assert!(text.contains("[==============================]"), "{text}");
    }

    #[test]
    fn a_download_of_unknown_size_shows_what_has_come() {
        let progress = Progress {
            bytes_done: 1024,
            ..Progress::default()
        };
        assert!(drawn(&[progress]).contains("1.00 KiB"));
    }

    #[test]
    fn a_wait_shows_the_state_and_how_far_it_is() {
        let at = |state, progress| WaitProgress {
            state,
            progress,
            elapsed: Duration::ZERO,
        };
        let text = drawn(&[
            at(ExperimentState::Running, None),
            at(ExperimentState::Running, Some(0.5)),
            at(ExperimentState::Completed, Some(1.0)),
        ]);
        assert!(text.contains(" 50 % RUNNING"), "{text}");
        assert!(text.contains("100 % COMPLETED"), "{text}");
    }
}
