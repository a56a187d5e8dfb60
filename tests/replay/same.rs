//! Whether a call returned what the Python SDK returned.

use std::collections::BTreeSet;

use determined::Timestamp;
use serde_json::Value;

use super::json::{difference, short, spaced};

/// What an object of ours differs in from Python's; `None` if it is the same.
///
/// An object of the SDK has all of Python's fields, and may have more. A few fields have another type here, which [`field`] lists.
/// Free-form JSON is the same throughout.
pub fn disagreement(ours: &Value, recorded: &Value) -> Option<String> {
    match (ours, recorded) {
        (Value::Array(ours), Value::Array(recorded)) if ours.len() == recorded.len() => {
            (ours.iter().zip(recorded).enumerate())
                .find_map(|(i, (a, b))| disagreement(a, b).map(|d| format!("/{i}{}", spaced(&d))))
        }
        (Value::Object(fields), Value::Object(recorded)) if recorded.contains_key("_type") => {
            let class = recorded["_type"].as_str().unwrap_or_default();
            let mut recorded = recorded.iter().filter(|(name, _)| *name != "_type");
            recorded.find_map(|(name, recorded)| {
                let Some(ours) = fields.get(name) else {
                    return Some(format!("/{name}: missing, Python's is {}", short(recorded)));
                };
                field(class, name, ours, recorded).map(|d| format!("/{name}{}", spaced(&d)))
            })
        }
        _ => difference(ours, recorded),
    }
}

/// What a field differs in, by the known differences of representation.
fn field(class: &str, name: &str, ours: &Value, recorded: &Value) -> Option<String> {
    let differ = || {
        Some(format!(
            "is {}, Python's is {}",
            short(ours),
            short(recorded)
        ))
    };
    match (class, name) {
        // Python has a set, or nothing in place of an empty one.
        ("Experiment", "labels") => {
            let labels = |value: &Value| -> Option<BTreeSet<String>> {
                let labels = value.as_array()?.iter();
                labels
                    .map(|label| label.as_str().map(str::to_owned))
                    .collect()
            };
            let recorded = match recorded {
                Value::Null => Some(BTreeSet::new()),
                _ => labels(recorded),
            };
            if labels(ours) == recorded {
                None
            } else {
                differ()
            }
        }
        // Masters say this in a list in place of notes that there are.
        ("Experiment", "notes") if recorded == "omitted" => {
            if ours.is_null() {
                None
            } else {
                differ()
            }
        }
        // Python leaves sizes as text.
        ("Checkpoint", "resources") => {
            let sizes = |value: &Value| {
                let files = value.as_object()?.iter();
                let size = |size: &Value| size.as_u64().or_else(|| size.as_str()?.parse().ok());
                files
                    .map(|(file, bytes)| Some((file.clone(), size(bytes)?)))
                    .collect::<Option<Vec<_>>>()
            };
            let files = ours.as_object().map(|files| files.values());
            let are_numbers = files.is_some_and(|mut sizes| sizes.all(Value::is_number));
            if are_numbers && sizes(ours) == sizes(recorded) {
                None
            } else {
                differ()
            }
        }
        // Python leaves some times as text and cuts others to whole seconds.
        (_, "creation_time" | "last_updated_time" | "end_time" | "report_time") => {
            let time = |value: &Value| value.as_str()?.parse::<Timestamp>().ok();
            let (Some(time), Some(recorded)) = (time(ours), time(recorded)) else {
                return difference(ours, recorded);
            };
            let is_cut = recorded.subsec_nanosecond() == 0 && name != "report_time";
            if time == recorded || is_cut && time.as_second() == recorded.as_second() {
                None
            } else {
                differ()
            }
        }
        _ => disagreement(ours, recorded),
    }
}
