//! A checkpoint as the master sends it: a gzipped tar archive, unpacked while it comes in.
//!
//! One thread reads and inflates, the other unpacks and writes; a few blocks lie between them, so that neither waits for the other's
//! hiccups and the memory in use does not depend on the archive's size.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use flate2::bufread::MultiGzDecoder;
use tar::EntryType;

use super::contents::{Gate, local_path};
use super::meter::Meter;
use super::staging::Tree;
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};
use crate::session::{foreign_beginning, read_error};

const BLOCK: usize = 192 * 1024;
/// How many blocks lie between the threads.
const BLOCKS: usize = 2;
const READ_AT_ONCE: usize = 64 * 1024;
/// The first byte of what gzip has made.
const GZIP: u8 = 0x1f;
/// What may lie between the contents of two files: headers, with names and attributes of unusual length.
const HEADERS_LIMIT: u64 = 1 << 20;

/// Unpacks the archive that `answer` holds into `tree`. `halt` breaks the answer off, when there is no use for more of it.
pub(super) fn unpack(
    answer: impl Read + Send,
    tree: &Tree,
    gate: Gate<'_>,
    meter: &Meter,
    halt: &CancelToken,
) -> Result<()> {
    let (full, blocks) = sync_channel(BLOCKS);
    let (empty, recycled) = sync_channel(BLOCKS + 2);
    thread::scope(|scope| {
        scope.spawn(move || inflate(answer, &full, &recycled));
        let blocks = Blocks {
            blocks,
            empty,
            block: Vec::new(),
            at: 0,
            is_at_end: false,
        };
        let result = write_files(blocks, tree, gate, meter);
        if result.is_err() {
            // The other thread may be waiting for a server that is silent.
            halt.cancel();
        }
        result
    })
}

type Block = io::Result<Vec<u8>>;

/// Inflates until the end, a failure, or until nobody listens any more. An empty block is the end.
fn inflate(answer: impl Read, full: &SyncSender<Block>, recycled: &Receiver<Vec<u8>>) {
    let without_use = Cell::new(0);
    let received = Received {
        answer,
        without_use: &without_use,
    };
    let mut answer = BufReader::with_capacity(READ_AT_ONCE, received);
    let begins_well = answer.fill_buf().and_then(|start| match start {
        [] | [GZIP, ..] => Ok(()),
        foreign => Err(io::Error::other(foreign_beginning("an archive", foreign))),
    });
    if let Err(error) = begins_well {
        // Nobody listens only if unpacking has failed already.
        let _ = full.send(Err(error));
        return;
    }
    let mut decoder = MultiGzDecoder::new(answer);
    loop {
        let mut block = recycled.try_recv().unwrap_or_default();
        block.resize(BLOCK, 0);
        let mut filled = 0;
        let mut failure = None;
        while filled < BLOCK {
            match decoder.read(&mut block[filled..]) {
                Ok(0) => break,
                Ok(n) => {
                    filled += n;
                    without_use.set(0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        block.truncate(filled);
        let is_last = failure.is_some() || filled == 0;
        if (filled > 0 || failure.is_none()) && full.send(Ok(block)).is_err() {
            return;
        }
        if let Some(error) = failure {
            // Nobody listens only if unpacking has failed already.
            let _ = full.send(Err(error));
        }
        if is_last {
            return;
        }
    }
}

/// The answer's body, whose failures keep what they are on their way through the decoder, and which may not go on without anything coming
/// of it.
struct Received<'a, R> {
    answer: R,
    /// How much was read since something came of it.
    without_use: &'a Cell<u64>,
}

impl<R: Read> Read for Received<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self
            .answer
            .read(buffer)
            .map_err(|error| match error.kind() {
                io::ErrorKind::Interrupted => error,
                _ => io::Error::other(read_error(error)),
            })?;
        self.without_use.update(|so_far| so_far + n as u64);
        match self.without_use.get() > HEADERS_LIMIT {
            true => Err(io::Error::other(refused(
                "it goes on without holding anything",
            ))),
            false => Ok(n),
        }
    }
}

/// The inflated archive.
struct Blocks {
    blocks: Receiver<Block>,
    empty: SyncSender<Vec<u8>>,
    block: Vec<u8>,
    at: usize,
    is_at_end: bool,
}

impl Read for Blocks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.block.len() && !self.is_at_end {
            // The channel takes as many blocks as there are.
            let _ = self.empty.try_send(std::mem::take(&mut self.block));
            self.at = 0;
            self.block = match self.blocks.recv() {
                Ok(block) => block?,
                Err(_) => Vec::new(),
            };
            self.is_at_end = self.block.is_empty();
        }
        let n = buffer.len().min(self.block.len() - self.at);
        buffer[..n].copy_from_slice(&self.block[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// Limits what is read between files, which the tar reader keeps in memory, and knows whether the archive ended by itself.
struct Guarded<'a, R> {
    inner: R,
    headers_left: &'a Cell<Option<u64>>,
    is_at_end: &'a Cell<bool>,
}

impl<R: Read> Read for Guarded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.is_at_end.set(n == 0 && !buffer.is_empty());
        if let Some(left) = self.headers_left.get() {
            let left = left
                .checked_sub(n as u64)
                .ok_or_else(|| io::Error::other(refused("its headers have no end")))?;
            self.headers_left.set(Some(left));
        }
        Ok(n)
    }
}

