//! Tokens and certificates on disks that are full, read-only or not there, and in files that others write too.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use determined::testing::MockMaster;
use determined::{Determined, DownloadMode, DownloadOptions, ErrorKind, LoginOptions, TokenStore};
use serde_json::Value;

use crate::support::{ME, RawMaster, json};

/// Tells a process that one of the tests has started what it is to do.
const MASTER: &str = "FAULTS_MASTER";
const STORE: &str = "FAULTS_STORE";
const UUID: &str = "FAULTS_CHECKPOINT";
/// Of all users that a test creates.
const PASSWORD: &str = "Passw0rd.test";

/// Log in and, if a checkpoint is named, download it: in a process of its own, which prints how that ended.
#[test]
#[ignore = "the other tests run it, each in a process of its own"]
fn child() {
    let (Ok(master), Some(store)) = (std::env::var(MASTER), std::env::var_os(STORE)) else {
        return;
    };
    let user = std::env::var("FAULTS_USER").unwrap_or("determined".into());
    let password = if user == "determined" { "" } else { PASSWORD };
    let options = LoginOptions::new()
        .master(master)
        .user(user)
        .password(password)
        .token_store(TokenStore::Dir(store.clone().into()));
    let logged_in = Determined::new(options);
    let outcome = logged_in.and_then(|client| match std::env::var(UUID) {
        Ok(uuid) => {
            let path = Path::new(&store).join("download");
            let options = DownloadOptions::new().path(path).mode(DownloadMode::Master);
            client
                .get_checkpoint(&uuid)?
                .download_with(options)
                .map(drop)
        }
        Err(_) => Ok(()),
    });
    match outcome {
        Ok(()) => println!("outcome=fine"),
        Err(error) => println!("outcome={:?}: {error}", error.kind()),
    }
}

