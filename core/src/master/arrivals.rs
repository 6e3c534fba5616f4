//! The open model's lines, laid out in time.
//!
//! Users are no target here: the plan of users only says how many there may be, and each process takes what it needs. Whose
//! an iteration is follows from the shares of that plan. Start at [`Master::begin_arrivals`].

use super::stages::{Placed, placed};
use super::{LEAD, Master};
use crate::arrivals::{Line, RATE, between};
use crate::message::{IterationStatus, RunState};
use crate::plan::AT_ONCE;
use crate::report;
use crate::run::{Arrivals, Load, Stage};
use crate::stats::Iterations;
use crate::tick::Tick;

impl Master {
    /// The load of the open model, if it is that.
    pub(super) fn open_model(&self) -> Option<&Arrivals> {
        match &self.spec.load {
            Load::Arrivals(load) => Some(load),
            _ => None,
        }
    }

    /// Lets users come, and lays the lines out.
    pub(super) fn begin_arrivals(&mut self, now: Tick) {
        let Some(start) = self.on_since() else { return };
        self.allow_users(now);
        self.lay_arrivals(now, start, 0);
    }

    /// Goes on with other stages, or another bound on users.
    pub(super) fn rearrange(&mut self, now: Tick, before: &Arrivals) {
        let (Some(load), Some(start)) = (self.open_model(), self.on_since()) else { return };
        let (per, at) = (load.per, start.max(now + LEAD));
        let (bound, rate) =
            (load.max_users != before.max_users, (per, &load.lines) != (before.per, &before.lines));
        if bound {
            self.allow_users(now);
        }
        if rate {
            let present =
                self.layout.plan().arrivals.as_ref().map_or(0, |arrivals| arrivals.rate_per(per, at));
            self.lay_arrivals(now, at, present);
        }
    }

    /// From `at` on no iteration begins.
    pub(super) fn hold_arrivals(&mut self, at: Tick) {
        if self.open_model().is_some() {
            self.layout.lay_arrivals(Line::still(at));
        }
    }

    /// Back to where the line is, after a pause.
    pub(super) fn rejoin_arrivals(&mut self, now: Tick, at: Tick) {
        let Some(start) = self.on_since() else { return };
        let in_force = self.placed(start).into_iter().take_while(|stage| stage.begin <= at).last();
        self.allow_users(now);
        if let Some(Placed { begin, end, from, to }) = in_force {
            let planned = between(u64::from(from) * RATE, u64::from(to) * RATE, at - begin, end - begin);
            self.lay_arrivals(now, at, planned);
        }
    }

    /// So many users there may be from the next change on.
    fn allow_users(&mut self, now: Tick) {
        let Some(most) = self.open_model().map(|load| load.max_users) else { return };
        self.target = self.target.max(most);
        let at = self.start.map_or(now, |start| start.max(now + LEAD));
        self.layout.retarget(at, most, AT_ONCE);
    }

    /// The stages of the load, in the run's time.
    fn placed(&self, start: Tick) -> Vec<Placed> {
        self.open_model().map(|load| placed(&load.stages(), start).collect()).unwrap_or_default()
    }

    /// All lines from an instant on, in the place of those that there are: from a rate to where the stage that has begun by
    /// then leads, by its end, and all those that follow. Who is cut off goes by them, too.
    fn lay_arrivals(&mut self, now: Tick, at: Tick, rate: u64) {
        let (Some(per), Some(start)) = (self.open_model().map(|load| load.per), self.on_since()) else {
            return;
        };
        let stages = self.placed(start);
        let last = stages.iter().rposition(|stage| stage.begin <= at).unwrap_or_default();
        for stage in &stages[last..] {
            let from = if stage.begin < at { rate } else { u64::from(stage.from) * RATE };
            let begin = stage.begin.max(at);
            let (length, to) = (stage.end - begin, u64::from(stage.to) * RATE);
            self.layout.lay_arrivals(Line { at: begin, per, length, from, to, before: 0 });
            if self.first_ramp_end.is_none() && 0 < to {
                // Which a jump ends at once, and a rate that stays.
                self.first_ramp_end = Some(if from == to { begin } else { stage.end });
                self.set_marks(now);
            }
        }
    }

    /// Whether everybody who is here obeys the shares that hold now, so that no iteration is nobody's.
    pub(super) fn everything_is_shared(&self, now: Tick) -> bool {
        let Some(last) = self.layout.plan().ramps.last() else { return false };
        let obeyed = || self.present().all(|(_, member)| last.version <= member.plan_version);
        self.settle_at.is_none() && last.at <= now && !self.layout.holds() && obeyed()
    }

    /// What became of the iterations that the plan had, but in the warm-up, of which so much was counted; `None` in the closed
    /// model.
    pub(super) fn iterations(&self, counted: Iterations) -> Option<report::Iterations> {
        let (arrivals, stop) = (self.layout.plan().arrivals.as_ref()?, self.stop?);
        let planned = arrivals.first_at(stop.at).saturating_sub(arrivals.first_at(self.warm_at()?));
        let Iterations { started, shed, late } = counted;
        Some(report::Iterations { planned, started, shed, late })
    }

    /// The same as it is now, warm-up and all.
    pub(super) fn iterations_so_far(&self, now: Tick, counted: Iterations) -> Option<IterationStatus> {
        let arrivals = self.layout.plan().arrivals.as_ref()?;
        let rate = if self.state == RunState::Running { arrivals.rate(now) } else { 0.0 };
        let Iterations { started, shed, late } = counted;
        Some(IterationStatus { rate, started, shed, late })
    }
}

impl Arrivals {
    /// The same as stages, with iterations in the place of users.
    pub(super) fn stages(&self) -> Vec<Stage> {
        self.lines.iter().map(|line| Stage { duration: line.duration, users: line.target }).collect()
    }
}

#[cfg(test)]
mod tests;
