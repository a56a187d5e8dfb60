//! A master that is away for a while, or for good.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use determined::testing::{Clock, Fault, MockMaster, MockMasterOptions};
use determined::{
    CancelToken, Determined, ErrorKind, Experiment, ExperimentState, ModelDefinition, WaitOptions,
};
use serde_json::json;

use crate::EXPERIMENT;
use crate::support::{After, LOGGED_IN, RawMaster, answer, json as answer_json};

/// A master whose time stands still, and an experiment on it that runs.
fn with_running_experiment() -> (MockMaster, Experiment) {
    let master = MockMaster::start_with(MockMasterOptions::new().clock(Clock::Manual));
    let config = json!({
        "name": "n", "entrypoint": "true",
        "searcher": {"name": "single", "metric": "loss", "max_length": 1}
    });
    let client = master.determined();
    let experiment = client
        .create_experiment(config, ModelDefinition::none())
        .unwrap();
    (master, experiment)
}

fn quickly() -> WaitOptions {
    WaitOptions::new().interval(Duration::from_millis(20))
}

#[test]
fn a_wait_outlives_a_restart_of_the_master() {
    let (master, experiment) = with_running_experiment();
    thread::scope(|scope| {
        let wait = scope.spawn(|| experiment.wait_with(quickly()));
        thread::sleep(Duration::from_millis(100));
        master.stop();
        thread::sleep(Duration::from_millis(1300));
        assert!(!wait.is_finished());
        master.restart();
        while master.step() {}
        assert_eq!(wait.join().unwrap().unwrap(), ExperimentState::Completed);
    });
}

#[test]
fn a_wait_outlives_a_restart_that_forgets_all_sessions() {
    let (master, experiment) = with_running_experiment();
    thread::scope(|scope| {
        let wait = scope.spawn(|| experiment.wait_with(quickly()));
        thread::sleep(Duration::from_millis(50));
        master.stop();
        master.expire_tokens();
        // The first logins after the restart fail too.
        master.fail_next("/api/v1/auth/login", 503, 2);
        master.restart();
        while master.step() {}
        assert_eq!(wait.join().unwrap().unwrap(), ExperimentState::Completed);
    });
}

#[test]
fn a_wait_outlives_every_way_of_failing_for_a_moment() {
    let faults = [
        Fault::Refuse,
        Fault::Cut,
        Fault::Truncate(0),
        Fault::Truncate(40),
        Fault::Status(500),
        Fault::Status(502),
        Fault::RetryAfter(503, 1),
        Fault::RetryAfter(429, 1),
        Fault::Garbage("<html>Bad Gateway</html>".into()),
        Fault::Garbage(String::new()),
    ];
    thread::scope(|scope| {
        for fault in faults {
            scope.spawn(move || {
                let (master, experiment) = with_running_experiment();
                while master.step() {}
                let path = format!("GET /api/v1/experiments/{}", experiment.id);
                master.fault(&path, fault.clone(), 3);
                let state = experiment.wait_with(quickly());
                assert_eq!(state.unwrap(), ExperimentState::Completed, "{fault:?}");
            });
        }
    });
}

#[test]
fn a_silent_master_is_waited_out_like_any_other_outage() {
    let (master, experiment) = with_running_experiment();
    while master.step() {}
    let id = experiment.id;
    let options = master
        .login_options()
        .read_timeout(Duration::from_millis(200));
    let impatient = Determined::new(options)
        .unwrap()
        .get_experiment(id)
        .unwrap();
    let path = format!("/api/v1/experiments/{id}");
    master.fault(&path, Fault::Delay(Duration::from_millis(700)), 1);
    assert_eq!(
        impatient.wait_with(quickly()).unwrap(),
        ExperimentState::Completed
    );
}

#[test]
fn a_wait_ends_at_its_timeout_though_the_master_is_away() {
    let (master, experiment) = with_running_experiment();
    master.stop();
    let started = Instant::now();
    let options = quickly().timeout(Duration::from_millis(1500));
    let error = experiment.wait_with(options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WaitTimeout, "{error}");
    let took = started.elapsed();
    assert!(
        took >= Duration::from_millis(1500) && took < Duration::from_secs(5),
        "{took:?}"
    );
}

#[test]
fn a_wait_beyond_the_outage_limit_says_what_is_wrong_with_the_master() {
    let (master, experiment) = with_running_experiment();
    master.stop();
    let options = quickly().outage_limit(Duration::from_millis(100));
    let error = experiment.wait_with(options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MasterNotFound, "{error}");
    let text = error.to_string();
    let address = master.url().replace("http://", "");
    assert!(
        text.contains(&address) && text.contains("GET /api/v1/experiments/"),
        "{text}"
    );
}

