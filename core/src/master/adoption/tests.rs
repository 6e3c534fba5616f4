//! Claims about a master that was replaced and remembers nothing.

use serde_json::json;

use super::*;
use crate::master::tests::{at, calls, constant, events, finish, of, restarted, with};
use crate::message::{LiveSpec, ProcessState, StopReason};
use crate::report::Outcome;
use crate::run::{ClassSpec, Constant};

/// Two processes, ten users at 3.5 s, the end at 21.5 s.
fn pair() -> Master {
    let mut spec = constant(&json!([])).spec;
    spec.runners = 2;
    Master::new(spec, vec![ClassSpec { name: "TestShop".into(), weight: 1 }], 7).unwrap()
}

/// What both processes heard last of a run that is on.
fn heard() -> [Assignment; 2] {
    let mut master = pair();
    master.handle_report(at(0), &of(0, 1)).unwrap();
    master.handle_report(at(0), &of(1, 1)).unwrap();
    [0, 1].map(|process| master.handle_report(at(5000), &of(process, 2)).unwrap())
}

/// What a process says that heard so much, at an instant of the old time axis.
fn telling(process: u32, sequence: u64, heard: &Assignment, now: Tick) -> Report {
    let heard = Some(Box::new(Assignment { now, ..heard.clone() }));
    Report { epoch: Some(7), heard, ..of(process, sequence) }
}

#[test]
fn a_master_that_was_killed_before_it_had_heard_of_the_run_takes_it_over_all_the_same() {
    let fresh = Master { epoch: 99, ..pair() };
    let mut again = restarted(&fresh, at(500));
    let says = again.handle_report(at(9000), &telling(0, 9, &heard()[0], at(9000))).unwrap();
    assert_eq!((says.epoch, says.state), (7, RunState::Running));
}

/// A master of another epoch that takes the run over at 9 s.
fn replaced() -> (Master, [Assignment; 2]) {
    let heard = heard();
    let mut master = Master { epoch: 99, ..pair() };
    assert_eq!(master.clock_of(&telling(0, 9, &heard[0], at(9000))), Some(at(9000)));
    assert!(master.handle_report(at(9000), &telling(0, 9, &heard[0], at(9000))).unwrap().send_full);
    (master, heard)
}

#[test]
fn who_does_not_say_what_he_heard_is_asked_again() {
    let mut master = Master { epoch: 99, ..pair() };
    let bare = Report { heard: None, ..telling(0, 9, &heard()[0], at(9000)) };
    let refusal = master.handle_report(at(10), &bare).unwrap_err();
    assert!(refusal.is_passing() && master.clock_of(&bare).is_none(), "{refusal}");
    let (mut master, _) = replaced();
    let bare = Report { epoch: Some(7), ..of(1, 9) };
    assert!(master.handle_report(at(9001), &bare).unwrap_err().is_passing());
}

#[test]
fn the_run_goes_on_as_everybody_heard_it_and_is_shared_anew_once_all_are_here() {
    let (mut master, heard) = replaced();
    let says = master.handle_report(at(9001), &telling(0, 9, &heard[0], at(9001))).unwrap();
    assert_eq!((says.epoch, says.start, says.stop), (7, heard[0].start, heard[0].stop));
    assert_eq!((&says.plan, &says.share), (&heard[0].plan, &heard[0].share));
    assert!(events(&mut master).contains(&MasterEvent::TestStart) && master.is_learning());
    // The other one: everybody is here, so that the next version of the plan is known to all.
    let says = master.handle_report(at(9100), &telling(1, 9, &heard[1], at(9100))).unwrap();
    assert_eq!(says.plan.version, heard[1].plan.version + 1);
    assert_eq!(says.share.users(&says.plan, at(9101)), heard[1].share.users(&heard[1].plan, at(9101)));
    assert_eq!(says.share.users(&says.plan, at(12_000)), [5]);
    for (process, latencies) in [(0, &[5, 6][..]), (1, &[7])] {
        let full = Report {
            full: true,
            ..with(telling(process, 10, &heard[process as usize], at(9200)), Tick::ZERO, latencies)
        };
        master.handle_report(at(9200), &full).unwrap();
    }
    assert!(!master.is_learning());
    assert_eq!(*master.statistics(), calls(&[5, 6, 7]));
    for process in [0, 1] {
        let last = Report { epoch: Some(7), state: ProcessState::Drained, ..of(process, 11) };
        master.handle_report(at(21_600), &last).unwrap();
    }
    let report = finish(&mut master);
    assert_eq!((report.verdict.result, report.total.sent), (Outcome::Passed, 3));
    assert_eq!((report.run.duration_s.to_string(), report.users.target), ("20".to_owned(), 10));
    assert!(
        report.verdict.reasons[0].starts_with("the master was replaced 7 s after the start"),
        "{report:?}"
    );
}

