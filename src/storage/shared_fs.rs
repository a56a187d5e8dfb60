//! A checkpoint on a file system that this machine shares with the cluster.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::Job;
use super::config::{required, text, unusable};
use super::contents::{Gate, local_path};
use super::staging::{Tree, is_absence};
use crate::error::{Error, ErrorKind, Result};

/// Where tasks of the cluster see what is `host_path` on the machines that they run on.
const CONTAINER_ROOT: &str = "/determined_shared_fs";
const BLOCK: usize = 256 * 1024;

/// Where a checkpoint may be, by a configuration of the type `shared_fs`: on a machine of the cluster, or in one of its tasks.
pub(super) fn shared_fs_places(storage: &Value, uuid: &str) -> Result<Vec<PathBuf>> {
    let host = Path::new(required(storage, "host_path")?);
    if !host.has_root() {
        return Err(unusable(format!("its host_path {host:?} is not absolute")));
    }
    let host = normalise(host);
    let below = match text(storage, "storage_path")? {
        None => PathBuf::new(),
        Some(path) => {
            let whole = normalise(&host.join(path));
            whole
                .strip_prefix(&host)
                .map_err(|_| {
                    unusable(format!(
                        "its storage_path {path:?} leads out of its host_path {host:?}"
                    ))
                })?
                .to_owned()
        }
    };
    let roots = [host.as_path(), Path::new(CONTAINER_ROOT)];
    Ok(roots
        .iter()
        .map(|root| root.join(&below).join(uuid))
        .collect())
}

/// Where a checkpoint is, by a configuration of the type `directory`.
pub(super) fn directory_places(storage: &Value, uuid: &str) -> Result<Vec<PathBuf>> {
    let container = required(storage, "container_path")?;
    Ok(vec![Path::new(container).join(uuid)])
}

/// The path without `.` and `..`, each of which takes back the part before it. Links are not looked at.
fn normalise(path: &Path) -> PathBuf {
    let mut whole = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                whole.pop();
            }
            part => whole.push(part),
        }
    }
    whole
}

/// Copies the checkpoint from the first of these places that there is.
pub(super) fn copy(places: &[PathBuf], job: &Job<'_>, tree: &Tree) -> Result<()> {
    let source = find(places)?;
    // Before anything is copied, because what is not whole here may be whole elsewhere.
    job.contents.verify(source)?;
    let mut copier = Copier {
        job,
        tree,
        gate: job.contents.gate(),
        buffer: vec![0; BLOCK],
    };
    copier.directory(source, "")
}

/// The first of these places that is a directory.
fn find(places: &[PathBuf]) -> Result<&Path> {
    let mut out_of_reach = None;
    for place in places {
        match fs::metadata(place) {
            Ok(found) if found.is_dir() => return Ok(place),
            Err(error) if !is_absence(&error) => {
                out_of_reach.get_or_insert(unreadable(place, &error));
            }
            _ => {}
        }
    }
    Err(out_of_reach.unwrap_or_else(|| {
        let places: Vec<_> = places
            .iter()
            .map(|place| place.display().to_string())
            .collect();
        let places = places.join(" or ");
        let what = format!("there is no directory {places} on this machine");
        Error::new(ErrorKind::Storage, what)
    }))
}

struct Copier<'a> {
    job: &'a Job<'a>,
    tree: &'a Tree,
    gate: Gate<'a>,
    buffer: Vec<u8>,
}

impl Copier<'_> {
    /// `name` is that of the directory within the checkpoint.
    fn directory(&mut self, source: &Path, name: &str) -> Result<()> {
        let failed = |error: &io::Error| unreadable(source, error);
        for entry in fs::read_dir(source).map_err(|error| failed(&error))? {
            let entry = entry.map_err(|error| failed(&error))?;
            let path = entry.path();
            let file_name = entry.file_name();
            let file_name = file_name.to_str().ok_or_else(|| {
                unreadable(&path, &io::Error::other("the name is no Unicode text"))
            })?;
            let name = format!("{name}{file_name}");
            // Links are followed: what they lead to is part of the checkpoint, as the master sees it too.
            let found = fs::metadata(&path).map_err(|error| unreadable(&path, &error))?;
            if found.is_dir() {
                let path_in_tree = local_path(&name)?;
                self.gate.admit_directory(&path_in_tree)?;
                self.tree.create_directory(&path_in_tree)?;
                self.directory(&path, &format!("{name}/"))?;
            } else if found.is_file() {
                self.file(&path, &local_path(&name)?, found.len())?;
            } else {
                return Err(unreadable(&path, &io::Error::other("it is not a file")));
            }
        }
        Ok(())
    }

    fn file(&mut self, source: &Path, name: &Path, size: u64) -> Result<()> {
        self.gate.admit(name, size)?;
        let mut from = File::open(source).map_err(|error| unreadable(source, &error))?;
        let mut to = self.tree.create_file(name)?;
        let mut left = size;
        while left > 0 {
            self.job.session.check_cancelled()?;
            let most = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            let n = match from.read(&mut self.buffer[..most]) {
                Ok(0) => {
                    let error = io::Error::other("it became shorter while it was copied");
                    return Err(unreadable(source, &error));
                }
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(source, &error)),
            };
            to.write(&self.buffer[..n])?;
            left -= n as u64;
            self.job.meter.add_bytes(n as u64);
        }
        to.finish()?;
        self.job.meter.add_file();
        Ok(())
    }
}

/// What cannot be read in the storage is no fault of this machine's disk.
fn unreadable(path: &Path, error: &io::Error) -> Error {
    let what = if is_absence(error) { "find" } else { "read" };
    Error::io(what, path, error).with_kind(ErrorKind::Storage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn places(host: &str, storage_path: Value) -> Option<Vec<String>> {
        let storage = json!({"type": "shared_fs", "host_path": host, "storage_path": storage_path});
        let places = shared_fs_places(&storage, "U").ok()?;
        Some(
            places
                .iter()
                .map(|place| place.display().to_string())
                .collect(),
        )
    }

    #[cfg(unix)]
    #[test]
    fn a_storage_path_stays_below_its_host_path() {
        let root = ["/h/U", "/determined_shared_fs/U"];
        let below = ["/h/s/U", "/determined_shared_fs/s/U"];
        for (host, storage_path, expected) in [
            ("/h", json!(null), Some(root)),
            ("/h", json!(""), Some(root)),
            ("/h/", json!("."), Some(root)),
            ("/h", json!("s"), Some(below)),
            ("/h", json!("s/./x/.."), Some(below)),
            ("/h", json!("/h/s"), Some(below)),
            ("/x/../h", json!("s"), Some(below)),
            ("/h", json!("/other"), None),
            ("/h", json!("/h2/s"), None),
            ("/h", json!("../x"), None),
            ("/h", json!("/h/../t"), None),
            ("/h", json!(7), None),
            ("h", json!("s"), None),
            ("", json!("s"), None),
        ] {
            let found = places(host, storage_path.clone());
            let expected = expected.map(|places| places.map(str::to_owned).to_vec());
            assert_eq!(found, expected, "{host} {storage_path}");
        }
    }

    #[test]
    fn a_directory_needs_its_path() {
        let storage = json!({"type": "directory", "container_path": "/c"});
        assert_eq!(
            directory_places(&storage, "U").unwrap(),
            [Path::new("/c/U")]
        );
        let error = directory_places(&json!({"type": "directory"}), "U").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
    }
}
