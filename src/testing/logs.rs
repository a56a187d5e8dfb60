//! Logs: what trials and the master write of them, and how it is streamed.

use super::agents::AGENT;
use super::clock::Clock;
use super::failure::Failure;
use super::http::Response;
use super::router::{Answer, Call, Route};
use super::simulation::Line;
use super::state::{Shared, State};
use super::trials::Trial;
use super::wire::{self, Query};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

pub(super) const ROUTES: &[Route] = &[
    Route::get("/api/v1/trials/{}/logs", of_trial).streaming(),
    Route::get("/api/v1/trials/{}/logs/fields", fields).streaming(),
    Route::get("/api/v1/tasks/{}/logs", of_task).streaming(),
    Route::get("/api/v1/tasks/{}/logs/fields", fields_of_task).streaming(),
];

/// How long after its end a trial may still get lines, in simulated microseconds.
const GRACE: u64 = 5_000_000;

#[derive(Debug, Clone)]
pub(super) struct LogLine {
    id: u64,
    timestamp: Timestamp,
    /// Without its prefix.
    level: Option<&'static str>,
    /// The container that printed it; nothing for a line of the master's.
    container_id: Option<String>,
    /// The allocation of that container.
    allocation_id: Option<String>,
    /// As printed, with its line end.
    log: String,
    stdtype: &'static str,
}

impl LogLine {
    fn source(&self) -> &'static str {
        match self.container_id {
            Some(_) => "task",
            None => "master",
        }
    }

    fn level_on_wire(&self) -> String {
        format!("LOG_LEVEL_{}", self.level.unwrap_or("UNSPECIFIED"))
    }

    /// The line that clients print.
    fn message(&self) -> String {
        let container = self
            .container_id
            .as_deref()
            .and_then(|id| id.get(..8))
            .unwrap_or("        ");
        let level = self
            .level
            .map_or(String::new(), |level| format!(" {level}:"));
        format!("[{:.6}] {container} ||{level} {}", self.timestamp, self.log)
    }
}

impl State {
    pub(super) fn log_of_master(&mut self, trial: i32, level: &'static str, text: String) {
        self.log(trial, Some(level), None, text, "stdout");
    }

    pub(super) fn log_of_task(&mut self, trial: i32, line: Line) {
        let container = self
            .trials
            .get(trial)
            .map(|trial| trial.container_id.clone());
        let stdtype = if line.stderr { "stderr" } else { "stdout" };
        self.log(trial, line.level, container, line.text, stdtype);
    }

    fn log(
        &mut self,
        trial: i32,
        level: Option<&'static str>,
        container_id: Option<String>,
        text: String,
        stdtype: &'static str,
    ) {
        self.last_log_id += 1;
        let line = LogLine {
            id: self.last_log_id,
            timestamp: self.time.stamp(),
            level,
            allocation_id: container_id
                .as_ref()
                .and_then(|_| Some(self.trials.get(trial)?.allocation_id())),
            container_id,
            log: format!("{text}\n"),
            stdtype,
        };
        if let Some(trial) = self.trials.get_mut(trial) {
            trial.logs.push(line);
        }
    }

    /// Whether nothing can come any more of a trial's log.
    fn log_is_over(&self, trial: &Trial) -> bool {
        let Some(ended) = trial.ended_at else {
            return false;
        };
        // A clock that stands still would keep a follower for ever.
        self.time.clock() == Clock::Manual || self.time.due() >= ended.saturating_add(GRACE)
    }
}

/// Which lines a client asks for.
struct Filter {
    containers: Vec<String>,
    levels: Vec<String>,
    stdtypes: Vec<String>,
    sources: Vec<String>,
    agents: Vec<String>,
    ranks: Vec<i64>,
    before: Option<Timestamp>,
    after: Option<Timestamp>,
    text: String,
}

