//! Lists of checkpoints: what they may be asked for, and in which order they come.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::best::Ranking;
use super::{Checkpoint, CheckpointBody, CheckpointState};
use crate::error::{Error, ErrorKind, Result};
use crate::session::{Pages, Request, Session};
use crate::wire::{OrderBy, sort_enum};

sort_enum! {
    /// By which property checkpoints are sorted.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let experiment = master.experiment().create();
    /// use determined::{CheckpointQuery, CheckpointSortBy, OrderBy};
    ///
    /// let newest_first = CheckpointQuery::new().sort_by(CheckpointSortBy::EndTime).order_by(OrderBy::Descending);
    /// let newest = &experiment.list_checkpoints_with(newest_first)?[0];
    /// assert_eq!(newest.metadata["steps_completed"], 5);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub enum CheckpointSortBy {
        /// The id.
        Uuid = "SORT_BY_UUID",
        /// The trial, and within a trial the time of the report.
        TrialId = "SORT_BY_TRIAL_ID",
        /// The steps that were completed.
        BatchNumber = "SORT_BY_BATCH_NUMBER",
        /// The time of the report.
        EndTime = "SORT_BY_END_TIME",
        /// The state.
        State = "SORT_BY_STATE",
        /// The validation metric that the experiment's searcher looks at.
        SearcherMetric = "SORT_BY_SEARCHER_METRIC",
    }
}

/// What [`CheckpointQuery::sort_by`] takes: a property, or the name of a validation metric.
///
/// ```
/// use determined::{CheckpointSort, CheckpointSortBy};
///
/// assert_eq!(CheckpointSort::from("acc"), CheckpointSort::Metric("acc".into()));
/// assert_eq!(CheckpointSort::from(CheckpointSortBy::Uuid), CheckpointSort::By(CheckpointSortBy::Uuid));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CheckpointSort {
    /// A property of the checkpoint.
    By(CheckpointSortBy),
    /// The validation metric of this name.
    Metric(String),
}

impl From<CheckpointSortBy> for CheckpointSort {
    fn from(property: CheckpointSortBy) -> Self {
        Self::By(property)
    }
}

impl From<&str> for CheckpointSort {
    fn from(metric: &str) -> Self {
        Self::Metric(metric.to_owned())
    }
}

impl From<String> for CheckpointSort {
    fn from(metric: String) -> Self {
        Self::Metric(metric)
    }
}

/// Which checkpoints a list gives, and in which order.
///
/// Unset means: of an experiment the completed ones, of a trial all; the best first, by the metric and in the direction that the experiment's
/// configuration gives its searcher.
///
/// ```
/// use determined::{CheckpointQuery, CheckpointSortBy, OrderBy};
///
/// let latest = CheckpointQuery::new()
///     .sort_by(CheckpointSortBy::EndTime)
///     .order_by(OrderBy::Descending)
///     .max_results(3);
/// let most_accurate = CheckpointQuery::new().sort_by("accuracy").order_by(OrderBy::Descending);
/// # let _ = (latest, most_accurate);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct CheckpointQuery {
    sort_by: Option<CheckpointSort>,
    order_by: Option<OrderBy>,
    max_results: Option<u32>,
    states: Vec<CheckpointState>,
    page_size: Option<u32>,
}

impl CheckpointQuery {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// By a property, or by the validation metric of a name. By default by the searcher's metric.
    ///
    /// In a list by a metric, those that have no finite value come last in either order; of equals, the one with more steps comes first.
    pub fn sort_by(mut self, sort_by: impl Into<CheckpointSort>) -> Self {
        self.sort_by = Some(sort_by.into());
        self
    }

    /// In which order; only together with [`sort_by`](Self::sort_by). By default the best first for a metric, else ascending.
    pub fn order_by(mut self, order_by: OrderBy) -> Self {
        self.order_by = Some(order_by);
        self
    }

    /// Only the first so many. By default all; none with 0.
    pub fn max_results(mut self, max_results: u32) -> Self {
        self.max_results = Some(max_results);
        self
    }

    /// Only those in one of these states. By default `Completed` for an experiment, any state for a trial.
    pub fn states(mut self, states: impl IntoIterator<Item = CheckpointState>) -> Self {
        self.states = states.into_iter().collect();
        self
    }

