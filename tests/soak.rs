//! Threads that do everything at once, against a master that fails at random. When it has calmed down, what it knows is what the clients were
//! told, nothing was done twice, and nothing is left open.
//!
//! `SOAK_SECONDS` says for how long, and `SOAK_SEED` which faults come.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use determined::testing::{Clock, Fault, MockMaster, MockMasterOptions, TrialScript};
use determined::{
    CancelToken, Determined, DownloadMode, DownloadOptions, Error, ErrorKind, Experiment,
    ExperimentState, LogEntries, LogOptions, LoginOptions, Model, ModelQuery, TokenStore,
    WaitOptions,
};
use serde_json::json;

const WORKERS: usize = 8;
const ROUNDS: u32 = 3;
const LINES: usize = 20;
const PASSWORD: &str = "Passw0rd.test";

#[test]
#[ignore = "takes a minute"]
fn whatever_fails_nothing_is_lost_done_twice_or_left_open() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let round = Duration::from_secs(number("SOAK_SECONDS").unwrap_or(60)) / ROUNDS;
    let seed = number("SOAK_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("SOAK_SEED={seed}");

    let weights = weights();
    let master = MockMaster::start_with(
        MockMasterOptions::new()
            .clock(Clock::RealTime)
            .slots(64)
            .model(move |_| script(&weights)),
    );
    let store = tempfile::tempdir().unwrap();
    let admin = Determined::new(master.login_options().user("admin")).unwrap();
    for n in 0..WORKERS {
        admin.create_user(&user(n), false, PASSWORD).unwrap();
    }
    drop(admin);

    let mut readings: Vec<(usize, usize)> = Vec::new();
    for n in 0..ROUNDS {
        let mut views = storm(
            &master,
            store.path(),
            round,
            seed.wrapping_add(u64::from(n)),
        );
        master.clear_faults();
        master.clear_requests();
        master.restart();
        for view in &mut views {
            view.compare(&master);
        }
        let done: usize = views.iter().map(|view| view.done).sum();
        let failed: usize = views.iter().map(|view| view.failed).sum();
        println!("round {n}: {done} calls, of which {failed} failed");
        assert!(done > failed && failed > 0);
        // Clients that are there keep connections for their next calls, and so does the master.
        drop(views);
        master.restart();
        readings.push(settled(readings.first()));
        println!("threads and open files: {:?}", readings[n as usize]);
    }
    assert!(
        readings.iter().all(|reading| *reading == readings[0]),
        "{readings:?}"
    );
}

fn user(n: usize) -> String {
    format!("user-{n}")
}

fn weights() -> Vec<u8> {
    let mut random = Random(7);
    (0..200_000).map(|_| random.below(256) as u8).collect()
}

fn script(weights: &[u8]) -> TrialScript {
    let script = (0..LINES).fold(TrialScript::new(), |script, n| {
        script
            .print(format!("line {n}"))
            .training(n as i32 + 1, json!({"loss": n}))
            .wait(Duration::from_millis(30))
    });
    script
        .validation(LINES as i32, json!({"loss": 1}))
        .checkpoint(LINES as i32, [("weights.bin", weights), ("empty/", b"")])
}

/// Lets all workers work while faults come, for as long as it lasts.
fn storm(master: &MockMaster, store: &Path, duration: Duration, seed: u64) -> Vec<View> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|n| {
                let (is_over, random) = (&is_over, Random(seed ^ (n as u64) << 32));
                scope.spawn(move || {
                    let mut view = View::new(master, store, n, seed, random);
                    while !is_over.load(Ordering::Relaxed) {
                        view.act();
                    }
                    view
                })
            })
            .collect();
        let (mut random, started) = (Random(seed), Instant::now());
        while started.elapsed() < duration {
            disturb(master, &mut random);
            thread::sleep(Duration::from_millis(random.below(100)));
        }
        master.clear_faults();
        is_over.store(true, Ordering::Relaxed);
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .collect()
    })
}

