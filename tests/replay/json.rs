//! Where two JSON values differ.

use serde_json::Value;

/// The first difference, with its place; `None` if both are the same. `1` and `1.0` are.
pub fn difference(ours: &Value, recorded: &Value) -> Option<String> {
    match (ours, recorded) {
        (Value::Object(ours), Value::Object(recorded)) => {
            for (key, recorded) in recorded {
                let Some(ours) = ours.get(key) else {
                    return Some(format!("/{key}: missing, recorded is {}", short(recorded)));
                };
                if let Some(deeper) = difference(ours, recorded) {
                    return Some(format!("/{key}{}", spaced(&deeper)));
                }
            }
            let (key, value) = ours.iter().find(|(key, _)| !recorded.contains_key(*key))?;
            Some(format!("/{key}: is {}, but was not recorded", short(value)))
        }
        (Value::Array(ours), Value::Array(recorded)) if ours.len() == recorded.len() => {
            (ours.iter().zip(recorded).enumerate())
                .find_map(|(i, (a, b))| difference(a, b).map(|d| format!("/{i}{}", spaced(&d))))
        }
        (Value::Number(ours), Value::Number(recorded)) if ours.as_f64() == recorded.as_f64() => {
            None
        }
        _ if ours == recorded => None,
        _ => Some(format!(
            "is {}, recorded is {}",
            short(ours),
            short(recorded)
        )),
    }
}

/// A difference as it follows the place that it is in.
pub fn spaced(difference: &str) -> String {
    if difference.starts_with('/') {
        difference.to_owned()
    } else {
        format!(": {difference}")
    }
}

/// The start of a value.
pub fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
