//! Tasks: those of trials. Commands, notebooks, shells and TensorBoards are asked for like on any master, but none ever runs.

use super::experiments::RunState;
use super::failure::Failure;
use super::http::Response;
use super::pools;
use super::router::{Answer, Call, Route};
use super::state::State;
use super::trials::{Stage, Trial};
use super::wire::{self, page};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub(super) const ROUTES: &[Route] = &[
    Route::get("/api/v1/tasks", list),
    Route::get("/api/v1/tasks/count", count),
    Route::get("/api/v1/tasks/{}", get),
    Route::post("/api/v1/cleanup_logs", clean_up_logs),
    Route::get("/api/v1/commands", none_of_a_kind),
    Route::get("/api/v1/commands/{}", unknown),
    Route::post("/api/v1/commands/{}/kill", unknown),
    Route::post("/api/v1/commands/{}/set_priority", unknown),
    Route::get("/api/v1/notebooks", none_of_a_kind),
    Route::get("/api/v1/notebooks/{}", unknown),
    Route::post("/api/v1/notebooks/{}/kill", unknown),
    Route::post("/api/v1/notebooks/{}/set_priority", unknown),
    Route::get("/api/v1/shells", none_of_a_kind),
    Route::get("/api/v1/shells/{}", unknown),
    Route::post("/api/v1/shells/{}/kill", unknown),
    Route::post("/api/v1/shells/{}/set_priority", unknown),
    Route::get("/api/v1/tensorboards", none_of_a_kind),
    Route::get("/api/v1/tensorboards/{}", unknown),
    Route::post("/api/v1/tensorboards/{}/kill", unknown),
    Route::post("/api/v1/tensorboards/{}/set_priority", unknown),
];

impl State {
    /// The trial that a task is for.
    pub(super) fn trial_of_task(&self, task: &str) -> Option<&Trial> {
        self.trials.values().find(|trial| trial.task_id == task)
    }
}

/// What holds slots now.
fn list(call: &mut Call<'_>) -> Answer {
    let allocations: Map<String, Value> = call
        .state
        .trials
        .values()
        .filter(|trial| trial.holds_slots)
        .map(|trial| {
            let id = trial.allocation_id();
            let summary = json!({
                "taskId": trial.task_id,
                "allocationId": id,
                "name": format!("Trial {} (Experiment {})", trial.id, trial.experiment_id),
                "registeredTime": wire::time(trial.allocated_at.unwrap_or(trial.start_time)),
                "resourcePool": pools::DEFAULT,
                "slotsNeeded": trial.slots,
                "resources": [],
                "schedulerType": "priority",
                "priority": 42,
                "proxyPorts": [],
            });
            (id, summary)
        })
        .collect();
    Ok(Response::json(
        &json!({"allocationIdToSummary": allocations}),
    ))
}

fn count(_: &mut Call<'_>) -> Answer {
    Ok(Response::json(
        &json!({"commands": 0, "notebooks": 0, "shells": 0, "tensorboards": 0}),
    ))
}

fn get(call: &mut Call<'_>) -> Answer {
    let id = call.text(0);
    let trial = call
        .state
        .trial_of_task(id)
        .ok_or_else(|| Failure::not_found(format!("task '{id}' not found")))?;
    let state = match (trial.state, trial.stage) {
        (RunState::Active, stage) => format!("STATE_{}", stage.word()),
        _ if trial.holds_slots => format!("STATE_{}", Stage::Running.word()),
        _ => "STATE_TERMINATED".into(),
    };
    let allocation = json!({
        "taskId": trial.task_id,
        "state": state,
        "isReady": trial.stage == Stage::Running,
        "startTime": wire::time(trial.allocated_at.unwrap_or(trial.start_time)),
        "endTime": trial.end_time.map(wire::time),
        "allocationId": trial.allocation_id(),
        "slots": 0,
    });
    let task = json!({
        "taskId": trial.task_id,
        "taskType": "TASK_TYPE_TRIAL",
        "allocations": [allocation],
        "startTime": wire::time(trial.start_time),
        "endTime": trial.end_time.map(wire::time),
    });
    Ok(Response::json(&json!({"task": task})))
}

/// No log is old enough to be removed.
fn clean_up_logs(call: &mut Call<'_>) -> Answer {
    match call.is_admin() {
        true => Ok(Response::json(&json!({"removedCount": "0"}))),
        false => Err(Failure::forbidden("PermissionDenied")),
    }
}

/// The list of commands, notebooks, shells or TensorBoards, by the last word of the path.
fn none_of_a_kind(call: &mut Call<'_>) -> Answer {
    let workspace = call.query.int("workspaceId")?;
    if workspace != 0 {
        call.state
            .workspace(i32::try_from(workspace).unwrap_or(0))?;
    }
    let (none, pagination) = page(Vec::<Value>::new(), &call.query)?;
    let kind = call.request.path.rsplit('/').next().unwrap_or_default();
    #[derive(Serialize)]
    struct Listed<'a, P> {
        #[serde(flatten)]
        items: std::collections::BTreeMap<&'a str, Vec<Value>>,
        pagination: P,
    }
    Ok(Response::json(&Listed {
        items: [(kind, none)].into(),
        pagination,
    }))
}

fn unknown(call: &mut Call<'_>) -> Answer {
    let kind = call.request.path.split('/').nth(3).unwrap_or_default();
    let kind = kind.strip_suffix('s').unwrap_or(kind);
    let id = call.text(0);
    Err(Failure::not_found(format!("{kind} '{id}' not found")))
}