fn disturb(master: &MockMaster, random: &mut Random) {
    let fault = match random.below(24) {
        0 => Fault::Status(500),
        1..=3 => Fault::Status(502),
        4..=5 => Fault::Status(503),
        6 => Fault::RetryAfter(429, 1),
        7..=8 => Fault::Delay(Duration::from_millis(random.below(50))),
        9..=11 => Fault::Cut,
        12..=14 => Fault::Refuse,
        15..=17 => Fault::Truncate(random.below(300) as usize),
        18 => Fault::Garbage("<html>Bad Gateway</html>".into()),
        19 => Fault::Garbage(String::new()),
        20..=21 => return master.cut_connections(),
        22 => return master.expire_tokens(),
        _ if random.below(4) > 0 => return,
        _ => {
            master.stop();
            thread::sleep(Duration::from_millis(random.below(200)));
            return master.restart();
        }
    };
    // One at a time: what nobody has met is forgotten.
    master.clear_faults();
    master.fault("*", fault, 1);
}

/// What a worker was told. What is `None` nobody knows, since a call about it has failed.
struct View {
    random: Random,
    /// Logs the worker's user in, and keeps the token.
    options: LoginOptions,
    client: Determined,
    name: String,
    models: BTreeMap<String, KnownModel>,
    workspaces: BTreeMap<String, Option<bool>>,
    /// How many experiments of a name there are at least; at most there is one.
    submissions: BTreeMap<String, usize>,
    experiments: Vec<Experiment>,
    done: usize,
    failed: usize,
}

struct KnownModel {
    model: Option<Model>,
    exists: Option<bool>,
    description: Option<String>,
    metadata: Option<i64>,
    /// How many versions there are, at least and at most.
    versions: (usize, usize),
}

impl View {
    fn new(master: &MockMaster, store: &Path, n: usize, seed: u64, random: Random) -> Self {
        let options = master
            .login_options()
            .user(user(n))
            .password(PASSWORD)
            .retries(1)
            .token_store(TokenStore::Dir(store.to_owned()));
        let client = loop {
            match Determined::new(options.clone()) {
                Ok(client) => break client,
                Err(error) => assert_passing(&error, &[]),
            }
        };
        Self {
            random,
            options,
            client,
            name: format!("{seed:x}-{n}"),
            models: BTreeMap::new(),
            workspaces: BTreeMap::new(),
            submissions: BTreeMap::new(),
            experiments: Vec::new(),
            done: 0,
            failed: 0,
        }
    }

    /// Counts a call; gives what came of it. What fails must be a fault that passes, or one of these.
    fn tell<T>(&mut self, outcome: Result<T, Error>, also: &[ErrorKind]) -> Option<T> {
        self.done += 1;
        outcome
            .inspect_err(|error| {
                self.failed += 1;
                assert_passing(error, also);
                if error.kind() == ErrorKind::MasterNotFound {
                    thread::sleep(Duration::from_millis(50));
                }
            })
            .ok()
    }

    fn act(&mut self) {
        match self.random.below(12) {
            0..=1 => self.create_model(),
            2..=5 => self.change_model(),
            6 => self.change_workspaces(),
            7 => self.submit(),
            8..=9 => self.read_experiment(),
            10 => self.log_in_and_out(),
            _ => self.list(),
        }
    }

    fn create_model(&mut self) {
        let name = format!("model-{}-{}", self.name, self.models.len());
        let created = self.client.create_model(&name);
        let model = self.tell(created, &[]);
        let known = KnownModel {
            exists: model.as_ref().map(|_| true),
            description: model.as_ref().map(|_| String::new()),
            metadata: model.as_ref().map(|_| 0),
            versions: (0, 0),
            model,
        };
        self.models.insert(name, known);
    }

    fn change_model(&mut self) {
        let with_object = |known: &KnownModel| known.model.is_some();
        let names: Vec<String> = self
            .models
            .iter()
            .filter(|(_, known)| with_object(known))
            .map(|(name, _)| name.clone())
            .collect();
        if names.is_empty() {
            return;
        }
        let name = &names[self.random.below(names.len() as u64) as usize];
        let mut known = self.models.remove(name).unwrap();
        let mut model = known.model.take().unwrap();
        let value = self.random.below(1000) as i64;
        match self.random.below(8) {
            0..=2 => {
                let text = format!("description {value}");
                let set = model.set_description(&text);
                known.description = self.tell(set, &[]).map(|()| text);
            }
            3..=4 => {
                let added = model.add_metadata(json!({ "value": value }));
                known.metadata = self.tell(added, &[]).map(|()| value);
            }
            5..=6 => {
                if let Some(uuid) = self.checkpoint() {
                    let registered = model.register_version(&uuid);
                    known.versions.1 += 1;
                    known.versions.0 += usize::from(self.tell(registered, &[]).is_some());
                }
            }
            _ => {
                // A repeated DELETE does not find what the first has deleted.
                let deleted = model.delete();
                known.exists = self.tell(deleted, &[ErrorKind::NotFound]).map(|()| false);
                self.models.insert(name.clone(), known);
                return;
            }
        }
        known.model = Some(model);
        self.models.insert(name.clone(), known);
    }

