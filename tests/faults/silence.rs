//! Masters that say nothing, too little, or nothing that counts: every call ends in an error, and is not tried again.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use determined::{
    Determined, DownloadMode, DownloadOptions, Error, ErrorKind, LogOptions, ModelDefinition,
    ModelQuery, WaitOptions,
};
use serde_json::json;

use crate::EXPERIMENT;
use crate::support::{After, LOGGED_IN, RawMaster, chunk, json as answer_json, start_chunked};

const READ_TIMEOUT: Duration = Duration::from_millis(200);

/// What begins like an archive does not end early for being none, and where JSON is expected nobody looks before the end.
const BEGINNING: &[u8] = b"\x1f\x8b\x08\x08\0\0\0\0\0\x03name";

/// A way to keep a client waiting for as long as it will.
type Stall = fn(&mut TcpStream) -> io::Result<()>;

/// Keeps the connection until the client closes it.
fn hold(stream: &mut TcpStream) -> io::Result<()> {
    while stream.read(&mut [0; 4096])? > 0 {}
    Ok(())
}

/// Drips more slowly than the 16 bytes for each second that keep a client patient.
fn drip(stream: &mut TcpStream) -> io::Result<()> {
    loop {
        stream.write_all(b"x")?;
        thread::sleep(READ_TIMEOUT / 2);
    }
}

const STALLS: [(&str, Stall); 7] = [
    ("silence", hold),
    ("silence in the head", |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-ty")?;
        hold(stream)
    }),
    ("silence in the body", |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n")?;
        stream.write_all(BEGINNING)?;
        hold(stream)
    }),
    ("silence in a chunk", |stream| {
        start_chunked(stream)?;
        chunk(stream, BEGINNING)?;
        stream.write_all(b"ff\r\nx")?;
        hold(stream)
    }),
    ("a head that drips", |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nx: ")?;
        drip(stream)
    }),
    ("a body that drips", |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n")?;
        stream.write_all(BEGINNING)?;
        drip(stream)
    }),
    ("one interim answer after another", |stream| {
        loop {
            stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n")?;
            thread::sleep(READ_TIMEOUT / 4);
        }
    }),
];

/// A master that answers until it is told to stall.
struct Stalling {
    master: RawMaster,
    stalls: Arc<AtomicBool>,
    /// How many requests were kept waiting.
    kept: Arc<AtomicUsize>,
}

impl Stalling {
    fn start(stall: Stall) -> Self {
        let (stalls, kept) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (is_stalling, count) = (Arc::clone(&stalls), Arc::clone(&kept));
        let master = RawMaster::start_bare(move |seen, stream| {
            let answer = match seen.path() {
                // To be stalled by what follows: the archive, the next page.
                "/api/v1/checkpoints/u" => {
                    r#"{"checkpoint":{"uuid":"u","state":"STATE_COMPLETED","resources":{"a":"1"}}}"#
                }
                "/api/v1/models" if seen.target.contains("offset=0") => {
                    r#"{"models":[{"id":1}],"pagination":{"endIndex":1,"total":2}}"#
                }
                _ if is_stalling.load(Ordering::SeqCst) => {
                    count.fetch_add(1, Ordering::SeqCst);
                    // It ends when the client has given up.
                    let _ = stall(stream);
                    return Ok(After::Close);
                }
                "/api/v1/auth/login" => LOGGED_IN,
                "/api/v1/trials/1" => r#"{"trial":{"id":1,"experimentId":1}}"#,
                _ => EXPERIMENT,
            };
            answer_json(stream, 200, answer)
        });
        Self {
            master,
            stalls,
            kept,
        }
    }

    fn client(&self) -> Result<Determined, Error> {
        Determined::new(self.master.login_options().read_timeout(READ_TIMEOUT))
    }
}

#[test]
fn no_call_waits_for_ever_and_none_is_repeated_whatever_keeps_the_master() {
    thread::scope(|scope| {
        for (name, stall) in STALLS {
            scope.spawn(move || stall_every_call(name, stall));
        }
    });
}

