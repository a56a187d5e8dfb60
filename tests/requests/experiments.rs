//! Calls on experiments, trials and checkpoints.

use std::fs;

use determined::{
    Checkpoint, CheckpointQuery, CheckpointSortBy as CS, CreateExperimentOptions, Determined,
    Experiment, ExperimentQuery, ExperimentSortBy as ES, ExperimentState as S, LogLevel,
    LogOptions, ModelDefinition, OrderBy, Result, Trial, TrialQuery, TrialSortBy as TS,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::script::{NONE, ORDERS, Script, word};

/// What cannot be written as JSON.
#[derive(Serialize)]
struct Odd {
    x: Value,
    nan: f64,
    inf: f64,
    n: Value,
}

pub fn submit(script: &mut Script<'_>, client: &Determined) -> Result<Experiment> {
    let scratch = tempfile::tempdir().unwrap();
    let place = |name: &str| scratch.path().join(name);
    let config = "name: diff\nentrypoint: python3 train.py\nsearcher: {name: grid, metric: val_loss, max_length: 2}\n\
                  hyperparameters:\n  lr: {type: categorical, vals: [0.1, 0.2]}\n";
    for (name, content) in [
        ("model/sub/a.txt", "hi\n"),
        ("model/train.py", "x = 1\n"),
        ("directory/k.txt", "k\n"),
        ("file.txt", "i\n"),
        ("config.yaml", config),
    ] {
        fs::create_dir_all(place(name).parent().unwrap()).unwrap();
        fs::write(place(name), content).unwrap();
    }
    let (config, model) = (&place("config.yaml"), &place("model"));
    let created = client.create_experiment(config, model);
    let experiment = script.same("e = d.create_experiment(config, model)", created)?;
    experiment.wait()?;
    script.master.clear_requests();
    let with = |options| client.create_experiment_with(config, model, options);
    let options = CreateExperimentOptions::new()
        .includes([place("file.txt"), place("directory")])
        .project_id(1);
    script.same(
        "d.create_experiment(config, model, includes=[file, directory], project_id=1)",
        with(options),
    )?;
    let refused = script.same(
        "d.create_experiment(config, model, template='nope')",
        with(CreateExperimentOptions::new().template("nope")),
    );
    assert!(refused.unwrap_err().is_not_found());
    let created = client.create_experiment(config, ModelDefinition::none());
    script.same("d.create_experiment(config)", created)?;
    Ok(experiment)
}

pub fn list_experiments(script: &mut Script<'_>, client: &Determined) -> Result<()> {
    let list = |query| client.list_experiments_with(query);
    let all = ExperimentQuery::new;
    for key in [
        ES::Id,
        ES::Description,
        ES::StartTime,
        ES::EndTime,
        ES::State,
        ES::NumTrials,
        ES::Progress,
        ES::User,
        ES::Name,
        ES::ForkedFrom,
        ES::ResourcePool,
        ES::ProjectId,
        ES::CheckpointSize,
        ES::CheckpointCount,
        ES::SearcherMetricVal,
    ] {
        let call = format!("d.list_experiments(sort_by=ExperimentSortBy.{})", word(key));
        script.same(&call, list(all().sort_by(key)))?;
    }
    for state in [
        S::Active,
        S::Paused,
        S::StoppingCompleted,
        S::StoppingCanceled,
        S::StoppingError,
        S::Completed,
        S::Canceled,
        S::Error,
        S::Deleted,
        S::Deleting,
        S::DeleteFailed,
        S::StoppingKilled,
        S::Queued,
        S::Pulling,
        S::Starting,
        S::Running,
    ] {
        // Masters store these as active, and so find none.
        if matches!(state, S::Queued | S::Pulling | S::Starting | S::Running) {
            let active = "GET /api/v1/experiments?offset=0&states=STATE_ACTIVE";
            script.rather(&[(active, Value::Null)]);
        }
        let call = format!("d.list_experiments(states=[ExperimentState.{state}])");
        script.same(&call, list(all().states([state])))?;
    }
    script.same("d.list_experiments()", client.list_experiments())?;
    let newest_first = all().order_by(OrderBy::Descending);
    script.same(
        "d.list_experiments(order_by=OrderBy.DESC)",
        list(newest_first),
    )?;
    let filtered = all()
        .sort_by(ES::Name)
        .order_by(OrderBy::Ascending)
        .experiment_ids([1, 2, 99])
        .labels(["a b", "é", "x%"])
        .users(["admin", "k m"])
        .name("de_%&=+#")
        .project_id(1)
        .states([S::Completed, S::Error]);
    script.same(
        "d.list_experiments(sort_by=ExperimentSortBy.NAME, order_by=OrderBy.ASC, experiment_ids=[1, 2, 99], labels=['a b', 'é', 'x%'], \
         users=['admin', 'k m'], name='de_%&=+#', project_id=1, states=[ExperimentState.COMPLETED, ExperimentState.ERROR])",
        list(filtered),
    )?;
    script.same(
        "d.list_experiments(experiment_ids=[], labels=[], users=[], states=[], name='', project_id=0)",
        list(all().labels(NONE).users(NONE).name("").project_id(0)),
    )?;
    Ok(())
}

pub fn trials_and_checkpoints(
    script: &mut Script<'_>,
    client: &Determined,
    experiment: &Experiment,
) -> Result<Trial> {
    for key in [
        TS::Id,
        TS::StartTime,
        TS::EndTime,
        TS::State,
        TS::BestValidationMetric,
        TS::LatestValidationMetric,
        TS::BatchesProcessed,
        TS::Duration,
        TS::Restarts,
        TS::CheckpointSize,
    ] {
        for order in ORDERS {
            let query = TrialQuery::new().sort_by(key).order_by(order);
            script.same(
                &format!(
                    "e.list_trials(TrialSortBy.{}, OrderBy.{})",
                    word(key),
                    word(order)
                ),
                experiment.get_trials_with(query),
            )?;
        }
    }
    let pages = experiment.iter_trials_with(TrialQuery::new().page_size(1))?;
    let trials: Result<Vec<_>> = pages.collect();
    script.same("list(e.iter_trials(limit=1))", trials)?;
    let query = TrialQuery::new()
        .sort_by(TS::StartTime)
        .order_by(OrderBy::Descending)
        .page_size(2);
    let trials: Result<Vec<_>> = experiment.iter_trials_with(query)?.collect();
    script.same(
        "list(e.iter_trials(TrialSortBy.START_TIME, OrderBy.DESC, 2))",
        trials,
    )?;
    script.same("e.list_trials()", experiment.get_trials())?;
    script.same("d.get_experiment(1)", client.get_experiment(1))?;
    let refused = script.same("d.get_experiment(99)", client.get_experiment(99));
    assert!(refused.unwrap_err().is_not_found());
    let refused = script.same("d.get_trial(99)", client.get_trial(99));
    assert!(refused.unwrap_err().is_not_found());
    let mut trial = script.same("t = d.get_trial(1)", client.get_trial(1))?;

    let list = |owner: &str, query: CheckpointQuery| match owner {
        "e" => experiment.list_checkpoints_with(query),
        _ => trial.get_checkpoints_with(query),
    };
    let all = CheckpointQuery::new;
    for owner in ["e", "t"] {
        for key in [
            CS::Uuid,
            CS::TrialId,
            CS::BatchNumber,
            CS::EndTime,
            CS::State,
            CS::SearcherMetric,
        ] {
            for order in ORDERS {
                let query = all().sort_by(key).order_by(order);
                let call = format!(
                    "{owner}.list_checkpoints(CheckpointSortBy.{}, OrderBy.{}",
                    word(key),
                    word(order)
                );
                script.same(&format!("{call})"), list(owner, query.clone()))?;
                // By a metric the list is sorted here, and only then cut.
                if key == CS::SearcherMetric {
                    script.without("limit=2&");
                }
                let call = format!("{call}, max_results=2)");
                script.same(&call, list(owner, query.max_results(2)))?;
            }
        }
    }
    for owner in ["e", "t"] {
        let best_last = all().sort_by("val_loss").order_by(OrderBy::Descending);
        let call = format!("{owner}.list_checkpoints('val_loss', OrderBy.DESC)");
        script.same(&call, list(owner, best_last))?;
        let odd = all().sort_by("a/b c&=é").order_by(OrderBy::Ascending);
        let call = format!("{owner}.list_checkpoints('a/b c&=é', OrderBy.ASC)");
        script.same(&call, list(owner, odd))?;
        let call = format!("{owner}.list_checkpoints()");
        script.same(&call, list(owner, all()))?;
    }
    let reloaded = trial.reload();
    script.same("t.reload()", reloaded)?;
    script.same("t.get_experiment()", trial.get_experiment())?;
    Ok(trial)
}

pub fn logs_and_metrics(script: &mut Script<'_>, client: &Determined, trial: &Trial) -> Result<()> {
    let read = |options| trial.logs_with(options)?.collect::<Result<Vec<_>>>();
    let all = LogOptions::new;
    script.same("list(t.iter_logs())", read(all()))?;
    script.same("list(t.iter_logs(head=2))", read(all().head(2)))?;
    script.same("list(t.iter_logs(tail=2))", read(all().tail(2)))?;
    script.same("list(t.iter_logs(follow=True))", read(all().follow(true)))?;
    for level in [
        LogLevel::Trace,
        LogLevel::Debug,
        LogLevel::Info,
        LogLevel::Warning,
        LogLevel::Error,
        LogLevel::Critical,
    ] {
        let call = format!("list(t.iter_logs(min_level=LogLevel.{level}))");
        script.same(&call, read(all().min_level(level)))?;
    }
    let filtered = all()
        .container_ids(["c1", "c 2"])
        .rank_ids([0, 3])
        .stdtypes(["stdout", "stderr"])
        .sources(["task", "master"])
        .search_text("ste_p %é&")
        .timestamp_before("2030-01-01T00:00:00Z".parse().unwrap())
        .timestamp_after("2020-01-01T00:00:00.5Z".parse().unwrap())
        .min_level(LogLevel::Warning);
    script.same(
        "list(t.iter_logs(container_ids=['c1', 'c 2'], rank_ids=[0, 3], stdtypes=['stdout', 'stderr'], sources=['task', 'master'], \
         search_text='ste_p %é&', timestamp_before='2030-01-01T00:00:00Z', timestamp_after='2020-01-01T00:00:00.5Z', \
         min_level=LogLevel.WARNING))",
        read(filtered),
    )?;
    let stdout = all().stdtypes(["stdout"]);
    script.same(
        "list(t.iter_logs(head=3, stdtypes=['stdout']))",
        read(stdout.clone().head(3)),
    )?;
    script.same(
        "list(t.iter_logs(tail=3, stdtypes=['stdout'], min_level=LogLevel.INFO))",
        read(stdout.tail(3).min_level(LogLevel::Info)),
    )?;
    for group in ["training", "validation", "a b/é"] {
        let reports = trial.iter_metrics(group)?.collect::<Result<Vec<_>>>();
        script.same(&format!("list(t.iter_metrics('{group}'))"), reports)?;
    }
    let odd = all()
        .rank_ids([0])
        .sources(["agent"])
        .container_ids(["c/1?&"])
        .search_text("")
        .timestamp_after("2020-01-01T00:00:00.123456Z".parse().unwrap());
    script.same(
        "list(t.iter_logs(rank_ids=[0], sources=['agent'], container_ids=['c/1?&'], search_text='', \
         timestamp_after='2020-01-01T00:00:00.123456Z'))",
        read(odd),
    )?;
    let reports = client.iter_trials_metrics([2, 1, 2], "training")?;
    script.same(
        "list(d.iter_trials_metrics([1, 2], 'training'))",
        reports.collect::<Result<Vec<_>>>(),
    )?;
    let reports = client.iter_trials_metrics([1], "a b/é")?;
    script.same(
        "list(d.iter_trials_metrics([1], 'a b/é'))",
        reports.collect::<Result<Vec<_>>>(),
    )?;
    Ok(())
}

pub fn checkpoint(
    script: &mut Script<'_>,
    client: &Determined,
    experiment: &Experiment,
) -> Result<Checkpoint> {
    let one = CheckpointQuery::new().max_results(1);
    script.without("limit=1&");
    let listed = experiment.list_checkpoints_with(one);
    script.same("e.list_checkpoints(max_results=1)", listed)?;
    let listed = script.same("c = e.list_checkpoints()[0]", experiment.list_checkpoints())?;
    let got = client.get_checkpoint(&listed[0].uuid);
    let mut checkpoint = script.same("c = d.get_checkpoint(c.uuid)", got)?;
    let zero = "00000000-0000-0000-0000-000000000000";
    let refused = script.same(
        &format!("d.get_checkpoint('{zero}')"),
        client.get_checkpoint(zero),
    );
    assert!(refused.unwrap_err().is_not_found());
    // Here every byte is encoded.
    script.rather(&[("GET /api/v1/checkpoints/b%20a%2Fd", Value::Null)]);
    let refused = client.get_checkpoint("b a/d");
    assert!(script.same("d.get_checkpoint('b a/d')", refused).is_err());
    let reloaded = checkpoint.reload();
    script.same("c.reload()", reloaded)?;
    script.same(
        "list(c.get_metrics())",
        checkpoint.iter_metrics(None).map(Iterator::count),
    )?;
    script.same(
        "list(c.get_metrics('a b'))",
        checkpoint.iter_metrics("a b").map(Iterator::count),
    )?;
    script.same(
        "list(c.get_metrics(''))",
        checkpoint.iter_metrics("").map(Iterator::count),
    )?;
    let odd = Odd {
        x: json!([1, 2.5, null, true, "é"]),
        nan: f64::NAN,
        inf: f64::NEG_INFINITY,
        n: json!({"a": {"b": 1}}),
    };
    // Metadata is read before it is written.
    script.first("GET /api/v1/checkpoints/UUID");
    let added = checkpoint.add_metadata(odd);
    script.same(
        "c.add_metadata({'x': [1, 2.5, None, True, 'é'], 'nan': nan, 'inf': -inf, 'n': {'a': {'b': 1}}})",
        added,
    )?;
    script.first("GET /api/v1/checkpoints/UUID");
    let removed = checkpoint.remove_metadata(["x", "nope"]);
    script.same("c.remove_metadata(['x', 'nope'])", removed)?;
    script.same(
        "c.remove_files(['a/*', 'b c'])",
        checkpoint.remove_files(["a/*", "b c"]),
    )?;
    script.same("c.remove_files([])", checkpoint.remove_files(NONE))?;
    Ok(checkpoint)
}

pub fn edit(script: &mut Script<'_>, experiment: &mut Experiment, trial: &Trial) -> Result<()> {
    let done = experiment.set_name("new é");
    script.same("e.set_name('new é')", done)?;
    let done = experiment.set_description("");
    script.same("e.set_description('')", done)?;
    let done = experiment.set_notes("n\n");
    script.same("e.set_notes('n\\n')", done)?;
    let done = experiment.set_labels(["one", "two words", "one"]);
    script.same("e.set_labels(['one', 'two words', 'one'])", done)?;
    let done = experiment.set_labels(["one"]);
    script.same("e.set_labels(['one'])", done)?;
    let done = experiment.set_labels(NONE);
    script.same("e.set_labels([])", done)?;
    let mut labels = Vec::new();
    for label in ["a b", "é", "a?b#c", "x%y", "a&b=c+d;", "a:b", "..x"] {
        labels.push(label);
        // To the master what follows a colon is a verb, which it does not know.
        if label.contains(':') {
            let route = "/api/v1/experiments/1";
            let body = json!({"id": 1, "labels": labels});
            script.rather(&[
                (&format!("GET {route}"), Value::Null),
                (&format!("PATCH {route}"), body),
            ]);
        }
        let done = experiment.add_label(label);
        script.same(&format!("e.add_label('{label}')"), done)?;
    }
    for label in ["a b", "é", "a?b#c", "x%y", "a&b=c+d;"] {
        // Masters of this release fail, and with them Python; here the labels are then written without it.
        labels.retain(|known| *known != label);
        script.then(&[
            ("GET /api/v1/experiments/1", Value::Null),
            (
                "PATCH /api/v1/experiments/1",
                json!({"id": 1, "labels": labels}),
            ),
        ]);
        let done = experiment.remove_label(label);
        script.same(&format!("e.remove_label('{label}')"), done)?;
    }
    let done = experiment.reload();
    script.same("e.reload()", done)?;
    let done = experiment.archive();
    script.same("e.archive()", done)?;
    let done = experiment.unarchive();
    script.same("e.unarchive()", done)?;
    assert!(script.same("e.activate()", experiment.activate()).is_err());
    assert!(script.same("e.pause()", experiment.pause()).is_err());
    script.same("e.cancel()", experiment.cancel())?;
    script.same("e.kill()", experiment.kill())?;
    assert!(script.same("t.kill()", trial.kill()).is_err());
    script.same(
        "e.delete_tensorboard_files()",
        experiment.delete_tensorboard_files(),
    )?;
    let out = tempfile::tempdir().unwrap();
    script.same("e.download_code(out)", experiment.download_code(out.path()))?;
    Ok(())
}
