//! The code that an experiment runs: [`ModelDefinition`], a directory that is packed and sent with the request.

mod ignore;
mod pack;
mod plan;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

#[cfg(fuzzing)]
pub(crate) use ignore::fuzz as fuzz_rules;
pub(crate) use pack::{OnPacked, Submission};
pub(crate) use plan::Plan;

/// The code that an experiment runs: a directory, or [none](Self::none).
///
/// Whatever names a directory converts into one, so `create_experiment(config, ".")` sends the current directory. Sent are all files,
/// hidden ones and empty directories included, under their paths relative to the directory, sorted by path, with modes and times.
/// Together they may hold 95 MiB.
///
/// # What is left out
///
/// - What a `.detignore` file at the root of the directory says, in the syntax of `.gitignore`. Without one, and before its own lines,
///   these are left out: `__pycache__/`, `*.py[co]`, `*$py.class`, Terraform's files, `.git/`, `.vscode/`, `.idea/`, `.mypy_cache/` and
///   `/shared_fs`. A line such as `!*.pyc` brings some back. A pattern also covers everything below what it matches, and the last
///   pattern that matches decides. Files named `.detignore` are never sent.
/// - Sockets, pipes, devices and links that lead nowhere, each with a warning in the log.
///
/// A link to a file is sent as that file. Of a link to a directory an empty directory is sent, with a warning: name it as an
/// [include](crate::CreateExperimentOptions::include) to send what is in it.
///
/// ```
/// use determined::ModelDefinition;
/// use std::path::Path;
///
/// let directory = ModelDefinition::from("model/def");
/// assert_eq!(directory.directory(), Some(Path::new("model/def")));
/// assert_eq!(ModelDefinition::none().directory(), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelDefinition(Option<PathBuf>);

impl ModelDefinition {
    /// No code of its own: the experiment's entry point is in its image, or in directories that are
    /// [included](crate::CreateExperimentOptions::include).
    pub fn none() -> Self {
        Self(None)
    }

    /// The directory, if there is one.
    pub fn directory(&self) -> Option<&Path> {
        self.0.as_deref()
    }
}

macro_rules! a_directory_from {
    ($($path:ty),*) => {$(
        impl From<$path> for ModelDefinition {
            fn from(directory: $path) -> Self {
                Self(Some(directory.into()))
            }
        }
    )*};
}

a_directory_from!(
    &str, String, &String, &OsStr, OsString, &OsString, &Path, PathBuf, &PathBuf
);

impl From<&ModelDefinition> for ModelDefinition {
    fn from(definition: &ModelDefinition) -> Self {
        definition.clone()
    }
}

#[cfg(test)]
mod fixture {
    use super::*;
    use crate::{CancelToken, Result};
    use std::fs;
    use tempfile::TempDir;

    /// A directory with these files; a path that ends in a slash is an empty directory.
    pub(super) fn tree(files: &[(&str, &str)]) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let target = directory.path().join(path);
            if path.ends_with('/') {
                fs::create_dir_all(target).unwrap();
            } else {
                fs::create_dir_all(target.parent().unwrap()).unwrap();
                fs::write(target, content).unwrap();
            }
        }
        directory
    }

    pub(super) fn plan(
        definition: impl Into<ModelDefinition>,
        includes: &[PathBuf],
    ) -> Result<Plan> {
        Plan::new(&definition.into(), includes, &CancelToken::new())
    }
}
