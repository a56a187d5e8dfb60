//! Projects.

use super::state::State;

#[derive(Debug, Clone)]
pub(super) struct Project {
    pub(super) id: i32,
    pub(super) name: String,
    pub(super) workspace_id: i32,
    pub(super) description: String,
    pub(super) owner: i32,
    pub(super) archived: bool,
    /// The one that is there from the start and stays.
    pub(super) immutable: bool,
    pub(super) key: String,
    pub(super) notes: Vec<Note>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Note {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) contents: String,
}

impl State {
    /// Adds a project, without asking whether its name is free.
    pub(super) fn add_project(
        &mut self,
        workspace_id: i32,
        name: &str,
        owner: i32,
        key: String,
    ) -> &mut Project {
        self.projects.insert(|id| Project {
            id,
            name: name.to_owned(),
            workspace_id,
            description: String::new(),
            owner,
            archived: false,
            immutable: false,
            key,
            notes: Vec::new(),
        })
    }
}
