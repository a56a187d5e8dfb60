//! Which pieces of which objects have arrived, on disk, for the download that goes on where this one is cut.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::objects::{Object, PIECE};
use super::staging::{Tree, is_absence};
use crate::error::{Error, Result};
use crate::platform;

/// A file of lines: first where the objects are from, then a line for each piece.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// By key: the version of the object, and the offsets of the pieces that were there when the journal was opened.
    known: HashMap<String, (String, Vec<u64>)>,
    is_empty: bool,
    needs_sync: bool,
}

/// What a journal is about. One of another heading is not gone on with.
#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Heading {
    place: String,
    /// What tells the names of all objects from other names: where they have changed, files of the old ones may lie in the tree.
    names: String,
    piece: u64,
    /// Since when the machine has been running: what was written before it stopped may not have reached the disk. `None` where that is not
    /// known; then every piece is brought to the disk before it is noted.
    boot: Option<String>,
}

/// A piece: key, version and offset.
#[derive(Serialize, Deserialize)]
struct Entry(String, String, u64);

impl Journal {
    /// Opens the journal of the tree, or begins with an empty tree and an empty journal.
    pub(super) fn open<'a>(
        tree: &Tree,
        place: &str,
        objects: impl Iterator<Item = &'a Object>,
    ) -> Result<Self> {
        let path = tree.root().with_extension("journal");
        let heading = Heading {
            place: place.to_owned(),
            names: fingerprint(objects.map(|object| object.key.as_str())),
            piece: PIECE,
            boot: platform::boot_id(),
        };
        let failed = |error: &io::Error| Error::io("write", &path, error);
        let known = match File::open(&path) {
            Ok(file) => read(file, &heading),
            Err(error) if is_absence(&error) => None,
            Err(error) => return Err(Error::io("read", &path, &error)),
        };
        let mut options = OpenOptions::new();
        options.create(true);
        if known.is_some() {
            options.append(true);
        } else {
            tree.clear()?;
            options.write(true).truncate(true);
        }
        let mut file = options.open(&path).map_err(|error| failed(&error))?;
        if known.is_none() {
            write_line(&mut file, &heading).map_err(|error| failed(&error))?;
        } else {
            // Whoever was killed may have left half a line.
            file.write_all(b"\n").map_err(|error| failed(&error))?;
        }
        let known = known.unwrap_or_default();
        Ok(Self {
            path,
            file,
            is_empty: known.is_empty(),
            known,
            needs_sync: heading.boot.is_none(),
        })
    }

    /// The pieces of this version of the object that were there when the journal was opened. One without a version may be any.
    fn pieces(&self, object: &Object) -> Option<&[u64]> {
        let (version, pieces) = self.known.get(&object.key)?;
        (*version == object.version && !version.is_empty()).then_some(pieces)
    }

    /// How long the file must be that holds what was there of the object when the journal was opened; `None` if nothing was.
    pub(super) fn extent(&self, object: &Object) -> Option<u64> {
        let ends = self.pieces(object)?.iter().map(|offset| offset + PIECE);
        Some(ends.max()?.min(object.size))
    }

    /// Whether this piece of this version of the object was there when the journal was opened.
    pub(super) fn has(&self, object: &Object, offset: u64) -> bool {
        self.pieces(object)
            .is_some_and(|pieces| pieces.contains(&offset))
    }

    /// Takes back what was noted of the object: its file does not hold it any more.
    pub(super) fn forget(&mut self, object: &Object) -> Result<()> {
        match self.known.remove(&object.key) {
            // Of no version, so that none is taken for it.
            Some(_) => self.write(&Entry(object.key.clone(), String::new(), 0)),
            None => Ok(()),
        }
    }

    /// Whether a piece must be brought to the disk before it is noted.
    pub(super) fn needs_sync(&self) -> bool {
        self.needs_sync
    }

    pub(super) fn note(&mut self, object: &Object, offset: u64) -> Result<()> {
        self.is_empty = false;
        self.write(&Entry(object.key.clone(), object.version.clone(), offset))
    }

    fn write(&mut self, entry: &Entry) -> Result<()> {
        write_line(&mut self.file, entry).map_err(|error| Error::io("write", &self.path, &error))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.is_empty
    }

    pub(super) fn remove(self) {
        // What cannot be removed here is overwritten by the next download.
        let _ = fs::remove_file(&self.path);
    }
}

fn fingerprint<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut digest = Context::new(&SHA256);
    for name in names {
        digest.update(name.as_bytes());
        digest.update(b"\0");
    }
    BASE64_STANDARD.encode(digest.finish())
}

