//! Answers that are HTTP but not what a master says: other fields, other types, no JSON, too much of it.

use std::sync::{Arc, Mutex};

use determined::{Determined, Error, ErrorKind, ExperimentState};
use serde_json::{Value, json};

use crate::support::{After, LOGGED_IN, RawMaster, answer, json as answer_json};
use crate::{EXPERIMENT, assert_kinds, hasty, ok};

/// A master whose answer to everything but the login is what was last put into the cell.
fn repeating() -> (RawMaster, Arc<Mutex<String>>) {
    let said = Arc::new(Mutex::new(String::new()));
    let saying = Arc::clone(&said);
    let master = RawMaster::start(move |_, stream| {
        let body = saying.lock().unwrap().clone();
        answer_json(stream, 200, &body)
    });
    (master, said)
}

/// One call for each kind of object that a master sends.
type Call = fn(&Determined) -> Result<(), Error>;

fn objects() -> Vec<(&'static str, Value, Call)> {
    let checkpoint = json!({
        "uuid": "84f9077e-f173-46ce-a813-3a7dcd8b5b34", "taskId": "3.t", "allocationId": "3.t.1",
        "reportTime": "2026-11-23T20:04:32.069202Z", "resources": {"metadata.json": "41", "sub/": "0"},
        "metadata": {"steps_completed": 1}, "state": "STATE_COMPLETED", "storageId": 1,
        "training": {
            "trialId": 5, "experimentId": 3, "experimentConfig": {"checkpoint_storage": {"type": "shared_fs"}},
            "hparams": {"lr": 0.5}, "searcherMetric": 7.37,
            "trainingMetrics": {"avgMetrics": {"loss": 6.7}, "batchMetrics": []},
            "validationMetrics": {"avgMetrics": {"val_loss": 7.37}, "batchMetrics": []}
        }
    });
    let model = json!({
        "name": "iris", "description": "d", "metadata": {"k": 1}, "creationTime": "2026-11-23T20:20:38.784207Z",
        "lastUpdatedTime": "2026-11-23T20:20:38Z", "id": 12, "numVersions": 0, "labels": ["a"],
        "username": "kim", "workspaceId": 1, "userId": 2, "archived": false, "notes": ""
    });
    let place = json!({"offset": 0, "limit": 0, "startIndex": 0, "endIndex": 1, "total": 1});
    vec![
        (
            "an experiment",
            json!({"experiment": {
                "id": 1, "description": "d", "labels": ["a", "b"], "startTime": "2026-11-23T20:20:16.987382Z",
                "endTime": "2026-11-23T20:20:20Z", "state": "STATE_COMPLETED", "archived": false, "numTrials": 2,
                "trialIds": [1, 2], "userId": 2, "username": "kim", "resourcePool": "default", "name": "n",
                "notes": "", "jobId": "j", "forkedFrom": null, "progress": 1, "projectId": 1, "projectName": "p",
                "workspaceId": 1, "workspaceName": "w", "parentArchived": false, "config": {"name": "n"},
                "originalConfig": "name: n\n", "checkpointSize": "416", "checkpointCount": 8, "unmanaged": false,
                "searcherType": "single", "searcherMetric": "loss", "displayName": "Kim", "duration": 4
            }}),
            |client| client.get_experiment(1).map(drop),
        ),
        (
            "a list of experiments",
            json!({"experiments": [{"id": 1, "state": "STATE_PAUSED"}], "pagination": place}),
            |client| client.list_experiments().map(drop),
        ),
        (
            "a trial",
            json!({"trial": {
                "id": 1, "experimentId": 1, "startTime": "2026-11-23T20:20:16Z", "endTime": null,
                "state": "STATE_RUNNING", "restarts": 0, "hparams": {"lr": 0.5}, "totalBatchesProcessed": 5,
                "bestValidation": {"metrics": {"avgMetrics": {"loss": 1}}, "totalBatches": 2},
                "latestValidation": null, "bestCheckpoint": {"uuid": "u", "resources": {"a": "1"}, "totalBatches": 2},
                "runnerState": "", "wallClockTime": 2.5, "warmStartCheckpointUuid": "", "taskId": "t", "taskIds": ["t"],
                "totalCheckpointSize": "208", "checkpointCount": 4, "logRetentionDays": -1,
                "summaryMetrics": {"avg_metrics": {"loss": {"count": 5, "max": "NaN"}}}
            }}),
            |client| client.get_trial(1).map(drop),
        ),
        (
            "a checkpoint",
            json!({"checkpoint": checkpoint}),
            |client| {
                client
                    .get_checkpoint("84f9077e-f173-46ce-a813-3a7dcd8b5b34")
                    .map(drop)
            },
        ),
        ("a model", json!({"model": model}), |client| {
            client.get_model("iris").map(drop)
        }),
        (
            "a list of models",
            json!({"models": [model], "pagination": place}),
            |client| client.get_models().map(drop),
        ),
        ("labels", json!({"labels": ["a", "b"]}), |client| {
            client.get_model_labels().map(drop)
        }),
        (
            "a user",
            json!({"user": {
                "id": 2, "username": "kim", "admin": false, "active": true, "remote": false, "displayName": "Kim",
                "agentUserGroup": {"agentUid": 1, "agentGid": 2, "agentUser": "u", "agentGroup": "g"},
                "modifiedAt": "2026-11-23T20:20:16Z", "lastAuthAt": null
            }}),
            |client| client.whoami().map(drop),
        ),
        (
            "a list of users",
            json!({"users": [{"id": 2, "username": "kim"}], "pagination": place}),
            |client| client.list_users().map(drop),
        ),
        (
            "a list of workspaces",
            json!({"workspaces": [{
                "id": 1, "name": "w", "archived": false, "username": "kim", "immutable": true, "numProjects": 1,
                "pinned": false, "userId": 1, "numExperiments": 3, "state": "WORKSPACE_STATE_UNSPECIFIED",
                "errorMessage": "", "agentUserGroup": null, "checkpointStorageConfig": null
            }], "pagination": place}),
            |client| client.list_workspaces().map(drop),
        ),
        (
            "a project",
            json!({"project": {
                "id": 1, "name": "p", "description": "", "workspaceId": 1, "notes": [{"name": "n", "contents": "c"}],
                "numExperiments": 1, "numActiveExperiments": 0, "archived": false, "username": "kim", "immutable": true,
                "userId": 1, "workspaceName": "w", "state": "WORKSPACE_STATE_UNSPECIFIED", "errorMessage": "", "key": "K",
                "lastExperimentStartedAt": null
            }}),
            |client| client.get_project(1).map(drop),
        ),
    ]
}

