//! Experiments.

mod actions;
mod again;
mod code;
mod create;
mod edit;
mod history;
mod list;
mod preview;

pub(super) use list::STATES;

use super::archive::ModelDefinition;
use super::failure::Failure;
use super::http::Response;
use super::router::{Answer, Call, Route};
use super::searcher::Searcher;
use super::simulation::Model;
use super::state::State;
use super::trials::{Stage, Trial};
use super::wire;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

pub(super) const ROUTES: &[Route] = &[
    Route::get("/api/v1/experiments", list::list),
    Route::post("/api/v1/experiments", create::create),
    Route::get("/api/v1/experiment/labels", list::labels),
    Route::get("/api/v1/experiments/{}", get),
    Route::patch("/api/v1/experiments/{}", edit::patch),
    Route::delete("/api/v1/experiments/{}", actions::delete),
    Route::post("/api/v1/experiments/{}/activate", actions::activate),
    Route::post("/api/v1/experiments/{}/pause", actions::pause),
    Route::post("/api/v1/experiments/{}/cancel", actions::cancel),
    Route::post("/api/v1/experiments/{}/kill", actions::kill),
    Route::post("/api/v1/experiments/{}/archive", actions::archive),
    Route::post("/api/v1/experiments/{}/unarchive", actions::unarchive),
    Route::post("/api/v1/experiments/{}/move", edit::move_to_project),
    Route::put("/api/v1/experiments/{}/labels/{}", edit::add_label),
    Route::delete("/api/v1/experiments/{}/labels/{}", edit::remove_label),
    Route::put("/api/v1/experiments/{}/retain_logs", edit::retain_logs),
    Route::post("/api/v1/experiments/continue", again::go_on),
    Route::post("/api/v1/preview-hp-search", preview::search),
    Route::get("/experiments/{}/preview_gc", edit::preview_garbage).plain(),
    Route::get("/api/v1/experiments/{}/model_def", code::packed),
    Route::get("/api/v1/experiments/{}/file_tree", code::tree),
    Route::post("/api/v1/experiments/{}/file", code::file),
    Route::get("/experiments/{}/model_def", code::archive).plain(),
    Route::get("/experiments/{}/file/download", code::download).plain(),
    Route::get(
        "/api/v1/experiments/{}/validation-history",
        history::of_validations,
    ),
    Route::delete(
        "/api/v1/experiments/{}/tensorboard-files",
        delete_tensorboard_files,
    ),
];

/// The state of an experiment or of a trial, in the order in which they sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RunState {
    Active,
    Canceled,
    Completed,
    Error,
    Paused,
    StoppingCanceled,
    StoppingKilled,
    Deleting,
}

impl RunState {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Canceled => "CANCELED",
            Self::Completed => "COMPLETED",
            Self::Error => "ERROR",
            Self::Paused => "PAUSED",
            Self::StoppingCanceled => "STOPPING_CANCELED",
            Self::StoppingKilled => "STOPPING_KILLED",
            Self::Deleting => "DELETING",
        }
    }

    pub(super) fn wire(self) -> String {
        format!("STATE_{}", self.word())
    }

    pub(super) fn is_terminal(self) -> bool {
        matches!(self, Self::Canceled | Self::Completed | Self::Error)
    }
}

pub(super) struct Experiment {
    pub(super) id: i32,
    pub(super) owner: i32,
    pub(super) project_id: i32,
    /// Complete; name, description and labels stand in it.
    pub(super) config: Value,
    /// As submitted.
    pub(super) original_config: String,
    pub(super) notes: String,
    pub(super) state: RunState,
    pub(super) archived: bool,
    pub(super) start_time: Timestamp,
    pub(super) end_time: Option<Timestamp>,
    pub(super) job_id: String,
    pub(super) forked_from: Option<i32>,
    /// It is run elsewhere: the master only keeps what is told of it.
    pub(super) unmanaged: bool,
    /// As of the last report of a trial, or 1 when all is done.
    pub(super) progress: f64,
    pub(super) trials: Vec<i32>,
    pub(super) searcher: Searcher,
    pub(super) model_definition: ModelDefinition,
    /// What its trials do, if it is not what the master's model says.
    pub(super) script: Option<Model>,
}

