//! Whole runs in virtual time: one master, some processes, and a network that loses, doubles, delays and reorders.
//!
//! Every run follows from its seed and its test alone. A failing seed is printed with the command that plays it again, and
//! no other. `AIOTEST_SEEDS=20` tries twenty times as many.

mod checks;
mod open_model;
mod process;
mod random;
mod rendezvous;
mod rows;
mod scenario;
mod stories;
mod world;

use scenario::{Faults, Sabotage, Scenario};
use world::World;

/// Seeds of every scenario with every kind of faults; `AIOTEST_SEEDS` multiplies them.
const SEEDS: u64 = 100;

fn seeds() -> std::ops::Range<u64> {
    let times = number("AIOTEST_SEEDS").unwrap_or(1);
    number("AIOTEST_SEED").map_or(0..SEEDS * times, |seed| seed..seed + 1)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not `{text}`")))
}

/// Plays all seeds with each kind of faults, and says which of them break a promise. Returns how many times users met, by kind.
#[track_caller]
fn every_seed_keeps_every_promise(of: fn(u64) -> Scenario, kinds: &[Faults]) -> Vec<u64> {
    let (mut met, mut broken) = (vec![0; kinds.len()], Vec::new());
    for (met, faults) in met.iter_mut().zip(kinds.iter().copied()) {
        for seed in seeds() {
            match World::new(seed, Scenario { faults, ..of(seed) }).run() {
                Ok(rounds) => *met += rounds,
                Err(promise) => broken.push(format!("AIOTEST_SEED={seed}: {promise}: {faults:?}")),
            }
        }
    }
    let this = std::thread::current();
    let again = this.name().filter(|name| *name != "main").unwrap_or_default();
    assert!(
        broken.is_empty(),
        "\n{}\nAgain, with one of them: cargo test --locked -p aiotest-core --test simulation {again}",
        broken.join("\n")
    );
    met
}

#[test]
fn on_a_good_network_every_promise_is_kept() {
    every_seed_keeps_every_promise(Scenario::drawn, &[Faults::default()]);
}

#[test]
fn on_a_bad_network_every_promise_is_kept() {
    every_seed_keeps_every_promise(Scenario::drawn, &[Faults::network()]);
}

#[test]
fn with_dying_processes_every_promise_is_kept() {
    every_seed_keeps_every_promise(Scenario::drawn, &[Faults::deaths()]);
}

#[test]
fn with_cut_off_processes_every_promise_is_kept() {
    every_seed_keeps_every_promise(Scenario::drawn, &[Faults::everything()]);
}

#[test]
fn after_every_death_the_plan_is_carried_out_again() {
    every_seed_keeps_every_promise(Scenario::drawn, &[Faults { death: 0.02, ..Faults::default() }]);
}

#[test]
fn with_a_master_that_is_killed_again_and_again_every_promise_is_kept() {
    every_seed_keeps_every_promise(Scenario::drawn, &[Faults::crashes()]);
}

#[test]
fn with_everybody_dying_every_promise_is_kept() {
    let kinds = [Faults::deaths(), Faults::everything()];
    let kinds = kinds.map(|faults| Faults { crash: 0.05, edit: 0.05, ..faults });
    every_seed_keeps_every_promise(Scenario::drawn, &kinds);
}

#[test]
fn with_a_master_that_is_lost_with_all_it_knew_every_promise_is_kept() {
    let kinds = [
        Faults { amnesia: 0.7, edit: 0.0, ..Faults::crashes() },
        Faults { crash: 0.05, amnesia: 0.5, ..Faults::network() },
        Faults { crash: 0.05, amnesia: 0.5, ..Faults::everything() },
    ];
    every_seed_keeps_every_promise(Scenario::drawn, &kinds);
}

#[test]
fn with_a_load_that_is_edited_every_promise_is_kept() {
    let kinds = [Faults::default(), Faults::deaths()].map(|faults| Faults { edit: 0.1, ..faults });
    every_seed_keeps_every_promise(Scenario::drawn, &kinds);
}

#[test]
fn with_a_load_in_stages_every_promise_is_kept() {
    let kinds = [
        Faults::default(),
        Faults { edit: 0.1, ..Faults::default() },
        Faults { edit: 0.05, ..Faults::deaths() },
        Faults { crash: 0.05, edit: 0.05, ..Faults::everything() },
        Faults { amnesia: 0.7, edit: 0.0, ..Faults::crashes() },
    ];
    every_seed_keeps_every_promise(Scenario::in_stages, &kinds);
}

#[test]
fn in_the_open_model_every_promise_is_kept() {
    let kinds = [
        Faults::default(),
        Faults::network(),
        Faults { edit: 0.1, ..Faults::default() },
        Faults { death: 0.04, ..Faults::default() },
        Faults { edit: 0.05, ..Faults::deaths() },
        Faults { crash: 0.05, edit: 0.05, ..Faults::everything() },
        Faults { amnesia: 0.7, edit: 0.0, ..Faults::crashes() },
    ];
    every_seed_keeps_every_promise(Scenario::open, &kinds);
}

