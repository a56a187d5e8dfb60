//! Amazon S3, and the many stores that speak like it: listing a bucket and reading its objects.

mod credentials;
mod profile;
mod role;
mod sign;

use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use self::credentials::Chain;
use self::profile::Profile;
use self::sign::{Scope, Signable, query_string};
use super::config::{prefix, required, text, unusable};
use super::objects::{Object, Page, Store, entity_tag};
use super::remote::{Call, Remote, Reply, first_line};
use super::xml::Element;
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};
use crate::session::environment::Environment;
use crate::session::{Session, encode};

const DEFAULT_REGION: &str = "us-east-1";

/// A bucket.
pub(super) struct S3 {
    remote: Remote,
    chain: Chain,
    bucket: String,
    /// `None` for Amazon's own, which follows from the region.
    endpoint: Option<Endpoint>,
    region: String,
    /// Whether the bucket stands in the host name, and not in the path.
    is_virtual: bool,
    /// Whether the next page of a listing begins after a key, because the store gives no other mark.
    pages_by_key: bool,
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Endpoint {
    /// `http` or `https`
    scheme: String,
    /// With the port, unless it is the scheme's own.
    authority: String,
    /// Without a slash at its end; mostly empty.
    path: String,
}

impl S3 {
    /// The bucket of an experiment's configuration, and the prefix in it that the configuration gives.
    pub(super) fn new(
        storage: &Value,
        session: &Session,
        halt: &CancelToken,
    ) -> Result<(Self, String)> {
        let environment = session.environment();
        let profile = Profile::load(environment)?;
        let bucket = required(storage, "bucket")?.to_owned();
        if bucket.starts_with("arn:") {
            return Err(unusable(
                "its bucket is an access point, which is not supported".to_owned(),
            ));
        }
        let prefix = prefix(text(storage, "prefix")?.unwrap_or_default())?;
        let endpoint = text(storage, "endpoint_url")?
            .or_else(|| configured_endpoint(environment, &profile, "s3"))
            .map(Endpoint::parse)
            .transpose()?;
        let region = environment
            .get("AWS_REGION")
            .or_else(|| environment.get("AWS_DEFAULT_REGION"))
            .or_else(|| profile.get("region"))
            .unwrap_or(DEFAULT_REGION)
            .to_owned();
        let is_virtual = match profile.get("s3.addressing_style") {
            Some("virtual") => true,
            Some("path") => false,
            // No certificate covers a bucket with dots, and few stores of one's own have a name for each bucket.
            _ => endpoint.is_none() && can_be_host_name(&bucket),
        };
        let http = session.connections();
        let nearby = Remote::new(http.nearby(halt), halt.clone());
        let chain = Chain::new(storage, environment, &profile, &region, nearby)?;
        let remote = Remote::new(
            http.elsewhere(halt, &authorities(environment, &profile)?),
            halt.clone(),
        );
        let store = Self {
            remote,
            chain,
            bucket,
            endpoint,
            region,
            is_virtual,
            pages_by_key: false,
        };
        Ok((store, prefix))
    }

    fn endpoint(&self) -> Endpoint {
        self.endpoint
            .clone()
            .unwrap_or_else(|| Endpoint::of_amazon("s3", &self.region))
    }

    /// A signed request for a key of the bucket, or for the bucket itself.
    fn request(&self, key: Option<&str>, mut query: Vec<(String, String)>) -> Result<Call> {
        let endpoint = self.endpoint();
        let (host, bucket) = if self.is_virtual {
            (
                format!("{}.{}", self.bucket, endpoint.authority),
                String::new(),
            )
        } else {
            (endpoint.authority, format!("/{}", encode(&self.bucket)))
        };
        let path = match key {
            Some(key) => format!("{}{bucket}/{}", endpoint.path, encode_key(key)),
            None if bucket.is_empty() => format!("{}/", endpoint.path),
            None => format!("{}{bucket}", endpoint.path),
        };
        query.sort();
        let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let signable = Signable {
            method: "GET",
            host: &host,
            path: &path,
            query: &query,
            body: b"",
        };
        let scope = Scope {
            service: "s3",
            region: &self.region,
            time: &time,
        };
        let credentials = self.chain.get(&self.remote)?;
        let headers = sign::headers(&signable, &scope, &credentials);
        let query = match query.as_slice() {
            [] => String::new(),
            query => format!("?{}", query_string(query)),
        };
        let call = Call::get(format!("{}://{host}{path}{query}", endpoint.scheme));
        Ok(headers
            .into_iter()
            .fold(call, |call, (name, value)| call.header(name, value)))
    }

