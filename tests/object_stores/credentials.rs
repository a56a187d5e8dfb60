//! In whose name requests are signed: each place that credentials come from, shown by the key in the signature.

use std::fs;
use std::io;
use std::net::TcpStream;

use determined::ErrorKind;
use serde_json::{Value, json};

use crate::support::{After, Seen, answer};
use crate::world::{World, noise, world, world_of};

fn keyless(url: &str) -> Value {
    json!({"type": "s3", "bucket": "ckpts", "prefix": "my/prefix", "endpoint_url": url, "access_key": null, "secret_key": null})
}

fn signer(seen: &Seen) -> String {
    let authorization = seen.header("authorization").unwrap();
    let rest = authorization.split("Credential=").nth(1).unwrap();
    rest.split('/').next().unwrap().to_owned()
}

#[test]
fn the_environment_gives_a_session_token_and_a_region() {
    let world = keyless_world();
    let variables = [
        ("AWS_ACCESS_KEY_ID", "from-environment"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_SESSION_TOKEN", "passing"),
        ("AWS_DEFAULT_REGION", "eu-west-3"),
    ];
    for seen in world.download_in(&variables).unwrap() {
        assert_eq!(signer(&seen), "from-environment");
        assert_eq!(seen.header("x-amz-security-token"), Some("passing"));
        assert!(
            seen.header("authorization")
                .unwrap()
                .contains("/eu-west-3/s3/")
        );
    }
}

#[test]
fn the_configuration_goes_before_the_environment() {
    let world = world(&[("a", noise(10, 1))]);
    let variables = [
        ("AWS_ACCESS_KEY_ID", "other"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
    ];
    for seen in world.download_in(&variables).unwrap() {
        assert_eq!(signer(&seen), "kkkk");
    }
}

#[test]
fn a_profile_gives_keys_region_and_endpoint() {
    let storage = |_: &str| json!({"type": "s3", "bucket": "ckpts", "prefix": "my/prefix"});
    let world = world_of(&[("a", noise(10, 1))], storage, |_, _| None);
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".aws")).unwrap();
    let config = format!(
        "[profile team]\nregion = eu-north-1\nendpoint_url = {}\n",
        world.server.url
    );
    fs::write(home.path().join(".aws/config"), config).unwrap();
    let keys = "[team]\naws_access_key_id = from-profile\naws_secret_access_key = s\n";
    fs::write(home.path().join(".aws/credentials"), keys).unwrap();
    let variables = [
        ("AWS_PROFILE", "team"),
        ("HOME", home.path().to_str().unwrap()),
    ];
    for seen in world.download_in(&variables).unwrap() {
        assert_eq!(signer(&seen), "from-profile");
        assert!(
            seen.header("authorization")
                .unwrap()
                .contains("/eu-north-1/s3/")
        );
    }
}

const SERVICE: &str = r#"{"Code": "Success", "AccessKeyId": "from-service", "SecretAccessKey": "s", "Token": "t", "Expiration": "2126-01-01T00:00:00Z"}"#;

/// A world whose configuration has no keys, in a server that also gives some, by `serve`.
fn with_service(serve: fn(&Seen, &mut TcpStream) -> Option<io::Result<After>>) -> World {
    world_of(&[("a", noise(10, 1))], keyless, serve)
}

fn keyless_world() -> World {
    with_service(|_, _| None)
}

#[test]
fn a_web_identity_is_traded_for_a_role() {
    let world = with_service(|seen, stream| {
        (seen.method == "POST" && seen.path() == "/").then(|| {
            let body = String::from_utf8(seen.body.clone()).unwrap();
            assert!(body.contains("Action=AssumeRoleWithWebIdentity"), "{body}");
            assert!(body.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr"), "{body}");
            assert!(body.contains("WebIdentityToken=the%2Btoken"), "{body}");
            let answer_body = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>from-role</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2126-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
            answer(stream, 200, &[], answer_body.as_bytes())
        })
    });
    let home = tempfile::tempdir().unwrap();
    let token = home.path().join("token");
    fs::write(&token, "the+token\n").unwrap();
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
        ("AWS_ENDPOINT_URL_STS", "URL"),
    ];
    for seen in world.download_in(&variables).unwrap() {
        assert_eq!(signer(&seen), "from-role");
        assert_eq!(seen.header("x-amz-security-token"), Some("t"));
    }
    assert_eq!(world.server.count("/"), 1);
}

/// Gives credentials for a role to whoever asks, and tells by their key who that was.
fn roles(seen: &Seen, stream: &mut TcpStream) -> Option<io::Result<After>> {
    if seen.path() == "/creds" {
        return Some(answer(stream, 200, &[], SERVICE.as_bytes()));
    }
    (seen.method == "POST" && seen.path() == "/").then(|| {
        let authorization = seen.header("authorization").unwrap();
        assert!(authorization.contains("/eu-west-1/sts/aws4_request"), "{authorization}");
        let body = String::from_utf8(seen.body.clone()).unwrap();
        assert!(body.contains("Action=AssumeRole&"), "{body}");
        let role = body.split("RoleArn=").nth(1).unwrap();
        let role = role.split('&').next().unwrap();
        let key = format!("{role}-for-{}", signer(seen));
        let answer_body = format!("<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken></Credentials></AssumeRoleResult></AssumeRoleResponse>");
        answer(stream, 200, &[], answer_body.as_bytes())
    })
}

#[test]
fn a_profile_assumes_a_role_with_the_credentials_of_another_source() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".aws")).unwrap();
    let config = "
