//! Experiments: submitted once, listed as asked, labelled by whichever way works.

mod support;

use std::fs;
use std::sync::{Arc, Mutex};

use determined::{
    CreateExperimentOptions, ErrorKind, ExperimentQuery, ExperimentState, LaunchWarning,
    ModelDefinition, Result,
};
use serde_json::{Value, json};
use support::{After, RawMaster, json as answer};

const EXPERIMENTS: &str = "/api/v1/experiments";

fn config() -> Value {
    json!({"name": "tiny", "entrypoint": "true"})
}

#[test]
fn a_submission_has_every_field_and_what_is_unset_is_null() -> Result<()> {
    let master = RawMaster::start(|_, stream| {
        answer(
            stream,
            200,
            r#"{"experiment":{"id":5,"state":"STATE_QUEUED"},"config":{},"warnings":[]}"#,
        )
    });
    let client = master.client();
    let experiment = client.create_experiment(config(), ModelDefinition::none())?;
    assert_eq!(
        (experiment.id, &experiment.state),
        (5, &ExperimentState::Queued)
    );
    let body = master.requests().pop().unwrap().json();
    let expected = json!({
        "activate": true,
        "config": config().to_string(),
        "modelDefinition": null,
        "projectId": null,
        "template": null,
    });
    assert_eq!(body, expected);

    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("train.py"), "x = 1\n").unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let options = CreateExperimentOptions::new()
        .activate(false)
        .project_id(3)
        .template("t")
        .on_progress(move |progress| log.lock().unwrap().push(progress.clone()));
    client.create_experiment_with(config(), directory.path(), options)?;
    let body = master.requests().pop().unwrap().json();
    assert_eq!(body["activate"], false);
    assert_eq!(body["projectId"], 3);
    assert_eq!(body["template"], "t");
    assert_eq!(body["modelDefinition"][0]["path"], "train.py");
    let seen = seen.lock().unwrap();
    let last = seen.last().unwrap();
    assert_eq!((last.bytes_done, last.files_done), (6, 1));
    assert_eq!(last.fraction, Some(1.0));
    Ok(())
}

#[test]
fn a_check_alone_creates_nothing() -> Result<()> {
    let master = RawMaster::start(|_, stream| {
        let body = r#"{"experiment":{"id":0,"state":"STATE_UNSPECIFIED","startTime":null,"config":null},"config":null}"#;
        answer(stream, 200, body)
    });
    let options = CreateExperimentOptions::new().validate_only(true);
    let checked =
        master
            .client()
            .create_experiment_with(config(), ModelDefinition::none(), options)?;
    assert_eq!(checked.id, 0);
    assert_eq!(
        master.requests().pop().unwrap().json()["validateOnly"],
        true
    );
    Ok(())
}

#[test]
fn warnings_and_states_of_a_newer_master_do_not_lose_the_experiment() -> Result<()> {
    let master = RawMaster::start(|_, stream| {
        let body = json!({
            "experiment": {"id": 5, "state": "STATE_DANCING"},
            "warnings": ["LAUNCH_WARNING_CURRENT_SLOTS_EXCEEDED", "LAUNCH_WARNING_FULL_MOON"],
        });
        answer(stream, 200, &body.to_string())
    });
    let experiment = master
        .client()
        .create_experiment(config(), ModelDefinition::none())?;
    let moon = LaunchWarning::Unrecognized("FULL_MOON".to_owned());
    assert_eq!(
        experiment.warnings,
        [LaunchWarning::CurrentSlotsExceeded, moon]
    );
    assert_eq!(experiment.state.to_string(), "DANCING");
    Ok(())
}

/// Submits to a master that answers like this, and gives the error and how often it was asked.
fn rejected(
    handler: impl Fn(&mut std::net::TcpStream) -> std::io::Result<After> + Send + Sync + 'static,
) -> (determined::Error, usize) {
    let master = RawMaster::start(move |_, stream| handler(stream));
    let error = master
        .client()
        .create_experiment(config(), ModelDefinition::none())
        .unwrap_err();
    (error, master.count(EXPERIMENTS))
}

