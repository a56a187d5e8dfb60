//! What the crate does with checkpoints in stores that it was built without.
#![cfg(test)]

use determined::testing::MockMaster;
use determined::{DownloadMode, DownloadOptions, ErrorKind, ModelDefinition};
use serde_json::json;

#[test]
fn auto_goes_through_the_master_and_direct_says_what_to_enable() {
    let master = MockMaster::start();
    let client = master.determined();
    for storage in [
        json!({"type": "s3", "bucket": "b"}),
        json!({"type": "gcs", "bucket": "b"}),
        json!({"type": "azure", "container": "c", "account_url": "https://a.blob.core.windows.net"}),
    ] {
        let feature = storage["type"].as_str().unwrap().to_owned();
        let config = json!({
            "name": "n", "entrypoint": "true", "checkpoint_storage": storage,
            "searcher": {"name": "single", "metric": "loss", "max_length": 1},
        });
        let experiment = client
            .create_experiment(config, ModelDefinition::none())
            .unwrap();
        experiment.wait().unwrap();
        let checkpoint = experiment.list_checkpoints().unwrap().remove(0);
        let scratch = tempfile::tempdir().unwrap();
        let options = DownloadOptions::new().path(scratch.path().join("c"));

        let error = checkpoint
            .download_with(options.clone().mode(DownloadMode::Direct))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FeatureDisabled, "{error}");
        assert!(
            error.to_string().contains(&format!("enable the feature `{feature}`")),
            "{error}"
        );
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);

        let path = checkpoint.download_with(options).unwrap();
        assert!(path.join("metadata.json").is_file(), "{feature}");
    }
}
