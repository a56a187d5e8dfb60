//! Waiting for an experiment: through outages of the master, until it has ended or has a trial.

use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Experiment, ExperimentState, path};
use crate::cancel::{CancelToken, cancelled};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Observer;
use crate::session::Session;
use crate::trial::{Trial, TrialBody, TrialSortBy};
use crate::wire::{OrderBy, float, lenient};

/// How often [`Experiment::wait`] asks.
const WAIT_INTERVAL: Duration = Duration::from_secs(5);
/// How often [`Experiment::await_first_trial`] asks.
const FIRST_TRIAL_INTERVAL: Duration = Duration::from_millis(100);
/// Nobody asks more often than this.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
/// How long a master may be away.
const OUTAGE_LIMIT: Duration = Duration::from_secs(600);
/// How often a master that is away is tried, unless the interval is longer.
const OUTAGE_INTERVAL: Duration = Duration::from_secs(1);
/// How long after the end of a wait a look may still be under way.
const GRACE: Duration = Duration::from_secs(1);

/// What a wait does about an experiment that is paused.
///
/// ```
/// # use determined::testing::{Clock, MockMaster, MockMasterOptions};
/// # let master = MockMaster::start_with(MockMasterOptions::new().clock(Clock::Manual));
/// # let experiment = master.experiment().create();
/// use determined::{ErrorKind, OnPaused, WaitOptions};
///
/// experiment.pause()?;
/// assert_eq!(experiment.wait().unwrap_err().kind(), ErrorKind::ExperimentPaused);
/// let patient = WaitOptions::new().on_paused(OnPaused::KeepWaiting);
/// # let _ = patient;
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnPaused {
    /// It ends with an error of the kind [`ErrorKind::ExperimentPaused`].
    #[default]
    Error,
    /// It goes on, until somebody activates the experiment.
    KeepWaiting,
}

/// What a wait has seen, for the function given to [`WaitOptions::on_progress`].
///
/// ```
/// # let master = determined::testing::MockMaster::start();
/// # let experiment = master.experiment().create();
/// use determined::{WaitOptions, WaitProgress};
///
/// fn show(seen: &WaitProgress) {
///     eprintln!("{} after {} s", seen.state, seen.elapsed.as_secs());
/// }
/// experiment.wait_with(WaitOptions::new().on_progress(show))?;
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct WaitProgress {
    /// How the experiment fares.
    pub state: ExperimentState,
    /// How far it has come, from 0 to 1, where that is known.
    pub progress: Option<f64>,
    /// How long the wait has lasted.
    pub elapsed: Duration,
}

/// How [`Experiment::wait_with`] and [`Experiment::await_first_trial_with`] wait.
///
/// ```
/// use std::time::Duration;
/// use determined::WaitOptions;
///
/// let options = WaitOptions::new()
///     .interval(Duration::from_secs(1))
///     .timeout(Duration::from_secs(3600))
///     .on_progress(|seen| eprintln!("{} {:?}", seen.state, seen.progress));
/// # let _ = options;
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
#[must_use]
pub struct WaitOptions {
    interval: Option<Duration>,
    timeout: Option<Duration>,
    outage_limit: Option<Duration>,
    on_paused: OnPaused,
    on_progress: Observer<WaitProgress>,
    cancel: Option<CancelToken>,
}

impl WaitOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long to pause between two looks, at least 10 ms. By default 5 s, and 0.1 s when waiting for the first trial.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// How long to wait at most; then the wait ends with an error of the kind [`ErrorKind::WaitTimeout`]. By default for ever.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long the master may be away, or out of reach, before the wait ends with that error. By default 10 minutes.
    pub fn outage_limit(mut self, limit: Duration) -> Self {
        self.outage_limit = Some(limit);
        self
    }

    /// What to do when the experiment is paused. By default an error.
    pub fn on_paused(mut self, on_paused: OnPaused) -> Self {
        self.on_paused = on_paused;
        self
    }

    /// Calls a function after each look. By default nothing is called.
    pub fn on_progress(mut self, function: impl Fn(&WaitProgress) + Send + Sync + 'static) -> Self {
        self.on_progress = Observer::new(function);
        self
    }

    /// Lets the token end the wait. By default nothing does.
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.clone());
        self
    }
}

/// What a look at an experiment shows.
#[derive(Deserialize)]
struct Look {
    #[serde(default, deserialize_with = "lenient")]
    state: ExperimentState,
    #[serde(default, deserialize_with = "float")]
    progress: Option<f64>,
}

