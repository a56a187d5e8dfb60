//! Users: [`User`], and the calls that make and find users.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::lenient::lenient_objects;
use crate::name;
use crate::session::{Pages, Secret, Session, complexity_problems, password_hash, route};
use crate::wire::{exact, lenient};

/// A user of the cluster.
///
/// Comes from [`Determined::whoami`](crate::Determined::whoami), [`list_users`](crate::Determined::list_users),
/// [`get_user_by_name`](crate::Determined::get_user_by_name), [`get_user_by_id`](crate::Determined::get_user_by_id) and
/// [`create_user`](crate::Determined::create_user). The fields are what the master said then; [`reload`](Self::reload) asks again.
///
/// What changes a user needs the rights of an administrator, unless it is one's own name, display name or password.
///
/// ```
/// use determined::testing::MockMaster;
///
/// let master = MockMaster::start();
/// let user = master.determined().whoami()?;
/// assert_eq!(user.username, "determined");
/// assert!(user.active && !user.admin);
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct User {
    /// The id.
    pub user_id: i32,
    /// The name to log in with.
    pub username: String,
    /// Whether the user is an administrator.
    pub admin: bool,
    /// Whether the user may log in.
    pub active: bool,
    /// Whether the user logs in by single sign-on only, without a password. Older masters do not know such users.
    pub remote: bool,
    /// The name for people to read; may be empty.
    pub display_name: String,
    /// The user id as which the user's tasks run on agents. `None`, like the three below, for the cluster's default.
    pub agent_uid: Option<i32>,
    /// The group id as which the user's tasks run on agents.
    pub agent_gid: Option<i32>,
    /// The user name that goes with [`agent_uid`](Self::agent_uid).
    pub agent_user: Option<String>,
    /// The group name that goes with [`agent_gid`](Self::agent_gid).
    pub agent_group: Option<String>,
    #[serde(skip)]
    session: Session,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UserBody {
    #[serde(default, deserialize_with = "exact")]
    id: i32,
    #[serde(default, deserialize_with = "lenient")]
    username: String,
    #[serde(default, deserialize_with = "lenient")]
    admin: bool,
    #[serde(default, deserialize_with = "lenient")]
    active: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    remote: bool,
    #[serde(default, deserialize_with = "lenient")]
    display_name: String,
    #[serde(default, deserialize_with = "lenient")]
    agent_user_group: Option<AgentUserGroup>,
}

#[derive(Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AgentUserGroup {
    #[serde(default, deserialize_with = "lenient")]
    agent_uid: i32,
    #[serde(default, deserialize_with = "lenient")]
    agent_gid: i32,
    #[serde(default, deserialize_with = "lenient")]
    agent_user: String,
    #[serde(default, deserialize_with = "lenient")]
    agent_group: String,
}

lenient_objects!(AgentUserGroup UserBody);

impl UserBody {
    fn attach(self, session: &Session) -> User {
        // The master reports a link that was taken back as ids of 0 with empty names, which no real link has.
        let group = self
            .agent_user_group
            .filter(|group| *group != AgentUserGroup::default());
        let (agent_uid, agent_gid, agent_user, agent_group) = match group {
            Some(g) => (
                Some(g.agent_uid),
                Some(g.agent_gid),
                Some(g.agent_user),
                Some(g.agent_group),
            ),
            None => Default::default(),
        };
        User {
            user_id: self.id,
            username: self.username,
            admin: self.admin,
            active: self.active.unwrap_or(true),
            remote: self.remote,
            display_name: self.display_name,
            agent_uid,
            agent_gid,
            agent_user,
            agent_group,
            session: session.clone(),
        }
    }
}

/// How a new user logs in: with a [password](Self::password), or by single sign-on only ([`remote`](Self::remote)).
///
/// ```
/// use determined::CreateUserOptions;
///
/// let options = CreateUserOptions::new().password("Correct-horse-9");
/// assert!(!format!("{options:?}").contains("horse"));
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
#[must_use]
pub struct CreateUserOptions {
    password: Option<Secret>,
    remote: bool,
}

