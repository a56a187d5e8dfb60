//! Versions in the model registry: [`ModelVersion`].

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::checkpoint::{Checkpoint, CheckpointBody};
use crate::error::Result;
use crate::lenient::lenient_objects;
use crate::metrics::{self, MetricReports};
use crate::model::model_route;
use crate::session::{Session, route};
use crate::wire::{OrderBy, exact, lenient, time};

/// A version of a [`Model`](crate::Model): a checkpoint under the next number of that name.
///
/// Comes from [`Model::register_version`](crate::Model::register_version), [`get_version`](crate::Model::get_version),
/// [`latest_version`](crate::Model::latest_version) and [`get_versions`](crate::Model::get_versions). The fields are what the master said then;
/// [`reload`](Self::reload) asks again.
///
/// ```
/// # let master = determined::testing::MockMaster::start();
/// # let client = master.determined();
/// # let experiment = master.experiment().create();
/// # let uuid = experiment.list_checkpoints()?[0].uuid.clone();
/// # let model = client.create_model("iris")?;
/// let best = experiment.top_checkpoint()?;
/// let mut version = model.register_version(&best.uuid)?;
/// version.set_name("the one that shipped")?;
/// assert_eq!(version.checkpoint.uuid, best.uuid);
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ModelVersion {
    /// The number: 1 for the first that was registered. Numbers of deleted versions are not used again.
    pub model_version: i32,
    /// The id of the model.
    pub model_id: i32,
    /// The name of the model.
    pub model_name: String,
    /// The name of the version, for people; may be empty.
    pub name: String,
    /// A remark; may be empty.
    pub comment: String,
    /// Notes, in Markdown; may be empty.
    pub notes: String,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its metadata.
    pub metadata: Map<String, Value>,
    /// Its labels.
    pub labels: Vec<String>,
    /// The user who registered it.
    pub username: String,
    /// When it was registered.
    pub creation_time: Option<Timestamp>,
    /// When it was last changed.
    pub last_updated_time: Option<Timestamp>,
    #[serde(skip)]
    session: Session,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModelVersionBody {
    #[serde(default, deserialize_with = "exact")]
    version: i32,
    #[serde(default, deserialize_with = "lenient")]
    model: ModelOfVersion,
    #[serde(default, deserialize_with = "lenient")]
    name: String,
    #[serde(default, deserialize_with = "lenient")]
    comment: String,
    #[serde(default, deserialize_with = "lenient")]
    notes: String,
    #[serde(default, deserialize_with = "lenient")]
    checkpoint: CheckpointBody,
    #[serde(default, deserialize_with = "lenient")]
    metadata: Map<String, Value>,
    #[serde(default, deserialize_with = "lenient")]
    labels: Vec<String>,
    #[serde(default, deserialize_with = "lenient")]
    username: String,
    #[serde(default, deserialize_with = "time")]
    creation_time: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    last_updated_time: Option<Timestamp>,
}

/// What a version says of its model.
#[derive(Default, Deserialize)]
struct ModelOfVersion {
    #[serde(default, deserialize_with = "lenient")]
    id: i32,
    #[serde(default, deserialize_with = "lenient")]
    name: String,
}

lenient_objects!(ModelVersionBody ModelOfVersion);

impl ModelVersionBody {
    pub(crate) fn attach(self, session: &Session) -> ModelVersion {
        ModelVersion {
            model_version: self.version,
            model_id: self.model.id,
            model_name: self.model.name,
            name: self.name,
            comment: self.comment,
            notes: self.notes,
            checkpoint: self.checkpoint.attach(session),
            metadata: self.metadata,
            labels: self.labels,
            username: self.username,
            creation_time: self.creation_time,
            last_updated_time: self.last_updated_time,
            session: session.clone(),
        }
    }
}

/// Which order a list of versions is to have. By default the newest comes first.
///
/// ```
/// use determined::{ModelVersionQuery, OrderBy};
///
/// let oldest_first = ModelVersionQuery::new().order_by(OrderBy::Ascending);
/// # let _ = oldest_first;
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct ModelVersionQuery {
    pub(crate) order_by: Option<OrderBy>,
    pub(crate) page_size: Option<u32>,
}

impl ModelVersionQuery {
    /// All versions, the newest first.
    pub fn new() -> Self {
        Self::default()
    }

    /// In which order of their numbers. The default is [`OrderBy::Descending`].
    pub fn order_by(mut self, order_by: OrderBy) -> Self {
        self.order_by = Some(order_by);
        self
    }

    /// How many an iterator fetches at once. The default is 100. A list is fetched at once.
    pub fn page_size(mut self, page_size: u32) -> Self {
        self.page_size = Some(page_size);
        self
    }
}

impl ModelVersion {
    /// Asks the master again and fills all fields anew. `GET /api/v1/models/{name}/versions/{number}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the version or its model is deleted.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// # let experiment = master.experiment().create();
    /// # let uuid = experiment.list_checkpoints()?[0].uuid.clone();
    /// # let model = client.create_model("iris")?;
    /// let mut version = model.register_version(&uuid)?;
    /// model.get_version(1)?.set_notes("Good.")?;
    /// version.reload()?;
    /// assert_eq!(version.notes, "Good.");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn reload(&mut self) -> Result<()> {
        let version: ModelVersionBody = self
            .session
            .get(self.route())
            .doing(self.doing("get"))
            .fetch_field("modelVersion")?;
        *self = version.attach(&self.session);
        Ok(())
    }

    /// Replaces the name; an empty one clears it. `PATCH /api/v1/models/{name}/versions/{number}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the version or its model is deleted.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// # let experiment = master.experiment().create();
    /// # let uuid = experiment.list_checkpoints()?[0].uuid.clone();
    /// # let model = client.create_model("iris")?;
    /// let mut version = model.register_version(&uuid)?;
    /// version.set_name("the one that shipped")?;
    /// assert_eq!(model.get_version(1)?.name, "the one that shipped");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn set_name(&mut self, name: &str) -> Result<()> {
        self.name = self.patch("rename", json!({"name": name}))?.name;
        Ok(())
    }

    /// Replaces the notes; empty ones clear them. `PATCH /api/v1/models/{name}/versions/{number}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the version or its model is deleted.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// # let experiment = master.experiment().create();
    /// # let uuid = experiment.list_checkpoints()?[0].uuid.clone();
    /// # let model = client.create_model("iris")?;
    /// let mut version = model.register_version(&uuid)?;
    /// version.set_notes("Trained on the *small* set.")?;
    /// assert_eq!(version.notes, "Trained on the *small* set.");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn set_notes(&mut self, notes: &str) -> Result<()> {
        self.notes = self
            .patch("set the notes of", json!({"notes": notes}))?
            .notes;
        Ok(())
    }

    /// Deletes the version; its checkpoint stays. `DELETE /api/v1/models/{name}/versions/{number}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if it is deleted already; [`Forbidden`](crate::ErrorKind::Forbidden) if another user registered
    /// it and this one is no administrator.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// # let experiment = master.experiment().create();
    /// # let uuid = experiment.list_checkpoints()?[0].uuid.clone();
    /// # let model = client.create_model("iris")?;
    /// model.register_version(&uuid)?.delete()?;
    /// assert!(model.get_version(1).unwrap_err().is_not_found());
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn delete(&self) -> Result<()> {
        self.session
            .delete(self.route())
            .doing(self.doing("delete"))
            .send()
    }

    /// What trials have reported about this version, which they used for inference: to the group that is named, or with
    /// `None` to all.
    ///
    /// `GET /api/v1/models/{name}/versions/{number}/metrics`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the version or its model is deleted, [`Unsupported`](crate::ErrorKind::Unsupported) if the
    /// master is too old.
    ///
    /// ```
    /// # use determined::{ModelDefinition, testing::MockMaster};
    /// # use serde_json::json;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// # let searcher = json!({"name": "single", "metric": "val_loss", "max_length": 1});
    /// # let config = json!({"name": "n", "entrypoint": "true", "searcher": searcher});
    /// # let experiment = client.create_experiment(config, ModelDefinition::none())?;
    /// # experiment.wait()?;
    /// # let uuid = experiment.list_checkpoints()?[0].uuid.clone();
    /// # let model = client.create_model("iris")?;
    /// let version = model.register_version(&uuid)?;
    /// for report in version.iter_metrics("validation")? {
    ///     println!("{:?}", report?.metric("accuracy"));
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    #[doc(alias = "get_metrics")]
    pub fn iter_metrics<'a>(&self, group: impl Into<Option<&'a str>>) -> Result<MetricReports> {
        let request = self.session.get(self.route() + "/metrics");
        let doing = self.doing("read the metrics of");
        metrics::of_source(request.doing(doing), group.into())
    }

    fn route(&self) -> String {
        model_route(&self.model_name, self.model_id) + &route!("/versions/{}", self.model_version)
    }

    fn doing(&self, action: &str) -> String {
        format!(
            "{action} version {} of model {:?}",
            self.model_version, self.model_name
        )
    }

    /// Changes one field and gives what the master made of it.
    fn patch(&mut self, action: &str, change: Value) -> Result<ModelVersionBody> {
        self.session
            .patch(self.route())
            .doing(self.doing(action))
            .json(&change)
            .fetch_field("modelVersion")
    }
}
