//! YAML as the master reads it: version 1.1, where `yes` and `off` are truth values and `010` is eight.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Reads the first document; a key that stands twice has its last value.
pub(super) fn to_json(text: &str) -> Result<Value, String> {
    let text = Rewriter::new(text.strip_prefix('\u{feff}').unwrap_or(text)).run();
    match serde_yaml::Deserializer::from_str(&text).next() {
        None => Ok(Value::Null),
        Some(document) => Node::deserialize(document)
            .map(|node| node.0)
            .map_err(|error| in_words_of_go(&error)),
    }
}

/// The problem as Go's YAML package tells it, as far as both tell the same.
fn in_words_of_go(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    let problem = text.split(" at line ").next().unwrap_or(&text);
    let problem = problem.split(", while ").next().unwrap_or(problem);
    let line = error
        .location()
        .map_or(0, |location| location.line().saturating_sub(1));
    match (problem.rsplit("json: ").next(), line) {
        (Some(json), _) if problem.contains("json: ") => format!("json: {json}"),
        (_, 0) => format!("yaml: {problem}"),
        (_, line) => format!("yaml: line {line}: {problem}"),
    }
}

/// What a plain scalar of YAML 1.1 is called in YAML 1.2, if it is not the same.
fn in_yaml_1_2(scalar: &str) -> Option<String> {
    match scalar {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Some("true".into()),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Some("false".into()),
        _ => {}
    }
    let (sign, digits) = match scalar.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", scalar.strip_prefix('+').unwrap_or(scalar)),
    };
    let bare: String = digits.chars().filter(|letter| *letter != '_').collect();
    let whole = digits.starts_with(|first: char| first.is_ascii_digit())
        && bare.bytes().all(|byte| byte.is_ascii_digit());
    if !whole {
        return None;
    }
    if bare.len() > 1 && bare.starts_with('0') {
        let value = i64::from_str_radix(&bare, 8).ok()?;
        return Some(format!("{sign}{value}"));
    }
    (bare != digits).then(|| format!("{sign}{bare}"))
}

/// Goes through a text and writes its plain scalars anew; all else stays as it is.
struct Rewriter<'a> {
    rest: &'a str,
    out: String,
    /// How many brackets and braces are open.
    depth: usize,
    /// Whether only dashes and blanks stand before this place on its line.
    at_start: bool,
    /// The column of the last dash or key on this line.
    indent: usize,
    line_start: usize,
}

