//! The model registry: models. Their versions have a file of their own.

use super::failure::Failure;
use super::http::Response;
use super::router::{Answer, Call, Route};
use super::state::State;
use super::versions::ModelVersion;
use super::wire::{self, Pagination, page};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub(super) const ROUTES: &[Route] = &[
    Route::get("/api/v1/models", list),
    Route::post("/api/v1/models", create),
    Route::get("/api/v1/model/labels", labels),
    Route::get("/api/v1/models/{}", get),
    Route::patch("/api/v1/models/{}", patch),
    Route::delete("/api/v1/models/{}", delete),
    Route::post("/api/v1/models/{}/archive", archive),
    Route::post("/api/v1/models/{}/unarchive", unarchive),
    Route::post("/api/v1/models/{}/move", move_to_workspace),
];

#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) id: i32,
    pub(super) name: String,
    description: String,
    metadata: Map<String, Value>,
    creation_time: Timestamp,
    last_updated_time: Timestamp,
    labels: Vec<String>,
    pub(super) owner: i32,
    pub(super) workspace_id: i32,
    pub(super) archived: bool,
    notes: String,
    /// By number; a number is never used again.
    pub(super) versions: BTreeMap<i32, ModelVersion>,
    pub(super) last_version: i32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ModelOnWire {
    name: String,
    description: String,
    metadata: Map<String, Value>,
    #[serde(serialize_with = "wire::serialize_time")]
    creation_time: Timestamp,
    #[serde(serialize_with = "wire::serialize_time")]
    last_updated_time: Timestamp,
    id: i32,
    pub(super) num_versions: usize,
    labels: Vec<String>,
    username: String,
    pub(super) workspace_id: i32,
    pub(super) user_id: i32,
    archived: bool,
    notes: String,
}

impl State {
    pub(super) fn model_on_wire(&self, model: &Model) -> ModelOnWire {
        ModelOnWire {
            name: model.name.clone(),
            description: model.description.clone(),
            metadata: model.metadata.clone(),
            creation_time: model.creation_time,
            last_updated_time: model.last_updated_time,
            id: model.id,
            num_versions: model.versions.len(),
            labels: model.labels.clone(),
            username: self.username(model.owner).to_owned(),
            workspace_id: model.workspace_id,
            user_id: model.owner,
            archived: model.archived,
            notes: model.notes.clone(),
        }
    }

    /// The model of a name; a name of digits alone is an id.
    pub(super) fn find_model(&self, identifier: &str) -> Result<&Model, Failure> {
        let digits = !identifier.is_empty() && identifier.bytes().all(|byte| byte.is_ascii_digit());
        let found = if digits {
            let id: i32 = identifier.parse().map_err(|_| {
                Failure::internal(format!(
                    "error fetching model {identifier:?} from database: error running query: get_model_by_id: ERROR: value \"{identifier}\" is out of range for type integer (SQLSTATE 22003)"
                ))
            })?;
            self.models.get(id)
        } else {
            self.models.values().find(|model| model.name == identifier)
        };
        found.ok_or_else(|| Failure::not_found(format!("model {identifier:?} not found")))
    }

    /// Adds a model, unless there is one of that name.
    pub(super) fn add_model(&mut self, name: &str, owner: i32) -> Result<&mut Model, Failure> {
        check_name(name)?;
        if self.models.values().any(|model| model.name == name) {
            self.models.skip();
            return Err(duplicate());
        }
        let now = self.time.stamp();
        Ok(self.models.insert(|id| Model {
            id,
            name: name.to_owned(),
            description: String::new(),
            metadata: Map::new(),
            creation_time: now,
            last_updated_time: now,
            labels: Vec::new(),
            owner,
            workspace_id: 1,
            archived: false,
            notes: String::new(),
            versions: BTreeMap::new(),
            last_version: 0,
        }))
    }
}

fn duplicate() -> Failure {
    Failure::exists("avoid names equal to other models (case-sensitive)")
}

