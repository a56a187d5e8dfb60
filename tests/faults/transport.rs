//! What arrives is not the HTTP that was expected.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use determined::{Determined, ErrorKind};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::{After, LOGGED_IN, RawMaster, json};
use crate::{EXPERIMENT, asked, assert_kinds, hasty, ok};

/// The answer with these headers beside its length.
fn with_headers(headers: &[u8], body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n", body.len());
    [head.as_bytes(), headers, b"\r\n", body].concat()
}

fn chunked(chunks: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}").into()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_http_allows_is_read() {
    let (body, length, whole) = (EXPERIMENT, EXPERIMENT.len(), ok(EXPERIMENT));
    let bytewise: String = body.chars().map(|c| format!("1\r\n{c}\r\n")).collect();
    let with_header = |header: String| with_headers(header.as_bytes(), body.as_bytes());
    let rows: [(&str, Vec<u8>); 14] = [
        (
            "100 Continue first",
            format!("HTTP/1.1 100 Continue\r\n\r\n{whole}").into(),
        ),
        (
            "hints first",
            format!("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n{whole}").into(),
        ),
        (
            "the same length twice",
            with_header(format!("content-length: {length}\r\n")),
        ),
        (
            "chunks, whatever the length says",
            format!("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n").into(),
        ),
        ("a chunk of each byte", chunked(&format!("{bytewise}0\r\n\r\n"))),
        (
            "chunk extensions and trailers",
            chunked(&format!("{length:X};a=b\r\n{body}\r\n0\r\nx-trailer: 1\r\n\r\n")),
        ),
        ("no length", format!("HTTP/1.1 200 OK\r\n\r\n{body}").into()),
        ("HTTP/1.0", format!("HTTP/1.0 200 OK\r\n\r\n{body}").into()),
        (
            "line feeds alone",
            format!("HTTP/1.1 200 OK\ncontent-length: {length}\n\n{body}").into(),
        ),
        ("a byte order mark", ok(&format!("\u{feff}{body}")).into()),
        ("no reason", whole.replace("200 OK", "200").into()),
        ("201 Created", whole.replace("200 OK", "201 Created").into()),
        (
            "a header that is no text",
            with_headers(b"x: \xff\xfe\r\n", body.as_bytes()),
        ),
        (
            "gzip",
            with_headers(b"content-encoding: gzip\r\n", &gzip(body)),
        ),
    ];
    for (name, bytes) in rows {
        let experiment = asked(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(experiment.name, "n", "{name}");
    }
}

#[test]
fn an_answer_that_is_cut_off_is_an_error_wherever_the_cut_is() {
    let (body, length) = (EXPERIMENT, EXPERIMENT.len());
    let packed = gzip(body);
    assert_kinds(
        ErrorKind::Connection,
        [
            ("before it begins", Vec::new()),
            ("in the status", b"HTTP/1.1 2".to_vec()),
            ("in a header", b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()),
            ("in the body", {
                let bytes = ok(body);
                bytes.as_bytes()[..bytes.len() - 9].to_vec()
            }),
            (
                "by a length that is too large",
                ok(body)
                    .replace(&length.to_string(), &u64::MAX.to_string())
                    .into(),
            ),
            (
                "between chunks",
                chunked(&format!("{length:x}\r\n{body}\r\n")),
            ),
            (
                "in a chunk",
                chunked(&format!("{length:x}\r\n{}", &body[..9])),
            ),
            ("in the size of a chunk", chunked("8")),
            (
                "in compressed data",
                with_headers(b"content-encoding: gzip\r\n", &packed[..packed.len() - 6]),
            ),
        ],
    );
}

