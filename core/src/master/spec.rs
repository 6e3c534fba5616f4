//! Edits of a run that is on: what of a new specification changes what.
//!
//! Never touches what has been handed out: changes lie [`LEAD`] ahead. Start at [`Master::obey`].

use super::{LEAD, Master};
use crate::message::{LiveSpec, RunState, Stop, StopReason};
use crate::plan::Ramp;
use crate::run::{Constant, Deadlines, InvalidRun, Load, RunSpec};
use crate::tick::Tick;

impl Master {
    /// Carries a new specification out, or refuses it whole.
    pub(super) fn obey(&mut self, now: Tick, live: &LiveSpec) -> Result<(), InvalidRun> {
        let spec = RunSpec {
            load: live.load.clone(),
            warm_up: live.warm_up,
            desired: live.desired,
            runners: live.runners,
            thresholds: live.thresholds.clone(),
            deadlines: live.deadlines,
            ..self.spec.clone()
        };
        spec.check_numbers()?;
        if self.spec.load.form() != spec.load.form() {
            return Err(InvalidRun::Form { began: self.spec.load.form() });
        }
        if self.state == RunState::Ended {
            // Its report is made.
            return Ok(());
        }
        let before = std::mem::replace(&mut self.spec, spec);
        match (&self.spec.load, before.load) {
            (Load::Constant(load), _) => self.go_to(now, *load),
            (Load::Stages(_), Load::Stages(before)) => self.restage(now, &before),
            (Load::Arrivals(_), Load::Arrivals(before)) => self.rearrange(now, &before),
            _ => {}
        }
        self.desire(now);
        self.move_stop(now);
        self.set_marks(now);
        Ok(())
    }

    /// A new target or rate.
    pub(super) fn go_to(&mut self, now: Tick, load: Constant) {
        let Some(start) = self.on_since() else { return };
        let at = start.max(now + LEAD);
        let same = |line: &Ramp| {
            let same_rate = line.rate.to_bits() == load.spawn_rate.to_bits();
            line.to == load.users && (same_rate || line.end() <= at)
        };
        if self.layout.plan().ramps.last().is_some_and(same) {
            return;
        }
        if now < start {
            // Nobody has been asked for more.
            self.target = 0;
        }
        let in_first_ramp = self.first_ramp_end.is_some_and(|end| at < end);
        self.retarget(now, load.users, load.spawn_rate);
        if in_first_ramp {
            self.first_ramp_end = self.layout.plan().ramps.last().map(Ramp::end);
        }
    }

    /// When a load that began at `start` is to stop of itself.
    pub(super) fn planned_stop(&self, start: Tick) -> Stop {
        let Deadlines { run, stop, .. } = self.spec.deadlines;
        let duration = match &self.spec.load {
            Load::Constant(load) => load.duration,
            Load::Stages(stages) => Some(stages.iter().map(|stage| stage.duration).sum()),
            Load::Arrivals(load) => Some(load.lines.iter().map(|line| line.duration).sum()),
            Load::Shape => None,
        };
        let deadline = start + run;
        let end = duration.and_then(|duration| self.pauses.instant(start, duration));
        let (at, reason) = match end.filter(|end| *end <= deadline) {
            Some(end) => (end, StopReason::Completed),
            None => (deadline, StopReason::RunDeadline),
        };
        Stop { at, deadline: at + stop, reason }
    }

    /// A new duration or deadline. A stop that is so near that somebody may not hear of another one in time stays.
    pub(super) fn move_stop(&mut self, now: Tick) {
        let (Some(start), Some(known)) = (self.start, self.stop) else { return };
        let planned = self.planned_stop(start);
        let soonest = now + LEAD;
        if self.state != RunState::Running || known.at < soonest || known == planned {
            return;
        }
        let at = planned.at.max(soonest);
        self.stop = Some(Stop { at, deadline: at + self.spec.deadlines.stop, ..planned });
    }
}

#[cfg(test)]
mod tests;
