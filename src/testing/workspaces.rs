//! Workspaces.

use super::state::State;
use jiff::Timestamp;
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
pub(super) struct Workspace {
    pub(super) id: i32,
    pub(super) name: String,
    pub(super) owner: i32,
    pub(super) archived: bool,
    /// The one that is there from the start and stays.
    pub(super) immutable: bool,
    /// Who pinned it, and when.
    pub(super) pins: BTreeMap<i32, Timestamp>,
}

impl State {
    /// Adds a workspace, without asking whether its name is free.
    pub(super) fn add_workspace(&mut self, name: &str, owner: i32) -> &mut Workspace {
        self.workspaces.insert(|id| Workspace {
            id,
            name: name.to_owned(),
            owner,
            archived: false,
            immutable: false,
            pins: BTreeMap::new(),
        })
    }
}
