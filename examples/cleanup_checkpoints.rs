//! Deletes the checkpoints of an experiment but for the best one of each trial:
//! `cargo run --example cleanup_checkpoints -- [EXPERIMENT] [--delete]`. Without `--delete` it only says what it would do.

#[macro_use]
mod support;

use std::collections::HashSet;
use std::env;

use anyhow::Result;
use determined::Checkpoint;

fn main() -> Result<()> {
    let is_serious = env::args().any(|argument| argument == "--delete");
    let master = support::login()?;
    let experiment = match &master {
        Some(master) => master.experiment().create(), // it keeps more than the best
        None => support::experiment()?,
    };

    let trials = experiment.get_trials()?.len();
    let best = experiment.top_n_checkpoints(trials)?;
    let kept: HashSet<&str> = best.iter().map(|best| best.uuid.as_str()).collect();
    // Where no checkpoint of a trial has the metric, none is worse than another.
    let judged: HashSet<i32> = best.iter().filter_map(trial_with_metric).collect();
    let mut freed = 0;
    for checkpoint in experiment.list_checkpoints()? {
        let training = checkpoint.training.as_ref();
        let is_judged = training.is_some_and(|training| judged.contains(&training.trial_id));
        if kept.contains(checkpoint.uuid.as_str()) || !is_judged {
            println!("keep    {} {:>8} bytes", checkpoint.uuid, size(&checkpoint));
            continue;
        }
        if is_serious && let Err(error) = checkpoint.delete() {
            println!("leave   {error}"); // a version of a model, for instance
            continue;
        }
        println!("delete  {} {:>8} bytes", checkpoint.uuid, size(&checkpoint));
        freed += size(&checkpoint);
    }
    let done = if is_serious {
        "freed"
    } else {
        "would be freed; say --delete to do it"
    };
    println!("{freed} bytes {done}");
    Ok(())
}

fn trial_with_metric(checkpoint: &Checkpoint) -> Option<i32> {
    let training = checkpoint.training.as_ref()?;
    training.searcher_metric.filter(|value| value.is_finite())?;
    Some(training.trial_id)
}

fn size(checkpoint: &Checkpoint) -> u64 {
    checkpoint.resources.values().sum()
}
