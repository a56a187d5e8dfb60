//! What a test wants to find on the master: experiments, models, users and workspaces, made in one line each.
//!
//! They are made as clients make them. The requests for that are not among [`MockMaster::requests`], and no fault comes to pass with them.

use super::MockMaster;
use super::simulation::{Model as Script, TrialScript, object, script_of_metrics};
use super::users::password_hash;
use crate::{
    CreateExperimentOptions, CreateModelOptions, Determined, Experiment, Model, ModelDefinition,
    Result, User, Workspace,
};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

impl MockMaster {
    /// An experiment of `determined`'s, to be described and then [created](ExperimentSeed::create): unless it is told otherwise, a grid search of two
    /// trials, each with five steps and three checkpoints, by `val_loss`.
    ///
    /// ```
    /// use determined::{MetricOrder, testing::MockMaster};
    ///
    /// let master = MockMaster::start();
    /// let experiment = master.experiment().create();
    /// assert_eq!(experiment.get_trials()?.len(), 2);
    /// assert_eq!(experiment.list_checkpoints()?.len(), 6);
    ///
    /// let experiment = master.experiment().with_trials(3).with_metric("accuracy", [0.5, 0.9, 0.7]).larger_is_better().create();
    /// assert_eq!(experiment.get_trials()?.len(), 3);
    /// let best = experiment.top_checkpoint()?.training.unwrap();
    /// assert_eq!(best.validation_metrics["avgMetrics"]["accuracy"], 0.9);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn experiment(&self) -> ExperimentSeed<'_> {
        ExperimentSeed {
            master: self,
            trials: 2,
            metrics: Vec::new(),
            scripts: Vec::new(),
            files: None,
            config: json!({}),
        }
    }

    /// A model of `determined`'s in the registry, to be described and then [created](ModelSeed::create).
    ///
    /// ```
    /// use determined::testing::MockMaster;
    ///
    /// let master = MockMaster::start();
    /// let checkpoint = master.experiment().create().top_checkpoint()?;
    /// let model = master.model("iris").with_labels(["flowers"]).with_version(&checkpoint.uuid).create();
    /// assert_eq!(model.get_versions()?.len(), 1);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn model(&self, name: impl Into<String>) -> ModelSeed<'_> {
        ModelSeed {
            master: self,
            name: name.into(),
            options: CreateModelOptions::new(),
            checkpoints: Vec::new(),
        }
    }

    /// A user, to be described and then [created](UserSeed::create).
    ///
    /// ```
    /// use determined::{Determined, testing::MockMaster};
    ///
    /// let master = MockMaster::start();
    /// master.user("kim").with_password("secret").create();
    /// let kim = Determined::new(master.login_options().user("kim").password("secret"))?;
    /// assert!(!kim.whoami()?.admin);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn user(&self, name: impl Into<String>) -> UserSeed<'_> {
        UserSeed {
            master: self,
            name: name.into(),
            password: String::new(),
            admin: false,
        }
    }

    /// A workspace of `determined`'s, to be described and then [created](WorkspaceSeed::create).
    ///
    /// ```
    /// use determined::testing::MockMaster;
    ///
    /// let master = MockMaster::start();
    /// let workspace = master.workspace("lab").with_project("flowers").create();
    /// assert_eq!(workspace.list_projects()?[0].name, "flowers");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn workspace(&self, name: impl Into<String>) -> WorkspaceSeed<'_> {
        WorkspaceSeed {
            master: self,
            name: name.into(),
            projects: Vec::new(),
        }
    }

    /// Makes something as `user`, with requests that count for nothing.
    #[track_caller]
    fn seed<T>(&self, user: &str, make: impl FnOnce(&Determined) -> Result<T>) -> T {
        let quiet = self.front.traffic.hush();
        let options = self
            .login_options()
            .user(user)
            .user_agent_suffix(quiet.name());
        match Determined::new(options).and_then(|client| make(&client)) {
            Ok(made) => made,
            Err(error) => panic!("the mock master does not take it: {error}"),
        }
    }
}

/// An experiment that is not there yet; see [`MockMaster::experiment`].
#[must_use = "`create` makes it"]
pub struct ExperimentSeed<'a> {
    master: &'a MockMaster,
    trials: usize,
    /// Values by step.
    metrics: Vec<(String, Vec<f64>)>,
    /// A trial each; without any, the trials do as the other fields say.
    scripts: Vec<TrialScript>,
    /// What checkpoints hold, if it is not what the model or the scripts say.
    files: Option<BTreeMap<String, Vec<u8>>>,
    /// What goes before the rest.
    config: Value,
}

impl fmt::Debug for ExperimentSeed<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ExperimentSeed")
            .field("config", &self.config())
            .finish_non_exhaustive()
    }
}

