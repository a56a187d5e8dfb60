//! The master's URL in its one canonical form, which is also the key of the token and certificate stores.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::environment::Environment;
use crate::error::{Error, Result};

/// Where a master is looked for when nothing names one.
const DEFAULT_MASTER: &str = "localhost:8080";

/// A canonical master URL: `scheme://host:port`, and a path prefix where a proxy puts the master under one.
///
/// Scheme and host are in lower case, the port is always there, no slash stands at the end, and there is no user, password,
/// query or fragment. Parsing a canonical URL gives the same URL again.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct MasterUrl {
    text: String,
    https: bool,
    address: HostPort,
    /// Where the path prefix begins in `text`.
    path_at: usize,
}

impl MasterUrl {
    /// Reads what a person would write: `host`, `host:port` or a whole `http` or `https` URL. The port is 80 for `http://…`,
    /// 443 for `https://…` and 8080 where no scheme is given. Blanks around it are ignored.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if this cannot be the URL of a master.
    pub(crate) fn parse(given: &str) -> Result<Self> {
        parse(given.trim()).map_err(|problem| {
            let shown = shown(given.trim());
            Error::invalid_input(format!("{shown} cannot be a master URL: {problem}"))
        })
    }

    /// The URL given by the caller, else by `DET_MASTER`, else by `DET_MASTER_ADDR`, else `localhost:8080`. An empty one counts
    /// as not given.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the first one that is given cannot be the URL of a master.
    pub(crate) fn resolve(explicit: Option<&str>, environment: &Environment) -> Result<Self> {
        if let Some(given) = explicit.filter(|given| !given.is_empty()) {
            return Self::parse(given);
        }
        match environment.master() {
            Some((variable, given)) => {
                Self::parse(given).map_err(|error| error.doing(format!("use {variable}")))
            }
            None => Self::parse(DEFAULT_MASTER),
        }
    }

    /// The canonical form.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the connection is encrypted.
    pub(crate) fn is_https(&self) -> bool {
        self.https
    }

    /// The host name or address; an IPv6 address without its brackets.
    pub(crate) fn host(&self) -> &str {
        &self.address.host
    }

    /// The port, which is never 0.
    pub(crate) fn port(&self) -> u16 {
        self.address.port
    }

    /// The path prefix without a slash at its end: `/det`, or nothing.
    pub(crate) fn path(&self) -> &str {
        &self.text[self.path_at..]
    }

    /// The URL of a route of this master, query included. Slashes at the start of `route` make no difference.
    pub(crate) fn join(&self, route: &str) -> String {
        format!("{}/{}", self.text, route.trim_start_matches('/'))
    }
}

impl fmt::Display for MasterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for MasterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

fn parse(text: &str) -> Result<MasterUrl, String> {
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("it holds a blank or control character".into());
    }
    let (https, default_port, rest) = match text.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => match &*scheme.to_ascii_lowercase() {
            "http" => (false, 80, rest),
            "https" => (true, 443, rest),
            _ => return Err("its scheme is neither http nor https".into()),
        },
        _ => (false, 8080, text),
    };
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, authority) = authority.rsplit_once('@').unwrap_or(("", authority));
    if !user.is_empty() && user != ":" {
        return Err("it holds a user name or password, which belong to the login".into());
    }
    if !query.is_empty() || !fragment.is_empty() {
        return Err("it holds a query or fragment".into());
    }
    if default_port == 8080 && lacks_slashes(authority) {
        return Err("two slashes are missing after its scheme".into());
    }
    let address = HostPort::parse(authority, default_port)?;
    let path = path.trim_end_matches('/');
    if let Some(odd) = path.chars().find(|&c| !is_path_char(c)) {
        return Err(format!("its path holds the character {odd:?}"));
    }

    let scheme = if https { "https" } else { "http" };
    let mut text = format!("{scheme}://{address}");
    let path_at = text.len();
    text.push_str(path);
    Ok(MasterUrl {
        text,
        https,
        address,
        path_at,
    })
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// Whether this is `http:host` or the start of `http:/host`, and not the port of a host named `http`.
fn lacks_slashes(authority: &str) -> bool {
    authority.split_once(':').is_some_and(|(host, port)| {
        (host.eq_ignore_ascii_case("http") || host.eq_ignore_ascii_case("https"))
            && (port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()))
    })
}

