//! Trials.

use determined::{CheckpointChoice, CheckpointQuery, CheckpointSortBy, MetricOrder, OrderBy};

use crate::replay::Replay;

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
