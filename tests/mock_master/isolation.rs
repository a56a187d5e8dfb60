//! Masters in one process never see each other.

use determined::testing::MockMaster;
use determined::{Determined, ErrorKind};
use std::thread;

#[test]
fn two_masters_share_nothing() -> determined::Result<()> {
    let (one, other) = (MockMaster::start(), MockMaster::start());
    let experiment = one.experiment().create();
    let checkpoint = experiment.top_checkpoint()?;
    one.model("iris").with_version(&checkpoint.uuid).create();
    one.user("kim").create();
    one.workspace("lab").create();
    one.fail_next("/api/v1/models", 503, 1);

    let client = other.determined();
    assert!(client.list_experiments()?.is_empty());
    assert!(client.get_models()?.is_empty());
    assert_eq!(client.list_workspaces()?.len(), 1);
    assert!(
        client
            .get_checkpoint(&checkpoint.uuid)
            .unwrap_err()
            .is_not_found()
    );
    let kim = Determined::new(other.login_options().user("kim"));
    assert_eq!(kim.unwrap_err().kind(), ErrorKind::Unauthenticated);
    let there = other.experiment().create();
    assert_eq!(there.id, experiment.id);

    other.stop();
    one.clear_faults();
    assert_eq!(one.determined().list_experiments()?.len(), 1);
    assert!(
        checkpoint
            .download_with(
                determined::DownloadOptions::new()
                    .path(tempfile::tempdir().unwrap().path().join("c"))
            )
            .is_ok()
    );
    Ok(())
}

#[test]
fn a_token_of_one_master_is_none_of_another() -> determined::Result<()> {
    let (one, other) = (MockMaster::start(), MockMaster::start());
    one.determined().whoami()?;
    let requests = one.requests();
    let header = requests
        .iter()
        .find_map(|request| request.header("authorization"))
        .unwrap();
    let token = header.strip_prefix("Bearer ").unwrap();
    let with_token = |master: &MockMaster| {
        let options = determined::LoginOptions::new()
            .master(master.url())
            .token_store(determined::TokenStore::None)
            .proxy(determined::Proxy::None)
            .environment([("DET_USER", "determined"), ("DET_USER_TOKEN", token)]);
        Determined::new(options).and_then(|client| client.whoami())
    };
    assert_eq!(with_token(&one)?.username, "determined");
    assert_eq!(
        with_token(&other).unwrap_err().kind(),
        ErrorKind::Unauthenticated
    );
    Ok(())
}

#[test]
fn many_masters_run_at_once() {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|index| {
                scope.spawn(move || {
                    let master = MockMaster::start();
                    for _ in 0..index % 3 {
                        master.experiment().create();
                    }
                    let found = master.determined().list_experiments().unwrap().len();
                    assert_eq!(found, index % 3);
                    master.url()
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_dropped_master_frees_its_port_and_its_folder() {
    let master = MockMaster::start();
    let experiment = master.experiment().create();
    let folder = experiment.config["checkpoint_storage"]["host_path"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(std::path::Path::new(&folder).is_dir());
    let port = master.url().rsplit(':').next().unwrap().parse().unwrap();
    drop(master);
    assert!(!std::path::Path::new(&folder).exists());
    let options = determined::testing::MockMasterOptions::new().port(port);
    assert!(
        MockMaster::start_with(options)
            .determined()
            .list_experiments()
            .unwrap()
            .is_empty()
    );
}
