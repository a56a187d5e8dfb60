//! A master by hand, for what a well-behaved one never does: it hands each request to a closure that writes what it likes.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test binary uses its own part"
)]

pub mod table;
pub mod tls;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use determined::{Determined, LoginOptions, Proxy, TokenStore};

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// The path with its query, or a whole URL if a proxy was asked.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Reads a request, head and body; `None` at the end of the connection.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let mut seen = Self {
            method: words.next().unwrap_or_default(),
            target: words.next().unwrap_or_default(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            seen.headers
                .push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if let Some(length) = seen.header("content-length") {
            let length = length.parse().map_err(io::Error::other)?;
            reader.take(length).read_to_end(&mut seen.body)?;
        } else if seen.header("transfer-encoding") == Some("chunked") {
            loop {
                let mut size = String::new();
                reader.read_line(&mut size)?;
                let size = u64::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
                reader.take(size).read_to_end(&mut seen.body)?;
                reader.read_line(&mut String::new())?;
                if size == 0 {
                    break;
                }
            }
        }
        Ok(Some(seen))
    }
}

/// Whether a connection is read on or closed after an answer.
pub enum After {
    KeepOpen,
    Close,
}

/// What answers a request. The requests so far, this one included, are counted from 1.
pub type Handler = dyn Fn(&Seen, &mut TcpStream) -> io::Result<After> + Send + Sync;

/// A master that does as the closure says.
pub struct RawMaster {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl RawMaster {
    /// A master whose login works and that leaves everything else to `handler`.
    pub fn start(
        handler: impl Fn(&Seen, &mut TcpStream) -> io::Result<After> + Send + Sync + 'static,
    ) -> Self {
        Self::start_bare(move |seen, stream| match seen.path() {
            "/api/v1/auth/login" => json(stream, 200, LOGGED_IN),
            _ => handler(seen, stream),
        })
    }

    /// A master that leaves logging in to `handler` too.
    pub fn start_bare(
        handler: impl Fn(&Seen, &mut TcpStream) -> io::Result<After> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let handler: Arc<Handler> = Arc::new(handler);
        let requests = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (handler, requests) = (Arc::clone(&handler), Arc::clone(&requests));
                thread::spawn(move || serve(stream, &*handler, &requests));
            }
        });
        Self { url, seen }
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How often a path was asked.
    pub fn count(&self, path: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.path() == path).count()
    }

    /// Options to log in here.
    pub fn login_options(&self) -> LoginOptions {
        options(&self.url)
    }

    pub fn client(&self) -> Determined {
        Determined::new(self.login_options()).unwrap()
    }
}

/// Options to log in at `url`, and nowhere near the user's own files.
pub fn options(url: &str) -> LoginOptions {
    LoginOptions::new()
        .master(url)
        .user("kim")
        .password("Secret-Passw0rd")
        .token_store(TokenStore::None)
        .proxy(Proxy::None)
        .environment([("HOME", "/nonexistent")])
}

/// Every file below a directory with its content; directories end in a slash.
pub fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if path.is_dir() {
                found.insert(name + "/", Vec::new());
                open.push(path);
            } else {
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

fn serve(mut stream: TcpStream, handler: &Handler, requests: &Mutex<Vec<Seen>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Ok(Some(seen)) = Seen::read(&mut reader) {
        requests.lock().unwrap().push(seen.clone());
        match handler(&seen, &mut stream) {
            Ok(After::KeepOpen) => {}
            Ok(After::Close) | Err(_) => break,
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

pub const LOGGED_IN: &str =
    r#"{"token":"secret-token-1","user":{"id":2,"username":"kim","admin":false,"active":true}}"#;
pub const ME: &str = r#"{"user":{"id":2,"username":"kim","admin":false,"active":true}}"#;

/// A JSON answer.
pub fn json(stream: &mut impl Write, status: u16, body: &str) -> io::Result<After> {
    answer(
        stream,
        status,
        &[("content-type", "application/json")],
        body.as_bytes(),
    )
}

/// An answer with a length.
pub fn answer(
    stream: &mut impl Write,
    status: u16,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<After> {
    let mut head = format!(
        "HTTP/1.1 {status} Whatever\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    stream.write_all(&[head.as_bytes(), body].concat())?;
    stream.flush()?;
    Ok(After::KeepOpen)
}

/// The head of a chunked answer; [`chunk`] goes on, and an empty chunk ends it.
pub fn start_chunked(stream: &mut impl Write) -> io::Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
    )
}

pub fn chunk(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(format!("{:x}\r\n", bytes.len()).as_bytes())?;
    stream.write_all(bytes)?;
    stream.write_all(b"\r\n")?;
    stream.flush()
}
