//! Logs that are followed while the master says odd things, goes away, or comes back as another.

use std::io::Read;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use determined::testing::{Clock, MockMaster, MockMasterOptions};
use determined::{Determined, Error, ErrorKind, LogEntries, LogOptions, ModelDefinition, Trial};
use serde_json::json;

use crate::hasty;
use crate::support::{After, RawMaster, answer, chunk, json as answer_json, start_chunked};

const LOGS: &str = "/api/v1/trials/1/logs";
const METRICS: &str = "/api/v1/trials/metrics/trial_metrics";

/// A master with trial 1, whose first, second … stream is what `stream` makes of it, the number being given.
fn master(
    stream: impl Fn(usize, &mut TcpStream) -> std::io::Result<After> + Send + Sync + 'static,
) -> RawMaster {
    let asked = AtomicUsize::new(0);
    RawMaster::start(move |seen, to| match seen.path() {
        LOGS | METRICS => stream(asked.fetch_add(1, Ordering::SeqCst), to),
        _ => answer_json(to, 200, r#"{"trial":{"id":1,"state":"STATE_RUNNING"}}"#),
    })
}

fn trial(master: &RawMaster) -> Trial {
    hasty(master).get_trial(1).unwrap()
}

fn follow(trial: &Trial) -> LogEntries {
    trial.logs_with(LogOptions::new().follow(true)).unwrap()
}

fn texts(entries: LogEntries) -> Result<Vec<String>, Error> {
    entries
        .map(|entry| entry.map(|entry| entry.log().to_owned()))
        .collect()
}

fn line(id: usize) -> String {
    let entry = json!({
        "id": id.to_string(), "timestamp": "2026-11-23T20:20:20.5Z", "log": format!("{id}\n"),
        "message": format!("[2026-11-23T20:20:20.5Z] || {id}\n")
    });
    format!("{}\n", json!({ "result": entry }))
}

/// A stream of these lines that ends as it should.
fn whole(stream: &mut TcpStream, lines: &[String]) -> std::io::Result<After> {
    start_chunked(stream)?;
    chunk(stream, lines.concat().as_bytes())?;
    chunk(stream, b"")?;
    Ok(After::KeepOpen)
}

/// A stream that is cut after these lines.
fn cut(stream: &mut TcpStream, lines: &[String]) -> std::io::Result<After> {
    start_chunked(stream)?;
    chunk(stream, lines.concat().as_bytes())?;
    Ok(After::Close)
}

fn failed(status: u16, message: &str) -> String {
    let error = json!({"grpcCode": 2, "httpCode": status, "message": message, "httpStatus": "?"});
    format!("{}\n", json!({ "error": error }))
}

#[test]
fn a_session_that_is_said_to_be_over_within_a_stream_is_renewed_once() {
    let master = master(|n, stream| match n {
        0 => whole(stream, &[line(0), failed(401, "expired")]),
        1 => whole(stream, &[line(0), line(1), failed(401, "expired")]),
        _ => whole(stream, &[line(0), line(1), failed(401, "really expired")]),
    });
    let mut entries = follow(&trial(&master));
    for id in ["0", "1"] {
        assert_eq!(entries.next().unwrap().unwrap().id(), Some(id));
    }
    let error = entries.next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    assert_eq!(error.server_message(), Some("really expired"));
    assert!(entries.next().is_none());
    assert_eq!(master.count(LOGS), 3);
}

#[test]
fn what_the_master_refuses_within_a_stream_ends_it_at_once() {
    for (status, kind) in [
        (404, ErrorKind::NotFound),
        (403, ErrorKind::Forbidden),
        (400, ErrorKind::Api),
        (500, ErrorKind::Api),
    ] {
        let master = master(move |_, stream| whole(stream, &[line(0), failed(status, "trial 1")]));
        let items: Vec<_> = follow(&trial(&master)).collect();
        assert_eq!(items.len(), 2, "{status}");
        assert_eq!(items[1].as_ref().unwrap_err().kind(), kind, "{status}");
        assert_eq!(master.count(LOGS), 1);
    }
}

#[test]
fn a_line_that_makes_no_sense_is_an_error_when_it_comes_again() {
    for bad in [r#"{"result":7}"#, r#"{"heartbeat":1}"#, "nonsense", "[1]"] {
        let stays = master(move |_, stream| whole(stream, &[line(0), format!("{bad}\n"), line(1)]));
        let mut entries = follow(&trial(&stays));
        assert_eq!(entries.next().unwrap().unwrap().id(), Some("0"));
        let error = entries.next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{bad}: {error}");
        assert!(entries.next().is_none());
        assert_eq!(stays.count(LOGS), 2, "{bad}");

        let passes = master(move |n, stream| match n {
            0 => whole(stream, &[line(0), format!("{bad}\n"), line(1)]),
            _ => whole(stream, &[line(0), line(1)]),
        });
        assert_eq!(
            texts(follow(&trial(&passes))).unwrap(),
            ["0\n", "1\n"],
            "{bad}"
        );
    }
}

#[test]
fn lines_that_are_alike_and_have_no_ids_come_as_often_as_they_were_written() {
    let tick = |n: usize| {
        vec!["{\"result\":{\"log\":\"tick\\n\",\"message\":\"tick\\n\"}}\n".to_owned(); n]
    };
    let master = master(move |n, stream| match n {
        0 => cut(stream, &tick(3)),
        1 => cut(stream, &tick(2)),
        2 => cut(stream, &tick(5)),
        _ => whole(stream, &tick(7)),
    });
    assert_eq!(texts(follow(&trial(&master))).unwrap(), ["tick\n"; 7]);
}

#[test]
fn a_long_log_without_times_and_ids_comes_whole_and_once() {
    let line = |n: usize| {
        format!(
            "{}\n",
            json!({"result": {"log": format!("{n}\n"), "message": format!("{n}\n")}})
        )
    };
    let lines: Vec<String> = (0..3000).map(line).collect();
    let master = master(move |stream, to| match stream {
        0 => cut(to, &lines[..2000]),
        1 => cut(to, &lines[..2500]),
        _ => whole(to, &lines),
    });
    let expected: Vec<String> = (0..3000).map(|n| format!("{n}\n")).collect();
    assert_eq!(texts(follow(&trial(&master))).unwrap(), expected);
}

#[test]
fn a_next_stream_that_never_begins_is_an_outage_and_not_the_end_of_the_log() {
    let master = master(|n, stream| match n {
        0 => cut(stream, &[line(0)]),
        // Silent until the client gives up.
        1..=2 => stream.read(&mut [0]).map(|_| After::Close),
        _ => whole(stream, &[line(0), line(1)]),
    });
    let options = master
        .login_options()
        .read_timeout(Duration::from_millis(200));
    let trial = Determined::new(options).unwrap().get_trial(1).unwrap();
    assert_eq!(texts(follow(&trial)).unwrap(), ["0\n", "1\n"]);
    assert_eq!(master.count(LOGS), 4);
}

#[test]
fn a_master_that_fails_while_it_comes_back_is_waited_out() {
    let master = master(|n, stream| match n {
        0 => cut(stream, &[line(0)]),
        1 => answer_json(
            stream,
            500,
            r#"{"message":"the database system is starting up"}"#,
        ),
        _ => whole(stream, &[line(0), line(1)]),
    });
    assert_eq!(texts(follow(&trial(&master))).unwrap(), ["0\n", "1\n"]);
}

#[test]
fn an_empty_page_of_a_gateway_is_neither_the_end_of_a_log_nor_an_empty_one() {
    type Page = fn(&mut TcpStream) -> std::io::Result<After>;
    let pages: [Page; 4] = [
        |stream| answer(stream, 200, &[("content-type", "text/html")], b""),
        |stream| answer(stream, 200, &[("content-type", "text/plain")], b" \n\n"),
        // The head alone.
        |stream| start_chunked(stream).map(|()| After::Close),
        |stream| answer_json(stream, 200, ""),
    ];
    for (n, page) in pages.into_iter().enumerate() {
        let resumed = master(move |n, stream| match n {
            0 => cut(stream, &[line(0)]),
            1 => page(stream),
            _ => whole(stream, &[line(0), line(1)]),
        });
        let lines = texts(follow(&trial(&resumed))).unwrap();
        assert_eq!(lines, ["0\n", "1\n"], "page {n}");

        let plain = master(move |_, stream| page(stream));
        let read = texts(trial(&plain).logs().unwrap());
        let metrics = trial(&plain).iter_metrics("training").unwrap().next();
        if n < 3 {
            assert!(read.is_err() && metrics.unwrap().is_err(), "page {n}");
        } else {
            // This is how a master says that a log is empty.
            assert!(read.unwrap().is_empty() && metrics.is_none());
        }
    }
}

#[test]
fn a_page_in_the_place_of_a_log_is_an_error_at_once_though_it_is_followed() {
    let page = [("content-type", "text/html")];
    let master = master(move |_, stream| answer(stream, 200, &page, b"<html>Sign in</html>"));
    let error = texts(follow(&trial(&master))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{error}");
    let text = error.to_string();
    assert!(text.contains(LOGS), "{text}");
    assert!(
        text.contains("not the answer of a Determined master"),
        "{text}"
    );
    assert_eq!(master.count(LOGS), 1);
}

#[test]
fn a_trial_that_is_gone_when_the_master_is_back_is_not_found() {
    let master = master(|n, stream| match n {
        0 => cut(stream, &[line(0)]),
        _ => answer_json(stream, 404, r#"{"error":{"error":"trial 1 not found"}}"#),
    });
    let items: Vec<_> = follow(&trial(&master)).collect();
    assert_eq!(items.len(), 2);
    assert!(items[1].as_ref().unwrap_err().is_not_found());
}

#[test]
fn a_trial_that_ends_while_the_master_is_away_is_followed_to_its_end() {
    let master = MockMaster::start_with(MockMasterOptions::new().clock(Clock::Manual));
    let config = json!({
        "name": "n", "entrypoint": "true",
        "searcher": {"name": "single", "metric": "loss", "max_length": 1}
    });
    let client = master.determined();
    let experiment = client
        .create_experiment(config, ModelDefinition::none())
        .unwrap();
    let trial = loop {
        master.step();
        if let Some(trial) = experiment.get_trials().unwrap().pop()
            && trial.logs().unwrap().count() > 0
        {
            break trial;
        }
    };
    let (give, given) = mpsc::channel();
    thread::scope(|scope| {
        let trial = &trial;
        scope.spawn(move || {
            for entry in follow(trial) {
                give.send(entry.unwrap().message().to_owned()).unwrap();
            }
        });
        // The stream is open.
        let mut followed = vec![given.recv().unwrap()];
        master.stop();
        while master.step() {}
        master.restart();
        followed.extend(given);
        let all: Vec<String> = trial
            .logs()
            .unwrap()
            .map(|entry| entry.unwrap().message().to_owned())
            .collect();
        assert_eq!(followed, all);
        assert!(all.len() > 1);
    });
}

#[test]
fn a_compressed_log_that_is_cut_is_an_error_and_what_came_before_is_given() {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(line(0).as_bytes()).unwrap();
    encoder.flush().unwrap();
    encoder.write_all(line(1).as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let sent = Arc::new(Mutex::new(packed.len()));
    let length = Arc::clone(&sent);
    let master = master(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n")?;
        stream.write_all(&packed[..*length.lock().unwrap()])?;
        Ok(After::Close)
    });
    let trial = trial(&master);
    assert_eq!(texts(trial.logs().unwrap()).unwrap(), ["0\n", "1\n"]);
    *sent.lock().unwrap() -= 12;
    let mut entries = trial.logs().unwrap();
    assert_eq!(entries.next().unwrap().unwrap().id(), Some("0"));
    let error = entries.next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
}
