//! A master that holds a recorded conversation, and the comparison of what comes out of it.

mod deviations;
mod json;
mod recording;
mod same;
mod script;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use determined::{Determined, Error, ErrorKind, LoginOptions, Proxy, Result, TokenStore};
use serde::Serialize;
use serde_json::Value;

pub use self::deviations::Deviations;
use self::deviations::{Ours, Outcome};
pub use self::recording::directory;
use self::recording::{Call, Raised, Recording, Response};
use self::same::disagreement;
use self::script::Step;
use crate::support::{After, RawMaster, Seen, answer, chunk, start_chunked};

/// The password of the users in recordings of today's master; those of the oldest have a blank one.
pub const PASSWORD: &str = "Passw0rd.test";

/// One scenario under way. [`finish`](Self::finish) it.
#[must_use]
pub struct Replay {
    scenario: String,
    master: RawMaster,
    conversation: Arc<Mutex<Conversation>>,
    all_calls: Vec<Call>,
    /// The calls that are still to be made.
    calls: VecDeque<Call>,
    outcomes: Vec<Outcome>,
    is_finished: bool,
}

impl Replay {
    pub fn start(scenario: &str) -> Self {
        Self::start_with(scenario, &[])
    }

    /// Starts with other text in place of some of the recording: directories, above all.
    pub fn start_with(scenario: &str, replacements: &[(&str, &str)]) -> Self {
        let recording = Recording::read(scenario, replacements);
        Self::of(scenario, recording, Deviations::read().of(scenario))
    }

    fn of(scenario: &str, recording: Recording, deviations: Deviations) -> Self {
        let conversation = Arc::new(Mutex::new(Conversation {
            steps: deviations.script(&recording.exchanges).into(),
            refusal: None,
            problem: None,
        }));
        let shared = Arc::clone(&conversation);
        let master = RawMaster::start_bare(move |seen, stream| {
            let response = lock(&shared).answer(seen);
            write(&response, stream)
        });
        Self {
            scenario: scenario.to_owned(),
            master,
            conversation,
            calls: recording.calls.clone().into(),
            all_calls: recording.calls,
            outcomes: deviations.result,
            is_finished: false,
        }
    }

    /// Options to log in here with.
    pub fn login_options(&self, user: &str, password: &str) -> LoginOptions {
        LoginOptions::new()
            .master(&self.master.url)
            .user(user)
            .password(password)
            .token_store(TokenStore::None)
            .proxy(Proxy::None)
            .environment([("HOME", "/nonexistent")])
    }

    /// Logs in before the calls that were recorded.
    #[track_caller]
    pub fn client(&self, user: &str) -> Determined {
        self.done(Determined::new(self.login_options(user, PASSWORD)))
    }

    /// Logs in by a call that was recorded.
    #[track_caller]
    pub fn logged_in(&mut self, call: &str, outcome: Result<Determined>) -> Determined {
        self.next_call(call);
        self.done(outcome)
    }

    /// What a call gave that was not recorded but that others stand on.
    #[track_caller]
    pub fn done<T>(&self, outcome: Result<T>) -> T {
        self.check_requests();
        outcome.unwrap_or_else(|error| panic!("{}: {error}", self.scenario))
    }

    /// Compares what a call returned with what Python's returned, and gives it.
    #[track_caller]
    pub fn returns<T: Serialize>(&mut self, call: &str, outcome: Result<T>) -> T {
        let (recorded, deviation) = self.next_call(call);
        lock(&self.conversation).refusal = None;
        let value = self.done(outcome);
        let ours = serde_json::to_value(&value).unwrap();
        let as_python = match &recorded.raised {
            Some(Raised { kind, message }) => Some(format!("Python raised {kind}: {message}")),
            None => disagreement(&ours, &recorded.returned),
        };
        let Some(deviation) = deviation else {
            must_agree(call, as_python);
            return value;
        };
        assert!(as_python.is_some(), "{call}: the deviation is not needed");
        let expected = self.expected(deviation.ours);
        let expected = expected.unwrap_or_else(|| panic!("{call}: it is not to return"));
        must_agree(call, disagreement(&ours, &expected));
        value
    }

    /// What a deviation lets a call return.
    fn expected(&self, ours: Ours) -> Option<Value> {
        let (call, item, items) = match ours {
            Ours::Returns(json) => return Some(serde_json::from_str(&json).unwrap()),
            Ours::Like { call, item, items } => (call, item, items),
            Ours::Raises(_) | Ours::Absent(_) => return None,
        };
        let like = self.all_calls.iter().find(|other| other.call == call);
        let like = &like
            .unwrap_or_else(|| panic!("{call} was not recorded"))
            .returned;
        Some(match (item, items) {
            (Some(item), _) => like[item].clone(),
            (None, Some(items)) => items.iter().map(|&item| like[item].clone()).collect(),
            (None, None) => like.clone(),
        })
    }

    /// Compares how a call failed with how Python's failed.
    #[track_caller]
    pub fn raises<T: Debug>(&mut self, call: &str, kind: ErrorKind, outcome: Result<T>) -> Error {
        let (recorded, deviation) = self.next_call(call);
        let refusal = lock(&self.conversation).refusal.take();
        let error = outcome.expect_err(call);
        assert_eq!(error.kind(), kind, "{call}: {error}");
        let as_python = match &recorded.raised {
            Some(raised) => failing_otherwise(&error, raised, refusal.as_ref()),
            None => Some("Python did not fail".to_owned()),
        };
        let Some(deviation) = deviation else {
            must_agree(call, as_python);
            return error;
        };
        assert!(as_python.is_some(), "{call}: the deviation is not needed");
        let is_expected =
            matches!(deviation.ours, Ours::Raises(kind) if kind == format!("{:?}", error.kind()));
        assert!(is_expected, "{call}: it is not to fail so: {error}");
        error
    }

