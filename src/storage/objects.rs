//! Downloading from an object store: one listing, then its objects in pieces, several at a time.
//!
//! Every piece that has arrived is noted in a [`Journal`] beside the files, with the version of its object. A download that was cut or killed goes
//! on from there: what is there of an object that has not changed since is not fetched again.

use std::collections::BTreeSet;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Job;
use super::contents::{file_and_directory, local_path};
use super::journal::Journal;
use super::remote::{Call, Remote, Reply, Tries, broken, may_pass};
use super::staging::{NewFile, SAME_NAME, Tree};
use crate::error::{Error, ErrorKind, Result};

/// Objects are fetched in pieces of this size.
pub(super) const PIECE: u64 = 16 << 20;
const BUFFER: usize = 128 * 1024;
/// A connection that brought less than this before it broke has brought nothing.
const WORTH_A_NEW_TRY: u64 = 256 * 1024;

/// An object as it was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) key: String,
    pub(super) size: u64,
    /// What changes whenever the content does.
    pub(super) version: String,
}

/// The version that an `ETag` gives, as a condition shows it: listings mostly leave its quotes out.
#[cfg(any(feature = "s3", feature = "azure"))]
pub(super) fn entity_tag(given: &str) -> String {
    match given.trim_start_matches("W/").trim_matches('"') {
        "" => String::new(),
        tag => format!("\"{tag}\""),
    }
}

/// A part of a listing, and where the next begins.
pub(super) struct Page {
    pub(super) objects: Vec<Object>,
    pub(super) next: Option<String>,
}

/// A bucket or container that objects are read from.
pub(super) trait Store: Send + Sync {
    fn remote(&self) -> &Remote;

    /// What it is called in messages: `s3://bucket`.
    fn name(&self) -> String;

    /// Lists the objects whose keys begin with `prefix`, from the place on where the last page said the next begins.
    fn page(&mut self, prefix: &str, from: Option<&str>) -> Result<Page>;

    /// The request for an object, unless another has taken its name; `range` is all of a `Range` header.
    fn get(&self, object: &Object, range: Option<&str>) -> Result<Call>;

    /// The version of the object that an answer brings, where it says so.
    fn version(&self, answer: &Reply) -> Option<String>;

    /// What the server said when it refused.
    fn refusal(&self, answer: &mut Reply) -> String;
}

/// Downloads all objects below `prefix`, which ends in a slash.
pub(super) fn download(
    store: &mut dyn Store,
    prefix: &str,
    job: &Job<'_>,
    tree: &Tree,
) -> Result<()> {
    let plan = plan(store, prefix, job)?;
    let sizes = plan.files.iter().map(|file| file.object.size);
    job.meter.expect(plan.files.len() as u64, sizes.sum());
    let place = format!("{}/{prefix}", store.name());
    let objects = plan.files.iter().map(|file| &file.object);
    let journal = Journal::open(tree, &place, objects)?;
    let count = plan.files.iter().map(|file| pieces(file.object.size)).sum();
    let download = Download {
        store,
        job,
        tree,
        files: &plan.files,
        syncs: journal.needs_sync(),
        state: Mutex::new(State {
            journal,
            next: (0, 0),
            failure: None,
        }),
    };
    match download.prepare(&plan.directories) {
        Ok(()) => {
            let threads = u64::try_from(job.parallelism).unwrap_or(1).min(count);
            thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| download.work());
                }
            });
        }
        Err(error) => download.lock().failure = Some(error),
    }
    let State {
        journal, failure, ..
    } = download
        .state
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    match failure {
        None => Ok(()),
        Some(error) if journal.is_empty() => {
            journal.remove();
            tree.discard(error)
        }
        Some(error) => Err(error),
    }
}

/// The number of pieces of an object; an empty one has a piece too.
fn pieces(size: u64) -> u64 {
    size.div_ceil(PIECE).max(1)
}

struct Plan {
    files: Vec<Planned>,
    directories: BTreeSet<PathBuf>,
}

struct Planned {
    object: Object,
    path: PathBuf,
    pieces_left: AtomicU64,
}

