//! The hot paths, each as a user meets it: through the public interface, over loopback, from a thread that answers with bytes made before.
//!
//! `cargo bench --bench hot_paths` compares with the run before. `compare/` times whole processes beside the Python SDK.

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::{fs, io, thread};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use determined::{Determined, DownloadMode, DownloadOptions};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

const UUID: &str = "11111111-2222-4333-8444-555555555555";
const ENTRIES: usize = 20_000;
const REPORTS: usize = 10_000;
const FILES: usize = 64;
const FILE: usize = 256 * 1024;

/// Answers by path.
type Answers = HashMap<String, Vec<u8>>;

/// A client of a master that knows these answers, and forgets what it is sent.
fn client(answers: impl IntoIterator<Item = (String, Vec<u8>)>) -> Determined {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut all = Answers::from_iter(answers);
    let login = ("/api/v1/auth/login", support::LOGGED_IN.to_owned());
    let trial = ("/api/v1/trials/1", json!({"trial": {"id": 1}}).to_string());
    for (path, answer) in [login, trial] {
        all.insert(path.to_owned(), answer.into_bytes());
    }
    let answers = Arc::new(all);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(io::Result::ok) {
            let answers = Arc::clone(&answers);
            // A client that goes away ends its connection, and nothing else.
            thread::spawn(move || serve(stream, &answers));
        }
    });
    Determined::new(support::options(&url)).unwrap()
}

fn serve(mut stream: TcpStream, answers: &Answers) -> io::Result<()> {
    let mut requests = BufReader::with_capacity(256 * 1024, stream.try_clone()?);
    while let Some(request) = support::Seen::read(&mut requests)? {
        let answer = &answers[request.path()];
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        )?;
        stream.write_all(answer)?;
    }
    Ok(())
}

fn lines(results: impl Iterator<Item = Value>) -> Vec<u8> {
    let lines = results.map(|result| json!({"result": result}).to_string() + "\n");
    lines.collect::<String>().into_bytes()
}

fn logs(criterion: &mut Criterion) {
    let entry = |n: usize| {
        let at = format!("2026-01-01T00:{:02}:{:02}.{n:06}Z", n / 60 % 60, n % 60);
        let log = format!("step {n} loss 0.{n:06} throughput 4711 samples/s\n");
        json!({
            "id": n.to_string(), "timestamp": at, "message": format!("[{at}] 7cbcfa21 || INFO: {log}"), "level": "LOG_LEVEL_INFO",
            "trialId": 1, "agentId": "agent-a", "containerId": "7cbcfa21-24b4-49df-b63b-2062c3bb5f76", "rankId": 0, "log": log,
            "source": "task", "stdtype": "stdout",
        })
    };
    let path = "/api/v1/trials/1/logs".to_owned();
    let trial = client([(path, lines((0..ENTRIES).map(entry)))]);
    let trial = trial.get_trial(1).unwrap();
    let mut group = criterion.benchmark_group("streams");
    group.throughput(Throughput::Elements(ENTRIES as u64));
    group.bench_function("log entries", |bencher| {
        bencher.iter(|| {
            let entries = trial.logs().unwrap();
            entries
                .map(|entry| entry.unwrap().message().len())
                .sum::<usize>()
        });
    });
}

fn metrics(criterion: &mut Criterion) {
    let report = |n: usize| {
        let loss = 1.0 / (n + 3) as f64;
        json!({
            "trialId": 1, "endTime": "2026-01-01T00:00:00.123Z",
            "metrics": {"avg_metrics": {"loss": loss, "acc": 1.0 - loss, "lr": 0.001}, "batch_metrics": null},
            "totalBatches": n, "archived": false, "id": n, "trialRunId": 1, "group": "training",
        })
    };
    let batch = |n| json!({"metrics": (n * 1000..(n + 1) * 1000).map(report).collect::<Vec<_>>()});
    let path = "/api/v1/trials/metrics/trial_metrics".to_owned();
    let trial = client([(path, lines((0..REPORTS / 1000).map(batch)))]);
    let trial = trial.get_trial(1).unwrap();
    let mut group = criterion.benchmark_group("streams");
    group.throughput(Throughput::Elements(REPORTS as u64));
    group.bench_function("metric reports", |bencher| {
        bencher.iter(|| {
            let reports = trial.iter_metrics("training").unwrap();
            reports
                .map(|report| report.unwrap().metric("loss").unwrap())
                .sum::<f64>()
        });
    });
}

/// Half noise, half text, as weights and code are.
fn content(n: usize) -> Vec<u8> {
    let mut state = n as u64 + 1;
    let mut bytes = Vec::with_capacity(FILE);
    while bytes.len() < FILE / 2 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.extend(&state.to_le_bytes()[3..]);
    }
    bytes.extend(b"x = 1\n".iter().cycle().take(FILE - bytes.len()));
    bytes
}

fn packing(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    for n in 0..FILES {
        fs::write(directory.path().join(format!("{n}.py")), content(n)).unwrap();
    }
    let created = json!({"experiment": {"id": 1}, "config": {}}).to_string();
    let client = client([("/api/v1/experiments".to_owned(), created.into_bytes())]);
    let config = json!({"name": "bench", "entrypoint": "true"});
    let mut group = criterion.benchmark_group("files");
    group.throughput(Throughput::Bytes((FILES * FILE) as u64));
    group.bench_function("packing", |bencher| {
        bencher.iter(|| {
            let experiment = client.create_experiment(config.clone(), directory.path());
            experiment.unwrap().id
        });
    });
}

fn unpacking(criterion: &mut Criterion) {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut resources = serde_json::Map::new();
    for n in 0..FILES {
        let (name, content) = (format!("part{n}.bin"), content(n));
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        archive
            .append_data(&mut header, &name, &content[..])
            .unwrap();
        resources.insert(name, content.len().to_string().into());
    }
    let archive = archive.into_inner().unwrap().finish().unwrap();
    let checkpoint =
        json!({"checkpoint": {"uuid": UUID, "state": "STATE_COMPLETED", "resources": resources}});
    let client = client([
        (
            format!("/api/v1/checkpoints/{UUID}"),
            checkpoint.to_string().into_bytes(),
        ),
        (format!("/checkpoints/{UUID}"), archive),
    ]);
    let checkpoint = client.get_checkpoint(UUID).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("c");
    let options = DownloadOptions::new()
        .path(&path)
        .mode(DownloadMode::Master);
    let mut group = criterion.benchmark_group("files");
    group.throughput(Throughput::Bytes((FILES * FILE) as u64));
    group.bench_function("unpacking", |bencher| {
        bencher.iter(|| {
            checkpoint.download_with(options.clone()).unwrap();
            fs::remove_dir_all(&path).unwrap();
        });
    });
}

criterion_group!(hot_paths, logs, metrics, packing, unpacking);
criterion_main!(hot_paths);