    /// Asks for a part of the listing, in the bucket's own region if it says that it is in another.
    fn list(&mut self, query: &[(String, String)]) -> Result<Element> {
        for _ in 0..3 {
            let mut answer = self.remote.ask(&|| self.request(None, query.to_vec()))?;
            let status = answer.status();
            if status == 200 {
                return Element::parse(&answer.text()?);
            }
            let line = answer.status_line();
            let from_header = answer.header("x-amz-bucket-region").map(str::to_owned);
            let body = answer.refusal_text();
            let region = from_header.or_else(|| {
                let error = Element::parse(&body).ok()?;
                error.text_of("Region").map(str::to_owned)
            });
            match region {
                Some(region)
                    if region != self.region && matches!(status, 301 | 307 | 400 | 403) =>
                {
                    log::debug!(target: "determined", "the bucket {} is in the region {region}", self.bucket);
                    self.region = region;
                }
                _ => {
                    return Err(Error::new(
                        ErrorKind::Storage,
                        format!("{}: {line}: {}", self.name(), said(&body)),
                    ));
                }
            }
        }
        Err(Error::new(
            ErrorKind::Storage,
            format!("{} is sent from region to region", self.name()),
        ))
    }
}

impl Store for S3 {
    fn remote(&self) -> &Remote {
        &self.remote
    }

    fn name(&self) -> String {
        format!("s3://{}", self.bucket)
    }

    fn page(&mut self, prefix: &str, from: Option<&str>) -> Result<Page> {
        let mut query = vec![
            ("list-type".to_owned(), "2".to_owned()),
            ("prefix".to_owned(), prefix.to_owned()),
            // Some keys cannot stand in XML as they are.
            ("encoding-type".to_owned(), "url".to_owned()),
        ];
        if let Some(from) = from {
            let names: &[&str] = if self.pages_by_key {
                // The second is what stores call it that know only the first version of listings.
                &["start-after", "marker"]
            } else {
                &["continuation-token"]
            };
            query.extend(
                names
                    .iter()
                    .map(|name| ((*name).to_owned(), from.to_owned())),
            );
        }
        let list = self.list(&query)?;
        if list.name != "ListBucketResult" {
            return Err(Error::new(
                ErrorKind::InvalidResponse,
                format!(
                    "{}: the answer is no listing but {:?}",
                    self.name(),
                    list.name
                ),
            ));
        }
        let is_encoded = list.text_of("EncodingType") == Some("url");
        let objects = list
            .all("Contents")
            .map(|entry| object(entry, is_encoded))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidResponse,
                    format!(
                        "{}: the listing has an object without a key or a size",
                        self.name()
                    ),
                )
            })?;
        let token = list.text_of("NextContinuationToken").map(str::to_owned);
        self.pages_by_key = token.is_none();
        let next = token.or_else(|| objects.last().map(|object| object.key.clone()));
        let is_truncated = list.text_of("IsTruncated") == Some("true");
        if is_truncated && next.is_none() {
            return Err(Error::new(
                ErrorKind::InvalidResponse,
                format!("{}: the listing does not say how it goes on", self.name()),
            ));
        }
        Ok(Page {
            objects,
            next: next.filter(|_| is_truncated),
        })
    }

    fn get(&self, object: &Object, range: Option<&str>) -> Result<Call> {
        let call = self.request(Some(&object.key), Vec::new())?;
        let call = match object.version.as_str() {
            "" => call,
            version => call.header("if-match", version),
        };
        Ok(match range {
            Some(range) => call.header("range", range),
            None => call,
        })
    }

    fn version(&self, answer: &Reply) -> Option<String> {
        answer.header("etag").map(entity_tag)
    }

    fn refusal(&self, answer: &mut Reply) -> String {
        said(&answer.refusal_text())
    }
}