impl Filter {
    fn of(query: &Query) -> Result<Self, Failure> {
        let all = |name: &str| query.all(name).map(str::to_owned).collect();
        let time = |name: &str| {
            match query.text(name) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| {
                Failure::of_gateway(format!(
                    "bad Timestamp: parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
                ))
            }),
        }
        };
        const LEVELS: [&str; 7] = [
            "UNSPECIFIED",
            "TRACE",
            "DEBUG",
            "INFO",
            "WARNING",
            "ERROR",
            "CRITICAL",
        ];
        let unknown = query.all("levels").find(|level| {
            let word = level.strip_prefix("LOG_LEVEL_").unwrap_or_default();
            !LEVELS.contains(&word)
        });
        if let Some(unknown) = unknown {
            return Err(wire::not_of(unknown, "logv1.LogLevel"));
        }
        Ok(Self {
            containers: all("containerIds"),
            levels: all("levels"),
            stdtypes: all("stdtypes"),
            sources: all("sources"),
            agents: all("agentIds"),
            ranks: query.ints("rankIds")?,
            before: time("timestampBefore")?,
            after: time("timestampAfter")?,
            text: query.text("searchText").unwrap_or("").to_owned(),
        })
    }

    fn takes(&self, line: &LogLine) -> bool {
        let among = |wanted: &[String], found: Option<&str>| {
            wanted.is_empty() || found.is_some_and(|found| wanted.iter().any(|word| word == found))
        };
        let level = line.level.map(|_| line.level_on_wire());
        let agent = line.container_id.as_ref().map(|_| AGENT);
        among(&self.containers, line.container_id.as_deref())
            && among(&self.levels, level.as_deref())
            && among(&self.stdtypes, Some(line.stdtype))
            && among(&self.sources, Some(line.source()))
            && among(&self.agents, agent)
            // No line has a rank, which is asked for as -1.
            && (self.ranks.is_empty() || self.ranks.contains(&-1))
            && self.before.is_none_or(|before| line.timestamp <= before)
            && self.after.is_none_or(|after| line.timestamp > after)
            && wire::ilike_contains(&line.log, &self.text)
    }
}

