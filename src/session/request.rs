//! One call to the master: what it sends, and what is made of the answer.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::Read;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::{DeserializeOwned, Error as _, IgnoredAny};
use serde_json::Value;

use super::Session;
use super::fields::Fields;
use super::http::{Answer, Method, Patience, Payload};
use super::json_lines::JsonLines;
use super::pages::Pagination;
use crate::error::{Error, ErrorKind, Result};

/// All bytes but the unreserved ones, so that a value never leaves its place in a URL.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// An answer that is read whole may have this many bytes.
const ANSWER_LIMIT: u64 = 1 << 30;
/// An answer with several fields of one name is read in a way that takes room and time, so it may have no more bytes than this.
const LARGEST_TO_TIDY: usize = 16 << 20;
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A value as it stands in a path or a query.
pub(crate) fn encode(value: &impl Display) -> String {
    utf8_percent_encode(&value.to_string(), RESERVED).to_string()
}

/// A route with its values: `route!("/api/v1/models/{}/versions/{}", name, number)`.
macro_rules! route {
    ($format:literal $(, $value:expr)* $(,)?) => {
        format!($format $(, $crate::session::encode(&$value))*)
    };
}
pub(crate) use route;

/// A call to the master, to be sent by [`fetch`](Self::fetch), [`send`](Self::send), [`stream`](Self::stream) or [`open`](Self::open).
#[must_use]
#[derive(Clone)]
pub(crate) struct Request {
    session: Session,
    pub(super) method: Method,
    pub(super) route: String,
    pub(super) query: String,
    pub(super) headers: Vec<(&'static str, Cow<'static, str>)>,
    doing: Option<Cow<'static, str>>,
    body: Option<Vec<u8>>,
    pub(super) patience: Patience,
    /// Whether the call carries the session's token.
    pub(super) is_authenticated: bool,
    /// Whether another token may be fetched for it, if that one has expired.
    pub(super) may_renew: bool,
}

impl Request {
    pub(super) fn new(session: Session, method: Method, route: impl Into<String>) -> Self {
        Self {
            session,
            method,
            route: route.into(),
            query: String::new(),
            headers: Vec::new(),
            doing: None,
            body: None,
            patience: Patience::Limited,
            is_authenticated: true,
            may_renew: true,
        }
    }

    /// What the call is for, as an infinitive: `get experiment 7`.
    pub(crate) fn doing(mut self, doing: impl Into<Cow<'static, str>>) -> Self {
        self.doing = Some(doing.into());
        self
    }

    pub(crate) fn query(mut self, key: &str, value: impl Display) -> Self {
        let separator = if self.query.is_empty() { '?' } else { '&' };
        self.query += &format!("{separator}{key}={}", encode(&value));
        self
    }

