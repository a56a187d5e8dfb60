//! Which requests go through an HTTP proxy, and through which one.

use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;

use crate::error::{Error, Result};
use crate::session::environment::Environment;
use crate::session::master_url::HostPort;
use crate::session::secret::Secret;

/// Through which proxy a client reaches the master and the stores of checkpoints. The default is [`Proxy::Environment`].
///
/// Only proxies that are themselves reached over `http://` are supported; a URL without a scheme means one. A user name and
/// password in the URL (percent-encoded where needed) are sent to the proxy, and to nobody else.
///
/// ```
/// use determined::{LoginOptions, Proxy};
///
/// let options = LoginOptions::new().proxy(Proxy::Url("http://proxy.example:3128".into()));
/// let direct = LoginOptions::new().proxy(Proxy::None);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proxy {
    /// What the environment says, as in most HTTP tools: `HTTP_PROXY` for `http` URLs, `HTTPS_PROXY` for `https` URLs,
    /// `ALL_PROXY` where that one is not set; the lower-case names come first.
    ///
    /// `NO_PROXY` lists, separated by commas, what is reached directly: host names, which stand for their subdomains too
    /// (`example.com`, `.example.com`), IP addresses and networks (`10.0.0.0/8`), each of the names and addresses with a port
    /// if wanted (`det.example:8080`), or `*` for everything. The machine itself (`localhost`, `127.0.0.1`, `::1`) is always
    /// reached directly.
    #[default]
    Environment,
    /// No proxy, whatever the environment says.
    None,
    /// This proxy for everything, whatever the environment says: `http://[user:password@]host[:port]`. The port is 80 unless
    /// given.
    Url(String),
}

/// Shows a proxy's URL without its user name and password.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("Environment"),
            Self::None => f.write_str("None"),
            Self::Url(url) => {
                let shown = match url.rsplit_once('@') {
                    Some((_, address)) => format!("[hidden]@{address}"),
                    None => url.clone(),
                };
                f.debug_tuple("Url").field(&shown).finish()
            }
        }
    }
}

/// An HTTP proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProxyEndpoint {
    /// The host name or address; an IPv6 address without its brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// What to send as `Proxy-Authorization`.
    pub(super) authorization: Option<Secret>,
}

impl ProxyEndpoint {
    /// The error is what is wrong, in words that hold nothing secret.
    fn parse(given: &str) -> Result<Self, String> {
        let given = given.trim();
        let rest = match given.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) => {
                let scheme: String = scheme.chars().take(16).collect();
                return Err(format!(
                    "a proxy of the kind {scheme}:// is not supported, only http:// is"
                ));
            }
            None => given.strip_prefix("//").unwrap_or(given),
        };
        let (authority, _path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        let HostPort { host, port } = HostPort::parse(address, 80)?;
        Ok(Self {
            host,
            port,
            authorization: user.filter(|user| !user.is_empty()).map(basic),
        })
    }

    /// `host:port`, an IPv6 address in brackets.
    pub(super) fn address(&self) -> String {
        HostPort {
            host: self.host.clone(),
            port: self.port,
        }
        .to_string()
    }
}

/// The header value for `user:password`, both percent-encoded.
fn basic(user_info: &str) -> Secret {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let mut plain: Vec<u8> = percent_decode_str(user).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(password));
    Secret::new(format!("Basic {}", BASE64_STANDARD.encode(plain)))
}

/// The decision for each request, made from [`Proxy`] and the environment.
#[derive(Debug, Clone)]
pub(crate) struct ProxyRules {
    http: Choice,
    https: Choice,
    /// What is reached directly; `None` if nothing is, not even the machine itself.
    direct: Option<Vec<Direct>>,
}

/// The proxy of one scheme, or why it cannot be used: that matters only if a request needs it.
type Choice = Option<Result<ProxyEndpoint, String>>;

impl ProxyRules {
    /// No proxy for anything.
    pub(super) fn direct() -> Self {
        Self {
            http: None,
            https: None,
            direct: None,
        }
    }

