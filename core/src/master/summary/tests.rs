//! Claims about what the report says of the start and of a warm-up.

use std::time::Duration;

use serde_json::json;

use crate::master::Master;
use crate::master::tests::{at, constant, finish, report, restarted, sample, spec, with};
use crate::message::{Began, LiveSpec, ProcessState, Report, StopReason};
use crate::report::{Outcome, Start};
use crate::run::{ClassSpec, RunSpec};
use crate::stats::{Outcome as Call, Sample, Statistics};

/// Starts at 1.5 s, is warm at 6.5 s, stops at 21.5 s.
fn warmed(thresholds: &serde_json::Value) -> Master {
    let load = json!({"constant": {"users": 10, "spawn_rate": 5, "duration": 20_000_000}});
    let spec = RunSpec { warm_up: Duration::from_secs(5), ..spec(&load, thresholds) };
    let classes = vec![ClassSpec { name: "TestShop".into(), weight: 1 }];
    let mut master = Master::new(spec, classes, 7).unwrap();
    master.handle_report(at(0), &report(0, 1)).unwrap();
    master
}

fn failed() -> Statistics {
    let mut statistics = Statistics::default();
    statistics.record(&Sample { outcome: Call::Failure("refused"), ..sample(9) });
    statistics
}

#[test]
fn a_warm_up_is_in_no_figure_and_fails_nothing() {
    let mut master = warmed(&json!([]));
    let marks = master.handle_report(at(10), &report(0, 2)).unwrap().marks;
    assert_eq!(marks, [at(6500)]);
    let mut slow = with(report(0, 3), at(0), &[5000, 5000]);
    slow.windows[0].statistics.merge(&failed());
    master.handle_report(at(6000), &slow).unwrap();
    let last = with(report(0, 4), at(6500), &[20, 20, 20]);
    master.handle_report(at(21_600), &Report { state: ProcessState::Drained, ..last }).unwrap();
    assert_eq!(master.statistics().total().requests, 6, "everything is held");
    let report = finish(&mut master);
    assert_eq!((report.verdict.result, report.verdict.reasons), (Outcome::Passed, Vec::new()));
    assert_eq!(
        (report.total.requests, report.total.failures, report.total.latency_ms.max),
        (3, 0, Some(20.0))
    );
    assert_eq!(report.total.rps.to_string(), "0.2", "three in fifteen seconds");
    assert!(report.errors.is_empty());
    let warm_up = report.warm_up.unwrap();
    assert_eq!((warm_up.total.requests, warm_up.total.failures, warm_up.duration_s), (3, 1, 5.0));
    assert_eq!(report.run.duration_s.to_string(), "20");
}

#[test]
fn thresholds_look_at_nothing_of_it_whatever_their_time() {
    let mut master = warmed(
        &json!([{"expr": "max < 1s"}, {"expr": "max < 1s", "after": "0s"}, {"expr": "max < 1s", "after": "10s"}]),
    );
    let marks = master.handle_report(at(10), &report(0, 2)).unwrap().marks;
    assert_eq!(marks, [at(6500), at(11_500)]);
    let slow = with(report(0, 3), at(0), &[5000]);
    let all = with(with(slow, at(6500), &[30]), at(11_500), &[20]);
    master.handle_report(at(21_600), &Report { state: ProcessState::Drained, ..all }).unwrap();
    let results = finish(&mut master).verdict.thresholds;
    let results: Vec<_> = results.iter().map(|it| (it.value, it.from_s)).collect();
    assert_eq!(results, [(Some(30.0), Some(5.0)), (Some(30.0), Some(5.0)), (Some(20.0), Some(10.0))]);
}

#[test]
fn a_run_that_ends_in_its_warm_up_has_measured_nothing() {
    let mut master = warmed(&json!([]));
    master.handle_report(at(4000), &with(report(0, 2), at(0), &[20])).unwrap();
    master.handle_stop(at(5000), StopReason::ShapeEnded);
    let last = Report { state: ProcessState::Drained, ..report(0, 3) };
    master.handle_report(at(5100), &last).unwrap();
    let report = finish(&mut master);
    assert_eq!(report.verdict.result, Outcome::Invalid);
    assert_eq!(report.verdict.reasons, ["nothing was measured: the load ended before its warm-up did"]);
    assert_eq!((report.total.requests, report.warm_up.unwrap().total.requests), (0, 1));
    assert_eq!(report.warm_up.unwrap().duration_s.to_string(), "3.5");
}

#[test]
fn it_can_be_made_longer_or_shorter_while_it_is_on_but_not_afterwards() {
    let mut master = warmed(&json!([]));
    let live = |master: &Master, generation: u64, seconds: u64| LiveSpec {
        warm_up: Duration::from_secs(seconds),
        ..LiveSpec::of(&master.spec, generation)
    };
    let spec = live(&master, 1, 8);
    master.handle_spec(at(3000), &spec).unwrap();
    assert_eq!(master.handle_report(at(3010), &report(0, 2)).unwrap().marks.last(), Some(&at(9500)));
    let measured = with(with(report(0, 3), at(0), &[5000]), at(9500), &[20]);
    master.handle_report(at(12_000), &measured).unwrap();
    let spec = live(&master, 2, 1);
    master.handle_spec(at(12_000), &spec).unwrap();
    master.handle_report(at(21_600), &Report { state: ProcessState::Drained, ..report(0, 4) }).unwrap();
    let report = finish(&mut master);
    assert_eq!(report.total.requests, 1, "what had been measured apart stays so");
    assert_eq!(report.warm_up.unwrap().total.requests, 1);
}

#[test]
fn the_report_says_how_far_apart_processes_began_also_after_a_restart_of_the_master() {
    let mut master = constant(&json!([]));
    master.handle_report(at(100), &report(0, 1)).unwrap();
    let began = |due, late, uncertainty| Began {
        due: at(due),
        at: at(due + late),
        uncertainty: Duration::from_micros(uncertainty),
    };
    let first = Report { began: Some(began(1800, 3, 250)), ..report(0, 2) };
    master.handle_report(at(2000), &first).unwrap();
    let mut master = restarted(&master, at(3000));
    let second = Report { began: Some(began(6000, 10, 900)), ..report(1, 1) };
    master.handle_report(at(6100), &second).unwrap();
    let start = finish(&mut master).start.unwrap();
    assert_eq!(start, Start { processes: 2, skew_ms: 7.0, latest_ms: 10.0, uncertainty_ms: 0.9 });
    assert_eq!(finish(&mut warmed(&json!([]))).start, None, "nobody began");
}
