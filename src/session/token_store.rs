//! The tokens of past logins, in a file that is shared with the Python SDK and the `det` command.
//!
//! ```json
//! {
//!     "masters": {
//!         "https://det.example:443": {
//!             "active_user": "kim",
//!             "tokens": {
//!                 "kim": "v2.public.…"
//!             }
//!         }
//!     },
//!     "version": 2
//! }
//! ```
//!
//! In version 1 the URLs need not be canonical; version 0 is one master's entry alone. Both are read, and become version 2 when the file is
//! next written. What is written is byte for byte what Python would write, and parts of the file that mean nothing here are kept.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::path::PathBuf;

use serde::de::{MapAccess, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::MasterUrl;
use super::environment::Environment;
use super::password::Secret;
use super::store_file::{StoreFile, corrupt};
use crate::error::{Error, ErrorKind, Result};

/// Where a client keeps the tokens of its logins for the next one, and where it looks for the certificates that the `det` command stored.
/// The default is [`TokenStore::Default`].
///
/// The directory holds `auth.json` and `certs.json` in the format of the Python SDK, so tokens are shared with it; both may run at once. Tokens are
/// readable by the user alone. A directory that is not there is made when a token is stored. If a token cannot be stored, the login is good all
/// the same.
///
/// ```
/// use determined::{LoginOptions, TokenStore};
///
/// let options = LoginOptions::new().token_store(TokenStore::Dir("/var/lib/my-service".into()));
/// let forgetful = LoginOptions::new().token_store(TokenStore::None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenStore {
    /// The directory of the `det` command: `DET_DEBUG_CONFIG_PATH`, else `determined` in the user's configuration directory
    /// (`$XDG_CONFIG_HOME` or `~/.config` on Linux, `~/Library/Application Support` on macOS, `%LOCALAPPDATA%` on Windows).
    /// Without a home directory it is as [`TokenStore::None`].
    #[default]
    Default,
    /// This directory.
    Dir(PathBuf),
    /// No files: nothing is looked up, nothing is stored.
    None,
}

impl TokenStore {
    /// The directory of the files, if there is to be one.
    pub(super) fn directory(&self, environment: &Environment) -> Option<PathBuf> {
        match self {
            Self::Default => environment
                .config_dir()
                .inspect_err(|error| log::debug!(target: "determined", "no stores: {error}"))
                .ok(),
            Self::Dir(directory) => Some(directory.clone()),
            Self::None => None,
        }
    }
}

/// The tokens of one master's users. Every call reads the file anew, and every change is one under the file's lock.
#[derive(Debug, Clone)]
pub(crate) struct TokenStoreHandle {
    /// `None` if nothing is looked up and nothing stored.
    file: Option<StoreFile>,
    /// The master in the file.
    key: String,
}

impl TokenStoreHandle {
    /// # Errors
    ///
    /// `CorruptTokenCache` if the store makes no sense: it is set aside, so the next call works. `Unsupported` if it is of a newer version:
    /// it is left as it is.
    pub(crate) fn open(
        store: &TokenStore,
        environment: &Environment,
        master: &MasterUrl,
    ) -> Result<Self> {
        let file = store
            .directory(environment)
            .map(|directory| directory.join("auth.json"))
            .map(|path| StoreFile::new(path, ErrorKind::CorruptTokenCache));
        let handle = Self {
            file,
            key: key_of(master),
        };
        match handle.entry() {
            // Whether that matters is seen when a token is wanted.
            Err(error) if error.kind() == ErrorKind::Io => {}
            entry => drop(entry?),
        }
        Ok(handle)
    }

    /// The user that `det user login` left as the one to act for.
    ///
    /// # Errors
    ///
    /// Those of [`Self::open`], and `Io` if there is a store that cannot be read.
    pub(crate) fn active_user(&self) -> Result<Option<String>> {
        Ok(self.entry()?.active_user)
    }

    /// The stored token of a user.
    ///
    /// # Errors
    ///
    /// As for [`Self::active_user`].
    pub(crate) fn token(&self, user: &str) -> Result<Option<Secret>> {
        let token = self.entry()?.tokens.unwrap_or_default().remove(user);
        Ok(token.map(Secret::new))
    }

