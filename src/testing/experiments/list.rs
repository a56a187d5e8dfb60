//! Lists of experiments.

use super::{Experiment, ExperimentOnWire};
use crate::testing::failure::Failure;
use crate::testing::http::Response;
use crate::testing::router::{Answer, Call};
use crate::testing::state::State;
use crate::testing::trials::Metric;
use crate::testing::users::shown;
use crate::testing::wire::{self, Pagination, database_page};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What an experiment's state may be, on some master.
pub(in crate::testing) const STATES: [&str; 17] = [
    "UNSPECIFIED",
    "ACTIVE",
    "PAUSED",
    "STOPPING_COMPLETED",
    "STOPPING_CANCELED",
    "STOPPING_ERROR",
    "COMPLETED",
    "CANCELED",
    "ERROR",
    "DELETED",
    "DELETING",
    "DELETE_FAILED",
    "STOPPING_KILLED",
    "QUEUED",
    "PULLING",
    "STARTING",
    "RUNNING",
];

/// How many experiments come at once when the client names no limit.
const PAGE: usize = 100;

pub(super) fn list(call: &mut Call<'_>) -> Answer {
    let (state, query) = (&*call.state, &call.query);
    let project = query.int("projectId")?;
    if project != 0
        && !state
            .projects
            .values()
            .any(|known| i64::from(known.id) == project)
    {
        return Err(Failure::not_found(format!("project '{project}' not found")));
    }
    let archived = query.flag("archived")?;
    let labels: Vec<&str> = query
        .all("labels")
        .flat_map(|part| part.split(','))
        .collect();
    let states = query.words("states", "experimentv1.State", &STATES)?;
    let users: Vec<&str> = query.all("users").collect();
    let user_ids = query.ints("userIds")?;
    let wanted = query.ints("experimentIdFilter.incl")?;
    let unwanted = query.ints("experimentIdFilter.notIn")?;
    let bound = |name: &str| -> Result<Option<i64>, Failure> {
        match query.text(name) {
            Some(_) => query.int(name).map(Some),
            None => Ok(None),
        }
    };
    let (lt, lte) = (
        bound("experimentIdFilter.lt")?,
        bound("experimentIdFilter.lte")?,
    );
    let (gt, gte) = (
        bound("experimentIdFilter.gt")?,
        bound("experimentIdFilter.gte")?,
    );

    let mut experiments: Vec<&Experiment> = state
        .experiments
        .values()
        .filter(|experiment| {
            let id = i64::from(experiment.id);
            (project == 0 || i64::from(experiment.project_id) == project)
                && (wanted.is_empty() || wanted.contains(&id))
                && !unwanted.contains(&id)
                && lt.is_none_or(|bound| id < bound)
                && lte.is_none_or(|bound| id <= bound)
                && gt.is_none_or(|bound| id > bound)
                && gte.is_none_or(|bound| id >= bound)
        })
        .filter(|experiment| {
            let has = experiment.labels();
            labels.iter().all(|label| has.contains(label))
        })
        .filter(|experiment| {
            states.is_empty() || states.contains(&experiment.state.wire().as_str())
        })
        .filter(|experiment| {
            (users.is_empty() || users.contains(&state.username(experiment.owner)))
                && (user_ids.is_empty() || user_ids.contains(&i64::from(experiment.owner)))
        })
        .filter(|experiment| {
            wire::ilike_contains(experiment.name(), query.text("name").unwrap_or(""))
                && wire::ilike_contains(
                    experiment.description(),
                    query.text("description").unwrap_or(""),
                )
        })
        .filter(|experiment| archived.is_none_or(|archived| experiment.archived == archived))
        // Who asks for no project in particular does not want what is in archived ones.
        .filter(|experiment| {
            archived != Some(false) || project != 0 || !state.is_parent_archived(experiment)
        })
        .collect();

    let descending = query.descending();
    let key = query.sort_key("sortBy").unwrap_or("ID");
    check_key(key)?;
    experiments.sort_by(|a, b| {
        let order = compare(state, key, a, b, descending);
        let by_id = a.id.cmp(&b.id);
        order.then(if descending { by_id.reverse() } else { by_id })
    });

    let with_metric = query.flag("showTrialData")? == Some(true);
    let (experiments, pagination) = database_page(experiments, query, PAGE)?;
    #[derive(Serialize)]
    struct Listed {
        experiments: Vec<ExperimentOnWire>,
        pagination: Pagination,
    }
    Ok(Response::json(&Listed {
        experiments: experiments
            .into_iter()
            .map(|experiment| row(state, experiment, with_metric))
            .collect(),
        pagination,
    }))
}