fn check_name(name: &str) -> Result<(), Failure> {
    if name.trim().is_empty() {
        return Err(Failure::invalid("model names cannot be blank"));
    }
    if name.contains("  ") {
        return Err(Failure::invalid(
            "model names cannot have excessive spacing",
        ));
    }
    if name.contains(['/', '\\']) {
        return Err(Failure::invalid("model names cannot have slashes"));
    }
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Failure::invalid("model names cannot be only numbers"));
    }
    Ok(())
}

/// Labels as the database keeps them: in one text, parted by commas.
pub(super) fn split_labels(labels: &[String]) -> Vec<String> {
    match labels {
        [] => Vec::new(),
        [label] if label.is_empty() => Vec::new(),
        labels => labels.join(",").split(',').map(str::to_owned).collect(),
    }
}

/// The texts among the values, each once.
pub(super) fn distinct_labels(values: &[Value]) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for label in values.iter().filter_map(Value::as_str) {
        if !labels.iter().any(|known| known == label) {
            labels.push(label.to_owned());
        }
    }
    labels
}

#[derive(Serialize)]
struct ModelAnswer {
    model: ModelOnWire,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Said {
    name: Option<String>,
    description: Option<String>,
    metadata: Option<Map<String, Value>>,
    labels: Option<Vec<Value>>,
    notes: Option<String>,
    workspace_id: Option<i32>,
    workspace_name: Option<String>,
}

impl Said {
    /// The workspace that is named, if one is.
    fn workspace(&self, state: &State) -> Result<Option<i32>, Failure> {
        let named = |name: &str| {
            let mut workspaces = state.workspaces.values();
            workspaces.find(|workspace| workspace.name == name)
        };
        match (self.workspace_id, &self.workspace_name) {
            (Some(id), _) => match state.workspaces.get(id) {
                Some(_) => Ok(Some(id)),
                None => Err(Failure::internal(match self.name {
                    // A creation comes as far as the database.
                    Some(ref name) => format!(
                        "error creating model {name:?} in database: ERROR: insert or update on table \"models\" violates \
                         foreign key constraint \"models_workspace_id_fkey\" (SQLSTATE 23503)"
                    ),
                    // The query forgets to pass the id on.
                    None => {
                        format!("failed to get workspace with id {id}: expected 2 arguments, got 1")
                    }
                })),
            },
            (None, Some(name)) => match named(name) {
                Some(workspace) => Ok(Some(workspace.id)),
                None => Err(Failure::internal(format!(
                    "failed to get workspace {name}: not found"
                ))),
            },
            (None, None) => Ok(None),
        }
    }
}

fn get(call: &mut Call<'_>) -> Answer {
    let model = call.state.find_model(call.text(0))?;
    Ok(Response::json(&ModelAnswer {
        model: call.state.model_on_wire(model),
    }))
}

fn create(call: &mut Call<'_>) -> Answer {
    let said: Said = call.body()?;
    let name = said.name.clone().unwrap_or_default();
    check_name(&name)?;
    let workspace = said.workspace(call.state)?;
    let labels: Vec<String> = said
        .labels
        .unwrap_or_default()
        .iter()
        .filter_map(|label| label.as_str().map(str::to_owned))
        .collect();
    let owner = call.caller;
    let model = call.state.add_model(&name, owner)?;
    model.description = said.description.unwrap_or_default();
    model.metadata = wire::object_through_struct(&said.metadata.unwrap_or_default());
    model.labels = split_labels(&labels);
    model.notes = said.notes.unwrap_or_default();
    model.workspace_id = workspace.unwrap_or(1);
    let id = model.id;
    let model = call.state.find_model(&id.to_string())?;
    let mut model = call.state.model_on_wire(model);
    // The query behind this answer leaves the owner's id out.
    model.user_id = 0;
    Ok(Response::json(&ModelAnswer { model }))
}

fn patch(call: &mut Call<'_>) -> Answer {
    let said: Said = call.body()?;
    let before = call.state.find_model(call.text(0))?.clone();
    if before.archived {
        return Err(Failure::internal(format!(
            "model {:?} is archived and cannot have attributes updated",
            before.name
        )));
    }
    let mut after = before.clone();
    if let Some(workspace) = said.workspace(call.state)? {
        after.workspace_id = workspace;
    }
    if let Some(name) = said.name.filter(|name| *name != before.name) {
        check_name(&name)?;
        if call.state.models.values().any(|model| model.name == name) {
            return Err(duplicate());
        }
        after.name = name;
    }
    if let Some(description) = said.description {
        after.description = description;
    }
    if let Some(notes) = said.notes {
        after.notes = notes;
    }
    if let Some(metadata) = said.metadata {
        after.metadata = wire::object_through_struct(&metadata);
    }
    if let Some(labels) = said.labels {
        after.labels = split_labels(&distinct_labels(&labels));
    }
    let changed = (
        &after.name,
        &after.description,
        &after.notes,
        &after.metadata,
        &after.labels,
        after.workspace_id,
    ) != (
        &before.name,
        &before.description,
        &before.notes,
        &before.metadata,
        &before.labels,
        before.workspace_id,
    );
    if !changed {
        return get(call);
    }
    after.last_updated_time = call.state.time.stamp();
    let mut model = call.state.model_on_wire(&after);
    if let Some(row) = call.state.models.get_mut(after.id) {
        *row = after;
    }
    // The query behind this answer gives the columns of the table's own that were set, and no more.
    model.id = 0;
    model.num_versions = 0;
    model.username = String::new();
    model.workspace_id = 0;
    model.user_id = 0;
    Ok(Response::json(&ModelAnswer { model }))
}

fn delete(call: &mut Call<'_>) -> Answer {
    let model = call.state.find_model(call.text(0))?;
    let id = model.id;
    if !call.may_change(model.owner) {
        return Err(Failure::forbidden(
            "non-admin users may not delete other users' models access denied",
        ));
    }
    call.state.models.remove(id);
    Ok(Response::json(&json!({})))
}

fn archive(call: &mut Call<'_>) -> Answer {
    set_archived(call, true)
}

fn unarchive(call: &mut Call<'_>) -> Answer {
    set_archived(call, false)
}

fn set_archived(call: &mut Call<'_>, archived: bool) -> Answer {
    let id = call.state.find_model(call.text(0))?.id;
    let now = call.state.time.stamp();
    if let Some(model) = call.state.models.get_mut(id) {
        model.archived = archived;
        model.last_updated_time = now;
    }
    Ok(Response::json(&json!({})))
}

fn move_to_workspace(call: &mut Call<'_>) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Move {
        destination_workspace_id: Option<i32>,
    }
    let request: Move = call.body()?;
    let id = call.state.find_model(call.text(0))?.id;
    let workspace = request.destination_workspace_id.unwrap_or(0);
    if call.state.workspaces.get(workspace).is_none() {
        return Err(Failure::internal(format!(
            "error moving a model ({}): error running query: move_model: ERROR: insert or update on table \"models\" violates \
             foreign key constraint \"models_workspace_id_fkey\" (SQLSTATE 23503)",
            call.text(0)
        )));
    }
    if let Some(model) = call.state.models.get_mut(id) {
        model.workspace_id = workspace;
    }
    Ok(Response::json(&json!({})))
}

