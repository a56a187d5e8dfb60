//! Which checkpoint is the best: by a metric, in a direction, and never one without the metric.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};

use super::query::{CheckpointQuery, CheckpointSortBy, Owner, list};
use super::{Checkpoint, CheckpointState, CheckpointTrainingMetadata};
use crate::error::{Error, ErrorKind, Result};
use crate::session::Session;
use crate::wire::OrderBy;

/// What makes one checkpoint better than another.
///
/// Unset means as the experiment's configuration says: by the metric of its searcher, in the searcher's direction.
///
/// ```
/// use determined::MetricOrder;
///
/// let by_accuracy = MetricOrder::new().sort_by("accuracy").smaller_is_better(false);
/// # let _ = by_accuracy;
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct MetricOrder {
    pub(super) sort_by: Option<String>,
    pub(super) smaller_is_better: Option<bool>,
}

impl MetricOrder {
    /// As the experiment's configuration says.
    pub fn new() -> Self {
        Self::default()
    }

    /// By the validation metric of this name. By default the metric of the experiment's searcher.
    pub fn sort_by(mut self, metric: impl Into<String>) -> Self {
        self.sort_by = Some(metric.into());
        self
    }

    /// Whether a smaller value is the better one. By default as the experiment's configuration says.
    ///
    /// Only together with [`sort_by`](Self::sort_by); alone it is ignored, because the configuration already says it of the searcher's metric.
    pub fn smaller_is_better(mut self, smaller_is_better: bool) -> Self {
        self.smaller_is_better = Some(smaller_is_better);
        self
    }
}

/// How checkpoints rank: the better comes first.
pub(super) struct Ranking<'a> {
    /// `None` for the metric of the searcher.
    pub(super) metric: Option<&'a str>,
    /// `None` for the direction of the searcher.
    pub(super) smaller_is_better: Option<bool>,
}

impl<'a> From<&'a MetricOrder> for Ranking<'a> {
    fn from(order: &'a MetricOrder) -> Self {
        Self {
            metric: order.sort_by.as_deref(),
            smaller_is_better: order.sort_by.as_ref().and(order.smaller_is_better),
        }
    }
}

impl Ranking<'_> {
    /// How good a checkpoint is: the greater, the better. `None` without a finite value.
    fn merit(&self, checkpoint: &Checkpoint) -> Option<f64> {
        let training = checkpoint.training.as_ref()?;
        let value = match self.metric {
            Some(metric) => training.metric(metric)?,
            None => training.searched()?,
        };
        let smaller_is_better = self
            .smaller_is_better
            .unwrap_or_else(|| training.smaller_is_better());
        value
            .is_finite()
            .then_some(if smaller_is_better { -value } else { value })
    }

    /// The best first, those without the metric last; of equals the one with more steps, and then the one reported later, comes first.
    pub(super) fn sort(&self, checkpoints: &mut [Checkpoint]) {
        checkpoints.sort_by(|a, b| {
            // None is the least, and so the last.
            let by_merit = self
                .merit(b)
                .partial_cmp(&self.merit(a))
                .unwrap_or(Ordering::Equal);
            by_merit.then_with(|| later_first(a, b))
        });
    }

    /// What the ranking goes by, in words.
    fn name(&self) -> String {
        match self.metric {
            Some(metric) => format!("the metric {metric:?}"),
            None => "the searcher's metric".to_owned(),
        }
    }
}

/// More steps first; of equals, the one reported later first.
fn later_first(a: &Checkpoint, b: &Checkpoint) -> Ordering {
    b.steps_completed()
        .total_cmp(&a.steps_completed())
        .then_with(|| b.report_time.cmp(&a.report_time))
}

impl Checkpoint {
    /// How many steps were completed; less than any number if nobody says.
    pub(super) fn steps_completed(&self) -> f64 {
        self.metadata
            .get("steps_completed")
            .and_then(serde_json::Value::as_f64)
            .unwrap_or(f64::NEG_INFINITY)
    }

    /// The names of the metrics that were validated when it was saved.
    fn metrics(&self) -> impl Iterator<Item = &str> {
        let validated = self.training.as_ref().map(|t| &t.validation_metrics);
        let averages = validated.and_then(|metrics| metrics.get("avgMetrics")?.as_object());
        averages
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str())
    }

    pub(super) fn trial_id(&self) -> i32 {
        self.training.as_ref().map_or(0, |t| t.trial_id)
    }
}

impl CheckpointTrainingMetadata {
    /// The value of the metric that the searcher looks at.
    fn searched(&self) -> Option<f64> {
        let metric = self.experiment_config.pointer("/searcher/metric");
        metric
            .and_then(|metric| self.metric(metric.as_str()?))
            .or(self.searcher_metric)
    }

    /// The direction of the searcher; where the configuration does not say, its default.
    fn smaller_is_better(&self) -> bool {
        self.experiment_config
            .pointer("/searcher/smaller_is_better")
            .and_then(serde_json::Value::as_bool)
            .unwrap_or(true)
    }
}

/// The best of an owner's completed checkpoints.
pub(crate) fn best(checkpoints: Vec<Checkpoint>, order: &MetricOrder) -> Result<Checkpoint> {
    let ranking = Ranking::from(order);
    let mut checkpoints = some(checkpoints)?;
    ranking.sort(&mut checkpoints);
    if ranking.merit(&checkpoints[0]).is_some() {
        return Ok(checkpoints.swap_remove(0));
    }
    let error = Error::new(
        ErrorKind::CheckpointUnavailable,
        format!(
            "none of its {} completed checkpoints has {} as a finite number",
            checkpoints.len(),
            ranking.name()
        ),
    );
    let known: BTreeSet<&str> = checkpoints.iter().flat_map(Checkpoint::metrics).collect();
    if known.is_empty() {
        return Err(error.with_hint("no metric was validated when they were saved"));
    }
    let known: Vec<&str> = known.into_iter().collect();
    Err(error.with_hint(format!("their metrics are {}", known.join(", "))))
}

/// The best completed checkpoint of each trial, the best of these first, up to `limit`. Those without the metric come last.
pub(crate) fn best_of_each_trial(
    checkpoints: Vec<Checkpoint>,
    order: &MetricOrder,
    limit: usize,
) -> Result<Vec<Checkpoint>> {
    let mut checkpoints = some(checkpoints)?;
    Ranking::from(order).sort(&mut checkpoints);
    let mut trials = HashSet::new();
    checkpoints.retain(|checkpoint| trials.insert(checkpoint.trial_id()));
    checkpoints.truncate(limit);
    Ok(checkpoints)
}

/// The latest of an owner's completed checkpoints.
pub(crate) fn latest(session: &Session, owner: Owner) -> Result<Checkpoint> {
    let latest_first = CheckpointQuery::new()
        .sort_by(CheckpointSortBy::BatchNumber)
        .order_by(OrderBy::Descending)
        .states([CheckpointState::Completed])
        .max_results(1);
    list(session, owner, &latest_first)
        .and_then(|found| Ok(some(found)?.swap_remove(0)))
        .map_err(|error| error.on_the_way_to(format!("get the latest checkpoint of {owner}")))
}

fn some(checkpoints: Vec<Checkpoint>) -> Result<Vec<Checkpoint>> {
    if checkpoints.is_empty() {
        return Err(Error::new(
            ErrorKind::CheckpointUnavailable,
            "it has no completed checkpoint",
        )
        .with_hint("if it has run, its state and the logs() of its trials say why"));
    }
    Ok(checkpoints)
}
