//! Downloading checkpoints: through the master, or straight from where they are stored.
//!
//! [`Target`] says what stands at the target already and holds a [`Staging`] directory beside it. In there one of the ways gathers the files:
//! [`archive`] unpacks what the master sends, [`shared_fs`] copies from a shared file system. What was gathered is checked against the
//! [`Contents`] that the master has on record, and only then put in its place.

mod archive;
#[cfg(feature = "azure")]
mod azure;
mod config;
mod contents;
#[cfg(feature = "gcs")]
mod gcs;
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
mod journal;
mod meter;
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
mod objects;
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
mod remote;
#[cfg(feature = "s3")]
mod s3;
mod shared_fs;
mod staging;
mod target;
#[cfg(any(feature = "s3", feature = "azure"))]
mod xml;

use std::fmt;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::SystemTime;

use serde_json::Value;

#[cfg(fuzzing)]
pub(crate) use self::archive::fuzz as fuzz_archive;
use self::contents::Contents;
use self::meter::Meter;
use self::staging::{Staging, Tree};
use self::target::{Found, Target};
use crate::cancel::CancelToken;
use crate::checkpoint::{self, Checkpoint, CheckpointState};
use crate::error::{Error, ErrorKind, Result};
use crate::platform;
use crate::progress::{Observer, Progress};
use crate::session::{Session, route};

/// Which way a checkpoint is downloaded.
///
/// ```
/// use determined::{DownloadMode, DownloadOptions};
///
/// let straight = DownloadOptions::new().mode(DownloadMode::Direct);
/// assert_eq!(DownloadMode::Direct.to_string(), "direct");
/// # let _ = straight;
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DownloadMode {
    /// Straight from storage, and through the master if that fails.
    #[default]
    Auto,
    /// Straight from storage: this machine must reach it, and have the right to read it.
    Direct,
    /// Through the master.
    Master,
}

impl fmt::Display for DownloadMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Direct => "direct",
            Self::Master => "master",
        })
    }
}

/// Where a checkpoint is downloaded to, which way, and who watches.
///
/// ```
/// use determined::{DownloadMode, DownloadOptions};
///
/// let options = DownloadOptions::new()
///     .path("best")
///     .mode(DownloadMode::Master)
///     .on_progress(|progress| eprintln!("{} bytes", progress.bytes_done));
/// # let _ = options;
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
#[must_use]
pub struct DownloadOptions {
    path: Option<PathBuf>,
    mode: DownloadMode,
    parallelism: Option<usize>,
    observer: Observer,
    cancel: Option<CancelToken>,
}

impl DownloadOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The directory that the checkpoint is downloaded to; what is missing above it is created. The default is `checkpoints/<uuid>`.
    pub fn path(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Which way. The default is [`DownloadMode::Auto`].
    pub fn mode(mut self, mode: DownloadMode) -> Self {
        self.mode = mode;
        self
    }

    /// How many files, or parts of large files, are fetched from an object store at the same time. The default is four for each processor, at
    /// most 32. The other ways move one file at a time.
    pub fn parallelism(mut self, parallelism: usize) -> Self {
        self.parallelism = Some(parallelism.max(1));
        self
    }

    /// Shows how far the download has come, a few times a second and at its end. By default nobody watches.
    ///
    /// The totals are those that the master has on record. Where [`DownloadMode::Auto`] turns to the master, the count begins anew.
    pub fn on_progress(mut self, function: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        self.observer = Observer::new(function);
        self
    }

    /// A button that ends the download. By default there is none.
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.clone());
        self
    }
}

/// What a way of downloading works with.
struct Job<'a> {
    /// As the master has it now.
    checkpoint: &'a Checkpoint,
    session: &'a Session,
    contents: &'a Contents,
    meter: &'a Meter,
    /// How many pieces are fetched at the same time.
    #[cfg_attr(
        not(any(feature = "s3", feature = "gcs", feature = "azure")),
        expect(dead_code, reason = "only object stores are read in parallel")
    )]
    parallelism: usize,
}

