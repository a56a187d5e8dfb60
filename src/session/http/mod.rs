//! HTTP over sockets: the one file that knows ureq.
//!
//! ureq speaks HTTP/1.1 and keeps a pool of connections. What it sends over is made here: a connection goes through a proxy by the
//! crate's own rules ([`ProxyRules`]), verifies certificates by the crate's own settings ([`tls`]), breaks off when a
//! [`CancelToken`] says so, and notices a dead peer by TCP keep-alive.

mod dial;
mod pace;
mod proxy;
mod tls;

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use once_cell::sync::OnceCell;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use ureq::http::{HeaderMap, StatusCode, Uri};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};
use ureq::{Agent, RequestBuilder, SendBody};

use self::dial::{CANCEL_POLL, Limits, connect, is_passing, look_up, open_tunnel};
use self::pace::Pace;
use self::proxy::ProxyEndpoint;
use crate::cancel::{CancelToken, cancelled};
use crate::error::{Error, ErrorKind};
use crate::session::stores::CertificateSettings;

pub use self::proxy::Proxy;
pub(super) use self::proxy::ProxyRules;

/// How much of a request is sent at once. Less than 64 KiB: when so much is freed, glibc tidies up its whole heap, which after a long list
/// takes as long as a fifth of fetching it.
const OUTPUT_BUFFER: usize = 48 * 1024;
/// A server's word is taken for the length of an answer up to here.
const MOST_ROOM: usize = 1 << 20;
/// When a silent connection is probed, how often, and how many probes may go unanswered.
const KEEP_ALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 4);

/// The settings of a client's connections.
#[derive(Clone)]
pub(crate) struct HttpSettings {
    pub(crate) connect_timeout: Duration,
    /// How long one read may be silent, and the head of an answer may take.
    pub(crate) read_timeout: Duration,
    pub(crate) user_agent: String,
    pub(crate) proxy: ProxyRules,
    pub(crate) certificates: CertificateSettings,
    /// The host whose certificate may bear the other name of `certificates`.
    pub(crate) master_host: String,
}

/// A pool of connections. Clones share it.
#[derive(Clone)]
pub(crate) struct Http {
    agent: Agent,
    shared: Arc<Shared>,
}

struct Shared {
    settings: HttpSettings,
    /// Made on the first https request: reading the system's certificates takes a while.
    tls: OnceCell<Arc<ClientConfig>>,
}

/// The methods that the master's API uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// One request, as it goes out.
pub(crate) struct Outgoing<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    pub(crate) headers: &'a [(&'static str, Cow<'a, str>)],
    pub(crate) body: Payload<'a>,
    pub(crate) patience: Patience,
}

/// For how long an answer may keep its reader waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// As the read timeout says, and no answer may drip.
    Limited,
    /// As long as it likes once its head is there: a log that is followed further.
    OnceBegun,
    /// As long as it likes: a log that is followed, whose head comes with its first entry.
    Unlimited,
}

/// What a request carries.
pub(crate) enum Payload<'a> {
    Empty,
    Bytes(&'a [u8]),
    /// Sent in chunks as it is read, so that it never stands in memory whole.
    Stream(Box<dyn Read + Send>),
}

/// The head of an answer, and its body to be read.
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: ureq::BodyReader<'static>,
    /// How fast the body must come, if it must.
    pace: Option<Pace>,
}

/// Why there is no answer.
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// Whether the request certainly did not reach the master.
    pub(crate) never_sent: bool,
}

impl Http {
    pub(crate) fn new(settings: HttpSettings) -> Self {
        let shared = Arc::new(Shared {
            settings,
            tls: OnceCell::new(),
        });
        Self {
            agent: agent(&shared, None),
            shared,
        }
    }