/// What a new experiment is made of.
pub(super) struct NewExperiment {
    pub(super) owner: i32,
    pub(super) project_id: i32,
    pub(super) config: Value,
    pub(super) original_config: String,
    pub(super) model_definition: ModelDefinition,
    pub(super) forked_from: Option<i32>,
    pub(super) unmanaged: bool,
}

impl Experiment {
    pub(super) fn name(&self) -> &str {
        self.config["name"].as_str().unwrap_or("")
    }

    fn description(&self) -> &str {
        self.config["description"].as_str().unwrap_or("")
    }

    fn labels(&self) -> Vec<&str> {
        self.config["labels"]
            .as_array()
            .map(|labels| labels.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default()
    }

    pub(super) fn resource_pool(&self) -> &str {
        self.config["resources"]["resource_pool"]
            .as_str()
            .unwrap_or("")
    }
}

/// The shape of an experiment that is asked for alone; what lists leave out is optional.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExperimentOnWire {
    id: i32,
    description: String,
    labels: Vec<String>,
    #[serde(serialize_with = "wire::serialize_time")]
    start_time: Timestamp,
    #[serde(serialize_with = "wire::serialize_optional_time")]
    end_time: Option<Timestamp>,
    state: String,
    archived: bool,
    num_trials: usize,
    trial_ids: Vec<i32>,
    display_name: String,
    user_id: i32,
    username: String,
    resource_pool: String,
    searcher_type: String,
    searcher_metric: String,
    hyperparameters: Value,
    name: String,
    notes: String,
    job_id: String,
    forked_from: Option<i32>,
    progress: Value,
    project_id: i32,
    project_name: String,
    workspace_id: i32,
    workspace_name: String,
    parent_archived: bool,
    config: Value,
    original_config: String,
    project_owner_id: i32,
    #[serde(serialize_with = "wire::serialize_long")]
    checkpoint_size: u64,
    checkpoint_count: usize,
    unmanaged: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_definition_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    best_trial_searcher_metric: Option<Value>,
}

impl State {
    pub(super) fn experiment(&self, id: i32) -> Result<&Experiment, Failure> {
        self.experiments
            .get(id)
            .ok_or_else(|| Failure::not_found(format!("experiment '{id}' not found")))
    }

    /// Adds an experiment that is paused and has no trials yet.
    pub(super) fn add_experiment(&mut self, new: NewExperiment) -> &mut Experiment {
        let start_time = self.time.stamp();
        self.experiments.insert(|id| Experiment {
            id,
            owner: new.owner,
            project_id: new.project_id,
            searcher: Searcher::new(&new.config),
            config: new.config,
            original_config: new.original_config,
            notes: String::new(),
            state: RunState::Paused,
            archived: false,
            start_time,
            end_time: None,
            job_id: super::state::uuid(),
            forked_from: new.forked_from,
            unmanaged: new.unmanaged,
            progress: 0.0,
            trials: Vec::new(),
            model_definition: new.model_definition,
            script: None,
        })
    }

    /// Says what the trials of an experiment do, before they do it.
    pub(super) fn script_experiment(&mut self, id: i32, script: Model) {
        if let Some(experiment) = self.experiments.get_mut(id) {
            experiment.script = Some(script);
        }
    }

    pub(super) fn trials_of(&self, experiment: &Experiment) -> impl Iterator<Item = &Trial> {
        experiment
            .trials
            .iter()
            .filter_map(|id| self.trials.get(*id))
    }

    /// What is shown as its state: of an active one the furthest stage of its trials.
    fn experiment_state_word(&self, experiment: &Experiment) -> String {
        if experiment.state != RunState::Active {
            return experiment.state.wire();
        }
        let stage = self
            .trials_of(experiment)
            .filter(|trial| trial.state == RunState::Active)
            .map(|trial| trial.stage)
            .max()
            .unwrap_or(Stage::Queued);
        format!("STATE_{}", stage.word())
    }

