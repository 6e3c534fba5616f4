//! The course of a run: its start, the sharing of its load, its stop and its end.
//!
//! Every function here looks at what is so, and does what is due. Start at [`Master::check_startup`].

use std::collections::BTreeSet;
use std::time::Duration;

use super::member::Member;
use super::{END_MARGIN, LEAD, Master, MasterEvent, REPORT_LAG, SETTLE};
use crate::message::{ProcessId, ProcessState, RunState, StartComplete, StopReason};
use crate::plan::Ramp;
use crate::run::{Desired, Load};
use crate::tick::Tick;

impl Master {
    /// Starts the run once every process is here, and gives up when they do not come.
    pub(super) fn check_startup(&mut self, now: Tick) {
        if self.state != RunState::Waiting || self.stop.is_some() {
            return;
        }
        if self.spec.desired == Desired::Stopped {
            return self.handle_stop(now, StopReason::Stopped);
        }
        let here = self.present().count() as u32;
        if self.spec.processes().is_some_and(|expected| expected <= here && expected <= self.joined())
            && self.is_set_up()
        {
            return self.agree_on_start(now);
        }
        if Tick::ZERO + self.spec.deadlines.startup <= now {
            self.refuse_to_start(now);
        }
    }

    pub(super) fn joined(&self) -> u32 {
        let places: BTreeSet<(&str, u32)> =
            self.present().map(|(id, _)| (id.runner.as_str(), id.process)).collect();
        places.len() as u32
    }

    pub(super) fn agree_on_start(&mut self, now: Tick) {
        let start = now + LEAD;
        self.start = Some(start);
        self.state = RunState::Running;
        self.events.push_back(MasterEvent::TestStart);
        self.check_members(now);
        self.desire(now);
        match &self.spec.load {
            _ if self.pauses.is_on() => {}
            Load::Constant(load) => self.retarget(now, load.users, load.spawn_rate),
            Load::Stages(_) => self.check_stages(now),
            Load::Arrivals(_) => self.begin_arrivals(now),
            Load::Shape => self.shape.begin(now),
        }
        self.stop = Some(self.planned_stop(start));
        self.set_marks(now);
    }

    pub(super) fn retarget(&mut self, now: Tick, users: u32, rate: f64) {
        let at = self.start.map_or(now, |start| start.max(now + LEAD));
        self.layout.retarget(at, users, rate);
        self.targeted(now, users);
    }

    /// Notes where the line that was just laid out leads.
    pub(super) fn targeted(&mut self, now: Tick, users: u32) {
        self.target = self.target.max(users);
        if self.first_ramp_end.is_none() && 0 < users {
            self.first_ramp_end = self.layout.plan().ramps.last().map(Ramp::end);
            self.set_marks(now);
        }
    }

    /// From when on a threshold looks; `None` while that is not known. Later than it wants where it was put too late to
    /// tell apart what had been measured by then.
    pub(super) fn measured_from(&self, after: Option<Duration>) -> Option<Tick> {
        let wanted = self.wanted_from(after)?;
        self.marks.iter().copied().find(|mark| wanted <= *mark)
    }

    /// When the warm-up is over.
    pub(super) fn warm_at(&self) -> Option<Tick> {
        self.instant(self.spec.warm_up)
    }

    fn wanted_from(&self, after: Option<Duration>) -> Option<Tick> {
        let wanted = match after {
            Some(after) => self.instant(after),
            None => self.first_ramp_end,
        };
        Some(wanted?.max(self.warm_at()?))
    }

    /// Brings the marks in line with the thresholds. One that has passed, or may have for some process, stays.
    pub(super) fn set_marks(&mut self, now: Tick) {
        let soonest = now + LEAD;
        let afters = self.spec.thresholds.iter().map(|threshold| threshold.after.map(Duration::from));
        let warm = self.warm_at().filter(|_| !self.spec.warm_up.is_zero());
        let wanted: Vec<Tick> = afters.filter_map(|after| self.wanted_from(after)).chain(warm).collect();
        let mut marks: BTreeSet<Tick> = self.marks.iter().copied().filter(|mark| *mark < soonest).collect();
        for wanted in wanted {
            // Before the run nothing is measured, so then every mark is in time.
            let begun = self.start.is_some_and(|start| start < soonest);
            if !begun || marks.range(wanted..).next().is_none_or(|mark| soonest <= *mark) {
                marks.insert(if begun { wanted.max(soonest) } else { wanted });
            }
        }
        self.marks = marks.into_iter().collect();
    }

    /// Somebody came or went.
    pub(super) fn share_anew(&mut self, now: Tick) {
        self.settle_at = self.settle_at.or(Some(now));
    }

    /// Shares the load among those who are here, after somebody came or went. At most one change in a short time.
    pub(super) fn check_members(&mut self, now: Tick) {
        if self.state != RunState::Running || self.is_adopting(now) {
            return;
        }
        if self.adopting.is_some() {
            return self.end_adoption(now);
        }
        let Some(due) = self.settle_at else { return };
        let ready = self.settled_at.map_or(due, |settled| due.max(settled + SETTLE));
        if now < ready {
            self.settle_at = Some(ready);
            return;
        }
        self.settle_at = None;
        let members = self.sharers();
        let version = self.layout.plan().version;
        // An iteration has one instant, so that nobody's part has to be set aside until others have given it up.
        self.layout.change(now + LEAD, &members, 0 < version && self.open_model().is_none());
        if version != self.layout.plan().version {
            self.settled_at = Some(now);
        }
    }

