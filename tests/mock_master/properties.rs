//! Random sequences of calls leave the master as a small model of it says.

use determined::testing::MockMaster;
use determined::{CheckpointState, Determined, Experiment, Model, ModelQuery, ModelSortBy};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const NAMES: [&str; 3] = ["iris", "rose", "oak"];
const LABELS: [&str; 3] = ["a", "b/c", "d e"];

#[derive(Debug, Clone)]
enum Call {
    CreateModel(usize),
    Archive(usize, bool),
    SetLabels(usize, BTreeSet<usize>),
    Describe(usize, u8),
    Register(usize, usize),
    DeleteVersion(usize, i32),
    DeleteModel(usize),
    Label(usize, usize, bool),
    ArchiveExperiment(usize, bool),
    DeleteCheckpoint(usize),
    DeleteExperiment(usize),
}

fn call() -> impl Strategy<Value = Call> {
    let (model, experiment) = (0..NAMES.len(), 0..2_usize);
    let (label, checkpoint) = (0..LABELS.len(), 0..4_usize);
    prop_oneof![
        4 => model.clone().prop_map(Call::CreateModel),
        2 => (model.clone(), any::<bool>()).prop_map(|(model, yes)| Call::Archive(model, yes)),
        1 => (model.clone(), btree_set(label.clone(), 0..3)).prop_map(|(model, labels)| Call::SetLabels(model, labels)),
        1 => (model.clone(), 0..3_u8).prop_map(|(model, text)| Call::Describe(model, text)),
        5 => (model.clone(), checkpoint.clone()).prop_map(|(model, checkpoint)| Call::Register(model, checkpoint)),
        2 => (model.clone(), 1..4).prop_map(|(model, number)| Call::DeleteVersion(model, number)),
        1 => model.prop_map(Call::DeleteModel),
        3 => (experiment.clone(), label, any::<bool>()).prop_map(|(experiment, label, yes)| Call::Label(experiment, label, yes)),
        2 => (experiment.clone(), any::<bool>()).prop_map(|(experiment, yes)| Call::ArchiveExperiment(experiment, yes)),
        1 => checkpoint.prop_map(Call::DeleteCheckpoint),
        1 => experiment.prop_map(Call::DeleteExperiment),
    ]
}

#[derive(Debug, Default, PartialEq, Eq)]
struct KnownModel {
    archived: bool,
    description: String,
    labels: BTreeSet<String>,
    /// Checkpoints by version.
    versions: BTreeMap<i32, usize>,
    last_version: i32,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct KnownExperiment {
    archived: bool,
    labels: BTreeSet<String>,
}

/// What a master should know: two experiments with two checkpoints each, and the registry.
#[derive(Debug, PartialEq, Eq)]
struct Known {
    models: BTreeMap<usize, KnownModel>,
    experiments: BTreeMap<usize, KnownExperiment>,
    /// Whether the files are still there.
    checkpoints: BTreeMap<usize, bool>,
}

impl Known {
    fn new() -> Self {
        Self {
            models: BTreeMap::new(),
            experiments: (0..2)
                .map(|index| (index, KnownExperiment::default()))
                .collect(),
            checkpoints: (0..4).map(|index| (index, true)).collect(),
        }
    }

    fn is_registered(&self, checkpoint: usize) -> bool {
        let mut models = self.models.values();
        models.any(|model| model.versions.values().any(|known| *known == checkpoint))
    }

    /// Makes a call; tells whether the master takes it.
    fn apply(&mut self, call: &Call) -> bool {
        match call {
            Call::CreateModel(name) => {
                let is_new = !self.models.contains_key(name);
                self.models.entry(*name).or_default();
                is_new
            }
            Call::Archive(name, archived) => self
                .models
                .get_mut(name)
                .map(|model| model.archived = *archived)
                .is_some(),
            Call::SetLabels(name, labels) => self
                .open_model(*name)
                .map(|model| {
                    model.labels = labels
                        .iter()
                        .map(|label| LABELS[*label].to_owned())
                        .collect()
                })
                .is_some(),
            Call::Describe(name, text) => self
                .open_model(*name)
                .map(|model| model.description = text.to_string())
                .is_some(),
            Call::Register(name, checkpoint) => {
                let there = self.checkpoints.get(checkpoint) == Some(&true);
                let Some(model) = self.open_model(*name).filter(|_| there) else {
                    return false;
                };
                model.last_version += 1;
                model.versions.insert(model.last_version, *checkpoint);
                true
            }
            Call::DeleteVersion(name, number) => self
                .models
                .get_mut(name)
                .and_then(|model| model.versions.remove(number))
                .is_some(),
            Call::DeleteModel(name) => self.models.remove(name).is_some(),
            Call::Label(experiment, label, add) => {
                let Some(experiment) = self.experiments.get_mut(experiment) else {
                    return false;
                };
                let label = LABELS[*label].to_owned();
                match add {
                    true => experiment.labels.insert(label),
                    false => experiment.labels.remove(&label),
                };
                true
            }
            Call::ArchiveExperiment(experiment, archived) => {
                let experiment = self.experiments.get_mut(experiment);
                let Some(experiment) = experiment.filter(|known| known.archived != *archived)
                else {
                    return false;
                };
                experiment.archived = *archived;
                true
            }
            Call::DeleteCheckpoint(checkpoint) => {
                if self.is_registered(*checkpoint) {
                    return false;
                }
                let known = self.checkpoints.get_mut(checkpoint);
                known.map(|there| *there = false).is_some()
            }
            Call::DeleteExperiment(experiment) => {
                let own = [2 * experiment, 2 * experiment + 1];
                if own.iter().any(|checkpoint| self.is_registered(*checkpoint)) {
                    return false;
                }
                for checkpoint in own {
                    self.checkpoints.remove(&checkpoint);
                }
                self.experiments.remove(experiment).is_some()
            }
        }
    }

