//! [`ExperimentConfig`]: what an experiment is to do, from a file, from text or from a value.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};

/// The configuration of an experiment.
///
/// Calls take anything that converts into one:
///
/// - a `&str`, `String`, `&Path` or `PathBuf` is the path of a YAML file, which is read by the call;
/// - a [`serde_json::Value`] or [`Map`] is the configuration itself;
/// - other values go through [`from_serialize`](Self::from_serialize), YAML text through [`from_yaml`](Self::from_yaml).
///
/// A file or text is sent as it is, comments included, once it is known to be one YAML mapping without duplicate keys; line ends become
/// `\n`. The master reads it by the rules of YAML 1.1: a plain `yes`, `on` or `no` is a boolean, `010` is eight and `1_000` a thousand.
/// A value is sent as JSON, in which every string stays one.
///
/// ```
/// use determined::ExperimentConfig;
///
/// let config = ExperimentConfig::from_yaml("name: mnist\nentrypoint: python3 train.py\n")?;
/// let other = ExperimentConfig::from(serde_json::json!({"name": "mnist", "entrypoint": "python3 train.py"}));
///
/// let error = ExperimentConfig::from_yaml("name: mnist\nname: cifar\n").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"experiment configuration: duplicate key "name" at line 2 column 1"#
/// );
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Clone)]
pub struct ExperimentConfig(Source);

#[derive(Clone)]
enum Source {
    File(PathBuf),
    /// YAML that was checked, or JSON.
    Text(String),
    Value(Value),
}

impl ExperimentConfig {
    /// The configuration in the YAML file at `path`. The file is read now; a path alone, as it is given to a call, is read by the call.
    ///
    /// ```
    /// use determined::{ErrorKind, ExperimentConfig};
    ///
    /// let config = ExperimentConfig::from_file("examples/model_def/config.yaml")?;
    /// let error = ExperimentConfig::from_file("no/such.yaml").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Io);
    /// # Ok::<(), determined::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if the file cannot be read, [`ErrorKind::ExperimentConfig`], with the line and column, if it is not one YAML
    /// mapping in UTF-8 or has duplicate keys.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        read(path.as_ref()).map(|text| Self(Source::Text(text)))
    }

    /// The configuration that YAML (or JSON) text describes.
    ///
    /// ```
    /// use determined::{ErrorKind, ExperimentConfig};
    ///
    /// let config = ExperimentConfig::from_yaml("name: mnist\nentrypoint: python3 train.py\n")?;
    /// let error = ExperimentConfig::from_yaml("name: [mnist\n").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::ExperimentConfig);
    /// # Ok::<(), determined::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ExperimentConfig`], with the line and column, if the text is not one YAML mapping or has duplicate keys.
    pub fn from_yaml(text: impl Into<String>) -> Result<Self> {
        check_text(text.into(), "experiment configuration").map(|text| Self(Source::Text(text)))
    }

    /// The configuration that a value of your own, or of a YAML library, serializes to.
    ///
    /// ```
    /// use determined::ExperimentConfig;
    ///
    /// #[derive(serde::Serialize)]
    /// struct Config<'a> {
    ///     name: &'a str,
    ///     entrypoint: &'a [&'a str],
    /// }
    ///
    /// let config = ExperimentConfig::from_serialize(&Config { name: "mnist", entrypoint: &["python3", "train.py"] })?;
    /// assert!(ExperimentConfig::from_serialize(&[1, 2]).is_err());
    /// # Ok::<(), determined::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ExperimentConfig`] if it does not serialize to an object, or holds a number that is infinite or none (NaN), which
    /// JSON does not have.
    pub fn from_serialize(value: &(impl Serialize + ?Sized)) -> Result<Self> {
        // JSON writes null for NaN and infinity without a word; YAML keeps them apart.
        if let Ok(value) = serde_yaml::to_value(value)
            && has_non_finite(&value)
        {
            return Err(invalid(
                "experiment configuration: a number is infinite or NaN, which cannot be sent",
            ));
        }
        let value = serde_json::to_value(value)
            .map_err(|error| invalid(format!("experiment configuration: {error}")))?;
        json_text(&value).map(|text| Self(Source::Text(text)))
    }

    /// The text that the master is sent: YAML or JSON.
    pub(crate) fn text(&self) -> Result<Cow<'_, str>> {
        match &self.0 {
            Source::File(path) => read(path).map(Cow::Owned),
            Source::Text(text) => Ok(Cow::Borrowed(text)),
            Source::Value(value) => json_text(value).map(Cow::Owned),
        }
    }
}

