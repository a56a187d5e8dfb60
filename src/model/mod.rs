//! The model registry: [`Model`], the calls that make and find models, and [the lists](query) in which they stand.

mod query;
mod versions;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::name::{self, NameOrId};
use crate::session::{Session, route};
use crate::wire::{Metadata, object};

pub use query::{ModelQuery, ModelSortBy};
pub(crate) use query::{list, pages};

object! {
    /// A model in the registry: a name under which checkpoints are registered as [versions](crate::ModelVersion).
    ///
    /// Comes from [`Determined::create_model`](crate::Determined::create_model), [`get_model`](crate::Determined::get_model) and
    /// [`get_models`](crate::Determined::get_models). The fields are what the master said then; [`reload`](Self::reload) asks again.
    ///
    /// ```
    /// use determined::{CreateModelOptions, testing::MockMaster};
    /// use serde_json::json;
    ///
    /// let master = MockMaster::start();
    /// let client = master.determined();
    /// let options = CreateModelOptions::new().description("flowers").labels(["botany"]);
    /// let mut model = client.create_model_with("iris", options)?;
    /// model.add_metadata(json!({"dataset": "iris-2"}))?;
    ///
    /// let model = client.get_model("iris")?;
    /// assert_eq!(model.metadata["dataset"], "iris-2");
    /// assert_eq!(model.labels, ["botany"]);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub struct Model from ModelBody {
        /// The id.
        pub model_id: i32 = "id" as "crate::wire::exact",
        /// The name, which no other model has.
        pub name: String,
        /// What the model is, in words; may be empty.
        pub description: String,
        /// When it was created.
        pub creation_time: Option<Timestamp> as "crate::wire::time",
        /// When it was last changed.
        pub last_updated_time: Option<Timestamp> as "crate::wire::time",
        /// What its users noted about it.
        pub metadata: Map<String, Value> as "crate::wire::compact",
        /// Its labels.
        pub labels: Vec<String> as "crate::wire::compact",
        /// The user who created it.
        pub username: String,
        /// The workspace it is in. Older masters do not say.
        pub workspace_id: Option<i32>,
        /// Whether it is archived: it can be read, but not changed.
        pub archived: bool,
    }
}

/// What a new model is to have besides its name. Everything is optional.
///
/// ```
/// use determined::CreateModelOptions;
/// use serde_json::json;
///
/// let options = CreateModelOptions::new()
///     .description("flowers")
///     .metadata(json!({"dataset": "iris-2"}))
///     .labels(["botany", "demo"])
///     .workspace_name("Uncategorized");
/// # let _ = options;
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
#[must_use]
pub struct CreateModelOptions {
    description: String,
    metadata: Option<Metadata>,
    labels: Option<Vec<String>>,
    workspace_name: Option<String>,
}

impl CreateModelOptions {
    /// No description, metadata or labels, and in the workspace `Uncategorized`.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the model is, in words. The default is empty.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Metadata: a value that serializes to a JSON object. The default is none.
    ///
    /// The master keeps every number as a 64-bit float; `NaN` and the infinities are kept as the words `NaN`, `Infinity` and `-Infinity`.
    pub fn metadata(mut self, metadata: impl Serialize) -> Self {
        self.metadata = Some(Metadata::new(&metadata));
        self
    }

    /// Labels, none of which may hold a comma. The default is none.
    pub fn labels(mut self, labels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.labels = Some(labels.into_iter().map(Into::into).collect());
        self
    }

    /// The workspace to create the model in. The default is `Uncategorized`.
    pub fn workspace_name(mut self, name: impl Into<String>) -> Self {
        self.workspace_name = Some(name.into());
        self
    }
}

pub(crate) fn create(session: &Session, name: &str, options: CreateModelOptions) -> Result<Model> {
    let doing = format!("create model {name:?}");
    let body = create_body(name, options).map_err(|error| error.doing(doing.clone()))?;
    let request = session.post("/api/v1/models").doing(doing).json(&body);
    let model: ModelBody = request
        .fetch_field("model")
        .map_err(|error| match error.kind() {
            // The master's own words are "avoid names equal to other models".
            ErrorKind::Conflict => error.with_hint("get_model() gets the one that exists"),
            _ => unknown_workspace(error),
        })?;
    Ok(model.attach(session))
}

fn create_body(name: &str, options: CreateModelOptions) -> Result<Value> {
    name::check(name, "name of the model")?;
    check_labels(options.labels.as_deref().unwrap_or_default())?;
    Ok(json!({
        "name": name,
        "description": options.description,
        "labels": options.labels,
        "metadata": options.metadata.map(Metadata::into_object).transpose()?,
        "notes": null,
        "workspaceName": options.workspace_name,
    }))
}

