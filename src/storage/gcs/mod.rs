//! Google Cloud Storage: listing a bucket and reading its objects, by its JSON interface.

mod credentials;

use serde::Deserialize;
use serde_json::Value;

use self::credentials::Tokens;
use super::config::{prefix, required, text};
use super::objects::{Object, Page, Store};
use super::remote::{Call, Remote, Reply, first_line};
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};
use crate::session::{Session, encode};

const HOST: &str = "https://storage.googleapis.com";

/// A bucket.
pub(super) struct Gcs {
    remote: Remote,
    /// `None` for an emulator, which asks for none.
    tokens: Option<Tokens>,
    host: String,
    bucket: String,
}

impl Gcs {
    /// The bucket of an experiment's configuration, and the prefix in it that the configuration gives.
    pub(super) fn new(
        storage: &Value,
        session: &Session,
        halt: &CancelToken,
    ) -> Result<(Self, String)> {
        let environment = session.environment();
        let bucket = required(storage, "bucket")?.to_owned();
        let prefix = prefix(text(storage, "prefix")?.unwrap_or_default())?;
        let http = session.connections();
        let (host, tokens) = match environment.get("STORAGE_EMULATOR_HOST") {
            Some(host) if host.contains("://") => (host.to_owned(), None),
            Some(host) => (format!("http://{host}"), None),
            None => {
                let host = environment.get("API_ENDPOINT_OVERRIDE").unwrap_or(HOST);
                let nearby = Remote::new(http.nearby(halt), halt.clone());
                (host.to_owned(), Some(Tokens::new(environment, nearby)?))
            }
        };
        let store = Self {
            remote: Remote::new(http.elsewhere(halt, b""), halt.clone()),
            tokens,
            host: host.trim_end_matches('/').to_owned(),
            bucket,
        };
        Ok((store, prefix))
    }

    fn request(&self, url: String) -> Result<Call> {
        let call = Call::get(url);
        Ok(match &self.tokens {
            Some(tokens) => {
                let token = tokens.get(&self.remote)?;
                call.header("authorization", format!("Bearer {}", token.expose()))
            }
            None => call,
        })
    }
}

/// A part of a listing, as it is sent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    #[serde(default)]
    items: Vec<Item>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    name: String,
    #[serde(default, deserialize_with = "crate::wire::lenient")]
    size: u64,
    #[serde(default)]
    generation: String,
}

impl Store for Gcs {
    fn remote(&self) -> &Remote {
        &self.remote
    }

    fn name(&self) -> String {
        format!("gs://{}", self.bucket)
    }

    fn page(&mut self, prefix: &str, from: Option<&str>) -> Result<Page> {
        let mut url = format!(
            "{}/storage/v1/b/{}/o?prefix={}&fields=items(name,size,generation),nextPageToken",
            self.host,
            encode(&self.bucket),
            encode(&prefix)
        );
        if let Some(from) = from {
            url += &format!("&pageToken={}", encode(&from));
        }
        let mut answer = self.remote.ask(&|| self.request(url.clone()))?;
        if answer.status() != 200 {
            let line = answer.status_line();
            return Err(Error::new(
                ErrorKind::Storage,
                format!("{}: {line}: {}", self.name(), self.refusal(&mut answer)),
            ));
        }
        let list: List = serde_json::from_str(&answer.text()?).map_err(|error| {
            Error::new(
                ErrorKind::InvalidResponse,
                format!("{}: the answer is no listing: {error}", self.name()),
            )
        })?;
        Ok(Page {
            objects: list.items.into_iter().map(Item::into_object).collect(),
            next: list.next_page_token.filter(|token| !token.is_empty()),
        })
    }

    fn get(&self, object: &Object, range: Option<&str>) -> Result<Call> {
        let mut url = format!(
            "{}/download/storage/v1/b/{}/o/{}?alt=media",
            self.host,
            encode(&self.bucket),
            encode(&object.key)
        );
        if !object.version.is_empty() {
            url += &format!("&ifGenerationMatch={}", encode(&object.version));
        }
        let call = self.request(url)?;
        Ok(match range {
            Some(range) => call.header("range", range),
            None => call,
        })
    }

    fn version(&self, answer: &Reply) -> Option<String> {
        answer.header("x-goog-generation").map(str::to_owned)
    }

    fn refusal(&self, answer: &mut Reply) -> String {
        said(&answer.refusal_text())
    }
}

impl Item {
    fn into_object(self) -> Object {
        Object {
            key: self.name,
            size: self.size,
            version: self.generation,
        }
    }
}

/// What an error's body says: its message, where it is JSON.
fn said(body: &str) -> String {
    let message = serde_json::from_str::<Value>(body).ok().and_then(|error| {
        let message = error
            .pointer("/error/message")
            .or_else(|| error.get("error_description"))
            .or_else(|| error.get("error"))?;
        message.as_str().map(str::to_owned)
    });
    message.unwrap_or_else(|| first_line(body))
}
