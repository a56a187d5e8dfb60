//! Which certificate settings hold: the caller's, the environment's, or those in the store that the `det` command fills.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::TokenStore;
use super::file::{StoreFile, corrupt};
use crate::error::{Error, ErrorKind, Result};
use crate::session::MasterUrl;
use crate::session::environment::Environment;

/// What the caller wants. Nothing of it is given by default.
#[derive(Debug, Clone, Default)]
pub(crate) struct CertificateOptions {
    /// A PEM file with certificates to trust.
    pub(crate) path: Option<PathBuf>,
    /// PEM text with certificates to trust.
    pub(crate) pem: Option<Vec<u8>>,
    /// The name that the master's certificate bears.
    pub(crate) name: Option<String>,
    /// Whether any certificate is good.
    pub(crate) noverify: bool,
}

/// How the master's certificate is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateSettings {
    /// PEM text with certificates to trust beside the public ones. Nobody has looked into it yet.
    pub(crate) pem: Option<Vec<u8>>,
    /// The name that the certificate must bear instead of the host of the URL.
    pub(crate) name: Option<String>,
    /// Whether it is judged at all.
    pub(crate) verify: bool,
}

impl CertificateSettings {
    /// Decides. Whom to trust is, by the first of these that says something: the caller (`cert_path`, `cert_pem`, `noverify`);
    /// `DET_MASTER_CERT_FILE`; the certificate store in the directory of `store`. The name is the caller's. If the caller leaves
    /// it and the trust open, it is that of `DET_MASTER_CERT_NAME`.
    ///
    /// A file that `DET_MASTER_CERT_FILE` names but is not there, and a store that cannot be read, are logged and passed over: then the
    /// public authorities alone are trusted.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the caller's wishes contradict each other, `Io` if a certificate file cannot be read,
    /// `CorruptCertificateCache` if the store makes no sense: it is set aside, so the next call works.
    pub(crate) fn resolve(
        options: &CertificateOptions,
        store: &TokenStore,
        environment: &Environment,
        master: &MasterUrl,
    ) -> Result<Self> {
        let explicit = match (&options.path, &options.pem) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid_input(
                    "cert_path and cert_pem exclude each other; give one of them",
                ));
            }
            (Some(path), None) => Some(read(path)?),
            (None, pem) => pem.clone(),
        };
        if explicit.is_some() && options.noverify {
            return Err(Error::invalid_input(
                "noverify makes a certificate pointless; give one or the other",
            ));
        }
        if explicit.is_some() || options.noverify {
            return Ok(Self {
                pem: explicit,
                name: options.name.clone(),
                verify: !options.noverify,
            });
        }
        let from_environment = environment.master_cert_file();
        let is_noverify = from_environment
            .as_ref()
            .is_some_and(|word| word.as_os_str().eq_ignore_ascii_case("noverify"));
        let pem = match from_environment {
            Some(_) if is_noverify => None,
            Some(path) => read_if_there(&path)?,
            None => stored(store, environment, master)?,
        };
        Ok(Self {
            pem,
            name: options
                .name
                .clone()
                .or_else(|| environment.master_cert_name().map(str::to_owned)),
            // A caller who names a certificate wants to see it, whatever the environment says.
            verify: !is_noverify || options.name.is_some(),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Error::io("read the certificate file", path, &error))
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(pem) => Ok(Some(pem)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            log::warn!(
                target: "determined",
                "DET_MASTER_CERT_FILE names {}, which is not there: going on without it",
                path.display()
            );
            Ok(None)
        }
        Err(error) => {
            Err(Error::io("read the certificate file", path, &error)
                .doing("use DET_MASTER_CERT_FILE"))
        }
    }
}

