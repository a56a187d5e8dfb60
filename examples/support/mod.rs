//! What the examples share: a master to speak to, an experiment to look at, and how far a wait has come.

#![allow(dead_code, unused_macros, reason = "every example uses its own part")]

use std::io::{self, IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::{env, fmt, process};

use anyhow::Result;
use determined::testing::{Clock, MockMaster};
use determined::{Experiment, LoginOptions, Model, WaitProgress, client, progress_bar};

/// Prints as the standard library's does, which panics when nobody reads on, as in `… | head`: see [`print`].
macro_rules! print {
    ($($text:tt)*) => { $crate::support::print(format_args!($($text)*)) };
}

/// Like `print`, with the end of the line.
macro_rules! println {
    ($($text:tt)*) => { $crate::support::print(format_args!("{}\n", format_args!($($text)*))) };
}

/// Writes to the standard output. The example ends here, quietly, when nobody reads on.
pub(crate) fn print(text: fmt::Arguments<'_>) {
    match io::stdout().write_fmt(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => process::exit(0),
        result => result.expect("the standard output can be written to"),
    }
}

/// Logs the default client in: at the master in `DET_MASTER`, by the environment or the token store, or else at one inside this process,
/// which lives as long as what is returned.
pub(crate) fn login() -> Result<Option<MockMaster>> {
    if env::var_os("DET_MASTER").is_some_and(|url| !url.is_empty()) {
        client::login(LoginOptions::new())?;
        return Ok(None);
    }
    let master = MockMaster::start();
    client::login(master.login_options())?;
    Ok(Some(master))
}

/// Like [`login`], but on the master inside this process trials take a second or two, so that there is something to watch.
pub(crate) fn login_to_watch() -> Result<Option<MockMaster>> {
    let master = login()?;
    if let Some(master) = &master {
        master.set_clock(Clock::Scaled(2.0));
    }
    Ok(master)
}

/// The code of the small experiment of the examples, and beside it its configuration, `config.yaml`: a random search of two trials.
pub(crate) fn model_def() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/model_def")
}

/// Submits the small experiment of the examples.
pub(crate) fn submit() -> Result<Experiment> {
    let model_def = model_def();
    Ok(client::create_experiment(
        model_def.join("config.yaml"),
        &model_def,
    )?)
}

/// The experiment whose id is the first argument; without one, that of [`submit`], when it has ended.
pub(crate) fn experiment() -> Result<Experiment> {
    if let Some(id) = env::args().nth(1).filter(|word| !word.starts_with('-')) {
        return Ok(client::get_experiment(id.parse()?)?);
    }
    let mut experiment = submit()?;
    experiment.wait()?;
    experiment.reload()?;
    Ok(experiment)
}

/// The model of this name, made now if there is none.
pub(crate) fn get_or_create_model(name: &str) -> determined::Result<Model> {
    match client::get_model(name) {
        Err(error) if error.is_not_found() => client::create_model(name),
        found => found,
    }
}

/// Shows how far a wait has come: a bar on a terminal, elsewhere a line on the standard output for each change.
pub(crate) fn watch() -> impl Fn(&WaitProgress) + Send + Sync + 'static {
    let bar = progress_bar("wait");
    let shown = Mutex::new(String::new());
    move |seen| {
        bar(seen);
        let percent = 100.0 * seen.progress.unwrap_or(0.0);
        let line = format!("  {:<10} {percent:>3.0} %", seen.state.as_str());
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        if !stderr().is_terminal() && *shown != line {
            println!("{line}");
            *shown = line;
        }
    }
}
