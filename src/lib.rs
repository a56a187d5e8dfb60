//! placeholder

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
mod logs;
mod metrics;
mod model;
mod model_definition;
mod model_version;
mod name;
mod oauth_client;
mod platform;
mod progress;
mod project;
mod resource_pool;
mod session;
mod storage;
#[cfg(feature = "testing")]
pub mod testing;
mod trial;
mod user;
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
pub use project::{Project, ProjectNote};
pub use resource_pool::ResourcePool;
pub use session::{LoginOptions, Pages, Proxy, TokenStore};
pub use storage::{DownloadMode, DownloadOptions};
pub use trial::{CheckpointChoice, Trial, TrialQuery, TrialSortBy, TrialState};
pub use user::{CreateUserOptions, User, UserQuery};
pub use wire::OrderBy;
pub use workspace::{CreateProjectOptions, Workspace};
