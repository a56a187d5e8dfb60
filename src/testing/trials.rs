//! Trials.

use super::checkpoints::Checkpoint;
use super::clock::Moment;
use super::experiments::{RunState, STATES};
use super::failure::Failure;
use super::http::Response;
use super::metrics::{Report, summary};
use super::router::{Answer, Call, Route};
use super::simulation::{Action, Happening};
use super::state::{State, uuid};
use super::wire::{self, Pagination, database_page};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};

pub(super) const ROUTES: &[Route] = &[
    Route::get("/api/v1/experiments/{}/trials", list),
    Route::get("/api/v1/trials/{}", get),
    Route::post("/api/v1/trials/{}/kill", kill),
    Route::put("/api/v1/trials/{}/retain_logs", retain_logs),
    Route::get("/api/v1/trials/{}/workloads", workloads),
];

/// How far an active trial has come on its way to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Queued,
    Starting,
    Running,
}

impl Stage {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
        }
    }
}

#[derive(Debug)]
pub(super) struct Trial {
    pub(super) id: i32,
    pub(super) experiment_id: i32,
    pub(super) hparams: Map<String, Value>,
    pub(super) start_time: Timestamp,
    pub(super) end_time: Option<Timestamp>,
    /// When it ended, in simulated time.
    pub(super) ended_at: Option<Moment>,
    pub(super) state: RunState,
    /// Says more of a trial that is active.
    pub(super) stage: Stage,
    /// How often it failed and began again.
    pub(super) restarts: i32,
    /// How often it was given a container.
    pub(super) run: i32,
    /// What was planned in another epoch does not happen any more.
    pub(super) epoch: u32,
    pub(super) task_id: String,
    pub(super) container_id: String,
    pub(super) slots: usize,
    pub(super) holds_slots: bool,
    pub(super) allocated_at: Option<Timestamp>,
    /// Seconds in containers that are over.
    pub(super) worked: f64,
    /// What is left to do, once the model has said so.
    pub(super) script: Option<VecDeque<Action>>,
    /// From 0 to 1.
    pub(super) progress: f64,
    pub(super) reports: Vec<Report>,
    pub(super) logs: Vec<super::logs::LogLine>,
}

impl Trial {
    pub(super) fn new(
        id: i32,
        experiment_id: i32,
        hparams: Map<String, Value>,
        slots: usize,
        start_time: Timestamp,
    ) -> Self {
        Self {
            id,
            experiment_id,
            hparams,
            start_time,
            end_time: None,
            ended_at: None,
            state: RunState::Active,
            stage: Stage::Queued,
            restarts: 0,
            run: 0,
            epoch: 0,
            task_id: format!("{experiment_id}.{}", uuid()),
            container_id: uuid(),
            slots,
            holds_slots: false,
            allocated_at: None,
            worked: 0.0,
            script: None,
            progress: 0.0,
            reports: Vec::new(),
            logs: Vec::new(),
        }
    }

    pub(super) fn allocation_id(&self) -> String {
        format!("{}.{}", self.task_id, self.run.max(1))
    }

    /// What is shown as its state.
    pub(super) fn state_word(&self) -> String {
        match self.state {
            RunState::Active => format!("STATE_{}", self.stage.word()),
            state => state.wire(),
        }
    }

    /// A run that failed does not count.
    pub(super) fn begin_again(&mut self) {
        self.restarts += 1;
        self.script = None;
        self.progress = 0.0;
        for report in &mut self.reports {
            report.archived = true;
        }
    }

    /// The reports of a group that count, in order of their steps.
    pub(super) fn reports_of<'a>(&'a self, group: &str) -> impl Iterator<Item = &'a Report> {
        self.reports
            .iter()
            .filter(move |report| !report.archived && report.group == group)
    }

    pub(super) fn steps(&self) -> i32 {
        let counted = self.reports.iter().filter(|report| !report.archived);
        counted.map(|report| report.steps).max().unwrap_or(0)
    }

    /// The validation with the best metric; among equals the first.
    pub(super) fn best_validation(&self, metric: &Metric<'_>) -> Option<&Report> {
        self.reports_of("validation")
            .filter_map(|report| Some((metric.signed(&report.metrics)?, report)))
            .min_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, report)| report)
    }

    fn latest_validation(&self) -> Option<&Report> {
        self.reports_of("validation").max_by_key(|report| report.id)
    }
}

