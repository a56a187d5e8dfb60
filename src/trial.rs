//! Trials: one training run of an experiment each.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::checkpoint::{self, Checkpoint, CheckpointQuery, MetricOrder, Owner};
use crate::error::{Error, ErrorKind, Result};
use crate::experiment::{self, Experiment};
use crate::session::{Pages, Request, Session};
use crate::wire::{OrderBy, object, sort_enum, state_enum};

state_enum! {
    /// How a trial fares.
    ///
    /// While it is active, masters say `Queued`, `Pulling`, `Starting` or `Running`.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let trial = master.experiment().create().await_first_trial()?;
    /// use determined::TrialState;
    ///
    /// assert_eq!(trial.state, TrialState::Completed);
    /// assert_eq!(trial.state.to_string(), "COMPLETED");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub enum TrialState("STATE_") {
        /// It runs, or waits to. Masters say one of the next four instead.
        Active = "ACTIVE",
        /// It waits for resources.
        Queued = "QUEUED",
        /// Its image is being pulled.
        Pulling = "PULLING",
        /// Its container is starting.
        Starting = "STARTING",
        /// It runs.
        Running = "RUNNING",
        /// It is paused.
        Paused = "PAUSED",
        /// It was cancelled and comes to its end.
        StoppingCanceled = "STOPPING_CANCELED",
        /// It was killed and comes to its end.
        StoppingKilled = "STOPPING_KILLED",
        /// It is about to be `Completed`.
        StoppingCompleted = "STOPPING_COMPLETED",
        /// It failed and comes to its end.
        StoppingError = "STOPPING_ERROR",
        /// It was cancelled or killed.
        Canceled = "CANCELED",
        /// It has ended well.
        Completed = "COMPLETED",
        /// It has failed.
        Error = "ERROR",
    }
}

impl TrialState {
    /// Whether nothing more will happen: `Completed`, `Canceled` or `Error`.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Completed | Self::Canceled | Self::Error)
    }
}

sort_enum! {
    /// By which property trials are sorted.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// use determined::{TrialQuery, TrialSortBy};
    ///
    /// let best_first = experiment.get_trials_with(TrialQuery::new().sort_by(TrialSortBy::BestValidationMetric))?;
    /// assert_eq!(best_first[0].id, experiment.top_checkpoint()?.training.expect("a trial's checkpoint").trial_id);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub enum TrialSortBy {
        /// The id.
        Id = "SORT_BY_ID",
        /// When it started.
        StartTime = "SORT_BY_START_TIME",
        /// When it ended; descending, those that have not ended come first.
        EndTime = "SORT_BY_END_TIME",
        /// The state.
        State = "SORT_BY_STATE",
        /// The best value of the searcher's metric; ascending is the best first, in either direction of the searcher.
        BestValidationMetric = "SORT_BY_BEST_VALIDATION_METRIC",
        /// The latest value of the searcher's metric; ascending is the best first, in either direction of the searcher.
        LatestValidationMetric = "SORT_BY_LATEST_VALIDATION_METRIC",
        /// The steps that were completed.
        BatchesProcessed = "SORT_BY_BATCHES_PROCESSED",
        /// How long it has run.
        Duration = "SORT_BY_DURATION",
        /// How often it was restarted.
        Restarts = "SORT_BY_RESTARTS",
        /// The size of its checkpoints.
        CheckpointSize = "SORT_BY_CHECKPOINT_SIZE",
    }
}

/// In which order a list gives an experiment's trials.
///
/// Unset means in the order of their ids.
///
/// ```
/// use determined::{TrialQuery, TrialSortBy};
///
/// let best_first = TrialQuery::new().sort_by(TrialSortBy::BestValidationMetric);
/// # let _ = best_first;
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct TrialQuery {
    sort_by: Option<TrialSortBy>,
    order_by: Option<OrderBy>,
    page_size: Option<u32>,
}

impl TrialQuery {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// By which property. By default the id.
    pub fn sort_by(mut self, sort_by: TrialSortBy) -> Self {
        self.sort_by = Some(sort_by);
        self
    }

    /// In which order. By default ascending.
    pub fn order_by(mut self, order_by: OrderBy) -> Self {
        self.order_by = Some(order_by);
        self
    }

