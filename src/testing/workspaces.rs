//! Workspaces.

use super::failure::Failure;
use super::http::Response;
use super::router::{Answer, Call, Route};
use super::simulation::Event;
use super::state::State;
use super::wire::{self, Pagination, page};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

pub(super) const ROUTES: &[Route] = &[
    Route::get("/api/v1/workspaces", list),
    Route::post("/api/v1/workspaces", create),
    Route::get("/api/v1/workspaces/{}", get),
    Route::patch("/api/v1/workspaces/{}", patch),
    Route::delete("/api/v1/workspaces/{}", delete),
    Route::post("/api/v1/workspaces/{}/archive", archive),
    Route::post("/api/v1/workspaces/{}/unarchive", unarchive),
    Route::post("/api/v1/workspaces/{}/pin", pin),
    Route::post("/api/v1/workspaces/{}/unpin", unpin),
    Route::get("/api/v1/roles/workspace/{}", members),
    Route::get("/api/v1/workspaces/{}/list-namespace-bindings", namespaces),
];

#[derive(Debug, Clone)]
pub(super) struct Workspace {
    pub(super) id: i32,
    pub(super) name: String,
    pub(super) owner: i32,
    pub(super) archived: bool,
    /// The one that is there from the start and stays.
    pub(super) immutable: bool,
    /// It is to be deleted, and its projects with it.
    deleting: bool,
    /// Who pinned it, and when.
    pins: BTreeMap<i32, Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkspaceOnWire {
    id: i32,
    name: String,
    archived: bool,
    username: String,
    immutable: bool,
    num_projects: usize,
    pinned: bool,
    user_id: i32,
    num_experiments: usize,
    state: &'static str,
    error_message: &'static str,
    #[serde(
        serialize_with = "wire::serialize_optional_time",
        skip_serializing_if = "Option::is_none"
    )]
    pinned_at: Option<Timestamp>,
    default_compute_pool: &'static str,
    default_aux_pool: &'static str,
}

impl State {
    /// Adds a workspace, without asking whether its name is free.
    pub(super) fn add_workspace(&mut self, name: &str, owner: i32) -> &mut Workspace {
        self.workspaces.insert(|id| Workspace {
            id,
            name: name.to_owned(),
            owner,
            archived: false,
            immutable: false,
            deleting: false,
            pins: BTreeMap::new(),
        })
    }

    pub(super) fn workspace(&self, id: i32) -> Result<&Workspace, Failure> {
        self.workspaces
            .get(id)
            .ok_or_else(|| Failure::not_found(format!("workspace '{id}' not found")))
    }

    /// The projects of a workspace.
    fn projects_in(&self, workspace: i32) -> Vec<i32> {
        self.projects
            .values()
            .filter(|project| project.workspace_id == workspace)
            .map(|project| project.id)
            .collect()
    }

    fn workspace_on_wire(&self, workspace: &Workspace, viewer: i32) -> WorkspaceOnWire {
        let projects = self.projects_in(workspace.id);
        let pinned_at = workspace.pins.get(&viewer).copied();
        WorkspaceOnWire {
            id: workspace.id,
            name: workspace.name.clone(),
            archived: workspace.archived,
            username: self.username(workspace.owner).to_owned(),
            immutable: workspace.immutable,
            num_projects: projects.len(),
            pinned: pinned_at.is_some(),
            user_id: workspace.owner,
            num_experiments: self
                .experiments
                .values()
                .filter(|experiment| projects.contains(&experiment.project_id))
                .count(),
            state: match workspace.deleting {
                true => "WORKSPACE_STATE_DELETING",
                false => "WORKSPACE_STATE_UNSPECIFIED",
            },
            error_message: "",
            pinned_at,
            default_compute_pool: "",
            default_aux_pool: "",
        }
    }
}

fn check_name(name: &str) -> Result<(), Failure> {
    if name.is_empty() {
        return Err(Failure::invalid(format!(
            "name '{name}' must be at least 1 character long"
        )));
    }
    // The text says less than what is allowed.
    if name.len() > 80 {
        return Err(Failure::invalid(format!(
            "name '{name}' must be at most 53 character long"
        )));
    }
    if name.trim().is_empty() {
        return Err(Failure::invalid(
            "name must contain at least non-whitespace letter",
        ));
    }
    Ok(())
}

