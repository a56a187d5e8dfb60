//! A master and a bucket in one server. The bucket is `ckpts`, the checkpoint in it below `my/prefix`; it speaks like all three stores.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use determined::{Checkpoint, DownloadMode, DownloadOptions};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use crate::support::{After, RawMaster, Seen, answer, json as send_json};

pub(crate) const UUID: &str = "21e6f5bd-dfdd-43d6-8751-a8017e12071f";
pub(crate) const MIB: usize = 1 << 20;

/// What happens to a request before the bucket sees it; `None` leaves it to the bucket.
type Fault = dyn Fn(&Seen, &mut TcpStream) -> Option<io::Result<After>> + Send + Sync;

pub(crate) struct World {
    pub(crate) server: RawMaster,
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) scratch: tempfile::TempDir,
}

/// Objects by key: the content, and its version.
pub(crate) struct Bucket {
    objects: Mutex<BTreeMap<String, (Vec<u8>, u32)>>,
    page_size: usize,
    gives_tokens: bool,
}

/// A world with these files in S3, as it should be.
pub(crate) fn world(files: &[(&str, Vec<u8>)]) -> World {
    world_with(files, |_, _| None)
}

/// A world in which requests may meet a fault.
pub(crate) fn world_with(
    files: &[(&str, Vec<u8>)],
    fault: impl Fn(&Seen, &mut TcpStream) -> Option<io::Result<After>> + Send + Sync + 'static,
) -> World {
    start(files, 1000, true, s3_storage, fault)
}

/// A world that lists this many objects a page, with or without a token for the next.
pub(crate) fn paged_world(
    files: &[(&str, Vec<u8>)],
    page_size: usize,
    gives_tokens: bool,
) -> World {
    start(files, page_size, gives_tokens, s3_storage, |_, _| None)
}

/// A world whose storage is configured by the URL of the server.
pub(crate) fn world_of(
    files: &[(&str, Vec<u8>)],
    storage: impl Fn(&str) -> Value + Send + Sync + 'static,
    fault: impl Fn(&Seen, &mut TcpStream) -> Option<io::Result<After>> + Send + Sync + 'static,
) -> World {
    start(files, 10, true, storage, fault)
}

fn s3_storage(url: &str) -> Value {
    json!({
        "type": "s3", "bucket": "ckpts", "prefix": "my/prefix", "endpoint_url": url,
        "access_key": "kkkk", "secret_key": "ssss", "save_trial_best": 5,
    })
}

