//! A master that was replaced and remembers nothing: it learns the run from what its processes heard of the last one.
//!
//! It takes over the epoch, the time axis, the plan and everybody's part as they are told, and changes nothing of them
//! until every process has been heard, or must have stopped its load. What departed processes had measured is gone, and
//! is said to be. Never begins a run anew. Start at [`Master::adopt`].

use super::{LEAD, Master, MasterEvent, SILENCE_MARGIN};
use crate::message::{Assignment, ProcessState, Refusal, Report, RunState};
use crate::plan::Ramp;
use crate::run::{Load, MAX_USERS, is_rate};
use crate::tick::Tick;

/// The most ramps and marks that are believed.
const MAX_LIST: usize = 1024;

impl Master {
    /// What the clock has to read at least when `report` is handled: a master without a memory takes over the time
    /// axis of the one before, as processes ignore one whose time runs backwards. `None` for a usual report.
    pub fn clock_of(&self, report: &Report) -> Option<Tick> {
        let heard = report.heard.as_ref()?;
        (self.may_adopt(report) || (self.adopting.is_some() && self.is_believable(report)))
            .then_some(heard.now)
    }

    /// Goes on with the run that a report tells of, if this master knows of none.
    pub(super) fn adopt(&mut self, now: Tick, report: &Report) {
        let Some(heard) = report.heard.as_ref().filter(|_| self.may_adopt(report)) else { return };
        let Some(start) = heard.start else { return };
        self.epoch = heard.epoch;
        // Who has joined meanwhile joins this epoch again.
        self.members.clear();
        self.runners.clear();
        self.state = RunState::Running;
        self.start = Some(start);
        self.stop = heard.stop.or_else(|| Some(self.planned_stop(start)));
        self.marks.clone_from(&heard.marks);
        self.start_complete = heard.start_complete;
        self.completed = heard.start_complete.is_some_and(|complete| complete.at <= now);
        let ends: Vec<Tick> = match &heard.plan.arrivals {
            Some(arrivals) => arrivals.lines.iter().map(|line| line.at + line.length).collect(),
            None => heard.plan.ramps.iter().map(Ramp::end).collect(),
        };
        self.first_ramp_end = ends.into_iter().chain(heard.start_complete.map(|complete| complete.at)).min();
        self.patience = now + self.spec.dead_man + SILENCE_MARGIN;
        self.adopting = Some(self.patience);
        self.forgotten_at = Some(now);
        self.take_setup_for_done();
        self.stock.forget(self.patience);
        self.events.push_back(MasterEvent::TestStart);
        if self.spec.load == Load::Shape {
            self.shape.begin(now);
        }
    }

    /// Takes in what a process of the run before says of its part; an error if it does not.
    pub(super) fn learn(&mut self, report: &Report) -> Result<(), Refusal> {
        let Some(epoch) = report.epoch.filter(|_| !self.members.contains_key(&report.from)) else {
            return Ok(());
        };
        if self.adopting.is_none() {
            return Ok(());
        }
        let Some(heard) = report.heard.as_ref().filter(|_| self.is_believable(report)) else {
            return Err(Refusal::Forgotten { theirs: epoch });
        };
        self.layout.learn(&report.from, &heard.plan, &heard.share);
        self.rendezvous.learn(&heard.rendezvous);
        heard.rows.iter().for_each(|rows| self.stock.learn(rows));
        self.heard_generation = self.heard_generation.max(heard.generation);
        self.target = heard.plan.ramps.iter().map(|ramp| ramp.to).fold(self.target, u32::max);
        self.start_complete = self.start_complete.or(heard.start_complete);
        Ok(())
    }

    /// Whether processes are still expected to say what they heard. Until then nothing is changed.
    pub(super) fn is_adopting(&self, now: Tick) -> bool {
        let missing = || self.spec.processes().is_none_or(|expected| self.joined() < expected);
        self.adopting.is_some_and(|until| now < until) && missing()
    }

    /// Everybody has been heard, or must have stopped: the load is shared out anew.
    pub(super) fn end_adoption(&mut self, now: Tick) {
        self.adopting = None;
        self.settle_at = None;
        self.settled_at = Some(now);
        let members = self.sharers();
        self.layout.renew(now + LEAD, &members);
        if let Load::Constant(load) = self.spec.load
            && 0 < self.generation
        {
            self.go_to(now, load);
        }
        self.desire(now);
    }

    /// A run that has started is taken over. One that waits needs not be: its processes follow to another epoch.
    fn may_adopt(&self, report: &Report) -> bool {
        let started = report.heard.as_ref().is_some_and(|heard| heard.start.is_some());
        started && self.is_forgotten(report) && self.is_believable(report)
    }

    /// Whether a report is of a life of the run that this master may have forgotten.
    fn is_forgotten(&self, report: &Report) -> bool {
        let waiting = self.state == RunState::Waiting && self.stop.is_none();
        waiting && report.epoch.is_some_and(|epoch| epoch != self.epoch)
    }

    /// Refuses the report of another epoch, unless its process has only waited for the start of this run: it can do so
    /// in this epoch as well.
    pub(super) fn admit_epoch(&self, report: &Report) -> Result<(), Refusal> {
        let Some(theirs) = report.epoch.filter(|epoch| *epoch != self.epoch) else { return Ok(()) };
        match &report.heard {
            None if report.state == ProcessState::Waiting || self.is_forgotten(report) => {
                Err(Refusal::Forgotten { theirs })
            }
            Some(heard) if heard.start.is_none() && heard.run == self.spec.run.id => Ok(()),
            _ => Err(Refusal::StaleEpoch { theirs, ours: self.epoch }),
        }
    }

    /// Whether what a report says of the run can be so.
    fn is_believable(&self, report: &Report) -> bool {
        let Some(heard) = &report.heard else { return false };
        let Assignment { plan, share, marks, rendezvous, .. } = heard.as_ref();
        let deadlines = self.spec.deadlines;
        let latest = Tick::ZERO + deadlines.startup + deadlines.run + deadlines.stop + deadlines.results;
        let possible = |ramp: &Ramp| ramp.from.max(ramp.to) <= MAX_USERS && is_rate(ramp.rate);
        let fits = |users: &[u32]| {
            users.len() <= self.classes.len() && users.iter().all(|users| *users <= MAX_USERS)
        };
        heard.run == self.spec.run.id
            && Some(heard.epoch) == report.epoch
            && heard.now <= latest
            && plan.ramps.len() <= MAX_LIST
            && marks.len() <= MAX_LIST
            && marks.is_sorted()
            && rendezvous.iter().all(|meeting| meeting.at.is_none_or(|at| at <= heard.now + LEAD))
            && plan.ramps.iter().all(possible)
            && plan.arrivals.is_some() == self.open_model().is_some()
            && plan.arrivals.as_ref().is_none_or(|arrivals| {
                arrivals.lines.len() <= MAX_LIST && arrivals.is_sane(self.classes.len())
            })
            && share.rows.len() == plan.ramps.len()
            && share.rows.iter().all(|row| fits(&row.from) && fits(&row.to))
    }
}

#[cfg(test)]
mod tests;
