//! What the mode Auto does when a store cannot be read: the table of docs/storage.md, as far as it is about object stores.

use std::io;
use std::net::TcpStream;

use determined::{DownloadMode, ErrorKind};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::bucket::refuse;
use crate::support::{After, Seen, answer};
use crate::world::{World, assert_holds, key_of, noise, s3_storage, world_of};

fn files() -> [(&'static str, Vec<u8>); 2] {
    [("a", noise(10, 1)), ("b", noise(20, 2))]
}

fn archive() -> Vec<u8> {
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut builder = tar::Builder::new(encoder);
    for (name, content) in files() {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        builder
            .append_data(&mut header, name, &content[..])
            .unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

type Fault = fn(&Seen, &mut TcpStream) -> Option<io::Result<After>>;

/// One way in which a store cannot be read.
struct Row {
    name: &'static str,
    /// Words of the error in the mode Direct.
    said: &'static str,
    storage: fn(&str) -> Value,
    fault: Fault,
    change: fn(&World),
}

const NOTHING: fn(&World) = |_| {};
const FINE: Fault = |_, _| None;

fn with(url: &str, key: &str, value: Value) -> Value {
    let mut storage = s3_storage(url);
    storage[key] = value;
    storage
}

fn is_listing(seen: &Seen) -> bool {
    seen.path() == "/ckpts"
}

const TABLE: [Row; 19] = [
    Row {
        name: "no right to list",
        said: "403",
        storage: s3_storage,
        fault: |seen, stream| is_listing(seen).then(|| refuse(stream, 403, "AccessDenied")),
        change: NOTHING,
    },
    Row {
        name: "wrong keys",
        said: "InvalidAccessKeyId",
        storage: s3_storage,
        fault: |seen, stream| is_listing(seen).then(|| refuse(stream, 403, "InvalidAccessKeyId")),
        change: NOTHING,
    },
    Row {
        name: "no such bucket",
        said: "NoSuchBucket",
        storage: s3_storage,
        fault: |seen, stream| is_listing(seen).then(|| refuse(stream, 404, "NoSuchBucket")),
        change: NOTHING,
    },
    Row {
        name: "another region without a name",
        said: "301",
        storage: s3_storage,
        fault: |seen, stream| is_listing(seen).then(|| refuse(stream, 301, "PermanentRedirect")),
        change: NOTHING,
    },
    Row {
        name: "a web page",
        said: "not the XML that was expected",
        storage: s3_storage,
        fault: |seen, stream| {
            is_listing(seen).then(|| answer(stream, 200, &[], b"<html><p>log in</html>"))
        },
        change: NOTHING,
    },
    Row {
        name: "no objects",
        said: "there is nothing below",
        storage: |url| with(url, "prefix", json!("elsewhere")),
        fault: FINE,
        change: NOTHING,
    },
    Row {
        name: "no right to read",
        said: "403",
        storage: s3_storage,
        fault: |seen, stream| {
            seen.path()
                .ends_with("/b")
                .then(|| refuse(stream, 403, "AccessDenied"))
        },
        change: NOTHING,
    },
    Row {
        name: "an object that vanishes",
        said: "vanished",
        storage: s3_storage,
        fault: |seen, stream| {
            seen.path()
                .ends_with("/b")
                .then(|| refuse(stream, 404, "NoSuchKey"))
        },
        change: NOTHING,
    },
    Row {
        name: "an object that changes",
        said: "changed",
        storage: s3_storage,
        fault: |seen, stream| {
            seen.path()
                .ends_with("/b")
                .then(|| refuse(stream, 412, "PreconditionFailed"))
        },
        change: NOTHING,
    },
    Row {
        name: "a missing file",
        said: "is missing",
        storage: s3_storage,
        fault: FINE,
        change: |world| world.bucket.remove(&key_of("b")),
    },
    Row {
        name: "a file that is cut",
        said: "instead of 20",
        storage: s3_storage,
        fault: FINE,
        change: |world| world.bucket.change(&key_of("b"), noise(19, 2)),
    },
    Row {
        name: "a hostile key",
        said: "is refused",
        storage: s3_storage,
        fault: FINE,
        change: |world| world.bucket.put(&key_of("../evil"), b"x"),
    },
    Row {
        name: "no credentials",
        said: "there are no AWS credentials",
        storage: |url| json!({"type": "s3", "bucket": "ckpts", "prefix": "my/prefix", "endpoint_url": url}),
        fault: FINE,
        change: NOTHING,
    },
    Row {
        name: "no bucket",
        said: "it has no bucket",
        storage: |url| with(url, "bucket", json!(null)),
        fault: FINE,
        change: NOTHING,
    },
    Row {
        name: "an access point",
        said: "access point",
        storage: |url| with(url, "bucket", json!("arn:aws:s3:eu-west-1:1:accesspoint/a")),
        fault: FINE,
        change: NOTHING,
    },
    Row {
        name: "a prefix that leads out",
        said: "leads out of the bucket",
        storage: |url| with(url, "prefix", json!("a/../..")),
        fault: FINE,
        change: NOTHING,
    },
    Row {
        name: "an endpoint that is none",
        said: "not of the form",
        storage: |url| with(url, "endpoint_url", json!("store.example:9000")),
        fault: FINE,
        change: NOTHING,
    },
    Row {
        name: "a dead endpoint",
        said: "127.0.0.1:9",
        storage: |url| with(url, "endpoint_url", json!("http://127.0.0.1:9")),
        fault: FINE,
        change: NOTHING,
    },
    Row {
        name: "an endpoint without TLS",
        said: "127.0.0.1",
        storage: |url| with(url, "endpoint_url", json!(url.replace("http:", "https:"))),
        fault: FINE,
        change: NOTHING,
    },
];

#[test]
fn whatever_a_store_refuses_is_an_error_directly_and_comes_through_the_master_by_auto() {
    for Row {
        name,
        said,
        storage,
        fault,
        change,
    } in TABLE
    {
        for heals in [true, false] {
            let world = world_of(&files(), storage, move |seen, stream| {
                if heals && seen.path().starts_with("/checkpoints/") {
                    return Some(answer(stream, 200, &[], &archive()));
                }
                fault(seen, stream)
            });
            change(&world);
            let by = |mode| {
                let options = world.options().mode(mode).parallelism(1);
                world
                    .checkpoint_in(&[("AWS_EC2_METADATA_DISABLED", "true")])
                    .download_with(options)
            };
            let direct = by(DownloadMode::Direct).unwrap_err();
            assert!(direct.to_string().contains(said), "{name}: {direct}");
            assert!(!world.path().exists(), "{name}");
            let auto = by(DownloadMode::Auto);
            if heals {
                auto.unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_holds(&world.path(), &files());
                assert_eq!(world.left(), [""; 0], "{name}");
                continue;
            }
            let both = auto.unwrap_err();
            assert_eq!(
                (both.kind(), both.status()),
                (ErrorKind::Api, Some(500)),
                "{name}"
            );
            for cause in [said, "the master has no storage"] {
                assert!(both.to_string().contains(cause), "{name}: {both}");
            }
            for secret in ["ssss", "Signature"] {
                assert!(!both.to_string().contains(secret), "{name}: {both}");
            }
            assert!(!world.path().exists(), "{name}");
            // What has arrived stays for the next download.
            let has_part = !world.asked("a").is_empty();
            assert_eq!(world.left().len(), usize::from(has_part), "{name}");
        }
    }
}

#[test]
fn a_type_that_the_master_cannot_read_either_tells_both_causes() {
    let azure = |url: &str| json!({"type": "azure", "container": "none", "connection_string": format!("AccountName=account;BlobEndpoint={url}/account")});
    let world = world_of(&files(), azure, |seen, stream| {
        seen.path().starts_with("/account/").then(|| {
            let headers = [("x-ms-error-code", "ContainerNotFound")];
            answer(stream, 404, &headers, b"<Error/>")
        })
    });
    let error = world
        .checkpoint()
        .download_with(world.options().mode(DownloadMode::Auto))
        .unwrap_err();
    for cause in ["ContainerNotFound", "the master has no storage"] {
        assert!(error.to_string().contains(cause), "{error}");
    }
}
