//! Follows a trial's log until the trial ends, through cut connections and restarts of the master:
//! `cargo run --example follow_logs -- [TRIAL]`.

#[macro_use]
mod support;

use std::env;

use anyhow::Result;
use determined::{LogLevel, LogOptions, client};

fn main() -> Result<()> {
    let _master = support::login_to_watch()?;
    let trial = match env::args().nth(1) {
        Some(id) => client::get_trial(id.parse()?)?,
        None => support::submit()?.await_first_trial()?,
    };

    let mut count = 0;
    for entry in trial.logs_with(LogOptions::new().follow(true))? {
        print!("{}", entry?); // an entry ends its own line
        count += 1;
    }
    println!("--- {count} entries of trial {}", trial.id);

    let warnings = LogOptions::new().min_level(LogLevel::Warning);
    println!("--- {} warnings", trial.logs_with(warnings)?.count());

    println!("--- the last three");
    for entry in trial.logs_with(LogOptions::new().tail(3))? {
        let entry = entry?;
        let from = entry.stdtype().unwrap_or("-");
        println!("{from}: {}", entry.log().trim_end());
    }
    Ok(())
}