    /// The uuid of a checkpoint of an experiment that has ended.
    fn checkpoint(&mut self) -> Option<String> {
        let experiment = self.experiments.first()?.clone();
        let listed = experiment.list_checkpoints();
        Some(self.tell(listed, &[])?.pop()?.uuid)
    }

    fn change_workspaces(&mut self) {
        let existing = self
            .workspaces
            .iter()
            .find(|(_, exists)| **exists == Some(true));
        match existing.map(|(name, _)| name.clone()) {
            Some(name) if self.random.below(2) == 0 => {
                let deleted = self.client.delete_workspace(name.as_str());
                let exists = self.tell(deleted, &[ErrorKind::NotFound]).map(|()| false);
                self.workspaces.insert(name, exists);
            }
            _ => {
                let name = format!("workspace-{}-{}", self.name, self.workspaces.len());
                let created = self.client.create_workspace(&name);
                let exists = self.tell(created, &[]).map(|_| true);
                self.workspaces.insert(name, exists);
            }
        }
    }

    fn submit(&mut self) {
        let name = format!("experiment-{}-{}", self.name, self.submissions.len());
        let config = json!({
            "name": name, "entrypoint": "true",
            "searcher": {"name": "single", "metric": "loss", "max_length": 1}
        });
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("train.py"), &weights()[..50_000]).unwrap();
        let created = self.client.create_experiment(config, directory.path());
        let experiment = self.tell(created, &[]);
        self.submissions
            .insert(name, usize::from(experiment.is_some()));
        self.experiments.extend(experiment);
    }

    /// Reads all there is of an experiment; what was followed through faults is what is there when all is over.
    fn read_experiment(&mut self) {
        let Some(experiment) = self.experiments.last().cloned() else {
            return;
        };
        if self.random.below(4) == 0 {
            return self.cancel_in_the_middle(&experiment);
        }
        let options = WaitOptions::new().interval(Duration::from_millis(20));
        let awaited = experiment.await_first_trial_with(options.clone());
        let Some(trial) = self.tell(awaited, &[]) else {
            return;
        };
        let followed = trial
            .logs_with(LogOptions::new().follow(true))
            .and_then(printed);
        if let Some(lines) = self.tell(followed, &[]) {
            let expected: Vec<String> = (0..LINES).map(|n| format!("line {n}\n")).collect();
            assert_eq!(lines, expected);
        }
        // Where the wait has failed the trial may still be running: what it has reported by then is not all.
        let ended = experiment.wait_with(options);
        let Some(state) = self.tell(ended, &[]) else {
            return;
        };
        assert_eq!(state, ExperimentState::Completed);
        let reports = trial
            .iter_metrics("training")
            .and_then(|reports| reports.collect::<Result<Vec<_>, _>>());
        if let Some(reports) = self.tell(reports, &[]) {
            let steps: Vec<i32> = reports
                .iter()
                .map(|report| report.steps_completed)
                .collect();
            assert_eq!(steps, (1..=LINES as i32).collect::<Vec<_>>());
        }
        self.download(&experiment);
    }

    fn download(&mut self, experiment: &Experiment) {
        let top = experiment.top_checkpoint();
        let Some(checkpoint) = self.tell(top, &[]) else {
            return;
        };
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("c");
        let options = DownloadOptions::new()
            .path(&path)
            .mode(DownloadMode::Master);
        let downloaded = checkpoint.download_with(options);
        match self.tell(downloaded, &[]) {
            Some(_) => {
                assert!(fs::read(path.join("weights.bin")).unwrap() == weights());
                assert!(path.join("empty").is_dir());
            }
            None => assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0),
        }
    }

    fn cancel_in_the_middle(&mut self, experiment: &Experiment) {
        let token = CancelToken::new();
        let delay = Duration::from_millis(self.random.below(100));
        let outcome = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(delay);
                token.cancel();
            });
            let options = WaitOptions::new().interval(Duration::from_millis(20));
            let trial = experiment.await_first_trial_with(options.cancel(&token))?;
            printed(trial.logs_with(LogOptions::new().follow(true).cancel(&token))?)
        });
        self.tell(outcome, &[ErrorKind::Cancelled]);
    }

    fn log_in_and_out(&mut self) {
        let forgetful = self.options.clone().token_store(TokenStore::None);
        let client = Determined::new(forgetful);
        if let Some(client) = self.tell(client, &[]) {
            let me = client.whoami();
            self.tell(me, &[]);
            let out = client.logout();
            self.tell(out, &[]);
        }
    }

    fn list(&mut self) {
        let query = ModelQuery::new().page_size(3);
        let names: Result<Vec<String>, Error> = self
            .client
            .iter_models_with(query)
            .and_then(|models| models.map(|model| model.map(|model| model.name)).collect());
        self.tell(names, &[]);
        let experiments = self.client.list_experiments();
        self.tell(experiments, &[]);
    }

    /// Whether the master knows what the worker was told, now that it answers well.
    fn compare(&mut self, master: &MockMaster) {
        let client = master.determined();
        let models: BTreeMap<String, Model> = client
            .get_models()
            .unwrap()
            .into_iter()
            .map(|model| (model.name.clone(), model))
            .collect();
        for (name, known) in &self.models {
            let model = models.get(name);
            assert!(
                known.exists.is_none_or(|exists| exists == model.is_some()),
                "{name}"
            );
            let Some(model) = model else { continue };
            let description = model.description.clone();
            assert!(
                known
                    .description
                    .as_ref()
                    .is_none_or(|text| *text == description),
                "{name}: {description}"
            );
            let value = model
                .metadata
                .get("value")
                .and_then(|value| value.as_i64())
                .unwrap_or(0);
            assert!(
                known.metadata.is_none_or(|known| known == value),
                "{name}: {value}"
            );
            let versions = model.get_versions().unwrap().len();
            let (least, most) = known.versions;
            assert!(
                (least..=most).contains(&versions),
                "{name}: {versions} of {least}..={most}"
            );
        }
        let workspaces = client.list_workspaces().unwrap();
        for (name, exists) in &self.workspaces {
            let count = workspaces
                .iter()
                .filter(|workspace| workspace.name == *name)
                .count();
            assert!(
                exists.is_none_or(|exists| usize::from(exists) == count),
                "{name}: {count}"
            );
        }
        let experiments = client.list_experiments().unwrap();
        for (name, least) in &self.submissions {
            let count = experiments
                .iter()
                .filter(|experiment| experiment.name == *name)
                .count();
            assert!(
                (*least..=1).contains(&count),
                "{name}: {count}, at least {least}"
            );
        }
        // The client that went through it all is as good as new, and so is the token that was kept.
        self.client.whoami().unwrap();
        if let Some(experiment) = self.experiments.last() {
            assert_eq!(experiment.wait().unwrap(), ExperimentState::Completed);
        }
    }
}

