//! The session against a master that misbehaves: retries, timeouts, redirects, expired tokens, and secrets that must not show.

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use determined::{Determined, ErrorKind};
use support::{After, LOGGED_IN, ME, RawMaster, answer, json};

const UNAUTHENTICATED: &str =
    r#"{"error":{"code":16,"reason":"Unauthenticated","error":"invalid credentials"}}"#;
const EXPERIMENT: &str =
    r#"{"experiment":{"id":1,"state":"STATE_COMPLETED","name":"n","config":{}}}"#;

#[test]
fn login_sends_the_hashed_password_and_later_calls_the_token() {
    let master = RawMaster::start(|_, stream| json(stream, 200, ME));
    let options = master.login_options().user_agent_suffix("my-script/1.0");
    let client = Determined::new(options).unwrap();
    assert_eq!(client.get_session_username(), "kim");
    client.whoami().unwrap();

    let seen = master.requests();
    assert_eq!(
        (seen[0].method.as_str(), seen[0].path()),
        ("POST", "/api/v1/auth/login")
    );
    assert_eq!(seen[0].header("authorization"), None);
    let body = seen[0].json();
    assert_eq!(
        (&body["username"], &body["isHashed"]),
        (&"kim".into(), &true.into())
    );
    assert_eq!(body["password"].as_str().unwrap().len(), 128);
    assert_eq!(
        seen[1].header("authorization"),
        Some("Bearer secret-token-1")
    );
    let agent = format!(
        "determined-rust/{} my-script/1.0",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(seen[1].header("user-agent"), Some(agent.as_str()));
}

#[test]
fn a_wrong_password_fails_once_and_says_what_the_master_said() {
    let master = RawMaster::start_bare(|_, stream| json(stream, 401, UNAUTHENTICATED));
    let error = Determined::new(master.login_options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert_eq!(
        (error.status(), error.server_message()),
        (Some(401), Some("invalid credentials"))
    );
    assert_eq!(master.requests().len(), 1);
}

#[test]
fn a_get_outlives_a_storm_of_503_and_a_post_does_not_try_again() {
    let asked = AtomicUsize::new(0);
    let master = RawMaster::start(move |seen, stream| match seen.method.as_str() {
        "GET" if asked.fetch_add(1, Ordering::SeqCst) >= 2 => json(stream, 200, EXPERIMENT),
        _ => json(stream, 503, r#"{"message":"busy"}"#),
    });
    let client = master.client();
    let experiment = client.get_experiment(1).unwrap();
    assert_eq!(master.count("/api/v1/experiments/1"), 3);

    let error = experiment.kill().unwrap_err();
    assert_eq!(
        (error.status(), error.server_message()),
        (Some(503), Some("busy"))
    );
    assert!(error.is_transient());
    assert_eq!(master.count("/api/v1/experiments/1/kill"), 1);
}

#[test]
fn a_wish_to_be_asked_later_is_granted() {
    let asked = AtomicUsize::new(0);
    let master = RawMaster::start(
        move |_, stream| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => answer(stream, 429, &[("retry-after", "1")], b"slow down"),
            _ => json(stream, 200, ME),
        },
    );
    let client = master.client();
    let started = Instant::now();
    client.whoami().unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_get_whose_connection_was_cut_is_sent_again_and_a_post_is_not() {
    let asked = AtomicUsize::new(0);
    let master = RawMaster::start(move |seen, stream| match seen.method.as_str() {
        "GET" if asked.fetch_add(1, Ordering::SeqCst) > 0 => json(stream, 200, EXPERIMENT),
        _ => Ok(After::Close),
    });
    let client = master.client();
    let experiment = client.get_experiment(1).unwrap();
    assert_eq!(master.count("/api/v1/experiments/1"), 2);
    let error = experiment.kill().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert_eq!(master.count("/api/v1/experiments/1/kill"), 1);
}

#[test]
fn an_answer_that_breaks_off_is_an_error() {
    let master = RawMaster::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"user\":")?;
        Ok(After::Close)
    });
    let options = master.login_options().retries(0);
    let error = Determined::new(options).unwrap().whoami().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
}

