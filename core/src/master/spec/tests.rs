//! Claims about edits of a run that is on.

use std::time::Duration;

use serde_json::{Value, json};

use crate::master::tests::{at, constant, finish, report, shaped, with};
use crate::master::{Master, MasterEvent};
use crate::message::{ClassUsers, LiveSpec, ProcessState, Report, RunState, RunnerDeparture, StopReason};
use crate::report::Outcome;
use crate::tick::Tick;

fn live(generation: u64, changes: &Value) -> LiveSpec {
    let mut whole = json!({
        "generation": generation, "runners": 1,
        "load": {"constant": {"users": 10, "spawn_rate": 5, "duration": 20_000_000}},
    });
    whole.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    serde_json::from_value(whole).unwrap()
}

fn load(users: u32, spawn_rate: f64, seconds: u64) -> Value {
    json!({"load": {"constant": {"users": users, "spawn_rate": spawn_rate, "duration": seconds * 1_000_000}}})
}

/// Starts at 1.5 s, has ten users at 3.5 s and stops at 21.5 s.
fn started() -> Master {
    let mut master = constant(&json!([]));
    master.handle_report(at(0), &report(0, 1)).unwrap();
    master
}

fn users(master: &Master, instants: &[u64]) -> Vec<u32> {
    instants.iter().map(|instant| master.target(at(*instant))).collect()
}

fn stop(master: &mut Master, now: Tick) -> (Tick, StopReason) {
    let stop = master.handle_report(now, &report(0, 9)).unwrap().stop.unwrap();
    (stop.at, stop.reason)
}

#[test]
fn a_lower_generation_is_ignored_and_the_one_in_force_is_told() {
    let mut master = started();
    assert_eq!(master.handle_spec(at(9000), &live(4, &load(30, 10.0, 20))), Ok(4));
    assert_eq!(master.handle_spec(at(9100), &live(3, &load(1, 1.0, 1))), Ok(4));
    assert_eq!(master.handle_spec(at(9200), &live(4, &load(1, 1.0, 1))), Ok(4));
    assert_eq!(users(&master, &[9000, 10_500, 11_500, 12_500]), [10, 10, 20, 30]);
    assert_eq!(master.status(at(9200)).generation, 4);
    assert_eq!(master.handle_report(at(9300), &report(0, 2)).unwrap().generation, 4);
}

#[test]
fn a_new_target_in_mid_ramp_goes_on_from_where_the_line_is() {
    let mut master = started();
    // At 3 s, when the new target comes into force, seven users are wanted.
    master.handle_spec(at(1500), &live(1, &load(4, 2.0, 20))).unwrap();
    assert_eq!(users(&master, &[2500, 3000, 3500, 4500, 9000]), [5, 7, 6, 4, 4]);
    // The first ramp ends with the new one: everybody runs at 4.5 s.
    let running = Report { users: vec![ClassUsers { live: 4, dead: 0 }], ..report(0, 2) };
    assert_eq!(master.handle_report(at(4000), &running).unwrap().start_complete, None);
    let complete = master.handle_report(at(4600), &Report { sequence: 3, ..running }).unwrap().start_complete;
    assert_eq!(complete.map(|complete| (complete.at, complete.users)), Some((at(6100), 4)));
}

#[test]
fn the_first_ramp_is_not_moved_once_it_is_nearly_over() {
    let thresholds = json!([{"expr": "p95 < 1s"}]);
    let mut master = constant(&thresholds);
    master.handle_report(at(0), &report(0, 1)).unwrap();
    let mut more = load(90, 1.0, 60);
    more["thresholds"] = thresholds;
    master.handle_spec(at(2100), &live(1, &more)).unwrap();
    assert_eq!(master.handle_report(at(2200), &report(0, 2)).unwrap().marks, [at(3500)]);
    assert_eq!(users(&master, &[3500, 4600, 90_000]), [10, 11, 90]);
}

#[test]
fn an_edit_before_the_start_leaves_no_trace_of_what_was_planned_before() {
    let mut master = started();
    master.handle_spec(at(10), &live(1, &load(3, 100.0, 5))).unwrap();
    assert_eq!(users(&master, &[1500, 1600]), [0, 3]);
    assert_eq!(stop(&mut master, at(20)), (at(6500), StopReason::Completed));
    let report = finish(&mut master);
    assert_eq!((report.users.target, report.run.duration_s.to_string()), (3, "5".to_owned()));
}

#[test]
fn the_stop_moves_with_the_duration_and_never_into_the_past() {
    let mut master = started();
    master.handle_spec(at(5000), &live(1, &load(10, 5.0, 600))).unwrap();
    assert_eq!(stop(&mut master, at(5000)), (at(601_500), StopReason::Completed));
    let short = json!({"deadlines": {"run": 90_000_000, "stop": 2_000_000}});
    master.handle_spec(at(5000), &live(2, &load(10, 5.0, 600))).unwrap();
    let mut capped = load(10, 5.0, 600);
    capped.as_object_mut().unwrap().extend(short.as_object().unwrap().clone());
    master.handle_spec(at(5000), &live(3, &capped)).unwrap();
    assert_eq!(stop(&mut master, at(5000)), (at(91_500), StopReason::RunDeadline));
    // Over long ago: in a moment, so that all stop at once.
    master.handle_spec(at(8000), &live(4, &load(10, 5.0, 1))).unwrap();
    assert_eq!(stop(&mut master, at(8000)), (at(9500), StopReason::Completed));
    // Too late: some process may stop before it hears of this.
    master.handle_spec(at(8100), &live(5, &load(10, 5.0, 600))).unwrap();
    assert_eq!(stop(&mut master, at(8100)), (at(9500), StopReason::Completed));
    assert_eq!(finish(&mut master).run.duration_s.to_string(), "8");
}