/// What RFC 3986 allows in a path, but for `;`: the Python SDK cuts the path there, so the two would not agree on the URL.
fn is_path_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~%!$&'()*+,=:@/".contains(c)
}

/// The part of a refused URL that a message may show: a password stands before an `@`, a token may be in the query.
fn shown(given: &str) -> String {
    if given.contains('@') {
        return "this".into();
    }
    let plain = given.split(['?', '#']).next().unwrap_or_default();
    format!("{plain:?}")
}

/// The host and port of a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct HostPort {
    /// In lower case; an IPv6 address in its shortest form and without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl HostPort {
    /// Reads `host`, `host:port`, `[IPv6]` or `[IPv6]:port`; the error is what is wrong, in words.
    pub(super) fn parse(text: &str, default_port: u16) -> Result<Self, String> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (literal, port) = rest
                    .split_once(']')
                    .ok_or("the bracket of its IPv6 address is not closed")?;
                let address: Ipv6Addr = literal
                    .parse()
                    .map_err(|_| "what stands in brackets is not an IPv6 address")?;
                let port = match port.strip_prefix(':') {
                    None if !port.is_empty() => {
                        return Err("something other than a port follows its IPv6 address".into());
                    }
                    port => port,
                };
                (address.to_string(), port)
            }
            None if text.parse::<Ipv6Addr>().is_ok() => {
                return Err(format!("an IPv6 address needs brackets: [{text}]"));
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host_name(host)?, Some(port)),
                None => (host_name(text)?, None),
            },
        };
        let port = match port {
            None | Some("") => default_port,
            Some(digits) => parse_port(digits)?,
        };
        Ok(Self { host, port })
    }

    /// Whether this names the machine itself.
    pub(super) fn is_loopback(host: &str) -> bool {
        match host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => host == "localhost" || host.ends_with(".localhost"),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

fn host_name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("it has no host name".into());
    }
    if !text.is_ascii() {
        return Err(
            "its host name is not ASCII; write an international name in its xn-- form".into(),
        );
    }
    match text
        .chars()
        .find(|&c| !c.is_ascii_alphanumeric() && !"-._".contains(c))
    {
        Some(odd) => Err(format!("its host name holds the character {odd:?}")),
        None => Ok(text.to_ascii_lowercase()),
    }
}

