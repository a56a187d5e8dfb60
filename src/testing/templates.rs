//! Templates of configurations.

use super::failure::Failure;
use super::http::Response;
use super::router::{Answer, Call, Route};
use super::state::State;
use super::wire::{self, Pagination, database_page};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub(super) const ROUTES: &[Route] = &[
    Route::get("/api/v1/templates", list),
    Route::get("/api/v1/templates/{}", get),
    Route::post("/api/v1/templates/{}", create),
    Route::put("/api/v1/templates/{}", put),
    Route::patch("/api/v1/templates/{}", set_config),
    Route::patch("/api/v1/template/rename", rename),
    Route::delete("/api/v1/templates/{}", delete),
];

/// How many templates come at once when the client names no limit.
const PAGE: usize = 100;

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Template {
    name: String,
    pub(super) config: Map<String, Value>,
    pub(super) workspace_id: i32,
}

#[derive(Serialize)]
struct Got<'a> {
    template: &'a Template,
}

impl State {
    /// The template of a name, for a caller that only asks for it.
    pub(super) fn template(&self, name: &str) -> Result<&Template, Failure> {
        self.templates.get(name).ok_or_else(|| {
            Failure::not_found(match name {
                "" => "template not found".into(),
                name => format!("template '{name}' not found"),
            })
        })
    }

    /// The template of a name, to be changed. The text of the refusal is the database's.
    fn template_to_change(&mut self, name: &str) -> Result<&mut Template, Failure> {
        let unknown = || Failure::internal("not found");
        self.templates.get_mut(name).ok_or_else(unknown)
    }

    fn add_template(&mut self, template: Template) -> Result<(), Failure> {
        self.workspace(template.workspace_id)?;
        if self.templates.contains_key(&template.name) {
            return Err(Failure::internal(format!(
                "failed to create template {}: ERROR: duplicate key value violates unique constraint \"templates_pkey\" (SQLSTATE 23505)",
                template.name
            )));
        }
        self.templates.insert(template.name.clone(), template);
        Ok(())
    }
}

fn answer(call: &Call<'_>, name: &str) -> Answer {
    let template = call.state.template(name)?;
    Ok(Response::json(&Got { template }))
}

fn list(call: &mut Call<'_>) -> Answer {
    let (state, query) = (&*call.state, &call.query);
    let workspaces = query.ints("workspaceIds")?;
    let mut templates: Vec<&Template> = state
        .templates
        .values()
        .filter(|template| wire::ilike_contains(&template.name, query.text("name").unwrap_or("")))
        .filter(|template| {
            workspaces.is_empty() || workspaces.contains(&i64::from(template.workspace_id))
        })
        .collect();
    if query.descending() {
        templates.reverse();
    }
    let (templates, pagination) = database_page(templates, query, PAGE)?;
    #[derive(Serialize)]
    struct Listed<'a> {
        templates: Vec<&'a Template>,
        pagination: Pagination,
    }
    Ok(Response::json(&Listed {
        templates,
        pagination,
    }))
}

fn get(call: &mut Call<'_>) -> Answer {
    answer(call, call.text(0))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    config: Option<Map<String, Value>>,
    workspace_id: Option<i32>,
}

impl Said {
    fn into_template(self, name: &str) -> Template {
        Template {
            name: name.to_owned(),
            config: wire::object_through_struct(&self.config.unwrap_or_default()),
            workspace_id: self.workspace_id.filter(|id| *id != 0).unwrap_or(1),
        }
    }
}

fn create(call: &mut Call<'_>) -> Answer {
    let said: Said = call.body()?;
    let name = call.text(0).to_owned();
    call.state.add_template(said.into_template(&name))?;
    answer(call, &name)
}

/// Creates or changes a template.
fn put(call: &mut Call<'_>) -> Answer {
    let said: Said = call.body()?;
    let name = call.text(0).to_owned();
    if !call.state.templates.contains_key(&name) {
        let workspace_id = said.workspace_id.unwrap_or(0);
        let template = said.into_template(&name);
        call.state.add_template(template.clone())?;
        // What is told is what was sent.
        let template = &Template {
            workspace_id,
            ..template
        };
        return Ok(Response::json(&Got { template }));
    }
    let workspace_id = said.workspace_id.filter(|id| *id != 0);
    if let Some(id) = workspace_id {
        call.state.workspace(id)?;
    }
    let template = call.state.template_to_change(&name)?;
    if let Some(config) = said.config {
        template.config = wire::object_through_struct(&config);
    }
    if let Some(id) = workspace_id {
        template.workspace_id = id;
    }
    answer(call, &name)
}

/// The body is the configuration alone.
fn set_config(call: &mut Call<'_>) -> Answer {
    let config: Map<String, Value> = call.body()?;
    let name = call.text(0).to_owned();
    let template = call.state.template_to_change(&name)?;
    template.config = wire::object_through_struct(&config);
    answer(call, &name)
}

fn rename(call: &mut Call<'_>) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Rename {
        old_name: Option<String>,
        new_name: Option<String>,
    }
    let rename: Rename = call.body()?;
    let (old, new) = (
        rename.old_name.unwrap_or_default(),
        rename.new_name.unwrap_or_default(),
    );
    let mut template = call.state.template_to_change(&old)?.clone();
    if old != new && call.state.templates.contains_key(&new) {
        return Err(Failure::internal(
            "failed to update template name: ERROR: duplicate key value violates unique constraint \"templates_pkey\" (SQLSTATE 23505)",
        ));
    }
    template.name.clone_from(&new);
    call.state.templates.remove(&old);
    call.state.templates.insert(new.clone(), template);
    answer(call, &new)
}

fn delete(call: &mut Call<'_>) -> Answer {
    let name = call.text(0).to_owned();
    call.state.template_to_change(&name)?;
    call.state.templates.remove(&name);
    Ok(Response::json(&json!({})))
}
