//! Downloads through the master and from a shared file system: whole or not at all, whatever the master sends and whatever stands there.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use determined::{CancelToken, Checkpoint, DownloadMode, DownloadOptions, ErrorKind, Progress};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use support::{After, RawMaster, answer, chunk, json as send_json, start_chunked};

const UUID: &str = "0f5581ff-18d1-4a13-8244-feadd21feee2";
const OTHER: &str = "21e6f5bd-dfdd-43d6-8751-a8017e12071f";

/// A checkpoint as the master describes it, stored where nobody finds it.
fn described(uuid: &str) -> Value {
    json!({"checkpoint": {
        "uuid": uuid,
        "reportTime": if uuid == UUID { "2026-11-23T20:10:35.223670Z" } else { "2026-11-23T20:14:41.149525Z" },
        "resources": {"metadata.json": "41", "state.json": "5", "sub/": "0", "sub/w.bin": "2048", "void/": "0"},
        "metadata": {"note": "t", "steps_completed": 5},
        "state": "STATE_COMPLETED",
        "training": {"trialId": 7, "experimentId": 4, "experimentConfig": {
            "checkpoint_storage": {"type": "shared_fs", "host_path": "/nonexistent/storage"},
        }},
    }})
}

/// The files of a checkpoint. Those of two checkpoints have the same names and sizes.
fn files(uuid: &str) -> Vec<(&'static str, Vec<u8>)> {
    let filling = uuid.as_bytes()[0];
    vec![
        (
            "metadata.json",
            b"{\n  \"steps_completed\": 5,\n  \"note\": \"t\"\n}".to_vec(),
        ),
        ("state.json", b"[1,2]".to_vec()),
        ("sub/w.bin", vec![filling; 2048]),
    ]
}

fn archive(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut builder = tar::Builder::new(encoder);
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o666);
        builder
            .append_data(&mut header, name, &content[..])
            .unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// A master with two checkpoints, each described by `describe`, whose archives `send` sends.
fn master(
    describe: impl Fn(&str) -> Value + Send + Sync + 'static,
    send: impl Fn(&str, &mut TcpStream) -> io::Result<After> + Send + Sync + 'static,
) -> RawMaster {
    RawMaster::start(move |seen, stream| {
        let uuid = seen.path().rsplit('/').next().unwrap_or_default();
        if seen.path().starts_with("/checkpoints/") {
            assert_eq!(seen.header("accept"), Some("application/gzip"));
            send(uuid, stream)
        } else {
            send_json(stream, 200, &describe(uuid).to_string())
        }
    })
}

fn send_whole(uuid: &str, stream: &mut TcpStream) -> io::Result<After> {
    answer(
        stream,
        200,
        &[("content-type", "application/gzip")],
        &archive(&files(uuid)),
    )
}

fn good_master() -> RawMaster {
    master(described, send_whole)
}

fn checkpoint(master: &RawMaster, uuid: &str) -> Checkpoint {
    master.client().get_checkpoint(uuid).unwrap()
}

fn to(path: impl AsRef<Path>) -> DownloadOptions {
    DownloadOptions::new()
        .path(path.as_ref())
        .mode(DownloadMode::Master)
}