    /// Connections with the same settings that break off when `token` is cancelled.
    pub(crate) fn cancellable(&self, token: &CancelToken) -> Self {
        Self {
            agent: agent(&self.shared, Some(token.clone())),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Connections to other servers than the master, which break off when `token` is cancelled. Proxies and timeouts are the same;
    /// certificates are always verified, by the same authorities and those of `pem`: what the user allows the master holds for no other.
    #[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
    pub(crate) fn elsewhere(&self, token: &CancelToken, pem: &[u8]) -> Self {
        let mut settings = self.shared.settings.clone();
        let mut authorities = settings.certificates.pem.unwrap_or_default();
        if !pem.is_empty() {
            authorities.push(b'\n');
            authorities.extend(pem);
        }
        settings.certificates = CertificateSettings {
            pem: Some(authorities).filter(|pem| !pem.is_empty()),
            name: None,
            verify: true,
        };
        Self::new(settings).cancellable(token)
    }

    /// Connections to the services of a cloud machine itself, on its own network: direct, and given up soon, because most machines have no
    /// such services.
    #[cfg(any(feature = "s3", feature = "gcs"))]
    pub(crate) fn nearby(&self, token: &CancelToken) -> Self {
        let mut settings = self.shared.settings.clone();
        settings.proxy = ProxyRules::direct();
        settings.connect_timeout = Duration::from_secs(1);
        settings.read_timeout = Duration::from_secs(5);
        Self::new(settings).cancellable(token)
    }

    /// Sends a request and reads the head of its answer. A redirect is an answer like any other.
    pub(crate) fn send(&self, mut outgoing: Outgoing<'_>) -> Result<Answer, Failure> {
        let body = std::mem::replace(&mut outgoing.body, Payload::Empty);
        let (agent, url) = (&self.agent, outgoing.url);
        let is_limited = outgoing.patience == Patience::Limited;
        let with_body = || match outgoing.method {
            Method::Post => agent.post(url),
            Method::Put => agent.put(url),
            Method::Patch => agent.patch(url),
            Method::Get => agent.get(url).force_send_body(),
            Method::Delete => agent.delete(url).force_send_body(),
        };
        let response = match (body, outgoing.method) {
            (Payload::Empty, Method::Get) => prepare(agent.get(url), &outgoing).call(),
            (Payload::Empty, Method::Delete) => prepare(agent.delete(url), &outgoing).call(),
            (Payload::Empty, _) => prepare(with_body(), &outgoing).send_empty(),
            (Payload::Bytes(bytes), _) => prepare(with_body(), &outgoing).send(bytes),
            (Payload::Stream(mut reader), _) => {
                prepare(with_body(), &outgoing).send(SendBody::from_reader(&mut reader))
            }
        };
        let (head, body) = response.map_err(Failure::from_ureq)?.into_parts();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.into_with_config().limit(u64::MAX).reader(),
            pace: is_limited.then(|| Pace::new(self.shared.settings.read_timeout)),
        })
    }
}

fn prepare<B>(mut builder: RequestBuilder<B>, outgoing: &Outgoing<'_>) -> RequestBuilder<B> {
    for (name, value) in outgoing.headers {
        builder = builder.header(*name, value.as_ref());
    }
    match outgoing.patience {
        Patience::Limited => builder,
        Patience::OnceBegun => builder.config().timeout_per_read(None).build(),
        Patience::Unlimited => builder
            .config()
            .timeout_per_read(None)
            .timeout_recv_response(None)
            .build(),
    }
}

