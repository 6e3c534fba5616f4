//! Golden tables: what a person sees at the end of a run, column by column.

use serde_json::{Value, json};

use super::*;

fn figures(requests: u64, failures: u64, times: [f64; 5]) -> Value {
    let [mean, p50, p95, p99, max] = times;
    json!({
        "requests": requests, "failures": failures, "sent": requests, "aborted": 0, "retried": 0, "truncated": 0,
        "failure_ratio": failures as f64 / requests as f64, "rps": requests as f64 / 15.0, "bytes_received": 0,
        "latency_ms": {"min": 0.1, "mean": mean, "p50": p50, "p90": p50, "p95": p95, "p98": p95, "p99": p99,
            "p999": max, "max": max},
    })
}

fn request(method: &str, name: &str, figures: &Value) -> Value {
    let mut request = json!({"method": method, "name": name, "status": {}, "phases_ms": {}});
    request.as_object_mut().unwrap().extend(figures.as_object().unwrap().clone());
    request
}

fn report(change: &Value) -> Report {
    let total = figures(2_950, 0, [1.21, 0.98, 2.31, 4.5, 9.87]);
    let mut report = json!({
        "version": 1,
        "run": {"id": "7f", "startTime": null, "completionTime": null, "duration_s": 15.2},
        "users": {"target": 100, "peak": 100},
        "verdict": {"result": "Passed", "reasons": [], "thresholds": []},
        "requests": [request("GET", "/json", &total)], "total": total,
        "errors": [], "user_errors": [], "gaps": [], "runners": [],
    });
    report.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    serde_json::from_value(report).unwrap()
}

#[track_caller]
fn check(report: &Report, expected: &str) {
    let text = summary(report, false);
    assert_eq!(text, expected.trim_matches('\n'), "\n{text}\n");
    assert!(text.lines().all(|line| line.width() <= WIDTH), "{text}");
}

#[test]
fn a_run_that_passed_is_short() {
    let thresholds = json!([
        {"expr": "p95 < 300ms", "from_s": 2.0, "value": 2.31, "passed": true},
        {"expr": "error_rate < 1%", "from_s": 2.0, "value": 0.0, "passed": true},
    ]);
    let report = report(&json!({"verdict": {"result": "Passed", "reasons": [], "thresholds": thresholds}}));
    check(
        &report,
        "
request                              requests  failed   req/s mean ms  p50 ms  p95 ms  p99 ms max ms
GET /json                               2,950       0   196.7    1.21    0.98    2.31    4.50   9.87

100 of 100 users, 15s, 2,950 requests sent

thresholds
  kept    p95 < 300ms: 2.31ms, from 2.0 s on
  kept    error_rate < 1%: 0%, from 2.0 s on

Passed
",
    );
}

#[test]
fn a_run_with_everything_wrong_says_what_where_and_how_often() {
    let mut total = figures(1_234_567, 3, [12.5, 10.0, 250.4, 1_234.6, 61_000.0]);
    total["sent"] = json!(1_234_600);
    total["aborted"] = json!(12);
    total["retried"] = json!(1);
    total["truncated"] = json!(2);
    let nothing = json!({
        "requests": 0, "failures": 0, "sent": 4, "aborted": 4, "retried": 0, "truncated": 0, "failure_ratio": 0.0,
        "rps": 0.0, "bytes_received": 0, "latency_ms": {},
    });
    let report = report(&json!({
        "requests": [
            request("GET", "/a/very/long/path/to/an/item/that/does/not/fit", &total),
            request("POST", "/checkout", &nothing),
        ],
        "total": total,
        "errors": [
            {"name": "/checkout", "method": "POST", "error": "503", "count": 1},
            {"name": "/a", "method": "GET", "error": "TimeoutError:\n  after 5 s", "count": 2},
        ],
        "user_errors": [{"error": "Traceback\n  File\nRuntimeError: no accounts left\n", "count": 5}],
        "gaps": [
            {"runner": "runner-1", "from": "2026-11-22T10:00:01.000Z", "to": "2026-11-22T10:00:05.500Z", "lost_at_most": 40},
            {"runner": "runner-0", "from": "2026-11-22T10:00:01.000Z", "to": "2026-11-22T10:00:02.000Z", "lost_at_most": null},
        ],
        "verdict": {"result": "Failed", "reasons": ["p99 < 1s for POST /checkout: measured 1.23s"], "thresholds": [
            {"expr": "p99 < 1s", "request": "POST /checkout", "from_s": 0.0, "value": 1_234.6, "passed": false},
            {"expr": "rps > 1", "from_s": null, "value": null, "passed": false},
        ]},
    }));
    check(
        &report,
        "
request                              requests  failed   req/s mean ms  p50 ms  p95 ms  p99 ms max ms
GET /a/very/long/…that/does/not/fit 1,234,567       3  82,304    12.5    10.0   250.4   1,235 61,000
POST /checkout                              0       0     0.0       -       -       -       -      -
total                               1,234,567       3  82,304    12.5    10.0   250.4   1,235 61,000

100 of 100 users, 15s, 1,234,600 requests sent, <0.1 % failed, 12 cut by the stop, 1 sent again
2 not read to the end

failures
         2  GET /a: TimeoutError: after 5 s
         1  POST /checkout: 503

users that died
         5  RuntimeError: no accounts left

load that was missing (UTC)
  runner-1, 10:00:01.000 to 10:00:05.500: at most 40 requests not counted
  runner-0, 10:00:01.000 to 10:00:02.000: an unknown number of requests not counted

thresholds
  broken  p99 < 1s for POST /checkout: 1.23s
  broken  rps > 1: not measured

Failed
  p99 < 1s for POST /checkout: measured 1.23s
",
    );
}

