//! A button that ends a long call from another thread.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};

/// Ends a wait, a followed log, a download or a submission from another thread, within a second.
///
/// Clones share one button: give a clone to the options of a call, keep one, and [`cancel`](Self::cancel) when the time has come.
/// The call then returns an error of the kind [`ErrorKind::Cancelled`]. A token stays cancelled; make a new one for the next call.
///
/// ```
/// # let master = determined::testing::MockMaster::start();
/// # let experiment = master.experiment().create();
/// use determined::{CancelToken, ErrorKind, WaitOptions};
///
/// let token = CancelToken::new();
/// token.cancel(); // usually from another thread, or a signal handler
/// let error = experiment.wait_with(WaitOptions::new().cancel(&token)).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Cancelled);
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct CancelToken(Arc<Shared>);

#[derive(Default)]
struct Shared {
    cancelled: Mutex<bool>,
    changed: Condvar,
    /// Cancels this token too.
    parent: Option<CancelToken>,
    /// When this token is cancelled by itself.
    deadline: Option<Instant>,
}

/// How often a sleeper looks whether the parent of its token was cancelled, or its deadline has passed.
const POLL: Duration = Duration::from_millis(200);

impl CancelToken {
    /// A token that nobody has cancelled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends every call that was given this token or a clone of it.
    pub fn cancel(&self) {
        *self.lock() = true;
        self.0.changed.notify_all();
    }

    /// Whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        *self.lock() || self.is_overdue() || self.is_parent_cancelled()
    }

    /// A token that is cancelled with its parent, or by itself.
    pub(crate) fn child_of(parent: Option<&Self>) -> Self {
        Self(Arc::new(Shared {
            parent: parent.cloned(),
            ..Shared::default()
        }))
    }

    /// A token that is cancelled with its parent, or when that time has come.
    pub(crate) fn until(deadline: Instant, parent: Option<&Self>) -> Self {
        Self(Arc::new(Shared {
            parent: parent.cloned(),
            deadline: Some(deadline),
            ..Shared::default()
        }))
    }

    fn is_overdue(&self) -> bool {
        self.0.deadline.is_some_and(|at| at <= Instant::now())
    }

    fn is_parent_cancelled(&self) -> bool {
        self.0.parent.as_ref().is_some_and(Self::is_cancelled)
    }

    /// An error if the token is cancelled.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(cancelled());
        }
        Ok(())
    }

    /// Sleeps, unless and until the token is cancelled.
    pub(crate) fn sleep(&self, duration: Duration) -> Result<()> {
        // A duration that no clock can reach is a sleep without end.
        let deadline = Instant::now().checked_add(duration);
        let mut is_cancelled = self.lock();
        loop {
            if *is_cancelled || self.is_overdue() || self.is_parent_cancelled() {
                return Err(cancelled());
            }
            let left = deadline.map_or(duration, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(());
            }
            let left = match (&self.0.parent, self.0.deadline) {
                (None, None) => left,
                _ => left.min(POLL),
            };
            is_cancelled = self
                .0
                .changed
                .wait_timeout(is_cancelled, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, bool> {
        self.0
            .cancelled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error of a call that was cancelled.
pub(crate) fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "cancelled")
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelToken")
            .field(&self.is_cancelled())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancelling_wakes_a_sleeper_at_once() {
        let token = CancelToken::new();
        let started = Instant::now();
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| token.sleep(Duration::from_secs(60)));
            token.cancel();
            let error = sleeper.join().unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled);
        });
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_sleep_that_nobody_cancels_ends_by_itself() {
        assert!(CancelToken::new().sleep(Duration::from_millis(1)).is_ok());
    }

    #[test]
    fn a_child_is_cancelled_with_its_parent_but_not_the_other_way_round() {
        let parent = CancelToken::new();
        let (one, other) = (
            CancelToken::child_of(Some(&parent)),
            CancelToken::child_of(Some(&parent)),
        );
        one.cancel();
        assert!(one.is_cancelled() && !other.is_cancelled() && !parent.is_cancelled());
        let started = Instant::now();
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| other.sleep(Duration::from_secs(60)));
            parent.cancel();
            assert!(sleeper.join().unwrap().is_err());
        });
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_deadline_ends_a_sleep_and_a_parent_may_end_it_before() {
        let (now, parent) = (Instant::now(), CancelToken::new());
        let soon = CancelToken::until(now + Duration::from_millis(50), None);
        assert!(soon.sleep(Duration::from_secs(60)).is_err());
        assert!(soon.is_cancelled());
        let late = CancelToken::until(now + Duration::from_secs(60), Some(&parent));
        assert!(!late.is_cancelled());
        parent.cancel();
        assert!(late.sleep(Duration::from_secs(60)).is_err());
        assert!(now.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn clones_share_the_button() {
        let token = CancelToken::new();
        token.clone().cancel();
        assert!(token.is_cancelled());
        assert!(token.check().is_err());
    }
}
