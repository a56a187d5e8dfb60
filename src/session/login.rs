//! Logging in: who, with which password or token, and over which connections.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::environment::Environment;
use super::http::{Http, HttpSettings, Proxy, ProxyRules};
use super::secret::Secret;
use super::stores::{CertificateOptions, CertificateSettings, TokenStore, TokenStoreHandle};
use super::{Line, MasterUrl, Session, Shared, Token, is_fit_for_header};
use crate::error::{Error, ErrorKind, Result};

/// Who asks for more, `Duration::MAX` say, wants no timeout.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The user of a cluster that nobody has set up further.
const DEFAULT_USER: &str = "determined";

/// To which master to log in, as whom, and how to reach it. Everything is optional.
///
/// What is left out comes from the environment (`DET_MASTER`, `DET_USER`, `DET_PASS`, `DET_USER_TOKEN`, `DET_MASTER_CERT_FILE`,
/// `DET_MASTER_CERT_NAME`, the proxy variables), then from the token store that the `det` command and the Python SDK share, then from
/// defaults. An empty variable counts as unset.
///
/// | given | who logs in |
/// |---|---|
/// | user and password | that user, by password, always |
/// | user | that user, by the stored token; else by `DET_USER_TOKEN` if `DET_USER` is that user; else by asking, if [`prompt`](Self::prompt) allows |
/// | password | `DET_USER`, else the store's active user, else `determined`, by password, always |
/// | neither | `DET_USER` with `DET_PASS`; else the store's active user; else `determined` with a blank password; a valid stored token of that user goes first, then `DET_USER_TOKEN` as `DET_USER` |
///
/// ```no_run
/// use determined::{Determined, LoginOptions};
///
/// let client = Determined::new(
///     LoginOptions::new().master("https://det.example:8443").user("kim").password("…").cert_path("ca.pem"),
/// )?;
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
#[must_use]
pub struct LoginOptions {
    master: Option<String>,
    user: Option<String>,
    password: Option<Secret>,
    certificates: CertificateOptions,
    connect_timeout: Option<Duration>,
    read_timeout: Option<Duration>,
    retries: Option<u32>,
    proxy: Proxy,
    prompt: bool,
    force_login: bool,
    no_relogin: bool,
    token_store: TokenStore,
    user_agent_suffix: Option<String>,
    environment: Option<Environment>,
}

impl LoginOptions {
    /// Options that leave everything to the environment, the token store and the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The master's URL: `https://det.example:8443`, `http://10.0.0.7:8080/prefix`, or `host`, which means `http://host:8080`.
    ///
    /// The default is `DET_MASTER`, else `DET_MASTER_ADDR`, else `localhost:8080`.
    pub fn master(mut self, url: impl Into<String>) -> Self {
        self.master = Some(url.into()).filter(|url| !url.is_empty());
        self
    }

    /// The user to log in as. An empty name counts as not given.
    pub fn user(mut self, name: impl Into<String>) -> Self {
        self.user = Some(name.into()).filter(|name| !name.is_empty());
        self
    }

    /// The user's password. An empty one is a password too.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(Secret::new(password.into()));
        self
    }

    /// A PEM file with the certificate of the authority that signed the master's; it is trusted beside the system's and the built-in ones.
    ///
    /// The default is `DET_MASTER_CERT_FILE`, else what the `det` command stored for this master.
    pub fn cert_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.certificates.path = Some(path.into()).filter(|path| !path.as_os_str().is_empty());
        self
    }

    /// Like [`cert_path`](Self::cert_path), with the PEM text itself.
    pub fn cert_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates.pem = Some(pem.into());
        self
    }

    /// The name that the master's certificate bears, where it is not the host of its URL. The default is `DET_MASTER_CERT_NAME`.
    pub fn cert_name(mut self, name: impl Into<String>) -> Self {
        self.certificates.name = Some(name.into()).filter(|name| !name.is_empty());
        self
    }

    /// Whether the master's certificate is taken unseen. The default is `false`: with `true` anyone in between can read and change
    /// everything.
    pub fn noverify(mut self, noverify: bool) -> Self {
        self.certificates.noverify = noverify;
        self
    }

    /// How long connecting may take, TLS included. The default is 10 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// How long the master may be silent while it is being read from or written to. The default is 30 seconds. A large download may take
    /// as long as it likes while data flows, though not at a drip: so much time must bring at least 16 bytes for each second, and
    /// take 48 KiB of what is sent. Following a log has no such limit.
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.read_timeout = Some(timeout);
        self
    }

    /// How often a call is tried again at the most, where that is safe. The default is 5, after 0, 1, 2, 4 and 8 seconds.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// Through which proxy the master is reached. The default is [`Proxy::Environment`].
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = proxy;
        self
    }

    /// Whether a missing password may be asked for on the terminal. The default is `false`: it is an error.
    pub fn prompt(mut self, prompt: bool) -> Self {
        self.prompt = prompt;
        self
    }

    /// Whether stored tokens and `DET_USER_TOKEN` are passed over, so that the password is checked. The default is `false`.
    pub fn force_login(mut self, force_login: bool) -> Self {
        self.force_login = force_login;
        self
    }

    /// Whether a client that was given a password uses it again when its session expires. The default is `true`.
    pub fn relogin(mut self, relogin: bool) -> Self {
        self.no_relogin = !relogin;
        self
    }

    /// Where tokens are kept. The default is [`TokenStore::Default`], the place that the `det` command uses.
    pub fn token_store(mut self, store: TokenStore) -> Self {
        self.token_store = store;
        self
    }

    /// What follows `determined-rust/<version>` in the `User-Agent` header, such as the name of the program.
    pub fn user_agent_suffix(mut self, suffix: impl Into<String>) -> Self {
        self.user_agent_suffix = Some(suffix.into());
        self
    }

    /// Takes these variables instead of the process's own environment, all of them: what is not named here counts as unset.
    ///
    /// ```
    /// # use determined::{Determined, LoginOptions};
    /// # let master = determined::testing::MockMaster::start();
    /// # let url = master.url();
    /// # let scratch = tempfile::tempdir().expect("a temporary directory");
    /// # let home = scratch.path().to_str().expect("a path in UTF-8");
    /// let variables = [("DET_MASTER", url.as_str()), ("HOME", home), ("DET_USER", "determined")];
    /// let client = Determined::new(LoginOptions::new().environment(variables).password(""))?;
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn environment<N: AsRef<str>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.environment = Some(Environment::from_pairs(variables));
        self
    }
}

