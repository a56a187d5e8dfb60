//! What the master says of itself.

use super::failure::Failure;
use super::http::Response;
use super::pools;
use super::router::{Answer, Call, Route};
use super::state::State;
use super::wire::{self, database_page};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) const ROUTES: &[Route] = &[
    Route::get("/info", info).open().plain(),
    Route::get("/api/v1/master", master).open(),
    Route::get("/api/v1/config-policies/global/{}", global_policies),
    Route::get("/api/v1/config-policies/workspaces/{}/{}", policies),
    Route::get("/api/v1/master/telemetry", telemetry).open(),
    Route::get("/api/v1/master/config", config),
    Route::get("/api/v1/master/logs", logs).streaming(),
    Route::get("/api/v1/master/cluster_message", message),
    Route::put("/api/v1/master/cluster_message", set_message),
    Route::delete("/api/v1/master/cluster_message", clear_message),
];

/// The version that this master speaks.
pub(super) const VERSION: &str = "0.38.1";

/// How long a follower of a log sleeps at most.
const LONG: Duration = Duration::from_secs(1);

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
    let mut master = json!({
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
    });
    let now = Timestamp::now();
    if let Some(message) = call.state.message_at(now)
        && message.start_time < now
    {
        master["clusterMessage"] = json!(message);
    }
    Ok(Response::json(&master))
}

fn telemetry(_: &mut Call<'_>) -> Answer {
    Ok(Response::json(&json!({"enabled": false, "segmentKey": ""})))
}

fn check_rights(call: &Call<'_>) -> Result<(), Failure> {
    match call.is_admin() {
        true => Ok(()),
        false => Err(Failure::forbidden("user does not have permission")),
    }
}

/// The part of the configuration that has to do with what this master does.
fn config(call: &mut Call<'_>) -> Answer {
    check_rights(call)?;
    let folder = call.state.folder.path().join("checkpoints");
    let config = json!({
        "checkpoint_storage": {"type": "shared_fs", "host_path": folder.to_string_lossy()},
        "cluster_name": "",
        "log": {"color": true, "level": "info"},
        "resource_manager": {
            "type": "agent",
            "default_aux_resource_pool": pools::DEFAULT,
            "default_compute_resource_pool": pools::DEFAULT,
            "scheduler": {"type": "priority", "fitting_policy": "best", "default_priority": 42},
        },
        "resource_pools": call.state.pools.names().map(|name| json!({"pool_name": name})).collect::<Value>(),
        "telemetry": {"enabled": false},
    });
    Ok(Response::json(&json!({"config": config})))
}

/// There are no policies; what is asked for must be a kind of work all the same.
fn no_policies(kind: &str) -> Answer {
    match kind {
        "EXPERIMENT" | "NTSC" => Ok(Response::json(&json!({"configPolicies": {}}))),
        other => Err(Failure::internal(format!(
            "rpc error: code = InvalidArgument desc = invalid workload type: {other}."
        ))),
    }
}

fn global_policies(call: &mut Call<'_>) -> Answer {
    no_policies(call.text(0))
}

fn policies(call: &mut Call<'_>) -> Answer {
    let workspace = call.id(0, "workspace_id")?;
    if call.state.workspaces.get(workspace).is_none() {
        return Err(Failure::not_found(format!(
            "rpc error: code = NotFound desc = workspace '{workspace}' not found"
        )));
    }
    no_policies(call.text(1))
}

/// The log that this master keeps of itself is short.
fn logs(call: &mut Call<'_>) -> Answer {
    let time = wire::time(call.state.started);
    let lines = [
        format!("Determined master {VERSION}"),
        format!("cluster id: {}", call.state.cluster_id),
        "accepting incoming connections".to_owned(),
    ];
    let entries: Vec<Value> = (0..)
        .zip(lines)
        .map(|(id, message)| {
            json!({"result": {"logEntry": {
                "id": id, "message": message, "timestamp": time, "level": "LOG_LEVEL_INFO",
            }}})
        })
        .collect();
    let (entries, _) = database_page(entries, &call.query, usize::MAX)?;
    let follow = call.query.flag("follow")? == Some(true);
    let shared = Arc::clone(call.shared);
    Ok(Response::stream(200, "application/json", move |out| {
        for entry in entries {
            writeln!(out, "{entry}")?;
        }
        out.flush()?;
        // No more will come.
        while follow && shared.wait(shared.lock(), LONG).is_some() {}
        Ok(())
    }))
}

/// What administrators tell everybody.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClusterMessage {
    message: String,
    #[serde(serialize_with = "wire::serialize_time")]
    start_time: Timestamp,
    #[serde(
        serialize_with = "wire::serialize_optional_time",
        skip_serializing_if = "Option::is_none"
    )]
    end_time: Option<Timestamp>,
    #[serde(serialize_with = "wire::serialize_time")]
    created_time: Timestamp,
}

impl State {
    /// The message, if it is not over.
    fn message_at(&self, now: Timestamp) -> Option<&ClusterMessage> {
        let message = self.cluster_message.as_ref()?;
        message
            .end_time
            .is_none_or(|end| end > now)
            .then_some(message)
    }
}

fn message(call: &mut Call<'_>) -> Answer {
    check_rights(call)?;
    Ok(Response::json(
        &match call.state.message_at(Timestamp::now()) {
            Some(message) => json!({"clusterMessage": message}),
            None => json!({}),
        },
    ))
}

fn set_message(call: &mut Call<'_>) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Said {
        message: Option<String>,
        start_time: Option<Timestamp>,
        end_time: Option<Timestamp>,
        duration: Option<String>,
    }
    const LONGEST: usize = 250;
    check_rights(call)?;
    let said: Said = call.body()?;
    let message = said.message.unwrap_or_default();
    let start_time = said.start_time.unwrap_or(Timestamp::UNIX_EPOCH);
    let end_time = match (said.end_time, said.duration) {
        (Some(_), Some(_)) => {
            return Err(Failure::invalid(
                "EndTime and Duration are mutually exclusive",
            ));
        }
        (None, Some(text)) => {
            let duration: SignedDuration = text.parse().unwrap_or(SignedDuration::MIN);
            if duration.is_negative() {
                return Err(Failure::invalid(
                    "Duration must be a Go-formatted duration string with a positive value",
                ));
            }
            Some(start_time + duration)
        }
        (end, None) => end,
    };
    let length = message.chars().count();
    if length > LONGEST {
        return Err(Failure::invalid(format!(
            "invalid input: message must be at most {LONGEST} characters; got {length}"
        )));
    }
    let created_time = Timestamp::now();
    for (earliest, what) in [(start_time, "start"), (created_time, "current")] {
        if end_time.is_some_and(|end| end < earliest) {
            return Err(Failure::invalid(format!(
                "invalid input, end time must be after {what} time"
            )));
        }
    }
    call.state.cluster_message = Some(ClusterMessage {
        message,
        start_time,
        end_time,
        created_time,
    });
    Ok(Response::json(&json!({})))
}

fn clear_message(call: &mut Call<'_>) -> Answer {
    check_rights(call)?;
    call.state.cluster_message = None;
    Ok(Response::json(&json!({})))
}