impl Checkpoint {
    /// Downloads the checkpoint to `checkpoints/<uuid>`, and gives that path. Like [`download_with`](Self::download_with) with the defaults.
    /// `GET /checkpoints/{uuid}`, or straight from storage.
    ///
    /// # Errors
    ///
    /// Those of [`download_with`](Self::download_with).
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let checkpoint = master.experiment().create().top_checkpoint()?;
    /// # let directory = tempfile::tempdir().expect("a temporary directory");
    /// # std::env::set_current_dir(&directory).expect("a directory to work in");
    /// let path = checkpoint.download()?;
    /// assert_eq!(path, std::path::Path::new("checkpoints").join(&checkpoint.uuid));
    /// assert!(path.join("state.json").exists());
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn download(&self) -> Result<PathBuf> {
        self.download_with(DownloadOptions::new())
    }

    /// Downloads the checkpoint, whole or not at all, and gives the path of its directory.
    ///
    /// Files are gathered in a hidden directory beside the target (`.NAME.partial`; inside, where the target exists already), measured against
    /// [`resources`](Self::resources), and then put in their place. They get the modes of new files and the time of
    /// [`report_time`](Self::report_time). If there is no `metadata.json` among them, it is written from [`metadata`](Self::metadata).
    ///
    /// What stands at the target already decides what happens. The whole of this checkpoint is kept, and nothing is fetched. A part of it is
    /// completed, an empty directory filled. Anything else is an error, and nothing there is changed. A directory counts as this checkpoint's
    /// when its name is the uuid, when its files bear the report time, or when they are found to be the same, byte by byte. Two downloads to
    /// the same place at the same time are one: the second waits for the first.
    ///
    /// `GET /api/v1/checkpoints/{uuid}`, and `GET /checkpoints/{uuid}` through the master.
    ///
    /// # Errors
    ///
    /// - [`CheckpointUnavailable`](ErrorKind::CheckpointUnavailable) if it is not completed, or deleted.
    /// - [`InvalidInput`](ErrorKind::InvalidInput) if something else stands at the target.
    /// - [`Storage`](ErrorKind::Storage) if the storage cannot be read, or what it holds is not this checkpoint;
    ///   [`FeatureDisabled`](ErrorKind::FeatureDisabled) if this crate was built without support for it.
    /// - [`Connection`](ErrorKind::Connection) if the download was cut; nothing of it is left that a later call takes for whole.
    /// - [`Io`](ErrorKind::Io) if it cannot be written here: no space, no right.
    /// - [`Cancelled`](ErrorKind::Cancelled) through [`DownloadOptions::cancel`].
    ///
    /// With [`DownloadMode::Auto`], when both ways fail, the error tells both causes and has the kind of the master's.
    ///
    /// ```
    /// use determined::{DownloadMode, DownloadOptions};
    ///
    /// # let master = determined::testing::MockMaster::start();
    /// # let checkpoint = master.experiment().create().top_checkpoint()?;
    /// # let directory = tempfile::tempdir().expect("a temporary directory");
    /// # let best = directory.path().join("best");
    /// let path = checkpoint.download_with(DownloadOptions::new().path(best).mode(DownloadMode::Master))?;
    /// assert!(path.join("state.json").exists());
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn download_with(&self, options: DownloadOptions) -> Result<PathBuf> {
        let DownloadOptions {
            path,
            mode,
            parallelism,
            observer,
            cancel,
        } = options;
        let path = path.unwrap_or_else(|| Path::new("checkpoints").join(&self.uuid));
        let session = self.session.cancellable(cancel.as_ref());
        let parallelism = parallelism.unwrap_or_else(default_parallelism);
        download(&session, &self.uuid, &path, mode, parallelism, observer)
            .map_err(|error| error.on_the_way_to(format!("download checkpoint {}", self.uuid)))?;
        Ok(path)
    }
}