/// [`child`] under a shell that first does `setup`.
fn start(setup: &str, master: &str, store: &Path, variables: &[(&str, &str)]) -> Child {
    Command::new("sh")
        .args(["-c", &format!("{setup}\nexec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "stores::child", "--ignored", "--nocapture"])
        .env(MASTER, master)
        .env(STORE, store)
        .env("HOME", "/proc/nonexistent")
        .env_remove(UUID)
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[track_caller]
fn outcome(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.split_once("outcome="));
    line.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
        .1
        .to_owned()
}

fn tokens(store: &Path, master: &str) -> Value {
    let file = fs::read(store.join("auth.json")).unwrap();
    let file: Value = serde_json::from_slice(&file).unwrap();
    file["masters"][master]["tokens"].clone()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn master() -> RawMaster {
    RawMaster::start(|_, stream| json(stream, 200, ME))
}

fn login(master: &RawMaster, store: &Path) -> Result<Determined, determined::Error> {
    Determined::new(
        master
            .login_options()
            .token_store(TokenStore::Dir(store.into())),
    )
}

#[cfg(unix)]
#[test]
fn the_token_file_is_for_its_user_alone_whatever_the_umask_and_whatever_was_there() {
    use std::os::unix::fs::PermissionsExt;
    let master = MockMaster::start();
    let scratch = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let store = scratch.path().join("deep/store");
    let child = start("umask 000", &master.url(), &store, &[]);
    assert_eq!(outcome(&child.wait_with_output().unwrap()), "fine");
    assert_eq!(
        (mode(&store), mode(&store.join("auth.json"))),
        (0o700, 0o600)
    );

    // As the Python SDK leaves it.
    fs::set_permissions(store.join("auth.json"), fs::Permissions::from_mode(0o644)).unwrap();
    let child = start("umask 000", &master.url(), &store, &[]);
    assert_eq!(outcome(&child.wait_with_output().unwrap()), "fine");
    assert_eq!(mode(&store.join("auth.json")), 0o600);
}

#[test]
fn a_newer_token_file_is_refused_and_left_as_it_is() {
    let scratch = tempfile::tempdir().unwrap();
    let newer = r#"{"version": 3, "vault": {"secret": "s3cret"}}"#;
    fs::write(scratch.path().join("auth.json"), newer).unwrap();
    let master = master();
    let error = login(&master, scratch.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(!format!("{error} {error:?}").contains("s3cret"));
    assert_eq!(
        fs::read_to_string(scratch.path().join("auth.json")).unwrap(),
        newer
    );
    assert_eq!(names(scratch.path()), ["auth.json"]);
    assert!(master.requests().is_empty());
}

#[test]
fn a_damaged_store_costs_one_login_and_its_content_is_kept() {
    for (file, kind, set_aside) in [
        (
            "auth.json",
            ErrorKind::CorruptTokenCache,
            "auth.json.corrupt-1",
        ),
        (
            "certs.json",
            ErrorKind::CorruptCertificateCache,
            "certs.json.corrupt-1",
        ),
    ] {
        for content in [
            &b""[..],
            b"{\"s3cret",
            b"[\"s3cret\"]",
            b"\xff\xfes3cret\x00",
            b"null",
            b"7",
        ] {
            let scratch = tempfile::tempdir().unwrap();
            fs::write(scratch.path().join(file), content).unwrap();
            let master = master();
            let error = login(&master, scratch.path()).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            let text = format!("{error} {error:?}");
            assert!(
                text.contains(set_aside) && !text.contains("s3cret"),
                "{text}"
            );
            assert_eq!(fs::read(scratch.path().join(set_aside)).unwrap(), content);
            login(&master, scratch.path()).unwrap();
            assert_eq!(tokens(scratch.path(), &master.url)["kim"], "secret-token-1");
        }
    }
}

#[test]
fn a_logout_with_a_session_that_has_ended_is_quiet_and_logs_nobody_in() {
    let master = RawMaster::start(|seen, stream| match seen.path() {
        "/api/v1/auth/logout" => json(stream, 401, r#"{"error":{"error":"token expired"}}"#),
        _ => json(stream, 200, ME),
    });
    let store = tempfile::tempdir().unwrap();
    let client = login(&master, store.path()).unwrap();
    client.logout().unwrap();
    assert_eq!(master.count("/api/v1/auth/login"), 1);
    assert_eq!(master.count("/api/v1/auth/logout"), 1);
    let kept = tokens(store.path(), &master.url);
    assert!(
        kept.as_object().is_none_or(serde_json::Map::is_empty),
        "{kept}"
    );
    assert_eq!(
        client.whoami().unwrap_err().kind(),
        ErrorKind::Unauthenticated
    );
}

#[test]
fn a_stored_token_that_no_header_can_hold_is_none() {
    let master = master();
    let store = tempfile::tempdir().unwrap();
    let content = serde_json::json!({
        "version": 2,
        "masters": {master.url.as_str(): {"active_user": "kim", "tokens": {"kim": "bad\ntoken"}}}
    });
    fs::write(store.path().join("auth.json"), content.to_string()).unwrap();
    let without_password = LoginOptions::new()
        .master(&master.url)
        .user("kim")
        .token_store(TokenStore::Dir(store.path().into()));
    let error = Determined::new(without_password).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    login(&master, store.path()).unwrap();
    assert_eq!(tokens(store.path(), &master.url)["kim"], "secret-token-1");
}

#[cfg(unix)]
#[test]
fn a_pipe_in_the_place_of_a_store_keeps_nobody_waiting() {
    let master = master();
    let store = tempfile::tempdir().unwrap();
    for name in ["auth.json", "certs.json"] {
        let made = Command::new("mkfifo").arg(store.path().join(name)).status();
        assert!(made.unwrap().success());
    }
    login(&master, store.path()).unwrap();
}

#[test]
fn without_a_place_for_tokens_a_login_is_good_all_the_same() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("file"), "").unwrap();
    for place in ["auth.json", "auth.json.lock", "auth.json.temp"] {
        fs::create_dir_all(
            scratch
                .path()
                .join(place.replace('.', "-"))
                .join(place)
                .join("x"),
        )
        .unwrap();
    }
    let mut stores = vec![
        scratch.path().join("file"),
        scratch.path().join("file/below"),
        scratch.path().join("n".repeat(300)),
        scratch.path().join("auth-json"),
        scratch.path().join("auth-json-lock"),
        scratch.path().join("auth-json-temp"),
        "a\0b".into(),
    ];
    if cfg!(target_os = "linux") {
        stores.push("/proc/determined".into());
        stores.push("/dev/null/determined".into());
    }
    for store in stores {
        let master = master();
        let client = login(&master, &store);
        let client = client.unwrap_or_else(|error| panic!("{}: {error}", store.display()));
        client.whoami().unwrap();
        // The session is over all the same.
        client
            .logout()
            .unwrap_or_else(|error| panic!("{}: {error}", store.display()));
    }
}

#[cfg(unix)]
#[test]
fn a_read_only_store_is_read_and_left_alone() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = tempfile::tempdir().unwrap();
    let master = master();
    login(&master, scratch.path()).unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let before = names(scratch.path());
    let stored = master
        .login_options()
        .token_store(TokenStore::Dir(scratch.path().into()));
    let client = Determined::new(stored.clone()).unwrap();
    client.whoami().unwrap();
    assert_eq!(names(scratch.path()), before);
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn without_a_home_directory_there_is_no_store_and_no_error() {
    let master = master();
    for variables in [
        &[][..],
        &[("HOME", "")],
        &[("HOME", "/proc/nonexistent")],
        &[("XDG_CONFIG_HOME", "")],
    ] {
        let options = master
            .login_options()
            .token_store(TokenStore::Default)
            .environment(variables.iter().copied());
        let client = Determined::new(options).unwrap();
        client.whoami().unwrap();
        client.logout().unwrap();
    }
}

/// A shell's words for: no file grows beyond a few kilobytes, as on a disk that is full.
const FULL_DISK: &str = "trap '' XFSZ; ulimit -f 8";

#[cfg(unix)]
#[test]
fn a_full_disk_keeps_the_tokens_that_are_stored_and_does_not_keep_anyone_out() {
    let master = MockMaster::start();
    let scratch = tempfile::tempdir().unwrap();
    let many: serde_json::Map<String, Value> = (0..500)
        .map(|n| (format!("user-{n}"), format!("token-{n}").into()))
        .collect();
    let full = serde_json::json!({"version": 2, "masters": {"http://other:80": {"tokens": many}}})
        .to_string();
    fs::write(scratch.path().join("auth.json"), &full).unwrap();
    let child = start(FULL_DISK, &master.url(), scratch.path(), &[]);
    assert_eq!(outcome(&child.wait_with_output().unwrap()), "fine");
    assert_eq!(
        fs::read_to_string(scratch.path().join("auth.json")).unwrap(),
        full
    );
    assert!(!scratch.path().join("auth.json.temp").exists());
}

/// An experiment's checkpoint that is larger than the disk of [`FULL_DISK`].
fn large_checkpoint(master: &MockMaster) -> String {
    let config = serde_json::json!({
        "name": "n", "entrypoint": "true",
        "searcher": {"name": "single", "metric": "loss", "max_length": 1}
    });
    let client = master.determined();
    let experiment = client
        .create_experiment(config, determined::ModelDefinition::none())
        .unwrap();
    experiment.wait().unwrap();
    experiment.list_checkpoints().unwrap().remove(0).uuid
}

fn with_large_checkpoints() -> MockMaster {
    use determined::testing::{MockMasterOptions, TrialScript};
    MockMaster::start_with(MockMasterOptions::new().model(|_| {
        let content = vec![7_u8; 200_000];
        TrialScript::new().checkpoint(
            1,
            [("small.bin", &b"small"[..]), ("weights.bin", &content[..])],
        )
    }))
}

#[cfg(unix)]
#[test]
fn a_download_to_a_full_disk_is_an_error_and_leaves_room() {
    let master = with_large_checkpoints();
    let uuid = large_checkpoint(&master);
    let scratch = tempfile::tempdir().unwrap();
    let variables = [(UUID, uuid.as_str())];
    let child = start(FULL_DISK, &master.url(), scratch.path(), &variables);
    let full = outcome(&child.wait_with_output().unwrap());
    assert!(
        full.starts_with("Io: could not download checkpoint"),
        "{full}"
    );
    assert!(full.contains("weights.bin"), "{full}");
    let left = names(scratch.path());
    assert!(
        left.iter().all(|name| name.starts_with("auth.json")),
        "{left:?}"
    );

    let child = start("", &master.url(), scratch.path(), &variables);
    assert_eq!(outcome(&child.wait_with_output().unwrap()), "fine");
    let weights = scratch.path().join("download/weights.bin");
    assert_eq!(fs::read(weights).unwrap(), vec![7; 200_000]);
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "needs root to mount a small file system"]
fn a_file_system_without_space_is_an_error_and_the_next_download_is_whole() {
    let master = with_large_checkpoints();
    let uuid = large_checkpoint(&master);
    let scratch = tempfile::tempdir().unwrap();
    let mount = |size: &str, options: &str| {
        let status = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={size}{options}"),
                "none",
            ])
            .arg(scratch.path())
            .status();
        assert!(status.unwrap().success());
    };
    mount("64k", "");
    let variables = [(UUID, uuid.as_str())];
    let child = start("", &master.url(), scratch.path(), &variables);
    let full = outcome(&child.wait_with_output().unwrap());
    let left = names(scratch.path());
    mount("8m", ",remount");
    let child = start("", &master.url(), scratch.path(), &variables);
    let roomy = outcome(&child.wait_with_output().unwrap());
    let weights = fs::read(scratch.path().join("download/weights.bin"));
    mount("8m", ",remount,ro");
    let child = start("", &master.url(), scratch.path(), &[]);
    let read_only = outcome(&child.wait_with_output().unwrap());
    Command::new("umount").arg(scratch.path()).status().unwrap();

    assert!(full.starts_with("Io: could not download"), "{full}");
    assert!(
        left.iter().all(|name| name.starts_with("auth.json")),
        "{left:?}"
    );
    assert_eq!(roomy, "fine");
    assert_eq!(weights.unwrap(), vec![7; 200_000]);
    assert_eq!(read_only, "fine");
}

/// Twenty logins at once, half of them by the Python SDK that `DETERMINED_PYTHON` has.
#[test]
#[ignore = "needs the Python SDK"]
fn twenty_processes_of_both_sdks_that_log_in_at_once_lose_no_token() {
    const LOGIN: &str = "import os; from determined.common.api import authentication as a
a.login_with_cache(os.environ['FAULTS_MASTER'], os.environ['FAULTS_USER'], 'Passw0rd.test')";
    let python = std::env::var("DETERMINED_PYTHON")
        .expect("DETERMINED_PYTHON names a python that has the SDK");
    let master = MockMaster::start();
    let admin = Determined::new(master.login_options().user("admin")).unwrap();
    let users: Vec<String> = (0..20).map(|n| format!("user-{n}")).collect();
    for user in &users {
        admin.create_user(user, false, PASSWORD).unwrap();
    }
    let scratch = tempfile::tempdir().unwrap();
    let children: Vec<Child> = users
        .iter()
        .enumerate()
        .map(|(n, user)| match n % 2 {
            0 => start("", &master.url(), scratch.path(), &[("FAULTS_USER", user)]),
            _ => Command::new(&python)
                .args(["-W", "ignore", "-c", LOGIN])
                .env(MASTER, master.url())
                .env("FAULTS_USER", user)
                .env("DET_DEBUG_CONFIG_PATH", scratch.path())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let stored = tokens(scratch.path(), &master.url());
    for user in &users {
        assert!(
            stored[user].is_string(),
            "the token of {user} is lost: {stored}"
        );
    }
}