/// What the program of a trial printed.
fn printed(entries: LogEntries) -> Result<Vec<String>, Error> {
    let texts = entries.map(|entry| entry.map(|entry| entry.log().to_owned()));
    texts
        .filter(|text| !text.as_ref().is_ok_and(|text| !text.starts_with("line ")))
        .collect()
}

/// An error that such a master may cause, and no other: what it says of itself, and nothing about what was asked for.
#[track_caller]
fn assert_passing(error: &Error, also: &[ErrorKind]) {
    let is_passing = error.is_transient()
        || error.status() == Some(500)
        || matches!(
            error.kind(),
            ErrorKind::InvalidResponse | ErrorKind::Unauthenticated
        );
    assert!(is_passing || also.contains(&error.kind()), "{error}");
}

/// Threads and open files of this process, when nothing has changed for a while; or when they are as they were.
fn settled(before: Option<&(usize, usize)>) -> (usize, usize) {
    let count = |path: &str| fs::read_dir(path).unwrap().count();
    let read = || (count("/proc/self/task"), count("/proc/self/fd"));
    let (mut last, mut unchanged) = (read(), 0);
    for _ in 0..120 {
        thread::sleep(Duration::from_millis(500));
        let now = read();
        unchanged = if now == last { unchanged + 1 } else { 0 };
        if before.map_or(unchanged == 10, |before| *before == now) {
            return now;
        }
        last = now;
    }
    last
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}
