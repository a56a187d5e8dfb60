//! What a configuration may hold, and how the master says that it does not.

use serde_json::{Map, Value};

/// The keys of a section and the types that each may have, in the words of the error message.
type Section = &'static [(&'static str, &'static str)];

const ANY: &str = "";

const EXPERIMENT: Section = &[
    ("bind_mounts", "array or null"),
    ("checkpoint_policy", ANY),
    ("checkpoint_storage", "object or null"),
    ("data", "object or null"),
    ("data_layer", "object or null"),
    ("debug", "boolean or null"),
    ("description", "string or null"),
    ("entrypoint", "string, array or null"),
    ("environment", "object or null"),
    ("hyperparameters", "object or null"),
    ("integrations", "object or null"),
    ("internal", "null"),
    ("labels", "array or null"),
    ("log_policies", "array or null"),
    ("max_restarts", "integer or null"),
    ("min_checkpoint_period", "object or null"),
    ("min_validation_period", "object or null"),
    ("name", "string or null"),
    ("optimizations", "object or null"),
    ("pbs", "object or null"),
    ("perform_initial_validation", "boolean or null"),
    ("preemption_timeout", "integer or null"),
    ("profiling", "object or null"),
    ("project", "string or null"),
    ("records_per_epoch", "integer or null"),
    ("reproducibility", "object or null"),
    ("resources", "object or null"),
    ("retention_policy", "object or null"),
    ("scheduling_unit", "integer or null"),
    ("searcher", "object or null"),
    ("security", "object or null"),
    ("slurm", "object or null"),
    ("tensorboard_storage", "object or null"),
    ("workspace", "string or null"),
];

const ENVIRONMENT: Section = &[
    ("add_capabilities", "array or null"),
    ("drop_capabilities", "array or null"),
    ("environment_variables", "object, array or null"),
    ("force_pull_image", "boolean or null"),
    ("image", "object, string or null"),
    ("pod_spec", "object or null"),
    ("ports", "object or null"),
    ("proxy_ports", "array or null"),
    ("registry_auth", "object or null"),
];

const OPTIMIZATIONS: Section = &[
    ("aggregation_frequency", "integer or null"),
    ("auto_tune_tensor_fusion", "boolean or null"),
    ("average_aggregated_gradients", "boolean or null"),
    ("average_training_metrics", "boolean or null"),
    ("grad_updates_size_file", "string or null"),
    ("gradient_compression", "boolean or null"),
    ("mixed_precision", ANY),
    ("tensor_fusion_cycle_time", "integer or null"),
    ("tensor_fusion_threshold", "integer or null"),
];

const PROFILING: Section = &[
    ("begin_on_batch", "integer or null"),
    ("enabled", "boolean or null"),
    ("end_after_batch", "integer or null"),
    ("sync_timings", "boolean or null"),
];

const REPRODUCIBILITY: Section = &[("experiment_seed", "integer or null")];

const RESOURCES: Section = &[
    ("agent_label", "string or null"),
    ("devices", "array or null"),
    ("is_single_node", "boolean or null"),
    ("max_slots", "integer or null"),
    ("native_parallel", "boolean or null"),
    ("priority", "integer or null"),
    ("resource_pool", "string or null"),
    ("shm_size", "integer, string or null"),
    ("slots", "integer or null"),
    ("slots_per_trial", "integer or null"),
    ("weight", "number or null"),
];

/// What every searcher may have.
const SEARCHER: Section = &[
    ("max_length", "object, integer or null"),
    ("metric", "string or null"),
    ("name", ANY),
    ("smaller_is_better", "boolean or null"),
    ("source_checkpoint_uuid", "string or null"),
    ("source_trial_id", "integer or null"),
];

const RANDOM: Section = &[
    ("max_concurrent_trials", "integer or null"),
    ("max_trials", "integer or null"),
];

const GRID: Section = &[("max_concurrent_trials", "integer or null")];

const ADAPTIVE: Section = &[
    ("bracket_rungs", "array or null"),
    ("divisor", "number or null"),
    ("max_concurrent_trials", "integer or null"),
    ("max_rungs", "integer or null"),
    ("max_time", "integer or null"),
    ("max_trials", "integer or null"),
    ("mode", ANY),
    ("stop_once", "boolean or null"),
    ("time_metric", "string or null"),
];

/// What every checkpoint storage may have.
const STORAGE: Section = &[
    ("save_experiment_best", "integer or null"),
    ("save_trial_best", "integer or null"),
    ("save_trial_latest", "integer or null"),
    ("type", ANY),
];

