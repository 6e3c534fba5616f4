//! Claims about what a master tells of the open model, message by message.

use serde_json::json;

use super::*;
use crate::master::tests::{at, finish, report, spec};
use crate::message::{Assignment, LiveSpec, ProcessId, ProcessState, Report};
use crate::run::{ClassSpec, Desired, InvalidRun, RunSpec};

/// 100 a second at once, for 20 s.
fn open(max_users: u32) -> RunSpec {
    let lines = json!([{"duration": 0, "target": 100}, {"duration": 20_000_000, "target": 100}]);
    let load = json!({"arrivals": {"per": 1_000_000, "max_users": max_users, "lines": lines}});
    RunSpec { runners: 2, ..spec(&load, &json!([])) }
}

fn master() -> Master {
    Master::new(open(10), vec![ClassSpec { name: "TestShop".into(), weight: 1 }], 7).unwrap()
}

fn of(runner: &str, sequence: u64) -> Report {
    let from = ProcessId { runner: runner.into(), ..ProcessId::default() };
    Report { from, ..report(0, sequence) }
}

/// Both runners have joined; what each was told then.
fn started(master: &mut Master) -> [Assignment; 2] {
    master.handle_report(at(0), &of("a", 1)).unwrap();
    let b = master.handle_report(at(100), &of("b", 1)).unwrap();
    [master.handle_report(at(200), &of("a", 2)).unwrap(), b]
}

/// The numbers of somebody's iterations in a time.
fn numbers(assignment: &Assignment, from: u64, until: u64) -> Vec<u64> {
    let arrivals = assignment.plan.arrivals.as_ref().unwrap();
    let all = arrivals.of_share(&assignment.plan, &assignment.share, at(from));
    all.take_while(|arrival| arrival.at < at(until)).map(|arrival| arrival.number).collect()
}

#[test]
fn runners_are_told_the_rate_how_many_users_they_may_have_and_whose_is_what() {
    let mut master = master();
    let [a, b] = started(&mut master);
    assert_eq!((a.start, a.stop.unwrap().at), (Some(at(1600)), at(21_600)));
    assert_eq!((a.share.users(&a.plan, at(1601)), b.share.users(&b.plan, at(1601))), (vec![5], vec![5]));
    assert_eq!(numbers(&a, 1600, 1700), [0, 2, 4, 6, 8]);
    assert_eq!(numbers(&b, 1600, 1700), [1, 3, 5, 7, 9]);
    assert_eq!(numbers(&a, 0, 1600), [0; 0]);
}

#[test]
fn a_joiner_has_its_part_at_once_and_everybody_knows_from_when_on() {
    let mut master = master();
    started(&mut master);
    let c = master.handle_report(at(5000), &of("c", 1)).unwrap();
    let [a, b] =
        [("a", 3), ("b", 2)].map(|(who, number)| master.handle_report(at(5010), &of(who, number)).unwrap());
    let mut all: Vec<u64> = [&a, &b, &c].iter().flat_map(|told| numbers(told, 5100, 9000)).collect();
    all.sort_unstable();
    assert!(all.iter().copied().eq(350..740), "each is one's, before the change, in it and after: {all:?}");
    assert_eq!(numbers(&c, 5100, 6500), [0; 0]);
}

#[test]
fn a_restarted_master_goes_on_with_the_same_numbers() {
    let mut master = master();
    let [before, _] = started(&mut master);
    let mut again = {
        let written = serde_json::to_string(&master.checkpoint(at(3000))).unwrap();
        let classes = vec![ClassSpec { name: "TestShop".into(), weight: 1 }];
        Master::restore(open(10), classes, serde_json::from_str(&written).unwrap(), at(3000)).unwrap()
    };
    let after = again.handle_report(at(3100), &of("a", 3)).unwrap();
    assert_eq!(numbers(&before, 4000, 4400), numbers(&after, 4000, 4400));
}

#[test]
fn nobody_may_be_without_a_user() {
    let classes =
        || vec![ClassSpec { name: "TestShop".into(), weight: 1 }, ClassSpec { name: "B".into(), weight: 2 }];
    let refused = Master::new(open(3), classes(), 7).map(drop);
    assert_eq!(refused, Err(InvalidRun::MaxUsers { most: 3, least: 4 }));
    assert!(Master::new(open(4), classes(), 7).is_ok());
}

#[test]
fn what_never_began_with_every_runner_there_makes_the_run_invalid() {
    let mut master = master();
    started(&mut master);
    for (second, number) in (1..25).zip(2..) {
        for (who, number) in [("a", number + 1), ("b", number)] {
            let state = if second < 22 { ProcessState::Running } else { ProcessState::Drained };
            let told = Report { state, plan_version: 9, ..of(who, number) };
            let _ = master.handle_report(at(second * 1000), &told);
        }
    }
    let report = finish(&mut master);
    assert_eq!(report.iterations.map(|counted| (counted.planned, counted.started)), Some((2000, 0)));
    let said = |reason: &String| reason.starts_with("2000 of 2000 iterations never began, more than 1 %");
    assert!(report.verdict.reasons.iter().any(said), "{:?}", report.verdict);
}

#[test]
fn an_edit_may_count_per_another_time() {
    let mut master = master();
    started(&mut master);
    let lines = json!([{"duration": 0, "target": 100}, {"duration": 20_000_000, "target": 12_000}]);
    let load =
        serde_json::from_value(json!({"arrivals": {"per": 60_000_000, "max_users": 20, "lines": lines}}))
            .unwrap();
    let live = LiveSpec { load, desired: Desired::Running, ..LiveSpec::of(&open(10), 3) };
    assert_eq!(master.handle_spec(at(11_600), &live), Ok(3));
    let told = master.handle_report(at(11_700), &of("a", 3)).unwrap();
    let arrivals = told.plan.arrivals.as_ref().unwrap();
    assert_eq!(arrivals.rate(at(13_000)).to_string(), "100", "what has been handed out");
    assert_eq!(arrivals.rate(at(21_600)).round().to_string(), "200", "12,000 a minute");
    assert_eq!(told.share.users(&told.plan, at(14_000)), [10]);
}
