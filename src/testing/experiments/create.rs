//! Submitting an experiment.

use super::{ExperimentOnWire, NewExperiment, RunState};
use crate::testing::archive::{ModelDefinition, ModelFile};
use crate::testing::config::{Submitted, keep_storage_under};
use crate::testing::failure::Failure;
use crate::testing::http::Response;
use crate::testing::pools;
use crate::testing::router::{Answer, Call};
use crate::testing::state::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

/// The type of a directory among submitted files, as a tar archive has it.
const DIRECTORY: u32 = b'5' as u32;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Submission {
    config: Option<String>,
    model_definition: Option<Vec<SubmittedFile>>,
    project_id: Option<i32>,
    template: Option<String>,
    parent_id: Option<i32>,
    validate_only: Option<bool>,
    activate: Option<bool>,
    unmanaged: Option<bool>,
}

#[derive(Deserialize)]
struct SubmittedFile {
    #[serde(default)]
    path: String,
    #[serde(default)]
    content: String,
    #[serde(default, rename = "type")]
    kind: u32,
    #[serde(default)]
    mode: u32,
    #[serde(default)]
    mtime: Value,
}

impl SubmittedFile {
    fn decoded(self) -> Result<ModelFile, Failure> {
        let content = BASE64
            .decode(&self.content)
            .map_err(|error| Failure::of_gateway(illegal_base64(&error)))?;
        // A 64-bit integer is sent as a string; a number is taken too.
        let mtime = match &self.mtime {
            Value::String(text) => text.parse::<i64>().ok(),
            other => other.as_i64(),
        };
        Ok(ModelFile {
            path: self.path,
            content,
            is_directory: self.kind == DIRECTORY,
            mode: self.mode,
            mtime: mtime.and_then(|time| u64::try_from(time).ok()).unwrap_or(0),
        })
    }
}

fn illegal_base64(error: &base64::DecodeError) -> String {
    let at = match error {
        base64::DecodeError::InvalidByte(at, _) => *at,
        _ => 0,
    };
    format!("illegal base64 data at input byte {at}")
}

#[derive(Serialize)]
struct Created {
    experiment: ExperimentOnWire,
    config: Value,
    warnings: [(); 0],
}

pub(super) fn create(call: &mut Call<'_>) -> Answer {
    let submission: Submission = call.body()?;
    let files: Vec<ModelFile> = submission
        .model_definition
        .unwrap_or_default()
        .into_iter()
        .map(SubmittedFile::decoded)
        .collect::<Result<_, _>>()?;
    let text = submission.config.unwrap_or_default();
    let forked_from = submission.parent_id.filter(|parent| *parent != 0);
    if let Some(parent) = forked_from {
        let parent = call.state.experiment(parent)?;
        if call.state.is_parent_archived(parent) {
            return Err(Failure::internal(
                "forking an experiment in an archived workspace/project",
            ));
        }
    }
    let mut submitted = Submitted::parse(&text)?;
    if submitted.at(&["resources", "slots"]).is_some() {
        return Err(Failure::internal(
            "<config>.resources: additionalProperties \"slots\" not allowed",
        ));
    }
    if let Some(template) = submission.template.as_deref() {
        submitted.apply(&call.state.template(template)?.config);
    }
    let (project_id, workspace_id) = find_project(call, submission.project_id, &submitted)?;
    check_resources(call, &submitted, workspace_id)?;
    let unmanaged = submission.unmanaged == Some(true);
    if submitted.at(&["entrypoint"]).is_none() && !unmanaged {
        return Err(Failure::internal("managed experiments require entrypoint"));
    }

    let now = call.state.time.stamp();
    let folder = call.state.folder.path().to_owned();
    let own_storage = own_storage(&folder);
    let mut config = submitted.complete(&own_storage, now.as_second())?;
    if config["name"].is_null() {
        config["name"] = format!(
            "Experiment (mock-{})",
            call.state.experiments.values().len() + 1
        )
        .into();
    }
    keep_storage_under(&mut config, &folder);
    if submission.validate_only == Some(true) {
        return Ok(Response::bytes(
            200,
            "application/json",
            NOTHING_BUT_VALID.into(),
        ));
    }

    let model_definition = match forked_from {
        Some(parent) => call.state.experiment(parent)?.model_definition.clone(),
        None => {
            ModelDefinition::new(files).map_err(|error| Failure::internal(error.to_string()))?
        }
    };
    // What is answered beside the experiment is the configuration before its pool was resolved.
    let unresolved = config.clone();
    if !unmanaged {
        let pool = &mut config["resources"]["resource_pool"];
        if pool.as_str().is_none_or(str::is_empty) {
            *pool = pools::DEFAULT.into();
        }
        check_search(call.state, &config)?;
    }
    let id = call
        .state
        .add_experiment(NewExperiment {
            owner: call.caller,
            project_id,
            config,
            original_config: text,
            model_definition,
            forked_from,
            unmanaged,
        })
        .id;
    if !unmanaged {
        if submission.activate == Some(true)
            && let Some(experiment) = call.state.experiments.get_mut(id)
        {
            experiment.state = RunState::Active;
        }
        call.state.create_first_trials(id);
    }
    Ok(Response::json(&Created {
        experiment: call.state.experiment_on_wire(call.state.experiment(id)?),
        config: unresolved,
        warnings: [],
    }))
}

