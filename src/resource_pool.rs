//! Resource pools: [`ResourcePool`] and its bindings to workspaces.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::Result;
use crate::name::{self, NameOrId};
use crate::session::{Pages, Request, Session, route};
use crate::wire::lenient;
use crate::workspace::{self, Workspace};

/// A resource pool: agents on which experiments run.
///
/// Comes from [`Workspace::list_pools`] and [`Determined::get_resource_pool`](crate::Determined::get_resource_pool). A pool that is bound to
/// workspaces is theirs alone; a pool without bindings is everyone's. Changing bindings needs the rights of an administrator, and the
/// cluster's default pools cannot be bound.
///
/// ```
/// use determined::testing::MockMaster;
///
/// let master = MockMaster::start();
/// let pool = master.determined().get_resource_pool("default")?;
/// assert!(pool.list_workspaces()?.is_empty());
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ResourcePool {
    /// The name.
    pub name: String,
    #[serde(skip)]
    session: Session,
}

#[derive(Deserialize)]
struct ResourcePoolBody {
    #[serde(default, deserialize_with = "lenient")]
    name: String,
}

pub(crate) fn get(session: &Session, name: &str) -> Result<ResourcePool> {
    let doing = format!("get resource pool {name:?}");
    if let Err(error) = name::check(name, "name of the resource pool") {
        return Err(error.doing(doing));
    }
    let request = session.get("/api/v1/resource-pools").doing(doing);
    let pools: Result<Vec<String>> = Pages::start(
        request.clone(),
        "resourcePools",
        |pool: ResourcePoolBody| pool.name,
    )?
    .collect();
    let name = name::pick("resource pool", name, pools?, |pool| pool)
        .map_err(|error| request.explain(error))?;
    Ok(ResourcePool::new(name, session))
}

impl ResourcePool {
    pub(crate) fn new(name: String, session: &Session) -> Self {
        Self {
            name,
            session: session.clone(),
        }
    }

    /// Binds the pool to more workspaces. `POST /api/v1/resource-pools/{name}/workspace-bindings`.
    ///
    /// # Errors
    ///
    /// [`Api`](crate::ErrorKind::Api) if a workspace does not exist or is bound already, for a default pool, and for users who are no
    /// administrators.
    ///
    /// ```
    /// # use determined::{Determined, testing::{MockMaster, MockMasterOptions}};
    /// # let master = MockMaster::start_with(MockMasterOptions::new().resource_pool("gpu"));
    /// # let admin = Determined::new(master.login_options().user("admin"))?;
    /// # admin.create_workspace("lab")?;
    /// # admin.create_workspace("staging")?;
    /// let pool = admin.get_resource_pool("gpu")?;
    /// pool.add_bindings(["lab", "staging"])?;
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn add_bindings(
        &self,
        workspace_names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<()> {
        let request = self.session.post(self.bindings());
        self.bind("bind", request, workspace_names)
    }

    /// Ends the binding to some workspaces. `DELETE /api/v1/resource-pools/{name}/workspace-bindings`.
    ///
    /// # Errors
    ///
    /// [`Api`](crate::ErrorKind::Api) if a workspace does not exist or is not bound, and for users who are no administrators.
    ///
    /// ```
    /// # use determined::{Determined, testing::{MockMaster, MockMasterOptions}};
    /// # let master = MockMaster::start_with(MockMasterOptions::new().resource_pool("gpu"));
    /// # let admin = Determined::new(master.login_options().user("admin"))?;
    /// # admin.create_workspace("lab")?;
    /// # admin.create_workspace("staging")?;
    /// let pool = admin.get_resource_pool("gpu")?;
    /// # pool.add_bindings(["lab", "staging"])?;
    /// pool.remove_bindings(["staging"])?;
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn remove_bindings(
        &self,
        workspace_names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<()> {
        let request = self.session.delete(self.bindings());
        self.bind("unbind", request, workspace_names)
    }

    /// Binds the pool to these workspaces and no others. `PUT /api/v1/resource-pools/{name}/workspace-bindings`.
    ///
    /// # Errors
    ///
    /// [`Api`](crate::ErrorKind::Api) if a workspace does not exist or is named twice, for a default pool, and for users who are no
    /// administrators.
    ///
    /// ```
    /// # use determined::{Determined, testing::{MockMaster, MockMasterOptions}};
    /// # let master = MockMaster::start_with(MockMasterOptions::new().resource_pool("gpu"));
    /// # let admin = Determined::new(master.login_options().user("admin"))?;
    /// # admin.create_workspace("lab")?;
    /// # admin.create_workspace("staging")?;
    /// let pool = admin.get_resource_pool("gpu")?;
    /// # pool.add_bindings(["staging"])?;
    /// pool.replace_bindings(["lab"])?;
    /// assert_eq!(pool.list_workspaces()?[0].name, "lab");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn replace_bindings(
        &self,
        workspace_names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<()> {
        let request = self.session.put(self.bindings());
        self.bind("replace the bindings of", request, workspace_names)
    }

    /// The workspaces that the pool is bound to; none for a pool that is everyone's.
    ///
    /// `GET /api/v1/resource-pools/{name}/workspace-bindings`, then `GET /api/v1/workspaces/{id}` for each.
    ///
    /// # Errors
    ///
    /// [`Api`](crate::ErrorKind::Api) if there is no such pool.
    ///
    /// ```
    /// # use determined::{Determined, testing::{MockMaster, MockMasterOptions}};
    /// # let master = MockMaster::start_with(MockMasterOptions::new().resource_pool("gpu"));
    /// # let admin = Determined::new(master.login_options().user("admin"))?;
    /// # admin.create_workspace("lab")?;
    /// # admin.create_workspace("staging")?;
    /// for workspace in admin.get_resource_pool("gpu")?.list_workspaces()? {
    ///     println!("{}", workspace.name);
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn list_workspaces(&self) -> Result<Vec<Workspace>> {
        let doing = format!("list the workspaces of resource pool {:?}", self.name);
        let request = self.session.get(self.bindings()).doing(doing.clone());
        Pages::start(request, "workspaceIds", |id: i32| id)?
            .map(|id| workspace::get(&self.session, NameOrId::Id(id?)))
            .collect::<Result<_>>()
            .map_err(|error| error.on_the_way_to(doing))
    }

    fn bindings(&self) -> String {
        route!("/api/v1/resource-pools/{}/workspace-bindings", self.name)
    }

    fn bind(
        &self,
        action: &str,
        request: Request,
        workspace_names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<()> {
        let names: Vec<String> = workspace_names.into_iter().map(Into::into).collect();
        request
            .doing(format!("{action} resource pool {:?}", self.name))
            .json(&json!({"resourcePoolName": self.name, "workspaceNames": names}))
            .send()
    }
}
