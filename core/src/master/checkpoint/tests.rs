//! Claims about restarts, message by message. Whole runs with restarts are played in `tests/simulation`.

use serde_json::json;

use super::*;
use crate::master::ShapeTick;
use crate::master::tests::{at, calls, constant, events, finish, report, restarted, shaped, with};
use crate::message::{Departure, Report, StopReason};
use crate::wall::WallClock;

/// A master whose one process has ten users at 3.5 s.
fn running() -> Master {
    let mut master = constant(&json!([{"expr": "p95 < 300ms"}]));
    master.handle_report(at(0), &report(0, 1)).unwrap();
    master.handle_report(at(2000), &with(report(0, 2), Tick::ZERO, &[5, 6])).unwrap();
    master
}

#[test]
fn a_restarted_master_says_what_the_last_one_said() {
    let mut master = running();
    let mut again = restarted(&master, at(3000));
    let (said, now) = (master.handle_report(at(3000), &report(0, 2)).unwrap(), at(3000));
    let says = again.handle_report(now, &report(0, 2)).unwrap();
    assert_eq!(
        (says.epoch, says.start, says.stop, &says.marks),
        (said.epoch, said.start, said.stop, &said.marks)
    );
    assert_eq!((says.plan, says.share), (said.plan, said.share));
    assert_eq!((says.acknowledged, says.send_full), (0, true), "nothing is held of it");
    assert!(
        events(&mut again).contains(&MasterEvent::TestStart),
        "the scenario in this process has not heard it"
    );
}

#[test]
fn what_a_living_process_measured_is_asked_for_again_and_counts_once() {
    let mut master = restarted(&running(), at(2500));
    assert!(master.is_learning() && master.statistics().is_empty());
    assert!(master.handle_report(at(2600), &with(report(0, 3), Tick::ZERO, &[7])).unwrap().send_full);
    assert!(master.is_learning());
    let full = Report { full: true, ..with(report(0, 4), Tick::ZERO, &[5, 6, 7]) };
    let answer = master.handle_report(at(2700), &full).unwrap();
    assert_eq!((answer.acknowledged, answer.send_full), (4, false));
    assert!(!master.is_learning());
    assert_eq!(*master.statistics(), calls(&[5, 6, 7]));
}

#[test]
fn what_a_dead_process_measured_is_kept() {
    let mut master = running();
    let died = Departure { process: report(0, 1).from, exit: "killed".into(), sent_total: Some(3) };
    master.handle_departure(at(4000), &died);
    let mut again = restarted(&master, at(5000));
    assert_eq!(*again.statistics(), calls(&[5, 6]));
    again.handle_stop(at(6000), StopReason::Stopped);
    let report = finish(&mut again);
    assert_eq!(report.gaps.iter().map(|gap| gap.lost_at_most).collect::<Vec<_>>(), [Some(1)]);
    assert_eq!(report.total.sent, 2);
}

#[test]
fn what_a_process_handed_over_is_kept_before_it_is_told_that_it_may_go() {
    let mut master = running();
    let before = master.decisions();
    let left = Report { state: ProcessState::Left, ..with(report(0, 3), Tick::ZERO, &[7]) };
    master.handle_report(at(4000), &left).unwrap();
    assert_ne!(master.decisions(), before, "the answer waits for the checkpoint");
    assert_eq!(*restarted(&master, at(4100)).statistics(), calls(&[5, 6, 7]));
}

#[test]
fn a_usual_report_is_no_decision_and_each_of_these_is_one() {
    let mut master = running();
    let mut known = master.decisions();
    let mut changed =
        |master: &Master| std::mem::replace(&mut known, master.decisions()) != master.decisions();
    master.handle_report(at(3000), &with(report(0, 3), Tick::ZERO, &[8])).unwrap();
    assert!(!changed(&master), "a report");
    master.handle_report(at(3100), &Report { sequence: 1, ..report(1, 1) }).unwrap();
    assert!(changed(&master), "a join");
    let died = Departure { process: report(0, 1).from, ..Departure::default() };
    master.handle_departure(at(3200), &died);
    assert!(changed(&master), "a death");
    master.handle_report(at(3300), &with(report(0, 4), Tick::ZERO, &[9])).unwrap_err();
    assert!(changed(&master), "a dead one's last words");
    let mut live = LiveSpec::of(&master.spec, 1);
    live.thresholds.clear();
    master.handle_spec(at(3400), &live).unwrap();
    assert!(changed(&master), "an edit");
    master.handle_stop(at(3500), StopReason::Stopped);
    assert!(changed(&master), "the stop");
    finish(&mut master);
    assert!(changed(&master), "the end");
}

