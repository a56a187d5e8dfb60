//! The emulators of the three stores: moto, fake-gcs-server and azurite. `emulators.sh` starts them, fills them and runs these tests.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use determined::{Checkpoint, Determined, DownloadMode, DownloadOptions, ErrorKind};
use serde_json::{Value, json};

use crate::support::{RawMaster, json as send_json, tree};

/// What `seed.py` says of the emulators that it has filled: the path of this file is in `EMULATORS`.
fn emulator(name: &str) -> (Value, Value) {
    let path = std::env::var("EMULATORS").expect("EMULATORS: run tests/object_stores/emulators.sh");
    let all: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    (all["stores"][name].clone(), all)
}

/// The files of the checkpoint of this uuid, as they are to come.
fn reference(uuid: &str, all: &Value) -> BTreeMap<String, Vec<u8>> {
    tree(&Path::new(all["reference"].as_str().unwrap()).join(uuid))
}

/// A checkpoint of an emulator, in a master that says that it is in this storage.
fn checkpoint_in(
    storage: &Value,
    store: &Value,
    uuid: &str,
    all: &Value,
) -> (RawMaster, Checkpoint) {
    let resources: BTreeMap<_, _> = reference(uuid, all)
        .into_iter()
        .map(|(name, content)| (name, content.len().to_string()))
        .collect();
    let body = json!({"checkpoint": {
        "uuid": uuid, "reportTime": "2026-11-23T20:14:41.149525Z", "resources": resources, "state": "STATE_COMPLETED",
        "training": {"trialId": 1, "experimentConfig": {"checkpoint_storage": storage}},
    }});
    let master = RawMaster::start(move |_, stream| send_json(stream, 200, &body.to_string()));
    let environment: BTreeMap<String, String> =
        serde_json::from_value(store["environment"].clone()).unwrap();
    let client = Determined::new(master.login_options().environment(environment)).unwrap();
    let checkpoint = client.get_checkpoint(uuid).unwrap();
    (master, checkpoint)
}

fn to(path: &Path) -> DownloadOptions {
    DownloadOptions::new().path(path).mode(DownloadMode::Direct)
}

/// Downloads the checkpoints of an emulator from each storage that `seed.py` lists, and fails where it says that access is denied.
fn download_from(name: &str) {
    let (store, all) = emulator(name);
    for (key, checkpoint) in [
        ("storages", "large"),
        ("prefixed", "small"),
        ("denied", "large"),
    ] {
        let uuid = all[checkpoint].as_str().unwrap();
        let reference = reference(uuid, &all);
        for storage in store[key].as_array().unwrap() {
            let (_master, checkpoint) = checkpoint_in(storage, &store, uuid, &all);
            let scratch = tempfile::tempdir().unwrap();
            let path = scratch.path().join("c");
            let result = checkpoint.download_with(to(&path));
            if key == "denied" {
                let error = result.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Storage, "{storage}: {error}");
                assert!(error.to_string().contains("403"), "{storage}: {error}");
            } else {
                result.unwrap_or_else(|error| panic!("{storage}: {error}"));
                assert!(tree(&path) == reference, "{storage}");
            }
            let left = fs::read_dir(scratch.path()).unwrap();
            assert_eq!(left.count(), usize::from(key != "denied"));
        }
    }
}

#[test]
#[ignore = "needs moto; run emulators.sh"]
fn a_checkpoint_comes_from_s3() {
    download_from("s3");
}

#[test]
#[ignore = "needs fake-gcs-server; run emulators.sh"]
fn a_checkpoint_comes_from_gcs() {
    download_from("gcs");
}

#[test]
#[ignore = "needs azurite; run emulators.sh"]
fn a_checkpoint_comes_from_azure() {
    download_from("azure");
}

#[test]
#[ignore = "needs moto, fake-gcs-server and azurite; run emulators.sh"]
fn a_killed_download_goes_on_where_it_was() {
    const STORE: &str = "FETCH_UNTIL_KILLED_FROM";
    const PATH: &str = "FETCH_UNTIL_KILLED_TO";
    if let (Ok(name), Ok(path)) = (std::env::var(STORE), std::env::var(PATH)) {
        let (store, all) = emulator(&name);
        let uuid = all["large"].as_str().unwrap();
        let (_master, checkpoint) = checkpoint_in(&store["storages"][0], &store, uuid, &all);
        let path = PathBuf::from(path);
        let mark = path.with_extension("stuck");
        let options = to(&path).parallelism(1).on_progress(move |progress| {
            // In the middle of the second piece of the large object.
            if progress.bytes_done > 20 << 20 {
                fs::write(&mark, "").unwrap();
                std::thread::sleep(Duration::from_secs(600));
            }
        });
        checkpoint.download_with(options).unwrap();
        unreachable!("the observer never lets it go on");
    }
    for name in ["s3", "gcs", "azure"] {
        let (store, all) = emulator(name);
        let uuid = all["large"].as_str().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("c");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "emulators::a_killed_download_goes_on_where_it_was",
                "--ignored",
            ])
            .env(STORE, name)
            .env(PATH, &path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mark = path.with_extension("stuck");
        while !mark.exists() {
            assert_eq!(child.try_wait().unwrap(), None, "{name}");
            std::thread::sleep(Duration::from_millis(20));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        fs::remove_file(mark).unwrap();
        assert!(!path.exists());

        // What stands in the first piece now is still there in the end, so it was not fetched again.
        let partial = scratch.path().join(".c.partial/direct/large.bin");
        let mut large = fs::OpenOptions::new().write(true).open(partial).unwrap();
        large.write_all(b"kept").unwrap();
        let (_master, checkpoint) = checkpoint_in(&store["storages"][0], &store, uuid, &all);
        checkpoint.download_with(to(&path)).unwrap();
        let mut expected = reference(uuid, &all);
        expected.get_mut("large.bin").unwrap()[..4].copy_from_slice(b"kept");
        assert!(tree(&path) == expected, "{name}");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "{name}");
    }
}
