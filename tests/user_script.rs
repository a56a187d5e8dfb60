//! A script and its tests, as users of this crate write them. `docs/testing.md` shows them.

use determined::testing::MockMaster;
use determined::{Determined, DownloadOptions, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// The script: registers the best checkpoint of an experiment as the next version of a model, and fetches its files.
fn promote(client: &Determined, experiment: i32, name: &str, to: &Path) -> Result<PathBuf> {
    let best = client.get_experiment(experiment)?.top_checkpoint()?;
    let model = match client.get_model(name) {
        Err(error) if error.is_not_found() => client.create_model(name)?,
        found => found?,
    };
    model.register_version(&best.uuid)?;
    best.download_with(DownloadOptions::new().path(to))
}

#[test]
fn the_best_checkpoint_is_promoted() -> Result<()> {
    let master = MockMaster::start();
    let experiment = master
        .experiment()
        .with_trials(3)
        .with_metric("accuracy", [0.5, 0.9, 0.7])
        .larger_is_better()
        .with_checkpoint([("model.bin", "weights")])
        .create();
    let scratch = tempfile::tempdir().unwrap();

    let client = master.determined();
    let files = promote(&client, experiment.id, "iris", &scratch.path().join("best"))?;

    let version = client.get_model("iris")?.get_version(1)?;
    let training = version.checkpoint.training.unwrap();
    assert_eq!(training.metric("accuracy"), Some(0.9));
    assert_eq!(std::fs::read(files.join("model.bin")).unwrap(), b"weights");
    Ok(())
}

#[test]
fn nothing_is_downloaded_when_the_registry_is_out_of_order() {
    let master = MockMaster::start();
    let experiment = master.experiment().create();
    let scratch = tempfile::tempdir().unwrap();
    let target = scratch.path().join("best");

    let client = master.determined();
    master.fail_next("POST /api/v1/models/*/versions", 503, 1);
    let error = promote(&client, experiment.id, "iris", &target).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Api);
    assert!(!target.exists());
    let requests = master.requests();
    let last = requests.last().unwrap();
    assert_eq!(
        (last.method.as_str(), last.path.as_str()),
        ("POST", "/api/v1/models/iris/versions")
    );
}

#[test]
fn the_guide_shows_this_file() {
    let shown = include_str!("../docs/testing.md");
    let this = include_str!("user_script.rs");
    let (_, code) = this.split_once("\n\n").unwrap();
    let (code, _) = code.split_once("\n#[test]\nfn the_guide").unwrap();
    assert!(shown.contains(&format!("```rust,ignore\n{code}```\n")));
}
