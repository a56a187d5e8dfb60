//! One entry of a log. A line becomes one in a single pass that copies out the few values that count.

use std::fmt;

use jiff::Timestamp;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::LogLevel;
use crate::error::{Error, ErrorKind, Result};
use crate::scan::{Raw, Scanner};
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
#[derive(Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The texts, one right after the other in the order of [`Text`].
    texts: String,
    /// Where in there each of them ends.
    ends: [u32; TEXTS],
    /// A bit for each of them that is known.
    known: u16,
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

/// An entry as a JSON library finds it in a line.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    level: Option<&'a RawValue>,
    #[serde(borrow)]
    agent_id: Option<&'a RawValue>,
    #[serde(borrow)]
    container_id: Option<&'a RawValue>,
    #[serde(borrow)]
    log: Option<&'a RawValue>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow)]
    stdtype: Option<&'a RawValue>,
    #[serde(borrow)]
    rank_id: Option<&'a RawValue>,
}

impl LogEntry {
    fn text(&self, text: Text) -> Option<&str> {
        let n = text as usize;
        if self.known & 1 << n == 0 {
            return None;
        }
        let from = n.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.texts.get(from as usize..self.ends[n] as usize)
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

    /// What is in a line of the stream.
    pub(super) fn read(line: &[u8]) -> Result<Self> {
        match Self::scan(line) {
            Some(entry) => Ok(entry),
            None => Self::decode(line),
        }
    }

    /// Reads a line as masters write it. `None` for any other.
    fn scan(line: &[u8]) -> Option<Self> {
        let mut scanner = Scanner::new(line);
        scanner.enter(b"\"result\":")?;
        let id = scanner.string(b"\"id\":\"");
        let timestamp = scanner.string(b"\"timestamp\":\"");
        let message = scanner.string(b"\"message\":\"");
        let level = scanner.string(b"\"level\":\"");
        scanner.integer(b"\"trialId\":");
        let agent_id = scanner.string(b"\"agentId\":\"");
        let container_id = scanner.string(b"\"containerId\":\"");
        let rank_id = scanner.integer(b"\"rankId\":");
        let log = scanner.string(b"\"log\":\"");
        let source = scanner.string(b"\"source\":\"");
        let stdtype = scanner.string(b"\"stdtype\":\"");
        if scanner.rest() != b"}}" {
            return None;
        }
        let texts = [
            id,
            timestamp,
            message,
            level,
            agent_id,
            container_id,
            log,
            source,
            stdtype,
        ];
        Self::from_texts(&texts, rank_id)
    }

    /// Reads any line that is JSON, or says what is wrong with it. Bytes that are no UTF-8 are replaced: a program may print anything.
    fn decode(line: &[u8]) -> Result<Self> {
        let line = String::from_utf8_lossy(line);
        let fields: Fields<'_> = decode(line.as_bytes())?;
        let rank_id = fields.rank_id.and_then(|id| id.get().parse().ok());
        let texts = [
            fields.id,
            fields.timestamp,
            fields.message,
            fields.level,
            fields.agent_id,
            fields.container_id,
            fields.log,
            fields.source,
            fields.stdtype,
        ];
        let texts = texts.map(|value| Raw::of(value?.get()));
        Self::from_texts(&texts, rank_id).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidResponse,
                "a line of the stream holds no entry of a log",
            )
        })
    }

    fn from_texts(texts: &[Option<Raw<'_>>; TEXTS], rank_id: Option<i32>) -> Option<Self> {
        let length = texts.iter().flatten().map(|raw| raw.len()).sum();
        let mut bytes = Vec::with_capacity(length);
        let (mut ends, mut known) = ([0; TEXTS], 0);
        for (n, raw) in texts.iter().enumerate() {
            if let Some(raw) = raw {
                raw.write(&mut bytes)?;
                known |= 1 << n;
            }
            ends[n] = bytes.len().try_into().ok()?;
        }
        let texts = String::from_utf8(bytes).ok()?;
        Some(Self {
            texts,
            ends,
            known,
            rank_id,
        })
    }
}

