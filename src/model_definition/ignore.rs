//! `.detignore` files: which paths of a model directory are left out.
//!
//! The rules read like `.gitignore`, but they mean what the Python SDK's engine (`pathspec`) makes of them, which is not always what
//! git makes of them: a pattern also matches everything below the name it matches, so `*` and `!sub` keep all of `sub`.
//! `[^…]` matches slashes too. A pattern becomes a list of [`Step`]s, and a path is matched by following the set of places in it
//! that the steps so far can reach. The time is at most the product of both lengths, whatever the pattern.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};

/// The name of the file with the rules. It is read at the root of a model directory only, and never sent.
pub(super) const FILE_NAME: &str = ".detignore";

/// What is left out unless a `.detignore` says otherwise.
const DEFAULT_PATTERNS: [&str; 13] = [
    "__pycache__/",
    "*.py[co]",
    "*$py.class",
    "terraform",
    "terraform_data",
    "terraform.tfstate*",
    "terraform.tfvars*",
    ".terraform*",
    ".git/",
    ".vscode/",
    ".idea/",
    ".mypy_cache/",
    "/shared_fs",
];

/// The rules for one model directory; the last one that matches a path decides.
#[derive(Debug)]
pub(super) struct IgnoreRules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    ignores: bool,
    pattern: Pattern,
}

#[derive(Debug, PartialEq)]
enum Pattern {
    /// `*`: all paths.
    Everything,
    /// `*/`: all paths with a slash.
    InDirectories,
    Steps(Vec<Step>),
}

#[derive(Debug, PartialEq)]
enum Step {
    /// `**/` at the start: nothing, or any directories.
    LeadingDirectories,
    /// `/**` in the middle: nothing, or any directories.
    InnerDirectories,
    /// These very characters.
    Text(String),
    /// `*`: any characters of one name.
    Run,
    /// `?`: one character of a name.
    One,
    /// `[a-z]`: one of these characters.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// The end of the path, or a slash and what is below.
    End,
}

/// Why a pattern cannot be used.
type Problem = &'static str;

impl IgnoreRules {
    /// The default rules, and after them those of the `.detignore` file in `root`, if there is one.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let file = root.join(FILE_NAME);
        if !file.is_file() {
            return Self::parse("", &file);
        }
        let bytes = fs::read(&file).map_err(|error| Error::io("read", &file, &error))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count()
                + 1;
            Error::invalid_input(format!("{}, line {line}: not UTF-8 text", file.display()))
        })?;
        Self::parse(&text, &file)
    }

    fn parse(text: &str, file: &Path) -> Result<Self> {
        // Editors put a byte order mark at the start; it belongs to no pattern.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let text = text.replace("\r\n", "\n");
        let mut rules = Vec::new();
        for line in DEFAULT_PATTERNS {
            rules.extend(Rule::parse(line).ok().flatten());
        }
        for (index, line) in text.split_inclusive(['\n', '\r']).enumerate() {
            let rule = Rule::parse(line).map_err(|problem| {
                Error::invalid_input(format!(
                    "{}, line {}: the pattern {:?} cannot be used: {problem}",
                    file.display(),
                    index + 1,
                    line.trim_end_matches(['\n', '\r']),
                ))
            })?;
            rules.extend(rule);
        }
        Ok(Self(rules))
    }

    /// Whether what is at `path` is left out. The path is relative to the root, with `/` between its names. A directory, with all that
    /// is in it, is left out if either `path` or `path/` is.
    pub(super) fn ignore(&self, path: &str) -> bool {
        let mut places = Places::default();
        self.0
            .iter()
            .rev()
            .find(|rule| rule.pattern.matches(path, &mut places))
            .is_some_and(|rule| rule.ignores)
    }
}

impl Rule {
    /// The rule in one line, which ends in its line break unless it is the last; `None` if it says nothing.
    fn parse(line: &str) -> Result<Option<Self>, Problem> {
        // A blank after a backslash is meant, but only at the very end: before a line break both are taken for a blank end.
        let line = if line.ends_with("\\ ") {
            line
        } else {
            line.trim_end_matches(is_blank)
        };
        if line.is_empty() || line.starts_with('#') || line == "/" {
            return Ok(None);
        }
        let (ignores, pattern) = match line.strip_prefix('!') {
            Some(rest) => (false, rest),
            None => (true, line),
        };
        Ok(Pattern::parse(pattern)?.map(|pattern| Self { ignores, pattern }))
    }
}

