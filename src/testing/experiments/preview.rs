//! What trials a configuration would lead to.

use super::create::own_storage;
use crate::testing::config::Submitted;
use crate::testing::failure::Failure;
use crate::testing::http::Response;
use crate::testing::router::{Answer, Call};
use crate::testing::searcher::Searcher;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn search(call: &mut Call<'_>) -> Answer {
    #[derive(Deserialize)]
    struct Request {
        #[serde(default)]
        config: Value,
    }
    let request: Request = call.body()?;
    // JSON is YAML.
    let submitted = Submitted::parse(&request.config.to_string()).map_err(as_invalid)?;
    if submitted.at(&["searcher"]).is_none() {
        return Err(Failure::invalid(
            "invalid experiment configuration; missing searcher",
        ));
    }
    let storage = own_storage(call.state.folder.path());
    let config = submitted.complete(&storage, 0).map_err(|failure| {
        // The searcher is looked at alone here.
        let why = failure.message.replace("<config>.searcher:", "<config>:");
        Failure::invalid(why.replacen("experiment", "searcher", 1))
    })?;
    let count = Searcher::new(&config).left();
    Ok(Response::json(&json!({
        "summary": {
            "config": config["searcher"],
            "trials": [{"count": count, "unit": {"maxLength": true}}],
        },
    })))
}

/// Here, and only here, a bad configuration is told as the caller's fault.
fn as_invalid(failure: Failure) -> Failure {
    Failure::invalid(failure.message)
}