/// Lists what is there, and refuses what is not the checkpoint before any of it is fetched.
fn plan(store: &mut dyn Store, prefix: &str, job: &Job<'_>) -> Result<Plan> {
    let mut gate = job.contents.gate();
    let mut paths = BTreeSet::new();
    let mut parents = BTreeSet::new();
    let mut directories = BTreeSet::new();
    let mut objects = Vec::new();
    let mut from: Option<String> = None;
    loop {
        let page = store.page(prefix, from.as_deref())?;
        for object in page.objects {
            let Some(name) = object.key.strip_prefix(prefix) else {
                return Err(unexpected(format!(
                    "the listing of {prefix:?} has {:?}",
                    object.key
                )));
            };
            if name.is_empty() {
                // The object that stands for the directory itself.
                continue;
            }
            let path = local_path(name)?;
            if name.ends_with('/') {
                gate.admit_directory(&path)?;
                parents.extend(path.ancestors().skip(1).map(Path::to_owned));
                directories.insert(path);
                continue;
            }
            gate.admit(&path, object.size)?;
            if !paths.insert(path.clone()) {
                return Err(unexpected(format!("the file {name:?} comes twice")));
            }
            parents.extend(path.ancestors().skip(1).map(Path::to_owned));
            objects.push((object, path));
        }
        match page.next {
            Some(next) if from.as_ref() == Some(&next) => {
                return Err(unexpected("the listing does not get ahead".to_owned()));
            }
            Some(next) => from = Some(next),
            None => break,
        }
    }
    if paths.is_empty() && directories.is_empty() {
        return Err(Error::new(
            ErrorKind::Storage,
            format!("there is nothing below {}/{prefix}", store.name()),
        ));
    }
    // Some stores list a directory as an empty object without a slash.
    let (stand_ins, files): (Vec<_>, Vec<_>) = objects
        .into_iter()
        .partition(|(object, path)| object.size == 0 && parents.contains(path));
    directories.extend(stand_ins.into_iter().map(|(_, path)| path));
    let is_directory = |path: &Path| parents.contains(path) || directories.contains(path);
    if let Some((_, path)) = files.iter().find(|(_, path)| is_directory(path)) {
        return Err(file_and_directory(path));
    }
    if let Some(missing) = job.contents.files().find(|path| !paths.contains(*path)) {
        return Err(Error::new(
            ErrorKind::Storage,
            format!(
                "the file {:?} is missing below {}/{prefix}",
                missing.display().to_string(),
                store.name()
            ),
        ));
    }
    let files = files.into_iter().map(|(object, path)| Planned {
        pieces_left: AtomicU64::new(pieces(object.size)),
        object,
        path,
    });
    Ok(Plan {
        files: files.collect(),
        directories,
    })
}

fn unexpected(what: String) -> Error {
    Error::new(ErrorKind::Storage, what)
}

/// What the threads of a download share.
struct Download<'a> {
    store: &'a dyn Store,
    job: &'a Job<'a>,
    tree: &'a Tree,
    files: &'a [Planned],
    /// Whether a piece is brought to the disk before it is noted.
    syncs: bool,
    state: Mutex<State>,
}

struct State {
    journal: Journal,
    /// The file and the offset in it of the piece that is handed out next.
    next: (usize, u64),
    failure: Option<Error>,
}

struct Piece<'a> {
    file: &'a Planned,
    range: Range<u64>,
}

impl<'a> Download<'a> {
    /// Makes all directories and files, empty or with what is there of them: what this machine cannot hold is an error before anything is
    /// fetched.
    fn prepare(&self, directories: &BTreeSet<PathBuf>) -> Result<()> {
        for directory in directories {
            self.tree.create_directory(directory)?;
        }
        for Planned { object, path, .. } in self.files {
            self.store.remote().check_cancelled()?;
            let journal = &mut self.lock().journal;
            if !self.tree.prepare_file(path, journal.extent(object))? {
                journal.forget(object)?;
            }
        }
        if self.tree.count_files()? < self.files.len() {
            let same = "two of the names are one file here".to_owned();
            return Err(unexpected(same).with_hint(SAME_NAME));
        }
        Ok(())
    }

