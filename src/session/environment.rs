//! The environment variables, read once per client: no other file of the crate looks at the process's environment.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::platform;

/// The environment variables and the home directory as they were when a client was made.
///
/// The default is an environment without any variable and without a home directory.
#[derive(Clone, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<String, OsString>,
    home: Option<PathBuf>,
}

impl Environment {
    /// What the process has now.
    pub(crate) fn from_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((platform::variable_key(name.to_str()?), value)))
            .collect();
        Self {
            variables,
            home: dirs::home_dir(),
        }
    }

    /// These variables and no others; the home directory is `HOME`.
    pub(crate) fn from_pairs<N: AsRef<str>, V: Into<OsString>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut environment = Self::default();
        for (name, value) in pairs {
            environment
                .variables
                .insert(platform::variable_key(name.as_ref()), value.into());
        }
        environment.home = environment.path("HOME");
        environment
    }

    /// The value of a variable. One that is empty, or is no Unicode text, counts as unset.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.defined(name)?.to_str().filter(|text| !text.is_empty())
    }

    /// The value of a variable that names a file or directory. An empty one counts as unset.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.defined(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    }

    fn defined(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(&platform::variable_key(name))
            .map(OsString::as_os_str)
    }

    /// The user's home directory.
    pub(crate) fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// The master's URL as given, and the variable that gives it: `DET_MASTER`, else `DET_MASTER_ADDR`.
    pub(crate) fn master(&self) -> Option<(&'static str, &str)> {
        ["DET_MASTER", "DET_MASTER_ADDR"]
            .into_iter()
            .find_map(|name| Some((name, self.get(name)?)))
    }

    /// `DET_USER`: who logs in.
    pub(crate) fn user(&self) -> Option<&str> {
        self.get("DET_USER")
    }

    /// `DET_PASS`: the password of `DET_USER`.
    pub(crate) fn password(&self) -> Option<&str> {
        self.get("DET_PASS")
    }

    /// `DET_USER_TOKEN`: a token of `DET_USER`, as the master gives it to the tasks that it runs.
    pub(crate) fn user_token(&self) -> Option<&str> {
        self.get("DET_USER_TOKEN")
    }

    /// `DET_MASTER_CERT_FILE`: the master's certificate authority as a PEM file, or the word `noverify`.
    pub(crate) fn master_cert_file(&self) -> Option<PathBuf> {
        self.path("DET_MASTER_CERT_FILE")
    }

    /// `DET_MASTER_CERT_NAME`: the name that the master's certificate is to have.
    pub(crate) fn master_cert_name(&self) -> Option<&str> {
        self.get("DET_MASTER_CERT_NAME")
    }

    /// The proxy for requests of a scheme (`http`, `https`, or `all` for both) as given, and the variable that gives it.
    ///
    /// The lower-case variable comes first, and hides the upper-case one even when it is empty, as in Python.
    pub(crate) fn proxy(&self, scheme: &str) -> Option<(String, &str)> {
        let lower = format!("{scheme}_proxy");
        let upper = lower.to_uppercase();
        // On Windows both spellings are the same variable, which is then the upper-case one.
        if !cfg!(windows) && self.defined(&lower).is_some() {
            return self.get(&lower).map(|value| (lower.clone(), value));
        }
        // A web server hands the header `Proxy` of any visitor to its CGI scripts as HTTP_PROXY.
        if scheme == "http" && self.defined("REQUEST_METHOD").is_some() {
            return None;
        }
        self.get(&upper).map(|value| (upper.clone(), value))
    }

    /// `no_proxy` or `NO_PROXY`: the hosts that are reached without a proxy, separated by commas.
    pub(crate) fn no_proxy(&self) -> Option<&str> {
        self.get("no_proxy").or_else(|| self.get("NO_PROXY"))
    }

    /// The directory of the files that are shared with the Python SDK and the `det` command: `DET_DEBUG_CONFIG_PATH` as it
    /// is, else `determined` in the user's configuration directory. It may not exist.
    ///
    /// # Errors
    ///
    /// `Io` if there is no home directory to put it in.
    pub(crate) fn config_dir(&self) -> Result<PathBuf> {
        if let Some(path) = self.path("DET_DEBUG_CONFIG_PATH") {
            return Ok(path);
        }
        platform::configuration_base(|name| self.path(name), self.home())
            .map(|base| base.join("determined"))
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Io,
                    "there is no home directory to keep logins in",
                )
                .with_hint("set HOME, or name a directory with TokenStore::Dir")
            })
    }
}