/// Every copy of `value` in which one thing, somewhere in it, is `other`; the first says where.
fn with_one_thing_else(value: &Value, other: &Value) -> Vec<(String, Value)> {
    let mut all = vec![(String::new(), other.clone())];
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                for (path, changed) in with_one_thing_else(inner, other) {
                    let mut fields = fields.clone();
                    fields.insert(key.clone(), changed);
                    all.push((format!(".{key}{path}"), Value::Object(fields)));
                }
            }
        }
        Value::Array(items) => {
            for (n, inner) in items.iter().enumerate() {
                for (path, changed) in with_one_thing_else(inner, other) {
                    let mut items = items.clone();
                    items[n] = changed;
                    all.push((format!("[{n}]{path}"), Value::Array(items)));
                }
            }
        }
        _ => {}
    }
    all
}

/// Every copy of `value` in which one field, somewhere in it, is missing.
fn with_one_thing_less(value: &Value) -> Vec<(String, Value)> {
    let marker = json!("\u{0}gone");
    let strip = |value: Value| {
        fn walk(value: Value, marker: &Value) -> Value {
            match value {
                Value::Object(fields) => fields
                    .into_iter()
                    .filter(|(_, inner)| inner != marker)
                    .map(|(key, inner)| (key, walk(inner, marker)))
                    .collect(),
                Value::Array(items) => items.into_iter().map(|inner| walk(inner, marker)).collect(),
                other => other,
            }
        }
        walk(value, &marker)
    };
    with_one_thing_else(value, &marker)
        .into_iter()
        .filter(|(path, _)| path.contains('.') && !path.ends_with(']'))
        .map(|(path, changed)| (path, strip(changed)))
        .collect()
}

