//! Users.

use super::failure::Failure;
use super::http::Response;
use super::router::{Answer, Call, Route};
use super::state::{State, hex};
use super::wire::{self, page};
use jiff::Timestamp;
use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::cmp::Ordering;

pub(super) const ROUTES: &[Route] = &[
    Route::get("/api/v1/me", me),
    Route::get("/api/v1/users", list),
    Route::post("/api/v1/users", create),
    Route::get("/api/v1/users/setting", settings),
    Route::get("/api/v1/users/{}", get),
    Route::patch("/api/v1/users/{}", patch),
    Route::post("/api/v1/users/{}/password", set_password),
    Route::get("/api/v1/users/{}/by-username", get_by_name),
];

/// The constant that clients put before a password when they hash it.
const SALT: &str = "GubPEmmotfiK9TMD6Zdw";

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    pub(super) id: i32,
    pub(super) username: String,
    pub(super) admin: bool,
    pub(super) active: bool,
    agent_user_group: Option<AgentUserGroup>,
    pub(super) display_name: String,
    #[serde(serialize_with = "wire::serialize_time")]
    modified_at: Timestamp,
    remote: bool,
    #[serde(
        serialize_with = "wire::serialize_optional_time",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) last_auth_at: Option<Timestamp>,
    /// As clients send it; nothing for a remote user, who cannot log in with a password.
    #[serde(skip)]
    pub(super) password_hash: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct AgentUserGroup {
    agent_uid: i32,
    agent_gid: i32,
    agent_user: String,
    agent_group: String,
}

/// What a client sends for a password; the blank one stays blank.
pub(super) fn password_hash(password: &str) -> String {
    if password.is_empty() {
        return String::new();
    }
    let salted = format!("{SALT}{password}");
    hex(digest::digest(&digest::SHA512, salted.as_bytes()).as_ref())
}

impl State {
    /// Adds a user, unless there is one of that name.
    pub(super) fn add_user(
        &mut self,
        username: &str,
        admin: bool,
        password_hash: Option<String>,
    ) -> Result<&mut User, Failure> {
        if self.users.values().any(|user| user.username == username) {
            self.users.skip();
            return Err(Failure::internal("code=400, message=user already exists"));
        }
        let modified_at = self.time.stamp();
        Ok(self.users.insert(|id| User {
            id,
            username: username.to_owned(),
            admin,
            active: true,
            agent_user_group: None,
            display_name: String::new(),
            modified_at,
            remote: password_hash.is_none(),
            last_auth_at: None,
            password_hash,
        }))
    }

    /// The name of the user with that id.
    pub(super) fn username(&self, id: i32) -> &str {
        self.users.get(id).map_or("", |user| &user.username)
    }
}

/// The name that is shown.
pub(super) fn shown(user: &User) -> &str {
    match user.display_name.as_str() {
        "" => &user.username,
        name => name,
    }
}

#[derive(Serialize)]
struct UserAnswer<'a> {
    user: &'a User,
}

fn answer(user: Option<&User>) -> Answer {
    let user = user.ok_or_else(|| Failure::not_found("user not found"))?;
    Ok(Response::json(&UserAnswer { user }))
}

pub(super) fn me(call: &mut Call<'_>) -> Answer {
    answer(call.state.users.get(call.caller))
}

fn get(call: &mut Call<'_>) -> Answer {
    answer(call.state.users.get(call.id(0, "user_id")?))
}

fn get_by_name(call: &mut Call<'_>) -> Answer {
    let mut users = call.state.users.values();
    answer(users.find(|user| user.username == call.text(0)))
}

fn settings(_: &mut Call<'_>) -> Answer {
    Ok(Response::json(&json!({"settings": []})))
}

