//! A file that several programs read and change at once: the token store and the certificate store, which the Python SDK and the
//! `det` command use too.
//!
//! Who changes `auth.json` holds the lock on `auth.json.lock`, writes `auth.json.temp` and renames it. So a reader needs no lock: it finds
//! the old content or the new. A file that nobody can make sense of is renamed to `auth.json.corrupt-1` (or the next free number), so
//! that nothing is lost and the next call begins with an empty store.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::platform;

/// How long to wait for a lock. Its holders need milliseconds.
const LOCK_LIMIT: Duration = Duration::from_secs(30);
/// The longest pause between two looks at a lock.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// A shared file; it need not exist.
#[derive(Debug, Clone)]
pub(super) struct StoreFile {
    path: PathBuf,
    /// The kind of the errors of a file that makes no sense.
    corrupt: ErrorKind,
}

impl StoreFile {
    /// `corrupt` is the kind of error with which a parser says that the file makes no sense, and must be set aside.
    pub(super) fn new(path: PathBuf, corrupt: ErrorKind) -> Self {
        Self { path, corrupt }
    }

    /// What is in the file, or `None` if there is no such file. The lock is taken only to set aside what is corrupt.
    ///
    /// # Errors
    ///
    /// Those of `parse`, and `Io` if the file is there but cannot be read.
    pub(super) fn load<T>(&self, parse: impl Fn(&[u8]) -> Result<T>) -> Result<Option<T>> {
        let error = match self.read(&parse) {
            Err(error) if error.kind() == self.corrupt => error,
            understood => return understood,
        };
        match self.lock() {
            // Another program may have put it right by now.
            Ok(locked) => locked.load(parse),
            Err(refusal) => Err(error.with_hint(format!("remove the file ({refusal})"))),
        }
    }

    fn read<T>(&self, parse: impl Fn(&[u8]) -> Result<T>) -> Result<Option<T>> {
        use io::ErrorKind::{NotADirectory, NotFound};
        // Whoever reads a pipe waits for one who writes.
        let is_special =
            fs::metadata(&self.path).is_ok_and(|found| !found.is_file() && !found.is_dir());
        let read = match is_special {
            true => Err(io::Error::other("it is not a file")),
            false => fs::read(&self.path),
        };
        match read {
            Ok(content) => parse(&content).map(Some),
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(None),
            Err(error) => Err(Error::io("read", &self.path, &error)),
        }
    }

    /// Waits until no other program is changing the file, and keeps others from it until the answer is dropped. Makes the directory
    /// if it is not there.
    ///
    /// # Errors
    ///
    /// `Io` if the directory cannot be made or written to, or another program keeps the lock for half a minute.
    pub(super) fn lock(&self) -> Result<LockedStore<'_>> {
        self.lock_within(LOCK_LIMIT)
    }

    fn lock_within(&self, limit: Duration) -> Result<LockedStore<'_>> {
        if let Some(directory) = self.path.parent() {
            platform::create_private_directory(directory)
                .map_err(|error| Error::io("create the directory", directory, &error))?;
        }
        let lock = sibling(&self.path, ".lock");
        let deadline = Instant::now() + limit;
        let mut pause = Duration::from_millis(1);
        loop {
            let taken = platform::try_lock_file(&lock)
                .map_err(|error| Error::io("take the lock", &lock, &error))?;
            if let Some(lock) = taken {
                return Ok(LockedStore {
                    file: self,
                    _lock: lock,
                });
            }
            if Instant::now() >= deadline {
                let seconds = limit.as_secs();
                return Err(Error::new(
                    ErrorKind::Io,
                    format!(
                        "another program has kept the lock {} for {seconds} s",
                        lock.display()
                    ),
                ));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LOCK_POLL);
        }
    }
}

/// A store file that no other program changes.
pub(super) struct LockedStore<'a> {
    file: &'a StoreFile,
    _lock: File,
}

impl LockedStore<'_> {
    /// What is in the file now, or `None` if there is no such file.
    ///
    /// # Errors
    ///
    /// Those of `parse`, and `Io` if the file is there but cannot be read.
    pub(super) fn load<T>(&self, parse: impl Fn(&[u8]) -> Result<T>) -> Result<Option<T>> {
        self.file.read(parse).map_err(|error| {
            if error.kind() != self.file.corrupt {
                return error;
            }
            match self.set_aside() {
                Ok(aside) => error.with_hint(format!(
                    "it was set aside as {}, so please try again",
                    aside.display()
                )),
                Err(refusal) => error.with_hint(format!("remove the file ({refusal})")),
            }
        })
    }

    /// Puts `content` in place of what is there, at once and for this user's eyes alone.
    ///
    /// # Errors
    ///
    /// `Io` if it cannot be written; then the file is as it was.
    pub(super) fn write(&self, content: &[u8]) -> Result<()> {
        let path = &self.file.path;
        // A symbolic link stays one: what it leads to is replaced.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let temporary = sibling(&target, ".temp");
        replace(&target, &temporary, content).map_err(|error| {
            // Nothing more can be done about it here.
            let _ = fs::remove_file(&temporary);
            Error::io("write", path, &error)
        })
    }

    fn set_aside(&self) -> Result<PathBuf> {
        let path = &self.file.path;
        let mut n = 1;
        let aside = loop {
            let aside = sibling(path, &format!(".corrupt-{n}"));
            if fs::symlink_metadata(&aside).is_err() {
                break aside;
            }
            n += 1;
        };
        fs::rename(path, &aside).map_err(|error| Error::io("rename", path, &error))?;
        // It may hold tokens. Whoever could read it before is no worse off if this fails.
        let _ = platform::make_private(&aside);
        Ok(aside)
    }
}