#[test]
fn who_is_not_heard_of_is_waited_for_and_then_his_users_go_to_the_others() {
    let (mut master, _) = replaced();
    assert_eq!(master.poll_timeout(), Some(at(21_500)).min(Some(at(25_000))), "the stop comes first here");
    master.stop =
        master.stop.map(|stop| crate::message::Stop { at: at(90_000), deadline: at(99_000), ..stop });
    master.handle_report(at(20_000), &Report { epoch: Some(7), ..of(0, 10) }).unwrap();
    let (before, due) = (master.layout.plan().version, master.poll_timeout().unwrap());
    assert_eq!(due, at(25_000), "the dead-man time and a second after the first report");
    master.handle_timeout(at(24_999));
    assert_eq!(master.layout.plan().version, before);
    master.handle_timeout(due);
    let says = master.handle_report(at(25_001), &Report { epoch: Some(7), ..of(0, 11) }).unwrap();
    assert_eq!(says.share.users(&says.plan, at(27_000)), [10]);
}

#[test]
fn one_who_has_heard_less_than_another_keeps_his_place_in_what_he_missed() {
    let heard = heard();
    let mut later = heard[1].clone();
    later.plan.version += 1;
    let ramp =
        Ramp { version: later.plan.version, at: at(10_000), since: at(10_000), from: 10, to: 4, rate: 9.0 };
    later.plan.ramps.push(ramp);
    later.share.rows.push(later.share.rows[0].clone());
    let mut master = Master { epoch: 99, ..pair() };
    master.handle_report(at(9000), &telling(0, 9, &heard[0], at(9000))).unwrap();
    master.adopting = Some(at(60_000));
    master.spec.runners = 3;
    master.handle_report(at(9001), &telling(1, 9, &later, at(9001))).unwrap();
    let says = master.handle_report(at(9002), &telling(0, 9, &heard[0], at(9002))).unwrap();
    assert_eq!(says.plan, later.plan);
    assert_eq!(says.share.users(&says.plan, at(9002)), [5]);
    assert_eq!(says.share.users(&says.plan, at(11_000)), [2], "half of the four");
}

#[test]
fn who_only_waited_for_the_start_waits_for_it_here() {
    let mut first = pair();
    let waiting = first.handle_report(at(3000), &of(0, 1)).unwrap();
    let mut master = Master { epoch: 99, ..pair() };
    let waits = |report: Report| Report { state: ProcessState::Waiting, ..report };
    let bare = waits(Report { epoch: Some(7), ..of(0, 2) });
    assert!(master.handle_report(at(10), &bare).unwrap_err().is_passing(), "it may be of another run");
    let told = waits(telling(0, 2, &waiting, at(9000)));
    assert_eq!(master.clock_of(&told), None);
    let says = master.handle_report(at(20), &told).unwrap();
    assert_eq!((says.epoch, says.state, says.start), (99, RunState::Waiting, None));
    master.handle_report(at(30), &of(1, 1)).unwrap();
    assert_eq!((master.state(), master.start), (RunState::Running, Some(at(1530))));
    assert!(master.notes_of(at(40)).is_empty(), "nothing was lost");
}

