//! Passwords and tokens show nowhere: not in errors, not in `Debug`, not in logs at any level, not at a server that is not the master.

use std::fmt::Debug;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use determined::{
    CreateUserOptions, Determined, ErrorKind, LogOptions, LoginOptions, ModelDefinition, Proxy,
    TokenStore,
};
use serde_json::json;

use crate::EXPERIMENT;
use crate::support::{After, LOGGED_IN, RawMaster, Seen, answer, json as answer_json};

const PASSWORD: &str = "Hush-Passw0rd-1";
const TOKEN: &str = "secret-token-1";
/// How what is sent instead of the password begins; it is as good as the password.
const HASH: &str = "5f9ced8413c10c38ae6ea9d58d6b854df6e34140ce0c4388b4c7e3459ac158fb";

/// A master that gives back to everybody what they have sent, in a refusal, in a success, or in the middle of a stream.
fn echo(seen: &Seen, stream: &mut std::net::TcpStream, status: u16) -> std::io::Result<After> {
    let headers: Vec<String> = seen
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    let said = format!(
        "you said: {} {}",
        headers.join("; "),
        String::from_utf8_lossy(&seen.body)
    );
    match status {
        200 => answer(stream, 200, &[], said.as_bytes()),
        _ => answer_json(
            stream,
            status,
            &json!({"error": {"error": said}}).to_string(),
        ),
    }
}

