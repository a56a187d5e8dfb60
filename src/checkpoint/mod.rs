//! Checkpoints: what a trial saved, [its metadata](Checkpoint::add_metadata), and the lists in which they stand ([`query`], [`best`]).

mod best;
mod query;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use crate::deletion::DeleteOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::session::{Session, route};
use crate::shown::Shown;
use crate::whole_file::WholeFile;
use crate::wire::{Metadata, float, lenient, number, object, state_enum};

pub use best::MetricOrder;
pub(crate) use best::{best, best_of_each_trial, latest};
pub use query::{CheckpointQuery, CheckpointSort, CheckpointSortBy};
pub(crate) use query::{Owner, completed, list, pages};

state_enum! {
    /// What became of a checkpoint.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// use determined::{CheckpointQuery, CheckpointState};
    ///
    /// let deleted = CheckpointQuery::new().states([CheckpointState::Deleted, CheckpointState::PartiallyDeleted]);
    /// assert!(experiment.list_checkpoints_with(deleted)?.is_empty());
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub enum CheckpointState("STATE_") {
        /// It is being saved.
        Active = "ACTIVE",
        /// It is saved and can be used.
        Completed = "COMPLETED",
        /// It could not be saved.
        Error = "ERROR",
        /// Its files are deleted.
        Deleted = "DELETED",
        /// Some of its files are deleted.
        PartiallyDeleted = "PARTIALLY_DELETED",
    }
}

object! {
    /// What a trial saved: some files in checkpoint storage, and what is known about them.
    ///
    /// Comes from [`Determined::get_checkpoint`](crate::Determined::get_checkpoint), from the lists and choices of
    /// [`Experiment`](crate::Experiment) and [`Trial`](crate::Trial), and with a [`ModelVersion`](crate::ModelVersion). The fields are what
    /// the master said then; [`reload`](Self::reload) asks again.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// for checkpoint in experiment.list_checkpoints()? {
    ///     let size: u64 = checkpoint.resources.values().sum();
    ///     println!("{} is {} and has {size} bytes", checkpoint.uuid, checkpoint.state);
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub struct Checkpoint from CheckpointBody {
        /// The id, in lower case.
        pub uuid: String,
        /// The task that saved it.
        pub task_id: Option<String>,
        /// The allocation, one run of the task, that saved it.
        pub allocation_id: Option<String>,
        /// When it was reported to the master.
        pub report_time: Option<Timestamp> as "crate::wire::time",
        /// Its files and their sizes in bytes. A path that ends in `/` is a directory.
        pub resources: BTreeMap<String, u64>,
        /// What the trial and its users noted about it, `steps_completed` above all.
        pub metadata: Map<String, Value>,
        /// What became of it.
        pub state: CheckpointState,
        /// Where it comes from, unless it was saved outside of any trial.
        pub training: Option<CheckpointTrainingMetadata> as "training",
        /// The id of its storage. Older masters do not say.
        pub storage_id: Option<i32>,
    }
}

/// The training that a [`Checkpoint`] comes from.
///
/// ```
/// # let master = determined::testing::MockMaster::start();
/// # let experiment = master.experiment().create();
/// let best = experiment.top_checkpoint()?;
/// let training = best.training.expect("a trial saved it");
/// println!("trial {} with {:?}: {:?}", training.trial_id, training.hparams, training.metric("val_loss"));
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
#[non_exhaustive]
pub struct CheckpointTrainingMetadata {
    /// The configuration of the experiment, with the master's defaults filled in.
    #[serde(default)]
    pub experiment_config: Value,
    /// The experiment.
    #[serde(default, deserialize_with = "lenient")]
    pub experiment_id: i32,
    /// The trial.
    #[serde(default, deserialize_with = "lenient")]
    pub trial_id: i32,
    /// The trial's hyperparameters.
    #[serde(default, deserialize_with = "lenient")]
    pub hparams: Map<String, Value>,
    /// The metrics of the validation at this step as the master sends them: `avgMetrics` and `batchMetrics`. See [`metric`](Self::metric).
    #[serde(default, deserialize_with = "lenient")]
    pub validation_metrics: Map<String, Value>,
    /// The metrics of the training at this step as the master sends them: `avgMetrics` and `batchMetrics`.
    #[serde(default, deserialize_with = "lenient")]
    pub training_metrics: Map<String, Value>,
    /// The value of the metric that the experiment's searcher looks at. `None` without a validation at this step.
    #[serde(default, deserialize_with = "float")]
    pub searcher_metric: Option<f64>,
}

