//! A bucket that is called `ckpts` and speaks like all three stores.

#![allow(dead_code, reason = "every test binary uses its own part")]

use std::collections::BTreeMap;
use std::io;
use std::net::TcpStream;
use std::sync::Mutex;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::json;

use crate::support::{After, Seen, answer};

/// Objects by key: the content, and its version.
pub(crate) struct Bucket {
    objects: Mutex<BTreeMap<String, (Vec<u8>, u32)>>,
    page_size: usize,
    gives_tokens: bool,
}

impl Bucket {
    /// Lists this many objects a page, with or without a token for the next.
    pub(crate) fn new(page_size: usize, gives_tokens: bool) -> Self {
        Self {
            objects: Mutex::default(),
            page_size,
            gives_tokens,
        }
    }

    pub(crate) fn serve(&self, seen: &Seen, stream: &mut TcpStream) -> io::Result<After> {
        match key(seen) {
            Some(key) => self.get(&key, seen, stream),
            None => self.list(seen, stream),
        }
    }

    fn list(&self, seen: &Seen, stream: &mut TcpStream) -> io::Result<After> {
        let query = query(seen);
        let after = query
            .get("continuation-token")
            .map(|token| token.strip_prefix("token:").unwrap().to_owned())
            .or_else(|| query.get("marker").cloned())
            .or_else(|| query.get("pageToken").cloned());
        let objects = self.objects.lock().unwrap();
        let listed: Vec<_> = objects
            .iter()
            .filter(|(key, _)| key.starts_with(&query["prefix"]))
            .filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after))
            .map(|(key, (content, version))| (key.as_str(), content.len(), *version))
            .collect();
        let (page, rest) = listed.split_at(self.page_size.min(listed.len()));
        let next = page
            .last()
            .map(|(key, ..)| *key)
            .filter(|_| !rest.is_empty());
        let body = if seen.path().starts_with("/storage/v1/") {
            gcs_listing(page, next)
        } else if seen.path().starts_with("/account/") {
            azure_listing(page, next)
        } else {
            s3_listing(page, next, self.gives_tokens)
        };
        answer(stream, 200, &[], body.as_bytes())
    }

    fn get(&self, key: &str, seen: &Seen, stream: &mut TcpStream) -> io::Result<After> {
        let objects = self.objects.lock().unwrap();
        let Some((content, version)) = objects.get(key) else {
            return refuse(stream, 404, "NoSuchKey");
        };
        let query = query(seen);
        let wanted = seen
            .header("if-match")
            .map(|etag| etag.trim_matches(['"', 'v']))
            .or_else(|| query.get("ifGenerationMatch").map(String::as_str));
        if wanted.is_some_and(|wanted| wanted != version.to_string()) {
            return refuse(stream, 412, "PreconditionFailed");
        }
        match seen.header("range").or_else(|| seen.header("x-ms-range")) {
            None => answer(stream, 200, &[], content),
            Some(range) => {
                let (start, end) = range
                    .strip_prefix("bytes=")
                    .unwrap()
                    .split_once('-')
                    .unwrap();
                let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
                let shown = format!("bytes {start}-{end}/{}", content.len());
                answer(
                    stream,
                    206,
                    &[("content-range", &shown)],
                    &content[start..=end],
                )
            }
        }
    }

    /// Another content for an object, under another version.
    pub(crate) fn change(&self, key: &str, content: Vec<u8>) {
        let mut objects = self.objects.lock().unwrap();
        let object = objects.get_mut(key).unwrap();
        *object = (content, object.1 + 1);
    }

    pub(crate) fn put(&self, key: &str, content: &[u8]) {
        let mut objects = self.objects.lock().unwrap();
        objects.insert(key.to_owned(), (content.to_vec(), 1));
    }

    pub(crate) fn remove(&self, key: &str) {
        let mut objects = self.objects.lock().unwrap();
        objects.remove(key).unwrap();
    }
}

/// The key that a request asks for, if it is for an object.
pub(crate) fn key(seen: &Seen) -> Option<String> {
    let path = seen.path();
    let path = path
        .strip_prefix("/ckpts/")
        .or_else(|| path.strip_prefix("/download/storage/v1/b/ckpts/o/"))
        .or_else(|| path.strip_prefix("/account/ckpts/"))?;
    Some(percent_decode_str(path).decode_utf8().unwrap().into_owned())
}

pub(crate) fn query(seen: &Seen) -> BTreeMap<String, String> {
    let query = seen.target.split_once('?').map_or("", |(_, query)| query);
    let decode = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

pub(crate) fn refuse(stream: &mut TcpStream, status: u16, code: &str) -> io::Result<After> {
    let body = format!("<Error><Code>{code}</Code><Message>{code} it is</Message></Error>");
    answer(
        stream,
        status,
        &[("content-type", "application/xml")],
        body.as_bytes(),
    )
}

type Listed<'a> = (&'a str, usize, u32);

fn s3_listing(page: &[Listed<'_>], next: Option<&str>, gives_tokens: bool) -> String {
    let mut body = format!(
        "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <EncodingType>url</EncodingType><IsTruncated>{}</IsTruncated>",
        next.is_some()
    );
    for (key, size, version) in page {
        let key = utf8_percent_encode(key, NON_ALPHANUMERIC)
            .to_string()
            .replace("%20", "+");
        body += &format!(
            "<Contents><Key>{key}</Key><Size>{size}</Size><ETag>&quot;v{version}&quot;</ETag></Contents>"
        );
    }
    if let Some(next) = next.filter(|_| gives_tokens) {
        body += &format!("<NextContinuationToken>token:{next}</NextContinuationToken>");
    }
    body + "</ListBucketResult>"
}

fn gcs_listing(page: &[Listed<'_>], next: Option<&str>) -> String {
    let items: Vec<_> = page
        .iter()
        .map(|(key, size, version)| {
            json!({"name": key, "size": size.to_string(), "generation": version.to_string()})
        })
        .collect();
    json!({"kind": "storage#objects", "items": items, "nextPageToken": next.unwrap_or_default()})
        .to_string()
}

fn azure_listing(page: &[Listed<'_>], next: Option<&str>) -> String {
    let escape = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    };
    let mut body =
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs>".to_owned();
    for (key, size, version) in page {
        body += &format!(
            "<Blob><Name>{}</Name><Properties><Etag>v{version}</Etag><Content-Length>{size}</Content-Length></Properties></Blob>",
            escape(key)
        );
    }
    body + "</Blobs><NextMarker>"
        + &escape(next.unwrap_or_default())
        + "</NextMarker></EnumerationResults>"
}
