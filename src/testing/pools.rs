//! Resource pools and the workspaces that they are bound to.

use super::failure::Failure;
use super::http::Response;
use super::router::{Answer, Call, Route};
use super::state::State;
use super::wire::{Pagination, database_page, page};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const ROUTES: &[Route] = &[
    Route::get("/api/v1/resource-pools", list),
    Route::get("/api/v1/resource-pools/{}/workspace-bindings", bound),
    Route::post("/api/v1/resource-pools/{}/workspace-bindings", bind),
    Route::put("/api/v1/resource-pools/{}/workspace-bindings", replace),
    Route::delete("/api/v1/resource-pools/{}/workspace-bindings", unbind),
    Route::get("/api/v1/workspaces/{}/available-resource-pools", available),
];

/// The pool that is always there.
pub(super) const DEFAULT: &str = "default";

/// The pools by name, with the workspaces that they are bound to. A pool without bindings is open to all.
#[derive(Debug)]
pub(super) struct Pools(BTreeMap<String, BTreeSet<i32>>);

impl Default for Pools {
    fn default() -> Self {
        Self(BTreeMap::from([(DEFAULT.to_owned(), BTreeSet::new())]))
    }
}

impl Pools {
    pub(super) fn add(&mut self, name: &str) {
        self.0.entry(name.to_owned()).or_default();
    }

