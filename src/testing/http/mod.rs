//! A small HTTP/1.1 server: a thread for each connection, keep-alive, chunked bodies both ways, no async runtime.

mod request;
mod response;

pub(super) use request::Request;
pub(super) use response::{Damage, Response, reason};

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What answers the requests.
pub(super) trait Service: Send + Sync + 'static {
    fn answer(&self, request: Request) -> Response;
}

/// A listening server. Dropping it cuts every connection, waits for its threads and frees the port.
pub(super) struct Server {
    address: SocketAddr,
    connections: Arc<Connections>,
    acceptor: Option<JoinHandle<()>>,
}

/// A connection that is open, and the thread that serves it.
struct Connection {
    stream: TcpStream,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Connections {
    closing: AtomicBool,
    last_id: AtomicU64,
    open: Mutex<HashMap<u64, Connection>>,
}

impl Server {
    /// Listens on `address`; port 0 takes a free one.
    pub(super) fn start(address: SocketAddr, service: Arc<dyn Service>) -> io::Result<Self> {
        let listener = bind(address)?;
        let address = listener.local_addr()?;
        let connections = Arc::new(Connections::default());
        let acceptor = {
            let connections = Arc::clone(&connections);
            thread::Builder::new()
                .name(format!("mock-master-{}", address.port()))
                .spawn(move || {
                    for stream in listener.incoming() {
                        if connections.closing.load(Ordering::SeqCst) {
                            break;
                        }
                        if let Ok(stream) = stream {
                            connections.serve(stream, &service);
                        }
                    }
                })?
        };
        Ok(Self {
            address,
            connections,
            acceptor: Some(acceptor),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts the connections that are open now; the server goes on listening.
    pub(super) fn cut_connections(&self) {
        for connection in self.connections.open().values() {
            // A connection that is closed already needs no cutting.
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.connections.closing.store(true, Ordering::SeqCst);
        // `accept` has no timeout: a connection of our own wakes it.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.cut_connections();
        let threads: Vec<_> = self.connections.open().drain().collect();
        for (_, connection) in threads {
            let _ = connection.thread.join();
        }
    }
}

impl Connections {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Connection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(self: &Arc<Self>, stream: TcpStream, service: &Arc<dyn Service>) {
        let Ok(serving) = stream.try_clone() else {
            return;
        };
        let id = self.last_id.fetch_add(1, Ordering::SeqCst);
        let mut open = self.open();
        let thread = {
            let connections = Arc::clone(self);
            let service = Arc::clone(service);
            thread::Builder::new()
                .name("mock-master-connection".into())
                .spawn(move || {
                    // A client that hangs up in the middle is no concern of the server.
                    let _ = converse(&serving, service.as_ref());
                    let _ = serving.shutdown(Shutdown::Both);
                    connections.open().remove(&id);
                })
        };
        if let Ok(thread) = thread {
            open.insert(id, Connection { stream, thread });
        }
    }
}

/// Reads requests and answers them until one side wants to close.
fn converse(stream: &TcpStream, service: &dyn Service) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut unread = Vec::new();
    loop {
        let request = match Request::read(stream, &mut unread)? {
            request::Read::Request(request) => request,
            request::Read::Closed => return Ok(()),
            request::Read::Malformed(why) => {
                return Response::text(400, why).send(stream, &response::Manner::closing());
            }
        };
        let manner = response::Manner::of(&request);
        service.answer(request).send(stream, &manner)?;
        if !manner.keep_alive {
            return Ok(());
        }
    }
}

/// A port that was just freed may take a moment to be free again.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let mut tries = 0;
    loop {
        match TcpListener::bind(address) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && address.port() != 0
                    && tries < 50 =>
            {
                tries += 1;
                thread::sleep(Duration::from_millis(20));
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    struct Echo;

    impl Service for Echo {
        fn answer(&self, request: Request) -> Response {
            let mut answer = format!("{} {}\n", request.method, request.path).into_bytes();
            answer.extend_from_slice(&request.body);
            if request.path == "/stream" {
                return Response::stream(200, "text/plain", move |out| {
                    for part in answer.chunks(4) {
                        out.write_all(part)?;
                        out.flush()?;
                    }
                    Ok(())
                });
            }
            let response = Response::bytes(200, "text/plain", answer);
            match request.path.as_str() {
                "/short" => response.damaged(Damage::Truncate(3)),
                "/cut" => response.damaged(Damage::Cut),
                _ => response,
            }
        }
    }

    fn server() -> Server {
        Server::start(([127, 0, 0, 1], 0).into(), Arc::new(Echo)).unwrap()
    }

    /// Sends raw bytes and reads until the server closes.
    fn exchange(server: &Server, raw: &[u8]) -> String {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(raw).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[test]
    fn requests_on_one_connection_are_answered_in_order() {
        let answer = exchange(
            &server(),
            b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhiGET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        let first = answer.find("POST /a\nhi").expect("the first answer");
        let second = answer.find("GET /b\n").expect("the second answer");
        assert!(first < second, "{answer}");
    }

    #[test]
    fn a_chunked_body_is_put_together() {
        let answer = exchange(
            &server(),
            b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n",
        );
        assert!(answer.ends_with("POST /a\nabc0123456789"), "{answer}");
    }

    #[test]
    fn a_stream_is_sent_in_chunks_with_an_end() {
        let answer = exchange(
            &server(),
            b"GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        assert!(answer.contains("transfer-encoding: chunked"), "{answer}");
        assert!(
            answer.ends_with("4\r\nGET \r\n4\r\n/str\r\n4\r\neam\n\r\n0\r\n\r\n"),
            "{answer}"
        );
    }

    #[test]
    fn a_client_that_waits_for_leave_to_send_its_body_gets_it() {
        let server = server();
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream
            .write_all(b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut leave = [0; 25];
        stream.read_exact(&mut leave).unwrap();
        assert_eq!(&leave, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"hi").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("POST /a\nhi"), "{answer}");
    }

    #[test]
    fn damage_is_what_the_client_sees() {
        let server = server();
        let short = exchange(&server, b"GET /short HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(short.contains("content-length: 11"), "{short}");
        assert!(short.ends_with("\r\n\r\nGET"), "{short}");
        assert_eq!(
            exchange(&server, b"GET /cut HTTP/1.1\r\nHost: x\r\n\r\n"),
            ""
        );
    }

    #[test]
    fn nonsense_is_refused_and_the_connection_closed() {
        let answer = exchange(&server(), b"what is this\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }

    #[test]
    fn a_dropped_server_frees_its_port_though_a_client_is_connected() {
        let server = server();
        let address = server.address();
        let _idle = TcpStream::connect(address).unwrap();
        drop(server);
        assert!(TcpStream::connect(address).is_err());
        Server::start(address, Arc::new(Echo)).unwrap();
    }
}
