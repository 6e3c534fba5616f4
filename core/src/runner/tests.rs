//! Claims about runner processes, message by message. Whole runs are played in `tests/simulation`.

use proptest::prelude::*;

use super::*;
use crate::data::DataSpec;
use crate::message::{Meeting, RowsAnswer, SetAnswer, StartComplete, StopReason, Waiting};
use crate::plan::{Plan, Ramp};
use crate::share::{Share, ShareRow};
use crate::stats::{Outcome, Sample};

/// The process' clock is this far ahead of the master's.
const AHEAD: u64 = 40_000_000;

/// The process' own time at the master's.
const fn at(milliseconds: u64) -> Tick {
    Tick::from_micros(AHEAD + milliseconds * 1000)
}

const fn master(milliseconds: u64) -> Tick {
    Tick::from_micros(milliseconds * 1000)
}

fn runner() -> Runner {
    let id = ProcessId { runner: "runner-0".into(), process: 0, incarnation: 1 };
    Runner::new(id, vec!["TestShop".into()], Duration::from_secs(15), at(0))
}

/// Ten users at five a second from 2 s on.
fn assignment(now: u64, acknowledged: u64) -> Assignment {
    let ramp = Ramp { version: 1, at: master(2000), since: master(2000), from: 0, to: 10, rate: 5.0 };
    Assignment {
        version: VERSION,
        epoch: 7,
        now: master(now),
        acknowledged,
        state: RunState::Running,
        start: Some(master(2000)),
        plan: Plan { version: 1, ramps: vec![ramp], arrivals: None },
        share: Share {
            rows: vec![ShareRow { position: 0, of: 1, held: false, from: vec![0], to: vec![10] }],
        },
        marks: vec![master(4000)],
        ..Assignment::default()
    }
}

fn answer(runner: &mut Runner, now: u64, acknowledged: u64) {
    runner.handle_assignment(at(now), at(now), assignment(now, acknowledged));
}

fn actions(runner: &mut Runner) -> Vec<Action> {
    std::iter::from_fn(|| runner.poll_action()).collect()
}

fn measured(calls: u32) -> Measurement {
    let mut statistics = Statistics::default();
    for _ in 0..calls {
        statistics.record(&Sample {
            name: "/",
            method: "GET",
            latency: Duration::from_millis(3),
            phases: &[],
            status: Some(200),
            bytes_received: 0,
            outcome: Outcome::Success,
            sent: 1,
            retried: 0,
            truncated: false,
            late: None,
        });
    }
    Measurement { statistics, ..Measurement::default() }
}

/// Joined, and with all its users.
fn running() -> Runner {
    let mut runner = runner();
    runner.poll_report(at(0)).unwrap();
    answer(&mut runner, 100, 1);
    runner.handle_timeout(at(9000));
    actions(&mut runner);
    runner.handle_users(0, 10, 0);
    runner
}

#[test]
fn a_ramp_is_followed_without_a_message_per_step() {
    let mut runner = runner();
    let report = runner.poll_report(at(0)).unwrap();
    assert_eq!((report.sequence, report.epoch, report.state), (1, None, ProcessState::Waiting));
    answer(&mut runner, 100, 1);
    assert_eq!(runner.starts_at(), Some(at(2000)));
    assert_eq!(actions(&mut runner), [Action::TestStart]);
    runner.poll_report(at(350)).unwrap();
    answer(&mut runner, 351, 2);
    let mut started = 0_u32;
    let mut now = at(351);
    while started < 10 {
        now = runner.poll_timeout(now).unwrap().max(now + Duration::from_micros(1));
        if runner.poll_report(now).is_some() {
            let milliseconds = (now.as_micros() - AHEAD) / 1000;
            answer(&mut runner, milliseconds, u64::MAX);
        }
        runner.handle_timeout(now);
        for action in actions(&mut runner) {
            assert_eq!(action, Action::Start { class: 0, users: 1 });
            started += 1;
            let due = at(2000 + 200 * u64::from(started));
            assert!(
                due.before(Duration::from_millis(2)) <= now && now <= due + Duration::from_millis(2),
                "{started}"
            );
        }
    }
}

