//! Downloads of hostile archives, to bad disks, and by processes that are killed.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use determined::{Checkpoint, DownloadMode, DownloadOptions, ErrorKind};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use crate::support::{RawMaster, answer, chunk, json as answer_json, start_chunked};

const UUID: &str = "84f9077e-f173-46ce-a813-3a7dcd8b5b34";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An entry under a name as it is: the library that writes archives refuses what a hostile one holds.
fn entry(name: &str, kind: EntryType, size: u64, link: &str) -> Header {
    let mut header = Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o777);
    header.set_cksum();
    header
}

/// A good file, and then what `add` adds.
fn archive(add: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    builder
        .append(
            &entry("state.json", EntryType::Regular, 11, ""),
            &b"hello world"[..],
        )
        .unwrap();
    add(&mut builder);
    gzip(&builder.into_inner().unwrap())
}

fn described(uuid: &str, resources: &Value) -> String {
    json!({"checkpoint": {
        "uuid": uuid, "state": "STATE_COMPLETED", "reportTime": "2026-11-23T20:04:32.069202Z",
        "resources": resources, "metadata": {"steps_completed": 1},
        "training": {"trialId": 1, "experimentConfig": {"checkpoint_storage": {"type": "shared_fs"}}}
    }})
    .to_string()
}

/// A master that sends this archive for a checkpoint of one file.
fn master(archive: Vec<u8>) -> RawMaster {
    RawMaster::start(move |seen, stream| match seen.path() {
        path if path.starts_with("/api/v1/") => {
            answer_json(stream, 200, &described(UUID, &json!({"state.json": "11"})))
        }
        _ => answer(
            stream,
            200,
            &[("content-type", "application/gzip")],
            &archive,
        ),
    })
}

fn checkpoint(master: &RawMaster) -> Checkpoint {
    master.client().get_checkpoint(UUID).unwrap()
}

fn to(path: impl AsRef<Path>) -> DownloadOptions {
    DownloadOptions::new()
        .path(path.as_ref())
        .mode(DownloadMode::Master)
}

/// All files and directories below `root`.
fn below(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            found.append(&mut below(&path));
        }
        found.push(path.strip_prefix(root).unwrap_or(&path).to_owned());
    }
    found
}

#[test]
fn nothing_in_an_archive_leads_out_of_the_target() {
    let outside = tempfile::tempdir().unwrap();
    let aim = outside.path().join("evil").display().to_string();
    let file = |name: &str| {
        let name = name.to_owned();
        archive(move |builder| {
            builder
                .append(&entry(&name, EntryType::Regular, 4, ""), &b"evil"[..])
                .unwrap();
        })
    };
    let special = |kind: EntryType, link: &str| {
        let link = link.to_owned();
        archive(move |builder| {
            builder
                .append(&entry("x", kind, 0, &link), &b""[..])
                .unwrap();
            builder
                .append(&entry("x/evil", EntryType::Regular, 4, ""), &b"evil"[..])
                .unwrap();
        })
    };
    let rows = [
        ("a name that leads up", file("../evil")),
        ("a name that leads up and down", file("a/../../evil")),
        ("an absolute name", file(&aim)),
        (
            "an absolute name with two slashes",
            file(&format!("/{aim}")),
        ),
        ("the directory itself", file(".")),
        ("no name", file("")),
        (
            "a directory that leads up",
            archive(|builder| {
                builder
                    .append(&entry("../evil/", EntryType::Directory, 0, ""), &b""[..])
                    .unwrap();
            }),
        ),
        (
            "a link out",
            special(EntryType::Symlink, outside.path().to_str().unwrap()),
        ),
        ("a link up", special(EntryType::Symlink, "..")),
        ("a hard link", special(EntryType::Link, "/etc/passwd")),
        ("a character device", special(EntryType::Char, "")),
        ("a block device", special(EntryType::Block, "")),
        ("a pipe", special(EntryType::Fifo, "")),
        (
            "a long name that leads up",
            archive(|builder| {
                let name = format!("{}/{}evil", "d".repeat(150), "../".repeat(60));
                builder
                    .append(
                        &entry(
                            "././@LongLink",
                            EntryType::GNULongName,
                            name.len() as u64,
                            "",
                        ),
                        name.as_bytes(),
                    )
                    .unwrap();
                builder
                    .append(&entry("short", EntryType::Regular, 4, ""), &b"evil"[..])
                    .unwrap();
            }),
        ),
        (
            "a PAX name that leads up",
            archive(|builder| {
                // A record begins with its own length.
                let record = "22 path=../../../evil\n";
                builder
                    .append(
                        &entry("pax", EntryType::XHeader, record.len() as u64, ""),
                        record.as_bytes(),
                    )
                    .unwrap();
                builder
                    .append(&entry("short", EntryType::Regular, 4, ""), &b"evil"[..])
                    .unwrap();
            }),
        ),
    ];
    for (name, bytes) in rows {
        let scratch = tempfile::tempdir().unwrap();
        let parent = scratch.path().join("parent");
        fs::create_dir(&parent).unwrap();
        let error = checkpoint(&master(bytes))
            .download_with(to(parent.join("c")))
            .expect_err(name);
        assert!(
            matches!(
                error.kind(),
                ErrorKind::Storage | ErrorKind::InvalidResponse
            ),
            "{name}: {error}"
        );
        assert_eq!(below(scratch.path()), [Path::new("parent")], "{name}");
        assert!(below(outside.path()).is_empty(), "{name}");
    }
}

