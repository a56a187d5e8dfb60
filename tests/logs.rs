//! Logs: the right entries, each once, and never a short log that looks whole.

mod support;

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use determined::{
    CancelToken, ErrorKind, LogEntries, LogEntry, LogLevel, LogOptions, Result, Timestamp, Trial,
};
use serde_json::json;
use support::{After, RawMaster, Seen, answer, chunk, json as json_answer, start_chunked};

const LOGS: &str = "/api/v1/trials/1/logs";

/// The line of entry `n`, which was written at second `second`.
fn line(n: usize, second: i64) -> String {
    let time = Timestamp::from_second(1_800_000_000 + second).unwrap();
    let entry = json!({
        "id": format!("id-{n}"),
        "timestamp": time.to_string(),
        "message": format!("[{time}] || entry {n}\n"),
        "level": "LOG_LEVEL_UNSPECIFIED",
        "trialId": 1,
        "log": format!("entry {n}\n"),
    });
    format!("{}\n", json!({"result": entry}))
}

/// A master with one trial, whose log is what `logs` makes of the request and its number.
fn master(
    state: &'static str,
    logs: impl Fn(usize, &Seen, &mut TcpStream) -> io::Result<After> + Send + Sync + 'static,
) -> RawMaster {
    let count = AtomicUsize::new(0);
    RawMaster::start(move |seen, stream| match seen.path() {
        LOGS => logs(count.fetch_add(1, Ordering::SeqCst), seen, stream),
        _ => {
            let trial = json!({"trial": {"id": 1, "experimentId": 1, "state": state}});
            json_answer(stream, 200, &trial.to_string())
        }
    })
}

fn trial(master: &RawMaster) -> Trial {
    master.client().get_trial(1).unwrap()
}

fn follow() -> LogOptions {
    LogOptions::new().follow(true)
}

fn texts(entries: LogEntries) -> Result<Vec<String>> {
    entries
        .map(|entry| entry.map(|entry| entry.log().trim_end().to_owned()))
        .collect()
}

fn expected(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("entry {n}")).collect()
}

/// The value of a parameter.
fn parameter(seen: &Seen, name: &str) -> Option<String> {
    let query = seen.target.split_once('?')?.1;
    let found = query
        .split('&')
        .find_map(|pair| pair.strip_prefix(&format!("{name}=")))?;
    Some(found.replace("%3A", ":"))
}

/// Those of the entries, each written at its second, that were written after the time which the request names.
fn wanted(seen: &Seen, seconds: &[i64]) -> Vec<String> {
    let after: Option<Timestamp> =
        parameter(seen, "timestampAfter").map(|time| time.parse().unwrap());
    let is_wanted = |second: i64| {
        after.is_none_or(|after| Timestamp::from_second(1_800_000_000 + second).unwrap() > after)
    };
    seconds
        .iter()
        .enumerate()
        .filter(|(_, second)| is_wanted(**second))
        .map(|(n, second)| line(n, *second))
        .collect()
}

/// Breaks a stream off after so many bytes of what it would have sent.
fn send_cut(stream: &mut TcpStream, body: &str, at: usize) -> io::Result<After> {
    start_chunked(stream)?;
    if at > 0 {
        chunk(stream, &body.as_bytes()[..at.min(body.len())])?;
    }
    Ok(After::Close)
}

fn send_whole(stream: &mut TcpStream, body: &str) -> io::Result<After> {
    start_chunked(stream)?;
    if !body.is_empty() {
        chunk(stream, body.as_bytes())?;
    }
    chunk(stream, b"")?;
    Ok(After::KeepOpen)
}

#[test]
fn a_followed_log_that_is_cut_anywhere_is_whole_and_without_repetition() {
    // Times stand still, go back and jump.
    let seconds: Vec<i64> = (0..60)
        .map(|n| [n, 5, n - 30, 2 * n][n as usize % 4])
        .collect();
    let master = master("RUNNING", move |n, seen, stream| {
        let body = wanted(seen, &seconds).concat();
        match n {
            // Further and further, between lines and within them, and once before anything new.
            0..=24 => send_cut(stream, &body, n * 433),
            _ => send_whole(stream, &body),
        }
    });
    let seen = texts(trial(&master).logs_with(follow()).unwrap()).unwrap();
    assert_eq!(seen, expected(60));
    assert_eq!(master.count(LOGS), 26);
    let request = master.requests().pop().unwrap();
    assert_eq!(request.header("accept-encoding"), Some("identity"));
}

