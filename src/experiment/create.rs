//! Submitting an experiment: never twice, and never without saying whether it may exist.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Experiment, ExperimentBody};
use crate::cancel::CancelToken;
use crate::config::ExperimentConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::model_definition::{ModelDefinition, OnPacked, Plan, Submission};
use crate::progress::{Observer, Progress};
use crate::session::Session;
use crate::wire::{lenient, state_enum};

/// At most this often progress is shown.
const PERIOD: Duration = Duration::from_millis(100);

state_enum! {
    /// What a master warns of when it creates an experiment.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// use determined::LaunchWarning;
    ///
    /// if experiment.warnings.contains(&LaunchWarning::CurrentSlotsExceeded) {
    ///     println!("experiment {} may wait for long", experiment.id);
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub enum LaunchWarning("LAUNCH_WARNING_") {
        /// The experiment needs more slots than there are now, so it may wait for long.
        CurrentSlotsExceeded = "CURRENT_SLOTS_EXCEEDED",
    }
}

/// How [`Determined::create_experiment_with`](crate::Determined::create_experiment_with) submits an experiment.
///
/// ```
/// use determined::CreateExperimentOptions;
///
/// let options = CreateExperimentOptions::new().include("../lib").project_id(3).activate(false);
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
#[must_use]
pub struct CreateExperimentOptions {
    includes: Vec<PathBuf>,
    project_id: Option<i32>,
    template: Option<String>,
    activate: bool,
    validate_only: bool,
    on_progress: Observer,
    cancel: Option<CancelToken>,
}

impl Default for CreateExperimentOptions {
    fn default() -> Self {
        Self {
            includes: Vec::new(),
            project_id: None,
            template: None,
            activate: true,
            validate_only: false,
            on_progress: Observer::default(),
            cancel: None,
        }
    }
}

impl CreateExperimentOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends one more file or directory, which the trials find under its own name beside the model definition. May be called again.
    pub fn include(mut self, path: impl Into<PathBuf>) -> Self {
        self.includes.push(path.into());
        self
    }

    /// Sends more files and directories; see [`include`](Self::include).
    pub fn includes(mut self, paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        self.includes.extend(paths.into_iter().map(Into::into));
        self
    }

    /// The project that holds the experiment. By default as the configuration says, or else the master's own.
    pub fn project_id(mut self, id: i32) -> Self {
        self.project_id = Some(id);
        self
    }

    /// The template that fills in what the configuration leaves out. By default none.
    pub fn template(mut self, name: impl Into<String>) -> Self {
        self.template = Some(name.into());
        self
    }

    /// Whether the experiment starts at once; otherwise it is created paused, for [`Experiment::activate`]. By default it starts.
    pub fn activate(mut self, activate: bool) -> Self {
        self.activate = activate;
        self
    }

    /// Whether the master only checks the submission and creates nothing. The experiment that the call then gives has the id 0. By default
    /// not.
    pub fn validate_only(mut self, validate_only: bool) -> Self {
        self.validate_only = validate_only;
        self
    }

    /// Shows how much of the model definition is sent. By default nothing is shown.
    pub fn on_progress(mut self, function: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        self.on_progress = Observer::new(function);
        self
    }

    /// Lets the token end the call. By default nothing does.
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.clone());
        self
    }
}

#[derive(Deserialize)]
struct Created {
    experiment: ExperimentBody,
    #[serde(default, deserialize_with = "lenient")]
    warnings: Vec<LaunchWarning>,
}

/// Creates an experiment.
pub(crate) fn create(
    session: &Session,
    config: &ExperimentConfig,
    definition: &ModelDefinition,
    options: &CreateExperimentOptions,
) -> Result<Experiment> {
    const DOING: &str = "create the experiment";
    let explain = |error: Error| error.doing(DOING);
    let cancel = options.cancel.clone().unwrap_or_default();
    let config = config.text().map_err(explain)?;
    let plan = Plan::new(definition, &options.includes, &cancel).map_err(explain)?;
    let submission = Submission {
        activate: options.activate,
        config: &config,
        project_id: options.project_id,
        template: options.template.as_deref(),
        validate_only: options.validate_only,
    };
    let on_packed = show_packed(&options.on_progress, &plan);
    let is_sent = Arc::new(AtomicBool::new(false));
    let created: Created = session
        .cancellable(options.cancel.as_ref())
        .post("/api/v1/experiments")
        .doing(DOING)
        .upload(&|| {
            is_sent.store(false, Ordering::Relaxed);
            Ok(Box::new(Watched {
                body: plan.body(&submission, Some(Arc::clone(&on_packed))),
                is_sent: Arc::clone(&is_sent),
            }))
        })
        .map_err(|error| account_for(error, is_sent.load(Ordering::Relaxed)))?;
    let mut experiment = created.experiment.attach(session);
    for warning in &created.warnings {
        warn(experiment.id, warning);
    }
    experiment.warnings = created.warnings;
    Ok(experiment)
}

/// A request's body that notes when it was read to its end.
struct Watched<R> {
    body: R,
    is_sent: Arc<AtomicBool>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.body.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.is_sent.store(true, Ordering::Relaxed);
        }
        Ok(count)
    }
}

/// Says what a failure means: that the configuration is wrong, or that nobody knows whether the experiment was created.
fn account_for(error: Error, is_sent: bool) -> Error {
    let said = error.server_message().unwrap_or_default();
    // Masters answer mistakes in a configuration with 500 as well as with 400.
    let is_about_config = [
        "invalid experiment configuration",
        "managed experiments require",
        "invalid resource configuration",
    ]
    .iter()
    .any(|words| said.contains(words));
    if is_about_config {
        return error.with_kind(ErrorKind::ExperimentConfig);
    }
    let is_refused = error
        .status()
        .is_some_and(|status| (400..500).contains(&status));
    if is_sent && !is_refused {
        return error.with_hint(
            "the experiment may have been created all the same: look for it with list_experiments() before you submit again",
        );
    }
    error
}

/// Shows what is packed now and then, and at the end.
fn show_packed(observer: &Observer, plan: &Plan) -> OnPacked {
    let observer = observer.clone();
    let (bytes_total, files_total) = (plan.bytes(), plan.files());
    let shown: Mutex<Option<Instant>> = Mutex::new(None);
    Arc::new(move |bytes_done, files_done| {
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        let is_done = (bytes_done, files_done) == (bytes_total, files_total);
        if !is_done && shown.is_some_and(|at| at.elapsed() < PERIOD) {
            return;
        }
        *shown = Some(Instant::now());
        observer.show(&Progress {
            fraction: Some(if bytes_total == 0 {
                1.0
            } else {
                bytes_done as f64 / bytes_total as f64
            }),
            bytes_done,
            bytes_total: Some(bytes_total),
            files_done,
            files_total: Some(files_total),
        });
    })
}

fn warn(id: i32, warning: &LaunchWarning) {
    let words = match warning {
        LaunchWarning::CurrentSlotsExceeded => {
            "it needs more slots than the cluster has now, so it may wait for long"
        }
        LaunchWarning::Unrecognized(word) => word,
    };
    log::warn!(target: "determined", "experiment {id}: {words}");
}
