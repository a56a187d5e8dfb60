//! Makes every public call once and prints a line for each; the first surprise ends it with an error.
//!
//! On the master in `DET_MASTER`, logged in by the environment or the token store as an administrator who may create and delete; without that
//! variable, on a master inside this process. What it creates it also deletes, where that can be deleted.

#[macro_use]
mod support;

use std::fmt::Debug;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{env, process};

use anyhow::{Context, Result, bail, ensure};
use determined::testing::{Clock, MockMaster};
use determined::{
    CancelToken, Checkpoint, CheckpointChoice, CheckpointQuery, CheckpointSortBy, CheckpointState,
    CreateExperimentOptions, CreateModelOptions, CreateProjectOptions, CreateUserOptions,
    DeleteOptions, Determined, DownloadMode, DownloadOptions, Error, ErrorKind, Experiment,
    ExperimentConfig, ExperimentQuery, ExperimentSortBy, ExperimentState, LogLevel, LogOptions,
    LoginOptions, MetricOrder, Model, ModelDefinition, ModelQuery, ModelSortBy, ModelVersion,
    ModelVersionQuery, OnPaused, OrderBy, Project, Proxy, ResourcePool, Timestamp, TokenStore,
    Trial, TrialQuery, TrialSortBy, TrialState, User, UserQuery, WaitOptions, Workspace, client,
};
use serde_json::json;

/// Makes a call and goes on with what it gives: `call!(Trial::kill, &trial)`.
macro_rules! call {
    ($call:path $(, $argument:expr)* $(,)?) => {
        done(stringify!($call), $call($($argument),*))?
    };
}

/// Makes a call of the explicit client, and then the same one of the default client, whose answer it gives.
macro_rules! both {
    ($client:expr, $call:ident($($argument:expr),* $(,)?)) => {{
        let _ = done(concat!("Determined::", stringify!($call)), $client.$call($($argument),*))?;
        done(concat!("client::", stringify!($call)), client::$call($($argument),*))?
    }};
}

fn done<T>(call: &str, result: Result<T, Error>) -> Result<T> {
    let value = result.with_context(|| format!("{call} surprises"))?;
    println!("{call}");
    Ok(value)
}

/// A call that must fail in one of these ways.
fn refused<T: Debug>(call: &str, result: Result<T, Error>, kinds: &[ErrorKind]) -> Result<()> {
    match result {
        Err(error) if kinds.contains(&error.kind()) => {
            ensure!(error.is_not_found() == (error.kind() == ErrorKind::NotFound));
            ensure!(error.status().is_some() || error.server_message().is_none());
            ensure!(!error.is_transient(), "{call}: {error}");
            println!("{call}: {:?}", error.kind());
        }
        Err(error) => return Err(error).with_context(|| format!("{call} surprises")),
        Ok(value) => bail!("{call} surprises: it gave {value:?}"),
    }
    Ok(())
}

/// How the names of all begin that is created here.
fn prefix() -> String {
    format!("every-call-{}-", process::id())
}

/// A name that nothing has yet.
fn fresh() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{}{}", prefix(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn main() -> Result<()> {
    let (master, client) = log_in()?;
    let workspace = workspaces(&client)?;
    users(&client)?;
    resource_pools(&client, &workspace)?;
    oauth_clients(&client)?;
    let experiment = experiments(&client, &workspace, master.as_ref())?;
    let best = trials(&client, &experiment, master.as_ref())?;
    models(&client, &workspace, &best)?;
    checkpoints(&client, best)?;
    call!(Experiment::delete, &experiment);
    ensure!(experiment.wait()? == ExperimentState::Deleted);
    delete_workspaces(&client, &workspace)?;
    call!(Determined::logout, &client);
    call!(client::logout);
    Ok(())
}

