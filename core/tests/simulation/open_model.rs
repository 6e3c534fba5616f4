//! The open model, told from its beginning to its end.

use std::time::Duration;

use aiotest_core::message::{IterationStatus, LiveSpec};
use aiotest_core::report::Outcome;
use aiotest_core::run::{ArrivalLine, Arrivals, Desired, Load};
use aiotest_core::tick::Tick;

use crate::stories::{seconds, world};
use crate::world::World;

fn arrivals(max_users: u32, lines: &[(u64, u32)]) -> Load {
    let line =
        |(duration, target): &(u64, u32)| ArrivalLine { duration: seconds(*duration), target: *target };
    Load::Arrivals(Arrivals { per: seconds(1), max_users, lines: lines.iter().map(line).collect() })
}

impl World {
    /// Iterations that began in a time.
    fn begun(&self, from: Tick, until: Tick) -> usize {
        let all = self.processes.iter().flat_map(|process| &process.begun);
        all.filter(|(_, at)| from <= *at && *at < until).count()
    }

    fn start_of_load(&self) -> Tick {
        self.now.before(self.master.status(self.master_now()).elapsed.unwrap())
    }

    fn so_far(&self) -> IterationStatus {
        self.master.status(self.master_now()).iterations.unwrap()
    }

    fn edit_load(&mut self, load: Load) {
        let live = LiveSpec { load, ..LiveSpec::of(&self.scenario.spec, self.generation + 1) };
        self.tell(&live);
    }

    fn desire(&mut self, desired: Desired) {
        let live = LiveSpec { desired, ..LiveSpec::of(&self.scenario.spec, self.generation + 1) };
        self.tell(&live);
    }
}

#[test]
fn iterations_begin_as_planned_in_every_second_over_eight_runners() {
    let mut world = world(arrivals(20_000, &[(0, 1000), (5, 1000), (5, 2000), (5, 0)]), 8);
    world.play_from_start(seconds(14));
    let start = world.start_of_load();
    let planned = [1000, 1000, 1000, 1000, 1000, 1100, 1300, 1500, 1700, 1900, 1800, 1400, 1000, 600];
    for (second, planned) in planned.into_iter().enumerate() {
        let from = start + seconds(second as u64);
        let begun = world.begun(from, from + seconds(1));
        // Nobody is early, and a process is behind its master by what the best answer took to arrive: within 20 ms.
        assert!(begun.abs_diff(planned) <= 40, "{begun} of {planned} in second {second}");
    }
    let (world, report) = world.play_out();
    let counted = report.iterations.unwrap();
    assert_eq!((counted.planned, counted.started, counted.shed, counted.late), (17_500, 17_500, 0, 0));
    assert_eq!(report.verdict.result, Outcome::Failed, "requests of the simulation fail now and then");
    let mut numbers: Vec<u64> =
        world.processes.iter().flat_map(|process| process.begun.iter().map(|(number, _)| *number)).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..17_500), "each once");
    let parts = world.processes.iter().map(|process| process.begun.len());
    assert!(parts.clone().max().unwrap() - parts.min().unwrap() <= 1, "the same for everybody");
}

#[test]
fn what_finds_every_user_busy_is_shed_and_fails_the_run() {
    let world = world(arrivals(8, &[(0, 50), (10, 50)]), 2);
    let (_, report) = world.play_out();
    let counted = report.iterations.unwrap();
    assert_eq!((counted.planned, counted.started + counted.shed), (500, 500));
    // Each takes a second on average, so that eight users begin about eight a second.
    assert!((50..150).contains(&counted.started), "{counted:?}");
    assert!(report.users.peak <= 8 && report.users.target == 8, "{:?}", report.users);
    let reason =
        format!("{} of 500 iterations were shed: all 8 users that there may be were busy", counted.shed);
    assert!(report.verdict.reasons.contains(&reason), "{:?}", report.verdict.reasons);
}

