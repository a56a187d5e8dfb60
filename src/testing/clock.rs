//! The clock on which experiments live.

use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// How fast simulated experiments live. The default is [`Clock::Instant`].
///
/// ```
/// use determined::ExperimentState;
/// use determined::testing::{Clock, MockMaster, MockMasterOptions};
///
/// let master = MockMaster::start_with(MockMasterOptions::new().clock(Clock::Manual));
/// let experiment = master.experiment().create();
/// assert_eq!(experiment.state, ExperimentState::Queued);
/// master.set_clock(Clock::Instant);
/// assert_eq!(experiment.wait()?, ExperimentState::Completed);
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Clock {
    /// A life takes no time: an experiment has come to its end when the first request after its submission is answered.
    #[default]
    Instant,
    /// A simulated second takes a real one; the default model's trials run for about four.
    RealTime,
    /// So many simulated seconds pass in a real one. A factor that is not above zero stops the clock.
    Scaled(f64),
    /// Time stands still until [`MockMaster::advance`](super::MockMaster::advance) or [`MockMaster::step`](super::MockMaster::step).
    Manual,
}

/// A moment of simulated time: microseconds since the master's start.
pub(super) type Moment = u64;

/// Simulated time, and the timestamps that belong to it.
#[derive(Debug)]
pub(super) struct Time {
    clock: Clock,
    /// Where the present clock began, in real and in simulated time.
    began: Timestamp,
    began_at: Moment,
    /// The simulated present: that of the last event, or later.
    present: Moment,
    /// The last timestamp given; each is later than the one before.
    last: Timestamp,
}

impl Time {
    pub(super) fn new(clock: Clock) -> Self {
        let now = Timestamp::now();
        Self {
            clock,
            began: now,
            began_at: 0,
            present: 0,
            last: now,
        }
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    /// Goes on from here by another clock.
    pub(super) fn set_clock(&mut self, clock: Clock) {
        self.catch_up();
        self.clock = clock;
        self.began = Timestamp::now();
        self.began_at = self.present;
    }

    /// Up to which moment events have come due.
    pub(super) fn due(&self) -> Moment {
        match self.clock {
            Clock::Instant => Moment::MAX,
            Clock::RealTime => self.elapsed(1.0),
            Clock::Scaled(factor) => self.elapsed(factor),
            Clock::Manual => self.present,
        }
    }

    fn elapsed(&self, factor: f64) -> Moment {
        let real = Timestamp::now().duration_since(self.began).as_secs_f64();
        // A float becomes the nearest integer that there is, so a negative one becomes 0.
        self.began_at
            .saturating_add((real * factor.max(0.0) * 1e6) as Moment)
    }

    pub(super) fn present(&self) -> Moment {
        self.present
    }

    /// Moves the present on to an event.
    pub(super) fn reach(&mut self, moment: Moment) {
        self.present = self.present.max(moment);
    }

    /// Moves the present on to the clock's, where the clock runs by itself.
    pub(super) fn catch_up(&mut self) {
        if self.clock != Clock::Instant {
            self.reach(self.due());
        }
    }

    /// How long it really takes until `moment`; nothing when only the test can bring it about.
    pub(super) fn real_time_until(&self, moment: Moment) -> Option<Duration> {
        let simulated = Duration::from_micros(moment.saturating_sub(self.due()));
        match self.clock {
            Clock::Instant => Some(Duration::ZERO),
            Clock::RealTime => Some(simulated),
            Clock::Scaled(factor) if factor > 0.0 => {
                Duration::try_from_secs_f64(simulated.as_secs_f64() / factor).ok()
            }
            Clock::Scaled(_) | Clock::Manual => None,
        }
    }

    /// A timestamp for the present, later than all before.
    pub(super) fn stamp(&mut self) -> Timestamp {
        let since_began = self.present - self.began_at.min(self.present);
        let at = match self.clock {
            Clock::Instant => Timestamp::now(),
            Clock::Scaled(factor) if factor > 0.0 => {
                later(self.began, since_began as f64 / 1e6 / factor)
            }
            Clock::Scaled(_) | Clock::RealTime | Clock::Manual => {
                later(self.began, since_began as f64 / 1e6)
            }
        };
        self.last = whole_micros(at).max(whole_micros(self.last) + SignedDuration::from_micros(1));
        self.last
    }
}

fn later(from: Timestamp, seconds: f64) -> Timestamp {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|duration| from.checked_add(duration).ok())
        .unwrap_or(Timestamp::MAX)
}

/// The database keeps microseconds.
fn whole_micros(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_never_repeat() {
        for clock in [Clock::Instant, Clock::Manual, Clock::RealTime] {
            let mut time = Time::new(clock);
            let first = time.stamp();
            assert!(time.stamp() > first, "{clock:?}");
        }
    }

    #[test]
    fn a_manual_clock_moves_when_told() {
        let mut time = Time::new(Clock::Manual);
        let before = time.stamp();
        assert_eq!(time.due(), 0);
        time.reach(2_000_000);
        assert_eq!(time.due(), 2_000_000);
        assert!(time.stamp().duration_since(before).as_secs_f64() > 1.9);
        assert_eq!(time.real_time_until(3_000_000), None);
    }

    #[test]
    fn a_fast_clock_is_fast() {
        let time = Time::new(Clock::Scaled(1000.0));
        std::thread::sleep(Duration::from_millis(5));
        assert!(time.due() >= 5_000_000, "{}", time.due());
        let wait = time.real_time_until(time.due() + 10_000_000).unwrap();
        assert!(wait <= Duration::from_millis(10), "{wait:?}");
    }

    #[test]
    fn a_clock_can_be_changed_on_the_way() {
        let mut time = Time::new(Clock::Manual);
        time.reach(7);
        time.set_clock(Clock::Instant);
        assert_eq!(time.present(), 7);
        assert_eq!(time.due(), Moment::MAX);
        time.set_clock(Clock::Manual);
        assert_eq!(time.due(), 7);
    }
}
