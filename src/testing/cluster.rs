//! What the master says of itself and of its one agent.

use super::http::Response;
use super::logs::AGENT;
use super::pools;
use super::router::{Answer, Call, Route};
use super::wire::{self, Pagination, page};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub(super) const ROUTES: &[Route] = &[
    Route::get("/info", info).open().plain(),
    Route::get("/api/v1/master", master).open(),
    Route::get("/api/v1/agents", agents),
    Route::get("/api/v1/tasks", tasks),
];

/// The version that this master speaks.
pub(super) const VERSION: &str = "0.38.1";

fn info(call: &mut Call<'_>) -> Answer {
    Ok(Response::json(&json!({
        "version": VERSION,
        "master_id": call.state.master_id,
        "cluster_id": call.state.cluster_id,
        "cluster_name": "",
        "telemetry": {"enabled": false, "otel_enabled": false, "otel_endpoint": ""},
        "sso_providers": null,
    }))
    .with_charset())
}

fn master(call: &mut Call<'_>) -> Answer {
    Ok(Response::json(&json!({
        "version": VERSION,
        "masterId": call.state.master_id,
        "clusterId": call.state.cluster_id,
        "clusterName": "",
        "telemetryEnabled": false,
        "ssoProviders": [],
        "externalLoginUri": "",
        "externalLogoutUri": "",
        "branding": "determined",
        "rbacEnabled": false,
        "product": "PRODUCT_UNSPECIFIED",
        "featureSwitches": [],
        "userManagementEnabled": true,
        "strictJobQueueControl": false,
        "hasCustomLogo": false,
    })))
}

fn agents(call: &mut Call<'_>) -> Answer {
    let state = &*call.state;
    let slots: Map<String, Value> = (0..state.slots)
        .map(|index| {
            let slot = json!({
                "id": index.to_string(),
                "device": {"id": index, "brand": "Artificial", "uuid": state.master_id, "type": "TYPE_CPU"},
                "enabled": true,
                "container": null,
                "draining": false,
            });
            (format!("/agents/{AGENT}/slots/{index}"), slot)
        })
        .collect();
    let stats = json!({"states": {}, "draining": 0, "disabled": 0, "total": state.slots});
    let agent = json!({
        "id": AGENT,
        "registeredTime": wire::time(state.started),
        "slots": slots,
        "containers": {},
        "addresses": ["127.0.0.1"],
        "enabled": true,
        "draining": false,
        "version": "dev",
        "resourcePools": [pools::DEFAULT],
        "slotStats": {"typeStats": {"TYPE_CPU": stats}, "brandStats": {"Artificial": stats}},
    });
    let (agents, pagination) = page(vec![agent], &call.query)?;
    #[derive(Serialize)]
    struct Listed {
        agents: Vec<Value>,
        pagination: Pagination,
    }
    Ok(Response::json(&Listed { agents, pagination }))
}

/// What holds slots now.
fn tasks(call: &mut Call<'_>) -> Answer {
    let state = &*call.state;
    let allocations: Map<String, Value> = state
        .trials
        .values()
        .filter(|trial| trial.holds_slots)
        .map(|trial| {
            let id = trial.allocation_id();
            let summary = json!({
                "taskId": trial.task_id,
                "allocationId": id,
                "name": format!("Trial {} (Experiment {})", trial.id, trial.experiment_id),
                "registeredTime": wire::time(trial.allocated_at.unwrap_or(trial.start_time)),
                "resourcePool": pools::DEFAULT,
                "slotsNeeded": trial.slots,
                "resources": [],
                "schedulerType": "fair_share",
                "priority": 42,
                "proxyPorts": [],
            });
            (id, summary)
        })
        .collect();
    Ok(Response::json(
        &json!({"allocationIdToSummary": allocations}),
    ))
}
