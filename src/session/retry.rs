//! When a call is tried again, and after how long.

use std::time::{Duration, Instant};

/// No further try starts later than this after the first: a master that is silent, or gone, is an error within a minute.
const BUDGET: Duration = Duration::from_secs(20);
/// A master that asks for more patience than this, at once or in all, gets an error instead.
const LONGEST_WISH: Duration = Duration::from_secs(60);

/// The tries that a call has left.
pub(super) struct Retries {
    left: u32,
    made: u32,
    started: Instant,
}

impl Retries {
    pub(super) fn new(count: u32) -> Self {
        Self {
            left: count,
            made: 0,
            started: Instant::now(),
        }
    }

    /// How long to wait before the next try, or `None` if there is none. `wish` is what the answer's `Retry-After` asked for.
    pub(super) fn next(&mut self, wish: Option<Duration>) -> Option<Duration> {
        let backoff = backoff(self.made);
        let (pause, limit) = match wish {
            Some(wish) if !wish.is_zero() => (wish, LONGEST_WISH),
            _ => (backoff, BUDGET),
        };
        if self.started.elapsed().saturating_add(pause) > limit {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        self.made += 1;
        Some(pause)
    }
}

/// 0, 1, 2, 4, 8 … seconds.
fn backoff(made: u32) -> Duration {
    match made {
        0 => Duration::ZERO,
        n => Duration::from_secs(1 << (n - 1).min(6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_double_and_end() {
        let mut retries = Retries::new(5);
        let pauses: Vec<_> = std::iter::from_fn(|| retries.next(None))
            .map(|pause| pause.as_secs())
            .collect();
        assert_eq!(pauses, [0, 1, 2, 4, 8]);
    }

    #[test]
    fn a_wish_within_reason_is_granted() {
        let mut retries = Retries::new(2);
        assert_eq!(
            retries.next(Some(Duration::from_secs(7))),
            Some(Duration::from_secs(7))
        );
        assert_eq!(retries.next(Some(Duration::from_secs(3600))), None);
        assert_eq!(retries.next(Some(Duration::MAX)), None);
    }

    #[test]
    fn no_try_starts_later_than_the_budget_allows() {
        let started = Instant::now().checked_sub(Duration::from_secs(15)).unwrap();
        let mut retries = Retries {
            left: 9,
            made: 3,
            started,
        };
        assert!(retries.next(None).is_some());
        assert_eq!(retries.next(None), None);
        let wish = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(retries.next(wish(40)), wish(40));
        assert_eq!(retries.next(wish(50)), None);
    }

    #[test]
    fn no_retries_means_none() {
        assert_eq!(Retries::new(0).next(None), None);
    }
}
