//! The directory in which a download is gathered before it is put in its place.
//!
//! It holds a lock file and one tree of files for each way of downloading. Whoever has the lock has the directory; a process that is killed
//! loses the lock and leaves the rest to the next one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::contents::file_and_directory;
use crate::error::{Error, ErrorKind, Result};
use crate::platform;

/// Why names that are not the same may be one file.
pub(super) const SAME_NAME: &str =
    "its names may differ only by upper and lower case, which this file system does not tell apart";

/// A directory to gather a download in, held by this process alone.
pub(super) struct Staging {
    directory: PathBuf,
    /// Held until this is dropped. `None` on a file system without locks.
    _lock: Option<File>,
}

impl Staging {
    /// Creates or takes over the directory. `None` if another holds it, or has just removed it.
    pub(super) fn try_open(directory: &Path) -> Result<Option<Self>> {
        let failed = |error: &io::Error| Error::io("create the directory", directory, error);
        if let Some(parent) = directory.parent() {
            fs::create_dir_all(parent).map_err(|error| failed(&error))?;
        }
        platform::create_private_directory(directory).map_err(|error| failed(&error))?;
        match fs::symlink_metadata(directory) {
            Ok(found) if found.is_dir() => {}
            // In a directory that others can write to, a link may lead anywhere.
            Ok(_) => return Err(failed(&io::ErrorKind::NotADirectory.into())),
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(failed(&error)),
        }
        let path = directory.join("lock");
        let lock = match platform::try_lock_file(&path) {
            Ok(Some(lock)) => Some(lock),
            Ok(None) => return Ok(None),
            Err(error) if is_absence(&error) => return Ok(None),
            // Some cluster file systems have no locks; a download is not refused for that.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => None,
            Err(error) => return Err(Error::io("lock", &path, &error)),
        };
        Ok(Some(Self {
            directory: directory.to_owned(),
            _lock: lock,
        }))
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The place for the files that come in one way, and what each is marked with as its time of modification.
    pub(super) fn tree(&self, way: &str, mark: Option<SystemTime>) -> Tree {
        Tree {
            root: self.directory.join(way),
            mark,
        }
    }

    /// Removes the directory, and gives it free, unless something in it is worth keeping.
    pub(super) fn remove_if_empty(self) {
        let is_worth_keeping = fs::read_dir(&self.directory)
            .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name() != "lock"));
        if !is_worth_keeping {
            // Whoever waits makes them anew. If they cannot be removed, they only take up a name.
            let _ = fs::remove_file(self.directory.join("lock"));
            let _ = fs::remove_dir(&self.directory);
        }
    }

    /// Removes the directory with all that is in it, and gives it free.
    pub(super) fn remove(self) {
        for entry in fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry.file_name() != "lock" {
                // Best effort: the download is in its place, and nothing takes this for one.
                let _ = match entry.file_type() {
                    Ok(kind) if kind.is_dir() => fs::remove_dir_all(entry.path()),
                    _ => fs::remove_file(entry.path()),
                };
            }
        }
        self.remove_if_empty();
    }
}

/// The files of a download, under their names.
pub(super) struct Tree {
    root: PathBuf,
    mark: Option<SystemTime>,
}

impl Tree {
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Begins with nothing.
    pub(super) fn clear(&self) -> Result<()> {
        self.remove()?;
        fs::create_dir(&self.root)
            .map_err(|error| Error::io("create the directory", &self.root, &error))
    }

