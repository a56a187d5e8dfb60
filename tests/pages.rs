//! The pages for people, held against the code.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages, by their paths from the root.
fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|entry| Path::new("docs").join(entry.unwrap().file_name()));
    let markdown = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let at_the_root = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"];
    markdown.chain(at_the_root.map(PathBuf::from)).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    for page in pages() {
        let text = read(&page);
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            count += 1;
            let there = root().join(page.parent().unwrap()).join(target);
            assert!(there.exists(), "{}: {target}", page.display());
        }
    }
    assert!(count > 20, "{count} links");
}

#[test]
fn every_snippet_is_compiled() {
    let library = read("src/lib.rs") + &read("src/testing/mod.rs");
    for page in pages() {
        let is_compiled = library.contains(&format!("../{}\")]", page.display()))
            || page == Path::new("docs/guide.md"); // whose snippets tests/guide.rs runs
        let has_snippets = read(&page).contains("```rust");
        assert!(is_compiled || !has_snippets, "{}", page.display());
    }
}

#[test]
fn every_kind_of_error_is_explained() {
    let page = read("docs/troubleshooting.md");
    let code = read("src/error.rs");
    let (_, kinds) = code.split_once("pub enum ErrorKind {").unwrap();
    let (kinds, _) = kinds.split_once("\n}").unwrap();
    let kinds = kinds.lines().map(str::trim);
    let kinds: Vec<&str> = kinds
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .map(|line| line.trim_end_matches(','))
        .collect();
    for kind in &kinds {
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{kind}` |")));
        let row = row.unwrap_or_else(|| panic!("{kind} is not explained"));
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let is_full = cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty());
        assert!(is_full, "{row}");
    }
    assert!(kinds.len() > 20, "{kinds:?}");
}

#[test]
fn every_dependency_has_its_reason() {
    let page = read("docs/dependencies.md");
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let mut count = 0;
    for table in ["dependencies", "dev-dependencies"] {
        for name in manifest[table].as_table().unwrap().keys() {
            count += 1;
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
    }
    assert!(count > 20, "{count} dependencies");
}

#[test]
fn every_room_of_the_source_is_in_the_architecture() {
    let page = read("docs/architecture.md");
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let is_folder = entry.file_type().unwrap().is_dir();
        let room = if is_folder {
            format!("`{name}/`")
        } else {
            format!("`{name}`")
        };
        assert!(page.contains(&room) || name == "lib.rs", "{room}");
    }
}
