//! placeholder

mod cancel;
mod error;
mod wire;

pub use cancel::CancelToken;
pub use error::{Error, ErrorKind, Result};
pub use jiff::Timestamp;
pub use wire::OrderBy;