    pub(super) fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.root) {
            Err(error) if !is_absence(&error) => {
                Err(Error::io("remove the directory", &self.root, &error))
            }
            _ => Ok(()),
        }
    }

    /// Removes what is of no use after a failure, which is then given back.
    pub(super) fn discard<T>(&self, error: Error) -> Result<T> {
        // The failure is what matters; what cannot be removed here is removed by the next download.
        let _ = self.remove();
        Err(error)
    }

    /// Creates a file that is not there yet, and the directories above it.
    pub(super) fn create_file(&self, name: &Path) -> Result<NewFile> {
        if let Some(parent) = name.parent() {
            self.create_directory(parent)?;
        }
        let path = self.root.join(name);
        match File::create_new(&path) {
            Ok(file) => Ok(NewFile {
                path,
                file,
                mark: self.mark,
            }),
            Err(_) if path.is_dir() => Err(file_and_directory(name)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Error::new(
                ErrorKind::Storage,
                format!("the file {:?} comes twice", name.display().to_string()),
            )
            .with_hint(SAME_NAME)),
            Err(error) => Err(Error::io("create the file", &path, &error)),
        }
    }

    /// Creates a file, unless there is one of `at_least` so many bytes: whether there was, and is kept.
    #[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
    pub(super) fn prepare_file(&self, name: &Path, at_least: Option<u64>) -> Result<bool> {
        if let Some(parent) = name.parent() {
            self.create_directory(parent)?;
        }
        let path = self.root.join(name);
        let prepare = || {
            let file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            let length = file.metadata()?.len();
            let is_kept = at_least.is_some_and(|at_least| length >= at_least);
            if !is_kept {
                file.set_len(0)?;
            }
            Ok(is_kept)
        };
        prepare().map_err(|error: io::Error| Error::io("create the file", &path, &error))
    }

    /// How many files there are.
    #[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
    pub(super) fn count_files(&self) -> Result<usize> {
        let mut count = 0;
        let mut open = vec![self.root.clone()];
        while let Some(directory) = open.pop() {
            let mut look = || {
                for entry in fs::read_dir(&directory)? {
                    let entry = entry?;
                    match entry.file_type()?.is_dir() {
                        true => open.push(entry.path()),
                        false => count += 1,
                    }
                }
                Ok(())
            };
            look()
                .map_err(|error: io::Error| Error::io("read the directory", &directory, &error))?;
        }
        Ok(count)
    }

    /// Opens a prepared file, to be written from `offset` on.
    #[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
    pub(super) fn open_file(&self, name: &Path, offset: u64) -> Result<NewFile> {
        let path = self.root.join(name);
        let failed = |error: io::Error| Error::io("open the file", &path, &error);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .map_err(failed)?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(offset)).map_err(failed)?;
        Ok(NewFile {
            path,
            file,
            mark: self.mark,
        })
    }

    pub(super) fn create_directory(&self, name: &Path) -> Result<()> {
        let path = self.root.join(name);
        fs::create_dir_all(&path).map_err(|error| match error.kind() {
            // There is a file on the way.
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => file_and_directory(name),
            _ => Error::io("create the directory", &path, &error),
        })
    }
}

/// A file that is being written.
pub(super) struct NewFile {
    path: PathBuf,
    file: File,
    mark: Option<SystemTime>,
}

impl NewFile {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .map_err(|error| Error::io("write", &self.path, &error))
    }

    /// Brings what was written to the disk.
    #[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
    pub(super) fn sync(&self) -> Result<()> {
        self.file
            .sync_data()
            .map_err(|error| Error::io("write", &self.path, &error))
    }

    /// Ends the file, and marks it as this checkpoint's.
    pub(super) fn finish(self) -> Result<()> {
        match self.mark {
            Some(mark) => self
                .file
                .set_modified(mark)
                .map_err(|error| Error::io("set the time of", &self.path, &error)),
            None => Ok(()),
        }
    }
}

/// Whether something is not there, rather than out of reach.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_a_dead_one_leaves_its_files_to_the_next() {
        let parent = tempfile::tempdir().unwrap();
        let place = parent.path().join("a/.c.partial");
        let first = Staging::try_open(&place).unwrap().unwrap();
        assert!(Staging::try_open(&place).unwrap().is_none());
        let tree = first.tree("direct", None);
        tree.clear().unwrap();
        tree.create_file(Path::new("sub/w"))
            .unwrap()
            .write(b"x")
            .unwrap();
        drop(first);

        let second = Staging::try_open(&place).unwrap().unwrap();
        assert!(tree.root().join("sub/w").exists());
        second.remove_if_empty();
        assert!(place.exists());
        let third = Staging::try_open(&place).unwrap().unwrap();
        third.remove();
        assert!(!place.exists());
    }

    #[test]
    fn a_file_comes_once_and_bears_its_mark() {
        let parent = tempfile::tempdir().unwrap();
        let staging = Staging::try_open(&parent.path().join("s"))
            .unwrap()
            .unwrap();
        let mark = SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(1_795_464_600_069_202);
        let tree = staging.tree("t", Some(mark));
        tree.clear().unwrap();
        let name = Path::new("d/f");
        let mut file = tree.create_file(name).unwrap();
        file.write(b"abc").unwrap();
        file.finish().unwrap();
        assert_eq!(
            fs::metadata(tree.root().join(name))
                .unwrap()
                .modified()
                .unwrap(),
            mark
        );
        let error = tree.create_file(name).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Storage);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let place = parent.path().join("s");
        std::os::unix::fs::symlink(elsewhere.path(), &place).unwrap();
        let error = Staging::try_open(&place).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Io);
    }
}