/// Shows the configuration without the keys in it.
impl fmt::Debug for CheckpointTrainingMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = Shown::new("experiment_config", &self.experiment_config);
        f.debug_struct("CheckpointTrainingMetadata")
            .field("experiment_config", &config)
            .field("experiment_id", &self.experiment_id)
            .field("trial_id", &self.trial_id)
            .field("hparams", &self.hparams)
            .field("validation_metrics", &self.validation_metrics)
            .field("training_metrics", &self.training_metrics)
            .field("searcher_metric", &self.searcher_metric)
            .finish()
    }
}

impl CheckpointTrainingMetadata {
    /// A metric of the validation at this step, if it was reported as a number; the words `NaN`, `Infinity` and `-Infinity` count as such.
    pub fn metric(&self, name: &str) -> Option<f64> {
        number(self.validation_metrics.get("avgMetrics")?.get(name)?)
    }
}

/// A training record without a trial is none.
fn training<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<CheckpointTrainingMetadata>, D::Error> {
    let training: Option<CheckpointTrainingMetadata> = crate::lenient::object(deserializer)?;
    Ok(training.filter(|training| training.trial_id != 0))
}

pub(crate) fn get(session: &Session, uuid: &str) -> Result<Checkpoint> {
    Ok(fetch(session, uuid)?.attach(session))
}

fn fetch(session: &Session, uuid: &str) -> Result<CheckpointBody> {
    let doing = format!("get checkpoint {uuid}");
    if uuid.is_empty() {
        return Err(Error::invalid_input("the uuid is empty").doing("get a checkpoint"));
    }
    session
        .get(route!("/api/v1/checkpoints/{}", uuid))
        .doing(doing)
        .fetch_field("checkpoint")
}

