//! What a checkpoint is to hold, and what is let in besides.
//!
//! The master was told the name and size of every file when the checkpoint was made. A download is measured against that account: while it
//! runs, so that a hostile or broken store cannot fill the disk, and when it has ended, so that nothing that is cut passes for whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::platform;

/// A file that was still being appended to when its size was reported may be longer by this part of it.
const GROWTH: u64 = 1024;
/// What is let in that was not reported: this part of what was, and so many files and bytes more.
const EXTRA: u64 = 16;
const EXTRA_FILES: u64 = 1_000;
const EXTRA_BYTES: u64 = 16 << 20;
/// What is let in where nothing was reported.
const UNREPORTED_FILES: u64 = 1_000_000;
const UNREPORTED_BYTES: u64 = 1 << 40;

/// The files and directories of a checkpoint, as the master has them on record.
#[derive(Debug)]
pub(super) struct Contents {
    files: BTreeMap<PathBuf, u64>,
    directories: BTreeSet<PathBuf>,
}

impl Contents {
    /// `resources` has a size for each file; what ends in a slash is a directory.
    pub(super) fn new(resources: &BTreeMap<String, u64>) -> Result<Self> {
        let mut contents = Self {
            files: BTreeMap::new(),
            directories: BTreeSet::new(),
        };
        for (name, size) in resources {
            let path = local_path(name)?;
            let parents = path.ancestors().skip(1).map(Path::to_owned);
            contents.directories.extend(parents);
            if name.ends_with('/') {
                contents.directories.insert(path);
            } else {
                contents.files.insert(path, *size);
            }
        }
        contents.directories.remove(Path::new(""));
        let Contents { files, directories } = &mut contents;
        // Some stores have a directory as an empty file.
        files.retain(|path, size| *size > 0 || !directories.contains(path));
        match files.keys().find(|path| directories.contains(*path)) {
            Some(path) => Err(file_and_directory(path)),
            None => Ok(contents),
        }
    }

    /// Whether the master has any file of the checkpoint on record.
    pub(super) fn is_known(&self) -> bool {
        !self.files.is_empty()
    }

    pub(super) fn is_file(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    /// Whether a file of that size can be the one that was reported under that name.
    pub(super) fn fits(&self, path: &Path, size: u64) -> bool {
        self.files
            .get(path)
            .is_some_and(|reported| size >= *reported && size <= longest(*reported))
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    pub(super) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.directories.iter().map(PathBuf::as_path)
    }

    /// How many files and bytes there are, where that is known.
    pub(super) fn totals(&self) -> Option<(u64, u64)> {
        self.is_known().then(|| {
            let bytes = self.files.values().copied().fold(0, u64::saturating_add);
            (self.files.len() as u64, bytes)
        })
    }

    /// A gate for one download.
    pub(super) fn gate(&self) -> Gate<'_> {
        let (files, bytes) = match self.totals() {
            Some((files, bytes)) => (
                (files / EXTRA).saturating_add(EXTRA_FILES),
                (bytes / EXTRA).saturating_add(EXTRA_BYTES),
            ),
            None => (UNREPORTED_FILES, UNREPORTED_BYTES),
        };
        Gate {
            contents: self,
            files_left: files,
            bytes_left: bytes,
        }
    }

    /// An error unless every file is there, none of them cut.
    pub(super) fn verify(&self, root: &Path) -> Result<()> {
        for (path, reported) in &self.files {
            match fs::symlink_metadata(root.join(path)) {
                Ok(found) if found.is_file() && self.fits(path, found.len()) => {}
                Ok(found) => return Err(wrong_size(path, found.len(), *reported)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(Error::new(
                        ErrorKind::Storage,
                        format!(
                            "the file {:?} is missing in the storage",
                            path.display().to_string()
                        ),
                    ));
                }
                Err(error) => return Err(Error::io("look at", &root.join(path), &error)),
            }
        }
        Ok(())
    }
}

/// The longest that a file of this reported size may be.
fn longest(reported: u64) -> u64 {
    reported.saturating_add(reported / GROWTH)
}

fn wrong_size(path: &Path, size: u64, reported: u64) -> Error {
    Error::new(
        ErrorKind::Storage,
        format!(
            "the file {:?} has {size} bytes in the storage instead of {reported}",
            path.display().to_string()
        ),
    )
}

/// Decides what is let in to the disk, file by file.
pub(super) struct Gate<'a> {
    contents: &'a Contents,
    files_left: u64,
    bytes_left: u64,
}

impl Gate<'_> {
    /// An error if the file cannot be the one that was reported, or if too much comes that was not.
    pub(super) fn admit(&mut self, path: &Path, size: u64) -> Result<()> {
        match self.contents.files.get(path) {
            Some(_) if self.contents.fits(path, size) => Ok(()),
            Some(reported) => Err(wrong_size(path, size, *reported)),
            None => self.admit_more(path, size),
        }
    }

    /// An error if too many directories come that were not reported: they fill a disk too.
    pub(super) fn admit_directory(&mut self, path: &Path) -> Result<()> {
        if path.as_os_str().is_empty() || self.contents.directories.contains(path) {
            return Ok(());
        }
        self.admit_more(path, 0)
    }

    fn admit_more(&mut self, path: &Path, size: u64) -> Result<()> {
        let left = self
            .files_left
            .checked_sub(1)
            .zip(self.bytes_left.checked_sub(size));
        let Some((files, bytes)) = left else {
            return Err(Error::new(
                ErrorKind::Storage,
                format!(
                    "far more comes than the checkpoint is said to hold ({}): stopped before {:?}, of {size} bytes",
                    self.contents.account(),
                    path.display().to_string()
                ),
            ));
        };
        (self.files_left, self.bytes_left) = (files, bytes);
        Ok(())
    }
}

