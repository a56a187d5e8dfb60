//! Downloads straight from object stores, against a store in this process that does as it should, and all that it should not.
//!
//! What the real emulators of the three stores make of it is tested in `emulators.rs`.
#![cfg(feature = "s3")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use determined::{CancelToken, Checkpoint, Determined, DownloadMode, DownloadOptions, ErrorKind};
use flate2::Compression;
use flate2::write::GzEncoder;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use support::{After, RawMaster, Seen, answer, json as send_json};

const UUID: &str = "21e6f5bd-dfdd-43d6-8751-a8017e12071f";
const MIB: usize = 1 << 20;

/// What happens to a request before the store sees it; `None` leaves it to the store.
type Fault = dyn Fn(&Seen, &mut TcpStream) -> Option<io::Result<After>> + Send + Sync;

/// A master and a bucket in one server. The bucket is `ckpts`, the checkpoint in it below `my/prefix`.
struct World {
    server: RawMaster,
    bucket: Arc<Bucket>,
    scratch: tempfile::TempDir,
}

struct Bucket {
    /// By key: the content, and its version.
    objects: Mutex<BTreeMap<String, (Vec<u8>, u32)>>,
    page_size: usize,
    gives_tokens: bool,
}

fn world(files: &[(&str, Vec<u8>)]) -> World {
    world_with(files, 1000, true, |_, _| None)
}

fn world_with(
    files: &[(&str, Vec<u8>)],
    page_size: usize,
    gives_tokens: bool,
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
        match seen.path() {
            "/ckpts" => served.list(seen, stream),
            path if path.starts_with("/ckpts/") => served.get(seen, stream),
            path if path.starts_with("/checkpoints/") => {
                send_json(stream, 500, r#"{"message":"the master has no storage"}"#)
            }
            _ => {
                let host = seen.header("host").unwrap_or_default();
                let body = json!({"checkpoint": {
                    "uuid": UUID,
                    "reportTime": "2026-11-23T20:14:41.149525Z",
                    "resources": resources,
                    "metadata": {"steps_completed": 5},
                    "state": "STATE_COMPLETED",
                    "training": {"trialId": 17, "experimentConfig": {"checkpoint_storage": {
                        "type": "s3", "bucket": "ckpts", "prefix": "my/prefix", "endpoint_url": format!("http://{host}"),
                        "access_key": "kkkk", "secret_key": "ssss", "save_trial_best": 5,
                    }}},
                }});
                send_json(stream, 200, &body.to_string())
            }
        }
    });
    World {
        server,
        bucket,
        scratch: tempfile::tempdir().unwrap(),
    }
}

