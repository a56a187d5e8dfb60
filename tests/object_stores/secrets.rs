//! Keys, tokens and signatures show nowhere: not in errors, not in `Debug`, not in the log. Only at the level of trace, which is ureq's alone, is
//! there what goes over the wire; the page on troubleshooting tells how to leave it out.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::sync::{Mutex, Once};

use determined::ErrorKind;
use serde_json::{Value, json};

use crate::bucket::refuse;
use crate::support::{After, Seen, answer, json as send_json};
use crate::world::{World, noise, s3_storage, world_of};

/// In every secret of these tests, as it is sent and as it is meant.
const SECRET: &str = "hush-hush";

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        let mut lines = LINES.lock().unwrap();
        lines.push(format!("{} {}", record.target(), record.args()));
    }
    fn flush(&self) {}
}

fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Log).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
    });
}

fn assert_hidden(text: &str) {
    assert!(!text.contains(SECRET), "{text}");
    for word in ["Signature=", "SharedKey ", "Bearer "] {
        if let Some((_, shown)) = text.split_once(word) {
            assert!(shown.starts_with("[hidden]"), "{text}");
        }
    }
}

/// Gives everything back that it was sent: as the words of a refusal, or at once as a line of text.
fn echo(seen: &Seen, stream: &mut TcpStream, is_xml: bool) -> io::Result<After> {
    let header = |name: &str| seen.header(name).unwrap_or_default();
    let authorization = header("authorization").rsplit(' ').next();
    let query = seen.target.rsplit(['?', '&']).next();
    let said = [
        header("x-amz-security-token"),
        authorization.unwrap_or_default(),
        query.unwrap_or_default(),
    ];
    let said = said.join(" ");
    if is_xml {
        return refuse(stream, 403, &said);
    }
    answer(stream, 403, &[], said.as_bytes())
}

fn azure_storage(url: &str) -> Value {
    json!({
        "type": "azure", "container": "ckpts", "account_url": format!("{url}/account"),
        "credential": format!("sv=2020-10-02&sig={SECRET}%2Fwith-more-in-it%3D"),
    })
}

fn azure_storage_by_key(url: &str) -> Value {
    json!({
        "type": "azure", "container": "ckpts",
        "account_url": format!("{url}/account"),
        "credential": {"account_name": "account", "account_key": "aHVzaC1odXNoLWh1c2gtaHVzaA=="},
    })
}

fn keyless(url: &str) -> Value {
    json!({"type": "s3", "bucket": "ckpts", "prefix": "my/prefix", "endpoint_url": url})
}

fn gcs_storage(_: &str) -> Value {
    json!({"type": "gcs", "bucket": "ckpts", "prefix": "my/prefix"})
}

/// A world in which the store repeats what it is sent.
fn echoing(storage: fn(&str) -> Value, is_xml: bool) -> World {
    world_of(
        &[("a", noise(10, 1))],
        storage,
        move |seen, stream| match seen.path() {
            "/token" => {
                let granted =
                    json!({"access_token": format!("{SECRET}-access-token"), "expires_in": 3599});
                Some(send_json(stream, 200, &granted.to_string()))
            }
            path if path.contains("/ckpts") => Some(echo(seen, stream, is_xml)),
            _ => None,
        },
    )
}

#[test]
fn a_store_that_repeats_the_request_does_not_get_its_secrets_into_an_error_or_the_log() {
    listen();
    let scratch = tempfile::tempdir().unwrap();
    let key = scratch.path().join("key.json");
    let session_token = format!("{SECRET}/session+token=");
    for is_xml in [false, true] {
        for storage in [
            s3_storage,
            keyless,
            azure_storage,
            azure_storage_by_key,
            gcs_storage,
        ] {
            let world = echoing(storage, is_xml);
            let credentials = json!({
                "type": "authorized_user", "client_id": "i", "client_secret": format!("{SECRET}-of-the-client"),
                "refresh_token": format!("{SECRET}-to-refresh"), "token_uri": format!("{}/token", world.server.url),
            });
            fs::write(&key, credentials.to_string()).unwrap();
            let variables = [
                ("AWS_ACCESS_KEY_ID", "from-environment"),
                ("AWS_SECRET_ACCESS_KEY", SECRET),
                ("AWS_SESSION_TOKEN", session_token.as_str()),
                ("GOOGLE_APPLICATION_CREDENTIALS", key.to_str().unwrap()),
                ("API_ENDPOINT_OVERRIDE", "URL"),
            ];
            let error = world.download_in(&variables).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
            // The store was asked, and its words are told.
            assert!(error.to_string().contains("[hidden]"), "{error}");
            assert_hidden(&format!("{error} {error:?}"));
        }
    }
    let lines = LINES.lock().unwrap();
    assert!(lines.iter().any(|line| line.contains("403")));
    for line in lines.iter() {
        assert_hidden(line);
    }
}

