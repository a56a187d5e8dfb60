//! Submitting an experiment when something breaks on the way: never twice, never half, and never without saying whether it may exist.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use determined::testing::{Fault, MockMaster};
use determined::{CancelToken, CreateExperimentOptions, Determined, ErrorKind, ModelDefinition};
use serde_json::{Value, json};

use crate::support::{After, LOGGED_IN, RawMaster, answer, json as answer_json};

const EXPERIMENTS: &str = "/api/v1/experiments";
const MAY_EXIST: &str = "may have been created";

fn config() -> Value {
    json!({
        "name": "n", "entrypoint": "true",
        "searcher": {"name": "single", "metric": "loss", "max_length": 1}
    })
}

/// A directory with one file of this size.
fn directory(size: usize) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("big.bin"), vec![7; size]).unwrap();
    directory
}

/// A master that logs everybody in, and hands what comes next over unread: its head has just arrived.
fn taking(handler: impl Fn(TcpStream) + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (asked, handler) = (Arc::new(AtomicUsize::new(0)), Arc::new(handler));
    let counter = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (handler, counter) = (Arc::clone(&handler), Arc::clone(&counter));
            thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                loop {
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        if reader.read_line(&mut head).unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    if !head.contains("/api/v1/auth/login") {
                        counter.fetch_add(1, Ordering::SeqCst);
                        return handler(reader.into_inner());
                    }
                    let length = head.to_ascii_lowercase();
                    let length = length.split("content-length: ").nth(1).unwrap();
                    let length: usize = length.lines().next().unwrap().parse().unwrap();
                    reader.read_exact(&mut vec![0; length]).unwrap();
                    answer_json(reader.get_mut(), 200, LOGGED_IN).unwrap();
                }
            });
        }
    });
    (url, asked)
}

fn client(url: &str) -> Determined {
    let options = crate::support::options(url).read_timeout(Duration::from_secs(1));
    Determined::new(options).unwrap()
}