    /// # Errors
    ///
    /// `InvalidInput` if the URL given by the caller cannot be used.
    pub(crate) fn new(proxy: &Proxy, environment: &Environment) -> Result<Self> {
        match proxy {
            Proxy::None => Ok(Self::direct()),
            Proxy::Url(url) => {
                let endpoint = ProxyEndpoint::parse(url).map_err(|problem| {
                    Error::invalid_input(format!("the proxy URL cannot be used: {problem}"))
                })?;
                Ok(Self {
                    http: Some(Ok(endpoint.clone())),
                    https: Some(Ok(endpoint)),
                    direct: None,
                })
            }
            Proxy::Environment => {
                let choice = |scheme| {
                    let (variable, url) = environment
                        .proxy(scheme)
                        .or_else(|| environment.proxy("all"))?;
                    Some(ProxyEndpoint::parse(url).map_err(|problem| {
                        format!("the proxy URL in {variable} cannot be used: {problem}")
                    }))
                };
                let direct = environment
                    .no_proxy()
                    .unwrap_or_default()
                    .split([',', ' ', '\t'])
                    .filter_map(Direct::parse)
                    .collect();
                Ok(Self {
                    http: choice("http"),
                    https: choice("https"),
                    direct: Some(direct),
                })
            }
        }
    }

    /// The proxy for requests to this host, or `None` to reach it directly. `scheme` is `http` or `https`; `host` may be an
    /// IPv6 address with or without brackets.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the environment names a proxy for it that cannot be used.
    pub(super) fn proxy_for(
        &self,
        scheme: &str,
        host: &str,
        port: u16,
    ) -> Result<Option<&ProxyEndpoint>> {
        let choice = if scheme.eq_ignore_ascii_case("https") {
            &self.https
        } else {
            &self.http
        };
        let Some(choice) = choice else {
            return Ok(None);
        };
        if let Some(direct) = &self.direct {
            let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
            if HostPort::is_loopback(&host) || direct.iter().any(|entry| entry.covers(&host, port))
            {
                return Ok(None);
            }
        }
        match choice {
            Ok(endpoint) => Ok(Some(endpoint)),
            Err(problem) => Err(Error::invalid_input(problem.clone())
                .with_hint("correct the variable, or set the option `proxy`")),
        }
    }
}

/// One entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Direct {
    Everything,
    /// The addresses that begin with the same bits.
    Network(IpAddr, u8),
    Address(IpAddr, Option<u16>),
    /// A host name and its subdomains.
    Domain(String, Option<u16>),
}

impl Direct {
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim().to_ascii_lowercase();
        if entry == "*" {
            return Some(Self::Everything);
        }
        if let Some((address, bits)) = entry.split_once('/') {
            let address: IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
            let bits = bits.parse().ok()?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            return (bits <= most).then_some(Self::Network(address, bits));
        }
        if let Ok(address) = entry.parse() {
            return Some(Self::Address(address, None));
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (&*entry, None),
        };
        if let Ok(address) = host.trim_matches(['[', ']']).parse() {
            return Some(Self::Address(address, port));
        }
        let domain = host.trim_start_matches('*').trim_start_matches('.');
        (!domain.is_empty()).then(|| Self::Domain(domain.to_owned(), port))
    }

    /// `host` is in lower case and without brackets.
    fn covers(&self, host: &str, port: u16) -> bool {
        let same_port = |wanted: &Option<u16>| wanted.is_none_or(|wanted| wanted == port);
        match self {
            Self::Everything => true,
            Self::Network(network, bits) => host
                .parse()
                .is_ok_and(|address: IpAddr| prefix(address, *bits) == prefix(*network, *bits)),
            Self::Address(wanted, wanted_port) => {
                host.parse() == Ok(*wanted) && same_port(wanted_port)
            }
            Self::Domain(domain, wanted_port) => {
                host.strip_suffix(domain.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                    && same_port(wanted_port)
            }
        }
    }
}