    /// How many an iterator fetches at once. By default 100. A list is fetched as the master pages it.
    pub fn page_size(mut self, page_size: u32) -> Self {
        self.page_size = Some(page_size);
        self
    }

    fn request(&self, session: &Session, experiment_id: i32) -> Request {
        let sort_by = self.sort_by.unwrap_or(TrialSortBy::Id);
        let order_by = self.order_by.unwrap_or(OrderBy::Ascending);
        session
            .get(format!("/api/v1/experiments/{experiment_id}/trials"))
            .doing(format!("list the trials of experiment {experiment_id}"))
            .query("orderBy", order_by.wire())
            .query("sortBy", sort_by.wire())
    }
}

/// The trials of an experiment.
pub(crate) fn list(
    session: &Session,
    experiment_id: i32,
    query: &TrialQuery,
) -> Result<Vec<Trial>> {
    start(session, query.request(session, experiment_id))?.into_vec()
}

/// The trials of an experiment, page by page.
pub(crate) fn pages(
    session: &Session,
    experiment_id: i32,
    query: &TrialQuery,
) -> Result<Pages<Trial>> {
    let limit = query.page_size.unwrap_or(100).max(1);
    let request = query.request(session, experiment_id);
    start(session, request.query("limit", limit))
}

fn start(session: &Session, request: Request) -> Result<Pages<Trial>> {
    let session = session.clone();
    Pages::start(request, "trials", move |body: TrialBody| {
        body.attach(&session)
    })
}

object! {
    /// A trial: one training run of an experiment, with hyperparameters of its own.
    ///
    /// Comes from [`Determined::get_trial`](crate::Determined::get_trial) and from [`Experiment::get_trials`]. The fields are what the master
    /// said then; [`reload`](Self::reload) asks again.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// for trial in experiment.get_trials()? {
    ///     println!("trial {} is {} with {:?}", trial.id, trial.state, trial.hparams);
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    #[doc(alias = "TrialReference")]
    pub struct Trial from TrialBody {
        /// The id.
        pub id: i32 as "crate::wire::exact",
        /// The experiment that it belongs to.
        pub experiment_id: i32,
        /// Its hyperparameters.
        pub hparams: Map<String, Value>,
        /// How it fares.
        pub state: TrialState,
        /// Of each metric so far its count, last, mean, min, max and sum: training metrics under `avg_metrics`, validation metrics under
        /// `validation_metrics`, and those of other groups under the group's name. Empty before the first report.
        pub summary_metrics: Map<String, Value>,
        /// When it started.
        pub start_time: Option<Timestamp> as "crate::wire::time",
        /// When it ended.
        pub end_time: Option<Timestamp> as "crate::wire::time",
        /// How often it was restarted after a failure.
        pub restarts: i32,
        /// The steps that were completed.
        pub total_batches_processed: i32,
        /// The best validation so far, as the master sends it.
        pub best_validation: Option<Value>,
        /// The latest validation so far, as the master sends it.
        pub latest_validation: Option<Value>,
        /// The best checkpoint so far, in the master's short form; [`top_checkpoint`](Self::top_checkpoint) gives a whole one.
        pub best_checkpoint: Option<Value>,
        /// How long it has run, in seconds.
        pub wall_clock_time: Option<f64> as "crate::wire::float",
        /// The task that runs it, and before it those that did.
        pub task_ids: Vec<String>,
        /// The size in bytes of all its checkpoints.
        pub total_checkpoint_size: u64,
        /// How many checkpoints it has.
        pub checkpoint_count: i32,
    }
}

pub(crate) fn get(session: &Session, id: i32) -> Result<Trial> {
    let body: TrialBody = session
        .get(format!("/api/v1/trials/{id}"))
        .doing(format!("get trial {id}"))
        .fetch_field("trial")?;
    Ok(body.attach(session))
}

