//! What the fuzz targets under `fuzz/` call: all that reads bytes from a master or a file. It is compiled with `--cfg fuzzing` alone, and is
//! no part of the public interface.
#![allow(missing_docs, reason = "nobody sees them")]

use std::path::Path;

use crate::checkpoint::CheckpointBody;
use crate::experiment::ExperimentBody;
use crate::logs::LogEntry;
use crate::metrics::TrialMetrics;
use crate::model::ModelBody;
use crate::project::ProjectBody;
use crate::session::{MasterUrl, fuzz_answer, fuzz_refusal, fuzz_token_store};
use crate::trial::TrialBody;
use crate::workspace::WorkspaceBody;

/// An answer, a line of a stream, or a refusal.
pub fn answers(bytes: &[u8]) {
    fuzz_answer::<ExperimentBody>(bytes);
    fuzz_answer::<TrialBody>(bytes);
    fuzz_answer::<CheckpointBody>(bytes);
    fuzz_answer::<ModelBody>(bytes);
    fuzz_answer::<WorkspaceBody>(bytes);
    fuzz_answer::<ProjectBody>(bytes);
    fuzz_answer::<TrialMetrics>(bytes);
    fuzz_refusal(bytes);
    LogEntry::fuzz(bytes);
    TrialMetrics::fuzz(bytes);
}

/// The content of `auth.json`.
pub fn token_store(content: &[u8]) {
    fuzz_token_store(content);
}

/// An archive, unpacked below `directory`, which holds nothing else.
pub fn archive(bytes: &[u8], directory: &Path) {
    crate::storage::fuzz_archive(bytes, directory);
}

/// A `.detignore`, and a path that it is asked about.
pub fn ignore_rules(text: &str, path: &str) {
    crate::model_definition::fuzz_rules(text, path);
}

/// The URL of a master.
pub fn master_url(text: &str) {
    if let Ok(url) = MasterUrl::parse(text) {
        let again = MasterUrl::parse(url.as_str());
        assert_eq!(again.expect("a canonical URL is one"), url);
    }
}
