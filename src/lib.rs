//! placeholder

mod cancel;
pub mod client;
mod config;
mod determined;
mod error;
mod model_definition;
mod platform;
mod progress;
mod session;
mod wire;

pub use cancel::CancelToken;
pub use config::ExperimentConfig;
pub use determined::Determined;
pub use error::{Error, ErrorKind, Result};
pub use jiff::Timestamp;
pub use model_definition::ModelDefinition;
pub use progress::Progress;
pub use session::{LoginOptions, Pages, Proxy, TokenStore};
pub use wire::OrderBy;
