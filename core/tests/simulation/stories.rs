//! One fault each, told from its beginning to its end.

use std::time::Duration;

use aiotest_core::master::MasterEvent;
use aiotest_core::message::{LiveSpec, ProcessId, RunState, Status, StopReason};
use aiotest_core::report::{Outcome, Report};
use aiotest_core::run::{ClassSpec, Constant, Desired, Load, Stage};
use aiotest_core::wall::WallClock;

use crate::process::Process;
use crate::scenario::{Faults, Scenario, spec};
use crate::world::World;

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn world(load: Load, runners: u32) -> World {
    let classes = vec![ClassSpec { name: "TestShop".into(), weight: 1 }];
    let (faults, shape) = (Faults::default(), Vec::new());
    let spec = spec(load, runners, 1);
    World::new(1, Scenario { spec, classes, faults, sabotage: None, meets: false, shape })
}

/// Users of a load in stages at so many seconds, by hand.
fn staged(stages: &[Stage], second: f64) -> f64 {
    let (mut begin, mut from) = (0.0, 0.0);
    for stage in stages {
        let (length, to) = (stage.duration.as_secs_f64(), f64::from(stage.users));
        if second < begin + length {
            return from + (to - from) * (second - begin) / length;
        }
        (begin, from) = (begin + length, to);
    }
    from
}

fn in_stages(stages: &[(u64, u32)]) -> Vec<Stage> {
    stages.iter().map(|(duration, users)| Stage { duration: seconds(*duration), users: *users }).collect()
}

#[test]
fn a_load_in_stages_is_on_its_line_at_every_second_over_eight_runners() {
    let stages = in_stages(&[(20, 1000), (10, 1000), (0, 300), (10, 700), (7, 0)]);
    let mut world = world(Load::Stages(stages.clone()), 8);
    world.play_from_start(Duration::ZERO);
    let start = world.now.before(world.master.status(world.master_now()).elapsed.unwrap());
    for second in 1..46 {
        world.play(start + seconds(second) - world.now);
        let (users, planned) = (world.users(), staged(&stages, second as f64));
        let live = f64::from(users.iter().sum::<u32>());
        // Users take up to three seconds to end.
        let before = (0..4).map(|earlier| staged(&stages, (second as f64) - f64::from(earlier)));
        let most = before.fold(planned, f64::max);
        let off = |planned: f64| 1.0_f64.max(planned / 100.0);
        let label = format!("{users:?} users at {second} s, planned: {planned}");
        assert!(planned - off(planned) <= live && live <= most + off(most), "{label}");
        assert!(planned < most || users.iter().max().unwrap() - users.iter().min().unwrap() <= 1, "{label}");
    }
    let (_, report) = world.play_out();
    assert_eq!((report.run.duration_s.to_string(), report.users.target), ("47".to_owned(), 1000));
}

#[test]
fn stages_to_come_can_be_edited_and_the_line_that_users_are_on_goes_on_from_where_they_are() {
    let mut world = world(Load::Stages(in_stages(&[(20, 100), (20, 100), (20, 0)])), 2);
    world.play_from_start(seconds(10));
    let live = |world: &World, stages| LiveSpec {
        load: Load::Stages(in_stages(stages)),
        ..LiveSpec::of(&world.scenario.spec, world.generation + 1)
    };
    // What is to come only.
    let spec = live(&world, &[(20, 100), (5, 100), (5, 10), (10, 10)]);
    world.tell(&spec);
    world.play(seconds(14));
    assert_eq!(world.users().iter().sum::<u32>(), 100);
    world.play(seconds(10));
    assert_eq!(world.users().iter().sum::<u32>(), 10);
    // The one that users are on, whose end moves: from where they are.
    let spec = live(&world, &[(20, 100), (5, 100), (5, 10), (20, 90)]);
    world.tell(&spec);
    world.play(seconds(1));
    assert_eq!(world.users().iter().sum::<u32>(), 10);
    world.play(seconds(9));
    let users = world.users().iter().sum::<u32>();
    assert!((40..60).contains(&users), "{users}");
    let (_, report) = world.play_out();
    assert_eq!((report.run.duration_s.to_string(), report.users.target), ("50".to_owned(), 100));
}

impl World {
    fn want(&mut self, desired: Desired) {
        let live = LiveSpec { desired, ..LiveSpec::of(&self.scenario.spec, self.generation + 1) };
        self.tell(&live);
    }