#[test]
fn every_object_is_read_as_masters_send_it() {
    let (master, said) = repeating();
    let client = hasty(&master);
    for (name, body, call) in objects() {
        *said.lock().unwrap() = body.to_string();
        call(&client).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn a_field_that_is_null_or_missing_fails_no_object() {
    let (master, said) = repeating();
    let client = hasty(&master);
    for (name, body, call) in objects() {
        let null = with_one_thing_else(&body, &Value::Null);
        for (path, changed) in null.into_iter().chain(with_one_thing_less(&body)) {
            // Without the object itself there is nothing to read.
            if path.matches(['.', '[']).count() < 2 {
                continue;
            }
            // A list of nothing in particular is not one of objects, and one whose end is not told may go on.
            if path.ends_with(']') || path.ends_with(".endIndex") {
                continue;
            }
            *said.lock().unwrap() = changed.to_string();
            call(&client).unwrap_or_else(|error| panic!("{name} without {path}: {error}"));
        }
    }
}

#[test]
fn a_value_of_another_type_is_an_error_at_the_worst_wherever_it_stands() {
    let (master, said) = repeating();
    let client = hasty(&master);
    let odd = [
        json!(true),
        json!(-1),
        json!(1.5e300),
        json!(u64::MAX),
        json!("\u{0}odd \u{1b}[31m"),
        json!([]),
        json!([null, {}]),
        json!({}),
        json!({"": {"nested": [1]}}),
    ];
    for (name, body, call) in objects() {
        for other in &odd {
            for (path, changed) in with_one_thing_else(&body, other) {
                *said.lock().unwrap() = changed.to_string();
                if let Err(error) = call(&client) {
                    let text = error.to_string();
                    assert_eq!(
                        error.kind(),
                        ErrorKind::InvalidResponse,
                        "{name} with {other} at {path}: {text}"
                    );
                    assert!(!text.contains(char::is_control), "{text:?}");
                }
            }
        }
    }
}

#[test]
fn numbers_beyond_their_range_are_errors_that_name_the_call() {
    let with = |from: &str, to: &str| ok(&EXPERIMENT.replace(from, to));
    assert_kinds(
        ErrorKind::InvalidResponse,
        [
            (
                "an id beyond 32 bits",
                with(r#""id":1"#, r#""id":2147483648"#),
            ),
            (
                "an id below 32 bits",
                with(r#""id":1"#, r#""id":-2147483649"#),
            ),
            (
                "an id beyond 64 bits",
                with(r#""id":1"#, r#""id":99999999999999999999"#),
            ),
            ("an id with a fraction", with(r#""id":1"#, r#""id":1.5"#)),
            (
                "a number beyond all floats",
                with(r#""n"}"#, r#""n","x":1e999}"#),
            ),
            ("an id in words", with(r#""id":1"#, r#""id":"one""#)),
        ],
    );
}

#[test]
fn no_object_and_no_list_fails_for_an_odd_field() {
    let (master, said) = repeating();
    let client = hasty(&master);
    let odd = [
        json!("odd"),
        json!(-1.5),
        json!(true),
        json!([]),
        json!([null, 7]),
        json!({}),
        json!("2026-13-45T99:99:99Z"),
    ];
    for (name, body, call) in objects() {
        for other in &odd {
            for (path, changed) in with_one_thing_else(&body, other) {
                // The object or the list itself, where it stands, and by which id it goes must be there.
                let is_inner = path.matches(['.', '[']).count() >= 2;
                if !is_inner
                    || path.ends_with(']')
                    || path.ends_with(".id")
                    || path.starts_with(".pagination")
                {
                    continue;
                }
                *said.lock().unwrap() = changed.to_string();
                call(&client)
                    .unwrap_or_else(|error| panic!("{name} with {other} at {path}: {error}"));
            }
        }
    }
}

#[test]
fn what_is_written_in_another_way_is_read_all_the_same() {
    let (master, said) = repeating();
    let client = hasty(&master);
    let read = |body: &str| {
        *said.lock().unwrap() = body.to_owned();
        client.get_experiment(1).unwrap()
    };
    let experiment = read(
        r#"{"experiment":{"id":"7","projectId":"3","numTrials":2.0,"archived":"true","progress":"0.5",
            "startTime":"2026-11-23 20:20:16","endTime":"yesterday","labels":["a",null,5]}}"#,
    );
    assert_eq!((experiment.id, experiment.project_id), (7, 3));
    assert_eq!((experiment.num_trials, experiment.archived), (2, true));
    assert_eq!(experiment.progress, Some(0.5));
    let started = experiment.start_time.map(|time| time.to_string());
    assert_eq!(started.as_deref(), Some("2026-11-23T20:20:16Z"));
    assert_eq!(experiment.end_time, None);
    assert_eq!(experiment.labels, ["a", "5"]);

    // The last of several fields of one name counts, as in Python.
    let experiment = read(r#"{"experiment":{"id":1,"name":"a","id":2,"name":"b"}}"#);
    assert_eq!((experiment.id, experiment.name.as_str()), (2, "b"));

    *said.lock().unwrap() = r#"{"models":[null,{"id":1,"name":"a"}]}"#.to_owned();
    assert_eq!(client.get_models().unwrap().len(), 1);
}

#[test]
fn times_at_the_ends_of_the_calendar_are_read() {
    let (master, said) = repeating();
    let client = hasty(&master);
    for time in [
        "0001-01-01T00:00:00Z",
        "1970-01-01T00:00:00.000000001Z",
        "9999-12-30T22:00:00.999999999Z",
        "2026-11-23T20:20:16+05:30",
    ] {
        let body = json!({"experiment": {"id": 1, "startTime": time}});
        *said.lock().unwrap() = body.to_string();
        let experiment = client.get_experiment(1).unwrap();
        assert!(experiment.start_time.is_some(), "{time}");
    }
}

#[test]
fn what_a_newer_master_adds_is_passed_over_and_its_words_are_kept() {
    let (master, said) = repeating();
    let client = hasty(&master);
    *said.lock().unwrap() = json!({
        "experiment": {
            "id": 1, "state": "STATE_HIBERNATING", "futureField": {"deep": [1, 2, {"x": null}]},
            "config": {"future": {"option": [1.5, "x"]}}
        },
        "futureEnvelope": [1, 2, 3]
    })
    .to_string();
    let experiment = client.get_experiment(1).unwrap();
    assert_eq!(
        experiment.state,
        ExperimentState::Unrecognized("HIBERNATING".into())
    );
    assert_eq!(experiment.config["future"]["option"][0], 1.5);
    assert!(!experiment.state.is_terminal());
}

#[test]
fn json_nested_deeper_than_any_stack_is_an_error() {
    let nested = |open: &str, close: &str, depth: usize| {
        let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        EXPERIMENT.replace(r#"{"name":"n"}"#, &deep)
    };
    let shallow = hasty(&crate::saying(ok(&nested("[", "]", 100))));
    shallow.get_experiment(1).unwrap();
    assert_kinds(
        ErrorKind::InvalidResponse,
        [
            ("arrays", ok(&nested("[", "]", 500_000))),
            ("objects", ok(&nested("{\"a\":", "}", 500_000))),
            ("arrays without end", ok(&"[".repeat(500_000))),
            ("in what is passed over", {
                let deep = nested("[", "]", 500_000);
                ok(&format!(r#"{{"unknown":{deep}}}"#))
            }),
        ],
    );
}

#[test]
fn a_refusal_of_any_shape_keeps_its_status() {
    let deep = "[".repeat(100_000);
    let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(200_000));
    let bodies: [&[u8]; 10] = [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"<html><h1>502 Bad Gateway</h1></html>",
        br#"{"error":{"error":{"error":"x"}}}"#,
        br#"{"error":[1,2],"message":{}}"#,
        br#"{"message":"first\nsecond\u001b[2J\u0000"}"#,
        b"null",
        deep.as_bytes(),
        long.as_bytes(),
    ];
    for body in bodies {
        let body = body.to_vec();
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let master = RawMaster::start(move |_, stream| answer(stream, 418, &[], &body));
        let error = hasty(&master).get_experiment(1).unwrap_err();
        assert_eq!(error.status(), Some(418), "{shown}: {error}");
        assert_eq!(error.kind(), ErrorKind::Api, "{shown}: {error}");
        let text = error.to_string();
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(text.len() < 70_000, "{} bytes", text.len());
    }
}

#[test]
fn a_refusal_whose_body_is_cut_keeps_its_status() {
    for bytes in [
        "HTTP/1.1 404 Not Found\r\ncontent-length: 900\r\n\r\n{\"mess",
        "HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\nzz",
        "HTTP/1.1 404 Not Found\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope",
    ] {
        let error = crate::asked(bytes).unwrap_err();
        assert_eq!(error.status(), Some(404), "{bytes:?}: {error}");
    }
}

#[test]
fn a_page_of_html_is_an_error_that_says_so_for_every_call() {
    let html = Arc::new(Mutex::new(false));
    let is_html = Arc::clone(&html);
    let master = RawMaster::start(move |_, stream| {
        if *is_html.lock().unwrap() {
            let page = b"<!DOCTYPE html><title>Sign in</title>";
            return answer(stream, 200, &[("content-type", "text/html")], page);
        }
        answer_json(stream, 200, EXPERIMENT)
    });
    let client = hasty(&master);
    let mut experiment = client.get_experiment(1).unwrap();
    *html.lock().unwrap() = true;
    let errors = [
        (
            "/api/v1/experiments/1",
            client.get_experiment(1).unwrap_err(),
        ),
        (
            "/api/v1/experiments",
            client.list_experiments().unwrap_err(),
        ),
        ("/api/v1/experiments/1/kill", experiment.kill().unwrap_err()),
        (
            "/api/v1/experiments/1",
            experiment.set_name("x").unwrap_err(),
        ),
        ("/api/v1/models", client.create_model("m").unwrap_err()),
        (
            "/api/v1/model/labels",
            client.get_model_labels().unwrap_err(),
        ),
        (
            "/api/v1/experiments",
            client
                .create_experiment(json!({"name": "n"}), determined::ModelDefinition::none())
                .unwrap_err(),
        ),
    ];
    for (route, error) in errors {
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{text}");
        assert!(text.contains(route), "{text}");
        assert!(
            text.contains("not the answer of a Determined master"),
            "{text}"
        );
    }
    assert_eq!(experiment.name, "n");
}

#[test]
fn an_error_with_status_200_is_no_success() {
    let said = r#"{"error":{"code":14,"error":"the database is being upgraded"}}"#;
    let master = RawMaster::start(move |seen, stream| match seen.method.as_str() {
        "GET" if seen.path().ends_with("/1") => answer_json(stream, 200, EXPERIMENT),
        _ => answer_json(stream, 200, said),
    });
    let client = hasty(&master);
    let experiment = client.get_experiment(1).unwrap();
    for error in [
        experiment.kill().unwrap_err(),
        client.get_models().unwrap_err(),
        client.get_experiment(2).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{error}");
        assert!(error.to_string().contains("being upgraded"), "{error}");
    }
    let (master, said) = repeating();
    *said.lock().unwrap() = "{}".into();
    let error = hasty(&master).get_models().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{error}");
}

#[test]
fn a_login_that_gives_no_token_is_an_error_that_shows_none() {
    for body in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"user":{"username":"kim"}}"#,
        r#"{"token":null}"#,
        r#"{"token":""}"#,
        r#"{"token":1234567890}"#,
        r#"{"token":["s3cret-token"]}"#,
        r#"{"token":"s3cret-token\r\nx-evil: 1"}"#,
        r#"{"token":"s3cret-token with blanks"}"#,
        r#"{"token":"s3cret-tökén"}"#,
        r#"{"tokens":"s3cret-token"}"#,
        r#"{"token":"s3cret-token""#,
        r#""s3cret-token""#,
        "s3cret-token",
        "token=s3cret-token",
        "<html>Sign in</html>",
    ] {
        let master = RawMaster::start_bare(move |_, stream| answer_json(stream, 200, body));
        let error = Determined::new(master.login_options()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{body}: {error}");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(
                !text.contains("s3cret") && !text.contains("1234567890"),
                "{text}"
            );
            assert!(text.contains("/api/v1/auth/login"), "{text}");
        }
        assert_eq!(master.requests().len(), 1);
    }
}

#[test]
fn a_large_answer_is_read_whole() {
    let name = "ü".repeat(8 << 20);
    let body = EXPERIMENT.replace(
        r#""name":"n","state""#,
        &format!(r#""name":"{name}","state""#),
    );
    let master = RawMaster::start(move |_, stream| answer_json(stream, 200, &body));
    assert_eq!(master.client().get_experiment(1).unwrap().name, name);
}

#[test]
fn text_that_is_not_unicode_is_an_error() {
    let with = |bytes: &[u8]| {
        let (head, tail) = EXPERIMENT.split_once(r#""n","state""#).unwrap();
        let body = [
            head.as_bytes(),
            b"\"",
            bytes,
            b"\",\"state\"",
            tail.as_bytes(),
        ]
        .concat();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        [head.as_bytes(), &body].concat()
    };
    assert_kinds(
        ErrorKind::InvalidResponse,
        [
            ("a lone byte", with(b"\xff")),
            ("a cut character", with(b"\xc3")),
            ("an overlong one", with(b"\xc0\xaf")),
            ("a surrogate", with(b"\xed\xa0\x80")),
            ("a surrogate in an escape", with(br"\ud800")),
            ("a control character", with(b"\x01")),
        ],
    );
}

#[test]
fn a_master_that_closes_after_each_answer_serves_all_the_same() {
    let master = RawMaster::start_bare(|seen, stream| {
        let body = if seen.path().ends_with("login") {
            LOGGED_IN
        } else {
            EXPERIMENT
        };
        answer(stream, 200, &[("connection", "close")], body.as_bytes())?;
        Ok(After::Close)
    });
    let client = master.client();
    for _ in 0..10 {
        client.get_experiment(1).unwrap();
    }
}
