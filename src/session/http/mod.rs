//! HTTP over sockets: the one file that knows ureq.
//!
//! ureq speaks HTTP/1.1 and keeps a pool of connections. What it sends over is made here: a connection goes through a proxy by the
//! crate's own rules ([`ProxyRules`]), verifies certificates by the crate's own settings ([`tls`]), breaks off when a
//! [`CancelToken`] says so, and notices a dead peer by TCP keep-alive.

mod dial;
mod outgoing;
mod pace;
mod proxy;
mod socket;
mod tls;

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use once_cell::sync::OnceCell;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use ureq::http::uri::Authority;
use ureq::http::{HeaderMap, StatusCode, Uri};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};
use ureq::{Agent, RequestBuilder, SendBody};

use self::dial::{Limits, connect, look_up, open_tunnel};
use self::pace::Pace;
use self::proxy::{AbsoluteForm, ProxyEndpoint};
use self::socket::Socket;
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind};
use crate::session::stores::CertificateSettings;

pub(crate) use self::outgoing::{Method, Outgoing, Patience, Payload};
pub use self::proxy::Proxy;
pub(super) use self::proxy::ProxyRules;

/// How much of a request is sent at once. Less than 64 KiB: when so much is freed, glibc tidies up its whole heap, which after a long list
/// takes as long as a fifth of fetching it.
const OUTPUT_BUFFER: usize = 48 * 1024;
/// A server's word is taken for the length of an answer up to here.
const MOST_ROOM: usize = 1 << 20;
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
            ureq::Error::Timeout(_) => Self {
                error: silence(),
                never_sent: false,
            },
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
            return silence();
        }
        if let Some(error) = inner.downcast_ref::<rustls::Error>() {
            return tls::handshake_error(error);
        }
    }
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => silence(),
        _ => Error::new(
            ErrorKind::Connection,
            format!("the connection was cut: {error}"),
        ),
    }
}

fn silence() -> Error {
    Error::new(
        ErrorKind::Timeout,
        "no data within the read timeout; the server or the network is silent",
    )
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
        let mut absolute_form = None;
        match proxy {
            Some(proxy) if details.needs_tls() => {
                open_tunnel(&mut stream, &authority, proxy, limits).map_err(refused)?;
            }
            Some(proxy) => {
                absolute_form = Some(AbsoluteForm::new(
                    details.uri.authority().map_or("", Authority::as_str),
                    proxy,
                ))
            }
            None => {}
        }
        let plain = Plain {
            socket: Socket::new(stream, self.cancel.clone(), absolute_form),
            buffers: buffers(details),
        };
        if details.needs_tls() {
            return Ok(Some(Box::new(self.encrypt(plain, details)?)));
        }
        Ok(Some(Box::new(plain)))
    }
}

impl Link {
    fn encrypt(
        &self,
        plain: Plain,
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
        let mut adapter = TransportAdapter::new(plain.boxed(), Arc::clone(&details.current_time));
        adapter.set_timeout(details.timeout);
        connection.complete_io(&mut adapter).map_err(handshake)?;
        Ok(Encrypted {
            buffers: buffers(details),
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

fn buffers(details: &ConnectionDetails<'_>) -> LazyBuffers {
    LazyBuffers::new(
        details.config.input_buffer_size(),
        details.config.output_buffer_size(),
    )
}

/// HTTP over a [`Socket`].
struct Plain {
    socket: Socket,
    buffers: LazyBuffers,
}

impl Transport for Plain {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let limit = timeout.for_write();
        let output = &self.buffers.output()[..amount];
        let sent = self.socket.send(output, limit.not_zero().map(|left| *left));
        sent.map_err(|error| socket_error(error, limit))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let limit = timeout.for_read();
        let input = self.buffers.input_append_buf();
        let n = self
            .socket
            .receive(input, limit.not_zero().map(|left| *left))
            .map_err(|error| socket_error(error, limit))?;
        self.buffers.input_appended(n);
        Ok(n > 0)
    }

    fn is_open(&mut self) -> bool {
        self.socket.is_open()
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

fn socket_error(error: io::Error, limit: NextTimeout) -> ureq::Error {
    match error.kind() {
        io::ErrorKind::TimedOut => ureq::Error::Timeout(limit.reason),
        _ => ureq::Error::Io(error),
    }
}

/// TLS over [`Plain`].
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
