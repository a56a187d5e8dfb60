//! What the master adds to a configuration.

use serde_json::{Map, Value, json};

const IMAGE: &str = "determinedai/pytorch-ngc-dev:0736b6d";
const ROCM_IMAGE: &str =
    "determinedai/environments:rocm-5.6-pytorch-1.3-tf-2.10-rocm-mpich-0736b6d";

/// Fills what is missing or null.
pub(super) fn fill(submitted: Value, seed: i64) -> Value {
    let mut config = submitted;
    if let Some(environment) = config.get_mut("environment") {
        for key in ["image", "environment_variables"] {
            if let Some(value) = environment.get_mut(key) {
                spread_over_devices(value);
            }
        }
    }
    if let Some(map) = config.as_object_mut() {
        // Nothing reads it any more.
        map.remove("data_layer");
    }
    if let Some(storage) = config.get_mut("tensorboard_storage")
        && storage["type"] == "shared_fs"
    {
        merge(
            storage,
            json!({"propagation": "rprivate", "storage_path": null}),
        );
    }
    let without_searcher = config.get("searcher").is_none_or(Value::is_null);
    let name = config
        .get("searcher")
        .and_then(|searcher| searcher["name"].as_str());
    let name = name.map(str::to_owned);
    for (path, defaults) in [
        (
            "/bind_mounts",
            json!({"propagation": "rprivate", "read_only": false}),
        ),
        ("/resources/devices", json!({"mode": "mrw"})),
        (
            "/environment/proxy_ports",
            json!({"default_service_id": false, "proxy_tcp": false, "unauthenticated": false}),
        ),
    ] {
        let list = config.pointer_mut(path).and_then(Value::as_array_mut);
        for item in list.into_iter().flatten() {
            merge(item, defaults.clone());
        }
    }
    if let Some(policies) = config.get_mut("log_policies") {
        add_log_policies(policies);
    }
    let mut defaults = json!({
        "bind_mounts": [],
        "checkpoint_policy": "best",
        "checkpoint_storage": {},
        "data": {},
        "debug": false,
        "description": null,
        "entrypoint": null,
        "environment": {
            "add_capabilities": [],
            "drop_capabilities": [],
            "environment_variables": {"cpu": [], "cuda": [], "rocm": []},
            "force_pull_image": false,
            "image": {"cpu": IMAGE, "cuda": IMAGE, "rocm": ROCM_IMAGE},
            "pod_spec": null,
            "ports": {},
            "proxy_ports": [],
            "registry_auth": null,
        },
        "hyperparameters": {},
        "integrations": null,
        "labels": [],
        "log_policies": log_policies(),
        "max_restarts": 5,
        "min_checkpoint_period": {"batches": 0},
        "min_validation_period": {"batches": 0},
        "name": null,
        "optimizations": {
            "aggregation_frequency": 1,
            "auto_tune_tensor_fusion": false,
            "average_aggregated_gradients": true,
            "average_training_metrics": true,
            "grad_updates_size_file": null,
            "gradient_compression": false,
            "mixed_precision": "O0",
            "tensor_fusion_cycle_time": 1,
            "tensor_fusion_threshold": 64,
        },
        "pbs": {},
        "perform_initial_validation": false,
        "preemption_timeout": 3600,
        "profiling": {
            "begin_on_batch": 0,
            "enabled": false,
            "end_after_batch": null,
            "sync_timings": true,
        },
        "project": "",
        "records_per_epoch": 0,
        "reproducibility": {"experiment_seed": seed},
        "resources": {
            "devices": [],
            "is_single_node": null,
            "max_slots": null,
            "native_parallel": false,
            "priority": 42,
            "resource_pool": "",
            "shm_size": null,
            "slots_per_trial": 1,
            "weight": 1,
        },
        "scheduling_unit": 100,
        "searcher": if without_searcher { Value::Null } else { searcher(name.as_deref()) },
        "slurm": {},
        "workspace": "",
    });
    for period in ["min_checkpoint_period", "min_validation_period"] {
        // One unit does not stand beside another.
        if config.get(period).is_some_and(Value::is_object) {
            defaults[period].take();
        }
    }
    merge(&mut config, defaults);
    config
}

fn log_policies() -> Value {
    json!([
        {"name": "CUDA OOM", "pattern": ".*CUDA out of memory.*"},
        {"name": "ECC Error", "pattern": ".*uncorrectable ECC error encountered.*"},
    ])
}

