//! A whole search: submits a grid, follows the logs of its trials, downloads the best checkpoint and registers it as a model's next version:
//! `cargo run --example grid_search -- [MODEL]`.

#[macro_use]
mod support;

use std::collections::HashSet;
use std::time::Duration;
use std::{env, thread};

use anyhow::Result;
use determined::{DownloadOptions, Experiment, LogOptions, Trial, client};
use serde_json::json;

fn main() -> Result<()> {
    let _master = support::login_to_watch()?;
    let config = json!({
        "name": "grid",
        "entrypoint": "python3 train.py",
        "hyperparameters": {"decay": {"type": "categorical", "vals": [0.5, 0.7, 0.9]}},
        "searcher": {"name": "grid", "metric": "val_loss", "smaller_is_better": true},
    });
    let mut experiment = client::create_experiment(config, support::model_def())?;
    follow(&mut experiment)?;
    println!("experiment {} is {}", experiment.id, experiment.wait()?);

    let best = experiment.top_checkpoint()?;
    let place = env::temp_dir().join("determined-grid").join(&best.uuid);
    let directory = best.download_with(DownloadOptions::new().path(place))?;
    println!("checkpoint {} is in {}", best.uuid, directory.display());

    let name = env::args().nth(1).unwrap_or("example-grid".to_owned());
    let version = support::get_or_create_model(&name)?.register_version(&best.uuid)?;
    println!("registered as {name} {}", version.model_version);
    Ok(())
}

/// Prints the logs of all trials, those that start later too, until the experiment has ended.
fn follow(experiment: &mut Experiment) -> Result<()> {
    let mut seen = HashSet::new();
    thread::scope(|scope| {
        while !experiment.state.is_terminal() {
            let trials = experiment.get_trials()?.into_iter();
            for trial in trials.filter(|trial| seen.insert(trial.id)) {
                scope.spawn(move || print_log(&trial).unwrap_or_else(|error| eprintln!("{error}")));
            }
            thread::sleep(Duration::from_millis(500));
            experiment.reload()?;
        }
        Ok(())
    })
}

fn print_log(trial: &Trial) -> determined::Result<()> {
    for entry in trial.logs_with(LogOptions::new().follow(true))? {
        print!("trial {} {}", trial.id, entry?);
    }
    Ok(())
}
