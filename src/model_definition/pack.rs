//! Packing: first a [`Plan`] of what will be sent, made of names and metadata alone, then a [`Body`] that reads the files while the
//! request is sent. Only one piece of one file is in memory at a time.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::ModelDefinition;
use super::ignore::{self, IgnoreRules};
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};
use crate::platform;

/// The most that all files may hold, each counted as the next multiple of three bytes (95 MiB). In base64 that makes a little less
/// than the largest request that a master takes.
const MAX_SIZE: u64 = 95 * 1024 * 1024;

/// The numbers by which the master tells files from directories: the type flags of tar.
const FILE_TYPE: u8 = b'0';
const DIRECTORY_TYPE: u8 = b'5';

/// How much of a file is encoded at once: a multiple of three, so that no padding comes in between.
const CHUNK: usize = 48 * 1024;
/// How much of the body is made ready at once, about.
const BATCH: usize = 128 * 1024;

/// Told how many bytes of how many files were packed since the start, again and again while a body is sent.
pub(crate) type OnPacked = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// What will be sent as a model definition. Nothing but names and metadata was read so far.
#[derive(Debug)]
pub(crate) struct Plan {
    /// `None` if there is no model definition at all.
    entries: Option<Arc<[Entry]>>,
    bytes: u64,
    files: u64,
}

#[derive(Debug)]
struct Entry {
    /// The path that the master is told, with `/` between its names.
    path: String,
    /// Where `path` starts on this machine.
    base: Arc<Path>,
    /// The size of a file; `None` for a directory.
    size: Option<u64>,
    mode: u32,
    /// Seconds since 1970.
    mtime: i64,
}

/// What a request to create an experiment says beside its model definition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Submission<'a> {
    pub(crate) activate: bool,
    /// YAML or JSON.
    pub(crate) config: &'a str,
    pub(crate) project_id: Option<i32>,
    pub(crate) template: Option<&'a str>,
    pub(crate) validate_only: bool,
}

impl Plan {
    /// Finds out what there is to send: the files of `definition` first, then each include under its own name.
    pub(crate) fn new(
        definition: &ModelDefinition,
        includes: &[PathBuf],
        cancel: &CancelToken,
    ) -> Result<Self> {
        let mut planner = Planner {
            cancel,
            entries: Vec::new(),
            counted: 0,
        };
        if let Some(directory) = definition.directory() {
            planner.add_directory(directory)?;
        }
        for include in includes {
            planner.add_include(include)?;
        }
        planner.check_names()?;

        let entries = planner.entries;
        Ok(Self {
            bytes: entries.iter().filter_map(|entry| entry.size).sum(),
            files: entries.iter().filter(|entry| entry.size.is_some()).count() as u64,
            entries: (definition.directory().is_some() || !includes.is_empty())
                .then(|| entries.into()),
        })
    }

    /// How many bytes the files hold.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many files there are; directories do not count.
    pub(crate) fn files(&self) -> u64 {
        self.files
    }

    /// The body of the request, as JSON. It can be made anew for another try.
    pub(crate) fn body(&self, submission: &Submission, on_packed: Option<OnPacked>) -> Body {
        let head = format!(
            r#"{{"activate":{},"config":{},"modelDefinition":{}"#,
            submission.activate,
            serde_json::Value::from(submission.config),
            if self.entries.is_some() { "[" } else { "null" },
        );
        let tail = format!(
            r#"{},"projectId":{},"template":{}{}}}"#,
            if self.entries.is_some() { "]" } else { "" },
            serde_json::Value::from(submission.project_id),
            serde_json::Value::from(submission.template),
            if submission.validate_only {
                r#","validateOnly":true"#
            } else {
                ""
            },
        );
        Body {
            entries: self.entries.clone().unwrap_or_default(),
            next: 0,
            tail,
            stage: Stage::Between,
            ready: head.into_bytes(),
            taken: 0,
            chunk: vec![0; CHUNK],
            bytes: 0,
            files: 0,
            on_packed,
        }
    }
}

