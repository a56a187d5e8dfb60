//! What is wrong with a configuration, in the master's words.

use super::schema::{
    EXPERIMENT, HYPERPARAMETERS, Key, Rule, SEARCHER, SECTIONS, STORAGE, Section, Union,
};
use serde_json::{Map, Value};

const UNITS: [&str; 3] = ["batches", "records", "epochs"];

/// All that is wrong with a configuration as it was submitted.
pub(super) fn errors(config: &Map<String, Value>) -> Vec<String> {
    let mut errors = Errors(Vec::new());
    errors.section(config, "", EXPERIMENT);
    for section in SECTIONS {
        for (path, map) in sections_at(config, section.path) {
            let before = errors.0.len();
            errors.section(map, &path, section.keys);
            errors.has(map, &path, section.required);
            // Whatever is wrong with a device, it is told so.
            if section.path == "resources.devices[]" && errors.0.len() > before {
                errors.0.truncate(before);
                errors.add(
                    &path,
                    "is neither a list of --device strings nor a map containing host_path, container_path, and mode",
                );
            }
        }
    }
    if let Some(Value::Object(profiling)) = config.get("profiling") {
        let number = |key: &str| profiling.get(key).and_then(Value::as_f64);
        if let (Some(begin), Some(end)) = (number("begin_on_batch"), number("end_after_batch"))
            && begin > end
        {
            errors.add(
                ".profiling",
                "begin_on_batch must be less than end_after_batch",
            );
        }
    }
    if let Some(Value::Object(searcher)) = config.get("searcher") {
        errors.union(searcher, ".searcher", &SEARCHER);
    }
    if let Some(Value::Object(storage)) = config.get("checkpoint_storage") {
        errors.union(storage, ".checkpoint_storage", &STORAGE);
        errors.storage_path(storage);
    }
    if let Some(Value::Object(hyperparameters)) = config.get("hyperparameters") {
        let searcher = config
            .get("searcher")
            .and_then(|searcher| searcher.get("name"));
        let grid = searcher.is_some_and(|name| name == "grid");
        errors.hyperparameters(hyperparameters, ".hyperparameters", grid);
    }
    if let Some(Value::Array(policies)) = config.get("log_policies") {
        for (index, policy) in policies.iter().enumerate() {
            let has = |key: &str| policy.get(key).is_some();
            if !(has("name") || has("pattern") && has("action")) {
                errors.add(
                    &format!(".log_policies[{index}]"),
                    "\"name\" must be set, and \"pattern\" is also required unless you intend to disable an existing policy",
                );
            }
        }
    }
    errors.0.sort();
    errors.0
}

/// What a completed configuration still lacks.
pub(super) fn missing(config: &Value) -> Vec<String> {
    let mut errors = Errors(Vec::new());
    let searcher = &config["searcher"];
    if searcher.is_null() {
        errors.require(config, "", "searcher");
    } else {
        errors.require(searcher, ".searcher", "name");
        // Asked for by all searchers and by each kind once more.
        errors.require(searcher, ".searcher", "metric");
        if !searcher["name"].is_null() {
            errors.require(searcher, ".searcher", "metric");
        }
        let own: &[&str] = match searcher["name"].as_str() {
            Some("random" | "adaptive_asha" | "adaptive_simple") => &["max_trials"],
            Some("async_halving") => &["max_trials", "num_rungs"],
            Some("adaptive") => &["budget"],
            Some("sync_halving") => &["budget", "num_rungs"],
            _ => &[],
        };
        for key in own {
            errors.require(searcher, ".searcher", key);
        }
    }
    let storage = &config["checkpoint_storage"];
    let path = ".checkpoint_storage";
    match storage["type"].as_str() {
        Some("shared_fs") => errors.require(storage, path, "host_path"),
        Some("directory") => errors.require(storage, path, "container_path"),
        Some("s3" | "gcs") => errors.require(storage, path, "bucket"),
        Some("azure") => {
            errors.require(storage, path, "container");
            if storage["connection_string"].is_null() == storage["account_url"].is_null() {
                errors.add(
                    path,
                    "Exactly one of connection_string or account_url must be set",
                );
            }
        }
        _ => {}
    }
    errors.0.sort();
    errors.0
}

struct Errors(Vec<String>);

impl Errors {
    fn add(&mut self, path: &str, what: &str) {
        self.0.push(format!("<config>{path}: {what}"));
    }

    fn require(&mut self, section: &Value, path: &str, key: &str) {
        if section[key].is_null() {
            self.add(path, &format!("{key} is a required property"));
        }
    }

    /// Checks the values of a section, and that there are no other keys than these.
    fn section(&mut self, map: &Map<String, Value>, path: &str, keys: Section) {
        self.no_others(map, path, |name| keys.iter().any(|key| key.name == name));
        self.values(map, path, keys);
    }

