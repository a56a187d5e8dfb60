//! Opening TCP connections: looking a name up, connecting, and asking a proxy for a tunnel, within a time and until it is cancelled.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::proxy::ProxyEndpoint;
use crate::cancel::{CancelToken, cancelled};
use crate::error::{Error, ErrorKind, Result};

/// How often what blocks looks whether it was cancelled.
pub(super) const CANCEL_POLL: Duration = Duration::from_millis(200);
/// The system takes no timeout of zero.
const SHORTEST: Duration = Duration::from_millis(10);
/// How much of an answer to a proxy's `CONNECT` is read before it is refused.
const CONNECT_ANSWER_LIMIT: usize = 16 * 1024;

/// By when a connection must be there, and who may give it up before.
#[derive(Clone, Copy)]
pub(super) struct Limits<'a> {
    pub(super) deadline: Instant,
    pub(super) cancel: Option<&'a CancelToken>,
}

impl Limits<'_> {
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn check(&self) -> io::Result<()> {
        match self.cancel {
            Some(token) if token.is_cancelled() => Err(io::Error::other(cancelled())),
            _ if self.left().is_zero() => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }

    /// Runs what blocks and cannot be broken off on a thread of its own, and leaves it there when the time is over.
    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (done, result) = sync_channel(1);
        thread::Builder::new().spawn(move || {
            // Nobody may be waiting any more.
            let _ = done.send(work());
        })?;
        loop {
            self.check()?;
            match result.recv_timeout(self.left().min(CANCEL_POLL)) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::other("the system gave no answer"));
                }
            }
        }
    }
}

/// The addresses of a host, at least one.
pub(super) fn look_up(host: &str, port: u16, limits: Limits<'_>) -> Result<Vec<SocketAddr>> {
    let name = host.to_owned();
    let found =
        limits.run(move || Ok((name.as_str(), port).to_socket_addrs()?.collect::<Vec<_>>()));
    let unknown = |kind, why: &str| {
        let detail = format!("the host name {host:?} does not resolve {why}");
        Err(Error::new(kind, detail))
    };
    match found {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            unknown(ErrorKind::Timeout, "within the connect timeout")
        }
        Err(error) if was_cancelled(&error) => Err(cancelled()),
        _ => unknown(ErrorKind::MasterNotFound, "to an address"),
    }
}

/// Connects to the first address that answers. `whom` says in words who that is.
pub(super) fn connect(
    addresses: &[SocketAddr],
    whom: &str,
    limits: Limits<'_>,
) -> Result<TcpStream> {
    let mut last = io::ErrorKind::NotFound.into();
    for (n, address) in addresses.iter().enumerate() {
        // Every address gets its share of what is left, so that one which is silent leaves time for the next.
        let others = u32::try_from(addresses.len() - n).unwrap_or(1);
        let share = (limits.left() / others).max(SHORTEST);
        let address = *address;
        let connected = match limits.cancel {
            None => TcpStream::connect_timeout(&address, share),
            Some(_) => limits.run(move || TcpStream::connect_timeout(&address, share)),
        };
        match connected {
            // A port of this machine that nobody listens on may connect to itself.
            Ok(stream) if stream.local_addr().ok() == Some(address) => {
                last = io::ErrorKind::ConnectionRefused.into();
            }
            Ok(stream) => return Ok(stream),
            Err(error) if was_cancelled(&error) => return Err(cancelled()),
            Err(error) => last = error,
        }
    }
    Err(match last.kind() {
        io::ErrorKind::TimedOut => Error::new(
            ErrorKind::Timeout,
            format!("{whom} did not answer within the connect timeout"),
        ),
        _ => Error::new(
            ErrorKind::MasterNotFound,
            format!("cannot connect to {whom}: {last}"),
        ),
    })
}

/// Asks the proxy at the other end of a stream for a tunnel to `authority`, a host with its port.
pub(super) fn open_tunnel(
    stream: &mut TcpStream,
    authority: &str,
    proxy: &ProxyEndpoint,
    limits: Limits<'_>,
) -> Result<()> {
    let whom = format!("the proxy {}", proxy.address());
    let line = match ask_for_tunnel(stream, authority, proxy, limits) {
        Ok(line) => line,
        Err(error) if was_cancelled(&error) => return Err(cancelled()),
        Err(error) => {
            return Err(Error::new(
                ErrorKind::Connection,
                format!("{whom} did not open a tunnel: {error}"),
            ));
        }
    };
    let status = line.split(' ').nth(1).unwrap_or_default();
    if status.starts_with('2') {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Connection,
        format!("{whom} refused a tunnel to {authority}: {line}"),
    )
    .with_hint("set NO_PROXY, or LoginOptions::proxy(Proxy::None), to reach the master directly"))
}

/// Sends the request for a tunnel and gives the first line of the answer.
fn ask_for_tunnel(
    stream: &mut TcpStream,
    authority: &str,
    proxy: &ProxyEndpoint,
    limits: Limits<'_>,
) -> io::Result<String> {
    let mut head = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n");
    if let Some(authorization) = &proxy.authorization {
        head += &format!("proxy-authorization: {}\r\n", authorization.expose());
    }
    head += "\r\n";
    stream.write_all(head.as_bytes())?;
    // Byte by byte, because what follows the head belongs to the tunnel.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") && answer.len() < CONNECT_ANSWER_LIMIT {
        limits.check()?;
        let turn = limits.left().min(CANCEL_POLL).max(SHORTEST);
        stream.set_read_timeout(Some(turn))?;
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => answer.push(byte[0]),
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

/// Whether an operation only has to be begun anew: its turn was over, or a signal came.
pub(super) fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

fn was_cancelled(error: &io::Error) -> bool {
    let inner = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<Error>());
    inner.is_some_and(|error| error.kind() == ErrorKind::Cancelled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(left: Duration, cancel: Option<&CancelToken>) -> Limits<'_> {
        Limits {
            deadline: Instant::now() + left,
            cancel,
        }
    }

    #[test]
    fn what_blocks_is_left_alone_at_the_deadline_and_when_it_is_cancelled() {
        let block = || {
            thread::sleep(Duration::from_secs(20));
            Ok(())
        };
        let started = Instant::now();
        let error = limits(Duration::from_millis(50), None)
            .run(block)
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let token = CancelToken::new();
        token.cancel();
        let error = limits(Duration::from_secs(60), Some(&token))
            .run(block)
            .unwrap_err();
        assert!(was_cancelled(&error));
        assert!(started.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn a_name_that_nobody_has_is_named() {
        let error = look_up("no such.host", 80, limits(Duration::from_secs(60), None)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MasterNotFound);
        assert!(error.to_string().contains("no such.host"), "{error}");
    }
}
