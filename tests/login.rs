//! Who logs in, with what: every way that options, environment and token store combine.

mod support;

use std::path::Path;

use determined::{Determined, ErrorKind, LoginOptions, Proxy, TokenStore};
use support::{LOGGED_IN, ME, RawMaster, json};

const UNAUTHENTICATED: &str =
    r#"{"error":{"code":16,"reason":"Unauthenticated","error":"invalid credentials"}}"#;

/// A master that knows the tokens `good-…` and lets everybody log in.
fn master() -> RawMaster {
    RawMaster::start(|seen, stream| match seen.header("authorization") {
        Some(token) if token.starts_with("Bearer good-") => json(stream, 200, ME),
        Some("Bearer forbidden") => {
            json(stream, 403, r#"{"error":{"error":"user is not active"}}"#)
        }
        Some("Bearer broken") => json(stream, 500, r#"{"error":{"error":"boom"}}"#),
        _ => json(stream, 401, UNAUTHENTICATED),
    })
}

/// A token store as the Python SDK writes it.
fn store(directory: &Path, master: &RawMaster, active: Option<&str>, tokens: &[(&str, &str)]) {
    let tokens: serde_json::Map<_, _> = tokens
        .iter()
        .map(|(user, token)| ((*user).to_owned(), (*token).into()))
        .collect();
    let mut entry = serde_json::json!({"tokens": tokens});
    if let Some(active) = active {
        entry["active_user"] = active.into();
    }
    let store = serde_json::json!({"version": 2, "masters": {&master.url: entry}});
    std::fs::write(directory.join("auth.json"), store.to_string()).unwrap();
}

fn stored_tokens(directory: &Path, master: &RawMaster) -> serde_json::Value {
    let text = std::fs::read_to_string(directory.join("auth.json")).unwrap();
    let store: serde_json::Value = serde_json::from_str(&text).unwrap();
    store["masters"][&master.url]["tokens"].clone()
}

/// What happened: who is logged in, and which calls it took, with the user of a login or the token of a check.
fn outcome(master: &RawMaster, options: LoginOptions) -> (Result<String, ErrorKind>, Vec<String>) {
    let client = Determined::new(options.master(&master.url).proxy(Proxy::None));
    let calls = master
        .requests()
        .iter()
        .map(|seen| match seen.path() {
            "/api/v1/auth/login" => format!("login {}", seen.json()["username"].as_str().unwrap()),
            _ => format!("check {}", seen.header("authorization").unwrap()),
        })
        .collect();
    let user = client.map(|client| client.get_session_username().to_owned());
    (user.map_err(|error| error.kind()), calls)
}

/// One row: the explicit user and password, the variables, the active user and the tokens of the store.
struct Row<'a> {
    given: (Option<&'a str>, Option<&'a str>),
    variables: &'a [(&'a str, &'a str)],
    store: (Option<&'a str>, &'a [(&'a str, &'a str)]),
    user: Result<&'a str, ErrorKind>,
    calls: &'a [&'a str],
}