/// The default client and one of its own.
fn log_in() -> Result<(Option<MockMaster>, Determined)> {
    let token = CancelToken::new();
    token.cancel();
    ensure!(token.is_cancelled());
    let options = LoginOptions::new()
        .master("https://det.example")
        .user("kim")
        .password("a-secret")
        .cert_path("ca.pem")
        .cert_pem("-----BEGIN CERTIFICATE-----")
        .cert_name("det.internal")
        .noverify(false)
        .connect_timeout(Duration::from_secs(5))
        .read_timeout(Duration::from_secs(60))
        .retries(3)
        .proxy(Proxy::Environment)
        .prompt(false)
        .force_login(false)
        .relogin(true)
        .token_store(TokenStore::Default)
        .user_agent_suffix("every-call/1")
        .environment([("HOME", "/nonexistent")]);
    ensure!(!format!("{options:?}").contains("a-secret"));

    let is_real = env::var_os("DET_MASTER").is_some_and(|url| !url.is_empty());
    let master = (!is_real).then(MockMaster::start);
    let options = match &master {
        Some(master) => master.login_options().user("admin"),
        None => LoginOptions::new(),
    };
    call!(client::login, options.clone());
    refused(
        "client::login",
        client::login(options.clone()),
        &[ErrorKind::AlreadyLoggedIn],
    )?;
    let client = call!(Determined::new, options);
    let name = call!(client::get_session_username);
    ensure!(client.get_session_username() == name);
    println!("Determined::get_session_username");
    let me = both!(client, whoami());
    ensure!(me.username == name);
    Ok((master, client))
}

fn workspaces(client: &Determined) -> Result<Workspace> {
    let mut workspace = both!(client, create_workspace(&fresh()));
    ensure!(both!(client, get_workspace(&workspace.name)).id == workspace.id);
    let all = both!(client, list_workspaces());
    ensure!(all.iter().any(|other| other.id == workspace.id));
    call!(Workspace::reload, &mut workspace);
    call!(Workspace::list_pools, &workspace);

    let mut project = call!(Workspace::create_project, &workspace, "first");
    let options = CreateProjectOptions::new().description("a second one");
    call!(
        Workspace::create_project_with,
        &workspace,
        "second",
        options
    );
    ensure!(call!(Workspace::get_project, &workspace, "first").id == project.id);
    ensure!(call!(Workspace::list_projects, &workspace).len() == 2);
    ensure!(both!(client, get_project(project.id)).name == "first");
    call!(Project::set_name, &mut project, "renamed");
    call!(Project::set_description, &mut project, "what it is");
    let key = format!("e{}", process::id() % 10_000);
    call!(Project::set_key, &mut project, &key);
    call!(Project::add_note, &mut project, "plan", "Start small.");
    call!(Project::remove_note, &mut project, "plan");
    ensure!(project.name == "renamed" && project.notes.is_empty());
    call!(Project::archive, &mut project);
    call!(Project::unarchive, &mut project);
    call!(Project::reload, &mut project);
    ensure!(project.description == "what it is" && !project.archived);
    ensure!(call!(Project::list_experiments, &project).is_empty());
    call!(Workspace::delete_project, &workspace, "second");
    Ok(workspace)
}

fn delete_workspaces(client: &Determined, workspace: &Workspace) -> Result<()> {
    let wait = DeleteOptions::new()
        .wait(Duration::from_secs(60))
        .cancel(&CancelToken::new());
    call!(
        Workspace::delete_project_with,
        workspace,
        "renamed",
        wait.clone()
    );
    let others: Vec<Workspace> = client
        .list_workspaces()?
        .into_iter()
        .filter(|other| other.name.starts_with(&prefix()) && other.id != workspace.id)
        .collect();
    ensure!(others.len() == 1, "{others:?}");
    call!(Determined::delete_workspace, client, others[0].id);
    let spare = client.create_workspace(&fresh())?;
    call!(client::delete_workspace, &spare.name);
    let spare = client.create_workspace(&fresh())?;
    call!(client::delete_workspace_with, spare.id, wait.clone());
    call!(
        Determined::delete_workspace_with,
        client,
        workspace.id,
        wait
    );
    refused(
        "client::get_workspace",
        client::get_workspace(&workspace.name),
        &[ErrorKind::NotFound],
    )
}

