//! Newline-delimited JSON, as the master streams logs and metrics.

use std::io::Read;

use memchr::memchr;
use serde::Deserialize;

use super::http::{Answer, read_error};
use super::refusal::stream_refusal;
use super::request::{Request, empty_answer, invalid_answer};
use crate::error::{Error, ErrorKind, Result};
use crate::lenient::object;

/// How much is read from the connection at once.
const BLOCK: usize = 128 * 1024;
/// A line may have this many bytes. The longest that masters send hold an experiment's whole configuration.
const LINE_LIMIT: usize = 256 << 20;

/// The lines of a streaming answer. Dropping it closes the connection.
pub(crate) struct JsonLines {
    answer: Answer,
    request: Request,
    block: Vec<u8>,
    /// What was read and not yet given out lies between these two places of the block.
    start: usize,
    end: usize,
    has_begun: bool,
}

/// A line is a result or an error.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Envelope<T> {
    #[serde(default, deserialize_with = "object")]
    result: Option<T>,
    error: Option<serde_json::Value>,
}

impl JsonLines {
    pub(super) fn new(answer: Answer, request: Request) -> Self {
        Self {
            answer,
            request,
            block: vec![0; BLOCK],
            start: 0,
            end: 0,
            has_begun: false,
        }
    }

    /// The next line, without what ends it, or `None` at the proper end of the stream. Blank lines are passed over.
    pub(crate) fn next_line(&mut self) -> Result<Option<&[u8]>> {
        loop {
            let length = self
                .next_length()
                .map_err(|error| self.request.explain(error))?;
            if length == 0 {
                return self.check_end().map(|()| None);
            }
            let line = self.start..self.start + length;
            self.start = line.end;
            if !self.block[line.clone()].trim_ascii().is_empty() {
                self.has_begun = true;
                return Ok(Some(self.block[line].trim_ascii()));
            }
        }
    }

    /// An error if nothing came and the answer does not say that it is JSON: that is a gateway's empty page, and not an empty log.
    fn check_end(&self) -> Result<()> {
        if self.has_begun || self.is_json() || self.answer.header("content-type").is_none() {
            return Ok(());
        }
        Err(self.request.explain(empty_answer()))
    }

    /// Whether a stream that was cut between two lines can be told from one that is complete.
    pub(crate) fn tells_its_end(&self) -> bool {
        let has = |name| self.answer.header(name).is_some();
        has("transfer-encoding") || has("content-length")
    }

    /// Whether the answer says that it is JSON, as a master's does and a gateway's page does not.
    pub(crate) fn is_json(&self) -> bool {
        let kind = self.answer.header("content-type").unwrap_or_default();
        kind.to_ascii_lowercase().contains("json")
    }

    /// Adds to an error of a line what the stream is.
    pub(crate) fn explain(&self, error: Error) -> Error {
        self.request.explain(error)
    }

    /// Reads until the block holds a whole line, and gives its length with what ends it; 0 at the end of the stream.
    fn next_length(&mut self) -> Result<usize> {
        let mut searched = 0;
        loop {
            let unsearched = &self.block[self.start + searched..self.end];
            if let Some(at) = memchr(b'\n', unsearched) {
                return Ok(searched + at + 1);
            }
            searched = self.end - self.start;
            self.make_room()?;
            let n = self
                .answer
                .read(&mut self.block[self.end..])
                .map_err(read_error)?;
            if n == 0 {
                return Ok(searched);
            }
            self.end += n;
        }
    }

    /// Makes room behind what was read: at the block's front if something was given out from there, else by a larger block.
    fn make_room(&mut self) -> Result<()> {
        if self.end < self.block.len() {
            return Ok(());
        }
        self.block.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.block.len() {
            if self.end > LINE_LIMIT {
                return Err(Error::new(
                    ErrorKind::InvalidResponse,
                    "a line of the stream is longer than 256 MiB",
                ));
            }
            self.block.resize(self.end * 2, 0);
        }
        Ok(())
    }
}

/// The result in a line of a stream, or the error that the line tells of.
pub(crate) fn decode<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T> {
    let envelope: Envelope<T> =
        serde_json::from_slice(line).map_err(|error| invalid_line(line, &error))?;
    match (envelope.error, envelope.result) {
        (Some(error), _) => Err(stream_refusal(&error)),
        (None, Some(result)) => Ok(result),
        (None, None) => Err(Error::new(
            ErrorKind::InvalidResponse,
            "a line of the stream has neither a result nor an error",
        )),
    }
}

/// A line that ends too early was cut off; any other is not a master's.
pub(crate) fn invalid_line(line: &[u8], error: &serde_json::Error) -> Error {
    if error.is_eof() {
        return Error::new(
            ErrorKind::Connection,
            "the stream was cut in the middle of a line",
        );
    }
    invalid_answer(line, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_line_holds_a_result_or_an_error() {
        assert_eq!(
            decode::<Value>(br#"{"result":{"a":1}}"#).unwrap(),
            json!({"a": 1})
        );
        let refused = br#"{"error":{"grpcCode":3,"httpCode":400,"message":"no"}}"#;
        assert_eq!(decode::<Value>(refused).unwrap_err().status(), Some(400));
        let neither = decode::<Value>(b"{}").unwrap_err();
        assert_eq!(neither.kind(), ErrorKind::InvalidResponse);
    }

    #[test]
    fn a_line_that_ends_early_was_cut() {
        let error = decode::<Value>(br#"{"result":{"a"#).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connection);
    }
}
