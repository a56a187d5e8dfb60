//! A TCP connection on which every read and write has a time, and ends when it is cancelled.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::dial::{CANCEL_POLL, is_passing};
use super::proxy::AbsoluteForm;
use crate::cancel::{CancelToken, cancelled};

/// When a silent connection is probed, how often, and how many probes may go unanswered.
const KEEP_ALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 4);

pub(super) struct Socket {
    stream: TcpStream,
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

/// When a limit that begins now is over.
fn deadline(limit: Option<Duration>) -> Option<Instant> {
    limit.map(|after| Instant::now() + after)
}

#[derive(Clone, Copy)]
enum Direction {
    Read = 0,
    Write = 1,
}

impl Socket {
    /// Heads of requests are written in `absolute_form`, if there is one.
    pub(super) fn new(
        stream: TcpStream,
        cancel: Option<CancelToken>,
        absolute_form: Option<AbsoluteForm>,
    ) -> Self {
        let keep_alive = socket2::TcpKeepalive::new()
            .with_time(KEEP_ALIVE.0)
            .with_interval(KEEP_ALIVE.1);
        #[cfg(not(windows))]
        let keep_alive = keep_alive.with_retries(KEEP_ALIVE.2);
        // Where the system refuses either, connections work all the same.
        let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keep_alive);
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            timeouts: [None, None],
            cancel,
            absolute_form,
            before_request: true,
            peer_stopped_reading: false,
        }
    }

    /// Sends all of a request's next bytes. `TimedOut` if that takes longer than `limit`: a peer that does not read takes in a little all
    /// the same now and then.
    pub(super) fn send(&mut self, bytes: &[u8], limit: Option<Duration>) -> io::Result<()> {
        let is_head = std::mem::replace(&mut self.before_request, false);
        let rewritten = self.absolute_form.as_ref().filter(|_| is_head);
        let rewritten = rewritten.map(|form| form.rewrite(bytes));
        let deadline = deadline(limit);
        let mut rest = rewritten.as_deref().unwrap_or(bytes);
        while !rest.is_empty() && !self.peer_stopped_reading {
            match self.run(Direction::Write, deadline, |stream| stream.write(rest)) {
                Ok(n) => rest = &rest[n..],
                Err(error)
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

    /// Reads some of an answer, or nothing at its end. `TimedOut` if nothing comes within `limit`.
    pub(super) fn receive(
        &mut self,
        buffer: &mut [u8],
        limit: Option<Duration>,
    ) -> io::Result<usize> {
        self.before_request = true;
        self.run(Direction::Read, deadline(limit), |stream| {
            stream.read(buffer)
        })
    }

    /// Whether another request may be sent: the peer is there, and has said nothing unasked.
    pub(super) fn is_open(&self) -> bool {
        if self.peer_stopped_reading || self.stream.set_nonblocking(true).is_err() {
            return false;
        }
        let is_idle = matches!(self.stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        is_idle && self.stream.set_nonblocking(false).is_ok()
    }

    /// Runs one operation on the stream until the deadline, in short turns if it can be cancelled.
    fn run(
        &mut self,
        direction: Direction,
        deadline: Option<Instant>,
        mut operation: impl FnMut(&mut TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let turn = match &self.cancel {
                Some(token) if token.is_cancelled() => return Err(io::Error::other(cancelled())),
                Some(_) => Some(left.map_or(CANCEL_POLL, |left| left.min(CANCEL_POLL))),
                None => left,
            };
            self.set_timeout(direction, turn)?;
            match operation(&mut self.stream) {
                Err(error) if is_passing(&error) => {}
                result => return result,
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
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Socket").field(&self.stream).finish()
    }
}
