//! The calls of [`Determined`] on the model registry.

use super::Determined;
use crate::error::Result;
use crate::model::{self, CreateModelOptions, Model, ModelQuery};
use crate::name::NameOrId;
use crate::session::Pages;

impl Determined {
    /// Creates a model of this name in the registry. `POST /api/v1/models`.
    ///
    /// # Errors
    ///
    /// [`Conflict`](crate::ErrorKind::Conflict) if a model of that name exists; [`InvalidInput`](crate::ErrorKind::InvalidInput) for an empty
    /// name; [`Api`](crate::ErrorKind::Api) for a name that the master does not take: digits alone, a slash, two spaces in a row.
    ///
    /// ```
    /// # use determined::{ErrorKind, testing::MockMaster};
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let model = client.create_model("iris")?;
    /// assert_eq!(model.workspace_id, Some(1));
    /// assert_eq!(client.create_model("iris").unwrap_err().kind(), ErrorKind::Conflict);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn create_model(&self, name: &str) -> Result<Model> {
        self.create_model_with(name, CreateModelOptions::new())
    }

    /// [`create_model`](Self::create_model) with a description, metadata, labels, or in another workspace. `POST /api/v1/models`.
    ///
    /// # Errors
    ///
    /// As for [`create_model`](Self::create_model); also [`InvalidInput`](crate::ErrorKind::InvalidInput) for metadata that is no JSON object
    /// and for a label with a comma, and [`NotFound`](crate::ErrorKind::NotFound) if no workspace bears exactly that name.
    ///
    /// ```
    /// # use determined::{CreateModelOptions, testing::MockMaster};
    /// # use serde_json::json;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let options = CreateModelOptions::new().metadata(json!({"dataset": "iris-2"})).labels(["botany"]);
    /// let model = client.create_model_with("iris", options)?;
    /// assert_eq!(model.metadata["dataset"], "iris-2");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn create_model_with(&self, name: &str, options: CreateModelOptions) -> Result<Model> {
        model::create(&self.session, name, options)
    }

    /// The model of this name, or of this id. `GET /api/v1/models/{name or id}`.
    ///
    /// A name that cannot stand in a route, with a colon for instance, is looked up in `GET /api/v1/models`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is none; [`InvalidInput`](crate::ErrorKind::InvalidInput) for a name that is empty, or
    /// digits alone: give an id as a number.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let id = client.create_model("iris")?.model_id;
    /// assert_eq!(client.get_model("iris")?.model_id, id);
    /// assert_eq!(client.get_model(id)?.name, "iris");
    /// assert!(client.get_model("rose").unwrap_err().is_not_found());
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn get_model(&self, model: impl Into<NameOrId>) -> Result<Model> {
        model::get(&self.session, model.into())
    }

    /// The model of this id. `GET /api/v1/models/{id}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is none.
    ///
    /// ```
    /// # #![allow(deprecated)]
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let id = client.create_model("iris")?.model_id;
    /// assert_eq!(client.get_model_by_id(id)?.name, "iris");
    /// # Ok::<(), determined::Error>(())
    /// ```
    #[deprecated = "call `get_model` with the id"]
    pub fn get_model_by_id(&self, model_id: i32) -> Result<Model> {
        self.get_model(model_id)
    }

    /// All models in the registry, archived ones too, by name. `GET /api/v1/models`.
    ///
    /// # Errors
    ///
    /// When the master cannot be reached or refuses.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// client.create_model("rose")?;
    /// client.create_model("iris")?;
    /// let names: Vec<String> = client.get_models()?.into_iter().map(|model| model.name).collect();
    /// assert_eq!(names, ["iris", "rose"]);
    /// # Ok::<(), determined::Error>(())
    /// ```
    #[doc(alias = "list_models")]
    pub fn get_models(&self) -> Result<Vec<Model>> {
        self.get_models_with(ModelQuery::new())
    }

    /// Some models in the registry, in the order of one's choice. `GET /api/v1/models`.
    ///
    /// # Errors
    ///
    /// When the master cannot be reached or refuses.
    ///
    /// ```
    /// # use determined::{CreateModelOptions, ModelQuery, ModelSortBy, OrderBy, testing::MockMaster};
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// # client.create_model("iris-small")?;
    /// # client.create_model("iris-large")?;
    /// let query = ModelQuery::new().name("iris").sort_by(ModelSortBy::CreationTime).order_by(OrderBy::Descending);
    /// let newest = client.get_models_with(query)?.swap_remove(0);
    /// assert_eq!(newest.name, "iris-large");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn get_models_with(&self, query: ModelQuery) -> Result<Vec<Model>> {
        model::list(&self.session, &query)
    }

    /// [`get_models_with`](Self::get_models_with), fetched page by page as the iterator goes. `GET /api/v1/models`.
    ///
    /// # Errors
    ///
    /// As for [`get_models_with`](Self::get_models_with), now for the first page and then as an item.
    ///
    /// ```
    /// # use determined::{ModelQuery, testing::MockMaster};
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// for model in client.iter_models_with(ModelQuery::new().page_size(20))? {
    ///     println!("{}", model?.name);
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn iter_models_with(&self, query: ModelQuery) -> Result<Pages<Model>> {
        model::pages(&self.session, &query)
    }

    /// The labels that models have, those on most models first. `GET /api/v1/model/labels`.
    ///
    /// # Errors
    ///
    /// When the master cannot be reached or refuses.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// client.create_model("iris")?.set_labels(["botany"])?;
    /// assert_eq!(client.get_model_labels()?, ["botany"]);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn get_model_labels(&self) -> Result<Vec<String>> {
        model::labels(&self.session)
    }
}
