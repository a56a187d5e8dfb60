//! The public API against a master, a network, a disk and files that misbehave.
//!
//! Every test says in its name what must hold; `docs/reliability.md` lists them under the promises that they keep.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod downloads;
mod following;
mod outages;
mod paging;
mod reliability_page;
mod secrets;
mod silence;
mod stores;
mod streams;
mod submissions;
mod transport;

use std::io::Write;
use std::time::Duration;

use determined::{Determined, Error, ErrorKind, Experiment};
use support::{After, RawMaster};

/// What a master answers when asked for experiment 1, without most of the fields.
const EXPERIMENT: &str =
    r#"{"experiment":{"id":1,"name":"n","state":"STATE_COMPLETED","config":{"name":"n"}}}"#;

/// A client that tries nothing twice and waits for nothing long.
fn hasty(master: &RawMaster) -> Determined {
    let options = master.login_options().retries(0);
    Determined::new(options.read_timeout(Duration::from_secs(2))).unwrap()
}

/// A master that answers all but the login with these bytes, and then closes the connection.
fn saying(bytes: impl Into<Vec<u8>>) -> RawMaster {
    let bytes = bytes.into();
    RawMaster::start(move |_, stream| {
        stream.write_all(&bytes)?;
        Ok(After::Close)
    })
}

/// What comes of asking such a master for an experiment.
fn asked(bytes: impl Into<Vec<u8>>) -> Result<Experiment, Error> {
    hasty(&saying(bytes)).get_experiment(1)
}

/// A whole answer as bytes.
fn ok(body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// Asserts that each of these answers is an error of this kind that names the route.
#[track_caller]
fn assert_kinds<B: Into<Vec<u8>>>(
    kind: ErrorKind,
    rows: impl IntoIterator<Item = (&'static str, B)>,
) {
    for (name, bytes) in rows {
        let error = asked(bytes).expect_err(name);
        assert_eq!(error.kind(), kind, "{name}: {error}");
        let text = error.to_string();
        assert!(text.contains("GET /api/v1/experiments/1"), "{name}: {text}");
    }
}
