//! How an experiment got better: the validations of which each beat all before it.

use crate::testing::http::Response;
use crate::testing::metrics::Report;
use crate::testing::router::{Answer, Call};
use crate::testing::trials::Metric;
use crate::testing::wire;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Better {
    trial_id: i32,
    #[serde(serialize_with = "wire::serialize_time")]
    end_time: Timestamp,
    searcher_metric: Value,
}

pub(super) fn of_validations(call: &mut Call<'_>) -> Answer {
    let experiment = call.state.experiment(call.id(0, "experiment_id")?)?;
    let metric = Metric::of(&experiment.config);
    let mut reports: Vec<(i32, &Report)> = call
        .state
        .trials_of(experiment)
        .flat_map(|trial| {
            let reports = trial.reports_of("validation");
            reports.map(|report| (trial.id, report))
        })
        .collect();
    reports.sort_by_key(|(_, report)| report.end_time);

    let mut best = None;
    let mut history = Vec::new();
    for (trial_id, report) in reports {
        let signed = metric.signed(&report.metrics);
        if best.is_none() || (signed.is_some() && signed < best) {
            history.push(Better {
                trial_id,
                end_time: report.end_time,
                searcher_metric: wire::double(metric.value(&report.metrics).unwrap_or_default()),
            });
            best = signed;
        }
    }
    Ok(Response::json(&json!({"validationHistory": history})))
}
