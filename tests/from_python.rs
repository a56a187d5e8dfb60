//! Holds `docs/from-python.md` against the code and against the names of the Python SDK.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../docs/from-python.md");
/// The public names of the Python SDK's releases 0.19.11, 0.20.0, 0.21.0 and 0.38.1; those of `Determined` stand under `client`, and those
/// of `ExperimentReference` and `TrialReference` under `Experiment` and `Trial`.
const PYTHON_NAMES: &str = include_str!("vectors/python_names.txt");

/// What the crate makes public, as its source has it. The source is formatted by rustfmt, so indentation tells where an item ends.
#[derive(Default)]
struct Source {
    /// The names that `lib.rs` exports.
    exports: BTreeSet<String>,
    /// Functions as `Type::function` and `client::function`, with their documentation.
    functions: BTreeMap<String, String>,
    /// Variants of enums as `Enum::Variant`.
    variants: BTreeSet<String>,
    /// Fields as `Type::field`.
    fields: BTreeSet<String>,
    /// What `#[doc(alias)]` names.
    aliases: BTreeSet<String>,
}

impl Source {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut source = Self::default();
        let library = fs::read_to_string(root.join("lib.rs")).unwrap();
        for line in library.split(';') {
            let Some((_, names)) = line.split_once("pub use ") else {
                continue;
            };
            let list = names.split('{').next_back().unwrap_or_default();
            let names = list.split(['}', ',']).map(|name| name.trim());
            let names = names.map(|name| name.rsplit("::").next().unwrap_or_default());
            source
                .exports
                .extend(names.filter(|n| !n.is_empty()).map(str::to_owned));
        }
        source.exports.insert("client".to_owned());
        source.read_directory(&root);
        source
    }

    fn read_directory(&mut self, directory: &Path) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("src/testing") {
                continue;
            }
            if path.is_dir() {
                self.read_directory(&path);
            } else {
                let is_client = path.ends_with("src/client.rs");
                self.read_file(&fs::read_to_string(&path).unwrap(), is_client);
            }
        }
    }

    fn read_file(&mut self, text: &str, is_client: bool) {
        // The type that the lines are about, and the indentation of its members.
        let mut about: Option<(String, usize)> = is_client.then(|| ("client".to_owned(), 0));
        let mut is_state = false;
        let mut docs = String::new();
        for line in text.lines() {
            let code = line.trim_start();
            let indent = line.len() - code.len();
            if let Some(doc) = code.strip_prefix("/// ") {
                docs += doc;
                docs += " ";
                continue;
            }
            if let Some((_, alias)) = code.split_once("alias") {
                self.read_aliases(alias);
            } else if code.starts_with('"') {
                self.read_aliases(code);
            }
            if code.is_empty() || code.starts_with(['#', '/', '"', ')']) {
                continue;
            }
            if indent == 0 && !is_client && !code.starts_with('}') {
                about = None;
                is_state = code.starts_with("state_enum!");
            }
            if let Some(subject) = subject(code) {
                if is_state {
                    let name = format!("{subject}::as_str");
                    self.functions.insert(name, String::new());
                    self.variants.insert(format!("{subject}::Unrecognized"));
                }
                about = Some((subject, indent + 4));
            } else if let Some((subject, members)) = &about
                && self.exports.contains(subject)
                && indent == *members
            {
                let name = word(code);
                if let Some(rest) = code.strip_prefix("pub fn ") {
                    let name = format!("{subject}::{}", word(rest));
                    self.functions.insert(name, docs.clone());
                } else if let Some(rest) = code.strip_prefix("pub ") {
                    self.fields.insert(format!("{subject}::{}", word(rest)));
                } else if name.starts_with(char::is_uppercase) {
                    self.variants.insert(format!("{subject}::{name}"));
                }
            }
            docs.clear();
        }
    }

    fn read_aliases(&mut self, text: &str) {
        let quoted = text.split('"').skip(1).step_by(2);
        self.aliases.extend(quoted.map(str::to_owned));
    }

    fn has(&self, name: &str) -> bool {
        self.functions.contains_key(name) || self.variants.contains(name)
    }

    fn has_function_named(&self, name: &str) -> bool {
        let mut functions = self.functions.keys();
        functions.any(|function| function.rsplit("::").next() == Some(name))
    }
}

