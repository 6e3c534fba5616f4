//! Claims about what is done once in a run.

use serde_json::json;

use super::*;
use crate::master::tests::{at, constant, events, finish, report, restarted};
use crate::message::{ProcessState, Report};
use crate::report::Outcome;

fn hooked(setup: bool, teardown: bool) -> Master {
    let mut master = constant(&json!([]));
    master.expect_hooks(Hooks { setup, teardown });
    master
}

/// What has happened, but for reports.
fn told(master: &mut Master) -> Vec<MasterEvent> {
    let mut told = events(master);
    told.retain(|event| !matches!(event, MasterEvent::WorkerReport(_)));
    told
}

/// One whose process has ended its users, at 21.6 s.
fn ended(mut master: Master) -> Master {
    let last = Report { full: true, state: ProcessState::Drained, ..report(0, 9) };
    master.handle_report(at(21_600), &last).unwrap();
    master
}

/// One that is on its way from 1 s on.
fn set_up() -> Master {
    let mut master = hooked(true, true);
    master.handle_report(at(100), &report(0, 1)).unwrap();
    master.handle_setup(at(1000), Ok(()));
    master
}

#[test]
fn the_start_is_agreed_when_the_setup_has_ended_and_no_sooner() {
    let mut master = hooked(true, false);
    assert_eq!(told(&mut master), [], "nobody is here");
    master.handle_report(at(100), &report(0, 1)).unwrap();
    master.handle_report(at(350), &report(0, 2)).unwrap();
    assert_eq!(told(&mut master), [MasterEvent::Setup], "once");
    assert_eq!((master.state(), master.start), (RunState::Waiting, None));
    master.handle_setup(at(5000), Ok(()));
    assert_eq!(told(&mut master), [MasterEvent::TestStart]);
    assert_eq!(master.start, Some(at(6500)));
    master.handle_setup(at(5100), Err("late words".into()));
    assert_eq!(master.state(), RunState::Running);
}

#[test]
fn a_setup_that_fails_or_hangs_is_why_the_run_did_not_start() {
    let mut master = hooked(true, true);
    master.handle_report(at(100), &report(0, 1)).unwrap();
    master.handle_setup(at(1000), Err("KeyError: 'id' (aiotestfile.py:7)".into()));
    master.handle_report(at(1200), &Report { state: ProcessState::Drained, ..report(0, 2) }).unwrap();
    let report = finish(&mut master);
    assert_eq!(report.verdict.result, Outcome::NotStarted);
    assert_eq!(report.verdict.reasons, ["the setup of the run failed: KeyError: 'id' (aiotestfile.py:7)"]);
    assert!(!told(&mut master).contains(&MasterEvent::Teardown), "there is nothing to tear down");

    let mut master = hooked(true, true);
    master.handle_report(at(100), &self::report(0, 1)).unwrap();
    assert_eq!(master.poll_timeout().map(|due| due <= at(16_100)), Some(true));
    for second in 1..600 {
        master.handle_report(at(second * 1000), &self::report(0, 1)).unwrap();
    }
    master.handle_timeout(at(600_000));
    let reasons = finish(&mut master).verdict.reasons;
    assert_eq!(reasons, ["the setup of the run did not end within the startup deadline of 600 s"]);
}

#[test]
fn the_run_ends_when_the_teardown_has_ended_and_what_went_wrong_with_it_is_said() {
    let mut master = ended(set_up());
    assert_eq!(master.state(), RunState::Running, "the load is on until 22.5 s");
    master.handle_timeout(at(22_500));
    assert_eq!(master.state(), RunState::Draining);
    assert_eq!(told(&mut master).last(), Some(&MasterEvent::Teardown));
    assert_eq!(master.poll_timeout().map(|due| due <= at(52_500)), Some(true));
    let mut failed = master.clone();
    master.handle_teardown(at(23_000), Ok(()));
    assert_eq!((master.state(), finish(&mut master).verdict.reasons), (RunState::Ended, vec![]));
    failed.handle_teardown(at(23_000), Err("OSError: gone".into()));
    let verdict = finish(&mut failed).verdict;
    assert_eq!(verdict.reasons, ["the teardown of the run failed: OSError: gone"]);
    assert_eq!(verdict.result, Outcome::Passed, "it says nothing of the target");
}