struct Planner<'a> {
    cancel: &'a CancelToken,
    entries: Vec<Entry>,
    /// The size so far, as the limit counts it.
    counted: u64,
}

impl Planner<'_> {
    fn add_directory(&mut self, directory: &Path) -> Result<()> {
        let root = resolve(directory, "model directory")?;
        let metadata = fs::metadata(&root).map_err(|error| Error::io("read", &root, &error))?;
        if !metadata.is_dir() {
            return Err(Error::invalid_input(format!(
                "the model directory {} is not a directory; a single file can be sent as an include",
                directory.display()
            )));
        }
        self.walk(&root.into(), "")
    }

    /// Adds a file or directory under its own name: that of what a link leads to.
    fn add_include(&mut self, include: &Path) -> Result<()> {
        let root = resolve(include, "include")?;
        let metadata = fs::metadata(&root).map_err(|error| Error::io("read", &root, &error))?;
        let (Some(base), Some(name)) = (root.parent(), root.file_name()) else {
            return Err(Error::invalid_input(format!(
                "the include {} has no name to send it under",
                include.display()
            )));
        };
        let name = name.to_str().ok_or_else(|| not_utf_8(&root))?;
        let base: Arc<Path> = base.into();
        if !metadata.is_dir() && !metadata.is_file() {
            return Err(Error::invalid_input(format!(
                "the include {} is neither a file nor a directory",
                include.display()
            )));
        }
        self.push(name.to_owned(), &base, &metadata)?;
        if metadata.is_dir() {
            self.walk(&base, name)?;
        }
        Ok(())
    }

    /// Adds what is below the directory `top` of `base` and not ignored, sorted by path. An empty `top` is `base` itself.
    fn walk(&mut self, base: &Arc<Path>, top: &str) -> Result<()> {
        let root = join(base, top);
        let rules = IgnoreRules::read(&root)?;
        let first = self.entries.len();
        // Directories yet to be read, relative to the root.
        let mut pending = vec![String::new()];
        while let Some(parent) = pending.pop() {
            self.cancel.check()?;
            let directory = join(&root, &parent);
            let cannot_read = |error| Error::io("read", &directory, &error);
            for item in fs::read_dir(&directory).map_err(cannot_read)? {
                let item = item.map_err(cannot_read)?;
                let name = item.file_name();
                let path = slash(&parent, &name.to_string_lossy());
                if rules.ignore(&path) {
                    continue;
                }
                let is_link = item.file_type().is_ok_and(|kind| kind.is_symlink());
                let Some(metadata) = metadata(&item.path(), is_link)? else {
                    continue;
                };
                let left_out = if metadata.is_dir() {
                    rules.ignore(&format!("{path}/"))
                } else {
                    name == ignore::FILE_NAME
                };
                if left_out {
                    continue;
                }
                if name.to_str().is_none() {
                    return Err(not_utf_8(&item.path()));
                }
                self.push(slash(top, &path), base, &metadata)?;
                if metadata.is_dir() {
                    if is_link {
                        log::warn!(
                            target: "determined",
                            "{} is a link to a directory: an empty directory is sent for it; include the directory to send its files",
                            item.path().display()
                        );
                    } else {
                        pending.push(path);
                    }
                }
            }
        }
        self.entries[first..].sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(())
    }

    fn push(&mut self, path: String, base: &Arc<Path>, metadata: &Metadata) -> Result<()> {
        let size = metadata.is_file().then_some(metadata.len());
        self.entries.push(Entry {
            path,
            base: Arc::clone(base),
            size,
            mode: platform::mode(metadata),
            mtime: metadata.modified().map_or(0, seconds),
        });
        let size = size.unwrap_or(0);
        self.counted = self.counted.saturating_add(size.saturating_add(2) / 3 * 3);
        if self.counted > MAX_SIZE {
            return Err(self.too_large());
        }
        Ok(())
    }

    fn too_large(&self) -> Error {
        let largest = self.entries.iter().max_by_key(|entry| entry.size);
        let largest = largest.map_or_else(String::new, |entry| {
            let size = entry.size.unwrap_or(0);
            format!("; the largest so far is {} with {size} bytes", entry.path)
        });
        Error::invalid_input(format!(
            "the model definition holds more than {MAX_SIZE} bytes (95 MiB), the most that a master takes{largest}"
        ))
        .with_hint("leave files out with a .detignore file")
    }

    /// The model directory and the includes share one root: no name may be there twice.
    fn check_names(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        let at_root = |entry: &&Entry| !entry.path.contains('/');
        let twice: BTreeSet<&str> = self
            .entries
            .iter()
            .filter(at_root)
            .map(|entry| entry.path.as_str())
            .filter(|name| !names.insert(*name))
            .collect();
        if twice.is_empty() {
            return Ok(());
        }
        let twice: Vec<String> = twice.iter().map(|name| format!("{name:?}")).collect();
        Err(Error::invalid_input(format!(
            "the model directory and the includes have the same name at their root: {}",
            twice.join(", ")
        )))
    }
}

