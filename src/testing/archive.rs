//! Checkpoints as archives.

use super::checkpoints::parse_uuid;
use super::failure::Failure;
use super::http::Response;
use super::router::{Answer, Call};
use flate2::{Compression, write::GzEncoder};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

const TAR: &str = "application/x-tar";
const GZIP: &str = "application/gzip";
const ZIP: &str = "application/zip";

/// Sends the files of a checkpoint in the kind of archive that `Accept` names exactly.
pub(super) fn download(call: &mut Call<'_>) -> Answer {
    let kind = match call.request.header("accept").unwrap_or("") {
        "" | "*/*" | "application/*" | TAR => TAR,
        GZIP => GZIP,
        ZIP => ZIP,
        other => {
            return Err(Failure::plain(
                415,
                format!("unsupported media type to download a checkpoint: '{other}'"),
            ));
        }
    };
    let given = call.text(0);
    let uuid = parse_uuid(given).map_err(|why| {
        Failure::invalid(format!("unable to parse checkpoint UUID {given}: {why}"))
    })?;
    let checkpoint = call.state.checkpoint(&uuid)?;
    let directory = checkpoint.directory.clone();
    // The archive holds files only; directories that are empty are lost.
    let files: Vec<String> = checkpoint
        .resources
        .keys()
        .filter(|path| !path.ends_with('/'))
        .cloned()
        .collect();
    if files.iter().any(|path| !directory.join(path).is_file()) {
        return Err(Failure::plain(
            500,
            format!("unable to download checkpoint {uuid}: no such file or directory"),
        ));
    }
    if kind == TAR {
        let mut archive = Vec::new();
        write_tar(&mut archive, &directory, &files)
            .map_err(|error| Failure::plain(500, error.to_string()))?;
        return Ok(Response::bytes(200, kind, archive));
    }
    Ok(Response::stream(200, kind, move |out| match kind {
        GZIP => {
            let mut encoder = GzEncoder::new(out, Compression::fast());
            write_tar(&mut encoder, &directory, &files)?;
            encoder.finish()?.flush()
        }
        _ => write_zip(out, &directory, &files),
    }))
}

/// Each entry has mode 0666 and no time, whatever the file has.
fn write_tar(out: impl Write, directory: &Path, files: &[String]) -> io::Result<()> {
    let mut archive = tar::Builder::new(out);
    for path in files {
        let file = File::open(directory.join(path))?;
        let mut header = tar::Header::new_ustar();
        header.set_size(file.metadata()?.len());
        header.set_mode(0o666);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        archive.append_data(&mut header, path, file)?;
    }
    archive.into_inner()?.flush()
}

fn write_zip(out: &mut dyn Write, directory: &Path, files: &[String]) -> io::Result<()> {
    // The client's side cannot be sought in.
    let mut archive = zip::ZipWriter::new_stream(out);
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o666);
    for path in files {
        archive
            .start_file(path.as_str(), options)
            .map_err(io::Error::other)?;
        io::copy(&mut File::open(directory.join(path))?, &mut archive)?;
    }
    archive.finish().map_err(io::Error::other)?;
    Ok(())
}

/// A file or directory of a model definition.
#[derive(Debug, Clone)]
pub(super) struct ModelFile {
    pub(super) path: String,
    pub(super) content: Vec<u8>,
    pub(super) is_directory: bool,
    pub(super) mode: u32,
    pub(super) mtime: u64,
}

/// The files that were submitted with an experiment.
#[derive(Debug, Clone, Default)]
pub(super) struct ModelDefinition {
    /// A compressed tar archive, in the order in which the files were sent.
    pub(super) packed: Arc<Vec<u8>>,
    /// By path, without directories.
    pub(super) files: Arc<BTreeMap<String, Vec<u8>>>,
}

impl ModelDefinition {
    pub(super) fn new(files: Vec<ModelFile>) -> io::Result<Self> {
        if files.is_empty() {
            return Ok(Self::default());
        }
        let packed = pack(&files)?;
        let files = files
            .into_iter()
            .filter(|file| !file.is_directory)
            .map(|file| (file.path, file.content));
        Ok(Self {
            packed: Arc::new(packed),
            files: Arc::new(files.collect()),
        })
    }
}

fn pack(files: &[ModelFile]) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(file.mode);
        header.set_mtime(file.mtime);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(file.content.len() as u64);
        if file.is_directory {
            header.set_entry_type(tar::EntryType::Directory);
        }
        archive.append_data(&mut header, &file.path, &file.content[..])?;
    }
    archive.into_inner()?.finish()
}
