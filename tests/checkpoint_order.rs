//! Which checkpoint is the best, and in which order lists come, whatever the master sends and in whatever order.

mod support;

use determined::{
    Checkpoint, CheckpointChoice, CheckpointQuery, CheckpointSortBy, CheckpointState, ErrorKind,
    MetricOrder, OrderBy, Result,
};
use serde_json::{Value, json};
use support::{RawMaster, json as answer};

/// A checkpoint of trial `trial` at `step`, with these validation metrics, reported at second `step`.
fn checkpoint(name: &str, trial: i32, step: u32, metrics: Value) -> Value {
    json!({
        "uuid": name,
        "reportTime": format!("2026-01-01T00:00:{step:02}Z"),
        "metadata": {"steps_completed": step},
        "state": "STATE_COMPLETED",
        "storageId": null,
        "training": {
            "trialId": trial,
            "experimentId": 7,
            "experimentConfig": {"searcher": {"metric": "acc", "smaller_is_better": false}},
            "validationMetrics": {"avgMetrics": metrics, "batchMetrics": []},
        },
    })
}

fn two_trials() -> Vec<Value> {
    vec![
        checkpoint("none", 1, 9, Value::Null),
        checkpoint("nan", 1, 8, json!({"acc": "NaN"})),
        checkpoint("inf", 1, 7, json!({"acc": "Infinity"})),
        checkpoint("low", 1, 1, json!({"acc": 0.2, "loss": 9})),
        checkpoint("high-early", 1, 2, json!({"acc": 0.8, "loss": 5})),
        checkpoint("high-late", 1, 3, json!({"acc": 0.8, "loss": 4})),
        checkpoint("other", 2, 1, json!({"acc": 0.5, "loss": "NaN"})),
        checkpoint("empty", 3, 1, json!({})),
    ]
}