#[test]
fn a_master_that_is_not_there_is_reported_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let options = crate::support::options(&url);
    let started = Instant::now();
    let error = Determined::new(options).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(error.kind(), ErrorKind::MasterNotFound);
    assert!(error.to_string().contains(&url), "{error}");
}

#[test]
fn a_silent_master_is_an_error_after_one_read_timeout() {
    let master = RawMaster::start(|_, _| {
        thread::sleep(Duration::from_secs(20));
        Ok(After::Close)
    });
    let options = master
        .login_options()
        .read_timeout(Duration::from_millis(300));
    let client = Determined::new(options).unwrap();
    let started = Instant::now();
    let error = client.whoami().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[test]
fn an_answer_that_drips_is_read_to_its_end() {
    let master = RawMaster::start(|_, stream| {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
            ME.len()
        )?;
        for piece in ME.as_bytes().chunks(12) {
            thread::sleep(Duration::from_millis(100));
            stream.write_all(piece)?;
        }
        Ok(After::KeepOpen)
    });
    let options = master
        .login_options()
        .read_timeout(Duration::from_millis(400));
    Determined::new(options).unwrap().whoami().unwrap();
}

#[test]
fn an_expired_session_logs_in_again_once() {
    let master = RawMaster::start_bare({
        let logins = AtomicUsize::new(0);
        move |seen, stream| match (seen.path(), seen.header("authorization")) {
            ("/api/v1/auth/login", _) => {
                let n = logins.fetch_add(1, Ordering::SeqCst) + 1;
                json(
                    stream,
                    200,
                    &LOGGED_IN.replace("token-1", &format!("token-{n}")),
                )
            }
            (_, Some("Bearer secret-token-2")) => json(stream, 200, ME),
            _ => json(stream, 401, UNAUTHENTICATED),
        }
    });
    let client = master.client();
    thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| client.whoami())).collect();
        for call in calls {
            call.join().unwrap().unwrap();
        }
    });
    assert_eq!(master.count("/api/v1/auth/login"), 2);
}

#[test]
fn an_expired_session_without_a_password_names_login() {
    let master = RawMaster::start(|_, stream| json(stream, 401, UNAUTHENTICATED));
    let client = Determined::new(master.login_options().relogin(false)).unwrap();
    let error = client.whoami().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.to_string().contains("login()"), "{error}");
    assert_eq!(master.count("/api/v1/auth/login"), 1);
}

#[test]
fn the_token_stays_at_home_when_a_call_is_redirected() {
    let elsewhere = RawMaster::start(|_, stream| json(stream, 200, ME));
    let away = elsewhere.url.clone();
    let master = RawMaster::start(move |seen, stream| match seen.path() {
        "/api/v1/me" => answer(stream, 302, &[("location", "/moved")], b""),
        _ => answer(stream, 302, &[("location", &format!("{away}/me"))], b""),
    });
    master.client().whoami().unwrap();
    assert!(master.requests()[2].header("authorization").is_some());
    assert_eq!(elsewhere.requests()[0].header("authorization"), None);
}

#[test]
fn a_redirect_without_end_is_an_error() {
    let master =
        RawMaster::start(|_, stream| answer(stream, 302, &[("location", "/api/v1/me")], b""));
    let error = master.client().whoami().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse);
}

#[test]
fn a_redirected_post_is_refused_and_not_sent_elsewhere() {
    let master = RawMaster::start(|seen, stream| match seen.method.as_str() {
        "GET" => json(stream, 200, EXPERIMENT),
        _ => answer(stream, 301, &[("location", "/other")], b""),
    });
    let error = master
        .client()
        .get_experiment(1)
        .unwrap()
        .kill()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse);
    assert_eq!(master.count("/other"), 0);
}

#[test]
fn a_page_of_html_is_not_taken_for_a_masters_answer() {
    let master = RawMaster::start(|_, stream| {
        answer(
            stream,
            200,
            &[("content-type", "text/html")],
            b"<html>Sign in</html>",
        )
    });
    let error = master.client().whoami().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse);
    let text = error.to_string();
    assert!(
        text.contains("/api/v1/me") && text.contains("not the answer of a Determined master"),
        "{text}"
    );
}

