//! The files in which Amazon's tools keep profiles: `~/.aws/credentials` and `~/.aws/config`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};
use crate::session::environment::Environment;

/// The settings of one profile. A setting within another, as in `s3 =` and, indented, `addressing_style = path`, has the name
/// `s3.addressing_style`.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) name: String,
    settings: Settings,
}

type Settings = BTreeMap<String, String>;

impl Profile {
    /// The profile that `AWS_PROFILE` names, else the one called `default`, which need not exist.
    pub(super) fn load(environment: &Environment) -> Result<Self> {
        let chosen = environment
            .get("AWS_PROFILE")
            .or_else(|| environment.get("AWS_DEFAULT_PROFILE"));
        match chosen {
            Some(name) => Self::named(environment, name, "AWS_PROFILE"),
            None => Ok(Self::read(environment, "default")?.unwrap_or_else(|| Self {
                name: "default".to_owned(),
                settings: Settings::new(),
            })),
        }
    }

    /// The profile of this name, which `giver` names.
    pub(super) fn named(environment: &Environment, name: &str, giver: &str) -> Result<Self> {
        Self::read(environment, name)?.ok_or_else(|| {
            Error::new(
                ErrorKind::Storage,
                format!("{giver} names the profile {name:?}, which is in neither file of ~/.aws"),
            )
        })
    }

    fn read(environment: &Environment, name: &str) -> Result<Option<Self>> {
        let mut config = sections(environment, "AWS_CONFIG_FILE", "config")?;
        let mut credentials = sections(environment, "AWS_SHARED_CREDENTIALS_FILE", "credentials")?;
        let of_config = config
            .remove(&format!("profile {name}"))
            .or_else(|| config.remove(name).filter(|_| name == "default"));
        let of_credentials = credentials.remove(name);
        if of_config.is_none() && of_credentials.is_none() {
            return Ok(None);
        }
        let mut settings = of_config.unwrap_or_default();
        // Endpoints may stand in a section of their own.
        if let Some(services) = settings.get("services")
            && let Some(services) = config.remove(&format!("services {services}"))
        {
            settings.extend(services);
        }
        settings.extend(of_credentials.unwrap_or_default());
        Ok(Some(Self {
            name: name.to_owned(),
            settings,
        }))
    }

    /// What it is called in errors.
    pub(super) fn place(&self) -> String {
        format!("the profile {:?}", self.name)
    }

    pub(super) fn unusable(&self, why: &str) -> Error {
        Error::new(ErrorKind::Storage, format!("{} {why}", self.place()))
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.settings
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

/// The sections of a file that may not be there.
fn sections(
    environment: &Environment,
    variable: &str,
    name: &str,
) -> Result<BTreeMap<String, Settings>> {
    let path = match environment.path(variable) {
        Some(path) => expand(path, environment),
        None => match environment.home() {
            Some(home) => home.join(".aws").join(name),
            None => return Ok(BTreeMap::new()),
        },
    };
    match fs::read(&path) {
        Ok(bytes) => Ok(parse(&String::from_utf8_lossy(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(Error::io("read", &path, &error).with_kind(ErrorKind::Storage)),
    }
}

/// A path that begins with `~/` is below the home directory.
fn expand(path: PathBuf, environment: &Environment) -> PathBuf {
    match (path.strip_prefix("~"), environment.home()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

fn parse(text: &str) -> BTreeMap<String, Settings> {
    let mut sections: BTreeMap<String, Settings> = BTreeMap::new();
    let mut section: Option<&mut Settings> = None;
    let mut outer = String::new();
    for line in text.lines() {
        let content = line.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = content
            .strip_prefix('[')
            .and_then(|rest| rest.split(']').next())
        {
            let name = name.replace(['"', '\''], "");
            let name: Vec<_> = name.split_whitespace().collect();
            section = Some(sections.entry(name.join(" ")).or_default());
            outer.clear();
            continue;
        }
        let (Some(section), Some((key, value))) = (&mut section, content.split_once('=')) else {
            continue;
        };
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        let value = value.split(" #").next().unwrap_or(value).trim_end();
        if line.starts_with([' ', '\t']) && !outer.is_empty() {
            section.insert(format!("{outer}.{key}"), value.to_owned());
        } else {
            outer.clone_from(&key);
            section.insert(key, value.to_owned());
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
# comment
[default]
region = eu-central-1
s3 =
    addressing_style = path
    max_concurrent_requests = 20
output=json

[profile team]
region=us-west-2
services = minio
aws_access_key_id = from-config

[profile "with blanks"]
region = here

[ services   minio ]
s3 =
  endpoint_url = http://minio:9000
"#;
    const CREDENTIALS: &str = "
[default]
aws_access_key_id = AKIDEXAMPLE
aws_secret_access_key = a=b/c+d
[team]
aws_access_key_id=from-credentials
";

    fn environment(pairs: &[(&str, &str)]) -> (tempfile::TempDir, Environment) {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".aws")).unwrap();
        fs::write(home.path().join(".aws/config"), CONFIG).unwrap();
        fs::write(home.path().join(".aws/credentials"), CREDENTIALS).unwrap();
        let mut pairs: Vec<_> = pairs.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        pairs.push(("HOME", home.path().display().to_string()));
        let environment = Environment::from_pairs(pairs);
        (home, environment)
    }

    #[test]
    fn both_files_make_a_profile() {
        let (_home, environment) = environment(&[]);
        let profile = Profile::load(&environment).unwrap();
        assert_eq!(profile.get("region"), Some("eu-central-1"));
        assert_eq!(profile.get("s3.addressing_style"), Some("path"));
        assert_eq!(profile.get("output"), Some("json"));
        assert_eq!(profile.get("aws_secret_access_key"), Some("a=b/c+d"));
    }

    #[test]
    fn a_named_profile_has_a_prefix_in_one_of_them() {
        let (_home, environment) = environment(&[("AWS_PROFILE", "team")]);
        let profile = Profile::load(&environment).unwrap();
        assert_eq!(profile.get("region"), Some("us-west-2"));
        assert_eq!(profile.get("aws_access_key_id"), Some("from-credentials"));
        assert_eq!(profile.get("s3.endpoint_url"), Some("http://minio:9000"));
    }

    #[test]
    fn a_name_with_blanks_stands_in_quotes() {
        let (_home, environment) = environment(&[("AWS_PROFILE", "with blanks")]);
        let profile = Profile::load(&environment).unwrap();
        assert_eq!(profile.get("region"), Some("here"));
    }

    #[test]
    fn a_named_profile_must_exist_the_default_one_need_not() {
        let (_home, environment) = environment(&[("AWS_PROFILE", "nobody")]);
        let error = Profile::load(&environment).unwrap_err();
        assert!(error.to_string().contains("nobody"), "{error}");
        let profile = Profile::load(&Environment::default()).unwrap();
        assert_eq!(
            (profile.name.as_str(), profile.get("region")),
            ("default", None)
        );
    }

    #[test]
    fn files_may_be_elsewhere() {
        let (home, _) = environment(&[]);
        fs::write(home.path().join("mine"), "[default]\nregion = moon\n").unwrap();
        let environment = Environment::from_pairs([
            ("HOME", home.path().as_os_str().to_owned()),
            ("AWS_CONFIG_FILE", "~/mine".into()),
        ]);
        assert_eq!(
            Profile::load(&environment).unwrap().get("region"),
            Some("moon")
        );
    }
}
