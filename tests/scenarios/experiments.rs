//! Experiments.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use determined::{
    CheckpointChoice, CheckpointQuery, CheckpointSortBy, CreateExperimentOptions, ErrorKind,
    Experiment, ExperimentQuery, ExperimentSortBy, ExperimentState, LogOptions, MetricOrder,
    OrderBy, Trial, TrialQuery, TrialSortBy, WaitOptions,
};
use serde_json::json;
use tempfile::TempDir;

use super::checkpoints::below;
use super::inputs::Inputs;
use super::trials::lines;
use crate::replay::Replay;

/// Recorded answers need no time in between.
pub fn at_once() -> WaitOptions {
    WaitOptions::new().interval(Duration::ZERO)
}

/// All trials, page by page.
fn paged(experiment: &Experiment, page_size: u32) -> determined::Result<Vec<Trial>> {
    experiment
        .iter_trials_with(TrialQuery::new().page_size(page_size))?
        .collect()
}

#[test]
fn an_experiment_is_submitted_from_files() {
    let mut replay = Replay::start("create_experiment_path");
    let client = replay.client("determined");
    let inputs = Inputs::new();
    let lib = inputs.make_directory("lib");
    inputs.write("lib/util.py", "X = 1\n");
    inputs.make_directory("lib/empty");
    let options = CreateExperimentOptions::new().include(lib);
    let e = replay.returns(
        "d.create_experiment(config, model_dir, [inc])",
        client.create_experiment_with(inputs.path("exp.yaml"), inputs.path("model"), options),
    );
    replay.returns("e.await_first_trial()", e.await_first_trial_with(at_once()));
    replay.returns("e.kill()", e.kill());
    replay.returns("e.wait(interval=0.5)", e.wait_with(at_once()));
    replay.finish();
}

#[test]
fn a_configuration_that_the_master_rejects() {
    let mut replay = Replay::start("create_experiment_rejected");
    let client = replay.client("determined");
    let inputs = Inputs::new();
    let searcher = json!({"name": "single", "metric": "m", "max_length": 1});
    for (call, config) in [
        (
            "d.create_experiment({'name': 'x'}, model_dir)",
            json!({"name": "x"}),
        ),
        (
            "d.create_experiment({'name': 'x', 'entrypoint': 'true', 'searcher': {'name': 'single', 'metric': 'm', 'max_length': 1}, \
             'resources': {'resource_pool': 'no-such-pool'}}, model_dir)",
            json!({"name": "x", "entrypoint": "true", "searcher": searcher, "resources": {"resource_pool": "no-such-pool"}}),
        ),
        (
            "d.create_experiment({'name': 'x', 'bogus_key': 1, 'entrypoint': 'true', 'searcher': {'name': 'single', 'metric': 'm', \
             'max_length': 1}}, model_dir)",
            json!({"name": "x", "bogus_key": 1, "entrypoint": "true", "searcher": searcher}),
        ),
    ] {
        let rejected = client.create_experiment(config, inputs.path("model"));
        replay.raises(call, ErrorKind::ExperimentConfig, rejected);
    }
    replay.finish();
}

#[test]
fn an_experiment_that_fails() {
    let mut replay = Replay::start("experiment_failing");
    let client = replay.client("determined");
    let inputs = Inputs::new();
    let model = inputs.make_directory("failing");
    inputs.write(
        "failing/train.py",
        "import sys\nprint('about to fail')\nraise ValueError('no luck')\n",
    );
    let mut e = replay.returns(
        "d.create_experiment(config, m)",
        client.create_experiment(inputs.path("exp.yaml"), model),
    );
    let t = replay.returns("e.await_first_trial()", e.await_first_trial_with(at_once()));
    replay.returns("e.wait(interval=0.5)", e.wait_with(at_once()));
    replay.returns("e.reload()", e.reload());
    replay.returns("e.state", Ok(&e.state));
    replay.returns("e.list_trials()", e.get_trials());
    replay.returns("e.list_checkpoints()", e.list_checkpoints());
    replay.raises(
        "e.top_checkpoint()",
        ErrorKind::CheckpointUnavailable,
        e.top_checkpoint(),
    );
    replay.raises(
        "t.top_checkpoint()",
        ErrorKind::CheckpointUnavailable,
        t.top_checkpoint(),
    );
    let tail = t.logs_with(LogOptions::new().tail(4)).and_then(lines);
    replay.returns("t.logs(tail=4)", tail);
    replay.raises("t.kill()", ErrorKind::NotFound, t.kill());
    replay.raises("e.activate()", ErrorKind::NotFound, e.activate());
    replay.raises("e.pause()", ErrorKind::Api, e.pause());
    replay.returns("e.cancel()", e.cancel());
    replay.finish();
}

