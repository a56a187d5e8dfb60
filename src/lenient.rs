//! Reading values of JSON whatever their type: what makes no sense in its place counts as missing, so that no list fails for one odd field.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Value};

/// What can be read out of a value though that may be of another type than masters send.
pub(crate) trait Lenient: Sized {
    /// `None` for `null`, and for what makes no sense.
    fn read<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Self>, D::Error>;
}

/// A value that is no list and no object.
pub(crate) enum Scalar<'de> {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(Cow<'de, str>),
    /// A list or an object all the same.
    Other,
}

impl<'de> Scalar<'de> {
    pub(crate) fn read<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_any(ScalarVisitor)
    }

    /// The whole number that it is, or that it spells.
    pub(crate) fn integer<T: TryFrom<i128>>(&self) -> Option<T> {
        let integer = match self {
            Self::Integer(n) => *n,
            // Rounded down to the limits of the type, beyond which no `T` goes.
            Self::Float(n) if n.fract() == 0.0 => *n as i128,
            Self::Text(text) => text.trim().parse().ok()?,
            _ => return None,
        };
        T::try_from(integer).ok()
    }
}

impl Lenient for String {
    fn read<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Self>, D::Error> {
        Ok(match Scalar::read(value)? {
            Scalar::Text(text) => Some(text.into_owned()),
            Scalar::Bool(word) => Some(word.to_string()),
            Scalar::Integer(n) => Some(n.to_string()),
            Scalar::Float(n) => Some(n.to_string()),
            Scalar::Null | Scalar::Other => None,
        })
    }
}

impl Lenient for bool {
    fn read<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Self>, D::Error> {
        Ok(match Scalar::read(value)? {
            Scalar::Bool(word) => Some(word),
            Scalar::Text(text) => text.parse().ok(),
            _ => None,
        })
    }
}

macro_rules! lenient_integers {
    ($($Integer:ty)*) => { $(
        impl Lenient for $Integer {
            fn read<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Self>, D::Error> {
                Ok(Scalar::read(value)?.integer())
            }
        }
    )* };
}
lenient_integers!(i32 i64 u64);

impl Lenient for Value {
    fn read<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Self>, D::Error> {
        Self::deserialize(value).map(Some)
    }
}

impl<T: Lenient> Lenient for Option<T> {
    fn read<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Self>, D::Error> {
        T::read(value).map(Some)
    }
}

impl<T: Lenient> Lenient for Vec<T> {
    fn read<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Self>, D::Error> {
        value.deserialize_any(ListVisitor(PhantomData))
    }
}

impl<T: Lenient + Default> Lenient for BTreeMap<String, T> {
    fn read<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Self>, D::Error> {
        let fields: Option<BTreeMap<String, OrDefault<T>>> = object(value)?;
        Ok(fields.map(|fields| fields.into_iter().map(|(k, v)| (k, v.0)).collect()))
    }
}

impl Lenient for Map<String, Value> {
    fn read<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Self>, D::Error> {
        object(value)
    }
}

/// An object with fields of its own, each of which is read leniently.
macro_rules! lenient_objects {
    ($($Object:ty)*) => { $(
        impl $crate::lenient::Lenient for $Object {
            fn read<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Self>, D::Error> {
                $crate::lenient::object(value)
            }
        }
    )* };
}
pub(crate) use lenient_objects;

/// An object; `None` for anything else.
pub(crate) fn object<'de, D, T>(value: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    value.deserialize_any(ObjectVisitor(PhantomData))
}

struct OrDefault<T>(T);

impl<'de, T: Lenient + Default> Deserialize<'de> for OrDefault<T> {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        T::read(value).map(|read| Self(read.unwrap_or_default()))
    }
}

/// An element of a list.
struct Element<T>(PhantomData<T>);

impl<'de, T: Lenient> DeserializeSeed<'de> for Element<T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Option<T>, D::Error> {
        T::read(value)
    }
}

struct ScalarVisitor;
struct ListVisitor<T>(PhantomData<T>);
struct ObjectVisitor<T>(PhantomData<T>);

/// Methods of a visitor that make nothing of scalars.
macro_rules! no_scalars {
    () => {
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    };
}

fn pass_over_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<(), A::Error> {
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

fn pass_over_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<(), A::Error> {
    while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, word: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(word))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Integer(n.into()))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Integer(n.into()))
    }

    fn visit_f64<E>(self, n: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Float(n))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text)))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        pass_over_list(list).map(|()| Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
        pass_over_object(object).map(|()| Scalar::Other)
    }
}

impl<'de, T: Lenient> Visitor<'de> for ListVisitor<T> {
    type Value = Option<Vec<T>>;

    no_scalars!();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(element) = list.next_element_seed(Element(PhantomData))? {
            all.extend(element);
        }
        Ok(Some(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
        pass_over_object(object).map(|()| None)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Option<T>;

    no_scalars!();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        pass_over_list(list).map(|()| None)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(object)).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_makes_sense_is_read_whatever_its_type() {
        fn read<T: Lenient>(value: Value) -> Option<T> {
            T::read(value).unwrap()
        }
        assert_eq!(read::<i32>(json!("12")), Some(12));
        assert_eq!(read::<i32>(json!(-12.0)), Some(-12));
        assert_eq!(read::<u64>(json!(u64::MAX)), Some(u64::MAX));
        assert_eq!(read::<String>(json!(1.5)), Some("1.5".to_owned()));
        assert_eq!(read::<bool>(json!("true")), Some(true));
        assert_eq!(read::<Option<i32>>(json!(null)), Some(None));
        assert_eq!(
            read::<Vec<String>>(json!(["a", null, 1])),
            Some(vec!["a".to_owned(), "1".to_owned()])
        );
        let sizes = read::<BTreeMap<String, u64>>(json!({"a": "7", "b": []}));
        assert_eq!(
            sizes.unwrap(),
            [("a".to_owned(), 7), ("b".to_owned(), 0)].into()
        );
    }

    #[test]
    fn what_makes_none_counts_as_missing() {
        let odd = [
            json!(null),
            json!([1, {}]),
            json!({"a": [1]}),
            json!("x"),
            json!(1.5),
            json!(true),
        ];
        for value in odd {
            assert_eq!(i32::read(&value).unwrap(), None, "{value}");
            if !value.is_boolean() {
                assert_eq!(bool::read(&value).unwrap(), None, "{value}");
            }
            if !value.is_array() {
                assert_eq!(Vec::<i32>::read(&value).unwrap(), None, "{value}");
            }
            if !value.is_object() {
                assert_eq!(Map::read(&value).unwrap(), None, "{value}");
            }
        }
        assert_eq!(String::read(json!([1])).unwrap(), None);
        assert_eq!(i32::read(json!(i64::MAX)).unwrap(), None);
        assert_eq!(i32::read(json!(1e300)).unwrap(), None);
    }
}