impl Checkpoint {
    /// Asks the master again and fills all fields anew. `GET /api/v1/checkpoints/{uuid}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the master does not know it any more.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut checkpoint = master.experiment().create().top_checkpoint()?;
    /// checkpoint.reload()?;
    /// assert_eq!(checkpoint.state.to_string(), "COMPLETED");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn reload(&mut self) -> Result<()> {
        *self = get(&self.session, &self.uuid)?;
        Ok(())
    }

    /// Adds to the metadata; what is there under the same key is replaced.
    ///
    /// The master's metadata is read first and written back with the addition, so what others added meanwhile stays. The files in storage do
    /// not change, `metadata.json` among them. `GET /api/v1/checkpoints/{uuid}`, then `POST /api/v1/checkpoints/{uuid}/metadata`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if `metadata` is no JSON object, [`NotFound`](ErrorKind::NotFound) if the checkpoint is gone.
    ///
    /// ```
    /// use serde_json::json;
    ///
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut checkpoint = master.experiment().create().top_checkpoint()?;
    /// checkpoint.add_metadata(json!({"reviewed": true}))?;
    /// assert_eq!(checkpoint.metadata["reviewed"], true);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn add_metadata(&mut self, metadata: impl Serialize) -> Result<()> {
        let doing = format!("add metadata to checkpoint {}", self.uuid);
        match Metadata::new(&metadata).into_object() {
            Ok(additions) => self.edit_metadata(doing, |metadata| metadata.extend(additions)),
            Err(error) => Err(error.doing(doing)),
        }
    }

    /// Takes keys out of the metadata; those that are not there are no error.
    ///
    /// Reads before it writes, like [`add_metadata`](Self::add_metadata). `GET /api/v1/checkpoints/{uuid}`, then
    /// `POST /api/v1/checkpoints/{uuid}/metadata`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the checkpoint is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut checkpoint = master.experiment().create().top_checkpoint()?;
    /// checkpoint.remove_metadata(["note"])?;
    /// assert!(!checkpoint.metadata.contains_key("note"));
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn remove_metadata(
        &mut self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<()> {
        let doing = format!("remove metadata from checkpoint {}", self.uuid);
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
        let mut metadata = fetch(&self.session, &self.uuid)
            .map_err(|error| error.on_the_way_to(doing.clone()))?
            .metadata;
        edit(&mut metadata);
        self.session
            .post(route!("/api/v1/checkpoints/{}/metadata", self.uuid))
            .doing(doing)
            .json(&json!({"checkpoint": {
                "uuid": self.uuid,
                "metadata": metadata,
                "resources": {},
                "training": {},
                "state": "STATE_UNSPECIFIED",
            }}))
            .send()?;
        self.metadata = metadata;
        Ok(())
    }

    /// Writes [`metadata`](Self::metadata), as this object has it, to a file of indented JSON, which appears whole or not at all. Nothing is
    /// sent.
    ///
    /// # Errors
    ///
    /// [`Io`](ErrorKind::Io) if the file cannot be written.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let checkpoint = master.experiment().create().top_checkpoint()?;
    /// # let directory = tempfile::tempdir().expect("a temporary directory");
    /// # let path = directory.path().join("metadata.json");
    /// checkpoint.write_metadata_file(&path)?;
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn write_metadata_file(&self, path: impl AsRef<Path>) -> Result<()> {
        WholeFile::create(path.as_ref())
            .and_then(|mut file| {
                file.write_all(self.metadata_text().as_bytes())?;
                file.finish()
            })
            .map_err(|error| error.doing(format!("write the metadata of checkpoint {}", self.uuid)))
    }

    /// The metadata as it stands in a file.
    pub(crate) fn metadata_text(&self) -> String {
        format!("{:#}", Value::Object(self.metadata.clone()))
    }

    /// Deletes the files from storage, and with them the use of the checkpoint.
    ///
    /// The master accepts and does it a little later; [`reload`](Self::reload) shows when [`state`](Self::state) has become
    /// [`Deleted`](CheckpointState::Deleted). Deleting once more is no error. `DELETE /api/v1/checkpoints`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) for a checkpoint that the master does not know, [`Api`](ErrorKind::Api) for one that the model registry
    /// holds.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let checkpoint = master.experiment().create().top_checkpoint()?;
    /// checkpoint.delete()?;
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn delete(&self) -> Result<()> {
        self.delete_with(DeleteOptions::new())
    }

    /// Like [`delete`](Self::delete), and waits until the files are gone if the options say so.
    ///
    /// `DELETE /api/v1/checkpoints`, then `GET /api/v1/checkpoints/{uuid}` until it is [`Deleted`](CheckpointState::Deleted).
    ///
    /// # Errors
    ///
    /// Those of [`delete`](Self::delete), and [`WaitTimeout`](ErrorKind::WaitTimeout) if the files are still there when the limit is reached.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut checkpoint = master.experiment().create().top_checkpoint()?;
    /// use determined::{CheckpointState, DeleteOptions};
    /// use std::time::Duration;
    ///
    /// checkpoint.delete_with(DeleteOptions::new().wait(Duration::from_secs(600)))?;
    /// checkpoint.reload()?;
    /// assert_eq!(checkpoint.state, CheckpointState::Deleted);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn delete_with(&self, options: DeleteOptions) -> Result<()> {
        let doing = format!("delete checkpoint {}", self.uuid);
        let send = |session: &Session| {
            session
                .delete("/api/v1/checkpoints")
                .doing(doing.clone())
                .json(&json!({"checkpointUuids": [self.uuid]}))
                .send()
        };
        let is_done =
            |session: &Session| Ok(fetch(session, &self.uuid)?.state == CheckpointState::Deleted);
        options
            .run(&self.session, send, is_done)
            .map_err(|error| error.on_the_way_to(doing.clone()))
    }

    /// Deletes those files from storage that match one of the patterns, relative to the checkpoint's directory; `**` matches over
    /// directories.
    ///
    /// The master accepts and does it a little later; [`reload`](Self::reload) then shows what is left in [`resources`](Self::resources), and
    /// [`PartiallyDeleted`](CheckpointState::PartiallyDeleted). Without any pattern, the master only looks anew what is there.
    /// `POST /api/v1/checkpoints/rm`.
    ///
    /// # Errors
    ///
    /// [`Api`](ErrorKind::Api) for a pattern that is empty or holds `..`, and for a checkpoint that the model registry holds;
    /// [`NotFound`](ErrorKind::NotFound) for a checkpoint that the master does not know.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut checkpoint = master.experiment().create().top_checkpoint()?;
    /// checkpoint.remove_files(["sub/**"])?;
    /// # checkpoint.reload()?;
    /// assert!(!checkpoint.resources.contains_key("sub/w.bin"));
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn remove_files(&self, globs: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        self.remove_files_with(globs, DeleteOptions::new())
    }

    /// Like [`remove_files`](Self::remove_files), and waits until the files are gone if the options say so: until the master's record of them
    /// ([`resources`](Self::resources) and [`state`](Self::state)) has changed, which it never does if no file matches.
    ///
    /// `POST /api/v1/checkpoints/rm`; `GET /api/v1/checkpoints/{uuid}` before, and afterwards until it has changed.
    ///
    /// # Errors
    ///
    /// Those of [`remove_files`](Self::remove_files), and [`WaitTimeout`](ErrorKind::WaitTimeout) if nothing has changed when the limit is
    /// reached.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut checkpoint = master.experiment().create().top_checkpoint()?;
    /// use determined::DeleteOptions;
    /// use std::time::Duration;
    ///
    /// let limit = Duration::from_secs(600);
    /// checkpoint.remove_files_with(["sub/**"], DeleteOptions::new().wait(limit))?;
    /// checkpoint.reload()?;
    /// assert!(!checkpoint.resources.contains_key("sub/w.bin"));
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn remove_files_with(
        &self,
        globs: impl IntoIterator<Item = impl AsRef<str>>,
        options: DeleteOptions,
    ) -> Result<()> {
        let doing = format!("remove files of checkpoint {}", self.uuid);
        let globs: Vec<String> = globs.into_iter().map(|g| g.as_ref().to_owned()).collect();
        let look = |session: &Session| {
            let body = fetch(session, &self.uuid)?;
            Ok((body.state, body.resources))
        };
        let run = || {
            let before = options.waits().then(|| look(&self.session)).transpose()?;
            let send = |session: &Session| {
                session
                    .post("/api/v1/checkpoints/rm")
                    .doing(doing.clone())
                    .json(&json!({"checkpointUuids": [self.uuid], "checkpointGlobs": globs}))
                    .send()
            };
            let is_done = |session: &Session| Ok(before != Some(look(session)?));
            options.run(&self.session, send, is_done)
        };
        run().map_err(|error| error.on_the_way_to(doing.clone()))
    }

    /// The Pachyderm commit of the data that this was trained with, as the experiment's configuration names it. Nothing is sent.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the configuration names none.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let checkpoint = master.experiment().create().top_checkpoint()?;
    /// # use determined::ErrorKind;
    /// let error = checkpoint.get_pachyderm_commit().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidInput); // it was not trained with data from Pachyderm
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn get_pachyderm_commit(&self) -> Result<String> {
        let commit = self.training.as_ref().and_then(|training| {
            training
                .experiment_config
                .pointer("/integrations/pachyderm/dataset/commit")
        });
        match commit {
            Some(Value::String(commit)) => Ok(commit.clone()),
            Some(other) if !other.is_null() => Ok(other.to_string()),
            _ => Err(Error::new(
                ErrorKind::InvalidInput,
                "the experiment's configuration has no Pachyderm commit",
            )
            .doing(format!(
                "get the Pachyderm commit of checkpoint {}",
                self.uuid
            ))),
        }
    }
}
