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
use super::super::xml::Element;
use super::amazon_domain;
use super::profile::Profile;
use crate::error::{Error, ErrorKind, Result};
use crate::session::environment::Environment;
use crate::session::{Method, Secret, encode};

/// Credentials that end this soon are renewed.
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// Where a container on Amazon's own services asks.
const CONTAINER_HOST: &str = "http://169.254.170.2";
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
    WebIdentity {
        sts: String,
        token_file: PathBuf,
        role: String,
        session_name: String,
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
        match self.fetch(remote) {
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

    fn fetch(&self, remote: &Remote) -> Result<Credentials> {
        match &self.source {
            Source::Fixed(credentials) => Ok(credentials.clone()),
            Source::WebIdentity {
                sts,
                token_file,
                role,
                session_name,
            } => {
                let token = read(token_file)?;
                assume_role(remote, sts, &token, role, session_name)
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
    let from_environment = pair(
        "the environment",
        environment.get("AWS_ACCESS_KEY_ID"),
        environment.get("AWS_SECRET_ACCESS_KEY"),
        environment
            .get("AWS_SESSION_TOKEN")
            .or_else(|| environment.get("AWS_SECURITY_TOKEN")),
    )?;
    if let Some(credentials) = from_environment {
        return Ok(Source::Fixed(credentials));
    }
    if let Some(source) = web_identity(environment, profile, region)? {
        return Ok(source);
    }
    let place = format!("the profile {:?}", profile.name);
    let from_profile = pair(
        &place,
        profile.get("aws_access_key_id"),
        profile.get("aws_secret_access_key"),
        profile.get("aws_session_token"),
    )?;
    let unsupported = [
        "role_arn",
        "sso_session",
        "sso_start_url",
        "credential_process",
    ]
    .into_iter()
    .find(|key| profile.get(key).is_some());
    match (unsupported, from_profile) {
        (Some("role_arn"), _) | (Some(_), None) => {
            let key = unsupported.unwrap_or_default();
            return Err(Error::new(
                ErrorKind::Storage,
                format!("{place} gets its credentials by {key}, which is not supported"),
            )
            .with_hint("put them into the environment with `aws configure export-credentials --format env`"));
        }
        (_, Some(credentials)) => return Ok(Source::Fixed(credentials)),
        (None, None) => {}
    }
    if let Some(source) = container(environment)? {
        return Ok(source);
    }
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
    let token_file = environment
        .path("AWS_WEB_IDENTITY_TOKEN_FILE")
        .or_else(|| profile.get("web_identity_token_file").map(PathBuf::from));
    let Some(token_file) = token_file else {
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
    let session_name = environment
        .get("AWS_ROLE_SESSION_NAME")
        .or_else(|| profile.get("role_session_name"))
        .unwrap_or("determined-rust");
    let sts = environment.get("AWS_ENDPOINT_URL_STS").map_or_else(
        || format!("https://sts.{region}.{}", amazon_domain(region)),
        |url| url.trim_end_matches('/').to_owned(),
    );
    Ok(Some(Source::WebIdentity {
        sts,
        token_file,
        role: role.to_owned(),
        session_name: session_name.to_owned(),
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

/// Trades a token of another authority for credentials of a role.
fn assume_role(
    remote: &Remote,
    sts: &str,
    token: &Secret,
    role: &str,
    session_name: &str,
) -> Result<Credentials> {
    let call = || {
        let body = format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={}&RoleSessionName={}&WebIdentityToken={}",
            encode(&role),
            encode(&session_name),
            encode(&token.expose())
        );
        Ok(Call {
            method: Method::Post,
            body,
            ..Call::get(format!("{sts}/"))
        }
        .header("content-type", "application/x-www-form-urlencoded"))
    };
    let answer = ask(remote, &call, "the credentials of the role")?;
    let answer = Element::parse(&answer)?;
    let credentials = answer
        .child("AssumeRoleWithWebIdentityResult")
        .and_then(|result| result.child("Credentials"));
    let field = |name| credentials.and_then(|credentials| credentials.text_of(name));
    let (Some(access_key), Some(secret_key)) = (field("AccessKeyId"), field("SecretAccessKey"))
    else {
        return Err(Error::new(
            ErrorKind::InvalidResponse,
            "there are no credentials of the role in the answer",
        ));
    };
    Ok(Credentials {
        expires: field("Expiration").and_then(|time| time.parse().ok()),
        ..Credentials::new(access_key, secret_key, field("SessionToken"))
    })
}

fn ask(remote: &Remote, call: &dyn Fn() -> Result<Call>, what: &str) -> Result<String> {
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
    Ok(Credentials {
        expires: body.expiration,
        ..Credentials::new(
            &body.access_key_id,
            &body.secret_access_key,
            body.token.as_deref(),
        )
    })
}

fn read(path: &std::path::Path) -> Result<Secret> {
    fs::read_to_string(path)
        .map(|text| Secret::new(text.trim()))
        .map_err(|error| Error::io("read", path, &error).with_kind(ErrorKind::Storage))
}
