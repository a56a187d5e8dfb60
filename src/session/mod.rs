//! A logged-in connection to one master: every call of the crate goes through [`Session`].
//!
//! A resource makes a [`Request`] with [`Session::get`] and its kin; sending it comes here ([`Session::exchange`]), where the token is added,
//! failures are tried again where that is safe, an expired token is renewed, and a refusal becomes an error. Below lies [`http`].

pub(crate) mod environment;
mod fields;
mod http;
mod json_lines;
mod login;
mod master_url;
mod pages;
mod redirect;
mod refusal;
mod request;
mod retry;
mod secret;
mod stores;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde_json::json;

#[cfg(any(feature = "s3", feature = "gcs"))]
use self::environment::Environment;
use self::retry::Retries;
use self::stores::TokenStoreHandle;
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};

#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
pub(crate) use self::http::Failure;
pub use self::http::Proxy;
pub(crate) use self::http::{Answer, Http, Method, Outgoing, Patience, Payload, read_error};
pub(crate) use self::json_lines::{JsonLines, decode, invalid_line};
pub use self::login::LoginOptions;
pub(crate) use self::master_url::MasterUrl;
pub use self::pages::Pages;
#[cfg(fuzzing)]
pub(crate) use self::refusal::fuzz as fuzz_refusal;
#[cfg(fuzzing)]
pub(crate) use self::request::fuzz as fuzz_answer;
pub(crate) use self::request::{Request, encode, foreign_beginning, route};
pub(crate) use self::secret::{Secret, complexity_problems, password_hash};
pub use self::stores::TokenStore;
#[cfg(fuzzing)]
pub(crate) use self::stores::fuzz_token_store;

const LOGIN: &str = "/api/v1/auth/login";
/// A token goes into every request's head, which is sent in one piece. Those of masters have a few hundred bytes.
const LONGEST_TOKEN: usize = 16 * 1024;
/// A refusal's body is read up to this many bytes.
const REFUSAL_LIMIT: u64 = 64 * 1024;

/// A logged-in connection to one master. Clones share everything, and are as small as a pointer: every object has one.
#[derive(Clone)]
pub(crate) struct Session(Arc<Line>);

/// What a session sends over, and how.
#[derive(Clone)]
pub(crate) struct Line {
    shared: Arc<Shared>,
    http: Http,
    cancel: Option<CancelToken>,
    /// How often a call is tried again.
    retries: u32,
}

impl std::ops::Deref for Session {
    type Target = Line;

    fn deref(&self) -> &Line {
        &self.0
    }
}

/// What all lines of one login have in common.
struct Shared {
    master: MasterUrl,
    username: String,
    /// The variables that the client was made with: object stores have theirs too.
    #[cfg(any(feature = "s3", feature = "gcs"))]
    environment: Environment,
    token: Mutex<Token>,
    /// With which an expired token is renewed.
    password: Option<Secret>,
    /// Held while one thread logs in again, so that others wait for its token instead of fetching their own.
    renewal: Mutex<()>,
    store: TokenStoreHandle,
    /// Whether the master has ever answered: before that, a master that cannot be reached is reported at once.
    was_reached: AtomicBool,
}

/// What a session shows the master.
#[derive(Clone)]
struct Token {
    /// `None` after logout.
    value: Option<Secret>,
    /// Whether logging out revokes it: not one that came from the environment.
    is_own: bool,
}

/// Makes a request's body, each time the request is sent.
type MakeBody<'a> = dyn Fn() -> Result<Payload<'a>> + 'a;

impl Session {
    pub(crate) fn get(&self, route: impl Into<String>) -> Request {
        Request::new(self.clone(), Method::Get, route)
    }

    pub(crate) fn post(&self, route: impl Into<String>) -> Request {
        Request::new(self.clone(), Method::Post, route)
    }

    pub(crate) fn put(&self, route: impl Into<String>) -> Request {
        Request::new(self.clone(), Method::Put, route)
    }

    pub(crate) fn patch(&self, route: impl Into<String>) -> Request {
        Request::new(self.clone(), Method::Patch, route)
    }

    pub(crate) fn delete(&self, route: impl Into<String>) -> Request {
        Request::new(self.clone(), Method::Delete, route)
    }

    pub(crate) fn username(&self) -> &str {
        &self.shared.username
    }

    /// The variables that the client was made with.
    #[cfg(any(feature = "s3", feature = "gcs"))]
    pub(crate) fn environment(&self) -> &Environment {
        &self.shared.environment
    }

    /// The same session, on connections of its own that break off when `token` is cancelled.
    pub(crate) fn cancellable(&self, token: Option<&CancelToken>) -> Self {
        let Some(token) = token else {
            return self.clone();
        };
        Self(Arc::new(Line {
            http: self.http.cancellable(token),
            cancel: Some(token.clone()),
            ..Line::clone(self)
        }))
    }

    /// The same session for calls that are repeated anyway: one new try, for a connection that died in the pool.
    pub(crate) fn polling(&self) -> Self {
        Self(Arc::new(Line {
            retries: self.retries.min(1),
            ..Line::clone(self)
        }))
    }

