//! Claims about rendezvous, message by message. Whole runs with them are played in `tests/simulation`.

use serde_json::json;

use super::*;
use crate::master::tests::{at, of, restarted, spec};
use crate::message::{Assignment, ClassUsers, Departure, Report};
use crate::run::ClassSpec;

/// Two processes with five of ten users each, whose load is on from 1.5 s to 21.5 s.
fn pair() -> Master {
    let mut master = fresh();
    for process in [0, 1] {
        master.handle_report(at(0), &of(process, 1)).unwrap();
    }
    master
}

/// The same before anybody has come.
fn fresh() -> Master {
    let load = json!({"constant": {"users": 10, "spawn_rate": 1e6, "duration": 20_000_000}});
    let mut spec = spec(&load, &json!([]));
    spec.runners = 2;
    Master::new(spec, vec![ClassSpec { name: "TestShop".into(), weight: 1 }], 7).unwrap()
}

/// So many of a process' five users wait, for a round.
fn waiting(process: u32, sequence: u64, waiting: u32, round: u64) -> Report {
    let rendezvous = vec![Waiting { name: "sale".into(), round, waiting, users: None }];
    let users = vec![ClassUsers { live: 5, dead: 0 }];
    Report { users, rendezvous, ..of(process, sequence) }
}

fn sale(said: &Assignment) -> (u64, Option<Tick>, u32, u32) {
    let [Meeting { rounds, at, waiting, needed, .. }] = said.rendezvous[..] else { panic!("{said:?}") };
    (rounds, at, waiting, needed)
}

#[test]
fn nobody_goes_on_before_the_last_one_has_come_and_then_all_do_at_one_instant() {
    let mut master = pair();
    let said = master.handle_report(at(3000), &waiting(0, 2, 5, 0)).unwrap();
    assert_eq!(sale(&said), (0, None, 5, 10), "the others are still to come");
    let said = master.handle_report(at(3100), &waiting(1, 2, 4, 0)).unwrap();
    assert_eq!(sale(&said), (0, None, 9, 10));
    let last = master.handle_report(at(3200), &waiting(1, 3, 5, 0)).unwrap();
    assert_eq!(sale(&last), (1, Some(at(4700)), 0, 0));
    let other = master.handle_report(at(3900), &waiting(0, 3, 5, 0)).unwrap();
    assert_eq!(sale(&other).1, Some(at(4700)), "who waits for a round that is over counts for no other");
}

#[test]
fn doubled_late_and_lost_reports_change_nothing() {
    let mut master = pair();
    master.handle_report(at(3000), &waiting(0, 2, 5, 0)).unwrap();
    // Two have left, and then an older report comes again.
    master.handle_report(at(3100), &waiting(0, 3, 3, 0)).unwrap();
    master.handle_report(at(3200), &waiting(0, 2, 5, 0)).unwrap();
    let said = master.handle_report(at(3300), &waiting(1, 2, 5, 0)).unwrap();
    assert_eq!(sale(&said), (0, None, 8, 10));
    // Another round is waited for once its own users say so.
    master.handle_report(at(3400), &waiting(0, 4, 5, 0)).unwrap();
    master.handle_report(at(5000), &waiting(0, 5, 5, 1)).unwrap();
    let said = master.handle_report(at(5100), &waiting(1, 3, 5, 0)).unwrap();
    assert_eq!(sale(&said), (1, Some(at(4900)), 5, 10), "it has not heard yet");
    let said = master.handle_report(at(5200), &waiting(1, 4, 5, 1)).unwrap();
    assert_eq!(sale(&said), (2, Some(at(6700)), 0, 0));
}

#[test]
fn who_was_silent_for_too_long_has_nobody_waiting_any_more() {
    let mut master = pair();
    master.handle_report(at(2000), &of(0, 2)).unwrap();
    master.handle_report(at(17_000), &waiting(1, 2, 5, 0)).unwrap();
    master.handle_timeout(at(18_000));
    // Was on its way all the time in which its process stopped its users.
    let said = master.handle_report(at(18_100), &waiting(0, 3, 5, 0)).unwrap();
    assert_eq!(sale(&said), (0, None, 5, 10));
}

#[test]
fn as_many_as_are_asked_for_are_enough() {
    let mut master = pair();
    let mut few = waiting(0, 2, 3, 0);
    few.rendezvous[0].users = Some(4);
    assert_eq!(sale(&master.handle_report(at(3000), &few).unwrap()), (0, None, 3, 4));
    let mut others = waiting(1, 2, 2, 0);
    others.rendezvous[0].users = Some(4);
    assert_eq!(sale(&master.handle_report(at(3100), &others).unwrap()), (1, Some(at(4600)), 0, 0));
}

#[test]
fn on_the_way_up_those_are_waited_for_who_are_still_to_come() {
    let load = json!({"constant": {"users": 10, "spawn_rate": 1, "duration": 60_000_000}});
    let classes = vec![ClassSpec { name: "TestShop".into(), weight: 1 }];
    let mut master = Master::new(spec(&load, &json!([])), classes, 7).unwrap();
    master.handle_report(at(0), &of(0, 1)).unwrap();
    let said = master.handle_report(at(6500), &waiting(0, 2, 5, 0)).unwrap();
    assert_eq!((master.target(at(6500)), sale(&said)), (5, (0, None, 5, 10)));
}

