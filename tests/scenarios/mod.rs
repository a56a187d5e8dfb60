//! The scenarios, by resource.

mod checkpoints;
mod experiments;
mod inputs;
mod login;
mod models;
mod oldest_master;
mod trials;
mod users;
mod workspaces;

use std::fs;
use std::path::Path;

use crate::replay::{Deviations, directory};

/// Every recording below a directory, by the name that [`Replay::start`](crate::replay::Replay::start) takes.
fn recordings(directory: &Path, prefix: &str, names: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            recordings(&entry.path(), &format!("{prefix}{name}/"), names);
        } else if let Some(name) = name.strip_suffix(".jsonl") {
            names.push(format!("{prefix}{name}"));
        }
    }
}

#[test]
fn every_recording_is_replayed() {
    let mut names = Vec::new();
    recordings(&directory(), "", &mut names);
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let sources = fs::read_dir(sources).unwrap().map(Result::unwrap);
    let sources: String = sources
        .map(|entry| fs::read_to_string(entry.path()).unwrap())
        .collect();
    for name in &names {
        assert!(
            sources.contains(&format!("\"{name}\"")),
            "{name} is not replayed"
        );
    }
    for (scenario, why) in Deviations::read().entries() {
        assert!(
            names.iter().any(|name| name == scenario),
            "{scenario} is no recording"
        );
        assert!(!why.is_empty(), "a deviation of {scenario} has no reason");
    }
}
