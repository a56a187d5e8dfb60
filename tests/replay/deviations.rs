//! `deviations.toml`: where this crate differs from the Python SDK on purpose.

use std::fs;

use serde::Deserialize;
use serde_json::Value;

use super::recording::{Body, Exchange, Request, Response, directory};
use super::script::Step;

/// The whole file. Its own head says what the entries mean.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deviations {
    #[serde(default)]
    pub instead: Vec<Instead>,
    #[serde(default)]
    pub extra: Vec<Extra>,
    #[serde(default)]
    pub omitted: Vec<Omitted>,
    #[serde(default)]
    pub result: Vec<Outcome>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instead {
    pub scenario: String,
    pub seq: usize,
    path: Option<String>,
    query: Option<String>,
    /// JSON that is put into the body.
    with: Option<String>,
    /// Fields that the body lacks.
    #[serde(default)]
    without: Vec<String>,
    #[serde(default)]
    config_as_json: bool,
    answer: Option<Answer>,
    pub why: String,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extra {
    pub scenario: String,
    /// The exchange that this one comes before.
    pub before: usize,
    request: String,
    body: Option<String>,
    answer: Answer,
    pub why: String,
}

/// A recorded answer, or one that is written out.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Answer {
    Recorded { seq: usize },
    Written { status: u16, body: String },
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Omitted {
    pub scenario: String,
    pub seq: usize,
    pub why: String,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    pub scenario: String,
    /// The call as Python writes it; the first such call that no entry before this one is for.
    pub call: String,
    #[serde(flatten)]
    pub ours: Ours,
    pub why: String,
}

/// What a call comes to here.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ours {
    /// JSON.
    Returns(String),
    /// What the first such call returned in Python, or an item of that, or some items.
    Like {
        call: String,
        item: Option<usize>,
        items: Option<Vec<usize>>,
    },
    /// The kind of an error.
    Raises(String),
    /// The call cannot be written in Rust, or is not made.
    Absent(bool),
}

impl Deviations {
    pub fn read() -> Self {
        let path = directory().join("deviations.toml");
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        Self::parse(&text)
    }

    pub fn parse(text: &str) -> Self {
        toml::from_str(text).unwrap_or_else(|e| panic!("deviations.toml: {e}"))
    }

    /// The scenario and the reason of every entry.
    pub fn entries(&self) -> Vec<(&str, &str)> {
        let instead = self.instead.iter().map(|e| (&e.scenario, &e.why));
        let extra = self.extra.iter().map(|e| (&e.scenario, &e.why));
        let omitted = self.omitted.iter().map(|e| (&e.scenario, &e.why));
        let result = self.result.iter().map(|e| (&e.scenario, &e.why));
        let all = instead.chain(extra).chain(omitted).chain(result);
        all.map(|(scenario, why)| (scenario.as_str(), why.as_str()))
            .collect()
    }

    /// Only the entries for one scenario.
    pub fn of(mut self, scenario: &str) -> Self {
        self.instead.retain(|entry| entry.scenario == scenario);
        self.extra.retain(|entry| entry.scenario == scenario);
        self.omitted.retain(|entry| entry.scenario == scenario);
        self.result.retain(|entry| entry.scenario == scenario);
        self
    }

    /// What is to be asked and answered, in order.
    ///
    /// # Panics
    ///
    /// On an entry that changes nothing, or that is for no exchange.
    pub fn script(&self, exchanges: &[Exchange]) -> Vec<Step> {
        let known = |seq: usize| exchanges.iter().any(|exchange| exchange.seq == seq);
        let seqs = (self.instead.iter().map(|e| e.seq))
            .chain(self.omitted.iter().map(|e| e.seq))
            // An extra exchange may come after the last.
            .chain(
                self.extra
                    .iter()
                    .map(|e| e.before)
                    .filter(|&seq| seq != exchanges.len()),
            );
        for seq in seqs {
            assert!(
                known(seq),
                "a deviation is for exchange {seq}, which there is not"
            );
        }
        let mut steps = Vec::new();
        for exchange in exchanges {
            self.push_extras(exchange.seq, exchanges, &mut steps);
            if self.omitted.iter().any(|entry| entry.seq == exchange.seq) {
                continue;
            }
            let mut step = Step {
                name: format!("exchange {}", exchange.seq),
                request: exchange.request.clone(),
                config_as_json: false,
                answer: exchange.response.clone(),
            };
            for entry in self.instead.iter().filter(|e| e.seq == exchange.seq) {
                entry.apply(&mut step, exchanges);
            }
            steps.push(step);
        }
        self.push_extras(exchanges.len(), exchanges, &mut steps);
        steps
    }

    fn push_extras(&self, seq: usize, exchanges: &[Exchange], steps: &mut Vec<Step>) {
        for (nth, entry) in self
            .extra
            .iter()
            .filter(|entry| entry.before == seq)
            .enumerate()
        {
            steps.push(entry.step(nth, exchanges));
        }
    }
}

impl Answer {
    fn response(&self, exchanges: &[Exchange]) -> Response {
        match self {
            Self::Recorded { seq } => exchanges[*seq].response.clone(),
            Self::Written { status, body } => Response {
                status: *status,
                headers: [("content-type".to_owned(), "application/json".to_owned())].into(),
                body: json(body),
            },
        }
    }
}

fn json(text: &str) -> Body {
    Body {
        json: Some(serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"))),
        ..Body::default()
    }
}

impl Instead {
    fn apply(&self, step: &mut Step, exchanges: &[Exchange]) {
        let mut is_needed = false;
        if let Some(path) = &self.path {
            is_needed |= *path != step.request.path;
            step.request.path.clone_from(path);
        }
        if let Some(query) = &self.query {
            is_needed |= *query != step.request.query;
            step.request.query.clone_from(query);
        }
        if let Some(body) = &mut step.request.body.json {
            let recorded = body.clone();
            if let Some(with) = &self.with {
                merge(body, serde_json::from_str(with).unwrap());
            }
            let fields = body.as_object_mut().unwrap();
            fields.retain(|name, _| !self.without.contains(name));
            is_needed |= *body != recorded;
        }
        if self.config_as_json {
            is_needed = true;
            step.config_as_json = true;
        }
        if let Some(answer) = &self.answer {
            step.answer = answer.response(exchanges);
        }
        assert!(
            is_needed,
            "the deviation for exchange {} changes nothing",
            self.seq
        );
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

impl Extra {
    fn step(&self, nth: usize, exchanges: &[Exchange]) -> Step {
        let (method, target) = self.request.split_once(' ').unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = vec![("accept".to_owned(), "*/*".to_owned())];
        if path != "/api/v1/auth/login" {
            headers.push(("authorization".to_owned(), "Bearer TOKEN".to_owned()));
        }
        Step {
            name: format!("extra request {nth} before exchange {}", self.before),
            request: Request {
                method: method.to_owned(),
                path: path.to_owned(),
                query: query.to_owned(),
                headers: headers.into_iter().collect(),
                body: self.body.as_deref().map(json).unwrap_or_default(),
            },
            config_as_json: false,
            answer: self.answer.response(exchanges),
        }
    }
}