/// In one write, so that lines are not mixed.
fn write_line(file: &mut File, line: &impl Serialize) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line).map_err(io::Error::other)?;
    bytes.push(b'\n');
    file.write_all(&bytes)
}

/// What a journal knows; `None` if it is about something else. Lines that make no sense are passed over.
fn read(file: File, heading: &Heading) -> Option<HashMap<String, (String, Vec<u64>)>> {
    let mut lines = BufReader::new(file).lines().map_while(Result::ok);
    let first: Heading = serde_json::from_str(&lines.next()?).ok()?;
    if first != *heading {
        return None;
    }
    let mut known: HashMap<String, (String, Vec<u64>)> = HashMap::new();
    for line in lines {
        let Ok(Entry(key, version, offset)) = serde_json::from_str(&line) else {
            continue;
        };
        let (latest, pieces) = known.entry(key).or_default();
        if *latest != version {
            (*latest, *pieces) = (version, Vec::new());
        }
        pieces.push(offset);
    }
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::super::staging::Staging;
    use super::*;

    fn object(key: &str, version: &str) -> Object {
        Object {
            key: key.to_owned(),
            size: 3 * PIECE,
            version: version.to_owned(),
        }
    }

    #[test]
    fn what_is_noted_is_known_to_the_next() {
        let parent = tempfile::tempdir().unwrap();
        let staging = Staging::try_open(&parent.path().join("s"))
            .unwrap()
            .unwrap();
        let tree = staging.tree("direct", None);
        let (a, b) = (object("a", "1"), object("b", "1"));
        let open =
            |place, objects: &[&Object]| Journal::open(&tree, place, objects.iter().copied());
        let mut journal = open("s3://b/p/", &[&a, &b]).unwrap();
        assert!(journal.is_empty());
        journal.note(&a, 0).unwrap();
        journal.note(&b, 0).unwrap();
        journal.note(&b, PIECE).unwrap();
        assert!(!journal.is_empty());
        // Killed in the middle of a line.
        journal.file.write_all(b"[\"a\",\"1\",1677").unwrap();
        drop(journal);
        tree.create_file(std::path::Path::new("a")).unwrap();

        let mut journal = open("s3://b/p/", &[&a, &b]).unwrap();
        assert!(journal.has(&a, 0) && !journal.has(&a, PIECE));
        assert_eq!(
            (journal.extent(&a), journal.extent(&b)),
            (Some(PIECE), Some(2 * PIECE))
        );
        assert!(journal.has(&b, PIECE) && !journal.has(&b, 2 * PIECE));
        let changed = object("a", "2");
        assert!(journal.extent(&changed).is_none() && !journal.has(&changed, 0));
        assert!(tree.root().join("a").exists());
        // A new version takes the place of the old.
        journal.note(&object("b", "2"), PIECE).unwrap();
        drop(journal);
        let journal = open("s3://b/p/", &[&a, &b]).unwrap();
        assert!(journal.extent(&b).is_none() && journal.has(&object("b", "2"), PIECE));
        assert!(!journal.has(&object("b", "2"), 0));
        drop(journal);

        // What was lost is lost for good.
        let mut journal = open("s3://b/p/", &[&a, &b]).unwrap();
        journal.forget(&a).unwrap();
        assert!(!journal.has(&a, 0));
        journal.note(&a, PIECE).unwrap();
        drop(journal);
        let journal = open("s3://b/p/", &[&a, &b]).unwrap();
        assert!(!journal.has(&a, 0) && journal.has(&a, PIECE));
        drop(journal);

        // What has no version may have changed.
        let mut journal = open("s3://b/p/", &[&a, &b]).unwrap();
        journal.note(&object("c", ""), 0).unwrap();
        drop(journal);
        let journal = open("s3://b/p/", &[&a, &b]).unwrap();
        assert!(!journal.has(&object("c", ""), 0));
        drop(journal);

        // Another place begins with nothing, and so do other objects.
        let journal = open("s3://b/q/", &[&a, &b]).unwrap();
        assert!(journal.is_empty() && journal.extent(&a).is_none());
        assert!(!tree.root().join("a").exists());
        drop(journal);
        tree.create_file(std::path::Path::new("a")).unwrap();
        let mut journal = open("s3://b/q/", &[&a]).unwrap();
        journal.note(&a, 0).unwrap();
        drop(journal);
        assert!(open("s3://b/q/", &[&a, &b]).unwrap().is_empty());
        assert!(!tree.root().join("a").exists());
    }
}
