//! A master with two checkpoints, and what is to come out of it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::Path;

use determined::{Checkpoint, DownloadMode, DownloadOptions};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

pub(crate) use crate::support::tree;
use crate::support::{After, RawMaster, answer, json as send_json};

pub(crate) const UUID: &str = "0f5581ff-18d1-4a13-8244-feadd21feee2";
pub(crate) const OTHER: &str = "21e6f5bd-dfdd-43d6-8751-a8017e12071f";

/// A checkpoint as the master describes it, stored where nobody finds it.
pub(crate) fn described(uuid: &str) -> Value {
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
pub(crate) fn files(uuid: &str) -> Vec<(&'static str, Vec<u8>)> {
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

pub(crate) fn archive(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
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
pub(crate) fn master(
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

pub(crate) fn send_whole(uuid: &str, stream: &mut TcpStream) -> io::Result<After> {
    answer(
        stream,
        200,
        &[("content-type", "application/gzip")],
        &archive(&files(uuid)),
    )
}

pub(crate) fn good_master() -> RawMaster {
    master(described, send_whole)
}

pub(crate) fn checkpoint(master: &RawMaster, uuid: &str) -> Checkpoint {
    master.client().get_checkpoint(uuid).unwrap()
}

pub(crate) fn to(path: impl AsRef<Path>) -> DownloadOptions {
    DownloadOptions::new()
        .path(path.as_ref())
        .mode(DownloadMode::Master)
}

pub(crate) fn expected(uuid: &str) -> BTreeMap<String, Vec<u8>> {
    let mut expected: BTreeMap<_, _> = files(uuid)
        .into_iter()
        .map(|(name, content)| (name.to_owned(), content))
        .collect();
    expected.insert("sub/".to_owned(), Vec::new());
    expected.insert("void/".to_owned(), Vec::new());
    expected
}

pub(crate) fn archives_asked(master: &RawMaster) -> usize {
    [UUID, OTHER]
        .iter()
        .map(|uuid| master.count(&format!("/checkpoints/{uuid}")))
        .sum()
}

/// Writes the files of a checkpoint as another program would have left them.
pub(crate) fn write_files(directory: &Path, uuid: &str) {
    fs::create_dir_all(directory.join("sub")).unwrap();
    fs::create_dir_all(directory.join("void")).unwrap();
    for (name, content) in files(uuid) {
        fs::write(directory.join(name), content).unwrap();
    }
}