    /// Stores a user's token, in place of any other. The active user stays who it is.
    ///
    /// # Errors
    ///
    /// Those of [`Self::open`], and `Io` if the file cannot be read, locked or written.
    pub(crate) fn set_token(&self, user: &str, token: &Secret) -> Result<()> {
        self.change(|tokens| {
            let old = tokens.insert(user.to_owned(), token.expose().to_owned());
            old.as_deref() != Some(token.expose())
        })
    }

    /// Removes a user's token if it still is this one.
    ///
    /// # Errors
    ///
    /// As for [`Self::set_token`].
    pub(crate) fn drop_token(&self, user: &str, token: &Secret) -> Result<()> {
        // Mostly it is gone already, and then a store that cannot be written is no trouble.
        if self.token(user)?.as_ref() != Some(token) {
            return Ok(());
        }
        self.change(|tokens| {
            let is_this = tokens.get(user).map(String::as_str) == Some(token.expose());
            is_this && tokens.remove(user).is_some()
        })
    }

    fn entry(&self) -> Result<Entry> {
        let Some(file) = &self.file else {
            return Ok(Entry::default());
        };
        let stored = file.load(|content| Stored::parse(content, &self.key))?;
        let entry = stored.and_then(|mut stored| stored.masters.remove(&self.key));
        Ok(entry.unwrap_or_default())
    }

    /// Writes the file if `change` says that it has changed something.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, String>) -> bool) -> Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let locked = file.lock()?;
        let mut stored = locked
            .load(|content| Stored::parse(content, &self.key))?
            .unwrap_or_default();
        let entry = stored.masters.entry(self.key.clone()).or_default();
        if change(entry.tokens.get_or_insert_default()) {
            locked.write(stored.to_json()?.as_bytes())?;
        }
        Ok(())
    }
}

/// The master's name in the file: its URL, but for an IPv6 address. Python takes a file with one in brackets for corrupt and deletes it, so
/// the address is written in the form that Windows has for such cases: `2001-db8--1.ipv6-literal.net`.
fn key_of(master: &MasterUrl) -> String {
    if !master.host().contains(':') {
        return master.as_str().to_owned();
    }
    let scheme = if master.is_https() { "https" } else { "http" };
    let host = master.host().replace(':', "-");
    let (port, path) = (master.port(), master.path());
    format!("{scheme}://{host}.ipv6-literal.net:{port}{path}")
}

/// What is in the file.
#[derive(Default)]
struct Stored {
    masters: BTreeMap<String, Entry>,
    /// Members beside `masters` and `version`.
    others: BTreeMap<String, Box<RawValue>>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    active_user: Option<String>,
    /// Tokens by user.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<BTreeMap<String, String>>,
}

impl Stored {
    /// `master` is whom the entry of a version 0 file belongs to: it does not say.
    fn parse(content: &[u8], master: &str) -> Result<Self> {
        let mut members: BTreeMap<String, Box<RawValue>> = from_json(content)?;
        let Some(version) = members.remove("version") else {
            let entry = from_json(content)?;
            return Ok(Self {
                masters: BTreeMap::from([(master.to_owned(), entry)]),
                others: BTreeMap::new(),
            });
        };
        let version: serde_json::Number = from_json(version.get().as_bytes())?;
        let masters = match members.remove("masters") {
            _ if version.as_f64().is_some_and(|version| version > 2.0) => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("the token store is of version {version}, and this crate knows 0 to 2"),
                )
                .with_hint("update this program, or choose another TokenStore"));
            }
            None => InFileOrder::default(),
            Some(masters) => from_json(masters.get().as_bytes())?,
        };
        let masters = match version.as_u64() {
            Some(1) => merge(masters),
            Some(2) if masters.0.iter().all(|(url, _)| is_canonical(url)) => {
                masters.0.into_iter().collect()
            }
            _ => {
                return Err(Error::new(
                    ErrorKind::CorruptTokenCache,
                    "the token store is corrupt: its version, or the URL of a master in it, is not valid",
                ));
            }
        };
        Ok(Self {
            masters,
            others: members,
        })
    }

    /// As Python's `json.dump(store, indent=4, sort_keys=True)` has it.
    fn to_json(&self) -> Result<String> {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Member<'a> {
            Version(u8),
            Masters(&'a BTreeMap<String, Entry>),
            Other(&'a RawValue),
        }
        let mut members: BTreeMap<&str, Member<'_>> = BTreeMap::new();
        for (name, value) in &self.others {
            members.insert(name, Member::Other(value));
        }
        members.insert("masters", Member::Masters(&self.masters));
        members.insert("version", Member::Version(2));

        let mut json = Vec::new();
        let indented = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut json, indented);
        members
            .serialize(&mut serializer)
            .and_then(|()| String::from_utf8(json).map_err(serde_json::Error::custom))
            .map(|json| escape_non_ascii(&json))
            .map_err(|error| Error::new(ErrorKind::Io, format!("cannot write JSON: {error}")))
    }
}

