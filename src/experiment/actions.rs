//! What can be done with an experiment: ending it early, putting it away, moving and deleting it.

use serde_json::{Map, Value, json};

use super::{Experiment, get, path};
use crate::error::{Error, ErrorKind, Result};
use crate::name::NameOrId;
use crate::workspace;

/// What can be done with it.
impl Experiment {
    /// Asks the master again and fills all fields anew. `GET /api/v1/experiments/{id}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut experiment = master.experiment().create();
    /// experiment.reload()?;
    /// assert_eq!(experiment.progress, Some(1.0));
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn reload(&mut self) -> Result<()> {
        *self = get(&self.session, self.id)?;
        Ok(())
    }

    /// Lets a paused experiment run on. `POST /api/v1/experiments/{id}/activate`.
    ///
    /// The fields of this object stay as they are, here and with the other actions that take `&self`; [`reload`](Self::reload) shows the effect.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the experiment is gone, or has ended.
    ///
    /// ```
    /// # use determined::testing::{Clock, MockMaster, MockMasterOptions};
    /// # let master = MockMaster::start_with(MockMasterOptions::new().clock(Clock::Manual));
    /// # let experiment = master.experiment().create();
    /// # experiment.pause()?;
    /// experiment.activate()?;
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn activate(&self) -> Result<()> {
        self.act("activate").map_err(|error| {
            if error.is_not_found() {
                return error.with_hint("one that has ended cannot be activated either");
            }
            error
        })
    }