#[test]
fn a_long_log_is_resumed_near_its_end_even_if_all_of_it_was_written_at_once() {
    let count = 5000;
    for spread in [0, 1] {
        let seconds: Vec<i64> = (0..count).map(|n| n * spread).collect();
        let master = master("RUNNING", move |n, seen, stream| {
            let body = wanted(seen, &seconds).concat();
            match n {
                0 => send_cut(stream, &body, body.len() * 3 / 4),
                _ => send_whole(stream, &body),
            }
        });
        let seen = texts(trial(&master).logs_with(follow()).unwrap()).unwrap();
        assert_eq!(seen, expected(count as usize));
        let resumed = master.requests().pop().unwrap();
        assert!(parameter(&resumed, "timestampAfter").is_some());
    }
}

#[test]
fn an_entry_that_arrives_late_is_not_lost() {
    // The last entry was written a minute before those that were given out already, and arrived while the stream was cut.
    let seconds: Vec<i64> = (0..3000).chain([2940]).collect();
    let master = master("RUNNING", move |n, seen, stream| {
        let lines = wanted(seen, &seconds);
        match n {
            0 => send_cut(stream, &lines[..3000].concat(), usize::MAX),
            _ => send_whole(stream, &lines.concat()),
        }
    });
    let seen = texts(trial(&master).logs_with(follow()).unwrap()).unwrap();
    assert_eq!(seen, expected(3001));
}

#[test]
fn a_restart_of_the_master_is_waited_out() {
    let unavailable = r#"{"error":{"grpcCode":14,"httpCode":503,"message":"the server is closing","httpStatus":"Service Unavailable"}}"#;
    let master = master("RUNNING", move |n, _, stream| match n {
        0 => {
            start_chunked(stream)?;
            chunk(stream, line(0, 0).as_bytes())?;
            chunk(stream, unavailable.as_bytes())?;
            chunk(stream, b"")?;
            Ok(After::Close)
        }
        1 => answer(stream, 502, &[], b"<html>Bad Gateway</html>"),
        2 => Ok(After::Close),
        3 => answer(stream, 200, &[], b"<html>Maintenance</html>"),
        _ => send_whole(stream, &[line(0, 0), line(1, 1)].concat()),
    });
    let seen = texts(trial(&master).logs_with(follow()).unwrap()).unwrap();
    assert_eq!(seen, expected(2));
}

#[test]
fn an_outage_beyond_its_limit_ends_the_stream_with_an_error() {
    let master = master("RUNNING", |n, _, stream| match n {
        0 => send_cut(stream, &line(0, 0), usize::MAX),
        _ => json_answer(stream, 503, "{}"),
    });
    let options = follow().outage_limit(Duration::from_millis(300));
    let mut entries = trial(&master).logs_with(options).unwrap();
    assert_eq!(entries.next().unwrap().unwrap().id(), Some("id-0"));
    let error = entries.next().unwrap().unwrap_err();
    assert_eq!(error.status(), Some(503));
    assert!(entries.next().is_none());
}

#[test]
fn a_master_that_cuts_every_stream_is_an_outage_too() {
    let master = master("RUNNING", |_, _, stream| {
        send_cut(stream, &line(0, 0), usize::MAX)
    });
    let options = follow().outage_limit(Duration::from_millis(300));
    let items: Vec<_> = trial(&master).logs_with(options).unwrap().collect();
    assert_eq!(items.len(), 2);
    assert_eq!(items[1].as_ref().unwrap_err().kind(), ErrorKind::Connection);
}

#[test]
fn a_stream_without_a_mark_at_its_end_is_complete_when_another_has_nothing_new() {
    let bare = |stream: &mut TcpStream, body: &str| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
        stream.write_all(body.as_bytes())?;
        Ok(After::Close)
    };
    let ended = master("COMPLETED", move |_, _, stream| bare(stream, &line(0, 0)));
    let seen = texts(trial(&ended).logs_with(follow()).unwrap()).unwrap();
    assert_eq!((seen, ended.count(LOGS)), (expected(1), 2));

    let empty = master("COMPLETED", move |_, _, stream| bare(stream, ""));
    let seen = texts(trial(&empty).logs_with(follow()).unwrap()).unwrap();
    assert_eq!((seen, empty.count(LOGS)), (expected(0), 2));

    let running = master("RUNNING", move |n, _, stream| match n {
        0 => bare(stream, &line(0, 0)),
        _ => bare(stream, &[line(0, 0), line(1, 1)].concat()),
    });
    let seen = texts(trial(&running).logs_with(follow()).unwrap()).unwrap();
    assert_eq!((seen, running.count(LOGS)), (expected(2), 3));
}

