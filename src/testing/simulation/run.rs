//! What goes on in the container of a trial.

use super::{Action, Happening, Line, SimulatedTrial};
use crate::testing::checkpoints::NewCheckpoint;
use crate::testing::experiments::RunState;
use crate::testing::metrics::Report;
use crate::testing::state::State;
use crate::testing::trials::Trial;
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

impl State {
    /// Asks the model what the trial does, unless it only goes on.
    pub(super) fn begin_script(&mut self, id: i32) {
        let Some(trial) = self.trials.get(id) else {
            return;
        };
        let Some(experiment) = self.experiments.get(trial.experiment_id) else {
            return;
        };
        let config = experiment.config.clone();
        let goes_on = trial.script.is_some();
        let mut actions = container_start(trial, &config);
        if !goes_on {
            let simulated = SimulatedTrial {
                id,
                experiment_id: trial.experiment_id,
                index: experiment
                    .trials
                    .iter()
                    .position(|known| *known == id)
                    .unwrap_or(0),
                hparams: trial.hparams.clone(),
                config,
                restarts: trial.restarts,
                files: Arc::clone(&experiment.model_definition.files),
            };
            let model = Arc::clone(experiment.script.as_ref().unwrap_or(&self.model));
            actions.extend(model(&simulated).actions);
        }
        if let Some(trial) = self.trials.get_mut(id) {
            let rest = trial.script.take().unwrap_or_default();
            actions.extend(rest);
            trial.script = Some(actions);
        }
    }

    /// Does what the script says up to its next wait.
    pub(super) fn go_on(&mut self, id: i32) {
        // Metrics travel beside the training: they reach the master after the checkpoint of their step.
        let mut reports = Vec::new();
        loop {
            let action = self
                .trials
                .get_mut(id)
                .and_then(|trial| trial.script.as_mut()?.pop_front());
            match action {
                Some(Action::Wait(duration)) => {
                    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
                    self.after_in_trial(id, milliseconds, Happening::Goes);
                    break;
                }
                Some(Action::Log(line)) => self.log_of_task(id, line),
                Some(Action::Report {
                    group,
                    steps,
                    metrics,
                }) => reports.push((group, steps, metrics)),
                Some(Action::Progress(fraction)) => self.report_progress(id, fraction),
                Some(Action::Checkpoint {
                    metadata,
                    files,
                    uuid,
                }) => self.store_checkpoint(NewCheckpoint {
                    trial: id,
                    uuid,
                    metadata,
                    files,
                }),
                Some(Action::Exit(status)) => {
                    self.after_in_trial(id, 250, Happening::Ends { status });
                    break;
                }
                None => {
                    self.after_in_trial(id, 250, Happening::Ends { status: 0 });
                    break;
                }
            }
        }
        for (group, steps, metrics) in reports {
            self.report(id, group, steps, metrics);
        }
    }

    /// Takes a report of metrics into the trial.
    pub(super) fn report(
        &mut self,
        trial: i32,
        group: String,
        steps: i32,
        metrics: Map<String, Value>,
    ) {
        self.last_report_id += 1;
        let report = Report {
            id: self.last_report_id,
            group,
            steps,
            run: self.trials.get(trial).map_or(1, |trial| trial.run),
            end_time: self.time.stamp(),
            archived: false,
            metrics,
        };
        if let Some(trial) = self.trials.get_mut(trial) {
            trial.reports.push(report);
        }
    }

    /// The trial's program has come to its end.
    pub(super) fn end_run(&mut self, id: i32, status: i32) {
        let name = self.trial_name(id);
        if status == 0 {
            let why = "resources exited successfully with a zero exit code";
            self.log_of_master(id, "INFO", why.into());
            self.log_of_master(
                id,
                "INFO",
                format!(
                    "{name} was terminated: allocation stopped early after all resources exited: {why}"
                ),
            );
            return self.end_trial(id, RunState::Completed);
        }
        let why = format!(
            "resources failed with non-zero exit code: container failed with non-zero exit code: {status} (exit code {status})"
        );
        self.log_of_master(id, "ERROR", format!("crashed: {why}"));
        self.log_of_master(
            id,
            "ERROR",
            format!("{name} was terminated: allocation failed: {why}"),
        );
        let most = self
            .trials
            .get(id)
            .and_then(|trial| self.experiments.get(trial.experiment_id))
            .and_then(|experiment| experiment.config["max_restarts"].as_i64())
            .unwrap_or(0);
        let restarts = self.trials.get(id).map_or(0, |trial| trial.restarts);
        if i64::from(restarts) >= most {
            return self.end_trial(id, RunState::Error);
        }
        self.release(id);
        if let Some(trial) = self.trials.get_mut(id) {
            trial.begin_again();
        }
        self.enqueue(id);
        self.schedule();
    }
}

/// What a container does before it runs the submitted program.
fn container_start(trial: &Trial, config: &Value) -> VecDeque<Action> {
    let container = &trial.container_id;
    let shell = match &config["entrypoint"] {
        Value::String(command) => format!("['sh', '-c', '{command}']"),
        other => other.to_string().replace('"', "'"),
    };
    let info = |text: String, stderr: bool| {
        Action::Log(Line {
            level: Some("INFO"),
            text,
            stderr,
        })
    };
    let traced = |text: &str| {
        Action::Log(Line {
            level: None,
            text: text.to_owned(),
            stderr: true,
        })
    };
    let no_gpus = "[14032] determined: detected 0 gpus (nvidia-smi not found)";
    let no_rocm = "[14032] determined: rocm-smi not found";
    VecDeque::from([
        info(no_gpus.into(), true),
        info(no_rocm.into(), true),
        info(no_gpus.into(), true),
        info(no_rocm.into(), true),
        info(
            "[14032] determined: Running task container on agent_id=agent-a, hostname= with visible GPUs []"
                .into(),
            true,
        ),
        Action::Wait(Duration::from_millis(150)),
        info(
            "[14032] determined: detected 0 gpu processes (nvidia-smi not found)".into(),
            true,
        ),
        Action::Wait(Duration::from_millis(100)),
        traced("+ test -f /run/determined/dynamic-tcd-startup-hook.sh"),
        traced("+ test -f startup-hook.sh"),
        traced("+ set +x"),
        Action::Wait(Duration::from_millis(750)),
        info(
            format!(
                "[14008] determined: New trial runner in (container {container}) on agent agent-a: {config}"
            ),
            false,
        ),
        info(
            "[14008] determined: Validating checkpoint storage ...".into(),
            false,
        ),
        info(format!("[14008] determined: Launching: {shell}"), false),
        Action::Wait(Duration::from_millis(500)),
    ])
}
