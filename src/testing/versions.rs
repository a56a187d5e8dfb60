//! The model registry: versions of models.

use super::checkpoints::{CheckpointOnWire, parse_uuid};
use super::failure::Failure;
use super::http::Response;
use super::models::{Model, ModelOnWire, distinct_labels, split_labels};
use super::router::{Answer, Call, Route};
use super::state::State;
use super::wire::{self, Pagination, page};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub(super) const ROUTES: &[Route] = &[
    Route::get("/api/v1/models/{}/versions", list),
    Route::post("/api/v1/models/{}/versions", create),
    Route::get("/api/v1/models/{}/versions/{}", get),
    Route::patch("/api/v1/models/{}/versions/{}", patch),
    Route::delete("/api/v1/models/{}/versions/{}", delete),
    Route::get("/api/v1/models/{}/versions/{}/metrics", metrics),
];

#[derive(Debug, Clone)]
pub(super) struct ModelVersion {
    id: i32,
    pub(super) number: i32,
    pub(super) checkpoint_uuid: String,
    creation_time: Timestamp,
    last_updated_time: Timestamp,
    name: String,
    comment: String,
    notes: String,
    metadata: Map<String, Value>,
    labels: Vec<String>,
    owner: i32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionOnWire {
    model: ModelOnWire,
    checkpoint: Option<CheckpointOnWire>,
    version: i32,
    #[serde(serialize_with = "wire::serialize_time")]
    creation_time: Timestamp,
    id: i32,
    name: String,
    metadata: Map<String, Value>,
    #[serde(serialize_with = "wire::serialize_optional_time")]
    last_updated_time: Option<Timestamp>,
    comment: String,
    username: String,
    user_id: i32,
    labels: Vec<String>,
    notes: String,
}

impl State {
    /// The name and id of the model that a checkpoint is registered to, and the version's number.
    pub(super) fn registered_as(&self, uuid: &str) -> Option<(&str, i32, i32)> {
        self.models.values().find_map(|model| {
            let version = model
                .versions
                .values()
                .find(|version| version.checkpoint_uuid == uuid)?;
            Some((model.name.as_str(), model.id, version.number))
        })
    }

    fn version_on_wire(&self, model: &Model, version: &ModelVersion) -> VersionOnWire {
        VersionOnWire {
            model: self.model_on_wire(model),
            checkpoint: self
                .checkpoints
                .get(&version.checkpoint_uuid)
                .map(|checkpoint| self.checkpoint_on_wire(checkpoint)),
            version: version.number,
            creation_time: version.creation_time,
            id: version.id,
            name: version.name.clone(),
            metadata: version.metadata.clone(),
            last_updated_time: Some(version.last_updated_time),
            comment: version.comment.clone(),
            username: self.username(version.owner).to_owned(),
            user_id: version.owner,
            labels: version.labels.clone(),
            notes: version.notes.clone(),
        }
    }