    /// How many an iterator fetches at once. By default 100. A list is fetched as the master pages it.
    pub fn page_size(mut self, page_size: u32) -> Self {
        self.page_size = Some(page_size);
        self
    }

    fn check(&self) -> Result<()> {
        if self.sort_by.is_none() && self.order_by.is_some() {
            return Err(Error::invalid_input(
                "order_by is set without sort_by; set both, or neither",
            ));
        }
        if self.sort_by == Some(CheckpointSort::Metric(String::new())) {
            return Err(Error::invalid_input("the metric to sort by has no name"));
        }
        Ok(())
    }
}

/// Whose checkpoints.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Owner {
    Experiment(i32),
    Trial(i32),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Experiment(id) => write!(f, "experiment {id}"),
            Self::Trial(id) => write!(f, "trial {id}"),
        }
    }
}

impl Owner {
    fn request(self, session: &Session, states: &[CheckpointState]) -> Request {
        let route = match self {
            Self::Experiment(id) => format!("/api/v1/experiments/{id}/checkpoints"),
            Self::Trial(id) => format!("/api/v1/trials/{id}/checkpoints"),
        };
        let states = match (self, states) {
            (Self::Experiment(_), []) => &[CheckpointState::Completed],
            _ => states,
        };
        session
            .get(route)
            .doing(format!("list the checkpoints of {self}"))
            .query_each("states", states.iter().map(CheckpointState::wire))
    }
}

/// A checkpoint in a list.
struct Listed {
    body: CheckpointBody,
    /// Whether the master knows of log policies or of storage ids. One that does also knows how to sort.
    is_recent: bool,
}

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let knows = |name| raw.get().contains(name);
        Ok(Self {
            // A checkpoint of an experiment that the cluster does not manage has no storage id.
            is_recent: knows(r#""log_policies""#) || knows(r#""storageId""#),
            body: serde_json::from_str(raw.get()).map_err(serde::de::Error::custom)?,
        })
    }
}

/// All completed checkpoints of an owner, in no order.
pub(crate) fn completed(session: &Session, owner: Owner) -> Result<Vec<Checkpoint>> {
    let request = owner.request(session, &[CheckpointState::Completed]);
    attached(session, request)?.into_vec()
}

fn attached(session: &Session, request: Request) -> Result<Pages<Checkpoint>> {
    let session = session.clone();
    Pages::start(request, "checkpoints", move |body: CheckpointBody| {
        body.attach(&session)
    })
}

/// The list that a query asks for.
pub(crate) fn list(
    session: &Session,
    owner: Owner,
    query: &CheckpointQuery,
) -> Result<Vec<Checkpoint>> {
    let explain = |error: Error| error.doing(format!("list the checkpoints of {owner}"));
    query.check().map_err(explain)?;
    if query.max_results == Some(0) {
        return Ok(Vec::new());
    }
    let unsorted = owner.request(session, &query.states);
    // Masters sort by metrics in ways of their own, and fail where one is no number, so these lists are sorted here, and only then cut.
    let mut checkpoints = match &query.sort_by {
        None => {
            let sorted = unsorted.query("sortByAttr", CheckpointSortBy::SearcherMetric.wire());
            ranked(session, sorted, None, None)?
        }
        Some(CheckpointSort::By(CheckpointSortBy::SearcherMetric)) => {
            let sorted = unsorted
                .query("sortByAttr", CheckpointSortBy::SearcherMetric.wire())
                .query_some("orderBy", query.order_by.map(OrderBy::wire));
            ranked(session, sorted, None, query.order_by)?
        }
        Some(CheckpointSort::Metric(metric)) => {
            let sorted = unsorted
                .clone()
                .query("sortByMetric", metric)
                .query_some("orderBy", query.order_by.map(OrderBy::wire));
            match ranked(session, sorted, Some(metric), query.order_by) {
                Err(error) if error.status() == Some(500) => {
                    ranked(session, unsorted, Some(metric), query.order_by)?
                }
                other => other?,
            }
        }
        Some(CheckpointSort::By(property)) => by_property(
            session,
            unsorted,
            *property,
            query.order_by,
            query.max_results,
        )?,
    };
    if let Some(max) = query.max_results {
        checkpoints.truncate(max as usize);
    }
    Ok(checkpoints)
}

