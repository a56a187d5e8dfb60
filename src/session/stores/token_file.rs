//! The format of `auth.json`, which is shared with the Python SDK and the `det` command.
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

use serde::de::{MapAccess, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::file::corrupt;
use crate::error::{Error, ErrorKind, Result};
use crate::session::MasterUrl;

/// The master's name in the file: its URL, but for an IPv6 address. Python takes a file with one in brackets for corrupt and deletes it, so
/// the address is written in the form that Windows has for such cases: `2001-db8--1.ipv6-literal.net`.
pub(super) fn key_of(master: &MasterUrl) -> String {
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
pub(super) struct TokenFile {
    pub(super) masters: BTreeMap<String, Entry>,
    /// Members beside `masters` and `version`.
    others: BTreeMap<String, Box<RawValue>>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) active_user: Option<String>,
    /// Tokens by user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tokens: Option<BTreeMap<String, String>>,
}

impl TokenFile {
    /// `master` is whom the entry of a version 0 file belongs to: it does not say.
    pub(super) fn parse(content: &[u8], master: &str) -> Result<Self> {
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
    pub(super) fn to_json(&self) -> Result<String> {
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
    let mut stored = match TokenFile::parse(content, MASTER) {
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
    let again = TokenFile::parse(written.as_bytes(), MASTER).expect("what was written can be read");
    assert_eq!(again.masters[MASTER].tokens.as_ref(), Some(&tokens));
    assert_eq!(again.to_json().expect("and written again"), written);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a file with this content is written as when a token of `u` is added for the master `m`.
    fn rewritten(content: &str) -> String {
        const MASTER: &str = "http://m:8080";
        let mut file = TokenFile::parse(content.as_bytes(), MASTER).unwrap();
        let entry = file.masters.entry(MASTER.to_owned()).or_default();
        let tokens = entry.tokens.get_or_insert_default();
        tokens.insert("u".to_owned(), "t".to_owned());
        file.to_json().unwrap()
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
}
