//! Metrics that trials reported, streamed report by report.

use std::collections::BTreeSet;
use std::fmt;
use std::iter::FusedIterator;
use std::vec;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::session::{JsonLines, Request, Session, route};
use crate::trial::Trial;
use crate::wire::{lenient, number, time};

/// What a trial reported at one step, to one group.
///
/// ```
/// # let master = determined::testing::MockMaster::start();
/// # let trial = master.experiment().create().await_first_trial()?;
/// for report in trial.iter_metrics("validation")? {
///     let report = report?;
///     println!("{} {:?} {:?}", report.steps_completed, report.end_time, report.metric("val_loss"));
/// }
/// # Ok::<(), determined::Error>(())
/// ```
#[doc(alias("TrainingMetrics", "ValidationMetrics"))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Report")]
#[non_exhaustive]
pub struct TrialMetrics {
    /// The trial.
    pub trial_id: i32,
    /// The run of the trial: 1, and one more after each restart.
    pub trial_run_id: i32,
    /// The steps that were completed then.
    #[doc(alias = "total_batches")]
    pub steps_completed: i32,
    /// When it was reported.
    pub end_time: Option<Timestamp>,
    /// The group: `training`, `validation`, or another that the trial chose.
    pub group: String,
    /// The metrics, as the master sends them; see [`metric`](Self::metric).
    pub metrics: Map<String, Value>,
    /// The metrics of each batch, where they were reported.
    pub batch_metrics: Option<Vec<Value>>,
}

impl TrialMetrics {
    /// A metric that is a number. The words `NaN`, `Infinity` and `-Infinity`, as which masters send what JSON cannot say, count as such.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let trial = master.experiment().create().await_first_trial()?;
    /// for report in trial.iter_metrics("validation")? {
    ///     let report = report?;
    ///     println!("{}: {:?}", report.steps_completed, report.metric("val_loss"));
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn metric(&self, name: &str) -> Option<f64> {
        number(self.metrics.get(name)?)
    }
}

/// A report as the master sends it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    #[serde(default, deserialize_with = "lenient")]
    trial_id: i32,
    #[serde(default, deserialize_with = "lenient")]
    trial_run_id: i32,
    #[serde(default, deserialize_with = "lenient")]
    total_batches: i32,
    #[serde(default, deserialize_with = "time")]
    end_time: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    group: String,
    #[serde(default, deserialize_with = "lenient")]
    metrics: Values,
}

/// The metrics of validations have a key of their own; those of all other groups are under the other one.
#[derive(Default, Deserialize)]
struct Values {
    #[serde(default)]
    avg_metrics: Option<Map<String, Value>>,
    #[serde(default)]
    validation_metrics: Option<Map<String, Value>>,
    #[serde(default)]
    batch_metrics: Option<Vec<Value>>,
}

impl From<Report> for TrialMetrics {
    fn from(report: Report) -> Self {
        let values = report.metrics;
        Self {
            trial_id: report.trial_id,
            trial_run_id: report.trial_run_id,
            steps_completed: report.total_batches,
            end_time: report.end_time,
            group: report.group,
            metrics: values
                .validation_metrics
                .or(values.avg_metrics)
                .unwrap_or_default(),
            batch_metrics: values.batch_metrics,
        }
    }
}

/// Reports of metrics, one by one, in the order of trials, runs and steps.
///
/// These are the reports that the master had when it was asked; the stream does not wait for more. A failure comes as an `Err` item, after
/// which the iterator is at its end. Dropping it closes its connection.
///
/// ```
/// # let master = determined::testing::MockMaster::start();
/// # let trial = master.experiment().create().await_first_trial()?;
/// let reports: Vec<_> = trial.iter_metrics("training")?.collect::<determined::Result<_>>()?;
/// assert!(reports.is_sorted_by_key(|report| report.steps_completed));
/// # Ok::<(), determined::Error>(())
/// ```
#[must_use]
pub struct MetricReports {
    lines: Option<JsonLines>,
    batch: vec::IntoIter<TrialMetrics>,
}

/// One line of the stream.
#[derive(Deserialize)]
struct Batch {
    #[serde(default, deserialize_with = "lenient")]
    metrics: Vec<TrialMetrics>,
}

impl Iterator for MetricReports {
    type Item = Result<TrialMetrics>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(report) = self.batch.next() {
                return Some(Ok(report));
            }
            match self.lines.as_mut()?.next_result::<Batch>() {
                Some(Ok(batch)) => self.batch = batch.metrics.into_iter(),
                other => {
                    self.lines = None;
                    return other.and_then(Result::err).map(Err);
                }
            }
        }
    }
}

impl FusedIterator for MetricReports {}

impl fmt::Debug for MetricReports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricReports")
            .field("fetched", &self.batch.len())
            .finish_non_exhaustive()
    }
}

