//! The main job: submit an experiment, wait for it, and download its best checkpoint.
//!
//! On the master in `DET_MASTER`, logged in by the environment or the token store; without that variable, on a master inside this process.

use std::env;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use determined::testing::{Clock, MockMaster, MockMasterOptions};
use determined::{DownloadOptions, LoginOptions, WaitOptions, client};

fn main() -> anyhow::Result<()> {
    let in_process = env::var_os("DET_MASTER").is_none();
    let mock = in_process
        .then(|| MockMaster::start_with(MockMasterOptions::new().clock(Clock::Scaled(4.0))));
    match &mock {
        Some(master) => {
            println!(
                "DET_MASTER is not set: a master runs inside this process at {}",
                master.url()
            );
            client::login(master.login_options())?;
        }
        None => client::login(LoginOptions::new())?,
    }
    println!("logged in as {}", client::get_session_username()?);

    let model_def = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/model_def");
    let experiment = client::create_experiment(model_def.join("config.yaml"), &model_def)?;
    println!(
        "submitted experiment {} {:?}",
        experiment.id, experiment.name
    );

    let shown = Mutex::new(String::new());
    let watched = WaitOptions::new()
        .interval(Duration::from_millis(250))
        .on_progress(move |seen| {
            let line = format!(
                "{:<10} {:>3.0} %",
                seen.state,
                100.0 * seen.progress.unwrap_or(0.0)
            );
            let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            if *shown != line {
                println!("  {:>5.1} s  {line}", seen.elapsed.as_secs_f64());
                *shown = line;
            }
        });
    let state = experiment.wait_with(watched)?;
    println!("experiment {} is {state}", experiment.id);
    for trial in experiment.get_trials()? {
        println!("  trial {} {} {:?}", trial.id, trial.state, trial.hparams);
    }

    let best = experiment.top_checkpoint()?;
    let metric = experiment.config["searcher"]["metric"]
        .as_str()
        .unwrap_or("metric");
    let value = best
        .training
        .as_ref()
        .and_then(|training| training.metric(metric));
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
