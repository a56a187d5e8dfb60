//! Waiting for an experiment: what ends a wait, and what a wait outlives.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use determined::{CancelToken, ErrorKind, Experiment, ExperimentState, OnPaused, WaitOptions};
use support::{After, RawMaster, answer, json};

const GONE: &str = r#"{"error":{"code":5,"reason":"NotFound","error":"experiment '7' not found"}}"#;
const HTML: &[u8] = b"<html>Bad Gateway</html>";

fn state(word: &str) -> String {
    format!(r#"{{"experiment":{{"id":7,"state":"STATE_{word}","progress":0.5}}}}"#)
}

/// A master whose experiment 7 is looked at: first as it is, and then as `looks` says, the number of the look being given.
fn master(
    looks: impl Fn(usize, &mut std::net::TcpStream) -> std::io::Result<After> + Send + Sync + 'static,
) -> RawMaster {
    let count = AtomicUsize::new(0);
    RawMaster::start(move |seen, stream| match seen.path() {
        "/api/v1/experiments/7" => match count.fetch_add(1, Ordering::SeqCst) {
            0 => json(stream, 200, &state("RUNNING")),
            n => looks(n, stream),
        },
        _ => json(stream, 501, "{}"),
    })
}

fn experiment(master: &RawMaster) -> Experiment {
    master.client().get_experiment(7).unwrap()
}

fn quickly() -> WaitOptions {
    WaitOptions::new().interval(Duration::from_millis(10))
}

#[test]
fn every_end_ends_a_wait() {
    for (word, end) in [
        ("COMPLETED", ExperimentState::Completed),
        ("CANCELED", ExperimentState::Canceled),
        ("ERROR", ExperimentState::Error),
        ("DELETED", ExperimentState::Deleted),
        ("DELETE_FAILED", ExperimentState::DeleteFailed),
    ] {
        let master = master(move |n, stream| match n {
            1 => json(stream, 200, &state("DANCING")),
            2 => json(stream, 200, &state("STOPPING_COMPLETED")),
            _ => json(stream, 200, &state(word)),
        });
        assert_eq!(experiment(&master).wait_with(quickly()).unwrap(), end);
    }
}

#[test]
fn an_experiment_that_vanishes_was_deleted() {
    let master = master(|n, stream| match n {
        1 => json(stream, 200, &state("DELETING")),
        _ => json(stream, 404, GONE),
    });
    let end = experiment(&master).wait_with(quickly()).unwrap();
    assert_eq!(end, ExperimentState::Deleted);
}

#[test]
fn an_outage_is_waited_out() {
    let master = master(|n, stream| match n {
        1 => answer(stream, 502, &[("content-type", "text/html")], HTML),
        2 => answer(stream, 200, &[("content-type", "text/html")], HTML),
        3 => answer(stream, 404, &[("content-type", "text/html")], HTML),
        4..=5 => Ok(After::Close),
        6 => json(stream, 503, "{}"),
        _ => json(stream, 200, &state("COMPLETED")),
    });
    let end = experiment(&master).wait_with(quickly()).unwrap();
    assert_eq!(end, ExperimentState::Completed);
}

#[test]
fn an_outage_beyond_its_limit_is_an_error() {
    let master = master(|_, stream| json(stream, 503, "{}"));
    let options = quickly().outage_limit(Duration::from_millis(500));
    let error = experiment(&master).wait_with(options).unwrap_err();
    assert_eq!(error.status(), Some(503));
    assert!(error.is_transient());
}

#[test]
fn what_is_no_outage_ends_a_wait_at_once() {
    let master = master(|_, stream| json(stream, 403, r#"{"error":{"error":"no"}}"#));
    let error = experiment(&master).wait_with(quickly()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
}

#[test]
fn a_pause_is_an_error_unless_the_wait_is_to_go_on() {
    let master = master(|n, stream| match n {
        1..=3 => json(stream, 200, &state("PAUSED")),
        _ => json(stream, 200, &state("COMPLETED")),
    });
    let experiment = experiment(&master);
    let error = experiment.wait_with(quickly()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ExperimentPaused);
    let patient = quickly().on_paused(OnPaused::KeepWaiting);
    assert_eq!(
        experiment.wait_with(patient).unwrap(),
        ExperimentState::Completed
    );
}

#[test]
fn a_wait_ends_at_its_timeout() {
    let master = master(|_, stream| json(stream, 200, &state("RUNNING")));
    let options = WaitOptions::new().timeout(Duration::from_millis(300));
    let started = Instant::now();
    let error = experiment(&master).wait_with(options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WaitTimeout);
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_wait_can_be_cancelled() {
    let master = master(|_, stream| json(stream, 200, &state("RUNNING")));
    let experiment = experiment(&master);
    let token = CancelToken::new();
    thread::scope(|scope| {
        let wait = scope.spawn(|| experiment.wait_with(WaitOptions::new().cancel(&token)));
        token.cancel();
        let error = wait.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    });
}

#[test]
fn each_look_is_shown() {
    let master = master(|n, stream| match n {
        1 => json(stream, 200, &state("QUEUED")),
        _ => json(stream, 200, &state("COMPLETED")),
    });
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let options = quickly().on_progress(move |look| {
        log.lock()
            .unwrap()
            .push((look.state.to_string(), look.progress));
    });
    experiment(&master).wait_with(options).unwrap();
    let expected = [
        ("QUEUED".to_owned(), Some(0.5)),
        ("COMPLETED".to_owned(), Some(0.5)),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

/// A master whose experiment gets its trial after some looks at its trials, and is in a state of its own.
fn with_trials(word: &'static str, empty: usize) -> RawMaster {
    let count = AtomicUsize::new(0);
    RawMaster::start(move |seen, stream| match seen.path() {
        "/api/v1/experiments/7" => json(stream, 200, &state(word)),
        _ if count.fetch_add(1, Ordering::SeqCst) < empty => json(stream, 200, r#"{"trials":[]}"#),
        _ => json(
            stream,
            200,
            r#"{"trials":[{"id":3,"state":"STATE_QUEUED"}]}"#,
        ),
    })
}

#[test]
fn the_first_trial_is_awaited() {
    let master = with_trials("QUEUED", 2);
    assert_eq!(experiment(&master).await_first_trial().unwrap().id, 3);
    let asked = master.requests().pop().unwrap().target;
    assert!(asked.contains("orderBy=ORDER_BY_ASC&sortBy=SORT_BY_START_TIME"));
}

#[test]
fn the_first_trial_of_an_ended_experiment_is_given() {
    let master = with_trials("COMPLETED", 0);
    assert_eq!(experiment(&master).await_first_trial().unwrap().id, 3);
}

#[test]
fn an_end_without_a_trial_is_an_error_at_once() {
    let master = with_trials("ERROR", usize::MAX);
    let error = experiment(&master).await_first_trial().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("ended as ERROR"), "{error}");
    assert_eq!(master.count("/api/v1/experiments/7/trials"), 1);
}