#[test]
fn the_dead_are_not_waited_for_and_those_of_a_lost_process_come_elsewhere() {
    let mut master = pair();
    let mut fewer = waiting(0, 2, 3, 0);
    fewer.users = vec![ClassUsers { live: 3, dead: 2 }];
    assert_eq!(sale(&master.handle_report(at(3000), &fewer).unwrap()), (0, None, 3, 8));
    master.handle_report(at(3100), &waiting(1, 2, 4, 0)).unwrap();
    let gone = Departure { process: of(1, 1).from, ..Departure::default() };
    master.handle_departure(at(3200), &gone);
    fewer.sequence = 3;
    assert_eq!(
        sale(&master.handle_report(at(3300), &fewer).unwrap()),
        (0, None, 3, 8),
        "they have to be started again"
    );
    let mut all = waiting(0, 4, 8, 0);
    all.users = vec![ClassUsers { live: 8, dead: 2 }];
    assert_eq!(sale(&master.handle_report(at(6000), &all).unwrap()), (1, Some(at(7500)), 0, 0));
}

#[test]
fn a_restarted_master_lets_nobody_go_twice_and_keeps_the_instant() {
    let mut master = pair();
    master.handle_report(at(3000), &waiting(0, 2, 5, 0)).unwrap();
    let before = master.decisions();
    let said = master.handle_report(at(3100), &waiting(1, 2, 5, 0)).unwrap();
    assert_ne!(master.decisions(), before, "it is remembered before anybody hears of it");
    let mut again = restarted(&master, at(3300));
    for process in [0, 1] {
        let heard = again.handle_report(at(3400), &waiting(process, 3, 5, 0)).unwrap();
        assert_eq!(sale(&heard), sale(&said));
    }
    // One that has not heard from everybody lets nobody go on.
    let said = again.handle_report(at(5000), &waiting(0, 4, 5, 1)).unwrap();
    assert_eq!(sale(&said), (1, Some(at(4600)), 5, 10));
}

#[test]
fn a_master_that_remembers_nothing_goes_on_with_what_was_heard_last() {
    let mut master = pair();
    master.handle_report(at(3000), &waiting(0, 2, 5, 0)).unwrap();
    let told = master.handle_report(at(3100), &waiting(1, 2, 5, 0)).unwrap();
    let mut next = Master { epoch: 99, ..fresh() };
    let telling = |process: u32, heard: &Assignment| Report {
        epoch: Some(7),
        heard: Some(Box::new(Assignment { now: at(9000), ..heard.clone() })),
        ..waiting(process, 9, 5, 1)
    };
    let heard = next.handle_report(at(9000), &telling(1, &told)).unwrap();
    assert_eq!(sale(&heard), (1, Some(at(4600)), 5, 10), "nobody goes on before all have been heard");
    let mut absurd = told.clone();
    absurd.rendezvous[0].at = Some(at(90_000));
    let mut next = Master { epoch: 99, ..fresh() };
    assert!(next.handle_report(at(9000), &telling(1, &absurd)).is_err());
}

#[test]
fn a_paused_load_lets_nobody_go_on() {
    let mut master = pair();
    let mut live = crate::message::LiveSpec::of(&master.spec, 1);
    live.desired = crate::run::Desired::Paused;
    master.handle_spec(at(3000), &live).unwrap();
    for process in [0, 1] {
        let said = master.handle_report(at(3100), &waiting(process, 2, 5, 0)).unwrap();
        assert_eq!(sale(&said).0, 0);
    }
}

#[test]
fn who_waited_in_vain_is_named_in_the_report() {
    let mut master = pair();
    for process in [0, 1] {
        master.handle_report(at(8000), &waiting(process, 2, 1, 0)).unwrap();
    }
    master.handle_report(at(19_000), &waiting(0, 3, 5, 0)).unwrap();
    master.handle_report(at(20_000), &waiting(1, 3, 3, 0)).unwrap();
    master.handle_timeout(at(21_500));
    let note = "rendezvous `sale`, round 1: 8 of 10 users had come when the load stopped";
    let again = restarted(&master, at(21_600));
    assert_eq!(
        (master.notes_of(at(21_600)), again.notes_of(at(21_600))),
        (vec![note.into()], vec![note.into()])
    );
}

#[test]
fn what_no_process_can_mean_is_left_out() {
    let mut master = pair();
    let mut absurd = waiting(0, 2, 5, 0);
    let named = |name: &str| Waiting { name: name.into(), waiting: 5, ..Waiting::default() };
    absurd.rendezvous = vec![named(""), named(&"x".repeat(101)), named("sale"), named("sale")];
    absurd.rendezvous[2].waiting = u32::MAX;
    absurd.rendezvous[3].waiting = u32::MAX;
    let said = master.handle_report(at(3000), &absurd).unwrap();
    assert_eq!(sale(&said), (0, None, 5, 10), "more than it has users");
    let many = |from: usize| (0..100).map(|number| named(&format!("{}", from + number))).collect::<Vec<_>>();
    let users = vec![ClassUsers { live: 5, dead: 0 }];
    let first = Report { users: users.clone(), rendezvous: many(0), ..of(0, 3) };
    master.handle_report(at(3100), &first).unwrap();
    let second = Report { users, rendezvous: many(50), ..of(1, 2) };
    let said = master.handle_report(at(3200), &second).unwrap();
    assert_eq!(said.rendezvous.len(), MAX_RENDEZVOUS);
    assert!(said.rendezvous.iter().all(|meeting| meeting.name != "149"), "the names are used up");
}
