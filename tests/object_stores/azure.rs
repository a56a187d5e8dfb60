//! Azure Blob Storage: its listing, its versions, and its rights.

use determined::{DownloadMode, ErrorKind};
use serde_json::{Value, json};

use crate::support::answer;
use crate::world::{MIB, World, assert_holds, is_to_bucket, key_of, noise, odd_files, world_of};

fn by_key(url: &str) -> Value {
    json!({
        "type": "azure", "container": "ckpts/my/prefix/",
        "connection_string": format!("AccountName=account;AccountKey=c2VjcmV0;BlobEndpoint={url}/account"),
    })
}

fn by_signature(url: &str) -> Value {
    json!({
        "type": "azure", "container": "ckpts/my/prefix",
        "account_url": format!("{url}/account"), "credential": "?sv=2020-10-02&sp=rl&sig=s3cret%2B",
    })
}

fn world(files: &[(&str, Vec<u8>)], storage: fn(&str) -> Value) -> World {
    world_of(files, storage, |_, _| None)
}

#[test]
fn odd_names_come_out_as_they_are_over_many_pages() {
    let mut files = odd_files();
    let names: Vec<String> = (0..25).map(|n| format!("part/{n}")).collect();
    files.extend(names.iter().map(|name| (name.as_str(), noise(5, 1))));
    for storage in [by_key, by_signature] {
        let world = world(&files, storage);
        world.download().unwrap();
        assert_holds(&world.path(), &files);
        for seen in world
            .server
            .requests()
            .iter()
            .filter(|seen| is_to_bucket(seen))
        {
            // A read creates nothing.
            assert_eq!(seen.method, "GET");
            assert!(seen.header("x-ms-version").is_some());
            let has_signature = seen.target.ends_with("sv=2020-10-02&sp=rl&sig=s3cret%2B");
            let authorization = seen.header("authorization").unwrap_or_default();
            assert!(
                has_signature != authorization.starts_with("SharedKey account:"),
                "{seen:?}"
            );
        }
    }
}

#[test]
fn a_directory_listed_as_an_empty_blob_is_one() {
    let files = [("sub/w.bin", noise(10, 1))];
    let world = world(&files, by_key);
    world.bucket.put(&key_of("sub"), b"");
    world.download().unwrap();
    assert_holds(&world.path(), &files);
}

#[test]
fn a_large_blob_comes_in_pieces_of_one_version() {
    let files = [("large", noise(20 * MIB, 1))];
    let world = world(&files, by_key);
    world.download().unwrap();
    assert_holds(&world.path(), &files);
    assert_eq!(world.asked("large"), ["0-16777215", "16777216-20971519"]);
    let requests = world.server.requests();
    let pieces = requests
        .iter()
        .filter(|seen| seen.header("x-ms-range").is_some());
    assert!(
        pieces
            .clone()
            .all(|seen| seen.header("if-match") == Some("\"v1\""))
    );
    assert_eq!(pieces.count(), 2);
}

#[test]
fn what_azure_says_is_told_without_the_signature() {
    let world = world_of(&[("a", noise(10, 1))], by_signature, |seen, stream| {
        seen.path().starts_with("/account/").then(|| {
            let said = "<?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code><Message>Server failed to authenticate.\nRequestId:1</Message></Error>";
            answer(stream, 403, &[("x-ms-error-code", "AuthenticationFailed")], said.as_bytes())
        })
    });
    for mode in [DownloadMode::Direct, DownloadMode::Auto] {
        let error = world
            .checkpoint()
            .download_with(world.options().mode(mode))
            .unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("azure://account/ckpts: 403"), "{text}");
        assert!(
            text.contains("AuthenticationFailed: Server failed to authenticate."),
            "{text}"
        );
        assert!(!text.contains("s3cret"), "{text}");
    }
    for storage in [
        json!({"type": "azure", "container": "c"}),
        json!({"type": "azure", "container": "c", "connection_string": null, "account_url": null}),
        json!({"type": "azure", "connection_string": "AccountName=a"}),
        json!({"type": "azure", "container": "c/../d", "connection_string": "AccountName=a"}),
        json!({"type": "azure", "container": "c", "connection_string": "AccountName=a;AccountKey=s3cret!"}),
    ] {
        let shown = storage.to_string();
        let world = world_of(
            &[("a", noise(10, 1))],
            move |_| storage.clone(),
            |_, _| None,
        );
        let error = world.download().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage, "{shown}: {error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}