#[test]
fn an_unanswered_report_goes_out_again_unchanged() {
    let mut runner = runner();
    runner.handle_measurement(at(0), measured(1));
    let first = runner.poll_report(at(0)).unwrap();
    assert_eq!(runner.poll_report(at(1999)), None);
    runner.handle_measurement(at(2000), measured(2));
    assert_eq!(runner.poll_report(at(2000)), Some(first));
    runner.handle_no_answer(at(2100));
    runner.poll_report(at(2400)).unwrap();
    answer(&mut runner, 2500, 1);
    let next = runner.poll_report(at(4000)).unwrap();
    assert_eq!((next.sequence, next.windows[0].statistics.sent_total()), (2, 2));
}

#[test]
fn what_is_measured_before_a_mark_is_kept_apart_from_what_is_after() {
    let mut runner = runner();
    runner.poll_report(at(0)).unwrap();
    answer(&mut runner, 100, 1);
    assert!(!runner.measurement_due(at(200)));
    runner.poll_report(at(3900)).unwrap();
    answer(&mut runner, 3901, 2);
    assert!(!runner.measurement_due(at(3999)));
    assert_eq!(runner.poll_timeout(at(3990)).map(|due| due <= at(4000)), Some(true));
    assert!(runner.measurement_due(at(4000)));
    runner.handle_measurement(at(4000), measured(1));
    assert!(!runner.measurement_due(at(4001)));
    runner.handle_measurement(at(4900), measured(2));
    let report = runner.poll_report(at(4900)).unwrap();
    let windows: Vec<_> =
        report.windows.iter().map(|window| (window.since, window.statistics.sent_total())).collect();
    assert_eq!(windows, [(Tick::ZERO, 1), (master(4000), 2)]);
}

#[test]
fn a_full_report_holds_everything_since_the_beginning() {
    let mut runner = runner();
    runner.handle_measurement(at(0), measured(1));
    runner.poll_report(at(0)).unwrap();
    answer(&mut runner, 10, 1);
    runner.handle_measurement(at(1000), measured(2));
    runner.poll_report(at(1000)).unwrap();
    let asked = Assignment { send_full: true, ..assignment(1010, 0) };
    runner.handle_assignment(at(1010), at(1010), asked);
    runner.handle_measurement(at(1011), measured(4));
    let full = runner.poll_report(at(1011)).unwrap();
    assert!(full.full && full.sequence == 3, "{full:?}");
    assert_eq!(full.windows[0].statistics.sent_total(), 7);
}

#[test]
fn silence_of_the_master_stops_the_load_and_its_voice_starts_it_again() {
    let mut runner = running();
    assert_eq!(runner.poll_timeout(at(14_999)).map(|due| due <= at(15_000)), Some(true));
    runner.handle_timeout(at(14_999));
    assert_eq!(actions(&mut runner), []);
    runner.handle_timeout(at(15_000));
    assert_eq!(actions(&mut runner), [Action::StopNow]);
    assert_eq!(runner.state(), ProcessState::Stopped);
    runner.handle_users(0, 0, 0);
    runner.handle_assignment(at(2), at(20_000), assignment(3, 0));
    assert_eq!(actions(&mut runner), [], "an answer to an old report is no word of now");
    let report = runner.poll_report(at(21_000)).unwrap();
    answer(&mut runner, 21_000, report.sequence);
    assert_eq!(actions(&mut runner), [Action::Start { class: 0, users: 10 }]);
}

