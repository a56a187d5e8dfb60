//! What stands on the wire and how it becomes public types: lenient where masters differ, exact where numbers matter.
//!
//! Masters of other versions leave fields out, send `null`, write 64-bit integers as strings and know states that this release
//! does not. None of that may fail a list, nor may any other odd value, so every field goes through [`lenient`] and every state keeps
//! words it does not know. Only an id, or a place in a list, must make sense.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde::de::{Deserializer, Error as _};
use serde_json::{Map, Value};

use crate::error::{Error, Result as CrateResult};
use crate::lenient::{Lenient, Scalar};

/// A field that may be missing (with `#[serde(default)]`), `null`, there, or of a type that makes no sense.
pub(crate) fn lenient<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Lenient + Default,
{
    Ok(T::read(deserializer)?.unwrap_or_default())
}

/// A number that must be right, such as the id that every later call names, or the place in a list: an error if it makes no sense.
pub(crate) fn exact<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i128> + Default,
{
    match Scalar::read(deserializer)? {
        Scalar::Null => Ok(T::default()),
        scalar => scalar
            .integer()
            .ok_or_else(|| D::Error::custom("a number that is none, or has no place in its type")),
    }
}

/// Like [`lenient`], in no more room than it needs: for what long lists hold a great many of.
pub(crate) fn compact<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Lenient + Default + Compact,
{
    let mut value: T = lenient(deserializer)?;
    value.compact();
    Ok(value)
}

/// What can give back the room that it took on the way and does not need.
pub(crate) trait Compact {
    fn compact(&mut self);
}

impl Compact for Vec<String> {
    fn compact(&mut self) {
        self.shrink_to_fit();
    }
}

impl Compact for Map<String, Value> {
    fn compact(&mut self) {
        let mut exact = Self::with_capacity(self.len());
        for (key, mut value) in std::mem::take(self) {
            value.compact();
            exact.insert(key, value);
        }
        *self = exact;
    }
}

impl Compact for Value {
    fn compact(&mut self) {
        match self {
            Self::Array(values) => {
                values.iter_mut().for_each(Self::compact);
                values.shrink_to_fit();
            }
            Self::Object(map) => map.compact(),
            _ => {}
        }
    }
}

/// A time that may be missing, `null`, or empty. What is no time counts as missing; one without a zone is in UTC, like all times of masters.
pub(crate) fn time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timestamp>, D::Error> {
    let Scalar::Text(text) = Scalar::read(deserializer)? else {
        return Ok(None);
    };
    Ok(text.parse().ok().or_else(|| {
        let without_zone: DateTime = text.parse().ok()?;
        TimeZone::UTC.to_timestamp(without_zone).ok()
    }))
}

/// A number in a metric, with the words that stand for what JSON cannot say.
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(n) => n.as_f64(),
        Value::String(word) => match word.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// A number that may be missing, `null`, or a string, such as one of the words of [`number`].
pub(crate) fn float<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(match Scalar::read(deserializer)? {
        Scalar::Integer(n) => Some(n as f64),
        Scalar::Float(n) => Some(n),
        Scalar::Text(text) => text.parse().ok(),
        Scalar::Null | Scalar::Bool(_) | Scalar::Other => None,
    })
}

/// Metadata as a caller gives it: anything that serializes to a JSON object. What does not is an error of the call that takes it.
#[derive(Debug, Clone)]
pub(crate) struct Metadata(Result<Map<String, Value>, String>);

impl Metadata {
    pub(crate) fn new(metadata: &impl Serialize) -> Self {
        Self(match to_json(metadata) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(Value::Null) => Err("the metadata is null, not a JSON object".to_owned()),
            Ok(Value::Bool(_)) => Err("the metadata is a boolean, not a JSON object".to_owned()),
            Ok(Value::Number(_)) => Err("the metadata is a number, not a JSON object".to_owned()),
            Ok(Value::String(_)) => Err("the metadata is a string, not a JSON object".to_owned()),
            Ok(Value::Array(_)) => Err("the metadata is a list, not a JSON object".to_owned()),
            Err(error) => Err(format!("the metadata cannot be written as JSON: {error}")),
        })
    }

    pub(crate) fn into_object(self) -> CrateResult<Map<String, Value>> {
        self.0.map_err(Error::invalid_input)
    }
}