    fn status(&self) -> Status {
        self.master.status(self.master_now())
    }
}

#[test]
fn a_paused_load_has_no_users_and_lasts_as_long_as_it_should_without_the_pause() {
    let mut world = quickstart();
    world.play_from_start(seconds(10));
    world.want(Desired::Paused);
    world.play(seconds(6));
    assert_eq!((world.users().iter().sum::<u32>(), world.status().paused), (0, true));
    assert_eq!((world.status().target, world.status().time_left), (0, None));
    let before = world.status().requests;
    assert_eq!(world.status().notes, [""; 0], "how long it was is said when it is known");
    world.play(seconds(60));
    assert_eq!(world.status().requests, before);
    world.want(Desired::Running);
    world.play(seconds(5));
    assert_eq!((world.users().iter().sum::<u32>(), world.status().paused), (100, false));
    let (_, report) = world.play_out();
    assert_eq!(report.run.duration_s.round().to_string(), "96", "thirty and the pause");
    let reason = "the load was paused for 66 s, in which nothing is measured";
    assert_eq!(report.verdict.reasons.last().map(String::as_str), Some(reason));
    assert!(report.gaps.is_empty(), "{:?}", report.gaps);
}

#[test]
fn a_load_that_is_paused_from_the_start_begins_with_the_first_stage() {
    let mut world = world(Load::Stages(in_stages(&[(10, 100), (10, 100)])), 2);
    world.want(Desired::Paused);
    world.play_from_start(seconds(30));
    assert_eq!((world.users(), world.status().paused), (vec![0, 0], true));
    world.want(Desired::Running);
    world.play(seconds(1) + seconds(5) + Duration::from_millis(500));
    assert!((49..=50).contains(&world.users().iter().sum::<u32>()), "{:?}", world.users());
    world.want(Desired::Paused);
    world.play(seconds(20));
    assert_eq!(world.users(), [0, 0]);
    world.want(Desired::Running);
    world.play(seconds(2));
    let users = world.users().iter().sum::<u32>();
    assert!((65..75).contains(&users), "back on the line, where it was left at 65: {users}");
    let (_, report) = world.play_out();
    assert_eq!(report.users.peak, 100);
    let took = report.run.duration_s;
    assert!(
        (71.0..73.0).contains(&took),
        "twenty, and pauses of thirty-one and a half and of twenty: {took}"
    );
}

#[test]
fn a_run_that_is_stopped_before_it_began_is_cancelled_and_sends_nothing() {
    let mut world = world(Load::Stages(in_stages(&[(10, 100)])), 2);
    world.scenario.spec.desired = Desired::Stopped;
    let mut world = World::new(1, world.scenario);
    let sent = |world: &World| world.processes.iter().map(|process| process.sent).sum::<u64>();
    world.play(seconds(60));
    assert_eq!((world.master.state(), sent(&world)), (RunState::Ended, 0));
    let report = world.master.report(WallClock::default()).unwrap();
    assert_eq!(report.verdict.result, Outcome::Cancelled);
    assert_eq!(report.verdict.reasons, ["stopped on request before the load started"]);
}

#[test]
fn a_load_that_is_stopped_by_its_specification_is_cancelled_for_good() {
    let mut world = quickstart();
    world.play_from_start(seconds(10));
    world.want(Desired::Stopped);
    world.want(Desired::Running);
    let (_, report) = world.play_out();
    assert_eq!(
        (report.verdict.result, report.run.duration_s.round().to_string()),
        (Outcome::Cancelled, "10".to_owned())
    );
    assert!(
        report.verdict.reasons[0].starts_with("stopped on request after 10"),
        "{:?}",
        report.verdict.reasons
    );
}

fn quickstart() -> World {
    world(Load::Constant(Constant { users: 100, spawn_rate: 50.0, duration: Some(seconds(30)) }), 2)
}

impl World {
    #[track_caller]
    pub(crate) fn play(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(|world| end <= world.now).unwrap();
    }

    /// Until the start instant, and so much longer.
    #[track_caller]
    pub(crate) fn play_from_start(&mut self, time: Duration) {
        self.run_until(|world| world.master.status(world.master_now()).elapsed.is_some()).unwrap();
        self.play(time);
    }

    #[track_caller]
    pub(crate) fn play_out(mut self) -> (World, Report) {
        self.run_until(World::is_over).unwrap();
        self.check_end().unwrap();
        let report = self.master.report(WallClock::default()).unwrap();
        (self, report)
    }