    /// Fetches pieces until there are none left, or one has failed.
    fn work(&self) {
        let mut buffer = vec![0; BUFFER];
        loop {
            let result = match self.next_piece() {
                Ok(Some(piece)) => self.fetch(&piece, &mut buffer),
                Ok(None) => return,
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                // The first failure is the cause; those of the others follow from it.
                self.lock().failure.get_or_insert(error);
                self.store.remote().halt();
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands out the next piece that is not there yet.
    fn next_piece(&self) -> Result<Option<Piece<'a>>> {
        let mut state = self.lock();
        loop {
            let (index, offset) = state.next;
            if state.failure.is_some() {
                return Ok(None);
            }
            let Some(file) = self.files.get(index) else {
                return Ok(None);
            };
            let end = file.object.size.min(offset + PIECE);
            state.next = if end == file.object.size {
                (index + 1, 0)
            } else {
                (index, end)
            };
            if end > offset && !state.journal.has(&file.object, offset) {
                return Ok(Some(Piece {
                    file,
                    range: offset..end,
                }));
            }
            self.job.meter.add_bytes(end - offset);
            self.count(file)?;
        }
    }

    fn fetch(&self, piece: &Piece<'_>, buffer: &mut [u8]) -> Result<()> {
        let Piece { file, range } = piece;
        let mut to = self.tree.open_file(&file.path, range.start)?;
        let mut at = range.start;
        let mut tries = Tries::new();
        loop {
            let before = at;
            let Err(error) = self.read(&file.object, &mut at, range.end, &mut to, buffer) else {
                break;
            };
            if at - before >= WORTH_A_NEW_TRY {
                tries = Tries::new();
            }
            match tries.pause().filter(|_| may_pass(&error)) {
                Some(pause) => self.store.remote().sleep(pause)?,
                None => return Err(self.about(&file.object, error)),
            }
        }
        if self.syncs {
            to.sync()?;
        }
        // Before its time is set, which closing may change.
        drop(to);
        self.lock().journal.note(&file.object, range.start)?;
        self.count(file)
    }

    /// Reads from `at` on, as far as one answer goes.
    fn read(
        &self,
        object: &Object,
        at: &mut u64,
        end: u64,
        to: &mut NewFile,
        buffer: &mut [u8],
    ) -> Result<()> {
        let is_whole = *at == 0 && end == object.size;
        let range = (!is_whole).then(|| format!("bytes={at}-{}", end - 1));
        let remote = self.store.remote();
        let mut answer = remote.ask(&|| self.store.get(object, range.as_deref()))?;
        self.check(&mut answer, object, *at, is_whole)?;
        while *at < end {
            remote.check_cancelled()?;
            let most = usize::try_from(end - *at)
                .unwrap_or(BUFFER)
                .min(buffer.len());
            let n = answer.read(&mut buffer[..most]).map_err(broken)?;
            if n == 0 {
                return Err(Error::new(
                    ErrorKind::Connection,
                    "the answer ends in the middle",
                ));
            }
            to.write(&buffer[..n])?;
            *at += n as u64;
            self.job.meter.add_bytes(n as u64);
        }
        // To its end, so that the connection can be used again.
        match answer.read(&mut buffer[..1]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(unexpected(
                "the store sends more than it was asked for".to_owned(),
            )),
            Err(error) => Err(broken(error)),
        }
    }

    /// An error unless the answer brings what was asked for.
    fn check(&self, answer: &mut Reply, object: &Object, start: u64, is_whole: bool) -> Result<()> {
        let changed = || unexpected("it has changed since the download began".to_owned());
        // Some stores know no conditions.
        let is_same = self
            .store
            .version(answer)
            .is_none_or(|version| version == object.version || object.version.is_empty());
        match answer.status() {
            200 | 206 if !is_same => Err(changed()),
            200 if is_whole => Ok(()),
            206 => {
                let range = answer.header("content-range").unwrap_or_default();
                let (begin, size) = (format!("bytes {start}-"), format!("/{}", object.size));
                match range.starts_with(&begin) {
                    true if range.ends_with(&size) || range.ends_with("/*") => Ok(()),
                    true => Err(changed()),
                    false => Err(unexpected(
                        "the store sends another range than it was asked for".to_owned(),
                    )),
                }
            }
            200 => Err(unexpected(
                "the store cannot send a range of an object".to_owned(),
            )),
            412 => Err(changed()),
            404 => Err(unexpected(
                "it has vanished since the download began".to_owned(),
            )),
            _ => Err(Error::new(
                ErrorKind::Storage,
                format!("{}: {}", answer.status_line(), self.store.refusal(answer)),
            )),
        }
    }

    fn about(&self, object: &Object, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Cancelled | ErrorKind::Io => error,
            kind => Error::new(
                kind,
                format!("{}/{}: {error}", self.store.name(), object.key),
            ),
        }
    }

    /// Counts a piece that is there, and ends the file with its last.
    fn count(&self, file: &Planned) -> Result<()> {
        if file.pieces_left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.tree.open_file(&file.path, 0)?.finish()?;
            self.job.meter.add_file();
        }
        Ok(())
    }
}
