//! Tokens: those of logins, and the access tokens that users make for their programs.

use super::failure::{Code, Failure};
use super::http::{Request, Response};
use super::router::{Answer, Call, Route};
use super::state::{State, random_hex};
use super::wire::{self, Pagination, page};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(super) const ROUTES: &[Route] = &[
    Route::get("/api/v1/tokens", list),
    Route::post("/api/v1/tokens", create),
    Route::patch("/api/v1/tokens/{}", patch),
];

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// How long a login lasts, in days.
const LOGIN: i32 = 7;

/// How long an access token lasts, in days, unless its maker says otherwise, and at most.
const ACCESS: i32 = 30;
const LONGEST_ACCESS: i32 = 365;

/// The tokens that were given out.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    by_text: BTreeMap<String, Token>,
    last_id: i32,
}

#[derive(Debug)]
struct Token {
    id: i32,
    user_id: i32,
    created: Timestamp,
    expires: Timestamp,
    /// Nothing for the token of a login.
    access: Option<Access>,
}

#[derive(Debug, Default)]
struct Access {
    description: String,
    revoked: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenOnWire<'a> {
    id: i32,
    user_id: i32,
    #[serde(serialize_with = "wire::serialize_time")]
    expiry: Timestamp,
    #[serde(serialize_with = "wire::serialize_time")]
    created_at: Timestamp,
    token_type: &'static str,
    revoked: bool,
    description: &'a str,
}

impl Token {
    /// As it stands on the wire, if it is an access token.
    fn on_wire(&self) -> Option<TokenOnWire<'_>> {
        let access = self.access.as_ref()?;
        Some(TokenOnWire {
            id: self.id,
            user_id: self.user_id,
            expiry: self.expires,
            created_at: self.created,
            token_type: "TOKEN_TYPE_ACCESS_TOKEN",
            revoked: access.revoked,
            description: &access.description,
        })
    }

    fn is_active(&self, now: Timestamp) -> bool {
        self.expires > now && !self.access.as_ref().is_some_and(|access| access.revoked)
    }
}

impl Tokens {
    fn add(&mut self, user_id: i32, life: SignedDuration, access: Option<Access>) -> (i32, String) {
        self.last_id += 1;
        let id = self.last_id;
        let text = format!("v2.public.{}{}", random_hex::<32>(), random_hex::<32>());
        let created = Timestamp::now();
        let token = Token {
            id,
            user_id,
            created,
            expires: created + life,
            access,
        };
        self.by_text.insert(text.clone(), token);
        (id, text)
    }
}

impl State {
    /// Opens a session and gives its token.
    pub(super) fn start_session(&mut self, user_id: i32) -> String {
        self.tokens.add(user_id, DAY * LOGIN, None).1
    }

    pub(super) fn end_session(&mut self, token: &str) {
        self.tokens.by_text.remove(token);
    }

    /// Makes every token invalid that was given so far.
    pub(super) fn expire_sessions(&mut self) {
        self.tokens.by_text.clear();
    }

    /// Who sends this request.
    pub(super) fn authenticate(&self, request: &Request) -> Result<i32, Failure> {
        let refused = |why: &str| Failure::new(Code::Unauthenticated, why);
        let text = token(request).ok_or_else(|| refused("token missing"))?;
        let invalid = || refused("invalid credentials");
        let token = self.tokens.by_text.get(text).ok_or_else(invalid)?;
        if token.access.as_ref().is_some_and(|access| access.revoked) {
            return Err(refused("user access token revoked"));
        }
        if !token.is_active(Timestamp::now()) {
            return Err(invalid());
        }
        let user = self.users.get(token.user_id).ok_or_else(invalid)?;
        match user.active {
            true => Ok(user.id),
            false => Err(Failure::forbidden("user does not have permission")),
        }
    }
}

/// The token that a request carries, in its header or in its cookie.
pub(super) fn token(request: &Request) -> Option<&str> {
    let bearer = request
        .header("authorization")
        .or_else(|| request.header("grpc-metadata-x-user-token"))
        .map(|value| value.strip_prefix("Bearer ").unwrap_or(value).trim());
    let cookie = || {
        request
            .header("cookie")?
            .split(';')
            .find_map(|pair| pair.trim().strip_prefix("auth="))
    };
    bearer.or_else(cookie)
}