/// By what an experiment's searcher judges.
#[derive(Debug, Clone, Copy)]
pub(super) struct Metric<'a> {
    name: &'a str,
    pub(super) smaller_is_better: bool,
}

impl<'a> Metric<'a> {
    pub(super) fn of(config: &'a Value) -> Self {
        let searcher = &config["searcher"];
        Self {
            name: searcher["metric"].as_str().unwrap_or(""),
            smaller_is_better: searcher["smaller_is_better"].as_bool().unwrap_or(true),
        }
    }

    pub(super) fn value(&self, metrics: &Map<String, Value>) -> Option<f64> {
        metrics.get(self.name)?.as_f64()
    }

    /// Smaller is better, whatever the metric is.
    pub(super) fn signed(&self, metrics: &Map<String, Value>) -> Option<f64> {
        let sign = if self.smaller_is_better { 1.0 } else { -1.0 };
        Some(self.value(metrics)? * sign)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TrialOnWire {
    id: i32,
    experiment_id: i32,
    #[serde(serialize_with = "wire::serialize_time")]
    start_time: Timestamp,
    #[serde(serialize_with = "wire::serialize_optional_time")]
    end_time: Option<Timestamp>,
    state: String,
    restarts: i32,
    hparams: Value,
    total_batches_processed: i32,
    best_validation: Option<Workload>,
    latest_validation: Option<Workload>,
    best_checkpoint: Option<CheckpointWorkload>,
    runner_state: &'static str,
    wall_clock_time: Value,
    warm_start_checkpoint_uuid: &'static str,
    task_id: String,
    #[serde(serialize_with = "wire::serialize_long")]
    total_checkpoint_size: u64,
    checkpoint_count: usize,
    summary_metrics: Value,
    task_ids: [String; 1],
    searcher_metric_value: i32,
}

/// Metrics as a piece of a trial's work.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Workload {
    #[serde(serialize_with = "wire::serialize_time")]
    end_time: Timestamp,
    metrics: MetricsOnWire,
    num_inputs: i32,
    total_batches: i32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetricsOnWire {
    pub(super) avg_metrics: Option<Value>,
    pub(super) batch_metrics: [(); 0],
}

impl MetricsOnWire {
    pub(super) fn of(report: Option<&Report>) -> Self {
        Self {
            avg_metrics: report
                .map(|report| Value::Object(wire::object_through_struct(&report.metrics))),
            batch_metrics: [],
        }
    }
}

impl From<&Report> for Workload {
    fn from(report: &Report) -> Self {
        Self {
            end_time: report.end_time,
            metrics: MetricsOnWire::of(Some(report)),
            num_inputs: 0,
            total_batches: report.steps,
        }
    }
}

/// A checkpoint as a piece of a trial's work.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CheckpointWorkload {
    uuid: String,
    #[serde(serialize_with = "wire::serialize_time")]
    end_time: Timestamp,
    state: String,
    resources: BTreeMap<String, String>,
    total_batches: i32,
    metadata: Option<Value>,
}

impl CheckpointWorkload {
    fn new(checkpoint: &Checkpoint, metadata: Option<Value>) -> Self {
        Self {
            uuid: checkpoint.uuid.clone(),
            end_time: checkpoint.report_time,
            state: checkpoint.state.wire(),
            resources: checkpoint.resources_on_wire(),
            total_batches: checkpoint.steps(),
            metadata,
        }
    }
}

impl State {
    pub(super) fn trial(&self, id: i32) -> Result<&Trial, Failure> {
        self.trials
            .get(id)
            .ok_or_else(|| Failure::not_found(format!("trial '{id}' not found")))
    }