fn users(client: &Determined) -> Result<()> {
    const PASSWORD: &str = "Correct-horse-9";
    let mut user = both!(client, create_user(&fresh(), false, PASSWORD));
    let options = CreateUserOptions::new().password(PASSWORD).remote(false);
    both!(client, create_user_with(&fresh(), false, options.clone()));
    ensure!(both!(client, get_user_by_id(user.user_id)).username == user.username);
    ensure!(both!(client, get_user_by_name(&user.username)).user_id == user.user_id);
    let all = both!(client, list_users());
    ensure!(all.iter().any(|other| other.user_id == user.user_id));
    both!(client, list_users_with(UserQuery::new().active(true)));
    call!(User::rename, &mut user, &fresh());
    call!(User::change_display_name, &mut user, &fresh());
    call!(User::change_password, &user, "Correct-horse-10");
    call!(User::link_with_agent, &mut user, 1000, 1000, "kim", "staff");
    ensure!(user.agent_uid == Some(1000));
    call!(User::unlink_from_agent, &mut user);
    call!(User::deactivate, &mut user);
    call!(User::activate, &mut user);
    call!(User::reload, &mut user);
    ensure!(user.active && user.agent_uid.is_none());
    // There is no way to delete a user.
    for user in client.list_users_with(UserQuery::new().active(true))? {
        if user.username.starts_with(&prefix()) {
            user.clone().deactivate()?;
        }
    }
    Ok(())
}

fn resource_pools(client: &Determined, workspace: &Workspace) -> Result<()> {
    let pool = both!(client, get_resource_pool("default"));
    call!(ResourcePool::list_workspaces, &pool);
    // The cluster's default pool is everyone's, and so cannot be bound.
    let names = [&workspace.name];
    let refusals = [
        (
            "ResourcePool::add_bindings",
            ResourcePool::add_bindings(&pool, names),
        ),
        (
            "ResourcePool::replace_bindings",
            ResourcePool::replace_bindings(&pool, names),
        ),
        (
            "ResourcePool::remove_bindings",
            ResourcePool::remove_bindings(&pool, names),
        ),
    ];
    for (call, result) in refusals {
        refused(call, result, &[ErrorKind::Api])?;
    }
    Ok(())
}

/// The open-source edition has no OAuth clients.
fn oauth_clients(client: &Determined) -> Result<()> {
    const ENTERPRISE: &[ErrorKind] = &[ErrorKind::EnterpriseOnly];
    refused(
        "Determined::list_oauth_clients",
        client.list_oauth_clients(),
        ENTERPRISE,
    )?;
    refused(
        "client::list_oauth_clients",
        client::list_oauth_clients(),
        ENTERPRISE,
    )?;
    let (domain, name) = ("https://app.example", "app");
    refused(
        "Determined::add_oauth_client",
        client.add_oauth_client(domain, name),
        ENTERPRISE,
    )?;
    refused(
        "client::add_oauth_client",
        client::add_oauth_client(domain, name),
        ENTERPRISE,
    )?;
    refused(
        "Determined::remove_oauth_client",
        client.remove_oauth_client("7"),
        ENTERPRISE,
    )?;
    refused(
        "client::remove_oauth_client",
        client::remove_oauth_client("7"),
        ENTERPRISE,
    )
}