#[test]
fn a_token_service_that_repeats_the_request_does_not_get_its_secrets_into_an_error() {
    listen();
    let scratch = tempfile::tempdir().unwrap();
    let key = scratch.path().join("key.json");
    let token = scratch.path().join("token");
    fs::write(&token, format!("{SECRET}.web+identity")).unwrap();
    for storage in [gcs_storage, keyless] {
        let world = world_of(&[("a", noise(10, 1))], storage, |seen, stream| {
            (seen.method == "POST").then(|| answer(stream, 400, &[], &seen.body.clone()))
        });
        let credentials = json!({
            "type": "authorized_user", "client_id": "i", "client_secret": format!("{SECRET}+of the client"),
            "refresh_token": format!("{SECRET}/to-refresh"), "token_uri": format!("{}/token", world.server.url),
        });
        fs::write(&key, credentials.to_string()).unwrap();
        let variables = [
            ("GOOGLE_APPLICATION_CREDENTIALS", key.to_str().unwrap()),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
            ("AWS_ENDPOINT_URL_STS", "URL"),
        ];
        let error = world.download_in(&variables).unwrap_err();
        assert!(error.to_string().contains("[hidden]"), "{error}");
        assert_hidden(&format!("{error} {error:?}"));
    }
}

#[test]
fn what_no_request_can_hold_is_an_error_that_does_not_show_it() {
    listen();
    let odd = |credential: &str| {
        let credential = credential.to_owned();
        world_of(
            &[("a", noise(10, 1))],
            move |url| {
                let mut storage = azure_storage(url);
                storage["credential"] = json!(credential);
                storage
            },
            |_, _| None,
        )
    };
    for credential in [
        "sv=1&sig=hush-hush with blanks",
        "sv=1&sig=hush-hush\nof two lines",
        "sv=1&sig=hush-hush-\u{fc}",
    ] {
        let error = odd(credential).download().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
        assert_hidden(&format!("{error} {error:?}"));
    }
    let world = world_of(&[("a", noise(10, 1))], keyless, |_, _| None);
    let variables = [
        ("AWS_ACCESS_KEY_ID", "from-environment"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_SESSION_TOKEN", "hush-hush\nof two lines"),
    ];
    let error = world.download_in(&variables).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    assert_hidden(&format!("{error} {error:?}"));
    for line in LINES.lock().unwrap().iter() {
        assert_hidden(line);
    }
}

#[test]
fn a_password_in_an_address_is_not_told() {
    listen();
    let world = world_of(&[("a", noise(10, 1))], gcs_storage, |_, _| None);
    let host = "http://kim:hush-hush@127.0.0.1:9";
    let error = world
        .download_in(&[("STORAGE_EMULATOR_HOST", host)])
        .unwrap_err();
    assert!(error.to_string().contains("http://127.0.0.1:9"), "{error}");
    assert_hidden(&format!("{error} {error:?}"));
}

#[test]
fn what_a_configuration_holds_is_not_shown_when_a_checkpoint_is() {
    for storage in [azure_storage, s3_storage] {
        let world = world_of(&[("a", noise(10, 1))], storage, |_, _| None);
        let checkpoint = world.checkpoint();
        let shown = format!("{checkpoint:?} {checkpoint:#?}");
        assert_hidden(&shown);
        assert!(!shown.contains("ssss"), "{shown}");
        assert!(shown.contains("ckpts"), "{shown}");
    }
}