#[test]
fn a_grid_of_trials_in_pages() {
    let mut replay = Replay::start("experiment_grid_paged");
    let client = replay.client("determined");
    let inputs = Inputs::new();
    let config = json!({
        "name": "grid",
        "description": "a tiny search",
        "labels": ["tiny", "quick"],
        "entrypoint": "python3 train.py",
        "hyperparameters": {"decay": {"type": "double", "minval": 0.5, "maxval": 0.9, "count": 5}},
        "searcher": {"name": "grid", "metric": "acc", "smaller_is_better": false, "max_concurrent_trials": 2},
        "resources": {"slots_per_trial": 1},
        "max_restarts": 0,
        "checkpoint_storage": {
            "type": "shared_fs", "host_path": "/srv/checkpoints",
            "save_experiment_best": 1, "save_trial_best": 5, "save_trial_latest": 5,
        },
    });
    let e = replay.returns(
        "d.create_experiment(cfg, model_dir)",
        client.create_experiment(config, inputs.path("model")),
    );
    replay.returns("e.wait(interval=1)", e.wait_with(at_once()));
    replay.returns("e.list_trials()", e.get_trials());
    replay.returns("list(e.iter_trials(limit=2))", paged(&e, 2));
    replay.returns("e.top_checkpoint()", e.top_checkpoint());
    replay.returns("e.top_n_checkpoints(3)", e.top_n_checkpoints(3));
    let three = CheckpointQuery::new().max_results(3);
    replay.returns(
        "e.list_checkpoints(max_results=3)",
        e.list_checkpoints_with(three),
    );
    let by_loss = CheckpointQuery::new()
        .sort_by("val_loss")
        .order_by(OrderBy::Ascending);
    replay.returns(
        "e.list_checkpoints(sort_by='val_loss', order_by=OrderBy.ASC)",
        e.list_checkpoints_with(by_loss),
    );
    let best_first = TrialQuery::new()
        .sort_by(TrialSortBy::BestValidationMetric)
        .order_by(OrderBy::Ascending);
    replay.returns(
        "e.list_trials(sort_by=trial_mod.TrialSortBy.BEST_VALIDATION_METRIC, order_by=OrderBy.ASC)",
        e.get_trials_with(best_first),
    );
    let t = replay.done(e.get_trials()).swap_remove(2);
    replay.returns("t.list_checkpoints()", t.get_checkpoints());
    let best = t.select_checkpoint(CheckpointChoice::Best);
    replay.returns("t.select_checkpoint(best=True)", best);
    let latest_first = CheckpointQuery::new()
        .sort_by(CheckpointSortBy::BatchNumber)
        .order_by(OrderBy::Descending);
    replay.returns(
        "t.get_checkpoints(sort_by=CheckpointSortBy.BATCH_NUMBER, order_by=CheckpointOrderBy.DESC)",
        t.get_checkpoints_with(latest_first),
    );
    replay.finish();
}

#[test]
fn experiments_are_listed() {
    let mut replay = Replay::start("experiment_listing");
    let client = replay.client("determined");
    replay.returns("d.list_experiments()", client.list_experiments());
    let query = ExperimentQuery::new()
        .sort_by(ExperimentSortBy::Name)
        .order_by(OrderBy::Descending);
    replay.returns(
        "d.list_experiments(sort_by=ExperimentSortBy.NAME, order_by=OrderBy.DESC)",
        client.list_experiments_with(query),
    );
    let query = ExperimentQuery::new()
        .name("decay")
        .labels(["tiny"])
        .states([ExperimentState::Completed])
        .users(["determined"]);
    replay.returns(
        "d.list_experiments(name='decay', labels=['tiny'], states=[ExperimentState.COMPLETED], users=['determined'])",
        client.list_experiments_with(query),
    );
    let query = ExperimentQuery::new()
        .project_id(1)
        .experiment_ids([1, 2, 3]);
    replay.returns(
        "d.list_experiments(project_id=1, experiment_ids=[1, 2, 3])",
        client.list_experiments_with(query),
    );
    replay.finish();
}

