//! Packing: a [`Body`] that reads the files of a [`Plan`] while the request is sent. Only a piece of one file is in memory at a time.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::plan::{Entry, Plan};
use crate::error::{Error, ErrorKind, Result};

/// The numbers by which the master tells files from directories: the type flags of tar.
const FILE_TYPE: u8 = b'0';
const DIRECTORY_TYPE: u8 = b'5';

/// How much of a file is encoded at once: a multiple of three, so that no padding comes in between.
const CHUNK: usize = 48 * 1024;
/// How much of the body is made ready at once, about.
const BATCH: usize = 128 * 1024;

/// Told how many bytes of how many files were packed since the start, again and again while a body is sent.
pub(crate) type OnPacked = Arc<dyn Fn(u64, u64) + Send + Sync>;

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
    use super::super::ModelDefinition;
    use super::super::fixture::{plan, tree};
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::time::{Duration, UNIX_EPOCH};

    const SUBMISSION: Submission = Submission {
        activate: true,
        config: "name: \"x\"\n",
        project_id: None,
        template: None,
        validate_only: false,
    };

    fn body(plan: &Plan) -> Value {
        serde_json::from_reader(plan.body(&SUBMISSION, None)).unwrap()
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
                let time = UNIX_EPOCH + Duration::from_secs(1);
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
