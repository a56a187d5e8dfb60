//! The lives of experiments, by clocks that the test sets.

use determined::testing::{Clock, MockMaster, MockMasterOptions, TrialScript};
use determined::{
    Determined, Experiment, ExperimentState, LogOptions, ModelDefinition, Trial, TrialState,
};
use serde_json::json;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything takes, on the busiest machine.
const LONG: Duration = Duration::from_secs(60);

fn at_a_stand() -> MockMaster {
    MockMaster::start_with(MockMasterOptions::new().clock(Clock::Manual))
}

fn states(experiment: &Experiment) -> Vec<String> {
    let trials = experiment.get_trials().unwrap();
    trials.iter().map(|trial| trial.state.to_string()).collect()
}

fn state(experiment: &mut Experiment) -> ExperimentState {
    experiment.reload().unwrap();
    experiment.state.clone()
}

#[test]
fn an_experiment_comes_from_its_queue_to_its_end_step_by_step() {
    let master = at_a_stand();
    let mut experiment = master.experiment().with_trials(3).create();
    let mut seen = vec![state(&mut experiment)];
    let mut busiest = 0;
    while master.step() {
        let now = state(&mut experiment);
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        let running = states(&experiment)
            .iter()
            .filter(|state| *state == "RUNNING")
            .count();
        busiest = busiest.max(running);
    }
    use ExperimentState::{Completed, Queued, Running, Starting};
    // There are two slots, so the third trial waits until the others have ended.
    let twice = [
        Queued, Starting, Running, Queued, Starting, Running, Completed,
    ];
    assert_eq!((seen.as_slice(), busiest), (&twice[..], 2));
    assert_eq!(states(&experiment), ["COMPLETED"; 3]);
}

#[test]
fn time_passes_as_far_as_it_is_moved_on() {
    let master = at_a_stand();
    let mut experiment = master.experiment().create();
    assert_eq!(state(&mut experiment), ExperimentState::Queued);
    master.advance(Duration::from_millis(120));
    assert_eq!(state(&mut experiment), ExperimentState::Starting);
    master.advance(Duration::from_secs(2));
    assert_eq!(state(&mut experiment), ExperimentState::Running);
    master.advance(Duration::from_secs(60));
    assert_eq!(state(&mut experiment), ExperimentState::Completed);
}

#[test]
fn an_experiment_has_come_as_far_as_its_trials_say() {
    let master = at_a_stand();
    let script = |progress: f64| {
        let begun = TrialScript::new().progress(progress);
        begun.wait(Duration::from_secs(9))
    };
    let seed = master.experiment().with_trial(script(0.5));
    let mut told = seed.with_trial(script(0.25)).create();
    master.advance(Duration::from_secs(5));
    told.reload().unwrap();
    assert_eq!(told.progress, Some(0.375));
    master.advance(Duration::from_secs(60));

    let mut silent = master.experiment().create();
    master.advance(Duration::from_secs(3));
    silent.reload().unwrap();
    assert_eq!(
        (silent.progress, &silent.state),
        (Some(0.0), &ExperimentState::Running)
    );
    master.advance(Duration::from_secs(60));
    silent.reload().unwrap();
    assert_eq!(silent.progress, Some(1.0));
}

#[test]
fn a_clock_that_runs_brings_an_experiment_to_its_end() {
    // The shortest experiment takes more than two seconds by the master's clock.
    for (clock, at_least) in [(Clock::Scaled(50.0), 40), (Clock::RealTime, 2000)] {
        let master = MockMaster::start_with(MockMasterOptions::new().clock(clock));
        let started = Instant::now();
        let experiment = master.experiment().with_trial(TrialScript::new()).create();
        let wait = determined::WaitOptions::new()
            .interval(Duration::from_millis(20))
            .timeout(LONG);
        assert_eq!(
            experiment.wait_with(wait).unwrap(),
            ExperimentState::Completed
        );
        let took = started.elapsed();
        assert!(
            took >= Duration::from_millis(at_least),
            "{clock:?}: {took:?}"
        );
        // And a clock can be changed on the way.
        master.set_clock(Clock::Instant);
        let mut another = master.experiment().create();
        assert_eq!(state(&mut another), ExperimentState::Completed);
    }
}

