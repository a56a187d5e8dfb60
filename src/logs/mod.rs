//! Logs of trials: [which entries](LogOptions), one by one as [`LogEntries`].

mod entry;
mod follow;

use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::str::FromStr;
use std::time::Duration;
use std::vec;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use serde::{Serialize, Serializer};

use self::follow::Follow;
use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::session::{JsonLines, Patience, Request, Session};
use crate::trial::Trial;
use crate::wire::OrderBy;

pub use self::entry::LogEntry;

/// How serious an entry of a log is, in rising order.
///
/// ```
/// # let master = determined::testing::MockMaster::start();
/// # let trial = master.experiment().create().await_first_trial()?;
/// use determined::{LogLevel, LogOptions};
///
/// for entry in trial.logs_with(LogOptions::new().min_level(LogLevel::Warning))? {
///     assert!(entry?.level() >= Some(LogLevel::Warning));
/// }
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LogLevel {
    /// For tracing every step.
    Trace,
    /// For finding faults.
    Debug,
    /// For information.
    Info,
    /// Something is odd.
    Warning,
    /// Something has failed.
    Error,
    /// Nothing goes on.
    Critical,
}

impl LogLevel {
    const ALL: [(Self, &str); 6] = [
        (Self::Trace, "TRACE"),
        (Self::Debug, "DEBUG"),
        (Self::Info, "INFO"),
        (Self::Warning, "WARNING"),
        (Self::Error, "ERROR"),
        (Self::Critical, "CRITICAL"),
    ];

    /// The word that stands in a log, such as `WARNING`.
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    fn from_wire(word: &str) -> Option<Self> {
        word.strip_prefix("LOG_LEVEL_")?.parse().ok()
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for LogLevel {
    type Err = Error;

    /// Reads the word that stands in a log, such as `WARNING`.
    fn from_str(word: &str) -> Result<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|(_, known)| *known == word)
            .map(|(level, _)| level)
            .ok_or_else(|| Error::invalid_input(format!("{word:?} is no level of a log")))
    }
}

impl Serialize for LogLevel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Which entries of a log [`Trial::logs_with`] gives.
///
/// Unset means all that are there now, oldest first.
///
/// ```
/// use determined::{LogLevel, LogOptions};
///
/// let last_warnings = LogOptions::new().tail(20).min_level(LogLevel::Warning);
/// # let _ = last_warnings;
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
#[must_use]
pub struct LogOptions {
    follow: bool,
    head: Option<u32>,
    tail: Option<u32>,
    container_ids: Vec<String>,
    rank_ids: Vec<i32>,
    stdtypes: Vec<String>,
    sources: Vec<String>,
    min_level: Option<LogLevel>,
    include_unlevelled: bool,
    timestamp_before: Option<Timestamp>,
    timestamp_after: Option<Timestamp>,
    search_text: Option<String>,
    outage_limit: Option<Duration>,
    cancel: Option<CancelToken>,
}