/// Which checkpoint [`Trial::select_checkpoint`] gives.
///
/// ```
/// # let master = determined::testing::MockMaster::start();
/// # let trial = master.experiment().create().await_first_trial()?;
/// use determined::{CheckpointChoice, MetricOrder};
///
/// let by_accuracy = MetricOrder::new().sort_by("acc").smaller_is_better(false);
/// let most_accurate = trial.select_checkpoint(CheckpointChoice::BestBy(by_accuracy))?;
/// let same = trial.select_checkpoint(CheckpointChoice::Uuid(most_accurate.uuid.clone()))?;
/// assert_eq!(same.uuid, most_accurate.uuid);
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointChoice {
    /// The completed one with the most steps; of equals the one reported last.
    Latest,
    /// The best completed one, as the experiment's configuration ranks them.
    Best,
    /// The best completed one by another metric.
    BestBy(MetricOrder),
    /// The one with this id, which must belong to the trial.
    Uuid(String),
}

impl Trial {
    /// Asks the master again and fills all fields anew. `GET /api/v1/trials/{id}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the trial is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut trial = master.experiment().create().await_first_trial()?;
    /// trial.reload()?;
    /// assert_eq!((trial.state.to_string().as_str(), trial.total_batches_processed), ("COMPLETED", 5));
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn reload(&mut self) -> Result<()> {
        *self = get(&self.session, self.id)?;
        Ok(())
    }

