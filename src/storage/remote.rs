//! Requests to the servers of an object store: tried again where that helps, and told in its terms where it does not.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};
use crate::session::{Answer, Failure, Http, Method, Outgoing, Patience, Payload, read_error};

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

/// Connections to a store.
pub(super) struct Remote {
    http: Http,
    cancel: CancelToken,
    /// Whether any server ever answered: before that, one that cannot be reached is given up at once.
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
    pub(super) fn ask(&self, call: &dyn Fn() -> Result<Call>) -> Result<Answer> {
        let mut tries = Tries::new();
        loop {
            self.cancel.check()?;
            let call = call()?;
            match self.send(&call) {
                Ok(answer) if !is_passing(answer.status()) => return Ok(answer),
                Ok(answer) => match tries.pause() {
                    Some(pause) => self.cancel.sleep(pause)?,
                    None => return Ok(answer),
                },
                Err(failure) => {
                    let may_pass = may_pass(&failure.error)
                        && (!failure.never_sent || self.was_reached.load(Ordering::Relaxed));
                    let error = unreachable(&call.url, failure.error);
                    match tries.pause().filter(|_| may_pass) {
                        Some(pause) => self.cancel.sleep(pause)?,
                        None => return Err(error),
                    }
                }
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
        let outcome = match &answer {
            Ok(answer) => answer.status_line(),
            Err(failure) => failure.error.to_string(),
        };
        log::debug!(
            target: "determined",
            "{} {}: {outcome} ({} ms)",
            call.method.as_str(),
            without_query(&call.url),
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
    let kind = match error.kind() {
        kind @ (ErrorKind::Cancelled | ErrorKind::Connection | ErrorKind::Timeout) => kind,
        _ => ErrorKind::Storage,
    };
    match kind {
        ErrorKind::Cancelled => error,
        _ => Error::new(kind, format!("{}: {error}", origin(url))),
    }
}

/// The answer's body as text.
pub(super) fn text(mut answer: Answer) -> Result<String> {
    let bytes = answer.read_up_to(ANSWER_LIMIT)?;
    if bytes.len() as u64 == ANSWER_LIMIT {
        return Err(Error::new(
            ErrorKind::InvalidResponse,
            "the answer of the storage is larger than 32 MiB",
        ));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a server said when it refused.
pub(super) fn refusal_text(answer: &mut Answer) -> String {
    // What cannot be read of a refusal is left out of its message.
    let bytes = answer.read_up_to(REFUSAL_LIMIT).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
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
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| host + at);
    &url[..end]
}

/// A query may hold a signature.
fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
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
    fn no_query_is_told() {
        let url = "https://account.blob.core.windows.net/c/b?sv=1&sig=secret";
        assert_eq!(
            without_query(url),
            "https://account.blob.core.windows.net/c/b"
        );
        let error = unreachable(url, Error::new(ErrorKind::MasterNotFound, "no such host"));
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert_eq!(
            error.to_string(),
            "https://account.blob.core.windows.net: no such host"
        );
    }
}