impl CreateUserOptions {
    /// A user who still needs one of the two.
    pub fn new() -> Self {
        Self::default()
    }

    /// The password: at least 8 characters, an upper-case and a lower-case letter and a digit among them.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(Secret::new(password));
        self
    }

    /// Whether the user logs in by single sign-on only, which excludes a password. The default is `false`. Single sign-on needs the Enterprise
    /// Edition of the master.
    pub fn remote(mut self, remote: bool) -> Self {
        self.remote = remote;
        self
    }
}

/// Which users a list is to hold. By default all.
///
/// ```
/// # use determined::testing::MockMaster;
/// use determined::UserQuery;
///
/// # let master = MockMaster::start();
/// # let client = master.determined();
/// let gone = client.list_users_with(UserQuery::new().active(false))?;
/// assert!(gone.is_empty());
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
#[must_use]
pub struct UserQuery {
    active: Option<bool>,
}

impl UserQuery {
    /// All users.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only users who may log in, or only users who may not. The default is both.
    pub fn active(mut self, active: bool) -> Self {
        self.active = Some(active);
        self
    }
}

pub(crate) fn create(
    session: &Session,
    username: &str,
    admin: bool,
    options: &CreateUserOptions,
) -> Result<User> {
    let doing = format!("create user {username:?}");
    if let Err(error) = check_new(username, options) {
        return Err(error.doing(doing));
    }
    let hash = options
        .password
        .as_ref()
        .map(|password| password_hash(password.expose()));
    let user: UserBody = session
        .post("/api/v1/users")
        .doing(doing.clone())
        .json(&json!({
            "isHashed": true,
            "password": hash.as_ref().map(Secret::expose),
            "user": {"username": username, "admin": admin, "active": true, "remote": options.remote},
        }))
        .fetch_field("user")?;
    let mut user = user.attach(session);
    if options.remote && !user.remote {
        // A master that does not know remote users has made one with a blank password, as whom anybody could log in.
        user.deactivate()?;
        return Err(Error::new(
            ErrorKind::Unsupported,
            "this master has no remote users; the user was made without a password, and deactivated at once",
        )
        .doing(doing)
        .with_hint("this call needs a newer master"));
    }
    Ok(user)
}

fn check_new(username: &str, options: &CreateUserOptions) -> Result<()> {
    name::check(username, "name of the user")?;
    match &options.password {
        Some(_) if options.remote => Err(Error::invalid_input(
            "a remote user logs in by single sign-on only and has no password",
        )),
        Some(password) => check_password(password.expose()),
        None if options.remote => Ok(()),
        None => Err(Error::invalid_input(
            "a user needs a password, unless the user is remote",
        )),
    }
}

fn check_password(password: &str) -> Result<()> {
    let problems = complexity_problems(password);
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::invalid_input(format!(
        "the password is too simple: {}",
        problems.join(", ")
    )))
}

pub(crate) fn get_by_id(session: &Session, user_id: i32) -> Result<User> {
    let user: UserBody = session
        .get(route!("/api/v1/users/{}", user_id))
        .doing(format!("get user {user_id}"))
        .fetch_field("user")?;
    Ok(user.attach(session))
}

pub(crate) fn get_by_name(session: &Session, username: &str) -> Result<User> {
    let doing = format!("get user {username:?}");
    if let Err(error) = name::check(username, "name of the user") {
        return Err(error.doing(doing));
    }
    if !name::fits_route(username) {
        let users = list(session, UserQuery::new()).map_err(|error| error.doing(doing.clone()))?;
        return name::pick("user", username, users, |user| &user.username)
            .map_err(|error| error.doing(doing));
    }
    let user: UserBody = session
        .get(route!("/api/v1/users/{}/by-username", username))
        .doing(doing)
        .fetch_field("user")?;
    Ok(user.attach(session))
}