fn agent(shared: &Arc<Shared>, cancel: Option<CancelToken>) -> Agent {
    let settings = &shared.settings;
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_connect(Some(settings.connect_timeout))
        .timeout_recv_response(Some(settings.read_timeout))
        .timeout_per_read(Some(settings.read_timeout))
        .timeout_per_write(Some(settings.read_timeout))
        .user_agent(&settings.user_agent)
        .output_buffer_size(OUTPUT_BUFFER)
        .max_idle_connections(32)
        .max_idle_connections_per_host(32)
        .build();
    let link = Link {
        shared: Arc::clone(shared),
        cancel,
    };
    Agent::with_parts(config, link.clone(), link)
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// The status in words, such as `404 Not Found`.
    pub(crate) fn status_line(&self) -> String {
        self.status.to_string()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body up to `limit` bytes; the rest, if any, is left unread.
    pub(crate) fn read_up_to(&mut self, limit: u64) -> Result<Vec<u8>, Error> {
        let announced = self.header("content-length");
        let announced = announced.and_then(|length| length.parse().ok());
        let mut bytes = Vec::with_capacity(announced.unwrap_or(0).min(MOST_ROOM));
        match self.take(limit).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(read_error(error)),
        }
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(pace) = &mut self.pace else {
            return self.body.read(buffer);
        };
        let started = Instant::now();
        let n = self.body.read(buffer)?;
        if n > 0 {
            pace.count(n, started.elapsed())?;
        }
        Ok(n)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Answer").field(&self.status).finish()
    }
}

/// The error of a body that could not be read to its end.
pub(crate) fn read_error(error: io::Error) -> Error {
    let error = match error.downcast::<ureq::Error>() {
        Ok(error) => error,
        Err(error) => ureq::Error::Io(error),
    };
    Failure::from_ureq(error).error
}

impl Failure {
    fn before(error: Error) -> Self {
        Self {
            error,
            never_sent: true,
        }
    }

    /// What ureq says, in the crate's terms. Errors that this file or a body's reader put into an [`io::Error`] come back unchanged.
    fn from_ureq(error: ureq::Error) -> Self {
        let after = |kind, detail: String| Self {
            error: Error::new(kind, detail),
            never_sent: false,
        };
        match error {
            ureq::Error::Io(error) => match error.downcast::<Unreachable>() {
                Ok(unreachable) => Self::before(unreachable.0),
                Err(error) => Self {
                    error: io_error(error),
                    never_sent: false,
                },
            },
            ureq::Error::HostNotFound => Self::before(Error::new(
                ErrorKind::MasterNotFound,
                "the host name does not resolve",
            )),
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
                Self::before(Error::new(
                    ErrorKind::Timeout,
                    "no connection within the connect timeout",
                ))
            }
            ureq::Error::Timeout(_) => after(
                ErrorKind::Timeout,
                "no data within the read timeout; the server or the network is silent".to_owned(),
            ),
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => Self::before(Error::invalid_input(
                format!("the request cannot be written down: {error}"),
            )),
            ureq::Error::Protocol(error) => Self {
                error: Error::new(
                    ErrorKind::InvalidResponse,
                    format!("the answer is not HTTP as expected: {error}"),
                )
                .with_hint(
                    "check the URL and its port: one that speaks TLS is reached with https://",
                ),
                never_sent: false,
            },
            ureq::Error::LargeResponseHeader(..) => after(
                ErrorKind::InvalidResponse,
                "the answer's headers are too large".to_owned(),
            ),
            ureq::Error::Decompress(_, error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self {
                    error: io_error(error),
                    never_sent: false,
                }
            }
            ureq::Error::Decompress(..) => after(
                ErrorKind::InvalidResponse,
                "the compressed answer is damaged".to_owned(),
            ),
            other => after(
                ErrorKind::Connection,
                format!("the connection failed: {other}"),
            ),
        }
    }
}

/// An I/O error on an established connection.
fn io_error(error: io::Error) -> Error {
    let error = match error.downcast::<Error>() {
        Ok(error) => return error,
        Err(error) => error,
    };
    if let Some(inner) = error.get_ref() {
        if let Some(ureq::Error::Timeout(_)) = inner.downcast_ref::<ureq::Error>() {
            return Error::new(
                ErrorKind::Timeout,
                "no data within the read timeout; the server or the network is silent",
            );
        }
        if let Some(error) = inner.downcast_ref::<rustls::Error>() {
            return tls::handshake_error(error);
        }
    }
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Error::new(
            ErrorKind::Timeout,
            "no data within the read timeout; the server or the network is silent",
        ),
        _ => Error::new(
            ErrorKind::Connection,
            format!("the connection was cut: {error}"),
        ),
    }
}