    /// The same session, on connections of its own that break off when that time has come.
    pub(crate) fn until(&self, deadline: Instant) -> Self {
        self.cancellable(Some(&CancelToken::until(deadline, self.cancel.as_ref())))
    }

    /// Sleeps, unless and until the session is cancelled.
    pub(crate) fn sleep(&self, duration: Duration) -> Result<()> {
        match &self.cancel {
            Some(token) => token.sleep(duration),
            None => {
                std::thread::sleep(duration);
                Ok(())
            }
        }
    }

    /// The same session with a button that is pressed with that of this one, or by itself: for work that may end before it is done.
    pub(crate) fn breakable(&self) -> (Self, CancelToken) {
        let halt = CancelToken::child_of(self.cancel.as_ref());
        (self.cancellable(Some(&halt)), halt)
    }

    /// The connections to the master.
    #[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
    pub(crate) fn connections(&self) -> &Http {
        &self.http
    }

    /// An error if the session is cancelled.
    pub(crate) fn check_cancelled(&self) -> Result<()> {
        self.cancel.as_ref().map_or(Ok(()), CancelToken::check)
    }

    /// Sends a request until it is answered, refused for good, or out of tries; gives what `read` makes of the answer of a success. An
    /// answer that breaks off while it is read counts as none.
    fn exchange<T>(
        &self,
        request: &Request,
        make_body: &MakeBody<'_>,
        read: impl Fn(Answer) -> Result<T>,
    ) -> Result<T> {
        let repeatable = matches!(request.method, Method::Get | Method::Put | Method::Delete);
        let mut retries = Retries::new(self.retries);
        let mut was_renewed = false;
        let mut url = self.shared.master.join(&request.route) + &request.query;
        let mut redirects = redirect::Redirects::new();
        loop {
            self.check_cancelled()?;
            let token = self.token();
            if request.is_authenticated && token.value.is_none() {
                return Err(Error::new(
                    ErrorKind::Unauthenticated,
                    "this client has logged out; make a new one, or call login() again",
                ));
            }
            let mut headers = request.headers.clone();
            if let (true, true, Some(token)) = (
                request.is_authenticated,
                redirects.are_at_home(),
                &token.value,
            ) {
                headers.push(("authorization", format!("Bearer {}", token.expose()).into()));
            }
            let started = Instant::now();
            let sent = self.http.send(Outgoing {
                method: request.method,
                url: &url,
                headers: &headers,
                body: make_body()?,
                patience: request.patience,
            });
            let took = started.elapsed().as_millis();
            let (method, route) = (request.method.as_str(), &request.route);
            let mut answer = match sent {
                Ok(answer) => answer,
                Err(failure) => {
                    let error = self.cancelled_or(failure.error);
                    log::debug!(target: "determined", "{method} {route}: {error} ({took} ms)");
                    let may_repeat = match error.kind() {
                        ErrorKind::MasterNotFound | ErrorKind::Timeout | ErrorKind::Connection
                            if failure.never_sent =>
                        {
                            self.shared.was_reached.load(Ordering::Relaxed)
                        }
                        ErrorKind::Connection => repeatable,
                        _ => false,
                    };
                    self.pause_or(may_repeat, &mut retries, None, error)?;
                    continue;
                }
            };
            self.shared.was_reached.store(true, Ordering::Relaxed);
            let status = answer.status();
            log::debug!(target: "determined", "{method} {route}: {status} ({took} ms)");
            if (200..300).contains(&status) {
                match read(answer) {
                    Err(error) if error.kind() == ErrorKind::Connection => {
                        let error = self.cancelled_or(error);
                        self.pause_or(repeatable, &mut retries, None, error)?;
                        continue;
                    }
                    read => return read,
                }
            }
            if (300..400).contains(&status) {
                url = redirects.follow(&self.shared.master, request.method, &url, &answer)?;
                continue;
            }
            let wish = retry_after(&answer);
            // What cannot be read of a refusal is left out of its message.
            let body = answer.read_up_to(REFUSAL_LIMIT).unwrap_or_default();
            let refusal = refusal::refusal(status, &answer.status_line(), &body);
            let error = self.hide_secrets(refusal);
            if status == 401 && request.is_authenticated && redirects.are_at_home() {
                if !was_renewed && request.may_renew && self.renew(&token)? {
                    was_renewed = true;
                    continue;
                }
                return Err(if token.is_own {
                    error
                } else {
                    error.with_hint("the token in DET_USER_TOKEN is not valid: set another, or call login() with a user and password")
                });
            }
            // A login that a gateway has turned away changes nothing that another would not.
            let may_repeat = (repeatable || !request.is_authenticated)
                && match status {
                    502..=504 => true,
                    413 | 429 => wish.is_some(),
                    _ => false,
                };
            self.pause_or(may_repeat, &mut retries, wish, error)?;
        }
    }