#[test]
fn a_teardown_that_hangs_is_given_up() {
    let mut master = ended(set_up());
    master.handle_timeout(at(22_500));
    // The process still asks, and hears of no end.
    for second in 23..52 {
        let drained = Report { state: ProcessState::Drained, ..report(0, 10) };
        assert_eq!(master.handle_report(at(second * 1000), &drained).unwrap().state, RunState::Draining);
    }
    master.handle_timeout(at(52_500));
    let reasons = finish(&mut master).verdict.reasons;
    assert_eq!(reasons, ["the teardown of the run failed: it did not end within 30 s"]);
}

#[test]
fn without_a_setup_only_a_load_is_torn_down_and_with_one_whatever_it_has_set_up() {
    let mut idle = hooked(false, true);
    idle.handle_stop(at(100), StopReason::Interrupted);
    finish(&mut idle);
    assert_eq!(told(&mut idle).len(), 1, "the end");
    let mut prepared = hooked(true, true);
    prepared.handle_report(at(100), &report(0, 1)).unwrap();
    prepared.handle_setup(at(200), Ok(()));
    prepared.handle_stop(at(300), StopReason::Interrupted);
    prepared.handle_report(at(400), &Report { state: ProcessState::Drained, ..report(0, 2) }).unwrap();
    assert_eq!(told(&mut prepared).last(), Some(&MasterEvent::Teardown));
}

#[test]
fn a_restarted_master_repeats_what_may_not_have_ended_and_nothing_else() {
    let mut master = hooked(true, true);
    let before = master.decisions();
    master.handle_report(at(100), &report(0, 1)).unwrap();
    assert_ne!(master.decisions(), before, "it is remembered before it begins");
    let mut again = restarted(&master, at(900));
    assert_eq!(told(&mut again), [MasterEvent::Setup]);
    again.handle_report(at(1000), &report(0, 1)).unwrap();
    assert_eq!(told(&mut again), [], "once");
    again.handle_setup(at(1100), Ok(()));
    assert_eq!(told(&mut again), [MasterEvent::TestStart]);

    let mut third = restarted(&again, at(2000));
    assert_eq!(told(&mut third), [MasterEvent::TestStart], "it has been set up");
    let mut third = ended(third);
    third.handle_timeout(at(22_600));
    assert_eq!(told(&mut third).last(), Some(&MasterEvent::Teardown));
    let mut fourth = restarted(&third, at(22_700));
    assert_eq!(told(&mut fourth), [], "not before the process has told all that it had measured");
    let last = Report { full: true, state: ProcessState::Drained, ..report(0, 12) };
    fourth.handle_report(at(22_900), &last).unwrap();
    assert_eq!(told(&mut fourth).last(), Some(&MasterEvent::Teardown));
    fourth.handle_teardown(at(23_000), Ok(()));
    let reasons = finish(&mut fourth).verdict.reasons;
    let repeated = |name| {
        format!(
            "the {name} of the run had begun and not ended when the master was killed, and was carried out again"
        )
    };
    assert_eq!(reasons, [repeated("setup"), repeated("teardown")]);
}

#[test]
fn a_run_that_is_taken_over_is_not_set_up_again() {
    let mut first = set_up();
    let heard = first.handle_report(at(5000), &report(0, 2)).unwrap();
    let mut next = hooked(true, true);
    next.epoch = 99;
    let telling = Report {
        epoch: Some(7),
        heard: Some(Box::new(crate::message::Assignment { now: at(9000), ..heard })),
        ..report(0, 3)
    };
    next.handle_report(at(9000), &telling).unwrap();
    assert_eq!(told(&mut next), [MasterEvent::TestStart]);
}