/// Checks that the name is free. The text says that case does not count, but it does.
fn check_free(state: &State, name: &str) -> Result<(), Failure> {
    match state.workspaces.values().any(|known| known.name == name) {
        true => Err(Failure::exists(
            "avoid names equal to other workspaces (case-insensitive)",
        )),
        false => Ok(()),
    }
}

/// The workspace that a path names, if the caller may change it.
fn changeable(call: &Call<'_>, refusal: &str) -> Result<i32, Failure> {
    let workspace = call.state.workspace(call.id(0, "id")?)?;
    match call.may_change(workspace.owner) {
        true => Ok(workspace.id),
        false => Err(Failure::forbidden(refusal)),
    }
}

#[derive(Deserialize)]
struct Said {
    name: Option<String>,
}

#[derive(Serialize)]
struct Got {
    workspace: WorkspaceOnWire,
}

fn get(call: &mut Call<'_>) -> Answer {
    let workspace = call.state.workspace(call.id(0, "id")?)?;
    Ok(Response::json(&Got {
        workspace: call.state.workspace_on_wire(workspace, call.caller),
    }))
}

fn create(call: &mut Call<'_>) -> Answer {
    let said: Said = call.body()?;
    let name = said.name.unwrap_or_default();
    check_name(&name)?;
    if let Err(taken) = check_free(call.state, &name) {
        call.state.workspaces.skip();
        return Err(taken);
    }
    let (owner, now) = (call.caller, call.state.time.stamp());
    let workspace = call.state.add_workspace(&name, owner);
    // Who makes a workspace finds it pinned.
    workspace.pins.insert(owner, now);
    let id = workspace.id;
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Created {
        workspace: WorkspaceOnWire,
        namespace_bindings: BTreeMap<(), ()>,
    }
    let mut workspace = call
        .state
        .workspace_on_wire(call.state.workspace(id)?, owner);
    workspace.pinned_at = None;
    Ok(Response::json(&Created {
        workspace,
        namespace_bindings: BTreeMap::new(),
    }))
}

fn patch(call: &mut Call<'_>) -> Answer {
    let said: Said = call.body()?;
    let id = changeable(call, "only admins may set other user's workspaces names")?;
    let workspace = call.state.workspace(id)?;
    if workspace.immutable {
        return Err(Failure::internal(format!(
            "workspace ({id}) is immutable and cannot add new projects"
        )));
    }
    if workspace.archived {
        return Err(Failure::internal(format!(
            "workspace ({id}) is archived and cannot add new projects"
        )));
    }
    if let Some(name) = said.name {
        check_name(&name)?;
        if name != workspace.name {
            check_free(call.state, &name)?;
        }
        if let Some(workspace) = call.state.workspaces.get_mut(id) {
            workspace.name = name;
        }
    }
    get(call)
}

fn list(call: &mut Call<'_>) -> Answer {
    let (state, query) = (&*call.state, &call.query);
    let (archived, pinned) = (query.flag("archived")?, query.flag("pinned")?);
    let users: Vec<&str> = query.all("users").collect();
    let user_ids = query.ints("userIds")?;
    let caller = call.caller;
    let mut workspaces: Vec<&Workspace> = state
        .workspaces
        .values()
        .filter(|workspace| {
            let name = query.text("name");
            let exact = query.text("nameCaseSensitive");
            name.is_none_or(|name| wire::ilike(&workspace.name, name))
                && exact.is_none_or(|name| wire::like(name, &workspace.name))
        })
        .filter(|workspace| {
            (users.is_empty() || users.contains(&state.username(workspace.owner)))
                && (user_ids.is_empty() || user_ids.contains(&i64::from(workspace.owner)))
        })
        .filter(|workspace| archived.is_none_or(|archived| workspace.archived == archived))
        .filter(|workspace| {
            pinned.is_none_or(|pinned| workspace.pins.contains_key(&caller) == pinned)
        })
        .collect();
    match query.sort_key("sortBy") {
        None | Some("ID") => {}
        Some("NAME") => workspaces.sort_by_key(|workspace| &workspace.name),
        Some(other) => return Err(wire::unknown_sort_key(other, "GetWorkspacesRequest")),
    }
    if query.descending() {
        workspaces.reverse();
    }
    let (workspaces, pagination) = page(workspaces, query)?;
    #[derive(Serialize)]
    struct Listed {
        workspaces: Vec<WorkspaceOnWire>,
        pagination: Pagination,
    }
    Ok(Response::json(&Listed {
        workspaces: workspaces
            .into_iter()
            .map(|workspace| state.workspace_on_wire(workspace, caller))
            .collect(),
        pagination,
    }))
}