    /// Those who have a part of the load.
    pub(super) fn sharers(&self) -> Vec<ProcessId> {
        // Whoever is leaving begins no iteration any more, and has users for a while.
        let open = self.open_model().is_some();
        let here = |member: &Member| match member.state {
            ProcessState::Left => false,
            ProcessState::Draining | ProcessState::Drained => !open,
            _ => true,
        };
        self.present().filter(|(_, member)| here(member)).map(|(id, _)| id.clone()).collect()
    }

    /// Gives what was set aside, once the others have given it up.
    pub(super) fn check_grant(&mut self, now: Tick) {
        if self.state == RunState::Running && self.adopting.is_none() && self.layout.holds() {
            let shrunk = |(id, member): (&ProcessId, &Member)| {
                self.layout.has_shrunk(id, now, member.plan_version, member.live())
            };
            if self.present().all(shrunk) {
                self.layout.grant(now + LEAD);
            }
        }
    }

    pub(super) fn check_shape(&mut self, now: Tick) {
        let Some(start) = self.on_since() else { return };
        if let Some(deadline) = self.shape.due(now, start) {
            self.events.push_back(MasterEvent::AskShape { run_time: now.since(start), deadline });
        }
    }

    /// Agrees on the instant at which everybody says that every user runs.
    pub(super) fn check_complete(&mut self, now: Tick) {
        if self.state != RunState::Running {
            return;
        }
        if let Some(complete) = self.start_complete {
            if !self.completed && complete.at <= now {
                self.completed = true;
                self.events.push_back(MasterEvent::StartComplete { users: complete.users });
            }
        } else if self.first_ramp_end.is_some_and(|end| end <= now)
            && (self.open_model().is_some() || self.layout.plan().users(now) <= self.accounted())
        {
            self.start_complete = Some(StartComplete { at: now + LEAD, users: self.users() });
        }
    }

    /// Users that live, or have died where they belong.
    pub(super) fn accounted(&self) -> u32 {
        self.present()
            .fold(0, |sum, (_, member)| sum.saturating_add(member.live()).saturating_add(member.dead()))
    }

    pub(super) fn check_gaps(&mut self, now: Tick) {
        let (all, closed) = self.gaps.counts();
        if all == closed {
            return;
        }
        let plan = self.layout.plan();
        let whole = match self.open_model() {
            Some(_) => self.everything_is_shared(now),
            None => plan.users(now).min(plan.users(now.before(REPORT_LAG))) <= self.accounted(),
        };
        if whole {
            self.gaps.close(now);
        }
    }

    pub(super) fn check_stop(&mut self, now: Tick) {
        let due = self.stop.filter(|stop| stop.at <= now);
        if let Some(stop) = due.filter(|_| matches!(self.state, RunState::Waiting | RunState::Running)) {
            self.state = RunState::Draining;
            self.gaps.close(stop.at);
            self.note_unmet(now);
            if self.start.is_some() {
                self.events.push_back(MasterEvent::TestStop);
            }
        }
    }

    /// Until when the last reports are waited for.
    pub(super) fn last_moment(&self) -> Option<Tick> {
        self.stop.map(|stop| (stop.deadline + END_MARGIN).max(self.patience))
    }

    /// Whoever has not said its last word at the end took with it what it had not reported: that is a gap.
    fn note_unheard(&mut self) {
        let on = self.start.is_some();
        let unheard = self.members.iter_mut().filter(|(_, member)| on && member.departed.is_none());
        for (id, member) in unheard.filter(|(_, member)| !member.is_final()) {
            member.unheard = true;
            self.gaps.open(id.clone(), member.last_merged);
        }
    }

    /// Whether a process may still say what it measured: also one that is only silent, as the network may come back. One
    /// that was started again has ended.
    fn is_awaited(&self, id: &ProcessId, member: &Member) -> bool {
        let may_be_alive = match &member.departed {
            None => true,
            Some(departed) => !departed.proven && self.superseded_by(id).is_none(),
        };
        may_be_alive && !member.is_final()
    }

    pub(super) fn check_end(&mut self, now: Tick) {
        if self.state != RunState::Draining || self.is_adopting(now) {
            return;
        }
        let over = self.last_moment().is_some_and(|last| last <= now);
        let awaited = self.members.iter().any(|(id, member)| self.is_awaited(id, member));
        if (over || !awaited) && self.is_torn_down(now) {
            self.note_unheard();
            self.gaps.close(now);
            self.state = RunState::Ended;
            // In the order of the processes, not of their reports: so it is after a restart too.
            self.merge_all();
            let exit_code = self.verdict().result.exit_code();
            self.events.push_back(MasterEvent::Ended { exit_code });
        }
    }
}
