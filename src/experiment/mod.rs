//! Experiments: what was submitted, how it fares, and what can be done with it.

mod actions;
mod code;
mod create;
mod edit;
mod query;
mod wait;

use jiff::Timestamp;
use serde_json::Value;

use crate::checkpoint::{self, Checkpoint, CheckpointQuery, MetricOrder, Owner};
use crate::error::Result;
use crate::session::{Pages, Session};
use crate::trial::{self, Trial, TrialQuery};
use crate::wire::{object, state_enum};

pub(crate) use create::create;
pub use create::{CreateExperimentOptions, LaunchWarning};
pub use query::{ExperimentQuery, ExperimentSortBy};
pub(crate) use query::{list, pages};
pub use wait::{OnPaused, WaitOptions, WaitProgress};

state_enum! {
    /// How an experiment fares.
    ///
    /// While it is active, masters say `Queued`, `Pulling`, `Starting` or `Running`, whichever of its trials has come furthest.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// use determined::ExperimentState;
    ///
    /// let state = experiment.wait()?;
    /// assert_eq!(state, ExperimentState::Completed);
    /// assert_eq!(state.to_string(), "COMPLETED");
    /// assert_eq!("STATE_COMPLETED".parse(), Ok(state));
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub enum ExperimentState("STATE_") {
        /// It runs, or waits to. Masters say one of the next four instead.
        Active = "ACTIVE",
        /// It waits for resources.
        Queued = "QUEUED",
        /// An image is being pulled.
        Pulling = "PULLING",
        /// A container is starting.
        Starting = "STARTING",
        /// A trial runs.
        Running = "RUNNING",
        /// It is paused.
        Paused = "PAUSED",
        /// It is about to be `Completed`.
        StoppingCompleted = "STOPPING_COMPLETED",
        /// It was cancelled and comes to its end.
        StoppingCanceled = "STOPPING_CANCELED",
        /// It failed and comes to its end.
        StoppingError = "STOPPING_ERROR",
        /// It was killed and comes to its end.
        StoppingKilled = "STOPPING_KILLED",
        /// It has ended well.
        Completed = "COMPLETED",
        /// It was cancelled or killed.
        Canceled = "CANCELED",
        /// It has failed.
        Error = "ERROR",
        /// It is being deleted.
        Deleting = "DELETING",
        /// It is deleted.
        Deleted = "DELETED",
        /// It could not be deleted.
        DeleteFailed = "DELETE_FAILED",
    }
}

impl ExperimentState {
    /// Whether nothing more will happen: `Completed`, `Canceled`, `Error`, `Deleted` or `DeleteFailed`.
    pub fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::Completed | Self::Canceled | Self::Error | Self::Deleted | Self::DeleteFailed
        )
    }
}

object! {
    /// An experiment: a configuration and the code that it runs, as one trial or as many.
    ///
    /// Comes from [`Determined::create_experiment`](crate::Determined::create_experiment),
    /// [`get_experiment`](crate::Determined::get_experiment) and [`list_experiments`](crate::Determined::list_experiments). The fields are what
    /// the master said then; [`reload`](Self::reload) asks again.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// # let id = master.experiment().create().id;
    /// let experiment = client.get_experiment(id)?;
    /// println!("{} is {}, {:.0} %", experiment.name, experiment.state, 100.0 * experiment.progress.unwrap_or(0.0));
    /// let best = experiment.top_checkpoint()?;
    /// assert_eq!(best.training.map(|training| training.experiment_id), Some(experiment.id));
    /// # Ok::<(), determined::Error>(())
    /// ```
    #[doc(alias = "ExperimentReference")]
    pub struct Experiment from ExperimentBody {
        /// The id.
        pub id: i32 as "crate::wire::exact",
        /// The name.
        pub name: String,
        /// The description; empty without one.
        pub description: String,
        /// The labels, in no order that means anything.
        pub labels: Vec<String>,
        /// The notes. A list leaves them out; [`reload`](Self::reload) fetches them.
        pub notes: Option<String>,
        /// The configuration, with the master's defaults filled in.
        #[doc(alias = "get_config")]
        pub config: Value,
        /// The configuration as it was submitted. A list leaves it out.
        pub original_config: String,
        /// How it fares.
        pub state: ExperimentState,
        /// Whether it is archived.
        pub archived: bool,
        /// How far it has come, from 0 to 1, where that is known.
        pub progress: Option<f64> as "crate::wire::float",
        /// The project that holds it.
        pub project_id: i32,
        /// The name of that project.
        pub project_name: String,
        /// The workspace that holds the project.
        pub workspace_id: Option<i32>,
        /// The name of that workspace.
        pub workspace_name: String,
        /// Who submitted it.
        pub username: String,
        /// The id of who submitted it.
        pub user_id: Option<i32>,
        /// When it was submitted.
        pub start_time: Option<Timestamp> as "crate::wire::time",
        /// When it ended.
        pub end_time: Option<Timestamp> as "crate::wire::time",
        /// How many trials it has so far.
        pub num_trials: i32,
        /// The ids of these trials. A list leaves them out.
        pub trial_ids: Vec<i32>,
        /// How it searches: `single`, `random`, `grid`, …
        pub searcher_type: String as "bare_word",
        /// The resource pool it runs in.
        pub resource_pool: String,
        /// Its job in the queue.
        pub job_id: String,
        /// The experiment that it was forked from.
        pub forked_from: Option<i32>,
        /// Whether it runs outside of the cluster, which only keeps its records.
        pub unmanaged: bool,
        /// The size in bytes of all its checkpoints.
        pub checkpoint_size: u64,
        /// How many checkpoints it has.
        pub checkpoint_count: i32,
        /// What the master warned of when it created the experiment. Empty for one that was not created through this object.
        pub warnings: Vec<LaunchWarning>,
    }
}

