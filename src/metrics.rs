//! Metrics that trials reported, streamed report by report.

use std::collections::BTreeSet;
use std::fmt;
use std::iter::FusedIterator;
use std::vec;

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::scan::Scanner;
use crate::session::{JsonLines, Request, Session, decode, invalid_line, route};
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

#[cfg(fuzzing)]
impl TrialMetrics {
    /// Reads a report in both ways, which agree.
    pub(crate) fn fuzz(json: &[u8]) {
        if let Some((scanned, rest)) = scan(json) {
            let json = &json[..json.len() - rest.len()];
            if let Ok(decoded) = serde_json::from_slice::<Self>(json) {
                assert_eq!(scanned, decoded);
            }
        }
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
    #[serde(default)]
    metrics: Option<Values>,
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
        let values = report.metrics.unwrap_or_default();
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
    line: ReportLine,
    /// Reports that are decoded already.
    fetched: vec::IntoIter<TrialMetrics>,
}

impl MetricReports {
    fn new(lines: Option<JsonLines>, fetched: Vec<TrialMetrics>) -> Self {
        Self {
            lines,
            line: ReportLine::default(),
            fetched: fetched.into_iter(),
        }
    }

    fn next_report(&mut self) -> Result<Option<TrialMetrics>> {
        loop {
            if let Some(report) = self.fetched.next() {
                return Ok(Some(report));
            }
            let Some(lines) = &mut self.lines else {
                return Ok(None);
            };
            let report = self.line.next().map_err(|error| lines.explain(error))?;
            if report.is_some() {
                return Ok(report);
            }
            let Some(line) = lines.next_line()? else {
                return Ok(None);
            };
            if !self.line.open(line) {
                let reports = decode::<Reports>(line).map_err(|error| lines.explain(error))?;
                self.fetched = reports.metrics.unwrap_or_default().into_iter();
            }
        }
    }
}

impl Iterator for MetricReports {
    type Item = Result<TrialMetrics>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.next_report().transpose();
        if !matches!(item, Some(Ok(_))) {
            self.lines = None;
        }
        item
    }
}

impl FusedIterator for MetricReports {}

impl fmt::Debug for MetricReports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricReports")
            .field("fetched", &self.fetched.len())
            .finish_non_exhaustive()
    }
}

/// What a line of the stream holds.
#[derive(Deserialize)]
struct Reports {
    #[serde(default)]
    metrics: Option<Vec<TrialMetrics>>,
}

/// What masters write before and behind the reports of a line.
const AROUND_REPORTS: [&[u8]; 2] = [b"{\"result\":{\"metrics\":[", b"]}}"];

/// A line as masters write it. Its reports, of which there may be a thousand, are decoded one by one as they are wanted.
#[derive(Default)]
struct ReportLine {
    line: Vec<u8>,
    /// Where the next report begins, if there is one.
    next: Option<usize>,
}

impl ReportLine {
    /// Takes a line in. False if it is written otherwise.
    fn open(&mut self, line: &[u8]) -> bool {
        let [before, behind] = AROUND_REPORTS;
        let reports = line
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(behind));
        if reports.is_none_or(<[u8]>::is_empty) {
            return false;
        }
        self.line.clear();
        self.line.extend_from_slice(line);
        self.next = Some(before.len());
        true
    }

    fn next(&mut self) -> Result<Option<TrialMetrics>> {
        let Some(at) = self.next.take() else {
            return Ok(None);
        };
        let (report, rest) = match scan(&self.line[at..]) {
            Some((report, rest)) => (Some(report), rest),
            None => {
                let rest = &self.line[at..];
                let mut values = serde_json::Deserializer::from_slice(rest).into_iter();
                let report = values.next().transpose();
                let report = report.map_err(|error| invalid_line(&self.line, &error))?;
                (report, &rest[values.byte_offset()..])
            }
        };
        if rest.starts_with(b",") {
            self.next = Some(self.line.len() - rest.len() + 1);
        } else if rest != AROUND_REPORTS[1] {
            // Either it says more than is known here, or it is no JSON.
            decode::<IgnoredAny>(&self.line)?;
        }
        Ok(report)
    }
}

