//! Downloading the code of an experiment: from text in an answer to a file, without holding either in memory.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::engine::general_purpose::STANDARD;
use base64::read::DecoderReader;
use memchr::memchr;

use super::{Experiment, path};
use crate::error::{Error, ErrorKind, Result};
use crate::session::{foreign_beginning, read_error};
use crate::whole_file::WholeFile;

/// How much is read at once.
const BLOCK: usize = 64 * 1024;
/// The key under which the archive stands in the answer.
const KEY: &[u8] = br#""b64Tgz""#;

impl Experiment {
    /// Downloads the code that was submitted, as the archive `exp-{id}_model_def.tar.gz` in this directory, which is made if it is not there.
    /// A file of that name is replaced once the download is whole. Gives the path of the archive. `GET /api/v1/experiments/{id}/model_def`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the experiment is gone, or was submitted without code; [`Io`](ErrorKind::Io) if the file cannot be written.
    ///
    /// ```
    /// # let master = determined::testing::MockMaster::start();
    /// # let config = serde_json::json!({"name": "n", "entrypoint": "true", "searcher": {"name": "single", "metric": "m", "max_length": 1}});
    /// # let experiment = master.determined().create_experiment(config, "examples/model_def")?;
    /// # let directory = tempfile::tempdir().expect("a temporary directory");
    /// # let directory = directory.path();
    /// let archive = experiment.download_code(directory)?;
    /// assert_eq!(archive, directory.join("exp-1_model_def.tar.gz"));
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn download_code(&self, output_dir: impl AsRef<Path>) -> Result<PathBuf> {
        let directory = output_dir.as_ref();
        let doing = format!("download the code of experiment {}", self.id);
        let request = self.session.get(path(self.id, "/model_def")).doing(doing);
        let answer = request.open()?;
        let target = directory.join(format!("exp-{}_model_def.tar.gz", self.id));
        write_archive(answer, directory, &target).map_err(|error| request.explain(error))?;
        Ok(target)
    }
}

/// Writes the archive that an answer holds to the target, whole or not at all.
fn write_archive(answer: impl Read, directory: &Path, target: &Path) -> Result<()> {
    let encoded = Encoded::find(answer)?;
    fs::create_dir_all(directory).map_err(|error| Error::io("make", directory, &error))?;
    let mut archive = DecoderReader::new(encoded, &STANDARD);
    let mut file = WholeFile::create(target)?;
    let mut block = vec![0; BLOCK];
    let mut is_empty = true;
    loop {
        match archive.read(&mut block).map_err(archive_error)? {
            0 if is_empty => {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    "the experiment was submitted without code",
                ));
            }
            0 => return file.finish(),
            count => file.write_all(&block[..count])?,
        }
        is_empty = false;
    }
}

/// An error while the archive is read: of its text, or of the connection.
fn archive_error(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => match error.get_ref() {
            Some(inner) if inner.is::<base64::DecodeError>() => damaged("it is not base64"),
            _ => read_error(error),
        },
    }
}

fn damaged(how: &str) -> Error {
    Error::new(
        ErrorKind::InvalidResponse,
        format!("the archive in the answer cannot be read: {how}"),
    )
}

/// The text of the archive in an answer.
struct Encoded<R> {
    answer: R,
    block: Vec<u8>,
    start: usize,
    end: usize,
    is_done: bool,
}

impl<R: Read> Encoded<R> {
    /// Passes over what stands before the text.
    fn find(answer: R) -> Result<Self> {
        let mut encoded = Self {
            answer,
            block: vec![0; BLOCK],
            start: 0,
            end: 0,
            is_done: false,
        };
        loop {
            let read = &encoded.block[..encoded.end];
            if let Some(start) = start_of_text(read) {
                encoded.start = start;
                return Ok(encoded);
            }
            let count = match encoded.end < BLOCK {
                true => encoded.answer.read(&mut encoded.block[encoded.end..]),
                false => Ok(0),
            };
            match count.map_err(read_error)? {
                0 if encoded.block.trim_ascii_start().starts_with(b"{") => {
                    return Err(damaged("there is none"));
                }
                0 => return Err(foreign_beginning("JSON", &encoded.block[..encoded.end])),
                count => encoded.end += count,
            }
        }
    }
}

/// Where the text starts, behind its key, a colon and a quote.
fn start_of_text(read: &[u8]) -> Option<usize> {
    let key = memchr::memmem::find(read, KEY)? + KEY.len();
    Some(key + memchr(b'"', &read[key..])? + 1)
}

impl<R: Read> Read for Encoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_done || buffer.is_empty() {
            return Ok(0);
        }
        if self.start == self.end {
            self.start = 0;
            self.end = self.answer.read(&mut self.block)?;
            if self.end == 0 {
                let cut = Error::new(ErrorKind::Connection, "the answer was cut off");
                return Err(io::Error::other(cut));
            }
        }
        let ready = &self.block[self.start..self.end];
        let text = memchr(b'"', ready).unwrap_or(ready.len());
        let count = text.min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.start += count;
        self.is_done = count == text && text < ready.len();
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;

    /// Gives its bytes a few at a time.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(buffer.len());
            self.0.take(count as u64).read(buffer)?;
            let count = count.min(self.0.len());
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn write(answer: &[u8], drip: usize) -> (Result<()>, Option<Vec<u8>>, usize) {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("a.tar.gz");
        let result = write_archive(Drip(answer, drip), directory.path(), &target);
        let files = fs::read_dir(directory.path()).unwrap().count();
        (result, fs::read(target).ok(), files)
    }

    #[test]
    fn the_archive_is_decoded_however_the_answer_arrives() {
        let archive: Vec<u8> = (0..200_000u32)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8)
            .collect();
        let answer = format!(r#"{{ "b64Tgz" : "{}" }}"#, STANDARD.encode(&archive));
        for drip in [1, 3, 1000, usize::MAX] {
            let (result, written, files) = write(answer.as_bytes(), drip);
            result.unwrap();
            assert_eq!((written.as_ref(), files), (Some(&archive), 1));
        }
    }

    #[test]
    fn an_answer_that_is_cut_damaged_or_empty_leaves_nothing() {
        for (answer, kind) in [
            (r#"{"b64Tgz":"AAAA"#, ErrorKind::Connection),
            (r#"{"b64Tgz":"AA*A"}"#, ErrorKind::InvalidResponse),
            (r#"{"b64Tgz":""}"#, ErrorKind::NotFound),
            ("{}", ErrorKind::InvalidResponse),
            ("<html></html>", ErrorKind::InvalidResponse),
        ] {
            let (result, written, files) = write(answer.as_bytes(), usize::MAX);
            assert_eq!(result.unwrap_err().kind(), kind, "{answer}");
            assert_eq!((written, files), (None, 0));
        }
    }
}
