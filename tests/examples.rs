//! Every example, run as its users run it: the compiled program, in a process and a directory of its own, on a master inside that process.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use determined::{Determined, LoginOptions, TokenStore};
use tempfile::TempDir;

/// The compiled example, which `cargo test` builds beside the tests.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(Path::parent).unwrap();
    let program = target
        .join("examples")
        .join(name)
        .with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        program.exists(),
        "{} is not built; `cargo build --examples` does it",
        program.display()
    );
    program
}

/// An example that knows nothing of the user's environment and files.
fn command(name: &str, scratch: &TempDir) -> Command {
    let mut command = Command::new(program(name));
    command.env_clear().current_dir(scratch.path());
    for variable in ["HOME", "TMPDIR", "TEMP", "TMP", "LOCALAPPDATA"] {
        command.env(variable, scratch.path());
    }
    command
}

/// What an example prints.
fn run(name: &str, arguments: &[&str]) -> String {
    run_in(name, arguments, &tempfile::tempdir().unwrap())
}

fn run_in(name: &str, arguments: &[&str], scratch: &TempDir) -> String {
    let done = command(name, scratch).args(arguments).output().unwrap();
    let (out, err) = (
        String::from_utf8(done.stdout).unwrap(),
        String::from_utf8(done.stderr).unwrap(),
    );
    assert!(done.status.success(), "{}\n{out}\n{err}", done.status);
    assert_eq!(err, "", "{out}");
    out
}

/// The lines that begin like this.
fn count(out: &str, beginning: &str) -> usize {
    out.lines()
        .filter(|line| line.starts_with(beginning))
        .count()
}

#[test]
fn quickstart_ends_with_the_best_checkpoint_and_its_files() {
    let scratch = tempfile::tempdir().unwrap();
    let out = run_in("quickstart", &[], &scratch);
    assert!(out.contains("experiment 1 is COMPLETED"), "{out}");
    assert!(count(&out, "  RUNNING") > 0, "{out}");
    let last: Vec<&str> = out.lines().last().unwrap().splitn(4, ' ').collect();
    let [word, uuid, metric, directory] = last.as_slice() else {
        panic!("{out}");
    };
    assert_eq!((*word, uuid.len()), ("checkpoint", 36));
    let value: f64 = metric.strip_prefix("val_loss=").unwrap().parse().unwrap();
    assert!(value.is_finite());
    assert!(Path::new(directory).join("state.json").exists());
}

#[test]
fn best_checkpoint_ranks_trials_and_downloads() {
    let out = run("best_checkpoint", &[]);
    assert_eq!(count(&out, "trial "), 2, "{out}");
    let uuid = |beginning: &str| {
        let line = out.lines().find(|line| line.starts_with(beginning));
        let words = line.unwrap().split(' ');
        words.into_iter().find(|word| word.len() == 36).unwrap()
    };
    // The first of the list is the best.
    assert_eq!(uuid("trial "), uuid("best "));
    assert_eq!(uuid("most accurate "), uuid("best "));
    assert_eq!(count(&out, "latest of trial 1 "), 1, "{out}");
}

#[test]
fn follow_logs_prints_a_log_while_it_grows_and_ends_with_the_trial() {
    let out = run("follow_logs", &[]);
    let (log, rest) = out.split_once("--- ").unwrap();
    assert!(log.contains("|| step 1 loss "), "{out}");
    assert!(log.contains("|| step 5 loss "), "{out}");
    let entries = log.lines().count();
    assert!(
        rest.starts_with(&format!("{entries} entries of trial 1\n")),
        "{out}"
    );
    let (_, last) = out.split_once("--- the last three\n").unwrap();
    assert_eq!(last.lines().count(), 3, "{out}");
}