#[test]
fn a_log_that_is_not_followed_and_cut_is_an_error() {
    for at in [line(0, 0).len(), line(0, 0).len() + 20] {
        let master = master("RUNNING", move |_, _, stream| {
            send_cut(stream, &[line(0, 0), line(1, 1)].concat(), at)
        });
        let mut entries = trial(&master).logs().unwrap();
        assert_eq!(entries.next().unwrap().unwrap().log(), "entry 0\n");
        let error = entries.next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connection);
        assert!(
            error.to_string().contains("read the log of trial 1"),
            "{error}"
        );
        assert!(entries.next().is_none());
    }
}

#[test]
fn an_error_in_the_stream_is_an_error_followed_or_not() {
    let failed = r#"{"error":{"grpcCode":13,"httpCode":500,"message":"boom","httpStatus":"Internal Server Error"}}"#;
    let master = master("RUNNING", move |_, _, stream| {
        send_whole(stream, &format!("{}{failed}\n", line(0, 0)))
    });
    for options in [follow(), LogOptions::new()] {
        let items: Vec<_> = trial(&master).logs_with(options).unwrap().collect();
        assert_eq!(items.len(), 2);
        let error = items[1].as_ref().unwrap_err();
        assert_eq!(error.server_message(), Some("boom"));
    }
}

#[test]
fn a_missing_trial_is_an_error_of_the_call() {
    let master = master("RUNNING", |_, _, stream| {
        let body = r#"{"error":{"grpcCode":5,"httpCode":404,"message":"trial '1' not found","httpStatus":"Not Found"}}"#;
        json_answer(stream, 404, body)
    });
    let trial = trial(&master);
    for options in [LogOptions::new(), follow(), LogOptions::new().tail(3)] {
        assert!(trial.logs_with(options).unwrap_err().is_not_found());
    }
}

#[test]
fn every_option_is_sent() {
    let master = master("RUNNING", |_, _, stream| send_whole(stream, ""));
    let time: Timestamp = "2026-01-01T00:00:00.123456789Z".parse().unwrap();
    let options = LogOptions::new()
        .head(3)
        .container_ids(["c1", "c2"])
        .rank_ids([0, 1])
        .stdtypes(["stderr"])
        .sources(["task"])
        .min_level(LogLevel::Error)
        .timestamp_before(time)
        .timestamp_after(time)
        .search_text("a b");
    assert_eq!(trial(&master).logs_with(options).unwrap().count(), 0);
    let mut asked: Vec<_> = master.requests().pop().unwrap().target[LOGS.len() + 1..]
        .split('&')
        .map(str::to_owned)
        .collect();
    asked.sort();
    assert_eq!(
        asked,
        [
            "containerIds=c1",
            "containerIds=c2",
            "follow=false",
            "levels=LOG_LEVEL_CRITICAL",
            "levels=LOG_LEVEL_ERROR",
            "limit=3",
            "rankIds=0",
            "rankIds=1",
            "searchText=a%20b",
            "sources=task",
            "stdtypes=stderr",
            "timestampAfter=2026-01-01T00%3A00%3A00.123456Z",
            "timestampBefore=2026-01-01T00%3A00%3A00.123456Z",
        ]
    );
}

