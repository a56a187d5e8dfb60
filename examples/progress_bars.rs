//! How far the long calls have come: submitting, waiting, downloading.
//!
//! The library draws nothing by itself. It tells a function; the one here, of the feature `progress`, draws a bar if there is a terminal.

mod support;

use std::env;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use determined::testing::Clock;
use determined::{CreateExperimentOptions, DownloadOptions, WaitOptions, client, progress_bar};

fn main() -> Result<()> {
    let master = support::login()?;
    if let Some(master) = &master {
        master.set_clock(Clock::Scaled(8.0)); // else there would be nothing to watch
    }
    let model_def = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/model_def");

    let sending = CreateExperimentOptions::new().on_progress(progress_bar("submit"));
    let config = model_def.join("config.yaml");
    let experiment = client::create_experiment_with(config, &model_def, sending)?;

    let waiting = WaitOptions::new()
        .interval(Duration::from_millis(100))
        .on_progress(progress_bar("wait"));
    let state = experiment.wait_with(waiting)?;

    let best = experiment.top_checkpoint()?;
    let directory = env::temp_dir().join(format!("determined-progress-{}", best.uuid));
    let downloading = DownloadOptions::new()
        .path(directory)
        .on_progress(progress_bar("download"));
    let directory = best.download_with(downloading)?;

    println!("{} {state} {}", experiment.id, directory.display());
    Ok(())
}
