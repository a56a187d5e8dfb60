//! What a simulated trial does.

use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// A trial about which a [model](super::super::MockMasterOptions::model) is asked what it does.
///
/// ```
/// use determined::testing::{MockMaster, MockMasterOptions, SimulatedTrial, TrialScript};
///
/// /// The first trial of every experiment fails, until it has begun three times.
/// fn model(trial: &SimulatedTrial) -> TrialScript {
///     let is_broken = trial.index == 0 && trial.restarts < 2;
///     TrialScript::new().print("hello").exit(i32::from(is_broken))
/// }
///
/// let master = MockMaster::start_with(MockMasterOptions::new().model(model));
/// let restarting = serde_json::json!({"max_restarts": 2});
/// let trial = master.experiment().with_config(restarting).create().await_first_trial()?;
/// assert_eq!((trial.state.as_str(), trial.restarts), ("COMPLETED", 2));
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SimulatedTrial {
    /// The trial's id.
    pub id: i32,
    /// The id of its experiment.
    pub experiment_id: i32,
    /// Its place among the trials of its experiment, from 0 on.
    pub index: usize,
    /// The values that the searcher gave to the hyperparameters.
    pub hparams: Map<String, Value>,
    /// The experiment's complete configuration.
    pub config: Value,
    /// How often the trial failed before and began again.
    pub restarts: i32,
    pub(in crate::testing) files: Arc<BTreeMap<String, Vec<u8>>>,
}

impl SimulatedTrial {
    /// The hyperparameter as a number, if it is one.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.hparams.get(name)?.as_f64()
    }

    /// The content of a submitted file.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    /// The metric by which the experiment's searcher judges.
    pub fn metric(&self) -> &str {
        self.config["searcher"]["metric"].as_str().unwrap_or("")
    }

    /// Whether the searcher takes a smaller metric for a better one.
    pub fn smaller_is_better(&self) -> bool {
        self.config["searcher"]["smaller_is_better"]
            .as_bool()
            .unwrap_or(true)
    }
}

/// What a simulated trial does, from its first step to its end. With nothing in it the trial completes at once.
///
/// ```
/// use determined::testing::TrialScript;
/// use serde_json::json;
/// use std::time::Duration;
///
/// let script = TrialScript::new()
///     .print("hello")
///     .wait(Duration::from_secs(1))
///     .training(1, json!({"loss": 0.5}))
///     .validation(1, json!({"accuracy": 0.75}))
///     .checkpoint(1, [("model.bin", &b"weights"[..])]);
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct TrialScript {
    pub(in crate::testing) actions: VecDeque<Action>,
}

#[derive(Debug, Clone)]
pub(in crate::testing) enum Action {
    Wait(Duration),
    Log(Line),
    Report {
        group: String,
        steps: i32,
        metrics: Map<String, Value>,
    },
    Progress(f64),
    Checkpoint {
        metadata: Map<String, Value>,
        /// By path; a path that ends with a slash is a directory.
        files: BTreeMap<String, Vec<u8>>,
        uuid: String,
    },
    Exit(i32),
}

#[derive(Debug, Clone)]
pub(in crate::testing) struct Line {
    /// Without its prefix, as on the wire: `INFO`.
    pub(in crate::testing) level: Option<&'static str>,
    pub(in crate::testing) text: String,
    pub(in crate::testing) stderr: bool,
}

impl TrialScript {
    /// A script without anything in it.
    pub fn new() -> Self {
        Self::default()
    }

    fn then(mut self, action: Action) -> Self {
        self.actions.push_back(action);
        self
    }

    /// Lets time pass. Between two waits everything happens at the same moment.
    pub fn wait(self, duration: Duration) -> Self {
        self.then(Action::Wait(duration))
    }

    /// Prints a line to the standard output; it has no level in the log.
    pub fn print(self, line: impl Into<String>) -> Self {
        self.line(None, line.into(), false)
    }

    /// Prints a line to the standard error output; it has no level in the log.
    pub fn print_error(self, line: impl Into<String>) -> Self {
        self.line(None, line.into(), true)
    }

    /// Logs a line with the level INFO, as Python's `logging` does: to the standard error output.
    pub fn log(self, line: impl Into<String>) -> Self {
        self.line(Some("INFO"), line.into(), true)
    }

    pub(super) fn line(self, level: Option<&'static str>, text: String, stderr: bool) -> Self {
        self.then(Action::Log(Line {
            level,
            text,
            stderr,
        }))
    }

    /// Reports training metrics, which must be an object of numbers and the like.
    ///
    /// # Panics
    ///
    /// If `metrics` is not an object.
    #[track_caller]
    pub fn training(self, steps: i32, metrics: impl Serialize) -> Self {
        self.report("training", steps, metrics)
    }

    /// Reports validation metrics, which must be an object of numbers and the like.
    ///
    /// # Panics
    ///
    /// If `metrics` is not an object.
    #[track_caller]
    pub fn validation(self, steps: i32, metrics: impl Serialize) -> Self {
        self.report("validation", steps, metrics)
    }

    /// Reports metrics of a group of any name.
    ///
    /// # Panics
    ///
    /// If `metrics` is not an object.
    #[track_caller]
    pub fn report(self, group: &str, steps: i32, metrics: impl Serialize) -> Self {
        let metrics = object(&metrics, "metrics");
        self.then(Action::Report {
            group: group.to_owned(),
            steps,
            metrics,
        })
    }

    /// Tells how far the trial has come, from 0 to 1. Without that its experiment has no progress until it has completed.
    pub fn progress(self, fraction: f64) -> Self {
        self.then(Action::Progress(fraction))
    }

    /// Stores a checkpoint of these files; its metadata says `steps_completed`. A path that ends with `/` is a directory.
    pub fn checkpoint<'a>(
        self,
        steps: i32,
        files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Self {
        let metadata = serde_json::json!({"steps_completed": steps});
        self.checkpoint_with(metadata, files)
    }

    /// Stores a checkpoint with metadata of any kind.
    ///
    /// # Panics
    ///
    /// If `metadata` is not an object.
    #[track_caller]
    pub fn checkpoint_with<'a>(
        self,
        metadata: impl Serialize,
        files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Self {
        let metadata = object(&metadata, "metadata");
        let files = files
            .into_iter()
            .map(|(path, content)| (path.to_owned(), content.to_vec()));
        self.then(Action::Checkpoint {
            metadata,
            files: files.collect(),
            uuid: crate::testing::state::uuid(),
        })
    }

    /// The same with other files in all checkpoints.
    pub(in crate::testing) fn with_files(mut self, other: &BTreeMap<String, Vec<u8>>) -> Self {
        for action in &mut self.actions {
            if let Action::Checkpoint { files, .. } = action {
                files.clone_from(other);
            }
        }
        self
    }

    /// Ends the trial with an exit status; any but 0 is a failure, after which the trial begins again while the configuration's
    /// `max_restarts` allows it. What follows in the script is not done.
    pub fn exit(self, status: i32) -> Self {
        self.then(Action::Exit(status))
    }
}

#[track_caller]
pub(in crate::testing) fn object(value: &impl Serialize, what: &str) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        Ok(other) => panic!("{what} must be a JSON object, not {other}"),
        Err(error) => panic!("{what} cannot become JSON: {error}"),
    }
}