/// Shows where the configuration comes from, not what it says: it may hold the credentials of a registry.
impl fmt::Debug for ExperimentConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source: &dyn fmt::Debug = match &self.0 {
            Source::File(path) => path,
            Source::Text(_) => &"text",
            Source::Value(_) => &"value",
        };
        f.debug_tuple("ExperimentConfig").field(source).finish()
    }
}

macro_rules! config_from {
    ($($given:ident: $type:ty => $source:expr;)*) => {$(
        impl From<$type> for ExperimentConfig {
            fn from($given: $type) -> Self {
                Self($source)
            }
        }
    )*};
}

config_from! {
    path: &str => Source::File(path.into());
    path: String => Source::File(path.into());
    path: &String => Source::File(path.into());
    path: &Path => Source::File(path.into());
    path: PathBuf => Source::File(path);
    path: &PathBuf => Source::File(path.clone());
    value: Value => Source::Value(value);
    value: &Value => Source::Value(value.clone());
    map: Map<String, Value> => Source::Value(Value::Object(map));
    map: &Map<String, Value> => Source::Value(Value::Object(map.clone()));
    config: &ExperimentConfig => config.0.clone();
}

fn invalid(detail: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::ExperimentConfig, detail)
}

fn read(path: &Path) -> Result<String> {
    let name = format!("experiment configuration {}", path.display());
    let bytes = fs::read(path).map_err(|error| {
        let error = Error::io("read the experiment configuration", path, &error);
        let text = path.to_string_lossy();
        if text.contains('\n') || text.contains(": ") {
            error.with_hint(
                "a string is the path of a file; ExperimentConfig::from_yaml takes YAML text",
            )
        } else {
            error
        }
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        invalid(format!("{name}: not UTF-8 text at line {line}"))
    })?;
    check_text(text, &name)
}

/// The text to send, if it is one YAML mapping. `name` is what errors call it.
fn check_text(text: String, name: &str) -> Result<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    if let Some(place) = text.find(yaml_refuses) {
        let before = &text[..place];
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        return Err(invalid(format!(
            "{name}: a control character at line {line} column {column}"
        )));
    }
    check_yaml(&text).map_err(|error| {
        let mut problem = error.to_string();
        // The library leaves the very first place out.
        if let Some(place) = error.location()
            && (place.line(), place.column()) == (1, 1)
        {
            problem.push_str(" at line 1 column 1");
        }
        let refused = invalid(format!("{name}: {problem}"));
        let line = error
            .location()
            .and_then(|place| text.lines().nth(place.line() - 1));
        match line {
            Some(line) if line.trim_start_matches(' ').starts_with('\t') => {
                refused.with_hint("YAML is indented with blanks, not with tabs")
            }
            _ => refused,
        }
    })?;
    Ok(text)
}

/// What may not stand in YAML, not even in quotes.
fn yaml_refuses(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}')
        || matches!(c, '\u{fffe}' | '\u{ffff}')
}

fn check_yaml(text: &str) -> Result<(), serde_yaml::Error> {
    let mut documents = serde_yaml::Deserializer::from_str(text);
    match documents.next() {
        Some(document) => Node::Top.deserialize(document)?,
        None => return Err(serde_yaml::Error::custom("it is empty")),
    }
    match documents.next() {
        Some(document) => Node::Another.deserialize(document),
        None => Ok(()),
    }
}

/// A part of a YAML document that is checked, not kept. Errors raised by a visitor get the line and column of what it visits.
enum Node<'a> {
    /// The document, which must be a mapping.
    Top,
    /// A document after the first, which must not be there.
    Another,
    Value,
    /// A key of the mapping that has these keys already.
    Key(&'a mut HashSet<String>),
}

