//! Claims about verdicts.

use serde_json::json;

use super::*;
use crate::health::{Blocked, Usage};
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
        iterations: None,
        stop: StopReason::Completed,
        load_on: Some(Duration::from_secs(60)),
        measured_for: Some(Duration::from_secs(60)),
        startup: Duration::from_secs(600),
        not_set_up: None,
        expected: 2,
        joined: 2,
        target: 100,
        dead_users: 0,
        statistics,
        thresholds: Vec::new(),
        missing: Vec::new(),
        generators: &[],
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
    let at_fault = |runner: &str, count| Generator {
        runner: runner.to_owned(),
        faults: vec![("no ports".to_owned(), count)],
        ..Generator::default()
    };
    let generators = [at_fault("runner-0", 1), at_fault("runner-1", 3)];
    check(
        &Evidence { generators: &generators, ..evidence(&faults) },
        Outcome::Invalid,
        &[
            "runner-1 (and another runner): 3 calls failed by the load generator's own fault, more than 0: no ports",
            "1 of 1 requests failed",
        ],
    );
}

#[test]
fn a_fault_of_the_generators_own_breaks_no_threshold() {
    check_threshold(
        "error_rate < 1%",
        &[(1, Call::Success), (9_000, Call::GeneratorFault("no ports"))],
        Some(0.0),
        &[],
    );
    check_threshold("max < 1s", &[(1, Call::Success), (9_000, Call::GeneratorFault(""))], Some(1.0), &[]);
}

#[test]
fn a_rate_that_was_missed_by_a_saturated_runner_is_invalid_and_not_failed() {
    let threshold: Threshold = serde_json::from_value(json!({"expr": "rps > 1000"})).unwrap();
    let all = statistics(&[(1, Call::Success)]);
    let judged = || {
        let (from, length) = (Duration::from_secs(2), Duration::from_secs(10));
        let measured = Some(Measured { from, length, statistics: all.clone() });
        vec![Judged { threshold: &threshold, measured }]
    };
    let failed = Evidence { thresholds: judged(), ..evidence(&all) };
    check(&failed, Outcome::Failed, &["rps > 1000: measured 0.1"]);
    let usage = Usage { saturated: Duration::from_secs(50), ..Usage::default() };
    let generators = [Generator { runner: "runner-0".into(), usage, ..Generator::default() }];
    let verdict = judge(&Evidence { thresholds: judged(), generators: &generators, ..evidence(&all) });
    assert_eq!(verdict.result, Outcome::Invalid);
    let said = "rps > 1000: says nothing about the target, as the interpreter of runner-0 was saturated for 50 s, \
                longer than 10 s";
    assert_eq!(verdict.reasons[0], said);
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
fn a_run_that_was_stopped_as_its_last_process_was_stuck_is_invalid() {
    let good = statistics(&[(1, Call::Success)]);
    let stuck = Some(Blocked { place: "a.py:1 in f".into(), ..Blocked::default() });
    let usage = Usage { stuck, ..Usage::default() };
    let generators = [Generator { runner: "runner-0".into(), usage, ..Generator::default() }];
    let stopped = Evidence { stop: StopReason::Stopped, generators: &generators, ..evidence(&good) };
    let verdict = judge(&stopped);
    assert_eq!(verdict.result, Outcome::Invalid);
    let first = "runner-0: a process was ended because its loop had not turned for 0 s: a.py:1 in f";
    assert_eq!(verdict.reasons, [first, "stopped on request after 60 s of load"]);
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
