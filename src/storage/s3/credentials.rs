//! Whose name requests to S3 are signed in, by the chain that Amazon's own tools follow.
//!
//! The experiment's configuration, the environment, a token of the environment that stands for a role, the profile, the container, the machine.

use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::super::remote::{Call, Remote};
use super::profile::Profile;
use super::role::Role;
use crate::error::{Error, ErrorKind, Result};
use crate::session::environment::Environment;
use crate::session::{Method, Secret, encode};

/// Credentials that end this soon are renewed.
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// Where a container on Amazon's own services asks.
const CONTAINER_HOST: &str = "http://169.254.170.2";
/// A profile may send on to so many others, one to the next.
const PROFILES: usize = 8;
/// Where a machine in Amazon's cloud asks.
const MACHINE_HOST: &str = "http://169.254.169.254";

/// In whose name a request is signed.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) access_key: String,
    pub(super) secret_key: Secret,
    pub(super) session_token: Option<Secret>,
    expires: Option<Timestamp>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    pub(super) fn new(access_key: &str, secret_key: &str, session_token: Option<&str>) -> Self {
        Self {
            access_key: access_key.to_owned(),
            secret_key: Secret::new(secret_key),
            session_token: session_token.map(Secret::new),
            expires: None,
        }
    }

    pub(super) fn ending(self, expires: Option<Timestamp>) -> Self {
        Self { expires, ..self }
    }

    fn ends_within(&self, margin: Duration) -> bool {
        let then = Timestamp::now()
            .saturating_add(margin)
            .unwrap_or(Timestamp::MAX);
        self.expires.is_some_and(|end| end <= then)
    }
}

/// Where credentials come from, and those that came last.
pub(super) struct Chain {
    source: Source,
    /// To the machine's own surroundings.
    nearby: Remote,
    current: Mutex<Option<Arc<Credentials>>>,
}

enum Source {
    Fixed(Credentials),
    /// A role that is given to whoever shows this token of another authority.
    WebIdentity {
        role: Role,
        token_file: PathBuf,
    },
    /// A role that is given to the holder of other credentials.
    Assumed {
        role: Role,
        from: Box<Source>,
    },
    Container {
        url: String,
        token: Option<Secret>,
        token_file: Option<PathBuf>,
    },
    Machine {
        host: String,
    },
}

impl Chain {
    /// Decides where credentials come from; `storage` is the experiment's configuration.
    pub(super) fn new(
        storage: &Value,
        environment: &Environment,
        profile: &Profile,
        region: &str,
        nearby: Remote,
    ) -> Result<Self> {
        let fixed = pair(
            "the experiment's configuration",
            storage.get("access_key").and_then(Value::as_str),
            storage.get("secret_key").and_then(Value::as_str),
            None,
        )?;
        let source = match fixed {
            Some(fixed) => Source::Fixed(fixed),
            None => source(environment, profile, region)?,
        };
        Ok(Self {
            source,
            nearby,
            current: Mutex::new(None),
        })
    }

    /// Credentials that are good for a while. `remote` leads to the rest of the world.
    pub(super) fn get(&self, remote: &Remote) -> Result<Arc<Credentials>> {
        // Held while new ones are fetched: the other threads need them too.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(good) = current.as_ref().filter(|it| !it.ends_within(MARGIN)) {
            return Ok(Arc::clone(good));
        }
        match self.fetch(&self.source, remote) {
            Ok(fetched) => {
                let fetched = Arc::new(fetched);
                *current = Some(Arc::clone(&fetched));
                Ok(fetched)
            }
            // Those that are about to end are better than none.
            Err(error) => match current
                .as_ref()
                .filter(|it| !it.ends_within(Duration::ZERO))
            {
                Some(good) => Ok(Arc::clone(good)),
                None => Err(error),
            },
        }
    }

    fn fetch(&self, source: &Source, remote: &Remote) -> Result<Credentials> {
        match source {
            Source::Fixed(credentials) => Ok(credentials.clone()),
            Source::WebIdentity { role, token_file } => role.for_token(remote, &read(token_file)?),
            Source::Assumed { role, from } => {
                role.for_credentials(remote, &self.fetch(from, remote)?)
            }
            Source::Container {
                url,
                token,
                token_file,
            } => {
                let token = match token_file {
                    Some(path) => Some(read(path)?),
                    None => token.clone(),
                };
                let call = || {
                    let call = Call::get(url.clone());
                    Ok(match &token {
                        Some(token) => call.header("authorization", token.expose()),
                        None => call,
                    })
                };
                let through = if url.starts_with("https://") {
                    remote
                } else {
                    &self.nearby
                };
                parse(&ask(through, &call, "the container's credentials")?)
            }
            Source::Machine { host } => self.of_machine(host),
        }
    }

    /// Those of the machine's role, by version 2 of the protocol.
    fn of_machine(&self, host: &str) -> Result<Credentials> {
        let what = "the machine's credentials";
        let token = || {
            Ok(Call {
                method: Method::Put,
                ..Call::get(format!("{host}/latest/api/token"))
            }
            .header("x-aws-ec2-metadata-token-ttl-seconds", "21600"))
        };
        let token = match ask(&self.nearby, &token, what) {
            Ok(token) => token,
            Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
            // Most machines are not in Amazon's cloud.
            Err(error) => return Err(none_found().with_source(error)),
        };
        let get = |path: &str| {
            let call = || {
                Ok(Call::get(format!(
                    "{host}/latest/meta-data/iam/security-credentials/{path}"
                ))
                .header("x-aws-ec2-metadata-token", token.clone()))
            };
            ask(&self.nearby, &call, what)
        };
        let role = get("")?;
        let role = role.lines().next().unwrap_or_default().trim();
        parse(&get(&encode(&role))?)
    }
}