#[test]
fn a_load_never_changes_its_form_and_what_cannot_be_is_refused_whole() {
    let mut master = started();
    let before = master.handle_report(at(100), &report(0, 1));
    let refused = |master: &mut Master, changes: &Value| {
        master.handle_spec(at(100), &live(9, changes)).unwrap_err().to_string()
    };
    assert_eq!(
        refused(&mut master, &json!({"load": "shape"})),
        "the load of a run cannot change its form: this run began with a constant, another form needs another run"
    );
    assert_eq!(
        refused(&mut master, &json!({"runners": 0})),
        "0 runners of 1 processes: their product must be 1 to 4096"
    );
    assert_eq!(refused(&mut master, &load(0, 1.0, 1)), "0 users: must be 1 to 10000000");
    assert_eq!(master.handle_report(at(100), &report(0, 1)), before);
    let constant = live(1, &load(1, 1.0, 1));
    assert!(shaped().handle_spec(at(0), &constant).unwrap_err().to_string().contains("began with a shape"));
}

#[test]
fn thresholds_are_judged_with_those_in_force_from_a_time_that_was_told_apart() {
    let mut master = started();
    master.handle_report(at(6000), &with(report(0, 2), Tick::ZERO, &[900])).unwrap();
    let new =
        json!({"thresholds": [{"expr": "max < 100ms", "after": "1s"}, {"expr": "rps > 0", "after": "15s"}]});
    master.handle_spec(at(6100), &live(1, &new)).unwrap();
    let marks = master.handle_report(at(6200), &report(0, 2)).unwrap().marks;
    assert_eq!(marks, [at(7600), at(16_500)], "what was measured before cannot be told apart any more");
    let last = with(with(report(0, 3), at(7600), &[20]), at(16_500), &[30]);
    master.handle_report(at(21_600), &Report { state: ProcessState::Drained, ..last }).unwrap();
    let verdict = finish(&mut master).verdict;
    assert_eq!(verdict.result, Outcome::Passed, "{verdict:?}");
    assert_eq!(verdict.thresholds.iter().map(|it| it.from_s).collect::<Vec<_>>(), [Some(6.1), Some(15.0)]);
}

#[test]
fn more_runners_are_not_waited_for_once_the_run_is_on_and_fewer_start_it() {
    let mut master = started();
    master.handle_spec(at(5000), &live(1, &json!({"runners": 3}))).unwrap();
    assert_eq!((master.state(), master.status(at(5000)).expected), (RunState::Running, 3));

    let mut spec = constant(&json!([])).spec;
    spec.runners = 2;
    let classes = vec![crate::run::ClassSpec { name: "TestShop".into(), weight: 1 }];
    let mut waiting = Master::new(spec, classes, 7).unwrap();
    waiting.handle_report(at(0), &report(0, 1)).unwrap();
    assert_eq!(waiting.state(), RunState::Waiting);
    waiting.handle_spec(at(10), &live(1, &json!({}))).unwrap();
    assert_eq!(waiting.state(), RunState::Running);
}

#[test]
fn after_the_end_nothing_of_the_report_changes() {
    let mut master = started();
    master.handle_stop(at(4000), StopReason::Stopped);
    let before = finish(&mut master);
    let new = json!({"thresholds": [{"expr": "max < 100ms"}]});
    assert_eq!(master.handle_spec(at(90_000), &live(5, &new)), Ok(5));
    assert_eq!(finish(&mut master), before);
}

#[test]
fn a_runner_whose_pod_has_ended_has_no_process_left() {
    let mut master = constant(&json!([]));
    master.spec.processes_per_runner = 2;
    let of = |process: u32, runner: &str| {
        let mut report = report(0, 1);
        (report.from.process, report.from.runner) = (process, runner.into());
        report
    };
    for (process, runner) in [(0, "runner-0"), (1, "runner-0"), (0, "runner-1")] {
        master.handle_report(at(0), &of(process, runner)).unwrap();
    }
    let gone = RunnerDeparture { runner: "runner-0".into(), exit: "the pod was deleted".into() };
    master.handle_runner_departure(at(4000), &gone);
    let left: Vec<String> = master.processes().map(|process| process.id.to_string()).collect();
    assert_eq!(left, ["runner-1/0#0"]);
    master.handle_stop(at(5000), StopReason::Stopped);
    master
        .handle_report(at(5001), &Report { state: ProcessState::Drained, sequence: 2, ..of(0, "runner-1") })
        .unwrap();
    let gaps = finish(&mut master).gaps;
    assert_eq!(
        gaps.iter().map(|gap| (gap.runner.as_str(), gap.lost_at_most)).collect::<Vec<_>>(),
        [("runner-0", None); 2]
    );
    assert!(
        std::iter::from_fn(|| master.poll_event()).any(|event| matches!(event, MasterEvent::Ended { .. }))
    );
    assert_eq!(master.poll_timeout(), None::<Tick>.map(|tick| tick + Duration::ZERO));
}
