//! Workspaces: [`Workspace`], and the calls that make, find and delete workspaces.

use serde_json::json;

use crate::deletion::{self, DeleteOptions};
use crate::error::{Error, Result};
use crate::name::{self, NameOrId};
use crate::project::{Project, ProjectBody};
use crate::resource_pool::ResourcePool;
use crate::session::{Pages, Session, route};
use crate::wire::object;

object! {
    /// A workspace: it holds projects and models, and may have resource pools of its own.
    ///
    /// Comes from [`Determined::create_workspace`](crate::Determined::create_workspace),
    /// [`get_workspace`](crate::Determined::get_workspace) and [`list_workspaces`](crate::Determined::list_workspaces). The fields are what the
    /// master said then; [`reload`](Self::reload) asks again.
    ///
    /// ```
    /// use determined::testing::MockMaster;
    ///
    /// let master = MockMaster::start();
    /// let client = master.determined();
    /// let workspace = client.create_workspace("lab")?;
    /// workspace.create_project("vision")?;
    /// assert_eq!(workspace.list_projects()?.len(), 1);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub struct Workspace from WorkspaceBody {
        /// The id.
        pub id: i32 as "crate::wire::exact",
        /// The name. Another workspace may have the same name in another case.
        pub name: String,
        /// Whether it is archived: what it holds can be read, but not changed.
        pub archived: bool,
        /// Whether it can be neither renamed nor deleted, like `Uncategorized`.
        pub immutable: bool,
        /// The user who created it.
        pub username: String,
        /// How many projects it holds.
        pub num_projects: i32,
        /// How many experiments these projects hold.
        pub num_experiments: i32,
    }
}

/// What a new project is to have besides its name.
///
/// ```
/// # use determined::testing::MockMaster;
/// use determined::CreateProjectOptions;
///
/// # let master = MockMaster::start();
/// # let workspace = master.determined().create_workspace("lab")?;
/// let project = workspace.create_project_with("vision", CreateProjectOptions::new().description("seeing"))?;
/// assert_eq!(project.description, "seeing");
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
#[must_use]
pub struct CreateProjectOptions {
    description: Option<String>,
}

impl CreateProjectOptions {
    /// No description.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the project is, in words. The default is empty.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }
}

pub(crate) fn create(session: &Session, name: &str) -> Result<Workspace> {
    let doing = format!("create workspace {name:?}");
    if let Err(error) = name::check(name, "name of the workspace") {
        return Err(error.doing(doing));
    }
    let workspace: WorkspaceBody = session
        .post("/api/v1/workspaces")
        .doing(doing)
        .json(&json!({"name": name}))
        .fetch_field("workspace")?;
    Ok(workspace.attach(session))
}

pub(crate) fn get(session: &Session, workspace: NameOrId) -> Result<Workspace> {
    let workspace = match workspace {
        NameOrId::Name(name) => find(session, &name)?,
        NameOrId::Id(id) => session
            .get(route!("/api/v1/workspaces/{}", id))
            .doing(format!("get workspace {id}"))
            .fetch_field("workspace")?,
    };
    Ok(workspace.attach(session))
}

fn find(session: &Session, name: &str) -> Result<WorkspaceBody> {
    let doing = format!("get workspace {name:?}");
    if let Err(error) = name::check(name, "name of the workspace") {
        return Err(error.doing(doing));
    }
    let request = session
        .get("/api/v1/workspaces")
        .doing(doing)
        .query("name", name::pattern(name));
    let found: Option<Vec<WorkspaceBody>> = request.clone().fetch_field("workspaces")?;
    name::pick("workspace", name, found.unwrap_or_default(), |w| &w.name)
        .map_err(|error| request.explain(error))
}

pub(crate) fn list(session: &Session) -> Result<Vec<Workspace>> {
    let request = session.get("/api/v1/workspaces").doing("list workspaces");
    let session = session.clone();
    Pages::start(request, "workspaces", move |workspace: WorkspaceBody| {
        workspace.attach(&session)
    })?
    .collect()
}