impl Bucket {
    fn list(&self, seen: &Seen, stream: &mut TcpStream) -> io::Result<After> {
        let query = query(seen);
        let prefix = &query["prefix"];
        let objects = self.objects.lock().unwrap();
        let after = query
            .get("continuation-token")
            .map(|token| token.strip_prefix("token:").unwrap().to_owned())
            .or_else(|| query.get("marker").cloned());
        let listed: Vec<_> = objects
            .iter()
            .filter(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after))
            .collect();
        let is_truncated = listed.len() > self.page_size;
        let mut body = format!(
            "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <EncodingType>url</EncodingType><IsTruncated>{is_truncated}</IsTruncated>"
        );
        let mut last = "";
        for (key, (content, version)) in listed.iter().take(self.page_size) {
            last = key;
            body += &format!(
                "<Contents><Key>{}</Key><Size>{}</Size><ETag>&quot;v{version}&quot;</ETag></Contents>",
                percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC)
                    .to_string()
                    .replace("%20", "+"),
                content.len()
            );
        }
        if is_truncated && self.gives_tokens {
            body += &format!("<NextContinuationToken>token:{last}</NextContinuationToken>");
        }
        body += "</ListBucketResult>";
        answer(
            stream,
            200,
            &[("content-type", "application/xml")],
            body.as_bytes(),
        )
    }

    fn get(&self, seen: &Seen, stream: &mut TcpStream) -> io::Result<After> {
        let key = key(seen);
        let objects = self.objects.lock().unwrap();
        let Some((content, version)) = objects.get(&key) else {
            return refuse(stream, 404, "NoSuchKey");
        };
        let etag = format!("\"v{version}\"");
        if seen.header("if-match").is_some_and(|wanted| wanted != etag) {
            return refuse(stream, 412, "PreconditionFailed");
        }
        match seen.header("range") {
            None => answer(stream, 200, &[("etag", &etag)], content),
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

    fn change(&self, name: &str, content: Vec<u8>) {
        let mut objects = self.objects.lock().unwrap();
        let object = objects
            .get_mut(&format!("my/prefix/{UUID}/{name}"))
            .unwrap();
        *object = (content, object.1 + 1);
    }

    fn put(&self, key: &str, content: &[u8]) {
        let mut objects = self.objects.lock().unwrap();
        objects.insert(key.to_owned(), (content.to_vec(), 1));
    }

    fn remove(&self, name: &str) {
        let mut objects = self.objects.lock().unwrap();
        objects.remove(&format!("my/prefix/{UUID}/{name}")).unwrap();
    }
}

impl World {
    fn client(&self) -> Determined {
        self.server.client()
    }

    fn checkpoint(&self) -> Checkpoint {
        self.client().get_checkpoint(UUID).unwrap()
    }

    fn path(&self) -> PathBuf {
        self.scratch.path().join("c")
    }

    fn options(&self) -> DownloadOptions {
        DownloadOptions::new()
            .path(self.path())
            .mode(DownloadMode::Direct)
    }

    fn download(&self) -> determined::Result<PathBuf> {
        self.checkpoint().download_with(self.options())
    }

    /// The ranges that were asked of an object, from its beginning on; a whole object is `0-`.
    fn asked(&self, name: &str) -> Vec<String> {
        let key = format!("my/prefix/{UUID}/{name}");
        let mut ranges: Vec<_> = self
            .server
            .requests()
            .iter()
            .filter(|seen| seen.path().starts_with("/ckpts/") && self::key(seen) == key)
            .map(|seen| {
                seen.header("range")
                    .unwrap_or("bytes=0-")
                    .replace("bytes=", "")
            })
            .collect();
        ranges.sort_by_key(|range| range.split('-').next().unwrap().parse::<u64>().unwrap());
        ranges
    }

    /// What is in the directory of the download but itself.
    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.scratch.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "c").collect()
    }
}

fn query(seen: &Seen) -> BTreeMap<String, String> {
    let query = seen.target.split_once('?').map_or("", |(_, query)| query);
    let decode = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

fn key(seen: &Seen) -> String {
    let path = seen.path().strip_prefix("/ckpts/").unwrap_or_default();
    percent_decode_str(path).decode_utf8().unwrap().into_owned()
}

fn refuse(stream: &mut TcpStream, status: u16, code: &str) -> io::Result<After> {
    let body = format!("<Error><Code>{code}</Code><Message>{code} it is</Message></Error>");
    answer(
        stream,
        status,
        &[("content-type", "application/xml")],
        body.as_bytes(),
    )
}

/// Bytes of which no two blocks are the same.
fn noise(length: usize, seed: u64) -> Vec<u8> {
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

fn assert_holds(root: &Path, files: &[(&str, Vec<u8>)]) {
    for (name, content) in files {
        let path = root.join(name);
        if name.ends_with('/') {
            assert!(path.is_dir(), "{name}");
        } else {
            assert!(fs::read(&path).unwrap() == *content, "{name}");
        }
    }
}

fn odd_files() -> Vec<(&'static str, Vec<u8>)> {
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

#[test]
fn odd_names_come_out_as_they_are_and_siblings_stay_where_they_are() {
    let files = odd_files();
    let world = world(&files);
    world
        .bucket
        .put(&format!("my/prefix/{UUID}-sibling/evil"), b"x");
    world.bucket.put(&format!("my/prefix/{UUID}/"), b"");
    assert_eq!(world.download().unwrap(), world.path());
    assert_holds(&world.path(), &files);
    assert_eq!(world.left(), [""; 0]);
    for seen in world.server.requests() {
        if seen.path().starts_with("/ckpts") {
            let authorization = seen.header("authorization").unwrap();
            assert!(
                authorization.starts_with("AWS4-HMAC-SHA256 Credential=kkkk/"),
                "{authorization}"
            );
        }
    }
    // What came directly is kept like what came through the master.
    let before = world.server.requests().len();
    world.download().unwrap();
    assert_eq!(
        world.server.requests()[before..]
            .iter()
            .filter(|seen| seen.path().starts_with("/ckpts"))
            .count(),
        0
    );
}

#[test]
fn a_listing_of_many_pages_is_read_to_its_end() {
    let names: Vec<String> = (0..95).map(|n| format!("part/{n:03} of 95")).collect();
    let files: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), noise(10, 7)))
        .collect();
    for gives_tokens in [true, false] {
        let world = world_with(&files, 10, gives_tokens, |_, _| None);
        world.download().unwrap();
        assert_holds(&world.path(), &files);
        assert_eq!(world.server.count("/ckpts"), 10);
    }
}