fn list(call: &mut Call<'_>) -> Answer {
    let (state, query) = (&*call.state, &call.query);
    let id = query.int("id")?;
    let archived = query.flag("archived")?;
    let users: Vec<&str> = query.all("users").collect();
    let user_ids = query.ints("userIds")?;
    let labels: Vec<&str> = query.all("labels").collect();
    let mut workspace_ids = query.ints("workspaceIds")?;
    let workspace_name = |id: i32| {
        let workspace = state.workspaces.get(id);
        workspace.map_or("", |workspace| workspace.name.as_str())
    };
    if workspace_ids.is_empty() {
        // Names of no workspace are passed over, and with none left the filter does nothing.
        let names: Vec<&str> = query.all("workspaceNames").collect();
        let named = state.workspaces.values();
        workspace_ids.extend(
            named
                .filter(|workspace| names.contains(&workspace.name.as_str()))
                .map(|workspace| i64::from(workspace.id)),
        );
    }
    let mut models: Vec<&Model> = state
        .models
        .values()
        .filter(|model| id == 0 || i64::from(model.id) == id)
        .filter(|model| archived.is_none_or(|archived| model.archived == archived))
        .filter(|model| {
            (users.is_empty() || users.contains(&state.username(model.owner)))
                && (user_ids.is_empty() || user_ids.contains(&i64::from(model.owner)))
        })
        .filter(|model| {
            let mut own = model.labels.iter();
            labels.is_empty() || own.any(|label| labels.contains(&label.as_str()))
        })
        .filter(|model| {
            wire::ilike_contains(&model.name, query.text("name").unwrap_or(""))
                && wire::ilike_contains(&model.description, query.text("description").unwrap_or(""))
        })
        .filter(|model| {
            workspace_ids.is_empty() || workspace_ids.contains(&i64::from(model.workspace_id))
        })
        .collect();
    match query.sort_key("sortBy") {
        None => {}
        Some("NAME") => models.sort_by_key(|model| &model.name),
        Some("DESCRIPTION") => models.sort_by_key(|model| &model.description),
        Some("CREATION_TIME") => models.sort_by_key(|model| model.creation_time),
        Some("LAST_UPDATED_TIME") => models.sort_by_key(|model| model.last_updated_time),
        Some("NUM_VERSIONS") => models.sort_by_key(|model| model.versions.len()),
        Some("WORKSPACE") => models.sort_by_key(|model| workspace_name(model.workspace_id)),
        Some(other) => return Err(wire::unknown_sort_key(other, "GetModelsRequest")),
    }
    if query.descending() {
        models.reverse();
    }
    let (models, pagination) = page(models, query)?;
    #[derive(Serialize)]
    struct Listed {
        models: Vec<ModelOnWire>,
        pagination: Pagination,
    }
    Ok(Response::json(&Listed {
        models: models
            .into_iter()
            .map(|model| state.model_on_wire(model))
            .collect(),
        pagination,
    }))
}