    fn users(&self) -> Vec<u32> {
        self.processes.iter().map(Process::users).collect()
    }

    fn cut_off(&mut self, process: usize, time: Duration) {
        self.processes[process].cut_off_until = self.now + time;
        self.unrest = self.now + time;
    }

    fn seen(&self, wanted: impl Fn(&MasterEvent) -> bool) -> usize {
        self.events.iter().filter(|(_, event)| wanted(event)).count()
    }
}

#[test]
fn a_hundred_users_at_fifty_a_second_are_reached_in_time_and_evenly() {
    let mut world = quickstart();
    world.play_from_start(Duration::from_millis(1100));
    let users = world.users();
    assert!((48..=55).contains(&users.iter().sum::<u32>()) && users[0].abs_diff(users[1]) <= 1, "{users:?}");
    world.play(seconds(1));
    assert_eq!(world.users(), [50, 50]);
    let (world, report) = world.play_out();
    assert_eq!(report.verdict.result, Outcome::Failed, "some made-up requests fail");
    assert_eq!((report.users.target, report.users.peak), (100, 100));
    assert_eq!(report.run.duration_s.to_string(), "30");
    assert_eq!(report.runners.iter().map(|runner| runner.users_peak).collect::<Vec<_>>(), [50, 50]);
    assert_eq!(world.seen(|event| *event == MasterEvent::TestStart), 1);
    assert_eq!(world.seen(|event| *event == MasterEvent::StartComplete { users: 100 }), 1);
    assert_eq!(world.seen(|event| *event == MasterEvent::TestStop), 1);
    assert!(world.processes.iter().all(|process| process.ended == Some(0)));
}