/// What Python strips from the end of a line.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

impl Pattern {
    /// `None` for a pattern that never matches because a bracket stays open.
    fn parse(text: &str) -> Result<Option<Self>, Problem> {
        let mut names: Vec<&str> = text.split('/').collect();
        let for_directories = text.ends_with('/');
        if names[0].is_empty() {
            names.remove(0);
        } else if names.len() == 1 || (names.len() == 2 && for_directories) {
            // A pattern of one name is looked for everywhere, one of several only from the root.
            names.insert(0, "**");
        }
        let Some(last) = names.last_mut() else {
            return Err("`!` needs a pattern after it");
        };
        if last.is_empty() {
            *last = "**";
        }
        names.dedup_by(|a, b| *a == "**" && *b == "**");

        match names[..] {
            ["**"] if for_directories => Ok(Some(Self::InDirectories)),
            ["**"] | ["**", "*"] => Ok(Some(Self::Everything)),
            ["**", "*", "**"] => Ok(Some(Self::InDirectories)),
            _ => Ok(steps(&names)?.map(Self::Steps)),
        }
    }

    fn matches(&self, path: &str, places: &mut Places) -> bool {
        match self {
            // No wildcard but a bracket matches a line break.
            Self::Everything => path.contains(|c| c != '\n'),
            Self::InDirectories => path.contains('/'),
            Self::Steps(steps) => {
                places.start();
                steps.iter().all(|step| places.follow(step, path))
            }
        }
    }
}

/// The steps for a pattern that was split at its slashes; `None` if a bracket stays open.
fn steps(names: &[&str]) -> Result<Option<Vec<Step>>, Problem> {
    let mut steps = Vec::new();
    let mut backward_range = false;
    let last = names.len() - 1;
    for (index, name) in names.iter().enumerate() {
        match *name {
            "**" if index == 0 => steps.push(Step::LeadingDirectories),
            "**" if index == last => push_char(&mut steps, '/'),
            "**" => steps.push(Step::InnerDirectories),
            name => {
                if index > 0 && names[..index] != ["**"] {
                    push_char(&mut steps, '/');
                }
                if name == "*" {
                    // A name has at least one character.
                    steps.extend([Step::One, Step::Run]);
                } else if !push_name(&mut steps, name, &mut backward_range)? {
                    return Ok(None);
                }
                if index == last {
                    steps.push(Step::End);
                }
            }
        }
    }
    if backward_range {
        return Err("a range in brackets runs backwards");
    }
    Ok(Some(steps))
}

/// Adds the steps for one name; `false` if a bracket stays open.
fn push_name(
    steps: &mut Vec<Step>,
    name: &str,
    backward_range: &mut bool,
) -> Result<bool, Problem> {
    let mut rest = name.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some(escaped) => push_char(steps, escaped),
                None => return Err("a backslash has nothing to escape"),
            },
            '*' => steps.push(Step::Run),
            '?' => steps.push(Step::One),
            '[' => {
                let text = rest.as_str();
                let Some(length) = class_length(text) else {
                    return Ok(false);
                };
                let (negated, ranges) = class(&text[..length]);
                *backward_range |= ranges.iter().any(|(low, high)| low > high);
                steps.push(Step::Class { negated, ranges });
                rest = text[length + 1..].chars();
            }
            c => push_char(steps, c),
        }
    }
    Ok(true)
}

fn push_char(steps: &mut Vec<Step>, c: char) {
    match steps.last_mut() {
        Some(Step::Text(text)) => text.push(c),
        _ => steps.push(Step::Text(c.to_string())),
    }
}

/// Where the `]` is that closes a bracket. One right at the start, or after the negation, is a member.
fn class_length(text: &str) -> Option<usize> {
    let members = text.strip_prefix(['!', '^']).unwrap_or(text);
    let members = members.strip_prefix(']').unwrap_or(members);
    Some(text.len() - members.len() + members.find(']')?)
}

