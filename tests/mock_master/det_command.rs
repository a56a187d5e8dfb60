//! Calls that this crate does not make, but the `det` command does.

use crate::caller::Caller;
use determined::testing::{Clock, MockMaster, MockMasterOptions};
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn a_template_gives_what_a_submission_leaves_open() {
    let master = MockMaster::start();
    let caller = Caller::new(&master, "determined");
    let template = json!({"config": {
        "description": "of the template",
        "labels": ["t"],
        "resources": {"priority": 7},
        "searcher": {"name": "single", "metric": "m"},
    }});
    let made = caller.ok("POST", "/api/v1/templates/t", &template);
    assert_eq!(made["template"]["workspaceId"], 1);
    assert_eq!(
        caller.refused("POST", "/api/v1/templates/t", &template).0,
        500
    );
    let listed = caller.ok("GET", "/api/v1/templates", &Value::Null);
    assert_eq!(listed["templates"][0]["name"], "t");

    let options = determined::CreateExperimentOptions::new().template("t");
    let config = json!({"name": "n", "entrypoint": "true", "labels": ["own"]});
    let experiment = master
        .determined()
        .create_experiment_with(config, determined::ModelDefinition::none(), options)
        .unwrap();
    assert_eq!(experiment.description, "of the template");
    assert_eq!(experiment.labels, ["own", "t"]);
    assert_eq!(experiment.config["resources"]["priority"], 7);
    assert_eq!(experiment.config["searcher"]["metric"], "m");

    caller.ok("DELETE", "/api/v1/templates/t", &Value::Null);
    let unknown = (404, "template 't' not found".to_owned());
    assert_eq!(
        caller.refused("GET", "/api/v1/templates/t", &Value::Null),
        unknown
    );
}

#[test]
fn a_disabled_slot_takes_no_trial() {
    let master = MockMaster::start_with(MockMasterOptions::new().clock(Clock::Manual));
    let (admin, kim) = (
        Caller::new(&master, "admin"),
        Caller::new(&master, "determined"),
    );
    let slot = "/api/v1/agents/agent-a/slots/1/disable";
    assert_eq!(kim.refused("POST", slot, &Value::Null).0, 403);
    let disabled = admin.ok("POST", slot, &Value::Null);
    assert_eq!(disabled["slot"]["enabled"], false);
    let experiment = master.experiment().create();
    master.advance(Duration::from_secs(2));
    let states = || -> Vec<String> {
        let trials = experiment.get_trials().unwrap();
        trials.iter().map(|trial| trial.state.to_string()).collect()
    };
    assert_eq!(states(), ["RUNNING", "QUEUED"]);
    let jobs = admin.ok("GET", "/api/v1/job-queues-v2", &Value::Null);
    let job = &jobs["jobs"][0]["full"];
    assert_eq!(
        (&job["requestedSlots"], &job["allocatedSlots"]),
        (&json!(2), &json!(1))
    );
    admin.ok(
        "POST",
        "/api/v1/agents/agent-a/slots/1/enable",
        &Value::Null,
    );
    master.advance(Duration::from_secs(1));
    assert_eq!(states(), ["RUNNING", "RUNNING"]);
}

#[test]
fn an_access_token_is_one_until_it_is_revoked() {
    let master = MockMaster::start();
    let admin = Caller::new(&master, "admin");
    let made = admin.ok(
        "POST",
        "/api/v1/tokens",
        &json!({"userId": 2, "description": "for the night"}),
    );
    let kim = Caller::with_token(&master, made["token"].as_str().unwrap());
    assert_eq!(kim.ok("GET", "/api/v1/me", &Value::Null)["user"]["id"], 2);
    assert_eq!(
        kim.refused("POST", "/api/v1/tokens", &json!({"userId": 2}))
            .0,
        403
    );
    let listed = kim.ok("GET", "/api/v1/tokens", &Value::Null);
    assert_eq!(listed["tokenInfo"][0]["description"], "for the night");
    let path = format!("/api/v1/tokens/{}", made["tokenId"]);
    admin.ok("PATCH", &path, &json!({"setRevoked": true}));
    let revoked = (401, "user access token revoked".to_owned());
    assert_eq!(kim.refused("GET", "/api/v1/me", &Value::Null), revoked);
    let listed = admin.ok("GET", "/api/v1/tokens", &Value::Null);
    assert_eq!(listed["tokenInfo"], json!([]));
}

