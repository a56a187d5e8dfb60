//! A request as it stands on the wire.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

/// More than any client of this kind sends in one request line and its headers.
const LONGEST_HEAD: usize = 1 << 20;

/// A request, read whole.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path as sent, percent-encoded.
    pub(crate) path: String,
    /// What follows the question mark, as sent.
    pub(crate) query: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(super) keep_alive: bool,
}

/// What came of reading.
pub(super) enum Read {
    Request(Request),
    /// The client hung up between two requests.
    Closed,
    Malformed(String),
}

impl Request {
    /// The first header of that name, which is given in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Reads the next request; `unread` holds what came after the one before.
    pub(super) fn read(stream: &TcpStream, unread: &mut Vec<u8>) -> io::Result<Read> {
        let mut request = loop {
            match Self::parse_head(unread) {
                Ok(Some((request, length))) => {
                    unread.drain(..length);
                    break request;
                }
                Ok(None) if unread.len() > LONGEST_HEAD => {
                    return Ok(Read::Malformed("the request's head is too long".into()));
                }
                Ok(None) => {}
                Err(error) => return Ok(Read::Malformed(error.to_string())),
            }
            if fill(stream, unread)? == 0 {
                return Ok(Read::Closed);
            }
        };

        let chunked = request
            .header("transfer-encoding")
            .is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked"));
        let length = match request.header("content-length").map(str::parse::<usize>) {
            None => 0,
            Some(Ok(length)) => length,
            Some(Err(_)) => {
                return Ok(Read::Malformed("a content-length that is no number".into()));
            }
        };
        let waits = request
            .header("expect")
            .is_some_and(|what| what.eq_ignore_ascii_case("100-continue"));
        if waits {
            let mut stream = stream;
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = if chunked {
            read_chunks(stream, unread)
        } else {
            read_exactly(stream, unread, length).map(Some)
        };
        match body {
            Ok(Some(body)) => request.body = body,
            Ok(None) => return Ok(Read::Malformed("a chunk without a size".into())),
            Err(error) => return Err(error),
        }
        Ok(Read::Request(request))
    }

    /// The request without its body and the length of its head, or nothing while the head is not there yet.
    fn parse_head(bytes: &[u8]) -> Result<Option<(Self, usize)>, httparse::Error> {
        let mut headers = [httparse::EMPTY_HEADER; 128];
        let mut parsed = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(length) = parsed.parse(bytes)? else {
            return Ok(None);
        };
        let headers: Vec<(String, String)> = parsed
            .headers
            .iter()
            .map(|header| {
                (
                    header.name.to_ascii_lowercase(),
                    String::from_utf8_lossy(header.value).into_owned(),
                )
            })
            .collect();
        let target = without_authority(parsed.path.unwrap_or("/"));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let connection = headers
            .iter()
            .find(|(name, _)| name == "connection")
            .map(|(_, value)| value.to_ascii_lowercase());
        let keep_alive = match connection.as_deref() {
            Some(word) if word.contains("close") => false,
            Some(word) if word.contains("keep-alive") => true,
            _ => parsed.version == Some(1),
        };
        Ok(Some((
            Self {
                method: parsed.method.unwrap_or("GET").to_owned(),
                path: path.to_owned(),
                query: query.to_owned(),
                headers,
                body: Vec::new(),
                keep_alive,
            },
            length,
        )))
    }
}

/// A client that takes this server for a proxy names the whole URL.
fn without_authority(target: &str) -> &str {
    let Some(rest) = target
        .strip_prefix("http://")
        .or_else(|| target.strip_prefix("https://"))
    else {
        return target;
    };
    rest.find('/').map_or("/", |at| &rest[at..])
}

fn fill(mut stream: &TcpStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut block = [0; 16 * 1024];
    let read = stream.read(&mut block)?;
    buffer.extend_from_slice(&block[..read]);
    Ok(read)
}

fn read_exactly(stream: &TcpStream, unread: &mut Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
    while unread.len() < length {
        if fill(stream, unread)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(unread.drain(..length).collect())
}

/// The body of a chunked request, or nothing when a chunk has no size.
fn read_chunks(stream: &TcpStream, unread: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let (start, size) = loop {
            match httparse::parse_chunk_size(unread) {
                Ok(httparse::Status::Complete(found)) => break found,
                Ok(httparse::Status::Partial) => {}
                Err(_) => return Ok(None),
            }
            if fill(stream, unread)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        unread.drain(..start);
        if size == 0 {
            // The trailer ends with an empty line.
            while read_line(stream, unread)? > 2 {}
            return Ok(Some(body));
        }
        let Ok(size) = usize::try_from(size) else {
            return Ok(None);
        };
        body.append(&mut read_exactly(stream, unread, size)?);
        read_exactly(stream, unread, 2)?;
    }
}

/// Drops a line and gives its length, line end included.
fn read_line(stream: &TcpStream, unread: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        if let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
            unread.drain(..=end);
            return Ok(end + 1);
        }
        if fill(stream, unread)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
