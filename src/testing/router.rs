//! From a request to its handler: the route table, who may call, and how failures are told.

use super::failure::{Code, Failure, Shape};
use super::http::{Request, Response};
use super::state::{Shared, State};
use super::wire::{self, Query};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub(super) type Answer = Result<Response, Failure>;
pub(super) type Handler = fn(&mut Call<'_>) -> Answer;

/// A method and a path pattern, where `{}` stands for any segment, and what answers them.
#[derive(Clone, Copy)]
pub(super) struct Route {
    method: &'static str,
    pattern: &'static str,
    handler: Handler,
    shape: Shape,
    open: bool,
}

impl Route {
    const fn new(method: &'static str, pattern: &'static str, handler: Handler) -> Self {
        Self {
            method,
            pattern,
            handler,
            shape: Shape::Unary,
            open: false,
        }
    }

    pub(super) const fn get(pattern: &'static str, handler: Handler) -> Self {
        Self::new("GET", pattern, handler)
    }

    pub(super) const fn post(pattern: &'static str, handler: Handler) -> Self {
        Self::new("POST", pattern, handler)
    }

    pub(super) const fn put(pattern: &'static str, handler: Handler) -> Self {
        Self::new("PUT", pattern, handler)
    }

    pub(super) const fn patch(pattern: &'static str, handler: Handler) -> Self {
        Self::new("PATCH", pattern, handler)
    }

    pub(super) const fn delete(pattern: &'static str, handler: Handler) -> Self {
        Self::new("DELETE", pattern, handler)
    }

    /// A route that needs no login.
    pub(super) const fn open(mut self) -> Self {
        self.open = true;
        self
    }

    /// A route that streams, and tells its failures so.
    pub(super) const fn streaming(mut self) -> Self {
        self.shape = Shape::Stream;
        self
    }

    /// A route outside the API.
    pub(super) const fn plain(mut self) -> Self {
        self.shape = Shape::Plain;
        self
    }

    /// What stands where the pattern has `{}`, if the path is like it.
    fn captures(&self, method: &str, path: &[&str]) -> Option<Vec<String>> {
        let pattern = self.pattern.trim_start_matches('/').split('/');
        if self.method != method || pattern.clone().count() != path.len() {
            return None;
        }
        let mut captures = Vec::new();
        for (expected, found) in pattern.zip(path) {
            match expected {
                "{}" => captures.push((*found).to_owned()),
                literal if literal == *found => {}
                _ => return None,
            }
        }
        Some(captures)
    }
}

/// A request on its way through a handler.
pub(super) struct Call<'a> {
    pub(super) state: &'a mut State,
    /// For answers that go on after the handler.
    pub(super) shared: &'a Arc<Shared>,
    pub(super) request: &'a Request,
    pub(super) query: Query,
    /// The id of the user who calls; 0 on open routes.
    pub(super) caller: i32,
    captures: Vec<String>,
}

impl Call<'_> {
    /// What stood in the path at the `index`th `{}`, decoded.
    pub(super) fn text(&self, index: usize) -> &str {
        self.captures.get(index).map_or("", String::as_str)
    }

    /// The id that stood in the path; `name` is what the API calls it.
    pub(super) fn id(&self, index: usize, name: &str) -> Result<i32, Failure> {
        let text = self.text(index);
        text.parse().map_err(|error| {
            let why = wire::parse_int_message(text, &error);
            Failure::of_gateway(format!("type mismatch, parameter: {name}, error: {why}"))
        })
    }

    /// The body; none is an empty object.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let body = match self.request.body.trim_ascii() {
            b"" => b"{}",
            body => body,
        };
        if body.starts_with(b"[") {
            return Err(Failure::of_gateway(
                "json: cannot unmarshal array into Go value of type map[string]json.RawMessage",
            ));
        }
        serde_json::from_slice(body)
            .map_err(|error| Failure::of_gateway(in_words_of_go(&error, body)))
    }

    /// Whether the caller is an administrator.
    pub(super) fn is_admin(&self) -> bool {
        self.state
            .users
            .get(self.caller)
            .is_some_and(|user| user.admin)
    }

    /// Whether the caller owns what `owner` owns, or is an administrator.
    pub(super) fn may_change(&self, owner: i32) -> bool {
        self.caller == owner || self.is_admin()
    }
}