fn stall_every_call(name: &str, stall: Stall) {
    let stalling = Stalling::start(stall);
    let client = stalling.client().unwrap();
    let experiment = client.get_experiment(1).unwrap();
    let trial = client.get_trial(1).unwrap();
    let checkpoint = client.get_checkpoint("u").unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("c");
    stalling.stalls.store(true, Ordering::SeqCst);

    type Call<'a> = (&'a str, Box<dyn Fn() -> Result<(), Error> + 'a>);
    let calls: [Call<'_>; 14] = [
        ("log in", Box::new(|| stalling.client().map(drop))),
        ("get", Box::new(|| client.get_experiment(1).map(drop))),
        ("list", Box::new(|| client.list_experiments().map(drop))),
        (
            "read the second page",
            Box::new(|| {
                let query = ModelQuery::new().page_size(1);
                let mut models = client.iter_models_with(query)?;
                models.try_for_each(|model| model.map(drop))
            }),
        ),
        ("act", Box::new(|| experiment.kill())),
        ("change", Box::new(|| experiment.clone().set_name("x"))),
        ("delete", Box::new(|| experiment.delete())),
        (
            "create",
            Box::new(|| {
                let created =
                    client.create_experiment(json!({"name": "n"}), ModelDefinition::none());
                created.map(drop)
            }),
        ),
        (
            "read a log",
            Box::new(|| trial.logs()?.try_for_each(|entry| entry.map(drop))),
        ),
        (
            "read the tail of a log",
            Box::new(|| trial.logs_with(LogOptions::new().tail(5)).map(drop)),
        ),
        (
            "read metrics",
            Box::new(|| {
                let mut reports = trial.iter_metrics("training")?;
                reports.try_for_each(|report| report.map(drop))
            }),
        ),
        (
            "download",
            Box::new(|| {
                let options = DownloadOptions::new().path(&path);
                let options = options.mode(DownloadMode::Master);
                checkpoint.download_with(options).map(drop)
            }),
        ),
        (
            "download code",
            Box::new(|| experiment.download_code(scratch.path()).map(drop)),
        ),
        ("log out", Box::new(|| client.logout())),
    ];
    for (call, act) in &calls {
        let before = stalling.kept.load(Ordering::SeqCst);
        let error = act().expect_err(call);
        assert_eq!(error.kind(), ErrorKind::Timeout, "{call}, {name}: {error}");
        let kept = stalling.kept.load(Ordering::SeqCst) - before;
        assert_eq!(kept, 1, "{call}, {name}: {error}");
    }
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn a_wait_ends_at_its_timeout_though_the_master_keeps_it_waiting() {
    thread::scope(|scope| {
        for (name, stall) in STALLS {
            scope.spawn(move || {
                let stalling = Stalling::start(stall);
                // With the timeouts that are the default.
                let client = stalling.master.client();
                let experiment = client.get_experiment(1).unwrap();
                stalling.stalls.store(true, Ordering::SeqCst);
                let options = WaitOptions::new().timeout(Duration::from_millis(100));
                let started = Instant::now();
                let errors = [
                    experiment.wait_with(options.clone()).expect_err(name),
                    experiment.await_first_trial_with(options).expect_err(name),
                ];
                for error in errors {
                    assert_eq!(error.kind(), ErrorKind::WaitTimeout, "{name}: {error}");
                }
                // Not at the end of a read timeout, which is half a minute.
                assert!(started.elapsed() < Duration::from_secs(25), "{name}");
            });
        }
    });
}

#[test]
#[ignore = "takes a minute"]
fn with_the_defaults_a_silent_master_is_an_error_within_a_minute() {
    thread::scope(|scope| {
        for (name, stall) in STALLS {
            scope.spawn(move || {
                let stalling = Stalling::start(stall);
                let client = stalling.master.client();
                let experiment = client.get_experiment(1).unwrap();
                stalling.stalls.store(true, Ordering::SeqCst);
                let started = Instant::now();
                let errors = [
                    experiment.kill().expect_err(name),
                    client.get_experiment(1).expect_err(name),
                ];
                assert!(
                    errors
                        .iter()
                        .all(|error| error.kind() == ErrorKind::Timeout)
                );
                let took = started.elapsed() / 2;
                assert!(took < Duration::from_secs(60), "{name}: {took:?}");
            });
        }
    });
}

#[test]
fn a_drip_that_comes_to_an_end_in_time_is_an_answer() {
    let master = RawMaster::start(|_, stream| {
        let whole = crate::ok(EXPERIMENT);
        for byte in whole.as_bytes() {
            stream.write_all(&[*byte])?;
            stream.flush()?;
            thread::sleep(Duration::from_millis(2));
        }
        Ok(After::KeepOpen)
    });
    assert_eq!(master.client().get_experiment(1).unwrap().name, "n");
}