fn create(call: &mut Call<'_>) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Creation {
        user_id: Option<i32>,
        lifespan: Option<String>,
        description: Option<String>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Created {
        token: String,
        token_id: i32,
    }
    let creation: Creation = call.body()?;
    let user = creation.user_id.and_then(|id| call.state.users.get(id));
    let user = user.ok_or_else(|| Failure::not_found("user not found"))?.id;
    if !call.is_admin() {
        return Err(Failure::forbidden(
            "only admin privileged users can create token for own/other users",
        ));
    }
    let life = match creation.lifespan.as_deref() {
        None => DAY * ACCESS,
        Some("-1") => DAY * LONGEST_ACCESS,
        Some(text) => hours(text)?,
    };
    if life > DAY * LONGEST_ACCESS {
        return Err(Failure::invalid(
            "token Lifespan must be less than max token lifespan",
        ));
    }
    let access = Access {
        description: creation.description.unwrap_or_default(),
        revoked: false,
    };
    let (token_id, token) = call.state.tokens.add(user, life, Some(access));
    Ok(Response::json(&Created { token, token_id }))
}

/// The hours of a duration as Go writes it.
fn hours(text: &str) -> Result<SignedDuration, Failure> {
    let life: SignedDuration = text.parse().map_err(|_| {
        Failure::invalid(format!(
            "failed to parse lifespan {text}: time: invalid duration {text:?}"
        ))
    })?;
    match life.is_negative() {
        true => Err(Failure::invalid(
            "lifespan must be a Go-formatted duration string with a positive value",
        )),
        false => Ok(life),
    }
}

fn list(call: &mut Call<'_>) -> Answer {
    let (state, query) = (&*call.state, &call.query);
    let ids = query.ints("tokenIds")?;
    let inactive_too = query.flag("showInactive")? == Some(true);
    let owner = match query.text("username") {
        None => None,
        Some(name) => {
            let mut users = state.users.values();
            let user = users.find(|user| user.username == name);
            Some(
                user.ok_or_else(|| Failure::internal("sql: no rows in result set"))?
                    .id,
            )
        }
    };
    let owner = match owner {
        Some(owner) if owner != call.caller && !call.is_admin() => {
            return Err(Failure::forbidden(
                "only admin privileged users can view other users",
            ));
        }
        None if !call.is_admin() => Some(call.caller),
        owner => owner,
    };
    let now = Timestamp::now();
    let mut tokens: Vec<TokenOnWire<'_>> = state
        .tokens
        .by_text
        .values()
        .filter(|token| inactive_too || token.is_active(now))
        .filter_map(Token::on_wire)
        .filter(|token| owner.is_none_or(|owner| token.user_id == owner))
        .filter(|token| ids.is_empty() || ids.contains(&i64::from(token.id)))
        .collect();
    tokens.sort_by_key(|token| token.id);
    let descending = query.descending();
    match query.sort_key("sortBy") {
        None | Some("TOKEN_TYPE") => {}
        Some("USER_ID") => tokens.sort_by_key(|token| token.user_id),
        Some("EXPIRY") => tokens.sort_by_key(|token| token.expiry),
        Some("CREATED_AT") => tokens.sort_by_key(|token| token.created_at),
        Some("REVOKED") => tokens.sort_by_key(|token| token.revoked),
        Some("DESCRIPTION") => tokens.sort_by_key(|token| token.description),
        Some(other) => return Err(wire::unknown_sort_key(other, "GetAccessTokensRequest")),
    }
    if descending {
        tokens.reverse();
    }
    let (token_info, pagination) = page(tokens, query)?;
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Listed<'a> {
        token_info: Vec<TokenOnWire<'a>>,
        pagination: Pagination,
    }
    Ok(Response::json(&Listed {
        token_info,
        pagination,
    }))
}

fn patch(call: &mut Call<'_>) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Patch {
        description: Option<String>,
        set_revoked: Option<bool>,
    }
    let patch: Patch = call.body()?;
    let id = call.id(0, "token_id")?;
    let is_admin = call.is_admin();
    let mut tokens = call.state.tokens.by_text.values_mut();
    let token = tokens
        .find(|token| token.id == id)
        .ok_or_else(|| Failure::not_found(format!("Token with id: {{{id}}} not found")))?;
    if !is_admin {
        return Err(Failure::forbidden(
            "only admin privileged users can update access tokens",
        ));
    }
    let is_active = token.is_active(Timestamp::now());
    let access = token
        .access
        .as_mut()
        .ok_or_else(|| Failure::internal("sql: no rows in result set"))?;
    if !is_active {
        return Err(Failure::internal(format!(
            "unable to update inactive token with ID {id}"
        )));
    }
    if let Some(description) = patch.description {
        access.description = description;
    }
    access.revoked = patch.set_revoked == Some(true);
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Patched<'a> {
        token_info: Option<TokenOnWire<'a>>,
    }
    Ok(Response::json(&Patched {
        token_info: token.on_wire(),
    }))
}