/// Where credentials come from if the experiment's configuration has none.
fn source(environment: &Environment, profile: &Profile, region: &str) -> Result<Source> {
    if let Some(credentials) = of_environment(environment)? {
        return Ok(Source::Fixed(credentials));
    }
    if let Some(source) = web_identity(environment, profile, region)? {
        return Ok(source);
    }
    if let Some(source) = of_profile(environment, profile, region, PROFILES)? {
        return Ok(source);
    }
    match container(environment)? {
        Some(source) => Ok(source),
        None => machine(environment),
    }
}

/// What a profile says, if it says anything. It may send on to as many others as `left` says.
fn of_profile(
    environment: &Environment,
    profile: &Profile,
    region: &str,
    left: usize,
) -> Result<Option<Source>> {
    let keys = pair(
        &profile.place(),
        profile.get("aws_access_key_id"),
        profile.get("aws_secret_access_key"),
        profile.get("aws_session_token"),
    )?
    .map(Source::Fixed);
    let Some(role) = profile.get("role_arn") else {
        let others = [
            "sso_session",
            "sso_start_url",
            "credential_process",
            "login_session",
        ];
        return match others.iter().find(|key| profile.get(key).is_some()) {
            Some(key) if keys.is_none() => Err(unsupported(profile, key)),
            _ => Ok(keys),
        };
    };
    let role = Role::new(role, environment, profile, region)?;
    if let Some(token_file) = profile.get("web_identity_token_file") {
        let token_file = PathBuf::from(token_file);
        return Ok(Some(Source::WebIdentity { role, token_file }));
    }
    if profile.get("mfa_serial").is_some() {
        return Err(unsupported(profile, "mfa_serial"));
    }
    let holder = (
        profile.get("source_profile"),
        profile.get("credential_source"),
    );
    let from = match holder {
        (Some(name), None) if name == profile.name => keys,
        (Some(_), None) if left == 0 => {
            return Err(profile.unusable("is at the end of too many profiles"));
        }
        (Some(name), None) => {
            let source = Profile::named(environment, name, &profile.place())?;
            of_profile(environment, &source, region, left - 1)?
        }
        (None, Some("Environment")) => of_environment(environment)?.map(Source::Fixed),
        (None, Some("EcsContainer")) => container(environment)?,
        (None, Some("Ec2InstanceMetadata")) => Some(machine(environment)?),
        _ => {
            return Err(
                profile.unusable("has a role_arn, but not one source_profile or credential_source")
            );
        }
    };
    match from.map(Box::new) {
        Some(from) => Ok(Some(Source::Assumed { role, from })),
        None => Err(profile.unusable("finds no credentials to assume its role with")),
    }
}

fn unsupported(profile: &Profile, key: &str) -> Error {
    profile
        .unusable(&format!(
            "gets its credentials by {key}, which is not supported"
        ))
        .with_hint(
            "put them into the environment with `aws configure export-credentials --format env`",
        )
}

fn of_environment(environment: &Environment) -> Result<Option<Credentials>> {
    pair(
        "the environment",
        environment.get("AWS_ACCESS_KEY_ID"),
        environment.get("AWS_SECRET_ACCESS_KEY"),
        environment
            .get("AWS_SESSION_TOKEN")
            .or_else(|| environment.get("AWS_SECURITY_TOKEN")),
    )
}

