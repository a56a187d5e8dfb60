//! Metrics: every report, in order, or an error.

mod support;

use determined::{ErrorKind, Result};
use serde_json::json;
use support::{After, RawMaster, chunk, json as answer, start_chunked};

fn line(first: i32, count: i32) -> String {
    let reports: Vec<_> = (first..first + count)
        .map(|step| {
            json!({
                "trialId": 1, "trialRunId": 1, "totalBatches": step, "group": "training",
                "endTime": "2026-01-01T00:00:00.123Z",
                "metrics": {"avg_metrics": {"loss": 0.5}, "batch_metrics": null},
            })
        })
        .collect();
    format!("{}\n", json!({"result": {"metrics": reports}}))
}

#[test]
fn reports_come_one_by_one_out_of_their_batches() -> Result<()> {
    let master = RawMaster::start(|_, stream| {
        start_chunked(stream)?;
        for part in [
            &*line(0, 1000),
            "\n",
            r#"{"result":{"metrics":[]}}"#,
            "\n",
            &line(1000, 10),
        ] {
            chunk(stream, part.as_bytes())?;
        }
        chunk(stream, b"")?;
        Ok(After::KeepOpen)
    });
    let reports = master.client().iter_trials_metrics([8, 7, 8], "training")?;
    let steps: Vec<_> = reports
        .map(|report| report.map(|report| report.steps_completed))
        .collect::<Result<_>>()?;
    assert_eq!(steps, (0..1010).collect::<Vec<_>>());
    assert_eq!(
        master.requests().pop().unwrap().target,
        "/api/v1/trials/metrics/trial_metrics?trialIds=7&trialIds=8&group=training"
    );
    Ok(())
}

#[test]
fn a_cut_stream_is_an_error() {
    for at in [line(0, 1).len(), line(0, 1).len() + 30] {
        let master = RawMaster::start(move |_, stream| {
            start_chunked(stream)?;
            chunk(stream, &[line(0, 1), line(1, 1)].concat().as_bytes()[..at])?;
            Ok(After::Close)
        });
        let mut reports = master
            .client()
            .iter_trials_metrics([1], "training")
            .unwrap();
        assert!(reports.next().unwrap().is_ok());
        let error = reports.next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connection);
        assert!(reports.next().is_none());
    }
}

#[test]
fn a_master_that_is_too_old_says_so() {
    let master = RawMaster::start(|_, stream| {
        let body = r#"{"error":{"code":12,"reason":"Unimplemented","error":"Not Implemented"}}"#;
        answer(stream, 501, body)
    });
    let client = master.client();
    let error = client.iter_trials_metrics([1], "training").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let error = client.iter_trials_metrics([], "training").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_missing_trial_is_an_error_of_the_call() {
    let master = RawMaster::start(|_, stream| {
        let body = r#"{"error":{"grpcCode":5,"httpCode":404,"message":"trial '9' not found"}}"#;
        answer(stream, 404, body)
    });
    let error = master
        .client()
        .iter_trials_metrics([9], "training")
        .unwrap_err();
    assert!(error.is_not_found());
}

#[test]
fn metrics_about_a_checkpoint_come_at_once() -> Result<()> {
    let master = RawMaster::start(|seen, stream| match seen.path() {
        "/api/v1/checkpoints/u" => answer(stream, 200, r#"{"checkpoint":{"uuid":"u"}}"#),
        _ => answer(
            stream,
            200,
            r#"{"metrics":[{"trialId":3,"group":"g","metrics":{"avg_metrics":{"a":1}}}]}"#,
        ),
    });
    let checkpoint = master.client().get_checkpoint("u")?;
    let reports: Vec<_> = checkpoint.iter_metrics(Some("g"))?.collect::<Result<_>>()?;
    assert_eq!(reports[0].metric("a"), Some(1.0));
    assert_eq!(
        master.requests().pop().unwrap().target,
        "/api/v1/checkpoints/u/metrics?trialSourceInfoType=TRIAL_SOURCE_INFO_TYPE_INFERENCE&metricGroup=g"
    );
    Ok(())
}