    pub(super) fn trial_on_wire(&self, trial: &Trial) -> TrialOnWire {
        let config = self
            .experiments
            .get(trial.experiment_id)
            .map_or(&Value::Null, |experiment| &experiment.config);
        let metric = Metric::of(config);
        let best_validation = trial.best_validation(&metric);
        let checkpoints = self.checkpoints_of_trial(trial.id);
        let best_checkpoint = checkpoints
            .iter()
            .filter(|checkpoint| checkpoint.is_complete())
            .filter_map(|checkpoint| {
                let value = metric.signed(&self.validation_of(checkpoint)?.metrics)?;
                Some((value, checkpoint))
            })
            .min_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, checkpoint)| CheckpointWorkload::new(checkpoint, None));
        let (count, size) = self.checkpoints_in_total(&[trial.id]);
        let worked = trial.allocated_at.map_or(trial.worked, |since| {
            trial.worked
                + Timestamp::now()
                    .duration_since(since)
                    .as_secs_f64()
                    .max(0.0)
        });
        TrialOnWire {
            id: trial.id,
            experiment_id: trial.experiment_id,
            start_time: trial.start_time,
            end_time: trial.end_time,
            state: trial.state_word(),
            restarts: trial.restarts,
            hparams: Value::Object(wire::object_through_struct(&trial.hparams)),
            total_batches_processed: trial.steps(),
            best_validation: best_validation.map(Workload::from),
            latest_validation: trial.latest_validation().map(Workload::from),
            best_checkpoint,
            runner_state: "",
            wall_clock_time: wire::double((worked * 1e6).round() / 1e6),
            warm_start_checkpoint_uuid: "",
            task_id: trial.task_id.clone(),
            total_checkpoint_size: size,
            checkpoint_count: count,
            summary_metrics: summary(trial),
            task_ids: [trial.task_id.clone()],
            searcher_metric_value: 0,
        }
    }
}

fn get(call: &mut Call<'_>) -> Answer {
    let trial = call.state.trial(call.id(0, "trial_id")?)?;
    #[derive(Serialize)]
    struct Got {
        trial: TrialOnWire,
    }
    Ok(Response::json(&Got {
        trial: call.state.trial_on_wire(trial),
    }))
}

fn list(call: &mut Call<'_>) -> Answer {
    let state = &*call.state;
    let experiment = state.experiment(call.id(0, "experiment_id")?)?;
    let metric = Metric::of(&experiment.config);
    let states = call.query.words("states", "experimentv1.State", &STATES)?;
    let mut trials: Vec<&Trial> = experiment
        .trials
        .iter()
        .filter_map(|id| state.trials.get(*id))
        .filter(|trial| states.is_empty() || states.contains(&trial.state.wire().as_str()))
        .collect();

    // Numbers sort after those that lack one, as nulls do in a database that sorts downwards; upwards it is the other way.
    let by_number = |trials: &mut Vec<&Trial>, key: &dyn Fn(&Trial) -> Option<f64>| {
        trials.sort_by(|a, b| {
            let rank = |value: Option<f64>| value.unwrap_or(f64::INFINITY);
            rank(key(a)).total_cmp(&rank(key(b)))
        });
    };
    match call.query.sort_key("sortBy") {
        None | Some("ID") => {}
        Some("START_TIME") => trials.sort_by_key(|trial| trial.start_time),
        Some("END_TIME") => {
            trials.sort_by_key(|trial| trial.end_time.unwrap_or(Timestamp::MAX));
        }
        Some("STATE") => trials.sort_by_key(|trial| trial.state),
        Some("BEST_VALIDATION_METRIC") => by_number(&mut trials, &|trial| {
            metric.signed(&trial.best_validation(&metric)?.metrics)
        }),
        Some("LATEST_VALIDATION_METRIC") => by_number(&mut trials, &|trial| {
            metric.signed(&trial.latest_validation()?.metrics)
        }),
        Some("BATCHES_PROCESSED") => trials.sort_by_key(|trial| trial.steps()),
        Some("DURATION") => by_number(&mut trials, &|trial| {
            let end = trial.end_time?;
            Some(end.duration_since(trial.start_time).as_secs_f64())
        }),
        Some("RESTARTS") => trials.sort_by_key(|trial| trial.restarts),
        Some("CHECKPOINT_SIZE") => {
            trials.sort_by_key(|trial| state.checkpoints_in_total(&[trial.id]).1);
        }
        Some("LOG_RETENTION_DAYS") => {
            return Err(refused_by_database(
                experiment.id,
                "column \"log_retention_days\" does not exist (SQLSTATE 42703)",
            ));
        }
        Some(other) => return Err(wire::unknown_sort_key(other, "GetExperimentTrialsRequest")),
    }
    if call.query.descending() {
        trials.reverse();
    }
    if call.query.int("limit")? < -2 {
        return Err(refused_by_database(
            experiment.id,
            "LIMIT must not be negative (SQLSTATE 2201W)",
        ));
    }
    let (trials, pagination) = database_page(trials, &call.query, usize::MAX)?;
    #[derive(Serialize)]
    struct Listed {
        trials: Vec<TrialOnWire>,
        pagination: Pagination,
    }
    Ok(Response::json(&Listed {
        trials: trials
            .into_iter()
            .map(|trial| state.trial_on_wire(trial))
            .collect(),
        pagination,
    }))
}

