//! The blocking Rust SDK for the [Determined AI](https://github.com/determined-ai/determined) machine-learning platform: log in,
//! submit experiments, wait for them, read trials, metrics and logs, download the best checkpoint, keep a model registry. Plain
//! function calls; no async runtime.
//!
//! The [guide](https://github.com/determined-rs/determined/blob/main/docs/guide.md) goes the whole way with you, and a
//! [table](https://github.com/determined-rs/determined/blob/main/docs/from-python.md) has every call of the Python SDK beside its Rust call.
//!
//! # The default client
//!
//! Scripts call the functions of [`client`]. They share one client, which [`client::login`] makes, or the first call, from the environment
//! (`DET_MASTER`, `DET_USER`, `DET_PASS`, …) and the token store of the `det` command. [`LoginOptions`] has every other way to log in.
//!
//! ```no_run
//! use determined::{LoginOptions, client};
//!
//! client::login(LoginOptions::new().master("https://det.example:8443").user("kim").password("…"))?;
//! let experiment = client::create_experiment("my_config.yaml", "model_dir")?;
//! println!("experiment {} is {}", experiment.id, experiment.wait()?);
//! println!("{}", experiment.top_checkpoint()?.download()?.display());
//! # Ok::<(), determined::Error>(())
//! ```
//!
//! # Explicit clients
//!
//! [`Determined`] has the same calls. Take it for two masters, for two users, in functions that are to be tested, or where globals are
//! unwelcome. Its objects ([`Experiment`], [`Trial`], [`Checkpoint`], [`Model`], …) are plain data with public fields, and know the client
//! that they came from.
//!
//! ```
//! use determined::Determined;
//!
//! # let (here, there) = (determined::testing::MockMaster::start(), determined::testing::MockMaster::start());
//! # let (old_master, new_master) = (here.login_options(), there.login_options());
//! let (old, new) = (Determined::new(old_master)?, Determined::new(new_master)?); // from LoginOptions
//! for model in old.get_models()? {
//!     new.create_model(&model.name)?;
//! }
//! # Ok::<(), determined::Error>(())
//! ```
//!
//! # Options
//!
//! The short call takes what is required. The same call with `_with` takes an options struct too: [`Experiment::wait`] and
//! [`Experiment::wait_with`]\([`WaitOptions`]\). Every option says what it is by default. Lists come whole as a `Vec`, or page by page from
//! `iter_…_with` as [`Pages`]. What changes an object takes `&mut self`, and changes its fields when the master has agreed; `reload` asks the
//! master again.
//!
//! # Errors
//!
//! Everything returns [`Result`]. An [`Error`] is one line for people, and answers questions: [`Error::kind`], [`Error::status`],
//! [`Error::server_message`], [`Error::is_transient`]. Nothing that a master, a file or a user sends panics.
//!
//! ```
//! use determined::ErrorKind;
//!
//! # let master = determined::testing::MockMaster::start();
//! # let client = master.determined();
//! let model = match client.get_model("iris") {
//!     Err(error) if error.is_not_found() => client.create_model("iris")?,
//!     found => found?,
//! };
//! let error = client.create_model("iris").unwrap_err();
//! assert_eq!((error.kind(), error.status()), (ErrorKind::Conflict, Some(409)));
//! # assert_eq!(model.name, "iris");
//! # Ok::<(), determined::Error>(())
//! ```
//!
//! # Threads, time and cancelling
//!
//! Clients and objects are `Send + Sync` and cheap to clone; all threads may use one client at once. A silent master is an error within a
//! minute. A [`CancelToken`] ends a wait, a followed log, a download or a submission from another thread within a second.
//!
//! ```
//! use std::thread;
//!
//! # let master = determined::testing::MockMaster::start();
//! # let experiment = master.experiment().create();
//! thread::scope(|scope| {
//!     for trial in experiment.get_trials()? {
//!         scope.spawn(move || println!("trial {} has {:?} log entries", trial.id, trial.logs().map(Iterator::count)));
//!     }
//!     Ok::<(), determined::Error>(())
//! })?;
//! # Ok::<(), determined::Error>(())
//! ```
//!
//! # Testing
//!
//! With the feature `testing`, `testing::MockMaster` is a master inside the process that keeps state and runs experiments in no time, for the
//! tests of scripts built on this crate. The examples of this documentation run against it.
//!
//! ```
//! use determined::testing::MockMaster;
//!
//! let master = MockMaster::start(); // it lives as long as this
//! let client = master.determined();
//! let experiment = client.create_experiment("examples/model_def/config.yaml", "examples/model_def")?;
//! assert_eq!(experiment.wait()?.to_string(), "COMPLETED");
//! assert_eq!(experiment.get_trials()?.len(), 2);
//! # Ok::<(), determined::Error>(())
//! ```
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | what it adds |
//! |---|---|
//! | `s3`, `gcs`, `azure` | checkpoints straight from object stores |
//! | `progress` | `progress_bar`, for the `on_progress` of a call: a bar on the terminal |
//! | `testing` | the in-process master |
//!
//! # Logging
//!
//! Through [`log`](https://docs.rs/log), target `determined`: every call at `debug`, logins at `info`, what needs attention at `warn`. Passwords
//! and tokens are never logged.
//!
//! # Versions
//!
//! Masters 0.21.0 to 0.38.1, Rust 1.89 or later. Of other crates' types only those of `serde_json` and `jiff` and the traits of `serde` stand
//! in signatures.
#![cfg_attr(docsrs, feature(doc_cfg))]
// The library prints nothing and never ends the process.
#![warn(clippy::exit, clippy::print_stderr, clippy::print_stdout)]

