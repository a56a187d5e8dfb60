//! Registers the best checkpoint of an experiment as a model's next version, if it is better than the latest one:
//! `cargo run --example promote_best_model -- [EXPERIMENT [MODEL]]`.

#[macro_use]
mod support;

use std::env;

use anyhow::{Context, Result};
use determined::{Checkpoint, Model};

fn main() -> Result<()> {
    let _master = support::login()?;
    let challenger = support::experiment()?.top_checkpoint()?;
    let name = env::args().nth(2);
    let model = support::get_or_create_model(name.as_deref().unwrap_or("example-champion"))?;
    promote(&model, &challenger)?;
    promote(&model, &challenger) // which is no better than itself
}

/// Makes the challenger the model's next version if it is better than the latest one, by the metric of its own experiment.
fn promote(model: &Model, challenger: &Checkpoint) -> Result<()> {
    let training = challenger.training.as_ref().context("not from a trial")?;
    let searcher = &training.experiment_config["searcher"];
    let metric = searcher["metric"].as_str().context("no searcher metric")?;
    let smaller_is_better = searcher["smaller_is_better"].as_bool().unwrap_or(true);
    // The greater, the better; a champion without this metric is the worst.
    let merit = |checkpoint: &Checkpoint| {
        let value = checkpoint.training.as_ref()?.metric(metric)?;
        Some(if smaller_is_better { -value } else { value })
    };
    match model.latest_version()? {
        Some(champion) if merit(challenger) <= merit(&champion.checkpoint) => {
            println!("{} stays as it is", model.name);
        }
        _ => {
            let version = model.register_version(&challenger.uuid)?;
            println!("promoted to {} {}", model.name, version.model_version);
        }
    }
    Ok(())
}
