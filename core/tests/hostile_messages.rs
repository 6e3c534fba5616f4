//! Messages, plans and checkpoints with anything in them: whatever can be read as one is taken in, refused or ignored,
//! and nothing of it stops the state machines. Values are put into good ones, for as long as `AIOTEST_FUZZ_SECONDS` says
//! (four seconds each unless it does) and as often as `AIOTEST_FUZZ_RUNS` says; a failure prints the smallest that fails.

use std::time::{Duration, Instant};

use aiotest_core::master::{Checkpoint, Hooks, Master};
use aiotest_core::message::{
    Assignment, ClassUsers, Departure, Health, LiveSpec, ProcessId, ProcessState, Report, RowsReport,
    RunnerDeparture, SetReport, VERSION, Waiting, Window,
};
use aiotest_core::run::{ClassSpec, RunSpec};
use aiotest_core::runner::Runner;
use aiotest_core::stats::{Outcome, Phase, Sample, Statistics};
use aiotest_core::tick::Tick;
use aiotest_core::wall::WallClock;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

/// Inputs between two looks at the clock.
const BATCH: u32 = 64;

/// Tests changes of `good` until the time is over.
#[expect(clippy::disallowed_methods, reason = "how long is looked is the time of the machine, not of a run")]
fn hold(good: &Value, test: impl Fn(Value)) {
    let number = |name: &str, usual: f64| {
        let given = std::env::var(name);
        given.map_or(usual, |given| {
            given.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{given}`"))
        })
    };
    let until = Instant::now() + Duration::from_secs_f64(number("AIOTEST_FUZZ_SECONDS", 4.0));
    let batches = (number("AIOTEST_FUZZ_RUNS", 0.0) / f64::from(BATCH)).ceil() as u64;
    let mut done = 0;
    let changes = prop::collection::vec((any::<Index>(), value()), 0..4);
    let config = Config { cases: BATCH, failure_persistence: None, ..Config::default() };
    while done < batches || Instant::now() < until {
        done += 1;
        let outcome = TestRunner::new(config.clone()).run(&changes, |changes| {
            let mut message = good.clone();
            for (place, value) in changes {
                let place = place.index(count(&message));
                *nth(&mut message, &mut { place }).expect("it is counted") = value;
            }
            test(message);
            Ok(())
        });
        if let Err(error) = outcome {
            panic!("{error}");
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    let numbers = [0, 1, 2, 1_000, 1 << 31, u64::from(u32::MAX), u64::MAX / 2, u64::MAX - 1, u64::MAX];
    let few =
        ["", "shape", "running", "ended", "draining", "runner-0", "runner-9", "a", "TestShop", "(other)"];
    prop_oneof![
        prop::sample::select(numbers.to_vec()).prop_map(Value::from),
        prop::sample::select(vec![-1.0, 0.0, 0.5, 1e-300, 1e300, 5e-324]).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(few.to_vec()).prop_map(Value::from),
        (1_usize..3_000).prop_map(|length| Value::from("ä".repeat(length))),
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        (1_usize..300).prop_map(|length| json!(vec![json!({"at": 1, "live": 7}); length])),
        (1_usize..300).prop_map(|length| json!((0..length).rev().collect::<Vec<_>>())),
    ]
}

/// How many values there are in it, itself included.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum::<usize>(),
        _ => 0,
    }
}

/// The value of that number.
fn nth<'a>(value: &'a mut Value, place: &mut usize) -> Option<&'a mut Value> {
    if *place == 0 {
        return Some(value);
    }
    *place -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, place)),
        Value::Object(members) => members.values_mut().find_map(|member| nth(member, place)),
        _ => None,
    }
}

const fn at(milliseconds: u64) -> Tick {
    Tick::from_micros(milliseconds * 1000)
}

fn plan() -> Value {
    json!({
        "run": {"id": "a", "name": "quickstart", "number": 1},
        "load": {"constant": {"users": 10, "spawn_rate": 5, "duration": 20_000_000}},
        "runners": 2, "processes_per_runner": 2, "aiotestfile": "aiotestfile.py", "dead_man": 15_000_000,
        "thresholds": [{"expr": "p95 < 300ms"}], "host": "http://h/", "args": ["--tenant=blue"],
        "deadlines": {"startup": 10_000_000, "run": 60_000_000, "stop": 3_000_000, "results": 1_000_000},
        "data": [
            {"name": "accounts", "policy": "Unique", "at_end": "Stop", "file": "a.csv", "rows": 100, "hash": "1f"},
            {"name": "terms", "policy": "Sharded", "at_end": "Loop", "file": "b.csv", "rows": 30, "hash": "2f"},
        ],
    })
}

/// The same in the closed and in the open model.
fn plans() -> [Value; 2] {
    let lines = json!([{"duration": 0, "target": 100}, {"duration": 9_000_000, "target": 700}]);
    let mut open = plan();
    open["load"] = json!({"arrivals": {"per": 1_000_000, "max_users": 40, "lines": lines}});
    [plan(), open]
}

fn classes() -> Vec<ClassSpec> {
    vec![ClassSpec { name: "TestShop".into(), weight: 1 }]
}

fn master() -> Master {
    master_of(&plan())
}

fn master_of(plan: &Value) -> Master {
    Master::new(spec(plan), classes(), 7).unwrap()
}

fn spec(plan: &Value) -> RunSpec {
    serde_json::from_value(plan.clone()).unwrap()
}

/// The same with something to be done before and after.
fn hooked() -> Master {
    let mut master = master();
    master.expect_hooks(Hooks { setup: true, teardown: true });
    master
}

fn id(runner: u32, process: u32) -> ProcessId {
    ProcessId { runner: format!("runner-{runner}"), process, incarnation: 1 }
}

fn report(from: ProcessId, sequence: u64) -> Report {
    let mut statistics = Statistics::default();
    statistics.record(&Sample {
        name: "/",
        method: "GET",
        latency: Duration::from_millis(3),
        phases: &[(Phase::Wait, Duration::from_millis(2))],
        status: Some(503),
        bytes_received: 10,
        outcome: Outcome::Failure("503 Service Unavailable"),
        sent: 1,
        retried: 0,
        truncated: false,
        late: None,
    });
    statistics.user_error("KeyError: 'token'");
    Report {
        version: VERSION,
        epoch: Some(7),
        from,
        sequence,
        classes: vec!["TestShop".into()],
        state: ProcessState::Running,
        users: vec![ClassUsers { live: 3, dead: 1 }],
        rendezvous: vec![Waiting { name: "sale".into(), round: 0, waiting: 2, users: Some(5) }],
        windows: vec![Window { since: at(1000), statistics }],
        sent_total: 1,
        health: Health::default(),
        rows: Some(Box::new(rows(sequence))),
        ..Report::default()
    }
}

fn rows(turn: u64) -> RowsReport {
    let set = |name: &str, rows, hash: &str| SetReport {
        name: name.to_owned(),
        rows,
        hash: hash.to_owned(),
        pass: 1,
        held: (3..9).collect(),
        waiting: 2,
        unused: 1,
        reserve: 16,
    };
    RowsReport { turn, heard: turn - 1, sets: vec![set("accounts", 100, "1f"), set("terms", 30, "2f")] }
}

/// A master with all its processes, under load.
fn running() -> Master {
    running_of(&plan())
}

fn running_of(plan: &Value) -> Master {
    let mut master = master_of(plan);
    master.expect_hooks(Hooks { setup: true, teardown: true });
    for (number, from) in [id(0, 0), id(0, 1), id(1, 0), id(1, 1)].into_iter().enumerate() {
        master.handle_report(at(100 + number as u64), &report(from, 1)).unwrap();
    }
    master.handle_setup(at(200), Ok(()));
    master.handle_timeout(at(3000));
    master
}

/// The run goes on to its end, and that can be told.
fn end(mut master: Master) {
    let _ = master.handle_report(at(4000), &report(id(0, 0), 2));
    for _ in 0..50 {
        let Some(due) = master.poll_timeout() else { break };
        master.handle_timeout(due);
        master.handle_setup(due, Err("no".into()));
        while master.poll_event().is_some() {}
    }
    master.handle_teardown(at(5000), Ok(()));
    let _ = serde_json::to_vec(&master.status(at(5000))).unwrap();
    let _ = serde_json::to_vec(&master.checkpoint(at(5000))).unwrap();
    if let Some(report) = master.report(WallClock::default()) {
        serde_json::to_vec(&report).unwrap();
    }
}

#[test]
fn no_report_stops_a_master() {
    let good = serde_json::to_value(report(id(1, 0), 2)).unwrap();
    hold(&good, |message| {
        if let Ok(report) = serde_json::from_value::<Report>(message) {
            for mut master in [master(), hooked(), running()] {
                let _ = master.handle_report(at(3500), &report);
                let _ = master.handle_report(at(3600), &report);
                end(master);
            }
        }
    });
}

#[test]
fn no_word_of_the_operators_stops_a_master() {
    for plan in plans() {
        let live = serde_json::to_value(LiveSpec::of(&spec(&plan), 3)).unwrap();
        hold(&live, |message| {
            if let Ok(live) = serde_json::from_value::<LiveSpec>(message) {
                for mut master in [master_of(&plan), running_of(&plan)] {
                    let _ = master.handle_spec(at(3500), &live);
                    end(master);
                }
            }
        });
    }
}

#[test]
fn no_departure_stops_a_master() {
    let good = json!({
        "process": {"runner": "runner-1", "process": 0, "incarnation": 1}, "exit": "killed by signal 9",
        "sent_total": 5, "runner": "runner-0",
    });
    hold(&good, |message| {
        let mut master = running();
        if let Ok(departure) = serde_json::from_value::<Departure>(message.clone()) {
            master.handle_departure(at(3500), &departure);
        }
        if let Ok(departure) = serde_json::from_value::<RunnerDeparture>(message) {
            master.handle_runner_departure(at(3600), &departure);
        }
        end(master);
    });
}

#[test]
fn no_plan_makes_a_master_that_stops() {
    for plan in plans() {
        hold(&plan, |message| {
            if let Ok(spec) = serde_json::from_value::<RunSpec>(message)
                && let Ok(mut master) = Master::new(spec, classes(), 7)
            {
                let _ = master.handle_report(at(100), &report(id(0, 0), 1));
                end(master);
            }
        });
    }
}

#[test]
fn no_checkpoint_makes_a_master_that_stops() {
    for plan in plans() {
        let good = serde_json::to_value(running_of(&plan).checkpoint(at(3200))).unwrap();
        hold(&good, |message| {
            if let Ok(checkpoint) = serde_json::from_value::<Checkpoint>(message)
                && let Ok(master) = Master::restore(spec(&plan), classes(), checkpoint, at(3300))
            {
                end(master);
            }
        });
    }
}

#[test]
fn no_answer_stops_a_runner() {
    for plan in plans() {
        no_answer_of_this_run_does(&plan);
    }
}

fn no_answer_of_this_run_does(plan: &Value) {
    let mut master = running_of(plan);
    let good = serde_json::to_value(master.handle_report(at(3100), &report(id(0, 0), 2)).unwrap()).unwrap();
    hold(&good, |message| {
        if let Ok(assignment) = serde_json::from_value::<Assignment>(message) {
            let spec = spec(plan);
            let runner = Runner::new(id(0, 0), vec!["TestShop".into()], Duration::from_secs(15), at(0));
            let mut runner = runner.with_data(&spec.data);
            let _ = (runner.poll_report(at(3000)), runner.poll_report(at(6000)));
            runner.handle_assignment(at(3000), at(3100), assignment);
            for _ in 0..20 {
                let _ = runner.poll_report(at(3200));
                while runner.poll_action().is_some() {}
                let Some(due) = runner.poll_timeout(at(3200)) else { break };
                runner.handle_timeout(due);
            }
        }
    });
}
