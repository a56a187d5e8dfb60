//! Lists of models.

use super::{Model, ModelBody};
use crate::error::Result;
use crate::session::{Pages, Request, Session};
use crate::wire::{OrderBy, sort_enum};

sort_enum! {
    /// What a list of models is sorted by.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// # client.create_model("iris")?;
    /// # client.create_model("rose")?;
    /// use determined::{ModelQuery, ModelSortBy, OrderBy};
    ///
    /// let newest_first = ModelQuery::new().sort_by(ModelSortBy::CreationTime).order_by(OrderBy::Descending);
    /// assert_eq!(client.get_models_with(newest_first)?[0].name, "rose");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub enum ModelSortBy {
        /// The name.
        Name = "SORT_BY_NAME",
        /// The description.
        Description = "SORT_BY_DESCRIPTION",
        /// When it was created.
        CreationTime = "SORT_BY_CREATION_TIME",
        /// When it was last changed.
        LastUpdatedTime = "SORT_BY_LAST_UPDATED_TIME",
        /// How many versions it has.
        NumVersions = "SORT_BY_NUM_VERSIONS",
        /// The name of its workspace.
        Workspace = "SORT_BY_WORKSPACE",
    }
}

/// Which models a list is to hold, and in which order. By default all, archived ones too, by name.
///
/// ```
/// use determined::{ModelQuery, ModelSortBy, OrderBy};
///
/// let newest_first = ModelQuery::new().name("resnet").sort_by(ModelSortBy::CreationTime).order_by(OrderBy::Descending);
/// # let _ = newest_first;
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct ModelQuery {
    sort_by: Option<ModelSortBy>,
    order_by: Option<OrderBy>,
    name: Option<String>,
    description: Option<String>,
    model_id: Option<i32>,
    workspace_names: Vec<String>,
    workspace_ids: Vec<i32>,
    page_size: Option<u32>,
}

impl ModelQuery {
    /// All models.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the list is sorted by. The default is [`ModelSortBy::Name`].
    pub fn sort_by(mut self, sort_by: ModelSortBy) -> Self {
        self.sort_by = Some(sort_by);
        self
    }

    /// In which order. The default is [`OrderBy::Ascending`].
    pub fn order_by(mut self, order_by: OrderBy) -> Self {
        self.order_by = Some(order_by);
        self
    }

    /// Only models with this in their name, in any case. `%` stands for any text and `_` for any character. The default is all.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Only models with this in their description, by the rules of [`name`](Self::name). The default is all.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Only the model of this id. The default is all.
    pub fn model_id(mut self, model_id: i32) -> Self {
        self.model_id = Some(model_id);
        self
    }

    /// Only models in the workspaces of these names. The default is all.
    ///
    /// Masters pass over a name that no workspace has, and with none left they list the models of all workspaces;
    /// [`get_workspace`](crate::Determined::get_workspace) tells whether there is one.
    pub fn workspace_names(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.workspace_names = names.into_iter().map(Into::into).collect();
        self
    }

    /// Only models in the workspaces of these ids; [`workspace_names`](Self::workspace_names) does not count then. The default is all.
    pub fn workspace_ids(mut self, ids: impl IntoIterator<Item = i32>) -> Self {
        self.workspace_ids = ids.into_iter().collect();
        self
    }

    /// How many an iterator fetches at once. The default is 100. A list is fetched at once.
    pub fn page_size(mut self, page_size: u32) -> Self {
        self.page_size = Some(page_size);
        self
    }

    fn request(&self, session: &Session) -> Request {
        let sort_by = self.sort_by.unwrap_or(ModelSortBy::Name);
        let order_by = self.order_by.unwrap_or(OrderBy::Ascending);
        session
            .get("/api/v1/models")
            .doing("list models")
            .query("sortBy", sort_by.wire())
            .query("orderBy", order_by.wire())
            .query_some("name", self.name.as_ref())
            .query_some("description", self.description.as_ref())
            .query_some("id", self.model_id)
            .query_each("workspaceNames", &self.workspace_names)
            .query_each("workspaceIds", &self.workspace_ids)
    }
}

pub(crate) fn list(session: &Session, query: &ModelQuery) -> Result<Vec<Model>> {
    start(session, query.request(session))?.into_vec()
}

pub(crate) fn pages(session: &Session, query: &ModelQuery) -> Result<Pages<Model>> {
    let limit = query.page_size.unwrap_or(100).max(1);
    start(session, query.request(session).query("limit", limit))
}

fn start(session: &Session, request: Request) -> Result<Pages<Model>> {
    let session = session.clone();
    Pages::start(request, "models", move |body: ModelBody| {
        body.attach(&session)
    })
}
