//! Azure Blob Storage: listing a container and reading its blobs.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use ring::hmac::{HMAC_SHA256, Key, sign};
use serde_json::Value;

use super::config::{prefix, required, text, unusable};
use super::objects::{Object, Page, Store, entity_tag};
use super::remote::{Call, Remote, Reply, first_line};
use super::xml::Element;
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};
use crate::session::{Secret, Session, encode};

const VERSION: &str = "2020-10-02";
/// The account that every emulator has, and its key.
const EMULATED_ACCOUNT: &str = "devstoreaccount1";
const EMULATED_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A container.
pub(super) struct Azure {
    remote: Remote,
    account: Account,
    container: String,
}

/// Where blobs are, and by what right they are read.
#[derive(Debug)]
struct Account {
    name: String,
    /// The scheme and host of its URL.
    origin: String,
    /// The path of its URL, without a slash at its end; empty but for emulators.
    path: String,
    right: Right,
}

#[derive(Debug)]
enum Right {
    Key(Secret),
    /// A signed part of a query, as it is sent.
    Signature(Secret),
    /// For what everybody may read.
    None,
}

impl Azure {
    /// The container of an experiment's configuration, and the prefix in it that the configuration gives.
    pub(super) fn new(
        storage: &Value,
        session: &Session,
        halt: &CancelToken,
    ) -> Result<(Self, String)> {
        let path = required(storage, "container")?;
        let (container, below) = path
            .trim_matches('/')
            .split_once('/')
            .unwrap_or((path.trim_matches('/'), ""));
        let prefix = prefix(below)?;
        let account = match (
            text(storage, "connection_string")?,
            text(storage, "account_url")?,
        ) {
            (Some(given), _) => Account::from_connection_string(given)?,
            (None, Some(url)) => match storage.get("credential") {
                Some(pair @ Value::Object(_)) => Account {
                    name: required(pair, "account_name")?.to_owned(),
                    ..Account::from_url(url, Some(required(pair, "account_key")?))?
                },
                _ => Account::from_url(url, text(storage, "credential")?)?,
            },
            (None, None) => {
                return Err(unusable(
                    "it has neither a connection_string nor an account_url".to_owned(),
                ));
            }
        };
        let http = session.connections();
        let store = Self {
            remote: Remote::new(http.elsewhere(halt, b""), halt.clone()),
            account,
            container: container.to_owned(),
        };
        Ok((store, prefix))
    }