fn machine(environment: &Environment) -> Result<Source> {
    if environment
        .get("AWS_EC2_METADATA_DISABLED")
        .is_some_and(|word| word.eq_ignore_ascii_case("true"))
    {
        return Err(none_found());
    }
    let host = environment
        .get("AWS_EC2_METADATA_SERVICE_ENDPOINT")
        .unwrap_or(MACHINE_HOST);
    Ok(Source::Machine {
        host: host.trim_end_matches('/').to_owned(),
    })
}

fn web_identity(
    environment: &Environment,
    profile: &Profile,
    region: &str,
) -> Result<Option<Source>> {
    let Some(token_file) = environment.path("AWS_WEB_IDENTITY_TOKEN_FILE") else {
        return Ok(None);
    };
    let role = environment
        .get("AWS_ROLE_ARN")
        .or_else(|| profile.get("role_arn"))
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Storage,
                "there is a web identity token file, but AWS_ROLE_ARN is not set",
            )
        })?;
    Ok(Some(Source::WebIdentity {
        role: Role::new(role, environment, profile, region)?,
        token_file,
    }))
}

fn container(environment: &Environment) -> Result<Option<Source>> {
    let url = match (
        environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    ) {
        (Some(path), _) => format!("{CONTAINER_HOST}{path}"),
        (None, Some(url)) if is_trusted(url) => url.to_owned(),
        (None, Some(_)) => {
            return Err(Error::new(
                ErrorKind::Storage,
                "AWS_CONTAINER_CREDENTIALS_FULL_URI leads neither to this machine nor to an https server",
            ));
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(Source::Container {
        url,
        token: environment
            .get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
            .map(Secret::new),
        token_file: environment.path("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
    }))
}

/// Whether credentials may be asked for there: over https, or from this machine and its own network.
fn is_trusted(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else {
        return url.starts_with("https://");
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    match host.parse::<IpAddr>() {
        Ok(address) => {
            let on_host_network = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
            address.is_loopback()
                || on_host_network
                    .iter()
                    .any(|known| known.parse() == Ok(address))
        }
        Err(_) => host == "localhost",
    }
}

/// A pair of keys, if it is there.
fn pair(
    place: &str,
    access_key: Option<&str>,
    secret_key: Option<&str>,
    session_token: Option<&str>,
) -> Result<Option<Credentials>> {
    let given = |key: &&str| !key.is_empty();
    match (access_key.filter(given), secret_key.filter(given)) {
        (Some(access_key), Some(secret_key)) => Ok(Some(Credentials::new(
            access_key,
            secret_key,
            session_token,
        ))),
        (None, None) => Ok(None),
        _ => Err(Error::new(
            ErrorKind::Storage,
            format!("{place} has one half of a pair of AWS keys, but not the other"),
        )),
    }
}

fn none_found() -> Error {
    Error::new(
        ErrorKind::Storage,
        "there are no AWS credentials: not in the experiment's configuration, the environment or the profile, and neither a container nor the machine gives any",
    )
}

pub(super) fn ask(remote: &Remote, call: &dyn Fn() -> Result<Call>, what: &str) -> Result<String> {
    let failed = |why: String| Error::new(ErrorKind::Storage, format!("cannot get {what}: {why}"));
    let mut answer = remote.ask(call).map_err(|error| match error.kind() {
        ErrorKind::Cancelled => error,
        _ => failed(error.to_string()),
    })?;
    match answer.status() {
        200 => answer.text(),
        _ => {
            let status = answer.status_line();
            let said = super::said(&answer.refusal_text());
            Err(failed(format!("{status}: {said}")))
        }
    }
}

/// Credentials as the services of a container or a machine send them.
fn parse(text: &str) -> Result<Credentials> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Body {
        access_key_id: String,
        secret_access_key: String,
        token: Option<String>,
        expiration: Option<Timestamp>,
    }
    // The error would quote what is in the text.
    let body: Body = serde_json::from_str(text).map_err(|_| {
        Error::new(
            ErrorKind::InvalidResponse,
            "the service for credentials sends something else",
        )
    })?;
    let credentials = Credentials::new(
        &body.access_key_id,
        &body.secret_access_key,
        body.token.as_deref(),
    );
    Ok(credentials.ending(body.expiration))
}

fn read(path: &std::path::Path) -> Result<Secret> {
    fs::read_to_string(path)
        .map(|text| Secret::new(text.trim()))
        .map_err(|error| Error::io("read", path, &error).with_kind(ErrorKind::Storage))
}