#[test]
fn an_answer_counts_from_when_its_report_went_out_first() {
    let mut runner = running();
    let report = runner.poll_report(at(9000)).unwrap();
    for again in [14_100, 19_200] {
        runner.handle_no_answer(at(again - 100));
        runner.handle_timeout(at(again));
        assert_eq!(runner.poll_report(at(again + 200)).map(|again| again.sequence), Some(report.sequence));
    }
    actions(&mut runner);
    assert_eq!(runner.state(), ProcessState::Stopped);
    runner.handle_assignment(at(19_400), at(24_000), assignment(19_500, report.sequence));
    assert_eq!(actions(&mut runner), [], "its part may be somebody else's");
    let next = runner.poll_report(at(24_300)).unwrap();
    answer(&mut runner, 24_400, next.sequence);
    assert_eq!(runner.state(), ProcessState::Running);
}

#[test]
fn a_late_answer_to_an_earlier_report_gives_no_more_time() {
    let mut runner = running();
    let report = runner.poll_report(at(9000)).unwrap();
    runner.handle_no_answer(at(12_000));
    assert!(runner.poll_report(at(13_000)).is_some());
    runner.handle_assignment(at(13_000), at(14_000), assignment(13_100, report.sequence));
    assert_eq!(runner.lease(at(14_000)), Some(Duration::from_secs(10)));
    let next = runner.poll_report(at(15_000)).unwrap();
    // To a third sending of the report before.
    runner.handle_assignment(at(14_500), at(23_000), assignment(14_600, report.sequence));
    assert_eq!(runner.lease(at(23_000)), Some(Duration::from_secs(1)));
    runner.handle_assignment(at(15_000), at(23_500), assignment(15_100, next.sequence));
    assert_eq!(runner.lease(at(23_500)), Some(Duration::from_millis(6_500)));
}

#[test]
fn nothing_that_is_on_its_way_for_the_master_before_is_sent_to_another() {
    let mut runner = runner();
    let waiting = |epoch| Assignment { version: VERSION, epoch, acknowledged: 1, ..Assignment::default() };
    runner.poll_report(at(0)).unwrap();
    runner.handle_assignment(at(0), at(10), waiting(8));
    let second = runner.poll_report(at(300)).unwrap();
    assert_eq!((second.sequence, second.epoch), (2, Some(8)));
    // To a copy of the first one, which told of no epoch.
    runner.handle_assignment(at(0), at(400), waiting(7));
    let third = runner.poll_report(at(600)).unwrap();
    assert_eq!((third.sequence, third.epoch, third.full), (3, Some(7), true));
}

#[test]
fn an_older_answer_changes_nothing() {
    let mut runner = running();
    let older = Assignment { share: Share::default(), ..assignment(50, 0) };
    runner.handle_assignment(at(9000), at(9001), older);
    runner.handle_timeout(at(9001));
    assert_eq!(actions(&mut runner), []);
}

#[test]
fn a_stop_drains_reports_the_rest_and_ends_only_when_told() {
    let mut runner = running();
    let stop = Stop { at: master(9500), deadline: master(12_500), reason: StopReason::Completed };
    let stopping = Assignment { stop: Some(stop), ..assignment(9000, 1) };
    runner.handle_assignment(at(9000), at(9000), stopping.clone());
    runner.handle_timeout(at(9500));
    assert_eq!(actions(&mut runner), [Action::Drain { deadline: Duration::from_secs(3) }]);
    let draining = runner.poll_report(at(9750)).unwrap();
    assert_eq!(draining.state, ProcessState::Draining);
    runner.handle_assignment(
        at(9751),
        at(9751),
        Assignment { now: master(9751), acknowledged: 2, ..stopping.clone() },
    );
    runner.handle_users(0, 0, 0);
    runner.handle_timeout(at(9800));
    assert!(runner.measurement_due(at(9800)), "what the last user did");
    runner.handle_measurement(at(9800), measured(3));
    let drained = runner.poll_report(at(9800)).unwrap();
    assert_eq!((drained.state, drained.windows[0].statistics.sent_total()), (ProcessState::Drained, 3));
    assert_eq!(actions(&mut runner), []);
    let ended = Assignment { state: RunState::Ended, now: master(9900), acknowledged: 3, ..stopping };
    runner.handle_assignment(at(9801), at(9900), ended);
    assert_eq!(actions(&mut runner), [Action::End { exit_code: 0 }]);
    assert_eq!((runner.poll_timeout(at(9901)), runner.poll_report(at(99_999))), (None, None));
}

