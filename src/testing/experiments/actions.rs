//! What can be done to an experiment as a whole.

use super::{Experiment, RunState};
use crate::testing::failure::Failure;
use crate::testing::http::Response;
use crate::testing::router::{Answer, Call};
use crate::testing::simulation::{Event, Happening};
use crate::testing::state::State;
use crate::testing::trials::Stage;
use serde_json::json;

fn done() -> Answer {
    Ok(Response::json(&json!({})))
}

pub(super) fn activate(call: &mut Call<'_>) -> Answer {
    let id = call.id(0, "id")?;
    let experiment = call.state.experiment(id)?;
    match experiment.state {
        // An experiment that has ended is unknown to the part of the master that runs them, like one that it never ran.
        state if state.is_terminal() || experiment.unmanaged => {
            return Err(unknown(id));
        }
        RunState::Paused => call.state.activate_experiment(id),
        RunState::Active => {}
        state => {
            return Err(Failure::precondition(format!(
                "experiment in incompatible state {}",
                state.word()
            )));
        }
    }
    done()
}

/// The experiment that a path names; one that is archived is as good as unknown.
fn editable<'a>(call: &'a Call<'_>) -> Result<&'a Experiment, Failure> {
    let experiment = call.state.experiment(call.id(0, "id")?)?;
    match experiment.archived {
        true => Err(unknown(experiment.id)),
        false => Ok(experiment),
    }
}

fn unknown(id: i32) -> Failure {
    Failure::not_found(format!("experiment '{id}' not found"))
}

pub(super) fn pause(call: &mut Call<'_>) -> Answer {
    let experiment = editable(call)?;
    let id = experiment.id;
    match experiment.state {
        state if state.is_terminal() || experiment.unmanaged => {
            return Err(Failure::precondition("experiment in terminal state"));
        }
        RunState::Active => call.state.pause_experiment(id),
        RunState::Paused => {}
        state => {
            return Err(Failure::precondition(format!(
                "experiment in incompatible state {}",
                state.word()
            )));
        }
    }
    done()
}

pub(super) fn cancel(call: &mut Call<'_>) -> Answer {
    stop(call, RunState::StoppingCanceled, 500)
}

pub(super) fn kill(call: &mut Call<'_>) -> Answer {
    stop(call, RunState::StoppingKilled, 100)
}

/// Stops an experiment; one that has ended, or is run elsewhere, stays as it is.
fn stop(call: &mut Call<'_>, state: RunState, milliseconds: u64) -> Answer {
    let experiment = editable(call)?;
    let (id, present) = (experiment.id, experiment.state);
    let stoppable = matches!(
        (present, state),
        (RunState::Active | RunState::Paused, _)
            | (RunState::StoppingCanceled, RunState::StoppingKilled)
    );
    if stoppable && !experiment.unmanaged {
        if let Some(experiment) = call.state.experiments.get_mut(id) {
            experiment.state = state;
            experiment.searcher.stop();
        }
        for trial in call.state.live_trials(id) {
            if let Some(trial) = call.state.trials.get_mut(trial) {
                trial.state = state;
                // A trial that is to be cancelled may finish what it does; one that is killed may not.
                if state == RunState::StoppingKilled {
                    trial.epoch += 1;
                }
            }
        }
        call.state
            .after(milliseconds, Event::Stopped { experiment: id });
    }
    done()
}

pub(super) fn archive(call: &mut Call<'_>) -> Answer {
    set_archived(call, true)
}

pub(super) fn unarchive(call: &mut Call<'_>) -> Answer {
    set_archived(call, false)
}

fn set_archived(call: &mut Call<'_>, archived: bool) -> Answer {
    let id = call.id(0, "id")?;
    let experiment = call.state.experiment(id)?;
    if experiment.archived == archived {
        return Err(Failure::precondition(match archived {
            true => "Experiment is already archived.",
            false => "Experiment is not archived.",
        }));
    }
    if !experiment.state.is_terminal() {
        return Err(Failure::precondition(
            "Experiment is not in terminal state.",
        ));
    }
    if let Some(experiment) = call.state.experiments.get_mut(id) {
        experiment.archived = archived;
    }
    done()
}

pub(super) fn delete(call: &mut Call<'_>) -> Answer {
    let id = call.id(0, "experiment_id")?;
    let experiment = call.state.experiment(id)?;
    if !call.may_change(experiment.owner) {
        return Err(Failure::forbidden(
            "non admin users may not delete other user's experiments",
        ));
    }
    call.state.delete_experiment(id)?;
    done()
}

impl State {
    fn activate_experiment(&mut self, id: i32) {
        if let Some(experiment) = self.experiments.get_mut(id) {
            experiment.state = RunState::Active;
        }
        for trial in self.live_trials(id) {
            self.enqueue(trial);
        }
        self.schedule();
    }

    fn pause_experiment(&mut self, id: i32) {
        if let Some(experiment) = self.experiments.get_mut(id) {
            experiment.state = RunState::Paused;
        }
        for id in self.live_trials(id) {
            let queued = self
                .trials
                .get(id)
                .is_some_and(|trial| trial.stage == Stage::Queued && !trial.holds_slots);
            // One that runs comes to a halt at its next step.
            self.after_in_trial(id, if queued { 0 } else { 200 }, Happening::Paused);
        }
    }

    /// Begins to delete an experiment that has ended.
    pub(in crate::testing) fn delete_experiment(&mut self, id: i32) -> Result<(), Failure> {
        let experiment = self.experiment(id)?;
        let registered = self.checkpoints.values().any(|checkpoint| {
            checkpoint.experiment_id == id && self.registered_as(&checkpoint.uuid).is_some()
        });
        if registered {
            return Err(Failure::invalid(
                "checkpoints are registered as model versions",
            ));
        }
        if !experiment.state.is_terminal() {
            return Err(Failure::precondition(format!(
                "cannot delete experiment in {} state",
                experiment.state.wire()
            )));
        }
        if let Some(experiment) = self.experiments.get_mut(id) {
            experiment.state = RunState::Deleting;
        }
        self.after(1000, Event::ExperimentDeleted { experiment: id });
        Ok(())
    }

    /// Takes an experiment out of the books, with its trials, its checkpoints and their files.
    pub(in crate::testing) fn remove_experiment(&mut self, id: i32) {
        let Some(experiment) = self.experiments.remove(id) else {
            return;
        };
        for trial in experiment.trials {
            self.release(trial);
            self.trials.remove(trial);
        }
        self.checkpoints.retain(|_, checkpoint| {
            let stays = checkpoint.experiment_id != id;
            if !stays {
                // What cannot be removed goes with the master's folder.
                let _ = std::fs::remove_dir_all(&checkpoint.directory);
            }
            stays
        });
        self.schedule();
    }
}