/// Every file below a directory with its content; directories end in a slash.
fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if path.is_dir() {
                found.insert(name + "/", Vec::new());
                open.push(path);
            } else {
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

fn expected(uuid: &str) -> BTreeMap<String, Vec<u8>> {
    let mut expected: BTreeMap<_, _> = files(uuid)
        .into_iter()
        .map(|(name, content)| (name.to_owned(), content))
        .collect();
    expected.insert("sub/".to_owned(), Vec::new());
    expected.insert("void/".to_owned(), Vec::new());
    expected
}

fn archives_asked(master: &RawMaster) -> usize {
    [UUID, OTHER]
        .iter()
        .map(|uuid| master.count(&format!("/checkpoints/{uuid}")))
        .sum()
}

/// Writes the files of a checkpoint as another program would have left them.
fn write_files(directory: &Path, uuid: &str) {
    fs::create_dir_all(directory.join("sub")).unwrap();
    fs::create_dir_all(directory.join("void")).unwrap();
    for (name, content) in files(uuid) {
        fs::write(directory.join(name), content).unwrap();
    }
}

#[test]
fn a_download_is_whole_and_nothing_else_is_left() {
    let master = good_master();
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a/b/c");
    assert_eq!(
        checkpoint(&master, UUID).download_with(to(&path)).unwrap(),
        path
    );
    assert_eq!(tree(&path), expected(UUID));
    let beside: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(beside.len(), 1);
    let modified = fs::metadata(path.join("state.json")).unwrap().modified();
    let reported: determined::Timestamp = "2026-11-23T20:10:35.223670Z".parse().unwrap();
    assert_eq!(modified.unwrap(), SystemTime::try_from(reported).unwrap());
}

#[cfg(unix)]
#[test]
fn modes_are_those_of_new_files() {
    use std::os::unix::fs::PermissionsExt;
    let master = good_master();
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("c");
    checkpoint(&master, UUID).download_with(to(&path)).unwrap();
    fs::write(scratch.path().join("file"), "").unwrap();
    fs::create_dir(scratch.path().join("directory")).unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(
        mode(path.join("state.json")),
        mode(scratch.path().join("file"))
    );
    for name in ["c", "c/sub", "c/void"] {
        assert_eq!(
            mode(scratch.path().join(name)),
            mode(scratch.path().join("directory")),
            "{name}"
        );
    }
}

#[test]
fn without_a_path_it_goes_below_checkpoints() {
    // The one test that depends on the working directory changes it in a process of its own.
    let scratch = tempfile::tempdir().unwrap();
    if let Ok(url) = std::env::var("DOWNLOAD_HERE_FROM") {
        let options = determined::LoginOptions::new()
            .master(url)
            .user("kim")
            .password("p")
            .token_store(determined::TokenStore::None)
            .environment([("HOME", "/nonexistent")]);
        let client = determined::Determined::new(options).unwrap();
        let path = client.get_checkpoint(UUID).unwrap().download().unwrap();
        assert_eq!(path, Path::new("checkpoints").join(UUID));
        return;
    }
    let master = good_master();
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "without_a_path_it_goes_below_checkpoints"])
        .env("DOWNLOAD_HERE_FROM", &master.url)
        .current_dir(scratch.path())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(
        tree(&scratch.path().join("checkpoints").join(UUID)),
        expected(UUID)
    );
}

#[test]
fn metadata_is_written_only_where_the_checkpoint_has_none() {
    let describe = |uuid: &str| {
        let mut body = described(uuid);
        body["checkpoint"]["resources"] = json!({"w": "3"});
        body["checkpoint"]["metadata"] = json!({"steps_completed": 7, "name": "ü"});
        body
    };
    let master = master(describe, |_, stream| {
        answer(stream, 200, &[], &archive(&[("w", b"abc".to_vec())]))
    });
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("c");
    let checkpoint = checkpoint(&master, UUID);
    checkpoint.download_with(to(&path)).unwrap();
    let text = "{\n  \"name\": \"ü\",\n  \"steps_completed\": 7\n}";
    assert_eq!(
        fs::read_to_string(path.join("metadata.json")).unwrap(),
        text
    );
    fs::remove_file(path.join("metadata.json")).unwrap();
    checkpoint.download_with(to(&path)).unwrap();
    assert_eq!(
        fs::read_to_string(path.join("metadata.json")).unwrap(),
        text
    );
    assert_eq!(archives_asked(&master), 1);
}

#[test]
fn a_whole_download_is_kept() {
    let master = good_master();
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("c");
    let checkpoint = checkpoint(&master, UUID);
    checkpoint.download_with(to(&path)).unwrap();
    fs::write(path.join("notes.txt"), "mine").unwrap();
    let before = tree(&path);
    for mode in [
        DownloadMode::Master,
        DownloadMode::Auto,
        DownloadMode::Direct,
    ] {
        checkpoint.download_with(to(&path).mode(mode)).unwrap();
    }
    assert_eq!(tree(&path), before);
    assert_eq!(archives_asked(&master), 1);
}

#[test]
fn a_whole_download_by_another_program_is_kept() {
    let master = good_master();
    let scratch = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&master, UUID);
    // By its name.
    let named = scratch.path().join(UUID);
    write_files(&named, UUID);
    checkpoint.download_with(to(&named)).unwrap();
    assert_eq!(archives_asked(&master), 0);
    // By comparing.
    let unnamed = scratch.path().join("best");
    write_files(&unnamed, UUID);
    let before = fs::metadata(unnamed.join("sub/w.bin"))
        .unwrap()
        .modified()
        .unwrap();
    checkpoint.download_with(to(&unnamed)).unwrap();
    assert_eq!(archives_asked(&master), 1);
    assert_eq!(tree(&unnamed), expected(UUID));
    assert_eq!(
        fs::metadata(unnamed.join("sub/w.bin"))
            .unwrap()
            .modified()
            .unwrap(),
        before
    );
}

