//! What can be done to experiments, trials and checkpoints: each call with its route and its body.

mod support;

use determined::{Checkpoint, ErrorKind, Experiment, Result, Trial};
use serde_json::{Value, json};
use support::RawMaster;
use support::table::{calls, error, master};

const UUID: &str = "0f5581ff-18d1-4a13-8244-feadd21feee2";

fn experiment(master: &RawMaster) -> Experiment {
    master.client().get_experiment(7).unwrap()
}

/// The calls after the first, which fetched the object.
fn later(master: &RawMaster) -> Vec<(String, Value)> {
    calls(master).split_off(1)
}

#[test]
fn the_actions_on_experiments_are_those_of_the_python_sdk() -> Result<()> {
    let found = json!({"experiment": {"id": 7, "projectId": 1, "workspaceId": 1}});
    let lab = json!({"id": 6, "name": "lab"});
    let vision = json!({"id": 3, "name": "vision", "workspaceId": 6});
    let expected = [
        ("POST /api/v1/experiments/7/activate", Value::Null),
        ("POST /api/v1/experiments/7/pause", Value::Null),
        ("POST /api/v1/experiments/7/cancel", Value::Null),
        ("POST /api/v1/experiments/7/kill", Value::Null),
        ("POST /api/v1/experiments/7/archive", Value::Null),
        ("POST /api/v1/experiments/7/unarchive", Value::Null),
        (
            "DELETE /api/v1/experiments/7/tensorboard-files",
            Value::Null,
        ),
        ("GET /api/v1/workspaces?name=lab", Value::Null),
        ("GET /api/v1/workspaces/6/projects?name=vision", Value::Null),
        (
            "POST /api/v1/experiments/7/move",
            json!({"destinationProjectId": 3, "experimentId": 7}),
        ),
        ("DELETE /api/v1/experiments/7", Value::Null),
    ];
    let mut rows: Vec<_> = expected
        .iter()
        .map(|(call, _)| (*call, 200, json!({})))
        .collect();
    rows[7].2 = json!({"workspaces": [lab]});
    rows[8].2 = json!({"projects": [vision]});
    rows.push(("GET /api/v1/experiments/7", 200, found));
    let master = master(rows);
    let mut experiment = experiment(&master);

    experiment.activate()?;
    experiment.pause()?;
    experiment.cancel()?;
    experiment.kill()?;
    experiment.archive()?;
    assert!(experiment.archived);
    experiment.unarchive()?;
    assert!(!experiment.archived);
    experiment.delete_tensorboard_files()?;
    experiment.move_to_project("lab", "vision")?;
    assert_eq!(
        (experiment.project_id, experiment.workspace_id),
        (3, Some(6))
    );
    experiment.delete()?;
    let expected = expected.map(|(call, body)| (call.to_owned(), body));
    assert_eq!(later(&master), expected);
    Ok(())
}

#[test]
fn a_patch_names_the_experiment_and_one_field() -> Result<()> {
    let patched =
        json!({"experiment": {"id": 7, "description": "d", "notes": "n", "labels": ["a"]}});
    let master = master(vec![
        (
            "GET /api/v1/experiments/7",
            200,
            json!({"experiment": {"id": 7}}),
        ),
        ("PATCH /api/v1/experiments/7", 200, patched),
    ]);
    let mut experiment = experiment(&master);
    experiment.set_description("")?;
    experiment.set_notes("n")?;
    experiment.set_labels(["a", "a"])?;
    assert_eq!(experiment.description, "d", "what the master made of it");
    assert_eq!(experiment.labels, ["a"]);
    let bodies: Vec<_> = later(&master).into_iter().map(|(_, body)| body).collect();
    assert_eq!(
        bodies,
        [
            json!({"id": 7, "description": ""}),
            json!({"id": 7, "notes": "n"}),
            json!({"id": 7, "labels": ["a", "a"]}),
        ]
    );
    Ok(())
}

