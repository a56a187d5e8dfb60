//! Machines that cannot hold the checkpoint: no space, no right, no such place.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use determined::{DownloadMode, DownloadOptions, ErrorKind};

use crate::support::options;
use crate::world::{MIB, UUID, assert_holds, noise, world};

const MASTER: &str = "FETCH_TO_FULL_DISK_FROM";
const PATH: &str = "FETCH_TO_FULL_DISK";
/// By which the requests of that process are told from those of the test: some may come to light only when it has ended.
const CHILD: &str = "child";

/// The download of a process of its own.
#[test]
#[ignore = "another test runs it, in a process of its own"]
fn child() {
    let (Ok(master), Ok(path)) = (std::env::var(MASTER), std::env::var(PATH)) else {
        return;
    };
    let options = options(&master).user_agent_suffix(CHILD);
    let client = determined::Determined::new(options).unwrap();
    let options = DownloadOptions::new().path(path).mode(DownloadMode::Auto);
    let result = client.get_checkpoint(UUID).unwrap().download_with(options);
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert!(error.to_string().contains("large"), "{error}");
}

#[test]
fn a_full_disk_is_an_error_and_the_next_download_goes_on_when_there_is_room() {
    let files = [("large", noise(40 * MIB, 1)), ("small", noise(10, 2))];
    let world = world(&files);
    // No file grows beyond 24 MiB, as on a disk that is full.
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 49152; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "disk::child", "--ignored"])
        .env(MASTER, &world.server.url)
        .env(PATH, world.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert!(!world.path().exists());
    // The master was not asked: it cannot make room.
    assert_eq!(world.server.count(&format!("/checkpoints/{UUID}")), 0);
    let journal = world.scratch.path().join(".c.partial/direct.journal");
    // There is none if the disk was full before any piece was whole.
    let journal = fs::read_to_string(journal).unwrap_or_default();
    let is_there = |piece: &str| journal.lines().any(|line| line.ends_with(piece));
    world.download().unwrap();
    assert_holds(&world.path(), &files);
    let missing = [",0]", ",16777216]", ",33554432]"].map(is_there);
    let missing = missing.iter().filter(|is_there| !**is_there).count();
    let asked = world.server.requests();
    let asked = asked.iter().filter(|seen| {
        let agent = seen.header("user-agent").unwrap_or_default();
        seen.path().ends_with("/large") && !agent.ends_with(CHILD)
    });
    assert_eq!(asked.count(), missing);
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn a_place_where_nothing_can_be_written_is_an_error_before_anything_is_fetched() {
    let world = world(&[("a", noise(10, 1))]);
    for place in ["/sys/determined/c", "/proc/determined/c", "/dev/null/c"] {
        for mode in [
            DownloadMode::Direct,
            DownloadMode::Auto,
            DownloadMode::Master,
        ] {
            let options = DownloadOptions::new().path(place).mode(mode);
            let error = world.checkpoint().download_with(options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "{place}: {error}");
            let parent = Path::new(place).parent().unwrap();
            assert!(
                error.to_string().contains(parent.to_str().unwrap()),
                "{error}"
            );
        }
    }
    assert_eq!(world.asked("a"), [""; 0]);
    assert_eq!(world.server.count(&format!("/checkpoints/{UUID}")), 0);
}
