//! Projects: [`Project`] and its notes.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::experiment::{self, Experiment, ExperimentQuery};
use crate::lenient::lenient_objects;
use crate::name;
use crate::session::{Session, route};
use crate::wire::{lenient, object};

object! {
    /// A project: it holds experiments, and notes about them.
    ///
    /// Comes from [`Workspace`](crate::Workspace), and from [`Determined::get_project`](crate::Determined::get_project) by its id. The fields
    /// are what the master said then; [`reload`](Self::reload) asks again.
    ///
    /// ```
    /// use determined::testing::MockMaster;
    ///
    /// let master = MockMaster::start();
    /// let workspace = master.determined().create_workspace("lab")?;
    /// let mut project = workspace.create_project("vision")?;
    /// project.add_note("plan", "Start small.")?;
    /// assert_eq!(project.notes[0].contents, "Start small.");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub struct Project from ProjectBody {
        /// The id.
        pub id: i32 as "crate::wire::exact",
        /// The name, which no other project in the workspace has.
        pub name: String,
        /// The short key that stands in the names of its runs. Older masters have none.
        pub key: Option<String>,
        /// What the project is, in words; may be empty.
        pub description: String,
        /// Its notes, in order.
        pub notes: Vec<ProjectNote>,
        /// How many experiments it holds.
        pub n_experiments: i32 = "numExperiments",
        /// How many of them have not ended.
        pub n_active_experiments: i32 = "numActiveExperiments",
        /// Whether it is archived: what it holds can be read, but not changed.
        pub archived: bool,
        /// The user who created it.
        pub username: String,
        /// The workspace it is in.
        pub workspace_id: i32,
    }
}

/// A note of a [`Project`].
///
/// ```
/// # let master = determined::testing::MockMaster::start();
/// # let workspace = master.determined().create_workspace("lab")?;
/// # let mut project = workspace.create_project("vision")?;
/// project.add_note("plan", "Start small.")?;
/// for note in &project.notes {
///     println!("{}: {}", note.name, note.contents);
/// }
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProjectNote {
    /// The name. Other notes may have it too.
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    /// The text, in Markdown.
    #[serde(default, deserialize_with = "lenient")]
    pub contents: String,
}

lenient_objects!(ProjectNote);

pub(crate) fn get(session: &Session, project_id: i32) -> Result<Project> {
    let project: ProjectBody = session
        .get(route!("/api/v1/projects/{}", project_id))
        .doing(format!("get project {project_id}"))
        .fetch_field("project")?;
    Ok(project.attach(session))
}

