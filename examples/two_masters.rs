//! Two masters at once, each with a client of its own: `cargo run --example two_masters -- [URL URL]`.
//!
//! Compares their model registries. Without URLs, two masters run inside this process.

#[macro_use]
mod support;

use std::collections::BTreeSet;
use std::env;
use std::thread;

use anyhow::{Context, Result};
use determined::testing::MockMaster;
use determined::{Determined, LoginOptions};

fn main() -> Result<()> {
    let urls: Vec<String> = env::args().skip(1).collect();
    let mut masters = Vec::new(); // which live as long as this
    let (here, there) = match urls.as_slice() {
        [here, there] => {
            let login = |url| Determined::new(LoginOptions::new().master(url));
            (login(here)?, login(there)?)
        }
        _ => {
            masters.extend([MockMaster::start(), MockMaster::start()]);
            let (here, there) = (masters[0].determined(), masters[1].determined());
            here.create_model("iris")?;
            here.create_model("rose")?;
            there.create_model("iris")?;
            (here, there)
        }
    };

    // Clients are cheap to clone, and any number of threads may use one.
    let mine = thread::spawn({
        let here = here.clone();
        move || names(&here)
    });
    let theirs = names(&there)?;
    let mine = mine.join().ok().context("the thread panicked")??;

    for (whose, own, other) in [("first", &mine, &theirs), ("second", &theirs, &mine)] {
        let only_here: Vec<&String> = own.difference(other).collect();
        println!(
            "models of the {whose} master: {}, of which the other lacks {only_here:?}",
            own.len()
        );
    }
    Ok(())
}

fn names(client: &Determined) -> determined::Result<BTreeSet<String>> {
    let models = client.get_models()?.into_iter();
    Ok(models.map(|model| model.name).collect())
}