fn check_key(key: &str) -> Result<(), Failure> {
    const KEYS: [&str; 15] = [
        "ID",
        "DESCRIPTION",
        "NAME",
        "START_TIME",
        "END_TIME",
        "STATE",
        "NUM_TRIALS",
        "PROGRESS",
        "USER",
        "FORKED_FROM",
        "RESOURCE_POOL",
        "PROJECT_ID",
        "CHECKPOINT_SIZE",
        "CHECKPOINT_COUNT",
        "SEARCHER_METRIC_VAL",
    ];
    match KEYS.contains(&key) {
        true => Ok(()),
        false => Err(wire::unknown_sort_key(key, "GetExperimentsRequest")),
    }
}

/// Compares two experiments by a key; what lacks it comes last in both directions.
fn compare(state: &State, key: &str, a: &Experiment, b: &Experiment, descending: bool) -> Ordering {
    let turn = |order: Ordering| if descending { order.reverse() } else { order };
    let nulls_last = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => turn(a.total_cmp(&b)),
        (a, b) => b.is_some().cmp(&a.is_some()),
    };
    let ended =
        |experiment: &Experiment| experiment.end_time.map(|time| time.as_microsecond() as f64);
    let totals = |experiment: &Experiment| state.checkpoints_in_total(&experiment.trials);
    match key {
        "DESCRIPTION" => turn(a.description().cmp(b.description())),
        "NAME" => turn(a.name().cmp(b.name())),
        "START_TIME" => turn(a.start_time.cmp(&b.start_time)),
        "END_TIME" => nulls_last(ended(a), ended(b)),
        "STATE" => turn(a.state.cmp(&b.state)),
        "NUM_TRIALS" => turn(a.trials.len().cmp(&b.trials.len())),
        "PROGRESS" => turn(a.progress.total_cmp(&b.progress)),
        "USER" => turn(shown_name(state, a.owner).cmp(shown_name(state, b.owner))),
        "FORKED_FROM" => nulls_last(a.forked_from.map(f64::from), b.forked_from.map(f64::from)),
        "RESOURCE_POOL" => turn(a.resource_pool().cmp(b.resource_pool())),
        "PROJECT_ID" => turn(a.project_id.cmp(&b.project_id)),
        "CHECKPOINT_SIZE" => turn(totals(a).1.cmp(&totals(b).1)),
        "CHECKPOINT_COUNT" => turn(totals(a).0.cmp(&totals(b).0)),
        "SEARCHER_METRIC_VAL" => nulls_last(best_metric(state, a), best_metric(state, b)),
        _ => Ordering::Equal,
    }
}

/// The best value that any trial reached of the searcher's metric.
fn best_metric(state: &State, experiment: &Experiment) -> Option<f64> {
    let metric = Metric::of(&experiment.config);
    state
        .trials_of(experiment)
        .filter_map(|trial| trial.best_validation(&metric))
        .filter_map(|report| Some((metric.signed(&report.metrics)?, report)))
        .min_by(|(a, _), (b, _)| a.total_cmp(b))
        .and_then(|(_, report)| metric.value(&report.metrics))
}

fn shown_name(state: &State, user: i32) -> &str {
    state.users.get(user).map_or("", shown)
}

/// An experiment as it stands in lists.
fn row(state: &State, experiment: &Experiment, with_metric: bool) -> ExperimentOnWire {
    let end = experiment.end_time.unwrap_or_else(Timestamp::now);
    let seconds = end.duration_since(experiment.start_time).as_secs_f64();
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    ExperimentOnWire {
        trial_ids: Vec::new(),
        original_config: String::new(),
        display_name: shown_name(state, experiment.owner).to_owned(),
        searcher_type: text(&experiment.config["searcher"]["name"]),
        searcher_metric: text(&experiment.config["searcher"]["metric"]),
        hyperparameters: experiment.config["hyperparameters"].clone(),
        notes: match experiment.notes.as_str() {
            "" => String::new(),
            _ => "omitted".into(),
        },
        duration: Some(seconds.max(0.0).round() as i64),
        model_definition_size: None,
        best_trial_searcher_metric: with_metric
            .then(|| best_metric(state, experiment).map(wire::double))
            .flatten(),
        ..state.experiment_on_wire(experiment)
    }
}

/// The labels of all experiments, the most used first.
pub(super) fn labels(call: &mut Call<'_>) -> Answer {
    let project = call.query.int("projectId")?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for experiment in call.state.experiments.values() {
        if project == 0 || i64::from(experiment.project_id) == project {
            for label in experiment.labels() {
                *counts.entry(label).or_default() += 1;
            }
        }
    }
    let mut labels: Vec<(&str, usize)> = counts.into_iter().collect();
    labels.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let labels: Vec<&str> = labels.into_iter().map(|(label, _)| label).collect();
    Ok(Response::json(&json!({"labels": labels})))
}