#[test]
fn an_answer_of_odd_bytes_or_depth_is_an_error() {
    for body in [
        b"\xff\xfe\x00".to_vec(),
        [b"{\"user\":".to_vec(), vec![b'['; 100_000]].concat(),
        b"{}".to_vec(),
        b"[]".to_vec(),
        Vec::new(),
    ] {
        let master = RawMaster::start(move |_, stream| answer(stream, 200, &[], &body));
        let error = master.client().whoami().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidResponse);
    }
}

#[test]
fn connections_are_used_again() {
    let master = RawMaster::start(|_, stream| json(stream, 200, ME));
    let ports = Mutex::new(std::collections::BTreeSet::new());
    let counting = {
        let url = master.url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                ports.lock().unwrap().insert(stream.peer_addr().unwrap());
                assert_eq!(ports.lock().unwrap().len(), 1, "a second connection");
                let upstream = std::net::TcpStream::connect(&url).unwrap();
                let (mut a, mut b) = (stream.try_clone().unwrap(), upstream.try_clone().unwrap());
                thread::spawn(move || std::io::copy(&mut a, &mut b));
                let (mut a, mut b) = (upstream, stream);
                thread::spawn(move || std::io::copy(&mut a, &mut b));
            }
        });
        address
    };
    let options = master
        .login_options()
        .master(format!("http://{counting}"))
        .retries(0);
    let client = Determined::new(options).unwrap();
    for _ in 0..10 {
        client.whoami().unwrap();
    }
    // Refusals leave the connection usable too.
    assert_eq!(master.requests().len(), 11);
}

#[test]
fn logging_out_revokes_the_token_and_ends_the_client() {
    let master = RawMaster::start(|_, stream| json(stream, 200, "{}"));
    let client = master.client();
    client.clone().logout().unwrap();
    let seen = master.requests();
    assert_eq!(
        (seen[1].method.as_str(), seen[1].path()),
        ("POST", "/api/v1/auth/logout")
    );
    assert_eq!(
        seen[1].header("authorization"),
        Some("Bearer secret-token-1")
    );
    let error = client.whoami().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    client.logout().unwrap();
    assert_eq!(master.requests().len(), 2);
}

#[test]
fn no_secret_shows_in_errors_debug_output_or_logs() {
    static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
    struct Collector;
    impl log::Log for Collector {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            LINES
                .lock()
                .unwrap()
                .push(format!("{}: {}", record.target(), record.args()));
        }
        fn flush(&self) {}
    }
    log::set_logger(&Collector).unwrap();
    log::set_max_level(log::LevelFilter::Trace);

    let master = RawMaster::start(|_, stream| json(stream, 401, UNAUTHENTICATED));
    let options = master.login_options().password("Hush-Passw0rd");
    let mut shown = vec![format!("{options:?}")];
    let client = Determined::new(options).unwrap();
    let error = client.whoami().unwrap_err();
    shown.push(format!("{client:?} {error} {error:?}"));
    shown.append(&mut LINES.lock().unwrap());
    assert!(
        shown.iter().any(|line| line.contains("GET /api/v1/me")),
        "the calls are logged"
    );
    for line in shown {
        for secret in ["Hush-Passw0rd", "secret-token"] {
            assert!(!line.contains(secret), "{line}");
        }
    }
}
#[test]
fn an_early_refusal_of_an_upload_is_reported_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 4096];
            let n = stream.read(&mut head).unwrap_or(0);
            if String::from_utf8_lossy(&head[..n]).contains("auth/login") {
                // The login's body may follow its head.
                let _ = json(&mut stream, 200, LOGGED_IN);
            } else {
                let _ = json(&mut stream, 413, r#"{"message":"request too large"}"#);
            }
        }
    });
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("big.bin"), vec![7; 8 << 20]).unwrap();
    let options = crate::support::options(&url);
    let client = Determined::new(options).unwrap();
    let config = serde_json::json!({"name": "n"});
    let error = client
        .create_experiment(config, directory.path())
        .unwrap_err();
    assert_eq!(
        (error.status(), error.server_message()),
        (Some(413), Some("request too large")),
        "{error}"
    );
}
