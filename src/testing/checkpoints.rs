//! Checkpoints.

use super::config::checkpoint_directory;
use super::failure::{Code, Failure};
use super::http::Response;
use super::metrics::Report;
use super::router::{Answer, Call, Route};
use super::simulation::Event;
use super::state::State;
use super::trials::{Metric, MetricsOnWire};
use super::wire::{self, Pagination, page};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{fs, io};

pub(super) const ROUTES: &[Route] = &[
    Route::get("/api/v1/experiments/{}/checkpoints", list_of_experiment),
    Route::get("/api/v1/trials/{}/checkpoints", list_of_trial),
    Route::delete("/api/v1/checkpoints", delete),
    Route::post("/api/v1/checkpoints/rm", remove_files),
    Route::get("/api/v1/checkpoints/{}", get),
    Route::post("/api/v1/checkpoints/{}/metadata", set_metadata),
    Route::get("/checkpoints/{}", super::archive::download).plain(),
];

/// What a checkpoint's state may be, on some master.
const STATES: [&str; 6] = [
    "UNSPECIFIED",
    "ACTIVE",
    "COMPLETED",
    "ERROR",
    "DELETED",
    "PARTIALLY_DELETED",
];

/// What a list of checkpoints can be sorted by, besides a metric.
const SORT_KEYS: [&str; 6] = [
    "UUID",
    "TRIAL_ID",
    "BATCH_NUMBER",
    "END_TIME",
    "STATE",
    "SEARCHER_METRIC",
];

/// Matches all files of a checkpoint.
const EVERYTHING: &str = "**/*";

/// How long it takes until files that shall be removed are gone, in simulated milliseconds.
const REMOVAL: u64 = 3000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CheckpointState {
    Completed,
    Deleted,
    PartiallyDeleted,
}

impl CheckpointState {
    pub(super) fn wire(self) -> String {
        let word = match self {
            Self::Completed => "COMPLETED",
            Self::Deleted => "DELETED",
            Self::PartiallyDeleted => "PARTIALLY_DELETED",
        };
        format!("STATE_{word}")
    }
}

#[derive(Debug, Clone)]
pub(super) struct Checkpoint {
    pub(super) uuid: String,
    pub(super) task_id: String,
    pub(super) allocation_id: String,
    pub(super) trial_id: i32,
    pub(super) experiment_id: i32,
    pub(super) report_time: Timestamp,
    /// Sizes by path; a path that ends with a slash is a directory.
    pub(super) resources: BTreeMap<String, u64>,
    pub(super) metadata: Map<String, Value>,
    pub(super) state: CheckpointState,
    pub(super) storage_id: usize,
    /// Where its files are.
    pub(super) directory: PathBuf,
}

/// A checkpoint that a trial stores.
pub(super) struct NewCheckpoint {
    pub(super) trial: i32,
    pub(super) uuid: String,
    pub(super) metadata: Map<String, Value>,
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

impl Checkpoint {
    pub(super) fn steps(&self) -> i32 {
        self.metadata
            .get("steps_completed")
            .and_then(Value::as_i64)
            .and_then(|steps| i32::try_from(steps).ok())
            .unwrap_or(0)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.state == CheckpointState::Completed
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.state == CheckpointState::Deleted
    }

