//! Requests by hand, for what this crate does not ask.

use determined::testing::MockMaster;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// Somebody who is logged in and speaks HTTP by hand.
pub(crate) struct Caller<'a> {
    master: &'a MockMaster,
    token: String,
}

impl<'a> Caller<'a> {
    pub(crate) fn new(master: &'a MockMaster, user: &str) -> Self {
        let mut caller = Self {
            master,
            token: String::new(),
        };
        let body = json!({"username": user, "password": ""});
        let login = caller.ok("POST", "/api/v1/auth/login", &body);
        caller.token = login["token"].as_str().unwrap().to_owned();
        caller
    }

    /// Somebody with this token.
    pub(crate) fn with_token(master: &'a MockMaster, token: &str) -> Self {
        Self {
            master,
            token: token.to_owned(),
        }
    }

    /// The status and the body of an answer; of a refusal only the text.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let url = self.master.url();
        let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.token,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body: Value = serde_json::from_str(body).unwrap_or(Value::Null);
        match body["error"]["error"].is_string() {
            true => (status, body["error"]["error"].clone()),
            false => (status, body),
        }
    }

    #[track_caller]
    pub(crate) fn ok(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(method, path, body);
        assert_eq!(status, 200, "{answer}");
        answer
    }

    #[track_caller]
    pub(crate) fn refused(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let (status, answer) = self.ask(method, path, body);
        (status, answer.as_str().unwrap().to_owned())
    }
}
