//! The rows of data sets that a process has: what it was offered, what it passed on to its users, what it wants.
//!
//! Never decides which user gets a row; that is its shell's. Takes an offer only in the answer to its newest report, so
//! that its next one tells the master what became of it. Start at [`Rows::take`] and [`Rows::report`].

use std::collections::VecDeque;

use super::{Action, BRISK, Runner};
use crate::data::{DataSpec, Policy, RowSet};
use crate::message::{RowsAnswer, RowsReport, SetReport};
use crate::tick::Tick;

/// Rows that are kept at hand at least, and at most.
const RESERVE: (u32, u32) = (16, 8192);

/// How a data set stands among the users of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowsTold {
    /// Users that wait for a row.
    pub waiting: u32,
    /// Rows at hand that no user has.
    pub unused: u32,
    /// Rows that users have taken since the process began.
    pub taken: u64,
}

/// The rows of all data sets.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    /// Of the newest report.
    turn: u64,
    /// The turn whose offer was taken last.
    heard: u64,
    /// When the newest report was made.
    pub(super) reported_at: Tick,
    sets: Vec<Set>,
}

/// The rows of one data set.
#[derive(Clone, Debug, Default)]
struct Set {
    spec: DataSpec,
    pass: u64,
    held: RowSet,
    /// As its shell says, with the rows that it has been ordered to take since.
    told: RowsTold,
    /// Users that waited without a row when the newest report was made.
    asked: u32,
    /// Rows that users had taken by then.
    taken_by_then: u64,
    /// The master lacks rows, and some were given back since the newest report.
    owes: bool,
    short: bool,
}

impl Set {
    fn need(&self) -> u32 {
        self.told.waiting.saturating_sub(self.told.unused)
    }

    /// Twice what users took since the last report.
    fn reserve(&self) -> u32 {
        if self.spec.policy == Policy::Shared {
            return 0;
        }
        let taken = self.told.taken.saturating_sub(self.taken_by_then).saturating_mul(2);
        u32::try_from(taken).unwrap_or(u32::MAX).clamp(RESERVE.0, RESERVE.1)
    }

    fn report(&mut self, wants: bool) -> SetReport {
        let (reserve, waiting) = if wants { (self.reserve(), self.told.waiting) } else { (0, 0) };
        (self.asked, self.taken_by_then, self.owes) = (self.need(), self.told.taken, false);
        SetReport {
            name: self.spec.name.clone(),
            rows: self.spec.rows,
            hash: self.spec.hash.clone(),
            pass: self.pass,
            held: self.held.clone(),
            waiting,
            unused: self.told.unused,
            reserve,
        }
    }

    /// What is new of an offer.
    fn take(&mut self, pass: u64, offer: &RowSet) -> RowSet {
        let mut rows = offer.clone();
        rows.truncate(self.spec.rows);
        if self.pass < pass && !rows.is_empty() {
            (self.pass, self.held) = (pass, RowSet::default());
        }
        // A user may still be ending that had the row before this process was silent for too long.
        rows.remove(&self.held);
        self.held.add(&rows);
        self.told.unused = self.told.unused.saturating_add(rows.len());
        rows
    }
}

impl Rows {
    pub(super) fn new(specs: &[DataSpec]) -> Self {
        let set = |spec: &DataSpec| Set { spec: spec.clone(), ..Set::default() };
        Self { sets: specs.iter().map(set).collect(), ..Self::default() }
    }

    /// Takes in how a data set stands among the users.
    pub(super) fn told(&mut self, index: usize, told: RowsTold) {
        if let Some(set) = self.sets.get_mut(index) {
            set.told = told;
            set.asked = set.asked.min(set.need());
        }
    }

    /// Takes in that these rows are nobody's in this process any more.
    pub(super) fn give_back(&mut self, index: usize, rows: &RowSet) {
        if let Some(set) = self.sets.get_mut(index).filter(|_| !rows.is_empty()) {
            set.held.remove(rows);
            set.owes |= set.short;
        }
    }

    /// Whether the next report should not wait for its time.
    pub(super) fn is_urgent(&self) -> bool {
        self.sets.iter().any(|set| set.asked < set.need() || set.owes)
    }

    /// What a report says; `wants`: the process runs its share of the load. `None` without data sets.
    pub(super) fn report(&mut self, now: Tick, wants: bool) -> Option<Box<RowsReport>> {
        if self.sets.is_empty() {
            return None;
        }
        (self.turn, self.reported_at) = (self.turn.saturating_add(1), now);
        let sets = self.sets.iter_mut().map(|set| set.report(wants)).collect();
        Some(Box::new(RowsReport { turn: self.turn, heard: self.heard, sets }))
    }

    /// Takes what an answer offers, unless it is not the first one to the newest report.
    pub(super) fn take(&mut self, answer: &RowsAnswer, actions: &mut VecDeque<Action>) {
        if answer.turn != self.turn || self.heard == answer.turn {
            return;
        }
        self.heard = answer.turn;
        for (index, (set, said)) in self.sets.iter_mut().zip(&answer.sets).enumerate() {
            let rows = set.take(said.pass, &said.offer);
            if !rows.is_empty() {
                actions.push_back(Action::Rows { set: index, rows });
            }
            set.short = said.short;
            if said.short && set.told.waiting < set.told.unused {
                actions.push_back(Action::Recall { set: index });
            }
            if said.exhausted {
                actions.push_back(Action::Exhausted { set: index });
            }
        }
    }