impl LogOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to wait for what the trial is yet to write, until it has ended. By default not.
    ///
    /// A connection that breaks off is made anew, through a restart of the master too, and the log goes on where it was: nothing is lost
    /// and nothing comes twice. Not together with [`head`](Self::head) or [`tail`](Self::tail).
    pub fn follow(mut self, follow: bool) -> Self {
        self.follow = follow;
        self
    }

    /// Only the first so many entries. By default all; none with 0. Not together with [`tail`](Self::tail).
    pub fn head(mut self, count: u32) -> Self {
        self.head = Some(count);
        self
    }

    /// Only the last so many entries, oldest first all the same. By default all; none with 0. Not together with [`head`](Self::head).
    pub fn tail(mut self, count: u32) -> Self {
        self.tail = Some(count);
        self
    }

    /// Only what one of these containers wrote; whole ids. By default any.
    pub fn container_ids(mut self, ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.container_ids = ids.into_iter().map(Into::into).collect();
        self
    }

    /// Only what processes of one of these ranks wrote; -1 stands for no rank, as in training that is not distributed. By default any.
    ///
    /// Entries without a rank are picked out here, because masters mix up trials when asked for them.
    pub fn rank_ids(mut self, ids: impl IntoIterator<Item = i32>) -> Self {
        self.rank_ids = ids.into_iter().collect();
        self
    }

    /// Only what was written to one of these, `stdout` or `stderr`. By default either.
    pub fn stdtypes(mut self, stdtypes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.stdtypes = stdtypes.into_iter().map(Into::into).collect();
        self
    }

    /// Only what one of these wrote, `task` or `master`. By default either.
    pub fn sources(mut self, sources: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.sources = sources.into_iter().map(Into::into).collect();
        self
    }

    /// Only entries of this level and above. What a program merely prints, a traceback included, has no level and is left out too, unless
    /// [`include_unlevelled`](Self::include_unlevelled) says otherwise. By default all entries.
    pub fn min_level(mut self, level: LogLevel) -> Self {
        self.min_level = Some(level);
        self
    }

    /// Whether [`min_level`](Self::min_level) lets entries without a level pass; they are then picked out here. By default not.
    pub fn include_unlevelled(mut self, include: bool) -> Self {
        self.include_unlevelled = include;
        self
    }

    /// Only what was written at this time or before. By default any time.
    pub fn timestamp_before(mut self, time: Timestamp) -> Self {
        self.timestamp_before = Some(time);
        self
    }

    /// Only what was written after this time. By default any time.
    pub fn timestamp_after(mut self, time: Timestamp) -> Self {
        self.timestamp_after = Some(time);
        self
    }

    /// Only entries whose [`log`](LogEntry::log) contains this, in any case; `_` and `%` stand for any character and any text. By default all.
    pub fn search_text(mut self, text: impl Into<String>) -> Self {
        self.search_text = Some(text.into());
        self
    }

    /// How long the master may be away while a log is followed. By default 10 minutes.
    pub fn outage_limit(mut self, limit: Duration) -> Self {
        self.outage_limit = Some(limit);
        self
    }

    /// Lets the token end the stream. By default nothing does.
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.clone());
        self
    }

    fn check(&self) -> Result<()> {
        let ways = [self.follow, self.head.is_some(), self.tail.is_some()];
        if ways.into_iter().filter(|way| *way).count() > 1 {
            return Err(Error::invalid_input(
                "at most one of head, tail and follow may be set",
            ));
        }
        Ok(())
    }

    /// Whether the master is asked for entries without a rank, which it cannot be trusted with.
    fn wants_no_rank(&self) -> bool {
        self.rank_ids.contains(&-1)
    }

    fn wants_levels_and_none(&self) -> bool {
        self.min_level.is_some() && self.include_unlevelled
    }

    /// Whether the master is asked for more than is wanted, so that it cannot do the counting.
    fn sifts(&self) -> bool {
        self.wants_no_rank() || self.wants_levels_and_none()
    }

    /// Whether an entry, which the master has let pass, is wanted.
    fn wants(&self, entry: &LogEntry) -> bool {
        let rank = entry.rank_id().unwrap_or(-1);
        (!self.wants_no_rank() || self.rank_ids.contains(&rank))
            && (!self.wants_levels_and_none()
                || entry.level().is_none_or(|l| Some(l) >= self.min_level))
    }

    /// The request for these entries, without a limit.
    fn request(&self, session: &Session, trial_id: i32) -> Request {
        let ranks: &[i32] = if self.wants_no_rank() {
            &[]
        } else {
            &self.rank_ids
        };
        let min_level = self.min_level.filter(|_| !self.include_unlevelled);
        let levels = LogLevel::ALL
            .into_iter()
            .filter(|(level, _)| min_level.is_some_and(|min| *level >= min));
        let request = session
            .get(format!("/api/v1/trials/{trial_id}/logs"))
            .doing(format!("read the log of trial {trial_id}"))
            .query("follow", self.follow)
            .query_each("containerIds", &self.container_ids)
            .query_each("rankIds", ranks)
            .query_each("stdtypes", &self.stdtypes)
            .query_each("sources", &self.sources)
            .query_each(
                "levels",
                levels.map(|(_, word)| format!("LOG_LEVEL_{word}")),
            )
            .query_some("timestampBefore", self.timestamp_before.map(sent))
            .query_some("searchText", self.search_text.as_ref());
        if self.follow {
            // A compressed stream would arrive late, and could not be cut at a line.
            return request
                .patience(Patience::Unlimited)
                .header("accept-encoding", "identity");
        }
        request
    }
}

/// A time as masters read it, who keep microseconds.
fn sent(time: Timestamp) -> Timestamp {
    let down = TimestampRound::new()
        .smallest(Unit::Microsecond)
        .mode(RoundMode::Floor);
    time.round(down).unwrap_or(time)
}

/// The entries of a log, one by one, as they arrive.
///
/// Arguments were checked and the first request was sent by the call that made the iterator. A failure comes as an `Err` item, after which
/// the iterator is at its end. Dropping it closes its connection.
///
/// ```
/// # let master = determined::testing::MockMaster::start();
/// # let trial = master.experiment().create().await_first_trial()?;
/// let lines = trial.logs()?.collect::<determined::Result<Vec<_>>>()?;
/// println!("{} lines, the last: {}", lines.len(), lines[lines.len() - 1]);
/// # Ok::<(), determined::Error>(())
/// ```
#[must_use]
pub struct LogEntries {
    source: Source,
    options: LogOptions,
    /// How many entries are still wanted.
    left: Option<u32>,
}

enum Source {
    Done,
    Fetched(vec::IntoIter<LogEntry>),
    Stream(Box<JsonLines>),
    Follow(Box<Follow>),
}

