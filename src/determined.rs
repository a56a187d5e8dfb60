//! The explicit client.

use crate::error::Result;
use crate::session::{LoginOptions, Session};

/// A client of one master, logged in as one user.
///
/// Has every call that the [`client`](crate::client) module has; take it where a program talks to two masters, or as two users. Clones are cheap
/// and share their connections; all threads may use one at the same time.
///
/// ```
/// use determined::{Determined, testing::MockMaster};
///
/// let master = MockMaster::start();
/// let client = Determined::new(master.login_options())?;
/// assert_eq!(client.get_session_username(), "determined");
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Determined {
    session: Session,
}

impl Determined {
    /// Logs in. What the options leave out comes from the environment, the token store and the defaults; see [`LoginOptions`].
    ///
    /// `POST /api/v1/auth/login`, or `GET /api/v1/me` to check a stored token.
    ///
    /// # Errors
    ///
    /// [`Unauthenticated`](crate::ErrorKind::Unauthenticated) for a wrong user or password, or when there is nothing to log in with;
    /// [`Forbidden`](crate::ErrorKind::Forbidden) for a user who is not active; [`MasterNotFound`](crate::ErrorKind::MasterNotFound),
    /// [`Timeout`](crate::ErrorKind::Timeout) or [`Tls`](crate::ErrorKind::Tls) when the master cannot be reached;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a URL or an option that cannot be used;
    /// [`CorruptTokenCache`](crate::ErrorKind::CorruptTokenCache) when the token store had to be set aside: the next call works.
    pub fn new(options: LoginOptions) -> Result<Self> {
        Ok(Self {
            session: Session::login(options)?,
        })
    }

    /// Ends the session: its token is revoked, and taken out of the token store even if the master cannot be told.
    ///
    /// A token that came from `DET_USER_TOKEN` is not revoked: it belongs to whoever set the variable. Clones of this client are logged out
    /// too. `POST /api/v1/auth/logout`.
    ///
    /// # Errors
    ///
    /// When the master could not be told; here and in the store the session has ended all the same.
    ///
    /// ```
    /// # use determined::{ErrorKind, testing::MockMaster};
    /// # let master = MockMaster::start();
    /// let client = master.determined();
    /// client.logout()?;
    /// assert_eq!(client.whoami().unwrap_err().kind(), ErrorKind::Unauthenticated);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn logout(&self) -> Result<()> {
        self.session.logout()
    }

    /// The name of the user who is logged in, as it was given or found at login. Nothing is sent.
    pub fn get_session_username(&self) -> &str {
        self.session.username()
    }
}