#[test]
fn a_paused_rate_stands_still_and_goes_on_where_it_was() {
    let mut world = world(arrivals(500, &[(10, 100), (10, 100)]), 2);
    world.play_from_start(seconds(5));
    world.desire(Desired::Paused);
    world.play(seconds(4));
    let before = world.so_far().started;
    world.play(seconds(20));
    assert_eq!((world.so_far().started, world.so_far().rate.to_bits()), (before, 0_f64.to_bits()));
    world.desire(Desired::Running);
    world.play(seconds(2));
    assert!(
        (60.0..90.0).contains(&world.so_far().rate),
        "on the line, where it was left: {}",
        world.so_far().rate
    );
    let (_, report) = world.play_out();
    let counted = report.iterations.unwrap();
    assert!(counted.planned.abs_diff(1500) <= 2, "as many as without the pause: {counted:?}");
    assert_eq!(counted.started, counted.planned);
}

#[test]
fn a_rate_that_is_edited_goes_on_from_where_it_is() {
    let mut world = world(arrivals(900, &[(10, 100), (20, 100)]), 2);
    world.play_from_start(seconds(10));
    world.edit_load(arrivals(900, &[(10, 100), (20, 300)]));
    world.play(seconds(10));
    assert!((180.0..220.0).contains(&world.so_far().rate), "{}", world.so_far().rate);
    let (_, report) = world.play_out();
    let counted = report.iterations.unwrap();
    assert_eq!(counted.started + counted.shed, counted.planned);
    assert!((4_200..4_600).contains(&counted.planned), "500 and 20 s of 200 on average: {counted:?}");
}

#[test]
fn a_lost_runner_is_missing_until_its_share_moves_and_the_report_says_so() {
    let mut world = world(arrivals(900, &[(0, 100), (40, 100)]), 2);
    world.play_from_start(seconds(10));
    world.kill(1, true);
    let (_, report) = world.play_out();
    let counted = report.iterations.unwrap();
    let never = counted.planned - counted.started - counted.shed;
    assert_eq!(counted.planned, 4000);
    // Half of the rate until the share has moved, in two seconds, and what it had not reported.
    assert!((50..250).contains(&never), "{counted:?}");
    assert_eq!(report.gaps.len(), 1, "{:?}", report.gaps);
    assert!(
        !report.verdict.reasons.iter().any(|reason| reason.contains("never began")),
        "{:?}",
        report.verdict
    );
}

#[test]
fn one_a_minute_begins_at_the_start_and_then_by_the_minute() {
    let lines = vec![
        ArrivalLine { duration: Duration::ZERO, target: 1 },
        ArrivalLine { duration: seconds(200), target: 1 },
    ];
    let world = world(Load::Arrivals(Arrivals { per: seconds(60), max_users: 2, lines }), 2);
    let (_, report) = world.play_out();
    let counted = report.iterations.unwrap();
    assert_eq!((counted.planned, counted.started), (4, 4));
    assert_eq!(report.start, None, "a process without an iteration yet is not late");
}

#[test]
fn what_was_planned_is_known_to_the_iteration_however_long_ago_its_line_was_replaced() {
    let load = || arrivals(900, &[(0, 20), (30, 20), (70, 40), (30, 10)]);
    let (_, report) = world(load(), 2).play_out();
    let counted = report.iterations.unwrap();
    assert_eq!((counted.planned, counted.started), (600 + 2100 + 750, 600 + 2100 + 750));
    let mut world = world(load(), 2);
    let live = LiveSpec { warm_up: seconds(40), ..LiveSpec::of(&world.scenario.spec, 1) };
    world.tell(&live);
    let (_, report) = world.play_out();
    let counted = report.iterations.unwrap();
    // Twenty a second for half a minute, and in ten seconds of the way from twenty to forty 214.
    assert!(counted.planned.abs_diff(3450 - 600 - 214) <= 1, "{counted:?}");
    // What is begun at the mark itself may be counted on its other side.
    assert!(counted.planned.abs_diff(counted.started + counted.shed) <= 4, "{counted:?}");
}
