//! The life of experiments: events that come due on the master's clock.
//!
//! Nothing runs in the background. Each request first lets happen what has come due since the last one, so that the state is
//! always that of the present moment.

mod default_model;
mod ending;
mod queue;
mod run;
mod script;

pub(super) use default_model::script_of_metrics;
pub(super) use script::{Action, Line, object};
pub use script::{SimulatedTrial, TrialScript};

use super::clock::Moment;
use super::experiments::RunState;
use super::state::State;
use super::trials::Stage;
use std::collections::BTreeMap;
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
        self.write_checkpoints();
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
        self.write_checkpoints();
        self.time.reach(until);
    }

    /// Lets the next event happen, whenever it is due; tells whether there was one.
    pub(super) fn step(&mut self) -> bool {
        match self.agenda.pop(Moment::MAX) {
            Some((moment, event)) => {
                self.time.reach(moment);
                self.happen(event);
                self.write_checkpoints();
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
}