#[test]
fn what_is_not_http_is_named_as_such() {
    let (body, length) = (EXPERIMENT, EXPERIMENT.len());
    let mut damaged = gzip(body);
    let end = damaged.len() - 6;
    damaged[end] ^= 0xff;
    let huge = format!("x: {}\r\n", "a".repeat(4 << 20));
    let replaced = |from: &str, to: &str| ok(body).replace(from, to).into_bytes();
    assert_kinds(
        ErrorKind::InvalidResponse,
        [
            ("another protocol", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
            ("a TLS alert", b"\x15\x03\x01\x00\x02\x02\x46".to_vec()),
            ("noise", b"\xff\x00\x01\x02\r\n\r\n".to_vec()),
            ("HTTP/2", replaced("HTTP/1.1", "HTTP/2")),
            ("a status of no digits", replaced("200 OK", "OK")),
            ("a status of two digits", replaced("200", "20")),
            ("a status of four digits", replaced("200", "2000")),
            ("the status 000", replaced("200", "000")),
            ("a length below zero", replaced("length: ", "length: -")),
            ("a length in words", replaced("length: ", "length: many")),
            (
                "a length beyond all numbers",
                replaced("length: ", "length: 99999999999999999999"),
            ),
            (
                "two lengths",
                with_headers(b"content-length: 3\r\n", body.as_bytes()),
            ),
            (
                "a chunk size of no digits",
                chunked(&format!("zz\r\n{body}\r\n0\r\n\r\n")),
            ),
            (
                "a chunk that is longer than it says",
                chunked(&format!("3\r\n{body}\r\n0\r\n\r\n")),
            ),
            (
                "a chunk size beyond all numbers",
                chunked(&format!("{}\r\n{body}", "f".repeat(40))),
            ),
            (
                "a header without a colon",
                with_headers(b"x\r\n", body.as_bytes()),
            ),
            (
                "a NUL in a header",
                with_headers(b"x: a\0b\r\n", body.as_bytes()),
            ),
            (
                "a header of 4 MiB",
                with_headers(huge.as_bytes(), body.as_bytes()),
            ),
            (
                "thousands of headers",
                with_headers("x: y\r\n".repeat(4000).as_bytes(), body.as_bytes()),
            ),
            (
                "what says gzip and is not",
                with_headers(b"content-encoding: gzip\r\n", body.as_bytes()),
            ),
            (
                "compressed data with a wrong sum",
                with_headers(b"content-encoding: gzip\r\n", &damaged),
            ),
            (
                "an encoding that was not asked for",
                with_headers(b"content-encoding: zstd\r\n", b"\x28\xb5\x2f\xfd"),
            ),
            (
                "a length that is too small",
                ok(body)
                    .replace(&length.to_string(), &(length - 9).to_string())
                    .into(),
            ),
        ],
    );
}

#[test]
fn a_success_without_a_body_is_no_answer() {
    assert_kinds(
        ErrorKind::InvalidResponse,
        [
            ("204", "HTTP/1.1 204 No Content\r\n\r\n".to_owned()),
            (
                "204 that has a body",
                ok(EXPERIMENT).replace("200 OK", "204 No Content"),
            ),
            (
                "205",
                "HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n".to_owned(),
            ),
            ("200", ok("")),
            ("200 of blanks", ok(" \r\n\t")),
            ("304", "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned()),
        ],
    );
}

#[test]
fn a_status_that_nobody_knows_is_an_error_that_names_it() {
    for status in [
        "101 Switching Protocols",
        "418 I'm a teapot",
        "599 Odd",
        "999 Odd",
    ] {
        let error = asked(ok(EXPERIMENT).replace("200 OK", status)).unwrap_err();
        let number: u16 = status[..3].parse().unwrap();
        assert_eq!(error.kind(), ErrorKind::Api, "{error}");
        assert_eq!(error.status(), Some(number), "{error}");
    }
}

#[test]
fn what_follows_an_answer_is_never_taken_for_the_next_one() {
    let stray = ok(r#"{"experiment":{"id":666,"name":"stray"}}"#);
    let asked = AtomicUsize::new(0);
    let master = RawMaster::start(move |_, stream| {
        let name = format!("n{}", asked.fetch_add(1, Ordering::SeqCst));
        let answer = ok(&EXPERIMENT.replace(r#""n""#, &format!("{name:?}")));
        stream.write_all(format!("{answer}{stray}").as_bytes())?;
        Ok(After::KeepOpen)
    });
    let client = master.client();
    for n in 0..5 {
        let experiment = client.get_experiment(1).unwrap();
        assert_eq!(experiment.name, format!("n{n}"));
    }
}

#[test]
fn a_connection_that_was_closed_while_idle_is_not_used_again() {
    // Says that it stays open and closes all the same, as gateways do after their own idle time.
    let master = RawMaster::start(|seen, stream| {
        stream.write_all(
            ok(if seen.method == "GET" {
                EXPERIMENT
            } else {
                "{}"
            })
            .as_bytes(),
        )?;
        Ok(After::Close)
    });
    let experiment = hasty(&master).get_experiment(1).unwrap();
    for _ in 0..5 {
        // The end of the connection has arrived by then.
        thread::sleep(Duration::from_millis(20));
        experiment.kill().unwrap();
    }
    assert_eq!(master.count("/api/v1/experiments/1/kill"), 5);
}

#[test]
fn an_answer_that_was_reset_in_mid_json_is_fetched_again() {
    let asked = AtomicUsize::new(0);
    let master = RawMaster::start(move |_, stream| {
        let whole = ok(EXPERIMENT);
        if asked.fetch_add(1, Ordering::SeqCst) < 2 {
            stream.write_all(&whole.as_bytes()[..whole.len() - 20])?;
            // Closing with a request unread is a reset rather than an end; there is none here, so ask for it.
            socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
            return Ok(After::Close);
        }
        stream.write_all(whole.as_bytes())?;
        Ok(After::KeepOpen)
    });
    assert_eq!(master.client().get_experiment(1).unwrap().name, "n");
    assert_eq!(master.count("/api/v1/experiments/1"), 3);

    let error = hasty(&crate::saying(&ok(EXPERIMENT).as_bytes()[..90])).get_experiment(1);
    assert!(error.unwrap_err().is_transient());
}

#[test]
fn an_action_whose_answer_was_cut_off_is_not_sent_again() {
    let master = RawMaster::start(|seen, stream| match seen.method.as_str() {
        "GET" => json(stream, 200, EXPERIMENT),
        _ => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{\"par")?;
            Ok(After::Close)
        }
    });
    let experiment = master.client().get_experiment(1).unwrap();
    let error = experiment.kill().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert_eq!(master.count("/api/v1/experiments/1/kill"), 1);
}

#[test]
fn a_body_that_stalls_half_way_is_an_error_after_one_read_timeout() {
    let master = RawMaster::start(|_, stream| {
        let whole = ok(EXPERIMENT);
        stream.write_all(&whole.as_bytes()[..whole.len() - 20])?;
        thread::sleep(Duration::from_secs(20));
        Ok(After::Close)
    });
    let started = Instant::now();
    let options = master
        .login_options()
        .read_timeout(Duration::from_millis(300));
    let client = Determined::new(options).unwrap();
    let error = client.get_experiment(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(started.elapsed() < Duration::from_secs(15));
    assert_eq!(master.count("/api/v1/experiments/1"), 1);
}

#[test]
fn a_master_that_takes_connections_and_says_nothing_is_an_error_at_login() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let options = crate::support::options(&url).read_timeout(Duration::from_millis(300));
    let started = Instant::now();
    let error = Determined::new(options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(started.elapsed() < Duration::from_secs(15));
    drop(listener);
}

#[test]
fn the_longest_and_shortest_timeouts_do_not_panic() {
    let master = RawMaster::start(|_, stream| json(stream, 200, EXPERIMENT));
    for timeout in [Duration::MAX, Duration::from_secs(u64::MAX >> 20)] {
        let options = master.login_options();
        let options = options.read_timeout(timeout).connect_timeout(timeout);
        let client = Determined::new(options).unwrap();
        client.get_experiment(1).unwrap();
    }
    let shortest = master.login_options().read_timeout(Duration::from_nanos(1));
    let error = Determined::new(shortest).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    let before = master.requests().len();
    for options in [
        master.login_options().read_timeout(Duration::ZERO),
        master.login_options().connect_timeout(Duration::ZERO),
    ] {
        let error = Determined::new(options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    assert_eq!(master.requests().len(), before);
}

#[test]
#[ignore = "takes a gibibyte of memory"]
fn an_answer_without_end_is_an_error() {
    let master = RawMaster::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"experiment\":\"")?;
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
        Ok(After::Close)
    });
    let error = master.client().get_experiment(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{error}");
    assert!(error.to_string().contains("larger than 1 GiB"), "{error}");
}

#[test]
fn headers_that_never_end_are_an_error_and_not_a_leak() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let sent = std::sync::Arc::new(AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&sent);
    thread::spawn(move || {
        for (n, mut stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let _ = stream.read(&mut [0; 4096]);
            if n == 0 {
                let _ = json(&mut stream, 200, LOGGED_IN);
                continue;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ");
            while stream.write_all(&[b'a'; 4096]).is_ok() {
                counter.fetch_add(4096, Ordering::SeqCst);
            }
        }
    });
    let options = crate::support::options(&url);
    let client = Determined::new(options).unwrap();
    let error = client.get_experiment(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{error}");
    assert!(sent.load(Ordering::SeqCst) < 64 << 20);
}