fn list(call: &mut Call<'_>) -> Answer {
    let (active, admin) = (call.query.flag("active")?, call.query.flag("admin")?);
    let name = call.query.text("name").unwrap_or_default();
    let mut users: Vec<&User> = call
        .state
        .users
        .values()
        .filter(|user| active.is_none_or(|active| user.active == active))
        .filter(|user| admin.is_none_or(|admin| user.admin == admin))
        .filter(|user| {
            wire::ilike_contains(&user.username, name)
                || wire::ilike_contains(&user.display_name, name)
        })
        .collect();
    // What is missing comes behind all else; of equals the lower id comes first, whichever way the list goes.
    let order: fn(&User, &User) -> Ordering = match call.query.sort_key("sortBy") {
        None | Some("ID") => |a, b| a.id.cmp(&b.id),
        Some("DISPLAY_NAME") => |a, b| {
            let key = |user: &User| (user.display_name.is_empty(), user.display_name.clone());
            key(a).cmp(&key(b))
        },
        Some("USER_NAME") => |a, b| a.username.cmp(&b.username),
        Some("ADMIN") => |a, b| a.admin.cmp(&b.admin),
        Some("ACTIVE") => |a, b| a.active.cmp(&b.active),
        Some("MODIFIED_TIME") => |a, b| a.modified_at.cmp(&b.modified_at),
        Some("NAME") => |a, b| shown(a).cmp(shown(b)),
        Some("LAST_AUTH_TIME") => |a, b| {
            let key = |user: &User| user.last_auth_at.unwrap_or(Timestamp::MAX);
            key(a).cmp(&key(b))
        },
        Some("REMOTE") => |a, b| a.remote.cmp(&b.remote),
        Some(other) => return Err(wire::unknown_sort_key(other, "GetUsersRequest")),
    };
    let descending = call.query.descending();
    users.sort_by(|a, b| match descending {
        true => order(b, a),
        false => order(a, b),
    });
    let (users, pagination) = page(users, &call.query)?;
    #[derive(Serialize)]
    struct Listed<'a> {
        users: Vec<&'a User>,
        pagination: wire::Pagination,
    }
    Ok(Response::json(&Listed { users, pagination }))
}

/// What may be said of a user, in a creation or in a change.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Said {
    username: Option<String>,
    display_name: Option<String>,
    admin: Option<bool>,
    active: Option<bool>,
    remote: Option<bool>,
    agent_user_group: Option<AgentUserGroupSaid>,
    password: Option<String>,
    is_hashed: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AgentUserGroupSaid {
    agent_uid: Option<i32>,
    agent_gid: Option<i32>,
    agent_user: Option<String>,
    agent_group: Option<String>,
}

impl AgentUserGroupSaid {
    fn checked(self) -> Result<AgentUserGroup, Failure> {
        match (
            self.agent_uid,
            self.agent_gid,
            self.agent_user,
            self.agent_group,
        ) {
            (Some(_), Some(_), Some(user), Some(group)) if user.is_empty() || group.is_empty() => {
                Err(Failure::invalid(
                    "agentUser and agentGroup names cannot be empty",
                ))
            }
            (Some(agent_uid), Some(agent_gid), Some(agent_user), Some(agent_group)) => {
                Ok(AgentUserGroup {
                    agent_uid,
                    agent_gid,
                    agent_user,
                    agent_group,
                })
            }
            // All four absent: the link is taken away, which the master tells as zeros.
            (None, None, None, None) => Ok(AgentUserGroup {
                agent_uid: 0,
                agent_gid: 0,
                agent_user: String::new(),
                agent_group: String::new(),
            }),
            _ => Err(Failure::invalid(
                "agentUid, agentGid, agentUser and agentGroup cannot be empty",
            )),
        }
    }
}

fn create(call: &mut Call<'_>) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Creation {
        user: Option<Said>,
        password: Option<String>,
        is_hashed: Option<bool>,
    }
    let creation: Creation = call.body()?;
    let Some(said) = creation.user else {
        return Err(Failure::invalid("must specify user to create"));
    };
    let password = creation.password.unwrap_or_default();
    let remote = said.remote.unwrap_or_default();
    if remote && !password.is_empty() {
        return Err(Failure::invalid("cannot set password for remote user"));
    }
    let admin = said.admin.unwrap_or_default();
    let username = clean_name(&said.username.unwrap_or_default(), 2, admin, "")?;
    let display_name = clean_name(&said.display_name.unwrap_or_default(), 0, admin, "")?;
    let group = said
        .agent_user_group
        .map(AgentUserGroupSaid::checked)
        .transpose()?;
    if !call.is_admin() {
        return Err(Failure::forbidden(
            "only admin privileged users can create users",
        ));
    }
    let hash = match creation.is_hashed {
        _ if remote => None,
        Some(true) => Some(password),
        _ => Some(password_hash(&password)),
    };
    let user = call.state.add_user(&username, admin, hash)?;
    user.active = said.active.unwrap_or_default();
    user.display_name = display_name;
    user.agent_user_group = group;
    Ok(Response::json(&UserAnswer { user }))
}

