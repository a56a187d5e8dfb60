//! The job queue: the experiments that run or wait for it.

use super::experiments::{Experiment, RunState};
use super::failure::Failure;
use super::http::Response;
use super::pools;
use super::router::{Answer, Call, Route};
use super::state::State;
use super::trials::Trial;
use super::wire::{self, Pagination, Query, page};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(super) const ROUTES: &[Route] = &[
    Route::get("/api/v1/job-queues", list),
    Route::get("/api/v1/job-queues-v2", list_v2),
    Route::get("/api/v1/job-queues/stats", stats),
    Route::post("/api/v1/job-queues", update),
];

/// How many jobs come at once when the client names no limit.
const PAGE: i64 = 100;

impl State {
    /// The experiments in the queue of a pool, and whether each runs: those that do first, then by priority and age.
    pub(super) fn queued_jobs(&self, pool: &str) -> Vec<(&Experiment, bool)> {
        let mut jobs: Vec<(&Experiment, bool)> = self
            .experiments
            .values()
            .filter(|experiment| experiment.resource_pool() == pool)
            .filter(|experiment| {
                !experiment.state.is_terminal()
                    && !matches!(experiment.state, RunState::Paused | RunState::Deleting)
            })
            .map(|experiment| {
                let runs = self.trials_of(experiment).any(|trial| trial.holds_slots);
                (experiment, runs)
            })
            .collect();
        jobs.sort_by_key(|(experiment, runs)| {
            let priority = experiment.config["resources"]["priority"].as_i64();
            (!runs, priority, experiment.id)
        });
        jobs
    }

    fn job_on_wire(&self, experiment: &Experiment, runs: bool, ahead: usize) -> Value {
        let resources = &experiment.config["resources"];
        let live = || {
            self.trials_of(experiment)
                .filter(|trial| !trial.state.is_terminal())
        };
        let slots = |trials: &mut dyn Iterator<Item = &Trial>| -> usize {
            trials.map(|trial| trial.slots).sum()
        };
        let project = self.projects.get(experiment.project_id);
        json!({
            "summary": {
                "state": if runs { "STATE_SCHEDULED" } else { "STATE_QUEUED" },
                "jobsAhead": ahead,
            },
            "type": "TYPE_EXPERIMENT",
            "submissionTime": wire::time(experiment.start_time),
            "username": self.username(experiment.owner),
            "userId": experiment.owner,
            "resourcePool": resources["resource_pool"],
            "isPreemptible": false,
            "priority": resources["priority"],
            "weight": resources["weight"],
            "entityId": experiment.id.to_string(),
            "jobId": experiment.job_id,
            "requestedSlots": slots(&mut live()),
            "allocatedSlots": slots(&mut live().filter(|trial| trial.holds_slots)),
            "name": experiment.name(),
            "progress": wire::double(experiment.progress),
            "workspaceId": project.map_or(0, |project| project.workspace_id),
        })
    }
}

#[derive(Serialize)]
struct Listed {
    jobs: Vec<Value>,
    pagination: Pagination,
}

fn jobs(state: &State, query: &Query) -> Result<Vec<Value>, Failure> {
    let pool = query.text("resourcePool").unwrap_or(pools::DEFAULT);
    if !state.pools.has(pool) {
        return Err(Failure::internal(format!(
            "cannot find resource pool {pool}"
        )));
    }
    let states: Vec<&str> = query.all("states").collect();
    let mut jobs: Vec<Value> = state
        .queued_jobs(pool)
        .into_iter()
        .enumerate()
        .map(|(ahead, (experiment, runs))| state.job_on_wire(experiment, runs, ahead))
        .filter(|job| {
            let state = job["summary"]["state"].as_str().unwrap_or_default();
            states.is_empty() || states.contains(&state)
        })
        .collect();
    if query.descending() {
        jobs.reverse();
    }
    Ok(jobs)
}

fn list(call: &mut Call<'_>) -> Answer {
    let jobs = jobs(call.state, &call.query)?;
    let (jobs, pagination) = page(jobs, &call.query.or_limit(PAGE))?;
    Ok(Response::json(&Listed { jobs, pagination }))
}

fn list_v2(call: &mut Call<'_>) -> Answer {
    let jobs = jobs(call.state, &call.query)?;
    let jobs = jobs.into_iter().map(|job| json!({"full": job})).collect();
    let (jobs, pagination) = page(jobs, &call.query.or_limit(PAGE))?;
    Ok(Response::json(&Listed { jobs, pagination }))
}

fn stats(call: &mut Call<'_>) -> Answer {
    let jobs = call.state.queued_jobs(pools::DEFAULT);
    let scheduled = jobs.iter().filter(|(_, runs)| *runs).count();
    Ok(Response::json(&json!({
        "results": [{
            "stats": {"queuedCount": jobs.len() - scheduled, "scheduledCount": scheduled},
            "resourcePool": pools::DEFAULT,
            "aggregates": [{"periodStart": format!("{:.10}", wire::time(Timestamp::now())), "seconds": 0}],
        }],
    })))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Update {
    job_id: Option<String>,
    priority: Option<i64>,
    weight: Option<f64>,
    resource_pool: Option<String>,
}

fn update(call: &mut Call<'_>) -> Answer {
    #[derive(Deserialize)]
    struct Updates {
        updates: Option<Vec<Update>>,
    }
    let updates: Updates = call.body()?;
    let mut errors: Vec<String> = Vec::new();
    for update in updates.updates.unwrap_or_default() {
        if let Err(why) = apply(call.state, update) {
            errors.push(why);
        }
    }
    match errors.as_slice() {
        [] => Ok(Response::json(&json!({}))),
        [one] => Err(Failure::internal(one)),
        several => Err(Failure::internal(format!(
            "encountered the following errors: {}",
            several.join(", ")
        ))),
    }
}

/// Changes the standing of a job; what it is told of first counts.
fn apply(state: &mut State, update: Update) -> Result<(), String> {
    let job = update.job_id.unwrap_or_default();
    let mut experiments = state.experiments.values_mut();
    let experiment = experiments
        .find(|known| known.job_id == job && !known.state.is_terminal())
        .ok_or_else(|| format!("job {job} not found"))?;
    let resources = &mut experiment.config["resources"];
    if let Some(priority) = update.priority {
        if !(1..=99).contains(&priority) {
            return Err("priority must be between 1 and 99".into());
        }
        resources["priority"] = priority.into();
    } else if let Some(weight) = update.weight {
        resources["weight"] = wire::double(weight);
    } else if let Some(pool) = update.resource_pool {
        if !state.pools.has(&pool) {
            return Err(format!("invalid resource pool name {pool}"));
        }
        if resources["resource_pool"] == pool.as_str() {
            return Err(format!("resource pool is unchanged ({pool} == {pool})"));
        }
        resources["resource_pool"] = pool.into();
    } else {
        return Err("unexpected action: <nil>".into());
    }
    Ok(())
}