/// Reads a report as masters write it, and gives what follows. `None` for any other.
fn scan(json: &[u8]) -> Option<(TrialMetrics, &[u8])> {
    let mut report = Scanner::new(json);
    let trial_id = report.integer(b"\"trialId\":")?;
    let end_time = report.string(b"\"endTime\":\"")?;
    report.enter(b"\"metrics\":")?;
    let metrics = match report.value(b"\"avg_metrics\":") {
        Some(metrics) => metrics,
        None => report.value(b"\"validation_metrics\":")?,
    };
    report.pass(b"\"batch_metrics\":null");
    report.leave()?;
    let steps_completed = report.integer(b"\"totalBatches\":")?;
    report.pass(b"\"archived\":false");
    report.integer(b"\"id\":");
    let trial_run_id = report.integer(b"\"trialRunId\":")?;
    let group = report.string(b"\"group\":\"")?;
    report.leave()?;
    let found = TrialMetrics {
        trial_id,
        trial_run_id,
        steps_completed,
        end_time: Some(end_time.plain()?.parse().ok()?),
        group: group.plain()?.to_owned(),
        metrics,
        batch_metrics: None,
    };
    Some((found, report.rest()))
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
    Ok(MetricReports::new(Some(lines), Vec::new()))
}

/// The reports that were made about a checkpoint, or a version of a model, by the request without its query.
pub(crate) fn of_source(request: Request, group: Option<&str>) -> Result<MetricReports> {
    let reports: Option<Vec<TrialMetrics>> = request
        .query("trialSourceInfoType", "TRIAL_SOURCE_INFO_TYPE_INFERENCE")
        .query_some("metricGroup", group)
        .fetch_field("metrics")?;
    Ok(MetricReports::new(None, reports.unwrap_or_default()))
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

    #[test]
    fn a_report_is_read_alike_however_it_is_written() {
        let training = r#"{"trialId":7,"endTime":"2026-11-23T20:10:34.387Z","metrics":{"avg_metrics":{"loss":6.729757263632097,"n":1,"nan":"NaN"},"batch_metrics":null},"totalBatches":1,"archived":false,"id":20,"trialRunId":2,"group":"training"}"#;
        let validation = r#"{"trialId":8,"endTime":"2026-11-23T20:10:34.278Z","metrics":{"validation_metrics":{"deep":{"a":[1]}}},"totalBatches":-1,"archived":false,"id":19,"trialRunId":1,"group":"validation"}"#;
        for usual in [training, validation] {
            let text = format!("{usual},{{");
            let (report, rest) = scan(text.as_bytes()).unwrap();
            assert_eq!(rest, b",{");
            assert_eq!(report, serde_json::from_str(usual).unwrap());
        }
        for (part, other) in [
            ("\"batch_metrics\":null", "\"batch_metrics\":[{\"b\":1}]"),
            ("\"trialId\":", "\"trialId\": "),
            (
                "\"group\":\"training\"",
                "\"group\":\"tr\\u0061ining\",\"new\":[]",
            ),
            ("\"archived\":false,", ""),
        ] {
            let mut line = ReportLine::default();
            let reports = format!("{},{training}", training.replace(part, other));
            assert!(line.open(format!("{{\"result\":{{\"metrics\":[{reports}]}}}}").as_bytes()));
            let mut first = line.next().unwrap().unwrap();
            first.batch_metrics = None;
            assert_eq!(Some(first), line.next().unwrap(), "{other}");
            assert_eq!(line.next().unwrap(), None);
        }
    }

    #[test]
    fn a_line_that_is_no_json_is_an_error_where_that_shows() {
        let report = r#"{"trialId":7}"#;
        for (reports, good) in [
            ("7", 0),
            (",", 0),
            ("{]", 0),
            ("{}{}", 0),
            ("{},", 1),
            ("{},7", 1),
            ("{}],\"x\":[7", 1),
            ("{}],\"x\":[,", 0),
        ] {
            let reports = reports.replace("{}", report);
            let mut line = ReportLine::default();
            assert!(line.open(format!("{{\"result\":{{\"metrics\":[{reports}]}}}}").as_bytes()));
            for _ in 0..good {
                assert_eq!(line.next().unwrap().unwrap().trial_id, 7, "{reports}");
            }
            let is_more = reports.contains('x') && good == 1;
            assert_eq!(line.next().is_ok(), is_more, "{reports}");
        }
        for other in [
            "{\"result\":{\"metrics\":[]}}",
            "{\"result\":{\"metrics\":[{}",
            "{}",
            "",
        ] {
            assert!(!ReportLine::default().open(other.as_bytes()), "{other}");
        }
    }
}
