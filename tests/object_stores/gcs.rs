//! Google Cloud Storage: its listing, its versions, and its tokens.

use std::fs;
use std::io;
use std::net::TcpStream;

use determined::ErrorKind;
use serde_json::{Value, json};

use crate::bucket::query;
use crate::support::{After, Seen, answer, json as send_json};
use crate::world::{MIB, World, assert_holds, noise, odd_files, world_of};

const KEY: &str = include_str!("../vectors/rfc7515_a2.pem");

fn storage(_: &str) -> Value {
    json!({"type": "gcs", "bucket": "ckpts", "prefix": "/my//prefix/", "save_trial_best": 5})
}

fn world(files: &[(&str, Vec<u8>)]) -> World {
    world_of(files, storage, |_, _| None)
}

#[test]
fn odd_names_come_out_as_they_are_over_many_pages() {
    let mut files = odd_files();
    let names: Vec<String> = (0..25).map(|n| format!("part/{n}")).collect();
    files.extend(names.iter().map(|name| (name.as_str(), noise(5, 1))));
    for host in ["URL", "HOST"] {
        let world = world(&files);
        let host = host.replace("HOST", world.server.url.trim_start_matches("http://"));
        let requests = world
            .download_in(&[("STORAGE_EMULATOR_HOST", &host)])
            .unwrap();
        assert_holds(&world.path(), &files);
        assert!(
            requests
                .iter()
                .all(|seen| seen.header("authorization").is_none())
        );
    }
}

#[test]
fn a_large_object_comes_in_pieces_of_one_version() {
    let files = [("large", noise(20 * MIB, 1))];
    let world = world(&files);
    let requests = world
        .download_in(&[("STORAGE_EMULATOR_HOST", "URL")])
        .unwrap();
    assert_holds(&world.path(), &files);
    assert_eq!(world.asked("large"), ["0-16777215", "16777216-20971519"]);
    for seen in requests
        .iter()
        .filter(|seen| seen.path().starts_with("/download/"))
    {
        assert_eq!(query(seen)["ifGenerationMatch"], "1");
    }
}

/// Gives a token for whatever is shown at `/token`.
fn tokens(seen: &Seen, stream: &mut TcpStream) -> Option<io::Result<After>> {
    let granted = json!({"access_token": format!("token of {}", seen.path()), "expires_in": 3599, "token_type": "Bearer"});
    match (seen.method.as_str(), seen.path()) {
        ("POST", "/token") => Some(send_json(stream, 200, &granted.to_string())),
        ("GET", "/computeMetadata/v1/instance/service-accounts/default/token") => {
            assert_eq!(seen.header("metadata-flavor"), Some("Google"));
            Some(send_json(stream, 200, &granted.to_string()))
        }
        _ => None,
    }
}

#[test]
fn each_kind_of_credentials_gives_a_token() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("key.json");
    let files = [("a", noise(10, 1)), ("b", noise(10, 2))];
    for kind in ["service_account", "authorized_user"] {
        let world = world_of(&files, storage, tokens);
        let credentials = json!({
            "type": kind,
            "client_email": "me@project.example", "private_key_id": "k", "private_key": KEY,
            "client_id": "i", "client_secret": "s", "refresh_token": "r",
            "token_uri": format!("{}/token", world.server.url),
        });
        fs::write(&path, credentials.to_string()).unwrap();
        let variables = [
            ("API_ENDPOINT_OVERRIDE", "URL"),
            ("GOOGLE_APPLICATION_CREDENTIALS", path.to_str().unwrap()),
        ];
        for seen in world.download_in(&variables).unwrap() {
            assert_eq!(seen.header("authorization"), Some("Bearer token of /token"));
        }
        // One token for the whole download.
        assert_eq!(world.server.count("/token"), 1);
        let asked = world
            .server
            .requests()
            .into_iter()
            .find(|seen| seen.path() == "/token")
            .unwrap();
        let body = String::from_utf8(asked.body).unwrap();
        let grant = match kind {
            "service_account" => {
                "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=ey"
            }
            _ => "grant_type=refresh_token&client_id=i&client_secret=s&refresh_token=r",
        };
        assert!(body.starts_with(grant), "{body}");
    }
}

#[test]
fn a_machine_gives_a_token() {
    let world = world_of(&[("a", noise(10, 1))], storage, tokens);
    let host = world.server.url.trim_start_matches("http://").to_owned();
    let variables = [
        ("API_ENDPOINT_OVERRIDE", "URL"),
        ("GCE_METADATA_HOST", &host),
    ];
    for seen in world.download_in(&variables).unwrap() {
        let authorization = seen.header("authorization").unwrap();
        assert!(
            authorization.starts_with("Bearer token of /computeMetadata/"),
            "{authorization}"
        );
    }
}

#[test]
fn what_google_says_is_told() {
    let world = world_of(&[("a", noise(10, 1))], storage, |seen, stream| {
        seen.path().starts_with("/storage/v1/").then(|| {
            let said = r#"{"error": {"code": 403, "message": "kim does not have storage.objects.list access"}}"#;
            answer(stream, 403, &[], said.as_bytes())
        })
    });
    let error = world
        .download_in(&[("STORAGE_EMULATOR_HOST", "URL")])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("gs://ckpts: 403"), "{error}");
    assert!(error.to_string().contains("kim does not have"), "{error}");

    let variables = [
        ("API_ENDPOINT_OVERRIDE", "URL"),
        ("GCE_METADATA_HOST", "127.0.0.1:9"),
    ];
    let error = world.download_in(&variables).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("there are no Google credentials"),
        "{error}"
    );
    assert_eq!(world.left(), [""; 0]);
}
