//! Names of things on the master: what they are asked for by, and how one is found exactly.

use crate::error::{Error, ErrorKind, Result};

/// What a model or a workspace is asked for by: its name, or its id.
///
/// Calls take anything that converts into one: a `&str` or `String` is a name, always, and an `i32` is an id.
///
/// ```
/// # use determined::testing::MockMaster;
/// # let master = MockMaster::start();
/// # let client = master.determined();
/// let model = client.create_model("iris")?;
/// assert_eq!(client.get_model("iris")?.model_id, model.model_id);
/// assert_eq!(client.get_model(model.model_id)?.name, "iris");
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NameOrId {
    /// A name, to the letter.
    Name(String),
    /// An id.
    Id(i32),
}

impl From<&str> for NameOrId {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<&String> for NameOrId {
    fn from(name: &String) -> Self {
        Self::Name(name.clone())
    }
}

impl From<String> for NameOrId {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl From<i32> for NameOrId {
    fn from(id: i32) -> Self {
        Self::Id(id)
    }
}

/// An error for a name that is empty: the master would take it for no name at all. `what` is what bears the name.
pub(crate) fn check(name: &str, what: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid_input(format!("the {what} is empty")));
    }
    Ok(())
}

/// Whether a name may stand in a route. The master takes an escaped slash for a plain one, and goes up at `..`.
pub(crate) fn fits_route(name: &str) -> bool {
    !name.contains('/') && name != "." && name != ".."
}

/// Whether a name may stand at the end of a route, where the master takes what follows a colon for a verb.
pub(crate) fn fits_end_of_route(name: &str) -> bool {
    fits_route(name) && !name.contains(':')
}

/// The query for a name, which the master takes for a pattern of SQL's `LIKE`. All that is asked of it is that it matches the name itself;
/// what else it matches, [`pick`] leaves out.
pub(crate) fn pattern(name: &str) -> String {
    name.replace('\\', r"\\")
}

/// The one that bears exactly this name, out of those that the master's pattern matched.
pub(crate) fn pick<T>(
    what: &str,
    name: &str,
    candidates: impl IntoIterator<Item = T>,
    name_of: impl Fn(&T) -> &str,
) -> Result<T> {
    let mut near_miss = None;
    for candidate in candidates {
        let found = name_of(&candidate);
        if found == name {
            return Ok(candidate);
        }
        if near_miss.is_none() && found.to_lowercase() == name.to_lowercase() {
            near_miss = Some(found.to_owned());
        }
    }
    let error = Error::new(ErrorKind::NotFound, format!("no {what} is named {name:?}"));
    Err(match near_miss {
        Some(found) => error.with_hint(format!("there is {found:?}")),
        None => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick_from(name: &str, names: &[&str]) -> Result<String> {
        pick(
            "workspace",
            name,
            names.iter().map(|n| n.to_string()),
            |n| n,
        )
    }

    #[test]
    fn only_the_exact_name_is_picked() {
        assert_eq!(pick_from("a_b", &["axb", "A_B", "a_b"]).unwrap(), "a_b");
        let error = pick_from("%", &["axb"]).unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(error.to_string(), r#"no workspace is named "%""#);
    }

    #[test]
    fn a_name_in_another_case_is_a_hint() {
        let error = pick_from("Lab", &["labs", "lab"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"no workspace is named "Lab"; there is "lab""#
        );
    }

    #[test]
    fn a_backslash_matches_itself() {
        assert_eq!(pattern(r"a\b_"), r"a\\b_");
    }
}