/// The inside of a bracket. A backslash is a member like any other.
fn class(text: &str) -> (bool, Vec<(char, char)>) {
    let members = text.strip_prefix(['!', '^']);
    let negated = members.is_some();
    let members: Vec<char> = members.unwrap_or(text).chars().collect();
    let mut ranges = Vec::new();
    let mut rest = &members[..];
    loop {
        rest = match *rest {
            [low, '-', high, ref rest @ ..] => {
                ranges.push((low, high));
                rest
            }
            [member, ref rest @ ..] => {
                ranges.push((member, member));
                rest
            }
            [] => return (negated, ranges),
        };
    }
}

/// The places in a path, as byte offsets in ascending order, that the steps so far can reach.
#[derive(Default)]
struct Places {
    here: Vec<usize>,
    next: Vec<usize>,
}

impl Places {
    fn start(&mut self) {
        self.here.clear();
        self.here.push(0);
    }

    /// Takes one step from every place; `false` if that leads nowhere.
    fn follow(&mut self, step: &Step, path: &str) -> bool {
        let Self { here, next } = self;
        next.clear();
        match step {
            Step::LeadingDirectories => {
                next.push(0);
                let line = path.split('\n').next().unwrap_or(path);
                let slashes = line.match_indices('/').map(|(index, _)| index);
                next.extend(slashes.filter(|index| *index > 0).map(|index| index + 1));
            }
            Step::InnerDirectories => {
                for &place in &*here {
                    next.push(place);
                    let Some(below) = path[place..].strip_prefix('/') else {
                        continue;
                    };
                    // Names below, at least one character of them: all places that a slash can follow.
                    let line = below.split('\n').next().unwrap_or(below);
                    let start = path.len() - below.len();
                    let ends = line.char_indices().map(|(index, c)| index + c.len_utf8());
                    next.extend(ends.map(|end| start + end));
                }
                next.sort_unstable();
                next.dedup();
            }
            Step::Text(text) => {
                let found = here
                    .iter()
                    .filter(|place| path[**place..].starts_with(text));
                next.extend(found.map(|place| place + text.len()));
            }
            Step::Run => {
                for &place in &*here {
                    // The run from an earlier place in the same name went over this one.
                    if next.last().is_some_and(|last| place <= *last) {
                        continue;
                    }
                    let name = path[place..].split('/').next().unwrap_or_default();
                    next.extend(name.char_indices().map(|(index, _)| place + index));
                    next.push(place + name.len());
                }
            }
            Step::One => next.extend(
                here.iter()
                    .filter_map(|place| one(path, *place).filter(|(c, _)| *c != '/'))
                    .map(|(_, end)| end),
            ),
            Step::Class { negated, ranges } => next.extend(
                here.iter()
                    .filter_map(|place| one(path, *place))
                    .filter(|(c, _)| {
                        ranges.iter().any(|(low, high)| low <= c && c <= high) != *negated
                    })
                    .map(|(_, end)| end),
            ),
            Step::End => next.extend(here.iter().filter(|place| {
                let rest = &path[**place..];
                rest.is_empty() || rest == "\n" || rest.starts_with('/')
            })),
        }
        std::mem::swap(here, next);
        !self.here.is_empty()
    }
}

/// The character at a place, and the place after it.
fn one(path: &str, place: usize) -> Option<(char, usize)> {
    let c = path[place..].chars().next()?;
    Some((c, place + c.len_utf8()))
}