/// The JSON of a value, in which `NaN` and the infinities are the words that [`number`] reads. serde_json alone would write `null`.
fn to_json(value: &impl Serialize) -> serde_json::Result<Value> {
    let json = serde_json::to_value(value)?;
    // YAML has words for these numbers, so its rendering of the value tells them from a true null.
    match has_null(&json).then(|| serde_yaml::to_value(value)) {
        Some(Ok(yaml)) => Ok(with_words(json, &yaml)),
        _ => Ok(json),
    }
}

fn has_null(json: &Value) -> bool {
    match json {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(fields) => fields.values().any(has_null),
        _ => false,
    }
}

/// Puts words for the numbers that are `null` in `json` only because JSON does not have them.
fn with_words(json: Value, yaml: &serde_yaml::Value) -> Value {
    match (json, yaml) {
        (Value::Null, serde_yaml::Value::Number(n)) => match n.as_f64() {
            Some(n) if n.is_nan() => Value::from("NaN"),
            Some(f64::INFINITY) => Value::from("Infinity"),
            Some(f64::NEG_INFINITY) => Value::from("-Infinity"),
            _ => Value::Null,
        },
        (Value::Array(items), serde_yaml::Value::Sequence(same)) => items
            .into_iter()
            .zip(same)
            .map(|(item, yaml)| with_words(item, yaml))
            .collect(),
        (Value::Object(fields), serde_yaml::Value::Mapping(same)) => fields
            .into_iter()
            .map(|(key, value)| {
                let value = match same.get(&key) {
                    Some(yaml) => with_words(value, yaml),
                    None => value,
                };
                (key, value)
            })
            .collect(),
        // An enum variant with data.
        (Value::Object(fields), serde_yaml::Value::Tagged(tagged)) => fields
            .into_iter()
            .map(|(key, value)| (key, with_words(value, &tagged.value)))
            .collect(),
        (json, _) => json,
    }
}