    /// The experiment that the trial belongs to. `GET /api/v1/experiments/{id}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if it is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let trial = master.experiment().create().await_first_trial()?;
    /// assert_eq!(trial.get_experiment()?.name, "example");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn get_experiment(&self) -> Result<Experiment> {
        experiment::get(&self.session, self.experiment_id)
    }

    /// Ends the trial at once. `POST /api/v1/trials/{id}/kill`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the trial is gone, or has ended.
    ///
    /// ```
    /// # use determined::testing::{Clock, MockMaster, MockMasterOptions};
    /// # let master = MockMaster::start_with(MockMasterOptions::new().clock(Clock::Manual));
    /// # let trial = master.experiment().create().await_first_trial()?;
    /// trial.kill()?;
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn kill(&self) -> Result<()> {
        self.session
            .post(format!("/api/v1/trials/{}/kill", self.id))
            .doing(format!("kill trial {}", self.id))
            .send()
            .map_err(|error| {
                // Of trials that have ended masters say that the experiment is not found.
                let names_another = error
                    .server_message()
                    .is_some_and(|said| said.contains("experiment"));
                if error.is_not_found() && names_another {
                    return error.with_hint("a trial that has ended cannot be killed");
                }
                error
            })
    }

    /// The best of the trial's completed checkpoints, by the metric and in the direction of the experiment's searcher.
    ///
    /// Like [`top_checkpoint_with`](Self::top_checkpoint_with) without options. `GET /api/v1/trials/{id}/checkpoints`.
    ///
    /// # Errors
    ///
    /// [`CheckpointUnavailable`](ErrorKind::CheckpointUnavailable) if no completed checkpoint has the metric.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let trial = master.experiment().create().await_first_trial()?;
    /// println!("{}", trial.top_checkpoint()?.uuid);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn top_checkpoint(&self) -> Result<Checkpoint> {
        self.top_checkpoint_with(MetricOrder::new())
    }

    /// The best of the trial's completed checkpoints.
    ///
    /// Never one without the metric, nor one where it is NaN or infinite; of equals the one with more steps, and then the one reported later.
    /// `GET /api/v1/trials/{id}/checkpoints`.
    ///
    /// # Errors
    ///
    /// [`CheckpointUnavailable`](ErrorKind::CheckpointUnavailable) if no completed checkpoint has the metric as a finite number.
    ///
    /// ```
    /// use determined::MetricOrder;
    ///
    /// # let master = determined::testing::MockMaster::start();
    /// # let trial = master.experiment().create().await_first_trial()?;
    /// let order = MetricOrder::new().sort_by("acc").smaller_is_better(false);
    /// println!("{}", trial.top_checkpoint_with(order)?.uuid);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn top_checkpoint_with(&self, order: MetricOrder) -> Result<Checkpoint> {
        let owner = Owner::Trial(self.id);
        checkpoint::completed(&self.session, owner)
            .and_then(|all| checkpoint::best(all, &order))
            .map_err(|error| error.on_the_way_to(format!("get the best checkpoint of {owner}")))
    }

    /// One of the trial's checkpoints. `GET /api/v1/trials/{id}/checkpoints`, or for an id `GET /api/v1/checkpoints/{uuid}`.
    ///
    /// # Errors
    ///
    /// [`CheckpointUnavailable`](ErrorKind::CheckpointUnavailable) if there is none, or the id is that of another trial's checkpoint;
    /// [`NotFound`](ErrorKind::NotFound) for an id that the master does not know.
    ///
    /// ```
    /// use determined::CheckpointChoice;
    ///
    /// # let master = determined::testing::MockMaster::start();
    /// # let trial = master.experiment().create().await_first_trial()?;
    /// let latest = trial.select_checkpoint(CheckpointChoice::Latest)?;
    /// assert_eq!(latest.metadata["steps_completed"], 5);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn select_checkpoint(&self, choice: CheckpointChoice) -> Result<Checkpoint> {
        match choice {
            CheckpointChoice::Best => self.top_checkpoint(),
            CheckpointChoice::BestBy(order) => self.top_checkpoint_with(order),
            CheckpointChoice::Latest => checkpoint::latest(&self.session, Owner::Trial(self.id)),
            CheckpointChoice::Uuid(uuid) => {
                let is_own = |found: &Checkpoint| {
                    let trial = found.training.as_ref().map(|training| training.trial_id);
                    trial == Some(self.id)
                };
                match checkpoint::get(&self.session, &uuid) {
                    Ok(found) if is_own(&found) => Ok(found),
                    Ok(_) => Err(Error::new(
                        ErrorKind::CheckpointUnavailable,
                        "it does not belong to this trial",
                    )),
                    Err(error) => Err(error),
                }
                .map_err(|error| {
                    error.on_the_way_to(format!("select checkpoint {uuid} of trial {}", self.id))
                })
            }
        }
    }

    /// The trial's checkpoints, the best first. Like [`get_checkpoints_with`](Self::get_checkpoints_with) without options.
    /// `GET /api/v1/trials/{id}/checkpoints`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the trial is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let trial = master.experiment().create().await_first_trial()?;
    /// assert_eq!(trial.get_checkpoints()?[0].uuid, trial.top_checkpoint()?.uuid);
    /// # Ok::<(), determined::Error>(())
    /// ```
    #[doc(alias = "list_checkpoints")]
    pub fn get_checkpoints(&self) -> Result<Vec<Checkpoint>> {
        self.get_checkpoints_with(CheckpointQuery::new())
    }

    /// The trial's checkpoints. `GET /api/v1/trials/{id}/checkpoints`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the trial is gone, [`InvalidInput`](ErrorKind::InvalidInput) for an order without a sort key.
    ///
    /// ```
    /// use determined::{CheckpointQuery, OrderBy};
    ///
    /// # let master = determined::testing::MockMaster::start();
    /// # let trial = master.experiment().create().await_first_trial()?;
    /// let most_accurate_first = CheckpointQuery::new().sort_by("acc").order_by(OrderBy::Descending);
    /// let best_two = trial.get_checkpoints_with(most_accurate_first.max_results(2))?;
    /// assert_eq!(best_two.len(), 2);
    /// # Ok::<(), determined::Error>(())
    /// ```
    #[doc(alias = "list_checkpoints")]
    pub fn get_checkpoints_with(&self, query: CheckpointQuery) -> Result<Vec<Checkpoint>> {
        checkpoint::list(&self.session, Owner::Trial(self.id), &query)
    }

    /// The trial's checkpoints, page by page, in the order in which the master sorts them: by default by time of report.
    ///
    /// Masters rank checkpoints without a metric in ways of their own; [`get_checkpoints_with`](Self::get_checkpoints_with) puts them last.
    /// `GET /api/v1/trials/{id}/checkpoints`.
    ///
    /// # Errors
    ///
    /// Like [`get_checkpoints_with`](Self::get_checkpoints_with); a later page's failure comes as an item.
    ///
    /// ```
    /// use determined::CheckpointQuery;
    ///
    /// # let master = determined::testing::MockMaster::start();
    /// # let trial = master.experiment().create().await_first_trial()?;
    /// for checkpoint in trial.iter_checkpoints_with(CheckpointQuery::new().page_size(20))? {
    ///     println!("{}", checkpoint?.uuid);
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn iter_checkpoints_with(&self, query: CheckpointQuery) -> Result<Pages<Checkpoint>> {
        checkpoint::pages(&self.session, Owner::Trial(self.id), &query)
    }
}
