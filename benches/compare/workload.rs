//! One workload as a whole process, to be timed beside the Python SDK; `run.py` starts it.
//!
//! `workload NAME URL [DATA_DIR [CHECKPOINT]]` prints what it counted.

use std::path::{Path, PathBuf};

use determined::{Determined, DownloadMode, DownloadOptions, LoginOptions, Proxy, TokenStore};
use serde_json::json;

const UUID: &str = "11111111-2222-4333-8444-555555555555";

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    let (Some(workload), Some(url)) = (arguments.next(), arguments.next()) else {
        // `cargo test --benches` and `cargo bench` start every benchmark without arguments.
        println!("usage: workload NAME URL [DATA_DIR [CHECKPOINT]]; see run.py");
        return Ok(());
    };
    let data = PathBuf::from(arguments.next().unwrap_or_default());
    let client = Determined::new(
        LoginOptions::new()
            .master(url)
            .user("bench")
            .password("bench")
            .token_store(TokenStore::None)
            .proxy(Proxy::None),
    )?;
    match workload.as_str() {
        "start" => println!("{}", client.get_experiment(1)?.id),
        "logs" => {
            let mut characters = 0;
            for entry in client.get_trial(1)?.logs()? {
                characters += entry?.message().chars().count();
            }
            println!("{characters}");
        }
        "metrics" => {
            let mut sum = 0.0;
            for report in client.get_trial(1)?.iter_metrics("training")? {
                sum += report?.metric("loss").unwrap_or_default();
            }
            println!("{sum}");
        }
        "models" => println!("{}", client.get_models()?.len()),
        "submit" => {
            let config = json!({
                "name": "bench", "entrypoint": "true",
                "searcher": {"name": "single", "metric": "m", "max_length": 1},
            });
            println!(
                "{}",
                client.create_experiment(config, data.join("model_def"))?.id
            );
        }
        "download" | "direct" => {
            let mode = match workload.as_str() {
                "download" => DownloadMode::Master,
                _ => DownloadMode::Direct,
            };
            let checkpoint = client.get_checkpoint(arguments.next().as_deref().unwrap_or(UUID))?;
            let scratch = tempfile::tempdir_in(&data)?;
            let options = DownloadOptions::new().path(scratch.path().join("c"));
            println!("{}", size(&checkpoint.download_with(options.mode(mode))?)?);
        }
        other => anyhow::bail!("there is no workload {other:?}"),
    }
    Ok(())
}

/// The bytes of all files below a directory.
fn size(directory: &Path) -> std::io::Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        total += if entry.file_type()?.is_dir() {
            size(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(total)
}
