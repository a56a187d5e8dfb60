//! What tests put onto the master, and what they are told when that cannot be.

use determined::testing::{Fault, MockMaster, MockMasterOptions, TrialScript};
use determined::{Determined, ErrorKind, ExperimentState, ModelDefinition, TrialState};
use serde_json::json;
use std::cell::Cell;
use std::panic;

#[test]
fn seeds_are_not_among_the_requests_and_meet_no_faults() -> determined::Result<()> {
    let master = MockMaster::start();
    master.fail_next("*", 418, 1);
    let experiment = master.experiment().create();
    // What was seeded sends its requests as any client does.
    let fault = experiment.get_trials().unwrap_err();
    assert_eq!(fault.status(), Some(418));
    let checkpoint = experiment.top_checkpoint()?;
    master.clear_requests();
    master.model("iris").with_version(&checkpoint.uuid).create();
    master.user("kim").create();
    master.workspace("lab").with_project("p").create();
    assert_eq!(master.requests().len(), 0);
    experiment.get_trials()?;
    assert_eq!(master.requests().len(), 1);
    Ok(())
}

#[test]
fn an_experiment_has_the_trials_and_values_that_it_was_given() -> determined::Result<()> {
    let master = MockMaster::start();
    let experiment = master
        .experiment()
        .with_name("sweep")
        .with_trials(3)
        .with_metric("accuracy", [0.5, 0.75])
        .with_metric("loss", [2.0])
        .larger_is_better()
        .with_config(json!({"description": "words", "labels": ["a"]}))
        .create();
    assert_eq!(
        (
            experiment.name.as_str(),
            experiment.description.as_str(),
            experiment.labels.as_slice()
        ),
        ("sweep", "words", &["a".to_owned()][..])
    );
    assert_eq!(experiment.state, ExperimentState::Completed);
    let trials = experiment.get_trials()?;
    assert_eq!(trials.len(), 3);
    for trial in trials {
        let reports: Vec<_> = trial
            .iter_metrics("validation")?
            .collect::<Result<_, _>>()?;
        let values: Vec<_> = reports
            .iter()
            .map(|report| {
                (
                    report.steps_completed,
                    report.metric("accuracy"),
                    report.metric("loss"),
                )
            })
            .collect();
        assert_eq!(values, [(1, Some(0.5), Some(2.0)), (2, Some(0.75), None)]);
    }
    let best = experiment.top_checkpoint()?;
    assert_eq!(best.training.unwrap().metric("accuracy"), Some(0.75));
    assert_eq!(experiment.list_checkpoints()?.len(), 6);
    Ok(())
}

#[test]
fn each_trial_does_what_its_script_says() -> determined::Result<()> {
    let master = MockMaster::start();
    let experiment = master
        .experiment()
        .with_trial(
            TrialScript::new()
                .print("all is well")
                .checkpoint(7, [("a/b.bin", &b"123"[..])]),
        )
        .with_trial(TrialScript::new().print_error("no luck").exit(3))
        .create();
    let trials = experiment.get_trials()?;
    let states: Vec<_> = trials.iter().map(|trial| trial.state.clone()).collect();
    assert_eq!(states, [TrialState::Completed, TrialState::Error]);
    let log: String = trials[1]
        .logs()?
        .map(|entry| entry.unwrap().to_string())
        .collect();
    assert!(
        log.contains("no luck") && log.contains("(exit code 3)"),
        "{log}"
    );
    let checkpoint = &trials[0].get_checkpoints()?[0];
    assert_eq!(checkpoint.resources["a/b.bin"], 3);
    assert_eq!(checkpoint.metadata["steps_completed"], 7);
    Ok(())
}

