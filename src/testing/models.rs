//! The model registry.

use super::state::State;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) id: i32,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) metadata: Map<String, Value>,
    pub(super) creation_time: Timestamp,
    pub(super) last_updated_time: Timestamp,
    pub(super) labels: Vec<String>,
    pub(super) owner: i32,
    pub(super) workspace_id: i32,
    pub(super) archived: bool,
    pub(super) notes: String,
    /// By number; a number is never used again.
    pub(super) versions: BTreeMap<i32, ModelVersion>,
    pub(super) last_version: i32,
}

#[derive(Debug, Clone)]
pub(super) struct ModelVersion {
    pub(super) id: i32,
    pub(super) number: i32,
    pub(super) checkpoint_uuid: String,
    pub(super) creation_time: Timestamp,
    pub(super) last_updated_time: Timestamp,
    pub(super) name: String,
    pub(super) comment: String,
    pub(super) notes: String,
    pub(super) metadata: Map<String, Value>,
    pub(super) labels: Vec<String>,
    pub(super) owner: i32,
}

impl State {
    /// The name and id of the model that a checkpoint is registered to, and the version's number.
    pub(super) fn registered_as(&self, uuid: &str) -> Option<(&str, i32, i32)> {
        self.models.values().find_map(|model| {
            let version = model
                .versions
                .values()
                .find(|version| version.checkpoint_uuid == uuid)?;
            Some((model.name.as_str(), model.id, version.number))
        })
    }
}