#[test]
fn who_logs_in_is_decided_as_the_documentation_says() {
    const TOKEN_OF_BOB: &[(&str, &str)] = &[("DET_USER", "bob"), ("DET_USER_TOKEN", "good-env")];
    const PASS_OF_BOB: &[(&str, &str)] = &[("DET_USER", "bob"), ("DET_PASS", "pw")];
    let row = |given, variables, store, user, calls| Row {
        given,
        variables,
        store,
        user,
        calls,
    };
    let nothing = (None, &[][..]);
    let rows = [
        // User and password: always a login.
        row(
            (Some("kim"), Some("p")),
            &[],
            nothing,
            Ok("kim"),
            &["login kim"],
        ),
        row(
            (Some("kim"), Some("p")),
            &[],
            (None, &[("kim", "good-1")]),
            Ok("kim"),
            &["login kim"],
        ),
        row(
            (Some("bob"), Some("p")),
            TOKEN_OF_BOB,
            nothing,
            Ok("bob"),
            &["login bob"],
        ),
        // User alone: the store, then the environment's token of that user, then an error.
        row(
            (Some("kim"), None),
            &[],
            (None, &[("kim", "good-1")]),
            Ok("kim"),
            &["check Bearer good-1"],
        ),
        row((Some("bob"), None), TOKEN_OF_BOB, nothing, Ok("bob"), &[]),
        row(
            (Some("kim"), None),
            TOKEN_OF_BOB,
            nothing,
            Err(ErrorKind::Unauthenticated),
            &[],
        ),
        row(
            (Some("bob"), None),
            PASS_OF_BOB,
            nothing,
            Err(ErrorKind::Unauthenticated),
            &[],
        ),
        row(
            (Some("kim"), None),
            &[],
            (None, &[("kim", "stale")]),
            Err(ErrorKind::Unauthenticated),
            &["check Bearer stale"],
        ),
        // Password alone: the environment's user, the active one, or `determined`; always a login.
        row(
            (None, Some("p")),
            &[],
            nothing,
            Ok("determined"),
            &["login determined"],
        ),
        row(
            (None, Some("p")),
            PASS_OF_BOB,
            nothing,
            Ok("bob"),
            &["login bob"],
        ),
        row(
            (None, Some("p")),
            &[],
            (Some("amy"), &[("amy", "good-1")]),
            Ok("amy"),
            &["login amy"],
        ),
        // Neither.
        row(
            (None, None),
            &[],
            nothing,
            Ok("determined"),
            &["login determined"],
        ),
        row(
            (None, None),
            &[("DET_USER", "bob")],
            nothing,
            Ok("determined"),
            &["login determined"],
        ),
        row(
            (None, None),
            PASS_OF_BOB,
            nothing,
            Ok("bob"),
            &["login bob"],
        ),
        row(
            (None, None),
            PASS_OF_BOB,
            (None, &[("bob", "good-1")]),
            Ok("bob"),
            &["check Bearer good-1"],
        ),
        row(
            (None, None),
            PASS_OF_BOB,
            (None, &[("bob", "stale")]),
            Ok("bob"),
            &["check Bearer stale", "login bob"],
        ),
        row(
            (None, None),
            &[],
            (Some("amy"), &[("amy", "good-1")]),
            Ok("amy"),
            &["check Bearer good-1"],
        ),
        row(
            (None, None),
            &[],
            (Some("amy"), &[]),
            Err(ErrorKind::Unauthenticated),
            &[],
        ),
        row(
            (None, None),
            TOKEN_OF_BOB,
            (Some("amy"), &[]),
            Ok("bob"),
            &[],
        ),
        row(
            (None, None),
            TOKEN_OF_BOB,
            (Some("amy"), &[("amy", "good-1")]),
            Ok("amy"),
            &["check Bearer good-1"],
        ),
        row(
            (None, None),
            TOKEN_OF_BOB,
            (None, &[("determined", "good-1")]),
            Ok("determined"),
            &["check Bearer good-1"],
        ),
        row((None, None), TOKEN_OF_BOB, nothing, Ok("bob"), &[]),
        // Empty counts as not given.
        row(
            (Some(""), None),
            &[("DET_USER", ""), ("DET_PASS", "")],
            nothing,
            Ok("determined"),
            &["login determined"],
        ),
        row(
            (None, None),
            &[("DET_USER", "bob"), ("DET_USER_TOKEN", "")],
            nothing,
            Ok("determined"),
            &["login determined"],
        ),
        // Only a 401 speaks against a token.
        row(
            (Some("kim"), None),
            &[],
            (None, &[("kim", "forbidden")]),
            Err(ErrorKind::Forbidden),
            &["check Bearer forbidden"],
        ),
        row(
            (Some("kim"), None),
            &[],
            (None, &[("kim", "broken")]),
            Err(ErrorKind::Api),
            &["check Bearer broken"],
        ),
    ];
    for (n, row) in rows.iter().enumerate() {
        let (master, directory) = (master(), tempfile::tempdir().unwrap());
        store(directory.path(), &master, row.store.0, row.store.1);
        let mut options = LoginOptions::new()
            .environment(row.variables.iter().copied())
            .token_store(TokenStore::Dir(directory.path().into()));
        if let Some(user) = row.given.0 {
            options = options.user(user);
        }
        if let Some(password) = row.given.1 {
            options = options.password(password);
        }
        let (user, calls) = outcome(&master, options);
        let user = user.as_deref().map_err(|kind| *kind);
        assert_eq!(
            (user, calls),
            (
                row.user,
                row.calls.iter().map(|call| (*call).to_owned()).collect()
            ),
            "row {n}"
        );
    }
}

