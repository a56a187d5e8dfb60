//! The files of checkpoints: written, removed, and cleared away by the storage policy.

use super::{Checkpoint, CheckpointState, EVERYTHING, NewCheckpoint};
use crate::testing::config::checkpoint_directory;
use crate::testing::experiments::Experiment;
use crate::testing::simulation::Line;
use crate::testing::state::State;
use crate::testing::trials::Metric;
use crate::testing::wire;
use serde_json::Value;
use std::collections::BTreeMap;
use std::{fs, io};

/// How many checkpoints an experiment keeps when it has ended.
#[derive(Debug, Clone, Copy)]
pub(in crate::testing) struct Policy {
    pub(in crate::testing) best_of_experiment: usize,
    pub(in crate::testing) best_of_trial: usize,
    pub(in crate::testing) latest_of_trial: usize,
}

impl Policy {
    fn of(config: &Value) -> Self {
        let storage = &config["checkpoint_storage"];
        let keep = |key: &str| storage[key].as_u64().unwrap_or(0) as usize;
        Self {
            best_of_experiment: keep("save_experiment_best"),
            best_of_trial: keep("save_trial_best"),
            latest_of_trial: keep("save_trial_latest"),
        }
    }
}

impl State {
    /// Takes a checkpoint into the books; its files are [written](Self::write_checkpoints) before anyone can look for them.
    pub(in crate::testing) fn store_checkpoint(&mut self, new: NewCheckpoint) {
        let report_time = self.time.stamp();
        let Some(trial) = self.trials.get(new.trial) else {
            return;
        };
        let Some(experiment) = self.experiments.get(trial.experiment_id) else {
            return;
        };
        let directory = checkpoint_directory(&experiment.config, self.folder.path(), &new.uuid);
        let mut resources = BTreeMap::new();
        for (path, content) in &new.files {
            resources.insert(path.clone(), content.len() as u64);
            for (at, _) in path.match_indices('/') {
                resources.entry(path[..=at].to_owned()).or_insert(0);
            }
        }
        let storage = &experiment.config["checkpoint_storage"];
        let storage_id = match self.storages.iter().position(|known| known == storage) {
            Some(index) => index + 1,
            None => {
                self.storages.push(storage.clone());
                self.storages.len()
            }
        };
        let checkpoint = Checkpoint {
            uuid: new.uuid.clone(),
            task_id: trial.task_id.clone(),
            allocation_id: trial.allocation_id(),
            trial_id: trial.id,
            experiment_id: experiment.id,
            report_time,
            resources,
            metadata: new.metadata,
            state: CheckpointState::Completed,
            storage_id,
            directory,
        };
        if !checkpoint.resources.is_empty() {
            self.log_of_task(
                new.trial,
                Line {
                    level: Some("INFO"),
                    text: format!(
                        "[14051] determined.core: Reported checkpoint to master {}",
                        new.uuid
                    ),
                    stderr: true,
                },
            );
        }
        self.unwritten.insert(new.uuid.clone(), new.files);
        self.checkpoints.insert(new.uuid, checkpoint);
    }

    /// Writes to their storage what files of checkpoints are not there yet. What was stored and cleared away in the meantime never
    /// gets there.
    pub(in crate::testing) fn write_checkpoints(&mut self) {
        for (uuid, files) in std::mem::take(&mut self.unwritten) {
            let Some(checkpoint) = self.checkpoints.get(&uuid) else {
                continue;
            };
            if checkpoint.is_deleted() {
                continue;
            }
            if let Err(error) = write_files(checkpoint, &files) {
                panic!(
                    "cannot write the checkpoint to {}: {error}",
                    checkpoint.directory.display()
                );
            }
        }
    }

    /// Removes the files that match one of the patterns.
    pub(in crate::testing) fn remove_checkpoint_files(&mut self, uuid: &str, globs: &[String]) {
        let Some(checkpoint) = self.checkpoints.get_mut(uuid) else {
            return;
        };
        if checkpoint.is_deleted() || globs.is_empty() {
            return;
        }
        let everything = globs.iter().any(|glob| glob == EVERYTHING);
        let gone = |path: &str| everything || globs.iter().any(|glob| glob_takes(glob, path));
        let mut left = checkpoint.resources.clone();
        left.retain(|path, _| !gone(path));
        // A directory is there as long as something is in it.
        let inhabited: Vec<String> = left.keys().cloned().collect();
        left.retain(|path, _| {
            !path.ends_with('/')
                || !everything
                || inhabited
                    .iter()
                    .any(|other| other != path && other.starts_with(path.as_str()))
        });
        if left.len() == checkpoint.resources.len() {
            return;
        }
        if left.keys().all(|path| path.ends_with('/')) {
            // What was there stays in the books.
            checkpoint.state = CheckpointState::Deleted;
            let _ = fs::remove_dir_all(&checkpoint.directory);
            return;
        }
        for path in checkpoint.resources.keys().filter(|path| gone(path)) {
            let full = checkpoint.directory.join(path);
            // A file that is missing already is as good as removed.
            let _ = match path.ends_with('/') {
                true => fs::remove_dir_all(full),
                false => fs::remove_file(full),
            };
        }
        checkpoint.resources = left;
        checkpoint.state = CheckpointState::PartiallyDeleted;
    }