fn experiments(
    client: &Determined,
    workspace: &Workspace,
    master: Option<&MockMaster>,
) -> Result<Experiment> {
    let model_def = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/model_def");
    let file = model_def.join("config.yaml");
    let config = call!(ExperimentConfig::from_file, &file);
    call!(ExperimentConfig::from_serialize, &json!({"name": "n"}));
    let yaml = "name: every-call\nentrypoint: 'true'\nsearcher: {name: single, metric: loss, max_length: 1}\n";
    let small = call!(ExperimentConfig::from_yaml, yaml);
    let definition = ModelDefinition::from(&model_def);
    ensure!(definition.directory() == Some(model_def.as_path()));

    // Experiments that do not run yet, to act upon.
    let paused = CreateExperimentOptions::new()
        .include(&file)
        .includes([env!("CARGO_MANIFEST_DIR").to_owned() + "/Cargo.toml"])
        .activate(false)
        .on_progress(|_| {})
        .cancel(&CancelToken::new());
    let none = ModelDefinition::none();
    let spare = call!(
        Determined::create_experiment_with,
        client,
        &small,
        &none,
        paused.clone()
    );
    spare.kill()?;
    let checked = paused.clone().validate_only(true);
    ensure!(client.create_experiment_with(&small, &none, checked)?.id == 0);
    refused(
        "Determined::create_experiment_with",
        client.create_experiment_with(&small, &none, paused.clone().template(fresh())),
        &[ErrorKind::NotFound],
    )?;
    let mut experiment = call!(client::create_experiment_with, &small, &none, paused);
    ensure!(both!(client, get_experiment(experiment.id)).state == ExperimentState::Paused);
    refused(
        "Experiment::wait",
        experiment.wait(),
        &[ErrorKind::ExperimentPaused],
    )?;
    call!(Experiment::set_name, &mut experiment, "renamed");
    call!(Experiment::set_description, &mut experiment, "what it is");
    call!(Experiment::set_notes, &mut experiment, "Nothing.");
    call!(Experiment::set_labels, &mut experiment, ["a", "b"]);
    call!(Experiment::add_label, &mut experiment, "every/call");
    call!(Experiment::remove_label, &mut experiment, "a");
    call!(Experiment::reload, &mut experiment);
    let mut labels = experiment.labels.clone();
    labels.sort();
    ensure!(labels == ["b", "every/call"], "{labels:?}");
    ensure!(experiment.name == "renamed" && experiment.notes.as_deref() == Some("Nothing."));
    call!(
        Experiment::move_to_project,
        &mut experiment,
        &workspace.name,
        "renamed"
    );
    ensure!(experiment.workspace_id == Some(workspace.id));
    refused(
        "Experiment::get_pachyderm_config",
        experiment.get_pachyderm_config(),
        &[ErrorKind::InvalidInput],
    )?;
    set_clock(master, Clock::Manual);
    call!(Experiment::activate, &experiment);
    call!(Experiment::pause, &experiment);
    call!(Experiment::cancel, &experiment);
    call!(Experiment::kill, &experiment);
    set_clock(master, Clock::Instant);
    let on_paused = WaitOptions::new().on_paused(OnPaused::KeepWaiting);
    let state = call!(Experiment::wait_with, &experiment, on_paused.clone());
    ensure!(state == ExperimentState::Canceled && state.is_terminal());
    call!(Experiment::archive, &mut experiment);
    call!(Experiment::unarchive, &mut experiment);

    let query = ExperimentQuery::new()
        .sort_by(ExperimentSortBy::Id)
        .order_by(OrderBy::Descending)
        .experiment_ids([experiment.id])
        .labels(["b"])
        .users([client.get_session_username()])
        .states([ExperimentState::Canceled])
        .name("renamed")
        .project_id(experiment.project_id)
        .page_size(10);
    ensure!(both!(client, list_experiments_with(query.clone())).len() == 1);
    ensure!(both!(client, iter_experiments_with(query.clone())).count() == 1);
    ensure!(both!(client, list_experiments()).len() >= 2);
    spare.wait()?;
    spare.delete()?;
    experiment.delete()?;

    // Two that run.
    let short = call!(Determined::create_experiment, client, &config, &model_def);
    let trial = call!(Experiment::await_first_trial, &short);
    ensure!(trial.experiment_id == short.id);
    short.kill()?;
    short.wait()?;
    short.delete()?;
    let experiment = call!(client::create_experiment, &config, &model_def);
    let looked = WaitOptions::new()
        .interval(Duration::from_millis(200))
        .timeout(Duration::from_secs(600))
        .outage_limit(Duration::from_secs(60))
        .on_progress(|seen| ensure_fraction(seen.progress))
        .cancel(&CancelToken::new());
    call!(
        Experiment::await_first_trial_with,
        &experiment,
        looked.clone()
    );
    ensure!(experiment.wait_with(looked)? == ExperimentState::Completed);
    ensure!(call!(Experiment::wait, &experiment) == ExperimentState::Completed);
    let scratch = tempfile::tempdir()?;
    let code = call!(Experiment::download_code, &experiment, scratch.path());
    ensure!(code.is_file());
    call!(Experiment::delete_tensorboard_files, &experiment);
    Ok(experiment)
}

