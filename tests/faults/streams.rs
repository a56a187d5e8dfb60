//! Streams of logs and metrics that are cut, split, damaged or hostile.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use determined::{
    CancelToken, Determined, Error, ErrorKind, LogEntries, LogOptions, Timestamp, Trial,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::hasty;
use crate::support::{After, RawMaster, Seen, answer, chunk, json as answer_json, start_chunked};

const LOGS: &str = "/api/v1/trials/1/logs";
const METRICS: &str = "/api/v1/trials/metrics/trial_metrics";

/// A master with trial 1, whose streams are what `stream` makes of them.
fn master(
    stream: impl Fn(&Seen, &mut TcpStream) -> std::io::Result<After> + Send + Sync + 'static,
) -> RawMaster {
    RawMaster::start(move |seen, to| match seen.path() {
        LOGS | METRICS => stream(seen, to),
        _ => answer_json(
            to,
            200,
            r#"{"trial":{"id":1,"experimentId":1,"state":"STATE_RUNNING"}}"#,
        ),
    })
}

fn trial(master: &RawMaster) -> Trial {
    hasty(master).get_trial(1).unwrap()
}

fn follow() -> LogOptions {
    LogOptions::new().follow(true)
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// The line of a log's entry.
fn line(id: usize, second: i64, log: &str) -> String {
    let at = time(second).to_string();
    let message = format!("[{at}] || {log}\n");
    let entry = json!({
        "id": id.to_string(), "timestamp": at, "message": message, "level": "LOG_LEVEL_INFO", "trialId": 1,
        "log": format!("{log}\n"), "rankId": 0, "source": "task", "stdtype": "stdout", "agentId": null
    });
    json!({"result": entry}).to_string()
}

fn logs(entries: LogEntries) -> Result<Vec<String>, Error> {
    entries
        .map(|entry| entry.map(|entry| entry.log().to_owned()))
        .collect()
}

/// The time after which entries are asked for.
fn after(seen: &Seen) -> Option<Timestamp> {
    let query = seen.target.split_once('?')?.1;
    let found = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("timestampAfter="))?;
    Some(found.replace("%3A", ":").parse().unwrap())
}