    fn no_others(&mut self, map: &Map<String, Value>, path: &str, known: impl Fn(&str) -> bool) {
        let unknown: Vec<String> = map
            .keys()
            .filter(|name| !known(name))
            .map(|name| format!("{name:?}"))
            .collect();
        if !unknown.is_empty() {
            let what = format!("additionalProperties {} not allowed", unknown.join(", "));
            self.add(path, &what);
        }
    }

    fn values(&mut self, map: &Map<String, Value>, path: &str, keys: Section) {
        for key in keys {
            if let Some(value) = map.get(key.name) {
                self.value(value, &format!("{path}.{}", key.name), key);
            }
        }
    }

    fn value(&mut self, value: &Value, path: &str, key: &Key) {
        if !key.types.is_empty() && !fits(value, key.types) {
            let what = format!("expected {}, but got {}", key.types, kind(value));
            return self.add(path, &what);
        }
        if value.is_null() {
            return;
        }
        match key.rule {
            Rule::Nothing => {}
            Rule::AtLeast(least) => self.at_least(value, path, least),
            Rule::Above(least) => {
                if value.as_f64().is_some_and(|number| number <= least as f64) {
                    self.add(path, &format!("must be > {least} but found {value}"));
                }
            }
            Rule::Between(least, most) => {
                self.at_least(value, path, least);
                if value.as_f64().is_some_and(|number| number > most as f64) {
                    self.add(path, &format!("must be <= {most} but found {value}"));
                }
            }
            Rule::OneOf(words) => {
                let among = value.as_str().is_some_and(|word| words.contains(&word));
                if !among {
                    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                    let what = format!("value must be one of <nil>, {}", words.join(", "));
                    self.add(path, &what);
                }
                if path.ends_with(".mixed_precision")
                    && value.as_str().is_some_and(|word| !word.starts_with('O'))
                {
                    self.add(
                        path,
                        "mixed_precision should be a string starting with an uppercase letter 'O'",
                    );
                }
            }
            Rule::Items(wanted) => {
                for (index, item) in items(value).filter(|(_, item)| !fits(item, wanted)) {
                    let what = format!("expected {wanted}, but got {}", kind(item));
                    self.add(&format!("{path}[{index}]"), &what);
                }
            }
            Rule::Length => self.length(value, path, 0),
            Rule::SearcherLength if value.is_object() => self.length(value, path, 1),
            Rule::SearcherLength => self.at_least(value, path, 0),
            Rule::NoWayUp => {
                let mut parts = value.as_str().unwrap_or("").split('/');
                if parts.any(|part| part == "..") {
                    self.add(path, "prefix cannot contain /../");
                }
            }
            Rule::Absolute(what) => {
                if value.as_str().is_some_and(|text| !text.starts_with('/')) {
                    self.add(path, &format!("{what} must be an absolute path"));
                }
            }
            Rule::Deprecated => self.add(path, "this field is deprecated and will be ignored"),
        }
    }

    fn at_least(&mut self, value: &Value, path: &str, least: i64) {
        if value.as_f64().is_some_and(|number| number < least as f64) {
            self.add(path, &format!("must be >= {least} but found {value}"));
        }
    }

    fn length(&mut self, value: &Value, path: &str, least: i64) {
        let unit = value
            .as_object()
            .filter(|map| map.len() == 1)
            .and_then(|map| map.iter().next())
            .filter(|(unit, _)| UNITS.contains(&unit.as_str()));
        match unit {
            Some((unit, count)) => self.at_least(count, &format!("{path}.{unit}"), least),
            None => self.add(
                path,
                "a length object must have one attribute named \"batches\", \"records\", or \"epochs\"",
            ),
        }
    }

    fn has(&mut self, map: &Map<String, Value>, path: &str, required: &[&str]) {
        let missing: Vec<String> = required
            .iter()
            .filter(|key| !map.contains_key(**key))
            .map(|key| format!("{key:?}"))
            .collect();
        if !missing.is_empty() {
            let what = format!("missing properties: {}", missing.join(", "));
            self.add(path, &what);
        }
    }

    /// Checks a section that comes in kinds. What all kinds have is checked for all and for the kind, and told twice.
    fn union(&mut self, map: &Map<String, Value>, path: &str, union: &Union) {
        let in_common =
            |name: &str| name == union.tag || union.common.iter().any(|key| key.name == name);
        let in_any = |name: &str| {
            union
                .kinds
                .iter()
                .any(|(_, keys)| keys.iter().any(|key| key.name == name))
        };
        self.no_others(map, path, |name| in_common(name) || in_any(name));
        self.values(map, path, union.common);
        let tag = match map.get(union.tag) {
            None => return,
            Some(tag) => tag,
        };
        match union.kinds.iter().find(|(name, _)| tag == name) {
            Some((_, keys)) => {
                let in_kind = |name: &str| keys.iter().any(|key| key.name == name);
                self.no_others(map, path, |name| in_common(name) || in_kind(name));
                self.values(map, path, union.common);
                self.values(map, path, keys);
            }
            None => self.add(path, union.unknown),
        }
    }

