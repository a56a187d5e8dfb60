//! Google's application default credentials: a file that is named, the one that `gcloud` leaves, or the machine itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::remote::{Call, Remote};
use super::said;
use crate::error::{Error, ErrorKind, Result};
use crate::session::environment::Environment;
use crate::session::{Method, Secret, encode};

const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_only";
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
/// A token that ends this soon is renewed.
const MARGIN: Duration = Duration::from_secs(5 * 60);

/// Tokens to show to the storage.
pub(super) struct Tokens {
    source: Source,
    /// To the machine's own surroundings.
    nearby: Remote,
    current: Mutex<Option<Token>>,
}

struct Token {
    value: Secret,
    ends: Instant,
}

enum Source {
    /// A program's own account, which signs for its tokens.
    ServiceAccount(Box<ServiceAccount>),
    /// A person who logged in with `gcloud`.
    User {
        client_id: String,
        client_secret: Secret,
        refresh_token: Secret,
        token_url: String,
    },
    /// The account of the machine.
    Machine { host: String },
}

struct ServiceAccount {
    email: String,
    key_id: String,
    key: RsaKeyPair,
    token_url: String,
}

/// What a token service answers.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    expires_in: u64,
}

impl Tokens {
    pub(super) fn new(environment: &Environment, nearby: Remote) -> Result<Self> {
        let source = match file(environment) {
            Some(path) => {
                let bytes = fs::read(&path).map_err(|error| {
                    Error::io("read", &path, &error).with_kind(ErrorKind::Storage)
                })?;
                source(&bytes).map_err(|why| unusable(&path, &why))?
            }
            None => Source::Machine {
                host: format!(
                    "http://{}",
                    environment
                        .get("GCE_METADATA_HOST")
                        .unwrap_or("169.254.169.254")
                ),
            },
        };
        Ok(Self {
            source,
            nearby,
            current: Mutex::new(None),
        })
    }

    /// A token that is good for a while. `remote` leads to the rest of the world.
    pub(super) fn get(&self, remote: &Remote) -> Result<Secret> {
        // Held while a new one is fetched: the other threads need it too.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(token) = current.as_ref().filter(|token| token.ends > now + MARGIN) {
            return Ok(token.value.clone());
        }
        let granted = self.fetch(remote)?;
        let value = Secret::new(granted.access_token);
        *current = Some(Token {
            value: value.clone(),
            ends: now + Duration::from_secs(granted.expires_in.min(24 * 3600)),
        });
        Ok(value)
    }

    fn fetch(&self, remote: &Remote) -> Result<Granted> {
        match &self.source {
            Source::ServiceAccount(account) => {
                let assertion = account.assertion(Timestamp::now())?;
                let body = format!(
                    "grant_type={}&assertion={assertion}",
                    encode(&"urn:ietf:params:oauth:grant-type:jwt-bearer")
                );
                ask(remote, &|| Ok(form(&account.token_url, &body)))
            }
            Source::User {
                client_id,
                client_secret,
                refresh_token,
                token_url,
            } => {
                let body = format!(
                    "grant_type=refresh_token&client_id={}&client_secret={}&refresh_token={}",
                    encode(client_id),
                    encode(&client_secret.expose()),
                    encode(&refresh_token.expose())
                );
                ask(remote, &|| Ok(form(token_url, &body)))
            }
            Source::Machine { host } => {
                let url = format!(
                    "{host}/computeMetadata/v1/instance/service-accounts/default/token?scopes={}",
                    encode(&SCOPE)
                );
                let call = || Ok(Call::get(url.clone()).header("metadata-flavor", "Google"));
                ask(&self.nearby, &call).map_err(|error| match error.kind() {
                    ErrorKind::Cancelled => error,
                    // Most machines are not in Google's cloud.
                    _ => Error::new(
                        ErrorKind::Storage,
                        "there are no Google credentials: GOOGLE_APPLICATION_CREDENTIALS is not set, `gcloud auth application-default login` has left none, and the machine gives none",
                    )
                    .with_source(error),
                })
            }
        }
    }
}

/// The file with the credentials, if there is one.
fn file(environment: &Environment) -> Option<PathBuf> {
    if let Some(path) = environment.path("GOOGLE_APPLICATION_CREDENTIALS") {
        return Some(path);
    }
    let directory = environment
        .path("CLOUDSDK_CONFIG")
        // Only Windows has this variable.
        .or_else(|| Some(environment.path("APPDATA")?.join("gcloud")))
        .or_else(|| Some(environment.home()?.join(".config/gcloud")))?;
    let path = directory.join("application_default_credentials.json");
    path.is_file().then_some(path)
}

/// What a file of credentials says. Errors are in words that hold nothing of it.
fn source(bytes: &[u8]) -> Result<Source, String> {
    let json: Value = serde_json::from_slice(bytes).map_err(|_| "it is not JSON".to_owned())?;
    let field = |name: &str| {
        let value = json.get(name).and_then(Value::as_str);
        value.ok_or_else(|| format!("it has no {name}"))
    };
    match field("type")? {
        "service_account" => Ok(Source::ServiceAccount(Box::new(ServiceAccount {
            email: field("client_email")?.to_owned(),
            key_id: field("private_key_id").unwrap_or_default().to_owned(),
            key: key(field("private_key")?)?,
            token_url: field("token_uri").unwrap_or(TOKEN_URL).to_owned(),
        }))),
        "authorized_user" => Ok(Source::User {
            client_id: field("client_id")?.to_owned(),
            client_secret: Secret::new(field("client_secret")?),
            refresh_token: Secret::new(field("refresh_token")?),
            token_url: field("token_uri").unwrap_or(TOKEN_URL).to_owned(),
        }),
        other => Err(format!(
            "credentials of the type {other:?} are not supported, only service_account and authorized_user are"
        )),
    }
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::new(
        ErrorKind::Storage,
        format!("{} cannot be used: {why}", path.display()),
    )
}