fn start(
    files: &[(&str, Vec<u8>)],
    page_size: usize,
    gives_tokens: bool,
    storage: impl Fn(&str) -> Value + Send + Sync + 'static,
    fault: impl Fn(&Seen, &mut TcpStream) -> Option<io::Result<After>> + Send + Sync + 'static,
) -> World {
    let objects = files
        .iter()
        .map(|(name, content)| (format!("my/prefix/{UUID}/{name}"), (content.clone(), 1)));
    let bucket = Arc::new(Bucket {
        objects: Mutex::new(objects.collect()),
        page_size,
        gives_tokens,
    });
    let (served, fault): (_, Box<Fault>) = (Arc::clone(&bucket), Box::new(fault));
    let resources: BTreeMap<String, String> = files
        .iter()
        .map(|(name, content)| ((*name).to_owned(), content.len().to_string()))
        .collect();
    let server = RawMaster::start(move |seen, stream| {
        if let Some(result) = fault(seen, stream) {
            return result;
        }
        if seen.path().starts_with("/api/v1/checkpoints/") {
            let host = seen.header("host").unwrap_or_default();
            let body = json!({"checkpoint": {
                "uuid": UUID,
                "reportTime": "2026-11-23T20:14:41.149525Z",
                "resources": resources,
                "metadata": {"steps_completed": 5},
                "state": "STATE_COMPLETED",
                "training": {"trialId": 17, "experimentConfig": {"checkpoint_storage": storage(&format!("http://{host}"))}},
            }});
            send_json(stream, 200, &body.to_string())
        } else if seen.path().starts_with("/checkpoints/") {
            send_json(stream, 500, r#"{"message":"the master has no storage"}"#)
        } else if let Some(key) = key(seen) {
            served.get(&key, seen, stream)
        } else {
            served.list(seen, stream)
        }
    });
    World {
        server,
        bucket,
        scratch: tempfile::tempdir().unwrap(),
    }
}

/// Whether a request is to the bucket, and not to the master.
pub(crate) fn is_to_bucket(seen: &Seen) -> bool {
    seen.path().contains("/ckpts")
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

impl Bucket {
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
    pub(crate) fn change(&self, name: &str, content: Vec<u8>) {
        let mut objects = self.objects.lock().unwrap();
        let object = objects
            .get_mut(&format!("my/prefix/{UUID}/{name}"))
            .unwrap();
        *object = (content, object.1 + 1);
    }

    pub(crate) fn put(&self, key: &str, content: &[u8]) {
        let mut objects = self.objects.lock().unwrap();
        objects.insert(key.to_owned(), (content.to_vec(), 1));
    }

    pub(crate) fn remove(&self, name: &str) {
        let mut objects = self.objects.lock().unwrap();
        objects.remove(&format!("my/prefix/{UUID}/{name}")).unwrap();
    }
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

impl World {
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        self.server.client().get_checkpoint(UUID).unwrap()
    }

    /// The directory of the download.
    pub(crate) fn path(&self) -> PathBuf {
        self.scratch.path().join("c")
    }

    pub(crate) fn options(&self) -> DownloadOptions {
        DownloadOptions::new()
            .path(self.path())
            .mode(DownloadMode::Direct)
    }

    pub(crate) fn download(&self) -> determined::Result<PathBuf> {
        self.checkpoint().download_with(self.options())
    }

    /// Downloads with these variables in the environment and no others, `URL` in them replaced by the server's, and gives the requests to the
    /// bucket.
    pub(crate) fn download_in(&self, variables: &[(&str, &str)]) -> determined::Result<Vec<Seen>> {
        let mut variables: BTreeMap<_, _> = variables
            .iter()
            .map(|(name, value)| (*name, value.replace("URL", &self.server.url)))
            .collect();
        variables
            .entry("HOME")
            .or_insert_with(|| "/nonexistent".to_owned());
        let options = self.server.login_options().environment(variables);
        let client = determined::Determined::new(options)?;
        client.get_checkpoint(UUID)?.download_with(self.options())?;
        let requests = self.server.requests();
        Ok(requests.into_iter().filter(is_to_bucket).collect())
    }

    /// The ranges that were asked of an object, by where they begin; a whole object is `0-`.
    pub(crate) fn asked(&self, name: &str) -> Vec<String> {
        let wanted = Some(format!("my/prefix/{UUID}/{name}"));
        let mut ranges: Vec<_> = self
            .server
            .requests()
            .iter()
            .filter(|seen| key(seen) == wanted)
            .map(|seen| {
                let range = seen.header("range").or_else(|| seen.header("x-ms-range"));
                range.unwrap_or("bytes=0-").replace("bytes=", "")
            })
            .collect();
        ranges.sort_by_key(|range| range.split('-').next().unwrap().parse::<u64>().unwrap());
        ranges
    }

    /// What stands beside the download.
    pub(crate) fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.scratch.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "c").collect()
    }
}

/// Bytes of which no two blocks are the same.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    const BLOCK: usize = 64 * 1024;
    let mut state = seed | 1;
    let mut block = vec![0; BLOCK];
    for byte in &mut block {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state.to_le_bytes()[0];
    }
    let mut bytes = Vec::with_capacity(length + BLOCK);
    while bytes.len() < length {
        let number = bytes.len().to_le_bytes();
        block[..number.len()].copy_from_slice(&number);
        block[8] = seed.to_le_bytes()[0];
        bytes.extend_from_slice(&block);
    }
    bytes.truncate(length);
    bytes
}

/// Files whose names a URL, XML or a shell would take amiss.
pub(crate) fn odd_files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("metadata.json", b"{}".to_vec()),
        ("a b+c&d=e%20f~g.bin", noise(100, 1)),
        ("häß/日本 語/x?y#z", noise(7, 2)),
        ("quotes'\"<>.txt", noise(9, 3)),
        ("empty", Vec::new()),
        ("directory/", Vec::new()),
        ("sub/w.bin", noise(2048, 4)),
    ]
}

pub(crate) fn assert_holds(root: &Path, files: &[(&str, Vec<u8>)]) {
    for (name, content) in files {
        let path = root.join(name);
        if name.ends_with('/') {
            assert!(path.is_dir(), "{name}");
        } else {
            assert!(fs::read(&path).unwrap() == *content, "{name}");
        }
    }
}