pub(crate) fn delete(
    session: &Session,
    workspace: NameOrId,
    options: &DeleteOptions,
) -> Result<()> {
    let doing = match &workspace {
        NameOrId::Name(name) => format!("delete workspace {name:?}"),
        NameOrId::Id(id) => format!("delete workspace {id}"),
    };
    let workspace = get(session, workspace).map_err(|error| error.on_the_way_to(doing))?;
    let route = route!("/api/v1/workspaces/{}", workspace.id);
    let doing = format!("delete workspace {:?}", workspace.name);
    deletion::delete(session, &route, "workspace", doing, options)
}

impl Workspace {
    /// Asks the master again and fills all fields anew. `GET /api/v1/workspaces/{id}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the workspace is deleted.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let mut workspace = client.create_workspace("lab")?;
    /// workspace.create_project("vision")?;
    /// workspace.reload()?;
    /// assert_eq!(workspace.num_projects, 1);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn reload(&mut self) -> Result<()> {
        *self = get(&self.session, NameOrId::Id(self.id))?;
        Ok(())
    }

    /// The resource pools that experiments in this workspace may use.
    ///
    /// `GET /api/v1/workspaces/{id}/available-resource-pools`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the workspace is deleted.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// for pool in client.get_workspace("Uncategorized")?.list_pools()? {
    ///     println!("{}", pool.name);
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn list_pools(&self) -> Result<Vec<ResourcePool>> {
        let request = self
            .session
            .get(route!(
                "/api/v1/workspaces/{}/available-resource-pools",
                self.id
            ))
            .doing(format!(
                "list the resource pools of workspace {:?}",
                self.name
            ));
        let session = self.session.clone();
        Pages::start(request, "resourcePools", move |name: String| {
            ResourcePool::new(name, &session)
        })?
        .collect()
    }

    /// Creates a project in this workspace. `POST /api/v1/workspaces/{id}/projects`.
    ///
    /// # Errors
    ///
    /// [`Conflict`](crate::ErrorKind::Conflict) if the workspace has a project of that name; [`InvalidInput`](crate::ErrorKind::InvalidInput)
    /// for an empty name.
    ///
    /// ```
    /// # use determined::{ErrorKind, testing::MockMaster};
    /// # let master = MockMaster::start();
    /// # let workspace = master.determined().create_workspace("lab")?;
    /// let project = workspace.create_project("vision")?;
    /// assert_eq!(project.workspace_id, workspace.id);
    /// assert_eq!(workspace.create_project("vision").unwrap_err().kind(), ErrorKind::Conflict);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn create_project(&self, name: &str) -> Result<Project> {
        self.create_project_with(name, CreateProjectOptions::new())
    }

    /// [`create_project`](Self::create_project) with a description. `POST /api/v1/workspaces/{id}/projects`.
    ///
    /// # Errors
    ///
    /// As for [`create_project`](Self::create_project).
    ///
    /// ```
    /// # use determined::{CreateProjectOptions, testing::MockMaster};
    /// # let master = MockMaster::start();
    /// # let workspace = master.determined().create_workspace("lab")?;
    /// workspace.create_project_with("vision", CreateProjectOptions::new().description("seeing"))?;
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn create_project_with(
        &self,
        name: &str,
        options: CreateProjectOptions,
    ) -> Result<Project> {
        let doing = format!("create project {name:?} in workspace {:?}", self.name);
        if let Err(error) = name::check(name, "name of the project") {
            return Err(error.doing(doing));
        }
        let project: ProjectBody = self
            .session
            .post(self.projects())
            .doing(doing)
            .json(
                &json!({"name": name, "workspaceId": self.id, "description": options.description}),
            )
            .fetch_field("project")?;
        Ok(project.attach(&self.session))
    }

    /// The project of exactly this name in this workspace. `GET /api/v1/workspaces/{id}/projects`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is none; [`InvalidInput`](crate::ErrorKind::InvalidInput) for an empty name.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let workspace = master.determined().create_workspace("lab")?;
    /// workspace.create_project("vision")?;
    /// assert_eq!(workspace.get_project("vision")?.name, "vision");
    /// assert!(workspace.get_project("visio_").unwrap_err().is_not_found());
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn get_project(&self, name: &str) -> Result<Project> {
        let doing = format!("get project {name:?} of workspace {:?}", self.name);
        if let Err(error) = name::check(name, "name of the project") {
            return Err(error.doing(doing));
        }
        let request = self
            .session
            .get(self.projects())
            .doing(doing)
            .query("name", name::pattern(name));
        let found: Option<Vec<ProjectBody>> = request.clone().fetch_field("projects")?;
        let project = name::pick("project", name, found.unwrap_or_default(), |p| &p.name)
            .map_err(|error: Error| request.explain(error))?;
        Ok(project.attach(&self.session))
    }

    /// The projects in this workspace. `GET /api/v1/workspaces/{id}/projects`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the workspace is deleted.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// for project in client.get_workspace("Uncategorized")?.list_projects()? {
    ///     println!("{} {}", project.name, project.n_experiments);
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn list_projects(&self) -> Result<Vec<Project>> {
        let request = self
            .session
            .get(self.projects())
            .doing(format!("list the projects of workspace {:?}", self.name));
        let session = self.session.clone();
        Pages::start(request, "projects", move |project: ProjectBody| {
            project.attach(&session)
        })?
        .collect()
    }

    /// Deletes the project of exactly this name in this workspace, with all that is in it. The call returns when the master has agreed;
    /// [`delete_project_with`](Self::delete_project_with) can wait.
    ///
    /// `GET /api/v1/workspaces/{id}/projects`, then `DELETE /api/v1/projects/{id}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is none; [`InvalidInput`](crate::ErrorKind::InvalidInput) for an empty name;
    /// [`Forbidden`](crate::ErrorKind::Forbidden) if another user created it and this one is no administrator.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let workspace = master.determined().create_workspace("lab")?;
    /// workspace.create_project("vision")?;
    /// workspace.delete_project("vision")?;
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn delete_project(&self, name: &str) -> Result<()> {
        self.delete_project_with(name, DeleteOptions::new())
    }

    /// [`delete_project`](Self::delete_project), which may wait until the project is gone. `DELETE /api/v1/projects/{id}`.
    ///
    /// # Errors
    ///
    /// As for [`delete_project`](Self::delete_project); while waiting, [`WaitTimeout`](crate::ErrorKind::WaitTimeout) when the time is up,
    /// [`Cancelled`](crate::ErrorKind::Cancelled), and [`Api`](crate::ErrorKind::Api) if the master could not delete it in the end.
    ///
    /// ```
    /// # use determined::{DeleteOptions, testing::MockMaster};
    /// # use std::time::Duration;
    /// # let master = MockMaster::start();
    /// # let workspace = master.determined().create_workspace("lab")?;
    /// # workspace.create_project("vision")?;
    /// workspace.delete_project_with("vision", DeleteOptions::new().wait(Duration::from_secs(600)))?;
    /// assert!(workspace.list_projects()?.is_empty());
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn delete_project_with(&self, name: &str, options: DeleteOptions) -> Result<()> {
        let doing = format!("delete project {name:?} of workspace {:?}", self.name);
        let project = self
            .get_project(name)
            .map_err(|error| error.on_the_way_to(doing.clone()))?;
        let route = route!("/api/v1/projects/{}", project.id);
        deletion::delete(&self.session, &route, "project", doing, &options)
    }

    fn projects(&self) -> String {
        route!("/api/v1/workspaces/{}/projects", self.id)
    }
}
