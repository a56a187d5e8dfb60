//! The explicit client.

mod cluster;
mod models;

use crate::checkpoint::{self, Checkpoint};
use crate::config::ExperimentConfig;
use crate::error::Result;
use crate::experiment::{self, CreateExperimentOptions, Experiment, ExperimentQuery};
use crate::metrics::{self, MetricReports};
use crate::model_definition::ModelDefinition;
use crate::session::{LoginOptions, Pages, Session};
use crate::trial::{self, Trial};

/// A client of one master, logged in as one user.
///
/// Has every call that the [`client`](crate::client) module has; take it where a program talks to two masters, or as two users. Clones are cheap
/// and share their connections; all threads may use one at the same time.
///
/// ```
/// use determined::{Determined, testing::MockMaster};
///
/// let master = MockMaster::start();
/// let client = Determined::new(master.login_options())?;
/// assert_eq!(client.get_session_username(), "determined");
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Determined {
    session: Session,
}

impl Determined {
    /// Logs in. What the options leave out comes from the environment, the token store and the defaults; see [`LoginOptions`].
    ///
    /// `POST /api/v1/auth/login`, or `GET /api/v1/me` to check a stored token.
    ///
    /// # Errors
    ///
    /// [`Unauthenticated`](crate::ErrorKind::Unauthenticated) for a wrong user or password, or when there is nothing to log in with;
    /// [`Forbidden`](crate::ErrorKind::Forbidden) for a user who is not active; [`MasterNotFound`](crate::ErrorKind::MasterNotFound),
    /// [`Timeout`](crate::ErrorKind::Timeout) or [`Tls`](crate::ErrorKind::Tls) when the master cannot be reached;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a URL or an option that cannot be used;
    /// [`CorruptTokenCache`](crate::ErrorKind::CorruptTokenCache) when the token store had to be set aside: the next call works.
    ///
    /// ```
    /// use determined::{Determined, ErrorKind, LoginOptions, TokenStore};
    ///
    /// # let master = determined::testing::MockMaster::start();
    /// # let url = master.url();
    /// let options = LoginOptions::new().master(url).user("determined").token_store(TokenStore::None);
    /// let client = Determined::new(options.clone().password(""))?;
    /// let error = Determined::new(options.password("a guess")).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn new(options: LoginOptions) -> Result<Self> {
        Ok(Self {
            session: Session::login(options)?,
        })
    }

    /// Ends the session: its token is revoked, and taken out of the token store even if the master cannot be told.
    ///
    /// A token that came from `DET_USER_TOKEN` is not revoked: it belongs to whoever set the variable. Clones of this client are logged out
    /// too. `POST /api/v1/auth/logout`.
    ///
    /// # Errors
    ///
    /// When the master could not be told; here and in the store the session has ended all the same.
    ///
    /// ```
    /// # use determined::{ErrorKind, testing::MockMaster};
    /// # let master = MockMaster::start();
    /// let client = master.determined();
    /// client.logout()?;
    /// assert_eq!(client.whoami().unwrap_err().kind(), ErrorKind::Unauthenticated);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn logout(&self) -> Result<()> {
        self.session.logout()
    }

    /// The name of the user who is logged in, as it was given or found at login. Nothing is sent.
    pub fn get_session_username(&self) -> &str {
        self.session.username()
    }
}

