//! The main job: submit an experiment, wait for it, and download its best checkpoint.
//!
//! On the master in `DET_MASTER`, logged in by the environment or the token store; without that variable, on a master inside this process.

mod support;

use std::env;
use std::time::Duration;

use determined::testing::Clock;
use determined::{DownloadOptions, WaitOptions, client};

fn main() -> anyhow::Result<()> {
    let master = support::login()?;
    if let Some(master) = &master {
        master.set_clock(Clock::Scaled(4.0)); // slow enough to be watched
        let url = master.url();
        println!("DET_MASTER is not set: a master runs inside this process at {url}");
    }
    println!("logged in as {}", client::get_session_username()?);

    let experiment = support::submit()?;
    println!(
        "submitted experiment {} {:?}",
        experiment.id, experiment.name
    );
    let bar = support::Bar::default();
    let watched = WaitOptions::new()
        .interval(Duration::from_millis(250))
        .on_progress(move |seen| bar.show(seen.state.as_str(), seen.progress));
    let state = experiment.wait_with(watched)?;
    println!("experiment {} is {state}", experiment.id);
    for trial in experiment.get_trials()? {
        let hparams = serde_json::json!(trial.hparams);
        println!("  trial {} {} {hparams}", trial.id, trial.state);
    }

    let best = experiment.top_checkpoint()?;
    let metric = experiment.config["searcher"]["metric"]
        .as_str()
        .unwrap_or("metric");
    let training = best.training.as_ref();
    let value = training.and_then(|training| training.metric(metric));
    let place = env::temp_dir()
        .join("determined-quickstart")
        .join(&best.uuid);
    let place = best.download_with(DownloadOptions::new().path(place))?;
    for (file, bytes) in &best.resources {
        println!("  {bytes:>8} bytes  {file}");
    }
    println!(
        "checkpoint {} {metric}={} {}",
        best.uuid,
        value.unwrap_or(f64::NAN),
        place.display()
    );
    Ok(())
}
