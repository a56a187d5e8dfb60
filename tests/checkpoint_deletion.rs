//! Waiting until the files of a checkpoint are gone, on a master that takes its time.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use determined::{CancelToken, Checkpoint, DeleteOptions, ErrorKind};
use serde_json::json;
use support::{RawMaster, json as send_json};

const UUID: &str = "0f5581ff-18d1-4a13-8244-feadd21feee2";

/// A master that has done what it was asked for when it was looked at `looks` times since.
fn master(looks: usize, done: serde_json::Value) -> (RawMaster, Checkpoint) {
    let left = AtomicUsize::new(usize::MAX);
    let master = RawMaster::start(move |seen, stream| match seen.method.as_str() {
        "GET" => {
            let is_done = left.load(Ordering::SeqCst) == 0;
            if !is_done && left.load(Ordering::SeqCst) != usize::MAX {
                left.fetch_sub(1, Ordering::SeqCst);
            }
            let whole = json!({"uuid": UUID, "state": "STATE_COMPLETED", "resources": {"a": "1", "b": "2"}});
            let checkpoint = if is_done { &done } else { &whole };
            send_json(stream, 200, &json!({"checkpoint": checkpoint}).to_string())
        }
        _ => {
            left.store(looks, Ordering::SeqCst);
            send_json(stream, 200, "{}")
        }
    });
    let checkpoint = master.client().get_checkpoint(UUID).unwrap();
    (master, checkpoint)
}

fn patiently() -> DeleteOptions {
    DeleteOptions::new().wait(Duration::from_secs(30))
}

#[test]
fn a_deletion_is_waited_for_only_if_wanted() {
    let deleted =
        json!({"uuid": UUID, "state": "STATE_DELETED", "resources": {"a": "1", "b": "2"}});
    let (master, checkpoint) = master(2, deleted);
    let path = format!("/api/v1/checkpoints/{UUID}");
    let before = master.count(&path);
    checkpoint.delete().unwrap();
    assert_eq!(master.count(&path), before);
    checkpoint.delete_with(patiently()).unwrap();
    assert_eq!(master.count(&path), before + 3);
}

#[test]
fn removed_files_are_waited_for_until_the_record_changes() {
    let partly = json!({"uuid": UUID, "state": "STATE_PARTIALLY_DELETED", "resources": {"b": "2"}});
    let (master, checkpoint) = master(2, partly);
    checkpoint.remove_files_with(["a"], patiently()).unwrap();
    let requests = master.requests();
    let sent = requests
        .iter()
        .find(|seen| seen.path() == "/api/v1/checkpoints/rm")
        .unwrap();
    assert_eq!(
        sent.json(),
        json!({"checkpointUuids": [UUID], "checkpointGlobs": ["a"]})
    );
    // One look before, and three until it had changed.
    assert_eq!(
        master.count(&format!("/api/v1/checkpoints/{UUID}")),
        1 + 1 + 3
    );
}

#[test]
fn the_wait_ends_at_its_limit_or_when_it_is_cancelled() {
    let (_master, checkpoint) = master(1_000_000, json!({}));
    let hasty = DeleteOptions::new().wait(Duration::from_millis(300));
    let error = checkpoint.delete_with(hasty.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WaitTimeout, "{error}");
    let error = checkpoint.remove_files_with(["x"], hasty).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WaitTimeout, "{error}");

    let token = CancelToken::new();
    let button = token.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        button.cancel();
    });
    let started = Instant::now();
    let error = checkpoint
        .delete_with(patiently().cancel(&token))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert!(started.elapsed() < Duration::from_secs(15));
}