#[test]
fn a_run_that_only_some_had_heard_the_start_of_is_not_started_twice() {
    let mut first = pair();
    let waiting = first.handle_report(at(0), &of(0, 1)).unwrap();
    let started = heard();
    let mut master = Master { epoch: 99, ..pair() };
    let waits = |report: Report| Report { state: ProcessState::Waiting, ..report };
    master.handle_report(at(20), &waits(telling(0, 2, &waiting, at(3000)))).unwrap();
    let says = master.handle_report(at(3002), &telling(1, 9, &started[1], at(3002))).unwrap();
    assert_eq!((says.epoch, says.state, says.start), (7, RunState::Running, started[1].start));
    // The one that waits is of the epoch of before, and comes over.
    let mut late = Report { epoch: Some(99), ..waits(of(0, 3)) };
    assert!(master.handle_report(at(3003), &late).unwrap_err().is_passing());
    late.heard = Some(Box::new(Assignment { epoch: 99, ..waiting }));
    assert_eq!(master.handle_report(at(3004), &late).unwrap().start, started[1].start);
}

#[test]
fn what_cannot_be_of_this_run_is_not_gone_on_with() {
    let heard = heard();
    let refused = |change: &dyn Fn(&mut Assignment)| {
        let mut report = telling(0, 9, &heard[0], at(9000));
        change(report.heard.as_mut().unwrap());
        let mut master = Master { epoch: 99, ..pair() };
        assert_eq!(master.clock_of(&report), None);
        assert!(matches!(
            master.handle_report(at(10), &report),
            Err(Refusal::StaleEpoch { theirs: 7, ours: 99 })
        ));
        assert_eq!(master.state(), RunState::Waiting);
    };
    refused(&|heard| heard.run = "another".into());
    refused(&|heard| heard.epoch = 8);
    refused(&|heard| heard.now = Tick::from_micros(u64::MAX));
    refused(&|heard| drop(heard.share.rows.pop()));
    refused(&|heard| heard.plan.ramps[0].to = u32::MAX);
    refused(&|heard| heard.plan.ramps[0].rate = 0.0);
    refused(&|heard| heard.share.rows[0].to = vec![1, 2]);
    refused(&|heard| heard.marks = vec![at(9), at(8)]);
    // A master that has begun its own run takes over no other.
    let mut begun = Master { epoch: 99, ..pair() };
    begun.handle_report(at(0), &of(0, 1)).unwrap();
    begun.handle_report(at(0), &of(1, 1)).unwrap();
    let report = telling(0, 9, &heard[0], at(9000));
    assert!(matches!(begun.handle_report(at(10), &report), Err(Refusal::StaleEpoch { .. })));
}

#[test]
fn an_edit_that_was_heard_of_is_known_to_be_missing_until_it_is_put_again() {
    let mut heard = heard();
    for heard in &mut heard {
        heard.generation = 3;
    }
    let mut master = Master { epoch: 99, ..pair() };
    for process in [0, 1] {
        let told = telling(process, 9, &heard[process as usize], at(9000));
        assert_eq!(master.handle_report(at(9000), &told).unwrap().generation, 3);
    }
    assert_eq!(master.status(at(9000)).generation, 0, "so that it is put again");
    assert!(master.notes_of(at(9000))[1].contains("generation 3"));
    let load = Load::Constant(Constant { users: 30, spawn_rate: 100.0, duration: None });
    let live = |generation: u64| LiveSpec { load: load.clone(), ..LiveSpec::of(&pair().spec, generation) };
    assert_eq!(master.handle_spec(at(9100), &live(2)), Ok(0));
    assert_eq!(master.handle_spec(at(9100), &live(3)), Ok(3));
    assert_eq!((master.notes_of(at(9100)).len(), master.target(at(12_000))), (1, 30));
}

#[test]
fn a_stop_that_was_decided_holds_and_the_end_waits_for_everybody() {
    let heard = heard();
    let mut master = Master { epoch: 99, ..pair() };
    let drained = |process: u32| Report {
        full: true,
        state: ProcessState::Drained,
        ..with(telling(process, 9, &heard[process as usize], at(22_000)), Tick::ZERO, &[5])
    };
    master.handle_report(at(22_000), &drained(0)).unwrap();
    assert_eq!(master.state(), RunState::Draining);
    master.handle_report(at(22_100), &drained(1)).unwrap();
    let report = finish(&mut master);
    assert_eq!((report.verdict.result, report.total.sent, report.gaps.len()), (Outcome::Passed, 2, 0));
    assert_eq!(master.stop.map(|stop| stop.reason), Some(StopReason::Completed));
}
