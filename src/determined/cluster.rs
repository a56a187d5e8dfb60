//! The calls of [`Determined`] on users, workspaces, projects, resource pools and OAuth clients.

use super::Determined;
use crate::deletion::DeleteOptions;
use crate::error::Result;
use crate::name::NameOrId;
use crate::oauth_client::{self, OauthClient};
use crate::project::{self, Project};
use crate::resource_pool::{self, ResourcePool};
use crate::user::{self, CreateUserOptions, User, UserQuery};
use crate::workspace::{self, Workspace};

impl Determined {
    /// Creates a user who logs in with a password. Needs the rights of an administrator. `POST /api/v1/users`.
    ///
    /// The password needs at least 8 characters, an upper-case and a lower-case letter and a digit among them. What is sent is a salted hash.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for an empty name, and for a password that is too simple, with every rule that it
    /// breaks; [`Conflict`](crate::ErrorKind::Conflict) if the user exists; [`Forbidden`](crate::ErrorKind::Forbidden) for users who are no
    /// administrators; [`Api`](crate::ErrorKind::Api) for a name that the master does not take.
    ///
    /// ```
    /// # use determined::{Determined, testing::MockMaster};
    /// # let master = MockMaster::start();
    /// let admin = Determined::new(master.login_options().user("admin"))?;
    /// let user = admin.create_user("kim", false, "Correct-horse-9")?;
    /// assert_eq!(admin.get_user_by_name("kim")?.user_id, user.user_id);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn create_user(&self, username: &str, admin: bool, password: &str) -> Result<User> {
        let options = CreateUserOptions::new().password(password);
        self.create_user_with(username, admin, options)
    }

    /// [`create_user`](Self::create_user) for a user who may log in by single sign-on only. `POST /api/v1/users`.
    ///
    /// # Errors
    ///
    /// As for [`create_user`](Self::create_user); also [`InvalidInput`](crate::ErrorKind::InvalidInput) for a user with neither a password nor
    /// [`remote`](CreateUserOptions::remote), and for one with both; [`Unsupported`](crate::ErrorKind::Unsupported) for a remote user on a
    /// master that has none: it makes a user with a blank password, which is deactivated at once.
    ///
    /// ```
    /// # use determined::{CreateUserOptions, Determined, testing::MockMaster};
    /// # let master = MockMaster::start();
    /// # let admin = Determined::new(master.login_options().user("admin"))?;
    /// let user = admin.create_user_with("kim", false, CreateUserOptions::new().remote(true))?;
    /// assert!(user.remote);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn create_user_with(
        &self,
        username: &str,
        admin: bool,
        options: CreateUserOptions,
    ) -> Result<User> {
        user::create(&self.session, username, admin, &options)
    }

    /// The user of this id. `GET /api/v1/users/{id}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is none.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let me = client.whoami()?;
    /// assert_eq!(client.get_user_by_id(me.user_id)?.username, me.username);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn get_user_by_id(&self, user_id: i32) -> Result<User> {
        user::get_by_id(&self.session, user_id)
    }

    /// The user of this name, to the letter. `GET /api/v1/users/{name}/by-username`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is none; [`InvalidInput`](crate::ErrorKind::InvalidInput) for an empty name.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// assert!(client.get_user_by_name("admin")?.admin);
    /// assert!(client.get_user_by_name("no-one").unwrap_err().is_not_found());
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn get_user_by_name(&self, username: &str) -> Result<User> {
        user::get_by_name(&self.session, username)
    }

    /// The user who is logged in, as the master has it. `GET /api/v1/me`.
    ///
    /// # Errors
    ///
    /// [`Unauthenticated`](crate::ErrorKind::Unauthenticated) if the session has ended.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// assert_eq!(client.whoami()?.username, "determined");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn whoami(&self) -> Result<User> {
        user::whoami(&self.session)
    }

    /// All users. `GET /api/v1/users`.
    ///
    /// # Errors
    ///
    /// When the master cannot be reached or refuses.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// assert!(client.list_users()?.iter().any(|user| user.username == "admin"));
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn list_users(&self) -> Result<Vec<User>> {
        self.list_users_with(UserQuery::new())
    }

    /// The users who may log in, or those who may not. `GET /api/v1/users`.
    ///
    /// # Errors
    ///
    /// When the master cannot be reached or refuses.
    ///
    /// ```
    /// # use determined::{UserQuery, testing::MockMaster};
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let users = client.list_users_with(UserQuery::new().active(true))?;
    /// assert!(users.iter().all(|user| user.active));
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn list_users_with(&self, query: UserQuery) -> Result<Vec<User>> {
        user::list(&self.session, query)
    }

    /// The workspace of exactly this name, or of this id. `GET /api/v1/workspaces`, or `GET /api/v1/workspaces/{id}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is none; [`InvalidInput`](crate::ErrorKind::InvalidInput) for an empty name.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let workspace = client.get_workspace("Uncategorized")?;
    /// assert_eq!(client.get_workspace(workspace.id)?.name, "Uncategorized");
    /// assert!(client.get_workspace("uncategori%").unwrap_err().is_not_found());
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn get_workspace(&self, workspace: impl Into<NameOrId>) -> Result<Workspace> {
        workspace::get(&self.session, workspace.into())
    }

    /// All workspaces. `GET /api/v1/workspaces`.
    ///
    /// # Errors
    ///
    /// When the master cannot be reached or refuses.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// client.create_workspace("lab")?;
    /// assert!(client.list_workspaces()?.iter().any(|workspace| workspace.name == "lab"));
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn list_workspaces(&self) -> Result<Vec<Workspace>> {
        workspace::list(&self.session)
    }

    /// Creates a workspace. `POST /api/v1/workspaces`.
    ///
    /// # Errors
    ///
    /// [`Conflict`](crate::ErrorKind::Conflict) if a workspace of that name exists; [`InvalidInput`](crate::ErrorKind::InvalidInput) for an
    /// empty name; [`Forbidden`](crate::ErrorKind::Forbidden) without the right to create workspaces.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let workspace = client.create_workspace("lab")?;
    /// assert_eq!(workspace.name, "lab");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn create_workspace(&self, name: &str) -> Result<Workspace> {
        workspace::create(&self.session, name)
    }

    /// Deletes the workspace of exactly this name, or of this id, with all that is in it. The call returns when the master has agreed;
    /// [`delete_workspace_with`](Self::delete_workspace_with) can wait.
    ///
    /// `GET /api/v1/workspaces`, then `DELETE /api/v1/workspaces/{id}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is none; [`InvalidInput`](crate::ErrorKind::InvalidInput) for an empty name;
    /// [`Forbidden`](crate::ErrorKind::Forbidden) if another user created it and this one is no administrator; [`Api`](crate::ErrorKind::Api)
    /// if it holds models: move or delete them first.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// client.create_workspace("lab")?;
    /// client.delete_workspace("lab")?;
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn delete_workspace(&self, workspace: impl Into<NameOrId>) -> Result<()> {
        self.delete_workspace_with(workspace, DeleteOptions::new())
    }

    /// [`delete_workspace`](Self::delete_workspace), which may wait until the workspace is gone. `DELETE /api/v1/workspaces/{id}`.
    ///
    /// # Errors
    ///
    /// As for [`delete_workspace`](Self::delete_workspace); while waiting, [`WaitTimeout`](crate::ErrorKind::WaitTimeout) when the time is up,
    /// [`Cancelled`](crate::ErrorKind::Cancelled), and [`Api`](crate::ErrorKind::Api) if the master could not delete it in the end.
    ///
    /// ```
    /// # use determined::{DeleteOptions, testing::MockMaster};
    /// # use std::time::Duration;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// client.create_workspace("lab")?.create_project("vision")?;
    /// client.delete_workspace_with("lab", DeleteOptions::new().wait(Duration::from_secs(600)))?;
    /// assert!(client.get_workspace("lab").unwrap_err().is_not_found());
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn delete_workspace_with(
        &self,
        workspace: impl Into<NameOrId>,
        options: DeleteOptions,
    ) -> Result<()> {
        workspace::delete(&self.session, workspace.into(), &options)
    }

    /// The project of this id; by its name, see [`Workspace::get_project`]. `GET /api/v1/projects/{id}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is none.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let id = client.get_workspace("Uncategorized")?.get_project("Uncategorized")?.id;
    /// assert_eq!(client.get_project(id)?.name, "Uncategorized");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn get_project(&self, project_id: i32) -> Result<Project> {
        project::get(&self.session, project_id)
    }

    /// The resource pool of this name. `GET /api/v1/resource-pools`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is none; [`InvalidInput`](crate::ErrorKind::InvalidInput) for an empty name.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// assert_eq!(client.get_resource_pool("default")?.name, "default");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn get_resource_pool(&self, name: &str) -> Result<ResourcePool> {
        resource_pool::get(&self.session, name)
    }

    /// The OAuth clients, without their secrets. Enterprise Edition. `GET /oauth2/clients`.
    ///
    /// # Errors
    ///
    /// [`EnterpriseOnly`](crate::ErrorKind::EnterpriseOnly) for a master of the open-source edition.
    ///
    /// ```
    /// # use determined::{ErrorKind, testing::MockMaster};
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let error = client.list_oauth_clients().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::EnterpriseOnly);
    /// ```
    pub fn list_oauth_clients(&self) -> Result<Vec<OauthClient>> {
        oauth_client::list(&self.session)
    }

    /// Adds an OAuth client. What is returned holds its secret, which the master does not show again. Enterprise Edition.
    ///
    /// `POST /oauth2/clients`.
    ///
    /// # Errors
    ///
    /// [`EnterpriseOnly`](crate::ErrorKind::EnterpriseOnly) for a master of the open-source edition;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for an empty domain or name; [`Api`](crate::ErrorKind::Api) if there is a client
    /// already: the master takes one.
    ///
    /// ```no_run
    /// # use determined::client;
    /// let added = client::add_oauth_client("https://app.example", "app")?;
    /// if let Some(secret) = added.secret {
    ///     std::fs::write("app.secret", secret).expect("a writable directory");
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn add_oauth_client(&self, domain: &str, name: &str) -> Result<OauthClient> {
        oauth_client::add(&self.session, domain, name)
    }

    /// Removes the OAuth client of this id. Enterprise Edition. `DELETE /oauth2/clients/{id}`.
    ///
    /// # Errors
    ///
    /// [`EnterpriseOnly`](crate::ErrorKind::EnterpriseOnly) for a master of the open-source edition; [`NotFound`](crate::ErrorKind::NotFound)
    /// if there is no such client; [`InvalidInput`](crate::ErrorKind::InvalidInput) for an empty id.
    ///
    /// ```no_run
    /// # use determined::client;
    /// for app in client::list_oauth_clients()? {
    ///     client::remove_oauth_client(&app.id)?;
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn remove_oauth_client(&self, client_id: &str) -> Result<()> {
        oauth_client::remove(&self.session, client_id)
    }
}
