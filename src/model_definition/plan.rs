//! What will be sent as a model definition: a [`Plan`], made of names and metadata alone.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::ModelDefinition;
use super::ignore::{self, IgnoreRules};
use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::platform;

/// The most that all files may hold, each counted as the next multiple of three bytes (95 MiB). In base64 that makes a little less
/// than the largest request that a master takes.
const MAX_SIZE: u64 = 95 * 1024 * 1024;

/// What will be sent as a model definition. Nothing but names and metadata was read so far.
#[derive(Debug)]
pub(crate) struct Plan {
    /// `None` if there is no model definition at all.
    pub(super) entries: Option<Arc<[Entry]>>,
    bytes: u64,
    files: u64,
}

#[derive(Debug)]
pub(super) struct Entry {
    /// The path that the master is told, with `/` between its names.
    pub(super) path: String,
    /// Where `path` starts on this machine.
    base: Arc<Path>,
    /// The size of a file; `None` for a directory.
    pub(super) size: Option<u64>,
    pub(super) mode: u32,
    /// Seconds since 1970.
    pub(super) mtime: i64,
}

impl Entry {
    /// Where it is on this machine.
    pub(super) fn source(&self) -> PathBuf {
        self.base.join(&self.path)
    }
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
            Error::invalid_input(format!("the {what} {path:?} does not exist")).missing(path)
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

#[cfg(test)]
mod tests {
    use super::super::fixture::{plan, tree};
    use super::*;
    use crate::error::ErrorKind;
    use serde_json::Value;

    fn paths(plan: &Plan) -> Vec<&str> {
        let entries = plan.entries.as_ref().unwrap();
        entries.iter().map(|entry| entry.path.as_str()).collect()
    }

    #[test]
    fn includes_are_sent_without_a_directory_too() {
        let include = tree(&[("lib/a.py", "")]);
        let plan = plan(ModelDefinition::none(), &[include.path().join("lib")]).unwrap();
        assert_eq!(paths(&plan), ["lib", "lib/a.py"]);
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
        let entries = plan.entries.unwrap();
        assert_eq!((entries[2].size, entries[2].mode), (Some(7), 0o100_750));
        assert_eq!(entries[1].size, None);
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
            let file = fs::File::options()
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
    fn times_before_1970_are_cut_off_towards_it() {
        let half = std::time::Duration::from_millis(1500);
        assert_eq!(seconds(UNIX_EPOCH + half), 1);
        assert_eq!(seconds(UNIX_EPOCH - half), -1);
    }
}