#[test]
fn cancelling_ends_a_wait_within_a_second_whatever_the_master_does() {
    // Silent in mid-answer, away, and between two looks.
    let silent = RawMaster::start({
        let asked = AtomicUsize::new(0);
        move |_, stream| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => answer_json(stream, 200, &EXPERIMENT.replace("COMPLETED", "RUNNING")),
            _ => {
                thread::sleep(Duration::from_secs(20));
                Ok(After::Close)
            }
        }
    });
    let silenced = silent.client().get_experiment(1).unwrap();
    let (away, left_alone) = with_running_experiment();
    away.stop();
    let (_idle, looked_at) = with_running_experiment();
    let slowly = || WaitOptions::new().interval(Duration::MAX);
    for (experiment, options) in [
        (silenced, quickly()),
        (left_alone, slowly()),
        (looked_at, slowly()),
    ] {
        let token = CancelToken::new();
        thread::scope(|scope| {
            let wait = scope.spawn(|| experiment.wait_with(options.cancel(&token)));
            thread::sleep(Duration::from_millis(300));
            let cancelled = Instant::now();
            token.cancel();
            let error = wait.join().unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
            assert!(cancelled.elapsed() < Duration::from_secs(15));
        });
    }
}

#[test]
fn a_storm_that_does_not_end_is_an_error_after_the_tries_that_were_allowed() {
    for (retries, tries) in [(0, 1), (1, 2)] {
        let master = RawMaster::start(|_, stream| {
            answer(
                stream,
                503,
                &[("content-type", "text/html")],
                b"<h1>busy</h1>",
            )
        });
        let client = Determined::new(master.login_options().retries(retries)).unwrap();
        let error = client.get_experiment(1).unwrap_err();
        assert_eq!(error.status(), Some(503), "{error}");
        assert!(error.is_transient());
        assert_eq!(master.count("/api/v1/experiments/1"), tries);
    }
}

#[test]
fn a_login_outlives_a_storm_and_is_refused_at_once_by_the_master() {
    let asked = AtomicUsize::new(0);
    let master = RawMaster::start_bare(move |_, stream| {
        let n = asked.fetch_add(1, Ordering::SeqCst);
        match [503, 502, 401].get(n) {
            Some(status) => answer(stream, *status, &[], b""),
            None => answer_json(stream, 200, LOGGED_IN),
        }
    });
    let error = Determined::new(master.login_options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    assert_eq!(master.requests().len(), 3);
    Determined::new(master.login_options()).unwrap();
}

#[test]
fn cancelling_ends_a_call_within_a_second_though_nobody_takes_the_connection() {
    let (master, experiment) = with_running_experiment();
    let address = master.url().replace("http://", "");
    master.stop();
    // The port is taken again, by a listener whose queue is full: the system does not answer any more.
    let listener = TcpListener::bind(&address).unwrap();
    let address = listener.local_addr().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(50));
    let held: Vec<TcpStream> = (0..5000).map_while(|_| connect().ok()).collect();
    assert!(held.len() < 5000);
    let token = CancelToken::new();
    thread::scope(|scope| {
        let wait = scope.spawn(|| experiment.wait_with(quickly().cancel(&token)));
        thread::sleep(Duration::from_millis(300));
        assert!(!wait.is_finished());
        let cancelled = Instant::now();
        token.cancel();
        let error = wait.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
        // Not at the end of the connect timeout, which is ten seconds.
        assert!(cancelled.elapsed() < Duration::from_secs(8));
    });
}

#[test]
fn a_wish_to_be_asked_at_a_certain_time_is_granted_by_the_masters_own_clock() {
    // The master's clock is years behind.
    let asked = Mutex::new(Vec::new());
    let times = Arc::new(asked);
    let seen_at = Arc::clone(&times);
    let master = RawMaster::start(move |_, stream| {
        let mut times = seen_at.lock().unwrap();
        times.push(Instant::now());
        let until = match times.len() {
            1 => "Wed, 21 Oct 2015 07:28:02 GMT",
            2 => return answer_json(stream, 200, EXPERIMENT),
            _ => "Wed, 21 Oct 2015 09:28:00 GMT",
        };
        let headers = [
            ("date", "Wed, 21 Oct 2015 07:28:00 GMT"),
            ("retry-after", until),
        ];
        answer(stream, 503, &headers, b"")
    });
    let client = Determined::new(master.login_options().retries(1)).unwrap();
    client.get_experiment(1).unwrap();
    let asked = times.lock().unwrap().clone();
    assert!(asked[1] - asked[0] >= Duration::from_secs(2));
    // Two hours are more than anyone waits.
    let error = client.get_experiment(1).unwrap_err();
    assert_eq!(error.status(), Some(503), "{error}");
    assert_eq!(times.lock().unwrap().len(), 3);
}