    /// Removes what the storage policy of an experiment does not keep.
    pub(in crate::testing) fn collect_garbage(&mut self, experiment_id: i32) {
        let Some(experiment) = self.experiments.get(experiment_id) else {
            return;
        };
        let policy = Policy::of(&experiment.config);
        for uuid in self.garbage(experiment, policy) {
            self.remove_checkpoint_files(&uuid, &[EVERYTHING.into()]);
        }
    }

    /// The checkpoints that a policy does not keep.
    pub(in crate::testing) fn garbage(
        &self,
        experiment: &Experiment,
        policy: Policy,
    ) -> Vec<String> {
        let metric = Metric::of(&experiment.config);
        let mut best: Vec<(f64, &Checkpoint)> = self
            .checkpoints
            .values()
            .filter(|checkpoint| checkpoint.experiment_id == experiment.id)
            .filter_map(|checkpoint| {
                let value = metric.signed(&self.validation_of(checkpoint)?.metrics)?;
                Some((value, checkpoint))
            })
            .collect();
        best.sort_by(|(a, first), (b, second)| {
            a.total_cmp(b)
                .then(first.report_time.cmp(&second.report_time))
        });
        let mut kept: Vec<&str> = best
            .iter()
            .take(policy.best_of_experiment)
            .map(|(_, checkpoint)| checkpoint.uuid.as_str())
            .collect();
        for trial in &experiment.trials {
            let of_this = best
                .iter()
                .filter(|(_, checkpoint)| checkpoint.trial_id == *trial);
            kept.extend(
                of_this
                    .take(policy.best_of_trial)
                    .map(|(_, checkpoint)| checkpoint.uuid.as_str()),
            );
            let mut by_steps = self.checkpoints_of_trial(*trial);
            by_steps.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.steps()));
            kept.extend(
                by_steps
                    .iter()
                    .take(policy.latest_of_trial)
                    .map(|checkpoint| checkpoint.uuid.as_str()),
            );
        }
        self.checkpoints
            .values()
            .filter(|checkpoint| checkpoint.experiment_id == experiment.id)
            .filter(|checkpoint| {
                !checkpoint.is_deleted()
                    && !kept.contains(&checkpoint.uuid.as_str())
                    && self.registered_as(&checkpoint.uuid).is_none()
            })
            .map(|checkpoint| checkpoint.uuid.clone())
            .collect()
    }
}

fn write_files(checkpoint: &Checkpoint, files: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    fs::create_dir_all(&checkpoint.directory)?;
    for path in checkpoint.resources.keys() {
        let full = checkpoint.directory.join(path);
        if path.ends_with('/') {
            fs::create_dir_all(full)?;
        } else if let Some(content) = files.get(path) {
            if let Some(parent) = full.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(full, content)?;
        }
    }
    Ok(())
}

/// Whether a pattern takes a file, by its own name or by that of a directory above it.
fn glob_takes(glob: &str, path: &str) -> bool {
    let pattern: Vec<&str> = glob.split('/').filter(|part| !part.is_empty()).collect();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    (1..=parts.len()).any(|length| segments_match(&pattern, &parts[..length]))
}

fn segments_match(pattern: &[&str], parts: &[&str]) -> bool {
    match (pattern.split_first(), parts.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => {
            (0..=parts.len()).any(|skipped| segments_match(rest, &parts[skipped..]))
        }
        (Some((first, rest)), Some((part, others))) => {
            let escaped = first.replace('%', "\\%").replace('_', "\\_");
            let like = escaped.replace('*', "%").replace('?', "_");
            wire::like(&like, part) && segments_match(rest, others)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_take_files_and_what_is_below_them() {
        assert!(glob_takes("*.json", "state.json"));
        assert!(!glob_takes("*.json", "sub/state.json"));
        assert!(glob_takes("**/*.bin", "sub/w.bin"));
        assert!(glob_takes("sub", "sub/w.bin"));
        assert!(glob_takes("sub/*", "sub/w.bin"));
        assert!(!glob_takes("sub/*", "sub/"));
        assert!(glob_takes("state.jso?", "state.json"));
        assert!(!glob_takes("w", "w.bin"));
    }
}
