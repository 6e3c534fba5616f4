//! The open model in a process: which iterations are due.
//!
//! Each is looked at once, at or after its instant; those that come while the process does not obey the plan are nobody's.
//! Start at [`Runner::begin_iterations`].

use super::{Action, Phase, Runner};
use crate::arrivals::Arrival;
use crate::message::Assignment;
use crate::tick::Tick;

/// The most that begin at once: more have piled up than there will ever be users for.
const BEGUN_AT_ONCE: usize = 100_000;

/// The most of the others that are looked at.
const SHED_AT_ONCE: usize = 1_000_000;

impl Runner {
    pub(super) fn is_open_model(&self) -> bool {
        self.assignment.as_ref().is_some_and(|assignment| assignment.plan.arrivals.is_some())
    }

    /// Orders the iterations whose instants have come since the last time.
    pub(super) fn begin_iterations(&mut self, now: Tick) {
        let Some(master) = self.clock.master(now) else { return };
        let stop = self.assignment.as_ref().and_then(|assignment| assignment.stop);
        let until = stop.map_or(master, |stop| stop.at.min(master));
        let since = self.begun_until.unwrap_or(master);
        if self.phase != Phase::Running || !self.is_open_model() || self.lease_until <= Some(now) {
            // Whatever comes until the load goes on is not this process'.
            self.begun_until = None;
            return;
        }
        if let Some((most, _)) = self.wanted(now) {
            self.users.allow(&most, &mut self.actions);
        }
        self.begun_until = Some(since.max(until));
        let (iterations, shed) = self.due(since, until);
        if !iterations.is_empty() {
            self.actions.push_back(Action::Begin { iterations, shed });
        }
    }

    /// Own iterations of a time by the master's clock, with their instants by the own one, and how many more there are.
    fn due(&self, since: Tick, until: Tick) -> (Vec<Arrival>, u64) {
        let Some(assignment) = &self.assignment else { return (Vec::new(), 0) };
        let Some(arrivals) = assignment.plan.arrivals.as_ref().filter(|_| since < until) else {
            return (Vec::new(), 0);
        };
        let all = arrivals.of_share(&assignment.plan, &assignment.share, since);
        let mut all = all.take_while(|arrival| arrival.at < until);
        let own = |arrival: Arrival| Some(Arrival { at: self.clock.own(arrival.at)?, ..arrival });
        let due = all.by_ref().take(BEGUN_AT_ONCE).filter_map(own).collect();
        (due, all.take(SHED_AT_ONCE).count() as u64)
    }

    /// When the next iteration is due, by the master's clock. Just behind its instant: only then it has come.
    pub(super) fn next_iteration(&self, assignment: &Assignment) -> Option<Tick> {
        let since = self.begun_until.filter(|_| self.phase == Phase::Running)?;
        let next =
            assignment.plan.arrivals.as_ref()?.of_share(&assignment.plan, &assignment.share, since).next()?;
        Some(Tick::from_micros(next.at.as_micros().saturating_add(1)))
    }
}