#[test]
fn a_listing_that_does_not_get_ahead_is_an_error() {
    let files = [("a", noise(10, 1)), ("b", noise(10, 2))];
    let world = world_with(&files, 1, true, |seen, stream| {
        (seen.path() == "/ckpts").then(|| {
            let body = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>";
            answer(stream, 200, &[], body.as_bytes())
        })
    });
    let error = world.download().unwrap_err();
    assert!(error.to_string().contains("does not get ahead"), "{error}");
}

#[test]
fn a_large_object_comes_in_pieces() {
    let files = [("large", noise(35 * MIB + 5, 1)), ("small", noise(10, 2))];
    let world = world(&files);
    world.download().unwrap();
    assert_holds(&world.path(), &files);
    let end = 35 * MIB + 4;
    assert_eq!(
        world.asked("large"),
        [
            "0-16777215".to_owned(),
            "16777216-33554431".to_owned(),
            format!("33554432-{end}")
        ]
    );
    assert_eq!(world.asked("small"), ["0-"]);
}

#[test]
fn a_download_that_failed_goes_on_where_it_was() {
    let mut files = vec![
        ("large", noise(40 * MIB, 1)),
        ("last", noise(10, 3)),
        ("small", noise(10, 2)),
    ];
    let is_ill = Arc::new(Mutex::new(true));
    let ill = Arc::clone(&is_ill);
    let world = world_with(&files, 1000, true, move |seen, stream| {
        let is_last = seen.path().ends_with("/last")
            || seen
                .header("range")
                .is_some_and(|range| range.starts_with("bytes=3355"));
        (*ill.lock().unwrap() && is_last).then(|| refuse(stream, 403, "AccessDenied"))
    });
    let checkpoint = world.checkpoint();
    let options = world.options().parallelism(1);
    let error = checkpoint.download_with(options.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("AccessDenied it is"), "{error}");
    assert!(!world.path().exists());

    *is_ill.lock().unwrap() = false;
    let before = world.asked("large").len();
    assert_eq!(before, 3);
    checkpoint.download_with(options.clone()).unwrap();
    assert_holds(&world.path(), &files);
    assert_eq!(world.asked("large").len(), before + 1);
    assert_eq!(world.left(), [""; 0]);

    // An object that changed meanwhile is fetched anew, whole.
    fs::remove_dir_all(world.path()).unwrap();
    *is_ill.lock().unwrap() = true;
    checkpoint.download_with(options.clone()).unwrap_err();
    *is_ill.lock().unwrap() = false;
    files[0].1 = noise(40 * MIB, 9);
    world.bucket.change("large", files[0].1.clone());
    let before = world.asked("large").len();
    checkpoint.download_with(options).unwrap();
    assert_holds(&world.path(), &files);
    assert_eq!(world.asked("large").len(), before + 3);
}