fn refused_by_database(experiment: i32, why: &str) -> Failure {
    Failure::internal(format!(
        "failed to get trial ids for experiment {experiment}: error running query: proto_get_trial_ids_for_experiment: ERROR: {why}"
    ))
}

fn kill(call: &mut Call<'_>) -> Answer {
    let id = call.id(0, "id")?;
    let trial = call.state.trial(id)?;
    let experiment_id = trial.experiment_id;
    // An experiment that has ended is unknown to the part of the master that runs them.
    if call.state.experiment(experiment_id)?.state.is_terminal() {
        return Err(Failure::not_found(format!(
            "experiment '{experiment_id}' not found"
        )));
    }
    if !trial.state.is_terminal() {
        if let Some(trial) = call.state.trials.get_mut(id) {
            trial.state = RunState::StoppingKilled;
            trial.epoch += 1;
        }
        call.state.after_in_trial(id, 100, Happening::Killed);
    }
    Ok(Response::json(&json!({})))
}

/// How long logs are kept shows nowhere.
fn retain_logs(call: &mut Call<'_>) -> Answer {
    call.state.trial(call.id(0, "trial_id")?)?;
    Ok(Response::json(&json!({})))
}

/// The parts of a trial's work, by steps and then by time.
fn workloads(call: &mut Call<'_>) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    enum Part {
        Checkpoint(CheckpointWorkload),
        Training(Workload),
        Validation(Workload),
    }
    let trial = call.state.trial(call.id(0, "trial_id")?)?;
    let filter = call
        .query
        .text("filter")
        .unwrap_or("FILTER_OPTION_UNSPECIFIED");
    let without_deleted = call.query.flag("removeDeletedCheckpoints")? == Some(true);
    let mut parts: Vec<(i32, Timestamp, Part)> = Vec::new();
    for report in &trial.reports {
        let workload = Workload::from(report);
        let part = match report.group.as_str() {
            _ if report.archived => continue,
            "validation" => Part::Validation(workload),
            "training" if filter == "FILTER_OPTION_UNSPECIFIED" => Part::Training(workload),
            _ => continue,
        };
        parts.push((report.steps, report.end_time, part));
    }
    if filter != "FILTER_OPTION_VALIDATION" {
        for checkpoint in call.state.checkpoints_of_trial(trial.id) {
            if without_deleted && checkpoint.is_deleted() {
                continue;
            }
            let metadata = wire::object_through_struct(&checkpoint.metadata);
            let part = CheckpointWorkload::new(checkpoint, Some(Value::Object(metadata)));
            parts.push((
                checkpoint.steps(),
                checkpoint.report_time,
                Part::Checkpoint(part),
            ));
        }
    }
    parts.sort_by_key(|(steps, time, _)| (*steps, *time));
    if call.query.descending() {
        parts.reverse();
    }
    let (parts, pagination) = database_page(parts, &call.query.or_limit(-1), usize::MAX)?;
    #[derive(Serialize)]
    struct Listed {
        workloads: Vec<Part>,
        pagination: Pagination,
    }
    Ok(Response::json(&Listed {
        workloads: parts.into_iter().map(|(_, _, part)| part).collect(),
        pagination,
    }))
}
