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
//!
//! Every function fails as its method does; the first that is called also fails as [`Determined::new`] does.

#![allow(
    clippy::missing_errors_doc,
    reason = "every function fails as the method it names"
)]

use std::sync::{Arc, Mutex, PoisonError};

use once_cell::sync::OnceCell;

use crate::checkpoint::Checkpoint;
use crate::config::ExperimentConfig;
use crate::deletion::DeleteOptions;
use crate::determined::Determined;
use crate::error::{Error, ErrorKind, Result};
use crate::experiment::{CreateExperimentOptions, Experiment, ExperimentQuery};
use crate::metrics::MetricReports;
use crate::model::{CreateModelOptions, Model, ModelQuery};
use crate::model_definition::ModelDefinition;
use crate::name::NameOrId;
use crate::oauth_client::OauthClient;
use crate::project::Project;
use crate::resource_pool::ResourcePool;
use crate::session::{LoginOptions, Pages};
use crate::trial::Trial;
use crate::user::{CreateUserOptions, User, UserQuery};
use crate::workspace::Workspace;

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
    let mut client = CLIENT.lock().unwrap_or_else(PoisonError::into_inner);
    // A client that is still being made stays: whoever makes it is told that it is there.
    let made = client.take_if(|cell| cell.get().is_some());
    drop(client);
    match made.as_ref().and_then(|cell| cell.get()) {
        Some(client) => client.logout(),
        None => Ok(()),
    }
}

/// Like [`Determined::get_session_username`].
pub fn get_session_username() -> Result<String> {
    Ok(default_client()?.get_session_username().to_owned())
}

// Experiments, trials and checkpoints.

/// Like [`Determined::create_experiment`].
pub fn create_experiment(
    config: impl Into<ExperimentConfig>,
    model_def: impl Into<ModelDefinition>,
) -> Result<Experiment> {
    default_client()?.create_experiment(config, model_def)
}

/// Like [`Determined::create_experiment_with`].
pub fn create_experiment_with(
    config: impl Into<ExperimentConfig>,
    model_def: impl Into<ModelDefinition>,
    options: CreateExperimentOptions,
) -> Result<Experiment> {
    default_client()?.create_experiment_with(config, model_def, options)
}

/// Like [`Determined::get_experiment`].
pub fn get_experiment(experiment_id: i32) -> Result<Experiment> {
    default_client()?.get_experiment(experiment_id)
}

/// Like [`Determined::list_experiments`].
pub fn list_experiments() -> Result<Vec<Experiment>> {
    default_client()?.list_experiments()
}

/// Like [`Determined::list_experiments_with`].
pub fn list_experiments_with(query: ExperimentQuery) -> Result<Vec<Experiment>> {
    default_client()?.list_experiments_with(query)
}

/// Like [`Determined::iter_experiments_with`].
pub fn iter_experiments_with(query: ExperimentQuery) -> Result<Pages<Experiment>> {
    default_client()?.iter_experiments_with(query)
}

/// Like [`Determined::get_trial`].
pub fn get_trial(trial_id: i32) -> Result<Trial> {
    default_client()?.get_trial(trial_id)
}

/// Like [`Determined::iter_trials_metrics`].
pub fn iter_trials_metrics(
    trial_ids: impl IntoIterator<Item = i32>,
    group: &str,
) -> Result<MetricReports> {
    default_client()?.iter_trials_metrics(trial_ids, group)
}

/// Like [`Determined::get_checkpoint`].
pub fn get_checkpoint(uuid: &str) -> Result<Checkpoint> {
    default_client()?.get_checkpoint(uuid)
}

// Models

/// Like [`Determined::create_model`].
pub fn create_model(name: &str) -> Result<Model> {
    default_client()?.create_model(name)
}

/// Like [`Determined::create_model_with`].
pub fn create_model_with(name: &str, options: CreateModelOptions) -> Result<Model> {
    default_client()?.create_model_with(name, options)
}