#[test]
fn a_killed_download_goes_on_where_it_was() {
    const URL: &str = "FETCH_UNTIL_KILLED_FROM";
    const PATH: &str = "FETCH_UNTIL_KILLED_TO";
    if let (Ok(url), Ok(path)) = (std::env::var(URL), std::env::var(PATH)) {
        let options = determined::LoginOptions::new()
            .master(url)
            .user("kim")
            .password("p")
            .token_store(determined::TokenStore::None)
            .environment([("HOME", "/nonexistent")]);
        let client = Determined::new(options).unwrap();
        let options = DownloadOptions::new().path(path).mode(DownloadMode::Direct);
        client
            .get_checkpoint(UUID)
            .unwrap()
            .download_with(options)
            .unwrap();
        unreachable!("the store never sends the last piece");
    }
    let files = [("large", noise(40 * MIB, 1)), ("small", noise(10, 2))];
    let stuck = Arc::new(Mutex::new(0));
    let times = Arc::clone(&stuck);
    let world = world_with(&files, 1000, true, move |seen, stream| {
        if !seen
            .header("range")
            .is_some_and(|range| range.starts_with("bytes=3355"))
        {
            return None;
        }
        let is_first = {
            let mut times = times.lock().unwrap();
            *times += 1;
            *times == 1
        };
        is_first.then(|| {
            let head = "HTTP/1.1 206 Partial\r\ncontent-range: bytes 33554432-41943039/41943040\r\ncontent-length: 8388608\r\n\r\n";
            stream.write_all(head.as_bytes())?;
            stream.write_all(&[0; 1000])?;
            std::thread::sleep(Duration::from_secs(60));
            Ok(After::Close)
        })
    });
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_download_goes_on_where_it_was"])
        .env(URL, &world.server.url)
        .env(PATH, world.path())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let is_waiting = || {
        let journal = world.scratch.path().join(".c.partial/direct.journal");
        let noted = fs::read_to_string(journal).unwrap_or_default();
        *stuck.lock().unwrap() == 0
            || noted.lines().filter(|line| line.starts_with('[')).count() < 3
    };
    while is_waiting() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!world.path().exists());
    let before = world.asked("large").len();
    world.download().unwrap();
    assert_holds(&world.path(), &files);
    assert_eq!(world.asked("large").len(), before + 1);
    assert_eq!(world.asked("small").len(), 1);
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn what_stutters_is_asked_again() {
    let files = [("a", noise(3 * MIB, 1)), ("b", noise(10, 2))];
    let times = Arc::new(Mutex::new(BTreeMap::<String, u32>::new()));
    let content = files[0].1.clone();
    let world = world_with(&files, 1000, true, move |seen, stream| {
        if !seen.path().starts_with("/ckpts") {
            return None;
        }
        let mut times = times.lock().unwrap();
        let time = times.entry(seen.path().to_owned()).or_default();
        *time += 1;
        match (seen.path().rsplit('/').next().unwrap(), *time) {
            ("ckpts", 1) => Some(refuse(stream, 503, "SlowDown")),
            ("ckpts", 2) => Some(Ok(After::Close)),
            ("b", 1 | 2) => Some(refuse(stream, 500, "InternalError")),
            // Cut in the middle of the body.
            ("a", 1) => Some({
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                    content.len()
                );
                stream
                    .write_all(head.as_bytes())
                    .and_then(|()| stream.write_all(&content[..MIB]))
                    .map(|()| After::Close)
            }),
            _ => None,
        }
    });
    world.download().unwrap();
    assert_holds(&world.path(), &files);
    // It went on behind what had arrived.
    let asked = world.asked("a");
    assert_eq!(asked.len(), 2);
    let start: usize = asked[1].split('-').next().unwrap().parse().unwrap();
    assert!(start > 0 && start <= MIB, "{asked:?}");
}

