//! The model that is simulated unless a test gives its own: five steps of a loss that decays.

use super::script::{SimulatedTrial, TrialScript};
use crate::testing::state::fill_randomly;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const STEPS: i32 = 5;

/// Trains for five steps, validates and stores a checkpoint at steps 1, 3 and 5. A submitted script that raises an exception at
/// its top level fails with it, and so does the entrypoint `false`.
pub(super) fn script(trial: &SimulatedTrial) -> TrialScript {
    if let Some(failure) = failing_script(trial) {
        return failure;
    }
    let mut script = TrialScript::new();
    let mut loss = 10.0;
    let decay = decay(trial);
    for step in 1..=STEPS {
        loss *= decay;
        script = script
            .wait(Duration::from_millis(200))
            .print(format!("step {step} loss {loss:.4}"))
            .log(format!("[14051] root: training step {step}"))
            .log(format!(
                "[14051] determined.core: report_training_metrics(steps_completed={step}, metrics={{'loss': {loss:?}}})"
            ))
            .training(step, json!({"loss": loss}));
        if step % 2 == 1 {
            let metrics = validation(trial, loss);
            let shown: Vec<String> = metrics
                .iter()
                .map(|(name, value)| format!("'{name}': {value:?}"))
                .collect();
            script = script
                .log(format!(
                    "[14051] determined.core: report_validation_metrics(steps_completed={step}, metrics={{{}}})",
                    shown.join(", ")
                ))
                .validation(step, metrics.into_iter().collect::<BTreeMap<_, _>>());
            script = checkpoint(script, step, loss);
        }
        script = script.print_error("warn-ish line on stderr");
    }
    script
}

/// Validates metrics with these values, one a step, and stores a checkpoint at each step.
pub(in crate::testing) fn script_of_metrics(metrics: &[(String, Vec<f64>)]) -> TrialScript {
    let steps = metrics.iter().map(|(_, values)| values.len()).max();
    let steps = i32::try_from(steps.unwrap_or(0)).unwrap_or(i32::MAX);
    (1..=steps).fold(TrialScript::new(), |script, step| {
        let of_step = |values: &Vec<f64>| values.get(step as usize - 1).copied();
        let values: BTreeMap<&str, f64> = metrics
            .iter()
            .filter_map(|(name, values)| Some((name.as_str(), of_step(values)?)))
            .collect();
        let loss = values.values().next().copied().unwrap_or_default();
        let script = script
            .wait(Duration::from_millis(200))
            .validation(step, values)
            .progress(f64::from(step) / f64::from(steps));
        checkpoint(script, step, loss)
    })
}

fn checkpoint(script: TrialScript, step: i32, loss: f64) -> TrialScript {
    let mut weights = [0; 2048];
    fill_randomly(&mut weights);
    let metadata = format!("{{\n  \"steps_completed\": {step},\n  \"note\": \"t\"\n}}");
    let state = format!("{{\"loss\": {loss:?}, \"step\": {step}}}");
    script.checkpoint_with(
        json!({"steps_completed": step, "note": "t"}),
        [
            ("metadata.json", metadata.as_bytes()),
            ("state.json", state.as_bytes()),
            ("sub/", b"".as_slice()),
            ("sub/w.bin", weights.as_slice()),
        ],
    )
}

/// `val_loss`, `acc`, and the searcher's metric if it is neither.
fn validation(trial: &SimulatedTrial, loss: f64) -> Vec<(&str, f64)> {
    let (val_loss, accuracy) = (loss * 1.1, 1.0 - loss / 10.0);
    let mut metrics = vec![("val_loss", val_loss), ("acc", accuracy)];
    if !["", "val_loss", "acc"].contains(&trial.metric()) {
        let judged = match trial.smaller_is_better() {
            true => val_loss,
            false => accuracy,
        };
        metrics.push((trial.metric(), judged));
    }
    metrics
}

/// By how much the loss shrinks in a step: the hyperparameter `decay`, or else what all of the hyperparameters make of it.
fn decay(trial: &SimulatedTrial) -> f64 {
    if let Some(decay) = trial.number("decay") {
        return decay;
    }
    // FNV-1a, so that each set of hyperparameters has its own curve, the same in every run.
    let text = Value::Object(trial.hparams.clone()).to_string();
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    0.5 + 0.4 * ((hash >> 11) as f64 / (1_u64 << 53) as f64)
}

