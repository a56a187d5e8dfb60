//! Downloads through the master: what it sends, what it does not send, and how it says so.

use std::fs;
use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use determined::{CancelToken, ErrorKind, Progress};
use serde_json::json;

use crate::support::{After, answer, chunk, json as send_json, start_chunked};
use crate::world::{
    UUID, archive, checkpoint, described, expected, files, good_master, master, send_whole, to,
    tree,
};

#[test]
fn a_download_that_is_cut_leaves_nothing_and_the_next_is_whole() {
    type Cut = fn(&mut TcpStream, &[u8]) -> io::Result<After>;
    let cuts: [(&str, Cut); 4] = [
        ("a reset", |stream, bytes| {
            start_chunked(stream)?;
            chunk(stream, &bytes[..bytes.len() / 2])?;
            Ok(After::Close)
        }),
        ("a short body", |stream, bytes| {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", bytes.len());
            stream.write_all(head.as_bytes())?;
            stream.write_all(&bytes[..bytes.len() / 2])?;
            Ok(After::Close)
        }),
        ("a clean end", |stream, bytes| {
            answer(stream, 200, &[], &bytes[..bytes.len() / 2])
        }),
        ("nothing", |stream, _| answer(stream, 200, &[], b"")),
    ];
    for (name, cut) in cuts {
        let times = Arc::new(Mutex::new(0));
        let master = master(described, move |uuid, stream| {
            *times.lock().unwrap() += 1;
            match *times.lock().unwrap() {
                1 => cut(stream, &archive(&files(uuid))),
                _ => send_whole(uuid, stream),
            }
        });
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("c");
        let checkpoint = checkpoint(&master, UUID);
        let error = checkpoint.download_with(to(&path)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connection, "{name}: {error}");
        assert!(error.to_string().contains(UUID), "{error}");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "{name}");
        checkpoint.download_with(to(&path)).unwrap();
        assert_eq!(tree(&path), expected(UUID), "{name}");
    }
}

#[test]
fn an_archive_that_is_not_the_checkpoint_is_refused() {
    let plain = files(UUID);
    let missing = plain[..2].to_vec();
    let mut short = plain.clone();
    short[2].1.truncate(2000);
    let mut bomb = plain.clone();
    bomb.push(("bomb", vec![0; 40 << 20]));
    let mut many = plain.clone();
    let names: Vec<String> = (0..2000).map(|n| format!("f{n}")).collect();
    many.extend(
        names
            .iter()
            .map(|name| (&**name, Vec::new()))
            .map(|(name, content)| {
                (
                    Box::leak(name.to_owned().into_boxed_str()) as &'static str,
                    content,
                )
            }),
    );
    for (what, files) in [
        ("missing", missing),
        ("short", short),
        ("bomb", bomb),
        ("many", many),
    ] {
        let bytes = archive(&files);
        let master = master(described, move |_, stream| answer(stream, 200, &[], &bytes));
        let scratch = tempfile::tempdir().unwrap();
        let error = checkpoint(&master, UUID)
            .download_with(to(scratch.path().join("c")))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage, "{what}: {error}");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "{what}");
    }
}

#[test]
fn a_refusal_and_a_web_page_are_told() {
    let said = r#"{"message":"unable to download checkpoint: NoCredentialProviders"}"#;
    let refusing = master(described, move |_, stream| send_json(stream, 500, said));
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("c");
    let error = checkpoint(&refusing, UUID)
        .download_with(to(&path))
        .unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Api, Some(500)));
    assert_eq!(
        error.to_string(),
        format!(
            "could not download checkpoint {UUID} (GET /checkpoints/{UUID}): 500 Internal Server Error: unable to download checkpoint: NoCredentialProviders"
        )
    );
    let page = master(described, |_, stream| {
        answer(
            stream,
            200,
            &[("content-type", "text/html")],
            b"<html>log in</html>",
        )
    });
    let error = checkpoint(&page, UUID)
        .download_with(to(&path))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{error}");
    assert!(!path.exists());
}

