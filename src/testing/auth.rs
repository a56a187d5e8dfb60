//! Login and logout.

use super::failure::{Code, Failure};
use super::http::Response;
use super::router::{Answer, Call, Route};
use super::tokens::token;
use super::users::password_hash;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub(super) const ROUTES: &[Route] = &[
    Route::post("/api/v1/auth/login", login).open(),
    Route::post("/api/v1/auth/logout", logout),
    Route::get("/api/v1/auth/user", super::users::me),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Login {
    username: Option<String>,
    password: Option<String>,
    is_hashed: Option<bool>,
}

fn login(call: &mut Call<'_>) -> Answer {
    let login: Login = call.body()?;
    let username = login.username.unwrap_or_default();
    if username.is_empty() {
        return Err(Failure::invalid("missing argument: username"));
    }
    let password = login.password.unwrap_or_default();
    let hash = if login.is_hashed == Some(true) {
        password
    } else {
        password_hash(&password)
    };
    let now = call.state.time.stamp();
    let refused = Failure::new(Code::Unauthenticated, "invalid credentials");
    let user = call
        .state
        .users
        .values_mut()
        .find(|user| user.username == username)
        .ok_or(refused.clone())?;
    if user.password_hash.as_deref() != Some(&hash) {
        return Err(refused);
    }
    if !user.active {
        return Err(Failure::forbidden("user is not active"));
    }
    user.last_auth_at = Some(now);
    let user = user.clone();
    #[derive(Serialize)]
    struct LoggedIn {
        token: String,
        user: super::users::User,
    }
    let token = call.state.start_session(user.id);
    let cookie = format!("auth={token}; Path=/");
    Ok(Response::json(&LoggedIn { token, user }).with_header("set-cookie", cookie))
}

fn logout(call: &mut Call<'_>) -> Answer {
    if let Some(token) = token(call.request) {
        call.state.end_session(token);
    }
    Ok(Response::json(&json!({})))
}