/// What a trial does whose program cannot but fail.
fn failing_script(trial: &SimulatedTrial) -> Option<TrialScript> {
    let entrypoint = match &trial.config["entrypoint"] {
        Value::String(command) => command.clone(),
        Value::Array(words) => {
            let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            words.join(" ")
        }
        _ => return None,
    };
    if entrypoint.trim() == "false" {
        return Some(TrialScript::new().exit(1));
    }
    let name = entrypoint
        .split_whitespace()
        .find(|word| word.ends_with(".py"))?;
    let source = String::from_utf8_lossy(trial.file(name)?);
    let mut script = TrialScript::new().wait(Duration::from_millis(50));
    for (number, line) in (1..).zip(source.lines()) {
        if let Some(text) = quoted_argument(line, "print(") {
            script = script.print(text);
        }
        let Some(exception) = line.strip_prefix("raise ") else {
            continue;
        };
        let kind = exception.split('(').next().unwrap_or(exception).trim();
        let told = match quoted_argument(exception, &format!("{kind}(")) {
            Some(text) => format!("{kind}: {text}"),
            None => kind.to_owned(),
        };
        return Some(
            script
                .print_error("Traceback (most recent call last):")
                .print_error(format!(
                    "  File \"/run/determined/workdir/{name}\", line {number}, in <module>"
                ))
                .print_error(format!("    {}", line.trim_end()))
                .print_error(told)
                .exit(1),
        );
    }
    None
}

/// The text in quotes that stands after `call` at the beginning of a line.
fn quoted_argument<'a>(line: &'a str, call: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(call)?;
    let quote = rest.chars().next().filter(|quote| "'\"".contains(*quote))?;
    rest[1..].split(quote).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::simulation::script::Action;
    use serde_json::Map;
    use std::sync::Arc;

    fn trial(hparams: Value, config: Value) -> SimulatedTrial {
        SimulatedTrial {
            id: 1,
            experiment_id: 1,
            index: 0,
            hparams: serde_json::from_value(hparams).unwrap(),
            config,
            restarts: 0,
            files: Arc::default(),
        }
    }

    fn reports(script: &TrialScript, wanted: &str) -> Vec<(i32, Map<String, Value>)> {
        script
            .actions
            .iter()
            .filter_map(|action| match action {
                Action::Report {
                    group,
                    steps,
                    metrics,
                } if group == wanted => Some((*steps, metrics.clone())),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn the_curve_is_that_of_the_recorded_model() {
        let config = json!({"searcher": {"metric": "f1", "smaller_is_better": false}});
        let script = script(&trial(json!({"decay": 0.6729757263632097}), config));
        let training = reports(&script, "training");
        assert_eq!(training.len(), 5);
        assert_eq!(training[4].1["loss"], 1.3803747275342106);
        let validation = reports(&script, "validation");
        let steps: Vec<i32> = validation.iter().map(|report| report.0).collect();
        assert_eq!(steps, [1, 3, 5]);
        assert_eq!(validation[2].1["val_loss"], 1.518412200287632);
        assert_eq!(validation[2].1["acc"], 0.861962527246579);
        assert_eq!(validation[2].1["f1"], validation[2].1["acc"]);
    }

    #[test]
    fn other_hyperparameters_give_another_curve_and_always_the_same() {
        let last = |hparams: Value| {
            let script = script(&trial(hparams, json!({})));
            reports(&script, "training").pop().unwrap().1["loss"].clone()
        };
        assert_eq!(last(json!({"lr": 0.1})), last(json!({"lr": 0.1})));
        assert_ne!(last(json!({"lr": 0.1})), last(json!({"lr": 0.2})));
    }

    #[test]
    fn a_script_that_raises_fails_with_its_traceback() {
        let mut trial = trial(json!({}), json!({"entrypoint": "python3 train.py"}));
        let source = b"import sys\nprint('about to fail')\nraise ValueError('no luck')\n";
        trial.files = Arc::new(BTreeMap::from([("train.py".into(), source.to_vec())]));
        let script = script(&trial);
        let lines: Vec<&str> = script
            .actions
            .iter()
            .filter_map(|action| match action {
                Action::Log(line) => Some(line.text.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(lines[0], "about to fail");
        assert_eq!(
            lines[3..],
            ["    raise ValueError('no luck')", "ValueError: no luck"]
        );
        assert!(matches!(script.actions.back(), Some(Action::Exit(1))));
    }
}