#[test]
fn a_submission_is_never_sent_twice_and_the_error_says_that_it_may_have_arrived() {
    let failures: [fn(&mut std::net::TcpStream) -> std::io::Result<After>; 4] = [
        |stream| answer(stream, 500, r#"{"error":{"error":"boom"}}"#),
        |stream| answer(stream, 503, "{}"),
        |stream| answer(stream, 200, "<html>welcome</html>"),
        |_| Ok(After::Close),
    ];
    for failure in failures {
        let (error, count) = rejected(failure);
        assert!(
            error.to_string().contains("may have been created"),
            "{error}"
        );
        assert_eq!(count, 1);
    }
}

#[test]
fn a_refused_configuration_has_a_kind_of_its_own() {
    for (status, said) in [
        (500, "managed experiments require entrypoint"),
        (500, "invalid experiment configuration: bogus_key"),
        (400, "invalid resource configuration: no such pool"),
    ] {
        let (error, _) = rejected(move |stream| {
            let body = json!({"error": {"error": said}}).to_string();
            answer(stream, status, &body)
        });
        assert_eq!(error.kind(), ErrorKind::ExperimentConfig);
        assert_eq!(error.server_message(), Some(said));
        assert!(!error.to_string().contains("may have"), "{error}");
    }
}

#[test]
fn nothing_is_sent_for_a_configuration_that_cannot_be_read() {
    let master = RawMaster::start(|_, stream| answer(stream, 500, "{}"));
    let client = master.client();
    let error = client
        .create_experiment("/nonexistent/config.yaml", ModelDefinition::none())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(master.count(EXPERIMENTS), 0);
}

#[test]
fn a_list_sends_its_filters_and_knows_what_active_means() -> Result<()> {
    let master = RawMaster::start(|_, stream| {
        let body = json!({
            "experiments": [
                {"id": 1, "state": "STATE_RUNNING", "notes": "omitted"},
                {"id": 2, "state": "STATE_QUEUED", "notes": "omitted"},
                {"id": 3, "state": "STATE_COMPLETED", "notes": "omitted"},
            ],
            "pagination": {"endIndex": 3, "total": 3},
        });
        answer(stream, 200, &body.to_string())
    });
    let client = master.client();
    let query = ExperimentQuery::new()
        .labels(["a b", "c"])
        .users(["kim"])
        .name("dec")
        .project_id(1)
        .experiment_ids([1, 2])
        .states([ExperimentState::Running, ExperimentState::Completed]);
    let listed = client.list_experiments_with(query)?;
    let ids: Vec<_> = listed.iter().map(|experiment| experiment.id).collect();
    assert_eq!(ids, [1, 3]);
    assert_eq!(listed[0].notes, None);
    assert_eq!(
        master.requests().pop().unwrap().target,
        "/api/v1/experiments?experimentIdFilter.incl=1&experimentIdFilter.incl=2&labels=a%20b&labels=c&users=kim\
         &states=STATE_ACTIVE&states=STATE_COMPLETED&name=dec&projectId=1&offset=0"
    );
    let active = ExperimentQuery::new().states([ExperimentState::Active]);
    let ids: Vec<_> = client
        .iter_experiments_with(active.page_size(7))?
        .map(|experiment| experiment.map(|experiment| experiment.id))
        .collect::<Result<_>>()?;
    assert_eq!(ids, [1, 2]);
    let asked = master.requests().pop().unwrap().target;
    assert!(asked.contains("limit=7"), "{asked}");
    Ok(())
}

#[test]
fn a_label_with_a_comma_is_looked_for_here() -> Result<()> {
    let master = RawMaster::start(|_, stream| {
        let body = json!({
            "experiments": [
                {"id": 1, "labels": ["x", "a", "b"]},
                {"id": 2, "labels": ["x", "a,b"]},
                {"id": 3, "labels": null},
            ],
            "pagination": {"endIndex": 3, "total": 3},
        });
        answer(stream, 200, &body.to_string())
    });
    let query = ExperimentQuery::new().labels(["a,b", "x"]);
    let listed = master.client().list_experiments_with(query)?;
    let ids: Vec<_> = listed.iter().map(|experiment| experiment.id).collect();
    assert_eq!(ids, [2]);
    let asked = master.requests().pop().unwrap().target;
    assert_eq!(asked, "/api/v1/experiments?labels=x&offset=0");
    Ok(())
}

#[test]
fn the_configuration_here_changes_with_what_is_changed() -> Result<()> {
    let master = RawMaster::start(|seen, stream| match seen.method.as_str() {
        "PUT" => answer(stream, 200, r#"{"labels":["a"]}"#),
        "DELETE" => answer(stream, 200, r#"{"labels":null}"#),
        "PATCH" => {
            let mut body = seen.json();
            body["config"] = json!({"name": "old"}); // as masters do
            answer(stream, 200, &json!({"experiment": body}).to_string())
        }
        _ => {
            let body = json!({"id": 7, "name": "old", "config": {"name": "old", "labels": []}});
            answer(stream, 200, &json!({"experiment": body}).to_string())
        }
    });
    let mut experiment = master.client().get_experiment(7)?;
    experiment.set_name("new")?;
    experiment.set_description("d")?;
    experiment.set_notes("n")?;
    experiment.add_label("a")?;
    let expected = json!({"name": "new", "description": "d", "labels": ["a"]});
    assert_eq!(experiment.config, expected);
    experiment.remove_label("a")?;
    assert_eq!(experiment.config["labels"], json!([]));
    experiment.set_labels(["b"])?;
    assert_eq!(experiment.config["labels"], json!(["b"]));
    Ok(())
}

#[test]
fn a_label_goes_away_even_where_the_master_fails_to_take_it() -> Result<()> {
    let master = RawMaster::start(|seen, stream| match seen.method.as_str() {
        "DELETE" => answer(
            stream,
            500,
            r#"{"error":{"error":"FOR UPDATE cannot be applied"}}"#,
        ),
        "PATCH" => {
            let body = json!({"experiment": {"id": 7, "labels": seen.json()["labels"]}});
            answer(stream, 200, &body.to_string())
        }
        _ => answer(
            stream,
            200,
            r#"{"experiment":{"id":7,"labels":["a","b","theirs"]}}"#,
        ),
    });
    let mut experiment = master.client().get_experiment(7)?;
    experiment.remove_label("a")?;
    assert_eq!(experiment.labels, ["b", "theirs"]);
    let sent = master.requests().pop().unwrap();
    assert_eq!(sent.json(), json!({"id": 7, "labels": ["b", "theirs"]}));

    let before = master.requests().len();
    experiment.remove_label("never there")?;
    let methods: Vec<_> = master.requests()[before..]
        .iter()
        .map(|seen| seen.method.clone())
        .collect();
    assert_eq!(methods, ["DELETE", "GET"]);
    Ok(())
}

#[test]
fn a_label_with_a_slash_or_a_colon_is_added_another_way() -> Result<()> {
    let master = RawMaster::start(|seen, stream| match seen.method.as_str() {
        "PUT" => answer(stream, 200, r#"{"labels":["a","b c?%"]}"#),
        "PATCH" => {
            let body = json!({"experiment": {"id": 7, "labels": seen.json()["labels"]}});
            answer(stream, 200, &body.to_string())
        }
        _ => answer(stream, 200, r#"{"experiment":{"id":7,"labels":["a"]}}"#),
    });
    let mut experiment = master.client().get_experiment(7)?;
    for label in ["x/y", "x:y", "..", ":"] {
        experiment.add_label(label)?;
        assert_eq!(experiment.labels, ["a", label]);
    }
    experiment.add_label("b c?%")?;
    let sent = master.requests().pop().unwrap();
    assert_eq!(
        (sent.method.as_str(), sent.target.as_str()),
        ("PUT", "/api/v1/experiments/7/labels/b%20c%3F%25")
    );
    assert_eq!(experiment.labels, ["a", "b c?%"]);
    let error = experiment.add_label("").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    Ok(())
}

#[test]
fn a_field_changes_only_when_the_master_agreed() -> Result<()> {
    let master = RawMaster::start(|seen, stream| match seen.method.as_str() {
        "PATCH" if seen.json()["name"] == " " => answer(
            stream,
            400,
            r#"{"error":{"error":"`name` must not be an empty or whitespace string"}}"#,
        ),
        "PATCH" => {
            let mut body = json!({"id": 7, "name": "old", "notes": "", "description": ""});
            body.as_object_mut()
                .unwrap()
                .extend(seen.json().as_object().unwrap().clone());
            answer(stream, 200, &json!({"experiment": body}).to_string())
        }
        "POST" if seen.path().ends_with("/archive") => answer(
            stream,
            400,
            r#"{"error":{"error":"Experiment is not in terminal state."}}"#,
        ),
        _ => answer(stream, 200, r#"{"experiment":{"id":7,"name":"old"}}"#),
    });
    let mut experiment = master.client().get_experiment(7)?;
    assert!(experiment.set_name(" ").is_err());
    assert_eq!(experiment.name, "old");
    experiment.set_name("new")?;
    assert_eq!(experiment.name, "new");
    let sent = master.requests().pop().unwrap().json();
    assert_eq!(sent, json!({"id": 7, "name": "new"}));
    experiment.set_notes("n")?;
    assert_eq!(experiment.notes.as_deref(), Some("n"));
    experiment.set_labels(["x", "y"])?;
    assert_eq!(experiment.labels, ["x", "y"]);
    assert!(experiment.archive().is_err());
    assert!(!experiment.archived);
    Ok(())
}