#[test]
fn what_stays_broken_is_given_up() {
    let files = [("a", noise(10, 1))];
    let world = world_with(&files, 1000, true, |seen, stream| {
        seen.path()
            .ends_with("/a")
            .then(|| refuse(stream, 503, "SlowDown"))
    });
    let started = Instant::now();
    let error = world.download().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    assert!(error.to_string().contains("SlowDown"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(30));
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn hostile_keys_are_refused_before_anything_is_fetched() {
    for key in [
        "../evil",
        "a/../../evil",
        "a/..",
        "..",
        "a/b\0c",
        "/../../evil",
    ] {
        let world = world(&[("a", noise(10, 1))]);
        world
            .bucket
            .put(&format!("my/prefix/{UUID}/{key}"), b"evil");
        let error = world.download().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage, "{key}: {error}");
        assert_eq!(world.asked("a"), [""; 0]);
        assert_eq!(world.left(), [""; 0]);
    }
}

#[test]
fn a_listing_that_is_not_the_checkpoint_is_refused_before_anything_is_fetched() {
    type Change = fn(&Bucket);
    let changes: [(&str, Change); 5] = [
        ("is missing", |bucket| bucket.remove("a")),
        ("instead of 10", |bucket| bucket.change("a", noise(9, 1))),
        ("instead of 10", |bucket| bucket.change("a", noise(4096, 1))),
        ("far more comes", |bucket| {
            bucket.put(&format!("my/prefix/{UUID}/bomb"), &noise(20 * MIB, 1))
        }),
        ("there is nothing below", |bucket| {
            bucket.remove("a");
            bucket.remove("b");
        }),
    ];
    for (said, change) in changes {
        let world = world(&[("a", noise(10, 1)), ("b", noise(10, 2))]);
        change(&world.bucket);
        let error = world.download().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
        assert!(error.to_string().contains(said), "{said}: {error}");
        assert_eq!(world.asked("b"), [""; 0]);
        assert_eq!(world.left(), [""; 0]);
    }
}

#[test]
fn what_changes_or_vanishes_meanwhile_is_an_error() {
    for vanishes in [false, true] {
        let is_first = Arc::new(Mutex::new(true));
        let said = if vanishes { "vanished" } else { "changed" };
        let files = [("a", noise(10, 1))];
        let world = world_with(&files, 1000, true, move |seen, stream| {
            let is_object = seen.path().ends_with("/a");
            let code = if vanishes {
                (404, "NoSuchKey")
            } else {
                (412, "PreconditionFailed")
            };
            let fails = is_object && std::mem::take(&mut *is_first.lock().unwrap());
            fails.then(|| refuse(stream, code.0, code.1))
        });
        let error = world.download().unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        world.download().unwrap();
        assert_holds(&world.path(), &files);
    }
}

#[test]
fn a_bucket_of_another_region_is_found() {
    for (status, shows_header) in [(301, true), (400, false), (400, true)] {
        let files = [("a", noise(10, 1))];
        let world = world_with(&files, 1000, true, move |seen, stream| {
            let authorization = seen.header("authorization").unwrap_or_default();
            let is_at_home = authorization.contains("/eu-central-1/s3/");
            (seen.path().starts_with("/ckpts") && !is_at_home).then(|| {
                let body = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>wrong</Message><Region>eu-central-1</Region></Error>";
                let headers: &[(&str, &str)] = if shows_header { &[("x-amz-bucket-region", "eu-central-1")] } else { &[] };
                answer(stream, status, headers, body.as_bytes())
            })
        });
        world.download().unwrap();
        assert_holds(&world.path(), &files);
        assert_eq!(world.server.count("/ckpts"), 2);
    }
}

#[test]
fn auto_tells_both_causes_and_goes_through_the_master_where_it_can() {
    let files = [("a", noise(10, 1))];
    let bytes = {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_ustar();
        header.set_size(10);
        builder
            .append_data(&mut header, "a", &files[0].1[..])
            .unwrap();
        builder.into_inner().unwrap().finish().unwrap()
    };
    for heals in [false, true] {
        let bytes = bytes.clone();
        let world = world_with(&files, 1000, true, move |seen, stream| match seen.path() {
            "/ckpts" => Some(refuse(stream, 403, "AccessDenied")),
            path if heals && path.starts_with("/checkpoints/") => {
                Some(answer(stream, 200, &[], &bytes))
            }
            _ => None,
        });
        let result = world
            .checkpoint()
            .download_with(world.options().mode(DownloadMode::Auto));
        if heals {
            assert_holds(&result.unwrap(), &files);
        } else {
            let error = result.unwrap_err().to_string();
            for cause in [
                "the master has no storage",
                "s3://ckpts: 403",
                "AccessDenied it is",
            ] {
                assert!(error.contains(cause), "{error}");
            }
            for secret in ["ssss", "Signature"] {
                assert!(!error.contains(secret), "{error}");
            }
        }
        assert_eq!(world.left(), [""; 0]);
    }
}

#[test]
fn a_dead_endpoint_is_told_soon() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let world = world_of_storage(
        move |_| json!({"type": "s3", "bucket": "ckpts", "endpoint_url": format!("http://127.0.0.1:{port}"), "access_key": "k", "secret_key": "s"}),
    );
    let started = Instant::now();
    let error = world.download().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(
        error.to_string().contains(&format!("127.0.0.1:{port}")),
        "{error}"
    );
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn cancelling_ends_all_threads_within_a_second() {
    let files = [("a", noise(64 * MIB, 1))];
    let world = world_with(&files, 1000, true, |seen, stream| {
        seen.header("range").map(|range| {
            let range = range.replace('=', " ");
            let head = format!("HTTP/1.1 206 Partial\r\ncontent-range: {range}/67108864\r\ncontent-length: 16777216\r\n\r\n");
            stream.write_all(head.as_bytes())?;
            std::thread::sleep(Duration::from_secs(20));
            Ok(After::Close)
        })
    });
    let token = CancelToken::new();
    let button = token.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        button.cancel();
    });
    let checkpoint = world.checkpoint();
    let started = Instant::now();
    let error = checkpoint
        .download_with(world.options().cancel(&token))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert!(started.elapsed() < Duration::from_secs(3));
    assert!(!world.path().exists());
}