/// A master with one experiment 7 and one trial 1 that gives these checkpoints to whoever asks, and fails to sort by a metric.
fn master(checkpoints: Vec<Value>) -> RawMaster {
    RawMaster::start(move |seen, stream| match seen.path() {
        "/api/v1/experiments/7" => answer(stream, 200, r#"{"experiment":{"id":7}}"#),
        "/api/v1/trials/1" => answer(stream, 200, r#"{"trial":{"id":1,"experimentId":7}}"#),
        "/api/v1/checkpoints/other" => {
            let body = json!({"checkpoint": checkpoint("other", 2, 1, Value::Null)});
            answer(stream, 200, &body.to_string())
        }
        _ if seen.target.contains("sortByMetric=") => {
            answer(stream, 500, r#"{"error":{"error":"interface conversion"}}"#)
        }
        _ => {
            let limit = seen.target.split("limit=").nth(1);
            let limit = limit.and_then(|rest| rest.split('&').next()?.parse().ok());
            let total = checkpoints.len();
            let page = &checkpoints[..limit.unwrap_or(total).min(total)];
            let pagination = json!({"endIndex": page.len(), "total": total});
            let body = json!({"checkpoints": page, "pagination": pagination});
            answer(stream, 200, &body.to_string())
        }
    })
}

fn names(checkpoints: &[Checkpoint]) -> Vec<&str> {
    checkpoints.iter().map(|c| c.uuid.as_str()).collect()
}

#[test]
fn the_best_follows_the_searchers_direction_and_is_never_without_the_metric() -> Result<()> {
    let master = master(two_trials());
    let experiment = master.client().get_experiment(7)?;
    assert_eq!(experiment.top_checkpoint()?.uuid, "high-late");
    let trial = master.client().get_trial(1)?;
    assert_eq!(trial.top_checkpoint()?.uuid, "high-late");
    let best = trial.select_checkpoint(CheckpointChoice::Best)?;
    assert_eq!(best.uuid, "high-late");
    let asked = master.requests().pop().unwrap().target;
    assert!(asked.contains("states=STATE_COMPLETED"), "{asked}");
    Ok(())
}

#[test]
fn another_metric_takes_the_configured_direction_unless_one_is_given() -> Result<()> {
    let master = master(two_trials());
    let trial = master.client().get_trial(1)?;
    let loss = MetricOrder::new().sort_by("loss");
    assert_eq!(trial.top_checkpoint_with(loss.clone())?.uuid, "low");
    let smaller = loss.smaller_is_better(true);
    assert_eq!(trial.top_checkpoint_with(smaller)?.uuid, "high-late");
    let direction_alone = MetricOrder::new().smaller_is_better(true);
    let best = trial.select_checkpoint(CheckpointChoice::BestBy(direction_alone))?;
    assert_eq!(best.uuid, "high-late");
    Ok(())
}

#[test]
fn without_a_finite_value_there_is_no_best() -> Result<()> {
    let master = master(two_trials());
    let experiment = master.client().get_experiment(7)?;
    let error = experiment
        .top_checkpoint_with(MetricOrder::new().sort_by("f1"))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CheckpointUnavailable);
    assert_eq!(
        error.to_string(),
        "could not get the best checkpoint of experiment 7: none of its 8 completed checkpoints has the metric \"f1\" as a finite number; \
         their metrics are acc, loss"
    );
    Ok(())
}

#[test]
fn without_any_checkpoint_the_error_says_so() -> Result<()> {
    let master = master(Vec::new());
    let experiment = master.client().get_experiment(7)?;
    let trial = master.client().get_trial(1)?;
    for error in [
        experiment.top_checkpoint().unwrap_err(),
        experiment.top_n_checkpoints(2).unwrap_err(),
        trial.top_checkpoint().unwrap_err(),
        trial
            .select_checkpoint(CheckpointChoice::Latest)
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::CheckpointUnavailable);
        assert!(
            error.to_string().contains("has no completed checkpoint"),
            "{error}"
        );
    }
    assert!(experiment.list_checkpoints()?.is_empty());
    Ok(())
}

#[test]
fn the_top_n_are_the_best_of_each_trial_and_those_without_the_metric_come_last() -> Result<()> {
    let master = master(two_trials());
    let experiment = master.client().get_experiment(7)?;
    let top = experiment.top_n_checkpoints(5)?;
    assert_eq!(names(&top), ["high-late", "other", "empty"]);
    let top = experiment
        .top_n_checkpoints_with(1, MetricOrder::new().sort_by("acc").smaller_is_better(true))?;
    assert_eq!(names(&top), ["low"]);
    assert!(experiment.top_n_checkpoints(0)?.is_empty());
    Ok(())
}

#[test]
fn a_list_has_the_best_first_and_those_without_the_metric_last() -> Result<()> {
    let master = master(two_trials());
    let best_first = [
        "high-late",
        "high-early",
        "other",
        "low",
        "none",
        "nan",
        "inf",
        "empty",
    ];
    let experiment = master.client().get_experiment(7)?;
    assert_eq!(names(&experiment.list_checkpoints()?), best_first);
    let trial = master.client().get_trial(1)?;
    assert_eq!(names(&trial.get_checkpoints()?), best_first);
    let first_two = trial.get_checkpoints_with(CheckpointQuery::new().max_results(2))?;
    assert_eq!(names(&first_two), best_first[..2]);
    let ascending = CheckpointQuery::new()
        .sort_by(CheckpointSortBy::SearcherMetric)
        .order_by(OrderBy::Ascending);
    let worst_first = trial.get_checkpoints_with(ascending.max_results(2))?;
    assert_eq!(names(&worst_first), ["low", "other"]);
    Ok(())
}

#[test]
fn a_metric_that_the_master_cannot_sort_by_is_sorted_here() -> Result<()> {
    let master = master(two_trials());
    let trial = master.client().get_trial(1)?;
    let by_loss = CheckpointQuery::new()
        .sort_by("loss")
        .order_by(OrderBy::Ascending)
        .max_results(4);
    let sorted = trial.get_checkpoints_with(by_loss)?;
    assert_eq!(names(&sorted), ["high-late", "high-early", "low", "none"]);
    Ok(())
}

#[test]
fn an_old_master_that_does_not_sort_is_asked_for_all() -> Result<()> {
    let mut checkpoints = two_trials();
    for checkpoint in &mut checkpoints {
        checkpoint.as_object_mut().unwrap().remove("storageId");
    }
    let master = master(checkpoints);
    let trial = master.client().get_trial(1)?;
    let latest = CheckpointQuery::new()
        .sort_by(CheckpointSortBy::BatchNumber)
        .order_by(OrderBy::Descending)
        .max_results(2);
    assert_eq!(names(&trial.get_checkpoints_with(latest)?), ["none", "nan"]);
    let oldest = CheckpointQuery::new()
        .sort_by(CheckpointSortBy::EndTime)
        .max_results(1);
    let trial_list = trial.get_checkpoints_with(oldest)?;
    assert_eq!(trial_list[0].metadata["steps_completed"], 1);
    Ok(())
}

#[test]
fn a_master_that_sorts_is_asked_once_though_no_storage_is_known() -> Result<()> {
    let mut checkpoint = checkpoint("unmanaged", 1, 1, json!({}));
    checkpoint.as_object_mut().unwrap().remove("storageId");
    checkpoint["training"]["experimentConfig"]["log_policies"] = json!([]);
    let master = master(vec![checkpoint]);
    let trial = master.client().get_trial(1)?;
    let latest = trial.select_checkpoint(CheckpointChoice::Latest)?;
    assert_eq!(latest.uuid, "unmanaged");
    assert_eq!(master.count("/api/v1/trials/1/checkpoints"), 1);
    Ok(())
}

#[test]
fn the_latest_has_the_most_steps() -> Result<()> {
    let master = master(two_trials());
    let trial = master.client().get_trial(1)?;
    let latest = trial.select_checkpoint(CheckpointChoice::Latest)?;
    assert_eq!(latest.uuid, "none");
    Ok(())
}

#[test]
fn another_trials_checkpoint_is_not_selected() -> Result<()> {
    let master = master(two_trials());
    let trial = master.client().get_trial(1)?;
    let error = trial
        .select_checkpoint(CheckpointChoice::Uuid("other".to_owned()))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CheckpointUnavailable);
    let error = trial
        .select_checkpoint(CheckpointChoice::Uuid(String::new()))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    Ok(())
}