fn patch(call: &mut Call<'_>) -> Answer {
    let id = call.id(0, "user_id")?;
    let said: Said = call.body()?;
    let mut user = call
        .state
        .users
        .get(id)
        .cloned()
        .ok_or_else(|| Failure::not_found("user not found"))?;
    let may_change_others = call.is_admin();
    let own = id == call.caller;

    for (changes, what) in [
        (
            said.admin.is_some(),
            "only admin privileged users can update users",
        ),
        (
            said.remote.is_some(),
            "only admin privileged users can update other users",
        ),
        (
            said.active.is_some(),
            "only admin privileged users can update users",
        ),
        (
            said.username
                .as_ref()
                .is_some_and(|name| *name != user.username)
                && !own,
            "only admin privileged users can update other users",
        ),
        (
            said.agent_user_group.is_some(),
            "only admin privileged users can update users",
        ),
        (
            said.display_name.is_some() && !own,
            "only admin privileged users can set another user's display name",
        ),
        (
            said.password.is_some() && !own,
            "only admin privileged users can change other user's passwords",
        ),
    ] {
        if changes && !may_change_others {
            return Err(Failure::forbidden(what));
        }
    }

    if let Some(admin) = said.admin {
        user.admin = admin;
    }
    if let Some(remote) = said.remote.filter(|remote| *remote != user.remote) {
        user.remote = remote;
        user.password_hash = (!remote).then(String::new);
    }
    if let Some(active) = said.active {
        user.active = active;
    }
    if let Some(name) = said.username.filter(|name| *name != user.username) {
        if user.remote {
            return Err(Failure::invalid("Cannot set username for remote users"));
        }
        let name = clean_name(&name, 2, user.admin, &user.username)?;
        if call
            .state
            .users
            .values()
            .any(|other| other.username == name)
        {
            return Err(Failure::internal(format!(
                "error setting active status of {name:?}: ERROR: duplicate key value violates unique constraint \
                 \"users_username_key\" (SQLSTATE 23505)"
            )));
        }
        user.username = name;
    }
    if let Some(name) = said.display_name.filter(|name| *name != user.display_name) {
        let name = clean_name(&name, 0, user.admin, &user.username)?;
        let taken = call.state.users.values().any(|other| {
            other.id != id
                && [&other.username, &other.display_name]
                    .into_iter()
                    .any(|other| other.eq_ignore_ascii_case(&name))
        });
        if taken && !name.is_empty() {
            return Err(Failure::invalid(format!(
                "can not change display name to {name} found a similar username or display name"
            )));
        }
        user.display_name = name;
    }
    if let Some(password) = said.password {
        if user.remote {
            return Err(Failure::invalid("Cannot set password for remote users"));
        }
        user.password_hash = Some(match said.is_hashed {
            Some(true) => password,
            _ => password_hash(&password),
        });
    }
    if let Some(group) = said.agent_user_group {
        user.agent_user_group = Some(group.checked()?);
    }
    user.modified_at = call.state.time.stamp();
    let response = Response::json(&UserAnswer { user: &user });
    if let Some(row) = call.state.users.get_mut(id) {
        *row = user;
    }
    Ok(response)
}

fn set_password(call: &mut Call<'_>) -> Answer {
    let id = call.id(0, "user_id")?;
    // The body is the password alone, as a JSON string.
    let password: String = call.body()?;
    if id != call.caller && !call.is_admin() {
        return Err(Failure::forbidden(
            "only admin privileged users can change other user's passwords",
        ));
    }
    let now = call.state.time.stamp();
    if let Some(user) = call.state.users.get_mut(id) {
        user.password_hash = Some(password_hash(&password));
        user.modified_at = now;
    }
    answer(call.state.users.get(id))
}

/// A user name or display name without blanks around it, if it may be one.
fn clean_name(name: &str, shortest: usize, admin: bool, present: &str) -> Result<String, Failure> {
    let name = name.trim();
    if name
        .chars()
        .any(|letter| !letter.is_ascii_graphic() && !letter.is_ascii_whitespace())
    {
        return Err(Failure::invalid(
            "Display name and username cannot contain non-ASCII characters.",
        ));
    }
    if name.len() < shortest {
        return Err(Failure::invalid(
            "Display name or username value has minimum length.",
        ));
    }
    if !admin && name.eq_ignore_ascii_case("admin") {
        return Err(Failure::invalid("Non-admin user cannot be renamed 'admin'"));
    }
    if present != "determined" && name.eq_ignore_ascii_case("determined") {
        return Err(Failure::invalid("User cannot be renamed 'determined'"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hashed_as_clients_hash_them() {
        assert_eq!(password_hash(""), "");
        assert_eq!(
            password_hash("A05850A9-bcfe-4ea6-8363-7350ee604be7"),
            "c7e7c0ffdcdb574914b3c36dc6deb37a37e5c36f25dabef323cf470041c122470b3beab157cb8c1624cab6dd9d8e27dd242a128e5899a5c8b7fb7a1b7c521778"
        );
    }

    #[test]
    fn names_are_checked() {
        assert_eq!(clean_name(" kim ", 2, false, ""), Ok("kim".into()));
        assert!(clean_name("k", 2, false, "").is_err());
        assert!(clean_name("kïm", 2, false, "").is_err());
        assert!(clean_name("Admin", 2, false, "").is_err());
        assert!(clean_name("Determined", 2, true, "kim").is_err());
    }
}