impl Experiment {
    /// Waits until the experiment has ended. Like [`wait_with`](Self::wait_with) without options. `GET /api/v1/experiments/{id}`.
    ///
    /// # Errors
    ///
    /// [`ExperimentPaused`](ErrorKind::ExperimentPaused) if it is paused; else whatever keeps the master from being asked for 10 minutes.
    ///
    /// ```
    /// use determined::ExperimentState;
    ///
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// if experiment.wait()? == ExperimentState::Completed {
    ///     println!("{}", experiment.top_checkpoint()?.uuid);
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn wait(&self) -> Result<ExperimentState> {
        self.wait_with(WaitOptions::new())
    }

    /// Waits until the experiment has ended, and gives the state in which it did: `Completed`, `Canceled`, `Error`, `Deleted` or
    /// `DeleteFailed`. That the master does not know it any more means `Deleted`.
    ///
    /// A master that is away for a while, because it restarts for instance, is waited out, with a warning in the log. The fields of this
    /// object stay as they are. `GET /api/v1/experiments/{id}`, again and again.
    ///
    /// # Errors
    ///
    /// [`ExperimentPaused`](ErrorKind::ExperimentPaused), [`WaitTimeout`](ErrorKind::WaitTimeout) and [`Cancelled`](ErrorKind::Cancelled) as the
    /// options say; else whatever keeps the master from being asked for longer than the outage limit.
    ///
    /// ```
    /// use std::time::Duration;
    /// use determined::WaitOptions;
    ///
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// let state = experiment.wait_with(WaitOptions::new().interval(Duration::from_secs(1)))?;
    /// assert!(state.is_terminal());
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn wait_with(&self, options: WaitOptions) -> Result<ExperimentState> {
        let doing = format!("wait for experiment {}", self.id);
        let mut wait = Wait::new(&self.session, options, WAIT_INTERVAL);
        wait.until(self.id, |_, state| {
            Ok(state.is_terminal().then(|| state.clone()))
        })
        .map_err(|error| error.on_the_way_to(doing))
    }

    /// Waits until the experiment has a trial, and gives the first. Like [`await_first_trial_with`](Self::await_first_trial_with) without
    /// options. `GET /api/v1/experiments/{id}/trials`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the experiment ended without a trial; else like [`wait`](Self::wait).
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// let trial = experiment.await_first_trial()?;
    /// assert_eq!(trial.experiment_id, experiment.id);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn await_first_trial(&self) -> Result<Trial> {
        self.await_first_trial_with(WaitOptions::new())
    }

    /// Waits until the experiment has a trial, and gives the one that started first.
    ///
    /// `GET /api/v1/experiments/{id}` and `GET /api/v1/experiments/{id}/trials`, again and again.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the experiment ended without a trial; else like [`wait_with`](Self::wait_with).
    ///
    /// ```
    /// use std::time::Duration;
    /// use determined::WaitOptions;
    ///
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// let trial = experiment.await_first_trial_with(WaitOptions::new().timeout(Duration::from_secs(60)))?;
    /// assert_eq!(trial.experiment_id, experiment.id);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn await_first_trial_with(&self, options: WaitOptions) -> Result<Trial> {
        let id = self.id;
        let mut wait = Wait::new(&self.session, options, FIRST_TRIAL_INTERVAL);
        wait.until(id, |session, state| {
            // The state is older than the trials, so an end without any is one.
            if *state != ExperimentState::Deleted
                && let Some(trial) = first_trial(session, id)?
            {
                return Ok(Some(trial.attach(&self.session)));
            }
            if state.is_terminal() {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    format!("the experiment ended as {state} and has no trial"),
                ));
            }
            Ok(None)
        })
        .map_err(|error| error.on_the_way_to(format!("get the first trial of experiment {id}")))
    }
}

fn first_trial(session: &Session, id: i32) -> Result<Option<TrialBody>> {
    let trials: Option<Vec<TrialBody>> = session
        .get(path(id, "/trials"))
        .doing(format!("list the trials of experiment {id}"))
        .query("orderBy", OrderBy::Ascending.wire())
        .query("sortBy", TrialSortBy::StartTime.wire())
        .query("limit", 1)
        .fetch_field("trials")?;
    Ok(trials.unwrap_or_default().into_iter().next())
}

/// One wait.
struct Wait {
    session: Session,
    options: WaitOptions,
    interval: Duration,
    started: Instant,
    /// When a look is broken off, because the time of the wait is over.
    deadline: Option<Instant>,
    /// Since when the master is away.
    away_since: Option<Instant>,
}