impl fmt::Display for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl fmt::Debug for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogEntry")
            .field("id", &self.id())
            .field("timestamp", &self.text(Text::Timestamp))
            .field("level", &self.text(Text::Level))
            .field("rank_id", &self.rank_id())
            .field("container_id", &self.container_id())
            .field("agent_id", &self.agent_id())
            .field("source", &self.source())
            .field("stdtype", &self.stdtype())
            .field("log", &self.log())
            .field("message", &self.message())
            .finish()
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

impl LogEntry {
    /// Reads a line in both ways, which agree.
    #[cfg(fuzzing)]
    pub(crate) fn fuzz(line: &[u8]) {
        let scanned = Self::scan(line);
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
    use serde_json::{Map, json};

    fn read(line: &str) -> Result<LogEntry> {
        LogEntry::read(line.as_bytes())
    }

    const LINE: &str = r#"{"result":{"id":"650","timestamp":"2026-11-23T20:20:20.116945Z","message":"[2026-11-23T20:20:20.116945Z] cf125970 [rank=3] || INFO: plain line 1\n","level":"LOG_LEVEL_INFO","trialId":19,"agentId":"agent-a","containerId":"cf125970-0ac7","rankId":3,"log":"plain line 1\n","source":"task","stdtype":"stdout"}}"#;

    #[test]
    fn every_field_is_read_and_the_line_is_printed_as_it_was() {
        let entry = LogEntry::scan(LINE.as_bytes()).unwrap();
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
        let entry = LogEntry::read(line).unwrap();
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

    #[test]
    fn a_line_is_read_however_it_is_written() {
        let usual = LogEntry::scan(LINE.as_bytes()).unwrap();
        let spaced = LINE.replace("\":", "\" : ").replace(",\"", " ,\n\"");
        let turned = r#"{"result":{"stdtype":"stdout","log":"plain line 1\n","#.to_owned()
            + LINE["{\"result\":{".len()..]
                .split("\"log\"")
                .next()
                .unwrap()
            + r#""source":"task","new":[{"log":"no"}]}}"#;
        for line in [spaced, turned] {
            assert!(LogEntry::scan(line.as_bytes()).is_none(), "{line}");
            assert_eq!(read(&line).unwrap(), usual, "{line}");
        }
    }

    #[test]
    fn half_a_letter_is_replaced() {
        for (log, text) in [
            (r"a\ud83d", "a\u{fffd}"),
            (r"\ud83dx\ude00", "\u{fffd}x\u{fffd}"),
            (r"\ud83d\ud83d\ude00", "\u{fffd}😀"),
            (r"\ud83d\n", "\u{fffd}\n"),
        ] {
            let line = format!(r#"{{"result":{{"log":"{log}"}}}}"#);
            assert_eq!(
                LogEntry::scan(line.as_bytes()).unwrap().log(),
                text,
                "{log}"
            );
            assert_eq!(read(&line.replace(":", ": ")).unwrap().log(), text, "{log}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_a_json_library_writes_is_read_fast_and_slowly_alike(
            texts in prop::array::uniform9(any::<Option<String>>()), rank in any::<Option<i32>>(), trial in any::<i32>()
        ) {
            let keys = ["id", "timestamp", "message", "level", "agentId", "containerId", "log", "source", "stdtype"];
            let mut result = Map::new();
            for (n, (key, text)) in keys.iter().zip(&texts).enumerate() {
                if let Some(text) = text {
                    result.insert((*key).to_owned(), json!(text));
                }
                match n {
                    3 => { result.insert("trialId".to_owned(), json!(trial)); }
                    5 if rank.is_some() => { result.insert("rankId".to_owned(), json!(rank)); }
                    _ => {}
                }
            }
            let line = json!({"result": result}).to_string();
            let entry = LogEntry::scan(line.as_bytes()).unwrap();
            prop_assert_eq!(&entry, &LogEntry::decode(line.as_bytes()).unwrap());
            prop_assert_eq!(entry.rank_id(), rank);
            let read = [entry.id(), entry.text(Text::Timestamp), entry.text(Text::Message), entry.text(Text::Level), entry.agent_id(),
                entry.container_id(), entry.text(Text::Log), entry.source(), entry.stdtype()];
            prop_assert_eq!(read, texts.each_ref().map(Option::as_deref));
        }
    }
}
