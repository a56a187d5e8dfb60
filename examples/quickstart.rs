//! The main job: submit an experiment, wait for it, and download its best checkpoint.
//!
//! On the master in `DET_MASTER`, logged in by the environment or the token store; without that variable, on a master inside this process.

#[macro_use]
mod support;

use std::env;
use std::time::Duration;

use anyhow::{Context, Result};
use determined::{DownloadOptions, WaitOptions, client};

fn main() -> Result<()> {
    let master = support::login_to_watch()?;
    if let Some(master) = &master {
        let url = master.url();
        println!("DET_MASTER is not set: a master runs inside this process at {url}");
    }
    println!("logged in as {}", client::get_session_username()?);

    let model_def = support::model_def();
    let experiment = client::create_experiment(model_def.join("config.yaml"), &model_def)?;
    println!(
        "submitted experiment {} {:?}",
        experiment.id, experiment.name
    );

    let watched = WaitOptions::new()
        .interval(Duration::from_millis(250))
        .on_progress(support::watch());
    let state = experiment.wait_with(watched)?;
    println!("experiment {} is {state}", experiment.id);
    for trial in experiment.get_trials()? {
        let hparams = serde_json::json!(trial.hparams);
        println!("  trial {} {} {hparams}", trial.id, trial.state);
    }

    let best = experiment.top_checkpoint()?;
    let directory = env::temp_dir()
        .join("determined-quickstart")
        .join(&best.uuid);
    let directory = best.download_with(DownloadOptions::new().path(directory))?;
    for (file, bytes) in &best.resources {
        println!("  {bytes:>8} bytes  {file}");
    }
    let training = best.training.context("a checkpoint without a trial")?;
    let metric = training.experiment_config["searcher"]["metric"]
        .as_str()
        .context("an experiment without a metric")?;
    let value = training.metric(metric).context("no validation")?;
    println!(
        "checkpoint {} {metric}={value} {}",
        best.uuid,
        directory.display()
    );
    Ok(())
}