impl<'a> Rewriter<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            out: String::with_capacity(text.len()),
            depth: 0,
            at_start: true,
            indent: 0,
            line_start: 0,
        }
    }

    fn run(mut self) -> String {
        while let Some(next) = self.rest.chars().next() {
            match next {
                '\n' => {
                    self.copy(1);
                    self.line_start = self.out.len();
                    self.at_start = true;
                }
                ' ' | '\t' | '\r' => self.copy(1),
                '#' => self.copy(self.line_length()),
                '\'' | '"' => {
                    self.note_indent();
                    self.copy(self.quoted_length(next));
                }
                '[' | '{' => {
                    self.note_indent();
                    self.depth += 1;
                    self.copy(1);
                }
                ']' | '}' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.copy(1);
                }
                ',' | ':' | '?' if self.ends_word(1) || next == ',' => self.copy(1),
                '-' if self.at_start && self.ends_word(1) => {
                    self.indent = self.column();
                    self.copy(1);
                }
                '|' | '>' if self.depth == 0 => self.copy_block(),
                '&' | '*' | '!' => {
                    self.note_indent();
                    let word = self.rest.find(char::is_whitespace);
                    self.copy(word.unwrap_or(self.rest.len()));
                }
                _ => self.plain(),
            }
        }
        self.out
    }

    fn copy(&mut self, length: usize) {
        let (done, rest) = self.rest.split_at(length);
        self.out.push_str(done);
        self.rest = rest;
    }

    fn column(&self) -> usize {
        self.out.len() - self.line_start
    }

    /// Remembers where the first node of a line begins: below it, block scalars are indented deeper.
    fn note_indent(&mut self) {
        if self.at_start {
            self.indent = self.column();
            self.at_start = false;
        }
    }

    fn line_length(&self) -> usize {
        self.rest.find('\n').unwrap_or(self.rest.len())
    }

    /// Whether a blank or the end follows after so many bytes.
    fn ends_word(&self, length: usize) -> bool {
        self.rest[length..]
            .chars()
            .next()
            .is_none_or(char::is_whitespace)
    }

    fn quoted_length(&self, quote: char) -> usize {
        let mut letters = self.rest.char_indices().skip(1).peekable();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\\' if quote == '"' => {
                    letters.next();
                }
                '\'' if quote == '\'' && letters.peek().is_some_and(|next| next.1 == '\'') => {
                    letters.next();
                }
                letter if letter == quote => return at + 1,
                _ => {}
            }
        }
        self.rest.len()
    }

    /// Copies the head of a block scalar and the lines that are indented deeper than the node it belongs to.
    fn copy_block(&mut self) {
        self.copy(self.line_length());
        while let Some(line) = self.rest.strip_prefix('\n') {
            let line = &line[..line.find('\n').unwrap_or(line.len())];
            let indent = line.len() - line.trim_start_matches(' ').len();
            if !line.trim().is_empty() && indent <= self.indent {
                return;
            }
            self.copy(1 + line.len());
        }
    }

    fn plain(&mut self) {
        self.note_indent();
        let mut before = ' ';
        let mut end = self.rest.len();
        for (at, letter) in self.rest.char_indices() {
            let stops = match letter {
                '\n' => true,
                ':' => {
                    self.ends_word(at + 1)
                        || (self.depth > 0 && self.rest[at + 1..].starts_with([',', ']', '}']))
                }
                '#' => before.is_whitespace() && at > 0,
                ',' | '[' | ']' | '{' | '}' => self.depth > 0,
                _ => false,
            };
            if stops {
                end = at;
                break;
            }
            before = letter;
        }
        let scalar = self.rest[..end].trim_end();
        match in_yaml_1_2(scalar) {
            Some(other) => {
                self.out.push_str(&other);
                self.rest = &self.rest[scalar.len()..];
            }
            // One letter at least, so that there is an end to it.
            None => self.copy(end.max(self.rest.chars().next().map_or(0, char::len_utf8))),
        }
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
        let word = match value {
            value if value.is_nan() => "NaN",
            value if value > 0.0 => "+Inf",
            _ => "-Inf",
        };
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom(format!("json: unsupported value: {word}")))
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
        let mut merged = Vec::new();
        while let Some((Node(key), Node(value))) = entries.next_entry()? {
            match (key, value) {
                (Value::String(key), Value::Object(other)) if key == "<<" => merged.push(other),
                (Value::String(key), Value::Array(others)) if key == "<<" => {
                    merged.extend(others.into_iter().filter_map(|other| match other {
                        Value::Object(other) => Some(other),
                        _ => None,
                    }));
                }
                (Value::String(key), value) => {
                    map.insert(key, value);
                }
                (key, value) => {
                    map.insert(key.to_string(), value);
                }
            }
        }
        for other in merged {
            for (key, value) in other {
                map.entry(key).or_insert(value);
            }
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn json_and_yaml_are_read_alike() {
        let both = json!({"a": [1, 2.5, null], "b": {"c": "x"}});
        assert_eq!(to_json("a: [1, 2.5, null]\nb: {c: x}\n"), Ok(both.clone()));
        assert_eq!(to_json(&both.to_string()), Ok(both));
    }

    #[test]
    fn plain_words_of_yaml_1_1_are_truth_values_and_quoted_ones_are_not() {
        assert_eq!(
            to_json("a: yes\non: [off, 'no', \"y\", N]\nb: {c: On, d: yes!}\n- : n\n"),
            to_json(
                "a: true\ntrue: [false, 'no', \"y\", false]\nb: {c: true, d: yes!}\n- : false\n"
            ),
        );
        assert_eq!(
            to_json("a: yes # no\nb: no, thanks\nc: http://on:off\n"),
            Ok(json!({"a": true, "b": "no, thanks", "c": "http://on:off"}))
        );
    }

    #[test]
    fn numbers_of_yaml_1_1_are_read() {
        assert_eq!(
            to_json("[010, -010, 1_000, 0x1F, 0o10, 08, 0, 00, 1e3, 1_0.5]"),
            Ok(json!([8, -8, 1000, 31, 8, "08", 0, 0, 1000.0, "1_0.5"]))
        );
    }

    #[test]
    fn text_in_blocks_and_quotes_stays_as_it_is() {
        let text = "a: |\n  yes\n  - on: off\n\n  010\nb: yes\nc:\n- d: >-\n    no\n  e: no\n- |\n yes\nf: 'it''s\n  yes'\n";
        assert_eq!(
            to_json(text),
            Ok(json!({
                "a": "yes\n- on: off\n\n010\n",
                "b": true,
                "c": [{"d": "no", "e": false}, "yes\n"],
                "f": "it's yes",
            }))
        );
    }

    #[test]
    fn the_last_of_equal_keys_wins_and_the_first_document_counts() {
        assert_eq!(to_json("a: 1\na: 2\n---\nb: 3\n"), Ok(json!({"a": 2})));
    }

    #[test]
    fn anchors_and_merges_are_followed() {
        assert_eq!(
            to_json("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3\n"),
            Ok(json!({"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}))
        );
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
        assert_eq!(
            to_json("a: ["),
            Err("yaml: line 1: did not find expected node content".into())
        );
        assert_eq!(
            to_json("a: .inf"),
            Err("json: unsupported value: +Inf".into())
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn json_of_any_kind_is_read_as_it_is(words in proptest::collection::vec("\\PC*", 0..4), number: i32) {
            let value = json!({"words": words, "number": number, "nested": {"key: yes": [words, true, null]}});
            prop_assert_eq!(to_json(&value.to_string()), Ok(value));
        }

        #[test]
        fn no_text_makes_it_panic(text in "(?s).{0,60}") {
            let _ = to_json(&text);
        }
    }
}