    /// A trial tells how far it has come; with that the experiment has come as far as all of its trials together.
    pub(super) fn report_progress(&mut self, trial: i32, fraction: f64) {
        let Some(trial) = self.trials.get_mut(trial) else {
            return;
        };
        trial.progress = fraction;
        let id = trial.experiment_id;
        let Some(experiment) = self.experiments.get(id) else {
            return;
        };
        let done: f64 = self
            .trials_of(experiment)
            .map(|trial| match trial.state.is_terminal() {
                true => 1.0,
                false => trial.progress,
            })
            .sum();
        let progress = done / experiment.trials.len() as f64;
        if let Some(experiment) = self.experiments.get_mut(id) {
            experiment.progress = progress;
        }
    }

    /// Whether the project or the workspace is archived.
    fn is_parent_archived(&self, experiment: &Experiment) -> bool {
        let project = self.projects.get(experiment.project_id);
        let workspace = project.and_then(|project| self.workspaces.get(project.workspace_id));
        project.is_some_and(|project| project.archived)
            || workspace.is_some_and(|workspace| workspace.archived)
    }

    pub(super) fn experiment_on_wire(&self, experiment: &Experiment) -> ExperimentOnWire {
        let project = self.projects.get(experiment.project_id);
        let workspace = project.and_then(|project| self.workspaces.get(project.workspace_id));
        let (checkpoint_count, checkpoint_size) = self.checkpoints_in_total(&experiment.trials);
        let searcher = experiment.config["searcher"]["name"].as_str().unwrap_or("");
        ExperimentOnWire {
            id: experiment.id,
            description: experiment.description().to_owned(),
            labels: experiment.labels().into_iter().map(str::to_owned).collect(),
            start_time: experiment.start_time,
            end_time: experiment.end_time,
            state: self.experiment_state_word(experiment),
            archived: experiment.archived,
            num_trials: experiment.trials.len(),
            trial_ids: experiment.trials.clone(),
            display_name: String::new(),
            user_id: experiment.owner,
            username: self.username(experiment.owner).to_owned(),
            resource_pool: experiment.resource_pool().to_owned(),
            // The master reads it as JSON here and forgets to take the quotes off.
            searcher_type: format!("{searcher:?}"),
            searcher_metric: String::new(),
            hyperparameters: Value::Null,
            name: experiment.name().to_owned(),
            notes: experiment.notes.clone(),
            job_id: experiment.job_id.clone(),
            forked_from: experiment.forked_from,
            progress: wire::double(experiment.progress),
            project_id: experiment.project_id,
            project_name: project.map_or(String::new(), |project| project.name.clone()),
            workspace_id: workspace.map_or(0, |workspace| workspace.id),
            workspace_name: workspace.map_or(String::new(), |workspace| workspace.name.clone()),
            parent_archived: self.is_parent_archived(experiment),
            config: experiment.config.clone(),
            original_config: experiment.original_config.clone(),
            project_owner_id: project.map_or(0, |project| project.owner),
            checkpoint_size,
            checkpoint_count,
            unmanaged: experiment.unmanaged,
            duration: None,
            model_definition_size: Some(experiment.model_definition.packed.len()),
            best_trial_searcher_metric: None,
        }
    }
}

fn get(call: &mut Call<'_>) -> Answer {
    let experiment = call.state.experiment(call.id(0, "experiment_id")?)?;
    let job_summary = match experiment.state {
        RunState::Active if !experiment.trials.is_empty() => {
            let state = match call.state.experiment_state_word(experiment).as_str() {
                "STATE_QUEUED" => "STATE_QUEUED",
                _ => "STATE_SCHEDULED",
            };
            json!({"state": state, "jobsAhead": 0})
        }
        _ => Value::Null,
    };
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Got<'a> {
        experiment: ExperimentOnWire,
        job_summary: Value,
        config: &'a Value,
    }
    Ok(Response::json(&Got {
        experiment: call.state.experiment_on_wire(experiment),
        job_summary,
        config: &experiment.config,
    }))
}

fn delete_tensorboard_files(call: &mut Call<'_>) -> Answer {
    let id = call.id(0, "experiment_id")?;
    match call.state.experiments.get(id) {
        Some(_) => Ok(Response::json(&json!({}))),
        None => Err(Failure::internal("not found")),
    }
}