#[test]
fn an_experiment_of_one_trial_can_go_on_after_its_end() {
    let master = MockMaster::start();
    let caller = Caller::new(&master, "determined");
    let single = json!({"searcher": {"name": "single"}, "hyperparameters": {"decay": 0.5}});
    let experiment = master.experiment().with_config(&single).create();
    let trial = experiment.await_first_trial().unwrap();
    let path = "/api/v1/experiments/continue";
    let request =
        |config: Value| json!({"id": experiment.id, "overrideConfig": config.to_string()});

    let refused = caller.refused("POST", path, &request(json!({"project": "p"})));
    assert_eq!(refused.0, 400);
    caller.ok("POST", path, &request(json!({"description": "more"})));
    let mut again = master.determined().get_experiment(experiment.id).unwrap();
    assert_eq!(
        again.wait().unwrap(),
        determined::ExperimentState::Completed
    );
    again.reload().unwrap();
    assert_eq!(again.description, "more");
    let trials = again.get_trials().unwrap();
    assert_eq!(trials.len(), 1);
    assert_eq!(trials[0].id, trial.id);
    let run = |trial: &determined::Trial| {
        trial
            .iter_metrics("training")
            .unwrap()
            .last()
            .unwrap()
            .unwrap()
            .trial_run_id
    };
    assert_eq!(run(&trials[0]), 2);

    let grid = master.experiment().create();
    let refused = caller.refused("POST", path, &json!({"id": grid.id}));
    assert!(
        refused.1.contains("experiment has been completed"),
        "{refused:?}"
    );
}

#[test]
fn what_has_ended_has_no_resources_and_what_is_archived_is_not_to_be_stopped() {
    let master = MockMaster::start();
    let caller = Caller::new(&master, "determined");
    let mut experiment = master.experiment().create();
    let path = format!("/api/v1/experiments/{}", experiment.id);
    let unknown = (404, format!("experiment '{}' not found", experiment.id));
    let weight = json!({"resources": {"weight": 2.0}});
    assert_eq!(caller.refused("PATCH", &path, &weight), unknown);
    let kept = json!({"checkpointStorage": {"saveExperimentBest": 1, "saveTrialBest": 2, "saveTrialLatest": 3}});
    caller.ok("PATCH", &path, &kept);
    experiment.reload().unwrap();
    assert_eq!(
        experiment.config["checkpoint_storage"]["save_trial_best"],
        2
    );

    caller.ok("POST", &format!("{path}/kill"), &Value::Null);
    experiment.archive().unwrap();
    for action in ["kill", "cancel", "pause", "activate"] {
        let action = format!("{path}/{action}");
        assert_eq!(caller.refused("POST", &action, &Value::Null), unknown);
    }
}

#[test]
fn a_preview_counts_trials_and_tells_what_is_wrong() {
    let master = MockMaster::start();
    let caller = Caller::new(&master, "determined");
    let path = "/api/v1/preview-hp-search";
    let grid = json!({"config": {
        "hyperparameters": {"a": {"type": "int", "minval": 1, "maxval": 4, "count": 4}, "b": {"type": "categorical", "vals": [1, 2]}},
        "searcher": {"name": "grid", "metric": "m"},
    }});
    let summary = caller.ok("POST", path, &grid);
    assert_eq!(summary["summary"]["trials"][0]["count"], 8);
    assert_eq!(
        caller
            .refused("POST", path, &json!({"config": {"name": "x"}}))
            .0,
        400
    );
}

#[test]
fn none_of_the_tasks_beside_trials_ever_runs() {
    let master = MockMaster::start();
    let caller = Caller::new(&master, "determined");
    for kind in ["commands", "notebooks", "shells", "tensorboards"] {
        let listed = caller.ok("GET", &format!("/api/v1/{kind}"), &Value::Null);
        assert_eq!(listed[kind], json!([]));
        let path = format!("/api/v1/{kind}/x/kill");
        assert_eq!(caller.refused("POST", &path, &Value::Null).0, 404);
    }
    let trial = master.experiment().create().await_first_trial().unwrap();
    let path = format!("/api/v1/tasks/{}", trial.task_ids[0]);
    let task = caller.ok("GET", &path, &Value::Null);
    assert_eq!(task["task"]["allocations"][0]["state"], "STATE_TERMINATED");
}