#[test]
fn whatever_breaks_after_the_last_byte_was_sent_the_experiment_may_exist() {
    type Break = fn(&mut TcpStream) -> std::io::Result<After>;
    let breaks: [(&str, Break); 9] = [
        ("500", |stream| {
            answer_json(stream, 500, r#"{"message":"database is gone"}"#)
        }),
        ("502", |stream| {
            answer(stream, 502, &[], b"<h1>Bad Gateway</h1>")
        }),
        ("503", |stream| {
            answer(stream, 503, &[("retry-after", "0")], b"")
        }),
        ("504", |stream| answer(stream, 504, &[], b"")),
        ("cut before the answer", |_| Ok(After::Close)),
        ("cut in the answer", |stream| {
            stream.write_all(
                b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{\"experiment\":{\"id\":1",
            )?;
            Ok(After::Close)
        }),
        ("no JSON", |stream| {
            answer(stream, 200, &[], b"<html>welcome</html>")
        }),
        ("no experiment in it", |stream| {
            answer_json(stream, 200, "{}")
        }),
        ("silence", |_| {
            thread::sleep(Duration::from_secs(5));
            Ok(After::Close)
        }),
    ];
    thread::scope(|scope| {
        for (name, breaking) in breaks {
            scope.spawn(move || {
                let master = RawMaster::start(move |_, stream| breaking(stream));
                let options = master
                    .login_options()
                    .read_timeout(Duration::from_millis(500));
                let client = Determined::new(options).unwrap();
                let directory = directory(100_000);
                let error = client
                    .create_experiment(config(), directory.path())
                    .unwrap_err();
                let text = error.to_string();
                assert!(
                    text.contains(MAY_EXIST) && text.contains(EXPERIMENTS),
                    "{name}: {text}"
                );
                assert_eq!(master.count(EXPERIMENTS), 1, "{name}");
            });
        }
    });
}

#[test]
fn a_master_that_refuses_has_created_nothing_and_no_error_claims_it_might() {
    for status in [400, 401, 403, 404, 409, 413, 422, 429] {
        let master =
            RawMaster::start(move |_, stream| answer_json(stream, status, r#"{"message":"no"}"#));
        let options = master.login_options().relogin(false);
        let client = Determined::new(options).unwrap();
        let error = client
            .create_experiment(config(), ModelDefinition::none())
            .unwrap_err();
        assert_eq!(error.status(), Some(status), "{error}");
        assert!(!error.to_string().contains(MAY_EXIST), "{error}");
        assert_eq!(master.count(EXPERIMENTS), 1);
    }
}

#[test]
fn a_submission_that_was_cut_on_its_way_is_not_sent_again() {
    let (url, asked) = taking(|stream| {
        // Unread bytes make this a reset.
        drop(stream);
    });
    let directory = directory(8 << 20);
    let error = client(&url)
        .create_experiment(config(), directory.path())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn a_master_that_stops_reading_is_a_timeout_and_not_a_hang() {
    let (url, asked) = taking(|_stream| thread::sleep(Duration::from_secs(30)));
    let directory = directory(16 << 20);
    let started = Instant::now();
    let error = client(&url)
        .create_experiment(config(), directory.path())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(!error.to_string().contains(MAY_EXIST), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn a_master_that_reads_at_a_drip_is_a_timeout_too() {
    let (url, asked) = taking(|mut stream| {
        let mut some = [0; 512];
        while stream.read(&mut some).is_ok_and(|n| n > 0) {
            thread::sleep(Duration::from_millis(100));
        }
    });
    let directory = directory(16 << 20);
    let error = client(&url)
        .create_experiment(config(), directory.path())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn cancelling_ends_a_submission_within_a_second() {
    let (url, _) = taking(|_stream| thread::sleep(Duration::from_secs(30)));
    let options = crate::support::options(&url);
    let client = Determined::new(options).unwrap();
    let directory = directory(16 << 20);
    let token = CancelToken::new();
    thread::scope(|scope| {
        let creation = scope.spawn(|| {
            let options = CreateExperimentOptions::new().cancel(&token);
            client.create_experiment_with(config(), directory.path(), options)
        });
        thread::sleep(Duration::from_millis(500));
        let cancelled = Instant::now();
        token.cancel();
        let error = creation.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
        assert!(cancelled.elapsed() < Duration::from_secs(15));
    });
}

#[test]
fn a_file_that_changes_while_it_is_sent_leaves_the_submission_without_an_end() {
    type Change = fn(&Path);
    let changes: [Change; 3] = [
        |file| fs::write(file, vec![7; 1000]).unwrap(),
        |file| fs::remove_file(file).unwrap(),
        |file| fs::write(file, vec![7; 9 << 20]).unwrap(),
    ];
    for change in changes {
        let is_complete = Arc::new(AtomicBool::new(false));
        let saw_end = Arc::clone(&is_complete);
        let (url, asked) = taking(move |mut stream| {
            let mut received = Vec::new();
            let _ = stream.read_to_end(&mut received);
            saw_end.store(received.ends_with(b"0\r\n\r\n"), Ordering::SeqCst);
        });
        let directory = directory(4 << 20);
        let last = directory.path().join("last.bin");
        fs::write(&last, vec![7; 4 << 20]).unwrap();
        let changed = AtomicBool::new(false);
        let options = CreateExperimentOptions::new().on_progress(move |progress| {
            if progress.bytes_done > 0 && !changed.swap(true, Ordering::SeqCst) {
                change(&last);
            }
        });
        let error = client(&url)
            .create_experiment_with(config(), directory.path(), options)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        let text = error.to_string();
        assert!(
            text.contains("last.bin") && !text.contains(MAY_EXIST),
            "{text}"
        );
        thread::sleep(Duration::from_millis(100));
        assert!(!is_complete.load(Ordering::SeqCst));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn an_expired_session_is_renewed_and_the_submission_sent_whole_once_more() {
    let master = MockMaster::start();
    let client = master.determined();
    master.expire_tokens();
    let directory = directory(3 << 20);
    let experiment = client
        .create_experiment(config(), directory.path())
        .unwrap();
    assert_eq!(client.list_experiments().unwrap().len(), 1);
    assert_eq!(experiment.name, "n");
    let sent = master.requests();
    let bodies: Vec<usize> = sent
        .iter()
        .filter(|request| request.path == EXPERIMENTS && request.method == "POST")
        .map(|request| request.body.len())
        .collect();
    assert_eq!(bodies.len(), 2);
    assert_eq!(bodies[0], bodies[1]);
}

#[test]
fn what_was_created_though_the_answer_was_lost_can_be_found() {
    let master = MockMaster::start();
    let client = master.determined();
    master.fault("POST /api/v1/experiments", Fault::Cut, 1);
    let error = client
        .create_experiment(config(), ModelDefinition::none())
        .unwrap_err();
    assert!(error.to_string().contains(MAY_EXIST), "{error}");
    assert_eq!(client.list_experiments().unwrap().len(), 1);

    master.fault("POST /api/v1/experiments", Fault::Refuse, 1);
    let error = client
        .create_experiment(config(), ModelDefinition::none())
        .unwrap_err();
    assert!(error.to_string().contains(MAY_EXIST), "{error}");
    assert_eq!(client.list_experiments().unwrap().len(), 1);
}

#[test]
fn a_connection_that_died_while_idle_costs_no_submission() {
    let master = RawMaster::start_bare(|seen, stream| {
        let body = match seen.path() {
            "/api/v1/auth/login" => LOGGED_IN,
            _ => r#"{"experiment":{"id":7}}"#,
        };
        answer_json(stream, 200, body)?;
        Ok(After::Close)
    });
    let client = master.client();
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(20));
        let experiment = client.create_experiment(config(), ModelDefinition::none());
        assert_eq!(experiment.unwrap().id, 7);
    }
    assert_eq!(master.count(EXPERIMENTS), 5);
}
