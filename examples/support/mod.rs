//! What the examples share: a master to speak to, an experiment to look at, and a bar that shows how far a call has come.

#![allow(dead_code, reason = "every example uses its own part")]

use std::env;
use std::io::{IsTerminal, Write, stderr};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use determined::testing::MockMaster;
use determined::{Experiment, LoginOptions, client};

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

/// Submits the small experiment of the examples: a random search of two trials.
pub(crate) fn submit() -> Result<Experiment> {
    let model_def = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/model_def");
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

/// How far a call has come: a bar on the standard error output if that is a terminal, else a line on the standard output for each change.
#[derive(Default)]
pub(crate) struct Bar {
    shown: Mutex<String>,
}

impl Bar {
    pub(crate) fn show(&self, what: &str, fraction: Option<f64>) {
        let fraction = fraction.unwrap_or(0.0);
        let percent = format!("{:>3.0} %", 100.0 * fraction);
        let line = format!("  {what:<10} {percent}");
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if *shown == line {
            return;
        }
        let mut terminal = stderr();
        if terminal.is_terminal() {
            let full = "█".repeat((30.0 * fraction) as usize);
            let is_plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let (on, off) = if is_plain {
                ("", "")
            } else {
                ("\x1b[32m", "\x1b[0m")
            };
            // A terminal that is gone is no reason to stop.
            let _ = write!(
                terminal,
                "\r  {what:<10} {on}{full:<30}{off} {percent}\x1b[K"
            );
        } else {
            println!("{line}");
        }
        *shown = line;
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        let shown = self.shown.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut terminal = stderr();
        if !shown.is_empty() && terminal.is_terminal() {
            let _ = writeln!(terminal);
        }
    }
}