impl ExperimentSeed<'_> {
    /// Its name. The default is `example`.
    pub fn with_name(self, name: impl Into<String>) -> Self {
        self.with_config(json!({"name": name.into()}))
    }

    /// How many trials it has. The default is two.
    pub fn with_trials(mut self, trials: usize) -> Self {
        self.trials = trials;
        self
    }

    /// Lets every trial validate `name` with these values, at the steps 1, 2 and so on, each of them with a checkpoint.
    ///
    /// The searcher judges by the first metric that is given; others stand beside it.
    pub fn with_metric(
        mut self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = f64>,
    ) -> Self {
        self.metrics
            .push((name.into(), values.into_iter().collect()));
        self
    }

    /// Lets the searcher take a larger metric for a better one. By default a smaller one is better.
    pub fn larger_is_better(self) -> Self {
        self.with_config(json!({"searcher": {"smaller_is_better": false}}))
    }

    /// Adds a trial that does what `script` says. The experiment has these trials and no others.
    ///
    /// ```
    /// use determined::{ExperimentState, testing::{MockMaster, TrialScript}};
    /// use serde_json::json;
    ///
    /// let master = MockMaster::start();
    /// let good = TrialScript::new().validation(1, json!({"val_loss": 0.25})).checkpoint(1, [("model.bin", &b"weights"[..])]);
    /// let experiment = master.experiment().with_trial(good).with_trial(TrialScript::new().exit(1)).create();
    /// assert_eq!(experiment.wait()?, ExperimentState::Completed);
    /// assert_eq!(experiment.top_checkpoint()?.resources["model.bin"], 7);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn with_trial(mut self, script: TrialScript) -> Self {
        self.scripts.push(script);
        self
    }

    /// Lets each of its checkpoints hold these files. A path that ends with `/` is a directory.
    ///
    /// ```
    /// use determined::testing::MockMaster;
    ///
    /// let master = MockMaster::start();
    /// let experiment = master.experiment().with_checkpoint([("model.bin", "weights"), ("conf/a.json", "{}")]).create();
    /// let scratch = tempfile::tempdir().unwrap();
    /// let options = determined::DownloadOptions::new().path(scratch.path().join("best"));
    /// let files = experiment.top_checkpoint()?.download_with(options)?;
    /// assert_eq!(std::fs::read(files.join("model.bin")).unwrap(), b"weights");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn with_checkpoint(
        mut self,
        files: impl IntoIterator<Item = (impl Into<String>, impl Into<Vec<u8>>)>,
    ) -> Self {
        let files = files.into_iter();
        let files = files.map(|(path, content)| (path.into(), content.into()));
        self.files = Some(files.collect());
        self
    }

    /// Says more of its configuration, or says it otherwise: an object, merged into what would be submitted.
    ///
    /// # Panics
    ///
    /// If `config` is not an object.
    #[track_caller]
    pub fn with_config(mut self, config: impl Serialize) -> Self {
        merge(&mut self.config, Value::Object(object(&config, "config")));
        self
    }

    /// Submits it. By [`Clock::Instant`](super::Clock::Instant) it has ended when the next request is answered.
    ///
    /// # Panics
    ///
    /// If the master refuses it, for its configuration for instance.
    #[track_caller]
    pub fn create(self) -> Experiment {
        let config = self.config();
        let script = self.script();
        self.master.seed("determined", |client| {
            let paused = CreateExperimentOptions::new().activate(false);
            let experiment =
                client.create_experiment_with(config, ModelDefinition::none(), paused)?;
            if let Some(script) = script {
                self.master
                    .front
                    .shared
                    .lock()
                    .script_experiment(experiment.id, script);
            }
            experiment.activate()?;
            client.get_experiment(experiment.id)
        })
    }

    fn config(&self) -> Value {
        let trials = match self.scripts.len() {
            0 => self.trials,
            scripts => scripts,
        };
        let metric = self.metrics.first().map_or("val_loss", |(name, _)| name);
        let mut config = json!({
            "name": "example",
            "entrypoint": "python3 train.py",
            "hyperparameters": {"decay": {"type": "categorical", "vals": decays(trials)}},
            "searcher": {"name": "grid", "metric": metric},
            "checkpoint_storage": {"save_trial_best": 100, "save_trial_latest": 100},
            "max_restarts": 0,
        });
        merge(&mut config, self.config.clone());
        config
    }

    /// What its trials do, if it is not what the master's model says.
    fn script(&self) -> Option<Script> {
        let script = self.script_without_files();
        let Some(files) = self.files.clone() else {
            return script;
        };
        let script = script.unwrap_or_else(|| self.master.front.shared.lock().model.clone());
        Some(Arc::new(move |trial| script(trial).with_files(&files)))
    }

    fn script_without_files(&self) -> Option<Script> {
        if !self.scripts.is_empty() {
            let scripts = self.scripts.clone();
            return Some(Arc::new(move |trial| {
                scripts.get(trial.index).cloned().unwrap_or_default()
            }));
        }
        let metrics = self.metrics.clone();
        (!metrics.is_empty()).then(|| Arc::new(move |_: &_| script_of_metrics(&metrics)) as Script)
    }
}

