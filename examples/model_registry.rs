//! The model registry: a model, a version of it, and how both are described and found again.

#[macro_use]
mod support;

use anyhow::Result;
use determined::{CreateModelOptions, ModelQuery, ModelSortBy, OrderBy, client};
use serde_json::json;

fn main() -> Result<()> {
    let _master = support::login()?;
    let experiment = support::experiment()?;
    let best = experiment.top_checkpoint()?;

    let name = format!("example-of-experiment-{}", experiment.id);
    let options = CreateModelOptions::new()
        .description("what the examples train")
        .metadata(json!({"dataset": "none", "owners": ["kim"]}))
        .labels(["example"]);
    let mut model = client::create_model_with(&name, options)?;

    let mut version = model.register_version(&best.uuid)?;
    version.set_name("first")?;
    version.set_notes("The *best* checkpoint of the search.")?;

    // What others added in the meantime stays: the master's metadata is read before it is written.
    model.add_metadata(json!({"experiment": experiment.id}))?;
    model.remove_metadata(["owners"])?;
    model.set_labels(["example", "reviewed"])?;

    let newest_first = ModelQuery::new()
        .name("example-of-")
        .sort_by(ModelSortBy::CreationTime)
        .order_by(OrderBy::Descending);
    for model in client::get_models_with(newest_first)? {
        println!("{} {} {:?}", model.model_id, model.name, model.labels);
        for version in model.get_versions()? {
            println!(
                "  {} {:?} {}",
                version.model_version, version.name, version.checkpoint.uuid
            );
        }
    }
    println!("metadata {}", json!(client::get_model(&name)?.metadata));
    println!("labels in use {:?}", client::get_model_labels()?);
    Ok(())
}