/// The type that a line begins to tell of: in `impl Type {`, `pub struct Type` and `pub enum Type`.
fn subject(code: &str) -> Option<String> {
    let name = if code.starts_with("impl") {
        let head = code.strip_suffix('{')?;
        if head.contains(" for ") {
            return None;
        }
        head.split_whitespace().next_back()?
    } else {
        let rest = code.strip_prefix("pub ")?;
        rest.strip_prefix("struct ")
            .or_else(|| rest.strip_prefix("enum "))?
    };
    Some(word(name).to_owned())
}

/// The identifier at the start of a text.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// A row of one of the page's tables.
struct Row {
    heading: String,
    cells: Vec<String>,
}

fn rows() -> Vec<Row> {
    let mut heading = String::new();
    let mut rows = Vec::new();
    for line in PAGE.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            heading = title.to_owned();
        } else if let Some(inside) = line.strip_prefix("| ") {
            let cells = inside.trim_end_matches('|').split('|');
            rows.push(Row {
                heading: heading.clone(),
                cells: cells.map(|cell| cell.trim().to_owned()).collect(),
            });
        }
    }
    rows
}

/// What stands between backticks.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The paths such as `Trial::kill` in the code of a text.
fn paths(text: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for span in code_spans(text) {
        for (at, _) in span.match_indices("::") {
            let (left, right) = (&span[..at], word(&span[at + 2..]));
            let start = left.rfind(|c: char| !c.is_alphanumeric() && c != '_');
            let owner = &left[start.map_or(0, |start| start + 1)..];
            let is_ours = owner.starts_with(char::is_uppercase) && owner != "Duration";
            if owner == "client" || is_ours {
                paths.push(format!("{owner}::{right}"));
            }
        }
    }
    paths
}

/// The Python calls in the code of a text, such as `Trial.kill`.
fn python_calls(text: &str) -> impl Iterator<Item = String> {
    code_spans(text).filter_map(|span| {
        let (class, rest) = span.split_once('.')?;
        let name = word(rest);
        let is_call = rest[name.len()..].starts_with('(') && word(class) == class;
        is_call.then(|| format!("{class}.{name}"))
    })
}

/// What the rows of a table say of the type in their first cell: `Type::name` for each name in the other cells.
fn members(heading: &str) -> BTreeSet<String> {
    let mut members = BTreeSet::new();
    for row in rows().iter().filter(|row| row.heading == heading) {
        let Some(subject) = code_spans(&row.cells[0]).next() else {
            continue;
        };
        let spans = row.cells[1..].iter().flat_map(|cell| code_spans(cell));
        let names = spans.filter(|span| word(span) == *span);
        members.extend(names.map(|name| format!("{subject}::{name}")));
    }
    members
}

/// All functions that the page names.
fn named_functions() -> BTreeSet<String> {
    let mut named: BTreeSet<String> = paths(PAGE).into_iter().collect();
    named.extend(members("Options"));
    for row in rows().iter().filter(|row| row.heading == "Options") {
        let subject = code_spans(&row.cells[0]).next();
        named.extend(subject.map(|subject| format!("{subject}::new")));
    }
    named
}

#[test]
fn every_public_function_is_on_the_page() {
    let source = Source::read();
    assert!(source.functions.len() > 300, "{}", source.functions.len());
    let named = named_functions();
    let missing: Vec<_> = source
        .functions
        .keys()
        .filter(|function| !named.contains(*function))
        .collect();
    assert!(
        missing.is_empty(),
        "not in docs/from-python.md: {missing:?}"
    );
    let functions = source.exports.iter();
    for function in functions.filter(|name| name.starts_with(char::is_lowercase)) {
        assert!(PAGE.contains(&format!("`{function}`")), "{function}");
    }
}

#[test]
fn what_the_page_names_exists() {
    let source = Source::read();
    let unknown: Vec<_> = named_functions()
        .into_iter()
        .filter(|name| !source.has(name))
        .collect();
    assert!(unknown.is_empty(), "not in the crate: {unknown:?}");
}

#[test]
fn the_attributes_on_the_page_are_the_public_fields() {
    let source = Source::read();
    let named = members("Attributes");
    let unknown: Vec<_> = named.difference(&source.fields).collect();
    assert!(unknown.is_empty(), "no such fields: {unknown:?}");
    let types: BTreeSet<&str> = named.iter().map(|name| word(name)).collect();
    let missing: Vec<_> = source
        .fields
        .difference(&named)
        .filter(|field| types.contains(word(field)))
        .collect();
    assert!(missing.is_empty(), "fields not on the page: {missing:?}");
}