#[test]
fn the_master_tells_what_administrators_want_everybody_to_know() {
    let master = MockMaster::start();
    let (admin, kim) = (
        Caller::new(&master, "admin"),
        Caller::new(&master, "determined"),
    );
    let path = "/api/v1/master/cluster_message";
    let message = json!({"message": "closed on Friday", "startTime": "2020-01-01T00:00:00Z"});
    assert_eq!(kim.refused("PUT", path, &message).0, 403);
    admin.ok("PUT", path, &message);
    let told = kim.ok("GET", "/api/v1/master", &Value::Null);
    assert_eq!(told["clusterMessage"]["message"], "closed on Friday");
    admin.ok("DELETE", path, &Value::Null);
    let told = kim.ok("GET", "/api/v1/master", &Value::Null);
    assert!(told["clusterMessage"].is_null());
    let config = admin.ok("GET", "/api/v1/master/config", &Value::Null);
    assert_eq!(
        config["config"]["resource_pools"][0]["pool_name"],
        "default"
    );
}

#[test]
fn a_model_definition_is_told_file_by_file() {
    let master = MockMaster::start();
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("lib")).unwrap();
    std::fs::write(directory.path().join("lib/util.py"), "X = 1\n").unwrap();
    std::fs::write(directory.path().join("weights.bin"), [0, 1, 2]).unwrap();
    let config =
        json!({"name": "a/b", "entrypoint": "true", "searcher": {"name": "single", "metric": "m"}});
    let client = master.determined();
    let experiment = client.create_experiment(config, directory.path()).unwrap();
    let bare = master.experiment().create().id;

    let caller = Caller::new(&master, "determined");
    let path = format!("/api/v1/experiments/{}", experiment.id);
    let tree = caller.ok("GET", &format!("{path}/file_tree"), &Value::Null);
    let (lib, weights) = (&tree["files"][0], &tree["files"][1]);
    assert_eq!((&lib["isDir"], &lib["path"]), (&json!(true), &json!("lib")));
    let util = &lib["files"][0];
    assert_eq!(
        (&util["path"], &util["name"]),
        (&json!("lib/util.py"), &json!("util.py"))
    );
    assert_eq!(util["contentType"], "text/plain; charset=utf-8");
    assert_eq!(
        (&weights["contentLength"], &weights["contentType"]),
        (&json!(3), &json!("application/octet-stream"))
    );
    let file = caller.ok(
        "POST",
        &format!("{path}/file"),
        &json!({"path": "lib/util.py"}),
    );
    assert_eq!(file["file"], "WCA9IDEK");
    let unknown = (500, "file does not exist".to_owned());
    assert_eq!(
        caller.refused("POST", &format!("{path}/file"), &json!({"path": "lib"})),
        unknown
    );
    let nothing = (500, "EOF".to_owned());
    assert_eq!(
        caller.refused(
            "GET",
            &format!("/api/v1/experiments/{bare}/file_tree"),
            &Value::Null
        ),
        nothing
    );
}

#[test]
fn the_history_of_validations_tells_each_that_was_better_than_all_before() {
    let master = MockMaster::start();
    let caller = Caller::new(&master, "determined");
    let history = |smaller: bool| {
        let seed = master
            .experiment()
            .with_trials(1)
            .with_metric("m", [0.5, 0.7, 0.4, 0.6]);
        let seed = if smaller {
            seed
        } else {
            seed.larger_is_better()
        };
        let path = format!(
            "/api/v1/experiments/{}/validation-history",
            seed.create().id
        );
        let told = caller.ok("GET", &path, &Value::Null);
        let told = told["validationHistory"].as_array().unwrap().iter();
        told.map(|entry| entry["searcherMetric"].clone())
            .collect::<Value>()
    };
    assert_eq!(history(true), json!([0.5, 0.4]));
    assert_eq!(history(false), json!([0.5, 0.7]));
}
