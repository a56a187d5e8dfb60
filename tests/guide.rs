//! The guide, made to happen: every snippet of `docs/guide.md` stands here as it stands there, and runs.

use std::time::Duration;
use std::{fs, thread};

use determined::{
    CancelToken, CheckpointChoice, CreateExperimentOptions, CreateModelOptions, Determined,
    DownloadOptions, ErrorKind, Experiment, ExperimentQuery, ExperimentState, LogOptions,
    LoginOptions, MetricOrder, ModelVersion, WaitOptions, client, progress_bar,
};
use serde_json::json;

const GUIDE: &str = include_str!("../docs/guide.md");

/// The snippets in this language.
fn snippets(language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    let parts = GUIDE.split(&opening).skip(1);
    parts
        .map(|part| part.split("```").next().unwrap())
        .collect()
}

#[test]
fn every_snippet_of_the_guide_stands_here() {
    // Here lines are as long as rustfmt likes them, with commas where it breaks them.
    let bare = |text: &str| -> String {
        let is_kept = |c: &char| !c.is_whitespace() && *c != ',';
        text.chars().filter(is_kept).collect()
    };
    let here = bare(include_str!("guide.rs"));
    let snippets = snippets("rust");
    for snippet in &snippets {
        assert!(here.contains(&bare(snippet)), "{snippet}");
    }
    assert!(snippets.len() > 15, "{} snippets", snippets.len());
}

#[allow(dead_code, reason = "there is no such master")]
fn log_in() -> determined::Result<()> {
    client::login(
        LoginOptions::new()
            .master("https://det.example:8443")
            .user("kim")
            .password("…"),
    )?;
    Ok(())
}

