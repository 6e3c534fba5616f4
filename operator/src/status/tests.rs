//! Claims about the status, in the same cluster in memory.

use aiotest_core::message::{RunState, Status};
use aiotest_core::verdict::Outcome;

use super::*;
use crate::planner::tests::Scene;

#[test]
fn the_same_world_gives_the_same_status_and_only_transitions_move_their_time() {
    let mut scene = Scene::new();
    scene.settle();
    let before = scene.world.status().unwrap().clone();
    scene.later(5);
    assert_eq!(scene.settle(), [""; 0]);
    scene.answer(RunState::Running, 2);
    scene.settle();
    let after = scene.world.status().unwrap();
    let time = |status: &LoadTestStatus, index: usize| status.conditions[index].last_transition_time.clone();
    assert_ne!(time(&before, 0), time(after, 0), "Accepted became True");
    assert_eq!(time(&before, 1), time(after, 1), "Reconciling is True as before");
}

#[test]
fn every_end_is_final_for_those_who_wait() {
    for (outcome, stalled) in [
        (Outcome::Passed, ConditionStatus::False),
        (Outcome::Failed, ConditionStatus::True),
        (Outcome::Invalid, ConditionStatus::True),
        (Outcome::Cancelled, ConditionStatus::False),
    ] {
        let mut scene = Scene::new();
        scene.start();
        scene.end(outcome);
        scene.settle();
        let status = |type_: ConditionType| {
            let conditions = &scene.world.status().unwrap().conditions;
            conditions.iter().find(|condition| condition.type_ == type_).unwrap().status
        };
        assert_eq!(status(ConditionType::Reconciling), ConditionStatus::False, "{outcome:?}");
        assert_eq!(status(ConditionType::Stalled), stalled, "{outcome:?}");
        assert!(scene.world.run().unwrap().completion_time.is_some());
    }
}

#[test]
fn figures_of_the_moment_are_whole_numbers_and_no_substance() {
    let figures =
        Status { users: 7, rps: 99.6, failures_per_second: 1.0, p95_us: Some(1234), ..Status::default() };
    let live = super::live(&figures);
    assert_eq!((live.users, live.requests_per_second, live.failures_per_mille), (7, 100, 10));
    assert_eq!((live.p95_microseconds, live.p50_microseconds), (Some(1234), None));
    let one = LoadTestStatus { live: Some(live), ..LoadTestStatus::default() };
    assert!(!differ_in_substance(&one, &LoadTestStatus::default()));
}

#[test]
fn a_thousand_runners_that_join_one_by_one_are_no_thousand_writes() {
    let mut scene = Scene::new();
    scene.settle();
    scene.answer(RunState::Waiting, 0);
    scene.settle();
    let none = scene.world.status().unwrap().clone();
    scene.answer(RunState::Waiting, 1);
    scene.settle();
    let one = scene.world.status().unwrap().clone();
    assert!(none != one && !differ_in_substance(&none, &one));
    scene.answer(RunState::Running, 2);
    scene.settle();
    assert!(differ_in_substance(&one, scene.world.status().unwrap()));
}