fn resolve(path: &Path, what: &str) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Error::invalid_input(format!("the {what} {path:?} does not exist"))
        }
        _ => Error::io("read", path, &error),
    })
}

/// The metadata of what is at `path`, or behind the link there; `None`, with a warning, if it is nothing that can be sent.
fn metadata(path: &Path, is_link: bool) -> Result<Option<Metadata>> {
    let problem = match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() || metadata.is_dir() => return Ok(Some(metadata)),
        Ok(_) => "it is neither a file nor a directory".to_owned(),
        Err(error) if is_link => format!("the link leads nowhere ({error})"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => "it is gone".to_owned(),
        Err(error) => return Err(Error::io("read", path, &error)),
    };
    log::warn!(target: "determined", "{} is not sent: {problem}", path.display());
    Ok(None)
}

fn not_utf_8(path: &Path) -> Error {
    Error::invalid_input(format!(
        "the name of {path:?} is not UTF-8 and cannot be sent; rename it, or leave it out with a .detignore file"
    ))
}

/// `a/b`, or `b` below nothing.
fn slash(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}/{name}")
    }
}

/// Like [`Path::join`], but joining nothing adds no slash.
fn join(root: &Path, path: &str) -> PathBuf {
    if path.is_empty() {
        root.to_owned()
    } else {
        root.join(path)
    }
}

/// Whole seconds since 1970, fractions cut off towards it.
fn seconds(time: SystemTime) -> i64 {
    let whole = |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(0);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => whole(after),
        Err(before) => -whole(before.duration()),
    }
}

/// The JSON body of a request to create an experiment, read from the files as it is read itself.
///
/// A read fails if a file is no longer what it was when the plan was made; the [`io::Error`] then holds an [`Error`] that names it.
pub(crate) struct Body {
    entries: Arc<[Entry]>,
    /// The entry after the one that is being packed.
    next: usize,
    tail: String,
    stage: Stage,
    /// A piece of the body, and how much of it was read already.
    ready: Vec<u8>,
    taken: usize,
    /// Room for a piece of a file.
    chunk: Vec<u8>,
    bytes: u64,
    files: u64,
    on_packed: Option<OnPacked>,
}

enum Stage {
    /// Before an entry or the tail.
    Between,
    In(Source),
    Done,
    /// A file could not be packed: the body must not look complete.
    Broken,
}

/// A file that is being packed.
struct Source {
    index: usize,
    file: File,
    left: u64,
    modified: Option<SystemTime>,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.ready.len() {
            self.refill().map_err(|error| {
                self.ready.clear();
                io::Error::other(error)
            })?;
        }
        let ready = &self.ready[self.taken..];
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.taken += count;
        Ok(count)
    }
}