const SHARED_FS: Section = &[
    ("checkpoint_path", "string or null"),
    ("container_path", "string or null"),
    ("host_path", "string or null"),
    ("propagation", "string or null"),
    ("storage_path", "string or null"),
    ("tensorboard_path", "string or null"),
];

const DIRECTORY: Section = &[("container_path", "string or null")];

const S3: Section = &[
    ("access_key", "string or null"),
    ("bucket", "string or null"),
    ("endpoint_url", "string or null"),
    ("prefix", "string or null"),
    ("secret_key", "string or null"),
];

const GCS: Section = &[("bucket", "string or null"), ("prefix", "string or null")];

const AZURE: Section = &[
    ("account_url", "string or null"),
    ("connection_string", "string or null"),
    ("container", "string or null"),
    ("credential", "string or null"),
];

/// All that is wrong with a configuration, in the master's words and order.
pub(super) fn errors(config: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    let Value::Object(map) = config else {
        return vec![format!(
            "<config>: expected object, but got {}",
            kind(config)
        )];
    };
    section(map, "", &[EXPERIMENT], &mut errors);
    for (key, keys) in [
        ("environment", ENVIRONMENT),
        ("optimizations", OPTIMIZATIONS),
        ("profiling", PROFILING),
        ("reproducibility", REPRODUCIBILITY),
        ("resources", RESOURCES),
    ] {
        if let Some(Value::Object(fields)) = map.get(key) {
            section(fields, &format!(".{key}"), &[keys], &mut errors);
        }
    }
    if let Some(Value::Object(searcher)) = map.get("searcher") {
        check_searcher(searcher, &mut errors);
    }
    if let Some(Value::Object(storage)) = map.get("checkpoint_storage") {
        check_storage(storage, &mut errors);
    }
    if let Some(Value::Object(hyperparameters)) = map.get("hyperparameters") {
        let grid = config["searcher"]["name"] == "grid";
        check_hyperparameters(hyperparameters, ".hyperparameters", grid, &mut errors);
    }
    errors.sort();
    errors
}

fn check_searcher(searcher: &Map<String, Value>, errors: &mut Vec<String>) {
    let path = ".searcher";
    let own = match searcher.get("name") {
        None | Some(Value::Null) => {
            return section(searcher, path, &[SEARCHER, RANDOM, ADAPTIVE], errors);
        }
        Some(name) => match name.as_str() {
            Some("single") => &[][..],
            Some("random") => RANDOM,
            Some("grid") => GRID,
            Some("adaptive_asha") => ADAPTIVE,
            _ => {
                return errors.push(format!(
                    "<config>{path}: is not an object where object[\"name\"] is one of \
                     'single', 'random', 'grid', 'custom', or 'adaptive_asha'"
                ));
            }
        },
    };
    section(searcher, path, &[SEARCHER, own], errors);
}

fn check_storage(storage: &Map<String, Value>, errors: &mut Vec<String>) {
    let path = ".checkpoint_storage";
    let own = match storage.get("type") {
        None | Some(Value::Null) => {
            return section(storage, path, &[STORAGE, SHARED_FS, S3, AZURE], errors);
        }
        Some(kind) => match kind.as_str() {
            Some("shared_fs") => SHARED_FS,
            Some("directory") => DIRECTORY,
            Some("s3") => S3,
            Some("gcs") => GCS,
            Some("azure") => AZURE,
            _ => {
                return errors.push(format!(
                    "<config>{path}: is not an object where object[\"type\"] is one of \
                     'shared_fs', 'directory', 's3', 'gcs', or 'azure'"
                ));
            }
        },
    };
    section(storage, path, &[STORAGE, own], errors);
}