mod cancel;
mod checkpoint;
pub mod client;
mod config;
mod deletion;
mod determined;
mod error;
mod experiment;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod lenient;
mod logs;
mod metrics;
mod model;
mod model_definition;
mod model_version;
mod name;
mod oauth_client;
mod platform;
mod progress;
#[cfg(feature = "progress")]
mod progress_bar;
mod project;
mod resource_pool;
mod scan;
mod session;
mod shown;
mod storage;
#[cfg(feature = "testing")]
pub mod testing;
mod trial;
mod user;
mod whole_file;
mod wire;
mod workspace;

pub use cancel::CancelToken;
pub use checkpoint::{
    Checkpoint, CheckpointQuery, CheckpointSort, CheckpointSortBy, CheckpointState,
    CheckpointTrainingMetadata, MetricOrder,
};
pub use config::ExperimentConfig;
pub use deletion::DeleteOptions;
pub use determined::Determined;
pub use error::{Error, ErrorKind, Result};
pub use experiment::{
    CreateExperimentOptions, Experiment, ExperimentQuery, ExperimentSortBy, ExperimentState,
    LaunchWarning, OnPaused, WaitOptions, WaitProgress,
};
pub use jiff::Timestamp;
pub use logs::{LogEntries, LogEntry, LogLevel, LogOptions};
pub use metrics::{MetricReports, TrialMetrics};
pub use model::{CreateModelOptions, Model, ModelQuery, ModelSortBy};
pub use model_definition::ModelDefinition;
pub use model_version::{ModelVersion, ModelVersionQuery};
pub use name::NameOrId;
pub use oauth_client::OauthClient;
pub use progress::Progress;
#[cfg(feature = "progress")]
pub use progress_bar::{Measurable, progress_bar};
pub use project::{Project, ProjectNote};
pub use resource_pool::ResourcePool;
pub use session::{LoginOptions, Pages, Proxy, TokenStore};
pub use storage::{DownloadMode, DownloadOptions};
pub use trial::{CheckpointChoice, Trial, TrialQuery, TrialSortBy, TrialState};
pub use user::{CreateUserOptions, User, UserQuery};
pub use wire::OrderBy;
pub use workspace::{CreateProjectOptions, Workspace};

/// The pages for people, whose snippets are compiled with the documentation's.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/authentication.md")]
    struct Authentication;
    #[doc = include_str!("../docs/storage.md")]
    struct Storage;
    #[doc = include_str!("../docs/troubleshooting.md")]
    struct Troubleshooting;
}
