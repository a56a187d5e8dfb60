//! The replay itself: it takes what was recorded and nothing else.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use determined::{Error, ErrorKind};
use serde_json::{Value, json};

use super::deviations::Deviations;
use super::recording::{Exchange, Recording};
use super::same::disagreement;
use super::{Replay, Result};

/// An exchange: `get` a model.
fn exchange(seq: usize, request: Value, answer: Value) -> Value {
    let mut whole = json!({
        "method": "GET", "path": "/api/v1/models/iris", "query": "",
        "headers": {"accept": "*/*", "authorization": "Bearer TOKEN"}, "body": {},
    });
    whole
        .as_object_mut()
        .unwrap()
        .extend(request.as_object().unwrap().clone());
    let response = json!({"status": 200, "headers": {}, "body": {"json": answer}});
    json!({"seq": seq, "request": whole, "response": response})
}

fn replay(exchanges: &[Value], calls: Value, deviations: &str) -> Replay {
    let exchanges = exchanges
        .iter()
        .cloned()
        .map(serde_json::from_value::<Exchange>);
    let recording = Recording {
        exchanges: exchanges.map(std::result::Result::unwrap).collect(),
        calls: serde_json::from_value(calls).unwrap(),
    };
    Replay::of("sample", recording, Deviations::parse(deviations))
}

/// A client that says what it is told, on one connection.
struct Wire(BufReader<TcpStream>);

impl Wire {
    fn to(replay: &Replay) -> Self {
        let address = replay.master.url.strip_prefix("http://").unwrap();
        Self(BufReader::new(TcpStream::connect(address).unwrap()))
    }