#[test]
fn one_failure_ends_the_other_threads_at_once() {
    let files = [("a", noise(64 * MIB, 1))];
    let world = world_with(&files, 1000, true, |seen, stream| {
        seen.header("range").map(|range| {
            if range.starts_with("bytes=3355") {
                std::thread::sleep(Duration::from_millis(500));
                return refuse(stream, 403, "AccessDenied");
            }
            std::thread::sleep(Duration::from_secs(20));
            Ok(After::Close)
        })
    });
    let checkpoint = world.checkpoint();
    let started = Instant::now();
    let error = checkpoint.download_with(world.options()).unwrap_err();
    assert!(error.to_string().contains("AccessDenied"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn progress_counts_what_is_there_already() {
    let files = [("large", noise(40 * MIB, 1)), ("small", noise(10, 2))];
    let is_ill = Arc::new(Mutex::new(true));
    let ill = Arc::clone(&is_ill);
    let world = world_with(&files, 1000, true, move |seen, stream| {
        (*ill.lock().unwrap() && seen.path().ends_with("/small")).then(|| refuse(stream, 403, "No"))
    });
    world
        .checkpoint()
        .download_with(world.options().parallelism(1))
        .unwrap_err();
    *is_ill.lock().unwrap() = false;
    let last = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&last);
    let options = world
        .options()
        .on_progress(move |progress| *seen.lock().unwrap() = Some(progress.clone()));
    world.checkpoint().download_with(options).unwrap();
    let last = last.lock().unwrap().clone().unwrap();
    assert_eq!(
        (last.bytes_done, last.files_done),
        (40 * MIB as u64 + 10, 2)
    );
    assert_eq!(
        (last.bytes_total, last.files_total),
        (Some(40 * MIB as u64 + 10), Some(2))
    );
}

/// A world whose checkpoint has one file, `a`, and whose storage is configured by the URL of the server.
fn world_of_storage(storage: impl Fn(&str) -> Value + Send + Sync + 'static) -> World {
    world_with(&[("a", noise(10, 1))], 1000, true, move |seen, stream| {
        let host = seen.header("host").unwrap_or_default();
        seen.path().starts_with("/api/v1/checkpoints/").then(|| {
            let body = json!({"checkpoint": {
                "uuid": UUID, "resources": {"a": "10"}, "state": "STATE_COMPLETED",
                "training": {"trialId": 1, "experimentConfig": {"checkpoint_storage": storage(&format!("http://{host}"))}},
            }});
            send_json(stream, 200, &body.to_string())
        })
    })
}

/// The way to credentials, each shown by the key that requests are signed with.
mod credentials {
    use super::*;

    fn keyless(url: &str) -> Value {
        json!({"type": "s3", "bucket": "ckpts", "prefix": "my/prefix", "endpoint_url": url, "access_key": null, "secret_key": null})
    }

    /// Downloads with these variables, `URL` in their values replaced by the server's, and gives the requests to the bucket.
    fn download_with(world: &World, variables: &[(&str, &str)]) -> determined::Result<Vec<Seen>> {
        let mut variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, value.replace("URL", &world.server.url)))
            .collect();
        if !variables.iter().any(|(name, _)| *name == "HOME") {
            variables.push(("HOME", "/nonexistent".to_owned()));
        }
        let client = Determined::new(world.server.login_options().environment(variables))?;
        client
            .get_checkpoint(UUID)?
            .download_with(world.options())?;
        let requests = world.server.requests();
        Ok(requests
            .into_iter()
            .filter(|seen| seen.path().starts_with("/ckpts"))
            .collect())
    }

    fn signer(seen: &Seen) -> String {
        let authorization = seen.header("authorization").unwrap();
        let rest = authorization.split("Credential=").nth(1).unwrap();
        rest.split('/').next().unwrap().to_owned()
    }

    #[test]
    fn the_environment_gives_a_session_token_and_a_region() {
        let world = world_of_storage(keyless);
        let variables = [
            ("AWS_ACCESS_KEY_ID", "from-environment"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_SESSION_TOKEN", "passing"),
            ("AWS_DEFAULT_REGION", "eu-west-3"),
        ];
        for seen in download_with(&world, &variables).unwrap() {
            assert_eq!(signer(&seen), "from-environment");
            assert_eq!(seen.header("x-amz-security-token"), Some("passing"));
            assert!(
                seen.header("authorization")
                    .unwrap()
                    .contains("/eu-west-3/s3/")
            );
        }
    }

    #[test]
    fn the_configuration_goes_before_the_environment() {
        let world = world(&[("a", noise(10, 1))]);
        let variables = [
            ("AWS_ACCESS_KEY_ID", "other"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
        ];
        for seen in download_with(&world, &variables).unwrap() {
            assert_eq!(signer(&seen), "kkkk");
        }
    }

    #[test]
    fn a_profile_gives_keys_region_and_endpoint() {
        let world =
            world_of_storage(|_| json!({"type": "s3", "bucket": "ckpts", "prefix": "my/prefix"}));
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".aws")).unwrap();
        let config = format!(
            "[profile team]\nregion = eu-north-1\nendpoint_url = {}\n",
            world.server.url
        );
        fs::write(home.path().join(".aws/config"), config).unwrap();
        let keys = "[team]\naws_access_key_id = from-profile\naws_secret_access_key = s\n";
        fs::write(home.path().join(".aws/credentials"), keys).unwrap();
        let variables = [
            ("AWS_PROFILE", "team"),
            ("HOME", home.path().to_str().unwrap()),
        ];
        for seen in download_with(&world, &variables).unwrap() {
            assert_eq!(signer(&seen), "from-profile");
            assert!(
                seen.header("authorization")
                    .unwrap()
                    .contains("/eu-north-1/s3/")
            );
        }
    }

    const SERVICE: &str = r#"{"Code": "Success", "AccessKeyId": "from-service", "SecretAccessKey": "s", "Token": "t", "Expiration": "2126-01-01T00:00:00Z"}"#;

    /// A server that also gives credentials, by `serve`.
    fn with_service(serve: fn(&Seen, &mut TcpStream) -> Option<io::Result<After>>) -> World {
        world_with(&[("a", noise(10, 1))], 1000, true, move |seen, stream| {
            let host = seen.header("host").unwrap_or_default();
            if seen.path().starts_with("/api/v1/checkpoints/") {
                let storage = keyless(&format!("http://{host}"));
                let body = json!({"checkpoint": {
                    "uuid": UUID, "resources": {"a": "10"}, "state": "STATE_COMPLETED",
                    "training": {"trialId": 1, "experimentConfig": {"checkpoint_storage": storage}},
                }});
                return Some(send_json(stream, 200, &body.to_string()));
            }
            serve(seen, stream)
        })
    }

    #[test]
    fn a_web_identity_is_traded_for_a_role() {
        let world = with_service(|seen, stream| {
            (seen.method == "POST" && seen.path() == "/").then(|| {
                let body = String::from_utf8(seen.body.clone()).unwrap();
                assert!(body.contains("Action=AssumeRoleWithWebIdentity"), "{body}");
                assert!(body.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr"), "{body}");
                assert!(body.contains("WebIdentityToken=the%2Btoken"), "{body}");
                let answer_body = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>from-role</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2126-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
                answer(stream, 200, &[], answer_body.as_bytes())
            })
        });
        let home = tempfile::tempdir().unwrap();
        let token = home.path().join("token");
        fs::write(&token, "the+token\n").unwrap();
        let variables = [
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
            ("AWS_ENDPOINT_URL_STS", "URL"),
        ];
        for seen in download_with(&world, &variables).unwrap() {
            assert_eq!(signer(&seen), "from-role");
            assert_eq!(seen.header("x-amz-security-token"), Some("t"));
        }
        assert_eq!(world.server.count("/"), 1);
    }

    #[test]
    fn a_container_gives_credentials() {
        let world = with_service(|seen, stream| {
            (seen.path() == "/creds").then(|| {
                assert_eq!(seen.header("authorization"), Some("Basic abc"));
                answer(stream, 200, &[], SERVICE.as_bytes())
            })
        });
        let variables = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "URL/creds"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic abc"),
        ];
        for seen in download_with(&world, &variables).unwrap() {
            assert_eq!(signer(&seen), "from-service");
        }
        // Never from just anywhere.
        let world = world_of_storage(keyless);
        let variables = [(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "http://192.0.2.1/creds",
        )];
        let error = download_with(&world, &variables).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
            "{error}"
        );
    }

    #[test]
    fn a_machine_gives_credentials_by_the_second_protocol() {
        let world = with_service(|seen, stream| {
            let has_token = seen.header("x-aws-ec2-metadata-token") == Some("the-token");
            match (seen.method.as_str(), seen.path()) {
                ("PUT", "/latest/api/token") => {
                    assert!(
                        seen.header("x-aws-ec2-metadata-token-ttl-seconds")
                            .is_some()
                    );
                    Some(answer(stream, 200, &[], b"the-token"))
                }
                ("GET", "/latest/meta-data/iam/security-credentials/") if has_token => {
                    Some(answer(stream, 200, &[], b"my-role"))
                }
                ("GET", "/latest/meta-data/iam/security-credentials/my-role") if has_token => {
                    Some(answer(stream, 200, &[], SERVICE.as_bytes()))
                }
                _ => None,
            }
        });
        let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", "URL")];
        for seen in download_with(&world, &variables).unwrap() {
            assert_eq!(signer(&seen), "from-service");
        }
    }

    #[test]
    fn nothing_anywhere_is_told() {
        for variables in [
            [("AWS_EC2_METADATA_DISABLED", "true")],
            [("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")],
        ] {
            let world = world_of_storage(keyless);
            let error = download_with(&world, &variables).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Storage);
            assert!(
                error.to_string().contains("there are no AWS credentials"),
                "{error}"
            );
            assert_eq!(world.left(), [""; 0]);
        }
        let world = world_of_storage(keyless);
        let error = download_with(&world, &[("AWS_ACCESS_KEY_ID", "half")]).unwrap_err();
        assert!(error.to_string().contains("one half"), "{error}");
    }

    #[test]
    fn what_is_not_supported_is_told() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".aws")).unwrap();
        for (setting, key) in [
            ("sso_session = corp", "sso_session"),
            ("credential_process = /bin/keys", "credential_process"),
            ("role_arn = arn\nsource_profile = x", "role_arn"),
        ] {
            let world = world_of_storage(keyless);
            fs::write(
                home.path().join(".aws/config"),
                format!("[default]\n{setting}\n"),
            )
            .unwrap();
            let error =
                download_with(&world, &[("HOME", home.path().to_str().unwrap())]).unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
            assert!(error.to_string().contains("export-credentials"), "{error}");
        }
    }
}
