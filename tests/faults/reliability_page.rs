//! `docs/reliability.md` against the tests that it names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../../docs/reliability.md");

/// All Rust files below a directory.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The names of the tests below a directory, but for those that the tests themselves start.
fn tests(directory: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)) {
        let text = fs::read_to_string(path).unwrap();
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line == "#[test]" {
                is_test = true;
            } else if let Some(rest) = line.strip_prefix("fn ") {
                let name: String = rest
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                if std::mem::replace(&mut is_test, false) && name != "child" {
                    names.insert(name);
                }
            }
        }
    }
    names
}

/// The names in the last column of the page's tables.
fn named() -> BTreeSet<String> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.trim_end_matches(" |").rsplit_once(" | "));
    let names = cells.flat_map(|(_, cell)| cell.split(", "));
    names
        .filter_map(|name| Some(name.strip_prefix('`')?.strip_suffix('`')?.to_owned()))
        .collect()
}

#[test]
fn every_test_that_the_page_names_exists_and_every_fault_is_on_it() {
    let named = named();
    assert!(named.len() > 100, "{named:?}");
    let all = &tests("src") | &tests("tests");
    let missing: Vec<_> = named.difference(&all).collect();
    assert!(
        missing.is_empty(),
        "the page names what is no test: {missing:?}"
    );
    let mut faults = tests("tests/faults");
    faults.retain(|name| !name.ends_with("on_it") && !name.ends_with("on_the_page"));
    let unnamed: Vec<_> = faults.difference(&named).collect();
    assert!(unnamed.is_empty(), "the page lacks {unnamed:?}");
}

#[test]
fn every_fuzz_target_is_on_the_page() {
    let targets = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets"));
    assert_eq!(targets.len(), 5);
    for target in targets {
        let name = format!("`{}`", target.file_stem().unwrap().display());
        assert!(PAGE.contains(&name), "{name}");
    }
}
