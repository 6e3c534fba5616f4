//! When a process' first users began, against the instant that its plan had for them.
//!
//! Said once and for good: what becomes of later users is their lateness. Start at [`Begin::order`].

use std::time::Duration;

use crate::message::{Began, ClassUsers};
use crate::plan::Plan;
use crate::share::Share;
use crate::tick::Tick;

/// The first users of a process.
#[derive(Clone, Debug, Default)]
pub(super) struct Begin {
    /// When there should have been some, by the master's clock.
    due: Option<Tick>,
    /// Some have been seen to be there.
    seen: bool,
    began: Option<Began>,
}

impl Begin {
    /// The plan has users for the process now, by the master's clock.
    pub(super) fn order(&mut self, plan: &Plan, share: &Share, now: Tick) {
        if self.due.is_none() {
            self.due = due(plan, share, now);
        }
    }

    /// Takes in what there is of a class.
    pub(super) fn see(&mut self, users: ClassUsers) {
        self.seen |= users != ClassUsers::default();
    }

    /// Brings it up to date; `now` is the master's, known to within an uncertainty.
    pub(super) fn check(&mut self, now: impl FnOnce() -> Option<(Tick, Duration)>) {
        if let (true, None, Some(due)) = (self.seen, self.began, self.due) {
            self.began = now().map(|(at, uncertainty)| Began { due, at, uncertainty });
        }
    }

    /// When they were there, once they are.
    pub(super) const fn began(&self) -> Option<Began> {
        self.began
    }
}

/// When the line in force first has a user for the process.
fn due(plan: &Plan, share: &Share, now: Tick) -> Option<Tick> {
    let (at, ramp) = plan.in_force(now)?;
    let row = share.rows.get(at)?;
    // It has one as soon as the run has one for each position before its own, and one more.
    (!row.held && 0 < row.total(ramp.users(now))).then(|| ramp.reaches(row.position.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Ramp;
    use crate::share::ShareRow;

    const fn at(milliseconds: u64) -> Tick {
        Tick::from_micros(milliseconds * 1000)
    }

    fn order(begin: &mut Begin, now: Tick) {
        let ramp = Ramp { version: 1, at: at(2000), since: at(2000), from: 0, to: 10, rate: 5.0 };
        let row = ShareRow { position: 1, of: 2, held: false, from: vec![0], to: vec![5] };
        begin.order(&Plan { version: 1, ramps: vec![ramp], arrivals: None }, &Share { rows: vec![row] }, now);
    }

    #[test]
    fn the_first_users_began_when_they_were_seen_and_were_due_when_the_line_reached_their_place() {
        let (mut begin, reckoned) = (Begin::default(), |at| move || Some((at, Duration::from_micros(9))));
        order(&mut begin, at(2300));
        begin.see(ClassUsers { live: 1, dead: 0 });
        begin.check(reckoned(at(2300)));
        assert_eq!(begin.began(), None, "nothing was due");
        let mut begin = Begin::default();
        order(&mut begin, at(2407));
        begin.see(ClassUsers::default());
        begin.check(reckoned(at(2407)));
        assert_eq!(begin.began(), None, "nobody is there");
        begin.see(ClassUsers { live: 1, dead: 0 });
        begin.check(reckoned(at(2411)));
        order(&mut begin, at(3000));
        begin.check(reckoned(at(3000)));
        let told = Began { due: at(2400), at: at(2411), uncertainty: Duration::from_micros(9) };
        assert_eq!(begin.began(), Some(told));
    }
}
