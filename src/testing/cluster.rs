//! What the master says of itself and of its one agent.

use super::http::Response;
use super::router::{Answer, Call, Route};
use serde_json::json;

pub(super) const ROUTES: &[Route] = &[
    Route::get("/info", info).open().plain(),
    Route::get("/api/v1/master", master).open(),
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
    })))
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