/// The first bits of an address, with its family.
fn prefix(address: IpAddr, bits: u8) -> (bool, u128) {
    let (all, width) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let rest = width - u32::from(bits);
    (address.is_ipv4(), all.checked_shr(rest).unwrap_or(0))
}

/// How a request for a plain http URL is written for a proxy: with the whole URL in its first line.
pub(super) struct AbsoluteForm {
    origin: String,
    /// A whole header line, or nothing.
    authorization: String,
}

impl AbsoluteForm {
    /// `authority` is the host of the URL, with its port if that is not the usual one.
    pub(super) fn new(authority: &str, proxy: &ProxyEndpoint) -> Self {
        Self {
            origin: format!("http://{authority}"),
            authorization: proxy
                .authorization
                .as_ref()
                .map(|value| format!("proxy-authorization: {}\r\n", value.expose()))
                .unwrap_or_default(),
        }
    }

    /// The head of a request, `GET /path HTTP/1.1` and what follows, in absolute form.
    pub(super) fn rewrite(&self, head: &[u8]) -> Vec<u8> {
        let path = head.iter().position(|b| *b == b' ').map_or(0, |at| at + 1);
        let headers = head
            .windows(2)
            .position(|pair| pair == b"\r\n")
            .map_or(head.len(), |at| at + 2);
        [
            &head[..path],
            self.origin.as_bytes(),
            &head[path..headers],
            self.authorization.as_bytes(),
            &head[headers..],
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn rules(pairs: &[(&str, &str)]) -> ProxyRules {
        let environment = Environment::from_pairs(pairs.iter().copied());
        ProxyRules::new(&Proxy::Environment, &environment).unwrap()
    }

    fn proxy_of(rules: &ProxyRules, scheme: &str, host: &str, port: u16) -> Option<String> {
        let endpoint = rules.proxy_for(scheme, host, port).unwrap();
        endpoint.map(ProxyEndpoint::address)
    }

    #[test]
    fn each_scheme_has_its_own_variable_and_all_is_the_rest() {
        type Row<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>, Option<&'a str>);
        let table: [Row<'_>; 5] = [
            (&[], None, None),
            (&[("HTTP_PROXY", "http://p:1")], Some("p:1"), None),
            (&[("HTTPS_PROXY", "p")], None, Some("p:80")),
            (
                &[("ALL_PROXY", "http://a:2/"), ("https_proxy", "//p:1")],
                Some("a:2"),
                Some("p:1"),
            ),
            (
                &[("all_proxy", "HTTP://[FE80::1]:3")],
                Some("[fe80::1]:3"),
                Some("[fe80::1]:3"),
            ),
        ];
        for (pairs, http, https) in table {
            let rules = rules(pairs);
            assert_eq!(
                proxy_of(&rules, "http", "m", 80).as_deref(),
                http,
                "{pairs:?}"
            );
            assert_eq!(
                proxy_of(&rules, "https", "m", 443).as_deref(),
                https,
                "{pairs:?}"
            );
        }
    }

    #[test]
    fn no_proxy_lists_what_is_reached_directly() {
        for (no_proxy, host, port, direct) in [
            ("example.com", "example.com", 80, true),
            ("example.com", "det.Example.com", 80, true),
            ("example.com", "notexample.com", 80, false),
            (".example.com", "example.com", 80, true),
            ("*.example.com", "det.example.com", 80, true),
            ("a, .corp ,b", "x.corp", 80, true),
            ("a b", "b", 80, true),
            ("EXAMPLE.com", "example.com", 80, true),
            ("example.com:8080", "example.com", 8080, true),
            ("example.com:8080", "example.com", 80, false),
            ("*", "anything", 80, true),
            ("a,*", "anything", 80, true),
            ("10.0.0.1", "10.0.0.1", 80, true),
            ("10.0.0.1:81", "10.0.0.1", 80, false),
            ("0.0.1", "10.0.0.1", 80, true),
            ("10.0.0.0/8", "10.9.8.7", 80, true),
            ("10.0.0.0/8", "11.0.0.1", 80, false),
            ("10.1.2.3/32", "10.1.2.3", 80, true),
            ("0.0.0.0/0", "11.0.0.1", 80, true),
            ("0.0.0.0/0", "fd00::1", 80, false),
            ("0.0.0.0/0", "example.com", 80, false),
            ("fd00::/8", "[fd12::1]", 80, true),
            ("fd00::1", "fd00::1", 80, true),
            ("[fd00::1]", "fd00::1", 80, true),
            ("[fd00::1]:81", "fd00::1", 81, true),
            ("[fd00::1]:81", "fd00::1", 82, false),
            (
                "10.0.0.0/33,x/8,/,:,.,example.com:x",
                "example.com",
                80,
                false,
            ),
            ("", "example.com", 80, false),
        ] {
            let rules = rules(&[("HTTP_PROXY", "p:1"), ("NO_PROXY", no_proxy)]);
            let found = proxy_of(&rules, "http", host, port).is_none();
            assert_eq!(found, direct, "NO_PROXY={no_proxy:?} for {host}:{port}");
        }
    }

    #[test]
    fn the_machine_itself_is_reached_directly_unless_the_caller_wants_a_proxy() {
        let environment = rules(&[("HTTP_PROXY", "p:1")]);
        let given = Proxy::Url("p:1".into());
        let explicit = Environment::from_pairs([("NO_PROXY", "*")]);
        let explicit = ProxyRules::new(&given, &explicit).unwrap();
        for host in [
            "localhost",
            "LocalHost",
            "x.localhost",
            "127.0.0.1",
            "127.9.9.9",
            "[::1]",
            "::ffff:127.0.0.1",
        ] {
            assert_eq!(proxy_of(&environment, "http", host, 80), None, "{host}");
            let through = proxy_of(&explicit, "http", host, 80);
            assert_eq!(through.as_deref(), Some("p:1"), "{host}");
        }
    }

    #[test]
    fn without_a_proxy_the_environment_is_not_asked() {
        let environment = Environment::from_pairs([("HTTP_PROXY", "p:1")]);
        let rules = ProxyRules::new(&Proxy::None, &environment).unwrap();
        assert_eq!(proxy_of(&rules, "http", "m", 80), None);
    }

    #[test]
    fn the_user_of_the_proxy_is_decoded_and_hidden() {
        let given = Proxy::Url("http://kim:s3%40cret@p:3128".into());
        let rules = ProxyRules::new(&given, &Environment::default()).unwrap();
        let endpoint = rules.proxy_for("https", "m", 443).unwrap().unwrap();
        let authorization = endpoint.authorization.as_ref().unwrap();
        let expected = BASE64_STANDARD.encode("kim:s3@cret");
        assert_eq!(authorization.expose(), format!("Basic {expected}"));
        assert_eq!(format!("{given:?}"), "Url(\"[hidden]@p:3128\")");
        let shown = format!("{rules:?}");
        assert!(
            !shown.contains("s3") && !shown.contains(&expected),
            "{shown}"
        );
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error_only_where_it_is_needed() {
        for url in [
            "socks5://kim:s3cret@p:1",
            "https://kim:s3cret@p",
            "http://",
            "p:x",
            "kim:s3cret@p:0",
        ] {
            let given = Proxy::Url(url.into());
            let error = ProxyRules::new(&given, &Environment::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(!error.to_string().contains("s3cret"), "{error}");

            let rules = rules(&[("HTTPS_PROXY", url)]);
            assert_eq!(proxy_of(&rules, "http", "m", 80), None);
            assert_eq!(proxy_of(&rules, "https", "127.0.0.1", 80), None);
            let error = rules.proxy_for("https", "m", 443).unwrap_err();
            assert!(error.to_string().contains("HTTPS_PROXY"), "{error}");
        }
    }
}
