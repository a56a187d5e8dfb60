//! Removing checkpoints and files of them, when a client asks for it.

use super::{EVERYTHING, parse_uuid};
use crate::testing::failure::{Code, Failure};
use crate::testing::http::Response;
use crate::testing::router::{Answer, Call};
use crate::testing::simulation::Event;
use serde::Deserialize;
use serde_json::json;

/// How long it takes until files that shall be removed are gone, in simulated milliseconds.
const REMOVAL: u64 = 3000;

pub(super) fn delete(call: &mut Call<'_>) -> Answer {
    remove(call, |_| vec![EVERYTHING.to_owned()])
}

pub(super) fn remove_files(call: &mut Call<'_>) -> Answer {
    remove(call, |request| request.checkpoint_globs.clone())
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Removal {
    checkpoint_uuids: Vec<String>,
    checkpoint_globs: Vec<String>,
}

fn remove(call: &mut Call<'_>, globs: fn(&Removal) -> Vec<String>) -> Answer {
    let removal: Removal = call.body()?;
    let mut uuids = Vec::new();
    for text in &removal.checkpoint_uuids {
        uuids.push(parse_uuid(text).map_err(|_| {
            Failure::invalid(format!(
                "converting checkpoint: string {text} is not a valid uuid"
            ))
        })?);
    }
    let globs = globs(&removal);
    for glob in &globs {
        if glob.is_empty() {
            return Err(Failure::invalid("cannot have empty string glob"));
        }
        if glob.contains("..") {
            return Err(Failure::invalid(format!(
                "glob '{glob}' cannot contain '..'"
            )));
        }
    }
    let mut unknown: Vec<&str> = uuids
        .iter()
        .filter(|uuid| !call.state.checkpoints.contains_key(*uuid))
        .map(String::as_str)
        .collect();
    if !unknown.is_empty() {
        unknown.sort_unstable();
        return Err(Failure::not_found(format!(
            "checkpoints '{}' not found",
            unknown.join(", ")
        )));
    }
    let registered: Vec<String> = uuids
        .iter()
        .filter_map(|uuid| {
            let (name, id, version) = call.state.registered_as(uuid)?;
            Some(format!(
                "{uuid}, registered to {name} (model #{id}), version {version}"
            ))
        })
        .collect();
    if !registered.is_empty() {
        return Err(Failure::new(
            Code::InvalidArgument,
            format!(
                "this subset of checkpoints provided are in the model registry and cannot be deleted: {}.",
                registered.join(", ")
            ),
        ));
    }
    call.state
        .after(REMOVAL, Event::FilesRemoved { uuids, globs });
    Ok(Response::json(&json!({})))
}