/// A failure to connect, wrapped so that it comes back out of ureq as it went in.
#[derive(Debug)]
struct Unreachable(Error);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Unreachable {}

fn unreachable(kind: ErrorKind, detail: String) -> ureq::Error {
    refused(Error::new(kind, detail))
}

fn refused(error: Error) -> ureq::Error {
    ureq::Error::Io(io::Error::other(Unreachable(error)))
}

/// Makes connections, and resolves the name of what they really go to: the proxy, if one stands in between.
#[derive(Clone)]
struct Link {
    shared: Arc<Shared>,
    cancel: Option<CancelToken>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

impl Link {
    /// By when a connection must be there.
    fn limits(&self, timeout: NextTimeout) -> Limits<'_> {
        let left = timeout
            .not_zero()
            .map_or(self.shared.settings.connect_timeout, |left| *left);
        Limits {
            deadline: Instant::now() + left,
            cancel: self.cancel.as_ref(),
        }
    }

    fn proxy_for(&self, uri: &Uri) -> Result<Option<&ProxyEndpoint>, ureq::Error> {
        let (scheme, host) = (uri.scheme_str(), uri.host());
        self.shared
            .settings
            .proxy
            .proxy_for(
                scheme.unwrap_or_default(),
                host.unwrap_or_default(),
                port_of(uri),
            )
            .map_err(refused)
    }
}

fn port_of(uri: &Uri) -> u16 {
    let default = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    uri.port_u16().unwrap_or(default)
}

impl Resolver for Link {
    fn resolve(
        &self,
        uri: &Uri,
        _: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let (host, port) = match self.proxy_for(uri)? {
            None => (uri.host().unwrap_or_default(), port_of(uri)),
            Some(proxy) => (proxy.host.as_str(), proxy.port),
        };
        let host = host.trim_matches(['[', ']']);
        let mut found = self.empty();
        // An address needs no looking up, nor the thread that would do it.
        if let Ok(address) = host.parse::<IpAddr>() {
            found.push(SocketAddr::new(address, port));
            return Ok(found);
        }
        let addresses = look_up(host, port, self.limits(timeout)).map_err(refused)?;
        for address in addresses {
            // More than there is room for are never tried.
            let _ = found.try_push(address);
        }
        Ok(found)
    }
}

impl Connector<()> for Link {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let limits = self.limits(details.timeout);
        let proxy = self.proxy_for(details.uri)?;
        let authority = format!(
            "{}:{}",
            details.uri.host().unwrap_or_default(),
            port_of(details.uri)
        );
        let whom = match proxy {
            Some(proxy) => format!("the proxy {}", proxy.address()),
            None => authority.clone(),
        };
        let connected = connect(&details.addrs, &whom, limits);
        let mut stream = connected.map_err(|error| {
            refused(match (proxy, error.kind()) {
                (Some(_), ErrorKind::MasterNotFound) => error.with_hint(
                    "it comes from LoginOptions::proxy, http_proxy, https_proxy or all_proxy",
                ),
                _ => error,
            })
        })?;
        let keep_alive = socket2::TcpKeepalive::new()
            .with_time(KEEP_ALIVE.0)
            .with_interval(KEEP_ALIVE.1);
        #[cfg(not(windows))]
        let keep_alive = keep_alive.with_retries(KEEP_ALIVE.2);
        // Where the system refuses either, connections work all the same.
        let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keep_alive);
        let _ = stream.set_nodelay(true);

        let mut absolute_form = None;
        match proxy {
            Some(proxy) if details.needs_tls() => {
                open_tunnel(&mut stream, &authority, proxy, limits).map_err(refused)?;
            }
            Some(proxy) => absolute_form = Some(AbsoluteForm::new(details.uri, proxy)),
            None => {}
        }
        let socket = Socket {
            stream,
            buffers: LazyBuffers::new(
                details.config.input_buffer_size(),
                details.config.output_buffer_size(),
            ),
            timeouts: [None, None],
            cancel: self.cancel.clone(),
            absolute_form,
            before_request: true,
            peer_stopped_reading: false,
        };
        if details.needs_tls() {
            return Ok(Some(Box::new(self.encrypt(socket, details)?)));
        }
        Ok(Some(Box::new(socket)))
    }
}

