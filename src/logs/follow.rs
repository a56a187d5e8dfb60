//! Following a log through cut connections: what was given out already is recognised when it comes again.
//!
//! A log is a sequence in the order in which entries reached the master, but it can only be asked for by the times at which they were
//! written. So a new stream is asked for from some time before the last entry, and what it repeats is passed over: everything up to the
//! last entry that was given out, and any other whose id is remembered.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::{LogEntry, next};
use crate::error::{Error, ErrorKind, Result};
use crate::session::{JsonLines, Patience, Request, Session};

/// How long a master may be away.
const OUTAGE_LIMIT: Duration = Duration::from_secs(600);
/// How many entries are remembered by their ids.
const MEMORY: usize = 1024;
/// How much older than the last entry one may be that reaches the master after it: agents send late, and clocks differ.
const LATENESS: SignedDuration = SignedDuration::from_mins(10);
/// A stream that has lasted so long was no part of an outage.
const LONG: Duration = Duration::from_secs(10);
/// A stream that ends so soon has nothing more to say.
const SHORT: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The log of a trial, as it grows.
pub(super) struct Follow {
    session: Session,
    trial_id: i32,
    /// The request without the time from which on entries are wanted.
    request: Request,
    /// The time from which on entries are wanted at all.
    after: Option<Timestamp>,
    outage_limit: Duration,
    lines: JsonLines,
    opened: Instant,
    /// Whether the stream has given anything that was not known.
    has_news: bool,
    /// Whether the stream is the one that the following began with, and has given nothing.
    is_first: bool,
    past: Past,
    /// What a new stream repeats, until the end of that is reached.
    repeated: Option<Repeated>,
    outage: Option<Outage>,
}

/// What was given out.
#[derive(Default)]
struct Past {
    recent: VecDeque<(String, Option<Timestamp>)>,
    newest: Option<Timestamp>,
    /// Whether there are any that are not in `recent` any more, and the latest time of those.
    has_forgotten: bool,
    newest_forgotten: Option<Timestamp>,
}

struct Repeated {
    /// What is still to come again, and how often: entries without an id may be alike.
    left: HashMap<String, usize>,
    last: String,
    is_past_last: bool,
    /// Whether any of it has come again.
    has_come: bool,
}

struct Outage {
    since: Instant,
    tries: u32,
}

/// What tells an entry from others: its id, or all of it.
fn key(entry: &LogEntry) -> &str {
    entry.id().unwrap_or(entry.message())
}

impl Past {
    fn push(&mut self, entry: &LogEntry) {
        let time = entry.timestamp();
        self.newest = self.newest.max(time);
        self.recent.push_back((key(entry).to_owned(), time));
        if self.recent.len() > MEMORY {
            let forgotten = self.recent.pop_front().and_then(|(_, time)| time);
            self.has_forgotten = true;
            self.newest_forgotten = self.newest_forgotten.max(forgotten);
        }
    }

    /// The time after which everything is to be sent again; `None` for all.
    fn resume_after(&self) -> Option<Timestamp> {
        let forgotten = self.newest_forgotten?;
        let early = self.newest?.checked_sub(LATENESS).ok()?;
        Some(early.min(forgotten))
    }

    fn repeated(&self) -> Option<Repeated> {
        let (last, _) = self.recent.back()?;
        let mut left = HashMap::new();
        for (key, _) in &self.recent {
            *left.entry(key.clone()).or_default() += 1;
        }
        Some(Repeated {
            left,
            last: last.clone(),
            is_past_last: false,
            has_come: false,
        })
    }

    /// Whether an entry of a new stream was given out before.
    fn holds(&self, repeated: &mut Repeated, entry: &LogEntry) -> bool {
        let key = key(entry);
        if let Some(count) = repeated.left.get_mut(key).filter(|count| **count > 0) {
            *count -= 1;
            repeated.has_come = true;
            repeated.is_past_last |= *count == 0 && key == repeated.last;
            return true;
        }
        // Of those that are forgotten, none is younger, and none comes after the last.
        !repeated.is_past_last && self.has_forgotten && entry.timestamp() <= self.newest_forgotten
    }
}

impl Follow {
    /// Goes on from a stream that was opened just now; `request` opens another.
    pub(super) fn new(
        lines: JsonLines,
        session: Session,
        trial_id: i32,
        request: Request,
        after: Option<Timestamp>,
        outage_limit: Option<Duration>,
    ) -> Self {
        Self {
            session,
            trial_id,
            request,
            after,
            outage_limit: outage_limit.unwrap_or(OUTAGE_LIMIT),
            lines,
            opened: Instant::now(),
            has_news: false,
            is_first: true,
            past: Past::default(),
            repeated: None,
            outage: None,
        }
    }