/// What Go's JSON package says of a body that cannot be read.
fn in_words_of_go(error: &serde_json::Error, body: &[u8]) -> String {
    use serde_json::error::Category;
    match error.classify() {
        Category::Eof => "unexpected EOF".into(),
        Category::Data => {
            let text = error.to_string();
            let found = text
                .strip_prefix("invalid type: ")
                .and_then(|text| text.split(' ').next());
            let found = match found {
                Some("integer" | "floating") => "number",
                Some("boolean") => "bool",
                Some("map") => "object",
                Some("sequence") => "array",
                Some("string") => "string",
                _ => return text,
            };
            let wanted = match text.split(", expected ").nth(1).unwrap_or("") {
                wanted if wanted.starts_with("a string") => "string",
                wanted if wanted.starts_with("a boolean") => "bool",
                wanted if wanted.starts_with("i32") => "int32",
                wanted if wanted.starts_with("a sequence") => "[]json.RawMessage",
                _ => "map[string]json.RawMessage",
            };
            format!("json: cannot unmarshal {found} into Go value of type {wanted}")
        }
        Category::Syntax | Category::Io => {
            let column = error.column().saturating_sub(1);
            let line = body
                .split(|byte| *byte == b'\n')
                .nth(error.line().saturating_sub(1));
            let letter = line
                .and_then(|line| line.get(column))
                .copied()
                .unwrap_or(b' ');
            let before = line.map_or(&b""[..], |line| &line[..column.min(line.len())]);
            let literal = ["null", "true", "false"].into_iter().find_map(|literal| {
                let read = (1..literal.len())
                    .find(|read| before.ends_with(&literal.as_bytes()[..*read]))?;
                Some((literal, &literal[read..=read]))
            });
            match literal {
                Some((literal, next)) => format!(
                    "invalid character '{}' in literal {literal} (expecting '{next}')",
                    letter as char
                ),
                None => format!(
                    "invalid character '{}' looking for beginning of value",
                    letter as char
                ),
            }
        }
    }
}

/// Answers a request by the route table.
pub(super) fn answer(shared: &Arc<Shared>, request: &Request) -> Response {
    // The path is decoded first and split then, as the real master does: an encoded slash parts segments too.
    let path = percent_decode_str(&request.path).decode_utf8_lossy();
    let path = path.strip_suffix('/').unwrap_or(&path);
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let found = routes().find_map(|route| {
        let captures = route.captures(&request.method, &segments)?;
        // What follows a colon in the last segment is a verb, and no route has one.
        let verb = route.shape != Shape::Plain
            && route.pattern.ends_with("{}")
            && captures.last().is_some_and(|last| last.contains(':'));
        (!verb).then_some((route, captures))
    });
    let Some((route, captures)) = found else {
        return nothing_here(request, path);
    };

    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut state = shared.lock();
        let caller = match state.authenticate(request) {
            Ok(caller) => caller,
            Err(_) if route.open => 0,
            Err(failure) if route.shape == Shape::Plain => {
                return Err(Failure {
                    message: "Unauthorized".into(),
                    ..failure
                });
            }
            Err(failure) => return Err(failure),
        };
        let query = Query::parse(&request.query);
        query.check()?;
        (route.handler)(&mut Call {
            state: &mut state,
            shared,
            request,
            query,
            caller,
            captures,
        })
    }));
    shared.notify();
    match outcome {
        Ok(Ok(response)) => response,
        Ok(Err(failure)) => failure.response(route.shape),
        Err(panic) => {
            let what = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("a panic");
            Failure::internal(format!("the mock master panicked: {what}")).response(route.shape)
        }
    }
}

fn nothing_here(request: &Request, path: &str) -> Response {
    if path.starts_with("/api/") {
        Failure::new(Code::Unimplemented, "Not Implemented").response(Shape::Unary)
    } else {
        let message = format!("api not found: {} {path}", request.method);
        Failure::not_found(message).response(Shape::Plain)
    }
}

fn routes() -> impl Iterator<Item = &'static Route> {
    [
        super::auth::ROUTES,
        super::tokens::ROUTES,
        super::cluster::ROUTES,
        super::agents::ROUTES,
        super::users::ROUTES,
        super::experiments::ROUTES,
        super::trials::ROUTES,
        super::checkpoints::ROUTES,
        super::metrics::ROUTES,
        super::logs::ROUTES,
        super::models::ROUTES,
        super::versions::ROUTES,
        super::workspaces::ROUTES,
        super::projects::ROUTES,
        super::pools::ROUTES,
        super::tasks::ROUTES,
        super::jobs::ROUTES,
        super::templates::ROUTES,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captures(pattern: &'static str, path: &str) -> Option<Vec<String>> {
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        Route::get(pattern, |_| Ok(Response::json(&()))).captures("GET", &segments)
    }

    #[test]
    fn a_pattern_takes_whole_segments() {
        assert_eq!(captures("/a/{}/b", "/a/x y/b"), Some(vec!["x y".into()]));
        assert_eq!(captures("/a/{}/b", "/a/x/y/b"), None);
        assert_eq!(captures("/a/{}", "/a"), None);
        assert_eq!(captures("/a", "/b"), None);
    }

    #[test]
    fn bodies_that_cannot_be_read_are_told_as_go_tells_them() {
        let told = |body: &str| {
            let error = serde_json::from_str::<serde_json::Value>(body).unwrap_err();
            in_words_of_go(&error, body.as_bytes())
        };
        for (body, expected) in [
            (
                "nope",
                "invalid character 'o' in literal null (expecting 'u')",
            ),
            ("x", "invalid character 'x' looking for beginning of value"),
            (
                "{\"a\": @}",
                "invalid character '@' looking for beginning of value",
            ),
            ("{", "unexpected EOF"),
        ] {
            assert_eq!(told(body), expected, "{body}");
        }
    }

    #[test]
    fn no_two_routes_are_the_same() {
        let mut seen = std::collections::BTreeSet::new();
        for route in routes() {
            assert!(
                seen.insert((route.method, route.pattern)),
                "{} {} stands twice",
                route.method,
                route.pattern
            );
        }
    }
}
