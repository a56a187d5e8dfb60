//! When a call is tried again, and after how long.

use std::time::{Duration, Instant};

/// No further try starts later than this after the first: a master that is silent, or gone, is an error within a minute.
const BUDGET: Duration = Duration::from_secs(20);
/// A master that asks for more patience than this gets an error instead.
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
        let pause = match wish {
            Some(wish) if wish > LONGEST_WISH => return None,
            Some(wish) if !wish.is_zero() => wish,
            _ if self.started.elapsed() + backoff > BUDGET => return None,
            _ => backoff,
        };
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
    }

    #[test]
    fn no_retries_means_none() {
        assert_eq!(Retries::new(0).next(None), None);
    }
}