#[test]
fn a_refused_process_stops_at_once_and_ends() {
    let mut runner = running();
    runner.handle_refusal(at(9000), &Refusal::StaleEpoch { theirs: 7, ours: 8 });
    assert_eq!(actions(&mut runner), [Action::StopNow, Action::End { exit_code: EXIT_REFUSED }]);
}

#[test]
fn the_start_is_complete_at_the_agreed_instant_and_once() {
    let mut runner = running();
    let complete = StartComplete { at: master(9500), users: 40 };
    let agreed = Assignment { start_complete: Some(complete), ..assignment(9000, 1) };
    runner.handle_assignment(at(9000), at(9000), agreed);
    runner.handle_timeout(at(9499));
    assert_eq!(actions(&mut runner), []);
    runner.handle_timeout(at(9500));
    runner.handle_timeout(at(9600));
    assert_eq!(actions(&mut runner), [Action::StartComplete { users: 40 }]);
}

#[test]
fn a_process_that_gives_up_hands_over_what_it_measured_and_leaves_without_its_users() {
    let mut runner = running();
    runner.give_up(at(3000));
    assert!(runner.measurement_due(at(3000)));
    runner.handle_measurement(at(3000), measured(2));
    runner.handle_timeout(at(3000));
    assert_eq!(actions(&mut runner), [], "nobody is there to be told");
    let report = runner.poll_report(at(3000)).unwrap();
    assert_eq!((report.state, report.users[0].live), (ProcessState::Left, 0));
    assert_eq!(report.windows.iter().map(|window| window.statistics.total().requests).sum::<u64>(), 2);
    answer(&mut runner, 3010, report.sequence);
    assert_eq!(actions(&mut runner), [Action::End { exit_code: EXIT_HANDED_OVER }]);
}

#[test]
fn users_that_wait_are_reported_soon_and_go_on_at_the_agreed_instant() {
    let mut runner = running();
    assert_eq!(runner.poll_report(at(9000)).map(|report| report.rendezvous), Some(vec![]));
    answer(&mut runner, 9010, 2);
    runner.handle_waiting(at(9100), "sale", 4, None);
    runner.handle_waiting(at(9120), "sale", 9, None);
    assert_eq!(
        (runner.poll_report(at(9249)), runner.poll_timeout(at(9120))),
        (None, Some(at(9250))),
        "four a second"
    );
    let waiting = |waiting, round| Waiting { name: "sale".into(), round, waiting, users: None };
    assert_eq!(runner.poll_report(at(9250)).unwrap().rendezvous, [waiting(9, 0)]);
    answer(&mut runner, 9260, 3);
    runner.handle_waiting(at(9700), "sale", 10, None);
    assert_eq!(runner.poll_report(at(9700)).unwrap().rendezvous, [waiting(10, 0)], "at once after a while");
    let over = Meeting { name: "sale".into(), rounds: 1, at: Some(master(11_210)), waiting: 0, needed: 0 };
    let said = Assignment { rendezvous: vec![over], ..assignment(9710, 4) };
    runner.handle_assignment(at(9700), at(9710), said.clone());
    assert_eq!(
        (actions(&mut runner), runner.poll_timeout(at(9720)).map(|due| due <= at(11_210))),
        (vec![], Some(true))
    );
    runner.handle_timeout(at(11_210));
    assert_eq!(actions(&mut runner), [Action::Release { name: "sale".into(), late: Duration::ZERO }]);
    runner.handle_timeout(at(11_300));
    assert_eq!(actions(&mut runner), []);
    runner.handle_waiting(at(11_400), "sale", 2, None);
    let again = Assignment { now: master(11_500), acknowledged: 99, ..said };
    runner.handle_assignment(at(11_450), at(11_500), again);
    assert_eq!(actions(&mut runner), [], "a doubled answer lets nobody go twice");
    assert_eq!(runner.poll_report(at(12_000)).unwrap().rendezvous, [waiting(2, 1)]);
}

