//! The calls of the Python SDK in their order, and the comparison with what is sent here.

use std::collections::VecDeque;
use std::fmt::Debug;

use determined::testing::{MockMaster, RecordedRequest};
use determined::{OrderBy, Result};
use serde::Deserialize;
use serde_json::{Value, json};

pub const ORDERS: [OrderBy; 2] = [OrderBy::Ascending, OrderBy::Descending];
pub const NONE: [&str; 0] = [];

/// What the Python SDK sent for a call.
#[derive(Deserialize)]
struct Recorded {
    call: String,
    requests: Vec<Request>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Request {
    request: String,
    #[serde(default)]
    body: Value,
}

/// The calls that are still to be made.
pub struct Script<'a> {
    pub master: &'a MockMaster,
    recorded: VecDeque<Recorded>,
    /// In place of what the next call is recorded to send.
    instead: Option<Vec<Request>>,
}

impl<'a> Script<'a> {
    pub fn start(master: &'a MockMaster) -> Self {
        let lines = include_str!("../vectors/python_requests.jsonl").lines();
        master.clear_requests();
        Self {
            master,
            recorded: lines.map(|l| serde_json::from_str(l).unwrap()).collect(),
            instead: None,
        }
    }

    /// Compares what a call has sent with what Python sent for the next one, and gives what it returned.
    #[track_caller]
    pub fn same<T>(&mut self, call: &str, result: Result<T>) -> Result<T> {
        let recorded = self.recorded.pop_front().expect("a recorded call");
        assert_eq!(call, recorded.call);
        let sent: Vec<Request> = self.master.requests().iter().map(request).collect();
        let expected = self.instead.take().unwrap_or(recorded.requests);
        let error = result.as_ref().err();
        assert_eq!(sent, expected, "{call} {error:?}");
        self.master.clear_requests();
        result
    }

    /// Fails if there are calls that were not made.
    #[track_caller]
    pub fn finish(self) {
        let left: Vec<_> = self.recorded.iter().map(|call| &call.call).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// The next call sends what Python sent, and before it another request.
    pub fn first(&mut self, extra: &str) {
        let mut requests = vec![plain(extra)];
        requests.extend(self.recorded[0].requests.clone());
        self.instead = Some(requests);
    }

    /// The next call sends what Python sent, and these requests after it.
    pub fn then(&mut self, more: &[(&str, Value)]) {
        let mut requests = self.recorded[0].requests.clone();
        requests.extend(with_bodies(more));
        self.instead = Some(requests);
    }

    /// The next call sends what Python sent, but with another query.
    pub fn without(&mut self, part: &str) {
        let mut requests = self.recorded[0].requests.clone();
        assert!(requests[0].request.contains(part), "{requests:?}");
        requests[0].request = requests[0].request.replace(part, "");
        self.instead = Some(requests);
    }

    /// The next call sends these requests instead of Python's.
    pub fn rather(&mut self, requests: &[(&str, Value)]) {
        self.instead = Some(with_bodies(requests));
    }
}

fn with_bodies(requests: &[(&str, Value)]) -> Vec<Request> {
    let requests = requests.iter().map(|(request, body)| Request {
        body: body.clone(),
        ..plain(request)
    });
    requests.collect()
}

fn plain(request: &str) -> Request {
    Request {
        request: request.to_owned(),
        body: Value::Null,
    }
}

/// A request without what depends on the machine, its query in alphabetical order.
fn request(seen: &RecordedRequest) -> Request {
    let mut query: Vec<&str> = seen.query.split('&').filter(|q| !q.is_empty()).collect();
    query.sort_unstable();
    let mut request = format!("{} {}", seen.method, seen.path);
    if !query.is_empty() {
        request += &format!("?{}", query.join("&"));
    }
    let mut body = seen.json();
    if let Some(Value::Array(entries)) = body.get_mut("modelDefinition") {
        for entry in entries.iter_mut() {
            entry.as_object_mut().unwrap().remove("mode");
            entry.as_object_mut().unwrap().remove("mtime");
        }
        entries.sort_by_key(|entry| entry["path"].to_string());
    }
    let request = json!({"request": request, "body": body});
    serde_json::from_value(without_uuids(request)).unwrap()
}

/// Takes the ids of checkpoints, which are others each time, for one.
fn without_uuids(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(hide_uuid(&text)),
        Value::Array(items) => items.into_iter().map(without_uuids).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter();
            fields.map(|(k, v)| (k, without_uuids(v))).collect()
        }
        other => other,
    }
}

fn hide_uuid(text: &str) -> String {
    let is_uuid = |part: &str| {
        let lengths = part.split('-').map(str::len);
        lengths.eq([8, 4, 4, 4, 12]) && part.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
    };
    let parts = text.split('/');
    let parts: Vec<&str> = parts.map(|p| if is_uuid(p) { "UUID" } else { p }).collect();
    parts.join("/")
}

/// `StartTime` as Python has it: `START_TIME`.
pub fn word(variant: impl Debug) -> String {
    let mut word = String::new();
    for c in format!("{variant:?}").chars() {
        if c.is_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.extend(c.to_uppercase());
    }
    word
}