    /// Waits for the next try, or gives the error if there is none.
    fn pause_or(
        &self,
        may_repeat: bool,
        retries: &mut Retries,
        wish: Option<Duration>,
        error: Error,
    ) -> Result<()> {
        match may_repeat.then(|| retries.next(wish)).flatten() {
            Some(pause) => {
                log::debug!(target: "determined", "trying again in {} s: {error}", pause.as_secs());
                self.sleep(pause)
            }
            None => Err(error),
        }
    }

    /// A connection that broke because its token was cancelled did not break by itself.
    fn cancelled_or(&self, error: Error) -> Error {
        self.check_cancelled().err().unwrap_or(error)
    }

    fn token(&self) -> Token {
        self.lock_token().clone()
    }

    fn lock_token(&self) -> MutexGuard<'_, Token> {
        self.shared
            .token
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// After a 401: a new token, by this thread or by another that was faster. False if there is no password to get one with.
    fn renew(&self, refused: &Token) -> Result<bool> {
        let shared = &self.shared;
        let _renewing = shared
            .renewal
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let current = self.token();
        if current.value != refused.value {
            return Ok(current.value.is_some());
        }
        if let Some(value) = refused.value.as_ref().filter(|_| refused.is_own) {
            self.forget(value);
        }
        let Some(password) = &shared.password else {
            return Ok(false);
        };
        log::info!(target: "determined", "the session of {} at {} has expired; logging in again", shared.username, shared.master);
        let value = self.post_login(&shared.username, password)?;
        self.adopt(value);
        Ok(true)
    }

    /// Takes the token and the password's hash out of what the master said, should it, or a proxy, have repeated the request.
    fn hide_secrets(&self, error: Error) -> Error {
        let hash = self.shared.password.as_ref();
        let hash = hash.map(|password| password_hash(password.expose()));
        let token = self.token().value;
        let secrets = [token, hash].into_iter().flatten();
        secrets.fold(error, |error, secret| error.without(secret.expose()))
    }

    /// Logs in with a password and gives the token.
    fn post_login(&self, username: &str, password: &Secret) -> Result<Secret> {
        let token: String = self
            .post(LOGIN)
            .anonymous()
            .doing(format!("log in as {username:?} at {}", self.shared.master))
            .json(&json!({
                "username": username,
                "password": password_hash(password.expose()).expose(),
                "isHashed": true,
            }))
            .fetch_field("token")
            .map_err(|error: Error| match error.kind() {
                ErrorKind::Unauthenticated => error.with_hint(
                    "check the user name and the password, which come from login() or from DET_USER and DET_PASS",
                ),
                _ => error,
            })?;
        if !is_fit_for_header(&token) {
            return Err(Error::new(
                ErrorKind::InvalidResponse,
                "the answer to the login has no token that a header can hold",
            )
            .with_request("POST", LOGIN));
        }
        Ok(Secret::new(token))
    }

    /// Takes a token that login gave, and keeps it in the store for the next client.
    fn adopt(&self, value: Secret) {
        let shared = &self.shared;
        if let Err(error) = shared.store.set_token(&shared.username, &value) {
            log::warn!(target: "determined", "the login is not kept for the next client: {error}");
        }
        *self.lock_token() = Token {
            value: Some(value),
            is_own: true,
        };
    }

    /// Takes a token out of the store, if it is still there.
    fn forget(&self, value: &Secret) {
        let shared = &self.shared;
        if let Err(error) = shared.store.drop_token(&shared.username, value) {
            log::warn!(target: "determined", "the token store still has a token that is of no use: {error}");
        }
    }

    /// Logs out: the token is revoked unless it came from the environment, and forgotten here and in the store even if the master cannot be
    /// told.
    pub(crate) fn logout(&self) -> Result<()> {
        let request = self
            .post("/api/v1/auth/logout")
            .with_this_token()
            .doing(format!("log out from {}", self.shared.master));
        let token = self.token();
        let revoked = match &token.value {
            Some(_) if token.is_own => match request.send() {
                // A token that is no longer valid needs no revoking.
                Err(error) if error.kind() == ErrorKind::Unauthenticated => Ok(()),
                other => other,
            },
            _ => Ok(()),
        };
        if let Some(value) = token.value.filter(|_| token.is_own) {
            self.forget(&value);
        }
        self.lock_token().value = None;
        revoked
    }
}

/// Whether a token can be shown to a master at all.
fn is_fit_for_header(token: &str) -> bool {
    !token.is_empty()
        && token.len() <= LONGEST_TOKEN
        && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The pause that an answer asks for: so many seconds, or until a date, by the answer's own clock if it shows one.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let wish = answer.header("retry-after")?.trim();
    if let Ok(seconds) = wish.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text| rfc2822::parse(text).ok().map(|date| date.timestamp());
    let now = answer.header("date").and_then(date);
    let pause = date(wish)?.duration_since(now.unwrap_or_else(Timestamp::now));
    Some(Duration::try_from(pause).unwrap_or_default())
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("master", &self.shared.master.as_str())
            .field("username", &self.shared.username)
            .finish_non_exhaustive()
    }
}
