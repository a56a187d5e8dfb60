//! That the process's own environment is what a client goes by, tried in processes of their own: here no test changes it.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use determined::{Determined, LoginOptions};
use serde_json::{Value, json};

/// Marks a process that one of the tests has started.
const MARK: &str = "DETERMINED_TEST_CHILD";

/// Logs in with nothing but the environment, and prints who that is.
#[test]
#[ignore = "the other tests run it, each in a process of its own"]
fn child() -> determined::Result<()> {
    if std::env::var_os(MARK).is_some() {
        let client = Determined::new(LoginOptions::new())?;
        println!("user={}", client.get_session_username());
    }
    Ok(())
}

/// Starts [`child`] with these variables and no others.
fn start(variables: &[(&str, &str)]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env_clear()
        .env(MARK, "1")
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn user_of(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    let user = text.lines().find_map(|line| line.strip_prefix("user="));
    user.unwrap_or_else(|| panic!("{text}")).to_owned()
}

/// A master that knows every user and gives each the token `token-of-<name>`.
fn master() -> mockito::ServerGuard {
    let mut server = mockito::Server::new();
    server
        .mock("POST", "/api/v1/auth/login")
        .with_body_from_request(|request| {
            let body: Value = serde_json::from_slice(request.body().unwrap()).unwrap();
            let name = body["username"].as_str().unwrap();
            let answer = json!({"token": format!("token-of-{name}"), "user": {"username": name}});
            answer.to_string().into_bytes()
        })
        .create();
    server
}

fn stored(home: &Path) -> Value {
    let directory = if cfg!(target_os = "macos") {
        "Library/Application Support/determined"
    } else {
        ".config/determined"
    };
    let file = fs::read(home.join(directory).join("auth.json")).unwrap();
    serde_json::from_slice(&file).unwrap()
}

#[test]
fn twenty_processes_that_log_in_at_once_lose_no_token() {
    let master = master();
    let home = tempfile::tempdir().unwrap();
    let users: Vec<String> = (0..20).map(|n| format!("user-{n}")).collect();
    let children: Vec<Child> = users
        .iter()
        .map(|user| {
            start(&[
                ("HOME", home.path().to_str().unwrap()),
                ("DET_MASTER", &master.url()),
                ("DET_USER", user),
                ("DET_PASS", "Passw0rd.test"),
            ])
        })
        .collect();
    for (user, child) in users.iter().zip(children) {
        assert_eq!(&user_of(&child.wait_with_output().unwrap()), user);
    }
    let stored = stored(home.path());
    for user in &users {
        let token = &stored["masters"][master.url()]["tokens"][user];
        assert_eq!(token, &format!("token-of-{user}"));
    }
}

#[test]
fn the_proxy_of_the_environment_is_used() {
    let proxy = master();
    let home = tempfile::tempdir().unwrap();
    let child = start(&[
        ("HOME", home.path().to_str().unwrap()),
        ("DET_MASTER_ADDR", "master.invalid"),
        ("DET_USER", "kim"),
        ("DET_PASS", "Passw0rd.test"),
        ("http_proxy", &proxy.url()),
    ]);
    assert_eq!(user_of(&child.wait_with_output().unwrap()), "kim");
    let stored = stored(home.path());
    let token = &stored["masters"]["http://master.invalid:8080"]["tokens"]["kim"];
    assert_eq!(token, "token-of-kim");
}