#[test]
fn another_checkpoint_of_the_same_sizes_is_never_taken_for_this_one() {
    let master = good_master();
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("best");
    checkpoint(&master, UUID).download_with(to(&path)).unwrap();
    let error = checkpoint(&master, OTHER)
        .download_with(to(&path))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(tree(&path), expected(UUID));
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
}

#[test]
fn a_part_of_this_checkpoint_is_completed() {
    let master = good_master();
    let scratch = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&master, UUID);
    // What the Python SDK leaves when a download is cut.
    let named = scratch.path().join(UUID);
    write_files(&named, UUID);
    fs::write(named.join("sub/w.bin"), [0; 100]).unwrap();
    checkpoint.download_with(to(&named)).unwrap();
    assert_eq!(tree(&named), expected(UUID));
    // What is left when someone removes a file.
    let unnamed = scratch.path().join("best");
    checkpoint.download_with(to(&unnamed)).unwrap();
    fs::remove_file(unnamed.join("state.json")).unwrap();
    checkpoint.download_with(to(&unnamed)).unwrap();
    assert_eq!(tree(&unnamed), expected(UUID));
}

#[test]
fn what_is_not_this_checkpoint_is_left_alone() {
    let master = good_master();
    let checkpoint = checkpoint(&master, UUID);
    let scratch = tempfile::tempdir().unwrap();
    let other = |name: &str, make: &dyn Fn(&Path)| {
        let path = scratch.path().join(name);
        make(&path);
        let before = path.is_dir().then(|| tree(&path));
        let error = checkpoint.download_with(to(&path)).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Io),
            "{name}: {error}"
        );
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(path.is_dir().then(|| tree(&path)), before, "{name}");
    };
    other("file", &|path| fs::write(path, "x").unwrap());
    other("strange", &|path| {
        fs::create_dir(path).unwrap();
        fs::write(path.join("thesis.tex"), "x").unwrap();
    });
    other("metadata-of-another", &|path| {
        fs::create_dir(path).unwrap();
        fs::write(path.join("metadata.json"), "{}").unwrap();
    });
    other("MLmodel", &|path| {
        fs::create_dir(path).unwrap();
        fs::write(path.join("MLmodel"), "").unwrap();
    });
    // Named after the checkpoint, not whole, and with a file that would be lost if it were replaced.
    other(UUID, &|path| {
        write_files(path, UUID);
        fs::remove_file(path.join("state.json")).unwrap();
        fs::write(path.join("thesis.tex"), "x").unwrap();
    });
    for path in ["", "/"] {
        let error = checkpoint.download_with(to(path)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path:?}: {error}");
    }
    assert_eq!(archives_asked(&master), 0);
}

#[test]
fn an_empty_directory_is_filled_and_stays_the_same_directory() {
    let master = good_master();
    let scratch = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&master, UUID);
    checkpoint.download_with(to(scratch.path())).unwrap();
    assert_eq!(tree(scratch.path()), expected(UUID));
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let empty = tempfile::tempdir().unwrap();
        let before = fs::metadata(empty.path()).unwrap().ino();
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink(empty.path(), &link).unwrap();
        checkpoint.download_with(to(&link)).unwrap();
        assert_eq!(tree(empty.path()), expected(UUID));
        assert_eq!(fs::metadata(empty.path()).unwrap().ino(), before);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_nowhere_is_an_error_before_anything_is_fetched() {
    let master = good_master();
    let scratch = tempfile::tempdir().unwrap();
    let link = scratch.path().join("link");
    std::os::unix::fs::symlink(scratch.path().join("gone"), &link).unwrap();
    let checkpoint = checkpoint(&master, UUID);
    let error = checkpoint.download_with(to(&link)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("leads nowhere"), "{error}");
    // Below a link, and over the parent of a directory that is not there yet.
    fs::create_dir(scratch.path().join("gone")).unwrap();
    for path in [link.join("a/c"), scratch.path().join("new/../c")] {
        checkpoint.download_with(to(&path)).unwrap();
        assert_eq!(tree(&path), expected(UUID));
    }
    let path = scratch.path().join("gone/slash/");
    checkpoint.download_with(to(&path)).unwrap();
    assert_eq!(tree(&path), expected(UUID));
    assert_eq!(archives_asked(&master), 3);
}

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
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn two_downloads_to_one_place_are_one() {
    let master = master(described, |uuid, stream| {
        std::thread::sleep(Duration::from_millis(400));
        send_whole(uuid, stream)
    });
    let scratch = tempfile::tempdir().unwrap();
    for exists in [false, true] {
        let path = scratch.path().join(format!("c{exists}"));
        if exists {
            fs::create_dir(&path).unwrap();
        }
        let before = archives_asked(&master);
        let checkpoint = checkpoint(&master, UUID);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| checkpoint.download_with(to(&path)).unwrap());
            }
        });
        assert_eq!(tree(&path), expected(UUID));
        assert_eq!(archives_asked(&master) - before, 1);
    }
}