fn ensure_fraction(progress: Option<f64>) {
    assert!(progress.is_none_or(|progress| (0.0..=1.0).contains(&progress)));
}

fn set_clock(master: Option<&MockMaster>, clock: Clock) {
    if let Some(master) = master {
        master.set_clock(clock);
    }
}

fn trials(
    client: &Determined,
    experiment: &Experiment,
    master: Option<&MockMaster>,
) -> Result<Checkpoint> {
    let trials = call!(Experiment::get_trials, experiment);
    let order = TrialQuery::new()
        .sort_by(TrialSortBy::BestValidationMetric)
        .order_by(OrderBy::Ascending)
        .page_size(1);
    let best_first = call!(Experiment::get_trials_with, experiment, order.clone());
    ensure!(trials.len() == 2 && best_first.len() == 2);
    ensure!(call!(Experiment::iter_trials_with, experiment, order).count() == 2);
    let mut trial = both!(client, get_trial(best_first[0].id));
    call!(Trial::reload, &mut trial);
    ensure!(trial.state == TrialState::Completed && trial.state.is_terminal());
    ensure!(call!(Trial::get_experiment, &trial).id == experiment.id);

    logs(&trial)?;
    let reports: Vec<_> = call!(Trial::iter_metrics, &trial, "validation").collect();
    for report in reports {
        let loss = report?.metric("val_loss").context("no val_loss")?;
        ensure!(loss.is_finite());
    }
    let ids = trials.iter().map(|trial| trial.id);
    ensure!(both!(client, iter_trials_metrics(ids.clone(), "training")).count() == 10);

    // Checkpoints, of the trial and of the experiment.
    let by_accuracy = MetricOrder::new().sort_by("acc").smaller_is_better(false);
    let newest = CheckpointQuery::new()
        .sort_by(CheckpointSortBy::EndTime)
        .order_by(OrderBy::Descending)
        .states([CheckpointState::Completed])
        .max_results(1);
    let paged = CheckpointQuery::new().page_size(1);
    let best = call!(Experiment::top_checkpoint, experiment);
    ensure!(best.training.as_ref().map(|training| training.trial_id) == Some(trial.id));
    call!(
        Experiment::top_checkpoint_with,
        experiment,
        by_accuracy.clone()
    );
    ensure!(call!(Experiment::top_n_checkpoints, experiment, 5)[0].uuid == best.uuid);
    call!(
        Experiment::top_n_checkpoints_with,
        experiment,
        5,
        by_accuracy.clone()
    );
    ensure!(call!(Experiment::list_checkpoints, experiment)[0].uuid == best.uuid);
    ensure!(
        call!(
            Experiment::list_checkpoints_with,
            experiment,
            newest.clone()
        )
        .len()
            == 1
    );
    ensure!(call!(Experiment::iter_checkpoints_with, experiment, paged.clone()).count() >= 2);
    ensure!(call!(Trial::top_checkpoint, &trial).uuid == best.uuid);
    call!(Trial::top_checkpoint_with, &trial, by_accuracy.clone());
    for choice in [
        CheckpointChoice::Latest,
        CheckpointChoice::Best,
        CheckpointChoice::BestBy(by_accuracy),
        CheckpointChoice::Uuid(best.uuid.clone()),
    ] {
        call!(Trial::select_checkpoint, &trial, choice);
    }
    ensure!(!call!(Trial::get_checkpoints, &trial).is_empty());
    ensure!(call!(Trial::get_checkpoints_with, &trial, newest).len() == 1);
    ensure!(call!(Trial::iter_checkpoints_with, &trial, paged).count() >= 1);

    set_clock(master, Clock::Manual);
    let other = support::submit()?;
    call!(Trial::kill, &other.await_first_trial()?);
    other.kill()?;
    set_clock(master, Clock::Instant);
    other.wait()?;
    other.delete()?;
    Ok(best)
}

