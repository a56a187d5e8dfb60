//! Checkpoints.

use std::fs;
use std::path::Path;

use determined::{DownloadMode, DownloadOptions, ErrorKind};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::experiments::at_once;
use super::inputs::Inputs;
use crate::bucket::Bucket;
use crate::replay::Replay;
use crate::support::RawMaster;

#[test]
fn a_checkpoint_and_its_metadata() {
    let mut replay = Replay::start("checkpoint_reads");
    let client = replay.client("determined");
    let experiment = replay.done(client.get_experiment(4));
    let best = replay.done(experiment.list_checkpoints()).swap_remove(0);

    let mut c = replay.returns("d.get_checkpoint(u)", client.get_checkpoint(&best.uuid));
    let additions = json!({"color": "blue", "nested": {"a": [1, 2.5, null]}});
    replay.returns(
        "c.add_metadata({'color': 'blue', 'nested': {'a': [1, 2.5, None]}})",
        c.add_metadata(additions),
    );
    replay.returns("c.metadata", Ok(&c.metadata));
    replay.returns("c.remove_metadata(['color'])", c.remove_metadata(["color"]));
    replay.returns("c.metadata", Ok(&c.metadata));
    replay.returns(
        "c.remove_metadata(['never-there'])",
        c.remove_metadata(["never-there"]),
    );
    replay.returns(
        "c.add_metadata({'nested': 1})",
        c.add_metadata(json!({"nested": 1})),
    );
    replay.returns("c.reload()", c.reload());
    replay.returns("c.metadata", Ok(&c.metadata));
    replay.returns(
        "c.remove_metadata(['nested'])",
        c.remove_metadata(["nested"]),
    );
    let metrics = c
        .iter_metrics(None)
        .and_then(Iterator::collect::<determined::Result<Vec<_>>>);
    replay.returns("c.get_metrics()", metrics);
    let call = "d.get_checkpoint('not-a-uuid')";
    replay.raises(call, ErrorKind::Api, client.get_checkpoint("not-a-uuid"));
    let nowhere = "00000000-0000-4000-8000-000000000000";
    let call = "d.get_checkpoint('00000000-0000-4000-8000-000000000000')";
    replay.raises(call, ErrorKind::NotFound, client.get_checkpoint(nowhere));
    replay.finish();
}

/// What is below a directory, sorted.
pub fn below(directory: &Path) -> Vec<String> {
    fn walk(directory: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory)
            .into_iter()
            .flatten()
            .map(Result::unwrap)
        {
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &format!("{name}/"), found);
            }
            found.push(name);
        }
    }
    let mut found = Vec::new();
    walk(directory, "", &mut found);
    found.sort();
    found
}

#[test]
fn a_checkpoint_is_downloaded() {
    let scratch = TempDir::new().unwrap();
    let (storage, out) = (scratch.path().join("storage"), scratch.path().join("out"));
    let places = [
        ("/srv/checkpoints", storage.to_str().unwrap()),
        ("OUT", out.to_str().unwrap()),
    ];
    let mut replay = Replay::start_with("checkpoint_download", &places);
    let client = replay.client("determined");
    let experiment = replay.done(client.get_experiment(4));
    let best = replay.done(experiment.list_checkpoints()).swap_remove(0);

    let c = replay.returns("d.get_checkpoint(u)", client.get_checkpoint(&best.uuid));
    let into = |name, mode| c.download_with(DownloadOptions::new().path(out.join(name)).mode(mode));
    let by_master = into("m", DownloadMode::Master);
    let by_master = replay.returns(
        "c.download(str(o / 'm'), mode=DownloadMode.MASTER)",
        by_master,
    );
    replay.returns(
        "sorted(str(p.relative_to(o / 'm')) for p in (o / 'm').rglob('*'))",
        Ok(below(&by_master)),
    );

    // From here on the checkpoint lies where the experiment's storage is: what the master sent.
    fs::create_dir(&storage).unwrap();
    fs::rename(&by_master, storage.join(&c.uuid)).unwrap();
    let directly = into("d", DownloadMode::Direct);
    let directly = replay.returns(
        "c.download(str(o / 'd'), mode=DownloadMode.DIRECT)",
        directly,
    );
    replay.returns(
        "sorted(str(p.relative_to(o / 'd')) for p in (o / 'd').rglob('*'))",
        Ok(below(&directly)),
    );
    let metadata: Value =
        serde_json::from_slice(&fs::read(directly.join("metadata.json")).unwrap()).unwrap();
    replay.returns("json.load(open(o / 'd' / 'metadata.json'))", Ok(metadata));
    replay.returns("c.download(str(o / 'a'))", into("a", DownloadMode::Auto));
    assert_eq!(below(&out.join("a")), below(&directly));
    replay.finish();
}