fn parse_port(digits: &str) -> Result<u16, String> {
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("its port is not a number".into());
    }
    digits
        .parse()
        .ok()
        .filter(|&port| port != 0)
        .ok_or_else(|| "its port is not between 1 and 65535".into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    /// Inputs on which this differs from the Python SDK on purpose; `None` is a refusal.
    const DIFFERENT: [(&str, Option<&str>); 9] = [
        ("http://[::1]:8080", Some("http://[::1]:8080")),
        ("[::1]:9", Some("http://[::1]:9")),
        ("HTTP://host", Some("http://host:80")),
        ("ftp://host", None),
        ("http://host ", Some("http://host:80")),
        (" http://host", Some("http://host:80")),
        ("http://host:0", None),
        ("http://host/x;y", None),
        ("http://bücher.de", None),
    ];

    fn canonical(given: &str) -> Option<String> {
        match MasterUrl::parse(given) {
            Ok(url) => Some(url.as_str().to_owned()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                None
            }
        }
    }

    #[test]
    fn the_canonical_form_is_that_of_the_python_sdk() {
        #[derive(serde::Deserialize)]
        struct Case {
            input: String,
            python: Option<String>,
        }
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../tests/vectors/master_url.json")).unwrap();
        let mut differences = 0;
        for case in cases {
            let ours = canonical(&case.input);
            match DIFFERENT.iter().find(|(input, _)| *input == case.input) {
                Some((_, expected)) => {
                    differences += 1;
                    assert_eq!(ours.as_deref(), *expected, "{:?}", case.input);
                    assert_ne!(ours, case.python, "{:?} does not differ", case.input);
                }
                None => assert_eq!(ours, case.python, "{:?}", case.input),
            }
        }
        assert_eq!(differences, DIFFERENT.len());
    }

    #[test]
    fn further_forms_are_read_as_a_person_means_them() {
        for (given, expected) in [
            ("Https://host:1", "https://host:1"),
            ("\t host \n", "http://host:8080"),
            ("http://:@host", "http://host:80"),
            ("http://host#", "http://host:80"),
            ("https://[2001:DB8:0::1]/x/", "https://[2001:db8::1]:443/x"),
            ("http://[::ffff:10.0.0.1]", "http://[::ffff:10.0.0.1]:80"),
            ("http://host//a", "http://host:80//a"),
            ("http://host/a%20b/@c:d", "http://host:80/a%20b/@c:d"),
            ("http:8081", "http://http:8081"),
            ("my_host.", "http://my_host.:8080"),
            ("host/a://b", "http://host:8080/a://b"),
        ] {
            assert_eq!(canonical(given).as_deref(), Some(expected), "{given:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_master_is_refused() {
        for given in [
            "http://ho\tst",
            "http://host\n/x",
            "http://ho st",
            "http:/host",
            "HTTPS:host",
            "http:",
            "///x",
            "://host",
            "ws://host",
            "file:///etc/passwd",
            "http://host:+5",
            "http://host:1_0",
            "http://host:99999999999999999999",
            "http://host:٣",
            "http://host;p=1",
            "http://host\\x",
            "http://℀",
            "http://ho%73t",
            "http://[::1]x",
            "http://[::1]:0",
            "http://[fe80::1%25eth0]",
            "http://[host]",
            "http://host/ä",
            "http://host/<x>",
            "http://host?#f",
        ] {
            assert_eq!(canonical(given), None, "{given:?}");
        }
    }

    #[test]
    fn the_parts_can_be_asked_for() {
        let url = MasterUrl::parse("https://[::1]:8443/det/").unwrap();
        assert_eq!(
            (url.is_https(), url.host(), url.port(), url.path()),
            (true, "::1", 8443, "/det")
        );
        assert_eq!(
            url.join("/api/v1/me?x=1"),
            "https://[::1]:8443/det/api/v1/me?x=1"
        );
        let url = MasterUrl::parse("m").unwrap();
        assert_eq!((url.path(), &*url.join("info")), ("", "http://m:8080/info"));
    }

    #[test]
    fn the_callers_url_comes_first_and_the_local_master_last() {
        let environment = Environment::from_pairs([("DET_MASTER", "a"), ("DET_MASTER_ADDR", "b")]);
        let only_address = Environment::from_pairs([("DET_MASTER", ""), ("DET_MASTER_ADDR", "b")]);
        for (explicit, environment, expected) in [
            (Some("c"), &environment, "http://c:8080"),
            (Some(""), &environment, "http://a:8080"),
            (None, &only_address, "http://b:8080"),
            (None, &Environment::default(), "http://localhost:8080"),
        ] {
            let url = MasterUrl::resolve(explicit, environment).unwrap();
            assert_eq!(url.as_str(), expected);
        }
    }

    #[test]
    fn a_refusal_names_the_variable_and_hides_what_is_secret() {
        let environment = Environment::from_pairs([("DET_MASTER", "ftp://host?token=s3cret")]);
        let error = MasterUrl::resolve(None, &environment).unwrap_err();
        assert_eq!(
            error.to_string(),
            "could not use DET_MASTER: \"ftp://host\" cannot be a master URL: its scheme is neither http nor https"
        );
        for given in [
            "http://kim:s3cret@host",
            "http://kim:a#s3cret@host",
            "x y@s3cret",
        ] {
            let error = MasterUrl::parse(given).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_a_canonical_url_is_a_fixed_point(
            given in prop_oneof![
                any::<String>(),
                "(https?://|HTTP://)?[a-zA-Z0-9.:@\\[\\]_-]{0,12}(:[0-9]{0,6})?[/a-z?#;%.]{0,8}",
                "\\[[0-9a-f:]{2,12}\\](:[0-9]{1,5})?/?",
            ]
        ) {
            if let Ok(url) = MasterUrl::parse(&given) {
                prop_assert_eq!(&MasterUrl::parse(url.as_str()).unwrap(), &url);
                prop_assert!(!url.as_str().ends_with('/'));
                prop_assert!(url.join("x").starts_with(url.as_str()));
            }
        }
    }
}