impl fmt::Debug for LoginOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginOptions")
            .field("master", &self.master)
            .field("user", &self.user)
            .field("password", &self.password)
            .finish_non_exhaustive()
    }
}

/// A timeout that clocks can count, or the default in seconds.
fn timeout(name: &str, given: Option<Duration>, default: u64) -> Result<Duration> {
    match given {
        Some(Duration::ZERO) => Err(Error::invalid_input(format!(
            "a {name} of zero leaves no time for anything"
        ))),
        given => Ok(given.map_or(Duration::from_secs(default), |given| {
            given.min(LONGEST_TIMEOUT)
        })),
    }
}

/// What to do after a refusal of the user that is taken when there is none.
const NOBODY: &str = "neither login() nor DET_USER with DET_PASS nor the token store names a user and a password, so determined was tried \
                      with a blank one";

/// With what a session can begin.
enum Credential {
    Token { value: Secret, is_own: bool },
    Password(Secret),
}

impl Session {
    /// Logs in as the options, the environment and the token store decide.
    pub(crate) fn login(options: LoginOptions) -> Result<Self> {
        let environment = options
            .environment
            .clone()
            .unwrap_or_else(Environment::from_process);
        let master = MasterUrl::resolve(options.master.as_deref(), &environment)?;
        let doing = format!("log in at {master}");
        let is_named = options.master.is_some() || environment.master().is_some();
        Login::prepare(options, environment, master)
            .and_then(Login::run)
            .map_err(|error| advise(error, is_named).doing(doing))
    }
}

/// Adds what to try to the errors of those who log in for the first time. `is_named` is whether somebody named the master.
fn advise(error: Error, is_named: bool) -> Error {
    match (error.kind(), error.status()) {
        (ErrorKind::MasterNotFound, _) if is_named => error.or_hint(
            "is the master running, and is this its URL? It comes from LoginOptions::master or DET_MASTER",
        ),
        (ErrorKind::MasterNotFound, _) => error.or_hint(
            "no master was named, so the default was tried; name yours with LoginOptions::master or DET_MASTER",
        ),
        // Every master has the routes of a login.
        (_, Some(404 | 405 | 501)) => error
            .with_kind(ErrorKind::InvalidResponse)
            .with_hint("this is not how a Determined master answers: check the URL, its port and its path"),
        _ => error,
    }
}

/// A login that is under way.
struct Login {
    options: LoginOptions,
    environment: Environment,
    master: MasterUrl,
    http: Http,
    store: TokenStoreHandle,
}

impl Login {
    fn prepare(options: LoginOptions, environment: Environment, master: MasterUrl) -> Result<Self> {
        let certificates = CertificateSettings::resolve(
            &options.certificates,
            &options.token_store,
            &environment,
            &master,
        )?;
        let mut user_agent = format!("determined-rust/{}", env!("CARGO_PKG_VERSION"));
        if let Some(suffix) = &options.user_agent_suffix {
            if !suffix.bytes().all(|b| (0x20..0x7f).contains(&b)) {
                return Err(Error::invalid_input(
                    "the user_agent_suffix may only hold printable ASCII characters",
                ));
            }
            user_agent += &format!(" {suffix}");
        }
        let http = Http::new(HttpSettings {
            connect_timeout: timeout("connect_timeout", options.connect_timeout, 10)?,
            read_timeout: timeout("read_timeout", options.read_timeout, 30)?,
            user_agent,
            proxy: ProxyRules::new(&options.proxy, &environment)?,
            certificates,
            master_host: master.host().to_owned(),
        });
        let store = TokenStoreHandle::open(&options.token_store, &environment, &master)?;
        Ok(Self {
            options,
            environment,
            master,
            http,
            store,
        })
    }

