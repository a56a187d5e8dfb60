//! Checkpoints.

mod files;
mod list;
mod removal;

pub(super) use files::Policy;

use super::failure::Failure;
use super::http::Response;
use super::metrics::Report;
use super::router::{Answer, Call, Route};
use super::state::State;
use super::trials::{Metric, MetricsOnWire};
use super::wire;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;

pub(super) const ROUTES: &[Route] = &[
    Route::get("/api/v1/experiments/{}/checkpoints", list::of_experiment),
    Route::get("/api/v1/trials/{}/checkpoints", list::of_trial),
    Route::delete("/api/v1/checkpoints", removal::delete),
    Route::post("/api/v1/checkpoints/rm", removal::remove_files),
    Route::get("/api/v1/checkpoints/{}", get),
    Route::post("/api/v1/checkpoints/{}/metadata", set_metadata),
    Route::get("/checkpoints/{}", super::archive::download).plain(),
];

/// Matches all files of a checkpoint.
const EVERYTHING: &str = "**/*";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CheckpointState {
    Completed,
    Deleted,
    PartiallyDeleted,
}

impl CheckpointState {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Completed => "COMPLETED",
            Self::Deleted => "DELETED",
            Self::PartiallyDeleted => "PARTIALLY_DELETED",
        }
    }

    pub(super) fn wire(self) -> String {
        format!("STATE_{}", self.word())
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
    #[serde(skip_serializing_if = "Option::is_none")]
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
    let metadata = change.checkpoint.and_then(|stub| stub.metadata);
    // What is answered is the checkpoint of before, metrics and all, with the new metadata.
    let mut checkpoint = call.state.checkpoint_on_wire(call.state.checkpoint(&uuid)?);
    checkpoint.metadata = match &metadata {
        Some(metadata) => Value::Object(wire::object_through_struct(metadata)),
        None => Value::Null,
    };
    if let Some(checkpoint) = call.state.checkpoints.get_mut(&uuid) {
        checkpoint.metadata = wire::object_through_struct(&metadata.unwrap_or_default());
    }
    Ok(Response::json(&Got { checkpoint }))
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
}