#[test]
fn what_has_ended_cannot_be_killed_or_activated_and_the_error_says_so() -> Result<()> {
    let gone = error("experiment '7' not found");
    let master = master(vec![
        (
            "GET /api/v1/experiments/7",
            200,
            json!({"experiment": {"id": 7}}),
        ),
        (
            "GET /api/v1/trials/9",
            200,
            json!({"trial": {"id": 9, "experimentId": 7}}),
        ),
        ("POST /api/v1/experiments/7/activate", 404, gone.clone()),
        ("POST /api/v1/trials/9/kill", 404, gone),
    ]);
    let error = experiment(&master).activate().unwrap_err();
    assert!(error.is_not_found() && error.to_string().contains("has ended"));
    let trial: Trial = master.client().get_trial(9)?;
    let error = trial.kill().unwrap_err();
    assert!(error.is_not_found() && error.to_string().contains("has ended"));
    Ok(())
}

#[test]
fn the_actions_on_checkpoints_are_those_of_the_python_sdk() -> Result<()> {
    let route = format!("/api/v1/checkpoints/{UUID}");
    let get = format!("GET {route}");
    let post = format!("POST {route}/metadata");
    let metrics =
        format!("GET {route}/metrics?trialSourceInfoType=TRIAL_SOURCE_INFO_TYPE_INFERENCE");
    let of_group = format!("{metrics}&metricGroup=g");
    let of_nothing = format!("{metrics}&metricGroup=");
    let found =
        json!({"checkpoint": {"uuid": UUID, "state": "STATE_COMPLETED", "metadata": {"a": 1}}});
    let master = master(vec![
        (&get, 200, found),
        (&post, 200, json!({"checkpoint": null})),
        (&metrics, 200, json!({"metrics": null})),
        (&of_group, 200, json!({"metrics": []})),
        (&of_nothing, 200, json!({"metrics": []})),
        ("POST /api/v1/checkpoints/rm", 200, json!({})),
        ("DELETE /api/v1/checkpoints", 200, json!({})),
    ]);
    let mut checkpoint: Checkpoint = master.client().get_checkpoint(UUID)?;
    checkpoint.add_metadata(json!({"b": [f64::MAX]}))?;
    checkpoint.remove_metadata(["a", "absent"])?;
    assert!(checkpoint.metadata.is_empty(), "{:?}", checkpoint.metadata);
    assert_eq!(checkpoint.iter_metrics(None)?.count(), 0);
    assert_eq!(checkpoint.iter_metrics("g")?.count(), 0);
    assert_eq!(checkpoint.iter_metrics("")?.count(), 0);
    checkpoint.remove_files(["a/*", "b"])?;
    checkpoint.remove_files(<[&str; 0]>::default())?;
    checkpoint.delete()?;
    let edit = |metadata: Value| {
        let stub = json!({
            "uuid": UUID,
            "metadata": metadata,
            "resources": {},
            "training": {},
            "state": "STATE_UNSPECIFIED",
        });
        (post.clone(), json!({"checkpoint": stub}))
    };
    let read = |call: &str| (call.to_owned(), Value::Null);
    let remove = |globs: Value| {
        let body = json!({"checkpointUuids": [UUID], "checkpointGlobs": globs});
        ("POST /api/v1/checkpoints/rm".to_owned(), body)
    };
    assert_eq!(
        later(&master),
        [
            read(&get),
            edit(json!({"a": 1, "b": [f64::MAX]})),
            read(&get),
            edit(json!({})),
            read(&metrics),
            read(&in_alphabetical_order(&of_group)),
            read(&in_alphabetical_order(&of_nothing)),
            remove(json!(["a/*", "b"])),
            remove(json!([])),
            (
                "DELETE /api/v1/checkpoints".to_owned(),
                json!({"checkpointUuids": [UUID]})
            ),
        ]
    );
    Ok(())
}

fn in_alphabetical_order(call: &str) -> String {
    let (path, query) = call.split_once('?').unwrap();
    let (first, second) = query.split_once('&').unwrap();
    format!("{path}?{second}&{first}")
}

#[test]
fn what_names_nothing_is_refused_before_anything_is_sent() {
    let master = master(vec![(
        "GET /api/v1/experiments/7",
        200,
        json!({"experiment": {"id": 7}}),
    )]);
    let mut experiment = experiment(&master);
    for error in [
        experiment.add_label("").unwrap_err(),
        experiment.remove_label("").unwrap_err(),
        experiment.set_labels(["a", ""]).unwrap_err(),
        experiment.move_to_project("", "p").unwrap_err(),
        master.client().get_checkpoint("").unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    assert!(later(&master).is_empty());
}
