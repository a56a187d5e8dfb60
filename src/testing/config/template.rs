//! What a configuration takes over from a template.

use super::defaults::{hyperparameters, spread_over_devices};
use serde_json::{Map, Value};

/// Sections that come in kinds: the key that says which, and the keys that all kinds have.
const UNIONS: [(&str, &str, &[&str]); 2] = [
    (
        "searcher",
        "name",
        &[
            "metric",
            "smaller_is_better",
            "source_trial_id",
            "source_checkpoint_uuid",
        ],
    ),
    (
        "checkpoint_storage",
        "type",
        &[
            "save_experiment_best",
            "save_trial_best",
            "save_trial_latest",
        ],
    ),
];

/// Lists whose items are known by a key: the template's come behind, unless there is one of that key.
const KEYED: [(&str, &str); 4] = [
    ("bind_mounts", "container_path"),
    ("devices", "container_path"),
    ("proxy_ports", "proxy_port"),
    ("log_policies", "name"),
];

/// Takes over from a template what a configuration leaves open.
pub(super) fn apply(config: &mut Map<String, Value>, template: &Map<String, Value>) {
    for (key, theirs) in template.iter().filter(|(_, theirs)| !theirs.is_null()) {
        let ours = config.entry(key.clone()).or_insert(Value::Null);
        match key.as_str() {
            _ if ours.is_null() => *ours = theirs.clone(),
            "hyperparameters" => {
                *ours = hyperparameters(ours);
                merge_hyperparameters(ours, &hyperparameters(theirs));
            }
            "labels" => add_labels(ours, theirs),
            "environment_variables" => add_variables(ours, theirs),
            name => match UNIONS.iter().find(|(section, _, _)| *section == name) {
                Some((_, tag, common)) => merge_union(ours, theirs, tag, common),
                None => merge_other(name, ours, theirs),
            },
        }
    }
}

fn merge_other(name: &str, ours: &mut Value, theirs: &Value) {
    let key = KEYED.iter().find(|(list, _)| *list == name);
    match (ours, theirs, key) {
        (Value::Object(ours), Value::Object(theirs), _) => apply(ours, theirs),
        (Value::Array(ours), Value::Array(theirs), Some((_, key))) => {
            for item in theirs {
                if item[*key].is_null() || ours.iter().all(|known| known[*key] != item[*key]) {
                    ours.push(item.clone());
                }
            }
        }
        _ => {}
    }
}

/// Of another kind only what all kinds have is taken over.
fn merge_union(ours: &mut Value, theirs: &Value, tag: &str, common: &[&str]) {
    let (Value::Object(ours), Value::Object(theirs)) = (ours, theirs) else {
        return;
    };
    let of_a_kind = ours.get(tag).is_none_or(Value::is_null) || ours.get(tag) == theirs.get(tag);
    let mut taken = theirs.clone();
    taken.retain(|key, _| of_a_kind || common.contains(&key.as_str()));
    apply(ours, &taken);
}

/// Merges hyperparameters in which each value has a type.
fn merge_hyperparameters(ours: &mut Value, theirs: &Value) {
    let (Value::Object(ours), Value::Object(theirs)) = (ours, theirs) else {
        return;
    };
    for (name, theirs) in theirs {
        match ours.get_mut(name) {
            None => {
                ours.insert(name.clone(), theirs.clone());
            }
            Some(ours) if ours["type"].is_null() && theirs["type"].is_null() => {
                merge_hyperparameters(ours, theirs);
            }
            Some(ours) => merge_union(ours, theirs, "type", &[]),
        }
    }
}

fn add_labels(ours: &mut Value, theirs: &Value) {
    let names = |labels: &Value| -> Vec<Value> {
        match labels {
            Value::Object(map) => map.keys().cloned().map(Value::from).collect(),
            labels => labels.as_array().cloned().unwrap_or_default(),
        }
    };
    let mut all = names(ours);
    for label in names(theirs) {
        if !all.contains(&label) {
            all.push(label);
        }
    }
    *ours = all.into();
}

/// The template's variables go first, so that the configuration's count.
fn add_variables(ours: &mut Value, theirs: &Value) {
    let mut theirs = theirs.clone();
    spread_over_devices(ours);
    spread_over_devices(&mut theirs);
    for device in ["cpu", "cuda", "rocm"] {
        let list = |value: &Value| value[device].as_array().cloned().unwrap_or_default();
        ours[device] = [list(&theirs), list(ours)].concat().into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn applied(config: Value, template: Value) -> Value {
        let mut config = config.as_object().unwrap().clone();
        apply(&mut config, template.as_object().unwrap());
        Value::Object(config)
    }

    #[test]
    fn what_a_configuration_says_goes_before_the_template() {
        let config =
            json!({"name": "own", "description": null, "resources": {"slots_per_trial": 2}});
        let template = json!({"name": "t", "description": "d", "resources": {"slots_per_trial": 1, "weight": 2}});
        assert_eq!(
            applied(config, template),
            json!({"name": "own", "description": "d", "resources": {"slots_per_trial": 2, "weight": 2}})
        );
    }

    #[test]
    fn a_section_of_another_kind_gives_what_all_kinds_have() {
        let template = json!({"searcher": {"name": "random", "max_trials": 3, "metric": "m"}});
        let other = json!({"searcher": {"name": "single"}});
        assert_eq!(
            applied(other, template.clone()),
            json!({"searcher": {"name": "single", "metric": "m"}})
        );
        let open = json!({"searcher": {"metric": "n"}});
        assert_eq!(
            applied(open, template),
            json!({"searcher": {"name": "random", "max_trials": 3, "metric": "n"}})
        );
    }

    #[test]
    fn lists_are_joined_where_the_master_joins_them() {
        let config = json!({
            "labels": ["a"], "hyperparameters": {"lr": 0.1, "n": {"k": 1}}, "entrypoint": ["x"],
            "bind_mounts": [{"host_path": "/1", "container_path": "/c"}],
            "environment": {"environment_variables": ["A=1"]},
        });
        let template = json!({
            "labels": ["b", "a"], "hyperparameters": {"lr": 0.2, "n": {"m": 2}}, "entrypoint": ["y", "z"],
            "bind_mounts": [{"host_path": "/2", "container_path": "/c"}, {"host_path": "/3", "container_path": "/d"}],
            "environment": {"environment_variables": {"cpu": ["B=2"]}},
        });
        let joined = applied(config, template);
        assert_eq!(joined["labels"], json!(["a", "b"]));
        assert_eq!(joined["entrypoint"], json!(["x"]));
        assert_eq!(joined["hyperparameters"]["lr"]["val"], 0.1);
        assert_eq!(joined["hyperparameters"]["n"]["m"]["val"], 2);
        assert_eq!(joined["bind_mounts"].as_array().unwrap().len(), 2);
        assert_eq!(
            joined["environment"]["environment_variables"],
            json!({"cpu": ["B=2", "A=1"], "cuda": ["A=1"], "rocm": ["A=1"]})
        );
    }
}