/// Names only: values may be passwords, tokens and keys.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.keys())
            .field("home", &self.home)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let environment = Environment::from_pairs([("DET_MASTER", ""), ("DET_MASTER_ADDR", "m:1")]);
        assert_eq!(environment.master(), Some(("DET_MASTER_ADDR", "m:1")));
        let environment = Environment::from_pairs([("DET_USER", ""), ("HOME", "")]);
        assert_eq!(environment.user(), None);
        assert_eq!(environment.home(), None);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_text_is_unset_as_text_but_good_as_a_path() {
        use std::os::unix::ffi::OsStringExt;
        let odd = OsString::from_vec(b"/tmp/\xff".to_vec());
        let environment = Environment::from_pairs([("DET_MASTER_CERT_FILE", odd.clone())]);
        assert_eq!(environment.get("DET_MASTER_CERT_FILE"), None);
        assert_eq!(environment.master_cert_file(), Some(PathBuf::from(odd)));
    }

    #[cfg(not(any(windows, target_os = "macos")))]
    #[test]
    fn the_configuration_directory_is_that_of_the_python_sdk() {
        let table: [(&[(&str, &str)], &str); 5] = [
            (&[("HOME", "/h")], "/h/.config/determined"),
            (
                &[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")],
                "/x/determined",
            ),
            (&[("XDG_CONFIG_HOME", "/x")], "/x/determined"),
            (
                &[("HOME", "/h"), ("XDG_CONFIG_HOME", "")],
                "/h/.config/determined",
            ),
            (&[("HOME", "/h"), ("DET_DEBUG_CONFIG_PATH", "~/d")], "~/d"),
        ];
        for (pairs, expected) in table {
            let environment = Environment::from_pairs(pairs.iter().copied());
            assert_eq!(environment.config_dir().unwrap(), Path::new(expected));
        }
    }

    #[test]
    fn without_a_home_there_is_no_configuration_directory() {
        let error = Environment::default().config_dir().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("home directory"), "{error}");
    }

    #[cfg(not(windows))]
    #[test]
    fn the_lower_case_proxy_variable_comes_first() {
        type Row<'a> = (&'a [(&'a str, &'a str)], Option<(&'a str, &'a str)>);
        let table: [Row<'_>; 6] = [
            (&[], None),
            (&[("HTTP_PROXY", "a")], Some(("HTTP_PROXY", "a"))),
            (
                &[("HTTP_PROXY", "a"), ("http_proxy", "b")],
                Some(("http_proxy", "b")),
            ),
            (&[("HTTP_PROXY", "a"), ("http_proxy", "")], None),
            (&[("HTTP_PROXY", "a"), ("REQUEST_METHOD", "GET")], None),
            (
                &[("http_proxy", "b"), ("REQUEST_METHOD", "GET")],
                Some(("http_proxy", "b")),
            ),
        ];
        for (pairs, expected) in table {
            let environment = Environment::from_pairs(pairs.iter().copied());
            let found = environment.proxy("http");
            let found = found.as_ref().map(|(name, value)| (name.as_str(), *value));
            assert_eq!(found, expected, "{pairs:?}");
        }
    }

    #[test]
    fn debug_shows_no_value() {
        let environment = Environment::from_pairs([("DET_PASS", "s3cret")]);
        let shown = format!("{environment:?}");
        assert!(
            shown.contains("DET_PASS") && !shown.contains("s3cret"),
            "{shown}"
        );
    }
}
