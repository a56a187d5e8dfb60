//! The default client: `login()` and then calls.
//!
//! Every function here is the method of the same name on [`Determined`], called on one client that the whole process shares. It is made on
//! first use, from the environment and the token store, or by [`login`] before anything else.
//!
//! ```no_run
//! use determined::{LoginOptions, client};
//!
//! client::login(LoginOptions::new().master("det.example").user("kim").password("…"))?;
//! let experiment = client::create_experiment("my_config.yaml", ".")?;
//! experiment.wait()?;
//! println!("{}", experiment.top_checkpoint()?.download()?.display());
//! # Ok::<(), determined::Error>(())
//! ```

use std::sync::{Arc, Mutex, PoisonError};

use once_cell::sync::OnceCell;

use crate::checkpoint::Checkpoint;
use crate::determined::Determined;
use crate::error::{Error, ErrorKind, Result};
use crate::experiment::{Experiment, ExperimentQuery};
use crate::session::{LoginOptions, Pages};
use crate::trial::Trial;

/// The default client, once somebody needs it. The lock is never held while a client logs in; that happens in the cell, where others who
/// want the same client wait for it.
static CLIENT: Mutex<Option<Arc<OnceCell<Determined>>>> = Mutex::new(None);

fn cell() -> Arc<OnceCell<Determined>> {
    let mut client = CLIENT.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(client.get_or_insert_default())
}

/// The default client, made now if there is none yet.
fn default_client() -> Result<Determined> {
    cell()
        .get_or_try_init(|| Determined::new(LoginOptions::new()))
        .cloned()
}

/// Makes the default client. Call it once, before any other function of this module; a login that fails may be tried again.
///
/// `POST /api/v1/auth/login`, or `GET /api/v1/me` to check a stored token.
///
/// # Errors
///
/// [`AlreadyLoggedIn`](ErrorKind::AlreadyLoggedIn) if the default client exists; else like [`Determined::new`].
pub fn login(options: LoginOptions) -> Result<()> {
    let mut made_here = false;
    cell().get_or_try_init(|| {
        let client = Determined::new(options)?;
        made_here = true;
        Ok::<_, Error>(client)
    })?;
    if made_here {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::AlreadyLoggedIn,
        "the default client exists already",
    )
    .doing("log in")
    .with_hint("call login() once and before any other call, or logout() first; for a second client use Determined::new"))
}

/// Ends the default client's session, if there is one; the next call makes a new client.
///
/// Like [`Determined::logout`].
///
/// # Errors
///
/// When the master could not be told; the client is gone all the same.
pub fn logout() -> Result<()> {
    let client = CLIENT.lock().unwrap_or_else(PoisonError::into_inner).take();
    match client.as_ref().and_then(|cell| cell.get()) {
        Some(client) => client.logout(),
        None => Ok(()),
    }
}

/// Like [`Determined::get_session_username`].
///
/// # Errors
///
/// Like [`Determined::new`], if this call is the first.
pub fn get_session_username() -> Result<String> {
    Ok(default_client()?.get_session_username().to_owned())
}

// Experiments, trials and checkpoints.

/// Like [`Determined::get_experiment`].
///
/// # Errors
///
/// Like [`Determined::get_experiment`], and if this call is the first, like [`Determined::new`].
pub fn get_experiment(experiment_id: i32) -> Result<Experiment> {
    default_client()?.get_experiment(experiment_id)
}

/// Like [`Determined::list_experiments`].
///
/// # Errors
///
/// Like [`Determined::list_experiments`], and if this call is the first, like [`Determined::new`].
pub fn list_experiments() -> Result<Vec<Experiment>> {
    default_client()?.list_experiments()
}

/// Like [`Determined::list_experiments_with`].
///
/// # Errors
///
/// Like [`Determined::list_experiments_with`], and if this call is the first, like [`Determined::new`].
pub fn list_experiments_with(query: ExperimentQuery) -> Result<Vec<Experiment>> {
    default_client()?.list_experiments_with(query)
}

/// Like [`Determined::iter_experiments_with`].
///
/// # Errors
///
/// Like [`Determined::iter_experiments_with`], and if this call is the first, like [`Determined::new`].
pub fn iter_experiments_with(query: ExperimentQuery) -> Result<Pages<Experiment>> {
    default_client()?.iter_experiments_with(query)
}

/// Like [`Determined::get_trial`].
///
/// # Errors
///
/// Like [`Determined::get_trial`], and if this call is the first, like [`Determined::new`].
pub fn get_trial(trial_id: i32) -> Result<Trial> {
    default_client()?.get_trial(trial_id)
}

/// Like [`Determined::get_checkpoint`].
///
/// # Errors
///
/// Like [`Determined::get_checkpoint`], and if this call is the first, like [`Determined::new`].
pub fn get_checkpoint(uuid: &str) -> Result<Checkpoint> {
    default_client()?.get_checkpoint(uuid)
}