#[test]
fn every_name_of_the_python_sdk_is_on_the_page() {
    let calls: BTreeSet<String> = python_calls(PAGE).collect();
    let words: BTreeSet<&str> = code_spans(PAGE).map(word).collect();
    let missing: Vec<&str> = PYTHON_NAMES
        .lines()
        .filter(|name| !calls.contains(*name) && !words.contains(name))
        .collect();
    assert!(missing.is_empty(), "not on the page: {missing:?}");
}

#[test]
fn a_search_for_a_python_name_finds_its_place() {
    let source = Source::read();
    let mut gone: BTreeSet<String> = ["ModelFramework".to_owned()].into();
    for row in rows().iter().filter(|row| row.heading == "Not here") {
        gone.extend(python_calls(&row.cells[0]));
    }
    let lost: Vec<&str> = PYTHON_NAMES
        .lines()
        .filter(|name| !gone.contains(*name))
        .filter(|name| {
            let last = name.rsplit('.').next().unwrap_or_default();
            let is_known = match name.contains('.') {
                true => source.has_function_named(last),
                false => source.exports.contains(last),
            };
            !is_known && !source.aliases.contains(last)
        })
        .collect();
    assert!(lost.is_empty(), "neither a name nor an alias: {lost:?}");
}

#[test]
fn every_call_of_the_master_is_explained_with_its_errors_and_an_example() {
    let source = Source::read();
    let with_routes = source
        .functions
        .iter()
        .filter(|(name, docs)| !name.starts_with("client::") && docs.contains(" /"));
    assert!(with_routes.clone().count() > 120);
    let bare: Vec<_> = with_routes
        .filter(|(_, docs)| !docs.contains("# Errors") || !docs.contains("```"))
        .map(|(name, _)| name)
        .collect();
    assert!(bare.is_empty(), "without errors or an example: {bare:?}");
}

#[test]
fn a_function_of_the_default_client_says_which_method_it_is_like_and_no_more() {
    let source = Source::read();
    let explains_itself = ["client::login", "client::logout"];
    for (function, docs) in &source.functions {
        let Some(name) = function.strip_prefix("client::") else {
            continue;
        };
        if !explains_itself.contains(&function.as_str()) {
            assert_eq!(docs.trim(), format!("Like [`Determined::{name}`]."));
            let method = format!("Determined::{name}");
            assert!(source.functions.contains_key(&method), "{method}");
        }
    }
}

#[test]
fn the_example_that_makes_every_call_makes_every_call() {
    let example = include_str!("../examples/every_call.rs");
    let source = Source::read();
    // The types whose functions are called by their whole names.
    let calls: BTreeSet<&str> = source
        .functions
        .iter()
        .filter(|(_, docs)| docs.contains(" /"))
        .map(|(name, _)| word(name))
        .collect();
    let left_out: Vec<_> = source
        .functions
        .keys()
        .filter(|function| {
            let (subject, name) = function.split_once("::").unwrap_or_default();
            let both = ["Determined", "client"].contains(&subject);
            let is_called = example.contains(function.as_str())
                || (both && example.contains(&format!("both!(client, {name}(")))
                || (!calls.contains(subject) && example.contains(&format!(".{name}(")));
            !is_called && name != "as_str" && name != "new"
        })
        .collect();
    assert!(left_out.is_empty(), "not called: {left_out:?}");
}

#[test]
fn the_routes_are_those_of_the_documentation() {
    let source = Source::read();
    let (mut count, mut missing) = (0, Vec::new());
    for row in rows() {
        let [_, ours, routes] = &row.cells[..] else {
            continue;
        };
        let routes: Vec<&str> = code_spans(routes)
            .filter(|span| span.contains(" /"))
            .collect();
        let functions = paths(ours);
        let documented = functions
            .iter()
            .filter_map(|path| Some((path, source.functions.get(path)?)));
        let docs: String = documented.clone().map(|(_, docs)| docs.as_str()).collect();
        for route in &routes {
            count += 1;
            if !docs.contains(route) {
                missing.push(format!("{ours}: {route}"));
            }
        }
        for (function, docs) in documented.filter(|_| !routes.is_empty()) {
            // A function of the default client leaves that to the method it calls.
            let is_explained = function.starts_with("client::");
            if !is_explained && !routes.iter().any(|route| docs.contains(route)) {
                missing.push(function.clone());
            }
        }
    }
    assert!(
        missing.is_empty(),
        "routes that are not in the documentation: {missing:#?}"
    );
    assert!(count > 100, "{count}");
}
