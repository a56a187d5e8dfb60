//! Where requests for a bucket of S3 go: its region, its own host name, an endpoint that is not there.

use std::fs;
use std::time::{Duration, Instant};

use determined::ErrorKind;
use serde_json::json;

use crate::bucket::Bucket;
use crate::support::{Seen, answer};
use crate::world::{assert_holds, is_to_bucket, key_of, noise, world_of, world_with};

#[test]
fn a_bucket_of_another_region_is_found() {
    for (status, shows_header) in [(301, true), (400, false), (400, true)] {
        let files = [("a", noise(10, 1))];
        let world = world_with(&files, move |seen, stream| {
            let authorization = seen.header("authorization").unwrap_or_default();
            let is_at_home = authorization.contains("/eu-central-1/s3/");
            (is_to_bucket(seen) && !is_at_home).then(|| {
                let body = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>wrong</Message><Region>eu-central-1</Region></Error>";
                let headers: &[(&str, &str)] = if shows_header { &[("x-amz-bucket-region", "eu-central-1")] } else { &[] };
                answer(stream, status, headers, body.as_bytes())
            })
        });
        world.download().unwrap();
        assert_holds(&world.path(), &files);
        assert_eq!(world.server.count("/ckpts"), 2);
    }
}

#[test]
fn a_dead_endpoint_is_told_soon() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let storage = move |_: &str| {
        json!({
            "type": "s3", "bucket": "ckpts", "endpoint_url": format!("http://127.0.0.1:{port}"),
            "access_key": "k", "secret_key": "s",
        })
    };
    let world = world_of(&[("a", noise(10, 1))], storage, |_, _| None);
    let started = Instant::now();
    let error = world.download().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(
        error.to_string().contains(&format!("127.0.0.1:{port}")),
        "{error}"
    );
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_bucket_can_stand_in_the_host_name() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".aws")).unwrap();
    let config = "[default]\ns3 =\n  addressing_style = virtual\n";
    fs::write(home.path().join(".aws/config"), config).unwrap();
    let storage = |_: &str| {
        json!({
            "type": "s3", "bucket": "ckpts", "prefix": "my/prefix", "endpoint_url": "http://store.example",
            "access_key": "k", "secret_key": "s",
        })
    };
    let files = [("a b+c", noise(10, 1))];
    let bucket = Bucket::new(1000, true);
    bucket.put(&key_of("a b+c"), &files[0].1);
    // The name does not resolve; the server is the proxy on the way to it.
    let world = world_of(&files, storage, move |seen, stream| {
        let target = seen.target.strip_prefix("http://ckpts.store.example/")?;
        assert_eq!(seen.header("host"), Some("ckpts.store.example"));
        let slash = if target.starts_with('?') { "" } else { "/" };
        let target = format!("/ckpts{slash}{target}");
        Some(bucket.serve(
            &Seen {
                target,
                ..seen.clone()
            },
            stream,
        ))
    });
    let variables = [
        ("HOME", home.path().to_str().unwrap()),
        ("HTTP_PROXY", "URL"),
        ("NO_PROXY", "127.0.0.1"),
    ];
    world.download_in(&variables).unwrap();
    assert_holds(&world.path(), &files);
}

#[test]
fn amazons_own_hosts_follow_from_the_region_and_the_bucket() {
    for (bucket, region, host) in [
        (
            "ckpts",
            "eu-central-1",
            "ckpts.s3.eu-central-1.amazonaws.com:443",
        ),
        (
            "my.ckpts",
            "eu-central-1",
            "s3.eu-central-1.amazonaws.com:443",
        ),
        (
            "ckpts",
            "cn-north-1",
            "ckpts.s3.cn-north-1.amazonaws.com.cn:443",
        ),
        ("ckpts", "", "ckpts.s3.us-east-1.amazonaws.com:443"),
    ] {
        // Nothing goes further than the proxy, which is the server itself.
        let storage = move |_: &str| json!({"type": "s3", "bucket": bucket});
        let world = world_of(&[("a", noise(10, 1))], storage, |seen, stream| {
            (seen.method == "CONNECT").then(|| answer(stream, 403, &[], b"no way out"))
        });
        let variables = [
            ("AWS_ACCESS_KEY_ID", "k"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_REGION", region),
            ("HTTPS_PROXY", "URL"),
        ];
        world.download_in(&variables).unwrap_err();
        let asked = world.server.requests();
        let asked = asked.iter().find(|seen| seen.method == "CONNECT").unwrap();
        assert_eq!(asked.target, host);
    }
}