impl Link {
    fn encrypt(
        &self,
        socket: Socket,
        details: &ConnectionDetails<'_>,
    ) -> Result<Encrypted, ureq::Error> {
        let settings = &self.shared.settings;
        let config = self
            .shared
            .tls
            .get_or_try_init(|| tls::client_config(&settings.certificates, &settings.master_host))
            .map_err(refused)?;
        let host = details.uri.host().unwrap_or_default();
        let name = ServerName::try_from(host.trim_matches(['[', ']']))
            .map_err(|_| {
                unreachable(
                    ErrorKind::Tls,
                    format!("{host:?} is not a name that a certificate can bear"),
                )
            })?
            .to_owned();
        let handshake = |error: io::Error| refused(tls_error(error));
        let mut connection = ClientConnection::new(Arc::clone(config), name)
            .map_err(|error| handshake(io::Error::other(error)))?;
        let mut adapter = TransportAdapter::new(socket.boxed(), Arc::clone(&details.current_time));
        adapter.set_timeout(details.timeout);
        connection.complete_io(&mut adapter).map_err(handshake)?;
        Ok(Encrypted {
            buffers: LazyBuffers::new(
                details.config.input_buffer_size(),
                details.config.output_buffer_size(),
            ),
            stream: StreamOwned::new(connection, adapter),
        })
    }
}

/// The error of a handshake that did not come to its end.
fn tls_error(error: io::Error) -> Error {
    let error = io_error(error);
    match error.kind() {
        ErrorKind::Connection => Error::new(
            ErrorKind::Tls,
            "the connection was cut during the TLS handshake",
        )
        .with_hint("is this an https port? A plain master is reached with http://"),
        _ => error,
    }
}

/// How a request for a plain http URL is written for a proxy: with the whole URL in its first line.
struct AbsoluteForm {
    origin: String,
    /// A whole header line, or nothing.
    authorization: String,
}

impl AbsoluteForm {
    fn new(uri: &Uri, proxy: &ProxyEndpoint) -> Self {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        Self {
            origin: format!("http://{authority}"),
            authorization: proxy
                .authorization
                .as_ref()
                .map(|value| format!("proxy-authorization: {}\r\n", value.expose()))
                .unwrap_or_default(),
        }
    }

    /// The head of a request, `GET /path HTTP/1.1` and what follows, in absolute form.
    fn rewrite(&self, head: &[u8]) -> Vec<u8> {
        let path = head.iter().position(|b| *b == b' ').map_or(0, |at| at + 1);
        let headers = head
            .windows(2)
            .position(|pair| pair == b"\r\n")
            .map_or(head.len(), |at| at + 2);
        [
            &head[..path],
            self.origin.as_bytes(),
            &head[path..headers],
            self.authorization.as_bytes(),
            &head[headers..],
        ]
        .concat()
    }
}

/// A TCP connection.
struct Socket {
    stream: TcpStream,
    buffers: LazyBuffers,
    /// The timeouts that are set on the stream, to read and to write.
    timeouts: [Option<Duration>; 2],
    cancel: Option<CancelToken>,
    absolute_form: Option<AbsoluteForm>,
    /// Whether what goes out next is the head of a request.
    before_request: bool,
    /// Whether the peer closed while a request was still being sent. It may have answered before that, a 401 or a 413, so the rest
    /// of the request is dropped and the answer is read.
    peer_stopped_reading: bool,
}

#[derive(Clone, Copy)]
enum Direction {
    Read = 0,
    Write = 1,
}