    /// Pauses a running experiment: its trials save a checkpoint and give back their resources. `POST /api/v1/experiments/{id}/pause`.
    ///
    /// # Errors
    ///
    /// [`Api`](ErrorKind::Api) if the experiment has ended, [`NotFound`](ErrorKind::NotFound) if it is gone.
    ///
    /// ```
    /// # use determined::testing::{Clock, MockMaster, MockMasterOptions};
    /// # let master = MockMaster::start_with(MockMasterOptions::new().clock(Clock::Manual));
    /// # let mut experiment = master.experiment().create();
    /// experiment.pause()?;
    /// experiment.reload()?;
    /// assert_eq!(experiment.state.to_string(), "PAUSED");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn pause(&self) -> Result<()> {
        self.act("pause")
    }

    /// Ends an experiment early; its trials may save a last checkpoint. One that has ended stays as it is.
    /// `POST /api/v1/experiments/{id}/cancel`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # use determined::testing::{Clock, MockMaster, MockMasterOptions};
    /// # let master = MockMaster::start_with(MockMasterOptions::new().clock(Clock::Manual));
    /// # let experiment = master.experiment().create();
    /// experiment.cancel()?;
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn cancel(&self) -> Result<()> {
        self.act("cancel")
    }

    /// Ends an experiment at once. One that has ended stays as it is. `POST /api/v1/experiments/{id}/kill`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # use determined::testing::{Clock, MockMaster, MockMasterOptions};
    /// # let master = MockMaster::start_with(MockMasterOptions::new().clock(Clock::Manual));
    /// # let experiment = master.experiment().create();
    /// experiment.kill()?;
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn kill(&self) -> Result<()> {
        self.act("kill")
    }

    /// Hides an experiment that has ended from the usual lists of the web interface. `POST /api/v1/experiments/{id}/archive`.
    ///
    /// # Errors
    ///
    /// [`Api`](ErrorKind::Api) if it has not ended or is archived already, [`NotFound`](ErrorKind::NotFound) if it is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut experiment = master.experiment().create();
    /// experiment.archive()?;
    /// assert!(experiment.archived);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn archive(&mut self) -> Result<()> {
        self.act("archive")?;
        self.archived = true;
        Ok(())
    }

    /// Takes back [`archive`](Self::archive). `POST /api/v1/experiments/{id}/unarchive`.
    ///
    /// # Errors
    ///
    /// [`Api`](ErrorKind::Api) if it is not archived, [`NotFound`](ErrorKind::NotFound) if it is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut experiment = master.experiment().create();
    /// # experiment.archive()?;
    /// experiment.unarchive()?;
    /// assert!(!experiment.archived);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn unarchive(&mut self) -> Result<()> {
        self.act("unarchive")?;
        self.archived = false;
        Ok(())
    }

    fn act(&self, action: &str) -> Result<()> {
        self.session
            .post(path(self.id, &format!("/{action}")))
            .doing(format!("{action} experiment {}", self.id))
            .send()
    }

    /// Deletes an experiment that has ended, with its trials, checkpoints, logs and metrics.
    ///
    /// The master accepts and does it a little later; [`wait`](Self::wait) returns when it is done. For the owner and administrators.
    /// `DELETE /api/v1/experiments/{id}`.
    ///
    /// # Errors
    ///
    /// [`Api`](ErrorKind::Api) if it has not ended, [`Forbidden`](ErrorKind::Forbidden) without the right,
    /// [`NotFound`](ErrorKind::NotFound) if it is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// experiment.delete()?;
    /// assert_eq!(experiment.wait()?.to_string(), "DELETED");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn delete(&self) -> Result<()> {
        self.session
            .delete(path(self.id, ""))
            .doing(format!("delete experiment {}", self.id))
            .send()
    }

    /// Moves the experiment to a project of a workspace, each by its exact name.
    ///
    /// `GET /api/v1/workspaces`, `GET /api/v1/workspaces/{id}/projects`, then `POST /api/v1/experiments/{id}/move`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if there is no such workspace or project, [`Forbidden`](ErrorKind::Forbidden) without the right,
    /// [`Api`](ErrorKind::Api) if the experiment is archived.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut experiment = master.experiment().create();
    /// # master.determined().create_workspace("lab")?.create_project("vision")?;
    /// experiment.move_to_project("lab", "vision")?;
    /// assert_eq!(experiment.project_name, "vision");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn move_to_project(&mut self, workspace_name: &str, project_name: &str) -> Result<()> {
        let doing = format!(
            "move experiment {} to project {project_name:?} of workspace {workspace_name:?}",
            self.id
        );
        let found = workspace::get(&self.session, NameOrId::from(workspace_name))
            .and_then(|workspace| Ok((workspace.get_project(project_name)?, workspace)));
        let (project, workspace) = found.map_err(|error| error.on_the_way_to(doing.clone()))?;
        self.session
            .post(path(self.id, "/move"))
            .doing(doing)
            .json(&json!({"destinationProjectId": project.id, "experimentId": self.id}))
            .send()?;
        self.project_id = project.id;
        self.project_name = project.name;
        self.workspace_id = Some(workspace.id);
        self.workspace_name = workspace.name;
        Ok(())
    }

    /// Deletes what the experiment stored for TensorBoard. The master does it a little later.
    /// `DELETE /api/v1/experiments/{id}/tensorboard-files`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// experiment.delete_tensorboard_files()?;
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn delete_tensorboard_files(&self) -> Result<()> {
        self.session
            .delete(path(self.id, "/tensorboard-files"))
            .doing(format!(
                "delete the TensorBoard files of experiment {}",
                self.id
            ))
            .send()
    }

    /// The Pachyderm part of the configuration. Nothing is sent.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the configuration has none.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// # use determined::ErrorKind;
    /// let error = experiment.get_pachyderm_config().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidInput); // this experiment has nothing to do with Pachyderm
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn get_pachyderm_config(&self) -> Result<Map<String, Value>> {
        match self.config.pointer("/integrations/pachyderm") {
            Some(Value::Object(config)) => Ok(config.clone()),
            _ => Err(Error::new(
                ErrorKind::InvalidInput,
                "its configuration has no integrations.pachyderm",
            )
            .doing(format!(
                "get the Pachyderm configuration of experiment {}",
                self.id
            ))),
        }
    }
}