    /// Adds a version, without asking whether the checkpoint is fit for it.
    pub(super) fn add_version(&mut self, model_id: i32, uuid: &str, owner: i32) -> Option<i32> {
        let now = self.time.stamp();
        self.last_version_id += 1;
        let id = self.last_version_id;
        let model = self.models.get_mut(model_id)?;
        model.last_version += 1;
        let number = model.last_version;
        model.versions.insert(
            number,
            ModelVersion {
                id,
                number,
                checkpoint_uuid: uuid.to_owned(),
                creation_time: now,
                last_updated_time: now,
                name: String::new(),
                comment: String::new(),
                notes: String::new(),
                metadata: Map::new(),
                labels: Vec::new(),
                owner,
            },
        );
        Some(number)
    }
}

/// The model and the version that a path names.
fn find<'a>(call: &'a Call<'_>) -> Result<(&'a Model, &'a ModelVersion), Failure> {
    let number = call.id(1, "model_version_num")?;
    let name = call.text(0);
    let unknown = || Failure::not_found(format!("version {number} for model {name:?} not found"));
    let model = call.state.find_model(name)?;
    let version = model.versions.get(&number).ok_or_else(unknown)?;
    Ok((model, version))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionAnswer {
    model_version: VersionOnWire,
}

fn get(call: &mut Call<'_>) -> Answer {
    let (model, version) = find(call)?;
    Ok(Response::json(&VersionAnswer {
        model_version: call.state.version_on_wire(model, version),
    }))
}

/// The answer to a change: the query behind it leaves some columns out.
fn changed(call: &Call<'_>, model_id: i32, number: i32) -> Answer {
    let model = call.state.find_model(&model_id.to_string())?;
    let version = model
        .versions
        .get(&number)
        .ok_or_else(|| Failure::internal("the version is gone"))?;
    let mut on_wire = call.state.version_on_wire(model, version);
    on_wire.model.workspace_id = 0;
    on_wire.model.user_id = 0;
    on_wire.user_id = 0;
    on_wire.last_updated_time = None;
    match call.request.method.as_str() {
        // Counted before it was there.
        "POST" => on_wire.model.num_versions -= 1,
        _ => on_wire.username = String::new(),
    }
    Ok(Response::json(&VersionAnswer {
        model_version: on_wire,
    }))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Said {
    checkpoint_uuid: Option<String>,
    name: Option<String>,
    comment: Option<String>,
    notes: Option<String>,
    metadata: Option<Map<String, Value>>,
    labels: Option<Vec<Value>>,
}

impl Said {
    /// Says it of a version; tells whether anything is different then.
    fn apply(self, version: &mut ModelVersion) -> bool {
        let before = version.clone();
        if let Some(name) = self.name {
            version.name = name;
        }
        if let Some(comment) = self.comment {
            version.comment = comment;
        }
        if let Some(notes) = self.notes {
            version.notes = notes;
        }
        if let Some(metadata) = self.metadata {
            version.metadata = wire::object_through_struct(&metadata);
        }
        if let Some(labels) = self.labels {
            version.labels = split_labels(&distinct_labels(&labels));
        }
        (
            &before.name,
            &before.comment,
            &before.notes,
            &before.metadata,
            &before.labels,
        ) != (
            &version.name,
            &version.comment,
            &version.notes,
            &version.metadata,
            &version.labels,
        )
    }
}

fn create(call: &mut Call<'_>) -> Answer {
    let said: Said = call.body()?;
    let model = call.state.find_model(call.text(0))?;
    let (id, owner) = (model.id, call.caller);
    if model.archived {
        return Err(Failure::internal(format!(
            "model {:?} is archived and cannot register new versions",
            model.name
        )));
    }
    let given = said.checkpoint_uuid.as_deref().unwrap_or_default();
    let uuid = parse_uuid(given).map_err(|_| {
        Failure::internal(format!(
            "ERROR: invalid input syntax for type uuid: {given:?} (SQLSTATE 22P02)"
        ))
    })?;
    let checkpoint = call.state.checkpoint(&uuid)?;
    if !checkpoint.is_complete() {
        return Err(Failure::internal(format!(
            "checkpoint {uuid} is in {} state. checkpoints for model versions must be in a COMPLETED state",
            checkpoint.state.wire()
        )));
    }
    let number = call
        .state
        .add_version(id, &uuid, owner)
        .ok_or_else(|| Failure::internal("the model is gone"))?;
    if let Some(version) = call
        .state
        .models
        .get_mut(id)
        .and_then(|model| model.versions.get_mut(&number))
    {
        said.apply(version);
    }
    changed(call, id, number)
}

fn patch(call: &mut Call<'_>) -> Answer {
    let said: Said = call.body()?;
    let (model, version) = find(call)?;
    let (id, number) = (model.id, version.number);
    let mut after = version.clone();
    if !said.apply(&mut after) {
        return get(call);
    }
    after.last_updated_time = call.state.time.stamp();
    if let Some(model) = call.state.models.get_mut(id) {
        model.versions.insert(number, after);
    }
    changed(call, id, number)
}

fn delete(call: &mut Call<'_>) -> Answer {
    let (model, version) = find(call)?;
    let (id, number) = (model.id, version.number);
    if !call.may_change(version.owner) && !call.may_change(model.owner) {
        return Err(Failure::forbidden(
            "non-admin users may not delete other users' model versions access denied",
        ));
    }
    if let Some(model) = call.state.models.get_mut(id) {
        model.versions.remove(&number);
    }
    Ok(Response::json(&json!({})))
}

fn metrics(call: &mut Call<'_>) -> Answer {
    find(call)?;
    Ok(Response::json(&json!({"metrics": []})))
}

fn list(call: &mut Call<'_>) -> Answer {
    let model = call.state.find_model(call.text(0))?;
    let mut versions: Vec<&ModelVersion> = model.versions.values().collect();
    match call.query.sort_key("sortBy") {
        None | Some("VERSION") => {}
        Some("CREATION_TIME") => versions.sort_by_key(|version| version.creation_time),
        Some(other) => return Err(wire::unknown_sort_key(other, "GetModelVersionsRequest")),
    }
    if call.query.descending() {
        versions.reverse();
    }
    let (versions, pagination) = page(versions, &call.query)?;
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Listed {
        model: ModelOnWire,
        model_versions: Vec<VersionOnWire>,
        pagination: Pagination,
    }
    let on_wire = |version: &ModelVersion| {
        let mut on_wire = call.state.version_on_wire(model, version);
        on_wire.model.workspace_id = 0;
        on_wire
    };
    Ok(Response::json(&Listed {
        model: call.state.model_on_wire(model),
        model_versions: versions.into_iter().map(on_wire).collect(),
        pagination,
    }))
}