#[test]
fn the_results_of_an_experiment() {
    let mut replay = Replay::start("experiment_results");
    let client = replay.client("determined");
    let e = replay.returns("d.get_experiment(n)", client.get_experiment(4));
    replay.returns("e.wait(interval=0.5)", e.wait_with(at_once()));
    replay.returns("e.await_first_trial()", e.await_first_trial_with(at_once()));
    replay.returns("e.top_checkpoint()", e.top_checkpoint());
    replay.returns("e.top_n_checkpoints(5)", e.top_n_checkpoints(5));
    let by_accuracy = MetricOrder::new().sort_by("acc").smaller_is_better(false);
    replay.returns(
        "e.top_n_checkpoints(1, sort_by='acc', smaller_is_better=False)",
        e.top_n_checkpoints_with(1, by_accuracy),
    );
    replay.returns("e.list_checkpoints()", e.list_checkpoints());
    let most_accurate = CheckpointQuery::new()
        .sort_by("acc")
        .order_by(OrderBy::Descending)
        .max_results(2);
    replay.returns(
        "e.list_checkpoints(sort_by='acc', order_by=OrderBy.DESC, max_results=2)",
        e.list_checkpoints_with(most_accurate),
    );
    let newest_first = CheckpointQuery::new()
        .sort_by(CheckpointSortBy::EndTime)
        .order_by(OrderBy::Descending);
    replay.returns(
        "e.list_checkpoints(sort_by=CheckpointSortBy.END_TIME, order_by=OrderBy.DESC)",
        e.list_checkpoints_with(newest_first),
    );
    replay.returns("e.get_trials()", e.get_trials());
    replay.returns("list(e.iter_trials(limit=1))", paged(&e, 1));
    let newest_first = TrialQuery::new()
        .sort_by(TrialSortBy::StartTime)
        .order_by(OrderBy::Descending);
    replay.returns(
        "e.list_trials(sort_by=trial_mod.TrialSortBy.START_TIME, order_by=OrderBy.DESC)",
        e.get_trials_with(newest_first),
    );
    replay.finish();
}

#[test]
fn what_does_not_exist_is_not_found() {
    let mut replay = Replay::start("not_found");
    let client = replay.client("determined");
    replay.raises(
        "d.get_experiment(999999)",
        ErrorKind::NotFound,
        client.get_experiment(999_999),
    );
    replay.raises(
        "d.get_trial(999999)",
        ErrorKind::NotFound,
        client.get_trial(999_999),
    );
    replay.raises(
        "d.get_user_by_id(99999)",
        ErrorKind::NotFound,
        client.get_user_by_id(99_999),
    );
    let e = replay.done(client.get_experiment(999_999));
    replay.raises("e.kill()", ErrorKind::NotFound, e.kill());
    replay.raises("e.pause()", ErrorKind::NotFound, e.pause());
    replay.raises("e.delete()", ErrorKind::NotFound, e.delete());
    replay.returns("e.wait(interval=0.5)", e.wait_with(at_once()));
    replay.raises("e.get_trials()", ErrorKind::NotFound, e.get_trials());
    replay.raises(
        "e.top_checkpoint()",
        ErrorKind::NotFound,
        e.top_checkpoint(),
    );
    replay.finish();
}

#[test]
fn the_code_of_an_experiment() {
    let out = TempDir::new().unwrap();
    let mut replay =
        Replay::start_with("experiment_code", &[("OUT", out.path().to_str().unwrap())]);
    let client = replay.client("determined");
    let e = replay.returns("d.get_experiment(n)", client.get_experiment(4));
    let archive = e.download_code(out.path());
    let archive = replay.returns("e.download_code(output_dir=o)", archive);
    replay.returns("sorted(os.listdir(o))", Ok(below(out.path())));
    let unzipped = flate2::read::GzDecoder::new(File::open(archive).unwrap());
    let mut archive = tar::Archive::new(unzipped);
    let files = archive
        .entries()
        .unwrap()
        .map(|file| file.unwrap().path().unwrap().into_owned());
    assert_eq!(
        files.collect::<Vec<_>>(),
        [Path::new("README.md"), Path::new("train.py")]
    );
    replay.finish();
}