#[test]
fn silence_counts_from_the_restart_and_the_end_waits_as_long() {
    let mut master = running();
    master.handle_stop(at(4000), StopReason::Stopped);
    // Long after everything should be over.
    let mut again = restarted(&master, at(200_000));
    again.handle_timeout(at(200_001));
    assert_eq!(again.state(), RunState::Draining, "the process may only now find it again");
    let last =
        Report { full: true, state: ProcessState::Drained, ..with(report(0, 9), Tick::ZERO, &[5, 6, 7]) };
    again.handle_report(at(215_000), &last).unwrap();
    assert_eq!(again.state(), RunState::Ended);
    assert_eq!(again.report(WallClock::default()).unwrap().total.sent, 3);
    let mut silent = restarted(&master, at(200_000));
    silent.handle_timeout(at(215_999));
    assert_eq!(silent.state(), RunState::Draining);
    silent.handle_timeout(at(216_000));
    assert_eq!(silent.state(), RunState::Ended);
    let gaps = silent.report(WallClock::default()).unwrap().gaps;
    assert_eq!(gaps[0].from, "1970-01-01T00:00:01.500Z", "all that it did is missing");
}

#[test]
fn an_ended_run_hands_over_the_same_bytes() {
    let mut master = running();
    let mut odd = with(report(0, 3), at(3500), &[250, 90, 7]);
    odd.health.cpu_percent = 33.1 + 0.2;
    master.handle_report(at(9000), &odd).unwrap();
    let died = Departure { process: odd.from.clone(), exit: "killed".into(), sent_total: Some(99) };
    master.handle_departure(at(9100), &died);
    master.handle_report(at(9200), &with(report(1, 1), at(3500), &[60])).unwrap();
    master.handle_report(at(21_600), &Report { state: ProcessState::Drained, ..report(1, 2) }).unwrap();
    let bytes = |master: &Master| serde_json::to_string(&master.report(WallClock { zero: 77 })).unwrap();
    let before = bytes(&master);
    assert!(before.contains("\"gaps\":[{"), "{before}");
    let mut again = restarted(&master, at(90_000));
    assert_eq!(bytes(&again), before);
    assert_eq!(again.statistics(), master.statistics());
    assert_eq!(events(&mut again), [MasterEvent::Ended { exit_code: 2 }]);
    // Whoever still asks hears of the end, and changes nothing.
    again.handle_departure(at(90_001), &Departure { sent_total: Some(1_000_000), ..died });
    assert_eq!(again.handle_report(at(90_002), &report(2, 5)).unwrap().state, RunState::Ended);
    assert_eq!(bytes(&again), before);
}

#[test]
fn a_run_that_ends_without_somebodys_last_words_says_so_also_after_a_restart() {
    let mut master = running();
    master.handle_report(at(9000), &with(report(0, 3), at(3500), &[60])).unwrap();
    master.handle_stop(at(9500), StopReason::Stopped);
    // It is heard all the time, but has not ended its users.
    for sequence in 4..40 {
        let draining = Report { state: ProcessState::Draining, ..report(0, sequence) };
        master.handle_report(at(9500 + (sequence - 4) * 1000), &draining).unwrap();
    }
    let before = finish(&mut master);
    assert_eq!(before.gaps.iter().map(|gap| gap.lost_at_most).collect::<Vec<_>>(), [None]);
    assert_eq!(restarted(&master, at(90_000)).report(WallClock::default()), Some(before));
}

#[test]
fn the_time_of_a_shape_goes_on_and_its_plan_holds_meanwhile() {
    let mut master = shaped();
    master.handle_report(at(0), &report(0, 1)).unwrap();
    master.handle_timeout(at(1500));
    master.handle_shape(at(1600), ShapeTick::Users { users: 8, rate: 100.0 });
    master.handle_shape(at(2600), ShapeTick::Failed("ZeroDivisionError".into()));
    let mut again = restarted(&master, at(10_400));
    assert_eq!(again.target(at(10_400)), 8);
    again.handle_timeout(at(10_500));
    let asked = events(&mut again).into_iter().find_map(|event| match event {
        MasterEvent::AskShape { run_time, .. } => Some(run_time),
        _ => None,
    });
    assert_eq!(asked.map(|time| time.as_secs()), Some(9), "since the start, not since the restart");
    assert!(again.status(at(10_500)).notes[0].contains("ZeroDivisionError"));
}

#[test]
fn a_checkpoint_of_something_else_is_told_apart() {
    let classes = |names: &[&str]| -> Vec<ClassSpec> {
        names.iter().map(|name| ClassSpec { name: (*name).into(), weight: 1 }).collect()
    };
    let master = running();
    let said = |change: &dyn Fn(&mut serde_json::Value), names: &[&str]| {
        let mut json = serde_json::to_value(master.checkpoint(at(3000))).unwrap();
        change(&mut json);
        let checkpoint = serde_json::from_value(json).unwrap();
        Master::restore(master.spec.clone(), classes(names), checkpoint, at(3000)).unwrap_err().to_string()
    };
    assert_eq!(said(&|json| json["run"] = json!("b"), &["TestShop"]), "it is of run `b`");
    assert_eq!(
        said(&|json| json["version"] = json!(9), &["TestShop"]),
        "it has version 9, this master writes 1"
    );
    assert_eq!(said(&|_| (), &["TestB"]), "the user classes were TestShop");
    assert_eq!(
        said(&|json| json["layout"]["slots"][0]["rows"] = json!([]), &["TestShop"]),
        "its parts do not fit each other"
    );
    assert!(said(&|json| json["live"]["runners"] = json!(0), &["TestShop"]).contains("0 runners"));
}
