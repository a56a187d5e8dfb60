//! Projects.

use super::experiments::{Experiment, RunState};
use super::failure::Failure;
use super::http::Response;
use super::router::{Answer, Call, Route};
use super::simulation::Event;
use super::state::{State, random_hex};
use super::wire::{self, Pagination, page};
use super::workspaces::Workspace;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub(super) const ROUTES: &[Route] = &[
    Route::get("/api/v1/workspaces/{}/projects", list),
    Route::post("/api/v1/workspaces/{}/projects", create),
    Route::get("/api/v1/projects/key/{}", get_by_key),
    Route::get("/api/v1/projects/{}", get),
    Route::patch("/api/v1/projects/{}", patch),
    Route::delete("/api/v1/projects/{}", delete),
    Route::post("/api/v1/projects/{}/notes", add_note),
    Route::put("/api/v1/projects/{}/notes", put_notes),
    Route::post("/api/v1/projects/{}/archive", archive),
    Route::post("/api/v1/projects/{}/unarchive", unarchive),
    Route::post("/api/v1/projects/{}/move", move_to_workspace),
];

/// How many letters a name may have.
const LONGEST_NAME: usize = 80;

/// How long a key may be.
const LONGEST_KEY: usize = 5;

#[derive(Debug, Clone)]
pub(super) struct Project {
    pub(super) id: i32,
    pub(super) name: String,
    pub(super) workspace_id: i32,
    description: String,
    pub(super) owner: i32,
    pub(super) archived: bool,
    /// The one that is there from the start and stays.
    pub(super) immutable: bool,
    /// It is to be deleted, and its experiments with it.
    deleting: bool,
    key: String,
    notes: Vec<Note>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Note {
    name: String,
    contents: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProjectOnWire {
    id: i32,
    name: String,
    workspace_id: i32,
    description: String,
    #[serde(serialize_with = "wire::serialize_optional_time")]
    last_experiment_started_at: Option<Timestamp>,
    notes: Vec<Note>,
    num_experiments: usize,
    num_active_experiments: usize,
    archived: bool,
    username: String,
    immutable: bool,
    user_id: i32,
    /// Lists leave it out.
    workspace_name: String,
    state: &'static str,
    error_message: &'static str,
    key: String,
    num_runs: usize,
}

impl State {
    /// Adds a project, without asking whether its name is free.
    pub(super) fn add_project(
        &mut self,
        workspace_id: i32,
        name: &str,
        owner: i32,
        key: String,
    ) -> &mut Project {
        self.projects.insert(|id| Project {
            id,
            name: name.to_owned(),
            workspace_id,
            description: String::new(),
            owner,
            archived: false,
            immutable: false,
            deleting: false,
            key,
            notes: Vec::new(),
        })
    }

    pub(super) fn project(&self, id: i32) -> Result<&Project, Failure> {
        self.projects
            .get(id)
            .ok_or_else(|| Failure::not_found(format!("project '{id}' not found")))
    }

    fn project_on_wire(&self, project: &Project) -> ProjectOnWire {
        let experiments: Vec<&Experiment> = self
            .experiments
            .values()
            .filter(|experiment| experiment.project_id == project.id)
            .collect();
        let workspace = self.workspaces.get(project.workspace_id);
        ProjectOnWire {
            id: project.id,
            name: project.name.clone(),
            workspace_id: project.workspace_id,
            description: project.description.clone(),
            last_experiment_started_at: experiments
                .iter()
                .map(|experiment| experiment.start_time)
                .max(),
            notes: project.notes.clone(),
            num_experiments: experiments.len(),
            num_active_experiments: experiments
                .iter()
                .filter(|experiment| experiment.state == RunState::Active)
                .count(),
            archived: project.archived,
            username: self.username(project.owner).to_owned(),
            immutable: project.immutable,
            user_id: project.owner,
            workspace_name: workspace.map_or(String::new(), |workspace| workspace.name.clone()),
            state: match project.deleting {
                true => "WORKSPACE_STATE_DELETING",
                false => "WORKSPACE_STATE_UNSPECIFIED",
            },
            error_message: "",
            key: project.key.clone(),
            num_runs: experiments
                .iter()
                .map(|experiment| experiment.trials.len())
                .sum(),
        }
    }

    /// Deletes a project; with experiments in it, it takes a while. Tells whether it is done.
    pub(super) fn delete_project(&mut self, id: i32) -> bool {
        let experiments: Vec<i32> = self
            .experiments
            .values()
            .filter(|experiment| experiment.project_id == id)
            .map(|experiment| experiment.id)
            .collect();
        if experiments.is_empty() {
            self.projects.remove(id);
            return true;
        }
        for experiment in experiments {
            self.after(1000, Event::ExperimentDeleted { experiment });
        }
        if let Some(project) = self.projects.get_mut(id) {
            project.deleting = true;
        }
        self.after(1200, Event::ProjectDeleted { project: id });
        false
    }
}

/// A key that is not taken yet: the beginning of the name and what chance gives.
fn new_key(state: &State, name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    let prefix: String = letters.take(3).collect();
    loop {
        let key: String = format!("{prefix}{}", random_hex::<4>())
            .to_uppercase()
            .chars()
            .take(LONGEST_KEY)
            .collect();
        if state.projects.values().all(|project| project.key != key) {
            return key;
        }
    }
}

/// The constraint of the database that a name breaks, if it breaks one.
fn check_name(name: &str) -> Result<(), &'static str> {
    match name.chars().count() {
        0 => Err("namemin"),
        length if length > LONGEST_NAME => Err("namemax"),
        _ => Ok(()),
    }
}

fn check_key(key: &str) -> Result<(), Failure> {
    if key.chars().count() > LONGEST_KEY {
        return Err(Failure::invalid(format!(
            "project key cannot be longer than {LONGEST_KEY} characters"
        )));
    }
    if key.is_empty() {
        return Err(Failure::invalid("project key cannot be empty"));
    }
    if !key.chars().all(|letter| letter.is_ascii_alphanumeric()) {
        return Err(Failure::invalid(format!(
            "project key can only contain alphanumeric characters: {key}"
        )));
    }
    Ok(())
}

/// The project that a path names, if the caller may change it: its owner, that of its workspace, or an administrator.
fn changeable(call: &Call<'_>, doing: &str) -> Result<i32, Failure> {
    let project = call.state.project(call.id(0, "id")?)?;
    match call.may_change(project.owner) {
        true => Ok(project.id),
        false => owner_of_workspace(call, project, doing).map(|()| project.id),
    }
}

/// Refuses whoever neither owns the workspace of a project nor is an administrator.
fn owner_of_workspace(call: &Call<'_>, project: &Project, doing: &str) -> Result<(), Failure> {
    let workspace = call.state.workspaces.get(project.workspace_id);
    match workspace.is_some_and(|workspace| call.may_change(workspace.owner)) {
        true => Ok(()),
        false => Err(Failure::forbidden(format!(
            "can't {doing}: non admin users need to own the project or workspace"
        ))),
    }
}

/// Checks that a workspace takes projects.
fn check_open(workspace: &Workspace) -> Result<(), Failure> {
    let why = match (workspace.immutable, workspace.archived) {
        (true, _) => "immutable",
        (false, true) => "archived",
        (false, false) => return Ok(()),
    };
    Err(Failure::internal(format!(
        "workspace ({}) is {why} and cannot add new projects",
        workspace.id
    )))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Said {
    name: Option<String>,
    description: Option<String>,
    key: Option<String>,
}

#[derive(Serialize)]
struct Got {
    project: ProjectOnWire,
}

fn answer(call: &Call<'_>, project: &Project) -> Answer {
    Ok(Response::json(&Got {
        project: call.state.project_on_wire(project),
    }))
}

fn get(call: &mut Call<'_>) -> Answer {
    answer(call, call.state.project(call.id(0, "id")?)?)
}

fn get_by_key(call: &mut Call<'_>) -> Answer {
    let key = call.text(0);
    let mut projects = call.state.projects.values();
    let project = projects
        .find(|project| project.key == key)
        .ok_or_else(|| Failure::not_found(format!("project '{key}' not found")))?;
    answer(call, project)
}

fn create(call: &mut Call<'_>) -> Answer {
    let said: Said = call.body()?;
    let workspace = call.state.workspace(call.id(0, "workspace_id")?)?;
    let workspace_id = workspace.id;
    check_open(workspace)?;
    let name = said.name.unwrap_or_default();
    if check_name(&name).is_err() {
        call.state.projects.skip();
        return Err(Failure::internal(format!(
            "error creating project {name} in database: rpc error: code = Internal desc = internal server error"
        )));
    }
    let key = match said.key {
        Some(key) => {
            let key = key.to_uppercase();
            check_key(&key)?;
            key
        }
        None => new_key(call.state, &name),
    };
    let others = || call.state.projects.values();
    let taken = if others().any(|other| other.workspace_id == workspace_id && other.name == name) {
        Some(format!("project name {name}"))
    } else if others().any(|other| other.key == key) {
        Some(format!("project key {key}"))
    } else {
        None
    };
    if let Some(what) = taken {
        call.state.projects.skip();
        return Err(Failure::exists(format!(
            "error creating project {name} in database: rpc error: code = AlreadyExists desc = \
             error inserting project {name} into database: {what} is already in use: row already exists"
        )));
    }
    let owner = call.caller;
    let project = call.state.add_project(workspace_id, &name, owner, key);
    project.description = said.description.unwrap_or_default();
    let id = project.id;
    let mut project = call.state.project_on_wire(call.state.project(id)?);
    project.workspace_name = String::new();
    Ok(Response::json(&Got { project }))
}

fn patch(call: &mut Call<'_>) -> Answer {
    let said: Said = call.body()?;
    if let Some(key) = &said.key {
        check_key(key)?;
    }
    let id = call.id(0, "id")?;
    let project = call.state.project(id)?;
    let workspace = call.state.workspaces.get(project.workspace_id);
    let archived = project.archived || workspace.is_some_and(|workspace| workspace.archived);
    for (refused, why) in [(archived, "archived"), (project.immutable, "immutable")] {
        if refused {
            return Err(Failure::internal(format!(
                "project ({id}) is {why} and cannot have attributes updated"
            )));
        }
    }
    let mut after = project.clone();
    let changes = |field: &str, said: Option<String>, present: &mut String| {
        let Some(said) = said.filter(|said| said != present) else {
            return Ok(false);
        };
        // The owner of the project alone may not.
        owner_of_workspace(call, project, &format!("set project {field}"))?;
        *present = said;
        Ok(true)
    };
    let key = said.key.map(|key| key.to_uppercase());
    let is_changed = [
        changes("name", said.name, &mut after.name)?,
        changes("name", said.description, &mut after.description)?,
        changes("key", key, &mut after.key)?,
    ];
    if !is_changed.contains(&true) {
        // Of a project that stays as it is, masters tell only the half.
        return Ok(Response::json(&Got {
            project: ProjectOnWire {
                last_experiment_started_at: None,
                notes: Vec::new(),
                num_experiments: 0,
                num_active_experiments: 0,
                username: String::new(),
                user_id: 0,
                workspace_name: String::new(),
                num_runs: 0,
                ..call.state.project_on_wire(project)
            },
        }));
    }
    let broken =
        |what: &str| Failure::internal(format!("error updating project {}: {what}", after.name));
    check_name(&after.name).map_err(|constraint| {
        broken(&format!(
            "ERROR: new row for relation \"projects\" violates check constraint \"{constraint}\" (SQLSTATE 23514)"
        ))
    })?;
    let others = || call.state.projects.values().filter(|other| other.id != id);
    if others().any(|other| other.workspace_id == after.workspace_id && other.name == after.name) {
        return Err(broken("row already exists"));
    }
    if others().any(|other| other.key == after.key) {
        return Err(Failure::exists(format!(
            "project key {} is already in use",
            after.key
        )));
    }
    if let Some(project) = call.state.projects.get_mut(id) {
        *project = after;
    }
    get(call)
}

fn list(call: &mut Call<'_>) -> Answer {
    let (state, query) = (&*call.state, &call.query);
    let workspace_id = call.id(0, "id")?;
    // 0 stands for all workspaces.
    if workspace_id != 0 {
        state.workspace(workspace_id)?;
    }
    let archived = query.flag("archived")?;
    let users: Vec<&str> = query.all("users").collect();
    let user_ids = query.ints("userIds")?;
    let mut projects: Vec<&Project> = state
        .projects
        .values()
        .filter(|project| workspace_id == 0 || project.workspace_id == workspace_id)
        .filter(|project| {
            let name = query.text("name");
            name.is_none_or(|name| wire::ilike(&project.name, name))
        })
        .filter(|project| archived.is_none_or(|archived| project.archived == archived))
        .filter(|project| {
            (users.is_empty() || users.contains(&state.username(project.owner)))
                && (user_ids.is_empty() || user_ids.contains(&i64::from(project.owner)))
        })
        .collect();
    match query.sort_key("sortBy") {
        None | Some("ID" | "CREATION_TIME") => {}
        Some("NAME") => projects.sort_by_key(|project| &project.name),
        Some("DESCRIPTION") => projects.sort_by_key(|project| &project.description),
        Some("LAST_EXPERIMENT_START_TIME") => {
            projects.sort_by_key(|project| {
                let started = state.project_on_wire(project).last_experiment_started_at;
                started.unwrap_or(Timestamp::MAX)
            });
        }
        Some(other) => return Err(wire::unknown_sort_key(other, "GetWorkspaceProjectsRequest")),
    }
    if query.descending() {
        projects.reverse();
    }
    let (projects, pagination) = page(projects, query)?;
    #[derive(Serialize)]
    struct Listed {
        projects: Vec<ProjectOnWire>,
        pagination: Pagination,
    }
    let on_wire = |project: &Project| ProjectOnWire {
        workspace_name: String::new(),
        ..state.project_on_wire(project)
    };
    Ok(Response::json(&Listed {
        projects: projects.into_iter().map(on_wire).collect(),
        pagination,
    }))
}

fn delete(call: &mut Call<'_>) -> Answer {
    let id = changeable(call, "delete project")?;
    if call.state.project(id)?.immutable {
        return Err(Failure::internal(format!(
            "project ({id}) does not exist or not deletable by this user: not found"
        )));
    }
    let completed = call.state.delete_project(id);
    Ok(Response::json(&json!({"completed": completed})))
}

fn archive(call: &mut Call<'_>) -> Answer {
    let id = changeable(call, "archive project")?;
    set_archived(call, id, true)
}

fn unarchive(call: &mut Call<'_>) -> Answer {
    let id = changeable(call, "unarchive project")?;
    set_archived(call, id, false)
}

fn set_archived(call: &mut Call<'_>, id: i32, archived: bool) -> Answer {
    let workspace_id = call.state.project(id)?.workspace_id;
    if call.state.workspace(workspace_id)?.archived {
        return Err(Failure::internal(
            "This project belongs to an archived workspace. To make changes, first unarchive the workspace.",
        ));
    }
    match call.state.projects.get_mut(id) {
        Some(project) if !project.immutable => project.archived = archived,
        _ => {
            return Err(Failure::internal(format!(
                "error archiving project ({id}): not found"
            )));
        }
    }
    Ok(Response::json(&json!({})))
}

#[derive(Serialize)]
struct Notes<'a> {
    notes: &'a [Note],
}

fn add_note(call: &mut Call<'_>) -> Answer {
    let note: Note = call.body()?;
    let id = call.state.project(call.id(0, "id")?)?.id;
    if let Some(project) = call.state.projects.get_mut(id) {
        project.notes.push(note);
    }
    let notes = &call.state.project(id)?.notes;
    Ok(Response::json(&Notes { notes }))
}

fn put_notes(call: &mut Call<'_>) -> Answer {
    #[derive(Deserialize)]
    struct Put {
        notes: Option<Vec<Note>>,
    }
    let put: Put = call.body()?;
    let id = call.state.project(call.id(0, "id")?)?.id;
    if let Some(project) = call.state.projects.get_mut(id) {
        project.notes = put.notes.unwrap_or_default();
    }
    let notes = &call.state.project(id)?.notes;
    Ok(Response::json(&Notes { notes }))
}

fn move_to_workspace(call: &mut Call<'_>) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Move {
        destination_workspace_id: Option<i32>,
    }
    let request: Move = call.body()?;
    let project = call.state.project(call.id(0, "id")?)?;
    let destination = request.destination_workspace_id.unwrap_or(0);
    check_open(call.state.workspace(destination)?)?;
    if !call.may_change(project.owner) {
        return Err(Failure::forbidden(
            "non admin users can't move projects that someone else owns",
        ));
    }
    let id = project.id;
    let name = call.state.project(id)?.name.clone();
    let mut projects = call.state.projects.values();
    if projects.any(|other| other.workspace_id == destination && other.name == name) {
        return Err(Failure::internal(format!(
            "project with name '{name}' already exists in target workspace"
        )));
    }
    match call.state.projects.get_mut(id) {
        Some(project) if !project.immutable => project.workspace_id = destination,
        _ => {
            return Err(Failure::internal(format!(
                "error moving project ({id}): not found"
            )));
        }
    }
    Ok(Response::json(&json!({})))
}