fn write_files(blocks: Blocks, tree: &Tree, mut gate: Gate<'_>, meter: &Meter) -> Result<()> {
    let headers_left = Cell::new(None);
    let is_at_end = Cell::new(false);
    let failed = |error| archive_error(error, is_at_end.get());
    let mut archive = tar::Archive::new(Guarded {
        inner: blocks,
        headers_left: &headers_left,
        is_at_end: &is_at_end,
    });
    let mut buffer = vec![0; BLOCK];
    let mut entries = archive.entries().map_err(failed)?;
    loop {
        headers_left.set(Some(HEADERS_LIMIT));
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(failed)?;
        headers_left.set(None);
        let Some((name, size)) = plain_file(&entry, tree, &mut gate)? else {
            continue;
        };
        gate.admit(&name, size)?;
        let mut file = tree.create_file(&name)?;
        let mut left = size;
        while left > 0 {
            let n = match entry.read(&mut buffer) {
                Ok(0) => return Err(cut()),
                Ok(n) => n,
                Err(error) => return Err(failed(error)),
            };
            file.write(&buffer[..n])?;
            left = left.saturating_sub(n as u64);
            meter.add_bytes(n as u64);
        }
        file.finish()?;
        meter.add_file();
    }
    if is_at_end.get() {
        return Err(cut());
    }
    // To the end of the stream, where the checksum is. A tar archive is padded, but not without end.
    headers_left.set(Some(HEADERS_LIMIT));
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(failed)?;
    Ok(())
}

/// The name and size of a file. A directory is created, a remark about the archive is passed over, anything else is refused.
fn plain_file<R: Read>(
    entry: &tar::Entry<'_, R>,
    tree: &Tree,
    gate: &mut Gate<'_>,
) -> Result<Option<(PathBuf, u64)>> {
    let kind = entry.header().entry_type();
    if kind == EntryType::XGlobalHeader {
        return Ok(None);
    }
    let bytes = entry.path_bytes();
    let name = std::str::from_utf8(&bytes).map_err(|_| {
        refused(&format!(
            "the file name {:?} is no Unicode text",
            String::from_utf8_lossy(&bytes)
        ))
    })?;
    let path = local_path(name)?;
    match kind {
        EntryType::Directory => {
            gate.admit_directory(&path)?;
            tree.create_directory(&path)?;
            Ok(None)
        }
        EntryType::Regular | EntryType::Continuous => {
            if path == Path::new("") {
                return Err(refused("a file in it has no name"));
            }
            Ok(Some((path, entry.size())))
        }
        EntryType::Symlink | EntryType::Link => Err(refused(&format!("{name:?} in it is a link"))),
        _ => Err(refused(&format!("{name:?} in it is not a file"))),
    }
}

fn refused(why: &str) -> Error {
    Error::new(
        ErrorKind::InvalidResponse,
        format!("the archive is refused: {why}"),
    )
}

fn cut() -> Error {
    Error::new(ErrorKind::Connection, "the archive ends in the middle")
        .with_hint("the connection was cut, or the master could not read its storage to the end")
}

/// What a failure to read the archive means. The tar reader has words of its own for an archive that is at its end too early.
fn archive_error(error: io::Error, is_at_end: bool) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) if is_at_end || error.kind() == io::ErrorKind::UnexpectedEof => cut(),
        Err(error) => Error::new(
            ErrorKind::InvalidResponse,
            format!("the archive is damaged: {error}"),
        ),
    }
}