    pub(crate) fn query_some(self, key: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.query(key, value),
            None => self,
        }
    }

    pub(crate) fn query_each<V: Display>(
        self,
        key: &str,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        values
            .into_iter()
            .fold(self, |request, value| request.query(key, value))
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Self {
        // Serialising what this crate builds cannot fail: maps have string keys and nothing is written by hand.
        self.body = Some(serde_json::to_vec(body).unwrap_or_default());
        self.content_type_json()
    }

    fn content_type_json(self) -> Self {
        self.header("content-type", "application/json")
    }

    pub(crate) fn header(
        mut self,
        name: &'static str,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Sends the call with the token that the session has, or not at all: for logging out.
    pub(super) fn with_this_token(mut self) -> Self {
        self.may_renew = false;
        self
    }

    /// Leaves the token out: for logging in.
    pub(super) fn anonymous(mut self) -> Self {
        self.is_authenticated = false;
        self
    }

    /// Sends the call and reads its JSON answer.
    pub(crate) fn fetch<T: DeserializeOwned>(self) -> Result<T> {
        let bytes = self.read_whole()?;
        read(&bytes, |bytes| serde_json::from_slice(bytes))
            .map_err(|error| self.not_json(&bytes, &error))
    }

    /// Sends the call and reads what stands under `key` in its JSON answer.
    pub(crate) fn fetch_field<T: DeserializeOwned>(self, key: &'static str) -> Result<T> {
        let bytes = self.read_whole()?;
        read(&bytes, |bytes| field(bytes, key)).map_err(|error| self.not_json(&bytes, &error))
    }

    /// Sends a listing and reads the objects under `key` in its answer, and where they stand in the whole list.
    pub(super) fn fetch_page<T: DeserializeOwned>(
        self,
        key: &'static str,
    ) -> Result<(Vec<T>, Pagination)> {
        let bytes = self.read_whole()?;
        read(&bytes, |bytes| page(bytes, key)).map_err(|error| self.not_json(&bytes, &error))
    }

    /// Sends the call; what it answers does not matter as long as it succeeds.
    pub(crate) fn send(self) -> Result<()> {
        let bytes = self.read_whole()?;
        Fields::<IgnoredAny>::read(&bytes, "")
            .map(|_| ())
            .map_err(|error| self.not_json(&bytes, &error))
    }

    /// Sends the call with a body that `open_body` makes each time it is needed, and reads what stands under `key` in the answer.
    pub(crate) fn upload<T: DeserializeOwned>(
        self,
        open_body: &dyn Fn() -> Result<Box<dyn Read + Send>>,
    ) -> Result<T> {
        let request = self.content_type_json();
        let bytes = request
            .session
            .exchange(&request, &|| open_body().map(Payload::Stream), whole)
            .map_err(|error| request.explain(error))?;
        read(&bytes, |bytes| serde_json::from_slice(bytes))
            .map_err(|error| request.not_json(&bytes, &error))
    }

    /// Sends the call and reads its answer line by line, as newline-delimited JSON.
    pub(crate) fn stream(self) -> Result<JsonLines> {
        let answer = self.open()?;
        Ok(JsonLines::new(answer, self))
    }

    /// Sends the call and gives its successful answer, unread.
    pub(crate) fn open(&self) -> Result<Answer> {
        self.answered(Ok)
    }

    fn read_whole(&self) -> Result<Vec<u8>> {
        self.answered(whole)
    }

    /// Sends the call and gives what `read` makes of its successful answer.
    fn answered<T>(&self, read: impl Fn(Answer) -> Result<T>) -> Result<T> {
        let body = || {
            Ok(match &self.body {
                Some(bytes) => Payload::Bytes(bytes),
                None => Payload::Empty,
            })
        };
        self.session
            .exchange(self, &body, read)
            .map_err(|error| self.explain(error))
    }

    /// Adds to an error what was being done, and by which route.
    pub(crate) fn explain(&self, error: Error) -> Error {
        let error = self
            .session
            .hide_secrets(error)
            .with_request(self.method.as_str(), &self.route);
        match &self.doing {
            Some(doing) => error.doing(doing.clone()),
            None => error,
        }
    }

    fn not_json(&self, bytes: &[u8], error: &serde_json::Error) -> Error {
        let is_page = bytes.trim_ascii_start().starts_with(b"<");
        self.explain(if self.is_authenticated || is_page {
            invalid_answer(bytes, error)
        } else {
            // What answers a login may be a token in an unknown shape, so nothing of it is quoted.
            Error::new(
                ErrorKind::InvalidResponse,
                "the answer is not what a Determined master sends to a login",
            )
        })
    }
}

/// The bytes of an answer, without the mark that some gateways put before text.
fn whole(mut answer: Answer) -> Result<Vec<u8>> {
    let mut bytes = answer.read_up_to(ANSWER_LIMIT)?;
    if bytes.len() as u64 == ANSWER_LIMIT {
        return Err(Error::new(
            ErrorKind::InvalidResponse,
            "the answer is larger than 1 GiB",
        ));
    }
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(bytes)
}

/// What `read` makes of an answer, in which the last of several fields of one name counts.
fn read<T>(bytes: &[u8], read: impl Fn(&[u8]) -> serde_json::Result<T>) -> serde_json::Result<T> {
    let error = match read(bytes) {
        Err(error) if error.is_data() && bytes.len() <= LARGEST_TO_TIDY => error,
        other => return other,
    };
    let plain = serde_json::from_slice::<Value>(bytes).and_then(|value| serde_json::to_vec(&value));
    plain.and_then(|bytes| read(&bytes)).map_err(|_| error)
}

/// What stands under `key` in a JSON object.
fn field<T: DeserializeOwned>(bytes: &[u8], key: &str) -> serde_json::Result<T> {
    Fields::read(bytes, key)?.value.ok_or_else(|| missing(key))
}

/// The objects under `key` in an answer, and where they stand.
fn page<T: DeserializeOwned>(bytes: &[u8], key: &str) -> serde_json::Result<(Vec<T>, Pagination)> {
    let fields: Fields<Option<Vec<Option<T>>>> = Fields::read(bytes, key)?;
    if fields.value.is_none() && fields.place.is_none() {
        return Err(missing(key));
    }
    let items = fields.value.flatten().unwrap_or_default();
    let items = items.into_iter().flatten().collect();
    Ok((items, fields.place.unwrap_or_default()))
}

fn missing(key: &str) -> serde_json::Error {
    serde_json::Error::custom(format!("there is no {key:?} in it"))
}

/// The error of a successful answer that is not what a master sends.
pub(super) fn invalid_answer(bytes: &[u8], error: &serde_json::Error) -> Error {
    let start = bytes.trim_ascii_start();
    if start.starts_with(b"{") || start.starts_with(b"[") {
        return Error::new(
            ErrorKind::InvalidResponse,
            format!("the answer is not what a Determined master sends: {error}"),
        );
    }
    if start.is_empty() {
        return empty_answer();
    }
    foreign_beginning("JSON", start)
}

/// The error of a successful answer that is empty where a master's never is.
pub(super) fn empty_answer() -> Error {
    foreign_answer("is empty")
}

/// The error of a successful answer that begins like this where a master sends something else than JSON.
pub(crate) fn foreign_beginning(wanted: &str, bytes: &[u8]) -> Error {
    let text: String = String::from_utf8_lossy(&bytes[..bytes.len().min(200)])
        .chars()
        .take(60)
        .collect();
    foreign_answer(&format!("is not {wanted} but begins with {text:?}"))
}

fn foreign_answer(what: &str) -> Error {
    Error::new(
        ErrorKind::InvalidResponse,
        format!("the answer {what}: this is not the answer of a Determined master"),
    )
    .with_hint("check the URL; a proxy or a login page may stand in between")
}

/// Reads bytes as an answer that is an object, has one, or lists many, and as a line of a stream.
#[cfg(fuzzing)]
pub(crate) fn fuzz<T: DeserializeOwned>(bytes: &[u8]) {
    let _ = serde_json::from_slice::<T>(bytes);
    let _ = super::json_lines::decode::<T>(bytes);
    let _ = page::<T>(bytes, "a");
    if let Err(error) = field::<T>(bytes, "a") {
        assert!(
            !invalid_answer(bytes, &error)
                .to_string()
                .contains(char::is_control)
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_never_leaves_its_place_in_a_route() {
        assert_eq!(
            route!("/api/v1/models/{}/versions/{}", "a/b c%?#:ü..", 3),
            "/api/v1/models/a%2Fb%20c%25%3F%23%3A%C3%BC../versions/3"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_put_into_a_route_stays_in_its_place_and_can_be_read_back(value: String) {
            let route = route!("/api/v1/models/{}/versions", value);
            let between = route.strip_prefix("/api/v1/models/").unwrap();
            let between = between.strip_suffix("/versions").unwrap();
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~%".contains(c);
            prop_assert!(between.chars().all(is_plain), "{}", between);
            let back = percent_encoding::percent_decode_str(between).decode_utf8().unwrap();
            prop_assert_eq!(back, value);
        }
    }

    #[test]
    fn one_field_is_read_out_of_an_answer() {
        let bytes = br#"{"other": {"deep": [1, 2]}, "value": 7}"#;
        assert_eq!(field::<i32>(bytes, "value").unwrap(), 7);
        assert!(field::<i32>(bytes, "missing").is_err());
        assert!(field::<i32>(b"[]", "value").is_err());
    }

    #[test]
    fn a_page_of_html_is_not_taken_for_an_answer() {
        let html = b"\n<!doctype html><html>login</html>";
        let error = field::<i32>(html, "value").unwrap_err();
        let error = invalid_answer(html, &error);
        assert_eq!(error.kind(), ErrorKind::InvalidResponse);
        assert!(error.to_string().contains("<!doctype html>"), "{error}");
    }
}