/// Sends pieces of these lengths, as chunks or plainly, until all is sent.
fn send_in_pieces(
    stream: &mut TcpStream,
    body: &[u8],
    lengths: &[usize],
    chunked: bool,
) -> std::io::Result<After> {
    if chunked {
        start_chunked(stream)?;
    } else {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )?;
    }
    let mut rest = body;
    let mut lengths = lengths.iter().cycle();
    while !rest.is_empty() {
        let (piece, left) = rest.split_at(rest.len().min(*lengths.next().unwrap()));
        if chunked {
            chunk(stream, piece)?;
        } else {
            stream.write_all(piece)?;
            stream.flush()?;
        }
        rest = left;
    }
    if chunked {
        chunk(stream, b"")?;
    }
    Ok(After::KeepOpen)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_the_same_however_the_network_splits_it(
        texts in prop::collection::vec("[ -~äöü€😀\\t\"\\\\/]{0,40}", 1..40),
        ends in prop::collection::vec(prop::sample::select(vec!["\n", "\r\n", "\n\n", "\n \n"]), 1..5),
        lengths in prop::collection::vec(1_usize..200, 1..6),
        chunked: bool,
        last_has_end: bool,
    ) {
        let mut body = String::new();
        for (n, text) in texts.iter().enumerate() {
            body += &line(n, n as i64, text);
            if last_has_end || n + 1 < texts.len() {
                body += ends[n % ends.len()];
            }
        }
        let master = master(move |_, stream| send_in_pieces(stream, body.as_bytes(), &lengths, chunked));
        let expected: Vec<String> = texts.iter().map(|text| format!("{text}\n")).collect();
        for options in [LogOptions::new(), follow()] {
            prop_assert_eq!(&logs(trial(&master).logs_with(options).unwrap()).unwrap(), &expected);
        }
    }

    #[test]
    fn metrics_are_the_same_however_the_network_splits_them(
        values in prop::collection::vec(prop::collection::vec(any::<i32>(), 0..20), 1..8),
        lengths in prop::collection::vec(1_usize..200, 1..6),
        chunked: bool,
    ) {
        let mut body = String::new();
        for batch in &values {
            let reports: Vec<Value> = batch
                .iter()
                .map(|value| json!({"trialId": 1, "totalBatches": 1, "metrics": {"avg_metrics": {"m": value}}}))
                .collect();
            body += &format!("{}\n", json!({"result": {"metrics": reports}}));
        }
        let master = master(move |_, stream| send_in_pieces(stream, body.as_bytes(), &lengths, chunked));
        let seen: Vec<f64> = trial(&master)
            .iter_metrics("training").unwrap()
            .map(|report| report.unwrap().metric("m").unwrap())
            .collect();
        let expected: Vec<f64> = values.into_iter().flatten().map(f64::from).collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn a_followed_log_that_grows_and_is_cut_anywhere_comes_whole_and_once(
        // How much later than the one before each entry was written; some were written before it.
        steps in prop::collection::vec(-20_i64..40, 1..60),
        // How much further than the one before each stream comes until it is cut, and how many entries are written in between.
        cuts in prop::collection::vec((200_usize..4000, 0_usize..20), 0..5),
        cleanly: bool,
    ) {
        let mut second = 0;
        let entries: Vec<(usize, i64)> = steps
            .iter()
            .enumerate()
            .map(|(n, step)| { second += step; (n, second) })
            .collect();
        let all = entries.clone();
        let (streams, known) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let master = master(move |seen, stream| {
            let n = streams.fetch_add(1, Ordering::SeqCst);
            let cut = cuts.get(n);
            let count = match cut {
                Some((_, more)) => known.fetch_add(*more, Ordering::SeqCst) + more,
                None => usize::MAX,
            };
            let from = after(seen);
            let body: String = all
                .iter()
                .take(count)
                .filter(|(_, second)| from.is_none_or(|from| time(*second) > from))
                .map(|(id, second)| line(*id, *second, &format!("entry {id}")) + "\n")
                .collect();
            start_chunked(stream)?;
            match cut {
                Some(_) => {
                    let at = cuts[..=n].iter().map(|(further, _)| further).sum::<usize>();
                    let at = body.len().min(at);
                    if at > 0 {
                        chunk(stream, &body.as_bytes()[..at])?;
                    }
                    if !cleanly {
                        socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
                    }
                    Ok(After::Close)
                }
                None => {
                    if !body.is_empty() {
                        chunk(stream, body.as_bytes())?;
                    }
                    chunk(stream, b"")?;
                    Ok(After::KeepOpen)
                }
            }
        });
        let seen = logs(trial(&master).logs_with(follow()).unwrap()).unwrap();
        let expected: Vec<String> = entries.iter().map(|(id, _)| format!("entry {id}\n")).collect();
        prop_assert_eq!(seen, expected);
    }
}

#[test]
fn a_reset_between_lines_and_one_within_a_line_lose_nothing_and_repeat_nothing() {
    let body: Vec<String> = (0..6)
        .map(|n| line(n, n as i64, &format!("entry {n}")) + "\n")
        .collect();
    let lengths: Vec<usize> = body.iter().map(String::len).collect();
    let asked = AtomicUsize::new(0);
    let master = master(move |_, stream| {
        let whole = body.concat();
        start_chunked(stream)?;
        let at = match asked.fetch_add(1, Ordering::SeqCst) {
            0 => lengths[..2].iter().sum(),
            1 => lengths[..4].iter().sum::<usize>() + 30,
            _ => whole.len(),
        };
        chunk(stream, &whole.as_bytes()[..at])?;
        if at < whole.len() {
            socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
            return Ok(After::Close);
        }
        chunk(stream, b"")?;
        Ok(After::KeepOpen)
    });
    let seen = logs(trial(&master).logs_with(follow()).unwrap()).unwrap();
    let expected: Vec<String> = (0..6).map(|n| format!("entry {n}\n")).collect();
    assert_eq!(seen, expected);
    assert_eq!(master.count(LOGS), 3);
}

