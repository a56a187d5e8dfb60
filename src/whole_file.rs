//! Files that appear whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, Result};

/// Tells the files of one process apart that are written to the same place at once.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A file that is being written beside its place. Dropped before [`finish`](Self::finish), it leaves nothing, and what is there stays.
pub(crate) struct WholeFile {
    file: File,
    target: PathBuf,
    /// Where it is written. `None` where there is nothing to keep whole, such as a pipe: then it is written at once.
    part: Option<PathBuf>,
}

impl WholeFile {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        // A symbolic link stays one: what it leads to is replaced.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let is_special = fs::metadata(&target).is_ok_and(|found| !found.is_file());
        let part = (!is_special).then(|| part_of(&target));
        let file = File::create(part.as_ref().unwrap_or(&target))
            .map_err(|error| Error::io("write", path, &error))?;
        Ok(Self { file, target, part })
    }

    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .map_err(|error| Error::io("write", &self.target, &error))
    }

    /// Puts the file in its place.
    pub(crate) fn finish(mut self) -> Result<()> {
        let Some(part) = &self.part else {
            return Ok(());
        };
        self.file
            .sync_all()
            .and_then(|()| fs::rename(part, &self.target))
            .map_err(|error| Error::io("write", &self.target, &error))?;
        self.part = None;
        Ok(())
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            // What is left of it is of no use; if it cannot be removed, so be it.
            let _ = fs::remove_file(part);
        }
    }
}

fn part_of(target: &Path) -> PathBuf {
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut name = OsString::from(target);
    name.push(format!(".{}-{count}.part", std::process::id()));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn a_file_replaces_another_only_when_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.json");
        fs::write(&path, "old").unwrap();

        let mut dropped = WholeFile::create(&path).unwrap();
        dropped.write_all(b"ne").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(dropped);
        assert_eq!(names(directory.path()), ["a.json"]);

        let mut whole = WholeFile::create(&path).unwrap();
        whole.write_all(b"new").unwrap();
        whole.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(directory.path()), ["a.json"]);
    }

    #[cfg(unix)]
    #[test]
    fn what_a_link_leads_to_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("a"), directory.path().join("link"));
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut file = WholeFile::create(&link).unwrap();
        file.write_all(b"new").unwrap();
        file.finish().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_written_to_and_not_replaced() {
        let mut file = WholeFile::create(Path::new("/dev/null")).unwrap();
        file.write_all(b"nothing").unwrap();
        file.finish().unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn a_place_that_is_not_there_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("missing").join("a.json");
        let error = WholeFile::create(&path).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");
    }
}