/// The storage that the master's own configuration names.
pub(super) fn own_storage(folder: &Path) -> Value {
    let checkpoints = folder.join("checkpoints");
    json!({"type": "shared_fs", "host_path": checkpoints.to_string_lossy()})
}

/// Where the experiment belongs: a project and its workspace.
fn find_project(
    call: &Call<'_>,
    requested: Option<i32>,
    submitted: &Submitted,
) -> Result<(i32, i32), Failure> {
    let state = &*call.state;
    let project = match requested.filter(|project| *project > 1) {
        Some(id) => state
            .projects
            .get(id)
            .ok_or_else(|| Failure::not_found(format!("project '{id}' not found")))?,
        None => match (
            submitted.text_at(&["workspace"]),
            submitted.text_at(&["project"]),
        ) {
            (None, None) => state
                .projects
                .get(1)
                .ok_or_else(|| Failure::not_found("project '1' not found"))?,
            (Some(workspace), Some(project)) => {
                let unknown = || {
                    Failure::not_found(format!(
                        "workspace/project '{workspace}/{project}' not found"
                    ))
                };
                let workspace_id = state
                    .workspaces
                    .values()
                    .find(|known| known.name == workspace)
                    .ok_or_else(unknown)?
                    .id;
                state
                    .projects
                    .values()
                    .find(|known| known.name == project && known.workspace_id == workspace_id)
                    .ok_or_else(unknown)?
            }
            _ => {
                return Err(Failure::internal(
                    "workspace and project must both be included in config if one is provided",
                ));
            }
        },
    };
    let workspace_archived = state
        .workspaces
        .get(project.workspace_id)
        .is_some_and(|workspace| workspace.archived);
    if workspace_archived {
        return Err(Failure::internal(
            "workspace is archived and cannot add new experiments",
        ));
    }
    if project.archived {
        return Err(Failure::internal(
            "project is archived and cannot add new experiments",
        ));
    }
    Ok((project.id, project.workspace_id))
}

fn check_resources(
    call: &Call<'_>,
    submitted: &Submitted,
    workspace_id: i32,
) -> Result<(), Failure> {
    if let Some(pool) = submitted.text_at(&["resources", "resource_pool"])
        && !call.state.pools.available_to(workspace_id).contains(&pool)
    {
        return Err(Failure::invalid(format!(
            "invalid resource configuration: rpc error: code = InvalidArgument desc = resource pool {pool} \
             does not exist or is not available to workspace id {workspace_id}"
        )));
    }
    let slots = submitted
        .at(&["resources", "slots_per_trial"])
        .and_then(Value::as_u64)
        .unwrap_or(1);
    if slots > call.state.agent.size() as u64 {
        return Err(Failure::internal(
            "invalid resource configuration: slots requested exceeds cluster capacity",
        ));
    }
    Ok(())
}

/// Checks what a search cannot begin with: a checkpoint that there is not, or a choice of nothing.
fn check_search(state: &State, config: &Value) -> Result<(), Failure> {
    let searcher = &config["searcher"];
    let refused = |why: String| Failure::internal(format!("failed to create experiment: {why}"));
    if let Some(trial) = searcher["source_trial_id"].as_i64() {
        if !state
            .checkpoints
            .values()
            .any(|checkpoint| i64::from(checkpoint.trial_id) == trial && checkpoint.is_complete())
        {
            return Err(refused(format!(
                "no checkpoint found for source trial {trial}"
            )));
        }
    } else if let Some(uuid) = searcher["source_checkpoint_uuid"].as_str() {
        if uuid.len() != 36 {
            let length = uuid.len();
            return Err(refused(format!(
                "invalid source checkpoint UUID: invalid UUID length: {length}"
            )));
        }
        if !state.checkpoints.contains_key(uuid) {
            return Err(refused(format!("no checkpoint found with UUID {uuid}")));
        }
    }
    if searcher["name"] != "grid" && has_empty_choice(&config["hyperparameters"]) {
        return Err(Failure::internal(
            "runtime error: index out of range [0] with length 0",
        ));
    }
    Ok(())
}

fn has_empty_choice(hyperparameters: &Value) -> bool {
    let Value::Object(map) = hyperparameters else {
        return false;
    };
    map.values()
        .any(|parameter| match parameter["type"].as_str() {
            Some("categorical") => parameter["vals"].as_array().is_none_or(Vec::is_empty),
            Some(_) => false,
            None => has_empty_choice(parameter),
        })
}

/// The answer to a submission that was only to be checked: an experiment with nothing in it.
const NOTHING_BUT_VALID: &str = concat!(
    r#"{"experiment":{"id":0,"description":"","labels":[],"startTime":null,"endTime":null,"#,
    r#""state":"STATE_UNSPECIFIED","archived":false,"numTrials":0,"trialIds":[],"displayName":"","#,
    r#""userId":0,"username":"","resourcePool":"","searcherType":"","searcherMetric":"","#,
    r#""hyperparameters":null,"name":"","notes":"","jobId":"","forkedFrom":null,"progress":null,"#,
    r#""projectId":0,"projectName":"","workspaceId":0,"workspaceName":"","parentArchived":false,"#,
    r#""config":null,"originalConfig":"","projectOwnerId":0,"checkpointSize":"0","checkpointCount":0,"#,
    r#""unmanaged":false},"config":null,"warnings":[]}"#,
);
