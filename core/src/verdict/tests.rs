//! Claims about verdicts.

use serde_json::json;

use super::*;
use crate::stats::{Outcome as Call, Sample};

fn statistics(calls: &[(u64, Call<'_>)]) -> Statistics {
    let mut statistics = Statistics::default();
    for (milliseconds, outcome) in calls {
        statistics.record(&Sample {
            name: "/",
            method: "GET",
            latency: Duration::from_millis(*milliseconds),
            phases: &[],
            status: Some(200),
            bytes_received: 0,
            outcome: *outcome,
            sent: 1,
            retried: 0,
            truncated: false,
            late: None,
        });
    }
    statistics
}

fn evidence(statistics: &Statistics) -> Evidence<'_> {
    Evidence {
        stop: StopReason::Completed,
        load_on: Some(Duration::from_secs(60)),
        startup: Duration::from_secs(600),
        expected: 2,
        joined: 2,
        target: 100,
        dead_users: 0,
        statistics,
        thresholds: Vec::new(),
        missing: Vec::new(),
        notes: &[],
    }
}

#[track_caller]
fn check(evidence: &Evidence<'_>, result: Outcome, reasons: &[&str]) {
    let verdict = judge(evidence);
    assert_eq!(verdict.result, result, "{verdict:?}");
    assert_eq!(verdict.reasons, reasons);
}

#[track_caller]
fn check_threshold(expr: &str, calls: &[(u64, Call<'_>)], value: Option<f64>, reasons: &[&str]) {
    let threshold: Threshold = serde_json::from_value(json!({ "expr": expr })).unwrap();
    let all = statistics(calls);
    let (from, length) = (Duration::from_secs(2), Duration::from_secs(10));
    let measured = Some(Measured { from, length, statistics: all.clone() });
    let evidence =
        Evidence { thresholds: vec![Judged { threshold: &threshold, measured }], ..evidence(&all) };
    check(&evidence, if reasons.is_empty() { Outcome::Passed } else { Outcome::Failed }, reasons);
    let result = judge(&evidence).thresholds.remove(0);
    assert_eq!((result.value, result.passed, result.from_s), (value, reasons.is_empty(), Some(2.0)));
}

#[test]
fn without_thresholds_any_failure_fails_the_run() {
    let good = statistics(&[(1, Call::Success)]);
    check(&evidence(&good), Outcome::Passed, &[]);
    let bad = statistics(&[(1, Call::Success), (1, Call::Failure("refused"))]);
    check(&evidence(&bad), Outcome::Failed, &["1 of 2 requests failed"]);
    let dead = Evidence { dead_users: 1, ..evidence(&good) };
    check(&dead, Outcome::Failed, &["1 of 100 users died"]);
}

#[test]
fn with_a_threshold_only_the_threshold_counts() {
    check_threshold("error_rate < 60%", &[(1, Call::Success), (1, Call::Failure("refused"))], Some(0.5), &[]);
    check_threshold("p95 < 300ms", &[(20, Call::Success)], Some(20.0), &[]);
    check_threshold("rps >= 0.1", &[(20, Call::Success)], Some(0.1), &[]);
}

#[test]
fn a_breach_says_what_was_measured() {
    check_threshold("max < 1s", &[(1312, Call::Success)], Some(1312.0), &["max < 1s: measured 1.31s"]);
    check_threshold("rps > 2", &[(1, Call::Success)], Some(0.1), &["rps > 2: measured 0.1"]);
}

#[test]
fn no_request_at_all_keeps_no_threshold() {
    let said = "p95 < 1s: not measured, no request finished from 2 s after the start on";
    check_threshold("p95 < 1s", &[], None, &[said]);
}

#[test]
fn a_load_that_stopped_too_early_keeps_no_threshold() {
    let threshold: Threshold = serde_json::from_value(json!({"expr": "p95 < 1s"})).unwrap();
    let all = statistics(&[(1, Call::Success)]);
    let evidence =
        Evidence { thresholds: vec![Judged { threshold: &threshold, measured: None }], ..evidence(&all) };
    check(&evidence, Outcome::Failed, &["p95 < 1s: not measured, the load stopped before its time began"]);
}

#[test]
fn the_generators_own_faults_make_it_invalid_first() {
    let faults = statistics(&[(1, Call::GeneratorFault("no ports")), (1, Call::Failure("refused"))]);
    check(
        &evidence(&faults),
        Outcome::Invalid,
        &[
            "1 requests failed because of the load generator itself, not of the target",
            "2 of 2 requests failed",
        ],
    );
}

#[test]
fn one_dead_user_of_a_hundred_is_allowed_and_two_are_not() {
    let good = statistics(&[(1, Call::Success)]);
    let two = Evidence { dead_users: 2, ..evidence(&good) };
    check(&two, Outcome::Invalid, &["2 of 100 users died, more than 1 %", "2 of 100 users died"]);
}

#[test]
fn load_missing_for_too_long_makes_it_invalid() {
    let good = statistics(&[(1, Call::Success)]);
    let missing =
        |milliseconds| vec![Missing { runner: "runner-1", length: Duration::from_millis(milliseconds) }];
    check(&Evidence { missing: missing(10_000), ..evidence(&good) }, Outcome::Passed, &[]);
    let said = "the load of a process of runner-1 was missing for 16.5 s, longer than 10 s";
    check(&Evidence { missing: missing(16_500), ..evidence(&good) }, Outcome::Invalid, &[said]);
}

#[test]
fn an_interrupted_run_never_passes() {
    let good = statistics(&[(1, Call::Success)]);
    let stopped = Evidence { stop: StopReason::Interrupted, ..evidence(&good) };
    check(&stopped, Outcome::Cancelled, &["interrupted after 60 s of load"]);
    let early = Evidence { load_on: None, ..stopped };
    check(&early, Outcome::Cancelled, &["interrupted before the load started"]);
}

#[test]
fn too_few_runners_is_not_started() {
    let none = Statistics::default();
    let evidence = Evidence { stop: StopReason::NotStarted, load_on: None, joined: 1, ..evidence(&none) };
    let said = "1 of 2 runner processes joined within the startup deadline of 600 s";
    check(&evidence, Outcome::NotStarted, &[said]);
    assert_eq!(judge(&evidence).result.exit_code(), 3);
}

#[test]
fn a_note_changes_no_verdict() {
    let good = statistics(&[(1, Call::Success)]);
    let notes = ["the shape was late once".to_owned()];
    check(&Evidence { notes: &notes, ..evidence(&good) }, Outcome::Passed, &["the shape was late once"]);
}