/// Follows the log of a trial in a thread of its own.
fn follow(trial: Trial) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for entry in trial.logs_with(LogOptions::new().follow(true)).unwrap() {
            let Ok(entry) = entry else { return };
            if sender.send(entry.log().trim_end().to_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}

#[test]
fn a_followed_log_delivers_each_line_when_it_comes() {
    let master = at_a_stand();
    let script = TrialScript::new()
        .print("first")
        .wait(Duration::from_secs(5))
        .print("second");
    let experiment = master.experiment().with_trial(script).create();
    let lines = follow(experiment.await_first_trial().unwrap());
    let until = |wanted: &str| while lines.recv_timeout(LONG).unwrap() != wanted {};
    assert!(
        lines
            .recv_timeout(LONG)
            .unwrap()
            .starts_with("Scheduling Trial 1")
    );
    master.advance(Duration::from_secs(4));
    until("first");
    assert_eq!(lines.try_recv(), Err(mpsc::TryRecvError::Empty));
    master.advance(Duration::from_secs(5));
    until("second");
    while master.step() {}
    // The stream ends with the trial.
    while let Ok(line) = lines.recv_timeout(LONG) {
        assert!(!line.is_empty());
    }
    assert_eq!(lines.try_recv(), Err(mpsc::TryRecvError::Disconnected));
}

#[test]
fn a_pause_halts_the_work_and_an_activation_goes_on_with_it() {
    let master = at_a_stand();
    let mut experiment = master.experiment().with_trials(1).create();
    master.advance(Duration::from_secs(3));
    experiment.pause().unwrap();
    master.advance(Duration::from_secs(1));
    assert_eq!(state(&mut experiment), ExperimentState::Paused);
    let done = |experiment: &Experiment| {
        let trial = experiment.await_first_trial().unwrap();
        trial.iter_metrics("training").unwrap().count()
    };
    let before = done(&experiment);
    master.advance(Duration::from_secs(60));
    assert_eq!(
        (state(&mut experiment), done(&experiment)),
        (ExperimentState::Paused, before)
    );
    experiment.activate().unwrap();
    master.advance(Duration::from_secs(60));
    assert_eq!(state(&mut experiment), ExperimentState::Completed);
    assert_eq!(done(&experiment), 5);
}

#[test]
fn what_is_cancelled_or_killed_ends_so() {
    let master = at_a_stand();
    for stop in [Experiment::cancel, Experiment::kill] {
        let mut experiment = master.experiment().create();
        master.advance(Duration::from_secs(3));
        stop(&experiment).unwrap();
        let word = state(&mut experiment).to_string();
        assert!(word.starts_with("STOPPING_"), "{word}");
        while master.step() {}
        assert_eq!(state(&mut experiment), ExperimentState::Canceled);
        assert_eq!(states(&experiment), ["CANCELED"; 2]);
    }
    let mut experiment = master.experiment().create();
    master.advance(Duration::from_secs(3));
    experiment.get_trials().unwrap()[0].kill().unwrap();
    while master.step() {}
    assert_eq!(state(&mut experiment), ExperimentState::Completed);
    assert_eq!(states(&experiment), ["CANCELED", "COMPLETED"]);
}

#[test]
fn a_failing_trial_begins_again_as_often_as_it_may() {
    let options = MockMasterOptions::new().model(|trial| match trial.restarts {
        0 | 1 => TrialScript::new().training(1, json!({"loss": 9})).exit(1),
        _ => TrialScript::new().training(1, json!({"loss": 1})),
    });
    let master = MockMaster::start_with(options);
    let submit = |client: &Determined, restarts: i32| {
        let config = json!({
            "name": "n", "entrypoint": "true", "searcher": {"name": "single", "metric": "m"}, "max_restarts": restarts,
        });
        client
            .create_experiment(config, ModelDefinition::none())
            .unwrap()
    };
    let client = master.determined();
    assert_eq!(submit(&client, 1).wait().unwrap(), ExperimentState::Error);
    let experiment = submit(&client, 2);
    assert_eq!(experiment.wait().unwrap(), ExperimentState::Completed);
    let trial = experiment.await_first_trial().unwrap();
    assert_eq!(
        (trial.state.clone(), trial.restarts),
        (TrialState::Completed, 2)
    );
    // What a run reported that failed does not count.
    let losses: Vec<_> = trial
        .iter_metrics("training")
        .unwrap()
        .map(|report| report.unwrap().metric("loss"))
        .collect();
    assert_eq!(losses, [Some(1.0)]);
}
