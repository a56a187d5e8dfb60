//! Logs.

use super::simulation::Line;
use super::state::State;
use jiff::Timestamp;

/// The one agent.
pub(super) const AGENT: &str = "agent-a";

#[derive(Debug, Clone)]
pub(super) struct LogLine {
    pub(super) id: u64,
    pub(super) timestamp: Timestamp,
    /// Without its prefix.
    pub(super) level: Option<&'static str>,
    /// The container that printed it; nothing for a line of the master's.
    pub(super) container_id: Option<String>,
    /// As printed, with its line end.
    pub(super) log: String,
    pub(super) stdtype: &'static str,
}

impl LogLine {
    pub(super) fn source(&self) -> &'static str {
        match self.container_id {
            Some(_) => "task",
            None => "master",
        }
    }

    /// The line that clients print.
    pub(super) fn message(&self) -> String {
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
            container_id,
            log: format!("{text}\n"),
            stdtype,
        };
        if let Some(trial) = self.trials.get_mut(trial) {
            trial.logs.push(line);
        }
    }
}