/// The store that was recorded at 127.0.0.1:9000 is at `endpoint` here.
fn a_checkpoint_that_the_master_cannot_read(endpoint: &str) {
    let inputs = Inputs::new();
    let places = [
        ("http://127.0.0.1:9000", endpoint),
        ("OUT", inputs.directory().to_str().unwrap()),
    ];
    let mut replay = Replay::start_with("checkpoint_download_s3", &places);
    let client = replay.client("determined");
    let config = fs::read_to_string(inputs.path("exp.yaml")).unwrap();
    let config = config.replace("decay-search", "s3-search").replace(
        "{type: shared_fs, host_path: /srv/checkpoints,",
        &format!("{{type: s3, bucket: ckpts, access_key: kkkk, secret_key: ssss, endpoint_url: \"{endpoint}\", prefix: my/prefix,"),
    );
    inputs.write("s3.yaml", &config);
    let experiment =
        replay.done(client.create_experiment(inputs.path("s3.yaml"), inputs.path("model")));
    replay.done(experiment.wait_with(at_once()));
    let best = replay.done(experiment.list_checkpoints()).swap_remove(0);

    let c = replay.returns("d.get_checkpoint(u)", client.get_checkpoint(&best.uuid));
    let into = |name: &str, mode| {
        let options = DownloadOptions::new().path(inputs.path(name)).mode(mode);
        c.download_with(options)
    };
    let call = "c.download(str(o / 'm'), mode=DownloadMode.MASTER)";
    replay.raises(call, ErrorKind::Api, into("m", DownloadMode::Master));
    replay.returns(
        "sorted(str(p.relative_to(o / 'm')) for p in (o / 'm').rglob('*'))",
        Ok(below(&inputs.path("m"))),
    );
    let directly = replay.returns(
        "c.download(str(o / 'd'), mode=DownloadMode.DIRECT)",
        into("d", DownloadMode::Direct),
    );
    replay.returns(
        "sorted(str(p.relative_to(o / 'd')) for p in (o / 'd').rglob('*'))",
        Ok(below(&directly)),
    );
    replay.finish();
}

#[test]
fn a_checkpoint_that_the_master_cannot_read_comes_from_a_bucket() {
    let bucket = Bucket::new(1000, true);
    let state = r#"{"loss": 0.5986685828363828, "step": 5}"#;
    let metadata = "{\n  \"steps_completed\": 5,\n  \"note\": \"t\"\n}";
    for (name, content) in [
        ("metadata.json", metadata.as_bytes()),
        ("state.json", state.as_bytes()),
        ("sub/", b""),
        ("sub/w.bin", &[7; 2048]),
    ] {
        let key = format!("my/prefix/21e6f5bd-dfdd-43d6-8751-a8017e12071f/{name}");
        bucket.put(&key, content);
    }
    let store = RawMaster::start_bare(move |seen, stream| bucket.serve(seen, stream));
    a_checkpoint_that_the_master_cannot_read(&store.url);
}

#[test]
#[ignore = "needs moto; run emulators.sh"]
fn a_checkpoint_that_the_master_cannot_read_comes_from_the_emulators() {
    let path = std::env::var("EMULATORS").expect("EMULATORS: run tests/object_stores/emulators.sh");
    let all: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    a_checkpoint_that_the_master_cannot_read(all["recorded"].as_str().unwrap());
}
