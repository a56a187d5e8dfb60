//! One entry of a log. A line becomes one in a single pass that copies out the few values that count.

use std::fmt;

use jiff::Timestamp;
use memchr::memchr2;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::LogLevel;
use crate::error::Result;
use crate::session::decode;

/// One entry of a trial's log.
///
/// `Display` gives the line as the master prints it, with its line end: `print!("{entry}")`. What the master does not know of an entry is
/// `None`.
///
/// ```
/// # let master = determined::testing::MockMaster::start();
/// # let trial = master.experiment().create().await_first_trial()?;
/// for entry in trial.logs()? {
///     let entry = entry?;
///     if entry.stdtype() == Some("stderr") {
///         print!("{entry}");
///     }
/// }
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Clone)]
pub struct LogEntry {
    /// The texts, one after another.
    texts: Box<str>,
    /// Where in there each text stands, from and to; nowhere if it is unknown.
    places: [Option<(u32, u32)>; TEXTS],
    rank_id: Option<i32>,
}

/// A text of an entry.
#[derive(Debug, Clone, Copy)]
enum Text {
    Id,
    Timestamp,
    Message,
    Level,
    AgentId,
    ContainerId,
    Log,
    Source,
    Stdtype,
}

const TEXTS: usize = 9;

impl Text {
    const ALL: [(Self, &str); TEXTS] = [
        (Self::Id, "id"),
        (Self::Timestamp, "timestamp"),
        (Self::Message, "message"),
        (Self::Level, "level"),
        (Self::AgentId, "agentId"),
        (Self::ContainerId, "containerId"),
        (Self::Log, "log"),
        (Self::Source, "source"),
        (Self::Stdtype, "stdtype"),
    ];

    fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"id" => Self::Id,
            b"timestamp" => Self::Timestamp,
            b"message" => Self::Message,
            b"level" => Self::Level,
            b"agentId" => Self::AgentId,
            b"containerId" => Self::ContainerId,
            b"log" => Self::Log,
            b"source" => Self::Source,
            b"stdtype" => Self::Stdtype,
            _ => return None,
        })
    }
}

impl LogEntry {
    fn text(&self, text: Text) -> Option<&str> {
        let (from, to) = self.places[text as usize]?;
        self.texts.get(from as usize..to as usize)
    }

    /// The master's id of the entry. Ids can be compared, but have no order.
    pub fn id(&self) -> Option<&str> {
        self.text(Text::Id)
    }

    /// When it was written.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.text(Text::Timestamp)?.parse().ok()
    }

    /// How serious it is; `None` for what a program merely prints.
    pub fn level(&self) -> Option<LogLevel> {
        LogLevel::from_wire(self.text(Text::Level)?)
    }

    /// The rank of the process that wrote it, in distributed training.
    pub fn rank_id(&self) -> Option<i32> {
        self.rank_id
    }

    /// The container that wrote it.
    pub fn container_id(&self) -> Option<&str> {
        self.text(Text::ContainerId)
    }

    /// The agent that the container ran on.
    pub fn agent_id(&self) -> Option<&str> {
        self.text(Text::AgentId)
    }

    /// Who wrote it: `task`, or `master`.
    pub fn source(&self) -> Option<&str> {
        self.text(Text::Source)
    }

    /// Where it was written to: `stdout` or `stderr`.
    pub fn stdtype(&self) -> Option<&str> {
        self.text(Text::Stdtype)
    }

    /// What was written, with its line end.
    pub fn log(&self) -> &str {
        self.text(Text::Log).unwrap_or_default()
    }

    /// What was written, after its time, container, rank and level, as the master prints it. `Display` gives the same.
    pub fn message(&self) -> &str {
        self.text(Text::Message).unwrap_or_default()
    }

    /// What is in a line of the stream. `scratch` is only there to be used again.
    pub(super) fn read(line: &[u8], scratch: &mut Vec<u8>) -> Result<Self> {
        match Self::scan(line, scratch) {
            Some(entry) => Ok(entry),
            None => Self::decode(line),
        }
    }

    /// Reads a line as masters write it. `None` for any other.
    fn scan(line: &[u8], scratch: &mut Vec<u8>) -> Option<Self> {
        let mut scanner = Scanner { line, at: 0 };
        let mut places = [None; TEXTS];
        let mut rank_id = None;
        scratch.clear();
        scanner.eat(b'{')?;
        if scanner.key()? != b"result" {
            return None;
        }
        scanner.eat(b'{')?;
        loop {
            let key = scanner.key()?;
            match (Text::named(key), scanner.peek()?) {
                (Some(text), b'"') => {
                    let from = scratch.len();
                    scanner.string(scratch)?;
                    places[text as usize] = Some((place(from)?, place(scratch.len())?));
                }
                (None, first) if key != b"rankId" || first == b'n' => scanner.skip()?,
                (None, _) => rank_id = Some(scanner.integer()?),
                (Some(_), b'n') => scanner.skip()?,
                (Some(_), _) => return None,
            }
            match scanner.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        scanner.eat(b'}')?;
        if scanner.at != line.len() {
            return None;
        }
        Some(Self {
            texts: std::str::from_utf8(scratch).ok()?.into(),
            places,
            rank_id,
        })
    }

    /// Reads any line that is JSON, or says what is wrong with it. Bytes that are no UTF-8 are replaced: a program may print anything.
    fn decode(line: &[u8]) -> Result<Self> {
        let line = String::from_utf8_lossy(line);
        let fields: Map<String, Value> = decode(line.as_bytes())?;
        let mut texts = String::new();
        let mut places = [None; TEXTS];
        for (text, name) in Text::ALL {
            let from = texts.len();
            match fields.get(name) {
                Some(Value::String(words)) => texts += words,
                Some(Value::Number(number)) => texts += &number.to_string(),
                _ => continue,
            }
            places[text as usize] = place(from).zip(place(texts.len()));
        }
        let rank_id = fields.get("rankId").and_then(Value::as_i64);
        Ok(Self {
            texts: texts.into(),
            places,
            rank_id: rank_id.and_then(|id| id.try_into().ok()),
        })
    }
}

