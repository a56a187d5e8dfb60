//! A Determined master without a cluster, to try clients on: `cargo run --example mock_master -- [--port N] [--password P]`.
//!
//! The first line on the standard output is its URL. It stays until it is interrupted. The users are `determined` and `admin`,
//! with a blank password unless one is given; submitted trials run for about four seconds.

use anyhow::{Context, Result, bail};
use determined::testing::{Clock, MockMaster, MockMasterOptions};
use std::io::Write as _;

fn main() -> Result<()> {
    let mut options = MockMasterOptions::new().clock(Clock::RealTime);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments
            .next()
            .with_context(|| format!("{argument} needs a value"))?;
        options = match argument.as_str() {
            "--port" => options.port(value.parse().context("--port needs a number")?),
            "--password" => options.password(value),
            other => bail!("unknown argument {other}; there are --port N and --password P"),
        };
    }
    let master = MockMaster::start_with(options);
    let mut out = std::io::stdout();
    writeln!(out, "{}", master.url())?;
    out.flush()?;
    loop {
        std::thread::park();
    }
}