/// As many values of the hyperparameter `decay`, from 0.5 to 0.8.
fn decays(count: usize) -> Vec<Value> {
    let last = count.saturating_sub(1).max(1) as f64;
    (0..count)
        .map(|index| Value::from(0.5 + 0.3 * index as f64 / last))
        .collect()
}

/// Takes what `other` says into `value`; where both are objects, key by key.
fn merge(value: &mut Value, other: Value) {
    match (value, other) {
        (Value::Object(map), Value::Object(other)) => {
            for (key, other) in other {
                merge(map.entry(key).or_insert(Value::Null), other);
            }
        }
        (value, other) => *value = other,
    }
}

/// A model that is not there yet; see [`MockMaster::model`].
#[derive(Debug)]
#[must_use = "`create` makes it"]
pub struct ModelSeed<'a> {
    master: &'a MockMaster,
    name: String,
    options: CreateModelOptions,
    checkpoints: Vec<String>,
}

impl ModelSeed<'_> {
    /// What it is. The default is nothing.
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.options = self.options.description(description);
        self
    }

    /// Its metadata, which must be an object. The default is an empty one.
    pub fn with_metadata(mut self, metadata: impl Serialize) -> Self {
        self.options = self.options.metadata(metadata);
        self
    }

    /// Its labels. The default is none.
    pub fn with_labels(mut self, labels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.options = self.options.labels(labels);
        self
    }

    /// Adds a version: the checkpoint of this uuid. The default is no version.
    pub fn with_version(mut self, checkpoint: impl Into<String>) -> Self {
        self.checkpoints.push(checkpoint.into());
        self
    }

    /// Makes it.
    ///
    /// # Panics
    ///
    /// If the master refuses it, for a name that is taken or a checkpoint that there is not, for instance.
    #[track_caller]
    pub fn create(self) -> Model {
        self.master.seed("determined", |client| {
            let model = client.create_model_with(&self.name, self.options)?;
            for checkpoint in &self.checkpoints {
                model.register_version(checkpoint)?;
            }
            client.get_model(model.model_id)
        })
    }
}

/// A user who is not there yet; see [`MockMaster::user`].
#[must_use = "`create` makes it"]
pub struct UserSeed<'a> {
    master: &'a MockMaster,
    name: String,
    password: String,
    admin: bool,
}

impl fmt::Debug for UserSeed<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("UserSeed")
            .field("name", &self.name)
            .field("admin", &self.admin)
            .finish_non_exhaustive()
    }
}

impl UserSeed<'_> {
    /// The password. The default is the blank one.
    pub fn with_password(mut self, password: impl Into<String>) -> Self {
        self.password = password.into();
        self
    }

    /// Makes an administrator of the user.
    pub fn admin(mut self) -> Self {
        self.admin = true;
        self
    }

    /// Makes the user.
    ///
    /// # Panics
    ///
    /// If the master refuses it, for a name that is taken for instance.
    #[track_caller]
    pub fn create(self) -> User {
        // Not through the API, which wants passwords to be good ones.
        let hash = password_hash(&self.password);
        let mut state = self.master.front.shared.lock();
        if let Err(failure) = state.add_user(&self.name, self.admin, Some(hash)) {
            let why = failure.message;
            drop(state);
            panic!(
                "the mock master does not take the user {:?}: {why}",
                self.name
            );
        }
        drop(state);
        self.master
            .seed("admin", |client| client.get_user_by_name(&self.name))
    }
}

/// A workspace that is not there yet; see [`MockMaster::workspace`].
#[derive(Debug)]
#[must_use = "`create` makes it"]
pub struct WorkspaceSeed<'a> {
    master: &'a MockMaster,
    name: String,
    projects: Vec<String>,
}

impl WorkspaceSeed<'_> {
    /// Adds a project. The default is none.
    pub fn with_project(mut self, name: impl Into<String>) -> Self {
        self.projects.push(name.into());
        self
    }

    /// Makes it.
    ///
    /// # Panics
    ///
    /// If the master refuses it, for a name that is taken for instance.
    #[track_caller]
    pub fn create(self) -> Workspace {
        self.master.seed("determined", |client| {
            let workspace = client.create_workspace(&self.name)?;
            for project in &self.projects {
                workspace.create_project(project)?;
            }
            client.get_workspace(&self.name)
        })
    }
}