pub(crate) fn whoami(session: &Session) -> Result<User> {
    let user: UserBody = session
        .get("/api/v1/me")
        .doing("get the user who is logged in")
        .fetch_field("user")?;
    Ok(user.attach(session))
}

pub(crate) fn list(session: &Session, query: UserQuery) -> Result<Vec<User>> {
    let request = session
        .get("/api/v1/users")
        .doing("list users")
        .query_some("active", query.active);
    let session = session.clone();
    let users: Result<Vec<User>> = Pages::start(request, "users", move |user: UserBody| {
        user.attach(&session)
    })?
    .collect();
    let mut users = users?;
    // Older masters do not know this filter.
    users.retain(|user| query.active.is_none_or(|active| active == user.active));
    Ok(users)
}

impl User {
    /// Asks the master again and fills all fields anew. `GET /api/v1/users/{id}`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if there is no such user.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let mut user = client.whoami()?;
    /// client.whoami()?.change_display_name("Dee")?;
    /// user.reload()?;
    /// assert_eq!(user.display_name, "Dee");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn reload(&mut self) -> Result<()> {
        *self = get_by_id(&self.session, self.user_id)?;
        Ok(())
    }

    /// Gives the user another name to log in with. `PATCH /api/v1/users/{id}`.
    ///
    /// # Errors
    ///
    /// [`Api`](ErrorKind::Api) for a name that the master does not take: shorter than 2 characters, not ASCII, or `admin` or `determined`;
    /// [`Conflict`](ErrorKind::Conflict) if another user bears it; [`Forbidden`](ErrorKind::Forbidden) for users who are no administrators.
    ///
    /// ```
    /// # use determined::{Determined, testing::MockMaster};
    /// # let master = MockMaster::start();
    /// # let admin = Determined::new(master.login_options().user("admin"))?;
    /// let mut user = admin.create_user("kim", false, "Correct-horse-9")?;
    /// user.rename("kim.lee")?;
    /// assert_eq!(admin.get_user_by_id(user.user_id)?.username, "kim.lee");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn rename(&mut self, new_username: &str) -> Result<()> {
        if let Err(error) = name::check(new_username, "new name of the user") {
            return Err(error.doing(format!("rename user {:?}", self.username)));
        }
        self.change("rename", json!({"username": new_username}))
    }

    /// Gives the user another name for people to read; an empty one clears it. `PATCH /api/v1/users/{id}`.
    ///
    /// # Errors
    ///
    /// [`Api`](ErrorKind::Api) for a name that is not ASCII, or is another user's; [`Forbidden`](ErrorKind::Forbidden) for users who are
    /// neither this one nor administrators.
    ///
    /// ```
    /// # use determined::testing::MockMaster;
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let mut user = client.whoami()?;
    /// user.change_display_name("Dee")?;
    /// assert_eq!(user.display_name, "Dee");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn change_display_name(&mut self, display_name: &str) -> Result<()> {
        self.change(
            "change the display name of",
            json!({"displayName": display_name}),
        )
    }

    /// Lets the user log in again. `PATCH /api/v1/users/{id}`.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for users who are no administrators.
    ///
    /// ```
    /// # use determined::{Determined, testing::MockMaster};
    /// # let master = MockMaster::start();
    /// # let admin = Determined::new(master.login_options().user("admin"))?;
    /// let mut user = admin.create_user("kim", false, "Correct-horse-9")?;
    /// user.deactivate()?;
    /// user.activate()?;
    /// assert!(user.active);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn activate(&mut self) -> Result<()> {
        self.change("activate", json!({"active": true}))
    }

    /// Keeps the user from logging in. There is no way to delete a user. `PATCH /api/v1/users/{id}`.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for users who are no administrators.
    ///
    /// ```
    /// # use determined::{Determined, testing::MockMaster};
    /// # let master = MockMaster::start();
    /// # let admin = Determined::new(master.login_options().user("admin"))?;
    /// let mut user = admin.create_user("kim", false, "Correct-horse-9")?;
    /// user.deactivate()?;
    /// assert!(!user.active);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn deactivate(&mut self) -> Result<()> {
        self.change("deactivate", json!({"active": false}))
    }

    /// Gives the user another password. What is sent is a salted hash. `PATCH /api/v1/users/{id}`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput), with every rule that it breaks, for a password of fewer than 8 characters, or without an
    /// upper-case letter, a lower-case letter or a digit; [`Forbidden`](ErrorKind::Forbidden) for users who are neither this one nor
    /// administrators.
    ///
    /// ```
    /// # use determined::{ErrorKind, testing::MockMaster};
    /// # let master = MockMaster::start();
    /// # let client = master.determined();
    /// let user = client.whoami()?;
    /// user.change_password("Correct-horse-9")?;
    /// let error = user.change_password("12345678").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn change_password(&self, new_password: &str) -> Result<()> {
        let action = "change the password of";
        if let Err(error) = check_password(new_password) {
            return Err(error.doing(self.doing(action)));
        }
        let hash = password_hash(new_password);
        self.patch(action, json!({"password": hash.expose(), "isHashed": true}))
    }

    /// Says as whom the user's tasks run on agents: a user and a group of the agents' systems, by their ids and names.
    ///
    /// `PATCH /api/v1/users/{id}`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for an empty name; [`Forbidden`](ErrorKind::Forbidden) for users who are no administrators.
    ///
    /// ```
    /// # use determined::{Determined, testing::MockMaster};
    /// # let master = MockMaster::start();
    /// # let admin = Determined::new(master.login_options().user("admin"))?;
    /// let mut user = admin.create_user("kim", false, "Correct-horse-9")?;
    /// user.link_with_agent(1000, 1000, "kim", "staff")?;
    /// assert_eq!(user.agent_uid, Some(1000));
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn link_with_agent(
        &mut self,
        agent_uid: i32,
        agent_gid: i32,
        agent_user: &str,
        agent_group: &str,
    ) -> Result<()> {
        let action = "set the agent user of";
        name::check(agent_user, "name of the agent's user")
            .and_then(|()| name::check(agent_group, "name of the agent's group"))
            .map_err(|error| error.doing(self.doing(action)))?;
        self.change(
            action,
            json!({"agentUserGroup": {
                "agentUid": agent_uid, "agentGid": agent_gid, "agentUser": agent_user, "agentGroup": agent_group,
            }}),
        )
    }

    /// Takes [`link_with_agent`](Self::link_with_agent) back: the user's tasks run as the cluster's default again.
    ///
    /// `PATCH /api/v1/users/{id}`.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for users who are no administrators.
    ///
    /// ```
    /// # use determined::{Determined, testing::MockMaster};
    /// # let master = MockMaster::start();
    /// # let admin = Determined::new(master.login_options().user("admin"))?;
    /// let mut user = admin.create_user("kim", false, "Correct-horse-9")?;
    /// user.link_with_agent(1000, 1000, "kim", "staff")?;
    /// user.unlink_from_agent()?;
    /// assert_eq!(user.agent_uid, None);
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn unlink_from_agent(&mut self) -> Result<()> {
        self.change(
            "clear the agent user of",
            json!({"agentUserGroup": {
                "agentUid": null, "agentGid": null, "agentUser": null, "agentGroup": null,
            }}),
        )
    }

    fn doing(&self, action: &str) -> String {
        format!("{action} user {:?}", self.username)
    }

    /// Changes something and takes over what the master made of it.
    fn change(&mut self, action: &str, change: Value) -> Result<()> {
        self.patch(action, change)?;
        self.reload()
    }

    fn patch(&self, action: &str, change: Value) -> Result<()> {
        self.session
            .patch(route!("/api/v1/users/{}", self.user_id))
            .doing(self.doing(action))
            .json(&change)
            .send()
    }
}
