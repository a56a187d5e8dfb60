//! placeholder

mod cancel;
pub mod client;
mod determined;
mod error;
mod platform;
mod session;
mod wire;

pub use cancel::CancelToken;
pub use determined::Determined;
pub use error::{Error, ErrorKind, Result};
pub use jiff::Timestamp;
pub use session::{LoginOptions, Pages, Proxy, TokenStore};
pub use wire::OrderBy;