/// Experiments, trials and checkpoints.
impl Determined {
    /// Submits an experiment and starts it. Like [`create_experiment_with`](Self::create_experiment_with) without options.
    /// `POST /api/v1/experiments`.
    ///
    /// # Errors
    ///
    /// Like [`create_experiment_with`](Self::create_experiment_with).
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// use determined::{ExperimentState, ModelDefinition};
    /// use serde_json::json;
    ///
    /// let config = json!({
    ///     "name": "tiny",
    ///     "entrypoint": "python3 train.py",
    ///     "searcher": {"name": "single", "metric": "loss", "max_length": 1},
    /// });
    /// let experiment = client.create_experiment(config, ModelDefinition::none())?; // usually a directory, such as "."
    /// assert_eq!(experiment.name, "tiny");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn create_experiment(
        &self,
        config: impl Into<ExperimentConfig>,
        model_def: impl Into<ModelDefinition>,
    ) -> Result<Experiment> {
        self.create_experiment_with(config, model_def, CreateExperimentOptions::new())
    }

    /// Submits an experiment: its configuration, and the code that it runs.
    ///
    /// The files are packed while they are sent. The request is sent once and never again: if it cannot be known whether the master has
    /// created the experiment, the error says so. What the master warns of is logged and kept in [`Experiment::warnings`].
    /// `POST /api/v1/experiments`.
    ///
    /// # Errors
    ///
    /// [`ExperimentConfig`](crate::ErrorKind::ExperimentConfig) for a configuration that is no YAML, or that the master does not take;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) and [`Io`](crate::ErrorKind::Io) for a model definition that is too large, is not there, or
    /// changes while it is sent; [`NotFound`](crate::ErrorKind::NotFound) for a project or template that does not exist.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// use determined::CreateExperimentOptions;
    ///
    /// let options = CreateExperimentOptions::new()
    ///     .include("examples/quickstart.rs") // usually a directory of one's own, such as "../lib"
    ///     .activate(false)
    ///     .on_progress(|progress| println!("{} bytes", progress.bytes_done));
    /// let experiment = client.create_experiment_with("examples/model_def/config.yaml", "examples/model_def", options)?;
    /// experiment.activate()?;
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn create_experiment_with(
        &self,
        config: impl Into<ExperimentConfig>,
        model_def: impl Into<ModelDefinition>,
        options: CreateExperimentOptions,
    ) -> Result<Experiment> {
        experiment::create(&self.session, &config.into(), &model_def.into(), &options)
    }

    /// An experiment. `GET /api/v1/experiments/{id}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is none with this id.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// # let id = master.experiment().create().id;
    /// let experiment = client.get_experiment(id)?;
    /// assert_eq!(experiment.state.to_string(), "COMPLETED");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn get_experiment(&self, experiment_id: i32) -> Result<Experiment> {
        experiment::get(&self.session, experiment_id)
    }

    /// All experiments that the user may see, in the order of their ids. Like [`list_experiments_with`](Self::list_experiments_with) without
    /// options. `GET /api/v1/experiments`.
    ///
    /// # Errors
    ///
    /// When the master cannot be asked.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// # master.experiment().create();
    /// for experiment in client.list_experiments()? {
    ///     println!("{} {}", experiment.id, experiment.name);
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn list_experiments(&self) -> Result<Vec<Experiment>> {
        self.list_experiments_with(ExperimentQuery::new())
    }

    /// The experiments that a query asks for. `GET /api/v1/experiments`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) for a project that does not exist.
    ///
    /// ```
    /// use determined::{ExperimentQuery, ExperimentState};
    ///
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// # master.experiment().create();
    /// let completed = ExperimentQuery::new().states([ExperimentState::Completed]);
    /// assert_eq!(client.list_experiments_with(completed)?.len(), 1);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn list_experiments_with(&self, query: ExperimentQuery) -> Result<Vec<Experiment>> {
        experiment::list(&self.session, &query)
    }

    /// The experiments that a query asks for, page by page. `GET /api/v1/experiments`.
    ///
    /// # Errors
    ///
    /// Like [`list_experiments_with`](Self::list_experiments_with); a later page's failure comes as an item.
    ///
    /// ```
    /// use determined::ExperimentQuery;
    ///
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// # master.experiment().create();
    /// for experiment in client.iter_experiments_with(ExperimentQuery::new().page_size(50))? {
    ///     println!("{}", experiment?.name);
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn iter_experiments_with(&self, query: ExperimentQuery) -> Result<Pages<Experiment>> {
        experiment::pages(&self.session, &query)
    }

    /// A trial. `GET /api/v1/trials/{id}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is none with this id.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// # let id = master.experiment().create().await_first_trial()?.id;
    /// println!("{:?}", client.get_trial(id)?.hparams);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn get_trial(&self, trial_id: i32) -> Result<Trial> {
        trial::get(&self.session, trial_id)
    }

    /// What some trials have reported to a group so far: `training`, `validation`, or another that they chose.
    ///
    /// The reports come in the order of trials, runs and steps. `GET /api/v1/trials/metrics/trial_metrics`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) without any trial, [`NotFound`](crate::ErrorKind::NotFound) if one of them does not exist,
    /// [`Unsupported`](crate::ErrorKind::Unsupported) if the master is too old; what goes wrong later comes as an item.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// # let experiment = master.experiment().create();
    /// let trial_ids = experiment.get_trials()?.into_iter().map(|trial| trial.id);
    /// for report in client.iter_trials_metrics(trial_ids, "validation")? {
    ///     let report = report?;
    ///     println!("{} {} {:?}", report.trial_id, report.steps_completed, report.metric("val_loss"));
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    #[doc(alias(
        "stream_trials_metrics",
        "stream_trials_training_metrics",
        "stream_trials_validation_metrics"
    ))]
    pub fn iter_trials_metrics(
        &self,
        trial_ids: impl IntoIterator<Item = i32>,
        group: &str,
    ) -> Result<MetricReports> {
        metrics::of_trials(&self.session, trial_ids, group)
    }

    /// A checkpoint. `GET /api/v1/checkpoints/{uuid}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is none with this id, [`Api`](crate::ErrorKind::Api) if it is no uuid.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// # let uuid = master.experiment().create().top_checkpoint()?.uuid;
    /// let checkpoint = client.get_checkpoint(&uuid)?;
    /// assert_eq!(checkpoint.resources["sub/w.bin"], 2048);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn get_checkpoint(&self, uuid: &str) -> Result<Checkpoint> {
        checkpoint::get(&self.session, uuid)
    }
}