fn object(entry: &Element, is_encoded: bool) -> Option<Object> {
    let key = entry.text_of("Key")?;
    let key = if is_encoded {
        let key = key.replace('+', " ");
        percent_decode_str(&key).decode_utf8().ok()?.into_owned()
    } else {
        key.to_owned()
    };
    Some(Object {
        key,
        size: entry.text_of("Size")?.trim().parse().ok()?,
        version: entity_tag(entry.text_of("ETag").unwrap_or_default()),
    })
}

/// What an error's body says: code and message, where it is XML.
fn said(body: &str) -> String {
    match Element::parse(body) {
        Ok(error) => {
            // Some services put it into an element of its own.
            let error = error.child("Error").unwrap_or(&error);
            let part = |name| error.text_of(name).unwrap_or_default();
            format!("{}: {}", part("Code"), part("Message"))
        }
        Err(_) => first_line(body),
    }
}

/// A key in a URL: its slashes stay.
fn encode_key(key: &str) -> String {
    let parts: Vec<_> = key.split('/').map(|part| encode(&part)).collect();
    parts.join("/")
}

/// Whether a bucket's name can be the first part of a host name, under a certificate for one such part.
fn can_be_host_name(bucket: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (3..=63).contains(&bucket.len())
        && bucket.bytes().all(|b| is_plain(b) || b == b'-')
        && bucket.bytes().next().is_some_and(is_plain)
        && bucket.bytes().last().is_some_and(is_plain)
}

/// The endpoint that the environment, or else the profile, gives for one of Amazon's services, or for all of them.
fn configured_endpoint<'a>(
    environment: &'a Environment,
    profile: &'a Profile,
    service: &str,
) -> Option<&'a str> {
    let ignores = environment
        .get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
        .or_else(|| profile.get("ignore_configured_endpoint_urls"));
    if ignores.is_some_and(|word| word.eq_ignore_ascii_case("true")) {
        return None;
    }
    environment
        .get(&format!("AWS_ENDPOINT_URL_{}", service.to_uppercase()))
        .or_else(|| environment.get("AWS_ENDPOINT_URL"))
        .or_else(|| profile.get(&format!("{service}.endpoint_url")))
        .or_else(|| profile.get("endpoint_url"))
}

/// The authorities that the environment, or else the profile, adds.
fn authorities(environment: &Environment, profile: &Profile) -> Result<Vec<u8>> {
    let path = environment
        .path("AWS_CA_BUNDLE")
        .or_else(|| profile.get("ca_bundle").map(PathBuf::from));
    match path {
        Some(path) => fs::read(&path)
            .map_err(|error| Error::io("read", &path, &error).with_kind(ErrorKind::Storage)),
        None => Ok(Vec::new()),
    }
}

impl Endpoint {
    /// That of one of Amazon's services in a region.
    fn of_amazon(service: &str, region: &str) -> Self {
        let domain = if region.starts_with("cn-") {
            "amazonaws.com.cn"
        } else {
            "amazonaws.com"
        };
        Self {
            scheme: "https".to_owned(),
            authority: format!("{service}.{region}.{domain}"),
            path: String::new(),
        }
    }

    fn parse(url: &str) -> Result<Self> {
        let unusable = || {
            Error::new(
                ErrorKind::Storage,
                "an endpoint_url of S3 or STS is not of the form http[s]://host[:port]",
            )
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(unusable)?;
        let scheme = scheme.to_ascii_lowercase();
        let standard_port = match scheme.as_str() {
            "http" => ":80",
            "https" => ":443",
            _ => return Err(unusable()),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let authority = authority.strip_suffix(standard_port).unwrap_or(authority);
        if authority.is_empty() || rest.contains(['@', '?', '#', ' ']) {
            return Err(unusable());
        }
        Ok(Self {
            scheme,
            authority: authority.to_ascii_lowercase(),
            path: path.trim_end_matches('/').to_owned(),
        })
    }
}