fn place(at: usize) -> Option<u32> {
    at.try_into().ok()
}

impl PartialEq for LogEntry {
    fn eq(&self, other: &Self) -> bool {
        let same = |(text, _): (Text, &str)| self.text(text) == other.text(text);
        self.rank_id == other.rank_id && Text::ALL.into_iter().all(same)
    }
}

impl Eq for LogEntry {}

impl fmt::Display for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl fmt::Debug for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("LogEntry");
        for (text, name) in Text::ALL {
            if let Some(words) = self.text(text) {
                out.field(name, &words);
            }
        }
        out.field("rankId", &self.rank_id).finish()
    }
}

impl Serialize for LogEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("LogEntry", 10)?;
        out.serialize_field("id", &self.id())?;
        out.serialize_field("timestamp", &self.timestamp())?;
        out.serialize_field("level", &self.level())?;
        out.serialize_field("rank_id", &self.rank_id())?;
        out.serialize_field("container_id", &self.container_id())?;
        out.serialize_field("agent_id", &self.agent_id())?;
        out.serialize_field("source", &self.source())?;
        out.serialize_field("stdtype", &self.stdtype())?;
        out.serialize_field("log", self.log())?;
        out.serialize_field("message", self.message())?;
        out.end()
    }
}

/// Walks over a line of JSON. Every step gives `None` where it finds anything unusual.
struct Scanner<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// The next byte that is not white space, which is left there.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.line.get(self.at)? {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// A key and its colon.
    fn key(&mut self) -> Option<&'a [u8]> {
        self.eat(b'"')?;
        let rest = &self.line[self.at..];
        let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        if rest[end] == b'\\' {
            return None;
        }
        self.at += end + 1;
        self.eat(b':')?;
        Some(&rest[..end])
    }

    /// A string, whose text goes to `out`.
    fn string(&mut self, out: &mut Vec<u8>) -> Option<()> {
        self.eat(b'"')?;
        loop {
            let rest = &self.line[self.at..];
            let end = memchr2(b'"', b'\\', rest)?;
            out.extend_from_slice(&rest[..end]);
            self.at += end + 1;
            if rest[end] == b'"' {
                return Some(());
            }
            self.escape(out)?;
        }
    }

    /// What follows a backslash.
    fn escape(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let byte = *self.line.get(self.at)?;
        self.at += 1;
        let plain = match byte {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'"' | b'\\' | b'/' => byte,
            b'u' => {
                let first = self.hex()?;
                let units = if (0xD800..0xDC00).contains(&first) {
                    if self.line.get(self.at..self.at + 2)? != b"\\u" {
                        return None;
                    }
                    self.at += 2;
                    [first, self.hex()?]
                } else {
                    [first, 0]
                };
                let used = if units[1] == 0 { 1 } else { 2 };
                let letter = char::decode_utf16(units.into_iter().take(used))
                    .next()?
                    .ok()?;
                out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                return Some(());
            }
            _ => return None,
        };
        out.push(plain);
        Some(())
    }

    fn hex(&mut self) -> Option<u16> {
        let digits = self.line.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |sum, digit| {
            let digit = char::from(*digit).to_digit(16)?;
            Some(sum << 4 | u16::try_from(digit).ok()?)
        })
    }

    fn integer(&mut self) -> Option<i32> {
        self.peek()?;
        std::str::from_utf8(self.word()).ok()?.parse().ok()
    }

    /// Passes over a string, a number or a word.
    fn skip(&mut self) -> Option<()> {
        if self.peek()? != b'"' {
            let word = self.word();
            let is_known = matches!(word, b"null" | b"true" | b"false");
            let is_number = word.first()?.is_ascii_digit() || word[0] == b'-';
            return (is_known || is_number).then_some(());
        }
        self.at += 1;
        loop {
            let rest = &self.line[self.at..];
            let end = memchr2(b'"', b'\\', rest)?;
            self.at += end + 1;
            if rest[end] == b'"' {
                return Some(());
            }
            self.at += 1;
            self.line.get(self.at)?;
        }
    }

    /// The bytes up to whatever ends a number or a word.
    fn word(&mut self) -> &'a [u8] {
        let rest = &self.line[self.at..];
        let end = rest
            .iter()
            .position(|byte| !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'+' | b'.' | b'E'))
            .unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }
}

