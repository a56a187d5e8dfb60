//! A master and a bucket in one server. The checkpoint is in the bucket below `my/prefix`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use determined::{Checkpoint, Determined, DownloadMode, DownloadOptions, Proxy};
use serde_json::{Value, json};

use crate::bucket::Bucket;
pub(crate) use crate::bucket::key;
use crate::support::{After, RawMaster, Seen, json as send_json};

pub(crate) const UUID: &str = "21e6f5bd-dfdd-43d6-8751-a8017e12071f";
pub(crate) const MIB: usize = 1 << 20;

/// What happens to a request before the bucket sees it; `None` leaves it to the bucket.
type Fault = dyn Fn(&Seen, &mut TcpStream) -> Option<io::Result<After>> + Send + Sync;

pub(crate) struct World {
    pub(crate) server: RawMaster,
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) scratch: tempfile::TempDir,
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

pub(crate) fn s3_storage(url: &str) -> Value {
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
    let bucket = Arc::new(Bucket::new(page_size, gives_tokens));
    for (name, content) in files {
        bucket.put(&key_of(name), content);
    }
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
        } else {
            served.serve(seen, stream)
        }
    });
    World {
        server,
        bucket,
        scratch: tempfile::tempdir().unwrap(),
    }
}

/// The key of a file of the checkpoint.
pub(crate) fn key_of(name: &str) -> String {
    format!("my/prefix/{UUID}/{name}")
}

/// Whether a request is to the bucket, and not to the master.
pub(crate) fn is_to_bucket(seen: &Seen) -> bool {
    seen.path().contains("/ckpts")
}

impl World {
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        self.server.client().get_checkpoint(UUID).unwrap()
    }

    /// The checkpoint, to be downloaded in this environment.
    pub(crate) fn checkpoint_in(&self, variables: &[(&str, &str)]) -> Checkpoint {
        let client = self.login_in(variables).unwrap();
        client.get_checkpoint(UUID).unwrap()
    }

    /// A client with these variables in its environment and no others, `URL` in them replaced by the server's.
    fn login_in(&self, variables: &[(&str, &str)]) -> determined::Result<Determined> {
        let mut variables: BTreeMap<_, _> = variables
            .iter()
            .map(|(name, value)| (*name, value.replace("URL", &self.server.url)))
            .collect();
        variables
            .entry("HOME")
            .or_insert_with(|| "/nonexistent".to_owned());
        let options = self.server.login_options().proxy(Proxy::Environment);
        Determined::new(options.environment(variables))
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
        self.login_in(variables)?
            .get_checkpoint(UUID)?
            .download_with(self.options())?;
        let requests = self.server.requests();
        Ok(requests.into_iter().filter(is_to_bucket).collect())
    }

    /// The ranges that were asked of an object, by where they begin; a whole object is `0-`.
    pub(crate) fn asked(&self, name: &str) -> Vec<String> {
        let wanted = Some(key_of(name));
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