fn download(
    session: &Session,
    uuid: &str,
    path: &Path,
    mode: DownloadMode,
    parallelism: usize,
    observer: Observer,
) -> Result<()> {
    let checkpoint = checkpoint::get(session, uuid)?;
    check(&checkpoint, uuid)?;
    let contents = Contents::new(&checkpoint.resources)?;
    let mark = checkpoint
        .report_time
        .and_then(|time| SystemTime::try_from(time).ok());
    let target = Target::new(path, &checkpoint.uuid, &contents, mark)?;
    if target.examine()? == Found::Whole {
        return add_metadata_file(target.path(), &checkpoint);
    }
    let staging = target.stage(session)?;
    // Another may have filled the target while this one waited for it.
    let found = match target.examine() {
        Ok(Found::Whole) => {
            staging.remove();
            return add_metadata_file(target.path(), &checkpoint);
        }
        Ok(found) => found,
        Err(error) => {
            staging.remove_if_empty();
            return Err(error);
        }
    };
    let job = Job {
        checkpoint: &checkpoint,
        session,
        contents: &contents,
        meter: &Meter::new(observer, contents.totals()),
        parallelism,
    };
    let gathered = gather(mode, &job, &staging, mark);
    job.meter.finish();
    let tree = match gathered {
        Ok(tree) => tree,
        Err(error) => {
            staging.remove_if_empty();
            return Err(error);
        }
    };
    if found == Found::Lookalike {
        target.compare(staging, &tree)?;
        return add_metadata_file(target.path(), &checkpoint);
    }
    add_metadata_file(tree.root(), &checkpoint)?;
    target.fill(staging, &tree)
}

/// Four for each processor, because most of the time they wait for the network; not so many that a store would mind.
fn default_parallelism() -> usize {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    (4 * processors).min(32)
}

/// An error unless there is something to download, and it is what was asked for: the place of the download bears that name.
fn check(checkpoint: &Checkpoint, uuid: &str) -> Result<()> {
    if !checkpoint.uuid.eq_ignore_ascii_case(uuid) {
        return Err(Error::new(
            ErrorKind::InvalidResponse,
            format!("the master answered with checkpoint {:?}", checkpoint.uuid),
        ));
    }
    if let Some(problem) = platform::file_name_problem(&checkpoint.uuid) {
        return Err(Error::new(
            ErrorKind::InvalidResponse,
            format!("its uuid {:?} is none: {problem}", checkpoint.uuid),
        ));
    }
    match &checkpoint.state {
        CheckpointState::Completed | CheckpointState::PartiallyDeleted => Ok(()),
        CheckpointState::Deleted => Err(Error::new(
            ErrorKind::CheckpointUnavailable,
            "its files are deleted",
        )),
        state => Err(Error::new(
            ErrorKind::CheckpointUnavailable,
            format!("its state is {state}"),
        )
        .with_hint("a checkpoint can be downloaded when it is COMPLETED")),
    }
}

/// Writes `metadata.json` if the checkpoint itself has none.
fn add_metadata_file(directory: &Path, checkpoint: &Checkpoint) -> Result<()> {
    let path = directory.join("metadata.json");
    match fs::symlink_metadata(&path) {
        Ok(_) => Ok(()),
        Err(_) => checkpoint.write_metadata_file(&path),
    }
}

/// Gathers all files in a tree.
fn gather(
    mode: DownloadMode,
    job: &Job<'_>,
    staging: &Staging,
    mark: Option<SystemTime>,
) -> Result<Tree> {
    let directly = || gather_directly(job, staging, mark);
    let through_master = || gather_through_master(job, staging.tree("master", mark));
    match mode {
        DownloadMode::Direct => directly(),
        DownloadMode::Master => through_master(),
        DownloadMode::Auto => {
            let direct = match directly() {
                Err(error) if master_may_heal(&error) => error,
                other => return other,
            };
            log::debug!(target: "determined", "checkpoint {} goes through the master: {direct}", job.checkpoint.uuid);
            job.meter.restart();
            through_master().map_err(|master| both(direct, master))
        }
    }
}

/// Whether what failed was the storage, and not this machine's disk or the user's will.
fn master_may_heal(error: &Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::Io | ErrorKind::Cancelled | ErrorKind::InvalidInput
    )
}

