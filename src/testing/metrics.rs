//! Metrics.

use super::trials::Trial;
use super::wire;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

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