fn check_hyperparameters(
    map: &Map<String, Value>,
    path: &str,
    grid: bool,
    errors: &mut Vec<String>,
) {
    for (name, value) in map {
        let path = format!("{path}.{name}");
        let Value::Object(fields) = value else {
            continue;
        };
        let (keys, required): (Section, &[&str]) = match fields.get("type").map(Value::as_str) {
            None => {
                check_hyperparameters(fields, &path, grid, errors);
                continue;
            }
            Some(Some("const")) => (&[("type", ANY), ("val", ANY)], &["val"]),
            Some(Some("categorical")) => (&[("type", ANY), ("vals", "array")], &["vals"]),
            Some(Some("int")) => (
                &[
                    ("type", ANY),
                    ("minval", "integer"),
                    ("maxval", "integer"),
                    ("count", "integer or null"),
                ],
                &["minval", "maxval"],
            ),
            Some(Some("double")) => (
                &[
                    ("type", ANY),
                    ("minval", "number"),
                    ("maxval", "number"),
                    ("count", "integer or null"),
                ],
                &["minval", "maxval"],
            ),
            Some(Some("log")) => (
                &[
                    ("type", ANY),
                    ("minval", "number"),
                    ("maxval", "number"),
                    ("base", "number"),
                    ("count", "integer or null"),
                ],
                &["minval", "maxval", "base"],
            ),
            Some(_) => {
                errors.push(format!(
                    "<config>{path}: if a hyperparameter object's [\"type\"] is set, it must be one of \
                     \"int\", \"double\", \"log\", const\", or \"categorical\""
                ));
                continue;
            }
        };
        let missing: Vec<String> = required
            .iter()
            .filter(|key| !fields.contains_key(**key))
            .map(|key| format!("{key:?}"))
            .collect();
        if !missing.is_empty() {
            errors.push(format!(
                "<config>{path}: missing properties: {}",
                missing.join(", ")
            ));
        }
        section(fields, &path, &[keys], errors);
        let number = |key: &str| fields.get(key).and_then(Value::as_f64);
        if let (Some(low), Some(high)) = (number("minval"), number("maxval"))
            && low >= high
        {
            errors.push(format!("<config>{path}: minval must be less than maxval"));
        }
        let counted = fields.get("count").is_some_and(|count| !count.is_null());
        if grid && required.contains(&"minval") && !counted {
            errors.push(format!(
                "<config>{path}: grid search is in use but count was not provided"
            ));
        }
    }
}

/// Checks the keys of a section and the types of their values.
fn section(map: &Map<String, Value>, path: &str, parts: &[Section], errors: &mut Vec<String>) {
    let mut unknown = Vec::new();
    for (key, value) in map {
        let known = parts
            .iter()
            .flat_map(|part| part.iter())
            .find(|(known, _)| known == key);
        match known {
            None => unknown.push(format!("{key:?}")),
            Some((_, expected)) if !expected.is_empty() && !fits(value, expected) => {
                errors.push(format!(
                    "<config>{path}.{key}: expected {expected}, but got {}",
                    kind(value)
                ));
            }
            Some(_) => {}
        }
    }
    if !unknown.is_empty() {
        errors.push(format!(
            "<config>{path}: additionalProperties {} not allowed",
            unknown.join(", ")
        ));
    }
}

fn fits(value: &Value, expected: &str) -> bool {
    let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
    expected
        .split([',', ' '])
        .any(|word| word == kind(value) || (word == "integer" && whole))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Says so if what must be there in the end is missing.
pub(super) fn require(config: &Value, section: &str, path: &[&str], errors: &mut Vec<String>) {
    let value = path.iter().try_fold(config, |value, key| value.get(key));
    if value.is_none_or(Value::is_null) {
        let key = path.last().unwrap_or(&"");
        errors.push(format!("<config>{section}: {key} is a required property"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_good_configuration_has_no_errors() {
        let config = json!({
            "name": "n", "entrypoint": ["a", "b"], "hyperparameters": {"lr": 0.1, "n": {"k": {"type": "int", "minval": 1, "maxval": 3}}},
            "searcher": {"name": "random", "metric": "m", "max_trials": 2.0},
            "resources": {"slots_per_trial": null, "weight": 1.5},
            "checkpoint_storage": {"type": "s3", "bucket": "b"},
        });
        assert_eq!(errors(&config), Vec::<String>::new());
    }

    #[test]
    fn each_error_names_its_place() {
        let config = json!({
            "name": 3,
            "resources": {"slots_per_trial": "many", "zz": 1},
            "searcher": {"name": "grid", "metric": "m", "max_trials": 2},
            "hyperparameters": {"a": {"type": "double", "minval": 0, "maxval": 1}, "b": {"type": "huh"}},
            "checkpoint_storage": {"type": "floppy"},
        });
        let found = errors(&config);
        for expected in [
            "<config>.name: expected string or null, but got number",
            "<config>.resources.slots_per_trial: expected integer or null, but got string",
            "<config>.resources: additionalProperties \"zz\" not allowed",
            "<config>.searcher: additionalProperties \"max_trials\" not allowed",
            "<config>.hyperparameters.a: grid search is in use but count was not provided",
        ] {
            assert!(found.iter().any(|error| error == expected), "{found:#?}");
        }
        assert_eq!(found.len(), 7, "{found:#?}");
    }
}