impl Trial {
    /// The whole log so far, oldest entry first. Like [`logs_with`](Self::logs_with) without options. `GET /api/v1/trials/{id}/logs`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the trial is gone; what goes wrong later comes as an item.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let trial = master.experiment().create().await_first_trial()?;
    /// for entry in trial.logs()? {
    ///     print!("{}", entry?);
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    #[doc(alias = "iter_logs")]
    pub fn logs(&self) -> Result<LogEntries> {
        self.logs_with(LogOptions::new())
    }

    /// Entries of the log, in the order in which they reached the master. `GET /api/v1/trials/{id}/logs`.
    ///
    /// Only [`tail`](LogOptions::tail) holds its entries in memory. A stream that is cut is an error, and never a short log; one that is followed
    /// goes on instead.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the trial is gone, [`InvalidInput`](crate::ErrorKind::InvalidInput) for options that exclude each
    /// other; what goes wrong later comes as an item.
    ///
    /// ```
    /// use determined::LogOptions;
    ///
    /// # let master = determined::testing::MockMaster::start();
    /// # let trial = master.experiment().create().await_first_trial()?;
    /// for entry in trial.logs_with(LogOptions::new().follow(true))? {
    ///     print!("{}", entry?); // until the trial has ended
    /// }
    /// # Ok::<(), determined::Error>(())
    /// ```
    #[doc(alias = "iter_logs")]
    pub fn logs_with(&self, options: LogOptions) -> Result<LogEntries> {
        options
            .check()
            .map_err(|error| error.doing(format!("read the log of trial {}", self.id)))?;
        let session = self.session.cancellable(options.cancel.as_ref());
        let request = options.request(&session, self.id);
        let after = options.timestamp_after.map(sent);
        let all = request.clone().query_some("timestampAfter", after);
        let mut left = options.head;
        let source = match (options.head, options.tail) {
            (Some(0), _) | (_, Some(0)) => Source::Done,
            (_, Some(count)) => Source::Fetched(self.tail(all, &options, count)?.into_iter()),
            // The master counts anew for each task of a trial that was continued, so it is counted here too.
            (Some(count), _) if !options.sifts() => {
                Source::Stream(Box::new(all.query("limit", count).stream()?))
            }
            _ if options.follow => {
                let session = session.polling();
                let again = options.request(&session, self.id);
                let limit = options.outage_limit;
                let lines = all.stream()?;
                Source::Follow(Box::new(Follow::new(
                    lines, session, self.id, again, after, limit,
                )))
            }
            _ => Source::Stream(Box::new(all.stream()?)),
        };
        if matches!(source, Source::Fetched(_)) {
            left = None;
        }
        Ok(LogEntries {
            source,
            options,
            left,
        })
    }

    /// The last entries, oldest first.
    fn tail(&self, all: Request, options: &LogOptions, count: u32) -> Result<Vec<LogEntry>> {
        let count = count as usize;
        let mut last = VecDeque::new();
        if self.task_ids.len() > 1 {
            // Masters turn each task's log around, but not the order of the tasks.
            let mut lines = all.stream()?;
            while let Some(entry) = next(&mut lines)? {
                if options.wants(&entry) {
                    last.push_back(entry);
                    if last.len() > count {
                        last.pop_front();
                    }
                }
            }
            return Ok(last.into());
        }
        let limit = (!options.sifts()).then_some(count);
        let newest_first = all
            .query_some("limit", limit)
            .query("orderBy", OrderBy::Descending.wire());
        let mut lines = newest_first.stream()?;
        while last.len() < count
            && let Some(entry) = next(&mut lines)?
        {
            if options.wants(&entry) {
                last.push_front(entry);
            }
        }
        Ok(last.into())
    }
}

/// The entry in the next line of a stream.
fn next(lines: &mut JsonLines) -> Result<Option<LogEntry>> {
    let read = match lines.next_line()? {
        None => return Ok(None),
        Some(line) => LogEntry::read(line),
    };
    read.map(Some).map_err(|error| lines.explain(error))
}

impl LogEntries {
    fn next_entry(&mut self) -> Result<Option<LogEntry>> {
        loop {
            let entry = match &mut self.source {
                Source::Done => return Ok(None),
                Source::Fetched(entries) => return Ok(entries.next()),
                Source::Stream(lines) => next(lines)?,
                Source::Follow(follow) => follow.next()?,
            };
            let Some(entry) = entry else {
                return Ok(None);
            };
            if self.options.sifts() && !self.options.wants(&entry) {
                continue;
            }
            if let Some(left) = &mut self.left {
                *left -= 1;
                if *left == 0 {
                    self.source = Source::Done;
                }
            }
            return Ok(Some(entry));
        }
    }
}

impl Iterator for LogEntries {
    type Item = Result<LogEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.next_entry().transpose();
        if !matches!(item, Some(Ok(_))) {
            self.source = Source::Done;
        }
        item
    }
}

impl FusedIterator for LogEntries {}

impl fmt::Debug for LogEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogEntries")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
