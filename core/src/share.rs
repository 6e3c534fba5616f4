//! One process' part of the plan: how many users of each class it runs at each instant.
//!
//! A process needs no message per step of a ramp: its total is a function of the plan's users and of its position
//! among all processes, so the totals of all add up exactly and differ by at most one. Never looks at who the others
//! are. Start at [`Share::users`]; how a master fills the rows is in [`round`].

pub mod round;

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::tick::Tick;

/// A process' part of every ramp of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// In the order of the plan's ramps.
    pub rows: Vec<ShareRow>,
}

/// A process' part of one ramp.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareRow {
    /// The process' position among all that share, from 0.
    pub position: u32,
    /// How many share; 0 for none, which has no users.
    pub of: u32,
    /// Set aside until the others have given theirs up: no users yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// Users by class when the ramp comes into force.
    pub from: Vec<u32>,
    /// Users by class at the ramp's end.
    pub to: Vec<u32>,
}

impl Share {
    /// The process' users by class at an instant; empty when it has none.
    pub fn users(&self, plan: &Plan, now: Tick) -> Vec<u32> {
        let row = plan.in_force(now).and_then(|(at, ramp)| Some((self.rows.get(at)?, ramp)));
        match row {
            Some((row, ramp)) if !row.held => row.classes(ramp.users(now)),
            _ => Vec::new(),
        }
    }
}

impl ShareRow {
    /// The process' users when the run has `users`.
    pub fn total(&self, users: u32) -> u32 {
        slot_total(users, self.position, self.of)
    }

    /// The same by class, held or not.
    pub fn classes(&self, users: u32) -> Vec<u32> {
        if self.of == 0 {
            return Vec::new();
        }
        between(&self.from, &self.to, self.total(users))
    }
}

/// Users of the process at `position` of `of` when the run has `users`: exact in sum, even within one, and monotone
/// in `users`.
pub fn slot_total(users: u32, position: u32, of: u32) -> u32 {
    if of <= position {
        return 0;
    }
    ((u64::from(users) + u64::from(of) - 1 - u64::from(position)) / u64::from(of)) as u32
}

/// Users by class on the way from one row to another, when there are `total` of them. Classes change in the order of
/// their fractional positions, so that every class is on its way all along.
fn between(from: &[u32], to: &[u32], total: u32) -> Vec<u32> {
    let classes = from.len().max(to.len());
    let get = |row: &[u32], class: usize| row.get(class).copied().unwrap_or(0);
    let sum = |row: &[u32]| row.iter().fold(0_u64, |sum, users| sum + u64::from(*users));
    let (start, end) = (sum(from), sum(to));
    if start == end {
        return (0..classes).map(|class| get(to, class)).collect();
    }
    // Seen from the smaller end, some classes grow and a few may shrink; both go in step.
    let (low, high, least) = if start < end { (from, to, start) } else { (to, from, end) };
    let whole = start.abs_diff(end);
    let done = u64::from(total).saturating_sub(least).min(whole);
    let gain: Vec<u32> = (0..classes).map(|c| get(high, c).saturating_sub(get(low, c))).collect();
    let loss: Vec<u32> = (0..classes).map(|c| get(low, c).saturating_sub(get(high, c))).collect();
    let downs = (u128::from(sum(&loss)) * u128::from(done) / u128::from(whole)) as u64;
    let (ups, downs) = (first_of(&gain, done + downs), first_of(&loss, downs));
    (0..classes).map(|c| get(low, c).saturating_add(ups[c]).saturating_sub(downs[c])).collect()
}