fn replace(target: &Path, temporary: &Path, content: &[u8]) -> io::Result<()> {
    // A leftover of a program that was killed may be readable to others.
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = platform::create_private_file(temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    drop(file);
    fs::rename(temporary, target)
}

fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// The error for a file that is no JSON, or not of the expected shape. What serde says of a wrong shape would quote the file, and
/// with it a token.
pub(super) fn corrupt(kind: ErrorKind, what: &str, error: &serde_json::Error) -> Error {
    let detail = if error.is_data() {
        format!("the {what} is corrupt: it is not of the shape that belongs there")
    } else {
        let (line, column) = (error.line(), error.column());
        format!("the {what} is corrupt: it is not JSON, from line {line}, column {column} on")
    };
    Error::new(kind, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(directory: &Path) -> StoreFile {
        StoreFile::new(directory.join("d/auth.json"), ErrorKind::CorruptTokenCache)
    }

    fn text(content: &[u8]) -> Result<String> {
        String::from_utf8(content.to_vec())
            .map_err(|_| Error::new(ErrorKind::CorruptTokenCache, "it is corrupt"))
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn reading_makes_neither_file_nor_directory() {
        let scratch = tempfile::tempdir().unwrap();
        assert_eq!(store(scratch.path()).load(text).unwrap(), None);
        assert!(names(scratch.path()).is_empty());

        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(store(&file).load(text).unwrap(), None);
    }

    #[test]
    fn what_is_written_replaces_what_was_there() {
        let scratch = tempfile::tempdir().unwrap();
        let store = store(scratch.path());
        for content in ["a long first content", "short"] {
            store.lock().unwrap().write(content.as_bytes()).unwrap();
            assert_eq!(store.load(text).unwrap().as_deref(), Some(content));
        }
        assert_eq!(
            names(&scratch.path().join("d")),
            ["auth.json", "auth.json.lock"]
        );
    }

    #[cfg(unix)]
    #[test]
    fn only_the_user_can_read_it_whoever_could_before() {
        let scratch = tempfile::tempdir().unwrap();
        let store = store(scratch.path());
        let directory = scratch.path().join("d");
        fs::create_dir(&directory).unwrap();
        for name in ["auth.json", "auth.json.temp"] {
            fs::write(directory.join(name), "").unwrap();
            platform::set_mode(&directory.join(name), 0o644).unwrap();
        }
        store.lock().unwrap().write(b"secret").unwrap();
        let metadata = fs::metadata(directory.join("auth.json")).unwrap();
        assert_eq!(platform::mode(&metadata), 0o100_600);
        assert!(!directory.join("auth.json.temp").exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_stays_one() {
        let scratch = tempfile::tempdir().unwrap();
        let store = store(scratch.path());
        let (directory, elsewhere) = (scratch.path().join("d"), scratch.path().join("real.json"));
        fs::create_dir(&directory).unwrap();
        fs::write(&elsewhere, "old").unwrap();
        std::os::unix::fs::symlink(&elsewhere, directory.join("auth.json")).unwrap();
        store.lock().unwrap().write(b"new").unwrap();
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "new");
        assert_eq!(store.load(text).unwrap().as_deref(), Some("new"));
    }

    #[test]
    fn what_is_corrupt_is_set_aside_and_never_lost() {
        let scratch = tempfile::tempdir().unwrap();
        let store = store(scratch.path());
        let directory = scratch.path().join("d");
        fs::create_dir(&directory).unwrap();
        for n in 1..=2_u8 {
            let path = directory.join("auth.json");
            fs::write(&path, [0xff, n]).unwrap();
            let error = store.load(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CorruptTokenCache);
            let aside = directory.join(format!("auth.json.corrupt-{n}"));
            assert!(
                error.to_string().contains(&*aside.to_string_lossy()),
                "{error}"
            );
            assert_eq!(fs::read(&aside).unwrap(), [0xff, n]);
            assert_eq!(store.load(text).unwrap(), None);
        }
    }

    #[test]
    fn a_write_that_fails_leaves_the_file_as_it_was() {
        let scratch = tempfile::tempdir().unwrap();
        let store = store(scratch.path());
        store.lock().unwrap().write(b"old").unwrap();
        // A directory in the place of the temporary file cannot be removed as a file.
        let temporary = scratch.path().join("d/auth.json.temp");
        fs::create_dir(&temporary).unwrap();
        let error = store.lock().unwrap().write(b"new").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(store.load(text).unwrap().as_deref(), Some("old"));
    }

    #[test]
    fn a_lock_that_is_never_given_back_is_a_clear_error() {
        let scratch = tempfile::tempdir().unwrap();
        let store = store(scratch.path());
        let _held = store.lock().unwrap();
        let error = store.lock_within(Duration::from_millis(20)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("auth.json.lock"), "{error}");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_a_clear_error() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        let error = store(&file).lock().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(
            error.to_string().contains("create the directory"),
            "{error}"
        );
    }
}
