//! Experiments: what was submitted, how it fares, and what can be done with it.

mod code;
mod create;
mod query;
mod wait;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::checkpoint::{self, Checkpoint, CheckpointQuery, MetricOrder, Owner};
use crate::error::{Error, ErrorKind, Result};
use crate::name::{self, NameOrId};
use crate::session::{Pages, Session, route};
use crate::trial::{self, Trial, TrialQuery};
use crate::wire::{object, state_enum};
use crate::workspace;

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
        pub id: i32,
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
        pub checkpoint_size: u64 as "crate::wire::count",
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
    /// [`CheckpointUnavailable`](ErrorKind::CheckpointUnavailable) if no completed checkpoint has the metric.
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
    /// [`CheckpointUnavailable`](ErrorKind::CheckpointUnavailable) if no completed checkpoint has the metric as a finite number.
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
            .map_err(|error| error.doing(format!("get the best checkpoint of {owner}")))
    }

    /// The best completed checkpoint of each trial, the best of these first, up to `limit`, by the metric and in the direction of the
    /// experiment's searcher.
    ///
    /// Like [`top_n_checkpoints_with`](Self::top_n_checkpoints_with) without options. `GET /api/v1/experiments/{id}/checkpoints`.
    ///
    /// # Errors
    ///
    /// [`CheckpointUnavailable`](ErrorKind::CheckpointUnavailable) if there is no completed checkpoint.
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
    /// [`CheckpointUnavailable`](ErrorKind::CheckpointUnavailable) if there is no completed checkpoint.
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
            .map_err(|error| error.doing(format!("get the best checkpoints of {owner}")))
    }

    /// The completed checkpoints of all trials, the best first. Like [`list_checkpoints_with`](Self::list_checkpoints_with) without options.
    /// `GET /api/v1/experiments/{id}/checkpoints`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the experiment is gone.
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
    /// [`NotFound`](ErrorKind::NotFound) if the experiment is gone, [`InvalidInput`](ErrorKind::InvalidInput) for an order without a sort key.
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
    /// [`NotFound`](ErrorKind::NotFound) if the experiment is gone.
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
    /// [`NotFound`](ErrorKind::NotFound) if the experiment is gone.
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
    /// [`NotFound`](ErrorKind::NotFound) if the experiment is gone; a later page's failure comes as an item.
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

/// Actions.
impl Experiment {
    /// Asks the master again and fills all fields anew. `GET /api/v1/experiments/{id}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut experiment = master.experiment().create();
    /// experiment.reload()?;
    /// assert_eq!(experiment.progress, Some(1.0));
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn reload(&mut self) -> Result<()> {
        *self = get(&self.session, self.id)?;
        Ok(())
    }

    /// Lets a paused experiment run on. `POST /api/v1/experiments/{id}/activate`.
    ///
    /// The fields of this object stay as they are, here and with the other actions that take `&self`; [`reload`](Self::reload) shows the effect.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the experiment is gone, or has ended.
    ///
    /// ```
    /// # use determined::testing::{Clock, MockMaster, MockMasterOptions};
    /// # let master = MockMaster::start_with(MockMasterOptions::new().clock(Clock::Manual));
    /// # let experiment = master.experiment().create();
    /// # experiment.pause()?;
    /// experiment.activate()?;
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn activate(&self) -> Result<()> {
        self.act("activate").map_err(|error| {
            if error.is_not_found() {
                return error.with_hint("one that has ended cannot be activated either");
            }
            error
        })
    }

