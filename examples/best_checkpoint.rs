//! Three ways to the best checkpoint, and its files: `cargo run --example best_checkpoint -- [EXPERIMENT]`.

#[macro_use]
mod support;

use std::env;

use anyhow::Result;
use determined::{CheckpointChoice, DownloadOptions, MetricOrder};

fn main() -> Result<()> {
    let _master = support::login()?;
    let experiment = support::experiment()?;

    // By the metric and in the direction that the configuration gives its searcher.
    let best = experiment.top_checkpoint()?;
    let metric = experiment.config["searcher"]["metric"]
        .as_str()
        .unwrap_or("loss");
    for checkpoint in experiment.top_n_checkpoints(5)? {
        if let Some(training) = &checkpoint.training {
            println!(
                "trial {} {metric}={:?} after {} steps {}",
                training.trial_id,
                training.metric(metric).unwrap_or(f64::NAN),
                checkpoint.metadata["steps_completed"],
                checkpoint.uuid
            );
        }
    }

    // By another metric, of which more is better.
    let by_accuracy = MetricOrder::new().sort_by("acc").smaller_is_better(false);
    match experiment.top_checkpoint_with(by_accuracy) {
        Ok(checkpoint) => println!("most accurate {}", checkpoint.uuid),
        Err(error) => println!("no accuracy: {error}"),
    }

    // Of one trial, the one with the most steps.
    let trial = experiment.await_first_trial()?;
    let latest = trial.select_checkpoint(CheckpointChoice::Latest)?;
    println!("latest of trial {} {}", trial.id, latest.uuid);

    let directory = env::temp_dir()
        .join("determined-best-checkpoint")
        .join(&best.uuid);
    let directory = best.download_with(DownloadOptions::new().path(directory))?;
    println!("best {} {}", best.uuid, directory.display());
    Ok(())
}