/// Of some answers this word has quotes of its own.
fn bare_word<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let word: String = crate::wire::lenient(deserializer)?;
    Ok(word.trim_matches('"').to_owned())
}

/// The route of an experiment: `/api/v1/experiments/7`, and what follows.
fn path(id: i32, rest: &str) -> String {
    format!("/api/v1/experiments/{id}{rest}")
}

pub(crate) fn get(session: &Session, id: i32) -> Result<Experiment> {
    let body: ExperimentBody = session
        .get(path(id, ""))
        .doing(format!("get experiment {id}"))
        .fetch_field("experiment")?;
    Ok(body.attach(session))
}

/// The checkpoints.
impl Experiment {
    /// The best of the completed checkpoints, by the metric and in the direction of the experiment's searcher.
    ///
    /// Like [`top_checkpoint_with`](Self::top_checkpoint_with) without options. `GET /api/v1/experiments/{id}/checkpoints`.
    ///
    /// # Errors
    ///
    /// [`CheckpointUnavailable`](crate::ErrorKind::CheckpointUnavailable) if no completed checkpoint has the metric.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// let best = experiment.top_checkpoint()?;
    /// println!("{} {:?}", best.uuid, best.training.and_then(|training| training.metric("val_loss")));
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn top_checkpoint(&self) -> Result<Checkpoint> {
        self.top_checkpoint_with(MetricOrder::new())
    }

