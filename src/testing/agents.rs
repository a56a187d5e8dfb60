//! The one agent and its slots.

use super::failure::Failure;
use super::http::Response;
use super::pools;
use super::router::{Answer, Call, Route};
use super::state::State;
use super::wire::{self, Pagination, page};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub(super) const ROUTES: &[Route] = &[
    Route::get("/api/v1/agents", list),
    Route::get("/api/v1/agents/{}", get),
    Route::post("/api/v1/agents/{}/enable", enable),
    Route::post("/api/v1/agents/{}/disable", disable),
    Route::get("/api/v1/agents/{}/slots", slots),
    Route::get("/api/v1/agents/{}/slots/{}", get_slot),
    Route::post("/api/v1/agents/{}/slots/{}/enable", enable_slot),
    Route::post("/api/v1/agents/{}/slots/{}/disable", disable_slot),
];

/// Its name.
pub(super) const AGENT: &str = "agent-a";

#[derive(Debug)]
pub(super) struct Agent {
    enabled: bool,
    /// Whether each slot is enabled.
    slots: Vec<bool>,
}

impl Agent {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            enabled: true,
            slots: vec![true; slots],
        }
    }

    /// How many slots it has, be they enabled or not.
    pub(super) fn size(&self) -> usize {
        self.slots.len()
    }

    /// How many slots trials may use.
    pub(super) fn capacity(&self) -> usize {
        match self.enabled {
            true => self.slots.iter().filter(|enabled| **enabled).count(),
            false => 0,
        }
    }

    fn slot_on_wire(&self, index: usize, uuid: &str) -> Value {
        json!({
            "id": index.to_string(),
            "device": {"id": index, "brand": "Artificial", "uuid": uuid, "type": "TYPE_CPU"},
            "enabled": self.enabled && self.slots.get(index) == Some(&true),
            "container": null,
            "draining": false,
        })
    }
}

impl State {
    fn agent_on_wire(&self) -> Value {
        let agent = &self.agent;
        let slots: Map<String, Value> = (0..agent.size())
            .map(|index| {
                let slot = agent.slot_on_wire(index, &self.master_id);
                (format!("/agents/{AGENT}/slots/{index}"), slot)
            })
            .collect();
        let stats = json!({
            "states": {},
            "draining": 0,
            "disabled": agent.size() - agent.capacity(),
            "total": agent.size(),
        });
        json!({
            "id": AGENT,
            "registeredTime": wire::time(self.started),
            "slots": slots,
            "containers": {},
            "addresses": ["127.0.0.1"],
            "enabled": agent.enabled,
            "draining": false,
            "version": "dev",
            "resourcePools": [pools::DEFAULT],
            "slotStats": {"typeStats": {"TYPE_CPU": stats}, "brandStats": {"Artificial": stats}},
        })
    }
}

fn list(call: &mut Call<'_>) -> Answer {
    let (agents, pagination) = page(vec![call.state.agent_on_wire()], &call.query)?;
    #[derive(Serialize)]
    struct Listed {
        agents: Vec<Value>,
        pagination: Pagination,
    }
    Ok(Response::json(&Listed { agents, pagination }))
}

/// Checks that the path names the agent.
fn check_agent(call: &Call<'_>) -> Result<(), Failure> {
    match call.text(0) {
        AGENT => Ok(()),
        other => Err(Failure::not_found(format!("agent '{other}' not found"))),
    }
}

fn check_rights(call: &Call<'_>) -> Result<(), Failure> {
    match call.is_admin() {
        true => Ok(()),
        false => Err(Failure::forbidden("user does not have permission")),
    }
}

fn get(call: &mut Call<'_>) -> Answer {
    check_agent(call)?;
    Ok(Response::json(
        &json!({"agent": call.state.agent_on_wire()}),
    ))
}

fn enable(call: &mut Call<'_>) -> Answer {
    set_enabled(call, true)
}

fn disable(call: &mut Call<'_>) -> Answer {
    set_enabled(call, false)
}

/// What runs goes on; the agent takes no more when it is disabled.
fn set_enabled(call: &mut Call<'_>, enabled: bool) -> Answer {
    check_rights(call)?;
    check_agent(call)?;
    call.state.agent.enabled = enabled;
    call.state.schedule();
    get(call)
}

fn slots(call: &mut Call<'_>) -> Answer {
    check_agent(call)?;
    let (agent, uuid) = (&call.state.agent, &call.state.master_id);
    let slots: Vec<Value> = (0..agent.size())
        .map(|index| agent.slot_on_wire(index, uuid))
        .collect();
    Ok(Response::json(&json!({"slots": slots})))
}

/// The slot that the path names.
fn slot(call: &Call<'_>) -> Result<usize, Failure> {
    let text = call.text(1);
    let index: usize = text
        .parse()
        .map_err(|_| Failure::internal(format!("invalid slot id: {text}")))?;
    check_agent(call)?;
    match index < call.state.agent.size() {
        true => Ok(index),
        false => Err(Failure::internal(format!(
            "bad updateSlotDeviceView on device: {index} ({AGENT}): not found"
        ))),
    }
}

fn get_slot(call: &mut Call<'_>) -> Answer {
    let slot = slot(call)?;
    let slot = call.state.agent.slot_on_wire(slot, &call.state.master_id);
    Ok(Response::json(&json!({"slot": slot})))
}

fn enable_slot(call: &mut Call<'_>) -> Answer {
    set_slot_enabled(call, true)
}

fn disable_slot(call: &mut Call<'_>) -> Answer {
    set_slot_enabled(call, false)
}

fn set_slot_enabled(call: &mut Call<'_>, enabled: bool) -> Answer {
    check_rights(call)?;
    let slot = slot(call)?;
    if let Some(known) = call.state.agent.slots.get_mut(slot) {
        *known = enabled;
    }
    call.state.schedule();
    get_slot(call)
}
