//! Lists of experiments: what they may be asked for, and in which order they come.

use super::{Experiment, ExperimentBody, ExperimentState};
use crate::error::Result;
use crate::session::{Pages, Request, Session};
use crate::wire::{OrderBy, sort_enum};

sort_enum! {
    /// By which property experiments are sorted.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let client = master.determined();
    /// # master.experiment().create();
    /// # master.experiment().create();
    /// use determined::{ExperimentQuery, ExperimentSortBy, OrderBy};
    ///
    /// let newest_first = ExperimentQuery::new().sort_by(ExperimentSortBy::StartTime).order_by(OrderBy::Descending);
    /// assert_eq!(client.list_experiments_with(newest_first)?[0].id, 2);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub enum ExperimentSortBy {
        /// The id.
        Id = "SORT_BY_ID",
        /// The description.
        Description = "SORT_BY_DESCRIPTION",
        /// When it was submitted.
        StartTime = "SORT_BY_START_TIME",
        /// When it ended.
        EndTime = "SORT_BY_END_TIME",
        /// The state.
        State = "SORT_BY_STATE",
        /// The number of trials.
        NumTrials = "SORT_BY_NUM_TRIALS",
        /// How far it has come.
        Progress = "SORT_BY_PROGRESS",
        /// Who submitted it.
        User = "SORT_BY_USER",
        /// The name.
        Name = "SORT_BY_NAME",
        /// The experiment that it was forked from.
        ForkedFrom = "SORT_BY_FORKED_FROM",
        /// The resource pool.
        ResourcePool = "SORT_BY_RESOURCE_POOL",
        /// The project.
        ProjectId = "SORT_BY_PROJECT_ID",
        /// The size of all its checkpoints.
        CheckpointSize = "SORT_BY_CHECKPOINT_SIZE",
        /// The number of its checkpoints.
        CheckpointCount = "SORT_BY_CHECKPOINT_COUNT",
        /// The best value of the metric that its searcher looks at.
        SearcherMetricVal = "SORT_BY_SEARCHER_METRIC_VAL",
    }
}

/// Which experiments a list gives, and in which order.
///
/// Unset means all that the user may see, archived ones included, in the order of their ids.
///
/// ```
/// use determined::{ExperimentQuery, ExperimentState};
///
/// let mine = ExperimentQuery::new().users(["kim"]).labels(["vision"]).states([ExperimentState::Running]);
/// # let _ = mine;
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct ExperimentQuery {
    sort_by: Option<ExperimentSortBy>,
    order_by: Option<OrderBy>,
    experiment_ids: Vec<i32>,
    labels: Vec<String>,
    users: Vec<String>,
    states: Vec<ExperimentState>,
    name: Option<String>,
    project_id: Option<i32>,
    page_size: Option<u32>,
}

impl ExperimentQuery {
    /// All experiments.
    pub fn new() -> Self {
        Self::default()
    }

    /// By which property. By default the id.
    pub fn sort_by(mut self, sort_by: ExperimentSortBy) -> Self {
        self.sort_by = Some(sort_by);
        self
    }

    /// In which order. By default ascending.
    pub fn order_by(mut self, order_by: OrderBy) -> Self {
        self.order_by = Some(order_by);
        self
    }

    /// Only those with one of these ids; ids that do not exist are passed over.
    pub fn experiment_ids(mut self, ids: impl IntoIterator<Item = i32>) -> Self {
        self.experiment_ids = ids.into_iter().collect();
        self
    }

    /// Only those that have all of these labels.
    pub fn labels(mut self, labels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.labels = labels.into_iter().map(Into::into).collect();
        self
    }

    /// Only those that one of these users submitted.
    pub fn users(mut self, usernames: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.users = usernames.into_iter().map(Into::into).collect();
        self
    }

    /// Only those in one of these states. `Active` stands for `Queued`, `Pulling`, `Starting` and `Running` together.
    pub fn states(mut self, states: impl IntoIterator<Item = ExperimentState>) -> Self {
        self.states = states.into_iter().collect();
        self
    }

    /// Only those whose name contains this, in any case; `_` and `%` stand for any character and any text.
    pub fn name(mut self, part: impl Into<String>) -> Self {
        self.name = Some(part.into());
        self
    }

    /// Only those of this project.
    pub fn project_id(mut self, id: i32) -> Self {
        self.project_id = Some(id);
        self
    }

    /// How many an iterator fetches at once. By default 100. A list is fetched as the master pages it.
    pub fn page_size(mut self, page_size: u32) -> Self {
        self.page_size = Some(page_size);
        self
    }

    fn request(&self, session: &Session) -> Request {
        session
            .get("/api/v1/experiments")
            .doing("list the experiments")
            .query_some("sortBy", self.sort_by.map(ExperimentSortBy::wire))
            .query_some("orderBy", self.order_by.map(OrderBy::wire))
            .query_each("experimentIdFilter.incl", &self.experiment_ids)
            // Masters cut a label at its commas; one that has any is looked for here.
            .query_each(
                "labels",
                self.labels.iter().filter(|label| !label.contains(',')),
            )
            .query_each("users", &self.users)
            .query_each(
                "states",
                self.stored_states().iter().map(ExperimentState::wire),
            )
            .query_some("name", self.name.as_ref())
            .query_some("projectId", self.project_id)
    }

    /// The states as masters store them, by which they filter: what runs is stored as active.
    fn stored_states(&self) -> Vec<ExperimentState> {
        let mut stored = Vec::new();
        for state in &self.states {
            let state = if is_a_way_to_be_active(state) {
                &ExperimentState::Active
            } else {
                state
            };
            if !stored.contains(state) {
                stored.push(state.clone());
            }
        }
        stored
    }

    fn matches(&self, experiment: &Experiment) -> bool {
        let state = &experiment.state;
        let has_state = self.states.is_empty()
            || self.states.contains(state)
            || (is_a_way_to_be_active(state) && self.states.contains(&ExperimentState::Active));
        let mut cut = self.labels.iter().filter(|label| label.contains(','));
        has_state && cut.all(|label| experiment.labels.contains(label))
    }
}

fn is_a_way_to_be_active(state: &ExperimentState) -> bool {
    matches!(
        state,
        ExperimentState::Queued
            | ExperimentState::Pulling
            | ExperimentState::Starting
            | ExperimentState::Running
    )
}

/// The experiments that a query asks for.
pub(crate) fn list(session: &Session, query: &ExperimentQuery) -> Result<Vec<Experiment>> {
    start(session, query.request(session), query)?.into_vec()
}

/// The experiments that a query asks for, page by page.
pub(crate) fn pages(session: &Session, query: &ExperimentQuery) -> Result<Pages<Experiment>> {
    let limit = query.page_size.unwrap_or(100).max(1);
    start(session, query.request(session).query("limit", limit), query)
}

fn start(
    session: &Session,
    request: Request,
    query: &ExperimentQuery,
) -> Result<Pages<Experiment>> {
    let (session, query) = (session.clone(), query.clone());
    Pages::start_filtered(request, "experiments", move |body: ExperimentBody| {
        let mut experiment = body.attach(&session);
        // The word with which masters leave notes out of a list.
        experiment.notes = experiment.notes.filter(|notes| notes != "omitted");
        query.matches(&experiment).then_some(experiment)
    })
}
