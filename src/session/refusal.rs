//! What a master's refusal means: from a status and a body to an [`Error`].

use serde_json::Value;

use crate::error::{Error, ErrorKind};

/// The error of an answer whose status is not a success.
pub(super) fn refusal(status: u16, status_line: &str, body: &[u8]) -> Error {
    let said = message(body);
    let error = match (&said, page(body)) {
        (Some(said), _) => Error::new(kind(status, said), format!("{status_line}: {said}")),
        (None, Some(title)) => Error::new(
            kind(status, ""),
            match title.as_str() {
                "" => format!("{status_line}: a web page"),
                title => format!("{status_line}: a web page with the title {title:?}"),
            },
        )
        .with_hint("another server answers in the master's place: check the URL, and proxies"),
        (None, None) => Error::new(kind(status, ""), status_line.to_owned()),
    };
    let error = match error.kind() {
        ErrorKind::Unauthenticated => error
            .with_hint("log in with login() and a user and password, or set DET_USER and DET_PASS"),
        ErrorKind::Forbidden => error.with_hint(match said.as_deref() {
            // What masters say at a login, and at any other call, of a user who was deactivated.
            Some("user is not active") => {
                "ask an administrator of the cluster to activate the user again"
            }
            Some("user does not have permission") => {
                "the user may have been deactivated: ask an administrator of the cluster"
            }
            _ => "ask an administrator of the cluster for the right",
        }),
        ErrorKind::Unsupported => error.with_hint("this call needs a newer master"),
        _ => error,
    };
    let error = error.with_status(status);
    match said {
        Some(said) => error.with_server_message(said),
        None => error,
    }
}

/// The error of a line in a stream that says what went wrong.
pub(super) fn stream_refusal(error: &Value) -> Error {
    let body = serde_json::json!({"error": error}).to_string();
    let code = error.get("httpCode").and_then(Value::as_u64).unwrap_or(500);
    let status = u16::try_from(code).unwrap_or(500);
    let line = match error.get("httpStatus").and_then(Value::as_str) {
        Some(words) => format!("{status} {words}"),
        None => status.to_string(),
    };
    refusal(status, &line, body.as_bytes())
}

fn kind(status: u16, said: &str) -> ErrorKind {
    match status {
        401 => ErrorKind::Unauthenticated,
        403 => ErrorKind::Forbidden,
        // A gateway that knows no such route says just this; a missing object has a name.
        404 if said.eq_ignore_ascii_case("not found") || said.starts_with("api not found") => {
            ErrorKind::Unsupported
        }
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        429 => ErrorKind::RateLimited,
        501 => ErrorKind::Unsupported,
        400 | 500 if said.contains("already exists") => ErrorKind::Conflict,
        _ => ErrorKind::Api,
    }
}

/// What the master said, whichever of its ways it chose: `{"error": {"error" or "message"}}`, `{"message"}`, `{"error": "text"}`, or plain
/// text. A page of HTML says nothing.
pub(super) fn message(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    let said = match serde_json::from_str::<Value>(text) {
        Ok(json) => {
            let error = json.get("error");
            let within = |key| {
                error
                    .and_then(|error| error.get(key))
                    .and_then(Value::as_str)
            };
            within("message")
                .or_else(|| within("error"))
                .or_else(|| json.get("message").and_then(Value::as_str))
                .or_else(|| error.and_then(Value::as_str))
                .or_else(|| json.as_str())?
                .trim()
                .to_owned()
        }
        Err(_) if text.starts_with('<') => return None,
        Err(_) => text.lines().next()?.chars().take(300).collect(),
    };
    (!said.is_empty()).then_some(said)
}

/// The title of a web page, which no master sends.
fn page(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    if !text.trim_start().starts_with('<') {
        return None;
    }
    // ASCII only, so that places in both are the same.
    let lower = text.to_ascii_lowercase();
    let title = lower.find("<title>").map(|at| at + "<title>".len());
    let title = title.and_then(|from| Some(&text[from..from + lower[from..].find("</title>")?]));
    Some(title.unwrap_or_default().trim().chars().take(100).collect())
}

#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8]) {
    let error = refusal(400, "400 Bad Request", bytes);
    assert!(!error.to_string().contains(char::is_control));
    if let Ok(value) = serde_json::from_slice(bytes) {
        stream_refusal(&value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_an_error_body_gives_what_the_master_said() {
        for (body, said) in [
            (
                r#"{"error":{"code":5,"reason":"NotFound","error":"d"}}"#,
                Some("d"),
            ),
            (r#"{"message":"m"}"#, Some("m")),
            (r#"{"error":{"message":"mm","error":"ee"}}"#, Some("mm")),
            (r#"{"error":{"grpcCode":5,"message":"mm"}}"#, Some("mm")),
            (r#"{"error":"text"}"#, Some("text")),
            (r#"{"error":{"code":1}}"#, None),
            (r#"{"error":null}"#, None),
            ("[]", None),
            ("null", None),
            (r#""s""#, Some("s")),
            (r#"{"message":null}"#, None),
            ("<html>Bad Gateway</html>", None),
            ("upstream is down\n(really)", Some("upstream is down")),
            ("", None),
        ] {
            assert_eq!(message(body.as_bytes()).as_deref(), said, "{body}");
        }
        assert_eq!(message(b"\xff\xfe").as_deref(), Some("\u{fffd}\u{fffd}"));
    }

    #[test]
    fn statuses_become_kinds() {
        for (status, said, kind) in [
            (401, "invalid credentials", ErrorKind::Unauthenticated),
            (403, "no", ErrorKind::Forbidden),
            (404, "model \"x\" not found", ErrorKind::NotFound),
            (404, "Not Found", ErrorKind::Unsupported),
            (409, "avoid names equal", ErrorKind::Conflict),
            (429, "slow down", ErrorKind::RateLimited),
            (
                500,
                "code=400, message=user already exists",
                ErrorKind::Conflict,
            ),
            (400, "user already exists", ErrorKind::Conflict),
            (500, "boom", ErrorKind::Api),
            (501, "Not Implemented", ErrorKind::Unsupported),
        ] {
            let body = serde_json::json!({"error": {"error": said}}).to_string();
            let error = refusal(status, &format!("{status} X"), body.as_bytes());
            assert_eq!(error.kind(), kind, "{status} {said}");
            assert_eq!(error.status(), Some(status));
            assert_eq!(error.server_message(), Some(said));
        }
    }

    #[test]
    fn an_error_in_a_stream_keeps_its_status() {
        let line = serde_json::json!({"grpcCode": 5, "httpCode": 404, "message": "trial '9' not found", "httpStatus": "Not Found"});
        let error = stream_refusal(&line);
        assert!(error.is_not_found());
        assert_eq!(error.to_string(), "404 Not Found: trial '9' not found");
    }
}