#[test]
fn the_guide_can_be_followed() -> determined::Result<()> {
    let directory = tempfile::tempdir().unwrap();
    std::env::set_current_dir(directory.path()).unwrap();
    fs::write("my_config.yaml", snippets("yaml")[0]).unwrap();
    fs::create_dir("model_dir").unwrap();
    fs::create_dir("lib").unwrap();
    let master = determined::testing::MockMaster::start();
    client::login(master.login_options())?;

    let experiment = client::create_experiment("my_config.yaml", "model_dir")?;
    println!("experiment {} is {}", experiment.id, experiment.state);

    let config = json!({
        "name": "single",
        "entrypoint": "python3 train.py",
        "searcher": {"name": "single", "metric": "val_loss", "max_length": 1},
    });
    let options = CreateExperimentOptions::new()
        .include("lib") // one more directory, which trials find beside the model directory's files
        .activate(false);
    let paused = client::create_experiment_with(config, "model_dir", options)?;
    paused.activate()?;

    if experiment.wait()? != ExperimentState::Completed {
        println!("experiment {} has failed", experiment.id);
    }

    let options = WaitOptions::new()
        .interval(Duration::from_secs(1))
        .timeout(Duration::from_secs(3600))
        .on_progress(progress_bar("wait"));
    match experiment.wait_with(options) {
        Ok(state) => println!("ended as {state}"),
        Err(error) if error.kind() == ErrorKind::WaitTimeout => experiment.kill()?,
        Err(error) => return Err(error),
    }

    let trial = experiment.await_first_trial()?;
    for entry in trial.logs_with(LogOptions::new().follow(true))? {
        print!("{}", entry?); // an entry ends its own line
    }

    for trial in experiment.get_trials()? {
        println!("trial {} {} {:?}", trial.id, trial.state, trial.hparams);
        for report in trial.iter_metrics("validation")? {
            let report = report?;
            println!(
                "  after {} steps {:?}",
                report.steps_completed,
                report.metric("val_loss")
            );
        }
    }

    let best = experiment.top_checkpoint()?;
    let training = best.training.as_ref();
    let val_loss = training.and_then(|training| training.metric("val_loss"));
    println!("checkpoint {} {val_loss:?}", best.uuid);

    let by_accuracy = MetricOrder::new().sort_by("acc").smaller_is_better(false);
    let most_accurate = experiment.top_checkpoint_with(by_accuracy)?;
    let latest = trial.select_checkpoint(CheckpointChoice::Latest)?;
    let best_three = experiment.top_n_checkpoints(3)?; // of three trials
    assert_eq!(best_three[0].uuid, best.uuid);
    assert_eq!((most_accurate.uuid.len(), latest.uuid.len()), (36, 36));

    let directory = best.download()?; // checkpoints/<uuid>
    println!("{}", directory.join("state.json").display());

    let options = DownloadOptions::new()
        .path("best")
        .on_progress(progress_bar("download"));
    best.download_with(options)?;
    assert!(fs::exists("best/metadata.json").unwrap());

    let options = CreateModelOptions::new()
        .description("tells irises apart")
        .metadata(json!({"dataset": "iris-2"}))
        .labels(["botany"]);
    let mut model = client::create_model_with("iris", options)?;
    let mut version = model.register_version(&best.uuid)?;
    version.set_notes("the best of the grid")?;
    model.add_metadata(json!({"experiment": experiment.id}))?;

    let model = client::get_model("iris")?;
    if let Some(version) = model.latest_version()? {
        println!(
            "version {} {}",
            version.model_version, version.checkpoint.uuid
        );
    }

    let mine = ExperimentQuery::new()
        .users([client::get_session_username()?])
        .states([ExperimentState::Completed]);
    for experiment in client::list_experiments_with(mine)? {
        println!("{} {}", experiment.id, experiment.name);
    }
    let mut experiment = client::get_experiment(experiment.id)?;
    experiment.add_label("baseline")?;
    experiment.set_notes("the loss explodes at step 300")?;

    match client::get_model("rose") {
        Ok(model) => println!("{} is there", model.name),
        Err(error) if error.is_not_found() => println!("{error}"),
        Err(error) if error.is_transient() => println!("try again later: {error}"),
        Err(error) => return Err(error),
    }

    let token = CancelToken::new();
    let button = token.clone();
    thread::spawn(move || {
        thread::sleep(Duration::from_secs(60));
        button.cancel();
    });
    let state = experiment.wait_with(WaitOptions::new().cancel(&token))?;
    println!("ended as {state}");

    let other = Determined::new(master.login_options().user("admin"))?;
    let names: Vec<String> = other
        .list_users()?
        .into_iter()
        .map(|user| user.username)
        .collect();
    println!("{names:?}");
    Ok(())
}

/// Registers the best checkpoint of an experiment that has ended as a version of a model.
fn register_best(
    client: &Determined,
    experiment: &Experiment,
    name: &str,
) -> determined::Result<ModelVersion> {
    let best = experiment.top_checkpoint()?;
    let model = match client.get_model(name) {
        Err(error) if error.is_not_found() => client.create_model(name)?,
        found => found?,
    };
    model.register_version(&best.uuid)
}

mod tests {
    use super::*;
    use determined::testing::MockMaster;

    #[test]
    fn the_best_checkpoint_becomes_a_version() -> determined::Result<()> {
        let master = MockMaster::start(); // keep it: a master that is dropped stops
        let experiment = master.experiment().create();
        let version = register_best(&master.determined(), &experiment, "iris")?;
        assert_eq!(version.model_version, 1);
        assert_eq!(version.checkpoint.uuid, experiment.top_checkpoint()?.uuid);
        Ok(())
    }

    #[test]
    fn a_model_that_cannot_be_made_is_an_error() {
        let master = MockMaster::start();
        let experiment = master.experiment().create();
        master.fail_next("POST /api/v1/models", 403, 1);
        let error = register_best(&master.determined(), &experiment, "iris").unwrap_err();
        assert_eq!(error.kind(), determined::ErrorKind::Forbidden);
    }
}