#[test]
fn a_login_is_kept_for_the_next_client_and_the_active_user_stays() {
    let (master, directory) = (master(), tempfile::tempdir().unwrap());
    store(directory.path(), &master, Some("amy"), &[("amy", "good-1")]);
    let dir = || TokenStore::Dir(directory.path().into());
    let (user, _) = outcome(
        &master,
        LoginOptions::new()
            .environment([("", ""); 0])
            .token_store(dir())
            .user("kim")
            .password("p"),
    );
    assert_eq!(user.unwrap(), "kim");
    let tokens = stored_tokens(directory.path(), &master);
    assert_eq!(
        (&tokens["kim"], &tokens["amy"]),
        (&"secret-token-1".into(), &"good-1".into())
    );
    let text = std::fs::read_to_string(directory.path().join("auth.json")).unwrap();
    assert!(text.contains(r#""active_user": "amy""#), "{text}");
}

#[test]
fn only_a_refused_token_is_dropped() {
    for (token, stays) in [("stale", false), ("forbidden", true), ("broken", true)] {
        let (master, directory) = (master(), tempfile::tempdir().unwrap());
        store(directory.path(), &master, None, &[("kim", token)]);
        let options = LoginOptions::new()
            .environment([("", ""); 0])
            .token_store(TokenStore::Dir(directory.path().into()))
            .user("kim");
        outcome(&master, options).0.unwrap_err();
        assert_eq!(
            stored_tokens(directory.path(), &master)
                .get("kim")
                .is_some(),
            stays,
            "{token}"
        );
    }
}

#[test]
fn force_login_passes_tokens_over() {
    let (master, directory) = (master(), tempfile::tempdir().unwrap());
    store(
        directory.path(),
        &master,
        Some("amy"),
        &[("determined", "good-1")],
    );
    let options = LoginOptions::new()
        .environment([
            ("DET_USER", "bob"),
            ("DET_PASS", "p"),
            ("DET_USER_TOKEN", "good-env"),
        ])
        .token_store(TokenStore::Dir(directory.path().into()))
        .force_login(true);
    let (user, calls) = outcome(&master, options);
    assert_eq!(
        (user.unwrap().as_str(), calls),
        ("bob", vec!["login bob".to_owned()])
    );
}

#[test]
fn a_token_from_the_environment_is_neither_stored_nor_revoked() {
    let (master, directory) = (master(), tempfile::tempdir().unwrap());
    let options = LoginOptions::new()
        .master(&master.url)
        .proxy(Proxy::None)
        .environment([("DET_USER", "bob"), ("DET_USER_TOKEN", "good-env")])
        .token_store(TokenStore::Dir(directory.path().into()));
    let client = Determined::new(options).unwrap();
    client.logout().unwrap();
    assert!(master.requests().is_empty());
    assert!(!directory.path().join("auth.json").exists());
}

#[test]
fn logging_out_clears_the_store_even_when_the_master_is_gone() {
    let master = RawMaster::start(|seen, stream| match seen.path() {
        "/api/v1/auth/logout" => json(stream, 500, "{}"),
        _ => json(stream, 200, ME),
    });
    let directory = tempfile::tempdir().unwrap();
    let options = master
        .login_options()
        .token_store(TokenStore::Dir(directory.path().into()));
    let client = Determined::new(options).unwrap();
    assert_eq!(
        stored_tokens(directory.path(), &master)["kim"],
        "secret-token-1"
    );
    client.logout().unwrap_err();
    assert_eq!(stored_tokens(directory.path(), &master).get("kim"), None);
}

#[test]
fn a_store_that_cannot_be_understood_is_set_aside_and_the_next_login_works() {
    let (master, directory) = (master(), tempfile::tempdir().unwrap());
    std::fs::write(directory.path().join("auth.json"), "{broken").unwrap();
    let options = || {
        master
            .login_options()
            .token_store(TokenStore::Dir(directory.path().into()))
    };
    let error = Determined::new(options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CorruptTokenCache);
    Determined::new(options()).unwrap();
    let names: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let kept = names
        .iter()
        .any(|path| std::fs::read(path).is_ok_and(|bytes| bytes == b"{broken"));
    assert!(kept, "{names:?}");
}

#[test]
fn the_master_comes_from_the_option_or_the_environment() {
    let master = RawMaster::start_bare(|_, stream| json(stream, 200, LOGGED_IN));
    for variable in ["DET_MASTER", "DET_MASTER_ADDR"] {
        let options = LoginOptions::new()
            .environment([(variable, master.url.as_str())])
            .token_store(TokenStore::None);
        Determined::new(options).unwrap();
    }
    assert_eq!(master.requests().len(), 2);
}