#[test]
fn a_bomb_is_stopped_long_before_it_fills_the_disk() {
    let claims = |size: u64| {
        move |builder: &mut Builder<Vec<u8>>| {
            builder
                .append(
                    &entry("claims", EntryType::Regular, size, ""),
                    &b"little"[..],
                )
                .unwrap();
        }
    };
    let rows = [
        ("a large file", archive(claims(17 << 20))),
        (
            "a file that claims the most",
            archive(claims(u64::MAX >> 1)),
        ),
        (
            "many files",
            archive(|builder| {
                for n in 0..1200 {
                    let header = entry(&format!("f{n}"), EntryType::Regular, 0, "");
                    builder.append(&header, &b""[..]).unwrap();
                }
            }),
        ),
        (
            "many directories",
            archive(|builder| {
                for n in 0..1200 {
                    let header = entry(&format!("d{n}/"), EntryType::Directory, 0, "");
                    builder.append(&header, &b""[..]).unwrap();
                }
            }),
        ),
        ("a reported file that is larger", {
            let mut builder = Builder::new(Vec::new());
            let header = entry("state.json", EntryType::Regular, 1 << 20, "");
            builder.append(&header, &vec![0; 1 << 20][..]).unwrap();
            gzip(&builder.into_inner().unwrap())
        }),
        ("headers without end", {
            let name = vec![b'a'; 2 << 20];
            archive(move |builder| {
                let header = entry(
                    "././@LongLink",
                    EntryType::GNULongName,
                    name.len() as u64,
                    "",
                );
                builder.append(&header, &name[..]).unwrap();
            })
        }),
        ("blanks after the end", {
            let tar = archive(|_| {});
            let zeros = gzip(&vec![0; 2 << 20]);
            [tar, zeros].concat()
        }),
    ];
    for (name, bytes) in rows {
        let scratch = tempfile::tempdir().unwrap();
        let error = checkpoint(&master(bytes))
            .download_with(to(scratch.path().join("c")))
            .expect_err(name);
        assert!(
            matches!(
                error.kind(),
                ErrorKind::Storage | ErrorKind::InvalidResponse | ErrorKind::Connection
            ),
            "{name}: {error}"
        );
        assert!(error.to_string().contains(UUID), "{name}: {error}");
        assert!(below(scratch.path()).is_empty(), "{name}");
    }
}

#[test]
fn an_archive_that_is_damaged_anywhere_never_passes_for_whole() {
    let whole = archive(|_| {});
    let sent = Arc::new(Mutex::new(Vec::new()));
    let sending = Arc::clone(&sent);
    let master = RawMaster::start(move |seen, stream| match seen.path() {
        path if path.starts_with("/api/v1/") => {
            answer_json(stream, 200, &described(UUID, &json!({"state.json": "11"})))
        }
        _ => answer(stream, 200, &[], &sending.lock().unwrap()),
    });
    let checkpoint = checkpoint(&master);
    let scratch = tempfile::tempdir().unwrap();
    let download = |name: String, bytes: Vec<u8>| {
        *sent.lock().unwrap() = bytes;
        let path = scratch.path().join(name);
        let downloaded = checkpoint.download_with(to(&path));
        (path, downloaded)
    };
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        let (path, downloaded) = download(at.to_string(), bytes);
        match downloaded {
            Err(_) => assert!(!path.exists(), "byte {at}"),
            // There is a time and the name of a system in the gzip header, which nobody checks.
            Ok(_) => assert_eq!(
                fs::read(path.join("state.json")).unwrap(),
                b"hello world",
                "byte {at}"
            ),
        }
    }
    for length in (0..whole.len()).step_by(3) {
        let (path, cut) = download(format!("cut-{length}"), whole[..length].to_vec());
        let error = cut.unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::Connection,
            "{length} bytes: {error}"
        );
        assert!(!path.exists());
    }
}