#[test]
fn the_state_is_asked_anew() {
    let state = Arc::new(Mutex::new("STATE_COMPLETED"));
    let now = Arc::clone(&state);
    let describe = move |uuid: &str| {
        let mut body = described(uuid);
        body["checkpoint"]["state"] = json!(*now.lock().unwrap());
        body
    };
    let master = master(describe, send_whole);
    let scratch = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&master, UUID);
    for gone in [
        "STATE_DELETED",
        "STATE_ACTIVE",
        "STATE_ERROR",
        "STATE_UNSPECIFIED",
    ] {
        *state.lock().unwrap() = gone;
        let error = checkpoint
            .download_with(to(scratch.path().join("c")))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CheckpointUnavailable, "{error}");
    }
    *state.lock().unwrap() = "STATE_PARTIALLY_DELETED";
    checkpoint
        .download_with(to(scratch.path().join("c")))
        .unwrap();
}

#[test]
fn hostile_names_in_the_masters_account_are_refused() {
    let describe = |uuid: &str| {
        let mut body = described(uuid);
        body["checkpoint"]["resources"] = json!({"../evil": "3"});
        body
    };
    let master = master(describe, send_whole);
    let scratch = tempfile::tempdir().unwrap();
    let error = checkpoint(&master, UUID)
        .download_with(to(scratch.path().join("c")))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);

    let describe = |_: &str| described("../../evil");
    let master = self::master(describe, send_whole);
    let error = checkpoint(&master, UUID).download().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{error}");
}

#[test]
fn progress_reaches_its_totals() {
    let master = good_master();
    let scratch = tempfile::tempdir().unwrap();
    let seen: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let log = Arc::clone(&seen);
    let options = to(scratch.path().join("c"))
        .on_progress(move |progress| log.lock().unwrap().push(progress.clone()));
    checkpoint(&master, UUID).download_with(options).unwrap();
    let seen = seen.lock().unwrap();
    let last = seen.last().unwrap();
    assert_eq!((last.bytes_done, last.bytes_total), (2094, Some(2094)));
    assert_eq!((last.files_done, last.files_total), (3, Some(3)));
    assert_eq!(last.fraction, Some(1.0));
}

#[test]
fn cancelling_ends_a_silent_download_within_a_second() {
    let master = master(described, |uuid, stream| {
        start_chunked(stream)?;
        chunk(stream, &archive(&files(uuid))[..64])?;
        std::thread::sleep(Duration::from_secs(20));
        Ok(After::Close)
    });
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("c");
    let token = CancelToken::new();
    let checkpoint = checkpoint(&master, UUID);
    let button = token.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        button.cancel();
    });
    let started = Instant::now();
    let error = checkpoint
        .download_with(to(&path).cancel(&token))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert!(started.elapsed() < Duration::from_secs(15));
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn a_killed_download_is_completed_by_the_next() {
    const URL: &str = "DOWNLOAD_UNTIL_KILLED_FROM";
    const PATH: &str = "DOWNLOAD_UNTIL_KILLED_TO";
    if let (Ok(url), Ok(path)) = (std::env::var(URL), std::env::var(PATH)) {
        let options = crate::support::options(&url);
        let client = determined::Determined::new(options).unwrap();
        let checkpoint = client.get_checkpoint(UUID).unwrap();
        checkpoint.download_with(to(path)).unwrap();
        unreachable!("the archive has no end");
    }
    let times = Arc::new(Mutex::new(0));
    let is_stuck = Arc::clone(&times);
    let master = master(described, move |uuid, stream| {
        *times.lock().unwrap() += 1;
        if *times.lock().unwrap() <= 2 {
            let bytes = archive(&files(uuid));
            start_chunked(stream)?;
            chunk(stream, &bytes[..bytes.len() - 8])?;
            std::thread::sleep(Duration::from_secs(60));
            return Ok(After::Close);
        }
        send_whole(uuid, stream)
    });
    let scratch = tempfile::tempdir().unwrap();
    let existing = scratch.path().join("existing");
    fs::create_dir(&existing).unwrap();
    for (n, path) in [scratch.path().join("new"), existing].iter().enumerate() {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "master::a_killed_download_is_completed_by_the_next",
            ])
            .env(URL, &master.url)
            .env(PATH, path)
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while *is_stuck.lock().unwrap() <= n && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(300));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!path.join("metadata.json").exists());
    }
    for name in ["new", "existing"] {
        let path = scratch.path().join(name);
        checkpoint(&master, UUID).download_with(to(&path)).unwrap();
        assert_eq!(tree(&path), expected(UUID), "{name}");
    }
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2);
}