/// Adds the policies of the master to others, of which one of the same name replaces it.
fn add_log_policies(policies: &mut Value) {
    let (Value::Array(policies), Value::Array(own)) = (policies, log_policies()) else {
        return;
    };
    for policy in policies.iter_mut().filter_map(Value::as_object_mut) {
        policy.retain(|_, value| !value.is_null());
        if let Some(action) = policy.get_mut("action")
            && let Some(kind) = action.get("type").cloned()
        {
            *action = kind;
        }
    }
    for policy in own {
        if !policies.iter().any(|known| known["name"] == policy["name"]) {
            policies.push(policy);
        }
    }
}

fn searcher(name: Option<&str>) -> Value {
    let mut searcher = json!({
        "smaller_is_better": true,
        "source_checkpoint_uuid": null,
        "source_trial_id": null,
    });
    let own = match name {
        Some("random" | "grid") => json!({"max_concurrent_trials": 16}),
        Some("async_halving") => json!({"divisor": 4, "max_concurrent_trials": 16}),
        Some("adaptive_asha") => json!({
            "bracket_rungs": [],
            "divisor": 4,
            "max_concurrent_trials": 16,
            "max_rungs": 5,
            "mode": "standard",
        }),
        _ => json!({}),
    };
    merge(&mut searcher, own);
    searcher
}

/// The storage that an experiment uses: what it says, completed by what the master says if both are of a kind.
pub(super) fn checkpoint_storage(submitted: &Value, of_master: &Value) -> Value {
    let mut storage = submitted.clone();
    let same_kind = storage["type"].is_null() || storage["type"] == of_master["type"];
    if same_kind {
        merge(&mut storage, of_master.clone());
    }
    let own = match storage["type"].as_str() {
        Some("shared_fs") => json!({"storage_path": null, "propagation": "rprivate"}),
        Some("s3") => {
            json!({"access_key": null, "secret_key": null, "endpoint_url": null, "prefix": null})
        }
        Some("gcs") => json!({"prefix": null}),
        _ => json!({}),
    };
    merge(&mut storage, own);
    let kept = json!({"save_experiment_best": 0, "save_trial_best": 1, "save_trial_latest": 1});
    merge(&mut storage, kept);
    storage
}

/// Hyperparameters as the master keeps them: a bare value is a constant.
pub(super) fn hyperparameters(submitted: &Value) -> Value {
    let Value::Object(map) = submitted else {
        return submitted.clone();
    };
    let entries = map.iter().map(|(name, value)| {
        let value = match value {
            Value::Object(fields) if fields.contains_key("type") => without_nulls(fields),
            Value::Object(_) => hyperparameters(value),
            constant => json!({"type": "const", "val": constant}),
        };
        (name.clone(), value)
    });
    Value::Object(entries.collect())
}

fn without_nulls(fields: &Map<String, Value>) -> Value {
    let kept = fields
        .iter()
        .filter(|(name, value)| !value.is_null() || *name == "val");
    Value::Object(
        kept.map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
}

/// One value for all kinds of devices may stand for a value for each.
pub(super) fn spread_over_devices(value: &mut Value) {
    if value.is_string() || value.is_array() {
        *value = json!({"cpu": value, "cuda": value, "rocm": value});
    }
}

/// Takes over from `defaults` what `value` lacks.
fn merge(value: &mut Value, defaults: Value) {
    match (value, defaults) {
        (Value::Object(map), Value::Object(defaults)) => {
            for (key, default) in defaults {
                match map.get_mut(&key) {
                    Some(present) => merge(present, default),
                    None => {
                        map.insert(key, default);
                    }
                }
            }
        }
        (value @ Value::Null, default) => *value = default,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_hyperparameters_become_constants() {
        let submitted = json!({"lr": 0.1, "net": {"depth": 3}, "k": {"type": "int", "minval": 1, "maxval": 2, "count": null}});
        assert_eq!(
            hyperparameters(&submitted),
            json!({
                "lr": {"type": "const", "val": 0.1},
                "net": {"depth": {"type": "const", "val": 3}},
                "k": {"type": "int", "minval": 1, "maxval": 2},
            })
        );
    }

    #[test]
    fn one_image_stands_for_all_devices() {
        let config = fill(json!({"environment": {"image": "i", "ports": null}}), 0);
        assert_eq!(
            config["environment"]["image"],
            json!({"cpu": "i", "cuda": "i", "rocm": "i"})
        );
        assert_eq!(config["environment"]["ports"], json!({}));
    }

    #[test]
    fn storage_of_another_kind_takes_nothing_over() {
        let of_master = json!({"type": "shared_fs", "host_path": "/tmp"});
        let s3 = checkpoint_storage(&json!({"type": "s3", "bucket": "b"}), &of_master);
        assert_eq!(s3.get("host_path"), None);
        assert_eq!(s3["prefix"], Value::Null);
        let none = checkpoint_storage(&Value::Null, &of_master);
        assert_eq!(none["host_path"], "/tmp");
    }
}
