//! The life of experiments: events that come due on the master's clock.
//!
//! Nothing runs in the background. Each request first lets happen what has come due since the last one, so that the state is
//! always that of the present moment.

mod default_model;
mod script;

pub(super) use script::{Action, Line};
pub use script::{SimulatedTrial, TrialScript};

use super::checkpoints::NewCheckpoint;
use super::clock::Moment;
use super::experiments::RunState;
use super::metrics::Report;
use super::state::{State, uuid};
use super::trials::{Stage, Trial};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What simulated trials do.
pub(super) type Model = Arc<dyn Fn(&SimulatedTrial) -> TrialScript + Send + Sync>;

pub(super) fn default_model() -> Model {
    Arc::new(default_model::script)
}

/// What will happen, and when.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    events: BTreeMap<(Moment, u64), Event>,
    last_number: u64,
}

impl Agenda {
    /// When the next event comes due.
    pub(super) fn next(&self) -> Option<Moment> {
        self.events.keys().next().map(|(moment, _)| *moment)
    }

    fn add(&mut self, moment: Moment, event: Event) {
        self.last_number += 1;
        self.events.insert((moment, self.last_number), event);
    }

    fn pop(&mut self, due: Moment) -> Option<(Moment, Event)> {
        let entry = self.events.first_entry()?;
        let moment = entry.key().0;
        (moment <= due).then(|| (moment, entry.remove()))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// Something happens to a trial, unless it has come into another epoch by then.
    Trial {
        id: i32,
        epoch: u32,
        what: Happening,
    },
    /// An experiment that is to be cancelled or killed has come to its end.
    Stopped {
        experiment: i32,
    },
    /// An experiment is gone.
    ExperimentDeleted {
        experiment: i32,
    },
    /// Checkpoint files are gone.
    FilesRemoved {
        uuids: Vec<String>,
        globs: Vec<String>,
    },
    /// What the storage policy does not keep is removed.
    GarbageCollected {
        experiment: i32,
    },
    /// A project, or a workspace with its projects, is gone.
    ProjectDeleted {
        project: i32,
    },
    WorkspaceDeleted {
        workspace: i32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happening {
    Assigned,
    Started,
    Goes,
    Ends { status: i32 },
    Killed,
    Paused,
}

impl State {
    /// Lets `event` happen after a simulated while.
    pub(super) fn after(&mut self, milliseconds: u64, event: Event) {
        let micros = milliseconds.saturating_mul(1000);
        let moment = self.time.present().saturating_add(micros);
        self.agenda.add(moment, event);
    }

    /// Lets everything happen that has come due.
    pub(super) fn run_due_events(&mut self) {
        while let Some((moment, event)) = self.agenda.pop(self.time.due()) {
            self.time.reach(moment);
            self.happen(event);
        }
        self.time.catch_up();
    }

    /// Moves a clock that stands still on by `duration`.
    pub(super) fn advance(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let until = self.time.present().saturating_add(micros);
        while let Some((moment, event)) = self.agenda.pop(until) {
            self.time.reach(moment);
            self.happen(event);
        }
        self.time.reach(until);
    }

    /// Lets the next event happen, whenever it is due; tells whether there was one.
    pub(super) fn step(&mut self) -> bool {
        match self.agenda.pop(Moment::MAX) {
            Some((moment, event)) => {
                self.time.reach(moment);
                self.happen(event);
                true
            }
            None => false,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Trial { id, epoch, what } => {
                if self
                    .trials
                    .get(id)
                    .is_some_and(|trial| trial.epoch == epoch)
                {
                    self.happen_to_trial(id, what);
                }
            }
            Event::Stopped { experiment } => self.finish_stopping(experiment),
            Event::ExperimentDeleted { experiment } => self.remove_experiment(experiment),
            Event::FilesRemoved { uuids, globs } => {
                for uuid in uuids {
                    self.remove_checkpoint_files(&uuid, &globs);
                }
            }
            Event::GarbageCollected { experiment } => self.collect_garbage(experiment),
            Event::ProjectDeleted { project } => {
                self.projects.remove(project);
            }
            Event::WorkspaceDeleted { workspace } => {
                self.workspaces.remove(workspace);
            }
        }
    }

    fn happen_to_trial(&mut self, id: i32, what: Happening) {
        match what {
            Happening::Assigned => {
                self.set_stage(id, Stage::Starting);
                let name = self.trial_name(id);
                self.log_of_master(id, "INFO", format!("{name} was assigned to an agent"));
                self.after_in_trial(id, 50, Happening::Started);
            }
            Happening::Started => {
                self.set_stage(id, Stage::Running);
                let name = self.trial_name(id);
                self.log_of_master(id, "INFO", format!("Resources for {name} have started"));
                self.begin_script(id);
                self.after_in_trial(id, 1000, Happening::Goes);
            }
            Happening::Goes => self.go_on(id),
            Happening::Ends { status } => self.end_run(id, status),
            Happening::Killed => {
                let name = self.trial_name(id);
                self.log_of_master(
                    id,
                    "INFO",
                    format!("{name} was terminated: allocation killed after user requested kill"),
                );
                self.end_trial(id, RunState::Canceled);
            }
            Happening::Paused => {
                self.release(id);
                if let Some(trial) = self.trials.get_mut(id) {
                    trial.state = RunState::Paused;
                    trial.epoch += 1;
                }
                self.schedule();
            }
        }
    }

    /// Lets something happen in the present epoch of a trial after a simulated while.
    pub(super) fn after_in_trial(&mut self, id: i32, milliseconds: u64, what: Happening) {
        if let Some(epoch) = self.trials.get(id).map(|trial| trial.epoch) {
            self.after(milliseconds, Event::Trial { id, epoch, what });
        }
    }

    fn set_stage(&mut self, id: i32, stage: Stage) {
        if let Some(trial) = self.trials.get_mut(id) {
            trial.stage = stage;
        }
    }

    fn trial_name(&self, id: i32) -> String {
        let experiment = self.trials.get(id).map_or(0, |trial| trial.experiment_id);
        format!("Trial {id} (Experiment {experiment})")
    }

    /// Makes a trial of an experiment, which waits for its turn.
    fn create_trial(&mut self, experiment_id: i32, hparams: Map<String, Value>) {
        let Some(experiment) = self.experiments.get(experiment_id) else {
            return;
        };
        let slots = experiment.config["resources"]["slots_per_trial"]
            .as_u64()
            .and_then(|slots| usize::try_from(slots).ok())
            .unwrap_or(1);
        let paused = experiment.state == RunState::Paused;
        let start_time = self.time.stamp();
        let trial = self
            .trials
            .insert(|id| Trial::new(id, experiment_id, hparams, slots, start_time));
        let id = trial.id;
        if paused {
            trial.state = RunState::Paused;
        }
        if let Some(experiment) = self.experiments.get_mut(experiment_id) {
            experiment.trials.push(id);
        }
        if !paused {
            self.enqueue(id);
        }
    }

    /// Makes the trials that an experiment begins with.
    pub(super) fn create_first_trials(&mut self, experiment_id: i32) {
        let first = match self.experiments.get_mut(experiment_id) {
            Some(experiment) => experiment.searcher.first(),
            None => return,
        };
        if first.is_empty() {
            // A grid without points has nothing to wait for.
            self.end_experiment(experiment_id, RunState::Completed);
        }
        for hparams in first {
            self.create_trial(experiment_id, hparams);
        }
        self.schedule();
    }

    /// Puts a trial into the queue for slots, in a new run.
    pub(super) fn enqueue(&mut self, id: i32) {
        let name = self.trial_name(id);
        let Some(trial) = self.trials.get_mut(id) else {
            return;
        };
        trial.state = RunState::Active;
        trial.stage = Stage::Queued;
        trial.run += 1;
        trial.epoch += 1;
        trial.container_id = uuid();
        let allocation = trial.allocation_id();
        self.log_of_master(id, "INFO", format!("Scheduling {name} (id: {allocation})"));
        self.queue.push_back(id);
    }

    /// Gives free slots to the trials that wait, the first come first.
    pub(super) fn schedule(&mut self) {
        let mut waiting = VecDeque::new();
        while let Some(id) = self.queue.pop_front() {
            let free = self.slots.saturating_sub(self.slots_taken());
            let now = self.time.stamp();
            match self.trials.get_mut(id) {
                Some(trial) if trial.slots <= free => {
                    trial.holds_slots = true;
                    trial.allocated_at = Some(now);
                    self.after_in_trial(id, 100, Happening::Assigned);
                }
                Some(_) => waiting.push_back(id),
                None => {}
            }
        }
        self.queue = waiting;
    }

    /// How many slots are in use.
    pub(super) fn slots_taken(&self) -> usize {
        self.trials
            .values()
            .filter(|trial| trial.holds_slots)
            .map(|trial| trial.slots)
            .sum()
    }

    /// Takes a trial's slots back.
    pub(super) fn release(&mut self, id: i32) {
        self.queue.retain(|waiting| *waiting != id);
        let now = self.time.stamp();
        if let Some(trial) = self.trials.get_mut(id) {
            trial.holds_slots = false;
            if let Some(since) = trial.allocated_at.take() {
                trial.worked += now.duration_since(since).as_secs_f64();
            }
        }
    }

    /// Asks the model what the trial does, unless it only goes on.
    fn begin_script(&mut self, id: i32) {
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
                hparams: trial.hparams.clone(),
                config,
                restarts: trial.restarts,
                files: Arc::clone(&experiment.model_definition.files),
            };
            let model = Arc::clone(&self.model);
            actions.extend(model(&simulated).actions);
        }
        if let Some(trial) = self.trials.get_mut(id) {
            let rest = trial.script.take().unwrap_or_default();
            actions.extend(rest);
            trial.script = Some(actions);
        }
    }

    /// Does what the script says up to its next wait.
    fn go_on(&mut self, id: i32) {
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
                Some(Action::Progress(fraction)) => {
                    if let Some(trial) = self.trials.get_mut(id) {
                        trial.progress = fraction;
                    }
                }
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
    fn end_run(&mut self, id: i32, status: i32) {
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

    /// A trial has reached its last state; its searcher may have another.
    pub(super) fn end_trial(&mut self, id: i32, state: RunState) {
        self.release(id);
        let (now, moment) = (self.time.stamp(), self.time.present());
        let Some(trial) = self.trials.get_mut(id) else {
            return;
        };
        trial.ended_at = Some(moment);
        trial.state = state;
        trial.end_time = Some(now);
        trial.script = None;
        trial.epoch += 1;
        let experiment_id = trial.experiment_id;
        let next = self
            .experiments
            .get_mut(experiment_id)
            .filter(|experiment| experiment.state == RunState::Active)
            .and_then(|experiment| experiment.searcher.next());
        if let Some(hparams) = next {
            self.create_trial(experiment_id, hparams);
        }
        self.schedule();
        self.end_experiment_with_its_trials(experiment_id);
    }

    /// Ends an experiment whose trials have all ended.
    fn end_experiment_with_its_trials(&mut self, id: i32) {
        let Some(experiment) = self.experiments.get(id) else {
            return;
        };
        if experiment.state.is_terminal() {
            return;
        }
        let states: Vec<RunState> = experiment
            .trials
            .iter()
            .filter_map(|id| self.trials.get(*id))
            .map(|trial| trial.state)
            .collect();
        if states.is_empty() || !states.iter().all(|state| state.is_terminal()) {
            return;
        }
        let all = |wanted: RunState| states.iter().all(|state| *state == wanted);
        let state = match experiment.state {
            RunState::StoppingCanceled | RunState::StoppingKilled => RunState::Canceled,
            _ if all(RunState::Error) => RunState::Error,
            _ if all(RunState::Canceled) => RunState::Canceled,
            _ => RunState::Completed,
        };
        self.end_experiment(id, state);
    }

    pub(super) fn end_experiment(&mut self, id: i32, state: RunState) {
        let now = self.time.stamp();
        if let Some(experiment) = self.experiments.get_mut(id) {
            experiment.state = state;
            experiment.end_time = Some(now);
            if state == RunState::Completed {
                experiment.progress = 1.0;
            }
            self.after(2000, Event::GarbageCollected { experiment: id });
        }
    }

    /// Ends what is left of an experiment that is to be cancelled or killed.
    fn finish_stopping(&mut self, id: i32) {
        let stopping = self.experiments.get(id).is_some_and(|experiment| {
            matches!(
                experiment.state,
                RunState::StoppingCanceled | RunState::StoppingKilled
            )
        });
        if !stopping {
            return;
        }
        for trial in self.live_trials(id) {
            self.happen_to_trial(trial, Happening::Killed);
        }
        let still_open = self
            .experiments
            .get(id)
            .is_some_and(|experiment| !experiment.state.is_terminal());
        if still_open {
            self.end_experiment(id, RunState::Canceled);
        }
    }

    /// The trials of an experiment that have not ended.
    pub(super) fn live_trials(&self, experiment_id: i32) -> Vec<i32> {
        self.experiments
            .get(experiment_id)
            .map(|experiment| experiment.trials.clone())
            .unwrap_or_default()
            .into_iter()
            .filter(|id| {
                self.trials
                    .get(*id)
                    .is_some_and(|trial| !trial.state.is_terminal())
            })
            .collect()
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
            true,
        ),
        info(
            "[14008] determined: Validating checkpoint storage ...".into(),
            false,
        ),
        info(format!("[14008] determined: Launching: {shell}"), false),
        Action::Wait(Duration::from_millis(500)),
    ])
}