#[track_caller]
fn assert_hidden(text: &str) {
    for secret in [PASSWORD, TOKEN, HASH] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn a_master_that_repeats_the_request_does_not_get_it_into_an_error() {
    for status in [200, 400, 401, 403, 404, 500] {
        let master = RawMaster::start(move |seen, stream| match seen.path() {
            "/api/v1/trials/1" => answer_json(stream, 200, r#"{"trial":{"id":1}}"#),
            _ => echo(seen, stream, status),
        });
        let options = master.login_options().password(PASSWORD).retries(0);
        let client = Determined::new(options).unwrap();
        let login = &master.requests()[0];
        assert!(login.json()["password"].as_str().unwrap().starts_with(HASH));
        let trial = client.get_trial(1).unwrap();
        let errors = [
            client.whoami().unwrap_err(),
            client.get_models().unwrap_err(),
            client.create_model("m").unwrap_err(),
            client
                .create_experiment(json!({"name": "n"}), ModelDefinition::none())
                .unwrap_err(),
            trial.kill().unwrap_err(),
            match trial.logs_with(LogOptions::new()) {
                Ok(mut entries) => entries.next().unwrap().unwrap_err(),
                Err(error) => error,
            },
        ];
        // To log out with a token that is not valid any more is no error.
        for error in errors.into_iter().chain(client.logout().err()) {
            assert_hidden(&format!("{error} {error:?} {:?}", error.server_message()));
        }
    }
}

#[test]
fn a_login_that_repeats_the_request_does_not_get_it_into_an_error() {
    for status in [200, 400, 401, 403, 500] {
        let master = RawMaster::start_bare(move |seen, stream| echo(seen, stream, status));
        let options = master.login_options().password(PASSWORD);
        let error = Determined::new(options).unwrap_err();
        assert_hidden(&format!("{error} {error:?} {:?}", error.server_message()));
    }
}

#[test]
fn a_token_that_no_header_can_hold_is_an_error_that_does_not_show_it() {
    let master = RawMaster::start(|_, stream| answer_json(stream, 200, EXPERIMENT));
    let options = LoginOptions::new()
        .master(&master.url)
        .token_store(TokenStore::None)
        .environment([
            ("DET_USER", "kim"),
            ("DET_USER_TOKEN", "secret-token-1\r\nx: y"),
            ("HOME", "/nonexistent"),
        ]);
    let error = Determined::new(options)
        .and_then(|client| client.get_experiment(1))
        .unwrap_err();
    assert_hidden(&format!("{error} {error:?}"));
    assert!(master.requests().is_empty());
}

#[test]
fn nothing_shows_its_secrets_when_it_is_debugged() {
    let master = RawMaster::start(|seen, stream| match seen.path() {
        "/api/v1/experiments/1" => answer_json(stream, 200, EXPERIMENT),
        "/api/v1/trials/1" => answer_json(stream, 200, r#"{"trial":{"id":1}}"#),
        path if path.ends_with("/logs") => {
            crate::support::start_chunked(stream)?;
            crate::support::chunk(
                stream,
                b"{\"result\":{\"log\":\"a\"}}\n{\"result\":{\"log\":\"b\"}}\n",
            )?;
            crate::support::chunk(stream, b"").map(|()| After::KeepOpen)
        }
        _ => answer_json(
            stream,
            200,
            r#"{"models":[{"id":1}],"pagination":{"endIndex":1,"total":1}}"#,
        ),
    });
    let options = master
        .login_options()
        .password(PASSWORD)
        .proxy(Proxy::Url(format!(
            "http://kim:{PASSWORD}@proxy.example:3128"
        )))
        .environment([
            ("DET_PASS", PASSWORD),
            ("DET_USER_TOKEN", TOKEN),
            (
                "HTTP_PROXY",
                "http://kim:Hush-Passw0rd-1@proxy.example:3128",
            ),
            ("NO_PROXY", "127.0.0.1"),
        ]);
    let shown = |thing: &dyn Debug| assert_hidden(&format!("{thing:?} {thing:#?}"));
    shown(&options);
    shown(&Proxy::Url(format!(
        "http://kim:{PASSWORD}@proxy.example:3128"
    )));
    shown(&Proxy::Url(format!("{PASSWORD}@proxy.example")));
    shown(&CreateUserOptions::new().password(PASSWORD));
    let client = Determined::new(options.proxy(Proxy::Environment)).unwrap();
    shown(&client);
    shown(&client.get_experiment(1).unwrap());
    let trial = client.get_trial(1).unwrap();
    shown(&trial);
    let mut entries = trial.logs().unwrap();
    shown(&entries);
    shown(&entries.next().unwrap().unwrap());
    shown(
        &client
            .iter_models_with(determined::ModelQuery::new())
            .unwrap(),
    );
}

#[test]
fn a_redirect_to_another_host_takes_no_secret_along_whatever_is_asked_for() {
    let elsewhere = RawMaster::start_bare(|seen, stream| match seen.path() {
        path if path.contains("logs") => answer_json(stream, 200, ""),
        _ => answer_json(stream, 200, EXPERIMENT),
    });
    let away = elsewhere.url.clone();
    let master = RawMaster::start(move |seen, stream| match seen.path() {
        "/api/v1/trials/1" => answer_json(stream, 200, r#"{"trial":{"id":1}}"#),
        _ => {
            let location = format!("{away}{}", seen.target);
            answer(
                stream,
                [301, 302, 303, 307, 308][seen.target.len() % 5],
                &[("location", &location)],
                b"",
            )
        }
    });
    let client = Determined::new(master.login_options().password(PASSWORD)).unwrap();
    client.get_experiment(1).unwrap();
    let trial = client.get_trial(1).unwrap();
    assert_eq!(trial.logs().unwrap().count(), 0);
    for error in [
        client.create_model("m").unwrap_err(),
        trial.kill().unwrap_err(),
        client.logout().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{error}");
    }
    assert_eq!(elsewhere.requests().len(), 2);
    for seen in elsewhere.requests() {
        assert_eq!(seen.header("authorization"), None);
        assert_hidden(&format!("{seen:?}"));
    }
}

#[test]
fn a_login_is_never_sent_elsewhere() {
    let elsewhere = RawMaster::start_bare(|_, stream| answer_json(stream, 200, LOGGED_IN));
    for status in [301, 302, 303, 307, 308] {
        let away = elsewhere.url.clone();
        let master = RawMaster::start_bare(move |seen, stream| {
            answer(
                stream,
                status,
                &[("location", &format!("{away}{}", seen.target))],
                b"",
            )
        });
        let error = Determined::new(master.login_options()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{error}");
        assert!(error.to_string().contains(&elsewhere.url), "{error}");
    }
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn a_redirect_that_leads_nowhere_is_an_error_without_what_may_be_secret_in_it() {
    for location in [
        "",
        "relative",
        "ftp://host/x",
        "javascript:alert(1)",
        "//",
        "http://",
        "http://[::1",
        "http://host:99999/",
        "http://kim:Hush-Passw0rd-1@127.0.0.1:1/x",
        "/x?token=secret-token-1",
        "http://127.0.0.1:1/x?token=secret-token-1",
    ] {
        let master =
            RawMaster::start(move |_, stream| answer(stream, 302, &[("location", location)], b""));
        let options = master.login_options().retries(0);
        let error = Determined::new(options)
            .unwrap()
            .get_experiment(1)
            .expect_err(location);
        assert!(
            matches!(
                error.kind(),
                ErrorKind::InvalidResponse | ErrorKind::MasterNotFound | ErrorKind::InvalidInput
            ),
            "{location}: {error}"
        );
        assert_hidden(&format!("{error} {error:?}"));
    }
}

/// Does a bit of everything at the level of trace, and checks every line.
#[test]
#[ignore = "another test runs it, in a process of its own: a process has one logger"]
fn child() {
    static LINES: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());
    struct Collector;
    impl log::Log for Collector {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            let line = (record.target().to_owned(), record.args().to_string());
            LINES.lock().unwrap().push(line);
        }
        fn flush(&self) {}
    }
    if std::env::var_os("FAULTS_TRACE").is_none() {
        return;
    }
    log::set_logger(&Collector).unwrap();
    log::set_max_level(log::LevelFilter::Trace);

    let asked = AtomicUsize::new(0);
    let master = RawMaster::start(move |seen, stream| {
        match (asked.fetch_add(1, Ordering::SeqCst), seen.path()) {
            // The session expires, the master hangs up, and stands behind a gateway that redirects.
            (0, _) => echo(seen, stream, 401),
            (1, _) => Ok(After::Close),
            (2, path) => answer(
                stream,
                302,
                &[("location", &format!("{path}?again=1"))],
                b"",
            ),
            (3, _) => echo(seen, stream, 502),
            (_, "/api/v1/experiments/1") => answer_json(stream, 200, EXPERIMENT),
            _ => echo(seen, stream, 500),
        }
    });
    let scratch = tempfile::tempdir().unwrap();
    let options = master
        .login_options()
        .password(PASSWORD)
        .token_store(TokenStore::Dir(scratch.path().into()));
    let client = Determined::new(options.clone()).unwrap();
    client.get_experiment(1).unwrap();
    client.create_model("m").unwrap_err();
    client.create_user("u", false, PASSWORD).unwrap_err();
    client.logout().unwrap_err();
    std::fs::write(
        scratch.path().join("auth.json"),
        format!("{{\"version\": 2, {TOKEN:?}"),
    )
    .unwrap();
    Determined::new(options).unwrap_err();

    let lines = LINES.lock().unwrap();
    assert!(
        lines
            .iter()
            .any(|(target, line)| target == "determined"
                && line.contains("GET /api/v1/experiments/1"))
    );
    let mut by_target = std::collections::BTreeMap::<&str, String>::new();
    for (target, line) in lines.iter() {
        let text = by_target.entry(target).or_default();
        text.push_str(line);
        text.push('\n');
    }
    // ureq writes the very bytes of a connection under this one target; the page on troubleshooting tells how to leave it out.
    const BYTES: &str = "ureq_proto::util";
    assert!(include_str!("../../docs/troubleshooting.md").contains(BYTES));
    assert!(
        by_target
            .remove(BYTES)
            .is_some_and(|text| text.contains(TOKEN))
    );
    for (target, text) in by_target {
        assert_hidden(&format!("{target}: {text}"));
    }
}

#[test]
fn no_log_line_of_any_level_holds_a_secret() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "secrets::child", "--ignored", "--nocapture"])
        .env("FAULTS_TRACE", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
