//! Trials.

use determined::{
    CheckpointChoice, CheckpointQuery, CheckpointSortBy, ErrorKind, LogEntries, LogOptions,
    MetricOrder, MetricReports, OrderBy, Result, TrialMetrics,
};

use super::experiments::at_once;
use super::inputs::Inputs;
use crate::replay::Replay;

/// A log as the lines that the Python SDK yields.
pub fn lines(entries: LogEntries) -> Result<Vec<String>> {
    entries.map(|entry| Ok(entry?.to_string())).collect()
}

/// All reports of a stream.
pub fn reports(stream: MetricReports) -> Result<Vec<TrialMetrics>> {
    stream.collect()
}

#[test]
fn a_trial_and_its_checkpoints() {
    let mut replay = Replay::start("trial_reads");
    let client = replay.client("determined");
    let experiment = replay.done(client.get_experiment(4));
    let trial = replay.done(experiment.get_trials()).swap_remove(0);

    let mut t = replay.returns("d.get_trial(t0)", client.get_trial(trial.id));
    replay.returns("t.get_experiment()", t.get_experiment());
    replay.returns("t.reload()", t.reload());
    replay.returns("t.list_checkpoints()", t.get_checkpoints());
    let latest = CheckpointQuery::new()
        .sort_by(CheckpointSortBy::BatchNumber)
        .order_by(OrderBy::Descending)
        .max_results(1);
    replay.returns(
        "t.list_checkpoints(sort_by=CheckpointSortBy.BATCH_NUMBER, order_by=OrderBy.DESC, max_results=1)",
        t.get_checkpoints_with(latest),
    );
    let by_loss = CheckpointQuery::new()
        .sort_by("val_loss")
        .order_by(OrderBy::Ascending);
    replay.returns(
        "t.list_checkpoints(sort_by='val_loss', order_by=OrderBy.ASC)",
        t.get_checkpoints_with(by_loss),
    );
    let newest_first = CheckpointQuery::new()
        .sort_by(CheckpointSortBy::EndTime)
        .order_by(OrderBy::Descending);
    replay.returns(
        "t.get_checkpoints(sort_by=CheckpointSortBy.END_TIME, order_by=OrderBy.DESC)",
        t.get_checkpoints_with(newest_first),
    );
    let by_accuracy = CheckpointQuery::new().sort_by("acc");
    replay.returns(
        "t.get_checkpoints(sort_by='acc')",
        t.get_checkpoints_with(by_accuracy),
    );
    replay.returns("t.top_checkpoint()", t.top_checkpoint());
    let latest = t.select_checkpoint(CheckpointChoice::Latest);
    let latest = replay.returns("t.select_checkpoint(latest=True)", latest);
    let best = t.select_checkpoint(CheckpointChoice::Best);
    replay.returns("t.select_checkpoint(best=True)", best);
    let by_accuracy = MetricOrder::new().sort_by("acc").smaller_is_better(false);
    replay.returns(
        "t.select_checkpoint(best=True, sort_by='acc', smaller_is_better=False)",
        t.select_checkpoint(CheckpointChoice::BestBy(by_accuracy)),
    );
    // The first of the trial's checkpoints is asked for once more, to have its id.
    replay.done(t.get_checkpoints());
    let chosen = t.select_checkpoint(CheckpointChoice::Uuid(latest.uuid));
    replay.returns("t.select_checkpoint(uuid=u)", chosen);
    replay.absent("t.select_checkpoint()");
    replay.absent("t.select_checkpoint(latest=True, best=True)");
    replay.finish();
}

#[test]
fn the_log_of_a_trial() {
    let mut replay = Replay::start("trial_logs");
    let client = replay.client("determined");
    let experiment = replay.done(client.get_experiment(4));
    let trial = replay.done(experiment.get_trials()).swap_remove(0);

    let t = replay.returns("d.get_trial(t0)", client.get_trial(trial.id));
    replay.returns("t.logs()", t.logs().and_then(lines));
    let log = |options| t.logs_with(options).and_then(lines);
    replay.returns("t.logs(head=3)", log(LogOptions::new().head(3)));
    replay.returns("t.logs(tail=3)", log(LogOptions::new().tail(3)));
    replay.returns("t.logs(follow=True)", log(LogOptions::new().follow(true)));
    replay.raises(
        "t.logs(head=1, tail=1)",
        ErrorKind::InvalidInput,
        log(LogOptions::new().head(1).tail(1)),
    );
    replay.finish();
}

#[test]
fn the_log_of_a_running_trial() {
    let mut replay = Replay::start("trial_follow_live");
    let client = replay.client("determined");
    let inputs = Inputs::new();
    let e = replay.done(client.create_experiment(inputs.path("exp.yaml"), inputs.path("model")));
    let t = replay.done(e.await_first_trial_with(at_once()));
    let log = t.logs_with(LogOptions::new().follow(true)).and_then(lines);
    replay.returns("t.iter_logs(follow=True)", log);
    replay.returns("e.wait(interval=0.5)", e.wait_with(at_once()));
    replay.finish();
}

#[test]
fn the_metrics_of_trials() {
    let mut replay = Replay::start("metrics_streams");
    let client = replay.client("determined");
    let experiment = replay.done(client.get_experiment(4));
    let ids: Vec<_> = replay
        .done(experiment.get_trials())
        .iter()
        .map(|trial| trial.id)
        .collect();

    let t = replay.returns("d.get_trial(ids[0])", client.get_trial(ids[0]));
    let of_trial = |group| t.iter_metrics(group).and_then(reports);
    replay.returns("t.iter_metrics('training')", of_trial("training"));
    replay.returns("t.iter_metrics('validation')", of_trial("validation"));
    replay.returns("t.iter_metrics('nope')", of_trial("nope"));
    replay.absent("t.iter_metrics()");
    let of_trials = |ids: &[i32], group| {
        client
            .iter_trials_metrics(ids.iter().copied(), group)
            .and_then(reports)
    };
    replay.returns(
        "d.iter_trials_metrics(ids, 'validation')",
        of_trials(&ids, "validation"),
    );
    let call = "d.iter_trials_metrics([99999], 'validation')";
    replay.raises(
        call,
        ErrorKind::NotFound,
        of_trials(&[99_999], "validation"),
    );
    let validation = of_trials(&ids, "validation");
    replay.returns("d.stream_trials_validation_metrics(ids)", validation);
    let training = of_trials(&ids[..1], "training");
    replay.returns("d.stream_trials_training_metrics(ids[:1])", training);
    replay.finish();
}