    /// Pauses a running experiment: its trials save a checkpoint and give back their resources. `POST /api/v1/experiments/{id}/pause`.
    ///
    /// # Errors
    ///
    /// [`Api`](ErrorKind::Api) if the experiment has ended, [`NotFound`](ErrorKind::NotFound) if it is gone.
    ///
    /// ```
    /// # use determined::testing::{Clock, MockMaster, MockMasterOptions};
    /// # let master = MockMaster::start_with(MockMasterOptions::new().clock(Clock::Manual));
    /// # let mut experiment = master.experiment().create();
    /// experiment.pause()?;
    /// experiment.reload()?;
    /// assert_eq!(experiment.state.to_string(), "PAUSED");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn pause(&self) -> Result<()> {
        self.act("pause")
    }

    /// Ends an experiment early; its trials may save a last checkpoint. One that has ended stays as it is.
    /// `POST /api/v1/experiments/{id}/cancel`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # use determined::testing::{Clock, MockMaster, MockMasterOptions};
    /// # let master = MockMaster::start_with(MockMasterOptions::new().clock(Clock::Manual));
    /// # let experiment = master.experiment().create();
    /// experiment.cancel()?;
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn cancel(&self) -> Result<()> {
        self.act("cancel")
    }

    /// Ends an experiment at once. One that has ended stays as it is. `POST /api/v1/experiments/{id}/kill`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # use determined::testing::{Clock, MockMaster, MockMasterOptions};
    /// # let master = MockMaster::start_with(MockMasterOptions::new().clock(Clock::Manual));
    /// # let experiment = master.experiment().create();
    /// experiment.kill()?;
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn kill(&self) -> Result<()> {
        self.act("kill")
    }

    /// Hides an experiment that has ended from the usual lists of the web interface. `POST /api/v1/experiments/{id}/archive`.
    ///
    /// # Errors
    ///
    /// [`Api`](ErrorKind::Api) if it has not ended or is archived already, [`NotFound`](ErrorKind::NotFound) if it is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut experiment = master.experiment().create();
    /// experiment.archive()?;
    /// assert!(experiment.archived);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn archive(&mut self) -> Result<()> {
        self.act("archive")?;
        self.archived = true;
        Ok(())
    }

    /// Takes back [`archive`](Self::archive). `POST /api/v1/experiments/{id}/unarchive`.
    ///
    /// # Errors
    ///
    /// [`Api`](ErrorKind::Api) if it is not archived, [`NotFound`](ErrorKind::NotFound) if it is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut experiment = master.experiment().create();
    /// # experiment.archive()?;
    /// experiment.unarchive()?;
    /// assert!(!experiment.archived);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn unarchive(&mut self) -> Result<()> {
        self.act("unarchive")?;
        self.archived = false;
        Ok(())
    }

    fn act(&self, action: &str) -> Result<()> {
        self.session
            .post(path(self.id, &format!("/{action}")))
            .doing(format!("{action} experiment {}", self.id))
            .send()
    }

    /// Deletes an experiment that has ended, with its trials, checkpoints, logs and metrics.
    ///
    /// The master accepts and does it a little later; [`wait`](Self::wait) returns when it is done. For the owner and administrators.
    /// `DELETE /api/v1/experiments/{id}`.
    ///
    /// # Errors
    ///
    /// [`Api`](ErrorKind::Api) if it has not ended, [`Forbidden`](ErrorKind::Forbidden) without the right,
    /// [`NotFound`](ErrorKind::NotFound) if it is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// experiment.delete()?;
    /// assert_eq!(experiment.wait()?.to_string(), "DELETED");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn delete(&self) -> Result<()> {
        self.session
            .delete(path(self.id, ""))
            .doing(format!("delete experiment {}", self.id))
            .send()
    }

    /// Moves the experiment to a project of a workspace, each by its exact name.
    ///
    /// `GET /api/v1/workspaces`, `GET /api/v1/workspaces/{id}/projects`, then `POST /api/v1/experiments/{id}/move`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if there is no such workspace or project, [`Forbidden`](ErrorKind::Forbidden) without the right,
    /// [`Api`](ErrorKind::Api) if the experiment is archived.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut experiment = master.experiment().create();
    /// # master.determined().create_workspace("lab")?.create_project("vision")?;
    /// experiment.move_to_project("lab", "vision")?;
    /// assert_eq!(experiment.project_name, "vision");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn move_to_project(&mut self, workspace_name: &str, project_name: &str) -> Result<()> {
        let workspace = workspace::get(&self.session, NameOrId::from(workspace_name))?;
        let project = workspace.get_project(project_name)?;
        self.session
            .post(path(self.id, "/move"))
            .doing(format!(
                "move experiment {} to project {project_name:?} of workspace {workspace_name:?}",
                self.id
            ))
            .json(&json!({"destinationProjectId": project.id, "experimentId": self.id}))
            .send()?;
        self.project_id = project.id;
        self.project_name = project.name;
        self.workspace_id = Some(workspace.id);
        self.workspace_name = workspace.name;
        Ok(())
    }

    /// Deletes what the experiment stored for TensorBoard. The master does it a little later.
    /// `DELETE /api/v1/experiments/{id}/tensorboard-files`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// experiment.delete_tensorboard_files()?;
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn delete_tensorboard_files(&self) -> Result<()> {
        self.session
            .delete(path(self.id, "/tensorboard-files"))
            .doing(format!(
                "delete the TensorBoard files of experiment {}",
                self.id
            ))
            .send()
    }

    /// The Pachyderm part of the configuration. Nothing is sent.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the configuration has none.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// # use determined::ErrorKind;
    /// let error = experiment.get_pachyderm_config().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidInput); // this experiment has nothing to do with Pachyderm
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn get_pachyderm_config(&self) -> Result<Map<String, Value>> {
        match self.config.pointer("/integrations/pachyderm") {
            Some(Value::Object(config)) => Ok(config.clone()),
            _ => Err(Error::new(
                ErrorKind::InvalidInput,
                "its configuration has no integrations.pachyderm",
            )
            .doing(format!(
                "get the Pachyderm configuration of experiment {}",
                self.id
            ))),
        }
    }
}