#[test]
fn a_killed_download_is_completed_by_the_next() {
    const URL: &str = "DOWNLOAD_UNTIL_KILLED_FROM";
    const PATH: &str = "DOWNLOAD_UNTIL_KILLED_TO";
    if let (Ok(url), Ok(path)) = (std::env::var(URL), std::env::var(PATH)) {
        let options = determined::LoginOptions::new()
            .master(url)
            .user("kim")
            .password("p")
            .token_store(determined::TokenStore::None)
            .environment([("HOME", "/nonexistent")]);
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
            .args(["--exact", "a_killed_download_is_completed_by_the_next"])
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

/// A description that has the checkpoint in a directory of this machine.
fn stored(kind: &'static str, root: &Path) -> impl Fn(&str) -> Value + Send + Sync + 'static {
    let root = root.display().to_string();
    move |uuid| {
        let mut body = described(uuid);
        let storage = match kind {
            "directory" => json!({"type": kind, "container_path": root}),
            "shared_fs" => {
                json!({"type": kind, "host_path": root, "storage_path": null, "propagation": "rprivate"})
            }
            _ => json!({"type": kind, "bucket": "b", "container": "c"}),
        };
        body["checkpoint"]["training"]["experimentConfig"]["checkpoint_storage"] = storage;
        body
    }
}

fn no_archive(_: &str, stream: &mut TcpStream) -> io::Result<After> {
    send_json(stream, 500, r#"{"message":"the master has no storage"}"#)
}

#[test]
fn a_shared_file_system_and_a_directory_are_copied() {
    for kind in ["shared_fs", "directory"] {
        let storage = tempfile::tempdir().unwrap();
        write_files(&storage.path().join(UUID), UUID);
        write_files(&storage.path().join(format!("{UUID}-sibling")), OTHER);
        let master = master(stored(kind, storage.path()), no_archive);
        let scratch = tempfile::tempdir().unwrap();
        for mode in [DownloadMode::Direct, DownloadMode::Auto] {
            let path = scratch.path().join(mode.to_string());
            checkpoint(&master, UUID)
                .download_with(to(&path).mode(mode))
                .unwrap();
            assert_eq!(tree(&path), expected(UUID), "{kind}");
        }
        assert_eq!(archives_asked(&master), 0);
        // Neither way tells its files from those of the other.
        let path = scratch.path().join("direct");
        checkpoint(&master, UUID).download_with(to(&path)).unwrap();
        assert_eq!(archives_asked(&master), 0);
    }
}

#[cfg(unix)]
#[test]
fn links_in_a_shared_file_system_are_followed_and_what_is_no_file_is_refused() {
    let storage = tempfile::tempdir().unwrap();
    let source = storage.path().join(UUID);
    write_files(&source, UUID);
    fs::rename(source.join("sub"), storage.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(storage.path().join("elsewhere"), source.join("sub")).unwrap();
    let master = master(stored("directory", storage.path()), no_archive);
    let scratch = tempfile::tempdir().unwrap();
    let direct = |name: &str| {
        let options = to(scratch.path().join(name)).mode(DownloadMode::Direct);
        checkpoint(&master, UUID).download_with(options)
    };
    assert_eq!(tree(&direct("a").unwrap()), expected(UUID));

    let socket = std::os::unix::net::UnixListener::bind(source.join("socket")).unwrap();
    let error = direct("b").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    drop(socket);
    fs::remove_file(source.join("socket")).unwrap();

    // A circle of links has no end.
    std::os::unix::fs::symlink(&source, source.join("circle")).unwrap();
    let error = direct("c").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn a_storage_out_of_reach_is_told_from_one_that_is_not_there() {
    let storage = tempfile::tempdir().unwrap();
    // Nobody can look below a link to itself, whatever their rights.
    let circle = storage.path().join("circle");
    std::os::unix::fs::symlink(&circle, &circle).unwrap();
    for (root, said) in [
        (circle.as_path(), "cannot read"),
        (storage.path(), "there is no directory"),
    ] {
        let master = master(stored("directory", root), send_whole);
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("c");
        let checkpoint = checkpoint(&master, UUID);
        let error = checkpoint
            .download_with(to(&path).mode(DownloadMode::Direct))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
        assert!(error.to_string().contains(said), "{error}");
        checkpoint
            .download_with(to(&path).mode(DownloadMode::Auto))
            .unwrap();
        assert_eq!(tree(&path), expected(UUID));
    }
}

#[test]
fn auto_falls_back_on_whatever_the_master_can_heal() {
    let storage = tempfile::tempdir().unwrap();
    let source = storage.path().join(UUID);
    fs::create_dir(&source).unwrap();
    let cut = tempfile::tempdir().unwrap();
    write_files(&cut.path().join(UUID), UUID);
    fs::write(cut.path().join(UUID).join("sub/w.bin"), "short").unwrap();
    let with = |change: fn(&mut Value)| {
        move |uuid: &str| {
            let mut body = described(uuid);
            change(&mut body["checkpoint"]["training"]);
            body
        }
    };
    type Describe = Box<dyn Fn(&str) -> Value + Send + Sync>;
    let table: Vec<(&str, ErrorKind, Describe)> = vec![
        ("no such directory", ErrorKind::Storage, Box::new(described)),
        (
            "missing files",
            ErrorKind::Storage,
            Box::new(stored("directory", storage.path())),
        ),
        (
            "a file that is cut",
            ErrorKind::Storage,
            Box::new(stored("shared_fs", cut.path())),
        ),
        (
            "an unknown type",
            ErrorKind::Storage,
            Box::new(stored("hdfs", storage.path())),
        ),
        (
            "no training",
            ErrorKind::Storage,
            Box::new(with(|training| *training = json!(null))),
        ),
        (
            "no storage",
            ErrorKind::Storage,
            Box::new(with(|training| training["experimentConfig"] = json!({}))),
        ),
        (
            "no host_path",
            ErrorKind::Storage,
            Box::new(with(|training| {
                training["experimentConfig"]["checkpoint_storage"] = json!({"type": "shared_fs"});
            })),
        ),
    ];
    for (name, kind, describe) in table {
        let describe = Arc::new(describe);
        let scratch = tempfile::tempdir().unwrap();
        let direct = to(scratch.path().join("d")).mode(DownloadMode::Direct);
        let auto = to(scratch.path().join("a")).mode(DownloadMode::Auto);

        let same = Arc::clone(&describe);
        let healthy = master(move |uuid| same(uuid), send_whole);
        let error = checkpoint(&healthy, UUID)
            .download_with(direct)
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        let path = checkpoint(&healthy, UUID)
            .download_with(auto.clone())
            .unwrap();
        assert_eq!(tree(&path), expected(UUID), "{name}");

        fs::remove_dir_all(&path).unwrap();
        let ill = master(move |uuid| describe(uuid), no_archive);
        let both = checkpoint(&ill, UUID).download_with(auto).unwrap_err();
        assert_eq!(
            (both.kind(), both.status()),
            (ErrorKind::Api, Some(500)),
            "{name}"
        );
        assert_eq!(both.server_message(), Some("the master has no storage"));
        let direct = error.to_string();
        let cause = direct.split_once(": ").unwrap().1;
        assert!(
            both.to_string().contains(cause),
            "{name}: {both} does not tell {cause}"
        );
        assert!(
            both.to_string().contains("the master has no storage"),
            "{both}"
        );
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn auto_does_not_ask_the_master_about_this_machines_own_faults() {
    let storage = tempfile::tempdir().unwrap();
    write_files(&storage.path().join(UUID), UUID);
    let master = master(stored("directory", storage.path()), send_whole);
    let token = CancelToken::new();
    let scratch = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&master, UUID);
    let button = token.clone();
    let options = to(scratch.path().join("c"))
        .mode(DownloadMode::Auto)
        .cancel(&token)
        .on_progress(move |_| button.cancel());
    let error = checkpoint.download_with(options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert_eq!(archives_asked(&master), 0);

    fs::write(scratch.path().join("file"), "").unwrap();
    let options = to(scratch.path().join("file/c")).mode(DownloadMode::Auto);
    let error = checkpoint.download_with(options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert_eq!(archives_asked(&master), 0);
}
