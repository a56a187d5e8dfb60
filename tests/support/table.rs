//! A master that answers from a table.

use std::collections::HashMap;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::RawMaster;

/// A master that answers from a table of `METHOD path?query`, status and body. What stands there more than once is answered in that order,
/// the last time and time again.
pub fn master(rows: Vec<(&str, u16, Value)>) -> RawMaster {
    let mut table: HashMap<String, Vec<(u16, String)>> = HashMap::new();
    for (call, status, body) in rows.into_iter().rev() {
        let answers = table.entry(in_order(call)).or_default();
        answers.push((status, body.to_string()));
    }
    let table = Mutex::new(table);
    RawMaster::start(move |seen, stream| {
        let call = in_order(&format!("{} {}", seen.method, seen.target));
        let mut table = table.lock().unwrap();
        let (status, body) = match table.get_mut(&call) {
            Some(answers) if answers.len() > 1 => answers.pop().unwrap(),
            Some(answers) => answers[0].clone(),
            None => (400, error(&format!("unexpected call: {call}")).to_string()),
        };
        super::json(stream, status, &body)
    })
}

/// The call with its query in alphabetical order.
fn in_order(call: &str) -> String {
    match call.split_once('?') {
        Some((path, query)) => {
            let mut query: Vec<&str> = query.split('&').collect();
            query.sort_unstable();
            format!("{path}?{}", query.join("&"))
        }
        None => call.to_owned(),
    }
}

/// What was asked since the login: each call, and its body or null.
pub fn calls(master: &RawMaster) -> Vec<(String, Value)> {
    let requests = master.requests();
    let requests = requests
        .iter()
        .filter(|seen| seen.path() != "/api/v1/auth/login");
    requests
        .map(|seen| {
            let call = in_order(&format!("{} {}", seen.method, seen.target));
            let body = if seen.body.is_empty() {
                Value::Null
            } else {
                seen.json()
            };
            (call, body)
        })
        .collect()
}

pub fn error(said: &str) -> Value {
    json!({"error": {"code": 5, "reason": "NotFound", "error": said}})
}