    fn storage_path(&mut self, storage: &Map<String, Value>) {
        let text = |key: &str| storage.get(key).and_then(Value::as_str);
        if let (Some("shared_fs"), Some(host), Some(path)) =
            (text("type"), text("host_path"), text("storage_path"))
        {
            // Compared as texts, once all that leads nowhere is out of them.
            let (host, path) = (clean(host), clean(path));
            let inside = match path.starts_with('/') {
                true => path.starts_with(&host),
                false => !path.starts_with(".."),
            };
            if !inside {
                self.add(
                    ".checkpoint_storage",
                    "storage_path must either be a relative directory or a subdirectory of host_path",
                );
            }
        }
    }

    fn hyperparameters(&mut self, map: &Map<String, Value>, path: &str, grid: bool) {
        for (name, value) in map {
            let path = format!("{path}.{name}");
            let Value::Object(fields) = value else {
                continue;
            };
            let Some(kind) = fields.get("type") else {
                self.hyperparameters(fields, &path, grid);
                continue;
            };
            let Some((_, keys, required)) =
                HYPERPARAMETERS.iter().find(|(known, _, _)| kind == known)
            else {
                self.add(
                    &path,
                    "if a hyperparameter object's [\"type\"] is set, it must be one of \
                     \"int\", \"double\", \"log\", const\", or \"categorical\"",
                );
                continue;
            };
            self.has(fields, &path, required);
            self.section(fields, &path, keys);
            let number = |key: &str| fields.get(key).and_then(Value::as_f64);
            if let (Some(low), Some(high)) = (number("minval"), number("maxval"))
                && low >= high
            {
                self.add(&path, "minval must be less than maxval");
            }
            let counted = fields.get("count").is_some_and(|count| !count.is_null());
            if grid && required.contains(&"minval") && !counted {
                self.add(&path, "grid search is in use but count was not provided");
            }
        }
    }
}

/// The sections that stand at a path of the schema, and where exactly that is.
fn sections_at<'a>(
    config: &'a Map<String, Value>,
    path: &str,
) -> Vec<(String, &'a Map<String, Value>)> {
    let mut found = vec![(String::new(), config)];
    for part in path.split('.') {
        let (name, listed) = match part.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (part, false),
        };
        let values = found
            .into_iter()
            .filter_map(|(path, map)| Some((format!("{path}.{name}"), map.get(name)?)));
        found = values
            .flat_map(|(path, value)| match listed {
                true => items(value)
                    .map(|(index, item)| (format!("{path}[{index}]"), item))
                    .collect(),
                false => vec![(path, value)],
            })
            .filter_map(|(path, value)| Some((path, value.as_object()?)))
            .collect();
    }
    found
}

/// The shortest path that is the same, without looking at any disk.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match (part, parts.last()) {
            ("" | ".", _) => {}
            ("..", Some(&last)) if last != ".." => {
                parts.pop();
            }
            ("..", None) if path.starts_with('/') => {}
            (part, _) => parts.push(part),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

fn items(value: &Value) -> impl Iterator<Item = (usize, &Value)> {
    value.as_array().into_iter().flatten().enumerate()
}

