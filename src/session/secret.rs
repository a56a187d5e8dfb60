//! Passwords and tokens: how they are held, how they are sent, and which ones are too simple.

use std::fmt;
use std::mem;

use ring::digest::{SHA512, digest};

/// Prefixed to every password before it is hashed, by every client of the platform.
const SALT: &str = "GubPEmmotfiK9TMD6Zdw";

/// A password or token, which no message, `Debug` output or log line may show.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: for a request, or for the token store.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// Wipes the memory before it is given back, as far as safe code can.
impl Drop for Secret {
    fn drop(&mut self) {
        let mut bytes = mem::take(&mut self.0).into_bytes();
        bytes.fill(0);
        std::hint::black_box(&bytes);
    }
}

/// What is sent to the master in place of a password: the salted SHA-512 in hexadecimal, or nothing for the blank password.
pub(crate) fn password_hash(password: &str) -> Secret {
    use fmt::Write;
    if password.is_empty() {
        return Secret::new("");
    }
    let salted = Secret::new(format!("{SALT}{password}"));
    let digest = digest(&SHA512, salted.expose().as_bytes());
    let mut hex = String::with_capacity(2 * digest.as_ref().len());
    for byte in digest.as_ref() {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Secret::new(hex)
}

/// Which of the platform's rules for passwords this one breaks, in words; none for a good password.
pub(crate) fn complexity_problems(password: &str) -> Vec<&'static str> {
    let has = |wanted: fn(char) -> bool| password.chars().any(wanted);
    [
        (!password.is_empty(), "it is blank"),
        (
            password.chars().count() >= 8,
            "it has fewer than 8 characters",
        ),
        (
            has(|c| c.is_ascii_uppercase()),
            "it has no upper-case letter",
        ),
        (
            has(|c| c.is_ascii_lowercase()),
            "it has no lower-case letter",
        ),
        (has(char::is_numeric), "it has no digit"),
    ]
    .into_iter()
    .filter_map(|(kept, problem)| (!kept).then_some(problem))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_python_sdk() {
        #[derive(serde::Deserialize)]
        struct Case {
            password: String,
            hash: String,
        }
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../tests/vectors/password_hash.json")).unwrap();
        assert!(cases.len() >= 8);
        for case in cases {
            assert_eq!(
                password_hash(&case.password).expose(),
                case.hash,
                "{}",
                case.password
            );
        }
    }

    #[test]
    fn each_broken_rule_is_named() {
        assert!(complexity_problems("Passw0rd.test").is_empty());
        assert!(complexity_problems("Пароль-Ab٣").is_empty());
        assert_eq!(complexity_problems("").len(), 5);
        assert_eq!(
            complexity_problems("PASSW0RD"),
            ["it has no lower-case letter"]
        );
        assert_eq!(
            complexity_problems("Пa1"),
            [
                "it has fewer than 8 characters",
                "it has no upper-case letter"
            ]
        );
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(
            format!("{:?}", Some(Secret::new("s3cret"))),
            "Some([hidden])"
        );
    }
}