fn ranked(
    session: &Session,
    request: Request,
    metric: Option<&str>,
    order_by: Option<OrderBy>,
) -> Result<Vec<Checkpoint>> {
    let mut checkpoints: Vec<_> = attached(session, request)?.collect::<Result<_>>()?;
    let ranking = Ranking {
        metric,
        smaller_is_better: order_by.map(|order| order == OrderBy::Ascending),
    };
    ranking.sort(&mut checkpoints);
    Ok(checkpoints)
}

/// A list by a property, which masters sort and cut; the oldest of them only cut.
fn by_property(
    session: &Session,
    request: Request,
    property: CheckpointSortBy,
    order_by: Option<OrderBy>,
    max_results: Option<u32>,
) -> Result<Vec<Checkpoint>> {
    let request = request
        .query("sortByAttr", property.wire())
        .query_some("orderBy", order_by.map(OrderBy::wire));
    let listed = |request: Request, max: usize| {
        Pages::start(request, "checkpoints", |listed: Listed| listed)?
            .take(max)
            .collect::<Result<Vec<_>>>()
    };
    let all = usize::MAX;
    let found = match max_results {
        None => listed(request, all)?,
        Some(max) => {
            let found = listed(request.clone().query("limit", max), max as usize)?;
            if found.len() == max as usize && !found.iter().any(|listed| listed.is_recent) {
                listed(request, all)?
            } else {
                found
            }
        }
    };
    let mut checkpoints: Vec<_> = found
        .into_iter()
        .map(|listed| listed.body.attach(session))
        .collect();
    checkpoints.sort_by(|a, b| match order_by {
        Some(OrderBy::Descending) => compare(property, b, a),
        _ => compare(property, a, b),
    });
    Ok(checkpoints)
}

/// How a master compares checkpoints.
fn compare(property: CheckpointSortBy, a: &Checkpoint, b: &Checkpoint) -> Ordering {
    let by_time = || a.report_time.cmp(&b.report_time);
    match property {
        CheckpointSortBy::Uuid => a.uuid.cmp(&b.uuid),
        CheckpointSortBy::EndTime => by_time(),
        CheckpointSortBy::State => rank(&a.state).cmp(&rank(&b.state)),
        CheckpointSortBy::BatchNumber => a
            .steps_completed()
            .total_cmp(&b.steps_completed())
            .then_with(by_time),
        CheckpointSortBy::TrialId | CheckpointSortBy::SearcherMetric => {
            a.trial_id().cmp(&b.trial_id()).then_with(by_time)
        }
    }
}

/// The number of a state in the master's own order.
fn rank(state: &CheckpointState) -> u8 {
    match state {
        CheckpointState::Active => 1,
        CheckpointState::Completed => 2,
        CheckpointState::Error => 3,
        CheckpointState::Deleted => 4,
        CheckpointState::PartiallyDeleted => 5,
        CheckpointState::Unrecognized(_) => 6,
    }
}

/// The pages of a list, in the master's own order.
pub(crate) fn pages(
    session: &Session,
    owner: Owner,
    query: &CheckpointQuery,
) -> Result<Pages<Checkpoint>> {
    query
        .check()
        .and_then(|()| match query.max_results {
            None => Ok(()),
            Some(_) => Err(Error::new(
                ErrorKind::InvalidInput,
                "max_results is for lists; of an iterator, take() so many",
            )),
        })
        .map_err(|error| error.doing(format!("list the checkpoints of {owner}")))?;
    let request = owner
        .request(session, &query.states)
        .query("limit", query.page_size.unwrap_or(100).max(1));
    let request = match &query.sort_by {
        None => request,
        Some(CheckpointSort::By(property)) => request.query("sortByAttr", property.wire()),
        Some(CheckpointSort::Metric(metric)) => request.query("sortByMetric", metric),
    };
    attached(
        session,
        request.query_some("orderBy", query.order_by.map(OrderBy::wire)),
    )
}