#[test]
fn what_is_no_archive_is_named_and_leaves_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    for foreign in [
        "<html>Sign in</html>",
        r#"{"message":"no"}"#,
        "PK\u{3}\u{4}",
    ] {
        let master = master(foreign.as_bytes().to_vec());
        let error = checkpoint(&master)
            .download_with(to(scratch.path().join("c")))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("/checkpoints/{UUID}")), "{text}");
        assert!(
            text.contains("not the answer of a Determined master"),
            "{text}"
        );
    }
    let master = RawMaster::start(|seen, stream| match seen.path().ends_with("/model_def") {
        true => answer(
            stream,
            200,
            &[("content-type", "text/html")],
            b"<html>Sign in</html>",
        ),
        false => answer_json(stream, 200, crate::EXPERIMENT),
    });
    let experiment = master.client().get_experiment(1).unwrap();
    let error = experiment
        .download_code(scratch.path().join("code"))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("not the answer of a Determined master"),
        "{error}"
    );
    assert_eq!(below(scratch.path()), Vec::<PathBuf>::new());
}

#[test]
fn an_archive_that_goes_on_without_holding_anything_is_refused() {
    // Each of these is a whole gzip stream, and empty.
    let empty = gzip(b"").repeat(512);
    for start in [Vec::new(), archive(|_| ())] {
        let empty = empty.clone();
        let master = RawMaster::start(move |seen, stream| {
            if seen.path().starts_with("/api/v1/") {
                return answer_json(stream, 200, &described(UUID, &json!({"state.json": "11"})));
            }
            start_chunked(stream)?;
            if !start.is_empty() {
                chunk(stream, &start)?;
            }
            loop {
                chunk(stream, &empty)?;
            }
        });
        let scratch = tempfile::tempdir().unwrap();
        let error = checkpoint(&master)
            .download_with(to(scratch.path().join("c")))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{error}");
        assert!(
            error.to_string().contains("without holding anything"),
            "{error}"
        );
        assert_eq!(below(scratch.path()), Vec::<PathBuf>::new());
    }
}

#[test]
fn the_uuid_of_a_hostile_listing_does_not_choose_the_place() {
    let master = RawMaster::start(|seen, stream| match seen.path() {
        "/api/v1/experiments/1" => answer_json(stream, 200, crate::EXPERIMENT),
        "/api/v1/experiments/1/checkpoints" => {
            let listed: Value = serde_json::from_str(&described("../../evil", &json!({}))).unwrap();
            let body = json!({"checkpoints": [listed["checkpoint"]]}).to_string();
            answer_json(stream, 200, &body)
        }
        path if path.starts_with("/api/v1/") => {
            answer_json(stream, 200, &described(UUID, &json!({"state.json": "11"})))
        }
        _ => answer(stream, 200, &[], &archive(|_| {})),
    });
    let experiment = master.client().get_experiment(1).unwrap();
    let checkpoint = experiment.list_checkpoints().unwrap().remove(0);
    let error = checkpoint.download().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{error}");
}

#[test]
fn a_place_that_cannot_be_written_is_an_error_of_this_machine() {
    let master = master(archive(|_| {}));
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("file");
    fs::write(&file, "kept").unwrap();
    let mut places = vec![
        file.clone(),
        file.join("below"),
        "/proc/nothing/here".into(),
    ];
    places.push(scratch.path().join("n".repeat(300)));
    for place in places {
        let error = checkpoint(&master).download_with(to(&place)).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Io | ErrorKind::InvalidInput),
            "{}: {error}",
            place.display()
        );
    }
    assert_eq!(fs::read(&file).unwrap(), b"kept");
    assert_eq!(below(scratch.path()).len(), 1);
}