    /// Decides who logs in and does it.
    fn run(self) -> Result<Session> {
        let given_password = self.options.password.clone();
        if let Some(user) = self.options.user.clone() {
            return match given_password {
                Some(password) => self.start(user, Credential::Password(password)),
                None => self.with_token_or(user, None),
            };
        }
        let from_environment = self.environment.user().map(str::to_owned);
        if let Some(password) = given_password {
            let user = match from_environment {
                Some(user) => user,
                None => self
                    .active_user()?
                    .unwrap_or_else(|| DEFAULT_USER.to_owned()),
            };
            return self.start(user, Credential::Password(password));
        }
        let det_pass = self.environment.password().map(Secret::new);
        if let (Some(user), Some(password)) = (from_environment, det_pass) {
            return self.with_token_or(user, Some(password));
        }
        match self.active_user()? {
            Some(user) => self.with_token_or(user, None),
            None => {
                let blank = Some(Secret::new(""));
                self.with_token_or(DEFAULT_USER.to_owned(), blank)
                    .map_err(|error| match error.kind() {
                        ErrorKind::Unauthenticated => error.with_hint(NOBODY),
                        _ => error,
                    })
            }
        }
    }

    fn active_user(&self) -> Result<Option<String>> {
        self.store.active_user()
    }

    /// Logs `user` in by the stored token if that is still good, else by the environment's, else by the password, else by asking for it.
    fn with_token_or(self, user: String, password: Option<Secret>) -> Result<Session> {
        if !self.options.force_login {
            let stored = self.store.token(&user)?;
            if let Some(value) = stored.filter(|value| is_fit_for_header(value.expose())) {
                let token = || Credential::Token {
                    value: value.clone(),
                    is_own: true,
                };
                if self.session(user.clone(), token(), None).token_is_good()? {
                    return Ok(self.session(user, token(), password));
                }
            }
            let (env_user, env_token) = (self.environment.user(), self.environment.user_token());
            if let (Some(env_user), Some(token)) = (env_user, env_token) {
                let named = self.options.user.as_deref();
                if named.is_none_or(|named| named == env_user) {
                    let (user, value) = (env_user.to_owned(), Secret::new(token));
                    return self.start(
                        user,
                        Credential::Token {
                            value,
                            is_own: false,
                        },
                    );
                }
            }
        }
        match password {
            Some(password) => self.start(user, Credential::Password(password)),
            None if self.options.prompt => {
                let password = rpassword::prompt_password(format!("Password for user '{user}': "))
                    .map_err(|error| {
                        Error::new(
                            ErrorKind::Unauthenticated,
                            format!("the password of {user:?} cannot be asked for: {error}"),
                        )
                        .with_hint("give it with LoginOptions::password")
                    })?;
                self.start(user, Credential::Password(Secret::new(password)))
            }
            None => Err(Error::new(
                ErrorKind::Unauthenticated,
                format!("there is no valid token for user {user:?}, and no password was given"),
            )
            .with_hint(format!(
                "call login() with LoginOptions::password, or run `det user login {user}`"
            ))),
        }
    }

    fn start(self, user: String, credential: Credential) -> Result<Session> {
        let password = match credential {
            Credential::Password(password) => password,
            token => return Ok(self.session(user, token, None)),
        };
        let session = self.session(user.clone(), Credential::Password(password.clone()), None);
        let token = session.post_login(&user, &password)?;
        session.adopt(token);
        log::info!(target: "determined", "logged in as {user} at {}", self.master);
        Ok(session)
    }

    /// A session that begins with a token, or with nothing yet but the password to get one. `fallback` is the password that stands behind
    /// a token.
    fn session(
        &self,
        username: String,
        credential: Credential,
        fallback: Option<Secret>,
    ) -> Session {
        let (token, password) = match credential {
            Credential::Token { value, is_own } => (
                Token {
                    value: Some(value),
                    is_own,
                },
                fallback,
            ),
            Credential::Password(password) => (
                Token {
                    value: None,
                    is_own: true,
                },
                Some(password),
            ),
        };
        Session(Arc::new(Line {
            shared: Arc::new(Shared {
                master: self.master.clone(),
                username,
                #[cfg(any(feature = "s3", feature = "gcs"))]
                environment: self.environment.clone(),
                token: Mutex::new(token),
                password: password.filter(|_| !self.options.no_relogin),
                renewal: Mutex::new(()),
                store: self.store.clone(),
                was_reached: AtomicBool::new(false),
            }),
            http: self.http.clone(),
            cancel: None,
            retries: self.options.retries.unwrap_or(5),
        }))
    }
}

impl Session {
    /// Whether the master takes the token. Only a 401 says that it does not. Anything else that goes wrong says nothing about the token and
    /// is an error.
    fn token_is_good(&self) -> Result<bool> {
        let me = self
            .get("/api/v1/me")
            .doing(format!("check the token of {:?}", self.username()))
            .fetch_field::<serde_json::Value>("user");
        match me {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Unauthenticated => Ok(false),
            Err(error) => Err(error),
        }
    }
}
