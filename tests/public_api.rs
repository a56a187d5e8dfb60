//! The names and shapes that users of the crate stand on. Most of this is checked by compiling: what is called with a wrong type, or is
//! missing, does not.

#![allow(
    clippy::type_complexity,
    reason = "a type that is spelled out is what is tested"
)]

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::iter::FusedIterator;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use determined::testing::MockMaster;
use determined::{
    CancelToken, Checkpoint, CheckpointChoice, CheckpointQuery, CheckpointSortBy, CheckpointState,
    CheckpointTrainingMetadata, CreateExperimentOptions, CreateModelOptions, CreateProjectOptions,
    CreateUserOptions, DeleteOptions, Determined, DownloadMode, DownloadOptions, Error, ErrorKind,
    Experiment, ExperimentConfig, ExperimentQuery, ExperimentSortBy, ExperimentState,
    LaunchWarning, LogEntries, LogEntry, LogLevel, LogOptions, LoginOptions, MetricOrder,
    MetricReports, Model, ModelDefinition, ModelQuery, ModelSortBy, ModelVersion,
    ModelVersionQuery, NameOrId, OauthClient, OnPaused, OrderBy, Pages, Progress, Project,
    ProjectNote, Proxy, ResourcePool, Result, Timestamp, TokenStore, Trial, TrialMetrics,
    TrialQuery, TrialSortBy, TrialState, User, UserQuery, WaitOptions, WaitProgress, Workspace,
    client,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

fn object<T: Clone + Send + Sync + Debug + Serialize + 'static>() {}
fn options<T: Clone + Send + Sync + Debug + Default + 'static>() {}
fn state<T: Clone + Eq + Hash + Debug + Display + FromStr + Serialize + Send + Sync + 'static>() {}
fn sort<T: Copy + Eq + Hash + Debug + Send + Sync + 'static>() {}
fn iterator<I: Iterator<Item = Result<T>> + FusedIterator + Send + Debug + 'static, T>() {}

#[test]
fn objects_options_enums_and_iterators_have_their_traits() {
    object::<Experiment>();
    object::<Trial>();
    object::<Checkpoint>();
    object::<CheckpointTrainingMetadata>();
    object::<TrialMetrics>();
    object::<LogEntry>();
    object::<Model>();
    object::<ModelVersion>();
    object::<User>();
    object::<Workspace>();
    object::<Project>();
    object::<ProjectNote>();
    object::<ResourcePool>();
    object::<OauthClient>();

    options::<LoginOptions>();
    options::<CreateExperimentOptions>();
    options::<ExperimentQuery>();
    options::<WaitOptions>();
    options::<TrialQuery>();
    options::<MetricOrder>();
    options::<CheckpointQuery>();
    options::<LogOptions>();
    options::<DownloadOptions>();
    options::<DeleteOptions>();
    options::<CreateModelOptions>();
    options::<ModelQuery>();
    options::<ModelVersionQuery>();
    options::<CreateUserOptions>();
    options::<UserQuery>();
    options::<CreateProjectOptions>();

    state::<ExperimentState>();
    state::<TrialState>();
    state::<CheckpointState>();
    state::<LaunchWarning>();
    state::<LogLevel>();
    sort::<OrderBy>();
    sort::<ExperimentSortBy>();
    sort::<TrialSortBy>();
    sort::<CheckpointSortBy>();
    sort::<ModelSortBy>();
    sort::<DownloadMode>();
    sort::<OnPaused>();
    sort::<ErrorKind>();

    iterator::<Pages<Experiment>, Experiment>();
    iterator::<Pages<Trial>, Trial>();
    iterator::<Pages<Checkpoint>, Checkpoint>();
    iterator::<Pages<Model>, Model>();
    iterator::<Pages<ModelVersion>, ModelVersion>();
    iterator::<LogEntries, LogEntry>();
    iterator::<MetricReports, TrialMetrics>();

    fn shared<T: Clone + Send + Sync + Debug + 'static>() {}
    shared::<Determined>();
    shared::<CancelToken>();
    shared::<Progress>();
    shared::<WaitProgress>();
    shared::<ExperimentConfig>();
    shared::<ModelDefinition>();
    shared::<NameOrId>();
    fn error<T: StdError + Debug + Display + Send + Sync + 'static>() {}
    error::<Error>();
    fn is_jiffs(time: Timestamp) -> jiff::Timestamp {
        time
    }
    let _ = is_jiffs;
}

#[test]
fn the_setters_bear_the_names_and_types_of_the_reference() {
    let second = Duration::from_secs(1);
    let token = CancelToken::new();
    let _ = LoginOptions::new()
        .master("https://det.example:8443")
        .user("kim")
        .password("…")
        .cert_path("ca.pem")
        .cert_pem(b"-----BEGIN CERTIFICATE-----".as_slice())
        .cert_name("det.internal")
        .noverify(false)
        .connect_timeout(second)
        .read_timeout(second)
        .retries(5)
        .proxy(Proxy::Environment)
        .proxy(Proxy::None)
        .proxy(Proxy::Url("http://proxy:3128".into()))
        .prompt(false)
        .force_login(false)
        .relogin(true)
        .token_store(TokenStore::Default)
        .token_store(TokenStore::Dir(PathBuf::from("/tmp")))
        .token_store(TokenStore::None)
        .user_agent_suffix("suffix/1");
    let _ = CreateExperimentOptions::new()
        .include("lib")
        .includes(["a", "b"])
        .project_id(3)
        .template("t")
        .activate(true)
        .validate_only(false)
        .on_progress(|_: &Progress| {})
        .cancel(&token);
    let _ = CreateModelOptions::new()
        .description("…")
        .metadata(json!({"k": 1}))
        .metadata(BTreeMap::from([("k", 1)]))
        .labels(["a"])
        .labels(vec![String::from("a")])
        .workspace_name("w");
    let _ = ModelQuery::new()
        .sort_by(ModelSortBy::Name)
        .order_by(OrderBy::Ascending)
        .name("ir")
        .description("d")
        .model_id(7)
        .workspace_names(["w"])
        .workspace_ids([1])
        .page_size(10);
    let _ = ExperimentQuery::new()
        .sort_by(ExperimentSortBy::SearcherMetricVal)
        .order_by(OrderBy::Descending)
        .experiment_ids([1, 2])
        .labels(["a"])
        .users(["kim"])
        .states([ExperimentState::Running])
        .name("n")
        .project_id(1)
        .page_size(10);
    let _ = WaitOptions::new()
        .interval(second)
        .timeout(second)
        .outage_limit(second)
        .on_paused(OnPaused::KeepWaiting)
        .on_progress(|seen: &WaitProgress| {
            let _: (&ExperimentState, Option<f64>, Duration) =
                (&seen.state, seen.progress, seen.elapsed);
        })
        .cancel(&token);
    let _ = TrialQuery::new()
        .sort_by(TrialSortBy::Id)
        .order_by(OrderBy::Ascending)
        .page_size(10);
    let _ = MetricOrder::new().sort_by("acc").smaller_is_better(false);
    let _ = CheckpointQuery::new()
        .sort_by("acc")
        .sort_by(String::from("acc"))
        .sort_by(CheckpointSortBy::EndTime)
        .order_by(OrderBy::Ascending)
        .max_results(3)
        .states([CheckpointState::Completed])
        .page_size(10);
    let _ = LogOptions::new()
        .follow(true)
        .head(1)
        .tail(1)
        .container_ids(["c"])
        .rank_ids([0, -1])
        .stdtypes(["stderr"])
        .min_level(LogLevel::Warning)
        .include_unlevelled(true)
        .timestamp_before(Timestamp::UNIX_EPOCH)
        .timestamp_after(Timestamp::UNIX_EPOCH)
        .sources(["task"])
        .search_text("x")
        .cancel(&token);
    let _ = DownloadOptions::new()
        .path("best")
        .mode(DownloadMode::Auto)
        .mode(DownloadMode::Direct)
        .mode(DownloadMode::Master)
        .parallelism(4)
        .on_progress(|_: &Progress| {})
        .cancel(&token);
    let _ = ModelVersionQuery::new()
        .order_by(OrderBy::Ascending)
        .page_size(10);
    let _ = CreateUserOptions::new().password("…").remote(false);
    let _ = UserQuery::new().active(true);
    let _ = CreateProjectOptions::new().description("…");
    let _ = DeleteOptions::new().wait(second).cancel(&token);
    token.cancel();
}

/// Never called: that it compiles is the test.
#[allow(dead_code, deprecated)]
fn every_call_has_its_signature(client: &Determined) -> Result<()> {
    let _: Result<()> = client::login(LoginOptions::new());
    let _: Determined = Determined::new(LoginOptions::new())?;
    let _: Result<()> = client::logout();
    let _: Result<()> = client.logout();
    let _: String = client::get_session_username()?;
    let _: &str = client.get_session_username();

    let value = json!({});
    let map: Map<String, Value> = Map::new();
    let _: Experiment = client::create_experiment("my_config.yaml", ".")?;
    let _ = client::create_experiment(Path::new("c.yaml"), Path::new("."))?;
    let _ = client::create_experiment(PathBuf::from("c.yaml"), PathBuf::from("."))?;
    let _ = client::create_experiment(&value, String::from("."))?;
    let here = PathBuf::from(".");
    let _ = client::create_experiment(value.clone(), &here)?;
    let _ = client::create_experiment(map, ModelDefinition::none())?;
    let _ = client::create_experiment(ExperimentConfig::from_yaml("a: 1")?, ".")?;
    let _ = client::create_experiment(ExperimentConfig::from_serialize(&value)?, ".")?;
    let options = CreateExperimentOptions::new();
    let _: Experiment = client::create_experiment_with("c.yaml", ".", options)?;
    let _: Experiment = client::get_experiment(1)?;
    let _: Trial = client::get_trial(1)?;
    let _: Checkpoint = client::get_checkpoint("uuid")?;
    let _: Vec<Experiment> = client.list_experiments()?;
    let _: Vec<Experiment> = client.list_experiments_with(ExperimentQuery::new())?;
    let _: Pages<Experiment> = client.iter_experiments_with(ExperimentQuery::new())?;
    let _: MetricReports = client.iter_trials_metrics([1, 2], "training")?;
    let _: MetricReports = client.iter_trials_metrics(vec![1], "training")?;

    let _: Model = client::create_model("iris")?;
    let _: Model = client::create_model_with("iris", CreateModelOptions::new())?;
    let _: Model = client::get_model("iris")?;
    let _: Model = client::get_model(String::from("iris"))?;
    let _: Model = client::get_model(7)?;
    let _: Model = client.get_model_by_id(7)?;
    let _: Vec<Model> = client::get_models()?;
    let _: Vec<Model> = client::get_models_with(ModelQuery::new())?;
    let _: Pages<Model> = client::iter_models_with(ModelQuery::new())?;
    let _: Vec<String> = client.get_model_labels()?;

    let _: User = client.create_user("kim", false, "…")?;
    let _: User = client.create_user_with("kim", false, CreateUserOptions::new())?;
    let _: User = client.get_user_by_name("kim")?;
    let _: User = client.get_user_by_id(1)?;
    let _: Vec<User> = client.list_users()?;
    let _: Vec<User> = client.list_users_with(UserQuery::new())?;
    let _: User = client.whoami()?;
    let _: Workspace = client.get_workspace("lab")?;
    let _: Workspace = client.get_workspace(1)?;
    let _: Vec<Workspace> = client.list_workspaces()?;
    let _: Workspace = client.create_workspace("lab")?;
    let _: Result<()> = client.delete_workspace("lab");
    let _: Vec<OauthClient> = client.list_oauth_clients()?;
    let _: OauthClient = client.add_oauth_client("https://app.example", "app")?;
    let _: Result<()> = client.remove_oauth_client("7");
    Ok(())
}

/// Never called: that it compiles is the test. What changes fields takes `&mut self`, all else `&self`.
#[allow(dead_code)]
fn every_method_has_its_signature(
    experiment: &mut Experiment,
    trial: &mut Trial,
    checkpoint: &mut Checkpoint,
    model: &mut Model,
    version: &mut ModelVersion,
) -> Result<()> {
    let shared: &Experiment = experiment;
    let _: ExperimentState = shared.wait()?;
    let _: ExperimentState = shared.wait_with(WaitOptions::new())?;
    let _: Trial = shared.await_first_trial()?;
    let _: Trial = shared.await_first_trial_with(WaitOptions::new())?;
    let _: Vec<Trial> = shared.get_trials()?;
    let _: Vec<Trial> = shared.get_trials_with(TrialQuery::new())?;
    let _: Pages<Trial> = shared.iter_trials_with(TrialQuery::new())?;
    let _: Checkpoint = shared.top_checkpoint()?;
    let _: Checkpoint = shared.top_checkpoint_with(MetricOrder::new())?;
    let _: Vec<Checkpoint> = shared.top_n_checkpoints(3)?;
    let _: Vec<Checkpoint> = shared.top_n_checkpoints_with(3, MetricOrder::new())?;
    let _: Vec<Checkpoint> = shared.list_checkpoints()?;
    let _: Vec<Checkpoint> = shared.list_checkpoints_with(CheckpointQuery::new())?;
    let _: Pages<Checkpoint> = shared.iter_checkpoints_with(CheckpointQuery::new())?;
    let actions: [fn(&Experiment) -> Result<()>; 6] = [
        Experiment::activate,
        Experiment::pause,
        Experiment::cancel,
        Experiment::kill,
        Experiment::delete,
        Experiment::delete_tensorboard_files,
    ];
    for action in actions {
        action(shared)?;
    }
    let _: PathBuf = shared.download_code("dir")?;
    let _: Map<String, Value> = shared.get_pachyderm_config()?;
    experiment.reload()?;
    experiment.set_name("n")?;
    experiment.set_description("d")?;
    experiment.set_notes("n")?;
    experiment.set_labels(["a"])?;
    experiment.add_label("a")?;
    experiment.remove_label("a")?;
    experiment.archive()?;
    experiment.unarchive()?;
    experiment.move_to_project("workspace", "project")?;

    let shared: &Trial = trial;
    let _: LogEntries = shared.logs()?;
    let _: LogEntries = shared.logs_with(LogOptions::new())?;
    let _: Checkpoint = shared.top_checkpoint()?;
    let _: Checkpoint = shared.top_checkpoint_with(MetricOrder::new())?;
    for choice in [
        CheckpointChoice::Latest,
        CheckpointChoice::Best,
        CheckpointChoice::BestBy(MetricOrder::new()),
        CheckpointChoice::Uuid(String::new()),
    ] {
        let _: Checkpoint = shared.select_checkpoint(choice)?;
    }
    let _: Vec<Checkpoint> = shared.get_checkpoints()?;
    let _: Vec<Checkpoint> = shared.get_checkpoints_with(CheckpointQuery::new())?;
    let _: Pages<Checkpoint> = shared.iter_checkpoints_with(CheckpointQuery::new())?;
    let _: MetricReports = shared.iter_metrics("training")?;
    let _: Experiment = shared.get_experiment()?;
    shared.kill()?;
    trial.reload()?;

    let shared: &Checkpoint = checkpoint;
    let _: PathBuf = shared.download()?;
    let _: PathBuf = shared.download_with(DownloadOptions::new())?;
    shared.write_metadata_file("metadata.json")?;
    shared.delete()?;
    shared.remove_files(["glob"])?;
    let _: MetricReports = shared.iter_metrics("inference")?;
    let _: MetricReports = shared.iter_metrics(None)?;
    let _: String = shared.get_pachyderm_commit()?;
    checkpoint.add_metadata(json!({"k": 1}))?;
    checkpoint.add_metadata(BTreeMap::from([("k", 1)]))?;
    checkpoint.remove_metadata(["k"])?;
    checkpoint.reload()?;

    let shared: &Model = model;
    let _: ModelVersion = shared.get_version(3)?;
    let _: Option<ModelVersion> = shared.latest_version()?;
    let _: Vec<ModelVersion> = shared.get_versions()?;
    let _: Vec<ModelVersion> = shared.get_versions_with(ModelVersionQuery::new())?;
    let _: Pages<ModelVersion> = shared.iter_versions_with(ModelVersionQuery::new())?;
    let _: ModelVersion = shared.register_version("uuid")?;
    shared.delete()?;
    model.add_metadata(json!({"k": 1}))?;
    model.remove_metadata(["k"])?;
    model.set_labels(["a"])?;
    model.set_description("d")?;
    model.archive()?;
    model.unarchive()?;
    model.move_to_workspace("w")?;
    model.reload()?;

    version.set_name("n")?;
    version.set_notes("n")?;
    version.reload()?;
    let shared: &ModelVersion = version;
    shared.delete()?;
    let _: MetricReports = shared.iter_metrics("inference")?;
    Ok(())
}

/// Never called: that it compiles is the test.
#[allow(dead_code)]
fn every_method_of_the_cluster_has_its_signature(
    user: &mut User,
    workspace: &mut Workspace,
    project: &mut Project,
    pool: &ResourcePool,
) -> Result<()> {
    user.reload()?;
    user.rename("n")?;
    user.activate()?;
    user.deactivate()?;
    user.change_display_name("n")?;
    user.link_with_agent(1, 1, "u", "g")?;
    user.unlink_from_agent()?;
    let shared: &User = user;
    shared.change_password("…")?;

    workspace.reload()?;
    let shared: &Workspace = workspace;
    let _: Vec<ResourcePool> = shared.list_pools()?;
    let _: Project = shared.create_project("p")?;
    let _: Project = shared.create_project_with("p", CreateProjectOptions::new())?;
    let _: Project = shared.get_project("p")?;
    let _: Vec<Project> = shared.list_projects()?;
    shared.delete_project("p")?;

    project.reload()?;
    project.set_name("n")?;
    project.set_description("d")?;
    project.set_key("K")?;
    project.archive()?;
    project.unarchive()?;
    project.add_note("n", "c")?;
    project.remove_note("n")?;
    let _: Vec<Experiment> = project.list_experiments()?;

    pool.add_bindings(["w"])?;
    pool.remove_bindings(["w"])?;
    pool.replace_bindings(["w"])?;
    let _: Vec<Workspace> = pool.list_workspaces()?;
    Ok(())
}

/// Never called: that it compiles is the test.
#[allow(dead_code)]
fn every_field_has_its_type(
    e: Experiment,
    t: Trial,
    c: Checkpoint,
    metrics: TrialMetrics,
    entry: LogEntry,
) {
    let _: (i32, String, String, Vec<String>, Option<String>, Value) =
        (e.id, e.name, e.description, e.labels, e.notes, e.config);
    let _: (ExperimentState, bool, i32, Option<i32>, Option<f64>) = (
        e.state,
        e.archived,
        e.project_id,
        e.workspace_id,
        e.progress,
    );
    let _: (Option<Timestamp>, Option<Timestamp>, Vec<LaunchWarning>) =
        (e.start_time, e.end_time, e.warnings);

    let _: (i32, i32, Map<String, Value>, TrialState) = (t.id, t.experiment_id, t.hparams, t.state);
    let _: Map<String, Value> = t.summary_metrics;

    let _: (String, Option<String>, Option<String>) = (c.uuid, c.task_id, c.allocation_id);
    let _: (Option<Timestamp>, BTreeMap<String, u64>) = (c.report_time, c.resources);
    let _: (Map<String, Value>, CheckpointState) = (c.metadata, c.state);
    let training: Option<CheckpointTrainingMetadata> = c.training;
    if let Some(training) = training {
        let _: (Value, i32, i32) = (
            training.experiment_config.clone(),
            training.experiment_id,
            training.trial_id,
        );
        let _: Option<f64> = training.metric("acc");
        let _: Map<String, Value> = training.hparams;
        let _: Map<String, Value> = training.validation_metrics;
    }

    let _: (i32, i32, i32) = (
        metrics.trial_id,
        metrics.trial_run_id,
        metrics.steps_completed,
    );
    let _: Option<f64> = metrics.metric("loss");
    let _: (Option<Timestamp>, String) = (metrics.end_time, metrics.group);
    let _: (Map<String, Value>, Option<Vec<Value>>) = (metrics.metrics, metrics.batch_metrics);

    let _: (Option<&str>, Option<Timestamp>, Option<LogLevel>) =
        (entry.id(), entry.timestamp(), entry.level());
    let _: (Option<i32>, Option<&str>, Option<&str>) =
        (entry.rank_id(), entry.container_id(), entry.agent_id());
    let _: (Option<&str>, Option<&str>, &str, &str) = (
        entry.source(),
        entry.stdtype(),
        entry.log(),
        entry.message(),
    );
    let _: String = entry.to_string();
}

/// Never called: that it compiles is the test.
#[allow(dead_code)]
fn every_field_of_the_registry_and_the_cluster_has_its_type(
    m: Model,
    v: ModelVersion,
    u: User,
    w: Workspace,
    p: Project,
    pool: ResourcePool,
    oauth: OauthClient,
) {
    let _: (i32, String, String, Map<String, Value>) =
        (m.model_id, m.name, m.description, m.metadata);
    let _: (Option<Timestamp>, Option<Timestamp>) = (m.creation_time, m.last_updated_time);
    let _: (Vec<String>, String, bool, Option<i32>) =
        (m.labels, m.username, m.archived, m.workspace_id);
    let _: (i32, i32, String, String, String, String) = (
        v.model_id,
        v.model_version,
        v.model_name,
        v.name,
        v.notes,
        v.comment,
    );
    let _: (Map<String, Value>, Checkpoint) = (v.metadata, v.checkpoint);
    let _: (i32, String, bool, bool, bool, String) = (
        u.user_id,
        u.username,
        u.admin,
        u.active,
        u.remote,
        u.display_name,
    );
    let _: (Option<i32>, Option<i32>, Option<String>, Option<String>) =
        (u.agent_uid, u.agent_gid, u.agent_user, u.agent_group);
    let _: (i32, String) = (w.id, w.name);
    let _: (i32, Option<String>, bool, String, i32, i32) = (
        p.id,
        p.key,
        p.archived,
        p.description,
        p.n_active_experiments,
        p.n_experiments,
    );
    let notes: Vec<ProjectNote> = p.notes;
    let _: (String, String, i32) = (p.name, p.username, p.workspace_id);
    for note in notes {
        let _: (String, String) = (note.name, note.contents);
    }
    let _: String = pool.name;
    let _: (String, Option<String>, String, String) =
        (oauth.id, oauth.secret, oauth.domain, oauth.name);
}

#[test]
fn an_error_answers_questions() {
    let kinds = [
        ErrorKind::MasterNotFound,
        ErrorKind::Connection,
        ErrorKind::Timeout,
        ErrorKind::WaitTimeout,
        ErrorKind::Cancelled,
        ErrorKind::Tls,
        ErrorKind::Unauthenticated,
        ErrorKind::Forbidden,
        ErrorKind::NotFound,
        ErrorKind::Conflict,
        ErrorKind::RateLimited,
        ErrorKind::EnterpriseOnly,
        ErrorKind::Unsupported,
        ErrorKind::FeatureDisabled,
        ErrorKind::Api,
        ErrorKind::InvalidInput,
        ErrorKind::ExperimentConfig,
        ErrorKind::ExperimentPaused,
        ErrorKind::CheckpointUnavailable,
        ErrorKind::Storage,
        ErrorKind::CorruptTokenCache,
        ErrorKind::CorruptCertificateCache,
        ErrorKind::AlreadyLoggedIn,
        ErrorKind::Io,
        ErrorKind::InvalidResponse,
    ];
    let error: Error = MockMaster::start()
        .determined()
        .get_trial(9)
        .expect_err("there is none");
    let (kind, status): (ErrorKind, Option<u16>) = (error.kind(), error.status());
    assert!(kinds.contains(&kind) && kind == ErrorKind::NotFound && status == Some(404));
    let said: Option<&str> = error.server_message();
    assert_eq!(said, Some("trial '9' not found"));
    assert!(error.is_not_found() && !error.is_transient());
    let words = error.to_string();
    assert!(words.contains("GET /api/v1/trials/9") && !words.contains('\n'));
    assert!(
        error
            .source()
            .is_none_or(|cause| !words.contains(&cause.to_string()))
    );
    fn alias(result: Result<u8, String>) -> std::result::Result<u8, String> {
        result
    }
    let _ = alias;
}

#[test]
fn states_are_pythons_words_and_keep_what_newer_masters_say() {
    for (state, word) in [
        (ExperimentState::Active, "ACTIVE"),
        (ExperimentState::Paused, "PAUSED"),
        (ExperimentState::StoppingCompleted, "STOPPING_COMPLETED"),
        (ExperimentState::StoppingCanceled, "STOPPING_CANCELED"),
        (ExperimentState::StoppingError, "STOPPING_ERROR"),
        (ExperimentState::StoppingKilled, "STOPPING_KILLED"),
        (ExperimentState::Completed, "COMPLETED"),
        (ExperimentState::Canceled, "CANCELED"),
        (ExperimentState::Error, "ERROR"),
        (ExperimentState::Deleted, "DELETED"),
        (ExperimentState::Deleting, "DELETING"),
        (ExperimentState::DeleteFailed, "DELETE_FAILED"),
        (ExperimentState::Queued, "QUEUED"),
        (ExperimentState::Pulling, "PULLING"),
        (ExperimentState::Starting, "STARTING"),
        (ExperimentState::Running, "RUNNING"),
        (ExperimentState::Unrecognized("NEW".into()), "NEW"),
    ] {
        assert_eq!((state.to_string().as_str(), state.as_str()), (word, word));
        assert_eq!(word.parse(), Ok(state.clone()));
        assert_eq!(format!("STATE_{word}").parse(), Ok(state.clone()));
        assert_eq!(json!(state), json!(word));
    }
    for (state, word) in [
        (TrialState::Active, "ACTIVE"),
        (TrialState::Paused, "PAUSED"),
        (TrialState::StoppingCanceled, "STOPPING_CANCELED"),
        (TrialState::StoppingKilled, "STOPPING_KILLED"),
        (TrialState::StoppingCompleted, "STOPPING_COMPLETED"),
        (TrialState::StoppingError, "STOPPING_ERROR"),
        (TrialState::Canceled, "CANCELED"),
        (TrialState::Completed, "COMPLETED"),
        (TrialState::Error, "ERROR"),
        (TrialState::Queued, "QUEUED"),
        (TrialState::Pulling, "PULLING"),
        (TrialState::Starting, "STARTING"),
        (TrialState::Running, "RUNNING"),
        (TrialState::Unrecognized("NEW".into()), "NEW"),
    ] {
        assert_eq!(state.to_string(), word);
        assert_eq!(word.parse(), Ok(state));
    }
    for (state, word) in [
        (CheckpointState::Active, "ACTIVE"),
        (CheckpointState::Completed, "COMPLETED"),
        (CheckpointState::Error, "ERROR"),
        (CheckpointState::Deleted, "DELETED"),
        (CheckpointState::PartiallyDeleted, "PARTIALLY_DELETED"),
        (CheckpointState::Unrecognized("NEW".into()), "NEW"),
    ] {
        assert_eq!(state.to_string(), word);
        assert_eq!(word.parse(), Ok(state));
    }
    let levels = [
        LogLevel::Trace,
        LogLevel::Debug,
        LogLevel::Info,
        LogLevel::Warning,
        LogLevel::Error,
        LogLevel::Critical,
    ];
    assert!(levels.is_sorted());
    assert_eq!(levels.map(|level| level.to_string())[3], "WARNING");
}

#[test]
fn the_keys_to_sort_by_are_all_there() {
    let _ = [
        ExperimentSortBy::Id,
        ExperimentSortBy::Description,
        ExperimentSortBy::StartTime,
        ExperimentSortBy::EndTime,
        ExperimentSortBy::State,
        ExperimentSortBy::NumTrials,
        ExperimentSortBy::Progress,
        ExperimentSortBy::User,
        ExperimentSortBy::Name,
        ExperimentSortBy::ForkedFrom,
        ExperimentSortBy::ResourcePool,
        ExperimentSortBy::ProjectId,
        ExperimentSortBy::CheckpointSize,
        ExperimentSortBy::CheckpointCount,
        ExperimentSortBy::SearcherMetricVal,
    ];
    let _ = [
        TrialSortBy::Id,
        TrialSortBy::StartTime,
        TrialSortBy::EndTime,
        TrialSortBy::State,
        TrialSortBy::BestValidationMetric,
        TrialSortBy::LatestValidationMetric,
        TrialSortBy::BatchesProcessed,
        TrialSortBy::Duration,
        TrialSortBy::Restarts,
        TrialSortBy::CheckpointSize,
    ];
    let _ = [
        CheckpointSortBy::Uuid,
        CheckpointSortBy::TrialId,
        CheckpointSortBy::BatchNumber,
        CheckpointSortBy::EndTime,
        CheckpointSortBy::State,
        CheckpointSortBy::SearcherMetric,
    ];
    let _ = [
        ModelSortBy::Name,
        ModelSortBy::Description,
        ModelSortBy::CreationTime,
        ModelSortBy::LastUpdatedTime,
        ModelSortBy::NumVersions,
        ModelSortBy::Workspace,
    ];
    let _ = [OrderBy::Ascending, OrderBy::Descending];
}

#[test]
fn a_client_of_a_test_master_has_what_tests_need() {
    let master = MockMaster::start();
    assert!(master.url().starts_with("http://127.0.0.1:"));
    let options: LoginOptions = master.login_options();
    let _: Determined = master.determined();
    assert_eq!(
        Determined::new(options).unwrap().get_session_username(),
        "determined"
    );
    master.fail_next("/api/v1/me", 500, 1);
    let error = master.determined().whoami().unwrap_err();
    assert_eq!(error.status(), Some(500));
}