/// Changes of what people wrote.
impl Experiment {
    /// Changes the name. `PATCH /api/v1/experiments/{id}`.
    ///
    /// # Errors
    ///
    /// [`Api`](ErrorKind::Api) for a blank name, [`NotFound`](ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut experiment = master.experiment().create();
    /// experiment.set_name("baseline")?;
    /// assert_eq!(experiment.name, "baseline");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn set_name(&mut self, name: &str) -> Result<()> {
        self.name = self.patch("name", name)?.name;
        self.configure("name", self.name.clone());
        Ok(())
    }

    /// Changes the description; it may be empty. `PATCH /api/v1/experiments/{id}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut experiment = master.experiment().create();
    /// experiment.set_description("without augmentation")?;
    /// assert_eq!(experiment.description, "without augmentation");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn set_description(&mut self, description: &str) -> Result<()> {
        self.description = self.patch("description", description)?.description;
        self.configure("description", self.description.clone());
        Ok(())
    }

    /// Changes the notes; they may be empty. `PATCH /api/v1/experiments/{id}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut experiment = master.experiment().create();
    /// experiment.set_notes("the loss explodes at step 300")?;
    /// assert_eq!(experiment.notes.as_deref(), Some("the loss explodes at step 300"));
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn set_notes(&mut self, notes: &str) -> Result<()> {
        self.notes = self.patch("notes", notes)?.notes;
        Ok(())
    }

    /// Replaces all labels. `PATCH /api/v1/experiments/{id}`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for an empty label, [`NotFound`](ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut experiment = master.experiment().create();
    /// experiment.set_labels(["baseline", "vision"])?;
    /// assert_eq!(experiment.labels.len(), 2);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn set_labels(&mut self, labels: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        let labels: Vec<String> = labels.into_iter().map(|l| l.as_ref().to_owned()).collect();
        for label in &labels {
            self.check_label(label)?;
        }
        let labels = self.patch("labels", labels)?.labels;
        self.take_labels(labels);
        Ok(())
    }

    /// Adds a label; one that is there is no error. `PUT /api/v1/experiments/{id}/labels/{label}`, or for a label that cannot stand in a
    /// route, such as one with a slash, `GET` and `PATCH /api/v1/experiments/{id}`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for an empty label, [`NotFound`](ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut experiment = master.experiment().create();
    /// experiment.add_label("baseline")?;
    /// assert!(experiment.labels.contains(&"baseline".to_owned()));
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn add_label(&mut self, label: &str) -> Result<()> {
        self.check_label(label)?;
        if !name::fits_route(label) {
            return self.edit_labels(|labels| {
                if !labels.iter().any(|known| known == label) {
                    labels.push(label.to_owned());
                }
            });
        }
        let labels: Option<Vec<String>> = self
            .session
            .put(self.label_path(label))
            .doing(format!("add label {label:?} to experiment {}", self.id))
            .fetch_field("labels")?;
        self.take_labels(labels.unwrap_or_default());
        Ok(())
    }

    /// Takes a label away; one that is not there is no error.
    ///
    /// `DELETE /api/v1/experiments/{id}/labels/{label}`; and because some masters fail at that, then `GET` and
    /// `PATCH /api/v1/experiments/{id}`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for an empty label, [`NotFound`](ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut experiment = master.experiment().create();
    /// # experiment.add_label("baseline")?;
    /// experiment.remove_label("baseline")?;
    /// assert!(experiment.labels.is_empty());
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn remove_label(&mut self, label: &str) -> Result<()> {
        self.check_label(label)?;
        let removed: Option<Result<Option<Vec<String>>>> = name::fits_route(label).then(|| {
            self.session
                .delete(self.label_path(label))
                .doing(format!(
                    "remove label {label:?} from experiment {}",
                    self.id
                ))
                .fetch_field("labels")
        });
        match removed {
            Some(Ok(labels)) => {
                self.take_labels(labels.unwrap_or_default());
                Ok(())
            }
            Some(Err(error)) if error.status() != Some(500) => Err(error),
            _ => self.edit_labels(|labels| labels.retain(|known| known != label)),
        }
    }

    fn label_path(&self, label: &str) -> String {
        route!("/api/v1/experiments/{}/labels/{}", self.id, label)
    }

    /// Changes the labels that the master has now.
    fn edit_labels(&mut self, edit: impl FnOnce(&mut Vec<String>)) -> Result<()> {
        let before = get(&self.session, self.id)?.labels;
        let mut labels = before.clone();
        edit(&mut labels);
        let labels = if labels == before {
            labels
        } else {
            self.patch("labels", labels)?.labels
        };
        self.take_labels(labels);
        Ok(())
    }

    fn take_labels(&mut self, labels: Vec<String>) {
        self.configure("labels", labels.clone());
        self.labels = labels;
    }

    /// Keeps the configuration in step: the master writes what is changed there too, but does not send it.
    fn configure(&mut self, field: &str, value: impl Into<Value>) {
        if let Value::Object(config) = &mut self.config {
            config.insert(field.to_owned(), value.into());
        }
    }

    fn check_label(&self, label: &str) -> Result<()> {
        if label.is_empty() {
            return Err(Error::invalid_input("a label is empty")
                .doing(format!("label experiment {}", self.id)));
        }
        Ok(())
    }

    /// Changes one field and gives the experiment as it is then.
    fn patch(&self, field: &str, value: impl Into<Value>) -> Result<ExperimentBody> {
        self.session
            .patch(path(self.id, ""))
            .doing(format!("change the {field} of experiment {}", self.id))
            .json(&json!({"id": self.id, field: value.into()}))
            .fetch_field("experiment")
    }
}
