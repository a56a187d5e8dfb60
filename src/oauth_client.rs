//! OAuth clients of the Enterprise Edition: [`OauthClient`], and the calls that list, add and remove them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::name;
use crate::session::{Session, route};

/// An application that may log users in through this cluster. Enterprise Edition.
///
/// Comes from [`Determined::add_oauth_client`](crate::Determined::add_oauth_client) and
/// [`list_oauth_clients`](crate::Determined::list_oauth_clients).
///
/// ```no_run
/// # let client = determined::Determined::new(determined::LoginOptions::new())?;
/// for app in client.list_oauth_clients()? {
///     println!("{} {} {}", app.id, app.name, app.domain);
/// }
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Clone, Serialize)]
#[non_exhaustive]
#[doc(alias = "Oauth2ScimClient")]
pub struct OauthClient {
    /// The id.
    pub id: String,
    /// The secret. Known only to the call that added the client: the master never shows it again.
    pub secret: Option<String>,
    /// The domain of the application.
    pub domain: String,
    /// The name of the application.
    pub name: String,
}

/// Does not show the secret.
impl fmt::Debug for OauthClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthClient")
            .field("id", &self.id)
            .field("secret", &self.secret.as_ref().map(|_| "[hidden]"))
            .field("domain", &self.domain)
            .field("name", &self.name)
            .finish()
    }
}

#[derive(Deserialize)]
struct OauthClientBody {
    id: Value,
    #[serde(default)]
    secret: Option<Value>,
    #[serde(default)]
    domain: String,
    #[serde(default)]
    name: String,
}

pub(crate) fn list(session: &Session) -> Result<Vec<OauthClient>> {
    let clients: Vec<OauthClientBody> = session
        .get("/oauth2/clients")
        .doing("list OAuth clients")
        .fetch()
        .map_err(enterprise_only)?;
    let clients = clients.into_iter().map(|client| OauthClient {
        id: text(client.id),
        secret: None,
        domain: client.domain,
        name: client.name,
    });
    Ok(clients.collect())
}

pub(crate) fn add(session: &Session, domain: &str, name: &str) -> Result<OauthClient> {
    let doing = format!("add OAuth client {name:?}");
    name::check(domain, "domain of the client")
        .and_then(|()| name::check(name, "name of the client"))
        .map_err(|error| error.doing(doing.clone()))?;
    let client: OauthClientBody = session
        .post("/oauth2/clients")
        .doing(doing)
        .json(&json!({"domain": domain, "name": name}))
        .fetch()
        .map_err(enterprise_only)?;
    Ok(OauthClient {
        id: text(client.id),
        secret: client.secret.map(text),
        domain: domain.to_owned(),
        name: name.to_owned(),
    })
}

pub(crate) fn remove(session: &Session, client_id: &str) -> Result<()> {
    let doing = format!("remove OAuth client {client_id:?}");
    if let Err(error) = name::check(client_id, "id of the client") {
        return Err(error.doing(doing));
    }
    // The answer may be empty, which is no JSON.
    match session
        .delete(route!("/oauth2/clients/{}", client_id))
        .doing(doing)
        .open()
    {
        Ok(_) => Ok(()),
        // Only the client is missing; a master without OAuth does not know the route.
        Err(error) if error.is_not_found() => Err(error),
        Err(error) => Err(enterprise_only(error)),
    }
}

/// Ids and secrets are text, though masters may send them as numbers.
fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// A master that does not know the route is of the open-source edition.
fn enterprise_only(error: Error) -> Error {
    match error.status() {
        Some(404) => error
            .with_kind(ErrorKind::EnterpriseOnly)
            .with_hint("OAuth clients need the Enterprise Edition of the master"),
        _ => error,
    }
}
