//! For every call and combination of arguments the crate sends what the Python SDK sends.
//!
//! `tests/vectors/python_requests.jsonl` holds what Python sent for each call; `tests/interop/record_requests.py` wrote it. The same calls
//! are made here, in the same order, against a master inside this process. What differs on purpose stands before its call.

#![allow(unreachable_pub, reason = "nothing is reached from outside a test")]

mod cluster;
mod experiments;
mod script;

use determined::testing::MockMaster;
use determined::{Determined, Result};
use script::Script;

#[test]
fn every_call_sends_what_the_python_sdk_sends() -> Result<()> {
    let master = MockMaster::start();
    let client = Determined::new(master.login_options().user("admin"))?;
    let mut script = Script::start(&master);
    let mut experiment = experiments::submit(&mut script, &client)?;
    experiments::list_experiments(&mut script, &client)?;
    let trial = experiments::trials_and_checkpoints(&mut script, &client, &experiment)?;
    experiments::logs_and_metrics(&mut script, &client, &trial)?;
    let checkpoint = experiments::checkpoint(&mut script, &client, &experiment)?;
    experiments::edit(&mut script, &mut experiment, &trial)?;
    cluster::workspaces(&mut script, &client, &mut experiment)?;
    cluster::models(&mut script, &client, &checkpoint.uuid)?;
    cluster::users(&mut script, &client)?;
    cluster::rest(&mut script, &client, &experiment, &checkpoint)?;
    script.finish();
    Ok(())
}