#[test]
fn a_plain_stream_that_is_cut_is_an_error_and_never_short() {
    let lines = || format!("{}\n{}\n", line(0, 0, "a"), line(1, 1, "b"));
    let first = line(0, 0, "a").len() + 1;
    for at in [
        0,
        1,
        20,
        first - 1,
        first,
        first + 1,
        lines().len() - 2,
        lines().len(),
    ] {
        for is_chunked in [true, false] {
            let master = master(move |_, stream| {
                let body = lines();
                if is_chunked {
                    start_chunked(stream)?;
                    if at > 0 {
                        chunk(stream, &body.as_bytes()[..at])?;
                    }
                } else {
                    write!(
                        stream,
                        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                        body.len() + 1
                    )?;
                    stream.write_all(&body.as_bytes()[..at])?;
                }
                Ok(After::Close)
            });
            let items: Vec<_> = trial(&master).logs().unwrap().collect();
            let error = items.last().unwrap().as_ref().unwrap_err();
            assert_eq!(
                error.kind(),
                ErrorKind::Connection,
                "{at} {is_chunked}: {error}"
            );
            assert!(items[..items.len() - 1].iter().all(Result::is_ok));
            assert_eq!(master.count(LOGS), 1);

            let reports: Vec<_> = trial(&master).iter_metrics("training").unwrap().collect();
            assert!(reports.last().unwrap().is_err(), "{at} {is_chunked}");
        }
    }
}

#[test]
fn an_error_line_ends_a_stream_with_what_the_master_said() {
    let failed = r#"{"error":{"grpcCode":13,"httpCode":500,"message":"disk is on fire","httpStatus":"Internal Server Error"}}"#;
    for ending in ["\n", ""] {
        let master = master(move |seen, stream| {
            let good = match seen.path() {
                LOGS => line(0, 0, "a"),
                _ => r#"{"result":{"metrics":[{"trialId":1}]}}"#.to_owned(),
            };
            let body = format!("{good}\n{failed}{ending}");
            send_in_pieces(stream, body.as_bytes(), &[7], true)
        });
        let trial = trial(&master);
        let mut items = trial.logs().unwrap();
        items.next().unwrap().unwrap();
        let error = items.next().unwrap().unwrap_err();
        assert!(items.next().is_none());
        let mut reports = trial.iter_metrics("training").unwrap();
        reports.next().unwrap().unwrap();
        let also = reports.next().unwrap().unwrap_err();
        assert!(reports.next().is_none());
        for error in [error, also] {
            assert_eq!(error.server_message(), Some("disk is on fire"));
            assert_eq!(error.status(), Some(500));
            assert!(error.to_string().contains("/api/v1/trials/"), "{error}");
        }
    }
}