impl Project {
    /// Asks the master again and fills all fields anew. `GET /api/v1/projects/{id}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the project is deleted.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let workspace = master.determined().create_workspace("lab")?;
    /// let mut project = workspace.create_project("vision")?;
    /// workspace.get_project("vision")?.set_name("sight")?;
    /// project.reload()?;
    /// assert_eq!(project.name, "sight");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn reload(&mut self) -> Result<()> {
        *self = get(&self.session, self.id)?;
        Ok(())
    }

    /// Renames the project. `PATCH /api/v1/projects/{id}`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for an empty name; [`Conflict`](ErrorKind::Conflict) or [`Api`](ErrorKind::Api) if another
    /// project in the workspace bears it, [`Api`](ErrorKind::Api) if the project is archived.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let workspace = master.determined().create_workspace("lab")?;
    /// # let mut project = workspace.create_project("vision")?;
    /// project.set_name("sight")?;
    /// assert_eq!(project.name, "sight");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn set_name(&mut self, name: &str) -> Result<()> {
        if let Err(error) = name::check(name, "name of the project") {
            return Err(error.doing(self.doing("rename")));
        }
        self.name = self.patch("rename", json!({"name": name}))?.name;
        Ok(())
    }

    /// Replaces the description; an empty one clears it. `PATCH /api/v1/projects/{id}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the project is deleted; [`Api`](ErrorKind::Api) if it is archived.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let workspace = master.determined().create_workspace("lab")?;
    /// # let mut project = workspace.create_project("vision")?;
    /// project.set_description("seeing")?;
    /// assert_eq!(project.description, "seeing");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn set_description(&mut self, description: &str) -> Result<()> {
        let change = json!({"description": description});
        self.description = self.patch("set the description of", change)?.description;
        Ok(())
    }

    /// Replaces the key: up to 5 letters and digits, which the master puts into upper case. `PATCH /api/v1/projects/{id}`.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) if another project has it; [`Api`](ErrorKind::Api) for a key that the master does not take, or if the
    /// project is archived; [`Unsupported`](ErrorKind::Unsupported) for a master whose projects have no keys.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let workspace = master.determined().create_workspace("lab")?;
    /// # let mut project = workspace.create_project("vision")?;
    /// project.set_key("see")?;
    /// assert_eq!(project.key.as_deref(), Some("SEE"));
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn set_key(&mut self, key: &str) -> Result<()> {
        let action = "set the key of";
        let Some(key) = self.patch(action, json!({"key": key}))?.key else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the projects of this master have no keys; this call needs a newer master",
            )
            .doing(self.doing(action)));
        };
        self.key = Some(key);
        Ok(())
    }

    /// Archives the project: what it holds can be read, but not changed. `POST /api/v1/projects/{id}/archive`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the project is deleted.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let workspace = master.determined().create_workspace("lab")?;
    /// # let mut project = workspace.create_project("vision")?;
    /// project.archive()?;
    /// assert!(project.archived && project.set_name("sight").is_err());
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn archive(&mut self) -> Result<()> {
        self.session
            .post(route!("/api/v1/projects/{}/archive", self.id))
            .doing(self.doing("archive"))
            .send()?;
        self.archived = true;
        Ok(())
    }

    /// Takes the project out of the archive. `POST /api/v1/projects/{id}/unarchive`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the project is deleted.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let workspace = master.determined().create_workspace("lab")?;
    /// # let mut project = workspace.create_project("vision")?;
    /// # project.archive()?;
    /// project.unarchive()?;
    /// assert!(!project.archived);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn unarchive(&mut self) -> Result<()> {
        self.session
            .post(route!("/api/v1/projects/{}/unarchive", self.id))
            .doing(self.doing("unarchive"))
            .send()?;
        self.archived = false;
        Ok(())
    }

    /// The experiments in the project. `GET /api/v1/experiments`.
    ///
    /// For some of them, or page by page, see [`ExperimentQuery::project_id`].
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the project is deleted.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let workspace = master.determined().create_workspace("lab")?;
    /// let project = workspace.create_project("vision")?;
    /// assert!(project.list_experiments()?.is_empty());
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn list_experiments(&self) -> Result<Vec<Experiment>> {
        experiment::list(&self.session, &ExperimentQuery::new().project_id(self.id))
    }

    /// Adds a note after the others.
    ///
    /// The master's notes are read first and written back with the addition, so notes that others added since this object was fetched stay;
    /// but of two edits at the very same time one is lost. `GET /api/v1/projects/{id}`, then `PUT /api/v1/projects/{id}/notes`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the project is deleted.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let workspace = master.determined().create_workspace("lab")?;
    /// # let mut project = workspace.create_project("vision")?;
    /// project.add_note("plan", "Start small.")?;
    /// assert_eq!(project.notes[0].name, "plan");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn add_note(&mut self, name: &str, contents: &str) -> Result<()> {
        self.edit_notes("add a note to", |notes| {
            notes.push(ProjectNote {
                name: name.to_owned(),
                contents: contents.to_owned(),
            });
            Ok(())
        })
    }

    /// Removes the note of this name.
    ///
    /// Reads before it writes, like [`add_note`](Self::add_note). `GET /api/v1/projects/{id}`, then `PUT /api/v1/projects/{id}/notes`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if no note, or more than one, bears the name: then nothing is changed;
    /// [`NotFound`](ErrorKind::NotFound) if the project is deleted.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let workspace = master.determined().create_workspace("lab")?;
    /// # let mut project = workspace.create_project("vision")?;
    /// project.add_note("plan", "Start small.")?;
    /// project.remove_note("plan")?;
    /// assert!(project.notes.is_empty());
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn remove_note(&mut self, name: &str) -> Result<()> {
        self.edit_notes("remove a note from", |notes| {
            let before = notes.len();
            notes.retain(|note| note.name != name);
            match before - notes.len() {
                1 => Ok(()),
                0 => Err(Error::invalid_input(format!("no note is named {name:?}"))),
                count => Err(Error::invalid_input(format!(
                    "{count} notes are named {name:?}; remove the right one in the web interface"
                ))),
            }
        })
    }

    /// Changes the notes that the master has now: writing replaces them all.
    fn edit_notes(
        &mut self,
        action: &str,
        edit: impl FnOnce(&mut Vec<ProjectNote>) -> Result<()>,
    ) -> Result<()> {
        let doing = self.doing(action);
        let notes = get(&self.session, self.id)
            .and_then(|project| {
                let mut notes = project.notes;
                edit(&mut notes)?;
                Ok(notes)
            })
            .map_err(|error| error.on_the_way_to(doing.clone()))?;
        let notes: Option<Vec<ProjectNote>> = self
            .session
            .put(route!("/api/v1/projects/{}/notes", self.id))
            .doing(doing)
            .json(&json!({"notes": notes, "projectId": self.id}))
            .fetch_field("notes")?;
        self.notes = notes.unwrap_or_default();
        Ok(())
    }

    fn doing(&self, action: &str) -> String {
        format!("{action} project {:?}", self.name)
    }

    /// Changes one field and gives what the master made of it.
    fn patch(&self, action: &str, change: Value) -> Result<ProjectBody> {
        self.session
            .patch(route!("/api/v1/projects/{}", self.id))
            .doing(self.doing(action))
            .json(&change)
            .fetch_field("project")
    }
}