    fn say(&mut self, text: &str) -> (u16, String) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_ascii_lowercase()),
            }
        }
        let status = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
        let length = lines
            .iter()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap_or("0").parse().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        if lines
            .iter()
            .any(|line| line == "transfer-encoding: chunked")
        {
            while !body.ends_with(b"\r\n0\r\n\r\n") {
                body.push(0);
                let end = body.len() - 1;
                self.0.read_exact(&mut body[end..]).unwrap();
            }
        }
        (status, String::from_utf8(body).unwrap())
    }

    fn ask(&mut self, method: &str, target: &str, body: &str) -> (u16, String) {
        let length = body.len();
        self.say(&format!(
            "{method} {target} HTTP/1.1\r\nauthorization: Bearer TOKEN\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }
}

/// What the replay has against one request, where `recorded` was to come.
fn problem(
    recorded: Value,
    deviations: &str,
    method: &str,
    target: &str,
    body: &str,
) -> Option<String> {
    let mut replay = replay(&[exchange(0, recorded, json!({}))], json!([]), deviations);
    Wire::to(&replay).ask(method, target, body);
    replay.is_finished = true;
    super::lock(&replay.conversation).problem.take()
}

#[test]
fn recorded_answers_come_in_order() {
    let mut stream = exchange(1, json!({"path": "/api/v1/trials/7/logs"}), Value::Null);
    stream["response"]["body"] = json!({"json_lines": [{"result": 1}, {"result": 2}]});
    let post = json!({"method": "POST", "body": {"json": {"name": "a", "labels": [1]}}});
    let replay = replay(
        &[exchange(0, post, json!({"id": 7})), stream],
        json!([]),
        "",
    );
    let mut wire = Wire::to(&replay);
    let chunked = wire.say(
        "POST /api/v1/models/iris HTTP/1.1\r\nauthorization: Bearer TOKEN\r\ntransfer-encoding: chunked\r\n\r\n\
         13\r\n{\"labels\": [1.0], \"\r\nb\r\nname\": \"a\"}\r\n0\r\n\r\n",
    );
    assert_eq!(chunked, (200, "{\"id\":7}\n".to_owned()));
    let (status, body) = wire.ask("GET", "/api/v1/trials/7/logs", "");
    assert_eq!((status, body.matches("result").count()), (200, 2));
    replay.finish();
}

#[test]
fn any_other_request_is_a_problem() {
    let recorded = || json!({"query": "name=a+b&id=1&id=2"});
    let path = "/api/v1/models/iris";
    let same = format!("{path}?id=2&name=a%20b&id=1");
    assert_eq!(problem(recorded(), "", "GET", &same, ""), None);
    for (method, target, body) in [
        ("POST", same.clone(), ""),
        ("GET", format!("{path}?id=2&name=a%20b"), ""),
        ("GET", format!("{path}?id=2&name=a%20b&id=1&limit=1"), ""),
        ("GET", format!("{path}?id=2&name=A%20b&id=1"), ""),
        (
            "GET",
            "/api/v1/models/Iris?id=2&name=a%20b&id=1".to_owned(),
            "",
        ),
        ("GET", same, "{}"),
    ] {
        let problem = problem(recorded(), "", method, &target, body);
        assert!(problem.is_some(), "{method} {target} {body}");
    }
    let recorded =
        json!({"headers": {"accept": "application/gzip", "authorization": "Bearer TOKEN"}});
    assert!(problem(recorded, "", "GET", path, "").is_some());
    let recorded = json!({"headers": {"accept": "*/*"}});
    assert!(problem(recorded, "", "GET", path, "").is_some());
}

#[test]
fn any_other_body_is_a_problem() {
    let recorded =
        || json!({"method": "PATCH", "body": {"json": {"labels": ["a"], "notes": null}}});
    let ask = |body| problem(recorded(), "", "PATCH", "/api/v1/models/iris", body);
    assert_eq!(ask(r#"{"notes": null, "labels": ["a"]}"#), None);
    for body in [
        "",
        r#"{"labels": ["a"]}"#,
        r#"{"labels": ["b"], "notes": null}"#,
        r#"{"labels": ["a", "a"], "notes": null}"#,
        r#"{"labels": ["a"], "notes": ""}"#,
        r#"{"labels": ["a"], "notes": null, "more": 1}"#,
    ] {
        assert!(ask(body).is_some(), "{body}");
    }
}

#[test]
fn a_model_definition_is_compared_file_by_file() {
    let file = |path: &str, content: &str, mtime: Value| json!({"path": path, "content": content, "mtime": mtime});
    let body = |files: Value| json!({"config": "{a: 1}\n", "modelDefinition": files});
    let recorded = || {
        let files = [
            file("b", "B", json!("1")),
            file("a", "", json!("2")),
            file("a/c", "C", json!("3")),
        ];
        json!({"method": "POST", "path": "/api/v1/experiments", "body": {"json": body(json!(files))}})
    };
    let ask = |deviations, body: Value| {
        problem(
            recorded(),
            deviations,
            "POST",
            "/api/v1/experiments",
            &body.to_string(),
        )
    };
    let files = |content, mtime, path| {
        json!([
            file("a", "", json!("9")),
            file(path, content, mtime),
            file("b", "B", json!("9"))
        ])
    };
    assert_eq!(ask("", body(files("C", json!("9"), "a/c"))), None);
    assert!(ask("", body(files("D", json!("9"), "a/c"))).is_some());
    assert!(ask("", body(files("C", json!(9), "a/c"))).is_some());
    assert!(ask("", body(files("C", json!("9"), "a/d"))).is_some());
    assert!(ask("", body(json!([]))).is_some());
    let late = json!([
        file("a/c", "C", json!("9")),
        file("a", "", json!("9")),
        file("b", "B", json!("9"))
    ]);
    assert!(ask("", body(late)).is_some());

    let as_json = |config: &str| {
        let mut body = body(files("C", json!("9"), "a/c"));
        body["config"] = json!(config);
        body
    };
    let deviation =
        "[[instead]]\nscenario = 'sample'\nseq = 0\nconfig_as_json = true\nwhy = 'test'";
    assert!(ask("", as_json(r#"{"a":1}"#)).is_some());
    assert_eq!(ask(deviation, as_json(r#"{"a":1}"#)), None);
    assert!(ask(deviation, as_json(r#"{"a":2}"#)).is_some());
    assert!(ask(deviation, as_json("{a: 1}")).is_some());
}

const DEVIATIONS: &str = r#"
[[instead]]
scenario = "sample"
seq = 0
query = "limit=5"
why = "test"

[[extra]]
scenario = "sample"
before = 1
request = "PATCH /api/v1/models/iris?x=1"
body = '{"a": 1}'
answer = { seq = 2 }
why = "test"

[[omitted]]
scenario = "sample"
seq = 1
why = "test"

[[extra]]
scenario = "sample"
before = 3
request = "GET /last"
answer = { status = 404, body = '{"message": "gone"}' }
why = "test"
"#;

fn three() -> [Value; 3] {
    [0, 1, 2].map(|seq| exchange(seq, json!({}), json!({"answer": seq})))
}

#[test]
fn deviations_are_taken_in_place_of_what_was_recorded() {
    let replay = replay(&three(), json!([]), DEVIATIONS);
    let mut wire = Wire::to(&replay);
    let answer = |n| (200, format!("{{\"answer\":{n}}}\n"));
    assert_eq!(
        wire.ask("GET", "/api/v1/models/iris?limit=5", ""),
        answer(0)
    );
    assert_eq!(
        wire.ask("PATCH", "/api/v1/models/iris?x=1", r#"{"a": 1}"#),
        answer(2)
    );
    assert_eq!(wire.ask("GET", "/api/v1/models/iris", ""), answer(2));
    let (status, _) = wire.ask("GET", "/last", "");
    assert_eq!(status, 404);
    replay.finish();
}

#[test]
#[should_panic(expected = "exchange 0")]
fn a_deviation_that_is_not_needed_is_a_problem() {
    let replay = replay(&three(), json!([]), DEVIATIONS);
    Wire::to(&replay).ask("GET", "/api/v1/models/iris", "");
    replay.finish();
}

#[test]
#[should_panic(expected = "changes nothing")]
fn a_deviation_that_changes_nothing_is_a_problem() {
    let deviation = "[[instead]]\nscenario = 'sample'\nseq = 0\nquery = ''\nwhy = 'test'";
    let _ = replay(&three(), json!([]), deviation);
}

#[test]
#[should_panic(expected = "not asked: exchange 1")]
fn what_is_not_asked_is_a_problem() {
    let replay = replay(&three(), json!([]), "");
    Wire::to(&replay).ask("GET", "/api/v1/models/iris", "");
    replay.finish();
}

#[test]
#[should_panic(expected = "at its end")]
fn what_is_asked_too_often_is_a_problem() {
    let replay = replay(&three()[..1], json!([]), "");
    let mut wire = Wire::to(&replay);
    wire.ask("GET", "/api/v1/models/iris", "");
    wire.ask("GET", "/api/v1/models/iris", "");
    replay.finish();
}

const RESULTS: &str = r#"
[[result]]
scenario = "sample"
call = "b()"
returns = "2"
why = "test"

[[result]]
scenario = "sample"
call = "c()"
absent = true
why = "test"
"#;

fn calls() -> Value {
    json!([
        {"call": "a()", "returned": {"_type": "Model", "name": "a"}},
        {"call": "b()", "returned": 1},
        {"call": "c()", "raised": {"type": "TypeError", "message": "no"}},
    ])
}

#[test]
fn results_are_compared_call_by_call() {
    let mut replay = replay(&[], calls(), RESULTS);
    replay.returns("a()", Ok(json!({"name": "a", "more": 1})));
    replay.returns("b()", Ok(2));
    replay.absent("c()");
    replay.finish();
}

#[test]
#[should_panic(expected = "a(): /name: is \"b\", recorded is \"a\"")]
fn another_result_is_a_problem() {
    let mut replay = replay(&[], calls(), RESULTS);
    replay.returns("a()", Ok(json!({"name": "b"})));
}

#[test]
#[should_panic(expected = "b(): the deviation is not needed")]
fn a_result_that_does_not_deviate_is_a_problem() {
    let mut replay = replay(&[], calls(), RESULTS);
    replay.returns("a()", Ok(json!({"name": "a"})));
    replay.returns("b()", Ok(1));
}

#[test]
#[should_panic(expected = "c(): Python raised TypeError: no")]
fn a_call_that_fails_in_python_fails_here() {
    let mut replay = replay(&[], json!([calls()[2]]), "");
    replay.returns("c()", Ok(1));
}

#[test]
#[should_panic(expected = "another call was recorded")]
fn another_call_is_a_problem() {
    let mut replay = replay(&[], calls(), RESULTS);
    replay.returns("b()", Ok(2));
}

#[test]
#[should_panic(expected = "not called: b()")]
fn a_call_that_is_left_out_is_a_problem() {
    let mut replay = replay(&[], calls(), RESULTS);
    replay.returns("a()", Ok(json!({"name": "a"})));
    replay.finish();
}

#[test]
#[should_panic(expected = "finish() was not called")]
fn a_replay_that_is_not_finished_is_a_problem() {
    let _ = replay(&[], calls(), RESULTS);
}

#[test]
fn objects_agree_by_the_names_of_python() {
    let times = |creation| json!({"_type": "Model", "creation_time": creation});
    let ours = |creation| json!({"creation_time": creation});
    let exact = "2026-11-23T20:48:01.460451Z";
    for (ours, recorded, agree) in [
        (ours(exact), times("2026-11-23T20:48:01+00:00"), true),
        (ours(exact), times("2026-11-23T20:48:01.460451+00:00"), true),
        (
            ours("2026-11-23T20:48:01Z"),
            times("2026-11-23T20:48:01.460451+00:00"),
            false,
        ),
        (ours(exact), times("2026-11-23T20:48:02+00:00"), false),
        (
            json!({"labels": ["b", "a"]}),
            json!({"_type": "Experiment", "labels": ["a", "b"]}),
            true,
        ),
        (
            json!({"labels": []}),
            json!({"_type": "Experiment", "labels": null}),
            true,
        ),
        (
            json!({"labels": ["b"]}),
            json!({"_type": "Experiment", "labels": ["a", "b"]}),
            false,
        ),
        (
            json!({"labels": ["b", "a"]}),
            json!({"_type": "Model", "labels": ["a", "b"]}),
            false,
        ),
        (
            json!({"notes": null}),
            json!({"_type": "Experiment", "notes": "omitted"}),
            true,
        ),
        (
            json!({"notes": "omitted"}),
            json!({"_type": "Experiment", "notes": "omitted"}),
            false,
        ),
        (
            json!({"resources": {"a": 1}}),
            json!({"_type": "Checkpoint", "resources": {"a": "1"}}),
            true,
        ),
        (
            json!({"resources": {"a": "1"}}),
            json!({"_type": "Checkpoint", "resources": {"a": "1"}}),
            false,
        ),
        (
            json!({"resources": {"a": 2}}),
            json!({"_type": "Checkpoint", "resources": {"a": "1"}}),
            false,
        ),
        (
            json!({"resources": null}),
            json!({"_type": "Checkpoint", "resources": {"a": "1"}}),
            false,
        ),
        (
            json!({"metadata": {"a": 1, "b": 2}}),
            json!({"_type": "Model", "metadata": {"a": 1.0}}),
            false,
        ),
        (
            json!({"metadata": {"a": 1}}),
            json!({"_type": "Model", "metadata": {"a": 1.0}}),
            true,
        ),
        (json!({}), json!({"_type": "Model", "name": "a"}), false),
        (
            json!([{"id": 1, "more": 2}]),
            json!([{"_type": "Trial", "id": 1}]),
            true,
        ),
        (json!([]), json!([{"_type": "Trial", "id": 1}]), false),
    ] {
        assert_eq!(
            disagreement(&ours, &recorded).is_none(),
            agree,
            "{ours} {recorded}"
        );
    }
}

#[test]
fn an_error_has_the_status_and_the_words_of_the_master() {
    let mut refused = exchange(
        0,
        json!({"method": "POST", "path": "/api/v1/auth/login", "headers": {}}),
        Value::Null,
    );
    refused["request"]["body"] =
        json!({"json": {"username": "kim", "password": "", "isHashed": true}});
    refused["response"] = json!({
        "status": 403, "headers": {}, "body": {"json": {"error": {"code": 7, "error": "user is not active"}}},
    });
    let calls = json!([
        {"call": "d()", "raised": {"type": "APIException", "message": "user is not active"}},
    ]);
    let mut replay = replay(&[refused], calls, "");
    let options = replay.login_options("kim", "");
    let refused: Result<determined::Determined, Error> = determined::Determined::new(options);
    replay.raises("d()", ErrorKind::Forbidden, refused);
    replay.finish();
}
