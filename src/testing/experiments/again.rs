//! Going on with an experiment that has ended.

use super::create::own_storage;
use super::{ExperimentOnWire, RunState};
use crate::testing::config::Submitted;
use crate::testing::failure::{Code, Failure};
use crate::testing::http::Response;
use crate::testing::router::{Answer, Call};
use crate::testing::searcher::Searcher;
use crate::testing::state::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    id: Option<i32>,
    override_config: Option<String>,
}

pub(super) fn go_on(call: &mut Call<'_>) -> Answer {
    let request: Request = call.body()?;
    let experiment = call.state.experiment(request.id.unwrap_or(0))?;
    let id = experiment.id;
    let config = continued_config(
        call.state,
        &experiment.config,
        &request.override_config.unwrap_or_default(),
    )?;
    let is_single = config["searcher"]["name"] == "single";
    if !experiment.state.is_terminal() {
        return Err(refused(&format!(
            "experiment in non terminal state '{}', try again later",
            experiment.state.word()
        )));
    }
    let open: Vec<i32> = call
        .state
        .trials_of(experiment)
        .filter(|trial| is_single || trial.state != RunState::Completed)
        .map(|trial| trial.id)
        .collect();
    if experiment.state == RunState::Completed && open.is_empty() {
        return Err(refused(
            "experiment has been completed, cannot continue this experiment",
        ));
    }
    if let Some(experiment) = call.state.experiments.get_mut(id) {
        experiment.config = config;
        experiment.state = RunState::Active;
        experiment.end_time = None;
        experiment.progress = 0.0;
        // The trials that it has are all that it gets.
        experiment.searcher = Searcher::new(&experiment.config);
        experiment.searcher.stop();
    }
    for trial in open {
        if let Some(trial) = call.state.trials.get_mut(trial) {
            trial.begin_again();
            trial.restarts = 0;
            trial.end_time = None;
            trial.ended_at = None;
        }
        call.state.enqueue(trial);
    }
    call.state.schedule();
    #[derive(Serialize)]
    struct Continued {
        experiment: ExperimentOnWire,
        warnings: [(); 0],
    }
    Ok(Response::json(&Continued {
        experiment: call.state.experiment_on_wire(call.state.experiment(id)?),
        warnings: [],
    }))
}

/// The configuration of an experiment, changed by what a request to go on says of it.
fn continued_config(state: &State, config: &Value, text: &str) -> Result<Value, Failure> {
    let name = config["searcher"]["name"].as_str().unwrap_or_default();
    let is_single = name == "single";
    let text = if text.is_empty() { "{}" } else { text };
    if !["single", "grid", "random"].contains(&name) {
        return Err(Failure::invalid(format!(
            "Unsupported searcher type provided: '{name}'"
        )));
    }
    if !is_single && text.trim() != "{}" {
        return Err(Failure::invalid(format!(
            "override config is provided and experiment is not single searcher, got '{name}' instead"
        )));
    }
    let mut submitted = Submitted::parse(text).map_err(|failure| {
        let why = failure.message;
        let why = why
            .strip_prefix("invalid experiment configuration: ")
            .unwrap_or(&why);
        Failure::invalid(format!("parsing override config: {why}"))
    })?;
    for key in ["project", "workspace"] {
        if submitted.at(&[key]).is_some() {
            return Err(Failure::invalid(format!(
                "'{key}' in override config cannot be specified, use `det experiment move` first if you want to change the {key}"
            )));
        }
    }
    if let Value::Object(config) = config {
        submitted.apply(config);
    }
    let searcher = submitted.text_at(&["searcher", "name"]).unwrap_or_default();
    if is_single && searcher != "single" {
        return Err(Failure::invalid(format!(
            "override config must have single searcher type got '{searcher}' instead"
        )));
    }
    let seed = config["reproducibility"]["experiment_seed"].as_i64();
    submitted
        .complete(&own_storage(state.folder.path()), seed.unwrap_or(0))
        .map_err(|failure| Failure {
            message: format!("parsing continue experiment request: {}", failure.message),
            ..failure
        })
}

/// A refusal by the part of the master that changes the database.
fn refused(why: &str) -> Failure {
    Failure::new(
        Code::FailedPrecondition,
        format!(
            "experiment continue database updates: rpc error: code = FailedPrecondition desc = {why}"
        ),
    )
}