#[test]
fn a_wish_for_more_patience_than_a_minute_is_an_error_at_once() {
    for wish in [
        "61",
        "3600",
        "99999999999999999999",
        "Wed, 21 Oct 2065 07:28:00 GMT",
    ] {
        let asked = AtomicUsize::new(0);
        let master = RawMaster::start(move |_, stream| {
            // What cannot be understood is no wish, and a 429 without one is not tried again.
            assert_eq!(asked.fetch_add(1, Ordering::SeqCst), 0);
            answer(stream, 429, &[("retry-after", wish)], b"")
        });
        let started = Instant::now();
        let error = master.client().get_experiment(1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RateLimited, "{error}");
        assert!(started.elapsed() < Duration::from_secs(15));
    }
}

#[test]
fn a_master_that_went_away_is_named_in_the_error() {
    let master = MockMaster::start();
    let options = master.login_options().retries(1);
    let client = Determined::new(options).unwrap();
    client.whoami().unwrap();
    master.stop();
    let address = master.url().replace("http://", "");
    for error in [
        client.whoami().unwrap_err(),
        client.create_model("m").unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::MasterNotFound, "{error}");
        assert!(
            error.is_transient() && error.to_string().contains(&address),
            "{error}"
        );
    }
    master.restart();
    client.whoami().unwrap();
}

#[test]
fn a_call_that_never_reached_the_master_is_tried_again_whatever_its_method() {
    let master = MockMaster::start();
    let client = master.determined();
    master.stop();
    thread::scope(|scope| {
        let create = scope.spawn(|| client.create_model("m"));
        thread::sleep(Duration::from_millis(300));
        master.restart();
        create.join().unwrap().unwrap();
    });
    assert_eq!(client.get_models().unwrap().len(), 1);
}

#[test]
fn a_backlog_that_is_full_is_no_connection_and_not_a_hang() {
    // A listener that accepts nobody, until the system itself answers no more.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(50));
    let held: Vec<TcpStream> = (0..5000).map_while(|_| connect().ok()).collect();
    assert!(held.len() < 5000);
    let options = crate::support::options(&format!("http://{address}"))
        .connect_timeout(Duration::from_millis(300))
        .read_timeout(Duration::from_millis(300));
    let started = Instant::now();
    let error = Determined::new(options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[test]
fn an_action_that_was_answered_with_a_gateways_error_is_sent_once() {
    for status in [500, 502, 503, 504] {
        let master = RawMaster::start(move |seen, stream| match seen.method.as_str() {
            "GET" => answer_json(stream, 200, EXPERIMENT),
            _ => answer(stream, status, &[("retry-after", "0")], b"<h1>no</h1>"),
        });
        let mut experiment = master.client().get_experiment(1).unwrap();
        let error = experiment.set_name("other").unwrap_err();
        assert_eq!(error.status(), Some(status), "{error}");
        assert_eq!(experiment.name, "n");
        let patches = master
            .requests()
            .iter()
            .filter(|seen| seen.method == "PATCH")
            .count();
        assert_eq!(patches, 1);
    }
}

#[test]
fn a_delete_is_repeated_and_a_second_answer_of_not_found_is_not_hidden() {
    let asked = AtomicUsize::new(0);
    let master = RawMaster::start(move |seen, stream| {
        match (seen.method.as_str(), asked.fetch_add(1, Ordering::SeqCst)) {
            ("GET", _) => answer_json(stream, 200, EXPERIMENT),
            (_, 1) => Ok(After::Close),
            _ => answer_json(stream, 200, "{}"),
        }
    });
    let experiment = master.client().get_experiment(1).unwrap();
    experiment.delete().unwrap();
    assert_eq!(master.count("/api/v1/experiments/1"), 3);
}

#[test]
fn a_server_that_hangs_up_at_once_is_a_cut_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 1]);
        }
    });
    let options = crate::support::options(&url);
    let error = Determined::new(options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
}