/// Whose log is streamed, and so how a line says it.
#[derive(Clone)]
enum Subject {
    Trial,
    Task(String),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LineOnWire {
    id: String,
    #[serde(serialize_with = "wire::serialize_time")]
    timestamp: Timestamp,
    message: String,
    level: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trial_id: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allocation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_id: Option<String>,
    log: String,
    source: &'static str,
    stdtype: &'static str,
}

impl LineOnWire {
    fn new(line: &LogLine, trial: i32, subject: &Subject) -> Self {
        let (trial_id, task_id, allocation_id) = match subject {
            Subject::Trial => (Some(trial), None, None),
            Subject::Task(id) => (None, Some(id.clone()), line.allocation_id.clone()),
        };
        Self {
            id: line.id.to_string(),
            timestamp: line.timestamp,
            message: line.message(),
            level: line.level_on_wire(),
            trial_id,
            task_id,
            allocation_id,
            agent_id: line.container_id.as_ref().map(|_| AGENT),
            container_id: line.container_id.clone(),
            log: line.log.clone(),
            source: line.source(),
            stdtype: line.stdtype,
        }
    }
}

fn of_trial(call: &mut Call<'_>) -> Answer {
    let id = call.id(0, "trial_id")?;
    let filter = Filter::of(&call.query)?;
    let trial = call.state.trial(id)?.id;
    stream(call, trial, Subject::Trial, filter)
}

fn of_task(call: &mut Call<'_>) -> Answer {
    let trial = task_of(call)?.id;
    let task = call.text(0).to_owned();
    stream(call, trial, Subject::Task(task), Filter::of(&call.query)?)
}

/// The trial of the task that a path names.
fn task_of<'a>(call: &'a Call<'_>) -> Result<&'a Trial, Failure> {
    let task = call.text(0);
    call.state.trial_of_task(task).ok_or_else(|| {
        Failure::not_found(format!(
            "1 error occurred:\n\t* failed to fetch batch: rpc error: code = NotFound desc = task '{task}' not found\n\n"
        ))
    })
}

fn stream(call: &Call<'_>, trial: i32, subject: Subject, filter: Filter) -> Answer {
    let limit = call.query.int("limit")?;
    if call.query.flag("follow")? == Some(true) {
        let shared = Arc::clone(call.shared);
        return Ok(Response::stream(200, "application/json", move |out| {
            follow(&shared, trial, &subject, &filter, out)
        }));
    }
    let lines = call.state.trial(trial)?.logs.iter();
    let mut lines: Vec<LineOnWire> = lines
        .filter(|line| filter.takes(line))
        .map(|line| LineOnWire::new(line, trial, &subject))
        .collect();
    if call.query.descending() {
        lines.reverse();
    }
    match usize::try_from(limit) {
        Ok(0) => {}
        Ok(limit) => lines.truncate(limit),
        Err(_) => lines.clear(),
    }
    Ok(Response::stream(200, "application/json", move |out| {
        write_lines(out, &lines)
    }))
}

/// Writes the lines that are there and then those that come, until the trial's log is over or the master stops.
fn follow(
    shared: &Shared,
    trial: i32,
    subject: &Subject,
    filter: &Filter,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut seen = 0;
    loop {
        let state = shared.lock();
        let Some(found) = state.trials.get(trial) else {
            return Ok(());
        };
        let over = state.log_is_over(found);
        let fresh: Vec<LineOnWire> = found
            .logs
            .iter()
            .filter(|line| line.id > seen && filter.takes(line))
            .map(|line| LineOnWire::new(line, trial, subject))
            .collect();
        seen = found.logs.last().map_or(seen, |line| line.id);
        drop(state);
        write_lines(out, &fresh)?;
        if over {
            return Ok(());
        }
        let state = shared.lock();
        let unchanged = state
            .trials
            .get(trial)
            .is_some_and(|trial| trial.logs.last().is_none_or(|line| line.id <= seen));
        if unchanged && shared.wait(state, Duration::from_millis(250)).is_none() {
            // The master stops: the stream breaks off, as it does when a real one goes away.
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
    }
}

fn write_lines(out: &mut dyn Write, lines: &[LineOnWire]) -> io::Result<()> {
    #[derive(Serialize)]
    struct Wrapped<'a> {
        result: &'a LineOnWire,
    }
    for line in lines {
        serde_json::to_writer(&mut *out, &Wrapped { result: line })?;
        out.write_all(b"\n")?;
        out.flush()?;
    }
    Ok(())
}

/// Which values a client can filter by, in one line.
fn fields(call: &mut Call<'_>) -> Answer {
    let trial = call.state.trial(call.id(0, "trial_id")?)?;
    let line = json!({"result": fields_of(trial)});
    Ok(one_line(line))
}

fn fields_of_task(call: &mut Call<'_>) -> Answer {
    let trial = task_of(call)?;
    let mut fields = fields_of(trial);
    let mut allocations: Vec<&str> = trial
        .logs
        .iter()
        .filter_map(|line| line.allocation_id.as_deref())
        .collect();
    allocations.sort_unstable();
    allocations.dedup();
    fields["allocationIds"] = json!(allocations);
    Ok(one_line(json!({"result": fields})))
}

fn one_line(line: Value) -> Response {
    Response::stream(200, "application/json", move |out| {
        writeln!(out, "{line}")?;
        out.flush()
    })
}

fn fields_of(trial: &Trial) -> Value {
    let distinct = |value: fn(&LogLine) -> Option<&str>| {
        let mut values: Vec<&str> = trial.logs.iter().filter_map(value).collect();
        values.sort_unstable();
        values.dedup();
        values
    };
    let containers = distinct(|line| line.container_id.as_deref());
    json!({
        "agentIds": if containers.is_empty() { Vec::new() } else { vec![AGENT] },
        "containerIds": containers,
        "rankIds": [],
        "stdtypes": distinct(|line| Some(line.stdtype)),
        "sources": distinct(|line| Some(line.source())),
    })
}