    /// The next entry that was not given out before; `None` when the trial has ended.
    pub(super) fn next(&mut self) -> Result<Option<LogEntry>> {
        loop {
            match next(&mut self.lines) {
                Ok(Some(entry)) => {
                    let is_known = match &mut self.repeated {
                        Some(repeated) => self.past.holds(repeated, &entry),
                        None => false,
                    };
                    if is_known {
                        continue;
                    }
                    self.has_news = true;
                    self.is_first = false;
                    self.outage = None;
                    self.past.push(&entry);
                    return Ok(Some(entry));
                }
                Ok(None) if !self.lacks_what_was_given() && self.has_ended() => return Ok(None),
                Ok(None) => {
                    let cut = Error::new(ErrorKind::Connection, "the stream ended too early");
                    self.reopen(self.lines.explain(cut))?;
                }
                Err(error) if self.may_pass(&error) => self.reopen(error)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a stream that failed like this may be asked for again.
    fn may_pass(&self, error: &Error) -> bool {
        match error.kind() {
            // The next request renews a session that has expired.
            ErrorKind::Unauthenticated => self.outage.is_none(),
            // A line of the master's own that makes no sense makes none when it comes again.
            ErrorKind::InvalidResponse if self.lines.is_json() => self.outage.is_none(),
            // Nor is a page of a gateway an outage before the master was ever heard.
            ErrorKind::InvalidResponse if self.is_first => false,
            _ => is_cut(error),
        }
    }

    /// Whether a stream has not even repeated what it must, like the empty page of a gateway.
    fn lacks_what_was_given(&self) -> bool {
        let repeated = self.repeated.as_ref();
        repeated.is_some_and(|repeated| !repeated.has_come)
    }

    /// Whether a stream that has ended is complete. Where HTTP does not say so, it is if another one at once brought nothing new.
    fn has_ended(&self) -> bool {
        let is_another = self.outage.is_some() && !self.has_news;
        self.lines.tells_its_end() || (is_another && self.opened.elapsed() < SHORT)
    }

    /// Opens a new stream where the old one broke off, trying as long as the outage may last.
    fn reopen(&mut self, mut error: Error) -> Result<()> {
        if self.has_news || self.opened.elapsed() >= LONG {
            self.outage = None;
        }
        let outage = self.outage.get_or_insert_with(|| Outage {
            since: Instant::now(),
            tries: 0,
        });
        let after = self.past.resume_after().max(self.after);
        loop {
            if outage.since.elapsed() >= self.outage_limit {
                return Err(error);
            }
            match outage.tries {
                0 => {
                    log::debug!(target: "determined", "following the log of trial {} anew: {error}", self.trial_id)
                }
                1 => log::warn!(
                    target: "determined",
                    "the log of trial {} cannot be followed, which is waited out for {} s: {error}",
                    self.trial_id,
                    self.outage_limit.as_secs()
                ),
                _ => {}
            }
            self.session.sleep(pause(outage.tries))?;
            outage.tries = outage.tries.saturating_add(1);
            let mut request = self.request.clone().query_some("timestampAfter", after);
            if self.past.newest.is_some() {
                // Something is sent again at once, so a master that does not even begin is away.
                request = request.patience(Patience::OnceBegun);
            }
            match request.stream() {
                Ok(lines) => {
                    self.lines = lines;
                    self.opened = Instant::now();
                    self.has_news = false;
                    self.is_first = false;
                    self.repeated = self.past.repeated();
                    return Ok(());
                }
                Err(again) if is_cut(&again) || again.status() >= Some(500) => error = again,
                Err(other) => return Err(other),
            }
        }
    }
}

/// 0, ½, 1, 2, 4 … seconds.
fn pause(tries: u32) -> Duration {
    match tries {
        0 => Duration::ZERO,
        n => Duration::from_millis(250 << n.min(6)).min(LONGEST_PAUSE),
    }
}

/// Whether a stream that failed like this may be asked for again: 408 and 499 are how a master that goes down says so in a stream.
fn is_cut(error: &Error) -> bool {
    error.is_transient()
        || error.kind() == ErrorKind::InvalidResponse
        || matches!(error.status(), Some(408 | 499))
}