#[test]
fn a_killed_process_gives_its_users_to_the_other_within_five_seconds_and_comes_back() {
    let mut world = quickstart();
    world.play_from_start(seconds(10));
    world.kill(1, true);
    let killed = world.now;
    world.run_until(|world| world.processes[0].users() == 100).unwrap();
    assert!(world.now - killed <= seconds(5), "{:?}", world.now - killed);
    world.run_until(|world| world.users() == [50, 0, 50]).unwrap();
    assert!(world.now - killed <= seconds(12), "{:?}", world.now - killed);
    let (_, report) = world.play_out();
    assert_eq!(report.gaps.len(), 1);
    assert_eq!(report.gaps[0].runner, "runner-1");
    assert!(report.gaps[0].from < report.gaps[0].to, "{:?}", report.gaps[0]);
    assert!(report.gaps[0].lost_at_most.is_some_and(|lost| lost < 20), "{:?}", report.gaps[0]);
    assert_ne!(report.verdict.result, Outcome::Invalid, "a short gap is allowed");
    assert_eq!(report.runners.iter().map(|runner| runner.processes).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn a_death_that_nobody_sees_is_noticed_by_silence_and_makes_the_run_invalid() {
    let mut world = quickstart();
    world.play_from_start(seconds(5));
    world.cut_off(1, seconds(999));
    let cut = world.now;
    world.run_until(|world| world.processes[1].users() == 0).unwrap();
    assert!(world.now - cut <= seconds(16), "the dead-man stops it: {:?}", world.now - cut);
    world.run_until(|world| world.processes[0].users() == 100).unwrap();
    assert!(world.now - cut <= seconds(19), "{:?}", world.now - cut);
    world.processes[1].die();
    world.scenario.faults.unseen = 1.0;
    let (_, report) = world.play_out();
    assert_eq!(report.verdict.result, Outcome::Invalid);
    assert!(report.verdict.reasons[0].contains("was missing for"), "{:?}", report.verdict.reasons);
    assert_eq!(report.gaps[0].lost_at_most, None, "nobody knows");
}

#[test]
fn a_process_that_was_only_cut_off_comes_back_with_all_it_measured() {
    let mut world =
        world(Load::Constant(Constant { users: 10, spawn_rate: 50.0, duration: Some(seconds(60)) }), 2);
    world.play_from_start(seconds(5));
    world.cut_off(1, seconds(25));
    world.play(seconds(24));
    assert_eq!(world.users(), [10, 0]);
    world.run_until(|world| world.users() == [5, 5]).unwrap();
    let (_, report) = world.play_out();
    assert_eq!(report.gaps.iter().map(|gap| gap.lost_at_most).collect::<Vec<_>>(), [Some(0)]);
}

#[test]
fn an_interrupted_run_drains_and_is_cancelled() {
    let mut world = quickstart();
    world.play_from_start(seconds(8));
    world.master.handle_stop(world.master_now(), StopReason::Interrupted);
    let stopped = world.now;
    world.run_until(|world| world.users() == [0, 0]).unwrap();
    assert!(world.now - stopped <= seconds(6));
    let (_, report) = world.play_out();
    assert_eq!(report.verdict.result, Outcome::Cancelled);
    assert!(report.verdict.reasons[0].starts_with("interrupted after 8"), "{:?}", report.verdict.reasons);
    assert_eq!(report.verdict.result.exit_code(), 3);
}

#[test]
fn a_run_that_lacks_a_process_is_not_started() {
    let mut world = quickstart();
    world.run_until(|world| world.processes.len() == 1).unwrap();
    let mut spec = world.scenario.spec.clone();
    spec.runners = 3;
    spec.deadlines.startup = seconds(20);
    world.master = aiotest_core::master::Master::new(spec, world.scenario.classes.clone(), 7).unwrap();
    let (world, report) = world.play_out();
    assert_eq!(report.verdict.result, Outcome::NotStarted);
    assert_eq!(
        report.verdict.reasons,
        ["2 of 3 runner processes joined within the startup deadline of 20 s"]
    );
    assert_eq!((report.run.start_time, report.total.sent), (None, 0));
    assert!(
        world.now.as_micros() < 30_000_000 && world.processes.iter().all(|process| process.ended == Some(0))
    );
}

impl World {
    fn recorded(&self) -> u64 {
        self.processes.iter().map(|process| process.recorded.total().sent).sum()
    }
}

#[test]
fn a_master_that_is_killed_and_comes_back_changes_nothing() {
    let mut world = quickstart();
    world.play_from_start(seconds(10));
    world.crash(seconds(3));
    while world.down {
        world.play(Duration::from_millis(100));
        assert_eq!(world.users(), [50, 50], "the load goes on");
    }
    assert!(world.master.is_learning());
    world.play(seconds(2));
    assert!(!world.master.is_learning());
    let (world, report) = world.play_out();
    assert_eq!(report.total.sent, world.recorded());
    assert_eq!((report.run.duration_s.to_string(), &report.gaps[..]), ("30".to_owned(), &[][..]));
    assert_eq!((report.users.target, report.users.peak), (100, 100));
    assert_eq!(world.seen(|event| *event == MasterEvent::StartComplete { users: 100 }), 1);
}

#[test]
fn a_master_that_is_lost_with_its_machine_is_replaced_and_the_run_goes_on() {
    let mut world = quickstart();
    world.play_from_start(seconds(10));
    world.lose(seconds(6));
    let lost = world.now;
    while world.now < lost + seconds(9) {
        world.play(Duration::from_millis(100));
        assert_eq!(world.users(), [50, 50], "the load goes on");
    }
    assert!(!world.master.is_learning());
    let (world, report) = world.play_out();
    assert_eq!(report.total.sent, world.recorded());
    assert_eq!((report.run.duration_s.to_string(), &report.gaps[..]), ("30".to_owned(), &[][..]));
    assert_eq!((report.users.target, report.users.peak), (100, 100));
    let told = "the master was replaced 16 s after the start and its memory was lost";
    assert!(report.verdict.reasons.iter().any(|reason| reason.starts_with(told)), "{:?}", report.verdict);
}

#[test]
fn a_master_that_is_lost_again_before_all_have_heard_its_plan_starts_no_user_too_many() {
    let load = Constant { users: 7, spawn_rate: 50.0, duration: Some(seconds(40)) };
    let mut world = world(Load::Constant(load), 2);
    world.play_from_start(seconds(10));
    let users = world.users();
    world.lose(seconds(2));
    world.run_until(|world| world.versions.len() == 2).unwrap();
    world.lose(seconds(1));
    let lost = world.now;
    while world.now < lost + seconds(12) {
        world.play(Duration::from_millis(100));
        assert_eq!(world.users(), users, "the load goes on");
    }
    let (world, report) = world.play_out();
    assert_eq!((report.total.sent, &report.gaps[..]), (world.recorded(), &[][..]));
}

#[test]
fn a_load_whose_master_is_away_too_long_stops_and_goes_on_and_the_gap_is_stated() {
    let mut world =
        world(Load::Constant(Constant { users: 10, spawn_rate: 50.0, duration: Some(seconds(90)) }), 2);
    world.play_from_start(seconds(10));
    world.crash(seconds(30));
    let crashed = world.now;
    world.run_until(|world| world.users() == [0, 0]).unwrap();
    assert!(world.now - crashed <= seconds(16), "{:?}", world.now - crashed);
    world.run_until(|world| world.users() == [5, 5]).unwrap();
    assert!(world.now - crashed <= seconds(32), "{:?}", world.now - crashed);
    let (world, report) = world.play_out();
    assert_eq!(report.total.sent, world.recorded(), "nothing that was measured is lost");
    assert_eq!(report.gaps.iter().map(|gap| gap.lost_at_most).collect::<Vec<_>>(), [Some(0); 2]);
    assert_eq!(report.verdict.result, Outcome::Invalid);
    assert!(report.verdict.reasons[0].contains("was missing for 1"), "{:?}", report.verdict.reasons);
}

#[test]
fn a_master_that_is_killed_around_the_end_hands_over_an_exact_report() {
    for (after, time) in [(29_900, 2), (30_000, 5), (30_050, 60), (30_400, 1)] {
        let mut world = quickstart();
        world.play_from_start(Duration::from_millis(after));
        world.crash(seconds(time));
        let (world, report) = world.play_out();
        assert_eq!(report.total.sent, world.recorded(), "killed after {after} ms for {time} s");
        assert_eq!(report.gaps, [], "killed after {after} ms for {time} s");
        assert_eq!(report.run.duration_s.to_string(), "30");
    }
}

#[test]
fn the_last_words_of_one_who_left_survive_a_master_that_dies_at_once() {
    let mut world = quickstart();
    world.play_from_start(seconds(8));
    world.unrest = world.now;
    let local = world.processes[1].local(world.now);
    world.processes[1].core.hand_over(local);
    world.run_until(|world| world.processes[1].ended == Some(75)).unwrap();
    world.crash(seconds(2));
    world.born(ProcessId { runner: "runner-1".into(), process: 0, incarnation: 1 });
    let (world, report) = world.play_out();
    assert_eq!(report.total.sent, world.recorded());
}

#[test]
fn a_shape_is_followed_up_and_down_and_ends_the_run() {
    let mut world = world(Load::Shape, 2);
    world.scenario.shape =
        [(10, 100.0), (40, 100.0), (6, 100.0)].into_iter().flat_map(|step| [step; 8]).collect();
    world.play_from_start(seconds(5));
    assert_eq!(world.users(), [5, 5]);
    world.play(seconds(8));
    assert_eq!(world.users(), [20, 20]);
    world.play(seconds(10));
    assert_eq!(world.users(), [3, 3]);
    world.master.handle_shape(world.master_now(), aiotest_core::master::ShapeTick::End);
    assert_eq!(world.master.state(), RunState::Draining);
    let (_, report) = world.play_out();
    assert_eq!((report.users.target, report.users.peak), (40, 40));
    assert_ne!(report.verdict.result, Outcome::Cancelled);
}

#[test]
fn a_process_that_makes_room_loses_nothing_and_leaves_no_gap() {
    let mut world = quickstart();
    world.play_from_start(seconds(8));
    world.unrest = world.now;
    let local = world.processes[1].local(world.now);
    world.processes[1].core.hand_over(local);
    world.run_until(|world| world.processes[1].ended == Some(75)).unwrap();
    assert_eq!(world.processes[1].users(), 0);
    world.run_until(|world| world.processes[0].users() == 100).unwrap();
    world.born(ProcessId { runner: "runner-1".into(), process: 0, incarnation: 1 });
    world.run_until(|world| world.users() == [50, 0, 50]).unwrap();
    let (world, report) = world.play_out();
    assert_eq!(report.gaps, []);
    let recorded: u64 = world.processes.iter().map(|process| process.recorded.total().requests).sum();
    assert_eq!(report.total.requests, recorded);
}

#[test]
fn more_processes_than_users_is_no_harm() {
    let mut world =
        world(Load::Constant(Constant { users: 2, spawn_rate: 9.0, duration: Some(seconds(12)) }), 5);
    world.play_from_start(seconds(5));
    assert_eq!(world.users().iter().sum::<u32>(), 2);
    let (_, report) = world.play_out();
    assert_eq!((report.users.peak, report.runners.len()), (2, 5));
}
