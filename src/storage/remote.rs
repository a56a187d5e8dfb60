//! Requests to the servers of an object store: tried again where that helps, and told in its terms where it does not.

use std::borrow::Cow;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use percent_encoding::percent_decode_str;

use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};
use crate::session::{
    Answer, Failure, Http, Method, Outgoing, Patience, Payload, Secret, read_error,
};

/// The answer to a listing, or to a question for credentials, may have this many bytes.
const ANSWER_LIMIT: u64 = 32 << 20;
/// What is read of a refusal.
const REFUSAL_LIMIT: u64 = 64 * 1024;
/// How often a request is tried again, and until how long after its first try.
const REPETITIONS: u32 = 4;
const BUDGET: Duration = Duration::from_secs(20);

/// A request to a store.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

impl Call {
    pub(super) fn get(url: String) -> Self {
        Self {
            method: Method::Get,
            url,
            headers: Vec::new(),
            body: String::new(),
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// The answer to a call.
pub(super) struct Reply {
    answer: Answer,
    /// What of the call must not be told, though a server may repeat it in its refusal.
    secrets: Vec<Secret>,
}

impl Reply {
    pub(super) fn status(&self) -> u16 {
        self.answer.status()
    }

    pub(super) fn status_line(&self) -> String {
        self.answer.status_line()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.answer.header(name)
    }

    /// The body as text.
    pub(super) fn text(mut self) -> Result<String> {
        let bytes = self.answer.read_up_to(ANSWER_LIMIT)?;
        if bytes.len() as u64 == ANSWER_LIMIT {
            return Err(Error::new(
                ErrorKind::InvalidResponse,
                "the answer of the storage is larger than 32 MiB",
            ));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What a server said when it refused.
    pub(super) fn refusal_text(&mut self) -> String {
        // What cannot be read of a refusal is left out of its message.
        let bytes = self.answer.read_up_to(REFUSAL_LIMIT).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let hide = |text: String, secret: &Secret| text.replace(secret.expose(), "[hidden]");
        self.secrets.iter().fold(text, hide)
    }
}

impl Read for Reply {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.answer.read(buffer)
    }
}

impl Call {
    /// The words by which a request shows its right, as they are sent and as they are meant.
    fn secrets(&self) -> Vec<Secret> {
        const BEARERS: [&str; 3] = [
            "authorization",
            "x-amz-security-token",
            "x-aws-ec2-metadata-token",
        ];
        let headers = (self.headers.iter())
            .filter(|(name, _)| BEARERS.contains(name))
            .flat_map(|(_, value)| value.split([' ', ',', '=']));
        let query = self.url.split_once('?').map_or("", |(_, query)| query);
        let parameters = query
            .split('&')
            .filter(|pair| pair.starts_with("sig="))
            .chain(self.body.split('&'))
            .filter_map(|pair| pair.split_once('='))
            .map(|(_, value)| value);
        let mut secrets: Vec<_> = headers
            .chain(parameters)
            // Shorter words are none: a scheme, a day, a service.
            .filter(|word| word.len() >= 16)
            .flat_map(|word| {
                [
                    word.to_owned(),
                    percent_decode_str(word).decode_utf8_lossy().into_owned(),
                ]
            })
            .collect();
        // Of two that begin alike the longer is hidden first.
        secrets.sort_by_key(|word| std::cmp::Reverse(word.len()));
        secrets.into_iter().map(Secret::new).collect()
    }
}

/// Connections to a store.
pub(super) struct Remote {
    http: Http,
    cancel: CancelToken,
    /// Whether any server ever answered: before that, one that cannot be reached or is silent is given up at once.
    was_reached: AtomicBool,
}

impl Remote {
    pub(super) fn new(http: Http, cancel: CancelToken) -> Self {
        Self {
            http,
            cancel,
            was_reached: AtomicBool::new(false),
        }
    }

    /// Sends what `call` makes, each time anew, until there is an answer that more tries would not change.
    pub(super) fn ask(&self, call: &dyn Fn() -> Result<Call>) -> Result<Reply> {
        let mut tries = Tries::new();
        loop {
            self.cancel.check()?;
            let call = call()?;
            let (may_pass, outcome) = match self.send(&call) {
                Ok(answer) => {
                    let secrets = match answer.status() {
                        200..300 => Vec::new(),
                        _ => call.secrets(),
                    };
                    (is_passing(answer.status()), Ok(Reply { answer, secrets }))
                }
                Err(Failure { error, never_sent }) => {
                    let is_dead = never_sent || error.kind() == ErrorKind::Timeout;
                    let may_live = !is_dead || self.was_reached.load(Ordering::Relaxed);
                    (may_pass(&error) && may_live, Err(error))
                }
            };
            match may_pass.then(|| tries.pause()).flatten() {
                Some(pause) => self.cancel.sleep(pause)?,
                None => return outcome,
            }
        }
    }

    /// Sends a request once.
    fn send(&self, call: &Call) -> Result<Answer, Failure> {
        let started = Instant::now();
        let mut headers: Vec<(&'static str, Cow<'_, str>)> =
            vec![("accept-encoding", "identity".into())];
        headers.extend(
            call.headers
                .iter()
                .map(|(name, value)| (*name, value.as_str().into())),
        );
        let answer = self.http.send(Outgoing {
            method: call.method,
            url: &call.url,
            headers: &headers,
            body: match call.body.as_bytes() {
                [] => Payload::Empty,
                bytes => Payload::Bytes(bytes),
            },
            patience: Patience::Limited,
        });
        let answer = answer.map_err(|failure| Failure {
            error: unreachable(&call.url, failure.error),
            ..failure
        });
        let outcome = match &answer {
            Ok(answer) => answer.status_line(),
            Err(failure) => failure.error.to_string(),
        };
        log::debug!(
            target: "determined",
            "{} {}: {outcome} ({} ms)",
            call.method.as_str(),
            without_secrets(&call.url),
            started.elapsed().as_millis()
        );
        if answer.is_ok() {
            self.was_reached.store(true, Ordering::Relaxed);
        }
        answer
    }

    /// Breaks off all that is under way, and lets nothing begin any more.
    pub(super) fn halt(&self) {
        self.cancel.cancel();
    }

    pub(super) fn check_cancelled(&self) -> Result<()> {
        self.cancel.check()
    }

    pub(super) fn sleep(&self, duration: Duration) -> Result<()> {
        self.cancel.sleep(duration)
    }
}

/// The tries that a request has left.
pub(super) struct Tries {
    made: u32,
    since: Instant,
}

impl Tries {
    pub(super) fn new() -> Self {
        Self {
            made: 0,
            since: Instant::now(),
        }
    }

    /// How long to wait before the next try; `None` if there is none.
    pub(super) fn pause(&mut self) -> Option<Duration> {
        let pause = Duration::from_millis(100 << (2 * self.made));
        if self.made == REPETITIONS || self.since.elapsed() + pause > BUDGET {
            return None;
        }
        self.made += 1;
        Some(pause)
    }
}

/// Whether a status says that the same request may well succeed a little later.
fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// Whether the same request may well succeed where this failure was.
pub(super) fn may_pass(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Connection | ErrorKind::Timeout)
}

/// A failure to reach a server that is not the master.
fn unreachable(url: &str, error: Error) -> Error {
    let place = origin(url);
    match error.kind() {
        ErrorKind::Cancelled => error,
        kind @ (ErrorKind::Connection | ErrorKind::Timeout) => {
            Error::new(kind, format!("{place}: {error}"))
        }
        // The error would quote the URL with the signature in it.
        ErrorKind::InvalidInput => Error::new(
            ErrorKind::Storage,
            "the address of the storage, or what shows the right to read it, holds characters that no request can",
        ),
        _ => Error::new(ErrorKind::Storage, format!("{place}: {error}")),
    }
}

/// What a refusal says that is not in the form of its store: the beginning of a proxy's web page, for one.
pub(super) fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(200).collect()
}

/// The failure of a body that broke off.
pub(super) fn broken(error: std::io::Error) -> Error {
    let error = read_error(error);
    match error.kind() {
        ErrorKind::Cancelled | ErrorKind::Connection | ErrorKind::Timeout => error,
        _ => error.with_kind(ErrorKind::Storage),
    }
}

/// The scheme, host and port of a URL.
fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}")
}

/// A URL without a user and password, and without a query, which may hold a signature.
fn without_secrets(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    let path = path.find('/').map_or("", |at| &path[at..]);
    origin(url) + path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_grow_and_end() {
        let mut tries = Tries::new();
        let pauses: Vec<_> = std::iter::from_fn(|| tries.pause())
            .map(|pause| pause.as_millis())
            .collect();
        assert_eq!(pauses, [100, 400, 1600, 6400]);
    }

    #[test]
    fn neither_a_query_nor_a_password_is_told() {
        let url = "https://kim:secret@account.blob.core.windows.net/c/b?sv=1&sig=secret";
        assert_eq!(
            without_secrets(url),
            "https://account.blob.core.windows.net/c/b"
        );
        for (url, plain) in [
            ("http://h", "http://h"),
            ("http://h?a=/b", "http://h"),
            ("http://h:9/#x/y", "http://h:9/"),
        ] {
            assert_eq!(without_secrets(url), plain);
        }
        let error = unreachable(url, Error::new(ErrorKind::MasterNotFound, "no such host"));
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert_eq!(
            error.to_string(),
            "https://account.blob.core.windows.net: no such host"
        );
    }
}
