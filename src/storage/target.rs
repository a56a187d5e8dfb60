//! Where a download goes: what stands there already, and how the new comes to stand there whole or not at all.
//!
//! Files are gathered in a staging directory that one process at a time holds: a hidden sibling of the target, or, where the target is a
//! directory already (which may be a mount, or the working directory), a hidden directory within it. They reach their place only when all
//! of them are there. Each file then bears the time at which the checkpoint was reported. Files of the right size that bear it are what tells
//! the download of one checkpoint from that of another, whose files mostly have the same names and sizes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::contents::Contents;
use super::staging::{Staging, Tree, is_absence};
use crate::error::{Error, Result};
use crate::session::Session;

const METADATA: &str = "metadata.json";
const COMPARED_AT_ONCE: usize = 64 * 1024;
const LOCK_POLL: Duration = Duration::from_millis(100);

/// The directory that a checkpoint is downloaded to.
pub(super) struct Target<'a> {
    /// Absolute, without symbolic links if it exists.
    path: PathBuf,
    uuid: &'a str,
    contents: &'a Contents,
    reported: Option<SystemTime>,
}

/// What stands in the place of a download.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The whole checkpoint.
    Whole,
    /// Nothing, or a part of this checkpoint and nothing else.
    Incomplete,
    /// All files that the checkpoint has, but of which checkpoint cannot be told from without.
    Lookalike,
}

impl<'a> Target<'a> {
    pub(super) fn new(
        path: &Path,
        uuid: &'a str,
        contents: &'a Contents,
        reported: Option<SystemTime>,
    ) -> Result<Self> {
        if path.as_os_str().is_empty() {
            return Err(Error::invalid_input("the path of the download is empty"));
        }
        let absolute =
            std::path::absolute(path).map_err(|error| Error::io("find", path, &error))?;
        let path = match fs::canonicalize(&absolute) {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if fs::symlink_metadata(&absolute).is_ok() {
                    return Err(Error::invalid_input(format!(
                        "{} is a link that leads nowhere",
                        path.display()
                    )));
                }
                absolute
            }
            Err(error) => return Err(Error::io("find", path, &error)),
        };
        if path.file_name().is_none() {
            return Err(Error::invalid_input(format!(
                "{} is not a directory that a checkpoint can be downloaded to",
                path.display()
            )));
        }
        Ok(Self {
            path,
            uuid,
            contents,
            reported,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at what stands there. What is not this checkpoint's, or a part of it, is an error.
    pub(super) fn examine(&self) -> Result<Found> {
        let mut entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Incomplete),
            Err(error) => return Err(Error::io("read the directory", &self.path, &error)),
        };
        let staging = self.staging_directory();
        let is_empty = entries.all(|entry| entry.is_ok_and(|entry| entry.path() == staging));
        if is_empty {
            return Ok(Found::Incomplete);
        }
        if !self.contents.is_known() {
            return Ok(Found::Lookalike);
        }
        let (mut present, mut fitting, mut marked) = (0, 0, 0);
        for path in self.contents.files() {
            match fs::symlink_metadata(self.path.join(path)) {
                Ok(found) if found.is_file() => {
                    let fits = self.contents.fits(path, found.len());
                    present += 1;
                    fitting += u64::from(fits);
                    marked += u64::from(fits && self.bears_mark(&found));
                }
                Ok(_) => return Err(self.foreign(path, "is not a file")),
                Err(error) if is_absence(&error) => {}
                Err(error) => return Err(Error::io("look at", &self.path.join(path), &error)),
            }
        }
        let is_whole = fitting == self.contents.files().count() as u64;
        let is_ours = self.is_named_after_checkpoint() || (present > 0 && marked == present);
        match (is_whole, is_ours) {
            (true, true) => Ok(Found::Whole),
            (true, false) => Ok(Found::Lookalike),
            (false, true) => match self.find_foreign(&self.path, &staging)? {
                Some(path) => Err(self.foreign(&path, "is not part of the checkpoint")),
                None => Ok(Found::Incomplete),
            },
            (false, false) => {
                Err(self.occupied("it is not empty, and holds no download of this checkpoint"))
            }
        }
    }

    fn is_named_after_checkpoint(&self) -> bool {
        self.path.file_name().is_some_and(|name| name == self.uuid)
    }

    fn bears_mark(&self, found: &fs::Metadata) -> bool {
        self.reported.is_some() && found.modified().ok() == self.reported
    }