impl Wait {
    fn new(session: &Session, options: WaitOptions, interval: Duration) -> Self {
        let started = Instant::now();
        let timeout = options.timeout.map(|timeout| timeout.saturating_add(GRACE));
        let deadline = timeout.and_then(|timeout| started.checked_add(timeout));
        let session = session.cancellable(options.cancel.as_ref()).polling();
        Self {
            session: match deadline {
                Some(deadline) => session.until(deadline),
                None => session,
            },
            interval: options.interval.unwrap_or(interval).max(SHORTEST_INTERVAL),
            options,
            started,
            deadline,
            away_since: None,
        }
    }

    /// Looks at an experiment again and again until `found` finds what is waited for.
    fn until<T>(
        &mut self,
        id: i32,
        found: impl Fn(&Session, &ExperimentState) -> Result<Option<T>>,
    ) -> Result<T> {
        loop {
            let looked = look(&self.session, id).and_then(|look| {
                self.options.on_progress.show(&WaitProgress {
                    state: look.state.clone(),
                    progress: look.progress,
                    elapsed: self.started.elapsed(),
                });
                let found = found(&self.session, &look.state)?;
                Ok((look.state, found))
            });
            let pause = match looked {
                Ok((_, Some(found))) => return Ok(found),
                Ok((ExperimentState::Paused, None))
                    if self.options.on_paused == OnPaused::Error =>
                {
                    return Err(Error::new(
                        ErrorKind::ExperimentPaused,
                        "the experiment is paused",
                    )
                    .with_hint("activate() it, or wait with OnPaused::KeepWaiting"));
                }
                Ok(_) => {
                    if self.away_since.take().is_some() {
                        log::info!(target: "determined", "the master is back; waiting for experiment {id}");
                    }
                    self.interval
                }
                Err(error) if self.is_overdue(&error) => return Err(self.timed_out()),
                // What was cancelled is the wait, not the question that was just asked.
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(cancelled()),
                Err(error) => {
                    self.sit_out(id, error)?;
                    self.interval.max(OUTAGE_INTERVAL)
                }
            };
            self.pause(pause)?;
        }
    }

    /// Gives an error back unless the master is merely away, and not for too long.
    fn sit_out(&mut self, id: i32, error: Error) -> Result<()> {
        if !is_outage(&error) {
            return Err(error);
        }
        let limit = self.options.outage_limit.unwrap_or(OUTAGE_LIMIT);
        let since = *self.away_since.get_or_insert_with(|| {
            log::warn!(
                target: "determined",
                "waiting for experiment {id}: the master is away, which is waited out for {} s: {error}",
                limit.as_secs()
            );
            Instant::now()
        });
        if since.elapsed() >= limit {
            return Err(error);
        }
        Ok(())
    }

    fn pause(&self, pause: Duration) -> Result<()> {
        let Some(timeout) = self.options.timeout else {
            return self.session.sleep(pause);
        };
        let left = timeout.saturating_sub(self.started.elapsed());
        if left.is_zero() {
            return Err(self.timed_out());
        }
        self.session.sleep(pause.min(left))
    }

    /// Whether a look was broken off because the time of the wait is over, and not because somebody ended it.
    fn is_overdue(&self, error: &Error) -> bool {
        error.kind() == ErrorKind::Cancelled
            && self.deadline.is_some_and(|at| at <= Instant::now())
            && !self
                .options
                .cancel
                .as_ref()
                .is_some_and(CancelToken::is_cancelled)
    }

    fn timed_out(&self) -> Error {
        let timeout = self.options.timeout.unwrap_or_default().as_secs_f64();
        Error::new(
            ErrorKind::WaitTimeout,
            format!("it took longer than {timeout} s; the experiment goes on"),
        )
    }
}

/// Looks at an experiment. One that the master does not know any more is deleted.
fn look(session: &Session, id: i32) -> Result<Look> {
    let look = session
        .get(path(id, ""))
        .doing(format!("get experiment {id}"))
        .fetch_field("experiment");
    match look {
        Err(error) if says_it_is_gone(&error) => Ok(Look {
            state: ExperimentState::Deleted,
            progress: None,
        }),
        other => other,
    }
}

/// Whether a master, and not a proxy that finds no master, says that there is no such experiment.
fn says_it_is_gone(error: &Error) -> bool {
    let said = error.server_message().unwrap_or_default();
    error.is_not_found() && said.contains("experiment")
}

/// Whether the master, or the way to it, fails as it does while the master restarts or its database is away.
fn is_outage(error: &Error) -> bool {
    let answers_otherwise = matches!(
        error.kind(),
        ErrorKind::InvalidResponse | ErrorKind::Unsupported
    );
    error.is_transient()
        || answers_otherwise
        || error.status() >= Some(500)
        || (error.is_not_found() && error.status().is_some())
}