#[test]
fn an_iteration_that_begins_twice_is_caught() {
    let sabotage = Some(Sabotage::DoubledIteration);
    let broken = World::new(1, Scenario { sabotage, ..Scenario::open(1) }).run();
    assert!(broken.as_ref().is_err_and(|broken| broken.contains("began 2 times")), "{broken:?}");
}

#[test]
fn users_that_meet_go_on_together_whatever_happens() {
    let kinds = [
        Faults::default(),
        Faults::network(),
        Faults { edit: 0.05, ..Faults::deaths() },
        Faults::crashes(),
        Faults { crash: 0.05, ..Faults::everything() },
        Faults { amnesia: 0.7, edit: 0.0, ..Faults::crashes() },
    ];
    let met = every_seed_keeps_every_promise(Scenario::of_meetings, &kinds);
    let runs = seeds().end - seeds().start;
    assert!(runs == 1 || met.iter().all(|met| runs <= *met), "they met {met:?} times in {runs} runs each");
}

#[track_caller]
fn a_planted_bug_is_caught(sabotage: Sabotage, faults: Faults, said: &str) {
    is_caught(said, |seed| Scenario { sabotage: Some(sabotage), faults, ..Scenario::drawn(seed) });
}

#[track_caller]
fn a_planted_bug_is_caught_in(of: fn(u64) -> Scenario, sabotage: Sabotage, faults: Faults, said: &str) {
    is_caught(said, |seed| Scenario { sabotage: Some(sabotage), faults, ..of(seed) });
}

#[track_caller]
fn is_caught(said: &str, scenario: impl Fn(u64) -> Scenario) {
    // Some bugs want a coincidence.
    let mut broken = (0..60).filter_map(|seed| World::new(seed, scenario(seed)).run().err());
    assert!(broken.any(|broken| broken.contains(said)), "not in sixty runs");
}

#[test]
fn a_process_that_starts_one_user_too_many_is_caught() {
    a_planted_bug_is_caught(Sabotage::OneUserTooMany, Faults::default(), "users are live, the plan has");
}

#[test]
fn a_measurement_that_is_lost_is_caught() {
    a_planted_bug_is_caught(Sabotage::LostMeasurement, Faults::network(), "recorded are held at the end");
}

#[test]
fn a_measurement_that_is_merged_twice_is_caught() {
    a_planted_bug_is_caught(Sabotage::DoubledMeasurement, Faults::network(), "recorded are held");
}

#[test]
fn a_master_whose_clock_stands_still_is_caught() {
    a_planted_bug_is_caught(Sabotage::StandingClock, Faults::network(), "has not ended");
}

#[test]
fn a_user_that_is_never_started_is_caught() {
    a_planted_bug_is_caught(
        Sabotage::LazyProcess,
        Faults::default(),
        "although nothing has happened for long",
    );
}

#[test]
fn a_death_that_is_not_stated_is_caught() {
    a_planted_bug_is_caught(Sabotage::WrongDeposit, Faults::deaths(), "requests are lost, the report says");
}

#[test]
fn a_master_that_answers_before_it_remembers_is_caught() {
    let faults = Faults { crash: 0.1, death: 0.1, ..Faults::default() };
    a_planted_bug_is_caught(Sabotage::HastyMaster, faults, "and with another process");
    is_caught("requests are lost, the report says", |seed| {
        let mut scenario = Scenario { faults, ..Scenario::drawn(seed) };
        scenario.sabotage = Some(Sabotage::HastyMaster);
        // So that nothing else is broken before.
        scenario.spec.data.clear();
        scenario
    });
}

#[test]
fn a_row_that_is_given_back_while_its_user_has_it_is_caught() {
    a_planted_bug_is_caught(Sabotage::EarlyRow, Faults::deaths(), "and with another process");
}

#[test]
fn a_row_that_is_never_given_back_is_caught() {
    let faults = Faults { death: 0.03, ..Faults::default() };
    a_planted_bug_is_caught(Sabotage::LostRow, faults, "accounts, although nothing has happened for long");
}

#[test]
fn a_round_that_is_over_before_the_last_one_has_come_is_caught() {
    let said = "had not come";
    a_planted_bug_is_caught_in(Scenario::of_meetings, Sabotage::OneWaitsTooMany, Faults::default(), said);
}

#[test]
fn a_user_that_is_not_let_go_on_is_caught() {
    let said = "users wait and nobody goes on";
    a_planted_bug_is_caught_in(Scenario::of_meetings, Sabotage::DeafProcess, Faults::default(), said);
    let said = "still waits for a round that is over";
    a_planted_bug_is_caught_in(Scenario::of_meetings, Sabotage::DeafProcess, Faults::network(), said);
}

#[test]
fn a_master_that_lets_users_go_before_it_remembers_is_caught() {
    let faults = Faults { crash: 0.1, ..Faults::default() };
    a_planted_bug_is_caught_in(Scenario::of_meetings, Sabotage::HastyMaster, faults, "was to be over at");
}