impl Body {
    /// Makes the next piece ready; none is left after the tail.
    fn refill(&mut self) -> Result<()> {
        self.ready.clear();
        self.taken = 0;
        while self.ready.len() < BATCH && !matches!(self.stage, Stage::Done) {
            // An error leaves the body broken.
            self.stage = match std::mem::replace(&mut self.stage, Stage::Broken) {
                Stage::Between => self.start_entry()?,
                Stage::In(source) => self.pack(source)?,
                Stage::Done => Stage::Done,
                Stage::Broken => {
                    return Err(Error::new(
                        ErrorKind::Io,
                        "the model definition could not be packed",
                    ));
                }
            };
        }
        if let Some(on_packed) = &self.on_packed {
            on_packed(self.bytes, self.files);
        }
        Ok(())
    }

    fn start_entry(&mut self) -> Result<Stage> {
        let index = self.next;
        let Some(entry) = self.entries.get(index) else {
            self.ready.extend_from_slice(self.tail.as_bytes());
            return Ok(Stage::Done);
        };
        self.next += 1;
        if index > 0 {
            self.ready.push(b',');
        }
        self.ready.extend_from_slice(br#"{"content":""#);
        match entry.size {
            Some(size) => Ok(Stage::In(Source::open(entry, index, size)?)),
            None => {
                entry.write_end(&mut self.ready);
                Ok(Stage::Between)
            }
        }
    }

    /// Packs the next piece of a file.
    fn pack(&mut self, mut source: Source) -> Result<Stage> {
        let entry = &self.entries[source.index];
        let want = source.left.min(CHUNK as u64) as usize;
        let chunk = &mut self.chunk[..want];
        source
            .file
            .read_exact(chunk)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => entry.changed("it became shorter"),
                _ => Error::io("read", &entry.source(), &error),
            })?;
        let start = self.ready.len();
        self.ready.resize(start + want.div_ceil(3) * 4, 0);
        // The room is exact, so there is no error to come.
        let _ = STANDARD.encode_slice(chunk, &mut self.ready[start..]);
        self.bytes += want as u64;
        source.left -= want as u64;
        if source.left > 0 {
            return Ok(Stage::In(source));
        }
        source.check_end(entry)?;
        entry.write_end(&mut self.ready);
        self.files += 1;
        Ok(Stage::Between)
    }
}

impl Source {
    fn open(entry: &Entry, index: usize, size: u64) -> Result<Self> {
        let path = entry.source();
        let cannot_read = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => entry.changed("it is gone"),
            _ => Error::io("read", &path, &error),
        };
        // Opening what has become a pipe meanwhile would wait for ever.
        let found = fs::metadata(&path).map_err(cannot_read)?;
        if !found.is_file() {
            return Err(entry.changed("it is no file any more"));
        }
        if found.len() != size {
            return Err(entry.changed(&format!("it had {size} bytes and has {}", found.len())));
        }
        let file = File::open(&path).map_err(cannot_read)?;
        let modified = modified(&file);
        Ok(Self {
            index,
            file,
            left: size,
            modified,
        })
    }

    /// Checks that the file ends here, and that nobody wrote to it while it was read.
    fn check_end(&mut self, entry: &Entry) -> Result<()> {
        let more = self
            .file
            .read(&mut [0])
            .map_err(|error| Error::io("read", &entry.source(), &error))?;
        if more > 0 {
            return Err(entry.changed("it became longer"));
        }
        if modified(&self.file) != self.modified {
            return Err(entry.changed("it was written to"));
        }
        Ok(())
    }
}

fn modified(file: &File) -> Option<SystemTime> {
    file.metadata().ok()?.modified().ok()
}

impl Entry {
    fn source(&self) -> PathBuf {
        self.base.join(&self.path)
    }

    fn changed(&self, how: &str) -> Error {
        Error::new(
            ErrorKind::Io,
            format!(
                "{} changed while it was being sent: {how}; nothing was created",
                self.source().display()
            ),
        )
    }

