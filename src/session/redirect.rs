//! Where a redirect may lead.
//!
//! A call without a body follows up to ten of them. The token goes along only as long as the master itself is asked, and never from https
//! to http. A call with a body is never turned into one without, as browsers do: it would look like a success and do nothing.

use super::MasterUrl;
use super::http::{Answer, Method};
use crate::error::{Error, ErrorKind, Result};

const MOST: u32 = 10;

/// The redirects of one call.
pub(super) struct Redirects {
    left: u32,
    are_at_home: bool,
}

impl Redirects {
    pub(super) fn new() -> Self {
        Self {
            left: MOST,
            are_at_home: true,
        }
    }

    /// Whether the master itself is still being asked, so that the token may be shown.
    pub(super) fn are_at_home(&self) -> bool {
        self.are_at_home
    }

    /// The URL to ask instead of `from`.
    pub(super) fn follow(
        &mut self,
        master: &MasterUrl,
        method: Method,
        from: &str,
        answer: &Answer,
    ) -> Result<String> {
        let refused = |detail: String| {
            Error::new(ErrorKind::InvalidResponse, detail)
                .with_status(answer.status())
                .with_hint("if the master has moved, log in with its new URL")
        };
        let line = answer.status_line();
        let Some(location) = answer.header("location") else {
            return Err(refused(format!("{line} without a place to go")));
        };
        let to = resolve(from, location)
            .ok_or_else(|| refused(format!("{line} to {:?}, which is no URL", tidy(location))))?;
        let shown = tidy(&to).to_owned();
        if from.starts_with("https://") && !to.starts_with("https://") {
            return Err(refused(format!(
                "{line} from https to {shown} is not followed"
            )));
        }
        if method != Method::Get {
            return Err(refused(format!(
                "{line} to {shown}; only a GET is sent elsewhere"
            )));
        }
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            refused(format!(
                "redirected more than {MOST} times, last to {shown}"
            ))
        })?;
        self.are_at_home &= is_home(master, origin(&to));
        Ok(to)
    }
}

/// Whether an origin is the master's, or the master's on https instead of http, each on its standard port.
fn is_home(master: &MasterUrl, origin: &str) -> bool {
    let same = |url: &str| MasterUrl::parse(url).ok();
    let Some(to) = same(origin) else { return false };
    if to.host() != master.host() {
        return false;
    }
    let kept = to.is_https() == master.is_https() && to.port() == master.port();
    let upgraded = !master.is_https() && to.is_https() && (master.port(), to.port()) == (80, 443);
    kept || upgraded
}

/// The scheme, host and port of an absolute URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| host + at);
    &url[..end]
}

/// What `location` means on the page `from`: a URL, or a path of the same origin.
fn resolve(from: &str, location: &str) -> Option<String> {
    let location = location.split('#').next().unwrap_or_default().trim();
    let lower = location.to_ascii_lowercase();
    if lower.starts_with("http://") || lower.starts_with("https://") {
        let scheme = lower.find("://").unwrap_or(0);
        return Some(format!("{}{}", &lower[..scheme], &location[scheme..]));
    }
    if let Some(rest) = location.strip_prefix("//") {
        let scheme = from.split("://").next()?;
        return Some(format!("{scheme}://{rest}"));
    }
    location
        .starts_with('/')
        .then(|| format!("{}{location}", origin(from)))
}

/// A URL without its query, which may hold a secret.
fn tidy(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_read_against_the_page_it_came_from() {
        let from = "http://det:8080/api/v1/me?x=1";
        for (location, url) in [
            ("/login", Some("http://det:8080/login")),
            ("HTTPS://Other/x", Some("https://Other/x")),
            ("//other/x", Some("http://other/x")),
            ("/a#part", Some("http://det:8080/a")),
            ("relative", None),
            ("ftp://x", None),
            ("", None),
        ] {
            assert_eq!(resolve(from, location).as_deref(), url, "{location}");
        }
    }

    #[test]
    fn the_token_stays_with_the_master() {
        let master = MasterUrl::parse("http://det.example").unwrap();
        assert!(is_home(&master, "http://det.example"));
        assert!(is_home(&master, "https://det.example"));
        assert!(!is_home(&master, "http://det.example:81"));
        assert!(!is_home(&master, "http://det.example.evil.com"));
        let secure = MasterUrl::parse("https://det.example:8443").unwrap();
        assert!(!is_home(&secure, "http://det.example:8443"));
    }
}
