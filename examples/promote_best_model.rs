//! Registers the best checkpoint of an experiment as a model's next version, if it is better than the latest one:
//! `cargo run --example promote_best_model -- [EXPERIMENT [MODEL]]`.

mod support;

use std::env;

use anyhow::{Context, Result};
use determined::{Checkpoint, Error, Model, client};

fn main() -> Result<()> {
    let _master = support::login()?;
    let experiment = support::experiment()?;
    let searcher = &experiment.config["searcher"];
    let metric = searcher["metric"].as_str().context("no searcher metric")?;
    let smaller_is_better = searcher["smaller_is_better"].as_bool().unwrap_or(true);
    let name = env::args().nth(2);
    let model = get_or_create(name.as_deref().unwrap_or("example-champion"))?;

    let challenger = experiment.top_checkpoint()?;
    // A second look at the same experiment changes nothing.
    for _ in 0..2 {
        let champion = model.latest_version()?;
        let is_better = match &champion {
            None => true,
            Some(version) => {
                let (new, old) = (
                    value(&challenger, metric),
                    value(&version.checkpoint, metric),
                );
                if smaller_is_better {
                    new < old
                } else {
                    new > old
                }
            }
        };
        if is_better {
            let version = model.register_version(&challenger.uuid)?;
            println!("promoted to {} {}", model.name, version.model_version);
        } else {
            println!("{} stays as it is", model.name);
        }
    }
    Ok(())
}

fn get_or_create(name: &str) -> Result<Model, Error> {
    match client::get_model(name) {
        Err(error) if error.is_not_found() => client::create_model(name),
        found => found,
    }
}

fn value(checkpoint: &Checkpoint, metric: &str) -> Option<f64> {
    checkpoint.training.as_ref()?.metric(metric)
}