#[test]
fn a_line_that_no_master_sends_is_an_error_and_no_entry() {
    let deep = format!(
        r#"{{"result":{}1{}}}"#,
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    for bad in [
        "<html>Bad Gateway</html>",
        "nonsense",
        "null",
        "[]",
        "{}",
        r#"{"result":null}"#,
        r#"{"result":7}"#,
        r#"{"result":{}} {"result":{}}"#,
        r#"{"resultat":{}}"#,
        &deep,
    ] {
        let body = format!("{bad}\n");
        let master =
            master(move |_, stream| send_in_pieces(stream, body.as_bytes(), &[5000], true));
        let trial = trial(&master);
        let shown = &bad[..bad.len().min(40)];
        let error = logs(trial.logs().unwrap()).expect_err(shown);
        assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{shown}: {error}");
        let reports: Result<Vec<_>, _> = trial.iter_metrics("training").unwrap().collect();
        assert_eq!(
            reports.expect_err(shown).kind(),
            ErrorKind::InvalidResponse,
            "{shown}"
        );
    }
}

#[test]
fn whatever_a_program_prints_is_an_entry() {
    let texts = [
        String::new(),
        "\u{0}\u{1b}[31mred\u{7f}\u{202e}".to_owned(),
        "{\"error\":{\"message\":\"only printed\"}}".to_owned(),
        "\\\"\\u0041".to_owned(),
        "\r\n\n\u{2028}".to_owned(),
        "ä€😀".repeat(1000),
        "x".repeat(3 << 20),
    ];
    let mut body: Vec<u8> = texts
        .iter()
        .enumerate()
        .flat_map(|(n, text)| (line(n, 0, text) + "\n").into_bytes())
        .collect();
    // Bytes that are no text, and halves of a character.
    body.extend_from_slice(
        b"{\"result\":{\"id\":\"8\",\"log\":\"a\xff\xc3b\\n\",\"message\":\"m\"}}\n",
    );
    // Nothing is known but the text; and of another type than it was.
    body.extend_from_slice(b"{\"result\":{\"log\":\"bare\"}}\n");
    body.extend_from_slice(b"{\"result\":{\"log\":\"odd\",\"id\":9,\"rankId\":null,\"level\":\"LOG_LEVEL_LOUD\",\"timestamp\":\"late\",\"x\":[{}]}}\n");
    let master = master(move |_, stream| send_in_pieces(stream, &body, &[9000], true));
    let entries: Vec<_> = trial(&master).logs().unwrap().map(Result::unwrap).collect();
    for (entry, text) in entries.iter().zip(&texts) {
        assert_eq!(entry.log(), format!("{text}\n"));
    }
    let rest: Vec<_> = entries[texts.len()..]
        .iter()
        .map(|entry| entry.log())
        .collect();
    assert_eq!(rest, ["a\u{fffd}\u{fffd}b\n", "bare", "odd"]);
    assert_eq!(entries.last().unwrap().timestamp(), None);
    assert_eq!(entries.last().unwrap().level(), None);
}

#[test]
fn a_stream_that_stalls_in_a_line_is_an_error_if_it_is_not_followed() {
    let master = master(|_, stream| {
        start_chunked(stream)?;
        chunk(stream, &line(0, 0, "a").as_bytes()[..30])?;
        thread::sleep(Duration::from_secs(20));
        Ok(After::Close)
    });
    let options = master
        .login_options()
        .read_timeout(Duration::from_millis(300));
    let trial = Determined::new(options).unwrap().get_trial(1).unwrap();
    let started = Instant::now();
    let error = logs(trial.logs().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    let error = trial
        .iter_metrics("training")
        .unwrap()
        .next()
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_followed_log_may_be_silent_for_longer_than_any_timeout() {
    let master = master(|_, stream| {
        start_chunked(stream)?;
        for n in 0..3 {
            thread::sleep(Duration::from_millis(300));
            chunk(stream, format!("{}\n", line(n, 0, "a")).as_bytes())?;
        }
        chunk(stream, b"")?;
        Ok(After::KeepOpen)
    });
    let options = master
        .login_options()
        .read_timeout(Duration::from_millis(100));
    let trial = Determined::new(options).unwrap().get_trial(1).unwrap();
    assert_eq!(logs(trial.logs_with(follow()).unwrap()).unwrap().len(), 3);
    assert_eq!(master.count(LOGS), 1);
}

#[test]
fn a_followed_log_outlives_every_way_in_which_the_next_stream_can_fail() {
    let asked = AtomicUsize::new(0);
    let master = master(
        move |_, stream| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => {
                start_chunked(stream)?;
                chunk(stream, format!("{}\n", line(0, 0, "a")).as_bytes())?;
                Ok(After::Close)
            }
            1 => answer(
                stream,
                502,
                &[("content-type", "text/html")],
                b"<h1>Bad Gateway</h1>",
            ),
            2 => answer(
                stream,
                200,
                &[("content-type", "text/html")],
                b"<h1>Wait</h1>",
            ),
            3 => {
                let gone =
                    r#"{"error":{"grpcCode":14,"httpCode":503,"message":"transport is closing"}}"#;
                send_in_pieces(stream, format!("{gone}\n").as_bytes(), &[1000], true)
            }
            _ => {
                let body = format!("{}\n{}\n", line(0, 0, "a"), line(1, 1, "b"));
                send_in_pieces(stream, body.as_bytes(), &[1000], true)
            }
        },
    );
    let seen = logs(trial(&master).logs_with(follow()).unwrap()).unwrap();
    assert_eq!(seen, ["a\n", "b\n"]);
}

#[test]
fn a_session_that_expires_while_a_log_is_followed_is_renewed() {
    let tokens = Arc::new(Mutex::new(vec!["secret-1".to_owned()]));
    let asked = AtomicUsize::new(0);
    let current = Arc::clone(&tokens);
    let master = RawMaster::start_bare(move |seen, stream| {
        let token = current.lock().unwrap().last().cloned().unwrap();
        if seen.path() == "/api/v1/auth/login" {
            return answer_json(stream, 200, &json!({"token": token}).to_string());
        }
        if seen.header("authorization") != Some(&format!("Bearer {token}")) {
            return answer_json(stream, 401, r#"{"message":"expired"}"#);
        }
        if seen.path() != LOGS {
            return answer_json(stream, 200, r#"{"trial":{"id":1}}"#);
        }
        start_chunked(stream)?;
        chunk(stream, format!("{}\n", line(0, 0, "a")).as_bytes())?;
        if asked.fetch_add(1, Ordering::SeqCst) == 0 {
            current.lock().unwrap().push("secret-2".to_owned());
            return Ok(After::Close);
        }
        chunk(stream, format!("{}\n", line(1, 1, "b")).as_bytes())?;
        chunk(stream, b"")?;
        Ok(After::KeepOpen)
    });
    let seen = logs(trial(&master).logs_with(follow()).unwrap()).unwrap();
    assert_eq!(seen, ["a\n", "b\n"]);
    assert_eq!(tokens.lock().unwrap().len(), 2);
}

#[test]
fn dropping_a_stream_closes_its_connection() {
    let (ended, end) = mpsc::channel();
    let ended = Mutex::new(ended);
    let master = master(move |seen, stream| {
        start_chunked(stream)?;
        let first = match seen.path() {
            LOGS => line(0, 0, "a"),
            _ => r#"{"result":{"metrics":[{"trialId":1}]}}"#.to_owned(),
        };
        chunk(stream, format!("{first}\n").as_bytes())?;
        // Until the other side closes.
        let _ = stream.read(&mut [0; 1]);
        let _ = ended.lock().unwrap().send(());
        Ok(After::Close)
    });
    let trial = trial(&master);
    let limit = Duration::from_secs(5);
    for options in [LogOptions::new(), follow()] {
        let mut entries = trial.logs_with(options).unwrap();
        entries.next().unwrap().unwrap();
        drop(entries);
        end.recv_timeout(limit).unwrap();
    }
    let mut reports = trial.iter_metrics("training").unwrap();
    reports.next().unwrap().unwrap();
    drop(reports);
    end.recv_timeout(limit).unwrap();
}

#[test]
fn cancelling_ends_a_followed_log_within_a_second_while_the_master_is_away() {
    let asked = AtomicUsize::new(0);
    let master = master(
        move |_, stream| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => {
                start_chunked(stream)?;
                chunk(stream, format!("{}\n", line(0, 0, "a")).as_bytes())?;
                Ok(After::Close)
            }
            _ => answer(stream, 503, &[], b""),
        },
    );
    let token = CancelToken::new();
    let mut entries = trial(&master).logs_with(follow().cancel(&token)).unwrap();
    entries.next().unwrap().unwrap();
    thread::scope(|scope| {
        let next = scope.spawn(|| entries.next().unwrap().unwrap_err());
        thread::sleep(Duration::from_millis(800));
        let cancelled = Instant::now();
        token.cancel();
        let error = next.join().unwrap();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
        assert!(cancelled.elapsed() < Duration::from_secs(15));
    });
}