fn delete(call: &mut Call<'_>) -> Answer {
    let id = changeable(call, "only admins may delete other user's workspaces")?;
    if call
        .state
        .models
        .values()
        .any(|model| model.workspace_id == id)
    {
        return Err(Failure::precondition(format!(
            "workspace ({id}) contains models; move or delete models first"
        )));
    }
    let workspace = call.state.workspace(id)?;
    let undeletable = Failure::internal(format!(
        "workspace ({id}) does not exist or not deletable by this user: not found"
    ));
    if workspace.immutable {
        return Err(undeletable);
    }
    let projects = call.state.projects_in(id);
    if projects.is_empty() {
        call.state.workspaces.remove(id);
        return Ok(Response::json(&json!({"completed": true})));
    }
    // Experiments take their time, empty projects hardly any.
    let mut milliseconds = 10;
    for project in projects {
        if !call.state.delete_project(project) {
            milliseconds = 1500;
        }
    }
    if let Some(workspace) = call.state.workspaces.get_mut(id) {
        workspace.deleting = true;
    }
    call.state
        .after(milliseconds, Event::WorkspaceDeleted { workspace: id });
    Ok(Response::json(&json!({"completed": false})))
}

fn archive(call: &mut Call<'_>) -> Answer {
    set_archived(
        call,
        true,
        "only admins may archive other user's workspaces",
    )
}

fn unarchive(call: &mut Call<'_>) -> Answer {
    set_archived(
        call,
        false,
        "only admins may unarchive other user's workspaces",
    )
}

fn set_archived(call: &mut Call<'_>, archived: bool, refusal: &str) -> Answer {
    let id = changeable(call, refusal)?;
    match call.state.workspaces.get_mut(id) {
        Some(workspace) if !workspace.immutable => workspace.archived = archived,
        _ => {
            return Err(Failure::internal(format!(
                "error archiving workspace ({id}): not found"
            )));
        }
    }
    Ok(Response::json(&json!({})))
}

fn pin(call: &mut Call<'_>) -> Answer {
    let id = call.state.workspace(call.id(0, "id")?)?.id;
    let (caller, now) = (call.caller, call.state.time.stamp());
    if let Some(workspace) = call.state.workspaces.get_mut(id) {
        if workspace.pins.contains_key(&caller) {
            return Err(Failure::internal(format!(
                "error pinning workspace ({id}): error running query: pin_workspace: ERROR: duplicate key value violates \
                 unique constraint \"workspace_pins_user_id_workspace_id_key\" (SQLSTATE 23505)"
            )));
        }
        workspace.pins.insert(caller, now);
    }
    Ok(Response::json(&json!({})))
}

fn unpin(call: &mut Call<'_>) -> Answer {
    let id = call.state.workspace(call.id(0, "id")?)?.id;
    let caller = call.caller;
    if let Some(workspace) = call.state.workspaces.get_mut(id) {
        workspace.pins.remove(&caller);
    }
    Ok(Response::json(&json!({})))
}

/// Without roles a workspace has no members.
fn members(call: &mut Call<'_>) -> Answer {
    call.id(0, "workspace_id")?;
    Ok(Response::json(
        &json!({"groups": [], "usersAssignedDirectly": [], "assignments": []}),
    ))
}

/// Only a master on Kubernetes has namespaces.
fn namespaces(call: &mut Call<'_>) -> Answer {
    call.state.workspace(call.id(0, "id")?)?;
    Err(Failure::not_found(
        "error getting default namespace: rpc error: code = NotFound desc = operation not supported",
    ))
}
