//! Downloads from a file system that is shared with the cluster, and what the mode Auto does where there is none.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use determined::{CancelToken, DownloadMode, ErrorKind};
use serde_json::{Value, json};

use crate::support::{After, json as send_json};
use crate::world::{
    OTHER, UUID, archives_asked, checkpoint, described, expected, master, send_whole, to, tree,
    write_files,
};

/// A description that has the checkpoint in a directory of this machine.
fn stored(kind: &'static str, root: &Path) -> impl Fn(&str) -> Value + Send + Sync + 'static {
    let root = root.display().to_string();
    move |uuid| {
        let mut body = described(uuid);
        let storage = match kind {
            "directory" => json!({"type": kind, "container_path": root}),
            "shared_fs" => {
                json!({"type": kind, "host_path": root, "storage_path": null, "propagation": "rprivate"})
            }
            _ => json!({"type": kind, "bucket": "b", "container": "c"}),
        };
        body["checkpoint"]["training"]["experimentConfig"]["checkpoint_storage"] = storage;
        body
    }
}

fn no_archive(_: &str, stream: &mut TcpStream) -> io::Result<After> {
    send_json(stream, 500, r#"{"message":"the master has no storage"}"#)
}

#[test]
fn a_shared_file_system_and_a_directory_are_copied() {
    for kind in ["shared_fs", "directory"] {
        let storage = tempfile::tempdir().unwrap();
        write_files(&storage.path().join(UUID), UUID);
        write_files(&storage.path().join(format!("{UUID}-sibling")), OTHER);
        let master = master(stored(kind, storage.path()), no_archive);
        let scratch = tempfile::tempdir().unwrap();
        for mode in [DownloadMode::Direct, DownloadMode::Auto] {
            let path = scratch.path().join(mode.to_string());
            checkpoint(&master, UUID)
                .download_with(to(&path).mode(mode))
                .unwrap();
            assert_eq!(tree(&path), expected(UUID), "{kind}");
        }
        assert_eq!(archives_asked(&master), 0);
        // Neither way tells its files from those of the other.
        let path = scratch.path().join("direct");
        checkpoint(&master, UUID).download_with(to(&path)).unwrap();
        assert_eq!(archives_asked(&master), 0);
    }
}

#[cfg(unix)]
#[test]
fn links_in_a_shared_file_system_are_followed_and_what_is_no_file_is_refused() {
    let storage = tempfile::tempdir().unwrap();
    let source = storage.path().join(UUID);
    write_files(&source, UUID);
    fs::rename(source.join("sub"), storage.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(storage.path().join("elsewhere"), source.join("sub")).unwrap();
    let master = master(stored("directory", storage.path()), no_archive);
    let scratch = tempfile::tempdir().unwrap();
    let direct = |name: &str| {
        let options = to(scratch.path().join(name)).mode(DownloadMode::Direct);
        checkpoint(&master, UUID).download_with(options)
    };
    assert_eq!(tree(&direct("a").unwrap()), expected(UUID));

    let socket = std::os::unix::net::UnixListener::bind(source.join("socket")).unwrap();
    let error = direct("b").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    drop(socket);
    fs::remove_file(source.join("socket")).unwrap();

    // A circle of links has no end.
    std::os::unix::fs::symlink(&source, source.join("circle")).unwrap();
    let error = direct("c").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn a_storage_out_of_reach_is_told_from_one_that_is_not_there() {
    let storage = tempfile::tempdir().unwrap();
    // Nobody can look below a link to itself, whatever their rights.
    let circle = storage.path().join("circle");
    std::os::unix::fs::symlink(&circle, &circle).unwrap();
    for (root, said) in [
        (circle.as_path(), "cannot read"),
        (storage.path(), "there is no directory"),
    ] {
        let master = master(stored("directory", root), send_whole);
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("c");
        let checkpoint = checkpoint(&master, UUID);
        let error = checkpoint
            .download_with(to(&path).mode(DownloadMode::Direct))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
        assert!(error.to_string().contains(said), "{error}");
        checkpoint
            .download_with(to(&path).mode(DownloadMode::Auto))
            .unwrap();
        assert_eq!(tree(&path), expected(UUID));
    }
}

#[test]
fn auto_falls_back_on_whatever_the_master_can_heal() {
    let storage = tempfile::tempdir().unwrap();
    let source = storage.path().join(UUID);
    fs::create_dir(&source).unwrap();
    let cut = tempfile::tempdir().unwrap();
    write_files(&cut.path().join(UUID), UUID);
    fs::write(cut.path().join(UUID).join("sub/w.bin"), "short").unwrap();
    let with = |change: fn(&mut Value)| {
        move |uuid: &str| {
            let mut body = described(uuid);
            change(&mut body["checkpoint"]["training"]);
            body
        }
    };
    type Describe = Box<dyn Fn(&str) -> Value + Send + Sync>;
    let table: Vec<(&str, ErrorKind, Describe)> = vec![
        ("no such directory", ErrorKind::Storage, Box::new(described)),
        (
            "missing files",
            ErrorKind::Storage,
            Box::new(stored("directory", storage.path())),
        ),
        (
            "a file that is cut",
            ErrorKind::Storage,
            Box::new(stored("shared_fs", cut.path())),
        ),
        (
            "an unknown type",
            ErrorKind::Storage,
            Box::new(stored("hdfs", storage.path())),
        ),
        (
            "no training",
            ErrorKind::Storage,
            Box::new(with(|training| *training = json!(null))),
        ),
        (
            "no storage",
            ErrorKind::Storage,
            Box::new(with(|training| training["experimentConfig"] = json!({}))),
        ),
        (
            "no host_path",
            ErrorKind::Storage,
            Box::new(with(|training| {
                training["experimentConfig"]["checkpoint_storage"] = json!({"type": "shared_fs"});
            })),
        ),
        (
            "a host_path that is not absolute",
            ErrorKind::Storage,
            Box::new(with(|training| {
                training["experimentConfig"]["checkpoint_storage"] =
                    json!({"type": "shared_fs", "host_path": "h"});
            })),
        ),
        (
            "a storage_path that leads out",
            ErrorKind::Storage,
            Box::new(with(|training| {
                training["experimentConfig"]["checkpoint_storage"] =
                    json!({"type": "shared_fs", "host_path": "/h", "storage_path": "../s"});
            })),
        ),
        (
            "a place that is no directory",
            ErrorKind::Storage,
            Box::new(with(|training| {
                training["experimentConfig"]["checkpoint_storage"] =
                    json!({"type": "directory", "container_path": "/dev/null"});
            })),
        ),
    ];
    for (name, kind, describe) in table {
        let describe = Arc::new(describe);
        let scratch = tempfile::tempdir().unwrap();
        let direct = to(scratch.path().join("d")).mode(DownloadMode::Direct);
        let auto = to(scratch.path().join("a")).mode(DownloadMode::Auto);

        let same = Arc::clone(&describe);
        let healthy = master(move |uuid| same(uuid), send_whole);
        let error = checkpoint(&healthy, UUID)
            .download_with(direct)
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        let path = checkpoint(&healthy, UUID)
            .download_with(auto.clone())
            .unwrap();
        assert_eq!(tree(&path), expected(UUID), "{name}");

        fs::remove_dir_all(&path).unwrap();
        let ill = master(move |uuid| describe(uuid), no_archive);
        let both = checkpoint(&ill, UUID).download_with(auto).unwrap_err();
        assert_eq!(
            (both.kind(), both.status()),
            (ErrorKind::Api, Some(500)),
            "{name}"
        );
        assert_eq!(both.server_message(), Some("the master has no storage"));
        let direct = error.to_string();
        let cause = direct.split_once(": ").unwrap().1;
        assert!(
            both.to_string().contains(cause),
            "{name}: {both} does not tell {cause}"
        );
        assert!(
            both.to_string().contains("the master has no storage"),
            "{both}"
        );
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn auto_does_not_ask_the_master_about_this_machines_own_faults() {
    let storage = tempfile::tempdir().unwrap();
    write_files(&storage.path().join(UUID), UUID);
    let master = master(stored("directory", storage.path()), send_whole);
    let token = CancelToken::new();
    let scratch = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&master, UUID);
    let button = token.clone();
    let options = to(scratch.path().join("c"))
        .mode(DownloadMode::Auto)
        .cancel(&token)
        .on_progress(move |_| button.cancel());
    let error = checkpoint.download_with(options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert_eq!(archives_asked(&master), 0);

    fs::write(scratch.path().join("file"), "").unwrap();
    let options = to(scratch.path().join("file/c")).mode(DownloadMode::Auto);
    let error = checkpoint.download_with(options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert_eq!(archives_asked(&master), 0);
}