/// What the store has for this master. Nothing is written, but that a corrupt file is set aside.
fn stored(
    store: &TokenStore,
    environment: &Environment,
    master: &MasterUrl,
) -> Result<Option<Vec<u8>>> {
    let Some(directory) = store.directory(environment) else {
        return Ok(None);
    };
    let file = StoreFile::new(
        directory.join("certs.json"),
        ErrorKind::CorruptCertificateCache,
    );
    match file.load(parse) {
        Ok(Some(mut certificates)) => {
            Ok(certificates.remove(master.as_str()).map(String::into_bytes))
        }
        // Before there was a store, there was one certificate for all masters.
        Ok(None) => Ok(fs::read(directory.join("master.crt")).ok()),
        Err(error) if error.kind() == ErrorKind::Io => {
            log::warn!(target: "determined", "going on without the certificate store: {error}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The certificates in PEM by the master's URL.
fn parse(content: &[u8]) -> Result<BTreeMap<String, String>> {
    serde_json::from_slice(content).map_err(|error| {
        corrupt(
            ErrorKind::CorruptCertificateCache,
            "certificate store",
            &error,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with certificate files and, as a store, the directory `d` in it.
    struct Scratch(tempfile::TempDir);

    impl Scratch {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            fs::create_dir(directory.path().join("d")).unwrap();
            fs::write(directory.path().join("own.pem"), "OWN").unwrap();
            fs::write(directory.path().join("env.pem"), "ENV").unwrap();
            Self(directory)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn store(&self, content: &str) {
            fs::write(self.path("d/certs.json"), content).unwrap();
        }

        fn resolve(
            &self,
            options: &CertificateOptions,
            pairs: &[(&str, &str)],
        ) -> Result<CertificateSettings> {
            let environment = Environment::from_pairs(pairs.iter().copied());
            let store = TokenStore::Dir(self.path("d"));
            let master = MasterUrl::parse("https://m").unwrap();
            CertificateSettings::resolve(options, &store, &environment, &master)
        }
    }

    fn settings(pem: Option<&str>, name: Option<&str>, verify: bool) -> CertificateSettings {
        CertificateSettings {
            pem: pem.map(|pem| pem.as_bytes().to_vec()),
            name: name.map(str::to_owned),
            verify,
        }
    }

    #[test]
    fn the_caller_comes_before_the_environment_and_that_before_the_store() {
        let scratch = Scratch::new();
        scratch.store(r#"{"https://m:443": "STORED", "https://other:443": "OTHER"}"#);
        let own = CertificateOptions {
            path: Some(scratch.path("own.pem")),
            ..Default::default()
        };
        let text = CertificateOptions {
            pem: Some(b"TEXT".to_vec()),
            ..Default::default()
        };
        let name = CertificateOptions {
            name: Some("n".into()),
            ..Default::default()
        };
        let noverify = CertificateOptions {
            noverify: true,
            ..Default::default()
        };
        let nothing = CertificateOptions::default();
        let own_name = CertificateOptions {
            name: Some("n".into()),
            ..own.clone()
        };
        let env_pem = scratch
            .path("env.pem")
            .into_os_string()
            .into_string()
            .unwrap();
        let file = ("DET_MASTER_CERT_FILE", &*env_pem);
        let env_name = ("DET_MASTER_CERT_NAME", "e");
        let env_noverify = ("DET_MASTER_CERT_FILE", "NoVerify");
        let empty = ("DET_MASTER_CERT_FILE", "");

        type Row<'a> = (
            &'a CertificateOptions,
            &'a [(&'a str, &'a str)],
            CertificateSettings,
        );
        let table: [Row<'_>; 13] = [
            (&nothing, &[], settings(Some("STORED"), None, true)),
            (&nothing, &[empty], settings(Some("STORED"), None, true)),
            (
                &nothing,
                &[env_name],
                settings(Some("STORED"), Some("e"), true),
            ),
            (
                &nothing,
                &[file, env_name],
                settings(Some("ENV"), Some("e"), true),
            ),
            (&nothing, &[env_noverify], settings(None, None, false)),
            (
                &name,
                &[env_name],
                settings(Some("STORED"), Some("n"), true),
            ),
            (&name, &[file], settings(Some("ENV"), Some("n"), true)),
            (&name, &[env_noverify], settings(None, Some("n"), true)),
            (&own, &[file, env_name], settings(Some("OWN"), None, true)),
            (&own, &[env_noverify], settings(Some("OWN"), None, true)),
            (
                &own_name,
                &[env_name],
                settings(Some("OWN"), Some("n"), true),
            ),
            (&text, &[file], settings(Some("TEXT"), None, true)),
            (&noverify, &[file, env_name], settings(None, None, false)),
        ];
        for (n, (options, pairs, expected)) in table.into_iter().enumerate() {
            let found = scratch.resolve(options, pairs).unwrap();
            assert_eq!(found, expected, "row {n}");
        }
    }

    #[test]
    fn wishes_that_contradict_each_other_are_refused() {
        let scratch = Scratch::new();
        let path = Some(scratch.path("own.pem"));
        let pem = Some(b"TEXT".to_vec());
        for (path, pem, noverify) in [
            (path.clone(), None, true),
            (None, pem.clone(), true),
            (path, pem, false),
        ] {
            let options = CertificateOptions {
                path,
                pem,
                name: None,
                noverify,
            };
            let error = scratch.resolve(&options, &[]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error_for_the_caller_and_a_warning_for_the_environment() {
        let scratch = Scratch::new();
        scratch.store(r#"{"https://m:443": "STORED"}"#);
        let options = CertificateOptions {
            path: Some(scratch.path("gone.pem")),
            ..Default::default()
        };
        let error = scratch.resolve(&options, &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("gone.pem"), "{error}");

        let nothing = CertificateOptions::default();
        let gone = [("DET_MASTER_CERT_FILE", "/nowhere/gone.pem")];
        let found = scratch.resolve(&nothing, &gone).unwrap();
        assert_eq!(found, settings(None, None, true));

        let directory = scratch.path("d").into_os_string().into_string().unwrap();
        let unreadable = [("DET_MASTER_CERT_FILE", &*directory)];
        let error = scratch.resolve(&nothing, &unreadable).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(
            error.to_string().contains("DET_MASTER_CERT_FILE"),
            "{error}"
        );
    }

    #[test]
    fn looking_for_a_certificate_writes_nothing() {
        let scratch = Scratch::new();
        let nothing = CertificateOptions::default();
        let stored = |scratch: &Scratch| scratch.resolve(&nothing, &[]).unwrap().pem;
        assert_eq!(stored(&scratch), None);

        // The certificate from before there was a store counts only without one.
        fs::write(scratch.path("d/master.crt"), "LEGACY").unwrap();
        assert_eq!(stored(&scratch).as_deref(), Some(b"LEGACY".as_slice()));
        let content = r#"{"https://other:443": "OTHER"}"#;
        scratch.store(content);
        assert_eq!(stored(&scratch), None);

        let names = fs::read_dir(scratch.path("d")).unwrap().count();
        assert_eq!(names, 2);
        let file = fs::read_to_string(scratch.path("d/certs.json")).unwrap();
        assert_eq!(file, content);
    }

    #[test]
    fn without_a_store_none_is_looked_into() {
        let environment = Environment::default();
        let master = MasterUrl::parse("https://m").unwrap();
        for store in [TokenStore::None, TokenStore::Default] {
            let options = CertificateOptions::default();
            let found = CertificateSettings::resolve(&options, &store, &environment, &master);
            assert_eq!(found.unwrap(), settings(None, None, true));
        }
    }

    #[test]
    fn a_corrupt_certificate_store_is_set_aside_and_the_next_call_works() {
        for content in ["", "[]", "{\"a\": 1}", "nonsense"] {
            let scratch = Scratch::new();
            scratch.store(content);
            let nothing = CertificateOptions::default();
            let error = scratch.resolve(&nothing, &[]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CorruptCertificateCache);
            let aside = scratch.path("d/certs.json.corrupt-1");
            assert_eq!(fs::read_to_string(aside).unwrap(), content);
            let found = scratch.resolve(&nothing, &[]).unwrap();
            assert_eq!(found, settings(None, None, true));
        }
    }

    #[test]
    fn a_store_that_cannot_be_read_is_passed_over() {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path("d/certs.json")).unwrap();
        let found = scratch
            .resolve(&CertificateOptions::default(), &[])
            .unwrap();
        assert_eq!(found, settings(None, None, true));
    }
}
