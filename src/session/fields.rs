//! Reading what counts out of an answer that is a JSON object, in one pass.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny,
    MapAccess, Visitor,
};

use super::pages::Pagination;
use super::refusal::message;

/// What is in an answer.
pub(super) struct Fields<T> {
    /// What stands under the key that is asked for.
    pub(super) value: Option<T>,
    /// Where a page stands in its list.
    pub(super) place: Option<Pagination>,
    tells_of_error: bool,
}

impl<T: DeserializeOwned> Fields<T> {
    /// Reads an answer. One that tells of an error is not what a success has: something between here and the master made it.
    pub(super) fn read(bytes: &[u8], key: &str) -> serde_json::Result<Self> {
        let text = str::from_utf8(bytes).map_err(serde_json::Error::custom)?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let fields = deserializer.deserialize_map(FieldsVisitor(key, PhantomData))?;
        deserializer.end()?;
        if fields.tells_of_error {
            let said = message(bytes).unwrap_or_default();
            return Err(serde_json::Error::custom(format!(
                "it tells of an error: {said:?}"
            )));
        }
        Ok(fields)
    }
}

struct FieldsVisitor<'k, T>(&'k str, PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FieldsVisitor<'_, T> {
    type Value = Fields<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields {
            value: None,
            place: None,
            tells_of_error: false,
        };
        while let Some(key) = map.next_key_seed(KeyVisitor(self.0))? {
            match key {
                Key::Value => fields.value = Some(map.next_value()?),
                Key::Place => fields.place = map.next_value()?,
                Key::Error => {
                    fields.tells_of_error = map.next_value::<Option<IgnoredAny>>()?.is_some();
                }
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(fields)
    }
}

enum Key {
    Value,
    Place,
    Error,
    Other,
}

/// Tells a key by the one that is asked for.
struct KeyVisitor<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for KeyVisitor<'_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<Key, D::Error> {
        key.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KeyVisitor<'_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        Ok(match key {
            _ if key == self.0 => Key::Value,
            "pagination" => Key::Place,
            "error" => Key::Error,
            _ => Key::Other,
        })
    }
}
