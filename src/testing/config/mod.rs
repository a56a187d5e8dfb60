//! Experiment configurations: how the master reads, checks and completes what was submitted.

mod check;
mod defaults;
mod schema;
mod template;
mod yaml;

use super::failure::Failure;
use super::wire::through_struct;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use yaml::to_json;

/// A configuration as submitted: read and checked, not completed yet.
pub(super) struct Submitted(Map<String, Value>);

impl Submitted {
    /// Reads YAML or JSON.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let mut value = to_json(text).map_err(|why| {
            invalid(format!(
                "unable to convert yaml to json: not valid yaml: error converting YAML to JSON: {why}"
            ))
        })?;
        // As Go keeps maps of JSON: searchers draw in this order.
        value.sort_all_objects();
        let map = match value {
            Value::Null => {
                return Err(invalid(
                    "version 0 experiment config is invalid: config is invalid: <config>: expected object, but got null".into(),
                ));
            }
            Value::Object(map) => map,
            other => {
                return Err(invalid(format!(
                    "unable to unmarshal json-formatted experiment config: json: cannot unmarshal {} into Go value of type \
                     struct {{ Version int \"json:\\\"version\\\"\" }}",
                    match other {
                        Value::Bool(_) => "bool",
                        _ => check::kind(&other),
                    }
                )));
            }
        };
        let errors = check::errors(&map);
        if !errors.is_empty() {
            return Err(invalid(format!(
                "version 0 experiment config is invalid: config is invalid: {}",
                errors.join("\n")
            )));
        }
        let submitted = Self(map);
        // The schema allows text here, but nothing reads it.
        if submitted
            .at(&["resources", "shm_size"])
            .is_some_and(Value::is_string)
        {
            return Err(invalid(
                "unable to unmarshal experiment config as version 0: json: cannot unmarshal string into Go struct field \
                 ResourcesConfigV0.resources.shm_size of type int"
                    .into(),
            ));
        }
        Ok(submitted)
    }

    /// What the submission says at a path, unless it is null.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        let mut value = self.0.get(*first)?;
        for key in rest {
            value = value.get(key)?;
        }
        (!value.is_null()).then_some(value)
    }

    pub(super) fn text_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path)?.as_str().filter(|text| !text.is_empty())
    }

    /// Takes over from a template, or from another configuration, what this one leaves open.
    pub(super) fn apply(&mut self, template: &Map<String, Value>) {
        template::apply(&mut self.0, template);
    }

    /// The whole configuration, defaults and all. `storage` is what the master's own configuration says, `seed` what an
    /// experiment gets that names none.
    pub(super) fn complete(mut self, storage: &Value, seed: i64) -> Result<Value, Failure> {
        if let Some(Value::Array(labels)) = self.0.get_mut("labels") {
            // A set: what comes again is left out.
            let mut known = HashSet::new();
            labels.retain(|label| known.insert(label.to_string()));
        }
        if let Some(hyperparameters) = self.0.get_mut("hyperparameters") {
            *hyperparameters = defaults::hyperparameters(hyperparameters);
        }
        let submitted_storage = self.0.remove("checkpoint_storage").unwrap_or_default();
        self.0.insert(
            "checkpoint_storage".into(),
            defaults::checkpoint_storage(&submitted_storage, storage),
        );
        let config = defaults::fill(Value::Object(self.0), seed);
        let missing = check::missing(&config);
        if !missing.is_empty() {
            return Err(invalid(format!(
                "config is invalid or incomplete: {}",
                missing.join("\n")
            )));
        }
        let searcher = &config["searcher"];
        let timeless = searcher["max_time"].is_null() || searcher["time_metric"].is_null();
        match searcher["name"].as_str() {
            Some(name @ ("custom" | "adaptive" | "adaptive_simple" | "sync_halving")) => {
                Err(invalid(format!(
                    "the '{name}' searcher has been removed and is not valid for new experiments"
                )))
            }
            Some(name @ ("adaptive_asha" | "async_halving")) if timeless => Err(invalid(format!(
                "the `{name}` searcher requires `max_time` and `time_metric` to be set"
            ))),
            _ => Ok(through_struct(&config)),
        }
    }
}

fn invalid(why: String) -> Failure {
    Failure::internal(format!("invalid experiment configuration: {why}"))
}

