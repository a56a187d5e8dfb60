//! Lists of checkpoints.

use super::{Checkpoint, CheckpointOnWire};
use crate::testing::failure::Failure;
use crate::testing::http::Response;
use crate::testing::router::{Answer, Call};
use crate::testing::trials::Metric;
use crate::testing::wire::{self, Pagination, page};
use serde::Serialize;
use serde_json::Value;
use std::cmp::Ordering;

/// What a checkpoint's state may be, on some master.
const STATES: [&str; 6] = [
    "UNSPECIFIED",
    "ACTIVE",
    "COMPLETED",
    "ERROR",
    "DELETED",
    "PARTIALLY_DELETED",
];

/// What a list of checkpoints can be sorted by, besides a metric.
const SORT_KEYS: [&str; 6] = [
    "UUID",
    "TRIAL_ID",
    "BATCH_NUMBER",
    "END_TIME",
    "STATE",
    "SEARCHER_METRIC",
];

pub(super) fn of_experiment(call: &mut Call<'_>) -> Answer {
    let experiment = call.state.experiment(call.id(0, "id")?)?;
    list(call, &experiment.trials, Some(&experiment.config))
}

pub(super) fn of_trial(call: &mut Call<'_>) -> Answer {
    let trial = call.state.trial(call.id(0, "id")?)?;
    list(call, &[trial.id], None)
}

/// Lists the checkpoints of some trials. For an experiment, sorting by the searcher's metric goes by its configuration.
fn list(call: &Call<'_>, trials: &[i32], config: Option<&Value>) -> Answer {
    let (state, query) = (&*call.state, &call.query);
    let attribute = query.sort_key("sortByAttr");
    if let Some(unknown) = attribute.filter(|key| !SORT_KEYS.contains(key)) {
        return Err(wire::not_of(
            &format!("SORT_BY_{unknown}"),
            "checkpointv1.SortBy",
        ));
    }
    let metric_name = query.text("sortByMetric");
    if query.text("sortByAttr").is_some() && metric_name.is_some() {
        return Err(Failure::invalid("field already set for sort_by oneof"));
    }
    let states = query.words("states", "checkpointv1.State", &STATES)?;
    let mut checkpoints: Vec<&Checkpoint> = state
        .checkpoints
        .values()
        .filter(|checkpoint| trials.contains(&checkpoint.trial_id))
        .filter(|checkpoint| {
            states.is_empty() || states.contains(&checkpoint.state.wire().as_str())
        })
        .collect();

    let validated = |checkpoint: &Checkpoint| -> Option<&Value> {
        state.validation_of(checkpoint)?.metrics.get(metric_name?)
    };
    if checkpoints.len() > 1
        && let Some(text) = checkpoints
            .iter()
            .filter_map(|checkpoint| validated(checkpoint))
            .find(|value| !value.is_number())
    {
        let kind = if text.is_string() { "string" } else { "other" };
        return Err(Failure::internal(format!(
            "interface conversion: interface {{}} is {kind}, not float64"
        )));
    }

    // What is missing is less than anything.
    let number = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    };
    let in_order = |a: &Checkpoint, b: &Checkpoint| -> Ordering {
        let by_key = match (metric_name, attribute) {
            (Some(_), _) => number(
                validated(a).and_then(Value::as_f64),
                validated(b).and_then(Value::as_f64),
            ),
            (None, Some("BATCH_NUMBER")) => number(
                a.metadata.get("steps_completed").and_then(Value::as_f64),
                b.metadata.get("steps_completed").and_then(Value::as_f64),
            ),
            (None, Some("UUID")) => a.uuid.cmp(&b.uuid),
            (None, Some("END_TIME")) => Ordering::Equal,
            (None, Some("STATE")) => a.state.cmp(&b.state),
            (None, Some("SEARCHER_METRIC")) => {
                number(state.searcher_metric(a), state.searcher_metric(b))
            }
            (None, _) => a.trial_id.cmp(&b.trial_id),
        };
        by_key.then(a.report_time.cmp(&b.report_time))
    };
    checkpoints.sort_by(|a, b| in_order(a, b));

    let by_searcher = attribute == Some("SEARCHER_METRIC");
    let descending = match (query.text("orderBy"), config) {
        (None | Some("ORDER_BY_UNSPECIFIED"), Some(config)) if by_searcher => {
            !Metric::of(config).smaller_is_better
        }
        _ => query.descending(),
    };
    if descending {
        checkpoints.reverse();
    }
    if by_searcher && config.is_some() {
        // Here, and only here, those without the metric come last.
        checkpoints.sort_by_key(|checkpoint| state.searcher_metric(checkpoint).is_none());
    }

    let (checkpoints, pagination) = page(checkpoints, query)?;
    #[derive(Serialize)]
    struct Listed {
        checkpoints: Vec<CheckpointOnWire>,
        pagination: Pagination,
    }
    Ok(Response::json(&Listed {
        checkpoints: checkpoints
            .into_iter()
            .map(|checkpoint| state.checkpoint_on_wire(checkpoint))
            .collect(),
        pagination,
    }))
}
