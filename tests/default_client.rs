//! The default client: made once, by whoever comes first, and gone after `logout`.
//!
//! It is one for the whole process, so each test runs in a process of its own: this very binary, started again.

mod support;

use std::collections::HashSet;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;

use determined::{ErrorKind, LoginOptions, Proxy, TokenStore, client};
use support::{After, LOGGED_IN, ME, RawMaster, Seen, json};

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

#[test]
fn a_logout_while_another_thread_logs_in_leaves_what_that_was_told() {
    let master = RawMaster::start_bare(|seen, stream| {
        if seen.path() == "/api/v1/auth/login" {
            thread::sleep(std::time::Duration::from_millis(300));
        }
        json(stream, 200, LOGGED_IN)
    });
    assert_success(&run("child_that_logs_out_too_early", &master, &[]));
    assert_eq!(master.count("/api/v1/auth/logout"), 0);
}

#[test]
#[ignore = "the other tests run it, in a process of its own"]
fn child_that_logs_out_too_early() {
    if std::env::var_os(MASTER).is_none() {
        return;
    }
    thread::scope(|scope| {
        let login = scope.spawn(|| client::login(options().password("right")));
        // Long before the master answers.
        for _ in 0..10 {
            client::logout().unwrap();
            thread::sleep(std::time::Duration::from_millis(10));
        }
        login.join().unwrap().unwrap();
    });
    assert_eq!(client::get_session_username().unwrap(), "kim");
}

/// Gives every login a token of its own, and takes none that was revoked.
fn counting() -> RawMaster {
    let (given, revoked) = (AtomicUsize::new(0), Mutex::new(HashSet::new()));
    RawMaster::start_bare(move |seen, stream| {
        if seen.path() == "/api/v1/auth/login" {
            let n = given.fetch_add(1, Ordering::SeqCst);
            let user = seen.json()["username"].as_str().unwrap().to_owned();
            let token = format!("token-of-{user}-{n}");
            return json(stream, 200, &format!(r#"{{"token":{token:?}}}"#));
        }
        let token = seen.header("authorization").unwrap_or_default().to_owned();
        let mut revoked = revoked.lock().unwrap();
        if revoked.contains(&token) {
            return json(stream, 401, r#"{"message":"it was revoked"}"#);
        }
        if seen.path() == "/api/v1/auth/logout" {
            revoked.insert(token);
        }
        json(stream, 200, ME)
    })
}

#[test]
fn threads_that_log_in_and_out_and_call_at_random_see_one_client_at_a_time() {
    let master = counting();
    let variables = [
        ("HOME", "/nonexistent"),
        ("DET_MASTER", &master.url),
        ("DET_USER", "env"),
        ("DET_PASS", "p"),
    ];
    let output = run("child_of_random_threads", &master, &variables);
    assert_success(&output);
    let text = String::from_utf8_lossy(&output.stdout);
    let logins = text.lines().find_map(|line| line.split_once("logins="));
    let logins: usize = logins.unwrap().1.parse().unwrap();
    let by_kim = |seen: &&Seen| seen.path().ends_with("login") && seen.json()["username"] == "kim";
    // Each login() that succeeded asked the master once, and none of those that came too late did.
    assert_eq!(master.requests().iter().filter(by_kim).count(), logins);
    assert!(logins > 0);
}

#[test]
#[ignore = "the other tests run it, in a process of its own"]
fn child_of_random_threads() {
    if std::env::var_os(MASTER).is_none() {
        return;
    }
    let (start, logins) = (Barrier::new(12), AtomicUsize::new(0));
    let act = |thread: usize| {
        start.wait();
        for n in 0..60 {
            match (thread * 7 + n * 5) % 12 {
                0..=2 => match client::login(options().password("right").relogin(false)) {
                    Ok(()) => drop(logins.fetch_add(1, Ordering::SeqCst)),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyLoggedIn, "{error}"),
                },
                3 => client::logout().unwrap(),
                4..=7 => {
                    let user = client::get_session_username().unwrap();
                    assert!(["kim", "env"].contains(&user.as_str()), "{user}");
                }
                // Another thread may have ended the session in the meantime.
                _ => match client::whoami() {
                    Ok(me) => assert_eq!(me.username, "kim"),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
                    }
                },
            }
        }
    };
    thread::scope(|scope| {
        for thread in 0..12 {
            let act = &act;
            scope.spawn(move || act(thread));
        }
    });
    println!("\nlogins={}", logins.load(Ordering::SeqCst));
}
