//! The default client: made once, by whoever comes first, and gone after `logout`.
//!
//! It is one for the whole process, so each test runs in a process of its own: this very binary, started again.

mod support;

use std::process::{Command, Output};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use determined::{ErrorKind, LoginOptions, Proxy, TokenStore, client};
use support::{After, LOGGED_IN, RawMaster, json};

/// Names the master to a process that one of the tests has started.
const MASTER: &str = "DETERMINED_TEST_MASTER";

/// Runs the test `name` of this file in a process that has these variables and no others.
fn run(name: &str, master: &RawMaster, variables: &[(&str, &str)]) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env_clear()
        .env(MASTER, &master.url)
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn assert_success(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

fn options() -> LoginOptions {
    LoginOptions::new()
        .master(std::env::var(MASTER).unwrap_or_default())
        .user("kim")
        .token_store(TokenStore::None)
        .proxy(Proxy::None)
}

#[test]
fn many_threads_that_need_the_client_first_share_one_login() {
    let master = RawMaster::start_bare(|_, stream| {
        thread::sleep(std::time::Duration::from_millis(100));
        json(stream, 200, LOGGED_IN)
    });
    let home = tempfile::tempdir().unwrap();
    let variables = [
        ("HOME", home.path().to_str().unwrap()),
        ("DET_MASTER", &master.url),
        ("DET_USER", "kim"),
        ("DET_PASS", "p"),
    ];
    assert_success(&run("child_of_many_threads", &master, &variables));
    assert_eq!(master.requests().len(), 1);
}

#[test]
#[ignore = "the other tests run it, in a process of its own"]
fn child_of_many_threads() {
    if std::env::var_os(MASTER).is_none() {
        return;
    }
    let start = Barrier::new(16);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                start.wait();
                assert_eq!(client::get_session_username().unwrap(), "kim");
            });
        }
    });
}

#[test]
fn login_comes_once_and_before_anything_else_and_may_be_tried_again() {
    let asked = AtomicUsize::new(0);
    let master = RawMaster::start_bare(move |seen, stream| match seen.path() {
        "/api/v1/auth/login" if asked.fetch_add(1, Ordering::SeqCst) == 0 => {
            json(stream, 401, r#"{"error":{"error":"invalid credentials"}}"#)
        }
        "/api/v1/auth/login" => json(stream, 200, LOGGED_IN),
        "/api/v1/auth/logout" => Ok(After::Close),
        _ => json(stream, 500, "{}"),
    });
    assert_success(&run("child_that_logs_in", &master, &[]));
}

#[test]
#[ignore = "the other tests run it, in a process of its own"]
fn child_that_logs_in() {
    if std::env::var_os(MASTER).is_none() {
        return;
    }
    client::logout().unwrap();
    let error = client::login(options().password("wrong")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    client::login(options().password("right")).unwrap();
    let error = client::login(options().password("right")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyLoggedIn);
    assert_eq!(client::get_session_username().unwrap(), "kim");
    // The master cuts the connection; the client is gone all the same.
    client::logout().unwrap_err();
    client::login(options().password("right")).unwrap();
}
