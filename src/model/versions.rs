//! The versions of a [`Model`]: registering and finding them.

use serde_json::json;

use super::Model;
use crate::error::Result;
use crate::model_version::{ModelVersion, ModelVersionBody, ModelVersionQuery};
use crate::name;
use crate::session::{Pages, Request, route};
use crate::wire::OrderBy;

impl Model {
    /// The version of this number. `GET /api/v1/models/{name}/versions/{number}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such version.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// # let experiment = master.experiment().create();
    /// # let uuid = experiment.list_checkpoints()?[0].uuid.clone();
    /// # let model = client.create_model("iris")?;
    /// # model.register_version(&uuid)?;
    /// let version = model.get_version(1)?;
    /// println!("{} {}", version.name, version.checkpoint.uuid);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn get_version(&self, version: i32) -> Result<ModelVersion> {
        let request = self
            .session
            .get(self.route(&route!("/versions/{}", version)));
        let version: ModelVersionBody = request
            .doing(format!("get version {version} of model {:?}", self.name))
            .fetch_field("modelVersion")?;
        Ok(version.attach(&self.session))
    }

    /// The version with the highest number, or `None` if no version is registered.
    ///
    /// `GET /api/v1/models/{name}/versions`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the model is deleted.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// # let experiment = master.experiment().create();
    /// # let uuid = experiment.list_checkpoints()?[0].uuid.clone();
    /// # let model = client.create_model("iris")?;
    /// assert!(model.latest_version()?.is_none());
    /// model.register_version(&uuid)?;
    /// assert_eq!(model.latest_version()?.map(|version| version.model_version), Some(1));
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn latest_version(&self) -> Result<Option<ModelVersion>> {
        let versions: Option<Vec<ModelVersionBody>> = self
            .session
            .get(self.route("/versions"))
            .doing(format!("get the latest version of model {:?}", self.name))
            .query("limit", 1)
            .query("sortBy", "SORT_BY_VERSION")
            .query("orderBy", OrderBy::Descending.wire())
            .fetch_field("modelVersions")?;
        let latest = versions.unwrap_or_default().into_iter().next();
        Ok(latest.map(|version| version.attach(&self.session)))
    }

    /// All versions, the newest first. `GET /api/v1/models/{name}/versions`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the model is deleted.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// # let experiment = master.experiment().create();
    /// # let uuid = experiment.list_checkpoints()?[0].uuid.clone();
    /// # let model = client.create_model("iris")?;
    /// # model.register_version(&uuid)?;
    /// for version in model.get_versions()? {
    ///     println!("{} {} {}", version.model_version, version.name, version.checkpoint.uuid);
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    #[doc(alias = "list_versions")]
    pub fn get_versions(&self) -> Result<Vec<ModelVersion>> {
        self.get_versions_with(ModelVersionQuery::new())
    }

    /// [`get_versions`](Self::get_versions) in another order. `GET /api/v1/models/{name}/versions`.
    ///
    /// # Errors
    ///
    /// As for [`get_versions`](Self::get_versions).
    ///
    /// ```
    /// # use determined::{ModelVersionQuery, OrderBy};
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// # let experiment = master.experiment().create();
    /// # let uuid = experiment.list_checkpoints()?[0].uuid.clone();
    /// # let model = client.create_model("iris")?;
    /// # model.register_version(&uuid)?;
    /// # model.register_version(&uuid)?;
    /// let oldest_first = model.get_versions_with(ModelVersionQuery::new().order_by(OrderBy::Ascending))?;
    /// assert_eq!(oldest_first[0].model_version, 1);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn get_versions_with(&self, query: ModelVersionQuery) -> Result<Vec<ModelVersion>> {
        self.start_versions(self.versions(&query))?.into_vec()
    }

    /// [`get_versions_with`](Self::get_versions_with), fetched page by page as the iterator goes. `GET /api/v1/models/{name}/versions`.
    ///
    /// # Errors
    ///
    /// As for [`get_versions`](Self::get_versions), now for the first page and then as an item.
    ///
    /// ```
    /// # use determined::ModelVersionQuery;
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// # let experiment = master.experiment().create();
    /// # let uuid = experiment.list_checkpoints()?[0].uuid.clone();
    /// # let model = client.create_model("iris")?;
    /// # model.register_version(&uuid)?;
    /// for version in model.iter_versions_with(ModelVersionQuery::new().page_size(20))? {
    ///     println!("{}", version?.model_version);
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn iter_versions_with(&self, query: ModelVersionQuery) -> Result<Pages<ModelVersion>> {
        let limit = query.page_size.unwrap_or(100).max(1);
        self.start_versions(self.versions(&query).query("limit", limit))
    }

    fn versions(&self, query: &ModelVersionQuery) -> Request {
        let order_by = query.order_by.unwrap_or(OrderBy::Descending);
        self.session
            .get(self.route("/versions"))
            .doing(format!("list the versions of model {:?}", self.name))
            .query("orderBy", order_by.wire())
    }

    fn start_versions(&self, request: Request) -> Result<Pages<ModelVersion>> {
        let session = self.session.clone();
        Pages::start(request, "modelVersions", move |body: ModelVersionBody| {
            body.attach(&session)
        })
    }

    /// Registers a checkpoint as the next version. `POST /api/v1/models/{name}/versions`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such checkpoint; [`Api`](crate::ErrorKind::Api) if it is not completed, or the model is
    /// archived.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// # let experiment = master.experiment().create();
    /// # let uuid = experiment.list_checkpoints()?[0].uuid.clone();
    /// # let model = client.create_model("iris")?;
    /// let best = experiment.top_checkpoint()?;
    /// let version = model.register_version(&best.uuid)?;
    /// assert_eq!(version.model_version, 1);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn register_version(&self, checkpoint_uuid: &str) -> Result<ModelVersion> {
        let target = format!("as a version of model {:?}", self.name);
        if let Err(error) = name::check(checkpoint_uuid, "uuid of the checkpoint") {
            return Err(error.doing(format!("register a checkpoint {target}")));
        }
        let doing = format!("register checkpoint {checkpoint_uuid} {target}");
        let version: ModelVersionBody = self
            .session
            .post(self.route("/versions"))
            .doing(doing)
            .json(&json!({"checkpointUuid": checkpoint_uuid, "modelName": self.name}))
            .fetch_field("modelVersion")?;
        Ok(version.attach(&self.session))
    }
}