impl Contents {
    fn account(&self) -> String {
        match self.totals() {
            Some((files, bytes)) => format!("{bytes} bytes in {files} files"),
            None => "an unknown number of files".to_owned(),
        }
    }
}

/// What no file system can hold: a file, and files below it.
pub(super) fn file_and_directory(path: &Path) -> Error {
    Error::new(
        ErrorKind::Storage,
        format!(
            "{:?} comes as a file and as a directory",
            path.display().to_string()
        ),
    )
}

/// The path of a file below the directory of the download. `name` has slashes between its parts; a name that would lead elsewhere is an
/// error.
pub(super) fn local_path(name: &str) -> Result<PathBuf> {
    let refused = |why: &str| {
        Error::new(
            ErrorKind::Storage,
            format!("a file named {name:?} is refused: {why}"),
        )
    };
    if name.starts_with('/') {
        return Err(refused("the name is absolute"));
    }
    let mut path = PathBuf::new();
    for part in name.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if let Some(problem) = platform::file_name_problem(part) {
            return Err(refused(problem));
        }
        path.push(part);
    }
    if path.as_os_str().is_empty() && !name.ends_with('/') {
        return Err(refused("the name is empty"));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(resources: &[(&str, u64)]) -> Contents {
        let resources = resources.iter().map(|(k, v)| ((*k).to_owned(), *v));
        Contents::new(&resources.collect()).unwrap()
    }

    #[test]
    fn a_name_that_leads_out_is_refused() {
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/../../x",
            "a/..",
            "/etc/passwd",
            "//x",
            "a\0b",
            "../",
            "/",
        ] {
            let error = local_path(name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Storage, "{name:?}");
        }
        assert!(Contents::new(&[("../x".to_owned(), 1)].into()).is_err());
    }

    #[test]
    fn a_plain_name_is_kept() {
        for (name, path) in [
            ("a", "a"),
            ("a b/c+d/ü.bin", "a b/c+d/ü.bin"),
            ("./a//b/./c", "a/b/c"),
            ("...", "..."),
            ("a/", "a"),
            ("./", ""),
        ] {
            assert_eq!(local_path(name).unwrap(), Path::new(path), "{name:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_name_the_path_stays_below(name in "[a./\\\\\0:~ ü]{0,12}") {
            if let Ok(path) = local_path(&name) {
                let is_plain = |part| matches!(part, std::path::Component::Normal(_));
                proptest::prop_assert!(path.components().all(is_plain), "{name:?} became {path:?}");
            }
        }
    }

    #[test]
    fn a_reported_file_must_have_its_size() {
        let contents = contents(&[("small", 41), ("large", 1 << 20), ("empty", 0)]);
        let mut gate = contents.gate();
        for (name, size, fits) in [
            ("small", 41, true),
            ("small", 40, false),
            ("small", 42, false),
            ("large", 1 << 20, true),
            ("large", (1 << 20) + 1024, true),
            ("large", (1 << 20) + 1025, false),
            ("large", (1 << 20) - 1, false),
            ("empty", 0, true),
            ("empty", 1, false),
        ] {
            assert_eq!(
                gate.admit(Path::new(name), size).is_ok(),
                fits,
                "{name} {size}"
            );
        }
    }

    #[test]
    fn a_little_more_than_was_reported_is_let_in_but_not_much() {
        let contents = contents(&[("a", 11)]);
        let mut gate = contents.gate();
        gate.admit(Path::new("metadata.json"), 24).unwrap();
        gate.admit(Path::new("more"), 15 << 20).unwrap();
        let error = gate.admit(Path::new("bomb"), 2 << 20).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.to_string().contains("11 bytes in 1 files"), "{error}");

        let mut gate = contents.gate();
        let admitted = (0..2_000)
            .take_while(|n| gate.admit(&PathBuf::from(format!("f{n}")), 0).is_ok())
            .count();
        assert_eq!(admitted, 1_000);
    }

    #[test]
    fn what_is_missing_or_cut_is_found() {
        let contents = contents(&[("a", 3), ("d/b", 2), ("e/", 0)]);
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("d")).unwrap();
        fs::write(root.path().join("a"), "abc").unwrap();
        let error = contents.verify(root.path()).unwrap_err();
        assert!(error.to_string().contains("\"d/b\" is missing"), "{error}");
        fs::write(root.path().join("d/b"), "x").unwrap();
        let error = contents.verify(root.path()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("1 bytes in the storage instead of 2"),
            "{error}"
        );
        fs::write(root.path().join("d/b"), "xy").unwrap();
        contents.verify(root.path()).unwrap();
    }

    #[test]
    fn directories_are_told_from_files() {
        let both = [("a".to_owned(), 1), ("a/b".to_owned(), 1)];
        let error = Contents::new(&both.into()).unwrap_err();
        assert!(
            error.to_string().contains("a file and as a directory"),
            "{error}"
        );
        // "sub" is how some stores show the directory.
        let contents = contents(&[("sub", 0), ("sub/", 0), ("sub/w.bin", 2048)]);
        assert_eq!(contents.totals(), Some((1, 2048)));
        assert_eq!(
            contents.directories().collect::<Vec<_>>(),
            [Path::new("sub")]
        );
        assert!(contents.is_file(Path::new("sub/w.bin")) && !contents.is_file(Path::new("sub")));
    }
}