pub(crate) fn get(session: &Session, model: NameOrId) -> Result<Model> {
    let doing = match &model {
        NameOrId::Name(name) => format!("get model {name:?}"),
        NameOrId::Id(id) => format!("get model {id}"),
    };
    let model = match &model {
        NameOrId::Name(name) if is_direct(name) => {
            let request = session.get(route!("/api/v1/models/{}", name));
            request.doing(doing).fetch_field("model")
        }
        NameOrId::Name(name) => find(session, name).map_err(|error| error.doing(doing)),
        NameOrId::Id(id) if *id > 0 => {
            let request = session.get(route!("/api/v1/models/{}", id));
            request.doing(doing).fetch_field("model")
        }
        // The master would look for a model of that name.
        NameOrId::Id(_) => Err(Error::invalid_input("the ids of models begin at 1").doing(doing)),
    };
    model.map(|model: ModelBody| model.attach(session))
}

/// Whether a name stands for its model in a route.
fn is_direct(name: &str) -> bool {
    // A number is an id.
    name::fits_end_of_route(name) && !is_number(name) && !name.is_empty()
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// Finds a model whose name cannot stand in a route.
fn find(session: &Session, name: &str) -> Result<ModelBody> {
    name::check(name, "name of the model")?;
    if is_number(name) {
        return Err(Error::invalid_input(
            "no model has a name of digits alone; give an id as a number",
        ));
    }
    let request = session
        .get("/api/v1/models")
        .query("name", name::pattern(name));
    let models: Option<Vec<ModelBody>> = request.clone().fetch_field("models")?;
    name::pick("model", name, models.unwrap_or_default(), |model| {
        &model.name
    })
    .map_err(|error| request.explain(error))
}

pub(crate) fn labels(session: &Session) -> Result<Vec<String>> {
    let request = session
        .get("/api/v1/model/labels")
        .doing("list the labels of models");
    let labels: Option<Vec<String>> = request.fetch_field("labels")?;
    Ok(labels.unwrap_or_default())
}

/// The master keeps labels in one text, with commas between them.
fn check_labels(labels: &[String]) -> Result<()> {
    match labels.iter().find(|label| label.contains(',')) {
        Some(label) => Err(Error::invalid_input(format!(
            "the label {label:?} holds a comma, at which the master would cut it"
        ))),
        None => Ok(()),
    }
}

/// The master says 500 where it means that there is no such workspace.
fn unknown_workspace(error: Error) -> Error {
    match error.server_message() {
        Some(said)
            if said.starts_with("failed to get workspace") && said.ends_with("not found") =>
        {
            error.with_kind(ErrorKind::NotFound)
        }
        _ => error,
    }
}

impl Model {
    /// Asks the master again and fills all fields anew. `GET /api/v1/models/{name}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the model is deleted.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let mut model = client.create_model("iris")?;
    /// client.get_model("iris")?.set_description("flowers")?;
    /// model.reload()?;
    /// assert_eq!(model.description, "flowers");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn reload(&mut self) -> Result<()> {
        *self = self.fetch()?.attach(&self.session);
        Ok(())
    }

    /// Adds to the metadata; what is there under the same key is replaced.
    ///
    /// The master's metadata is read first and written back with the addition, so what others added since this object was fetched stays.
    /// The master keeps every number as a 64-bit float; `NaN` and the infinities are kept as the words `NaN`, `Infinity` and `-Infinity`.
    /// `GET`, then `PATCH /api/v1/models/{name}`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if `metadata` is no JSON object; [`NotFound`](ErrorKind::NotFound) if the model is deleted;
    /// [`Api`](ErrorKind::Api) if it is archived.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # use serde_json::json;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let mut model = client.create_model("iris")?;
    /// model.add_metadata(json!({"dataset": "iris-2", "reviewed": true}))?;
    /// assert_eq!(model.metadata["reviewed"], true);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn add_metadata(&mut self, metadata: impl Serialize) -> Result<()> {
        let doing = format!("add metadata to model {:?}", self.name);
        match Metadata::new(&metadata).into_object() {
            Ok(additions) => self.edit_metadata(doing, |metadata| metadata.extend(additions)),
            Err(error) => Err(error.doing(doing)),
        }
    }

    /// Takes keys out of the metadata; those that are not there are no error.
    ///
    /// Reads before it writes, like [`add_metadata`](Self::add_metadata). `GET`, then `PATCH /api/v1/models/{name}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the model is deleted; [`Api`](ErrorKind::Api) if it is archived.
    ///
    /// ```
    /// # use determined::{CreateModelOptions, testing::MockMaster};
    /// # use serde_json::json;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let mut model = client.create_model_with("iris", CreateModelOptions::new().metadata(json!({"draft": true})))?;
    /// model.remove_metadata(["draft"])?;
    /// assert!(model.metadata.is_empty());
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn remove_metadata(
        &mut self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<()> {
        let doing = format!("remove metadata from model {:?}", self.name);
        self.edit_metadata(doing, |metadata| {
            for key in keys {
                metadata.shift_remove(key.as_ref());
            }
        })
    }

    /// Changes the metadata that the master has now: writing replaces it whole.
    fn edit_metadata(
        &mut self,
        doing: String,
        edit: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<()> {
        let mut metadata = self
            .fetch()
            .map_err(|error| error.on_the_way_to(doing.clone()))?
            .metadata;
        edit(&mut metadata);
        self.patch(doing, json!({"metadata": metadata}))
    }

    /// Replaces the labels. The master drops repeated ones. `PATCH /api/v1/models/{name}`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if a label holds a comma; [`NotFound`](ErrorKind::NotFound) if the model is deleted;
    /// [`Api`](ErrorKind::Api) if it is archived.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let mut model = client.create_model("iris")?;
    /// model.set_labels(["botany", "demo"])?;
    /// assert_eq!(client.get_model("iris")?.labels, ["botany", "demo"]);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn set_labels(
        &mut self,
        labels: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<()> {
        let doing = format!("set the labels of model {:?}", self.name);
        let labels: Vec<String> = labels.into_iter().map(Into::into).collect();
        match check_labels(&labels) {
            Ok(()) => self.patch(doing, json!({"labels": labels})),
            Err(error) => Err(error.doing(doing)),
        }
    }

    /// Replaces the description; an empty one clears it. `PATCH /api/v1/models/{name}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the model is deleted; [`Api`](ErrorKind::Api) if it is archived.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let mut model = client.create_model("iris")?;
    /// model.set_description("flowers")?;
    /// assert_eq!(client.get_model("iris")?.description, "flowers");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn set_description(&mut self, description: &str) -> Result<()> {
        let doing = format!("set the description of model {:?}", self.name);
        self.patch(doing, json!({"description": description}))
    }

    /// Moves the model to another workspace, then [reloads](Self::reload) it. `PATCH /api/v1/models/{name}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the model is deleted, or no workspace bears exactly this name;
    /// [`Forbidden`](ErrorKind::Forbidden) without the right to put models there; [`Api`](ErrorKind::Api) if the model is archived.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let workspace = client.create_workspace("lab")?;
    /// let mut model = client.create_model("iris")?;
    /// model.move_to_workspace("lab")?;
    /// assert_eq!(model.workspace_id, Some(workspace.id));
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn move_to_workspace(&mut self, workspace_name: &str) -> Result<()> {
        let doing = format!("move model {:?} to workspace {workspace_name:?}", self.name);
        if let Err(error) = name::check(workspace_name, "name of the workspace") {
            return Err(error.doing(doing));
        }
        self.patch(doing, json!({"workspaceName": workspace_name}))
            .map_err(unknown_workspace)?;
        // The answer does not say which workspace it is now.
        self.reload()
    }

    /// Archives the model: it can be read, but not changed. `POST /api/v1/models/{name}/archive`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the model is deleted.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let mut model = client.create_model("iris")?;
    /// model.archive()?;
    /// assert!(model.archived && model.set_description("flowers").is_err());
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn archive(&mut self) -> Result<()> {
        self.session
            .post(self.route("/archive"))
            .doing(format!("archive model {:?}", self.name))
            .send()?;
        self.archived = true;
        Ok(())
    }

    /// Takes the model out of the archive. `POST /api/v1/models/{name}/unarchive`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the model is deleted.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// # let mut model = client.create_model("iris")?;
    /// model.archive()?;
    /// model.unarchive()?;
    /// assert!(!model.archived);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn unarchive(&mut self) -> Result<()> {
        self.session
            .post(self.route("/unarchive"))
            .doing(format!("unarchive model {:?}", self.name))
            .send()?;
        self.archived = false;
        Ok(())
    }

    /// Deletes the model with all its versions; their checkpoints stay. `DELETE /api/v1/models/{name}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if it is deleted already; [`Forbidden`](ErrorKind::Forbidden) if another user created it and this
    /// one is no administrator.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let model = client.create_model("iris")?;
    /// model.delete()?;
    /// assert!(client.get_model("iris").unwrap_err().is_not_found());
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn delete(&self) -> Result<()> {
        self.session
            .delete(self.route(""))
            .doing(format!("delete model {:?}", self.name))
            .send()
    }

    fn route(&self, rest: &str) -> String {
        model_route(&self.name, self.model_id) + rest
    }

    fn fetch(&self) -> Result<ModelBody> {
        self.session
            .get(self.route(""))
            .doing(format!("get model {:?}", self.name))
            .fetch_field("model")
    }

    /// Changes some fields, and takes over what the master made of them.
    fn patch(&mut self, doing: String, change: Value) -> Result<()> {
        let changed: ModelBody = self
            .session
            .patch(self.route(""))
            .doing(doing)
            .json(&change)
            .fetch_field("model")?;
        // The answer leaves out the id, the user and the workspace.
        self.description = changed.description;
        self.metadata = changed.metadata;
        self.labels = changed.labels;
        self.last_updated_time = changed.last_updated_time;
        Ok(())
    }
}

/// Where a model is on the master: by its name, as long as that can stand in a route.
pub(crate) fn model_route(name: &str, id: i32) -> String {
    if is_direct(name) {
        route!("/api/v1/models/{}", name)
    } else {
        route!("/api/v1/models/{}", id)
    }
}
