//! Deletions that go on after the master has answered.

use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};
use crate::session::Session;
use crate::wire::lenient;

/// How long to wait before the first look; each further pause is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Whether to wait until a workspace, a project or the files of a checkpoint are really gone. By default the call returns when the master has
/// agreed.
///
/// With experiments or large files in it, deleting takes the master a while, and may fail in the end.
///
/// ```
/// # use determined::testing::MockMaster;
/// use determined::DeleteOptions;
/// use std::time::Duration;
///
/// # let master = MockMaster::start();
/// # let client = master.determined();
/// client.create_workspace("lab")?;
/// client.delete_workspace_with("lab", DeleteOptions::new().wait(Duration::from_secs(600)))?;
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
#[must_use]
pub struct DeleteOptions {
    wait: Option<Duration>,
    cancel: Option<CancelToken>,
}

impl DeleteOptions {
    /// Without waiting.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until it is gone, but no longer than this: then the call fails with [`WaitTimeout`](ErrorKind::WaitTimeout), while the deletion
    /// goes on. The default is not to wait.
    pub fn wait(mut self, limit: Duration) -> Self {
        self.wait = Some(limit);
        self
    }

    /// Ends the waiting when this token is cancelled. The default is none.
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.clone());
        self
    }
}

/// What the master says of something that it is deleting.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Remains {
    #[serde(default, deserialize_with = "lenient")]
    state: String,
    #[serde(default, deserialize_with = "lenient")]
    error_message: String,
}

/// Deletes what is at `route` and waits for it if the options say so. `key` is where the master's answer has the thing: `workspace` or
/// `project`.
pub(crate) fn delete(
    session: &Session,
    route: &str,
    key: &'static str,
    doing: String,
    options: &DeleteOptions,
) -> Result<()> {
    let session = session.cancellable(options.cancel.as_ref());
    let is_gone: Option<bool> = session
        .delete(route)
        .doing(doing.clone())
        .fetch_field("completed")?;
    match options.wait {
        Some(limit) if is_gone != Some(true) => {
            wait_until_gone(&session, route, key, limit).map_err(|error| error.doing(doing))
        }
        _ => Ok(()),
    }
}

fn wait_until_gone(
    session: &Session,
    route: &str,
    key: &'static str,
    limit: Duration,
) -> Result<()> {
    wait_until(session, limit, || {
        let remains: Remains = match session.get(route).fetch_field(key) {
            Ok(remains) => remains,
            Err(error) if error.is_not_found() => return Ok(true),
            Err(error) => return Err(error),
        };
        match remains.state.as_str() {
            "WORKSPACE_STATE_DELETED" => Ok(true),
            "WORKSPACE_STATE_DELETE_FAILED" => Err(Error::new(
                ErrorKind::Api,
                format!("the master could not: {}", remains.error_message),
            )
            .with_server_message(remains.error_message)),
            _ => Ok(false),
        }
    })
}

/// Looks again and again whether it is done, until the limit is reached.
fn wait_until(
    session: &Session,
    limit: Duration,
    is_done: impl Fn() -> Result<bool>,
) -> Result<()> {
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            let seconds = limit.as_secs_f64();
            return Err(Error::new(
                ErrorKind::WaitTimeout,
                format!("it is still there after {seconds} s; the master goes on deleting it"),
            ));
        }
        session.sleep(pause.min(left))?;
        pause = (pause * 2).min(LONGEST_PAUSE);
        if is_done()? {
            return Ok(());
        }
    }
}

impl DeleteOptions {
    /// Sends a request that deletes, through a session that the caller can cancel, and waits until `is_done` if that is wanted.
    pub(crate) fn run(
        &self,
        session: &Session,
        send: impl FnOnce(&Session) -> Result<()>,
        is_done: impl Fn(&Session) -> Result<bool>,
    ) -> Result<()> {
        let session = session.cancellable(self.cancel.as_ref());
        send(&session)?;
        match self.wait {
            Some(limit) => wait_until(&session, limit, || is_done(&session)),
            None => Ok(()),
        }
    }

    /// Whether the caller wants to wait.
    pub(crate) fn waits(&self) -> bool {
        self.wait.is_some()
    }
}
