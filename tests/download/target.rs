//! Where a download goes, and what stands there already.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use determined::{DownloadMode, ErrorKind};
use serde_json::json;

use crate::support::answer;
use crate::world::{
    OTHER, UUID, archive, archives_asked, checkpoint, described, expected, good_master, master,
    send_whole, to, tree, write_files,
};

#[test]
fn a_download_is_whole_and_nothing_else_is_left() {
    let master = good_master();
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a/b/c");
    assert_eq!(
        checkpoint(&master, UUID).download_with(to(&path)).unwrap(),
        path
    );
    assert_eq!(tree(&path), expected(UUID));
    let beside: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(beside.len(), 1);
    let modified = fs::metadata(path.join("state.json")).unwrap().modified();
    let reported: determined::Timestamp = "2026-11-23T20:10:35.223670Z".parse().unwrap();
    assert_eq!(modified.unwrap(), SystemTime::try_from(reported).unwrap());
}

#[cfg(unix)]
#[test]
fn modes_are_those_of_new_files() {
    use std::os::unix::fs::PermissionsExt;
    let master = good_master();
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("c");
    checkpoint(&master, UUID).download_with(to(&path)).unwrap();
    fs::write(scratch.path().join("file"), "").unwrap();
    fs::create_dir(scratch.path().join("directory")).unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(
        mode(path.join("state.json")),
        mode(scratch.path().join("file"))
    );
    for name in ["c", "c/sub", "c/void"] {
        assert_eq!(
            mode(scratch.path().join(name)),
            mode(scratch.path().join("directory")),
            "{name}"
        );
    }
}

#[test]
fn without_a_path_it_goes_below_checkpoints() {
    // The one test that depends on the working directory changes it in a process of its own.
    let scratch = tempfile::tempdir().unwrap();
    if let Ok(url) = std::env::var("DOWNLOAD_HERE_FROM") {
        let options = crate::support::options(&url);
        let client = determined::Determined::new(options).unwrap();
        let path = client.get_checkpoint(UUID).unwrap().download().unwrap();
        assert_eq!(path, Path::new("checkpoints").join(UUID));
        return;
    }
    let master = good_master();
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "target::without_a_path_it_goes_below_checkpoints",
        ])
        .env("DOWNLOAD_HERE_FROM", &master.url)
        .current_dir(scratch.path())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(
        tree(&scratch.path().join("checkpoints").join(UUID)),
        expected(UUID)
    );
}

#[test]
fn metadata_is_written_only_where_the_checkpoint_has_none() {
    let describe = |uuid: &str| {
        let mut body = described(uuid);
        body["checkpoint"]["resources"] = json!({"w": "3"});
        body["checkpoint"]["metadata"] = json!({"steps_completed": 7, "name": "ü"});
        body
    };
    let master = master(describe, |_, stream| {
        answer(stream, 200, &[], &archive(&[("w", b"abc".to_vec())]))
    });
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("c");
    let checkpoint = checkpoint(&master, UUID);
    checkpoint.download_with(to(&path)).unwrap();
    let text = "{\n  \"steps_completed\": 7,\n  \"name\": \"ü\"\n}";
    assert_eq!(
        fs::read_to_string(path.join("metadata.json")).unwrap(),
        text
    );
    fs::remove_file(path.join("metadata.json")).unwrap();
    checkpoint.download_with(to(&path)).unwrap();
    assert_eq!(
        fs::read_to_string(path.join("metadata.json")).unwrap(),
        text
    );
    assert_eq!(archives_asked(&master), 1);
}

#[test]
fn a_whole_download_is_kept() {
    let master = good_master();
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("c");
    let checkpoint = checkpoint(&master, UUID);
    checkpoint.download_with(to(&path)).unwrap();
    fs::write(path.join("notes.txt"), "mine").unwrap();
    let before = tree(&path);
    for mode in [
        DownloadMode::Master,
        DownloadMode::Auto,
        DownloadMode::Direct,
    ] {
        checkpoint.download_with(to(&path).mode(mode)).unwrap();
    }
    assert_eq!(tree(&path), before);
    assert_eq!(archives_asked(&master), 1);
}

#[test]
fn a_whole_download_by_another_program_is_kept() {
    let master = good_master();
    let scratch = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&master, UUID);
    // By its name.
    let named = scratch.path().join(UUID);
    write_files(&named, UUID);
    checkpoint.download_with(to(&named)).unwrap();
    assert_eq!(archives_asked(&master), 0);
    // By comparing.
    let unnamed = scratch.path().join("best");
    write_files(&unnamed, UUID);
    let before = fs::metadata(unnamed.join("sub/w.bin"))
        .unwrap()
        .modified()
        .unwrap();
    checkpoint.download_with(to(&unnamed)).unwrap();
    assert_eq!(archives_asked(&master), 1);
    assert_eq!(tree(&unnamed), expected(UUID));
    assert_eq!(
        fs::metadata(unnamed.join("sub/w.bin"))
            .unwrap()
            .modified()
            .unwrap(),
        before
    );
}