#[test]
fn a_run_that_never_started_has_no_rows_to_show() {
    let report = report(&json!({
        "requests": [], "users": {"target": 0, "peak": 0}, "run": {"id": "7f", "duration_s": 0.0},
        "total": {"requests": 0, "failures": 0, "sent": 0, "aborted": 0, "retried": 0, "truncated": 0,
            "failure_ratio": 0.0, "rps": 0.0, "bytes_received": 0, "latency_ms": {}},
        "verdict": {"result": "NotStarted", "reasons": ["1 of 2 runner processes joined"], "thresholds": []},
    }));
    check(
        &report,
        "
NotStarted
  1 of 2 runner processes joined
",
    );
}

#[test]
fn what_was_the_generators_own_stands_apart() {
    let mut total = figures(2_950, 0, [1.21, 0.98, 2.31, 4.5, 9.87]);
    total["generator_faults"] = json!(37);
    let report = report(&json!({
        "total": total,
        "generator_faults": [{"runner": "runner-1", "error": "too many open files", "count": 37}],
        "runners": [{"id": "runner-0", "blocked": [
            {"place": "aiotestfile.py:9 in test_a", "seconds": 2.71, "longest_ms": 298.0},
            {"place": "aiotestfile.py:12 in test_b", "seconds": 3.0, "longest_ms": 150.0},
        ]}],
        "verdict": {"result": "Invalid", "reasons": ["runner-1: 37 calls failed"], "thresholds": []},
    }));
    check(
        &report,
        "
request                              requests  failed   req/s mean ms  p50 ms  p95 ms  p99 ms max ms
GET /json                               2,950       0   196.7    1.21    0.98    2.31    4.50   9.87

100 of 100 users, 15s, 2,950 requests sent, 37 failed by the generator's own fault

faults of the load generator itself, not of the target
        37  runner-1: too many open files

lines that blocked the loop
  runner-0: 2.7 s, 298.0 ms at most: aiotestfile.py:9 in test_a

Invalid
  runner-1: 37 calls failed
",
    );
}

#[test]
fn a_table_without_end_is_cut_and_says_so() {
    let one = figures(1, 0, [1.0; 5]);
    let rows: Vec<_> = (0..45).map(|index| request("GET", &format!("/{index}"), &one)).collect();
    let text = summary(&report(&json!({"requests": rows})), false);
    assert!(text.contains("\nGET /39 ") && !text.contains("GET /40"), "{text}");
    assert!(text.contains("\n… and 5 more in the report\ntotal "), "{text}");
}

#[test]
fn colours_mark_the_verdict_and_change_no_text() {
    let report = report(&json!({}));
    let (plain, coloured) = (summary(&report, false), summary(&report, true));
    assert!(!plain.contains('\x1b'));
    assert!(coloured.ends_with("\x1b[1;32mPassed\x1b[0m"), "{coloured}");
    let stripped =
        ["\x1b[1m", "\x1b[1;32m", "\x1b[0m"].iter().fold(coloured, |text, code| text.replace(code, ""));
    assert_eq!(stripped, plain);
}