[default]
role_arn = reader
source_profile = base
external_id = a/b
duration_seconds = 900
[profile base]
aws_access_key_id = mine
aws_secret_access_key = s
[profile chain]
role_arn = second
source_profile = default
[profile self]
role_arn = own
source_profile = self
aws_access_key_id = mine
aws_secret_access_key = s
[profile container]
role_arn = boxed
credential_source = EcsContainer
[profile endless]
role_arn = r
source_profile = endless2
[profile endless2]
role_arn = r
source_profile = endless
[profile nothing]
role_arn = r
[profile gone]
role_arn = r
source_profile = nobody
[profile both]
role_arn = r
source_profile = base
credential_source = EcsContainer
";
    fs::write(home.path().join(".aws/config"), config).unwrap();
    let download = |profile: &str| {
        let world = with_service(roles);
        let variables = [
            ("HOME", home.path().to_str().unwrap()),
            ("AWS_PROFILE", profile),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ENDPOINT_URL", "URL"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "URL/creds"),
        ];
        let seen = world.download_in(&variables)?;
        let mut requests = world.server.requests().into_iter();
        let last = requests.rfind(|seen| seen.path() == "/").unwrap();
        Ok((seen, String::from_utf8(last.body).unwrap()))
    };
    for (profile, key, sent) in [
        (
            "default",
            "reader-for-mine",
            "&DurationSeconds=900&ExternalId=a%2Fb",
        ),
        (
            "chain",
            "second-for-reader-for-mine",
            "&RoleSessionName=determined-rust",
        ),
        ("self", "own-for-mine", ""),
        ("container", "boxed-for-from-service", ""),
    ] {
        let (requests, body) = download(profile).unwrap();
        assert!(body.contains(sent), "{body}");
        for seen in requests {
            assert_eq!(signer(&seen), key);
            assert_eq!(seen.header("x-amz-security-token"), Some("t"));
        }
    }
    for (profile, said) in [
        ("endless", "too many profiles"),
        ("nothing", "not one source_profile or credential_source"),
        ("gone", "\"nobody\", which is in neither file"),
        ("both", "not one source_profile or credential_source"),
    ] {
        let error: determined::Error = download(profile).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.to_string().contains(said), "{profile}: {error}");
    }
}

#[test]
fn a_container_gives_credentials() {
    let world = with_service(|seen, stream| {
        (seen.path() == "/creds").then(|| {
            assert_eq!(seen.header("authorization"), Some("Basic abc"));
            answer(stream, 200, &[], SERVICE.as_bytes())
        })
    });
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "URL/creds"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic abc"),
    ];
    for seen in world.download_in(&variables).unwrap() {
        assert_eq!(signer(&seen), "from-service");
    }
    // Never from just anywhere.
    let world = keyless_world();
    let variables = [(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "http://192.0.2.1/creds",
    )];
    let error = world.download_in(&variables).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        "{error}"
    );
}

#[test]
fn a_machine_gives_credentials_by_the_second_protocol() {
    let world = with_service(|seen, stream| {
        let has_token = seen.header("x-aws-ec2-metadata-token") == Some("the-token");
        match (seen.method.as_str(), seen.path()) {
            ("PUT", "/latest/api/token") => {
                assert!(
                    seen.header("x-aws-ec2-metadata-token-ttl-seconds")
                        .is_some()
                );
                Some(answer(stream, 200, &[], b"the-token"))
            }
            ("GET", "/latest/meta-data/iam/security-credentials/") if has_token => {
                Some(answer(stream, 200, &[], b"my-role"))
            }
            ("GET", "/latest/meta-data/iam/security-credentials/my-role") if has_token => {
                Some(answer(stream, 200, &[], SERVICE.as_bytes()))
            }
            _ => None,
        }
    });
    let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", "URL")];
    for seen in world.download_in(&variables).unwrap() {
        assert_eq!(signer(&seen), "from-service");
    }
}

#[test]
fn nothing_anywhere_is_told() {
    for variables in [
        [("AWS_EC2_METADATA_DISABLED", "true")],
        [("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")],
    ] {
        let world = keyless_world();
        let error = world.download_in(&variables).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(
            error.to_string().contains("there are no AWS credentials"),
            "{error}"
        );
        assert_eq!(world.left(), [""; 0]);
    }
    let world = keyless_world();
    let error = world
        .download_in(&[("AWS_ACCESS_KEY_ID", "half")])
        .unwrap_err();
    assert!(error.to_string().contains("one half"), "{error}");
}

#[test]
fn a_machine_that_is_silent_is_asked_once() {
    let world = with_service(|seen, _| {
        (seen.path() == "/latest/api/token").then(|| {
            // Longer than such a service is waited for.
            std::thread::sleep(std::time::Duration::from_secs(8));
            Ok(After::Close)
        })
    });
    let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", "URL")];
    let error = world.download_in(&variables).unwrap_err();
    assert!(
        error.to_string().contains("there are no AWS credentials"),
        "{error}"
    );
    assert_eq!(world.server.count("/latest/api/token"), 1);
}

#[test]
fn what_is_not_supported_is_told() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".aws")).unwrap();
    for (setting, key) in [
        ("sso_session = corp", "sso_session"),
        ("credential_process = /bin/keys", "credential_process"),
        ("login_session = arn", "login_session"),
        (
            "role_arn = arn\nsource_profile = x\nmfa_serial = arn",
            "mfa_serial",
        ),
    ] {
        let world = keyless_world();
        fs::write(
            home.path().join(".aws/config"),
            format!("[default]\n{setting}\n"),
        )
        .unwrap();
        let error = world
            .download_in(&[("HOME", home.path().to_str().unwrap())])
            .unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
        assert!(error.to_string().contains("export-credentials"), "{error}");
    }
}
