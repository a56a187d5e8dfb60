//! Reading the experiment's configuration of its checkpoint storage.

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};

/// A setting that is text, unless it is missing, null or empty.
pub(super) fn text<'a>(storage: &'a Value, key: &str) -> Result<Option<&'a str>> {
    match storage.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(unusable(format!("its {key} is no text"))),
    }
}

/// A setting that must be there.
pub(super) fn required<'a>(storage: &'a Value, key: &str) -> Result<&'a str> {
    text(storage, key)?.ok_or_else(|| unusable(format!("it has no {key}")))
}

pub(super) fn unusable(why: String) -> Error {
    Error::new(
        ErrorKind::Storage,
        format!("the experiment's checkpoint_storage cannot be used: {why}"),
    )
}

/// The prefix of keys as the cluster writes them: without slashes at its ends, and without empty parts in between.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
pub(super) fn prefix(given: &str) -> Result<String> {
    let parts: Vec<_> = given
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    if parts.contains(&"..") {
        return Err(unusable(format!(
            "its prefix {given:?} leads out of the bucket"
        )));
    }
    Ok(match parts.as_slice() {
        // The cluster keeps a prefix that is nothing but dots.
        [] if given.starts_with('.') => ".".to_owned(),
        parts => parts.join("/"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
    #[test]
    fn prefixes_become_those_that_the_cluster_writes() {
        for (given, normal) in [
            ("", ""),
            ("/", ""),
            ("//", ""),
            ("///", ""),
            ("foo", "foo"),
            ("/foo/", "foo"),
            ("foo//bar/./baz", "foo/bar/baz"),
            ("./foo/", "foo"),
            ("fo..o", "fo..o"),
            ("...", "..."),
            (".", "."),
            ("./", "."),
            ("/.", ""),
        ] {
            assert_eq!(prefix(given).unwrap(), normal, "{given:?}");
        }
        for given in ["..", "../a", "a/..", "a/../b"] {
            assert!(prefix(given).is_err(), "{given:?}");
        }
    }

    #[test]
    fn a_setting_is_text_or_not_there() {
        let storage = json!({"a": "x", "b": null, "c": "", "d": 7});
        assert_eq!(text(&storage, "a").unwrap(), Some("x"));
        for key in ["b", "c", "e"] {
            assert_eq!(text(&storage, key).unwrap(), None);
            assert!(required(&storage, key).is_err());
        }
        assert!(text(&storage, "d").is_err());
    }
}