/// A private key in PEM, of the kind that Google gives out (PKCS #8).
fn key(pem: &str) -> Result<RsaKeyPair, String> {
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let base64: String = base64.split_whitespace().collect();
    BASE64_STANDARD
        .decode(base64)
        .ok()
        .and_then(|der| RsaKeyPair::from_pkcs8(&der).ok())
        .ok_or_else(|| "its private key is no RSA key in PKCS #8".to_owned())
}

impl ServiceAccount {
    /// What the account says of itself to be given a token.
    fn assertion(&self, now: Timestamp) -> Result<String> {
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.key_id});
        let claims = json!({
            "iss": self.email,
            "scope": SCOPE,
            "aud": self.token_url,
            "iat": now.as_second(),
            "exp": now.as_second() + 3600,
        });
        sign(&self.key, &header.to_string(), &claims.to_string())
    }
}

/// A JSON web token, signed by RS256.
fn sign(key: &RsaKeyPair, header: &str, claims: &str) -> Result<String> {
    let text = format!(
        "{}.{}",
        BASE64_URL_SAFE_NO_PAD.encode(header),
        BASE64_URL_SAFE_NO_PAD.encode(claims)
    );
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        text.as_bytes(),
        &mut signature,
    )
    .map_err(|_| {
        Error::new(
            ErrorKind::Storage,
            "the account's private key signs nothing",
        )
    })?;
    Ok(format!(
        "{text}.{}",
        BASE64_URL_SAFE_NO_PAD.encode(signature)
    ))
}

fn form(url: &str, body: &str) -> Call {
    Call {
        method: Method::Post,
        body: body.to_owned(),
        ..Call::get(url.to_owned())
    }
    .header("content-type", "application/x-www-form-urlencoded")
}

fn ask(remote: &Remote, call: &dyn Fn() -> Result<Call>) -> Result<Granted> {
    let failed = |why: String| {
        Error::new(
            ErrorKind::Storage,
            format!("cannot get a token from Google: {why}"),
        )
    };
    let mut answer = remote.ask(call).map_err(|error| match error.kind() {
        ErrorKind::Cancelled => error,
        _ => failed(error.to_string()),
    })?;
    if answer.status() != 200 {
        let line = answer.status_line();
        return Err(failed(format!("{line}: {}", said(&answer.refusal_text()))));
    }
    // The error would quote what is in the text.
    serde_json::from_str(&answer.text()?).map_err(|_| failed("the answer has none".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of the example in RFC 7515, appendix A.2.
    const KEY: &str = include_str!("../../../tests/vectors/rfc7515_a2.pem");

    #[test]
    fn a_published_example_is_signed_as_published() {
        let claims =
            "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
        assert_eq!(
            sign(&key(KEY).unwrap(), r#"{"alg":"RS256"}"#, claims).unwrap(),
            "eyJhbGciOiJSUzI1NiJ9.\
             eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
             cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4\
             BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv\
             hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
        );
    }

    #[test]
    fn a_service_account_says_who_it_is_and_for_how_long() {
        let json = json!({
            "type": "service_account", "client_email": "me@project.example", "private_key_id": "k1", "private_key": KEY,
        });
        let Ok(Source::ServiceAccount(account)) = source(json.to_string().as_bytes()) else {
            panic!("this is a service account");
        };
        let assertion = account
            .assertion(Timestamp::from_second(1_000).unwrap())
            .unwrap();
        let parts: Vec<Value> = assertion
            .split('.')
            .take(2)
            .map(|part| {
                serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
            })
            .collect();
        assert_eq!(parts[0], json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
        assert_eq!(
            parts[1],
            json!({"iss": "me@project.example", "scope": SCOPE, "aud": TOKEN_URL, "iat": 1_000, "exp": 4_600})
        );
    }

    #[test]
    fn what_cannot_be_used_is_told_without_its_secrets() {
        for (json, why) in [
            (
                json!({"type": "external_account", "audience": "s3cret"}),
                "external_account",
            ),
            (
                json!({"type": "authorized_user", "client_id": "i", "refresh_token": "s3cret"}),
                "client_secret",
            ),
            (
                json!({"type": "service_account", "client_email": "e", "private_key": "s3cret"}),
                "private key",
            ),
            (json!({"private_key": "s3cret"}), "type"),
        ] {
            let error = source(json.to_string().as_bytes()).err().unwrap();
            assert!(error.contains(why) && !error.contains("s3cret"), "{error}");
        }
        assert!(source(b"s3cret").is_err());
    }

    #[test]
    fn a_named_file_goes_before_the_one_that_gcloud_leaves() {
        let home = tempfile::tempdir().unwrap();
        let pairs = |more: &[(&'static str, &str)]| {
            let mut pairs = vec![("HOME", home.path().display().to_string())];
            pairs.extend(more.iter().map(|(k, v)| (*k, (*v).to_owned())));
            Environment::from_pairs(pairs)
        };
        assert_eq!(file(&pairs(&[])), None);
        let left = home
            .path()
            .join(".config/gcloud/application_default_credentials.json");
        fs::create_dir_all(left.parent().unwrap()).unwrap();
        fs::write(&left, "{}").unwrap();
        assert_eq!(file(&pairs(&[])), Some(left));
        let named = file(&pairs(&[("GOOGLE_APPLICATION_CREDENTIALS", "/k.json")]));
        assert_eq!(named, Some(PathBuf::from("/k.json")));
        assert_eq!(file(&pairs(&[("CLOUDSDK_CONFIG", "/nowhere")])), None);
    }
}