/// The reports of some trials to a group.
pub(crate) fn of_trials(
    session: &Session,
    trial_ids: impl IntoIterator<Item = i32>,
    group: &str,
) -> Result<MetricReports> {
    // Masters send a trial that is named twice twice.
    let ids: BTreeSet<i32> = trial_ids.into_iter().collect();
    let doing = format!("read the {group} metrics of {}", Trials(&ids));
    if ids.is_empty() {
        return Err(Error::invalid_input("no trial is named").doing(doing));
    }
    let lines = session
        .get("/api/v1/trials/metrics/trial_metrics")
        .doing(doing)
        .query_each("trialIds", &ids)
        .query("group", group)
        .stream()?;
    Ok(MetricReports {
        lines: Some(lines),
        batch: Vec::new().into_iter(),
    })
}

/// The reports that were made about a checkpoint, or a version of a model, by the request without its query.
pub(crate) fn of_source(request: Request, group: Option<&str>) -> Result<MetricReports> {
    let reports: Option<Vec<TrialMetrics>> = request
        .query("trialSourceInfoType", "TRIAL_SOURCE_INFO_TYPE_INFERENCE")
        .query_some("metricGroup", group)
        .fetch_field("metrics")?;
    Ok(MetricReports {
        lines: None,
        batch: reports.unwrap_or_default().into_iter(),
    })
}

/// Some trials, in words.
struct Trials<'a>(&'a BTreeSet<i32>);

impl fmt::Display for Trials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.first() {
            Some(id) if self.0.len() == 1 => write!(f, "trial {id}"),
            _ => write!(f, "{} trials", self.0.len()),
        }
    }
}

impl Trial {
    /// What the trial has reported to a group so far: `training`, `validation`, or another that it chose.
    ///
    /// Nothing comes for a group that does not exist. `GET /api/v1/trials/metrics/trial_metrics`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the trial is gone, [`Unsupported`](crate::ErrorKind::Unsupported) if the master is too old;
    /// what goes wrong later comes as an item.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let trial = master.experiment().create().await_first_trial()?;
    /// let losses: Vec<f64> = trial
    ///     .iter_metrics("training")?
    ///     .filter_map(|report| report.map(|report| report.metric("loss")).transpose())
    ///     .collect::<determined::Result<_>>()?;
    /// assert_eq!(losses.len(), 5);
    /// # Ok::<(), determined::Error>(())
    /// ```
    #[doc(alias(
        "stream_metrics",
        "stream_training_metrics",
        "stream_validation_metrics"
    ))]
    pub fn iter_metrics(&self, group: &str) -> Result<MetricReports> {
        of_trials(&self.session, [self.id], group)
    }
}

impl Checkpoint {
    /// What trials have reported about this checkpoint, which they used for inference: to the group that is named, or with `None` to all.
    ///
    /// `GET /api/v1/checkpoints/{uuid}/metrics`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the checkpoint is gone, [`Unsupported`](crate::ErrorKind::Unsupported) if the master is too
    /// old.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let checkpoint = master.experiment().create().top_checkpoint()?;
    /// for report in checkpoint.iter_metrics(None)? {
    ///     println!("{:?}", report?.metrics);
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    #[doc(alias = "get_metrics")]
    pub fn iter_metrics<'a>(&self, group: impl Into<Option<&'a str>>) -> Result<MetricReports> {
        let request = self
            .session
            .get(route!("/api/v1/checkpoints/{}/metrics", self.uuid))
            .doing(format!("read the metrics of checkpoint {}", self.uuid));
        of_source(request, group.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(metrics: Value) -> TrialMetrics {
        serde_json::from_value(json!({
            "trialId": 19, "trialRunId": 2, "totalBatches": 5, "group": "g", "archived": false, "id": 76,
            "endTime": "2026-11-23T20:20:20.130Z", "metrics": metrics,
        }))
        .unwrap()
    }

    #[test]
    fn the_metrics_are_found_under_whichever_key_they_stand() {
        let training = report(json!({"avg_metrics": {"a": 1}, "batch_metrics": [{"b": 2}]}));
        assert_eq!(training.metric("a"), Some(1.0));
        assert_eq!(training.batch_metrics, Some(vec![json!({"b": 2})]));
        let validation = report(json!({"validation_metrics": {"a": 2}}));
        assert_eq!(
            (validation.metric("a"), validation.batch_metrics),
            (Some(2.0), None)
        );
        assert!(report(json!({})).metrics.is_empty());
        assert!(report(Value::Null).metrics.is_empty());
    }

    #[test]
    fn a_report_keeps_its_fraction_of_a_second() {
        let at = report(json!({})).end_time.unwrap();
        assert_eq!(at.to_string(), "2026-11-23T20:20:20.13Z");
    }

    #[test]
    fn what_is_no_number_is_sent_on_as_it_came() {
        let report = report(json!({"avg_metrics": {"nan": "NaN", "word": "w", "deep": {"a": 1}}}));
        assert!(report.metric("nan").unwrap().is_nan());
        assert_eq!((report.metric("word"), report.metric("deep")), (None, None));
        assert_eq!(report.metrics["deep"], json!({"a": 1}));
    }
}