#[test]
fn another_checkpoint_of_the_same_sizes_is_never_taken_for_this_one() {
    let master = good_master();
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("best");
    checkpoint(&master, UUID).download_with(to(&path)).unwrap();
    let error = checkpoint(&master, OTHER)
        .download_with(to(&path))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(tree(&path), expected(UUID));
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
}

#[test]
fn a_part_of_this_checkpoint_is_completed() {
    let master = good_master();
    let scratch = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&master, UUID);
    // What the Python SDK leaves when a download is cut.
    let named = scratch.path().join(UUID);
    write_files(&named, UUID);
    fs::write(named.join("sub/w.bin"), [0; 100]).unwrap();
    checkpoint.download_with(to(&named)).unwrap();
    assert_eq!(tree(&named), expected(UUID));
    // What is left when someone removes a file.
    let unnamed = scratch.path().join("best");
    checkpoint.download_with(to(&unnamed)).unwrap();
    fs::remove_file(unnamed.join("state.json")).unwrap();
    checkpoint.download_with(to(&unnamed)).unwrap();
    assert_eq!(tree(&unnamed), expected(UUID));
}

#[test]
fn what_is_not_this_checkpoint_is_left_alone() {
    let master = good_master();
    let checkpoint = checkpoint(&master, UUID);
    let scratch = tempfile::tempdir().unwrap();
    let other = |name: &str, make: &dyn Fn(&Path)| {
        let path = scratch.path().join(name);
        make(&path);
        let before = path.is_dir().then(|| tree(&path));
        let error = checkpoint.download_with(to(&path)).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Io),
            "{name}: {error}"
        );
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(path.is_dir().then(|| tree(&path)), before, "{name}");
    };
    other("file", &|path| fs::write(path, "x").unwrap());
    other("strange", &|path| {
        fs::create_dir(path).unwrap();
        fs::write(path.join("thesis.tex"), "x").unwrap();
    });
    other("metadata-of-another", &|path| {
        fs::create_dir(path).unwrap();
        fs::write(path.join("metadata.json"), "{}").unwrap();
    });
    other("MLmodel", &|path| {
        fs::create_dir(path).unwrap();
        fs::write(path.join("MLmodel"), "").unwrap();
    });
    // Named after the checkpoint, not whole, and with a file that would be lost if it were replaced.
    other(UUID, &|path| {
        write_files(path, UUID);
        fs::remove_file(path.join("state.json")).unwrap();
        fs::write(path.join("thesis.tex"), "x").unwrap();
    });
    for path in ["", "/"] {
        let error = checkpoint.download_with(to(path)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path:?}: {error}");
    }
    assert_eq!(archives_asked(&master), 0);
}

#[test]
fn an_empty_directory_is_filled_and_stays_the_same_directory() {
    let master = good_master();
    let scratch = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&master, UUID);
    checkpoint.download_with(to(scratch.path())).unwrap();
    assert_eq!(tree(scratch.path()), expected(UUID));
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let empty = tempfile::tempdir().unwrap();
        let before = fs::metadata(empty.path()).unwrap().ino();
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink(empty.path(), &link).unwrap();
        checkpoint.download_with(to(&link)).unwrap();
        assert_eq!(tree(empty.path()), expected(UUID));
        assert_eq!(fs::metadata(empty.path()).unwrap().ino(), before);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_nowhere_is_an_error_before_anything_is_fetched() {
    let master = good_master();
    let scratch = tempfile::tempdir().unwrap();
    let link = scratch.path().join("link");
    std::os::unix::fs::symlink(scratch.path().join("gone"), &link).unwrap();
    let checkpoint = checkpoint(&master, UUID);
    let error = checkpoint.download_with(to(&link)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("leads nowhere"), "{error}");
    // Below a link, and over the parent of a directory that is not there yet.
    fs::create_dir(scratch.path().join("gone")).unwrap();
    for path in [link.join("a/c"), scratch.path().join("new/../c")] {
        checkpoint.download_with(to(&path)).unwrap();
        assert_eq!(tree(&path), expected(UUID));
    }
    let path = scratch.path().join("gone/slash/");
    checkpoint.download_with(to(&path)).unwrap();
    assert_eq!(tree(&path), expected(UUID));
    assert_eq!(archives_asked(&master), 3);
}

#[test]
fn two_downloads_to_one_place_are_one() {
    let master = master(described, |uuid, stream| {
        std::thread::sleep(Duration::from_millis(400));
        send_whole(uuid, stream)
    });
    let scratch = tempfile::tempdir().unwrap();
    for exists in [false, true] {
        let path = scratch.path().join(format!("c{exists}"));
        if exists {
            fs::create_dir(&path).unwrap();
        }
        let before = archives_asked(&master);
        let checkpoint = checkpoint(&master, UUID);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| checkpoint.download_with(to(&path)).unwrap());
            }
        });
        assert_eq!(tree(&path), expected(UUID));
        assert_eq!(archives_asked(&master) - before, 1);
    }
}