/// Moves a `shared_fs` or `directory` storage under the master's own folder, so that its files can be there.
pub(super) fn keep_storage_under(config: &mut Value, folder: &Path) {
    let storage = &mut config["checkpoint_storage"];
    let keys: &[&str] = match storage["type"].as_str() {
        Some("shared_fs") => &["host_path", "storage_path"],
        Some("directory") => &["container_path"],
        _ => return,
    };
    for key in keys {
        let moved = storage[key]
            .as_str()
            .map(Path::new)
            // A relative storage path stands below the host path, which is moved itself.
            .filter(|path| path.is_absolute() && !path.starts_with(folder))
            .map(|path| join_below(folder, path));
        if let Some(moved) = moved {
            storage[key] = moved.to_string_lossy().into_owned().into();
        }
    }
}

/// Where the files of a checkpoint are kept: where the configuration says, or in the master's own folder for a store in the cloud.
pub(super) fn checkpoint_directory(config: &Value, folder: &Path, uuid: &str) -> PathBuf {
    let storage = &config["checkpoint_storage"];
    let text = |key: &str| storage[key].as_str().map(Path::new);
    let base = match storage["type"].as_str() {
        Some("shared_fs") => text("host_path").map(|host| match text("storage_path") {
            Some(path) if path.is_absolute() => path.to_owned(),
            Some(path) => join_below(host, path),
            None => host.to_owned(),
        }),
        Some("directory") => text("container_path").map(Path::to_owned),
        _ => None,
    };
    base.filter(|base| base.starts_with(folder))
        .unwrap_or_else(|| folder.join("cloud"))
        .join(uuid)
}

/// `path` below `base`, wherever it pointed before: no `..` leads out.
fn join_below(base: &Path, path: &Path) -> PathBuf {
    let mut below = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => below.push(part),
            Component::ParentDir => {
                below.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    base.join(below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn complete(text: &str) -> Value {
        let storage = json!({"type": "shared_fs", "host_path": "/tmp"});
        Submitted::parse(text)
            .and_then(|submitted| submitted.complete(&storage, 7))
            .unwrap()
    }

    const SINGLE: &str = "{name: x, entrypoint: 'true', searcher: {name: single, metric: m}}";

    #[test]
    fn a_short_configuration_gets_the_masters_defaults() {
        let config = complete(SINGLE);
        assert_eq!(config["max_restarts"], 5);
        assert_eq!(config["reproducibility"]["experiment_seed"], 7);
        assert_eq!(config["resources"]["priority"], 42);
        assert_eq!(
            config["searcher"],
            json!({"name": "single", "metric": "m", "smaller_is_better": true,
                   "source_trial_id": null, "source_checkpoint_uuid": null})
        );
        assert_eq!(
            config["checkpoint_storage"],
            json!({"type": "shared_fs", "host_path": "/tmp", "storage_path": null, "propagation": "rprivate",
                   "save_experiment_best": 0, "save_trial_best": 1, "save_trial_latest": 1})
        );
    }

    #[test]
    fn what_cannot_be_is_refused_as_the_master_refuses_it() {
        let refused = |text: &str| Submitted::parse(text).err().map(|failure| failure.message);
        assert_eq!(
            refused("bogus_key: 1").as_deref(),
            Some(
                "invalid experiment configuration: version 0 experiment config is invalid: config is invalid: \
                 <config>: additionalProperties \"bogus_key\" not allowed"
            )
        );
        let incomplete = Submitted::parse("{name: x, searcher: {name: random}}")
            .unwrap()
            .complete(&Value::Null, 1)
            .unwrap_err();
        assert_eq!(
            incomplete.message,
            "invalid experiment configuration: config is invalid or incomplete: \
             <config>.searcher: max_trials is a required property\n\
             <config>.searcher: metric is a required property\n\
             <config>.searcher: metric is a required property"
        );
    }

    #[test]
    fn storage_is_moved_below_the_folder_and_stays_inside() {
        let mut config = json!({"checkpoint_storage":
            {"type": "shared_fs", "host_path": "/srv/x", "storage_path": "/srv/x/../../y"}});
        let folder = Path::new("/own");
        keep_storage_under(&mut config, folder);
        assert_eq!(config["checkpoint_storage"]["host_path"], "/own/srv/x");
        assert_eq!(config["checkpoint_storage"]["storage_path"], "/own/y");
        assert_eq!(
            checkpoint_directory(&config, folder, "u"),
            Path::new("/own/y/u")
        );
        let s3 = json!({"checkpoint_storage": {"type": "s3", "bucket": "b"}});
        assert_eq!(
            checkpoint_directory(&s3, folder, "u"),
            Path::new("/own/cloud/u")
        );
    }
}
