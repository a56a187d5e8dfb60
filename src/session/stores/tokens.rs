//! The tokens of past logins: looking them up, storing them, and dropping them.

use std::collections::BTreeMap;

use super::TokenStore;
use super::file::StoreFile;
use super::token_file::{Entry, TokenFile, key_of};
use crate::error::{ErrorKind, Result};
use crate::session::MasterUrl;
use crate::session::environment::Environment;
use crate::session::secret::Secret;

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
        let stored = file.load(|content| TokenFile::parse(content, &self.key))?;
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
            .load(|content| TokenFile::parse(content, &self.key))?
            .unwrap_or_default();
        let entry = stored.masters.entry(self.key.clone()).or_default();
        if change(entry.tokens.get_or_insert_default()) {
            locked.write(stored.to_json()?.as_bytes())?;
        }
        Ok(())
    }
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

        handle.set_token("u", &Secret::new("t")).unwrap();
        let written = fs::read_to_string(scratch.path().join("auth.json")).unwrap();
        assert!(written.contains(r#""active_user": "kim""#), "{written}");
        assert!(written.contains(r#""version": 2"#), "{written}");
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
