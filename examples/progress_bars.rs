//! How far the long calls have come: submitting, waiting, downloading.
//!
//! The library draws nothing by itself. It tells a function; the one here, of the feature `progress`, draws a bar on the standard error output
//! if that is a terminal, without colours if `NO_COLOR` is set.

#[macro_use]
mod support;

use std::env;
use std::time::Duration;

use anyhow::Result;
use determined::{CreateExperimentOptions, DownloadOptions, WaitOptions, client, progress_bar};

fn main() -> Result<()> {
    let _master = support::login_to_watch()?;

    let model_def = support::model_def();
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