#[test]
fn an_order_without_a_key_is_refused_and_no_results_are_not_asked_for() -> Result<()> {
    let master = master(two_trials());
    let trial = master.client().get_trial(1)?;
    let asked = master.requests().len();
    let error = trial
        .get_checkpoints_with(CheckpointQuery::new().order_by(OrderBy::Ascending))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let none = trial.get_checkpoints_with(CheckpointQuery::new().max_results(0))?;
    assert!(none.is_empty());
    assert_eq!(master.requests().len(), asked);
    Ok(())
}

#[test]
fn an_experiments_list_has_completed_ones_unless_states_are_given() -> Result<()> {
    let master = master(two_trials());
    let experiment = master.client().get_experiment(7)?;
    experiment.list_checkpoints()?;
    let deleted = CheckpointQuery::new().states([CheckpointState::Deleted]);
    experiment.list_checkpoints_with(deleted)?;
    master.client().get_trial(1)?.get_checkpoints()?;
    let asked: Vec<_> = master
        .requests()
        .iter()
        .filter(|seen| seen.path().ends_with("/checkpoints"))
        .map(|seen| seen.target.split_once('?').unwrap().1.to_owned())
        .collect();
    assert_eq!(
        asked,
        [
            "states=STATE_COMPLETED&sortByAttr=SORT_BY_SEARCHER_METRIC&offset=0",
            "states=STATE_DELETED&sortByAttr=SORT_BY_SEARCHER_METRIC&offset=0",
            "sortByAttr=SORT_BY_SEARCHER_METRIC&offset=0",
        ]
    );
    Ok(())
}
