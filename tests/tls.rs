//! TLS against a real TLS server with certificates made for the test, and proxies on the way to it.

mod support;

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine;
use determined::{Determined, ErrorKind, Proxy};
use support::tls::{TlsMaster, authority};
use support::{LOGGED_IN, ME, RawMaster, Seen, json, options};

#[test]
fn the_right_authority_opens_the_door() {
    let master = TlsMaster::start("127.0.0.1", false);
    let client = Determined::new(master.options().cert_pem(master.authority.clone())).unwrap();
    client.whoami().unwrap();
}

#[test]
fn a_redirect_from_https_to_http_is_refused() {
    let master = TlsMaster::start("127.0.0.1", false);
    let options = master.options().cert_pem(master.authority.clone());
    let options = options.master(format!("{}/downgrade", master.url));
    let error = Determined::new(options).unwrap().whoami().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{error}");
    assert!(
        error.to_string().contains("from https to http://"),
        "{error}"
    );
    assert_eq!(master.names.lock().unwrap().len(), 2);
}

#[test]
fn the_authority_may_stand_in_a_file_or_in_the_environment() {
    let master = TlsMaster::start("127.0.0.1", false);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, &master.authority).unwrap();
    Determined::new(master.options().cert_path(&path)).unwrap();
    let environment = [("DET_MASTER_CERT_FILE", path.as_os_str())];
    Determined::new(master.options().environment(environment)).unwrap();
}

#[test]
fn a_strangers_certificate_is_refused_with_what_to_do() {
    let master = TlsMaster::start("127.0.0.1", false);
    let other = authority().pem();
    for options in [master.options(), master.options().cert_pem(other)] {
        let error = Determined::new(options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
        assert!(error.to_string().contains("cert_path"), "{error}");
    }
}

#[test]
fn a_certificate_for_another_name_is_refused_unless_that_name_is_given() {
    let master = TlsMaster::start("det.internal", false);
    let options = options(&master.url_as("localhost")).cert_pem(master.authority.clone());
    let error = Determined::new(options.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert!(error.to_string().contains("cert_name"), "{error}");

    Determined::new(options.clone().cert_name("det.internal")).unwrap();
    let (asked, host) = master.names.lock().unwrap()[0].clone();
    assert_eq!(asked.as_deref(), Some("localhost"));
    assert!(host.unwrap().starts_with("localhost:"));

    let error = Determined::new(options.cert_name("det.other")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
}

#[test]
fn an_expired_certificate_is_refused() {
    let master = TlsMaster::start("127.0.0.1", true);
    let error = Determined::new(master.options().cert_pem(master.authority.clone())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.to_string().contains("expired"), "{error}");
}

#[test]
fn noverify_takes_any_certificate() {
    let master = TlsMaster::start("det.internal", true);
    Determined::new(master.options().noverify(true)).unwrap();
    let environment = [("DET_MASTER_CERT_FILE", "noverify")];
    Determined::new(master.options().environment(environment)).unwrap();
}

#[test]
fn what_is_no_certificate_is_named_as_such() {
    let master = TlsMaster::start("127.0.0.1", false);
    let error = Determined::new(master.options().cert_pem("not a certificate")).unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    assert!(error.to_string().contains("PEM"), "{error}");
}

#[test]
fn https_to_a_plain_port_says_that_it_is_plain() {
    let master = RawMaster::start(|_, stream| json(stream, 200, ME));
    let error = Determined::new(options(&master.url.replace("http:", "https:"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert!(error.to_string().contains("http://"), "{error}");
}

/// A proxy that notes the heads of what it is asked, and serves both ways: whole URLs and tunnels.
fn proxy(target: &str) -> (String, Arc<Mutex<Vec<Seen>>>) {
    let target = target.split("://").last().unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (target, seen) = (target.clone(), Arc::clone(&seen));
            thread::spawn(move || {
                let mut upstream = TcpStream::connect(target).unwrap();
                let mut client = stream.try_clone().unwrap();
                let mut reader = BufReader::new(stream);
                while let Ok(Some(request)) = Seen::read(&mut reader) {
                    seen.lock().unwrap().push(request.clone());
                    if request.method == "CONNECT" {
                        client
                            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                            .unwrap();
                        let mut back = upstream.try_clone().unwrap();
                        thread::spawn(move || std::io::copy(&mut back, &mut client));
                        let _ = std::io::copy(&mut reader, &mut upstream);
                        return;
                    }
                    let body = if request.path().ends_with("login") {
                        LOGGED_IN
                    } else {
                        ME
                    };
                    json(&mut client, 200, body).unwrap();
                }
            });
        }
    });
    (address, heads)
}

#[test]
fn plain_http_goes_through_a_proxy_in_absolute_form() {
    let master = RawMaster::start(|_, stream| json(stream, 200, ME));
    let (address, heads) = proxy(&master.url);
    let environment = [("http_proxy", format!("http://me:se%20cret@{address}"))];
    let options = options("http://det.example:8080/prefix")
        .proxy(Proxy::Environment)
        .environment(environment);
    Determined::new(options).unwrap().whoami().unwrap();

    let heads = heads.lock().unwrap();
    let targets: Vec<_> = heads.iter().map(|seen| seen.target.as_str()).collect();
    assert_eq!(
        targets,
        [
            "http://det.example:8080/prefix/api/v1/auth/login",
            "http://det.example:8080/prefix/api/v1/me"
        ]
    );
    let basic = base64::prelude::BASE64_STANDARD.encode("me:se cret");
    for seen in heads.iter() {
        assert_eq!(seen.header("host"), Some("det.example:8080"));
        assert_eq!(
            seen.header("proxy-authorization"),
            Some(format!("Basic {basic}").as_str())
        );
    }
}

#[test]
fn https_goes_through_a_tunnel() {
    let master = TlsMaster::start("det.example", false);
    let (address, heads) = proxy(&master.url);
    let options = options("https://det.example:8443")
        .cert_pem(master.authority.clone())
        .proxy(Proxy::Url(format!("http://{address}")));
    Determined::new(options).unwrap().whoami().unwrap();
    let heads = heads.lock().unwrap();
    assert_eq!(heads.len(), 1);
    assert_eq!(
        (heads[0].method.as_str(), heads[0].target.as_str()),
        ("CONNECT", "det.example:8443")
    );
}

#[test]
fn a_proxy_that_refuses_a_tunnel_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
        }
    });
    let options = options("https://det.example").proxy(Proxy::Url(format!("http://{address}")));
    let error = Determined::new(options).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&address.to_string()) && text.contains("407"),
        "{text}"
    );
}

#[test]
fn loopback_is_reached_directly() {
    let master = RawMaster::start(|_, stream| json(stream, 200, ME));
    let environment = [
        ("http_proxy", "http://127.0.0.1:1"),
        ("HOME", "/nonexistent"),
    ];
    let options = master
        .login_options()
        .proxy(Proxy::Environment)
        .environment(environment);
    Determined::new(options).unwrap().whoami().unwrap();
}
