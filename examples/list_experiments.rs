//! The newest experiments as a table: `cargo run --example list_experiments -- [USER…]`.

#[macro_use]
mod support;

use std::env;

use anyhow::Result;
use determined::{Experiment, ExperimentQuery, ExperimentSortBy, OrderBy, client};

fn main() -> Result<()> {
    let master = support::login()?;
    if master.is_some() {
        for _ in 0..3 {
            support::submit()?;
        }
    }
    let newest_first = ExperimentQuery::new()
        .sort_by(ExperimentSortBy::Id)
        .order_by(OrderBy::Descending)
        .users(env::args().skip(1))
        .page_size(20);
    // The iterator fetches a page at a time, and no more of them than are looked at.
    let experiments: Vec<Experiment> = client::iter_experiments_with(newest_first)?
        .take(20)
        .collect::<determined::Result<_>>()?;

    println!(
        "{:>6}  {:<24}  {:<10}  {:>5}  {:>6}  {:<12}  {:<19}  labels",
        "id", "name", "state", "%", "trials", "user", "started"
    );
    for experiment in experiments {
        let percent = experiment
            .progress
            .map(|progress| format!("{:.0}", 100.0 * progress));
        let started = experiment
            .start_time
            .map(|time| time.strftime("%Y-%m-%d %H:%M:%S").to_string());
        println!(
            "{:>6}  {:<24.24}  {:<10}  {:>5}  {:>6}  {:<12.12}  {:<19}  {}",
            experiment.id,
            experiment.name,
            experiment.state,
            percent.unwrap_or_default(),
            experiment.num_trials,
            experiment.username,
            started.unwrap_or_default(),
            experiment.labels.join(" ")
        );
    }
    Ok(())
}