/// The labels of all models, the most used first.
fn labels(call: &mut Call<'_>) -> Answer {
    let workspace = call.query.int("workspaceId")?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for model in call.state.models.values() {
        if workspace == 0 || i64::from(model.workspace_id) == workspace {
            let mut own: Vec<&str> = model.labels.iter().map(String::as_str).collect();
            own.sort_unstable();
            own.dedup();
            for label in own {
                *counts.entry(label).or_default() += 1;
            }
        }
    }
    let mut labels: Vec<(&str, usize)> = counts.into_iter().collect();
    labels.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let labels: Vec<&str> = labels.into_iter().map(|(label, _)| label).collect();
    Ok(Response::json(&json!({"labels": labels})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_as_on_the_real_master() {
        for name in ["", " ", "a  b", "a/b", "a\\b", "12"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["iris", "a b", " x", "0x12", "-5", "1.5", "a:archive", ".."] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn labels_lose_their_commas() {
        let labels = |labels: &[&str]| -> Vec<String> {
            let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
            split_labels(&labels)
        };
        assert_eq!(labels(&["a,b", "a", ""]), ["a", "b", "a", ""]);
        assert!(labels(&[]).is_empty() && labels(&[""]).is_empty());
        let values = [json!("a"), json!(1), json!("b"), json!("a")];
        assert_eq!(distinct_labels(&values), ["a", "b"]);
    }
}
