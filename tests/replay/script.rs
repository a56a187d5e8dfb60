//! What is to be asked, and how a request is compared with it.

use serde_json::Value;

use super::json::difference;
use super::recording::{Request, Response};
use crate::support::Seen;

/// A request that is to come, and its answer.
#[derive(Clone)]
pub struct Step {
    /// Which exchange this is.
    pub name: String,
    pub request: Request,
    /// Whether the `config` of the body is the same value, as JSON text.
    pub config_as_json: bool,
    pub answer: Response,
}

impl Step {
    /// Whether a request is the one that is to come; else what is different.
    pub fn check(&self, seen: &Seen) -> Result<(), String> {
        let expected = &self.request;
        let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
        if (seen.method.as_str(), path) != (expected.method.as_str(), expected.path.as_str()) {
            return Err("another request".to_owned());
        }
        let (ours, recorded) = (pairs(query)?, pairs(&expected.query)?);
        if ours != recorded {
            return Err(format!("the query is {ours:?}, not {recorded:?}"));
        }
        let authorization = seen.header("authorization");
        if authorization != expected.headers.get("authorization").map(String::as_str) {
            return Err("the authorization is different".to_owned());
        }
        // The type of an archive is chosen by this header; elsewhere it does not count.
        if let Some(accept) = expected
            .headers
            .get("accept")
            .filter(|accept| *accept != "*/*")
            && seen.header("accept") != Some(accept)
        {
            return Err(format!(
                "accepts {:?}, not {accept:?}",
                seen.header("accept")
            ));
        }
        self.check_body(&seen.body)
    }

    fn check_body(&self, body: &[u8]) -> Result<(), String> {
        let Some(recorded) = &self.request.body.json else {
            return match body {
                [] => Ok(()),
                _ => Err(format!("has a body: {}", String::from_utf8_lossy(body))),
            };
        };
        let mut ours = serde_json::from_slice(body).map_err(|e| format!("the body: {e}"))?;
        let mut recorded = recorded.clone();
        if self.request.path == "/api/v1/experiments" && self.request.method == "POST" {
            if self.config_as_json {
                parse_config(&mut ours, &mut recorded)?;
            }
            order_files(&mut ours)?;
            order_files(&mut recorded)?;
        }
        match difference(&ours, &recorded) {
            Some(difference) => Err(format!("the body: {difference}")),
            None => Ok(()),
        }
    }
}

/// A query in the order of its names and values.
fn pairs(query: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair
                .split_once('=')
                .ok_or(format!("{pair:?} has no value"))?;
            Ok((decode(name)?, decode(value)?))
        })
        .collect::<Result<Vec<_>, String>>()?;
    pairs.sort();
    Ok(pairs)
}

fn decode(text: &str) -> Result<String, String> {
    let text = text.replace('+', " ");
    let decoded = percent_encoding::percent_decode_str(&text).decode_utf8();
    Ok(decoded.map_err(|e| format!("{text:?}: {e}"))?.into_owned())
}

/// Makes values of the two configurations: JSON text of ours, YAML of the recorded one.
fn parse_config(ours: &mut Value, recorded: &mut Value) -> Result<(), String> {
    let text = ours["config"].as_str().ok_or("the config is no text")?;
    ours["config"] = serde_json::from_str(text).map_err(|e| format!("the config: {e}"))?;
    let text = recorded["config"]
        .as_str()
        .ok_or("no config was recorded")?;
    recorded["config"] = serde_yaml::from_str(text).map_err(|e| e.to_string())?;
    Ok(())
}

/// Puts the files of a model definition into the order of their paths, and takes out when they were changed.
fn order_files(body: &mut Value) -> Result<(), String> {
    let Some(files) = body["modelDefinition"].as_array_mut() else {
        return Ok(());
    };
    // A directory comes before what it holds, whatever the order of names.
    for (place, file) in files.iter().enumerate() {
        let path = file["path"].as_str().unwrap_or_default();
        let parent = path.rsplit_once('/').map(|(parent, _)| parent);
        if let Some(parent) = parent
            && !files[..place].iter().any(|file| file["path"] == parent)
        {
            return Err(format!("{path:?} comes before its directory"));
        }
    }
    files.sort_by_key(|file| file["path"].as_str().map(str::to_owned));
    for file in files {
        let mtime = file["mtime"].take();
        if mtime
            .as_str()
            .and_then(|seconds| seconds.parse::<i64>().ok())
            .is_none()
        {
            return Err(format!("the mtime of {} is {mtime}", file["path"]));
        }
    }
    Ok(())
}