fn logs(trial: &Trial) -> Result<()> {
    let mut count = 0;
    for entry in call!(Trial::logs, trial) {
        let entry = entry?;
        ensure!(entry.to_string() == entry.message() && entry.message().ends_with(entry.log()));
        ensure!(entry.id().is_some() && entry.timestamp().is_some());
        ensure!(matches!(entry.stdtype(), None | Some("stdout" | "stderr")));
        ensure!(matches!(
            entry.source(),
            None | Some("task" | "agent" | "master")
        ));
        ensure!(entry.rank_id().is_none() && entry.level() != Some(LogLevel::Trace));
        ensure!(entry.agent_id().is_some() || entry.container_id().is_none());
        count += 1;
    }
    ensure!(count > 20, "{count} entries");
    let all = LogOptions::new()
        .outage_limit(Duration::from_secs(60))
        .cancel(&CancelToken::new());
    let followed = call!(Trial::logs_with, trial, all.clone().follow(true));
    ensure!(followed.count() == count);
    ensure!(trial.logs_with(all.clone().head(3))?.count() == 3);
    ensure!(trial.logs_with(all.clone().tail(3))?.count() == 3);
    let steps = all
        .min_level(LogLevel::Info)
        .include_unlevelled(true)
        .rank_ids([-1])
        .stdtypes(["stdout"])
        .sources(["task"])
        .container_ids(Vec::<String>::new())
        .timestamp_before(Timestamp::now())
        .timestamp_after(Timestamp::UNIX_EPOCH)
        .search_text("step 5 loss");
    ensure!(trial.logs_with(steps)?.count() == 1);
    ensure!(LogLevel::Warning.as_str() == "WARNING");
    Ok(())
}

