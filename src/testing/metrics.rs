//! Metrics: what trials report, how it is streamed, and what it amounts to.

use super::checkpoints::uuid_of;
use super::failure::Failure;
use super::http::Response;
use super::router::{Answer, Call, Route};
use super::trials::Trial;
use super::wire;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub(super) const ROUTES: &[Route] = &[
    Route::get("/api/v1/trials/metrics/trial_metrics", of_group).streaming(),
    Route::get("/api/v1/trials/metrics/training_metrics", of_training).streaming(),
    Route::get("/api/v1/trials/metrics/validation_metrics", of_validation).streaming(),
    Route::get("/api/v1/checkpoints/{}/metrics", of_checkpoint),
];

/// How many reports stand in a line of a stream at most.
const BATCH: usize = 1000;

/// What a trial reported at some step.
#[derive(Debug, Clone)]
pub(super) struct Report {
    pub(super) id: i32,
    /// `training`, `validation` or any other name.
    pub(super) group: String,
    pub(super) steps: i32,
    /// The trial's run that reported it.
    pub(super) run: i32,
    pub(super) end_time: Timestamp,
    /// A later run has made it void.
    pub(super) archived: bool,
    pub(super) metrics: Map<String, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportOnWire {
    trial_id: i32,
    end_time: String,
    metrics: Value,
    total_batches: i32,
    archived: bool,
    id: i32,
    trial_run_id: i32,
    group: String,
}

impl ReportOnWire {
    fn new(trial: i32, report: &Report) -> Self {
        let metrics = wire::object_through_struct(&report.metrics);
        // The text of the time comes out of the database with milliseconds.
        let end_time = Timestamp::from_millisecond(report.end_time.as_millisecond());
        Self {
            trial_id: trial,
            end_time: format!("{:.3}", end_time.unwrap_or(report.end_time)),
            metrics: match report.group.as_str() {
                "validation" => json!({"validation_metrics": metrics}),
                _ => json!({"avg_metrics": metrics, "batch_metrics": null}),
            },
            total_batches: report.steps,
            archived: report.archived,
            id: report.id,
            trial_run_id: report.run,
            group: report.group.clone(),
        }
    }
}

fn of_group(call: &mut Call<'_>) -> Answer {
    let group = call.query.text("group").unwrap_or("").to_owned();
    stream(call, &group)
}

fn of_training(call: &mut Call<'_>) -> Answer {
    stream(call, "training")
}

fn of_validation(call: &mut Call<'_>) -> Answer {
    stream(call, "validation")
}

/// Streams what the trials have reported so far; no line mixes trials.
fn stream(call: &Call<'_>, group: &str) -> Answer {
    #[derive(Serialize)]
    struct Line {
        result: Batch,
    }
    #[derive(Serialize)]
    struct Batch {
        metrics: Vec<ReportOnWire>,
    }
    let mut ids = call.query.ints("trialIds")?;
    if ids.is_empty() {
        return Err(Failure::invalid("must specify at least one trialId"));
    }
    ids.sort_unstable();
    let mut lines = Vec::new();
    for id in ids {
        let trial = call.state.trial(i32::try_from(id).unwrap_or(0))?;
        let mut reports: Vec<&Report> = trial.reports_of(group).collect();
        reports.sort_by_key(|report| (report.run, report.steps));
        for batch in reports.chunks(BATCH) {
            let metrics = batch
                .iter()
                .map(|report| ReportOnWire::new(trial.id, report));
            lines.push(Line {
                result: Batch {
                    metrics: metrics.collect(),
                },
            });
        }
    }
    Ok(Response::stream(200, "application/json", move |out| {
        for line in &lines {
            serde_json::to_writer(&mut *out, line)?;
            out.write_all(b"\n")?;
            out.flush()?;
        }
        Ok(())
    }))
}

/// Nothing that this master runs reports metrics of inference for a checkpoint.
fn of_checkpoint(call: &mut Call<'_>) -> Answer {
    call.state.checkpoint(&uuid_of(call)?)?;
    Ok(Response::json(&json!({"metrics": []})))
}

/// What a trial's reports amount to, by group and metric.
pub(super) fn summary(trial: &Trial) -> Value {
    let mut groups: Map<String, Value> = Map::new();
    let mut last_of_group: BTreeMap<&str, &Report> = BTreeMap::new();
    let mut metrics: BTreeMap<(&str, &str), Summary> = BTreeMap::new();
    for report in trial.reports.iter().filter(|report| !report.archived) {
        last_of_group.insert(&report.group, report);
        for (name, value) in &report.metrics {
            metrics.entry((&report.group, name)).or_default().add(value);
        }
    }
    for ((group, name), summary) in metrics {
        let last = last_of_group
            .get(group)
            .and_then(|report| report.metrics.get(name))
            .map_or(Value::Null, wire::through_struct);
        let group = match group {
            "training" => "avg_metrics",
            "validation" => "validation_metrics",
            other => other,
        };
        let entry = groups
            .entry(group)
            .or_insert_with(|| Value::Object(Map::new()));
        entry[name] = summary.on_wire(last);
    }
    Value::Object(groups)
}

#[derive(Default)]
struct Summary {
    count: u32,
    sum: f64,
    least: Option<f64>,
    most: Option<f64>,
    /// What kind of values there were that are no numbers.
    other: Option<&'static str>,
}

impl Summary {
    fn add(&mut self, value: &Value) {
        let number = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(word) => match word.as_str() {
                "NaN" => Some(f64::NAN),
                "Infinity" => Some(f64::INFINITY),
                "-Infinity" => Some(f64::NEG_INFINITY),
                _ => None,
            },
            _ => None,
        };
        self.count += 1;
        match number {
            Some(number) => {
                self.sum += number;
                // A number that is none makes the extremes so too.
                let pick = |present: Option<f64>, choose: fn(f64, f64) -> f64| match present {
                    Some(present) if present.is_nan() || number.is_nan() => Some(f64::NAN),
                    Some(present) => Some(choose(present, number)),
                    None => Some(number),
                };
                self.least = pick(self.least, f64::min);
                self.most = pick(self.most, f64::max);
            }
            None => {
                self.other = Some(match value {
                    Value::Bool(_) => "boolean",
                    Value::Array(_) => "array",
                    Value::Object(_) => "object",
                    Value::Null => "null",
                    _ => "string",
                });
            }
        }
    }

    fn on_wire(&self, last: Value) -> Value {
        match (self.other, self.least, self.most) {
            (None, Some(least), Some(most)) => json!({
                "count": self.count,
                "last": last,
                "max": wire::double(most),
                "mean": wire::double(self.sum / f64::from(self.count)),
                "min": wire::double(least),
                "sum": wire::double(self.sum),
                "type": "number",
            }),
            (other, _, _) => json!({
                "count": self.count,
                "last": last,
                "type": other.unwrap_or("string"),
            }),
        }
    }
}
