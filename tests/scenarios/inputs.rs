//! The files that the scenarios submit.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::replay::directory;

/// A scratch directory with the recorded inputs, in the modes in which they were submitted.
pub struct Inputs(TempDir);

impl Inputs {
    pub fn new() -> Self {
        let inputs = Self(TempDir::new().unwrap());
        inputs.copy(&directory().join("inputs"), inputs.0.path());
        inputs
    }

    fn copy(&self, from: &Path, to: &Path) {
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                self.make_directory(&to);
                self.copy(&entry.path(), &to);
            } else {
                self.write(&to, &fs::read_to_string(entry.path()).unwrap());
            }
        }
    }

    pub fn directory(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn make_directory(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = self.0.path().join(path);
        fs::create_dir(&path).unwrap();
        set_mode(&path, 0o755);
        path
    }

    pub fn write(&self, path: impl AsRef<Path>, text: &str) {
        let path = self.0.path().join(path);
        fs::write(&path, text).unwrap();
        set_mode(&path, 0o644);
    }
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(not(unix))]
fn set_mode(_: &Path, _: u32) {}
