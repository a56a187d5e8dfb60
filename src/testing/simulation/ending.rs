//! How trials and experiments come to their end.

use super::{Event, Happening};
use crate::testing::experiments::RunState;
use crate::testing::state::State;

impl State {
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
    pub(super) fn end_experiment_with_its_trials(&mut self, id: i32) {
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
    pub(super) fn finish_stopping(&mut self, id: i32) {
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
}
