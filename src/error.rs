//! The one error type of the crate, and what can be asked of it.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::Path;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure an [`Error`] is: the question a program asks before it decides what to do.
///
/// New kinds may be added in any release, so a `match` needs a `_` arm.
///
/// ```
/// # let master = determined::testing::MockMaster::start();
/// # let client = master.determined();
/// use determined::ErrorKind;
///
/// match client.get_model("iris") {
///     Ok(model) => println!("{}", model.description),
///     Err(error) if error.kind() == ErrorKind::NotFound => println!("not registered yet"),
///     Err(error) => return Err(error),
/// }
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No master answers at the URL: the name does not resolve, or nothing listens there.
    #[doc(alias = "MasterNotFoundException")]
    MasterNotFound,
    /// The connection was cut in the middle of a request or an answer.
    #[doc(alias = "APIHttpStreamError")]
    Connection,
    /// The network or the master was silent for longer than a timeout allows.
    Timeout,
    /// A wait ended because its own time limit was reached; what was waited for goes on.
    WaitTimeout,
    /// A [`CancelToken`](crate::CancelToken) ended the call.
    Cancelled,
    /// The TLS handshake failed: an unknown authority, a wrong name, an expired certificate.
    Tls,
    /// The master does not know who is calling: wrong password, no token, or an expired one (401).
    #[doc(alias("UnauthenticatedException", "InvalidCredentialsException"))]
    Unauthenticated,
    /// The user has no right to do this (403).
    #[doc(alias = "ForbiddenException")]
    Forbidden,
    /// The master has no such thing (404).
    #[doc(alias = "NotFoundException")]
    NotFound,
    /// Something of that name exists already (409).
    Conflict,
    /// The master asks to slow down (429).
    RateLimited,
    /// The call needs the Enterprise Edition of the master.
    #[doc(alias = "EnterpriseOnlyError")]
    EnterpriseOnly,
    /// The call needs a newer master than this one, or a file was written by a newer release than this one can read.
    Unsupported,
    /// The call needs a feature of this crate that is not compiled in.
    FeatureDisabled,
    /// The master refused or failed in any other way; see [`Error::status`] and [`Error::server_message`].
    #[doc(alias("APIException", "BadRequestException", "DeleteFailedException"))]
    Api,
    /// An argument cannot be used; nothing was sent.
    InvalidInput,
    /// The experiment configuration is not valid.
    ExperimentConfig,
    /// The experiment that was waited for is paused.
    ExperimentPaused,
    /// There is no checkpoint to use: none matches, or it is deleted or unfinished.
    #[doc(alias = "CheckpointStateException")]
    CheckpointUnavailable,
    /// Checkpoint storage could not be read.
    #[doc(alias(
        "NoDirectStorageAccess",
        "CheckpointNotFound",
        "ProxiedDownloadFailed",
        "MultipleDownloadsFailed"
    ))]
    Storage,
    /// The token store could not be understood; it was set aside.
    #[doc(alias = "CorruptTokenCacheException")]
    CorruptTokenCache,
    /// The certificate store could not be understood; it was set aside.
    #[doc(alias = "CorruptCertificateCacheException")]
    CorruptCertificateCache,
    /// The default client exists already, so `login()` came too late.
    AlreadyLoggedIn,
    /// A local file or directory could not be read or written.
    Io,
    /// The answer is not what a Determined master sends.
    #[doc(alias("BadResponseException", "EmptyResultException"))]
    InvalidResponse,
}

