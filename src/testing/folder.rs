//! The master's own folder, where checkpoints are kept.

use super::state::random_hex;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// A folder of its own among the temporary files, removed when dropped.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> io::Result<Self> {
        let path = env::temp_dir().join(format!("determined-mock-{}", random_hex::<8>()));
        fs::create_dir(&path)?;
        // Storage paths are compared as text, so no link may stand in them.
        Ok(Self(path.canonicalize()?))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system, which clears its temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_removed_with_all_that_it_holds() {
        let folder = Folder::new().unwrap();
        let path = folder.path().to_owned();
        fs::create_dir_all(path.join("a/b")).unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
