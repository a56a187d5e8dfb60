//! Trials on their way to slots, and back from them.

use super::Happening;
use crate::testing::experiments::RunState;
use crate::testing::state::{State, uuid};
use crate::testing::trials::{Stage, Trial};
use serde_json::{Map, Value};
use std::collections::VecDeque;

impl State {
    /// Makes the trials that an experiment begins with.
    pub(in crate::testing) fn create_first_trials(&mut self, experiment_id: i32) {
        let first = match self.experiments.get_mut(experiment_id) {
            Some(experiment) => experiment.searcher.first(),
            None => return,
        };
        for hparams in first {
            self.create_trial(experiment_id, hparams);
        }
        self.schedule();
    }

    /// Makes a trial of an experiment, which waits for its turn.
    pub(super) fn create_trial(&mut self, experiment_id: i32, hparams: Map<String, Value>) {
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

    /// Puts a trial into the queue for slots, in a new run.
    pub(in crate::testing) fn enqueue(&mut self, id: i32) {
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
    pub(in crate::testing) fn schedule(&mut self) {
        let mut waiting = VecDeque::new();
        while let Some(id) = self.queue.pop_front() {
            let free = self.agent.capacity().saturating_sub(self.slots_taken());
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
    pub(in crate::testing) fn slots_taken(&self) -> usize {
        self.trials
            .values()
            .filter(|trial| trial.holds_slots)
            .map(|trial| trial.slots)
            .sum()
    }

    /// Takes a trial's slots back.
    pub(in crate::testing) fn release(&mut self, id: i32) {
        self.queue.retain(|waiting| *waiting != id);
        let now = self.time.stamp();
        if let Some(trial) = self.trials.get_mut(id) {
            trial.holds_slots = false;
            if let Some(since) = trial.allocated_at.take() {
                trial.worked += now.duration_since(since).as_secs_f64();
            }
        }
    }

    /// The trials of an experiment that have not ended.
    pub(in crate::testing) fn live_trials(&self, experiment_id: i32) -> Vec<i32> {
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