    /// The pools that a workspace may use.
    pub(super) fn available_to(&self, workspace: i32) -> Vec<&str> {
        self.0
            .iter()
            .filter(|(_, bound)| bound.is_empty() || bound.contains(&workspace))
            .map(|(name, _)| name.as_str())
            .collect()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn bindings(&self, name: &str) -> Result<&BTreeSet<i32>, Failure> {
        self.0.get(name).ok_or_else(|| {
            Failure::internal(format!(
                "pool with name {name} doesn't exist or is not available"
            ))
        })
    }

    fn bindings_mut(&mut self, name: &str) -> Result<&mut BTreeSet<i32>, Failure> {
        self.0
            .get_mut(name)
            .ok_or_else(|| Failure::internal(format!("pool with name {name} doesn't exist")))
    }
}

fn list(call: &mut Call<'_>) -> Answer {
    let unbound = call.query.flag("unbound")? == Some(true);
    let pools: Vec<Value> = call
        .state
        .pools
        .0
        .iter()
        .filter(|(_, bound)| !unbound || bound.is_empty())
        .map(|(name, _)| pool_on_wire(call.state, name))
        .collect();
    let (resource_pools, pagination) = page(pools, &call.query)?;
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Listed {
        resource_pools: Vec<Value>,
        pagination: Pagination,
    }
    Ok(Response::json(&Listed {
        resource_pools,
        pagination,
    }))
}

fn pool_on_wire(state: &State, name: &str) -> Value {
    let default = name == DEFAULT;
    let (agents, slots, kind) = match default {
        true if state.agent.capacity() > 0 => (1, state.agent.capacity(), "TYPE_CPU"),
        true => (1, 0, "TYPE_UNSPECIFIED"),
        false => (0, 0, "TYPE_UNSPECIFIED"),
    };
    let jobs = state.queued_jobs(name);
    let scheduled = jobs.iter().filter(|(_, runs)| *runs).count();
    json!({
        "name": name,
        "description": "",
        "type": "RESOURCE_POOL_TYPE_STATIC",
        "numAgents": agents,
        "slotsAvailable": slots,
        "slotsUsed": if default { state.slots_taken() } else { 0 },
        "slotType": kind,
        "auxContainerCapacity": if slots > 0 { 100 } else { 0 },
        "auxContainersRunning": 0,
        "defaultComputePool": default,
        "defaultAuxPool": default,
        "preemptible": false,
        "minAgents": 0,
        "maxAgents": 0,
        "slotsPerAgent": -1,
        "auxContainerCapacityPerAgent": 100,
        "schedulerType": "SCHEDULER_TYPE_PRIORITY",
        "schedulerFittingPolicy": "FITTING_POLICY_BEST",
        "location": "on-prem",
        "imageId": "",
        "instanceType": "",
        "masterUrl": "",
        "masterCertName": "",
        "startupScript": "",
        "containerStartupScript": "",
        "agentDockerNetwork": "",
        "agentDockerRuntime": "",
        "agentDockerImage": "",
        "agentFluentImage": "",
        "maxIdleAgentPeriod": 0,
        "maxAgentStartingPeriod": 0,
        "details": {
            "aws": null,
            "gcp": null,
            "priorityScheduler": {"preemption": false, "defaultPriority": 42, "k8Priorities": []},
        },
        "accelerator": "",
        "stats": {"queuedCount": jobs.len() - scheduled, "scheduledCount": scheduled},
        "resourceManagerMetadata": {},
        "clusterName": "default",
    })
}

fn bound(call: &mut Call<'_>) -> Answer {
    let bound: Vec<i32> = call
        .state
        .pools
        .bindings(call.text(0))?
        .iter()
        .copied()
        .collect();
    let (workspace_ids, pagination) = database_page(bound, &call.query, usize::MAX)?;
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Listed {
        workspace_ids: Vec<i32>,
        pagination: Pagination,
    }
    Ok(Response::json(&Listed {
        workspace_ids,
        pagination,
    }))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Binding {
    workspace_ids: Vec<i32>,
    workspace_names: Vec<String>,
}

/// The workspaces that a request names, if the caller may change their bindings.
fn named_workspaces(call: &Call<'_>) -> Result<BTreeSet<i32>, Failure> {
    let binding: Binding = call.body()?;
    let id_of = |name: &String| {
        let mut workspaces = call.state.workspaces.values();
        workspaces
            .find(|workspace| workspace.name == *name)
            .map(|workspace| workspace.id)
    };
    let missing: Vec<&str> = binding
        .workspace_names
        .iter()
        .filter(|name| id_of(name).is_none())
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        return Err(Failure::internal(format!(
            "the following workspaces do not exist: [{}]",
            missing.join(" ")
        )));
    }
    if !call.is_admin() {
        return Err(Failure::internal(
            "only admin privileged users can bind resource pool to a workspace",
        ));
    }
    let named = binding.workspace_names.iter().filter_map(id_of);
    Ok(named.chain(binding.workspace_ids.iter().copied()).collect())
}

fn refuse_default(call: &Call<'_>) -> Result<(), Failure> {
    match call.text(0) {
        DEFAULT => Err(Failure::internal(format!(
            "default resource pool {DEFAULT} cannot be bound to any workspace"
        ))),
        _ => Ok(()),
    }
}

fn bind(call: &mut Call<'_>) -> Answer {
    refuse_default(call)?;
    let workspaces = named_workspaces(call)?;
    let pool = call.text(0).to_owned();
    call.state.pools.bindings_mut(&pool)?.extend(workspaces);
    Ok(Response::json(&json!({})))
}

fn replace(call: &mut Call<'_>) -> Answer {
    refuse_default(call)?;
    let workspaces = named_workspaces(call)?;
    let pool = call.text(0).to_owned();
    *call.state.pools.bindings_mut(&pool)? = workspaces;
    Ok(Response::json(&json!({})))
}

fn unbind(call: &mut Call<'_>) -> Answer {
    let workspaces = named_workspaces(call)?;
    let pool = call.text(0).to_owned();
    let present = call.state.pools.0.get(&pool).cloned().unwrap_or_default();
    if let Some(id) = workspaces.iter().find(|id| !present.contains(id)) {
        return Err(Failure::internal(format!(
            " workspace with id {id} and pool with name  {pool} binding doesn't exist"
        )));
    }
    call.state
        .pools
        .bindings_mut(&pool)?
        .retain(|bound| !workspaces.contains(bound));
    Ok(Response::json(&json!({})))
}

fn available(call: &mut Call<'_>) -> Answer {
    let workspace = call.state.workspace(call.id(0, "workspace_id")?)?;
    let pools = call.state.pools.available_to(workspace.id);
    let (resource_pools, pagination) = database_page(pools, &call.query, usize::MAX)?;
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Listed<'a> {
        resource_pools: Vec<&'a str>,
        pagination: Pagination,
    }
    Ok(Response::json(&Listed {
        resource_pools,
        pagination,
    }))
}
