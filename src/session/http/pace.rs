//! Whether an answer comes fast enough to be waited for: a server that sends a byte now and then is as good as silent.

use std::io;
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// What an answer must bring for each second that it is waited for.
const BYTES_PER_SECOND: u64 = 16;

/// Counts what an answer brings while it is waited for. Time in which nobody reads does not count.
#[derive(Debug)]
pub(super) struct Pace {
    /// How long it is waited for until it is judged, again and again.
    period: Duration,
    waited: Duration,
    received: u64,
}

impl Pace {
    pub(super) fn new(period: Duration) -> Self {
        Self {
            period,
            waited: Duration::ZERO,
            received: 0,
        }
    }

    /// Takes in one read: what it brought, and how long that took. An error if the period is over and too little has come.
    pub(super) fn count(&mut self, received: usize, waited: Duration) -> io::Result<()> {
        self.received += received as u64;
        self.waited += waited;
        if self.waited < self.period {
            return Ok(());
        }
        let wanted = self.waited.as_millis() * u128::from(BYTES_PER_SECOND) / 1000;
        if u128::from(self.received) < wanted {
            return Err(io::Error::other(Error::new(
                ErrorKind::Timeout,
                format!(
                    "no more than {} bytes came in {:.0} s; the server or the network is too slow",
                    self.received,
                    self.waited.as_secs_f64()
                ),
            )));
        }
        *self = Self::new(self.period);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(30);

    #[test]
    fn a_drip_is_an_error_when_the_period_is_over() {
        let mut pace = Pace::new(PERIOD);
        for _ in 0..29 {
            pace.count(1, Duration::from_secs(1)).unwrap();
        }
        let error = pace.count(1, Duration::from_secs(1)).unwrap_err();
        let error = error.downcast::<Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(
            error.to_string().contains("30 bytes came in 30 s"),
            "{error}"
        );
    }

    #[test]
    fn what_flows_is_read_for_as_long_as_it_takes_and_judged_anew_each_period() {
        let mut pace = Pace::new(PERIOD);
        for _ in 0..10_000 {
            pace.count(16, Duration::from_secs(1)).unwrap();
        }
        pace.count(1 << 30, Duration::from_millis(1)).unwrap();
        pace.count(0, PERIOD).unwrap();
        pace.count(0, PERIOD).unwrap_err();
    }
}