/// The error when neither way led to the checkpoint.
fn both(direct: Error, master: Error) -> Error {
    if !master_may_heal(&master) {
        return master;
    }
    let error = Error::new(
        master.kind(),
        format!("through the master: {master}; directly: {direct}"),
    );
    let error = match master.status() {
        Some(status) => error.with_status(status),
        None => error,
    };
    match master.server_message() {
        Some(message) => error.with_server_message(message),
        None => error,
    }
}

fn gather_through_master(job: &Job<'_>, tree: Tree) -> Result<Tree> {
    tree.clear()?;
    let (session, halt) = job.session.breakable();
    let request = session
        .get(route!("/checkpoints/{}", job.checkpoint.uuid))
        // Exactly this: the master knows no lists of types.
        .header("accept", "application/gzip")
        .header("accept-encoding", "identity");
    request
        .open()
        .and_then(|answer| archive::unpack(answer, &tree, job.contents.gate(), job.meter, &halt))
        .and_then(|()| complete(&tree, job.contents))
        .map_err(|error| match error.kind() {
            ErrorKind::Io => error,
            _ => request.explain(error),
        })
        .or_else(|error| tree.discard(error))
        .map(|()| tree)
}

fn gather_directly(job: &Job<'_>, staging: &Staging, mark: Option<SystemTime>) -> Result<Tree> {
    let storage = storage_of(job.checkpoint)?;
    let uuid = &job.checkpoint.uuid;
    let tree = staging.tree("direct", mark);
    match storage
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
    {
        "shared_fs" => copy(&shared_fs::shared_fs_places(storage, uuid)?, job, &tree)?,
        "directory" => copy(&shared_fs::directory_places(storage, uuid)?, job, &tree)?,
        #[cfg(feature = "s3")]
        "s3" => fetch(s3::S3::new, storage, job, &tree)?,
        #[cfg(feature = "gcs")]
        "gcs" => fetch(gcs::Gcs::new, storage, job, &tree)?,
        #[cfg(feature = "azure")]
        "azure" => fetch(azure::Azure::new, storage, job, &tree)?,
        kind if matches!(kind, "s3" | "gcs" | "azure") => return Err(disabled(kind)),
        kind => {
            return Err(Error::new(
                ErrorKind::Storage,
                format!("there is no direct way to a storage of the type {kind:?}"),
            ));
        }
    }
    Ok(tree)
}

fn copy(places: &[PathBuf], job: &Job<'_>, tree: &Tree) -> Result<()> {
    tree.clear()?;
    shared_fs::copy(places, job, tree)
        .and_then(|()| complete(tree, job.contents))
        .or_else(|error| tree.discard(error))
}

/// Fetches the checkpoint from the object store that `open` opens. What has arrived is kept for the next download if this one fails.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
fn fetch<S: objects::Store>(
    open: impl Fn(&Value, &Session, &CancelToken) -> Result<(S, String)>,
    storage: &Value,
    job: &Job<'_>,
    tree: &Tree,
) -> Result<()> {
    let (_, halt) = job.session.breakable();
    let (mut store, prefix) = open(storage, job.session, &halt)?;
    let uuid = &job.checkpoint.uuid;
    let prefix = match prefix.as_str() {
        "" => format!("{uuid}/"),
        prefix => format!("{prefix}/{uuid}/"),
    };
    objects::download(&mut store, &prefix, job, tree)?;
    complete(tree, job.contents)
}

/// The configuration of the storage that a checkpoint is in.
fn storage_of(checkpoint: &Checkpoint) -> Result<&Value> {
    checkpoint
        .training
        .as_ref()
        .and_then(|training| training.experiment_config.get("checkpoint_storage"))
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Storage,
                "no experiment's configuration says where it is stored",
            )
            .with_hint("download it in the mode Master")
        })
}

fn disabled(feature: &str) -> Error {
    Error::new(
        ErrorKind::FeatureDisabled,
        format!("this program was built without direct access to {feature} storage"),
    )
    .with_hint(format!(
        "enable the feature `{feature}` of the crate determined, or download in the mode Master"
    ))
}

/// Adds the directories that came with no file, and checks that all is there.
fn complete(tree: &Tree, contents: &Contents) -> Result<()> {
    for directory in contents.directories() {
        tree.create_directory(directory)?;
    }
    contents.verify(tree.root())
}