    /// What no user has is given back.
    pub(super) fn recall(&self, actions: &mut VecDeque<Action>) {
        for (index, _) in self.sets.iter().enumerate().filter(|(_, set)| !set.held.is_empty()) {
            actions.push_back(Action::Recall { set: index });
        }
    }
}

impl Runner {
    /// The same, with the data sets of its run.
    #[must_use]
    pub fn with_data(self, data: &[DataSpec]) -> Self {
        Self { rows: Rows::new(data), ..self }
    }

    /// Takes in how a data set stands among the users, once all that was polled before has been carried out.
    pub fn handle_rows(&mut self, set: usize, told: RowsTold) {
        self.rows.told(set, told);
        self.hasten();
    }

    /// Takes in that rows of a data set are given back: no user of this process has them, and none will.
    pub fn handle_given_back(&mut self, set: usize, rows: &RowSet) {
        self.rows.give_back(set, rows);
        self.hasten();
    }

    /// Users that wait for a row are told of soon, but in no flood.
    fn hasten(&mut self) {
        if self.rows.is_urgent() {
            self.next_report = self.next_report.min(self.rows.reported_at + BRISK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::SetAnswer;

    fn rows() -> Rows {
        let spec = DataSpec { name: "accounts".into(), rows: 100, ..DataSpec::default() };
        Rows::new(&[spec])
    }

    fn offer(turn: u64, rows: &[u32]) -> RowsAnswer {
        let offer = rows.iter().copied().collect();
        RowsAnswer { turn, sets: vec![SetAnswer { offer, ..SetAnswer::default() }] }
    }

    fn taken(rows: &mut Rows, answer: &RowsAnswer) -> Vec<Action> {
        let mut actions = VecDeque::new();
        rows.take(answer, &mut actions);
        actions.into()
    }

    #[test]
    fn an_offer_is_taken_once_and_only_in_the_answer_to_the_newest_report() {
        let mut rows = rows();
        rows.report(Tick::ZERO, true).unwrap();
        let second = rows.report(Tick::ZERO, true).unwrap();
        assert_eq!((second.turn, second.heard), (2, 0));
        assert_eq!(taken(&mut rows, &offer(1, &[7])), []);
        let expected = Action::Rows { set: 0, rows: [7, 8].into_iter().collect() };
        assert_eq!(taken(&mut rows, &offer(2, &[7, 8])), [expected]);
        assert_eq!(taken(&mut rows, &offer(2, &[7, 8])), []);
        let third = rows.report(Tick::ZERO, true).unwrap();
        assert_eq!((third.heard, third.sets[0].unused), (2, 2));
        assert_eq!(third.sets[0].held, [7, 8].into_iter().collect());
        rows.give_back(0, &[7].into_iter().collect());
        assert_eq!(rows.report(Tick::ZERO, true).unwrap().sets[0].held, [8].into_iter().collect());
    }

    #[test]
    fn a_row_that_a_user_still_has_is_not_taken_again() {
        let mut rows = rows();
        rows.report(Tick::ZERO, true).unwrap();
        taken(&mut rows, &offer(1, &[7]));
        rows.report(Tick::ZERO, true).unwrap();
        let expected = Action::Rows { set: 0, rows: [8].into_iter().collect() };
        assert_eq!(taken(&mut rows, &offer(2, &[7, 8])), [expected]);
    }

    #[test]
    fn the_reserve_follows_what_users_take_and_waiting_ones_are_told_of_soon() {
        let mut rows = rows();
        assert_eq!(rows.report(Tick::ZERO, true).unwrap().sets[0].reserve, 16);
        rows.told(0, RowsTold { waiting: 3, unused: 0, taken: 100 });
        assert!(rows.is_urgent());
        let report = rows.report(Tick::ZERO, true).unwrap();
        assert_eq!((report.sets[0].waiting, report.sets[0].reserve), (3, 200));
        assert!(!rows.is_urgent(), "the master knows");
        rows.told(0, RowsTold { waiting: 1, unused: 0, taken: 102 });
        assert!(!rows.is_urgent());
        rows.told(0, RowsTold { waiting: 2, unused: 0, taken: 102 });
        assert!(rows.is_urgent(), "one more");
        let stopping = rows.report(Tick::ZERO, false).unwrap();
        assert_eq!((stopping.sets[0].waiting, stopping.sets[0].reserve), (0, 0));
    }

    #[test]
    fn what_is_short_is_given_back_and_soon_told() {
        let mut rows = rows();
        rows.report(Tick::ZERO, true).unwrap();
        taken(&mut rows, &offer(1, &[7, 8]));
        rows.report(Tick::ZERO, true).unwrap();
        let mut short = offer(2, &[]);
        short.sets[0].short = true;
        assert_eq!(taken(&mut rows, &short), [Action::Recall { set: 0 }]);
        rows.give_back(0, &[7, 8].into_iter().collect());
        assert!(rows.is_urgent());
        assert!(rows.report(Tick::ZERO, true).unwrap().sets[0].held.is_empty());
        assert!(!rows.is_urgent());
    }
}