/// Unpacks an archive below `directory`. Whatever it holds, nothing stands anywhere else.
#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8], directory: &Path) {
    use super::contents::Contents;
    use super::staging::Staging;
    let contents = Contents::new(&[("a".to_owned(), 700), ("d/b".to_owned(), 3)].into());
    let contents = contents.expect("the names are good");
    let staging = Staging::try_open(&directory.join("s"));
    let staging = staging
        .expect("it can be made")
        .expect("nobody else has it");
    let tree = staging.tree("master", None);
    tree.clear().expect("it can be made");
    let meter = Meter::new(crate::progress::Observer::default(), contents.totals());
    let unpacked = unpack(bytes, &tree, contents.gate(), &meter, &CancelToken::new());
    if let Err(error) = unpacked {
        assert!(!error.to_string().contains(char::is_control), "{error}");
    }
    let beside = std::fs::read_dir(directory).expect("it is there").count();
    assert_eq!(beside, 1);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{Builder, Header};

    use super::super::contents::Contents;
    use super::super::staging::Staging;
    use super::*;
    use crate::progress::Observer;

    struct Unpacked {
        result: Result<()>,
        parent: tempfile::TempDir,
    }

    impl Unpacked {
        fn path(&self, name: &str) -> std::path::PathBuf {
            self.parent.path().join("s/master").join(name)
        }
    }

    fn unpack_into_scratch(bytes: impl Read + Send, resources: &[(&str, u64)]) -> Unpacked {
        let parent = tempfile::tempdir().unwrap();
        let staging = Staging::try_open(&parent.path().join("s"))
            .unwrap()
            .unwrap();
        let tree = staging.tree("master", None);
        tree.clear().unwrap();
        let resources: BTreeMap<_, _> = resources
            .iter()
            .map(|(k, v)| ((*k).to_owned(), *v))
            .collect();
        let contents = Contents::new(&resources).unwrap();
        let meter = Meter::new(Observer::default(), contents.totals());
        Unpacked {
            result: unpack(bytes, &tree, contents.gate(), &meter, &CancelToken::new()),
            parent,
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// A header with a name as it is: the library that writes archives refuses some that a hostile one may have.
    fn header(name: &[u8], kind: EntryType, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o666);
        header.set_cksum();
        header
    }

    fn archive(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (name, kind, content) in entries {
            builder
                .append(
                    &header(name.as_bytes(), *kind, content.len() as u64),
                    *content,
                )
                .unwrap();
        }
        builder.into_inner().unwrap()
    }

    const FILE: EntryType = EntryType::Regular;

    #[test]
    fn files_and_directories_come_out_as_they_went_in() {
        let long = format!("{}/w.bin", "d".repeat(150));
        let mut builder = Builder::new(Vec::new());
        for (name, content) in [("a", &b"abc"[..]), ("empty", b""), (&long, b"long")] {
            let mut header = header(b"", FILE, content.len() as u64);
            builder.append_data(&mut header, name, content).unwrap();
        }
        builder
            .append(&header(b"sub/", EntryType::Directory, 0), io::empty())
            .unwrap();
        let bytes = gzip(&builder.into_inner().unwrap());
        let unpacked = unpack_into_scratch(&bytes[..], &[("a", 3)]);
        unpacked.result.as_ref().unwrap();
        assert_eq!(fs::read(unpacked.path("a")).unwrap(), b"abc");
        assert_eq!(fs::read(unpacked.path("empty")).unwrap(), b"");
        assert_eq!(fs::read(unpacked.path(&long)).unwrap(), b"long");
        assert!(unpacked.path("sub").is_dir());
    }

    #[test]
    fn what_would_leave_the_directory_or_is_no_file_is_refused() {
        for (name, kind) in [
            ("../evil", FILE),
            ("a/../../evil", FILE),
            ("/tmp/evil", FILE),
            ("link", EntryType::Symlink),
            ("hard", EntryType::Link),
            ("dev", EntryType::Block),
            ("dev", EntryType::Char),
            ("pipe", EntryType::Fifo),
            ("sparse", EntryType::GNUSparse),
            ("../evil/", EntryType::Directory),
            (".", FILE),
        ] {
            let bytes = gzip(&archive(&[("good", FILE, b"x"), (name, kind, b"")]));
            let unpacked = unpack_into_scratch(&bytes[..], &[]);
            let error = unpacked.result.unwrap_err();
            assert!(
                matches!(
                    error.kind(),
                    ErrorKind::InvalidResponse | ErrorKind::Storage
                ),
                "{name} {error:?}"
            );
            let found: Vec<_> = fs::read_dir(unpacked.parent.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            assert_eq!(found, ["s"], "{name}");
        }
    }

    #[test]
    fn an_archive_cut_anywhere_is_never_taken_for_whole() {
        let plain = archive(&[("a", FILE, &[7; 3000]), ("b", FILE, &[8; 700])]);
        let whole = gzip(&plain);
        for end in 0..whole.len() {
            let unpacked = unpack_into_scratch(&whole[..end], &[]);
            let error = unpacked.result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Connection, "{end}: {error}");
        }
        // Cut before it was compressed: the master could not read on, and ended the stream in good order.
        for end in (0..plain.len() - 1024).step_by(100) {
            let unpacked = unpack_into_scratch(&gzip(&plain[..end])[..], &[]);
            let error = unpacked.result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Connection, "{end}: {error}");
        }
    }

    #[test]
    fn what_is_no_archive_or_is_damaged_is_an_invalid_answer() {
        let mut damaged = gzip(&archive(&[("a", FILE, &[7; 3000])]));
        let middle = damaged.len() - 6;
        damaged[middle] ^= 0xff;
        let html = b"<html>please log in</html>".to_vec();
        for bytes in [damaged, html, gzip(&[b'x'; 2048])] {
            let error = unpack_into_scratch(&bytes[..], &[]).result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{error}");
        }
    }

    #[test]
    fn bombs_are_stopped() {
        // A file that claims to be huge, before any of it is written.
        let bytes = gzip(header(b"bomb", FILE, 1 << 35).as_bytes());
        let unpacked = unpack_into_scratch(&bytes[..], &[("a", 5)]);
        let error = unpacked.result.as_ref().unwrap_err();
        assert!(error.to_string().contains("far more comes"), "{error}");
        assert!(!unpacked.path("bomb").exists());
        // A listed file with more in it than listed.
        let bytes = gzip(&archive(&[("a", FILE, &[0; 4096])]));
        let error = unpack_into_scratch(&bytes[..], &[("a", 5)])
            .result
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        // A file name, which the tar reader keeps in memory, without end.
        let mut plain = header(b"././@LongLink", EntryType::GNULongName, 1 << 40)
            .as_bytes()
            .to_vec();
        plain.resize(4 << 20, b'x');
        let error = unpack_into_scratch(&gzip(&plain)[..], &[])
            .result
            .unwrap_err();
        assert!(error.to_string().contains("no end"), "{error}");
        // Padding without end.
        let mut plain = archive(&[("a", FILE, b"12345")]);
        plain.resize(4 << 20, 0);
        let error = unpack_into_scratch(&gzip(&plain)[..], &[])
            .result
            .unwrap_err();
        assert!(error.to_string().contains("no end"), "{error}");
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(64))]

        #[test]
        fn a_damaged_archive_writes_nothing_outside(
            damage in proptest::collection::vec((0..4096_usize, proptest::num::u8::ANY), 1..8),
        ) {
            let mut plain = archive(&[
                ("a", FILE, &[7; 700]),
                ("d/b", FILE, b"xyz"),
                ("e/", EntryType::Directory, b""),
                ("link", EntryType::Symlink, b""),
            ]);
            for (at, byte) in damage {
                let at = at % plain.len();
                plain[at] = byte;
            }
            // The checksums of headers are made to fit, so that more than their damage is found.
            for at in (0..plain.len()).step_by(512) {
                let block: &mut [u8; 512] = (&mut plain[at..at + 512]).try_into().unwrap();
                if &block[257..262] == b"ustar" {
                    let mut header = Header::from_byte_slice(block).clone();
                    header.set_cksum();
                    block.copy_from_slice(header.as_bytes());
                }
            }
            let unpacked = unpack_into_scratch(&gzip(&plain)[..], &[("a", 700)]);
            let beside = fs::read_dir(unpacked.parent.path()).unwrap().count();
            proptest::prop_assert_eq!(beside, 1);
        }
    }

    #[test]
    fn a_failure_of_the_connection_stays_what_it_was() {
        struct Broken(Vec<u8>, usize);
        impl Read for Broken {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if self.1 == self.0.len() {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                buffer[0] = self.0[self.1];
                self.1 += 1;
                Ok(1)
            }
        }
        let mut bytes = gzip(&archive(&[("a", FILE, &[7; 3000])]));
        bytes.truncate(bytes.len() - 4);
        let error = unpack_into_scratch(Broken(bytes, 0), &[])
            .result
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connection);
        assert!(error.to_string().contains("cut"), "{error}");
    }
}
