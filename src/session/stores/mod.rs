//! What the `det` command and earlier logins left on this machine: tokens in `auth.json`, certificates in `certs.json`.
//!
//! [`file`] is a file that many programs change at once; [`token_file`] and [`certificates`] know what is in the two.

mod certificates;
mod file;
mod token_file;
mod tokens;

use std::path::PathBuf;

use super::environment::Environment;

pub(super) use self::certificates::{CertificateOptions, CertificateSettings};
#[cfg(fuzzing)]
pub(crate) use self::token_file::fuzz as fuzz_token_store;
pub(super) use self::tokens::TokenStoreHandle;

/// Where a client keeps the tokens of its logins for the next one, and where it looks for the certificates that the `det` command stored.
/// The default is [`TokenStore::Default`].
///
/// The directory holds `auth.json` and `certs.json` in the format of the Python SDK, so tokens are shared with it; both may run at once. Tokens are
/// readable by the user alone. A directory that is not there is made when a token is stored. If a token cannot be stored, the login is good all
/// the same.
///
/// ```
/// use determined::{LoginOptions, TokenStore};
///
/// let options = LoginOptions::new().token_store(TokenStore::Dir("/var/lib/my-service".into()));
/// let forgetful = LoginOptions::new().token_store(TokenStore::None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenStore {
    /// The directory of the `det` command: `DET_DEBUG_CONFIG_PATH`, else `determined` in the user's configuration directory
    /// (`$XDG_CONFIG_HOME` or `~/.config` on Linux, `~/Library/Application Support` on macOS, `%LOCALAPPDATA%` on Windows).
    /// Without a home directory it is as [`TokenStore::None`].
    #[default]
    Default,
    /// This directory.
    Dir(PathBuf),
    /// No files: nothing is looked up, nothing is stored.
    None,
}

impl TokenStore {
    /// The directory of the files, if there is to be one.
    pub(super) fn directory(&self, environment: &Environment) -> Option<PathBuf> {
        match self {
            Self::Default => environment
                .config_dir()
                .inspect_err(|error| log::debug!(target: "determined", "no stores: {error}"))
                .ok(),
            Self::Dir(directory) => Some(directory.clone()),
            Self::None => None,
        }
    }
}