impl LogEntry {
    /// Reads a line in both ways, which agree.
    #[cfg(fuzzing)]
    pub(crate) fn fuzz(line: &[u8]) {
        let scanned = Self::scan(line, &mut Vec::new());
        if let (Some(scanned), Ok(decoded)) = (scanned, Self::decode(line)) {
            assert_eq!(scanned, decoded);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(line: &str) -> Result<LogEntry> {
        LogEntry::read(line.as_bytes(), &mut Vec::new())
    }

    const LINE: &str = r#"{"result":{"id":"650","timestamp":"2026-11-23T20:20:20.116945Z","message":"[2026-11-23T20:20:20.116945Z] cf125970 [rank=3] || INFO: plain line 1\n","level":"LOG_LEVEL_INFO","trialId":19,"agentId":"agent-a","containerId":"cf125970-0ac7","rankId":3,"log":"plain line 1\n","source":"task","stdtype":"stdout"}}"#;

    #[test]
    fn every_field_is_read_and_the_line_is_printed_as_it_was() {
        let entry = LogEntry::scan(LINE.as_bytes(), &mut Vec::new()).unwrap();
        assert_eq!(entry, LogEntry::decode(LINE.as_bytes()).unwrap());
        assert_eq!(entry.id(), Some("650"));
        assert_eq!(
            entry.timestamp().unwrap().to_string(),
            "2026-11-23T20:20:20.116945Z"
        );
        assert_eq!(entry.level(), Some(LogLevel::Info));
        assert_eq!(entry.rank_id(), Some(3));
        assert_eq!(entry.container_id(), Some("cf125970-0ac7"));
        assert_eq!(entry.agent_id(), Some("agent-a"));
        assert_eq!(
            (entry.source(), entry.stdtype()),
            (Some("task"), Some("stdout"))
        );
        assert_eq!(entry.log(), "plain line 1\n");
        assert_eq!(
            entry.to_string(),
            "[2026-11-23T20:20:20.116945Z] cf125970 [rank=3] || INFO: plain line 1\n"
        );
    }

    #[test]
    fn what_is_missing_or_null_is_none() {
        let entry = read(r#"{"result":{"id":"1","rankId":null,"agentId":null,"log":"x","level":"LOG_LEVEL_UNSPECIFIED","new":{"a":[1]}}}"#).unwrap();
        assert_eq!((entry.rank_id(), entry.agent_id()), (None, None));
        assert_eq!((entry.level(), entry.timestamp()), (None, None));
        assert_eq!((entry.log(), entry.message()), ("x", ""));
    }

    #[test]
    fn escapes_become_what_they_stand_for() {
        let entry = read(r#"{"result":{"log":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é"}}"#).unwrap();
        assert_eq!(entry.log(), "\"\\/\u{8}\u{c}\n\r\té😀é");
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let line = b"{\"result\":{\"log\":\"a\xffb\"}}";
        let entry = LogEntry::read(line, &mut Vec::new()).unwrap();
        assert_eq!(entry.log(), "a\u{fffd}b");
    }

    #[test]
    fn a_cut_line_is_an_error_wherever_it_was_cut() {
        for end in 1..LINE.len() {
            let error = read(&LINE[..end]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Connection, "{}", &LINE[..end]);
        }
    }

    #[test]
    fn what_is_no_entry_is_an_error() {
        let refused = r#"{"error":{"grpcCode":5,"httpCode":404,"message":"trial '9' not found"}}"#;
        assert!(read(refused).unwrap_err().is_not_found());
        for line in [
            "<html></html>",
            "{}",
            "[]",
            r#"{"result":{"log":"x"}} {}"#,
            r#"{"result":{"log":"x",}}"#,
            r#"{"result":{"log":"\q"}}"#,
            r#"{"result":{"rankId":oops}}"#,
            r#"{"result":[]}"#,
        ] {
            let error = read(line).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{line}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn scanning_reads_what_a_json_library_writes(
            log in any::<String>(), id in any::<Option<String>>(), rank in any::<Option<i32>>()
        ) {
            let line = json!({"result": {"log": log, "id": id, "rankId": rank, "trialId": 7}}).to_string();
            let entry = LogEntry::scan(line.as_bytes(), &mut Vec::new()).unwrap();
            prop_assert_eq!(entry.log(), log);
            prop_assert_eq!(entry.id(), id.as_deref());
            prop_assert_eq!(entry.rank_id(), rank);
        }
    }
}