impl Socket {
    /// Runs one operation on the stream within the timeout, in short turns if it can be cancelled.
    fn run(
        &mut self,
        direction: Direction,
        limit: NextTimeout,
        mut operation: impl FnMut(&mut TcpStream, &mut LazyBuffers) -> io::Result<usize>,
    ) -> Result<usize, ureq::Error> {
        let limit = match direction {
            Direction::Read => limit.for_read(),
            Direction::Write => limit.for_write(),
        };
        let deadline = limit.not_zero().map(|after| Instant::now() + *after);
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(ureq::Error::Timeout(limit.reason));
            }
            let turn = match &self.cancel {
                Some(token) if token.is_cancelled() => {
                    return Err(ureq::Error::Io(io::Error::other(cancelled())));
                }
                Some(_) => Some(left.map_or(CANCEL_POLL, |left| left.min(CANCEL_POLL))),
                None => left,
            };
            self.set_timeout(direction, turn)?;
            match operation(&mut self.stream, &mut self.buffers) {
                Ok(n) => return Ok(n),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(ureq::Error::Io(error)),
            }
        }
    }

    /// Sets a timeout of the stream, unless it is set already.
    fn set_timeout(&mut self, direction: Direction, turn: Option<Duration>) -> io::Result<()> {
        // In whole tenths of a second: what is left differs a little each time, and that alone is not worth a system call.
        let turn = turn.map(|turn| {
            let tenths = turn.as_millis().div_ceil(100).max(1);
            Duration::from_millis(u64::try_from(tenths * 100).unwrap_or(u64::MAX))
        });
        if self.timeouts[direction as usize] != turn {
            match direction {
                Direction::Read => self.stream.set_read_timeout(turn)?,
                Direction::Write => self.stream.set_write_timeout(turn)?,
            }
            self.timeouts[direction as usize] = turn;
        }
        Ok(())
    }

    fn write_all(&mut self, bytes: &[u8], timeout: NextTimeout) -> Result<(), ureq::Error> {
        let mut rest = bytes;
        while !rest.is_empty() && !self.peer_stopped_reading {
            match self.run(Direction::Write, timeout, |stream, _| stream.write(rest)) {
                Ok(n) => rest = &rest[n..],
                Err(ureq::Error::Io(error))
                    if matches!(
                        error.kind(),
                        io::ErrorKind::BrokenPipe
                            | io::ErrorKind::ConnectionReset
                            | io::ErrorKind::ConnectionAborted
                    ) =>
                {
                    self.peer_stopped_reading = true;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let is_head = std::mem::replace(&mut self.before_request, false);
        // The buffer is lent out for the write, because the write needs all of `self`.
        let mut buffers = std::mem::replace(&mut self.buffers, LazyBuffers::new(1, 1));
        let output = &buffers.output()[..amount];
        let result = match &self.absolute_form {
            Some(form) if is_head => {
                let head = form.rewrite(output);
                self.write_all(&head, timeout)
            }
            _ => self.write_all(output, timeout),
        };
        self.buffers = buffers;
        result
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.before_request = true;
        let n = self.run(Direction::Read, timeout, |stream, buffers| {
            stream.read(buffers.input_append_buf())
        })?;
        self.buffers.input_appended(n);
        Ok(n > 0)
    }

    fn is_open(&mut self) -> bool {
        if self.peer_stopped_reading || self.stream.set_nonblocking(true).is_err() {
            return false;
        }
        let is_idle = matches!(self.stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        is_idle && self.stream.set_nonblocking(false).is_ok()
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Socket").field(&self.stream).finish()
    }
}

/// TLS over a [`Socket`].
struct Encrypted {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl Transport for Encrypted {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        Ok(self.stream.write_all(&self.buffers.output()[..amount])?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let n = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(n);
        Ok(n > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for Encrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Encrypted")
            .field(self.stream.sock.inner())
            .finish()
    }
}