/// What went wrong, in words for people and in parts for programs.
///
/// `Display` is one line: what was being done, to what (the REST route, where there is one), and what the master said.
/// Causes are in the [`source`](StdError::source) chain and are not repeated in the line. No password or token is ever part of it.
///
/// ```
/// use determined::{ErrorKind, testing::MockMaster};
///
/// let master = MockMaster::start();
/// let error = master.determined().get_experiment(99).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert_eq!(error.status(), Some(404));
/// assert_eq!(
///     error.to_string(),
///     "could not get experiment 99 (GET /api/v1/experiments/99): 404 Not Found: experiment '99' not found"
/// );
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    /// What was being done, as an infinitive: `get experiment 7`.
    doing: Option<Cow<'static, str>>,
    /// `GET /api/v1/experiments/7`
    request: Option<String>,
    status: Option<u16>,
    server_message: Option<String>,
    /// What is wrong, in our words.
    detail: Cow<'static, str>,
    /// What to try.
    hint: Option<Cow<'static, str>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The HTTP status of the master's answer, where there was one.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// What the master said, in its own words, where it said something.
    pub fn server_message(&self) -> Option<&str> {
        self.0.server_message.as_deref()
    }

    /// Whether the master has no such thing.
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }

    /// Whether the same call may well succeed a little later: nobody answered, the connection broke, a timeout passed,
    /// or the master (or a proxy before it) answered 429, 502, 503 or 504.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::MasterNotFound
                | ErrorKind::Connection
                | ErrorKind::Timeout
                | ErrorKind::RateLimited
        ) || matches!(self.status(), Some(429 | 502 | 503 | 504))
    }

    pub(crate) fn new(kind: ErrorKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            doing: None,
            request: None,
            status: None,
            server_message: None,
            detail: detail.into(),
            hint: None,
            source: None,
        }))
    }

    /// An argument that cannot be used.
    pub(crate) fn invalid_input(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidInput, detail)
    }

    /// An operation on `path` that the system refused: `Error::io("write", path, &error)`.
    pub(crate) fn io(what: &str, path: &Path, error: &io::Error) -> Self {
        let detail = format!("cannot {what} {}: {error}", path.display());
        let io = Self::new(ErrorKind::Io, detail);
        match error.kind() {
            io::ErrorKind::NotFound => io.missing(path),
            _ => io,
        }
    }

    /// Says where a path begins that is not there: scripts are often started in another directory than their author's.
    pub(crate) fn missing(self, path: &Path) -> Self {
        match std::env::current_dir() {
            Ok(here) if path.is_relative() => self.with_hint(format!(
                "a relative path begins at the current directory, {}",
                here.display()
            )),
            _ => self,
        }
    }

    /// Says what was being done, unless something closer to the failure said it already.
    pub(crate) fn doing(mut self, doing: impl Into<Cow<'static, str>>) -> Self {
        self.0.doing.get_or_insert_with(|| doing.into());
        self
    }

    /// Says what the call was for, in place of the step on the way to it that failed.
    pub(crate) fn on_the_way_to(mut self, doing: impl Into<Cow<'static, str>>) -> Self {
        self.0.doing = Some(doing.into());
        self
    }

    pub(crate) fn with_request(mut self, method: &str, route: &str) -> Self {
        self.0
            .request
            .get_or_insert_with(|| format!("{method} {route}"));
        self
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    pub(crate) fn with_server_message(mut self, message: impl Into<String>) -> Self {
        self.0.server_message = Some(message.into());
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// A hint, unless something closer to the failure gave one already.
    pub(crate) fn or_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint.get_or_insert_with(|| hint.into());
        self
    }

    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Takes a secret out of every word of it that came from outside.
    pub(crate) fn without(mut self, secret: &str) -> Self {
        let hide = |text: &str| text.replace(secret, "[hidden]");
        if !secret.is_empty() {
            self.0.detail = hide(&self.0.detail).into();
            self.0.server_message = self.0.server_message.as_deref().map(hide);
        }
        self
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if let Some(doing) = &inner.doing {
            write!(f, "could not {}", OneLine(doing))?;
        }
        match (&inner.request, inner.doing.is_some()) {
            (Some(request), true) => write!(f, " ({request}): ")?,
            (Some(request), false) => write!(f, "{request}: ")?,
            (None, true) => f.write_str(": ")?,
            (None, false) => {}
        }
        write!(f, "{}", OneLine(&inner.detail))?;
        if let Some(hint) = &inner.hint {
            write!(f, "; {}", OneLine(hint))?;
        }
        Ok(())
    }
}

/// Text on one line: what a server sends must not break a log line or a terminal.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(char::is_control) {
            match part.strip_suffix(char::is_control) {
                Some(text) => write!(f, "{text} ")?,
                None => f.write_str(part)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind)
            .field("message", &self.to_string());
        if let Some(status) = self.0.status {
            out.field("status", &status);
        }
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_to_what_and_why() {
        let error = Error::new(ErrorKind::NotFound, "404 Not Found: no such model")
            .with_request("GET", "/api/v1/models/iris")
            .doing("get model \"iris\"")
            .with_hint("list the models with get_models()");
        assert_eq!(
            error.to_string(),
            "could not get model \"iris\" (GET /api/v1/models/iris): 404 Not Found: no such model; list the models with get_models()"
        );
    }

    #[test]
    fn the_closest_account_of_what_was_done_stays() {
        let error = Error::new(ErrorKind::Io, "disk full")
            .doing("write the file")
            .doing("download the checkpoint");
        assert_eq!(error.to_string(), "could not write the file: disk full");
    }

    #[test]
    fn a_message_of_several_lines_becomes_one_line() {
        let error = Error::new(ErrorKind::Api, "first\nsecond\r\x1b[31mthird");
        assert_eq!(error.to_string(), "first second  [31mthird");
    }

    #[test]
    fn only_a_passing_failure_is_transient() {
        assert!(Error::new(ErrorKind::Connection, "cut").is_transient());
        assert!(
            Error::new(ErrorKind::Api, "busy")
                .with_status(503)
                .is_transient()
        );
        assert!(
            !Error::new(ErrorKind::Api, "wrong")
                .with_status(500)
                .is_transient()
        );
    }
}