#[test]
fn follow_logs_ends_quietly_when_nobody_reads_on() {
    let scratch = tempfile::tempdir().unwrap();
    let mut follower = command("follow_logs", &scratch)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(follower.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert!(first.contains("Scheduling Trial 1"), "{first}");
    let done = follower.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", done.status);
    assert_eq!(String::from_utf8(done.stderr).unwrap(), "");
}

#[test]
fn grid_search_follows_every_trial_and_registers_the_best() {
    let scratch = tempfile::tempdir().unwrap();
    let out = run_in("grid_search", &["iris"], &scratch);
    for trial in 1..=3 {
        let line = format!("trial {trial} [");
        let of_trial: Vec<&str> = out.lines().filter(|text| text.starts_with(&line)).collect();
        assert!(
            of_trial.iter().any(|text| text.contains("|| step 5 loss ")),
            "{out}"
        );
    }
    assert_eq!(count(&out, "experiment 1 is COMPLETED"), 1, "{out}");
    assert!(out.ends_with("registered as iris 1\n"), "{out}");
}

#[test]
fn metrics_to_csv_has_a_row_for_every_report() {
    let out = run("metrics_to_csv", &[]);
    let mut rows = out.lines();
    assert_eq!(
        rows.next(),
        Some("trial,group,steps,time,acc,loss,val_loss")
    );
    assert!(rows.all(|row| row.matches(',').count() == 6), "{out}");
    let of = |group: &str| out.matches(&format!(",{group},")).count();
    assert_eq!((of("training"), of("validation")), (10, 6), "{out}");
}

#[test]
fn plot_metrics_draws_a_curve_for_every_trial() {
    let scratch = tempfile::tempdir().unwrap();
    let out = run_in("plot_metrics", &[], &scratch);
    assert_eq!(out, "learning-curves.svg\n");
    let picture = fs::read_to_string(scratch.path().join("learning-curves.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
    assert!(picture.contains("loss of experiment 1"));
    assert!(picture.contains("trial 1") && picture.contains("trial 2"));
}

#[test]
fn plot_metrics_says_that_there_is_nothing_to_plot() {
    let scratch = tempfile::tempdir().unwrap();
    let mut failing = command("plot_metrics", &scratch);
    // There is no experiment 7 here, and so no metric of it.
    let done = failing.args(["7", "loss"]).output().unwrap();
    assert!(!done.status.success());
    let err = String::from_utf8(done.stderr).unwrap();
    assert!(err.contains("could not get experiment 7"), "{err}");
}

#[test]
fn model_registry_describes_what_it_registers() {
    let out = run("model_registry", &[]);
    assert_eq!(
        out.lines().next(),
        Some(r#"1 example-of-experiment-1 ["example", "reviewed"]"#)
    );
    assert_eq!(count(&out, r#"  1 "first" "#), 1, "{out}");
    assert!(
        out.contains(r#"metadata {"dataset":"none","experiment":1}"#),
        "{out}"
    );
}

#[test]
fn promote_best_model_promotes_only_what_is_better() {
    let out = run("promote_best_model", &[]);
    assert_eq!(
        out,
        "promoted to example-champion 1\nexample-champion stays as it is\n"
    );
}

#[test]
fn list_experiments_prints_a_table_with_the_newest_on_top() {
    let out = run("list_experiments", &[]);
    let first = |line: &str| line.split_whitespace().next().unwrap().to_owned();
    let ids: Vec<String> = out.lines().map(first).collect();
    assert_eq!(ids, ["id", "3", "2", "1"], "{out}");
    assert_eq!(run("list_experiments", &["nobody"]).lines().count(), 1);
}

#[test]
fn two_masters_are_kept_apart() {
    let out = run("two_masters", &[]);
    assert_eq!(
        out,
        "models of the first master: 2, of which the other lacks [\"rose\"]\n\
         models of the second master: 1, of which the other lacks []\n"
    );
}

#[test]
fn cleanup_checkpoints_deletes_only_when_it_is_told_to() {
    let out = run("cleanup_checkpoints", &[]);
    assert_eq!((count(&out, "keep"), count(&out, "delete")), (2, 4));
    assert!(out.contains("bytes would be freed"), "{out}");
    let out = run("cleanup_checkpoints", &["--delete"]);
    assert_eq!((count(&out, "keep"), count(&out, "delete")), (2, 4));
    assert!(out.ends_with("bytes freed\n"), "{out}");
}

#[test]
fn progress_bars_are_drawn_on_a_terminal_only() {
    let out = run("progress_bars", &[]);
    assert!(out.starts_with("1 COMPLETED "), "{out}");
    assert_eq!(out.lines().count(), 1, "{out}");
}

/// What an example draws on a terminal, which the program `script` makes; `None` where there is no such program.
#[cfg(target_os = "linux")]
fn drawn(name: &str, variables: &[(&str, &str)]) -> Option<String> {
    let scratch = tempfile::tempdir().unwrap();
    let done = Command::new("script")
        .args(["-qec", program(name).to_str().unwrap(), "/dev/null"])
        .env_remove("DET_MASTER")
        .env_remove("NO_COLOR")
        .envs([
            ("TERM", "xterm"),
            ("TMPDIR", scratch.path().to_str().unwrap()),
        ])
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .ok()?;
    Some(String::from_utf8(done.stdout).unwrap())
}

#[cfg(target_os = "linux")]
#[test]
fn progress_bars_have_colours_unless_no_color_is_set() {
    let Some(colourful) = drawn("progress_bars", &[]) else {
        eprintln!("there is no script(1) here, which makes a terminal");
        return;
    };
    let plain = drawn("progress_bars", &[("NO_COLOR", "1")]).unwrap();
    const GREEN: &str = "\x1b[32m";
    for (drawn, has_colours) in [(colourful, true), (plain, false)] {
        assert!(drawn.contains("100 % COMPLETED"), "{drawn}");
        assert_eq!(drawn.contains(GREEN), has_colours, "{drawn}");
    }
}

#[test]
fn anyhow_script_explains_what_went_wrong() {
    let out = run("anyhow_script", &[]);
    assert!(
        out.contains(r#"report of "quickstart": "COMPLETED""#),
        "{out}"
    );
    assert!(
        out.ends_with(
            "no report: could not get experiment 999999 (GET /api/v1/experiments/999999): 404 Not Found: \
             experiment '999999' not found (look the id up with list_experiments)\n"
        ),
        "{out}"
    );
}

#[test]
fn mocked_endpoint_needs_no_login() {
    let out = run("mocked_endpoint", &[]);
    assert_eq!(
        out,
        "model 7 iris [\"botany\"]\n\
         could not get model \"rose\" (GET /api/v1/models/rose): 429 Too Many Requests: one thing at a time\n"
    );
}

#[test]
fn every_call_is_made_without_a_surprise() {
    let out = run("every_call", &[]);
    assert_eq!(out.lines().last(), Some("client::logout"));
    assert!(out.lines().count() > 180, "{out}");
}

#[test]
fn mock_master_says_where_it_listens() {
    let scratch = tempfile::tempdir().unwrap();
    let mut master = command("mock_master", &scratch)
        .args(["--password", "secret"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(master.stdout.take().unwrap())
        .read_line(&mut url)
        .unwrap();
    let options = LoginOptions::new()
        .master(url.trim())
        .user("determined")
        .password("secret")
        .token_store(TokenStore::None);
    let client = Determined::new(options);
    master.kill().unwrap();
    master.wait().unwrap();
    assert_eq!(client.unwrap().get_session_username(), "determined");
}

#[test]
fn every_example_is_run_here_and_short() {
    let this = include_str!("examples.rs");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut count = 0;
    for entry in fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        count += 1;
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            this.contains(&format!("(\"{name}\", ")),
            "{name} is not run"
        );
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 60 || name == "every_call", "{name}: {lines} lines");
    }
    assert!(count >= 15);
}
