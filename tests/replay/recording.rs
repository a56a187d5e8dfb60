//! Recordings as they stand in files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::Value;

/// Where the recordings are.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings")
}

/// What passed in one scenario.
#[derive(Clone)]
pub struct Recording {
    pub exchanges: Vec<Exchange>,
    pub calls: Vec<Call>,
}

impl Recording {
    /// Reads a recording, with other text in place of some of its own.
    pub fn read(scenario: &str, replacements: &[(&str, &str)]) -> Self {
        let read = |extension: &str| {
            let path = directory().join(format!("{scenario}.{extension}"));
            let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
            let replace = |text: String, (from, to): &(&str, &str)| text.replace(from, to);
            replacements.iter().fold(text, replace)
        };
        let lines = read("jsonl");
        let exchanges = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        Self {
            exchanges: exchanges.collect(),
            calls: serde_json::from_str(&read("calls.json")).unwrap(),
        }
    }
}

#[derive(Clone, Deserialize)]
pub struct Exchange {
    pub seq: usize,
    pub request: Request,
    pub response: Response,
}

#[derive(Clone, Deserialize)]
pub struct Request {
    pub method: String,
    /// As it was sent, percent-encoded.
    pub path: String,
    pub query: String,
    pub headers: BTreeMap<String, String>,
    pub body: Body,
}

#[derive(Clone, Deserialize)]
pub struct Response {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Body,
}

/// A body in one of four notations, or none.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    pub json: Option<Value>,
    pub json_lines: Option<Vec<Value>>,
    pub text: Option<String>,
    pub base64: Option<String>,
}

impl Body {
    /// The body as it goes over the wire, in the pieces in which a stream brings it.
    pub fn pieces(&self) -> Vec<Vec<u8>> {
        let line = |value: &Value| format!("{value}\n").into_bytes();
        match self {
            Self {
                json: Some(value), ..
            } => vec![line(value)],
            Self {
                json_lines: Some(values),
                ..
            } => values.iter().map(line).collect(),
            Self {
                text: Some(text), ..
            } => vec![text.clone().into_bytes()],
            Self {
                base64: Some(text), ..
            } => vec![BASE64_STANDARD.decode(text).unwrap()],
            _ => Vec::new(),
        }
    }

    /// What the master said was wrong, in any of the notations of an error.
    pub fn refusal(&self) -> Option<&str> {
        let json = self.json.as_ref()?;
        let places = ["/error/error", "/error/message", "/message"];
        places
            .iter()
            .find_map(|place| json.pointer(place)?.as_str())
    }
}

/// A call of the Python SDK.
#[derive(Clone, Deserialize)]
pub struct Call {
    /// As it is written in Python.
    pub call: String,
    #[serde(default)]
    pub returned: Value,
    pub raised: Option<Raised>,
}

#[derive(Clone, Deserialize)]
pub struct Raised {
    #[serde(rename = "type")]
    pub kind: String,
    pub message: String,
}
