//! The emulators of the three stores: moto, fake-gcs-server and azurite. `emulators.sh` starts them, fills them and runs these tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use determined::{Determined, DownloadMode, DownloadOptions, ErrorKind};
use serde_json::{Value, json};

use crate::support::{RawMaster, json as send_json};

/// What `seed.py` says of the emulators that it has filled: the path of this file is in `EMULATORS`.
fn emulator(name: &str) -> (Value, Value) {
    let path = std::env::var("EMULATORS").expect("EMULATORS: run tests/object_stores/emulators.sh");
    let all: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    (all["stores"][name].clone(), all)
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

/// Downloads the checkpoint of an emulator in each way that `stores` lists, and fails in each that it lists as denied.
fn download_from(name: &str) {
    let (store, all) = emulator(name);
    let uuid = all["uuid"].as_str().unwrap().to_owned();
    let reference = tree(Path::new(all["reference"].as_str().unwrap()));
    let resources: BTreeMap<_, _> = reference
        .iter()
        .map(|(name, content)| (name.clone(), content.len().to_string()))
        .collect();
    let ways = |key: &str| store[key].as_array().unwrap().clone();
    assert!(!ways("storages").is_empty());
    for (storage, is_denied) in ways("storages")
        .into_iter()
        .map(|storage| (storage, false))
        .chain(ways("denied").into_iter().map(|storage| (storage, true)))
    {
        let shown = storage.to_string();
        let body = json!({"checkpoint": {
            "uuid": uuid, "reportTime": "2026-11-23T20:14:41.149525Z", "resources": resources, "state": "STATE_COMPLETED",
            "training": {"trialId": 1, "experimentConfig": {"checkpoint_storage": storage}},
        }});
        let master = RawMaster::start(move |_, stream| send_json(stream, 200, &body.to_string()));
        let environment: BTreeMap<String, String> =
            serde_json::from_value(store["environment"].clone()).unwrap();
        let client = Determined::new(master.login_options().environment(environment)).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("c");
        let options = DownloadOptions::new()
            .path(&path)
            .mode(DownloadMode::Direct);
        let result = client.get_checkpoint(&uuid).unwrap().download_with(options);
        if is_denied {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Storage, "{shown}: {error}");
            assert!(error.to_string().contains("403"), "{shown}: {error}");
            assert!(!path.exists());
        } else {
            result.unwrap_or_else(|error| panic!("{shown}: {error}"));
            assert!(tree(&path) == reference, "{shown}");
            assert!(!scratch.path().join(&uuid).exists());
        }
        assert_eq!(
            fs::read_dir(scratch.path()).unwrap().count(),
            usize::from(!is_denied)
        );
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
