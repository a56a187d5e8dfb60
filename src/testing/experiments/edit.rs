//! Changing what an experiment is called, what it may use and keep, and where it belongs.

use super::ExperimentOnWire;
use crate::testing::checkpoints::Policy;
use crate::testing::failure::Failure;
use crate::testing::http::Response;
use crate::testing::router::{Answer, Call};
use crate::testing::wire;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Patch {
    name: Option<String>,
    description: Option<String>,
    notes: Option<String>,
    labels: Option<Vec<Value>>,
    resources: Option<Resources>,
    checkpoint_storage: Option<Storage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resources {
    max_slots: Option<i32>,
    weight: Option<f64>,
    priority: Option<i32>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Storage {
    save_experiment_best: i32,
    save_trial_best: i32,
    save_trial_latest: i32,
}

pub(super) fn patch(call: &mut Call<'_>) -> Answer {
    let id = call.id(0, "experiment.id")?;
    let patch: Patch = call.body()?;
    // What is answered beside the changed experiment is its configuration before the change.
    let config = call.state.experiment(id)?.config.clone();
    let present = call.state.experiment(id)?.name();
    if let Some(name) = &patch.name
        && name.trim().is_empty()
        && name != present
    {
        return Err(Failure::invalid(
            "`name` must not be an empty or whitespace string",
        ));
    }
    if let Some(experiment) = call.state.experiments.get_mut(id) {
        if let Some(name) = patch.name {
            experiment.config["name"] = name.into();
        }
        let description = patch.description.as_deref();
        if description.is_some_and(|description| description != experiment.description()) {
            experiment.config["description"] = description.into();
        }
        let mut has_new_notes = false;
        if let Some(notes) = patch.notes {
            has_new_notes = notes != experiment.notes;
            experiment.notes = notes;
        }
        if let Some(labels) = patch.labels {
            let mut kept: Vec<Value> = Vec::new();
            for label in labels.into_iter().filter(Value::is_string) {
                if !kept.contains(&label) {
                    kept.push(label);
                }
            }
            if kept.len() != experiment.labels().len() || kept.iter().ne(experiment.labels().iter())
            {
                experiment.config["labels"] = kept.into();
            }
        }
        if has_new_notes || experiment.config != config {
            // A change writes all three anew: a description that was null as an empty one, and labels that there are none of as null.
            experiment.config["description"] = experiment.description().into();
            if experiment.labels().is_empty() && experiment.config["labels"] == config["labels"] {
                experiment.config["labels"] = Value::Null;
            }
        }
    }
    if let Some(resources) = patch.resources {
        set_resources(call, id, resources)?;
    }
    if let Some(storage) = patch.checkpoint_storage
        && let Some(experiment) = call.state.experiments.get_mut(id)
    {
        // Nothing is cleared away: that is done by the policy of before.
        let kept = &mut experiment.config["checkpoint_storage"];
        kept["save_experiment_best"] = storage.save_experiment_best.into();
        kept["save_trial_best"] = storage.save_trial_best.into();
        kept["save_trial_latest"] = storage.save_trial_latest.into();
    }
    #[derive(Serialize)]
    struct Patched {
        experiment: ExperimentOnWire,
    }
    let experiment = call.state.experiment(id)?;
    Ok(Response::json(&Patched {
        experiment: ExperimentOnWire {
            config,
            ..call.state.experiment_on_wire(experiment)
        },
    }))
}

/// Only an experiment that has not ended has resources to speak of.
fn set_resources(call: &mut Call<'_>, id: i32, said: Resources) -> Result<(), Failure> {
    let experiment = call.state.experiments.get_mut(id);
    let Some(experiment) = experiment.filter(|experiment| !experiment.state.is_terminal()) else {
        return Err(Failure::not_found(format!("experiment '{id}' not found")));
    };
    let resources = &mut experiment.config["resources"];
    if let Some(slots) = said.max_slots {
        resources["max_slots"] = slots.into();
    }
    if let Some(weight) = said.weight {
        resources["weight"] = wire::double(weight);
    }
    if let Some(priority) = said.priority {
        resources["priority"] = priority.into();
    }
    Ok(())
}

/// How long logs are kept is written down; nothing is old enough here to be removed.
pub(super) fn retain_logs(call: &mut Call<'_>) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Retention {
        num_days: Option<i32>,
    }
    let id = call.id(0, "experiment_id")?;
    let retention: Retention = call.body()?;
    let days = retention.num_days.unwrap_or(0);
    let experiment = call.state.experiments.get_mut(id);
    let Some(experiment) = experiment.filter(|experiment| !experiment.archived) else {
        return Err(Failure::not_found(format!("experiment '{id}' not found")));
    };
    experiment.config["retention_policy"] = json!({"log_retention_days": days});
    Ok(Response::json(&json!({})))
}

/// The checkpoints that a policy would not keep.
pub(super) fn preview_garbage(call: &mut Call<'_>) -> Answer {
    let experiment = call.state.experiment(call.id(0, "experiment_id")?)?;
    let keep = |key: &str| -> Result<usize, Failure> {
        Ok(usize::try_from(call.query.int(key)?).unwrap_or(0))
    };
    let policy = Policy {
        best_of_experiment: keep("saveExperimentBest")?,
        best_of_trial: keep("saveTrialBest")?,
        latest_of_trial: keep("saveTrialLatest")?,
    };
    let garbage: Vec<Value> = call
        .state
        .garbage(experiment, policy)
        .iter()
        .filter_map(|uuid| call.state.checkpoint(uuid).ok())
        .map(|checkpoint| {
            let validation = call.state.validation_of(checkpoint);
            json!({
                "UUID": checkpoint.uuid,
                "TrialID": checkpoint.trial_id,
                "StepsCompleted": checkpoint.steps(),
                "State": checkpoint.state.word(),
                "ReportTime": wire::time(checkpoint.report_time),
                "Resources": checkpoint.resources,
                "ValidationMetrics": validation.map(|report| &report.metrics),
            })
        })
        .collect();
    let answer = json!({
        "checkpoints": garbage,
        "metric_name": experiment.config["searcher"]["metric"],
    });
    Ok(Response::json(&answer).with_charset())
}

pub(super) fn add_label(call: &mut Call<'_>) -> Answer {
    let id = call.id(0, "experiment_id")?;
    let label = call.text(1).to_owned();
    let Some(experiment) = call.state.experiments.get_mut(id) else {
        return Err(Failure::internal("sql: no rows in result set"));
    };
    if !experiment.config["labels"].is_array() {
        experiment.config["labels"] = json!([]);
    }
    if let Some(list) = experiment.config["labels"].as_array_mut()
        && !list.iter().any(|known| *known == label)
    {
        list.push(label.into());
    }
    let labels = &experiment.config["labels"];
    Ok(Response::json(&json!({"labels": labels})))
}

/// Fails whatever the label is, as the real master does.
pub(super) fn remove_label(call: &mut Call<'_>) -> Answer {
    call.id(0, "experiment_id")?;
    Err(Failure::internal(
        "ERROR: FOR UPDATE cannot be applied to the nullable side of an outer join (SQLSTATE 0A000)",
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Move {
    destination_project_id: Option<i32>,
}

pub(super) fn move_to_project(call: &mut Call<'_>) -> Answer {
    let id = call.id(0, "experiment_id")?;
    let request: Move = call.body()?;
    let destination = request.destination_project_id.unwrap_or(0);
    let state = &mut *call.state;
    let experiment = state.experiment(id)?;
    if experiment.archived {
        return Err(Failure::internal(format!(
            "experiment ({id}) is archived and cannot be moved"
        )));
    }
    let source = experiment.project_id;
    let is_archived = |id: i32| state.projects.get(id).map(|project| project.archived);
    if is_archived(source) == Some(true) {
        return Err(Failure::internal(format!(
            "project ({source}) is archived and cannot have experiments moved from it"
        )));
    }
    match is_archived(destination) {
        Some(false) => {}
        Some(true) => {
            return Err(Failure::internal(format!(
                "project ({destination}) is archived and cannot add new experiments"
            )));
        }
        None => {
            return Err(Failure::not_found(format!(
                "project '{destination}' not found"
            )));
        }
    }
    if let Some(experiment) = state.experiments.get_mut(id) {
        experiment.project_id = destination;
    }
    Ok(Response::json(&json!({})))
}