    /// A request for a blob of the container, or for the container itself.
    fn request(
        &self,
        blob: Option<&str>,
        query: &[(&str, &str)],
        headers: &[(&'static str, String)],
    ) -> Result<Call> {
        let mut path = format!("{}/{}", self.account.path, encode(&self.container));
        if let Some(blob) = blob {
            let parts: Vec<_> = blob.split('/').map(|part| encode(&part)).collect();
            path = format!("{path}/{}", parts.join("/"));
        }
        let date = Timestamp::now()
            .strftime("%a, %d %b %Y %H:%M:%S GMT")
            .to_string();
        let mut headers = headers.to_vec();
        headers.push(("x-ms-date", date));
        headers.push(("x-ms-version", VERSION.to_owned()));
        if let Right::Key(key) = &self.account.right {
            let to_sign = string_to_sign(&self.account.name, &path, query, &headers);
            let signature = BASE64_STANDARD.encode(sign(&hmac_key(key)?, to_sign.as_bytes()));
            headers.push((
                "authorization",
                format!("SharedKey {}:{signature}", self.account.name),
            ));
        }
        let mut url = format!("{}{path}", self.account.origin);
        let mut separator = '?';
        for (name, value) in query {
            // Writing to a string does not fail.
            let _ = write!(url, "{separator}{name}={}", encode(value));
            separator = '&';
        }
        if let Right::Signature(signature) = &self.account.right {
            let _ = write!(url, "{separator}{}", signature.expose());
        }
        Ok(headers
            .into_iter()
            .fold(Call::get(url), |call, (name, value)| {
                call.header(name, value)
            }))
    }
}

impl Store for Azure {
    fn remote(&self) -> &Remote {
        &self.remote
    }

    fn name(&self) -> String {
        format!("azure://{}/{}", self.account.name, self.container)
    }

    fn page(&mut self, prefix: &str, from: Option<&str>) -> Result<Page> {
        let mut query = vec![
            ("comp", "list"),
            ("prefix", prefix),
            ("restype", "container"),
        ];
        query.extend(from.map(|from| ("marker", from)));
        let mut answer = self.remote.ask(&|| self.request(None, &query, &[]))?;
        if answer.status() != 200 {
            let line = answer.status_line();
            return Err(Error::new(
                ErrorKind::Storage,
                format!("{}: {line}: {}", self.name(), self.refusal(&mut answer)),
            ));
        }
        let list = Element::parse(&answer.text()?)?;
        let blobs = list.child("Blobs").ok_or_else(|| self.no_listing())?;
        let objects: Option<Vec<_>> = blobs.all("Blob").map(object).collect();
        Ok(Page {
            objects: objects.ok_or_else(|| self.no_listing())?,
            next: list
                .text_of("NextMarker")
                .filter(|marker| !marker.is_empty())
                .map(str::to_owned),
        })
    }

    fn get(&self, object: &Object, range: Option<&str>) -> Result<Call> {
        let mut headers = Vec::new();
        if !object.version.is_empty() {
            headers.push(("if-match", object.version.clone()));
        }
        if let Some(range) = range {
            headers.push(("x-ms-range", range.to_owned()));
        }
        self.request(Some(&object.key), &[], &headers)
    }

    fn version(&self, answer: &Reply) -> Option<String> {
        answer.header("etag").map(entity_tag)
    }

    fn refusal(&self, answer: &mut Reply) -> String {
        let code = answer.header("x-ms-error-code").map(str::to_owned);
        let body = answer.refusal_text();
        let message = match Element::parse(&body) {
            Ok(error) => error
                .text_of("Message")
                .and_then(|text| text.lines().next().map(str::to_owned)),
            Err(_) => Some(first_line(&body)),
        };
        let parts: Vec<_> = code.into_iter().chain(message).collect();
        parts.join(": ")
    }
}

impl Azure {
    fn no_listing(&self) -> Error {
        Error::new(
            ErrorKind::InvalidResponse,
            format!("{}: the answer is no listing of blobs", self.name()),
        )
    }
}

fn object(blob: &Element) -> Option<Object> {
    let properties = blob.child("Properties")?;
    Some(Object {
        key: blob.text_of("Name")?.to_owned(),
        size: properties.text_of("Content-Length")?.trim().parse().ok()?,
        version: entity_tag(properties.text_of("Etag").unwrap_or_default()),
    })
}

/// What is signed with an account's key (Shared Key). `path` is that of the URL, `query` is not encoded.
fn string_to_sign(
    account: &str,
    path: &str,
    query: &[(&str, &str)],
    headers: &[(&'static str, String)],
) -> String {
    let header = |wanted: &str| {
        headers
            .iter()
            .find(|(name, _)| *name == wanted)
            .map_or("", |(_, value)| value)
    };
    // Content-Encoding, -Language, -Length, -MD5 and -Type, Date, If-Modified-Since, If-Match, If-None-Match, If-Unmodified-Since, Range
    let mut text = format!("GET\n\n\n\n\n\n\n\n{}\n\n\n\n", header("if-match"));
    let mut own: Vec<_> = headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-ms-"))
        .collect();
    own.sort();
    for (name, value) in own {
        text += &format!("{name}:{value}\n");
    }
    text += &format!("/{account}{path}");
    let mut query = query.to_vec();
    query.sort_unstable();
    for (name, value) in query {
        text += &format!("\n{name}:{value}");
    }
    text
}

fn hmac_key(key: &Secret) -> Result<Key> {
    // The error would show where the key is wrong.
    match BASE64_STANDARD.decode(key.expose()) {
        Ok(bytes) => Ok(Key::new(HMAC_SHA256, &bytes)),
        Err(_) => Err(unusable("its account key is not base64".to_owned())),
    }
}

impl Account {
    fn from_connection_string(given: &str) -> Result<Self> {
        let part = |wanted: &str| {
            given
                .split(';')
                .filter_map(|part| part.split_once('='))
                .find(|(name, value)| {
                    name.trim().eq_ignore_ascii_case(wanted) && !value.trim().is_empty()
                })
                .map(|(_, value)| value.trim())
        };
        let is_emulated =
            part("UseDevelopmentStorage").is_some_and(|word| word.eq_ignore_ascii_case("true"));
        if is_emulated {
            let proxy = part("DevelopmentStorageProxyUri").unwrap_or("http://127.0.0.1");
            return Ok(Self {
                name: EMULATED_ACCOUNT.to_owned(),
                origin: format!("{}:10000", proxy.trim_end_matches('/')),
                path: format!("/{EMULATED_ACCOUNT}"),
                right: Right::Key(Secret::new(EMULATED_KEY)),
            });
        }
        let right = match (part("SharedAccessSignature"), part("AccountKey")) {
            (Some(signature), _) => {
                Right::Signature(Secret::new(signature.trim_start_matches('?')))
            }
            (None, Some(key)) => Right::Key(Secret::new(key)),
            (None, None) => Right::None,
        };
        let name = part("AccountName");
        let url = match (part("BlobEndpoint"), name) {
            (Some(url), _) => url.to_owned(),
            (None, Some(name)) => format!(
                "{}://{name}.blob.{}",
                part("DefaultEndpointsProtocol").unwrap_or("https"),
                part("EndpointSuffix").unwrap_or("core.windows.net")
            ),
            (None, None) => {
                return Err(unusable(
                    "its connection_string has neither an AccountName nor a BlobEndpoint"
                        .to_owned(),
                ));
            }
        };
        let account = Self::from_url(&url, None)?;
        Ok(Self {
            name: name.map_or(account.name, str::to_owned),
            // The endpoint may itself hold a signature.
            right: match right {
                Right::None => account.right,
                right => right,
            },
            ..account
        })
    }

    fn from_url(given: &str, credential: Option<&str>) -> Result<Self> {
        // The URL may itself hold a signature, so no error shows it.
        let wrong = || {
            unusable(
                "its account_url is not of the form https://account.blob.core.windows.net"
                    .to_owned(),
            )
        };
        let (url, signature) = given.split_once('?').unwrap_or((given, ""));
        let url = url.trim_end_matches('/');
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        if !matches!(scheme, "http" | "https") || rest.is_empty() || rest.contains(['@', '#', ' '])
        {
            return Err(wrong());
        }
        // Of an emulator the account is the first part of the path, elsewhere the first of the host name.
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let first = path.split('/').next();
        let name = match first.filter(|part| !part.is_empty() && !host.contains(".blob.")) {
            Some(name) => percent_decode_str(name).decode_utf8_lossy().into_owned(),
            None => host.split(['.', ':']).next().unwrap_or_default().to_owned(),
        };
        let right = match credential {
            Some(credential) if credential.contains("sig=") => {
                Right::Signature(Secret::new(credential.trim_start_matches('?')))
            }
            Some(key) => Right::Key(Secret::new(key)),
            None if signature.contains("sig=") => Right::Signature(Secret::new(signature)),
            None => Right::None,
        };
        let path = url.get(scheme.len() + 3 + host.len()..).unwrap_or_default();
        Ok(Self {
            name,
            origin: format!("{scheme}://{host}"),
            path: path.to_owned(),
            right,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Microsoft's documentation of Shared Key.
    #[test]
    fn what_is_signed_is_what_is_published() {
        let headers = [
            ("x-ms-version", "2015-02-21".to_owned()),
            ("x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT".to_owned()),
        ];
        let query = [
            ("restype", "container"),
            ("comp", "metadata"),
            ("timeout", "20"),
        ];
        assert_eq!(
            string_to_sign("myaccount", "/mycontainer", &query, &headers),
            "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n\
             /myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20"
        );
    }

    #[test]
    fn a_condition_stands_in_its_own_line() {
        let headers = [
            ("if-match", "\"0x1\"".to_owned()),
            ("x-ms-range", "bytes=0-9".to_owned()),
        ];
        assert_eq!(
            string_to_sign("a", "/a/c/b", &[], &headers),
            "GET\n\n\n\n\n\n\n\n\"0x1\"\n\n\n\nx-ms-range:bytes=0-9\n/a/a/c/b"
        );
    }

    fn shown(account: Result<Account>) -> (String, String, String) {
        let account = account.unwrap();
        let right = match account.right {
            Right::Key(key) => format!("key {}", key.expose()),
            Right::Signature(signature) => format!("signature {}", signature.expose()),
            Right::None => "none".to_owned(),
        };
        (account.name, account.origin + &account.path, right)
    }

    #[test]
    fn connection_strings_are_read() {
        for (given, name, url, right) in [
            (
                "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=a+b/c==;EndpointSuffix=core.windows.net",
                "acc",
                "https://acc.blob.core.windows.net",
                "key a+b/c==",
            ),
            (
                "AccountName=acc;AccountKey=k",
                "acc",
                "https://acc.blob.core.windows.net",
                "key k",
            ),
            (
                "BlobEndpoint=https://acc.blob.core.chinacloudapi.cn/;SharedAccessSignature=?sv=1&sig=a%2B",
                "acc",
                "https://acc.blob.core.chinacloudapi.cn",
                "signature sv=1&sig=a%2B",
            ),
            (
                "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=k;BlobEndpoint=http://127.0.0.1:9000/devstoreaccount1;",
                "devstoreaccount1",
                "http://127.0.0.1:9000/devstoreaccount1",
                "key k",
            ),
            (
                "AccountName=acc",
                "acc",
                "https://acc.blob.core.windows.net",
                "none",
            ),
            (
                "BlobEndpoint=https://acc.blob.core.windows.net/?sv=1&sig=a%2B",
                "acc",
                "https://acc.blob.core.windows.net",
                "signature sv=1&sig=a%2B",
            ),
        ] {
            assert_eq!(
                shown(Account::from_connection_string(given)),
                (name.to_owned(), url.to_owned(), right.to_owned())
            );
        }
        let (name, url, _) = shown(Account::from_connection_string(
            "UseDevelopmentStorage=true",
        ));
        assert_eq!(
            (name.as_str(), url.as_str()),
            (
                "devstoreaccount1",
                "http://127.0.0.1:10000/devstoreaccount1"
            )
        );
        assert!(Account::from_connection_string("nonsense").is_err());
    }

    #[test]
    fn account_urls_are_read_with_what_comes_along() {
        for (url, credential, name, right) in [
            ("https://acc.blob.core.windows.net/", None, "acc", "none"),
            (
                "https://acc.blob.core.windows.net",
                Some("?sv=1&sig=x"),
                "acc",
                "signature sv=1&sig=x",
            ),
            (
                "https://acc.blob.core.windows.net",
                Some("a2V5"),
                "acc",
                "key a2V5",
            ),
            (
                "https://acc.blob.core.windows.net/?sv=1&sig=x",
                None,
                "acc",
                "signature sv=1&sig=x",
            ),
            (
                "http://127.0.0.1:10000/dev",
                Some("a2V5"),
                "dev",
                "key a2V5",
            ),
            (
                "https://acc.blob.core.windows.net/cont",
                Some("a2V5"),
                "acc",
                "key a2V5",
            ),
        ] {
            let (found, _, found_right) = shown(Account::from_url(url, credential));
            assert_eq!(
                (found.as_str(), found_right.as_str()),
                (name, right),
                "{url}"
            );
        }
        for url in [
            "acc.blob.core.windows.net",
            "ftp://acc",
            "https://",
            "https://u:p@acc",
        ] {
            let error = Account::from_url(url, None).unwrap_err();
            assert!(!error.to_string().contains("acc."), "{error}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let account =
            Account::from_url("https://acc.blob.core.windows.net", Some("s3cret")).unwrap();
        assert!(!format!("{account:?}").contains("s3cret"));
        let error = hmac_key(&Secret::new("not base64!")).unwrap_err();
        assert!(!error.to_string().contains("not base64!"), "{error}");
    }
}
