//! placeholder

mod cancel;
mod checkpoint;
pub mod client;
mod config;
mod determined;
mod error;
mod experiment;
mod model_definition;
mod platform;
mod progress;
mod session;
mod storage;
#[cfg(feature = "testing")]
pub mod testing;
mod trial;
mod wire;

pub use cancel::CancelToken;
pub use checkpoint::{
    Checkpoint, CheckpointQuery, CheckpointSort, CheckpointSortBy, CheckpointState,
    CheckpointTrainingMetadata, MetricOrder,
};
pub use config::ExperimentConfig;
pub use determined::Determined;
pub use error::{Error, ErrorKind, Result};
pub use experiment::{Experiment, ExperimentQuery, ExperimentSortBy, ExperimentState};
pub use jiff::Timestamp;
pub use model_definition::ModelDefinition;
pub use progress::Progress;
pub use session::{LoginOptions, Pages, Proxy, TokenStore};
pub use storage::{DownloadMode, DownloadOptions};
pub use trial::{CheckpointChoice, Trial, TrialQuery, TrialSortBy, TrialState};
pub use wire::OrderBy;