#[cfg(fuzzing)]
pub(crate) fn fuzz(text: &str, path: &str) {
    if let Ok(rules) = IgnoreRules::parse(text, Path::new(FILE_NAME)) {
        rules.ignore(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use proptest::prelude::*;

    fn rules(text: &str) -> Result<IgnoreRules> {
        IgnoreRules::parse(text, Path::new("dir/.detignore"))
    }

    /// Which of `paths` the rules leave out.
    fn ignored<'a>(text: &str, paths: &[&'a str]) -> Vec<&'a str> {
        let rules = rules(text).unwrap();
        let is_ignored =
            |path: &&&str| rules.ignore(path) || rules.ignore(path.trim_end_matches('/'));
        paths.iter().filter(is_ignored).copied().collect()
    }

    #[test]
    fn the_defaults_leave_out_what_tools_leave_behind() {
        assert_eq!(rules("").unwrap().0.len(), DEFAULT_PATTERNS.len());
        let paths = [
            "a/__pycache__/",
            "__pycache__",
            "a.pyc",
            "b/a.pyo",
            "a.py",
            "x$py.class",
            "terraform.tfstate.1",
            "s/.git/",
            ".git",
            "shared_fs",
            "s/shared_fs",
        ];
        assert_eq!(
            ignored("", &paths),
            [
                "a/__pycache__/",
                "a.pyc",
                "b/a.pyo",
                "x$py.class",
                "terraform.tfstate.1",
                "s/.git/",
                "shared_fs"
            ]
        );
        assert_eq!(ignored("!*.pyc", &["a.pyc", "a.pyo"]), ["a.pyo"]);
    }

    #[test]
    fn the_last_matching_rule_decides_for_all_that_is_below() {
        assert_eq!(ignored("*\n!sub", &["a", "sub/", "sub/a"]), ["a"]);
        assert_eq!(ignored("*\n!sub/", &["sub/", "sub/a"]), ["sub/"]);
        assert_eq!(ignored("x/**", &["x/", "x/a", "z"]), ["x/", "x/a"]);
    }

    #[test]
    fn a_blank_end_counts_only_when_escaped_on_an_unfinished_last_line() {
        assert_eq!(ignored("a \t\r\n", &["a", "a "]), ["a"]);
        assert_eq!(ignored("a\\ ", &["a", "a "]), ["a "]);
        let error = rules("ok\r\na\\ \r\n").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(
            error.to_string(),
            r#"dir/.detignore, line 2: the pattern "a\\ " cannot be used: a backslash has nothing to escape"#
        );
    }

    #[test]
    fn a_pattern_that_means_nothing_is_an_error_that_names_it() {
        for pattern in ["!", "! ", "a\\", "a\\/b", "[z-a]", "x/[a-\\-]y"] {
            assert!(rules(pattern).is_err(), "{pattern:?}");
        }
        for pattern in ["", "/", "#a", "[a", "[z-a]/[b", "[]", "[!]", "[b\\", "!/"] {
            assert!(rules(pattern).is_ok(), "{pattern:?}");
        }
    }

    #[test]
    fn brackets_mean_what_they_mean_to_the_python_engine() {
        assert_eq!(ignored("[]x]", &["]", "x", "y"]), ["]", "x"]);
        assert_eq!(ignored("[!]x]", &["]", "x", "y"]), ["y"]);
        assert_eq!(ignored("[a-]", &["a", "-", "b"]), ["a", "-"]);
        assert_eq!(ignored("[\\]]", &["\\]", "]"]), ["\\]"]);
        // A negated bracket takes a slash.
        assert_eq!(ignored("a[!x]b", &["a/b", "axb"]), ["a/b"]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_pattern() {
        assert_eq!(ignored("\u{feff}a\n", &["a", "b"]), ["a"]);
    }

    #[test]
    fn text_that_is_not_utf_8_is_an_error_that_names_the_line() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE_NAME), b"a\nb\n\xff\n").unwrap();
        let error = IgnoreRules::read(directory.path()).unwrap_err().to_string();
        assert!(
            error.ends_with(".detignore, line 3: not UTF-8 text"),
            "{error}"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn a_name_that_is_escaped_means_itself_alone(
            name in r"[ab!#*?\[\]\\ é.-]{1,8}", other in r"[ab!#*?\[\]\\ é.-]{1,8}",
        ) {
            let escaped: String = name
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("\\{c}") })
                .collect();
            let rules = rules(&format!("/{escaped}")).unwrap();
            prop_assert!(rules.ignore(&name), "{}", escaped);
            let below = format!("{name}/below");
            prop_assert!(rules.ignore(&below));
            prop_assert_eq!(rules.ignore(&other), name == other);
            let above = format!("above/{name}");
            prop_assert!(!rules.ignore(&above));
        }

        #[test]
        fn any_text_and_any_path_are_taken(
            text in r"([\[\]!^*?/\\a-c\n\r é-]|\PC){0,40}",
            path in r"([a-c/é\n]|\PC){0,40}",
        ) {
            if let Ok(rules) = rules(&text) {
                rules.ignore(&path);
            }
        }
    }
}
