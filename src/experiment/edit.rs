//! Changes of what people wrote of an experiment: its name, description, notes and labels.

use serde_json::{Value, json};

use super::{Experiment, ExperimentBody, get, path};
use crate::error::{Error, Result};
use crate::name;
use crate::session::route;

/// Changes of what people wrote.
impl Experiment {
    /// Changes the name. `PATCH /api/v1/experiments/{id}`.
    ///
    /// # Errors
    ///
    /// [`Api`](crate::ErrorKind::Api) for a blank name, [`NotFound`](crate::ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut experiment = master.experiment().create();
    /// experiment.set_name("baseline")?;
    /// assert_eq!(experiment.name, "baseline");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn set_name(&mut self, name: &str) -> Result<()> {
        self.name = self.patch("name", name)?.name;
        self.configure("name", self.name.clone());
        Ok(())
    }

    /// Changes the description; it may be empty. `PATCH /api/v1/experiments/{id}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut experiment = master.experiment().create();
    /// experiment.set_description("without augmentation")?;
    /// assert_eq!(experiment.description, "without augmentation");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn set_description(&mut self, description: &str) -> Result<()> {
        self.description = self.patch("description", description)?.description;
        self.configure("description", self.description.clone());
        Ok(())
    }

    /// Changes the notes; they may be empty. `PATCH /api/v1/experiments/{id}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut experiment = master.experiment().create();
    /// experiment.set_notes("the loss explodes at step 300")?;
    /// assert_eq!(experiment.notes.as_deref(), Some("the loss explodes at step 300"));
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn set_notes(&mut self, notes: &str) -> Result<()> {
        self.notes = self.patch("notes", notes)?.notes;
        Ok(())
    }

    /// Replaces all labels. `PATCH /api/v1/experiments/{id}`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for an empty label, [`NotFound`](crate::ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut experiment = master.experiment().create();
    /// experiment.set_labels(["baseline", "vision"])?;
    /// assert_eq!(experiment.labels.len(), 2);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn set_labels(&mut self, labels: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        let labels: Vec<String> = labels.into_iter().map(|l| l.as_ref().to_owned()).collect();
        for label in &labels {
            self.check_label(label)?;
        }
        let labels = self.patch("labels", labels)?.labels;
        self.take_labels(labels);
        Ok(())
    }

    /// Adds a label; one that is there is no error. `PUT /api/v1/experiments/{id}/labels/{label}`, or for a label that cannot stand in a
    /// route, such as one with a slash or a colon, `GET` and `PATCH /api/v1/experiments/{id}`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for an empty label, [`NotFound`](crate::ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut experiment = master.experiment().create();
    /// experiment.add_label("baseline")?;
    /// assert!(experiment.labels.contains(&"baseline".to_owned()));
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn add_label(&mut self, label: &str) -> Result<()> {
        self.check_label(label)?;
        if !name::fits_end_of_route(label) {
            return self.edit_labels(|labels| {
                if !labels.iter().any(|known| known == label) {
                    labels.push(label.to_owned());
                }
            });
        }
        let labels: Option<Vec<String>> = self
            .session
            .put(self.label_path(label))
            .doing(format!("add label {label:?} to experiment {}", self.id))
            .fetch_field("labels")?;
        self.take_labels(labels.unwrap_or_default());
        Ok(())
    }

    /// Takes a label away; one that is not there is no error.
    ///
    /// `DELETE /api/v1/experiments/{id}/labels/{label}`; and because some masters fail at that, then `GET` and
    /// `PATCH /api/v1/experiments/{id}`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for an empty label, [`NotFound`](crate::ErrorKind::NotFound) if the experiment is gone.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let mut experiment = master.experiment().create();
    /// # experiment.add_label("baseline")?;
    /// experiment.remove_label("baseline")?;
    /// assert!(experiment.labels.is_empty());
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn remove_label(&mut self, label: &str) -> Result<()> {
        self.check_label(label)?;
        let removed: Option<Result<Option<Vec<String>>>> =
            name::fits_end_of_route(label).then(|| {
                self.session
                    .delete(self.label_path(label))
                    .doing(format!(
                        "remove label {label:?} from experiment {}",
                        self.id
                    ))
                    .fetch_field("labels")
            });
        match removed {
            Some(Ok(labels)) => {
                self.take_labels(labels.unwrap_or_default());
                Ok(())
            }
            Some(Err(error)) if error.status() != Some(500) => Err(error),
            _ => self.edit_labels(|labels| labels.retain(|known| known != label)),
        }
    }

    fn label_path(&self, label: &str) -> String {
        route!("/api/v1/experiments/{}/labels/{}", self.id, label)
    }

    /// Changes the labels that the master has now.
    fn edit_labels(&mut self, edit: impl FnOnce(&mut Vec<String>)) -> Result<()> {
        let before = get(&self.session, self.id)
            .map_err(|error| error.on_the_way_to(self.changing("labels")))?
            .labels;
        let mut labels = before.clone();
        edit(&mut labels);
        let labels = if labels == before {
            labels
        } else {
            self.patch("labels", labels)?.labels
        };
        self.take_labels(labels);
        Ok(())
    }

    fn take_labels(&mut self, labels: Vec<String>) {
        self.configure("labels", labels.clone());
        self.labels = labels;
    }

    /// Keeps the configuration in step: the master writes what is changed there too, but does not send it.
    fn configure(&mut self, field: &str, value: impl Into<Value>) {
        if let Value::Object(config) = &mut self.config {
            config.insert(field.to_owned(), value.into());
        }
    }

    fn check_label(&self, label: &str) -> Result<()> {
        if label.is_empty() {
            return Err(Error::invalid_input("a label is empty").doing(self.changing("labels")));
        }
        Ok(())
    }

    fn changing(&self, field: &str) -> String {
        format!("change the {field} of experiment {}", self.id)
    }

    /// Changes one field and gives the experiment as it is then.
    fn patch(&self, field: &str, value: impl Into<Value>) -> Result<ExperimentBody> {
        self.session
            .patch(path(self.id, ""))
            .doing(self.changing(field))
            .json(&json!({"id": self.id, field: value.into()}))
            .fetch_field("experiment")
    }
}