    /// Writes what follows the content.
    fn write_end(&self, out: &mut Vec<u8>) {
        let kind = if self.size.is_some() {
            FILE_TYPE
        } else {
            DIRECTORY_TYPE
        };
        // Writing to memory does not fail.
        let _ = write!(
            out,
            r#"","gid":0,"mode":{},"mtime":"{}","path":{},"type":{kind},"uid":0}}"#,
            self.mode,
            self.mtime,
            serde_json::Value::from(self.path.as_str()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use tempfile::TempDir;

    const SUBMISSION: Submission = Submission {
        activate: true,
        config: "name: \"x\"\n",
        project_id: None,
        template: None,
        validate_only: false,
    };

    /// A directory with these files; a path that ends in a slash is an empty directory.
    fn tree(files: &[(&str, &str)]) -> TempDir {
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

    fn plan(definition: impl Into<ModelDefinition>, includes: &[PathBuf]) -> Result<Plan> {
        Plan::new(&definition.into(), includes, &CancelToken::new())
    }

    fn body(plan: &Plan) -> Value {
        serde_json::from_reader(plan.body(&SUBMISSION, None)).unwrap()
    }

    fn paths(plan: &Plan) -> Vec<String> {
        let body = body(plan);
        let entries = body["modelDefinition"].as_array().unwrap();
        let path = |entry: &Value| entry["path"].as_str().unwrap().to_owned();
        entries.iter().map(path).collect()
    }

    /// The error that reading the body ends in, and what was read before.
    fn break_off(mut body: Body) -> (String, Error) {
        let mut text = Vec::new();
        let error = body.read_to_end(&mut text).unwrap_err();
        let mut more = [0; 8];
        assert!(body.read(&mut more).is_err(), "the body must stay broken");
        let text = String::from_utf8(text).unwrap();
        (text, error.downcast().unwrap())
    }

    #[test]
    fn the_body_is_what_the_master_expects() {
        let directory = tree(&[
            ("b/empty/", ""),
            ("b/c.txt", "hi"),
            ("a.py", ""),
            ("b.py", "x"),
        ]);
        let include = tree(&[("lib/util.py", "X = 1\n"), ("one.txt", "12345")]);
        let includes = [include.path().join("lib"), include.path().join("one.txt")];
        let plan = plan(directory.path(), &includes).unwrap();
        assert_eq!((plan.bytes(), plan.files()), (14, 5));

        let mut body = body(&plan);
        for entry in body["modelDefinition"].as_array_mut().unwrap() {
            let mtime = entry["mtime"].as_str().unwrap().parse::<u64>().unwrap();
            assert!(mtime > 1_700_000_000);
            entry["mtime"] = json!("…");
            let mode = if entry["type"] == 53 {
                0o040_000
            } else {
                0o100_000
            };
            assert_eq!(entry["mode"].as_u64().unwrap() & 0o170_000, mode);
            entry["mode"] = json!(0);
        }
        let entry = |path: &str, content: &str, kind: u8| json!({"content": content, "gid": 0, "mode": 0, "mtime": "…", "path": path, "type": kind, "uid": 0});
        assert_eq!(
            body,
            json!({
                "activate": true,
                "config": "name: \"x\"\n",
                "modelDefinition": [
                    entry("a.py", "", 48),
                    entry("b", "", 53),
                    entry("b.py", "eA==", 48),
                    entry("b/c.txt", "aGk=", 48),
                    entry("b/empty", "", 53),
                    entry("lib", "", 53),
                    entry("lib/util.py", "WCA9IDEK", 48),
                    entry("one.txt", "MTIzNDU=", 48),
                ],
                "projectId": null,
                "template": null,
            })
        );
    }

    #[test]
    fn no_directory_is_null_and_an_empty_one_is_an_empty_list() {
        let none = plan(ModelDefinition::none(), &[]).unwrap();
        assert_eq!(body(&none)["modelDefinition"], json!(null));
        let directory = tree(&[]);
        let empty = plan(directory.path(), &[]).unwrap();
        assert_eq!(body(&empty)["modelDefinition"], json!([]));
    }

    #[test]
    fn includes_are_sent_without_a_directory_too() {
        let include = tree(&[("lib/a.py", "")]);
        let plan = plan(ModelDefinition::none(), &[include.path().join("lib")]).unwrap();
        assert_eq!(paths(&plan), ["lib", "lib/a.py"]);
    }

    #[test]
    fn what_was_asked_for_stands_in_the_body() {
        let none = plan(ModelDefinition::none(), &[]).unwrap();
        let submission = Submission {
            activate: false,
            project_id: Some(3),
            template: Some("a \"b\""),
            validate_only: true,
            ..SUBMISSION
        };
        let body: Value = serde_json::from_reader(none.body(&submission, None)).unwrap();
        assert_eq!(body["activate"], json!(false));
        assert_eq!(body["projectId"], json!(3));
        assert_eq!(body["template"], json!("a \"b\""));
        assert_eq!(body["validateOnly"], json!(true));
    }

    #[test]
    fn the_rules_of_each_root_hold_in_it_and_are_not_sent() {
        let directory = tree(&[
            (".detignore", "*.log\n"),
            ("a.log", ""),
            ("b.txt", ""),
            ("c.pyc", ""),
            ("d/.detignore", "*"),
            ("d/e.txt", ""),
            ("f/.detignore/g", ""),
        ]);
        let include = tree(&[
            ("lib/.detignore", "b.txt"),
            ("lib/a.log", ""),
            ("lib/b.txt", ""),
        ]);
        let named = include.path().join("lib/.detignore");
        let plan = plan(directory.path(), &[include.path().join("lib"), named]).unwrap();
        assert_eq!(
            paths(&plan),
            [
                "b.txt",
                "d",
                "d/e.txt",
                "f",
                "f/.detignore",
                "f/.detignore/g",
                "lib",
                "lib/a.log",
                ".detignore"
            ]
        );
    }

    #[test]
    fn every_vector_of_the_python_sdk_is_packed_as_it_packs_it() {
        let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/detignore.json");
        let vectors: Value = serde_json::from_slice(&fs::read(vectors).unwrap()).unwrap();
        let vectors = vectors.as_array().unwrap();
        assert!(vectors.len() > 400);
        for vector in vectors {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let lines: Vec<String> = vector["detignore"]
                .as_array()
                .unwrap()
                .iter()
                .map(text)
                .collect();
            let lines = lines.join("\n") + "\n";
            let mut files = vec![(".detignore".to_owned(), lines.as_str())];
            for (path, kind) in vector["tree"].as_object().unwrap() {
                let slash = if kind == "dir" { "/" } else { "" };
                files.push((format!("{path}{slash}"), ""));
            }
            let files: Vec<(&str, &str)> = files
                .iter()
                .map(|(path, content)| (path.as_str(), *content))
                .collect();
            let directory = tree(&files);
            match plan(directory.path(), &[]) {
                Ok(plan) => {
                    let kept: Vec<String> = vector["kept"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(text)
                        .collect();
                    assert_eq!(paths(&plan), kept, "{lines:?}");
                }
                Err(error) => {
                    assert!(vector["error"].is_string(), "{lines:?}: {error}");
                    assert_eq!(error.kind(), ErrorKind::InvalidInput);
                }
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_to_files_but_not_into_directories() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let directory = tree(&[("real/x", "content"), ("model/a", "")]);
        let at = |path: &str| directory.path().join(path);
        fs::set_permissions(at("real/x"), fs::Permissions::from_mode(0o750)).unwrap();
        symlink(at("real/x"), at("model/file")).unwrap();
        symlink(at("real"), at("model/directory")).unwrap();
        symlink(at("model"), at("model/loop")).unwrap();
        symlink("nowhere", at("model/dangling")).unwrap();
        symlink(at("model"), at("link")).unwrap();

        let plan = plan(at("link"), &[at("model/file")]).unwrap();
        assert_eq!(paths(&plan), ["a", "directory", "file", "loop", "x"]);
        let body = body(&plan);
        let file = &body["modelDefinition"][2];
        assert_eq!(file["content"], json!("Y29udGVudA=="));
        assert_eq!(file["mode"], json!(0o100_750));
        assert_eq!(body["modelDefinition"][1]["type"], json!(53));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_left_out_and_never_opened() {
        let directory = tree(&[("a", "")]);
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let fifo = directory.path().join("fifo");
        let made = std::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap();
        assert!(made.success());
        assert_eq!(paths(&plan(directory.path(), &[]).unwrap()), ["a"]);
        for include in [socket, fifo] {
            let error = plan(directory.path(), &[include]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_that_is_not_utf_8_is_an_error_unless_it_is_ignored() {
        use std::os::unix::ffi::OsStrExt;
        let directory = tree(&[("a/b", "")]);
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9.txt");
        fs::write(directory.path().join("a").join(name), "").unwrap();
        let error = plan(directory.path(), &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(r"caf\xE9.txt"), "{error}");
        fs::write(directory.path().join(".detignore"), "*.txt").unwrap();
        assert_eq!(paths(&plan(directory.path(), &[]).unwrap()), ["a", "a/b"]);
    }

    #[test]
    fn what_cannot_be_found_is_an_error_that_names_it() {
        let directory = tree(&[("file", "")]);
        let missing = directory.path().join("missing");
        let error = plan(&missing, &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("missing"), "{error}");
        assert!(plan(ModelDefinition::none(), &[missing]).is_err());
        let error = plan(directory.path().join("file"), &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains("is not a directory"), "{error}");
        let error = plan(ModelDefinition::none(), &["/".into()])
            .unwrap_err()
            .to_string();
        assert!(error.contains("has no name"), "{error}");
    }

    #[test]
    fn a_name_that_two_roots_share_is_an_error() {
        let directory = tree(&[("lib/a", ""), ("b", "")]);
        let include = tree(&[("lib/b", ""), ("b", "")]);
        let includes = [include.path().join("lib"), include.path().join("b")];
        let error = plan(directory.path(), &includes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().ends_with(r#": "b", "lib""#), "{error}");
    }

    #[test]
    fn the_limit_counts_each_file_rounded_up_to_three_bytes_before_it_is_read() {
        let directory = tree(&[("a", ""), ("b", "")]);
        let resize = |name: &str, size: u64| {
            let file = File::options()
                .write(true)
                .open(directory.path().join(name));
            file.unwrap().set_len(size).unwrap();
        };
        // 99,614,720 is not a multiple of three: the last two bytes cannot be used.
        resize("a", MAX_SIZE - 5);
        resize("b", 1);
        assert!(plan(directory.path(), &[]).is_ok());
        resize("b", 4);
        let error = plan(directory.path(), &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(
            error.to_string().contains("the largest so far is"),
            "{error}"
        );
        resize("b", 1 << 40);
        assert!(plan(directory.path(), &[]).is_err());
    }

    #[test]
    fn a_cancelled_plan_ends() {
        let directory = tree(&[]);
        let cancel = CancelToken::new();
        cancel.cancel();
        let error = Plan::new(&directory.path().into(), &[], &cancel).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }

    #[test]
    fn a_file_that_changed_since_the_plan_breaks_the_body_off() {
        let directory = tree(&[("a", "1"), ("b", "22"), ("c", "")]);
        let path = directory.path().join("b");
        let plan = plan(directory.path(), &[]).unwrap();
        fs::write(&path, "333").unwrap();
        let (_, longer) = break_off(plan.body(&SUBMISSION, None));
        fs::write(&path, "1").unwrap();
        let (_, shorter) = break_off(plan.body(&SUBMISSION, None));
        fs::remove_file(&path).unwrap();
        let (_, gone) = break_off(plan.body(&SUBMISSION, None));
        for error in [longer, shorter, gone] {
            assert_eq!(error.kind(), ErrorKind::Io);
            assert!(error.to_string().contains("b changed while"), "{error}");
        }
        // The plan itself can be used again.
        fs::write(&path, "22").unwrap();
        body(&plan);
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_breaks_the_body_off() {
        let content = "x".repeat(1 << 20);
        let directory = tree(&[("a", &content)]);
        let path = directory.path().join("a");
        let plan = plan(directory.path(), &[]).unwrap();
        let changes: [&dyn Fn(); 3] = [
            &|| fs::write(&path, &content[1..]).unwrap(),
            &|| fs::write(&path, content.clone() + "y").unwrap(),
            // The same size, at another time.
            &|| {
                let time = UNIX_EPOCH + std::time::Duration::from_secs(1);
                let file = File::options().write(true).open(&path).unwrap();
                file.set_modified(time).unwrap();
            },
        ];
        for change in changes {
            fs::write(&path, &content).unwrap();
            let mut body = plan.body(&SUBMISSION, None);
            body.read_exact(&mut [0; 1000]).unwrap();
            change();
            let (text, error) = break_off(body);
            assert_eq!(error.kind(), ErrorKind::Io);
            assert!(!text.contains("projectId"));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_became_a_pipe_breaks_the_body_off() {
        let directory = tree(&[("a", "")]);
        let path = directory.path().join("a");
        let plan = plan(directory.path(), &[]).unwrap();
        fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap();
        assert!(made.success());
        let (_, error) = break_off(plan.body(&SUBMISSION, None));
        assert!(error.to_string().contains("no file any more"), "{error}");
    }

    #[test]
    fn what_was_packed_is_told_and_ends_at_the_total() {
        let directory = tree(&[("a", &"x".repeat(400_000)), ("b", "y"), ("c/", "")]);
        let plan = plan(directory.path(), &[]).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let listener = Arc::clone(&told);
        let on_packed: OnPacked =
            Arc::new(move |bytes, files| listener.lock().unwrap().push((bytes, files)));
        let mut body = plan.body(&SUBMISSION, Some(on_packed));
        io::copy(&mut body, &mut io::sink()).unwrap();
        let told = told.lock().unwrap();
        assert!(told.len() > 2 && told.is_sorted());
        assert_eq!(told.last(), Some(&(plan.bytes(), plan.files())));
        assert_eq!(told.last(), Some(&(400_001, 2)));
    }

    #[test]
    fn times_before_1970_are_cut_off_towards_it() {
        let half = std::time::Duration::from_millis(1500);
        assert_eq!(seconds(UNIX_EPOCH + half), 1);
        assert_eq!(seconds(UNIX_EPOCH - half), -1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn what_is_packed_unpacks_to_the_same_tree(
            files in proptest::collection::btree_map(
                "[ab](/[ab\"é]){0,2}/[c-f \\\\]{1,3}\\.t",
                (0usize..3, proptest::collection::vec(any::<u8>(), 0..5)),
                0..6,
            ),
            piece in 1usize..70_000,
        ) {
            let directory = tempfile::tempdir().unwrap();
            let mut expected = BTreeMap::new();
            for (path, (chunks, rest)) in files {
                let mut content = vec![7; chunks * CHUNK];
                content.extend(rest);
                let target = directory.path().join(&path);
                fs::create_dir_all(target.parent().unwrap()).unwrap();
                fs::write(target, &content).unwrap();
                for (index, _) in path.match_indices('/') {
                    expected.insert(path[..index].to_owned(), None);
                }
                expected.insert(path, Some(content));
            }

            let plan = plan(directory.path(), &[]).unwrap();
            let mut body = plan.body(&SUBMISSION, None);
            let (mut text, mut buffer) = (Vec::new(), vec![0; piece]);
            loop {
                let count = body.read(&mut buffer).unwrap();
                if count == 0 { break }
                text.extend_from_slice(&buffer[..count]);
            }
            let body: Value = serde_json::from_slice(&text).unwrap();
            let unpacked: Vec<(String, Option<Vec<u8>>)> = body["modelDefinition"]
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| {
                    let content = STANDARD.decode(entry["content"].as_str().unwrap()).unwrap();
                    let path = entry["path"].as_str().unwrap().to_owned();
                    (path, (entry["type"] == 48).then_some(content))
                })
                .collect();
            prop_assert_eq!(unpacked, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