    pub(super) fn resources_on_wire(&self) -> BTreeMap<String, String> {
        self.resources
            .iter()
            .map(|(path, size)| (path.clone(), size.to_string()))
            .collect()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CheckpointOnWire {
    task_id: String,
    allocation_id: String,
    uuid: String,
    #[serde(serialize_with = "wire::serialize_time")]
    report_time: Timestamp,
    resources: BTreeMap<String, String>,
    metadata: Value,
    state: String,
    training: Training,
    storage_id: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Training {
    trial_id: i32,
    experiment_id: i32,
    experiment_config: Value,
    hparams: Value,
    training_metrics: MetricsOnWire,
    validation_metrics: MetricsOnWire,
    searcher_metric: Option<Value>,
}

impl State {
    pub(super) fn checkpoint(&self, uuid: &str) -> Result<&Checkpoint, Failure> {
        self.checkpoints
            .get(uuid)
            .ok_or_else(|| Failure::not_found(format!("checkpoint '{uuid}' not found")))
    }

    /// The checkpoints of a trial, oldest first.
    pub(super) fn checkpoints_of_trial(&self, trial: i32) -> Vec<&Checkpoint> {
        let mut checkpoints: Vec<&Checkpoint> = self
            .checkpoints
            .values()
            .filter(|checkpoint| checkpoint.trial_id == trial)
            .collect();
        checkpoints.sort_by_key(|checkpoint| checkpoint.report_time);
        checkpoints
    }

    /// How many checkpoints trials have, and how large they are together.
    pub(super) fn checkpoints_in_total(&self, trials: &[i32]) -> (usize, u64) {
        self.checkpoints
            .values()
            .filter(|checkpoint| trials.contains(&checkpoint.trial_id) && !checkpoint.is_deleted())
            .fold((0, 0), |(count, size), checkpoint| {
                (count + 1, size + checkpoint.resources.values().sum::<u64>())
            })
    }

    /// What was reported at the checkpoint's step.
    fn report_at<'a>(&'a self, checkpoint: &Checkpoint, group: &str) -> Option<&'a Report> {
        self.trials
            .get(checkpoint.trial_id)?
            .reports_of(group)
            .find(|report| report.steps == checkpoint.steps())
    }

    pub(super) fn validation_of(&self, checkpoint: &Checkpoint) -> Option<&Report> {
        self.report_at(checkpoint, "validation")
    }

    fn searcher_metric(&self, checkpoint: &Checkpoint) -> Option<f64> {
        let experiment = self.experiments.get(checkpoint.experiment_id)?;
        Metric::of(&experiment.config).value(&self.validation_of(checkpoint)?.metrics)
    }

    pub(super) fn checkpoint_on_wire(&self, checkpoint: &Checkpoint) -> CheckpointOnWire {
        let config = self
            .experiments
            .get(checkpoint.experiment_id)
            .map_or(Value::Null, |experiment| experiment.config.clone());
        let hparams = self
            .trials
            .get(checkpoint.trial_id)
            .map(|trial| wire::object_through_struct(&trial.hparams))
            .unwrap_or_default();
        CheckpointOnWire {
            task_id: checkpoint.task_id.clone(),
            allocation_id: checkpoint.allocation_id.clone(),
            uuid: checkpoint.uuid.clone(),
            report_time: checkpoint.report_time,
            resources: checkpoint.resources_on_wire(),
            metadata: Value::Object(wire::object_through_struct(&checkpoint.metadata)),
            state: checkpoint.state.wire(),
            training: Training {
                trial_id: checkpoint.trial_id,
                experiment_id: checkpoint.experiment_id,
                experiment_config: config,
                hparams: Value::Object(hparams),
                training_metrics: MetricsOnWire::of(self.report_at(checkpoint, "training")),
                validation_metrics: MetricsOnWire::of(self.validation_of(checkpoint)),
                searcher_metric: self.searcher_metric(checkpoint).map(wire::double),
            },
            storage_id: checkpoint.storage_id,
        }
    }

    /// Writes the files of a checkpoint to its storage and takes it into the books.
    pub(super) fn store_checkpoint(&mut self, new: NewCheckpoint) {
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
        if let Err(error) = write_files(&checkpoint, &new.files) {
            panic!(
                "cannot write the checkpoint to {}: {error}",
                checkpoint.directory.display()
            );
        }
        if !checkpoint.resources.is_empty() {
            self.log_of_task(
                new.trial,
                super::simulation::Line {
                    level: Some("INFO"),
                    text: format!(
                        "[14051] determined.core: Reported checkpoint to master {}",
                        new.uuid
                    ),
                    stderr: true,
                },
            );
        }
        self.checkpoints.insert(new.uuid, checkpoint);
    }

    /// Removes the files that match one of the patterns.
    pub(super) fn remove_checkpoint_files(&mut self, uuid: &str, globs: &[String]) {
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

    /// Removes what the storage policy of an ended experiment does not keep.
    pub(super) fn collect_garbage(&mut self, experiment_id: i32) {
        let Some(experiment) = self.experiments.get(experiment_id) else {
            return;
        };
        let storage = &experiment.config["checkpoint_storage"];
        let keep = |key: &str| storage[key].as_u64().unwrap_or(0) as usize;
        let (of_experiment, of_trial, latest) = (
            keep("save_experiment_best"),
            keep("save_trial_best"),
            keep("save_trial_latest"),
        );
        let metric = Metric::of(&experiment.config);
        let mut best: Vec<(f64, &Checkpoint)> = self
            .checkpoints
            .values()
            .filter(|checkpoint| checkpoint.experiment_id == experiment_id)
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
            .take(of_experiment)
            .map(|(_, checkpoint)| checkpoint.uuid.as_str())
            .collect();
        for trial in &experiment.trials {
            let of_this = best
                .iter()
                .filter(|(_, checkpoint)| checkpoint.trial_id == *trial);
            kept.extend(
                of_this
                    .take(of_trial)
                    .map(|(_, checkpoint)| checkpoint.uuid.as_str()),
            );
            let mut by_steps = self.checkpoints_of_trial(*trial);
            by_steps.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.steps()));
            kept.extend(
                by_steps
                    .iter()
                    .take(latest)
                    .map(|checkpoint| checkpoint.uuid.as_str()),
            );
        }
        let removed: Vec<String> = self
            .checkpoints
            .values()
            .filter(|checkpoint| checkpoint.experiment_id == experiment_id)
            .filter(|checkpoint| {
                !kept.contains(&checkpoint.uuid.as_str())
                    && self.registered_as(&checkpoint.uuid).is_none()
            })
            .map(|checkpoint| checkpoint.uuid.clone())
            .collect();
        for uuid in removed {
            self.remove_checkpoint_files(&uuid, &[EVERYTHING.into()]);
        }
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

/// The uuid in its usual form, or what Go says of it.
pub(super) fn parse_uuid(text: &str) -> Result<String, String> {
    let bare = match text.len() {
        36 => text,
        45 => text
            .get(..9)
            .filter(|urn| urn.eq_ignore_ascii_case("urn:uuid:"))
            .and_then(|_| text.get(9..))
            .ok_or("invalid urn prefix")?,
        38 => text.get(1..37).ok_or("invalid UUID format")?,
        32 => return hyphenated(text).ok_or("invalid UUID format".into()),
        length => return Err(format!("invalid UUID length: {length}")),
    };
    let digits: String = bare.split('-').collect();
    hyphenated(&digits)
        .filter(|uuid| uuid.eq_ignore_ascii_case(bare))
        .ok_or("invalid UUID format".into())
}

fn hyphenated(digits: &str) -> Option<String> {
    let valid = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    valid.then(|| {
        let digits = digits.to_ascii_lowercase();
        [0..8, 8..12, 12..16, 16..20, 20..32]
            .map(|range| digits[range].to_owned())
            .join("-")
    })
}

/// The uuid in the path of a call.
pub(super) fn uuid_of(call: &Call<'_>) -> Result<String, Failure> {
    parse_uuid(call.text(0)).map_err(Failure::internal)
}

#[derive(Serialize)]
struct Got {
    checkpoint: CheckpointOnWire,
}

fn get(call: &mut Call<'_>) -> Answer {
    let checkpoint = call.state.checkpoint(&uuid_of(call)?)?;
    Ok(Response::json(&Got {
        checkpoint: call.state.checkpoint_on_wire(checkpoint),
    }))
}

fn set_metadata(call: &mut Call<'_>) -> Answer {
    #[derive(Deserialize)]
    struct Change {
        checkpoint: Option<Stub>,
    }
    #[derive(Deserialize)]
    struct Stub {
        metadata: Option<Map<String, Value>>,
    }
    let uuid = uuid_of(call)?;
    let change: Change = call.body()?;
    call.state.checkpoint(&uuid)?;
    let metadata = change.checkpoint.and_then(|stub| stub.metadata);
    if let Some(checkpoint) = call.state.checkpoints.get_mut(&uuid) {
        checkpoint.metadata = wire::object_through_struct(&metadata.unwrap_or_default());
    }
    get(call)
}

fn delete(call: &mut Call<'_>) -> Answer {
    remove(call, |_| vec![EVERYTHING.to_owned()])
}

fn remove_files(call: &mut Call<'_>) -> Answer {
    remove(call, |request| request.checkpoint_globs.clone())
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Removal {
    checkpoint_uuids: Vec<String>,
    checkpoint_globs: Vec<String>,
}

fn remove(call: &mut Call<'_>, globs: fn(&Removal) -> Vec<String>) -> Answer {
    let removal: Removal = call.body()?;
    let mut uuids = Vec::new();
    for text in &removal.checkpoint_uuids {
        uuids.push(parse_uuid(text).map_err(|_| {
            Failure::invalid(format!(
                "converting checkpoint: string {text} is not a valid uuid"
            ))
        })?);
    }
    let globs = globs(&removal);
    for glob in &globs {
        if glob.is_empty() {
            return Err(Failure::invalid("cannot have empty string glob"));
        }
        if glob.contains("..") {
            return Err(Failure::invalid(format!(
                "glob '{glob}' cannot contain '..'"
            )));
        }
    }
    let mut unknown: Vec<&str> = uuids
        .iter()
        .filter(|uuid| !call.state.checkpoints.contains_key(*uuid))
        .map(String::as_str)
        .collect();
    if !unknown.is_empty() {
        unknown.sort_unstable();
        return Err(Failure::not_found(format!(
            "checkpoints '{}' not found",
            unknown.join(", ")
        )));
    }
    let registered: Vec<String> = uuids
        .iter()
        .filter_map(|uuid| {
            let (name, id, version) = call.state.registered_as(uuid)?;
            Some(format!(
                "{uuid}, registered to {name} (model #{id}), version {version}"
            ))
        })
        .collect();
    if !registered.is_empty() {
        return Err(Failure::new(
            Code::InvalidArgument,
            format!(
                "this subset of checkpoints provided are in the model registry and cannot be deleted: {}.",
                registered.join(", ")
            ),
        ));
    }
    call.state
        .after(REMOVAL, Event::FilesRemoved { uuids, globs });
    Ok(Response::json(&json!({})))
}

fn list_of_experiment(call: &mut Call<'_>) -> Answer {
    let experiment = call.state.experiment(call.id(0, "id")?)?;
    list(call, &experiment.trials, Some(&experiment.config))
}

fn list_of_trial(call: &mut Call<'_>) -> Answer {
    let trial = call.state.trial(call.id(0, "id")?)?;
    list(call, &[trial.id], None)
}

/// Lists the checkpoints of some trials. For an experiment, sorting by the searcher's metric goes by its configuration.
fn list(call: &Call<'_>, trials: &[i32], config: Option<&Value>) -> Answer {
    let (state, query) = (&*call.state, &call.query);
    let attribute = query.sort_key("sortByAttr");
    if let Some(unknown) = attribute.filter(|key| !SORT_KEYS.contains(key)) {
        return Err(wire::not_of(
            &format!("SORT_BY_{unknown}"),
            "checkpointv1.SortBy",
        ));
    }
    let metric_name = query.text("sortByMetric");
    if query.text("sortByAttr").is_some() && metric_name.is_some() {
        return Err(Failure::invalid("field already set for sort_by oneof"));
    }
    let states = query.words("states", "checkpointv1.State", &STATES)?;
    let mut checkpoints: Vec<&Checkpoint> = state
        .checkpoints
        .values()
        .filter(|checkpoint| trials.contains(&checkpoint.trial_id))
        .filter(|checkpoint| {
            states.is_empty() || states.contains(&checkpoint.state.wire().as_str())
        })
        .collect();

    let validated = |checkpoint: &Checkpoint| -> Option<&Value> {
        state.validation_of(checkpoint)?.metrics.get(metric_name?)
    };
    if checkpoints.len() > 1
        && let Some(text) = checkpoints
            .iter()
            .filter_map(|checkpoint| validated(checkpoint))
            .find(|value| !value.is_number())
    {
        let kind = if text.is_string() { "string" } else { "other" };
        return Err(Failure::internal(format!(
            "interface conversion: interface {{}} is {kind}, not float64"
        )));
    }

    // What is missing is less than anything.
    let number = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    };
    let in_order = |a: &Checkpoint, b: &Checkpoint| -> Ordering {
        let by_key = match (metric_name, attribute) {
            (Some(_), _) => number(
                validated(a).and_then(Value::as_f64),
                validated(b).and_then(Value::as_f64),
            ),
            (None, Some("BATCH_NUMBER")) => number(
                a.metadata.get("steps_completed").and_then(Value::as_f64),
                b.metadata.get("steps_completed").and_then(Value::as_f64),
            ),
            (None, Some("UUID")) => a.uuid.cmp(&b.uuid),
            (None, Some("END_TIME")) => Ordering::Equal,
            (None, Some("STATE")) => a.state.cmp(&b.state),
            (None, Some("SEARCHER_METRIC")) => {
                number(state.searcher_metric(a), state.searcher_metric(b))
            }
            (None, _) => a.trial_id.cmp(&b.trial_id),
        };
        by_key.then(a.report_time.cmp(&b.report_time))
    };
    checkpoints.sort_by(|a, b| in_order(a, b));

    let by_searcher = attribute == Some("SEARCHER_METRIC");
    let descending = match (query.text("orderBy"), config) {
        (None | Some("ORDER_BY_UNSPECIFIED"), Some(config)) if by_searcher => {
            !Metric::of(config).smaller_is_better
        }
        _ => query.descending(),
    };
    if descending {
        checkpoints.reverse();
    }
    if by_searcher && config.is_some() {
        // Here, and only here, those without the metric come last.
        checkpoints.sort_by_key(|checkpoint| state.searcher_metric(checkpoint).is_none());
    }

    let (checkpoints, pagination) = page(checkpoints, query)?;
    #[derive(Serialize)]
    struct Listed {
        checkpoints: Vec<CheckpointOnWire>,
        pagination: Pagination,
    }
    Ok(Response::json(&Listed {
        checkpoints: checkpoints
            .into_iter()
            .map(|checkpoint| state.checkpoint_on_wire(checkpoint))
            .collect(),
        pagination,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_read_as_go_reads_them() {
        let plain = "0f5581ff-18d1-4a13-8244-feadd21feee2";
        for accepted in [
            plain.to_owned(),
            plain.to_uppercase(),
            plain.replace('-', ""),
            format!("{{{plain}}}"),
            format!("urn:uuid:{plain}"),
        ] {
            assert_eq!(parse_uuid(&accepted).as_deref(), Ok(plain), "{accepted}");
        }
        assert_eq!(
            parse_uuid("not-a-uuid"),
            Err("invalid UUID length: 10".into())
        );
        assert_eq!(
            parse_uuid(&plain.replace('f', "g")),
            Err("invalid UUID format".into())
        );
    }

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
