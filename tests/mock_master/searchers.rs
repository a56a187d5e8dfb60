//! Which searches the in-process master takes, and what it says of the others; as a real master 0.38.1 does.

use crate::caller::Caller;
use determined::testing::MockMaster;
use determined::{CreateExperimentOptions, Determined, Error, Experiment, ModelDefinition};
use serde_json::{Value, json};

fn config(searcher: Value, hyperparameters: Value) -> Value {
    json!({"name": "x", "entrypoint": "true", "searcher": searcher, "hyperparameters": hyperparameters})
}

fn submit(client: &Determined, searcher: Value) -> Result<Experiment, Error> {
    let config = config(searcher, json!({"a": 1}));
    let paused = CreateExperimentOptions::new().activate(false);
    client.create_experiment_with(config, ModelDefinition::none(), paused)
}

#[test]
fn adaptive_searches_run_if_they_know_their_time() {
    let master = MockMaster::start();
    let client = master.determined();
    for (searcher, trials) in [
        (
            json!({"name": "adaptive_asha", "metric": "m", "max_trials": 5, "max_time": 10, "time_metric": "batches"}),
            5,
        ),
        (
            json!({"name": "async_halving", "metric": "m", "max_trials": 5, "num_rungs": 2, "max_time": 10, "time_metric": "batches"}),
            5,
        ),
        (
            json!({"name": "async_halving", "metric": "m", "max_trials": 5, "num_rungs": 2, "max_time": 10, "time_metric": "batches",
                   "divisor": 3, "max_concurrent_trials": 0}),
            3,
        ),
    ] {
        let experiment = submit(&client, searcher.clone()).unwrap();
        assert_eq!(experiment.get_trials().unwrap().len(), trials, "{searcher}");
        experiment.activate().unwrap();
        assert_eq!(experiment.wait().unwrap().to_string(), "COMPLETED");
        assert_eq!(experiment.get_trials().unwrap().len(), 5, "{searcher}");
    }
}

#[test]
fn searches_of_old_are_refused_and_so_is_what_cannot_begin() {
    let master = MockMaster::start();
    let client = master.determined();
    for (searcher, why) in [
        (
            json!({"name": "async_halving", "metric": "m", "max_trials": 3, "num_rungs": 2}),
            "invalid experiment configuration: the `async_halving` searcher requires `max_time` and `time_metric` to be set",
        ),
        (
            json!({"name": "adaptive_simple", "metric": "m", "max_trials": 3}),
            "invalid experiment configuration: the 'adaptive_simple' searcher has been removed and is not valid for new experiments",
        ),
        (
            json!({"name": "sync_halving", "metric": "m", "budget": {"batches": 9}}),
            "invalid experiment configuration: config is invalid or incomplete: <config>.searcher: num_rungs is a required property",
        ),
        (
            json!({"name": "asha", "metric": "m", "num_rungs": 2}),
            "invalid experiment configuration: version 0 experiment config is invalid: config is invalid: <config>.searcher: \
             is not an object where object[\"name\"] is one of 'single', 'random', 'grid', 'custom', or 'adaptive_asha'",
        ),
        (
            json!({"name": "single", "metric": "m", "source_trial_id": 9}),
            "failed to create experiment: no checkpoint found for source trial 9",
        ),
        (
            json!({"name": "single", "metric": "m", "source_checkpoint_uuid": "abc"}),
            "failed to create experiment: invalid source checkpoint UUID: invalid UUID length: 3",
        ),
    ] {
        let error = submit(&client, searcher).unwrap_err();
        assert_eq!(error.server_message(), Some(why));
    }
}

#[test]
fn a_choice_of_nothing_cannot_be_made_and_a_grid_of_nothing_has_no_trials() {
    let master = MockMaster::start();
    let client = master.determined();
    let nothing = json!({"net": {"a": {"type": "categorical", "vals": []}}});
    let random = json!({"name": "random", "metric": "m", "max_trials": 2});
    let refused =
        client.create_experiment(config(random, nothing.clone()), ModelDefinition::none());
    let why = "runtime error: index out of range [0] with length 0";
    assert_eq!(refused.unwrap_err().server_message(), Some(why));

    let grid = json!({"name": "grid", "metric": "m"});
    let experiment = client
        .create_experiment(config(grid, nothing), ModelDefinition::none())
        .unwrap();
    assert!(experiment.get_trials().unwrap().is_empty());
    assert_eq!(experiment.state.to_string(), "QUEUED");
    experiment.kill().unwrap();
    assert_eq!(experiment.wait().unwrap().to_string(), "CANCELED");
}

#[test]
fn an_experiment_that_is_run_elsewhere_has_no_trials_and_cannot_be_activated() {
    let master = MockMaster::start();
    let caller = Caller::new(&master, "determined");
    let config = json!({"name": "x", "searcher": {"name": "single", "metric": "m"}}).to_string();
    let body = json!({"config": config, "projectId": 1, "unmanaged": true, "activate": true});
    let created = caller.ok("POST", "/api/v1/experiments", &body);
    let experiment = &created["experiment"];
    assert_eq!(
        (
            &experiment["unmanaged"],
            &experiment["state"],
            &experiment["numTrials"],
            &experiment["resourcePool"]
        ),
        (&json!(true), &json!("STATE_PAUSED"), &json!(0), &json!(""))
    );
    let path = |action: &str| format!("/api/v1/experiments/{}/{action}", experiment["id"]);
    let unknown = (404, format!("experiment '{}' not found", experiment["id"]));
    assert_eq!(
        caller.refused("POST", &path("activate"), &Value::Null),
        unknown
    );
    let ended = (400, "experiment in terminal state".to_owned());
    assert_eq!(caller.refused("POST", &path("pause"), &Value::Null), ended);
    caller.ok("POST", &path("kill"), &Value::Null);
    let after = caller.ok(
        "GET",
        &format!("/api/v1/experiments/{}", experiment["id"]),
        &Value::Null,
    );
    assert_eq!(after["experiment"]["state"], "STATE_PAUSED");
}