    /// The best of the completed checkpoints.
    ///
    /// Never one without the metric, nor one where it is NaN or infinite; of equals the one with more steps, and then the one reported later.
    /// `GET /api/v1/experiments/{id}/checkpoints`.
    ///
    /// # Errors
    ///
    /// [`CheckpointUnavailable`](crate::ErrorKind::CheckpointUnavailable) if no completed checkpoint has the metric as a finite number.
    ///
    /// ```
    /// use determined::MetricOrder;
    ///
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// let order = MetricOrder::new().sort_by("acc").smaller_is_better(false);
    /// println!("{}", experiment.top_checkpoint_with(order)?.uuid);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn top_checkpoint_with(&self, order: MetricOrder) -> Result<Checkpoint> {
        let owner = Owner::Experiment(self.id);
        checkpoint::completed(&self.session, owner)
            .and_then(|all| checkpoint::best(all, &order))
            .map_err(|error| error.on_the_way_to(format!("get the best checkpoint of {owner}")))
    }

    /// The best completed checkpoint of each trial, the best of these first, up to `limit`, by the metric and in the direction of the
    /// experiment's searcher.
    ///
    /// Like [`top_n_checkpoints_with`](Self::top_n_checkpoints_with) without options. `GET /api/v1/experiments/{id}/checkpoints`.
    ///
    /// # Errors
    ///
    /// [`CheckpointUnavailable`](crate::ErrorKind::CheckpointUnavailable) if there is no completed checkpoint.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// for checkpoint in experiment.top_n_checkpoints(3)? {
    ///     println!("{} of {:?}", checkpoint.uuid, checkpoint.training.map(|training| training.hparams));
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn top_n_checkpoints(&self, limit: usize) -> Result<Vec<Checkpoint>> {
        self.top_n_checkpoints_with(limit, MetricOrder::new())
    }

    /// The best completed checkpoint of each trial, the best of these first, up to `limit`.
    ///
    /// Trials whose checkpoints all lack the metric, or have it as NaN or infinite, come last. `GET /api/v1/experiments/{id}/checkpoints`.
    ///
    /// # Errors
    ///
    /// [`CheckpointUnavailable`](crate::ErrorKind::CheckpointUnavailable) if there is no completed checkpoint.
    ///
    /// ```
    /// use determined::MetricOrder;
    ///
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// let order = MetricOrder::new().sort_by("acc").smaller_is_better(false);
    /// assert_eq!(experiment.top_n_checkpoints_with(3, order)?.len(), 2); // one of each trial
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn top_n_checkpoints_with(
        &self,
        limit: usize,
        order: MetricOrder,
    ) -> Result<Vec<Checkpoint>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let owner = Owner::Experiment(self.id);
        checkpoint::completed(&self.session, owner)
            .and_then(|all| checkpoint::best_of_each_trial(all, &order, limit))
            .map_err(|error| error.on_the_way_to(format!("get the best checkpoints of {owner}")))
    }

    /// The completed checkpoints of all trials, the best first. Like [`list_checkpoints_with`](Self::list_checkpoints_with) without options.
    /// `GET /api/v1/experiments/{id}/checkpoints`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// assert_eq!(experiment.list_checkpoints()?[0].uuid, experiment.top_checkpoint()?.uuid);
    /// # Ok::<(), determined::Error>(())
    /// ```
    #[doc(alias = "get_checkpoints")]
    pub fn list_checkpoints(&self) -> Result<Vec<Checkpoint>> {
        self.list_checkpoints_with(CheckpointQuery::new())
    }

    /// The checkpoints of all trials. `GET /api/v1/experiments/{id}/checkpoints`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the experiment is gone, [`InvalidInput`](crate::ErrorKind::InvalidInput) for an order without a sort key.
    ///
    /// ```
    /// use determined::{CheckpointQuery, CheckpointSortBy, OrderBy};
    ///
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// let newest_first = CheckpointQuery::new().sort_by(CheckpointSortBy::EndTime).order_by(OrderBy::Descending);
    /// let newest = experiment.list_checkpoints_with(newest_first.max_results(1))?;
    /// assert_eq!(newest[0].metadata["steps_completed"], 5);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn list_checkpoints_with(&self, query: CheckpointQuery) -> Result<Vec<Checkpoint>> {
        checkpoint::list(&self.session, Owner::Experiment(self.id), &query)
    }

    /// The checkpoints of all trials, page by page, in the order in which the master sorts them: by default by trial and time of report.
    ///
    /// Masters rank checkpoints without a metric in ways of their own; [`list_checkpoints_with`](Self::list_checkpoints_with) puts them last.
    /// `GET /api/v1/experiments/{id}/checkpoints`.
    ///
    /// # Errors
    ///
    /// Like [`list_checkpoints_with`](Self::list_checkpoints_with); a later page's failure comes as an item.
    ///
    /// ```
    /// use determined::CheckpointQuery;
    ///
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// for checkpoint in experiment.iter_checkpoints_with(CheckpointQuery::new().page_size(20))? {
    ///     println!("{}", checkpoint?.uuid);
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn iter_checkpoints_with(&self, query: CheckpointQuery) -> Result<Pages<Checkpoint>> {
        checkpoint::pages(&self.session, Owner::Experiment(self.id), &query)
    }
}

/// The trials.
impl Experiment {
    /// All trials, in the order of their ids. Like [`get_trials_with`](Self::get_trials_with) without options.
    /// `GET /api/v1/experiments/{id}/trials`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// for trial in experiment.get_trials()? {
    ///     println!("{} {:?}", trial.id, trial.hparams);
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    #[doc(alias = "list_trials")]
    pub fn get_trials(&self) -> Result<Vec<Trial>> {
        self.get_trials_with(TrialQuery::new())
    }

    /// All trials. `GET /api/v1/experiments/{id}/trials`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// use determined::{TrialQuery, TrialSortBy};
    ///
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// let best_first = experiment.get_trials_with(TrialQuery::new().sort_by(TrialSortBy::BestValidationMetric))?;
    /// assert_eq!(best_first[0].hparams["decay"], 0.5);
    /// # Ok::<(), determined::Error>(())
    /// ```
    #[doc(alias = "list_trials")]
    pub fn get_trials_with(&self, query: TrialQuery) -> Result<Vec<Trial>> {
        trial::list(&self.session, self.id, &query)
    }

    /// All trials, page by page. `GET /api/v1/experiments/{id}/trials`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the experiment is gone; a later page's failure comes as an item.
    ///
    /// ```
    /// use determined::TrialQuery;
    ///
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// for trial in experiment.iter_trials_with(TrialQuery::new().page_size(20))? {
    ///     println!("{}", trial?.id);
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    #[doc(alias = "iter_trials")]
    pub fn iter_trials_with(&self, query: TrialQuery) -> Result<Pages<Trial>> {
        trial::pages(&self.session, self.id, &query)
    }
}
