//! An answer, and how it goes onto the wire.

use super::Request;
use flate2::{Compression, write::GzEncoder};
use serde::Serialize;
use std::io::{self, BufWriter, Write};
use std::net::TcpStream;

/// On the way from one end of a process to the other, bytes cost less than pressing them.
const LEVEL: Compression = Compression::none();

/// Writes a body piece by piece; each flush reaches the client at once.
type Writing = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

/// The body of an answer.
enum Body {
    /// Sent with its length.
    Bytes(Vec<u8>),
    /// Sent in chunks.
    Stream(Writing),
}

/// What goes wrong with an answer on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// The connection is closed and nothing is sent.
    Cut,
    /// The connection is closed when so many bytes of the body were sent.
    Truncate(usize),
}

/// An answer to a request.
pub(crate) struct Response {
    pub(crate) status: u16,
    content_type: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Body,
    damage: Option<Damage>,
}

/// How a client wants its answer.
pub(super) struct Manner {
    pub(super) keep_alive: bool,
    gzip: bool,
    /// The answer to HEAD ends with its headers.
    bodiless: bool,
}

impl Manner {
    pub(super) fn of(request: &Request) -> Self {
        // The real master compresses what stands under /api/ and nothing else.
        let gzip = request.path.starts_with("/api/")
            && request
                .header("accept-encoding")
                .is_some_and(|codings| codings.contains("gzip"));
        Self {
            keep_alive: request.keep_alive,
            gzip,
            bodiless: request.method == "HEAD",
        }
    }

    pub(super) fn closing() -> Self {
        Self {
            keep_alive: false,
            gzip: false,
            bodiless: false,
        }
    }
}

impl Response {
    pub(crate) fn bytes(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Self {
            status,
            content_type,
            headers: Vec::new(),
            body: Body::Bytes(body),
            damage: None,
        }
    }

    pub(crate) fn text(status: u16, text: impl Into<String>) -> Self {
        Self::bytes(
            status,
            "text/plain; charset=UTF-8",
            text.into().into_bytes(),
        )
    }

    /// An answer of the API: JSON and 200.
    pub(crate) fn json(body: &impl Serialize) -> Self {
        Self::json_with(200, body)
    }

    pub(crate) fn json_with(status: u16, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => Self::bytes(status, "application/json", body),
            Err(error) => Self::text(500, error.to_string()),
        }
    }

    pub(crate) fn stream(
        status: u16,
        content_type: &'static str,
        writing: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
    ) -> Self {
        Self {
            status,
            content_type,
            headers: Vec::new(),
            body: Body::Stream(Box::new(writing)),
            damage: None,
        }
    }

    /// Ends the body with a line end.
    pub(crate) fn with_line_end(mut self) -> Self {
        if let Body::Bytes(body) = &mut self.body {
            body.push(b'\n');
        }
        self
    }

    /// What the framework beside the API calls JSON.
    pub(crate) fn with_charset(mut self) -> Self {
        self.content_type = "application/json; charset=UTF-8";
        self.with_line_end()
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn damaged(mut self, damage: Damage) -> Self {
        self.damage = Some(damage);
        self
    }

    /// Sends the answer. An error means that the connection must be closed, be it by the client's doing or by damage.
    pub(super) fn send(self, mut stream: &TcpStream, manner: &Manner) -> io::Result<()> {
        if self.damage == Some(Damage::Cut) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let gzip = manner.gzip && !matches!(&self.body, Body::Bytes(body) if body.is_empty());
        let body = match self.body {
            Body::Bytes(body) if gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), LEVEL);
                encoder.write_all(&body)?;
                Body::Bytes(encoder.finish()?)
            }
            body => body,
        };

        let mut head = format!(
            "HTTP/1.1 {} {}\r\ncontent-type: {}\r\n",
            self.status,
            reason(self.status),
            self.content_type
        );
        if gzip {
            head.push_str("content-encoding: gzip\r\nvary: Accept-Encoding\r\n");
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match &body {
            Body::Bytes(body) => head.push_str(&format!("content-length: {}\r\n", body.len())),
            Body::Stream(_) => head.push_str("transfer-encoding: chunked\r\n"),
        }
        if !manner.keep_alive {
            head.push_str("connection: close\r\n");
        }
        head.push_str("\r\n");

        let allowance = match self.damage {
            Some(Damage::Truncate(bytes)) => Some(bytes),
            _ => None,
        };
        let sink = Rationed { stream, allowance };
        match body {
            _ if manner.bodiless => stream.write_all(head.as_bytes()),
            Body::Bytes(body) if allowance.is_none() => {
                // One packet for a small answer.
                let mut whole = head.into_bytes();
                whole.extend_from_slice(&body);
                stream.write_all(&whole)
            }
            Body::Bytes(body) => {
                stream.write_all(head.as_bytes())?;
                let mut sink = sink;
                sink.write_all(&body)
            }
            Body::Stream(writing) => {
                stream.write_all(head.as_bytes())?;
                let mut chunks = BufWriter::with_capacity(16 * 1024, Chunks(sink));
                if gzip {
                    let mut encoder = GzEncoder::new(chunks, LEVEL);
                    writing(&mut encoder)?;
                    chunks = encoder.finish()?;
                } else {
                    writing(&mut chunks)?;
                }
                chunks.flush()?;
                stream.write_all(b"0\r\n\r\n")
            }
        }
    }
}

/// The client's side, up to so many bytes of body.
struct Rationed<'a> {
    stream: &'a TcpStream,
    allowance: Option<usize>,
}

impl Write for Rationed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(allowance) = &mut self.allowance else {
            return self.stream.write(bytes);
        };
        if *allowance == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let written = self.stream.write(&bytes[..bytes.len().min(*allowance)])?;
        *allowance -= written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Frames each write as a chunk.
struct Chunks<'a>(Rationed<'a>);

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut stream = self.0.stream;
        match self.0.allowance {
            None => {
                let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
                chunk.extend_from_slice(bytes);
                chunk.extend_from_slice(b"\r\n");
                stream.write_all(&chunk)?;
            }
            Some(_) => {
                stream.write_all(format!("{:x}\r\n", bytes.len()).as_bytes())?;
                self.0.write_all(bytes)?;
                stream.write_all(b"\r\n")?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