fn from_json<'a, T: Deserialize<'a>>(content: &'a [u8]) -> Result<T> {
    serde_json::from_slice(content)
        .map_err(|error| corrupt(ErrorKind::CorruptTokenCache, "token store", &error))
}

/// Whether Python finds a URL canonical. Such a one may be of a kind that [`MasterUrl`] refuses.
fn is_canonical(url: &str) -> bool {
    let Some(rest) = ["http://", "https://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme))
    else {
        return false;
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let Some((host, port)) = authority.rsplit_once(':') else {
        return false;
    };
    let is_port = |n: u16| n != 0 && n.to_string() == port;
    let last_segment = path.rsplit('/').next().unwrap_or_default();
    !host.is_empty()
        && host.to_lowercase() == host
        && !host.contains([':', '@', '[', ']'])
        && port.parse().is_ok_and(is_port)
        && !path.ends_with('/')
        && !last_segment.contains(';')
        && !url.contains(['?', '#', '\t', '\r', '\n'])
}

/// Makes the URLs of a version 1 file canonical. Entries that turn out to be the same master's become one: its tokens are those of all, a later
/// one of the same user in place of an earlier one, and its active user is the first. A URL that cannot be made canonical is dropped.
fn merge(masters: InFileOrder) -> BTreeMap<String, Entry> {
    let mut merged: BTreeMap<String, Entry> = BTreeMap::new();
    for (url, entry) in masters.0 {
        let Some(key) = canonical_key(&url) else {
            continue;
        };
        let into = merged.entry(key).or_default();
        let tokens = into.tokens.get_or_insert_default();
        tokens.extend(entry.tokens.unwrap_or_default());
        into.active_user = into.active_user.take().or(entry.active_user);
    }
    merged
}

/// The canonical form of a URL that may hold a user, password, query and fragment, as programs once allowed.
fn canonical_key(url: &str) -> Option<String> {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = match url.find("://") {
        Some(at) => url.split_at(at + 3),
        None => ("", url),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let address = authority.rsplit('@').next().unwrap_or_default();
    let master = MasterUrl::parse(&format!("{scheme}{address}{path}")).ok()?;
    Some(key_of(&master))
}

/// The entries of a file in their order: it decides which one counts.
#[derive(Default)]
struct InFileOrder(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for InFileOrder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = InFileOrder;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of masters")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<InFileOrder, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(InFileOrder(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Writes the characters of a JSON text that are not printable ASCII as `\uXXXX`. They can only stand in strings.
fn escape_non_ascii(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\x7f' {
            escaped.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
    }
    escaped
}

/// Reads a store, and writes it with one more token in it.
#[cfg(fuzzing)]
pub(crate) fn fuzz(content: &[u8]) {
    const MASTER: &str = "http://m:80";
    let mut stored = match Stored::parse(content, MASTER) {
        Ok(stored) => stored,
        Err(error) => {
            let kinds = [ErrorKind::CorruptTokenCache, ErrorKind::Unsupported];
            assert!(kinds.contains(&error.kind()), "{error}");
            return;
        }
    };
    let entry = stored.masters.entry(MASTER.to_owned()).or_default();
    let tokens = entry.tokens.get_or_insert_default();
    tokens.insert("kim".to_owned(), "t".to_owned());
    let tokens = tokens.clone();
    let written = stored.to_json().expect("what was read can be written");
    let again = Stored::parse(written.as_bytes(), MASTER).expect("what was written can be read");
    assert_eq!(again.masters[MASTER].tokens.as_ref(), Some(&tokens));
    assert_eq!(again.to_json().expect("and written again"), written);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn handle(directory: &Path, master: &str) -> TokenStoreHandle {
        try_handle(directory, master).unwrap()
    }

    fn try_handle(directory: &Path, master: &str) -> Result<TokenStoreHandle> {
        TokenStoreHandle::open(
            &TokenStore::Dir(directory.to_owned()),
            &Environment::default(),
            &MasterUrl::parse(master).unwrap(),
        )
    }

    fn token(handle: &TokenStoreHandle, user: &str) -> Option<String> {
        let token = handle.token(user).unwrap();
        token.map(|token| token.expose().to_owned())
    }

    /// What a store with this content is written as when a token of `u` is set for the master `m`.
    fn rewritten(content: &str) -> String {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("auth.json");
        fs::write(&path, content).unwrap();
        let handle = handle(scratch.path(), "m");
        handle.set_token("u", &Secret::new("t")).unwrap();
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_token_is_kept_for_its_master_and_user_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let first = handle(scratch.path(), "one");
        first.set_token("kim", &Secret::new("t1")).unwrap();
        first.set_token("lee", &Secret::new("t2")).unwrap();
        assert_eq!(token(&first, "kim").as_deref(), Some("t1"));
        assert_eq!(token(&first, "lee").as_deref(), Some("t2"));
        assert_eq!(first.active_user().unwrap(), None);
        assert_eq!(token(&handle(scratch.path(), "two"), "kim"), None);
        assert_eq!(
            token(&handle(scratch.path(), "http://one:8080"), "lee").as_deref(),
            Some("t2")
        );
    }

    #[test]
    fn only_the_token_that_was_meant_is_dropped() {
        let scratch = tempfile::tempdir().unwrap();
        let handle = handle(scratch.path(), "m");
        handle.drop_token("kim", &Secret::new("t")).unwrap();
        assert!(!scratch.path().join("auth.json").exists());
        handle.set_token("kim", &Secret::new("new")).unwrap();
        handle.drop_token("kim", &Secret::new("old")).unwrap();
        assert_eq!(token(&handle, "kim").as_deref(), Some("new"));
        handle.drop_token("kim", &Secret::new("new")).unwrap();
        assert_eq!(token(&handle, "kim"), None);
    }

    #[test]
    fn without_a_store_nothing_is_found_and_nothing_kept() {
        let master = MasterUrl::parse("m").unwrap();
        let nowhere = Environment::default();
        for store in [TokenStore::None, TokenStore::Default] {
            let handle = TokenStoreHandle::open(&store, &nowhere, &master).unwrap();
            handle.set_token("kim", &Secret::new("t")).unwrap();
            assert_eq!(token(&handle, "kim"), None);
            assert_eq!(handle.active_user().unwrap(), None);
        }
    }

    #[test]
    fn the_default_store_is_in_the_configuration_directory() {
        let scratch = tempfile::tempdir().unwrap();
        let environment = Environment::from_pairs([("DET_DEBUG_CONFIG_PATH", scratch.path())]);
        let master = MasterUrl::parse("m").unwrap();
        let handle = TokenStoreHandle::open(&TokenStore::Default, &environment, &master).unwrap();
        handle.set_token("kim", &Secret::new("t")).unwrap();
        assert!(scratch.path().join("auth.json").exists());
    }

    #[test]
    fn the_file_is_byte_for_byte_what_python_writes() {
        let scratch = tempfile::tempdir().unwrap();
        for (master, user) in [
            ("https://m", "b"),
            ("a", "jürgen 🔑\u{7f}\u{1}\"\\/\n"),
            ("a", "a"),
        ] {
            let handle = handle(scratch.path(), master);
            handle.set_token(user, &Secret::new("t")).unwrap();
        }
        assert_eq!(
            fs::read_to_string(scratch.path().join("auth.json")).unwrap(),
            r#"{
    "masters": {
        "http://a:8080": {
            "tokens": {
                "a": "t",
                "j\u00fcrgen \ud83d\udd11\u007f\u0001\"\\/\n": "t"
            }
        },
        "https://m:443": {
            "tokens": {
                "b": "t"
            }
        }
    },
    "version": 2
}"#
        );
    }

    #[test]
    fn an_emptied_entry_stays_as_python_leaves_it() {
        let scratch = tempfile::tempdir().unwrap();
        let handle = handle(scratch.path(), "m");
        handle.set_token("u", &Secret::new("t")).unwrap();
        handle.drop_token("u", &Secret::new("t")).unwrap();
        assert_eq!(
            fs::read_to_string(scratch.path().join("auth.json")).unwrap(),
            "{\n    \"masters\": {\n        \"http://m:8080\": {\n            \"tokens\": {}\n        }\n    },\n    \"version\": 2\n}"
        );
    }

    #[test]
    fn version_0_is_the_entry_of_the_master_that_is_asked_for() {
        let scratch = tempfile::tempdir().unwrap();
        let content = r#"{"active_user": "kim", "tokens": {"kim": "t1"}}"#;
        fs::write(scratch.path().join("auth.json"), content).unwrap();
        let handle = handle(scratch.path(), "m");
        assert_eq!(handle.active_user().unwrap().as_deref(), Some("kim"));
        assert_eq!(token(&handle, "kim").as_deref(), Some("t1"));
        let file = fs::read_to_string(scratch.path().join("auth.json")).unwrap();
        assert_eq!(file, content, "looking changed the file");

        let written = rewritten(content);
        assert!(written.contains(r#""active_user": "kim""#), "{written}");
        assert!(written.contains(r#""version": 2"#), "{written}");
    }

    #[test]
    fn version_1_urls_become_canonical_and_their_entries_one() {
        let written = rewritten(
            r#"{"version": 1, "masters": {
                "http://m:8080/": {"active_user": "z", "tokens": {"a": "1", "b": "1"}},
                "m": {"active_user": "y", "tokens": {"b": "2"}},
                "http://kim:pw@m:8080?q#f": {"tokens": {"c": "3"}},
                "https://[::1]/det/": {"tokens": {"d": "4"}},
                "http://": {"tokens": {"e": "5"}}
            }}"#,
        );
        assert_eq!(
            written.split_whitespace().collect::<String>(),
            concat!(
                r#"{"masters":{"http://m:8080":{"active_user":"z","#,
                r#""tokens":{"a":"1","b":"2","c":"3","u":"t"}},"#,
                r#""https://--1.ipv6-literal.net:443/det":{"tokens":{"d":"4"}}},"version":2}"#
            )
        );
    }

    #[test]
    fn what_is_not_understood_beside_the_masters_is_kept() {
        let written = rewritten(
            r#"{"version": 2, "zoo": [1.50, "ü"], "extra": {"b": 1}, "masters": {"http://ü:1": {}}}"#,
        );
        assert_eq!(
            written.split_whitespace().collect::<String>(),
            concat!(
                r#"{"extra":{"b":1},"masters":{"http://m:8080":{"tokens":{"u":"t"}},"#,
                r#""http://\u00fc:1":{}},"version":2,"zoo":[1.50,"\u00fc"]}"#
            )
        );
    }

    #[test]
    fn the_address_of_an_ipv6_master_is_written_so_that_python_can_read_it() {
        let master = MasterUrl::parse("https://[2001:db8::1]:8443/det").unwrap();
        let key = key_of(&master);
        assert_eq!(key, "https://2001-db8--1.ipv6-literal.net:8443/det");
        assert!(is_canonical(&key));
        assert_eq!(MasterUrl::parse(&key).unwrap().as_str(), key);
    }

    #[test]
    fn a_newer_token_file_is_left_untouched() {
        for version in ["3", "2.5", "18446744073709551616", "1e300"] {
            let scratch = tempfile::tempdir().unwrap();
            let content = format!(r#"{{"version": {version}, "masters": ["a", {{}}]}}"#);
            fs::write(scratch.path().join("auth.json"), &content).unwrap();
            let error = try_handle(scratch.path(), "m").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            let names = fs::read_dir(scratch.path()).unwrap().count();
            let file = fs::read_to_string(scratch.path().join("auth.json")).unwrap();
            assert_eq!((names, file), (1, content));
        }
    }

    #[test]
    fn a_corrupt_token_file_is_set_aside_and_the_next_call_works() {
        for content in [
            "",
            "{",
            "[]",
            "null",
            r#"{"version": null}"#,
            r#"{"version": "2"}"#,
            r#"{"version": 0}"#,
            r#"{"version": -1}"#,
            r#"{"version": 1.5}"#,
            r#"{"foo": 1}"#,
            r#"{"tokens": "s3cret"}"#,
            r#"{"tokens": {"kim": 7}}"#,
            r#"{"version": 2, "masters": {"http://m:8080": {"tokens": "s3cret"}}}"#,
            r#"{"version": 2, "masters": {"http://m:8080": {"s3cret": 1}}}"#,
            r#"{"version": 2, "masters": {"m": {}}}"#,
            r#"{"version": 2, "masters": {"http://u@h:80": {}}}"#,
            r#"{"version": 2, "masters": "s3cret"}"#,
            r#"{"version": 1, "masters": []}"#,
        ] {
            let scratch = tempfile::tempdir().unwrap();
            fs::write(scratch.path().join("auth.json"), content).unwrap();
            let error = try_handle(scratch.path(), "m").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CorruptTokenCache, "{content}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
            let aside = scratch.path().join("auth.json.corrupt-1");
            assert_eq!(fs::read_to_string(aside).unwrap(), content);

            let handle = handle(scratch.path(), "m");
            handle.set_token("kim", &Secret::new("t")).unwrap();
            assert_eq!(token(&handle, "kim").as_deref(), Some("t"));
        }
    }

    #[test]
    fn what_python_finds_canonical_is_known() {
        for url in [
            "http://h:80",
            "https://h.x:8443/a/b",
            "http://ü:1/../x",
            "http://h:80/a;b/c",
            "http://h;p:1",
        ] {
            assert!(is_canonical(url), "{url}");
        }
        for url in [
            "h:80",
            "ftp://h:80",
            "http://h",
            "http://H:80",
            "http://:80",
            "http://h:080",
            "http://h:0",
            "http://h:65536",
            "http://h:+80",
            "http://h:80/",
            "http://h:80/a;b",
            "http://h:80?q",
            "http://[::1]:80",
            "http://::1:80",
            "http://h:80#",
            "http://h\t:80",
        ] {
            assert!(!is_canonical(url), "{url}");
        }
    }

    #[test]
    fn twenty_logins_at_once_lose_no_token() {
        let scratch = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for n in 0..20 {
                let directory = scratch.path();
                scope.spawn(move || {
                    let handle = handle(directory, &format!("m{}", n % 3));
                    for round in 0..3 {
                        let (user, token) =
                            (format!("user{n}"), Secret::new(format!("{n}-{round}")));
                        handle.set_token(&user, &token).unwrap();
                    }
                });
            }
        });
        for n in 0..20 {
            let handle = handle(scratch.path(), &format!("m{}", n % 3));
            assert_eq!(token(&handle, &format!("user{n}")), Some(format!("{n}-2")));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        #[test]
        fn no_content_panics_and_none_is_lost(
            content in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..64),
                r#"\{("version": ?-?[0-9]{1,2}(\.5)?(e3)?,? ?)?("(masters|tokens|x)": ?[\[{]"(m|http://m:80)": ?("t"|\{\})[\]}])?\}"#
                    .prop_map(String::into_bytes),
            ]
        ) {
            let scratch = tempfile::tempdir().unwrap();
            let path = scratch.path().join("auth.json");
            fs::write(&path, &content).unwrap();
            match try_handle(scratch.path(), "m") {
                Ok(handle) => {
                    prop_assert_eq!(fs::read(&path).unwrap(), content);
                    handle.set_token("u", &Secret::new("t")).unwrap();
                    prop_assert_eq!(token(&handle, "u"), Some("t".to_owned()));
                }
                Err(error) if error.kind() == ErrorKind::CorruptTokenCache => {
                    prop_assert_eq!(fs::read(scratch.path().join("auth.json.corrupt-1")).unwrap(), content);
                }
                Err(error) => {
                    prop_assert_eq!(error.kind(), ErrorKind::Unsupported);
                    prop_assert_eq!(fs::read(&path).unwrap(), content);
                }
            }
        }
    }
}