#[derive(Clone, Debug)]
enum Input {
    Answer(u64, Box<Assignment>),
    Users(usize, u32, u32),
    Waiting(u32),
    NoAnswer,
    HandOver,
    GiveUp,
    Refused,
}

prop_compose! {
    fn any_assignment()(
        version in prop_oneof![9 => Just(VERSION), 1 => any::<u32>()], epoch in 7..9_u64, now: u64, acknowledged: u64,
        send_full: bool, state in 0..4_usize, start: Option<u64>,
        ramps in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>(), any::<f64>()), 0..4),
        rows in prop::collection::vec((any::<u32>(), any::<u32>(), prop::collection::vec(any::<u32>(), 0..4)), 0..4),
        marks in prop::collection::vec(any::<u64>(), 0..4), stop: Option<(u64, u64)>, complete: Option<(u64, u32)>,
        users: u32, round: Option<(u64, Option<u64>)>,
    ) -> Assignment {
        let tick = Tick::from_micros;
        Assignment {
            version, epoch, run: "a".into(), now: tick(now), acknowledged, send_full, users, generation: now,
            most_users: users,
            rendezvous: round.into_iter().map(|(rounds, at)| Meeting {
                name: "sale".into(), rounds, at: at.map(tick), waiting: users, needed: users,
            }).collect(),
            state: [RunState::Waiting, RunState::Running, RunState::Draining, RunState::Ended][state.min(3)],
            start: start.map(tick),
            plan: Plan { version: epoch, ramps: ramps.into_iter().map(|(at, since, from, to, rate)| Ramp {
                version: at, at: tick(at), since: tick(since), from, to, rate,
            }).collect(), arrivals: None },
            share: Share { rows: rows.into_iter().map(|(position, of, to)| ShareRow {
                position, of, held: false, from: to.iter().rev().copied().collect(), to,
            }).collect() },
            rows: None,
            marks: marks.into_iter().map(tick).collect(),
            start_complete: complete.map(|(at, users)| StartComplete { at: tick(at), users }),
            stop: stop.map(|(at, deadline)| Stop { at: tick(at), deadline: tick(deadline), reason: StopReason::Stopped }),
        }
    }
}

fn any_input() -> impl Strategy<Value = (u64, Input)> {
    let pause = prop_oneof![9 => 0..5_000_000_u64, 1 => any::<u64>()];
    let input = prop_oneof![
        9 => (any::<u64>(), any_assignment()).prop_map(|(sent, it)| Input::Answer(sent, Box::new(it))),
        4 => (0..3_usize, any::<u32>(), any::<u32>()).prop_map(|(class, live, dead)| Input::Users(class, live, dead)),
        2 => any::<u32>().prop_map(Input::Waiting),
        2 => Just(Input::NoAnswer),
        1 => Just(Input::HandOver),
        1 => Just(Input::GiveUp),
        1 => Just(Input::Refused),
    ];
    (pause, input)
}

