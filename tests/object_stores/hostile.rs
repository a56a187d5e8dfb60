//! Keys, listings and objects that are not what they should be: refused before they do harm.

use std::sync::{Arc, Mutex};

use determined::{DownloadMode, ErrorKind};

use crate::bucket::{Bucket, refuse};
use crate::support::{After, answer};
use crate::world::{MIB, World, assert_holds, key, key_of, noise, world, world_with};

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
        world.bucket.put(&key_of(key), b"evil");
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
        ("is missing", |bucket| bucket.remove(&key_of("a"))),
        ("instead of 10", |bucket| {
            bucket.change(&key_of("a"), noise(9, 1))
        }),
        ("instead of 10", |bucket| {
            bucket.change(&key_of("a"), noise(4096, 1))
        }),
        ("far more comes", |bucket| {
            bucket.put(&key_of("bomb"), &noise(20 * MIB, 1))
        }),
        ("there is nothing below", |bucket| {
            bucket.remove(&key_of("a"));
            bucket.remove(&key_of("b"));
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
        let world = world_with(&files, move |seen, stream| {
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
fn a_listing_that_does_not_get_ahead_is_an_error() {
    let files = [("a", noise(10, 1)), ("b", noise(10, 2))];
    let world = world_with(&files, |seen, stream| {
        (seen.path() == "/ckpts").then(|| {
            let body = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>";
            answer(stream, 200, &[], body.as_bytes())
        })
    });
    let error = world.download().unwrap_err();
    assert!(error.to_string().contains("does not get ahead"), "{error}");
}

#[test]
fn a_listing_that_breaks_off_is_an_error() {
    let files = [("a", noise(10, 1))];
    let world = world_with(&files, |seen, stream| {
        (seen.path() == "/ckpts").then(|| {
            let body = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
            answer(stream, 200, &[], body.as_bytes())
        })
    });
    let error = world.download().unwrap_err();
    assert!(error.to_string().contains("how it goes on"), "{error}");
}

#[test]
fn a_file_where_a_directory_must_be_is_refused_before_anything_is_fetched() {
    for (key, size) in [("a/b", 1), ("a/b/", 0), ("d//a", 10), ("d/./a", 10)] {
        let world = world(&[("a", noise(10, 1)), ("d/a", noise(10, 2))]);
        world.bucket.put(&key_of(key), &noise(size, 3));
        let error = world.download().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage, "{key}: {error}");
        let said = if key.starts_with("d") {
            "comes twice"
        } else {
            "a file and as a directory"
        };
        assert!(error.to_string().contains(said), "{key}: {error}");
        assert_eq!(world.asked("a"), [""; 0]);
        assert_eq!(world.left(), [""; 0]);
    }
}

#[test]
fn a_name_that_is_too_long_for_this_machine_is_an_error_before_anything_is_fetched() {
    let world = world(&[("a", noise(10, 1))]);
    world.bucket.put(&key_of(&"n".repeat(300)), b"x");
    for mode in [DownloadMode::Direct, DownloadMode::Auto] {
        let error = world
            .checkpoint()
            .download_with(world.options().mode(mode))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.to_string().contains("nnnn"), "{error}");
        assert_eq!(world.asked("a"), [""; 0]);
        assert_eq!(world.left(), [""; 0]);
    }
}

/// A world that answers requests for the object `a`, of 20 MiB, in its own way.
fn answering(
    answer: impl Fn(&[u8], Option<&str>, &mut std::net::TcpStream) -> std::io::Result<After>
    + Send
    + Sync
    + 'static,
) -> World {
    let files = [("a", noise(20 * MIB, 1))];
    let content = files[0].1.clone();
    world_with(&files, move |seen, stream| {
        (key(seen) == Some(key_of("a"))).then(|| answer(&content, seen.header("range"), stream))
    })
}

#[test]
fn what_is_not_what_was_asked_for_is_refused() {
    type Send = fn(&[u8], &str, &mut std::net::TcpStream) -> std::io::Result<After>;
    let cases: [(&str, Send); 5] = [
        ("it has changed", |content, range, stream| {
            let shown = format!("{}/{}", range.replace('=', " "), content.len());
            let headers = [("content-range", shown.as_str()), ("etag", "\"v2\"")];
            answer(stream, 206, &headers, &content[..16 * MIB])
        }),
        ("it has changed", |content, range, stream| {
            let shown = format!("{}/{}", range.replace('=', " "), content.len() + 1);
            answer(
                stream,
                206,
                &[("content-range", &shown)],
                &content[..16 * MIB],
            )
        }),
        ("another range", |content, _, stream| {
            answer(
                stream,
                206,
                &[("content-range", "bytes 5-9/20971520")],
                &content[..5],
            )
        }),
        ("cannot send a range", |content, _, stream| {
            answer(stream, 200, &[], content)
        }),
        ("more than it was asked for", |content, range, stream| {
            let shown = format!("{}/{}", range.replace('=', " "), content.len());
            answer(stream, 206, &[("content-range", &shown)], content)
        }),
    ];
    for (said, send) in cases {
        let world = answering(move |content, range, stream| send(content, range.unwrap(), stream));
        let error = world.download().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage, "{said}: {error}");
        assert!(error.to_string().contains(said), "{said}: {error}");
        assert!(
            error.to_string().contains("s3://ckpts/my/prefix"),
            "{error}"
        );
        assert!(!world.path().exists());
    }
}

#[test]
fn a_store_that_leaves_quotes_and_sizes_out_is_understood() {
    let files = [("a", noise(20 * MIB, 1))];
    let content = files[0].1.clone();
    let world = world_with(&files, move |seen, stream| {
        if seen.path() == "/ckpts" {
            let body = format!(
                "<ListBucketResult><Contents><Key>{}</Key><Size>{}</Size><ETag>v1</ETag></Contents></ListBucketResult>",
                key_of("a"),
                content.len()
            );
            return Some(answer(stream, 200, &[], body.as_bytes()));
        }
        let range = seen.header("range")?.strip_prefix("bytes=")?.to_owned();
        assert_eq!(seen.header("if-match"), Some("\"v1\""));
        let (start, end) = range.split_once('-').unwrap();
        let part = &content[start.parse().unwrap()..=end.parse().unwrap()];
        let shown = format!("bytes {range}/*");
        Some(answer(
            stream,
            206,
            &[("content-range", &shown), ("etag", "W/\"v1\"")],
            part,
        ))
    });
    world.download().unwrap();
    assert_holds(&world.path(), &files);
}

#[test]
fn an_object_without_a_version_is_fetched_anew() {
    let is_ill = Arc::new(Mutex::new(true));
    let ill = Arc::clone(&is_ill);
    let files = [("a", noise(10, 1)), ("b", noise(10, 2))];
    let world = world_with(&files, move |seen, stream| {
        if seen.path() == "/ckpts" {
            let of = |name| {
                format!(
                    "<Contents><Key>{}</Key><Size>10</Size></Contents>",
                    key_of(name)
                )
            };
            let body = format!(
                "<ListBucketResult>{}{}</ListBucketResult>",
                of("a"),
                of("b")
            );
            return Some(answer(stream, 200, &[], body.as_bytes()));
        }
        (*ill.lock().unwrap() && seen.path().ends_with("/b")).then(|| refuse(stream, 403, "No"))
    });
    let options = world.options().parallelism(1);
    world
        .checkpoint()
        .download_with(options.clone())
        .unwrap_err();
    *is_ill.lock().unwrap() = false;
    world.checkpoint().download_with(options).unwrap();
    assert_holds(&world.path(), &files);
    assert_eq!(world.asked("a").len(), 2);
}
