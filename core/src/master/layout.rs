//! Who has which part of the plan: the ramps in force and to come, and every process' row of each.
//!
//! Every change is a new version from an instant on; nothing that was handed out is taken back. A joiner's part is set
//! aside at first, until the others have given it up. Start at [`Layout::change`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::arrivals::{Arrivals, Line};
use crate::message::ProcessId;
use crate::plan::{Plan, Ramp};
use crate::share::round::{largest_remainder, matrix};
use crate::share::{Share, ShareRow, slot_total};
use crate::tick::Tick;

/// The plan with everybody's part of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Layout {
    /// The scenario's, which every process of the run reads for itself.
    #[serde(skip)]
    weights: Vec<u32>,
    plan: Plan,
    slots: Vec<Slot>,
    /// The version with which the last part was set aside.
    shrunk_by: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Slot {
    id: ProcessId,
    held: bool,
    /// In the order of the plan's ramps.
    rows: Vec<ShareRow>,
}

impl Layout {
    pub(super) fn new(weights: Vec<u32>) -> Self {
        Self { weights, plan: Plan::default(), slots: Vec::new(), shrunk_by: 0 }
    }

    /// Goes on with another layout of the same scenario. False, and nothing is changed: its parts do not fit.
    pub(super) fn take_over(&mut self, other: Self) -> bool {
        let (ramps, classes) = (other.plan.ramps.len(), self.weights.len());
        let fits = |row: &ShareRow| row.from.len() <= classes && row.to.len() <= classes;
        let sane = other.plan.arrivals.as_ref().is_none_or(|arrivals| arrivals.is_sane(classes));
        if !sane || other.slots.iter().any(|slot| slot.rows.len() != ramps || !slot.rows.iter().all(fits)) {
            return false;
        }
        *self = Self { weights: std::mem::take(&mut self.weights), ..other };
        true
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The part of one process; nothing for one that has none.
    pub(super) fn share(&self, id: &ProcessId) -> Share {
        let rows = self.slots.iter().find(|slot| slot.id == *id).map(|slot| slot.rows.clone());
        Share { rows: rows.unwrap_or_else(|| vec![ShareRow::default(); self.plan.ramps.len()]) }
    }

    /// The line that users are on, from wherever it began.
    fn line(&self) -> Option<Ramp> {
        self.plan.ramps.last().copied()
    }

    /// Users at an instant after every change so far.
    fn last_users(&self, at: Tick) -> u32 {
        self.line().map_or(0, |ramp| ramp.users(at))
    }

    /// A new target: from `at` on, users change to `to` at a rate.
    pub(super) fn retarget(&mut self, at: Tick, to: u32, rate: f64) {
        let at = self.line().map_or(at, |last| last.at.max(at));
        self.lay(Ramp { version: 0, at, since: at, from: self.last_users(at), to, rate });
    }

    /// Another line, in force from its instant on, but not before the last one is.
    pub(super) fn lay(&mut self, line: Ramp) {
        let at = self.line().map_or(line.at, |last| last.at.max(line.at));
        let members = self.slots.iter().map(|slot| (slot.id.clone(), slot.held)).collect();
        self.rebuild(Ramp { at, ..line }, members);
    }

    /// Another line of the open model.
    pub(super) fn lay_arrivals(&mut self, line: Line) {
        let none = || Arrivals { weights: self.weights.clone(), lines: Vec::new() };
        self.plan.arrivals.get_or_insert_with(none).lay(line);
        self.plan.version = self.plan.version.saturating_add(1);
    }

    /// From `at` on the load is shared by `members`. Those who had no part get theirs later, once
    /// [`Self::grant`] says so, where `hold` is set. Does nothing if nothing changes.
    pub(super) fn change(&mut self, at: Tick, members: &[ProcessId], hold: bool) {
        let (next, stayed) = self.with_members(members, hold);
        if stayed == self.slots.len() && next.len() == stayed {
            return;
        }
        let joined = stayed < next.len();
        self.go_on(at, next);
        if joined && hold {
            self.shrunk_by = self.plan.version;
        }
    }

    /// As [`Self::change`], also where nobody came or went: everybody's part is told anew.
    pub(super) fn renew(&mut self, at: Tick, members: &[ProcessId]) {
        let (next, _) = self.with_members(members, true);
        self.go_on(at, next);
        self.shrunk_by = self.plan.version;
    }

    /// The slots for `members`, those who have one first, and how many these are.
    fn with_members(&self, members: &[ProcessId], hold: bool) -> (Vec<(ProcessId, bool)>, usize) {
        let wanted: BTreeSet<&ProcessId> = members.iter().collect();
        let stay = self.slots.iter().filter(|slot| wanted.contains(&slot.id));
        let mut next: Vec<(ProcessId, bool)> = stay.map(|slot| (slot.id.clone(), slot.held)).collect();
        let stayed = next.len();
        let known: BTreeSet<ProcessId> = next.iter().map(|(id, _)| id.clone()).collect();
        next.extend(members.iter().filter(|id| !known.contains(id)).map(|id| (id.clone(), hold)));
        (next, stayed)
    }

    /// Takes one process' word for its part, and for a plan that is later than what is known. Whoever has not heard of a
    /// ramp has the place in it that it had before, until everybody's is told anew.
    pub(super) fn learn(&mut self, id: &ProcessId, plan: &Plan, share: &Share) {
        if self.plan.version < plan.version {
            let before = std::mem::replace(&mut self.plan, plan.clone());
            for slot in &mut self.slots {
                slot.rows = fitted(&before, &slot.rows, &self.plan, &self.weights);
                slot.held = slot.rows.last().is_some_and(|row| row.held || row.of == 0);
            }
        }
        let rows = fitted(plan, &share.rows, &self.plan, &self.weights);
        // One without a part waits until the others have given its part up, as a joiner does.
        let held = rows.last().is_some_and(|row| row.held || row.of == 0);
        self.slots.retain(|slot| slot.id != *id);
        self.slots.push(Slot { id: id.clone(), held, rows });
        let position = |slot: &Slot| slot.rows.last().map(|row| (row.of == 0, row.position));
        self.slots.sort_by_key(position);
    }

    /// Whether a part is set aside.
    pub(super) fn holds(&self) -> bool {
        self.slots.iter().any(|slot| slot.held)
    }

    /// Whether what a process says shows that it has given up what is set aside for others. True for one without a
    /// part.
    pub(super) fn has_shrunk(&self, id: &ProcessId, now: Tick, obeyed: u64, live: u32) -> bool {
        let Some(slot) = self.slots.iter().find(|slot| slot.id == *id && !slot.held) else { return true };
        let Some((index, ramp)) = self.plan.in_force(now) else {
            // Nobody has users yet; but who starts some before the part is set aside has to end them again.
            return live == 0 && self.plan.ramps.first().is_none_or(|first| self.shrunk_by <= first.version);
        };
        let total = slot.rows.get(index).map_or(0, |row| row.total(ramp.users(now)));
        self.shrunk_by <= obeyed && live <= total
    }

    /// From `at` on nothing is set aside any more.
    pub(super) fn grant(&mut self, at: Tick) {
        let members = self.slots.iter().map(|slot| (slot.id.clone(), false)).collect();
        self.go_on(at, members);
    }

    /// Forgets ramps that later ones have replaced.
    pub(super) fn prune(&mut self, now: Tick) {
        let Some((index, _)) = self.plan.in_force(now).filter(|(index, _)| 0 < *index) else { return };
        self.plan.ramps.drain(..index);
        for slot in &mut self.slots {
            slot.rows.drain(..index);
        }
    }

    /// The same line under another division.
    fn go_on(&mut self, at: Tick, members: Vec<(ProcessId, bool)>) {
        if let Some(line) = self.line() {
            return self.rebuild(Ramp { at: line.at.max(at), ..line }, members);
        }
        let slot = |(id, held)| Slot { id, held, rows: Vec::new() };
        self.slots = members.into_iter().map(slot).collect();
    }

    fn rebuild(&mut self, ramp: Ramp, members: Vec<(ProcessId, bool)>) {
        let (rows, held) = self.divide(&ramp, &members);
        // Two changes at one instant: the later one is the whole of it.
        let kept = self.plan.ramps.iter().take_while(|known| known.at < ramp.at).count();
        self.plan.ramps.truncate(kept);
        self.plan.version = self.plan.version.saturating_add(1);
        self.plan.ramps.push(Ramp { version: self.plan.version, ..ramp });
        let mut before: BTreeMap<ProcessId, Vec<ShareRow>> =
            std::mem::take(&mut self.slots).into_iter().map(|slot| (slot.id, slot.rows)).collect();
        for ((id, row), held) in members.into_iter().map(|(id, _)| id).zip(rows).zip(held) {
            let mut rows = before.remove(&id).unwrap_or_default();
            rows.resize(kept, ShareRow::default());
            rows.push(row);
            self.slots.push(Slot { id, held, rows });
        }
    }

    /// Everybody's row of a ramp, near to what they have when it comes into force.
    fn divide(&self, ramp: &Ramp, members: &[(ProcessId, bool)]) -> (Vec<ShareRow>, Vec<bool>) {
        let (first, last) = (ramp.users(ramp.at), ramp.to);
        let of = members.len() as u32;
        let totals =
            |users: u32| -> Vec<u32> { (0..of).map(|position| slot_total(users, position, of)).collect() };
        let before = self.users_at(ramp.at);
        // Classes go on as they were, those of a process that is gone included.
        let mut classes = vec![0_u32; self.weights.len()];
        for users in before.values().flat_map(|row| row.iter().enumerate()) {
            classes[users.0] = classes[users.0].saturating_add(*users.1);
        }
        if classes.iter().map(|users| u64::from(*users)).sum::<u64>() != u64::from(first) {
            classes = largest_remainder(first, &self.weights);
        }
        let previous: Vec<Vec<u32>> =
            members.iter().map(|(id, _)| before.get(id).cloned().unwrap_or_default()).collect();
        let unchanged = previous.len() == before.len()
            && previous
                .iter()
                .zip(totals(first))
                .all(|(row, total)| row.len() == self.weights.len() && row.iter().sum::<u32>() == total);
        let from = match (members.is_empty(), unchanged) {
            (true, _) => Vec::new(),
            (_, true) => previous,
            _ => matrix(&totals(first), &classes, &previous),
        };
        let to = if members.is_empty() {
            Vec::new()
        } else {
            matrix(&totals(last), &largest_remainder(last, &self.weights), &from)
        };
        let rows = from.into_iter().zip(to).zip(members).enumerate();
        let rows = rows.map(|(position, ((from, to), (_, held)))| ShareRow {
            position: position as u32,
            of,
            held: *held,
            from,
            to,
        });
        (rows.collect(), members.iter().map(|(_, held)| *held).collect())
    }

    /// Everybody's users by class at an instant after every change so far, what is set aside included.
    fn users_at(&self, at: Tick) -> BTreeMap<ProcessId, Vec<u32>> {
        let users = self.last_users(at);
        let row = |slot: &Slot| Some((slot.id.clone(), slot.rows.last()?.classes(users)));
        self.slots.iter().filter_map(row).filter(|(_, row)| !row.is_empty()).collect()
    }
}

/// The rows of one plan's ramps for those of another. Of ramps that were not heard of, the last place goes on: it is the
/// process' own one, or a later one that those before it have left since. So nobody comes before it who came behind it, and
/// gets more while it still has what it had.
fn fitted(of: &Plan, rows: &[ShareRow], plan: &Plan, weights: &[u32]) -> Vec<ShareRow> {
    let known = |ramp: &Ramp| {
        let at = of.ramps.iter().position(|known| known.version == ramp.version)?;
        rows.get(at).cloned()
    };
    let unheard = |ramp: &Ramp| {
        let row = rows.last().filter(|_| of.version < ramp.version)?.clone();
        let classes = |users| largest_remainder(row.total(users), weights);
        Some(ShareRow { from: classes(ramp.users(ramp.at)), to: classes(ramp.to), ..row })
    };
    plan.ramps.iter().map(|ramp| known(ramp).or_else(|| unheard(ramp)).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn id(process: u32) -> ProcessId {
        ProcessId { runner: "runner-0".into(), process, incarnation: 0 }
    }

    fn ids(of: &[u32]) -> Vec<ProcessId> {
        of.iter().map(|process| id(*process)).collect()
    }

    const fn at(seconds: u64) -> Tick {
        Tick::from_micros(seconds * 1_000_000)
    }

    fn users(layout: &Layout, process: u32, now: Tick) -> u32 {
        layout.share(&id(process)).users(layout.plan(), now).iter().sum()
    }

    fn started(processes: &[u32], users: u32, weights: &[u32]) -> Layout {
        let mut layout = Layout::new(weights.to_vec());
        layout.change(at(0), &ids(processes), false);
        layout.retarget(at(1), users, 1e9);
        layout
    }

    #[test]
    fn a_ramp_is_shared_evenly_at_every_instant() {
        let mut layout = Layout::new(vec![1]);
        layout.change(at(0), &ids(&[0, 1]), false);
        layout.retarget(at(10), 100, 50.0);
        assert_eq!([0, 1].map(|process| users(&layout, process, at(9))), [0, 0]);
        assert_eq!([0, 1].map(|process| users(&layout, process, at(11))), [25, 25]);
        assert_eq!([0, 1].map(|process| users(&layout, process, at(12))), [50, 50]);
    }

    #[test]
    fn a_join_takes_away_first_and_gives_later() {
        let mut layout = started(&[0, 1], 90, &[1]);
        layout.change(at(5), &ids(&[0, 1, 2]), true);
        assert_eq!([0, 1, 2].map(|process| users(&layout, process, at(4))), [45, 45, 0]);
        assert_eq!([0, 1, 2].map(|process| users(&layout, process, at(5))), [30, 30, 0]);
        let version = layout.plan().version;
        assert!(layout.holds());
        assert!(!layout.has_shrunk(&id(0), at(5), version - 1, 30));
        assert!(!layout.has_shrunk(&id(0), at(5), version, 31));
        assert!(layout.has_shrunk(&id(0), at(5), version, 30));
        layout.grant(at(9));
        assert_eq!([0, 1, 2].map(|process| users(&layout, process, at(9))), [30, 30, 30]);
        assert!(!layout.holds());
    }

    #[test]
    fn a_join_before_the_first_user_is_given_its_part_at_once_unless_others_start_with_it() {
        let mut layout = Layout::new(vec![1]);
        layout.change(at(0), &ids(&[0]), false);
        layout.retarget(at(10), 90, 1.0);
        layout.change(at(9), &ids(&[0, 1]), true);
        assert!(layout.has_shrunk(&id(0), at(8), 0, 0), "both begin at the same instant");
        layout.grant(at(10));
        layout.change(at(12), &ids(&[0, 1, 2]), true);
        assert!(!layout.has_shrunk(&id(0), at(9), 0, 0), "it has a user by then, and will have to end it");
    }

    #[test]
    fn a_leavers_users_go_to_those_who_stay_class_by_class() {
        let mut layout = started(&[0, 1, 2], 91, &[2, 1]);
        layout.change(at(5), &ids(&[0, 2]), true);
        let shares = [0, 2].map(|process| layout.share(&id(process)).users(layout.plan(), at(5)));
        assert_eq!(shares.iter().map(|share| share.iter().sum::<u32>()).collect::<Vec<_>>(), [46, 45]);
        assert_eq!([0, 1].map(|class| shares[0][class] + shares[1][class]), [61, 30]);
        assert_eq!(users(&layout, 1, at(5)), 0);
    }

    #[test]
    fn replaced_ramps_are_forgotten_in_step() {
        let mut layout = started(&[0, 1], 10, &[1]);
        layout.retarget(at(5), 20, 1.0);
        layout.change(at(7), &ids(&[1]), true);
        layout.prune(at(6));
        assert_eq!(layout.plan().ramps.len(), 2);
        assert_eq!(layout.share(&id(0)).rows.len(), 2, "no part, but one row for every ramp");
        assert_eq!([0, 1].map(|process| users(&layout, process, at(7))), [0, 12]);
    }

    #[test]
    fn who_has_not_heard_of_the_last_division_keeps_his_place_in_it() {
        let mut before = started(&[0, 1], 7, &[2, 1]);
        let told =
            |layout: &Layout, process| (id(process), layout.plan().clone(), layout.share(&id(process)));
        let late = told(&before, 0);
        before.renew(at(5), &ids(&[0, 1]));
        let heard = told(&before, 1);
        for words in [[&late, &heard], [&heard, &late]] {
            let mut layout = Layout::new(vec![2, 1]);
            for (id, plan, share) in words {
                layout.learn(id, plan, share);
            }
            let parts = |layout: &Layout, second| [0, 1].map(|process| users(layout, process, at(second)));
            assert_eq!((parts(&layout, 6), layout.holds()), ([4, 3], false));
            layout.renew(at(9), &ids(&[0, 1]));
            assert_eq!((parts(&layout, 9), layout.holds()), ([4, 3], false), "nobody gets more");
        }
    }

    #[test]
    fn with_nobody_left_the_plan_waits() {
        let mut layout = started(&[0], 10, &[1]);
        layout.change(at(5), &[], true);
        layout.change(at(6), &ids(&[3]), false);
        assert_eq!(users(&layout, 3, at(6)), 10);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Target(u32, u32),
        Members(Vec<bool>),
        Grant,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..300_u32, 1..90_u32).prop_map(|(users, rate)| Step::Target(users, rate)),
            prop::collection::vec(any::<bool>(), 7).prop_map(Step::Members),
            Just(Step::Grant),
        ]
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_plan_in_every_version(
            steps in prop::collection::vec((step(), 0..5_000_u64), 1..12),
            weights in prop::collection::vec(1..9_u32, 1..5),
        ) {
            let mut layout = started(&[0, 1], 50, &weights);
            let mut now = at(1);
            for (step, pause) in steps {
                now = now + Duration::from_millis(pause);
                match step {
                    Step::Target(users, rate) => layout.retarget(now, users, f64::from(rate)),
                    Step::Members(mut here) => {
                        here[0] = true;
                        let members: Vec<u32> = (0..7).filter(|process| here[*process as usize]).collect();
                        layout.change(now, &ids(&members), true);
                    }
                    Step::Grant => layout.grant(now),
                }
                layout.prune(now);
                for instant in [now, now + Duration::from_millis(777), now + Duration::from_secs(99)] {
                    let (ramp, whole) = (layout.plan().in_force(instant).unwrap().0, layout.plan().users(instant));
                    let parts: Vec<(u32, u32)> = layout.slots.iter().map(|slot| {
                        let row = &slot.rows[ramp];
                        (row.classes(whole).iter().sum(), row.total(whole))
                    }).collect();
                    prop_assert!(parts.iter().all(|(classes, total)| classes == total));
                    prop_assert_eq!(parts.iter().map(|(_, total)| total).sum::<u32>(), whole);
                    let totals = parts.iter().map(|(_, total)| *total);
                    prop_assert!(totals.clone().max().unwrap() - totals.min().unwrap() <= 1);
                }
            }
            let end = now + Duration::from_secs(999);
            let row = layout.plan().ramps.len() - 1;
            let users = layout.plan().users(end);
            let mut classes = vec![0; weights.len()];
            for slot in &layout.slots {
                slot.rows[row].classes(users).iter().enumerate().for_each(|(class, n)| classes[class] += n);
            }
            prop_assert_eq!(classes, largest_remainder(users, &weights));
        }
    }
}
