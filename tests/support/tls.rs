//! A master that speaks TLS, with a certificate made for the test.

use std::io::BufReader;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use determined::LoginOptions;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{LOGGED_IN, ME, Seen, answer, json, options};

/// For each request, the name that the client asked for in the handshake, and its Host header.
pub type Names = Vec<(Option<String>, Option<String>)>;

/// An authority, as PEM text, and a master whose certificate it signed.
pub struct TlsMaster {
    pub url: String,
    pub authority: String,
    pub names: Arc<Mutex<Names>>,
}

impl TlsMaster {
    /// A master at 127.0.0.1 whose certificate is for `name`.
    pub fn start(name: &str, expired: bool) -> Self {
        let authority = authority();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        if expired {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let names = Arc::new(Mutex::new(Vec::new()));
        let (config, seen) = (Arc::new(config), Arc::clone(&names));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, seen) = (Arc::clone(&config), Arc::clone(&seen));
                thread::spawn(move || serve_tls(stream, config, &seen));
            }
        });
        let authority = authority.pem();
        Self {
            url,
            authority,
            names,
        }
    }

    /// The URL with a host name instead of the address.
    pub fn url_as(&self, host: &str) -> String {
        self.url.replace("127.0.0.1", host)
    }

    pub fn options(&self) -> LoginOptions {
        options(&self.url)
    }
}

pub fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn serve_tls(stream: TcpStream, config: Arc<ServerConfig>, names: &Mutex<Names>) {
    let tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let mut reader = BufReader::new(tls);
    while let Ok(Some(seen)) = Seen::read(&mut reader) {
        let asked = reader.get_ref().conn.server_name().map(str::to_owned);
        names
            .lock()
            .unwrap()
            .push((asked, seen.header("host").map(str::to_owned)));
        let stream = reader.get_mut();
        let answered = match seen.path() {
            path if path.ends_with("login") => json(stream, 200, LOGGED_IN),
            "/downgrade/api/v1/me" => {
                let plain = format!("http://{}/", seen.header("host").unwrap_or_default());
                answer(stream, 302, &[("location", &plain)], b"")
            }
            _ => json(stream, 200, ME),
        };
        if answered.is_err() {
            break;
        }
    }
}