/// Declares a public object and, beside it, the private shape in which the master sends it.
///
/// Each field stands under its Python name; the wire has the same name in camelCase unless `= "name"` says otherwise. What is
/// missing or `null` becomes the type's default; `as "path"` names another way to read a field.
///
/// ```ignore
/// object! {
///     /// A model.
///     pub struct Model from ModelBody {
///         /// The id.
///         pub model_id: i32 = "id",
///         /// When it was made.
///         pub creation_time: Option<Timestamp> as "crate::wire::time",
///     }
/// }
/// let model: Model = body.attach(&session);
/// ```
macro_rules! object {
    ($(#[$meta:meta])* pub struct $Object:ident from $Body:ident { $($fields:tt)* }) => {
        object! { @munch { $(#[$meta])* $Object $Body } [] $($fields)* }
    };
    (@munch $head:tt [$($done:tt)*] $(#[$doc:meta])* pub $field:ident: $ty:ty $(= $wire:literal)? as $how:literal, $($rest:tt)*) => {
        object! { @munch $head [$($done)* { $(#[$doc])* $field ($ty) ($($wire)?) $how }] $($rest)* }
    };
    (@munch $head:tt [$($done:tt)*] $(#[$doc:meta])* pub $field:ident: $ty:ty $(= $wire:literal)?, $($rest:tt)*) => {
        object! { @munch $head [$($done)* { $(#[$doc])* $field ($ty) ($($wire)?) "crate::wire::lenient" }] $($rest)* }
    };
    (@munch { $(#[$meta:meta])* $Object:ident $Body:ident }
        [$({ $(#[$doc:meta])* $field:ident ($ty:ty) ($($wire:literal)?) $how:literal })*]
    ) => {
        $(#[$meta])*
        #[derive(Clone, serde::Serialize)]
        #[non_exhaustive]
        pub struct $Object {
            $($(#[$doc])* pub $field: $ty,)*
            #[serde(skip)]
            pub(crate) session: $crate::session::Session,
        }

        impl std::fmt::Debug for $Object {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($Object))
                    $(.field(stringify!($field), &$crate::shown::Shown::new(stringify!($field), &self.$field)))*
                    .field("session", &self.session)
                    .finish()
            }
        }

        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub(crate) struct $Body {
            $(#[serde(default, deserialize_with = $how $(, rename = $wire)?)] pub(crate) $field: $ty,)*
        }

        $crate::lenient::lenient_objects!($Body);

        impl $Body {
            /// The object, with the session through which its methods speak to the master.
            pub(crate) fn attach(self, session: &$crate::session::Session) -> $Object {
                $Object { $($field: self.$field,)* session: session.clone() }
            }
        }
    };
}
pub(crate) use object;

/// Declares the enum of a state: its words, shown as Python shows them, sent with a prefix, and open to words of newer masters.
macro_rules! state_enum {
    ($(#[$meta:meta])* pub enum $Enum:ident($prefix:literal) { $($(#[$doc:meta])* $Variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $Enum {
            $($(#[$doc])* $Variant,)*
            /// A word that this release does not know, as the master sent it.
            Unrecognized(String),
        }

        impl $Enum {
            /// The word without its prefix, as `Display` shows it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$Variant => $word,)*
                    Self::Unrecognized(word) => word,
                }
            }

            /// The word as the master spells it.
            #[allow(dead_code, reason = "not every state is also sent")]
            pub(crate) fn wire(&self) -> String {
                format!("{}{}", $prefix, self.as_str())
            }

            fn from_word(word: &str) -> Self {
                match word.strip_prefix($prefix).unwrap_or(word) {
                    $($word => Self::$Variant,)*
                    other => Self::Unrecognized(other.to_owned()),
                }
            }
        }

        impl Default for $Enum {
            fn default() -> Self {
                Self::Unrecognized("UNSPECIFIED".to_owned())
            }
        }

        impl std::fmt::Display for $Enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $Enum {
            type Err = std::convert::Infallible;

            /// Reads the word with or without its prefix; a word that is not known is kept.
            fn from_str(word: &str) -> Result<Self, Self::Err> {
                Ok(Self::from_word(word))
            }
        }

        impl serde::Serialize for $Enum {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl $crate::lenient::Lenient for $Enum {
            fn read<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Self>, D::Error> {
                Ok(String::read(value)?.map(|word| Self::from_word(&word)))
            }
        }
    };
}
pub(crate) use state_enum;

/// Declares an enum whose values are only ever sent: sort keys and the like.
macro_rules! sort_enum {
    ($(#[$meta:meta])* pub enum $Enum:ident { $($(#[$doc:meta])* $Variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $Enum {
            $($(#[$doc])* $Variant,)*
        }

        impl $Enum {
            /// The word as the master spells it.
            pub(crate) fn wire(self) -> &'static str {
                match self {
                    $(Self::$Variant => $word,)*
                }
            }
        }
    };
}
pub(crate) use sort_enum;

sort_enum! {
    /// In which order a list is sorted.
    ///
    /// ```
    /// use determined::{ModelQuery, ModelSortBy, OrderBy};
    ///
    /// let newest_first = ModelQuery::new().sort_by(ModelSortBy::CreationTime).order_by(OrderBy::Descending);
    /// # let _ = newest_first;
    /// ```
    #[doc(alias("ModelOrderBy", "TrialOrderBy", "CheckpointOrderBy", "ExperimentOrderBy", "ASC", "DESC"))]
    pub enum OrderBy {
        /// Smallest, first or oldest first.
        Ascending = "ORDER_BY_ASC",
        /// Largest, last or newest first.
        Descending = "ORDER_BY_DESC",
    }
}

#[cfg(test)]
mod tests {
    #![allow(unreachable_pub, reason = "the macros declare public types")]

    use std::collections::BTreeMap;

    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    state_enum! {
        /// A state.
        pub enum Light("STATE_") {
            /// Red.
            Red = "RED",
        }
    }

    #[derive(Deserialize)]
    struct Sample {
        #[serde(default, deserialize_with = "lenient")]
        state: Light,
        #[serde(default, deserialize_with = "lenient")]
        names: Vec<String>,
        #[serde(default, deserialize_with = "lenient")]
        size: u64,
        #[serde(default, deserialize_with = "lenient")]
        resources: BTreeMap<String, u64>,
        #[serde(default, deserialize_with = "time")]
        at: Option<jiff::Timestamp>,
        #[serde(default, deserialize_with = "float")]
        part: Option<f64>,
    }

    fn sample(value: Value) -> Sample {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn missing_and_null_fields_become_defaults() {
        let nulls = json!({"state": null, "names": null, "size": null, "resources": null, "at": null, "part": null});
        for value in [json!({}), nulls] {
            let sample = sample(value);
            assert_eq!(sample.state, Light::default());
            assert!(sample.names.is_empty() && sample.resources.is_empty());
            assert_eq!((sample.size, sample.at, sample.part), (0, None, None));
        }
    }

    #[test]
    fn a_float_may_be_a_word() {
        assert_eq!(sample(json!({"part": 0.5})).part, Some(0.5));
        assert!(sample(json!({"part": "NaN"})).part.unwrap().is_nan());
    }

    #[test]
    fn counts_are_read_from_strings_and_numbers() {
        assert_eq!(
            sample(json!({"size": "9007199254740993"})).size,
            9_007_199_254_740_993
        );
        assert_eq!(sample(json!({"size": 7})).size, 7);
        assert_eq!(
            sample(json!({"resources": {"a": "11", "b": 2, "c/": "0"}})).resources,
            [
                ("a".to_owned(), 11),
                ("b".to_owned(), 2),
                ("c/".to_owned(), 0)
            ]
            .into()
        );
    }

    #[test]
    fn times_keep_their_fraction() {
        let at = sample(json!({"at": "2026-11-23T20:04:32.069202Z"}))
            .at
            .unwrap();
        assert_eq!(at.to_string(), "2026-11-23T20:04:32.069202Z");
    }

    #[test]
    fn a_word_of_a_newer_master_is_kept() {
        let state = sample(json!({"state": "STATE_BLINKING"})).state;
        assert_eq!(state, Light::Unrecognized("BLINKING".to_owned()));
        assert_eq!(
            (state.to_string().as_str(), state.wire().as_str()),
            ("BLINKING", "STATE_BLINKING")
        );
        assert_eq!("RED".parse::<Light>().unwrap(), Light::Red);
    }

    #[test]
    fn what_json_cannot_say_is_sent_in_words() {
        #[derive(Serialize)]
        enum Outcome {
            Loss(f64),
        }
        #[derive(Serialize)]
        struct Sample {
            nan: f64,
            none: Option<f64>,
            nested: Vec<BTreeMap<&'static str, f64>>,
            outcome: Outcome,
        }
        let sample = Sample {
            nan: f64::NAN,
            none: None,
            nested: vec![[("up", f64::INFINITY), ("n", 0.5)].into()],
            outcome: Outcome::Loss(f64::NEG_INFINITY),
        };
        assert_eq!(
            Value::Object(Metadata::new(&sample).into_object().unwrap()),
            json!({
                "nan": "NaN",
                "none": null,
                "nested": [{"up": "Infinity", "n": 0.5}],
                "outcome": {"Loss": "-Infinity"},
            })
        );
    }

    #[test]
    fn metadata_is_an_object() {
        for wrong in [json!(null), json!([1]), json!("k"), json!(1), json!(true)] {
            let error = Metadata::new(&wrong).into_object().unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
            assert!(error.to_string().ends_with("not a JSON object"), "{error}");
        }
        let unwritable = BTreeMap::from([((1, 2), 3)]);
        assert!(Metadata::new(&unwritable).into_object().is_err());
    }

    #[test]
    fn words_for_what_json_cannot_say_are_numbers() {
        assert!(number(&json!("NaN")).unwrap().is_nan());
        assert_eq!(number(&json!("-Infinity")), Some(f64::NEG_INFINITY));
        assert_eq!(number(&json!(0.5)), Some(0.5));
        assert_eq!(number(&json!("0.5")), None);
        assert_eq!(number(&json!(null)), None);
    }
}