proptest! {
    #[test]
    fn no_input_whatever_breaks_a_runner(inputs in prop::collection::vec(any_input(), 0..30)) {
        let mut runner = runner();
        let mut now = at(0);
        for (pause, input) in inputs {
            now = now + Duration::from_micros(pause);
            match input {
                Input::Answer(sent, assignment) => {
                    runner.handle_assignment(Tick::from_micros(sent).min(now), now, *assignment);
                }
                Input::Users(class, live, dead) => runner.handle_users(class, live, dead),
                Input::Waiting(waiting) => runner.handle_waiting(now, "sale", waiting, Some(waiting)),
                Input::NoAnswer => runner.handle_no_answer(now),
                Input::HandOver => runner.hand_over(now),
                Input::GiveUp => runner.give_up(now),
                Input::Refused => runner.handle_refusal(now, &Refusal::NoPlace(String::new())),
            }
            if runner.measurement_due(now) {
                runner.handle_measurement(now, measured(1));
            }
            runner.handle_timeout(now);
            let actions = actions(&mut runner);
            let report = runner.poll_report(now);
            prop_assert!(report.is_none() || runner.poll_timeout(now).is_some());
            let starts = actions.iter().any(|action| matches!(action, Action::Start { .. }));
            prop_assert!(!starts || runner.state() == ProcessState::Running);
        }
    }
}

/// With all its users, in a run with a hundred accounts.
fn with_rows() -> Runner {
    let spec = DataSpec { name: "accounts".into(), rows: 100, ..DataSpec::default() };
    running().with_data(&[spec])
}

fn offering(now: u64, acknowledged: u64, turn: u64, rows: &[u32]) -> Assignment {
    let set = SetAnswer { offer: rows.iter().copied().collect(), ..SetAnswer::default() };
    let rows = Some(Box::new(RowsAnswer { turn, sets: vec![set] }));
    Assignment { rows, ..assignment(now, acknowledged) }
}

#[test]
fn a_report_that_is_sent_again_says_which_rows_are_held_by_then() {
    let mut runner = with_rows();
    let first = runner.poll_report(at(9000)).unwrap();
    runner.handle_assignment(at(9000), at(9010), offering(9010, 1, 1, &[7, 8]));
    assert_eq!(actions(&mut runner), [Action::Rows { set: 0, rows: [7, 8].into_iter().collect() }]);
    let again = runner.poll_report(at(11_000)).unwrap();
    let rows = again.rows.unwrap();
    assert_eq!((again.sequence, rows.turn, rows.heard), (first.sequence, 2, 1));
    assert_eq!(rows.sets[0].held.len(), 2);
}

#[test]
fn rows_are_given_back_at_the_dead_man_time_and_none_is_taken_after_it() {
    let mut runner = with_rows();
    runner.poll_report(at(9000)).unwrap();
    runner.handle_assignment(at(9000), at(9010), offering(9010, 2, 1, &[7]));
    runner.poll_report(at(10_100)).unwrap();
    actions(&mut runner);
    runner.handle_timeout(at(24_000));
    assert_eq!(actions(&mut runner), [Action::StopNow, Action::Recall { set: 0 }]);
    runner.handle_assignment(at(10_100), at(26_000), offering(10_110, 3, 2, &[8]));
    assert_eq!(actions(&mut runner), []);
    let rows = runner.poll_report(at(26_100)).unwrap().rows.unwrap();
    assert_eq!((rows.turn, rows.heard, rows.sets[0].reserve), (3, 1, 0));
    assert_eq!(rows.sets[0].held, [7].into_iter().collect(), "until whoever has it has ended");
}

#[test]
fn a_user_that_waits_for_a_row_hastens_the_next_report() {
    let mut runner = with_rows();
    runner.poll_report(at(9000)).unwrap();
    runner.handle_assignment(at(9000), at(9010), offering(9010, 2, 1, &[]));
    assert!(runner.poll_report(at(9500)).is_none());
    runner.handle_rows(0, RowsTold { waiting: 1, unused: 0, taken: 0 });
    assert_eq!(runner.poll_report(at(9500)).unwrap().rows.unwrap().sets[0].waiting, 1);
    runner.handle_assignment(at(9500), at(9510), offering(9510, 3, 2, &[]));
    assert!(runner.poll_report(at(9520)).is_none(), "the master knows");
}
