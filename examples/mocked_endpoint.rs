//! A test double for one endpoint, made with mockito: for answers that no well-behaved master gives.
//!
//! For all others there is `determined::testing::MockMaster`, which keeps state and needs no canned answers.

#[macro_use]
mod support;

use anyhow::{Context, Result};
use determined::{Determined, ErrorKind, LoginOptions, Proxy, TokenStore};

fn main() -> Result<()> {
    let mut server = mockito::Server::new();
    let good = server
        .mock("GET", "/api/v1/models/iris")
        .match_header("authorization", "Bearer a-token")
        .with_header("content-type", "application/json")
        .with_body(r#"{"model": {"id": 7, "name": "iris", "labels": ["botany"], "stage": "a field of tomorrow"}}"#)
        .create();
    let busy = server
        .mock("GET", "/api/v1/models/rose")
        .with_status(429)
        .with_body(r#"{"error": {"error": "one thing at a time"}}"#)
        .create();

    // With a token in the environment nothing is sent to log in; and nobody's files or variables are looked at.
    let client = Determined::new(
        LoginOptions::new()
            .master(server.url())
            .token_store(TokenStore::None)
            .proxy(Proxy::None)
            .environment([("DET_USER", "kim"), ("DET_USER_TOKEN", "a-token")]),
    )?;

    let model = client.get_model("iris")?;
    println!("model {} {} {:?}", model.model_id, model.name, model.labels);
    good.assert();

    let error = client.get_model("rose").err().context("no model is rose")?;
    println!("{error}");
    anyhow::ensure!(error.kind() == ErrorKind::RateLimited && error.is_transient());
    busy.assert();
    Ok(())
}