#[test]
fn options_that_exclude_each_other_are_refused_and_none_is_not_asked_for() {
    let master = master("RUNNING", |_, _, stream| send_whole(stream, &line(0, 0)));
    let trial = trial(&master);
    for options in [
        LogOptions::new().head(1).tail(1),
        follow().head(1),
        follow().tail(1),
    ] {
        let error = trial.logs_with(options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    for options in [LogOptions::new().head(0), LogOptions::new().tail(0)] {
        assert_eq!(trial.logs_with(options).unwrap().count(), 0);
    }
    assert_eq!(master.count(LOGS), 0);
}

/// A master whose entries have levels and ranks, each newest first if that is asked for.
fn with_levels() -> RawMaster {
    master("RUNNING", |_, seen, stream| {
        let mut lines: Vec<_> = [
            (0, "LOG_LEVEL_INFO", None),
            (1, "LOG_LEVEL_UNSPECIFIED", None),
            (2, "LOG_LEVEL_ERROR", Some(0)),
            (3, "LOG_LEVEL_UNSPECIFIED", Some(1)),
            (4, "LOG_LEVEL_ERROR", Some(2)),
        ]
        .into_iter()
        .map(|(n, level, rank)| {
            let entry = json!({"id": format!("{n}"), "level": level, "rankId": rank, "log": format!("entry {n}\n")});
            format!("{}\n", json!({"result": entry}))
        })
        .collect();
        if parameter(seen, "orderBy").is_some() {
            lines.reverse();
        }
        lines.truncate(parameter(seen, "limit").map_or(usize::MAX, |limit| limit.parse().unwrap()));
        send_whole(stream, &lines.concat())
    })
}

fn picked(master: &RawMaster, options: LogOptions) -> Vec<String> {
    let entries = trial(master).logs_with(options).unwrap();
    entries
        .map(|entry: Result<LogEntry>| entry.unwrap().id().unwrap().to_owned())
        .collect()
}

#[test]
fn what_masters_mix_up_is_picked_out_here() {
    let master = with_levels();
    let no_rank_or_one = || LogOptions::new().rank_ids([-1, 1]);
    assert_eq!(picked(&master, no_rank_or_one()), ["0", "1", "3"]);
    assert_eq!(picked(&master, no_rank_or_one().head(2)), ["0", "1"]);
    assert_eq!(picked(&master, no_rank_or_one().tail(2)), ["1", "3"]);
    for seen in master.requests() {
        assert_eq!(parameter(&seen, "rankIds"), None);
        assert_eq!(parameter(&seen, "limit"), None);
    }
    let errors_and_prints = LogOptions::new()
        .min_level(LogLevel::Error)
        .include_unlevelled(true);
    assert_eq!(picked(&master, errors_and_prints), ["1", "2", "3", "4"]);
    let asked = master.requests().pop().unwrap();
    assert_eq!(parameter(&asked, "levels"), None);
}

#[test]
fn the_tail_comes_oldest_first() {
    let master = with_levels();
    assert_eq!(picked(&master, LogOptions::new().tail(3)), ["2", "3", "4"]);
    assert_eq!(
        master.requests().pop().unwrap().target,
        "/api/v1/trials/1/logs?follow=false&limit=3&orderBy=ORDER_BY_DESC"
    );
}

#[test]
fn the_head_and_tail_of_a_continued_trial_are_as_long_as_asked() {
    let master = RawMaster::start(|seen, stream| match seen.path() {
        LOGS => {
            // One task after the other, each with its own limit and order.
            let limit: usize =
                parameter(seen, "limit").map_or(usize::MAX, |limit| limit.parse().unwrap());
            let tasks = [0..4, 4..8].map(|task| {
                let lines = task.map(|n| line(n, n as i64));
                let mut lines: Vec<_> = match parameter(seen, "orderBy") {
                    Some(_) => lines.rev().collect(),
                    None => lines.collect(),
                };
                lines.truncate(limit);
                lines.concat()
            });
            send_whole(stream, &tasks.concat())
        }
        _ => json_answer(stream, 200, r#"{"trial":{"id":1,"taskIds":["1.a","1.b"]}}"#),
    });
    let head = trial(&master).logs_with(LogOptions::new().head(5)).unwrap();
    assert_eq!(texts(head).unwrap(), expected(8)[..5]);
    let tail = trial(&master).logs_with(LogOptions::new().tail(5)).unwrap();
    assert_eq!(texts(tail).unwrap(), expected(8)[3..]);
}

#[test]
fn a_silent_log_can_be_cancelled() {
    let master = master("RUNNING", |_, _, stream| {
        start_chunked(stream)?;
        chunk(stream, line(0, 0).as_bytes())?;
        thread::sleep(Duration::from_secs(60));
        Ok(After::Close)
    });
    let token = CancelToken::new();
    let mut entries = trial(&master).logs_with(follow().cancel(&token)).unwrap();
    assert!(entries.next().unwrap().is_ok());
    let started = Instant::now();
    let error = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            token.cancel();
        });
        entries.next().unwrap().unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(started.elapsed() < Duration::from_secs(15));
    assert!(entries.next().is_none());
}

#[test]
fn entries_can_be_read_on_another_thread() {
    fn is_free<T: Send + 'static>() {}
    is_free::<LogEntries>();
    is_free::<determined::MetricReports>();
}