/// How many of the first `count` steps belong to each class, when class c's steps lie at (i + ½) / `steps[c]`.
fn first_of(steps: &[u32], count: u64) -> Vec<u32> {
    let whole: u64 = steps.iter().map(|steps| u64::from(*steps)).sum();
    let count = count.min(whole);
    if count == whole {
        return steps.to_vec();
    }
    // All but at most half a step per class are passed for certain; the rest goes one by one.
    let certain = (2 * count).saturating_sub(steps.len() as u64);
    let mut passed: Vec<u32> = steps
        .iter()
        .map(|steps| {
            ((u128::from(certain) * u128::from(*steps) + u128::from(whole)) / (2 * u128::from(whole))) as u32
        })
        .zip(steps)
        .map(|(passed, steps)| passed.min(*steps))
        .collect();
    if certain == 0 {
        passed.fill(0);
    }
    let mut sum: u64 = passed.iter().map(|passed| u64::from(*passed)).sum();
    while sum < count {
        let position = |class: usize| (2 * u64::from(passed[class]) + 1, u64::from(steps[class]));
        let next = (0..steps.len()).filter(|class| passed[*class] < steps[*class]).min_by(|a, b| {
            let ((a, of_a), (b, of_b)) = (position(*a), position(*b));
            (u128::from(a) * u128::from(of_b)).cmp(&(u128::from(b) * u128::from(of_a)))
        });
        let Some(next) = next else { break };
        passed[next] += 1;
        sum += 1;
    }
    passed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn totals_are_even_within_one() {
        let totals = |users| (0..3).map(|position| slot_total(users, position, 3)).collect::<Vec<_>>();
        assert_eq!(totals(0), [0, 0, 0]);
        assert_eq!(totals(2), [1, 1, 0]);
        assert_eq!(totals(100), [34, 33, 33]);
        assert_eq!(slot_total(100, 3, 3), 0, "a position that is none");
        assert_eq!(slot_total(u32::MAX, 0, 1), u32::MAX);
    }

    #[test]
    fn classes_grow_side_by_side() {
        let steps: Vec<Vec<u32>> = (0..=4).map(|total| between(&[0, 0], &[3, 1], total)).collect();
        assert_eq!(steps, [[0, 0], [1, 0], [2, 0], [2, 1], [3, 1]]);
    }

    #[test]
    fn without_a_row_there_are_no_users() {
        assert!(ShareRow::default().classes(100).is_empty());
        assert!(Share::default().users(&Plan::default(), Tick::ZERO).is_empty());
    }

    proptest! {
        #[test]
        fn slots_add_up_and_never_fall_on_the_way_up(users in 0..2_000_000_u32, of in 1..300_u32) {
            let totals: Vec<u32> = (0..of).map(|position| slot_total(users, position, of)).collect();
            prop_assert_eq!(totals.iter().sum::<u32>(), users);
            prop_assert!(totals.iter().max().unwrap() - totals.iter().min().unwrap() <= 1);
            prop_assert!((0..of).all(|position| totals[position as usize] <= slot_total(users + 1, position, of)));
        }

        #[test]
        fn one_leaver_makes_no_other_slot_smaller(users in 0..9_999_u32, of in 2..40_u32, gone in any::<prop::sample::Index>()) {
            let gone = gone.index(of as usize) as u32;
            for position in (0..of).filter(|position| *position != gone) {
                let after = slot_total(users, position - u32::from(gone < position), of - 1);
                prop_assert!(slot_total(users, position, of) <= after);
            }
        }

        #[test]
        fn classes_add_up_to_the_total_at_every_step(
            rows in prop::collection::vec((0..400_u32, 0..400_u32), 1..12), step in any::<prop::sample::Index>(),
        ) {
            let (from, to): (Vec<u32>, Vec<u32>) = rows.into_iter().unzip();
            let (first, last): (u32, u32) = (from.iter().sum(), to.iter().sum());
            let total = first.min(last) + step.index(first.abs_diff(last) as usize + 1) as u32;
            let classes = between(&from, &to, total);
            if first != last {
                prop_assert_eq!(classes.iter().sum::<u32>(), total);
            }
            let reached = between(&from, &to, last);
            prop_assert_eq!(reached, to.clone());
            for (class, users) in classes.iter().enumerate() {
                prop_assert!((from[class].min(to[class])..=from[class].max(to[class])).contains(users));
            }
        }

        #[test]
        fn absurd_rows_break_nothing(
            from in prop::collection::vec(any::<u32>(), 0..6), to in prop::collection::vec(any::<u32>(), 0..6),
            users: u32, position: u32, of: u32,
        ) {
            let row = ShareRow { position, of, held: false, from, to };
            row.classes(users);
        }
    }
}