fn models(client: &Determined, workspace: &Workspace, best: &Checkpoint) -> Result<()> {
    let mut model = both!(client, create_model(&fresh()));
    let options = CreateModelOptions::new()
        .description("flowers")
        .metadata(json!({"k": 1}))
        .labels(["every-call"])
        .workspace_name(&workspace.name);
    let other = both!(client, create_model_with(&fresh(), options.clone()));
    ensure!(both!(client, get_model(&model.name)).model_id == model.model_id);
    #[expect(deprecated)]
    let same = both!(client, get_model_by_id(model.model_id));
    ensure!(same.name == model.name);
    let query = ModelQuery::new()
        .sort_by(ModelSortBy::CreationTime)
        .order_by(OrderBy::Descending)
        .name(prefix())
        .description("flow")
        .model_id(other.model_id)
        .workspace_names([&workspace.name])
        .workspace_ids([workspace.id])
        .page_size(1);
    ensure!(both!(client, get_models_with(query.clone())).len() == 1);
    ensure!(both!(client, iter_models_with(query.clone())).count() == 1);
    ensure!(both!(client, get_models()).len() >= 4);
    ensure!(both!(client, get_model_labels()).contains(&"every-call".to_owned()));

    call!(Model::set_description, &mut model, "roses");
    call!(Model::set_labels, &mut model, ["every-call", "b"]);
    call!(Model::add_metadata, &mut model, json!({"a": 1, "b": 2}));
    call!(Model::remove_metadata, &mut model, ["a"]);
    call!(Model::move_to_workspace, &mut model, &workspace.name);
    call!(Model::reload, &mut model);
    ensure!(model.description == "roses" && model.labels == ["every-call", "b"]);
    ensure!(json!(model.metadata) == json!({"b": 2}));
    ensure!(model.workspace_id == Some(workspace.id));

    let mut version = call!(Model::register_version, &model, &best.uuid);
    ensure!(call!(Model::get_version, &model, 1).checkpoint.uuid == best.uuid);
    let latest = call!(Model::latest_version, &model).context("no version")?;
    ensure!(latest.model_version == 1);
    let order = ModelVersionQuery::new()
        .order_by(OrderBy::Ascending)
        .page_size(1);
    ensure!(call!(Model::get_versions, &model).len() == 1);
    ensure!(call!(Model::get_versions_with, &model, order.clone()).len() == 1);
    ensure!(call!(Model::iter_versions_with, &model, order).count() == 1);
    call!(ModelVersion::set_name, &mut version, "first");
    call!(ModelVersion::set_notes, &mut version, "Notes.");
    call!(ModelVersion::reload, &mut version);
    ensure!(version.name == "first" && version.notes == "Notes.");
    ensure!(call!(ModelVersion::iter_metrics, &version, None).count() == 0);
    call!(ModelVersion::delete, &version);

    call!(Model::archive, &mut model);
    call!(Model::unarchive, &mut model);
    for model in client.get_models_with(ModelQuery::new().name(prefix()))? {
        call!(Model::delete, &model);
    }
    Ok(())
}

fn checkpoints(client: &Determined, best: Checkpoint) -> Result<()> {
    let mut checkpoint = both!(client, get_checkpoint(&best.uuid));
    call!(
        Checkpoint::add_metadata,
        &mut checkpoint,
        json!({"every-call": 1, "b": 2})
    );
    call!(Checkpoint::remove_metadata, &mut checkpoint, ["b"]);
    call!(Checkpoint::reload, &mut checkpoint);
    ensure!(checkpoint.metadata["every-call"] == 1 && !checkpoint.metadata.contains_key("b"));
    ensure!(call!(Checkpoint::iter_metrics, &checkpoint, None).count() == 0);
    refused(
        "Checkpoint::get_pachyderm_commit",
        checkpoint.get_pachyderm_commit(),
        &[ErrorKind::InvalidInput],
    )?;

    let scratch = tempfile::tempdir()?;
    call!(
        Checkpoint::write_metadata_file,
        &checkpoint,
        scratch.path().join("metadata.json")
    );
    let options = DownloadOptions::new()
        .path(scratch.path().join("files"))
        .mode(DownloadMode::Master)
        .parallelism(2)
        .on_progress(|progress| ensure_fraction(progress.fraction))
        .cancel(&CancelToken::new());
    let files = call!(Checkpoint::download_with, &checkpoint, options);
    ensure!(files.join("state.json").is_file());
    env::set_current_dir(scratch.path())?;
    let files = call!(Checkpoint::download, &checkpoint);
    ensure!(files == Path::new("checkpoints").join(&checkpoint.uuid));
    env::set_current_dir(env::temp_dir())?;

    let (at_once, wait) = (DeleteOptions::new(), Duration::from_secs(600));
    call!(
        Checkpoint::remove_files_with,
        &checkpoint,
        ["no-such-file"],
        at_once
    );
    call!(Checkpoint::remove_files, &checkpoint, ["state.json"]);
    call!(Checkpoint::delete, &checkpoint);
    call!(
        Checkpoint::delete_with,
        &checkpoint,
        DeleteOptions::new().wait(wait)
    );
    Ok(())
}
