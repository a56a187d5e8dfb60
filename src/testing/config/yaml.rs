//! YAML as the master reads it.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Reads the first document; a key that stands twice has its last value.
pub(in crate::testing) fn to_json(text: &str) -> Result<Value, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match serde_yaml::Deserializer::from_str(text).next() {
        None => Ok(Value::Null),
        Some(document) => Node::deserialize(document)
            .map(|node| node.0)
            .map_err(|error| error.to_string()),
    }
}

/// A value that takes any key and takes it twice.
struct Node(Value);

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor).map(Node)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom(format!("json: unsupported value: {value}")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Node(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((Node(key), Node(value))) = entries.next_entry()? {
            let key = match key {
                Value::String(key) => key,
                other => other.to_string(),
            };
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_and_yaml_are_read_alike() {
        let both = json!({"a": [1, 2.5, null], "b": {"c": "x"}});
        assert_eq!(to_json("a: [1, 2.5, null]\nb: {c: x}\n"), Ok(both.clone()));
        assert_eq!(to_json(&both.to_string()), Ok(both));
    }

    #[test]
    fn the_last_of_equal_keys_wins_and_the_first_document_counts() {
        assert_eq!(to_json("a: 1\na: 2\n---\nb: 3\n"), Ok(json!({"a": 2})));
    }

    #[test]
    fn keys_that_are_no_text_become_text() {
        assert_eq!(
            to_json("1: a\ntrue: b\n"),
            Ok(json!({"1": "a", "true": "b"}))
        );
    }

    #[test]
    fn nothing_is_null_and_nonsense_an_error() {
        assert_eq!(to_json(""), Ok(Value::Null));
        assert!(to_json("{a: [1").is_err());
        assert!(to_json("a: .inf").is_err());
    }
}
