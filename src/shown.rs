//! Fields as `Debug` shows them: an experiment's configuration may hold the keys of its checkpoint storage, the password of a registry, and
//! whatever its users put into environment variables.

use std::any::Any;
use std::fmt::{self, Debug};

use serde_json::Value;

const HIDDEN: &str = "[hidden]";
/// Settings whose every part may be secret.
const SETTINGS: [&str; 4] = [
    "connection_string",
    "environment_variables",
    "pod_spec",
    "registry_auth",
];
/// Words in the name of a setting that is secret.
const WORDS: [&str; 6] = [
    "credential",
    "credentials",
    "passwd",
    "password",
    "secret",
    "token",
];

/// A field, as `Debug` shows it.
pub(crate) enum Shown<'a> {
    AsItIs(&'a dyn Debug),
    Json(Value),
    Hidden,
}

impl<'a> Shown<'a> {
    pub(crate) fn new<T: Debug + 'static>(name: &str, field: &'a T) -> Self {
        match (field as &dyn Any).downcast_ref() {
            Some(json) => Self::Json(without_secrets(json)),
            // Text that only the master's own parser reads for sure.
            None if name == "original_config" => Self::Hidden,
            None => Self::AsItIs(field),
        }
    }
}

impl Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsItIs(field) => field.fmt(f),
            Self::Json(json) => json.fmt(f),
            Self::Hidden => HIDDEN.fmt(f),
        }
    }
}

fn without_secrets(json: &Value) -> Value {
    match json {
        Value::Object(settings) => settings
            .iter()
            .map(|(name, value)| {
                let shown = match value {
                    Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
                    _ if is_secret(name) => HIDDEN.into(),
                    _ => without_secrets(value),
                };
                (name.clone(), shown)
            })
            .collect(),
        Value::Array(values) => values.iter().map(without_secrets).collect(),
        // A URL that is signed.
        Value::String(text) if text.contains("sig=") => HIDDEN.into(),
        _ => json.clone(),
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SETTINGS.contains(&name.as_str()) || name.split(['_', '-']).any(|word| WORDS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_configuration_is_shown_without_what_is_secret_in_it() {
        let config = json!({
            "name": "n",
            "checkpoint_storage": {
                "bucket": "b", "access_key": "a", "secret_key": "hush", "connection_string": "hush", "credential": {"account_key": "hush"},
                "account_url": "https://a.blob.core.windows.net?sv=1&sig=hush",
            },
            "environment": {
                "environment_variables": {"cpu": ["KEY=hush"]}, "registry_auth": {"username": "kim", "password": "hush"},
                "pod_spec": {"spec": {"containers": [{"env": [{"name": "KEY", "value": "hush"}]}]}},
            },
            "data": [{"api-token": "hush", "max_tokens": 512, "tokenizer": "bert"}],
            "registry_auth": null,
        });
        let shown = format!("{:?}", Shown::new("config", &config));
        assert!(!shown.contains("hush"), "{shown}");
        for plain in ["\"n\"", "\"b\"", "512", "bert", "Null"] {
            assert!(shown.contains(plain), "{shown}");
        }
        let text = "secret_key: hush".to_owned();
        assert_eq!(
            format!("{:?}", Shown::new("original_config", &text)),
            "\"[hidden]\""
        );
        assert_eq!(
            format!("{:#?}", Shown::new("labels", &vec![1])),
            "[\n    1,\n]"
        );
    }
}