    /// Passes over a call that cannot be made here.
    #[track_caller]
    pub fn absent(&mut self, call: &str) {
        let (_, deviation) = self.next_call(call);
        assert!(
            matches!(
                deviation.map(|outcome| outcome.ours),
                Some(Ours::Absent(true))
            ),
            "{call}: deviations.toml does not say why it is absent"
        );
    }

    /// The whole recording was gone through.
    #[track_caller]
    pub fn finish(mut self) {
        self.is_finished = true;
        self.check_requests();
        if let Some(step) = lock(&self.conversation).steps.front() {
            let Step { name, request, .. } = step;
            panic!(
                "{}: not asked: {name}, {} {}?{}",
                self.scenario, request.method, request.path, request.query
            );
        }
        if let Some(call) = self.calls.front() {
            panic!("{}: not called: {}", self.scenario, call.call);
        }
        if let Some(outcome) = self.outcomes.first() {
            panic!(
                "{}: the deviation of {} is for no call",
                self.scenario, outcome.call
            );
        }
    }

    /// The next recorded call, which is this one, and how ours comes out differently.
    #[track_caller]
    fn next_call(&mut self, call: &str) -> (Call, Option<Outcome>) {
        self.check_requests();
        let next = self.calls.pop_front();
        let next = next.unwrap_or_else(|| panic!("{call}: no more calls were recorded"));
        assert_eq!(next.call, call, "another call was recorded");
        let deviation = self
            .outcomes
            .iter()
            .position(|outcome| outcome.call == call);
        (next, deviation.map(|place| self.outcomes.remove(place)))
    }

    /// Fails on a request that was not the recorded one.
    #[track_caller]
    fn check_requests(&self) {
        if let Some(problem) = &lock(&self.conversation).problem {
            panic!("{}: {problem}", self.scenario);
        }
    }
}

#[track_caller]
fn must_agree(call: &str, disagreement: Option<String>) {
    if let Some(disagreement) = disagreement {
        panic!("{call}: {disagreement}");
    }
}

/// What is different in how Python's call failed; `refusal` is what the master said.
fn failing_otherwise(error: &Error, raised: &Raised, refusal: Option<&Response>) -> Option<String> {
    let is_same = match raised.kind.as_str() {
        "NotFoundException" => error.is_not_found(),
        "UnauthenticatedException" => error.kind() == ErrorKind::Unauthenticated,
        "ForbiddenException" => error.kind() == ErrorKind::Forbidden,
        "EnterpriseOnlyError" => error.kind() == ErrorKind::EnterpriseOnly,
        "APIException" => error.status().is_some() && !error.is_not_found(),
        // What Python finds wrong by itself, in its own words.
        "AssertionError" | "TypeError" | "ValueError" => error.status().is_none(),
        other => return Some(format!("{other} is not known")),
    };
    if !is_same {
        let Raised { kind, message } = raised;
        return Some(format!("Python raised {kind}: {message}; ours is {error}"));
    }
    let status = refusal.map(|refusal| refusal.status);
    let said = refusal
        .and_then(|refusal| refusal.body.refusal())
        .map(str::trim);
    let ours = (error.status(), error.server_message());
    (ours != (status, said))
        .then(|| format!("ours is {ours:?}, the master's is {:?}", (status, said)))
}

impl Drop for Replay {
    fn drop(&mut self) {
        assert!(
            self.is_finished || thread::panicking(),
            "{}: finish() was not called",
            self.scenario
        );
    }
}

/// Where the conversation stands.
struct Conversation {
    steps: VecDeque<Step>,
    /// The last refusal, unless a call has been compared since.
    refusal: Option<Response>,
    /// The first request that was not the recorded one.
    problem: Option<String>,
}

impl Conversation {
    fn answer(&mut self, seen: &Seen) -> Response {
        let expected = self.steps.pop_front();
        let checked = match &expected {
            Some(step) => step.check(seen).map_err(|why| {
                let Step { name, request, .. } = step;
                format!(
                    "{why}; {name} is {} {}?{}",
                    request.method, request.path, request.query
                )
            }),
            None => Err("the recording is at its end".to_owned()),
        };
        if let Err(why) = checked {
            let problem = format!("{} {}: {why}", seen.method, seen.target);
            self.problem.get_or_insert(problem);
        }
        match (expected, &self.problem) {
            (Some(step), None) => {
                if step.answer.status >= 300 {
                    self.refusal = Some(step.answer.clone());
                }
                step.answer
            }
            _ => Response {
                // Nothing is done again on account of this.
                status: 418,
                headers: Default::default(),
                body: Default::default(),
            },
        }
    }
}

fn lock(conversation: &Mutex<Conversation>) -> MutexGuard<'_, Conversation> {
    conversation.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes an answer: a stream in chunks, anything else with its length.
fn write(response: &Response, stream: &mut impl Write) -> io::Result<After> {
    let pieces = response.body.pieces();
    if response.body.json_lines.is_some() {
        assert_eq!(response.status, 200);
        start_chunked(stream)?;
        for piece in &pieces {
            chunk(stream, piece)?;
        }
        chunk(stream, b"")?;
        return Ok(After::KeepOpen);
    }
    let headers: Vec<_> = (response.headers.iter())
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    answer(stream, response.status, &headers, &pieces.concat())
}