/// Like [`Determined::get_model`].
pub fn get_model(model: impl Into<NameOrId>) -> Result<Model> {
    default_client()?.get_model(model)
}

/// Like [`Determined::get_model_by_id`].
#[deprecated = "call `get_model` with the id"]
pub fn get_model_by_id(model_id: i32) -> Result<Model> {
    default_client()?.get_model(model_id)
}

/// Like [`Determined::get_models`].
pub fn get_models() -> Result<Vec<Model>> {
    default_client()?.get_models()
}

/// Like [`Determined::get_models_with`].
pub fn get_models_with(query: ModelQuery) -> Result<Vec<Model>> {
    default_client()?.get_models_with(query)
}

/// Like [`Determined::iter_models_with`].
pub fn iter_models_with(query: ModelQuery) -> Result<Pages<Model>> {
    default_client()?.iter_models_with(query)
}

/// Like [`Determined::get_model_labels`].
pub fn get_model_labels() -> Result<Vec<String>> {
    default_client()?.get_model_labels()
}

// Users

/// Like [`Determined::create_user`].
pub fn create_user(username: &str, admin: bool, password: &str) -> Result<User> {
    default_client()?.create_user(username, admin, password)
}

/// Like [`Determined::create_user_with`].
pub fn create_user_with(username: &str, admin: bool, options: CreateUserOptions) -> Result<User> {
    default_client()?.create_user_with(username, admin, options)
}

/// Like [`Determined::get_user_by_id`].
pub fn get_user_by_id(user_id: i32) -> Result<User> {
    default_client()?.get_user_by_id(user_id)
}

/// Like [`Determined::get_user_by_name`].
pub fn get_user_by_name(username: &str) -> Result<User> {
    default_client()?.get_user_by_name(username)
}

/// Like [`Determined::whoami`].
pub fn whoami() -> Result<User> {
    default_client()?.whoami()
}

/// Like [`Determined::list_users`].
pub fn list_users() -> Result<Vec<User>> {
    default_client()?.list_users()
}

/// Like [`Determined::list_users_with`].
pub fn list_users_with(query: UserQuery) -> Result<Vec<User>> {
    default_client()?.list_users_with(query)
}

// Workspaces, projects and resource pools

/// Like [`Determined::get_workspace`].
pub fn get_workspace(workspace: impl Into<NameOrId>) -> Result<Workspace> {
    default_client()?.get_workspace(workspace)
}

/// Like [`Determined::list_workspaces`].
pub fn list_workspaces() -> Result<Vec<Workspace>> {
    default_client()?.list_workspaces()
}

/// Like [`Determined::create_workspace`].
pub fn create_workspace(name: &str) -> Result<Workspace> {
    default_client()?.create_workspace(name)
}

/// Like [`Determined::delete_workspace`].
pub fn delete_workspace(workspace: impl Into<NameOrId>) -> Result<()> {
    default_client()?.delete_workspace(workspace)
}

/// Like [`Determined::delete_workspace_with`].
pub fn delete_workspace_with(workspace: impl Into<NameOrId>, options: DeleteOptions) -> Result<()> {
    default_client()?.delete_workspace_with(workspace, options)
}

/// Like [`Determined::get_project`].
pub fn get_project(project_id: i32) -> Result<Project> {
    default_client()?.get_project(project_id)
}

/// Like [`Determined::get_resource_pool`].
pub fn get_resource_pool(name: &str) -> Result<ResourcePool> {
    default_client()?.get_resource_pool(name)
}

// OAuth clients

/// Like [`Determined::list_oauth_clients`].
pub fn list_oauth_clients() -> Result<Vec<OauthClient>> {
    default_client()?.list_oauth_clients()
}

/// Like [`Determined::add_oauth_client`].
pub fn add_oauth_client(domain: &str, name: &str) -> Result<OauthClient> {
    default_client()?.add_oauth_client(domain, name)
}

/// Like [`Determined::remove_oauth_client`].
pub fn remove_oauth_client(client_id: &str) -> Result<()> {
    default_client()?.remove_oauth_client(client_id)
}
