//! All metrics of an experiment as CSV on the standard output: `cargo run --example metrics_to_csv -- [EXPERIMENT]`.
//!
//! A row is what one trial reported at one step to one group; the columns are the metrics that occur.

#[macro_use]
mod support;

use std::collections::BTreeSet;

use anyhow::Result;
use determined::{TrialMetrics, client};

fn main() -> Result<()> {
    let _master = support::login()?;
    let trials = support::experiment()?.get_trials()?;
    let mut reports: Vec<TrialMetrics> = Vec::new();
    for group in ["training", "validation"] {
        for report in client::iter_trials_metrics(trials.iter().map(|trial| trial.id), group)? {
            reports.push(report?);
        }
    }
    let names: BTreeSet<&String> = reports
        .iter()
        .flat_map(|report| report.metrics.keys())
        .collect();

    let mut head = vec!["trial", "group", "steps", "time"];
    head.extend(names.iter().map(|name| name.as_str()));
    row(&head);
    for report in &reports {
        let time = report.end_time.map(|time| time.to_string());
        let mut cells = vec![
            report.trial_id.to_string(),
            report.group.clone(),
            report.steps_completed.to_string(),
            time.unwrap_or_default(),
        ];
        // As numbers, NaN and the infinities too; what was not reported, or is no number, stays empty.
        cells.extend(names.iter().map(|name| {
            let value = report.metric(name).map(|value| value.to_string());
            value.unwrap_or_default()
        }));
        row(&cells);
    }
    Ok(())
}

fn row(cells: &[impl AsRef<str>]) {
    let cells = cells.iter().map(|cell| match cell.as_ref() {
        text if text.contains([',', '"', '\n', '\r']) => {
            format!("\"{}\"", text.replace('"', "\"\""))
        }
        text => text.to_owned(),
    });
    println!("{}", cells.collect::<Vec<_>>().join(","));
}
