//! The model definition of an experiment: as an archive, as a tree of files, and file by file.

use crate::testing::failure::Failure;
use crate::testing::http::Response;
use crate::testing::router::{Answer, Call};
use crate::testing::wire;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::read::GzDecoder;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::io::{self, Read as _};

const TEXT: &str = "text/plain; charset=utf-8";

/// The longest part of an experiment's name in the name of an archive.
const LONGEST_NAME: usize = 49;

/// A file or directory in the tree.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    path: String,
    name: String,
    #[serde(serialize_with = "wire::serialize_time")]
    modified_time: Timestamp,
    content_length: usize,
    is_dir: bool,
    content_type: &'static str,
    files: Vec<Node>,
    #[serde(skip)]
    content: Vec<u8>,
}

pub(super) fn packed(call: &mut Call<'_>) -> Answer {
    let experiment = call.state.experiment(call.id(0, "experiment_id")?)?;
    let packed = BASE64.encode(&*experiment.model_definition.packed);
    Ok(Response::json(&json!({"b64Tgz": packed})))
}

pub(super) fn archive(call: &mut Call<'_>) -> Answer {
    let id = call.id(0, "experiment_id")?;
    let experiment = call.state.experiment(id)?;
    let stays = |letter: &char| letter.is_ascii_alphanumeric() || "_ -()[].{}".contains(*letter);
    let name = experiment.name().chars().filter(stays);
    let name: String = name.take(LONGEST_NAME).collect();
    let packed = experiment.model_definition.packed.to_vec();
    let disposition = format!("attachment; filename=\"exp{id}_{name}_model_def.tar.gz\"");
    let response = Response::bytes(200, "application/x-gtar", packed);
    Ok(response.with_header("content-disposition", disposition))
}

pub(super) fn tree(call: &mut Call<'_>) -> Answer {
    let mut tree = Vec::new();
    for node in nodes(call)? {
        let parent = node.path.strip_suffix(&node.name).unwrap_or_default();
        match directory(&mut tree, parent) {
            Some(directory) => directory.push(node),
            None => {
                return Err(Failure::internal(format!(
                    "open {}: no such file or directory",
                    node.path
                )));
            }
        }
    }
    Ok(Response::json(&json!({"files": tree})))
}

pub(super) fn file(call: &mut Call<'_>) -> Answer {
    #[derive(Deserialize)]
    struct Wanted {
        #[serde(default)]
        path: String,
    }
    let wanted: Wanted = call.body()?;
    let content = find(call, &wanted.path)?.content;
    let encoded = (!content.is_empty()).then(|| BASE64.encode(content));
    Ok(Response::json(&json!({"file": encoded})))
}

pub(super) fn download(call: &mut Call<'_>) -> Answer {
    let id = call.id(0, "experiment_id")?;
    let path = call.query.text("path").unwrap_or_default().to_owned();
    let node = find(call, &path)?;
    let disposition = format!("attachment; filename=\"exp{id}/{path}\"");
    let response = Response::bytes(200, node.content_type, node.content);
    Ok(response.with_header("content-disposition", disposition))
}

fn find(call: &Call<'_>, path: &str) -> Result<Node, Failure> {
    let mut nodes = nodes(call)?.into_iter();
    nodes
        .find(|node| node.path == path && !node.is_dir)
        .ok_or_else(|| Failure::internal("file does not exist"))
}

/// Everything in the archive, in its order.
fn nodes(call: &Call<'_>) -> Result<Vec<Node>, Failure> {
    let experiment = call.state.experiment(call.id(0, "experiment_id")?)?;
    let packed = &*experiment.model_definition.packed;
    if packed.is_empty() {
        return Err(Failure::internal("EOF"));
    }
    unpacked(packed).map_err(|error| Failure::internal(error.to_string()))
}

fn unpacked(packed: &[u8]) -> io::Result<Vec<Node>> {
    let mut archive = tar::Archive::new(GzDecoder::new(packed));
    let mut nodes = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = path.trim_end_matches('/').to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        let seconds = i64::try_from(entry.header().mtime()?).unwrap_or_default();
        nodes.push(Node {
            name: path.rsplit('/').next().unwrap_or_default().to_owned(),
            path,
            modified_time: Timestamp::from_second(seconds).unwrap_or_default(),
            content_length: content.len(),
            is_dir: entry.header().entry_type().is_dir(),
            content_type: content_type(&content),
            files: Vec::new(),
            content,
        });
    }
    Ok(nodes)
}

/// What is in the directory at `path`, if the tree has it.
fn directory<'a>(tree: &'a mut Vec<Node>, path: &str) -> Option<&'a mut Vec<Node>> {
    let mut names = path.split('/').filter(|name| !name.is_empty());
    names.try_fold(tree, |files, name| {
        let mut directories = files.iter_mut().filter(|node| node.is_dir);
        Some(&mut directories.find(|node| node.name == name)?.files)
    })
}

/// Text, unless there is a byte in it that no text has.
fn content_type(content: &[u8]) -> &'static str {
    let is_binary = |byte: &u8| matches!(byte, 0..=8 | 11 | 14..=26 | 28..=31);
    match content.iter().take(512).any(is_binary) {
        true => "application/octet-stream",
        false => TEXT,
    }
}