impl Node<'_> {
    fn scalar<E: serde::de::Error>(self, text: impl Display) -> Result<(), E> {
        match self {
            Self::Value => Ok(()),
            Self::Key(keys) => {
                // The master turns keys into strings: 1 and "1" are the same key to it.
                let key = text.to_string();
                if keys.contains(&key) {
                    return Err(E::custom(format!("duplicate key {key:?}")));
                }
                keys.insert(key);
                Ok(())
            }
            Self::Top => Err(E::custom("not a mapping of names to values")),
            Self::Another => Err(Self::another()),
        }
    }

    fn another<E: serde::de::Error>() -> E {
        E::custom("a second document begins")
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match self {
            Self::Top | Self::Value => {}
            Self::Key(_) => return Err(A::Error::custom("a mapping cannot be a key")),
            Self::Another => return Err(Self::another()),
        }
        let mut keys = HashSet::new();
        while map.next_key_seed(Node::Key(&mut keys))?.is_some() {
            map.next_value_seed(Node::Value)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        match self {
            Self::Value => while items.next_element_seed(Node::Value)?.is_some() {},
            Self::Key(_) => return Err(A::Error::custom("a list cannot be a key")),
            Self::Top | Self::Another => return self.scalar("a list"),
        }
        Ok(())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let (tag, _) = tagged.variant::<String>()?;
        Err(A::Error::custom(format!(
            "unknown tag !{}",
            tag.trim_start_matches('!')
        )))
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<(), E> {
        self.visit_unit()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        match self {
            Self::Top => Err(E::custom("it is empty")),
            _ => self.scalar("null"),
        }
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_i128<E: serde::de::Error>(self, value: i128) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.scalar(value)
    }
}

fn has_non_finite(value: &serde_yaml::Value) -> bool {
    match value {
        serde_yaml::Value::Number(number) => {
            number.as_f64().is_some_and(|float| !float.is_finite())
        }
        serde_yaml::Value::Sequence(items) => items.iter().any(has_non_finite),
        serde_yaml::Value::Mapping(map) => map.values().any(has_non_finite),
        serde_yaml::Value::Tagged(tagged) => has_non_finite(&tagged.value),
        _ => false,
    }
}

/// The value as JSON that a YAML reader takes for the same value.
fn json_text(value: &Value) -> Result<String> {
    if !value.is_object() {
        return Err(invalid("experiment configuration: not an object"));
    }
    // These are allowed in JSON, in strings, but a YAML reader refuses them or takes them for line breaks.
    let is_special =
        |c: char| yaml_refuses(c) || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}');
    let mut text = String::new();
    for c in value.to_string().chars() {
        if is_special(c) {
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn problem(text: &str) -> String {
        let error = ExperimentConfig::from_yaml(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ExperimentConfig);
        error.to_string().replace("experiment configuration: ", "")
    }

    fn text(config: impl Into<ExperimentConfig>) -> Result<String> {
        config.into().text().map(Cow::into_owned)
    }

    #[test]
    fn yaml_is_sent_as_it_is_written() {
        let yaml = "# mine\nname: 'x'\nlr: &lr 1e-4\nhp: {lr: *lr, <<: {a: 1}}\nbig: 123456789012345678901234567890\n";
        assert_eq!(
            text(ExperimentConfig::from_yaml(yaml).unwrap()).unwrap(),
            yaml
        );
        let config = ExperimentConfig::from_yaml("---\n{\"name\": null}\n...\n").unwrap();
        assert_eq!(text(config).unwrap(), "---\n{\"name\": null}\n...\n");
    }

    #[test]
    fn byte_order_marks_and_line_ends_of_windows_are_taken_off() {
        let config = ExperimentConfig::from_yaml("\u{feff}a: 1\r\nb: |\r\n  x\r\n").unwrap();
        assert_eq!(text(config).unwrap(), "a: 1\nb: |\n  x\n");
    }

    #[test]
    fn a_duplicate_key_is_refused_at_its_line_and_column() {
        assert_eq!(
            problem("a: 1\nb: 2\n\"a\": 3\n"),
            r#"duplicate key "a" at line 3 column 1"#
        );
        assert_eq!(
            problem("s:\n  m:\n    - {k: 1, l: 2, k: 3}\n"),
            r#"s.m[0]: duplicate key "k" at line 3 column 20"#
        );
        assert_eq!(
            problem("1: a\n'1': b\n"),
            r#"duplicate key "1" at line 2 column 1"#
        );
    }

    #[test]
    fn text_that_is_not_one_mapping_is_refused() {
        for (text, expected) in [
            ("", "it is empty at line 1 column 1"),
            ("# only a remark\n", "it is empty at line 2 column 1"),
            (
                "- a\n",
                "not a mapping of names to values at line 1 column 1",
            ),
            (
                "\n5\n",
                "not a mapping of names to values at line 2 column 1",
            ),
            (
                "a: 1\n---\nb: 2\n",
                "a second document begins at line 3 column 1",
            ),
            ("a: 1\n---\n", "a second document begins at line 3 column 1"),
            ("a: *b\n", "unknown anchor at line 1 column 4"),
            ("a: !b c\n", "a: unknown tag !b at line 1 column 4"),
            ("[a]: 1\n", "a list cannot be a key at line 1 column 1"),
            (
                "a: b: c\n",
                "mapping values are not allowed in this context at line 1 column 5",
            ),
        ] {
            assert_eq!(problem(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_file_is_read_by_the_call_and_named_in_errors() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("exp.yaml");
        let config = ExperimentConfig::from(&path);
        let error = config.text().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("exp.yaml"), "{error}");

        fs::write(&path, "a: 1\r\n").unwrap();
        assert_eq!(config.text().unwrap(), "a: 1\n");
        fs::write(&path, "a: 1\na: 2\n").unwrap();
        let error = ExperimentConfig::from_file(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ExperimentConfig);
        assert!(
            error
                .to_string()
                .ends_with(r#"exp.yaml: duplicate key "a" at line 2 column 1"#)
        );
        fs::write(&path, b"a: 1\nb: \xe9\n").unwrap();
        let error = config.text().unwrap_err().to_string();
        assert!(
            error.ends_with("exp.yaml: not UTF-8 text at line 2"),
            "{error}"
        );
    }

    #[test]
    fn yaml_text_given_as_a_path_is_told_where_it_belongs() {
        let error = text("name: x").unwrap_err().to_string();
        assert!(error.contains("ExperimentConfig::from_yaml"), "{error}");
    }

    #[test]
    fn a_value_is_sent_as_json_that_a_yaml_reader_understands() {
        let value =
            json!({"name": "yes", "lr": 1e-4, "list": [1, null, "a\u{85}\u{2028}\u{7f}é😀\n"]});
        let sent = text(&value).unwrap();
        assert_eq!(
            sent,
            r#"{"name":"yes","lr":0.0001,"list":[1,null,"a\u0085\u2028\u007fé😀\n"]}"#
        );
        assert_eq!(serde_json::from_str::<Value>(&sent).unwrap(), value);
        assert_eq!(text(Map::new()).unwrap(), "{}");
    }

    #[test]
    fn a_value_that_is_no_object_is_refused() {
        for value in [json!(null), json!([]), json!("name: x")] {
            assert_eq!(text(value).unwrap_err().kind(), ErrorKind::ExperimentConfig);
        }
    }

    #[test]
    fn values_of_other_libraries_are_serialized() {
        let value: serde_yaml::Value = serde_yaml::from_str("{a: 1, b: [x, 2.5]}").unwrap();
        let config = ExperimentConfig::from_serialize(&value).unwrap();
        assert_eq!(text(config).unwrap(), r#"{"a":1,"b":["x",2.5]}"#);
        for number in [f64::NAN, f64::INFINITY] {
            let value = std::collections::BTreeMap::from([("a", [Some(number)])]);
            let error = ExperimentConfig::from_serialize(&value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ExperimentConfig);
        }
    }

    #[test]
    fn debug_output_does_not_show_what_the_configuration_says() {
        let config = ExperimentConfig::from_yaml("registry_auth: {password: hush}").unwrap();
        assert!(!format!("{config:?}").contains("hush"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn any_text_is_taken_or_refused(text in r"([a-c0-9:\-\[\]{}*&!|>#'%? \n\t,]|\PC){0,40}") {
            let _ = ExperimentConfig::from_yaml(text);
        }

        #[test]
        fn any_string_survives_the_way_through_json_and_yaml(string in r"(\PC|\pC){0,20}") {
            let sent = text(json!({ "k": string })).unwrap();
            let read: serde_yaml::Value = serde_yaml::from_str(&sent).unwrap();
            prop_assert_eq!(read["k"].as_str(), Some(string.as_str()));
        }
    }
}