#[test]
fn checkpoints_hold_the_files_that_they_were_given() -> determined::Result<()> {
    let master = MockMaster::start();
    let files = [("model.bin", "weights"), ("conf/a.json", "{}")];
    let plain = master.experiment().with_checkpoint(files).create();
    let measured = master
        .experiment()
        .with_metric("m", [0.5])
        .with_checkpoint(files)
        .create();
    for (experiment, count) in [(plain, 6), (measured, 2)] {
        let checkpoints = experiment.list_checkpoints()?;
        assert_eq!(checkpoints.len(), count);
        for checkpoint in checkpoints {
            let resources = checkpoint.resources.iter();
            let sizes: Vec<_> = resources
                .map(|(path, size)| (path.as_str(), *size))
                .collect();
            assert_eq!(sizes, [("conf/", 0), ("conf/a.json", 2), ("model.bin", 7)]);
        }
    }
    Ok(())
}

#[test]
fn what_others_submit_is_not_changed_by_a_seed() -> determined::Result<()> {
    let options = MockMasterOptions::new()
        .model(|_| TrialScript::new().validation(1, json!({"val_loss": 4})));
    let master = MockMaster::start_with(options);
    master.experiment().with_metric("acc", [0.5]).create();
    let config = json!({
        "name": "own", "entrypoint": "true", "searcher": {"name": "single", "metric": "val_loss"},
    });
    let own = master
        .determined()
        .create_experiment(config, ModelDefinition::none())?;
    let report = own
        .await_first_trial()?
        .iter_metrics("validation")?
        .next()
        .unwrap()?;
    assert_eq!(report.metric("val_loss"), Some(4.0));
    Ok(())
}

#[test]
fn a_user_has_rights_and_a_password() -> determined::Result<()> {
    let master = MockMaster::start();
    master.user("kim").with_password("secret").create();
    let boss = master.user("boss").admin().create();
    assert!(boss.admin);
    let login = |user: &str, password: &str| {
        Determined::new(master.login_options().user(user).password(password))
    };
    assert_eq!(
        login("kim", "").unwrap_err().kind(),
        ErrorKind::Unauthenticated
    );
    let refusal = login("kim", "secret")?
        .create_user("other", false, "Passw0rd.")
        .unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::Forbidden);
    assert_eq!(
        login("boss", "")?
            .create_user("other", false, "Passw0rd.")?
            .username,
        "other"
    );
    Ok(())
}

thread_local! {
    /// The line of the last panic, while it is watched for.
    static LINE: Cell<Option<u32>> = const { Cell::new(None) };
}

/// The line in which a closure panics.
fn line_of_panic(what: impl FnOnce()) -> u32 {
    LINE.set(Some(0));
    panic::catch_unwind(panic::AssertUnwindSafe(what)).unwrap_err();
    LINE.take().unwrap()
}

#[test]
fn panics_of_helpers_point_at_the_line_of_their_caller() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| match (LINE.get(), info.location()) {
        (Some(_), Some(location)) if location.file() == file!() => LINE.set(Some(location.line())),
        _ => hook(info),
    }));
    let master = MockMaster::start();
    master.model("iris").create();
    let port = master.url().rsplit(':').next().unwrap().parse().unwrap();
    let bad = json!({"bogus": 1});
    let panics: [&dyn Fn(); 10] = [
        &|| drop(MockMaster::start_with(MockMasterOptions::new().port(port))),
        &|| drop(master.model("iris").create()),
        &|| drop(master.user("admin").create()),
        &|| drop(master.workspace("Uncategorized").create()),
        &|| drop(master.experiment().with_config(&bad).create()),
        &|| drop(master.experiment().with_config(3)),
        &|| drop(TrialScript::new().training(1, "not an object")),
        &|| drop(TrialScript::new().validation(1, [1])),
        &|| drop(TrialScript::new().report("group", 1, 1.5)),
        &|| drop(TrialScript::new().checkpoint_with(true, [])),
    ];
    let lines: Vec<u32> = panics.iter().map(line_of_panic).collect();
    let first = lines[0];
    assert_eq!(lines, (first..first + 10).collect::<Vec<u32>>());

    master.fault("POST /api/v1/auth/login", Fault::Status(401), 1);
    assert_eq!(line_of_panic(|| drop(master.determined())), line!());
}