fn fits(value: &Value, types: &str) -> bool {
    let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
    types
        .split(" or ")
        .any(|word| word == kind(value) || (word == "integer" && whole))
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn errors_of(config: Value) -> Vec<String> {
        errors(config.as_object().unwrap())
    }

    #[test]
    fn a_good_configuration_has_no_errors() {
        let config = json!({
            "name": "n", "entrypoint": ["a", "b"], "hyperparameters": {"lr": 0.1, "n": {"k": {"type": "int", "minval": 1, "maxval": 3}}},
            "searcher": {"name": "random", "metric": "m", "max_trials": 2.0, "max_length": {"batches": 1}},
            "resources": {"slots_per_trial": null, "weight": 1.5, "priority": 99},
            "checkpoint_storage": {"type": "s3", "bucket": "b", "prefix": "a..b"},
            "min_validation_period": {"epochs": 0}, "log_policies": [{"name": "x"}],
            "optimizations": {"mixed_precision": "O1"}, "checkpoint_policy": null,
        });
        assert_eq!(errors_of(config), Vec::<String>::new());
    }

    #[test]
    fn each_error_names_its_place_as_a_real_master_does() {
        let config = json!({
            "name": 3, "labels": [1], "max_restarts": -1, "checkpoint_policy": "x", "bind_mounts": [{}],
            "resources": {"slots_per_trial": "many", "zz": 1, "priority": 100},
            "searcher": {"name": "grid", "metric": "m", "max_trials": 2, "max_length": {"foo": 1}},
            "hyperparameters": {"a": {"type": "double", "minval": 0, "maxval": 1}, "b": {"type": "log", "minval": 1}},
            "checkpoint_storage": {"type": "shared_fs", "host_path": "/a", "storage_path": "/b", "save_trial_best": -1},
            "optimizations": {"mixed_precision": "x"}, "min_validation_period": {"x": 1}, "entrypoint": 3,
        });
        assert_eq!(
            errors_of(config),
            [
                "<config>.bind_mounts[0]: missing properties: \"host_path\", \"container_path\"",
                "<config>.checkpoint_policy: value must be one of <nil>, \"best\", \"all\", \"none\"",
                "<config>.checkpoint_storage.save_trial_best: must be >= 0 but found -1",
                "<config>.checkpoint_storage.save_trial_best: must be >= 0 but found -1",
                "<config>.checkpoint_storage: storage_path must either be a relative directory or a subdirectory of host_path",
                "<config>.entrypoint: expected string or array or null, but got number",
                "<config>.hyperparameters.a: grid search is in use but count was not provided",
                "<config>.hyperparameters.b: grid search is in use but count was not provided",
                "<config>.hyperparameters.b: missing properties: \"maxval\", \"base\"",
                "<config>.labels[0]: expected string, but got number",
                "<config>.max_restarts: must be >= 0 but found -1",
                "<config>.min_validation_period: a length object must have one attribute named \"batches\", \"records\", or \"epochs\"",
                "<config>.name: expected string or null, but got number",
                "<config>.optimizations.mixed_precision: mixed_precision should be a string starting with an uppercase letter 'O'",
                "<config>.optimizations.mixed_precision: value must be one of <nil>, \"O0\", \"O1\", \"O2\", \"O3\"",
                "<config>.resources.priority: must be <= 99 but found 100",
                "<config>.resources.slots_per_trial: expected integer or null, but got string",
                "<config>.resources: additionalProperties \"zz\" not allowed",
                "<config>.searcher.max_length: a length object must have one attribute named \"batches\", \"records\", or \"epochs\"",
                "<config>.searcher: additionalProperties \"max_trials\" not allowed",
            ]
        );
    }

    #[test]
    fn a_storage_path_stays_inside_its_host_path() {
        let fits = |path: &str| {
            let storage = json!({"type": "shared_fs", "host_path": "/a/", "storage_path": path});
            errors_of(json!({"checkpoint_storage": storage})).is_empty()
        };
        for path in ["b", "b/../c", "./b", "/a/b", "/a", "/b/../a/c"] {
            assert!(fits(path), "{path}");
        }
        for path in ["..", "b/../../c", "/b", "/a/../b"] {
            assert!(!fits(path), "{path}");
        }
    }

    #[test]
    fn what_is_unknown_to_all_kinds_is_told_twice() {
        let config = json!({"searcher": {"name": "single", "metric": "m", "yy": 1, "zz": 2}});
        let told = "<config>.searcher: additionalProperties \"yy\", \"zz\" not allowed";
        assert_eq!(errors_of(config), [told, told]);
        let config = json!({"searcher": {"name": "nope"}});
        assert_eq!(errors_of(config).len(), 1);
    }

    #[test]
    fn searchers_that_were_removed_are_checked_like_the_others() {
        for (searcher, told) in [
            (
                json!({"name": "adaptive", "max_trials": 3}),
                "<config>.searcher: additionalProperties \"max_trials\" not allowed",
            ),
            (
                json!({"name": "adaptive_simple", "max_trials": 2001}),
                "<config>.searcher.max_trials: must be <= 2000 but found 2001",
            ),
            (
                json!({"name": "sync_halving", "divisor": 1}),
                "<config>.searcher.divisor: must be > 1 but found 1",
            ),
            (
                json!({"name": "adaptive", "bracket_rungs": [1, "x"]}),
                "<config>.searcher.bracket_rungs[1]: expected integer, but got string",
            ),
        ] {
            assert_eq!(errors_of(json!({"searcher": searcher})), [told]);
        }
    }

    #[test]
    fn what_is_missing_in_the_end_is_told() {
        assert_eq!(
            missing(&json!({"searcher": {}})),
            [
                "<config>.searcher: metric is a required property",
                "<config>.searcher: name is a required property"
            ]
        );
        assert_eq!(
            missing(&json!({"checkpoint_storage": {"type": "s3"}})),
            [
                "<config>.checkpoint_storage: bucket is a required property",
                "<config>: searcher is a required property"
            ]
        );
    }
}