    /// The first file below `directory` that the checkpoint does not have.
    fn find_foreign(&self, directory: &Path, staging: &Path) -> Result<Option<PathBuf>> {
        let failed = |error: &io::Error| Error::io("read the directory", directory, error);
        for entry in fs::read_dir(directory).map_err(|error| failed(&error))? {
            let entry = entry.map_err(|error| failed(&error))?;
            let path = entry.path();
            let name = path.strip_prefix(&self.path).unwrap_or(&path);
            if path == staging {
                continue;
            }
            if entry.file_type().map_err(|error| failed(&error))?.is_dir() {
                if let Some(foreign) = self.find_foreign(&path, staging)? {
                    return Ok(Some(foreign));
                }
            } else if !self.contents.is_file(name) && name != Path::new(METADATA) {
                return Ok(Some(name.to_owned()));
            }
        }
        Ok(None)
    }

    fn foreign(&self, path: &Path, what: &str) -> Error {
        self.occupied(&format!("{:?} in it {what}", path.display().to_string()))
    }

    fn occupied(&self, why: &str) -> Error {
        Error::invalid_input(format!("{} cannot be used: {why}", self.path.display()))
            .with_hint("give another path, or remove what is there")
    }

    fn staging_directory(&self) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default();
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".partial");
        if self.path.is_dir() {
            self.path.join(hidden)
        } else {
            self.path.with_file_name(hidden)
        }
    }

    /// Takes the staging directory, when whoever else has it lets go of it.
    pub(super) fn stage(&self, session: &Session) -> Result<Staging> {
        let mut has_said = false;
        loop {
            // Looked up each time: the target may come into being while another fills it.
            if let Some(staging) = Staging::try_open(&self.staging_directory())? {
                return Ok(staging);
            }
            if !has_said {
                log::info!(target: "determined", "another download to {} is under way; waiting for it", self.path.display());
                has_said = true;
            }
            session.sleep(LOCK_POLL)?;
        }
    }

    /// Puts what was gathered in its place.
    pub(super) fn fill(&self, staging: Staging, tree: &Tree) -> Result<()> {
        if staging.directory().parent() == Some(&self.path) {
            move_into(tree.root(), &self.path, true)?;
        } else {
            fs::rename(tree.root(), &self.path)
                .map_err(|error| Error::io("put the download in its place", &self.path, &error))?;
        }
        staging.remove();
        Ok(())
    }

    /// An error unless what stands there is, byte by byte, what was gathered.
    pub(super) fn compare(&self, staging: Staging, tree: &Tree) -> Result<()> {
        let difference = first_difference(tree.root(), &self.path)?;
        staging.remove();
        match difference {
            None => Ok(()),
            Some(path) => Err(self.occupied(&format!(
                "it looks like this checkpoint, but {:?} in it is another file",
                path.display().to_string()
            ))),
        }
    }
}

/// Moves what is in `from` to `to`. The file that programs take for the sign of a whole checkpoint goes last.
fn move_into(from: &Path, to: &Path, is_root: bool) -> Result<()> {
    let failed = |error: &io::Error| Error::io("put the download in its place", to, error);
    let mut metadata = None;
    for entry in fs::read_dir(from).map_err(|error| failed(&error))? {
        let entry = entry.map_err(|error| failed(&error))?;
        let place = to.join(entry.file_name());
        if entry.file_type().map_err(|error| failed(&error))?.is_dir() {
            match fs::create_dir(&place) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed(&error));
                }
                _ => move_into(&entry.path(), &place, false)?,
            }
        } else if is_root && entry.file_name() == METADATA {
            metadata = Some((entry.path(), place));
        } else {
            fs::rename(entry.path(), &place).map_err(|error| failed(&error))?;
        }
    }
    match metadata {
        Some((path, place)) => fs::rename(path, place).map_err(|error| failed(&error)),
        None => Ok(()),
    }
}

/// The first file below `tree` that `other` does not have alike.
fn first_difference(tree: &Path, other: &Path) -> Result<Option<PathBuf>> {
    let failed = |error: &io::Error| Error::io("read the directory", tree, error);
    for entry in fs::read_dir(tree).map_err(|error| failed(&error))? {
        let entry = entry.map_err(|error| failed(&error))?;
        let name = PathBuf::from(entry.file_name());
        let (ours, theirs) = (entry.path(), other.join(&name));
        let difference = if entry.file_type().map_err(|error| failed(&error))?.is_dir() {
            first_difference(&ours, &theirs)?.map(|path| name.join(path))
        } else {
            let are_alike = are_alike(&ours, &theirs)
                .or_else(|error| {
                    if is_absence(&error) {
                        Ok(false)
                    } else {
                        Err(error)
                    }
                })
                .map_err(|error| Error::io("compare", &theirs, &error))?;
            (!are_alike).then_some(name)
        };
        if difference.is_some() {
            return Ok(difference);
        }
    }
    Ok(None)
}

fn are_alike(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut mine, mut yours) = (vec![0; COMPARED_AT_ONCE], vec![0; COMPARED_AT_ONCE]);
    loop {
        let n = one.read(&mut mine)?;
        if n == 0 {
            return Ok(true);
        }
        match other.read_exact(&mut yours[..n]) {
            Ok(()) if mine[..n] == yours[..n] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}