    /// The model of that name, if it may be changed.
    fn open_model(&mut self, name: usize) -> Option<&mut KnownModel> {
        self.models.get_mut(&name).filter(|model| !model.archived)
    }
}

/// A master, and how the test calls what is on it.
struct Real {
    client: Determined,
    /// As they were at the start.
    experiments: Vec<Experiment>,
    checkpoints: Vec<String>,
    /// By name, even if they are gone.
    models: BTreeMap<usize, Model>,
    _master: MockMaster,
}

impl Real {
    fn new() -> Self {
        let master = MockMaster::start();
        let experiments: Vec<Experiment> = (0..2)
            .map(|_| {
                master
                    .experiment()
                    .with_trials(1)
                    .with_metric("loss", [2.0, 1.0])
                    .create()
            })
            .collect();
        let checkpoints = experiments
            .iter()
            .flat_map(|experiment| experiment.list_checkpoints().unwrap())
            .map(|checkpoint| checkpoint.uuid)
            .collect();
        Self {
            client: master.determined(),
            experiments,
            checkpoints,
            models: BTreeMap::new(),
            _master: master,
        }
    }

    fn model(&self, name: usize) -> determined::Result<Model> {
        self.client.get_model(NAMES[name])
    }

    /// Makes a call; tells whether the master took it.
    fn apply(&mut self, call: &Call) -> determined::Result<()> {
        match call {
            Call::CreateModel(name) => {
                let model = self.client.create_model(NAMES[*name])?;
                self.models.insert(*name, model);
                Ok(())
            }
            Call::Archive(name, true) => self.model(*name)?.archive(),
            Call::Archive(name, false) => self.model(*name)?.unarchive(),
            Call::SetLabels(name, labels) => {
                let labels = labels.iter().map(|label| LABELS[*label]);
                self.model(*name)?.set_labels(labels)
            }
            Call::Describe(name, text) => self.model(*name)?.set_description(&text.to_string()),
            Call::Register(name, checkpoint) => {
                let uuid = &self.checkpoints[*checkpoint];
                self.model(*name)?.register_version(uuid).map(drop)
            }
            Call::DeleteVersion(name, number) => self.model(*name)?.get_version(*number)?.delete(),
            Call::DeleteModel(name) => self.model(*name)?.delete(),
            Call::Label(experiment, label, true) => {
                self.experiments[*experiment].add_label(LABELS[*label])
            }
            Call::Label(experiment, label, false) => {
                self.experiments[*experiment].remove_label(LABELS[*label])
            }
            Call::ArchiveExperiment(experiment, true) => self.experiments[*experiment].archive(),
            Call::ArchiveExperiment(experiment, false) => self.experiments[*experiment].unarchive(),
            Call::DeleteCheckpoint(checkpoint) => {
                let uuid = &self.checkpoints[*checkpoint];
                self.client.get_checkpoint(uuid)?.delete()
            }
            Call::DeleteExperiment(experiment) => self.experiments[*experiment].delete(),
        }
    }

    /// What the master knows, asked for anew.
    fn known(&self) -> determined::Result<Known> {
        let by_name = ModelQuery::new().sort_by(ModelSortBy::Name);
        let mut models = BTreeMap::new();
        for model in self.client.get_models_with(by_name)? {
            let versions = model.get_versions()?;
            let checkpoint = |uuid: &str| {
                self.checkpoints
                    .iter()
                    .position(|known| known == uuid)
                    .unwrap()
            };
            let versions: BTreeMap<i32, usize> = versions
                .iter()
                .map(|version| (version.model_version, checkpoint(&version.checkpoint.uuid)))
                .collect();
            let known = KnownModel {
                archived: model.archived,
                description: model.description,
                labels: model.labels.into_iter().collect(),
                last_version: 0,
                versions,
            };
            models.insert(
                NAMES.iter().position(|name| *name == model.name).unwrap(),
                known,
            );
        }
        let mut experiments = BTreeMap::new();
        for (index, experiment) in self.experiments.iter().enumerate() {
            match self.client.get_experiment(experiment.id) {
                Err(error) if error.is_not_found() => {}
                found => {
                    let found = found?;
                    let known = KnownExperiment {
                        archived: found.archived,
                        labels: found.labels.into_iter().collect(),
                    };
                    experiments.insert(index, known);
                }
            }
        }
        let mut checkpoints = BTreeMap::new();
        for (index, uuid) in self.checkpoints.iter().enumerate() {
            match self.client.get_checkpoint(uuid) {
                Err(error) if error.is_not_found() => {}
                found => {
                    checkpoints.insert(index, found?.state == CheckpointState::Completed);
                }
            }
        }
        Ok(Known {
            models,
            experiments,
            checkpoints,
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_sequence_of_calls_leaves_what_a_small_model_says(calls in vec(call(), 1..30)) {
        let (mut known, mut real) = (Known::new(), Real::new());
        for call in &calls {
            let outcome = real.apply(call);
            prop_assert_eq!(outcome.is_ok(), known.apply(call), "{:?}: {:?}", call, outcome);
        }
        for model in known.models.values_mut() {
            // Only seen in the numbers of later versions.
            model.last_version = 0;
        }
        prop_assert_eq!(real.known().unwrap(), known);
    }
}
