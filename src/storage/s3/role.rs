//! Roles: trading what somebody is for credentials of a role, at Amazon's token service (STS).

use jiff::Timestamp;

use super::super::remote::{Call, Remote};
use super::super::xml::Element;
use super::credentials::{Credentials, ask};
use super::profile::Profile;
use super::sign::{self, Scope, Signable};
use super::{Endpoint, configured_endpoint};
use crate::error::{Error, ErrorKind, Result};
use crate::session::environment::Environment;
use crate::session::{Method, Secret, encode};

/// A role, and where it is asked for.
pub(super) struct Role {
    arn: String,
    session_name: String,
    external_id: Option<String>,
    duration: Option<String>,
    region: String,
    sts: Endpoint,
}

/// What is asked for, in errors.
const WHAT: &str = "the credentials of the role";

impl Role {
    pub(super) fn new(
        arn: &str,
        environment: &Environment,
        profile: &Profile,
        region: &str,
    ) -> Result<Self> {
        let session_name = environment
            .get("AWS_ROLE_SESSION_NAME")
            .or_else(|| profile.get("role_session_name"))
            .unwrap_or("determined-rust");
        let setting = |name| profile.get(name).map(str::to_owned);
        let sts = match configured_endpoint(environment, profile, "sts") {
            Some(url) => Endpoint::parse(url)?,
            None => Endpoint::of_amazon("sts", region),
        };
        Ok(Self {
            arn: arn.to_owned(),
            session_name: session_name.to_owned(),
            external_id: setting("external_id"),
            duration: setting("duration_seconds"),
            region: region.to_owned(),
            sts,
        })
    }

    /// The role's credentials, for a token of another authority.
    pub(super) fn for_token(&self, remote: &Remote, token: &Secret) -> Result<Credentials> {
        let body = || {
            let token = encode(&token.expose());
            self.body("AssumeRoleWithWebIdentity") + "&WebIdentityToken=" + &token
        };
        let answer = ask(remote, &|| Ok(self.call(body(), None)), WHAT)?;
        credentials(&answer, "AssumeRoleWithWebIdentityResult")
    }

    /// The role's credentials, for other credentials.
    pub(super) fn for_credentials(
        &self,
        remote: &Remote,
        given: &Credentials,
    ) -> Result<Credentials> {
        let body = || {
            let id = self.external_id.as_ref();
            let id = id.map_or_else(String::new, |id| format!("&ExternalId={}", encode(id)));
            self.body("AssumeRole") + &id
        };
        let answer = ask(remote, &|| Ok(self.call(body(), Some(given))), WHAT)?;
        credentials(&answer, "AssumeRoleResult")
    }

    fn body(&self, action: &str) -> String {
        let duration = self.duration.as_ref();
        let duration = duration.map_or_else(String::new, |seconds| {
            format!("&DurationSeconds={}", encode(seconds))
        });
        format!(
            "Action={action}&Version=2011-06-15&RoleArn={}&RoleSessionName={}{duration}",
            encode(&self.arn),
            encode(&self.session_name)
        )
    }

    /// A request to the token service, signed by whoever has credentials to sign with.
    fn call(&self, body: String, signer: Option<&Credentials>) -> Call {
        let Endpoint {
            scheme,
            authority,
            path,
        } = &self.sts;
        let path = format!("{path}/");
        let headers = signer.map(|signer| {
            let signable = Signable {
                method: "POST",
                host: authority,
                path: &path,
                query: &[],
                body: body.as_bytes(),
            };
            let scope = Scope {
                service: "sts",
                region: &self.region,
                time: &Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string(),
            };
            sign::headers(&signable, &scope, signer)
        });
        let call = Call {
            method: Method::Post,
            body,
            ..Call::get(format!("{scheme}://{authority}{path}"))
        }
        .header("content-type", "application/x-www-form-urlencoded");
        headers
            .into_iter()
            .flatten()
            .fold(call, |call, (name, value)| call.header(name, value))
    }
}

/// The credentials in an answer of the token service, in the element of this name.
fn credentials(answer: &str, result: &str) -> Result<Credentials> {
    let answer = Element::parse(answer)?;
    let credentials = answer
        .child(result)
        .and_then(|result| result.child("Credentials"));
    let field = |name| credentials.and_then(|credentials| credentials.text_of(name));
    let (Some(access_key), Some(secret_key)) = (field("AccessKeyId"), field("SecretAccessKey"))
    else {
        return Err(Error::new(
            ErrorKind::InvalidResponse,
            "there are no credentials of the role in the answer",
        ));
    };
    let expires = field("Expiration").and_then(|time| time.parse().ok());
    Ok(Credentials::new(access_key, secret_key, field("SessionToken")).ending(expires))
}
