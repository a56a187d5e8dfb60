//! Changing what an experiment is called and where it belongs.

use super::ExperimentOnWire;
use crate::testing::failure::Failure;
use crate::testing::http::Response;
use crate::testing::router::{Answer, Call};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Patch {
    name: Option<String>,
    description: Option<String>,
    notes: Option<String>,
    labels: Option<Vec<Value>>,
}

pub(super) fn patch(call: &mut Call<'_>) -> Answer {
    let id = call.id(0, "experiment.id")?;
    let patch: Patch = call.body()?;
    // What is answered beside the changed experiment is its configuration before the change.
    let config = call.state.experiment(id)?.config.clone();
    if let Some(name) = &patch.name
        && name.trim().is_empty()
    {
        return Err(Failure::invalid(
            "`name` must not be an empty or whitespace string",
        ));
    }
    if let Some(experiment) = call.state.experiments.get_mut(id) {
        if let Some(name) = patch.name {
            experiment.config["name"] = name.into();
        }
        if let Some(description) = patch.description {
            experiment.config["description"] = description.into();
        }
        if let Some(notes) = patch.notes {
            experiment.notes = notes;
        }
        if let Some(labels) = patch.labels {
            let mut kept: Vec<Value> = Vec::new();
            for label in labels.into_iter().filter(Value::is_string) {
                if !kept.contains(&label) {
                    kept.push(label);
                }
            }
            experiment.config["labels"] = kept.into();
        }
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
