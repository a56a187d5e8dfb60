//! A script with `anyhow`: errors of every crate go up with `?`, and the kind of one of this crate can still be asked for.

#[macro_use]
mod support;

use std::fs;

use anyhow::{Context, Result};
use determined::{ErrorKind, client};

fn main() -> Result<()> {
    let _master = support::login()?;
    let experiment = support::experiment()?;
    let best = experiment
        .top_checkpoint()
        .with_context(|| format!("experiment {} gave nothing to use", experiment.id))?;
    println!("best {}", best.uuid);

    for id in [experiment.id, 999_999] {
        match report(id) {
            Ok(text) => println!("{text}"),
            Err(error) => println!("{}", explain(&error)),
        }
    }
    Ok(())
}

/// Uses errors of three kinds: of this crate, of the file system and of serde_json.
fn report(experiment_id: i32) -> Result<String> {
    let experiment = client::get_experiment(experiment_id).context("no report")?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("report.json");
    fs::write(&path, serde_json::to_string(&experiment)?)?;
    let report: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
    Ok(format!("report of {}: {}", report["name"], report["state"]))
}

/// What went wrong, with its causes, and what to do about it.
fn explain(error: &anyhow::Error) -> String {
    let advice = match error.downcast_ref().map(determined::Error::kind) {
        Some(ErrorKind::NotFound) => "look the id up with list_experiments",
        Some(ErrorKind::Unauthenticated) => "run `det user login`",
        Some(_) => "see docs/troubleshooting.md",
        None => "this is not Determined's fault",
    };
    format!("{error:#} ({advice})")
}
