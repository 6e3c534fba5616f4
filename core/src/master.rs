//! The master's state machine: joins, the plan and its shares, deaths, the stop, the end.
//!
//! Its tick zero is its own start. Its shell brings in messages and the time, and polls after each of them:
//! [`Master::poll_event`] until there is none, then [`Master::poll_timeout`]. Sends nothing of itself: the answer to a
//! report is the whole of what a process has to know. Start at [`Master::handle_report`].

mod adoption;
mod arrivals;
mod checkpoint;
mod course;
mod data;
mod gap;
mod hooks;
mod intake;
mod layout;
mod live;
mod machines;
mod member;
mod pause;
mod rendezvous;
mod shape;
mod spec;
mod stages;
mod summary;

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::message::{
    Assignment, Departure, Health, LiveSpec, ProcessId, ProcessState, Refusal, Report, RunState,
    RunnerDeparture, StartComplete, Stop, StopReason, VERSION,
};
use crate::run::{ClassSpec, Deadlines, InvalidRun, RunSpec};
use crate::stats::Statistics;
use crate::tick::Tick;
pub use checkpoint::{Checkpoint, Decisions, Unusable};
use data::Stock;
use gap::Gaps;
pub use hooks::Hooks;
use hooks::Once;
use layout::Layout;
use live::Live;
use machines::RunnerPeaks;
use member::{Departed, Member};
use pause::Pauses;
use rendezvous::Rendezvous;
pub use shape::ShapeTick;
use shape::{Answer, Shape};

/// From the making of a change until it comes into force: every process has heard of it by then.
pub const LEAD: Duration = Duration::from_millis(1500);
/// Beyond the dead-man time, until a silent process counts as dead.
const SILENCE_MARGIN: Duration = Duration::from_secs(1);
/// Beyond the stop's deadline, until the run ends without the last reports.
const END_MARGIN: Duration = Duration::from_secs(5);
/// At most one change of membership in this time, so that many joins are one.
const SETTLE: Duration = Duration::from_millis(100);
/// How far reports of live users lag behind the plan at most, on a ramp.
const REPORT_LAG: Duration = Duration::from_secs(2);

/// What a shell has to know or do.
#[derive(Clone, Debug, PartialEq)]
pub enum MasterEvent {
    /// Everybody is here: carry the scenario's setup out, and tell how it went.
    Setup,
    /// The start is agreed.
    TestStart,
    /// Ask the shape; an answer after the deadline is taken all the same, but counts as late.
    AskShape {
        /// Since the start.
        run_time: Duration,
        /// When the answer is late.
        deadline: Tick,
    },
    /// Every user of the first ramp runs.
    StartComplete {
        /// Users of all processes.
        users: u32,
    },
    /// A report with new measurements was taken in.
    WorkerReport(WorkerReport),
    /// The load is being stopped.
    TestStop,
    /// Every user has ended: carry the scenario's teardown out, and tell how it went.
    Teardown,
    /// The run is over, its report is ready.
    Ended {
        /// By the verdict.
        exit_code: u8,
    },
}

/// A report in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerReport {
    /// Who reported.
    pub id: ProcessId,
    /// Its live users.
    pub users: u32,
    /// Finished calls since its last report.
    pub requests: u64,
    /// Failed ones of them.
    pub failures: u64,
}

/// A process as its last report has it.
#[derive(Clone, Debug)]
pub struct ProcessView<'a> {
    /// Which one.
    pub id: &'a ProcessId,
    /// Its live users.
    pub users: u32,
    /// How it is.
    pub health: &'a Health,
    /// What it does.
    pub state: ProcessState,
}

/// The one that a run's processes report to.
#[derive(Clone, Debug)]
pub struct Master {
    spec: RunSpec,
    classes: Vec<String>,
    epoch: u64,
    /// Of the specification in force.
    generation: u64,
    /// The highest that a process had heard of before this master forgot it.
    heard_generation: u64,
    /// Until then processes of a run that was taken over are expected to say what they heard.
    adopting: Option<Tick>,
    /// When this master took over a run of which it knew nothing.
    forgotten_at: Option<Tick>,
    state: RunState,
    start: Option<Tick>,
    stop: Option<Stop>,
    members: BTreeMap<ProcessId, Member>,
    /// Rises with every change of who is gone, and of what is held of them.
    departures: u64,
    /// After a restart: until then a silent process may only not have noticed it.
    patience: Tick,
    layout: Layout,
    /// When the load is shared anew, because somebody came or went.
    settle_at: Option<Tick>,
    settled_at: Option<Tick>,
    shape: Shape,
    pauses: Pauses,
    rendezvous: Rendezvous,
    once: Once,
    first_ramp_end: Option<Tick>,
    marks: Vec<Tick>,
    start_complete: Option<StartComplete>,
    completed: bool,
    /// What was measured by several processes, by the mark before; empty while only one has measured anything.
    merged: BTreeMap<Tick, Statistics>,
    live: Live,
    gaps: Gaps,
    /// The rows of data sets.
    stock: Stock,
    target: u32,
    peak: u32,
    runners: BTreeMap<String, RunnerPeaks>,
    events: VecDeque<MasterEvent>,
}

impl Master {
    /// A master that has just started. `epoch` names this life of the run.
    pub fn new(spec: RunSpec, classes: Vec<ClassSpec>, epoch: u64) -> Result<Self, InvalidRun> {
        spec.check(&classes)?;
        let stock = Stock::new(&spec.data);
        let (names, weights) = classes.into_iter().map(|class| (class.name, class.weight)).unzip();
        Ok(Self {
            spec,
            classes: names,
            epoch,
            generation: 0,
            heard_generation: 0,
            adopting: None,
            forgotten_at: None,
            state: RunState::Waiting,
            start: None,
            stop: None,
            members: BTreeMap::new(),
            departures: 0,
            patience: Tick::ZERO,
            layout: Layout::new(weights),
            settle_at: None,
            settled_at: None,
            shape: Shape::default(),
            pauses: Pauses::default(),
            rendezvous: Rendezvous::default(),
            once: Once::default(),
            first_ramp_end: None,
            marks: Vec::new(),
            start_complete: None,
            completed: false,
            merged: BTreeMap::new(),
            live: Live::default(),
            gaps: Gaps::default(),
            stock,
            target: 0,
            peak: 0,
            runners: BTreeMap::new(),
            events: VecDeque::new(),
        })
    }

    /// Takes a report in and answers it. Poll for events and the timeout next, also after a refusal.
    pub fn handle_report(&mut self, now: Tick, report: &Report) -> Result<Assignment, Refusal> {
        self.adopt(now, report);
        self.admit(report)?;
        self.learn(report)?;
        let id = report.from.clone();
        if !self.members.contains_key(&id) && self.state != RunState::Ended {
            let known = report.epoch.is_none();
            let last_merged = self.start.filter(|_| !known).unwrap_or(now);
            self.members.insert(id.clone(), Member { last_merged, known, ..Member::new(now) });
            self.share_anew(now);
        }
        // One that repeats itself has not heard the answer: its time to stop its load runs on.
        if let Some(known) = self.members.get_mut(&id).filter(|known| known.newest < report.sequence) {
            known.last_heard = known.last_heard.max(now);
        }
        let send_full = self.state != RunState::Ended && self.take_in(now, report);
        if let Some(by) = self.superseded_by(&id) {
            self.handle_timeout(now);
            return Err(Refusal::Superseded { process: id, by });
        }
        if self.state != RunState::Ended {
            self.note_peaks(&id);
        }
        self.handle_timeout(now);
        let rows = self.serve_rows(now, report);
        if self.state == RunState::Ended
            && let Some(member) = self.members.get_mut(&id)
        {
            member.told = true;
        }
        Ok(Assignment { rows, ..self.assignment(now, &id, send_full) })
    }

    /// Takes in that a process has ended, from whoever saw it. Poll for events and the timeout next.
    pub fn handle_departure(&mut self, now: Tick, departure: &Departure) {
        let id = &departure.process;
        if self.state == RunState::Ended {
            // The report is made. This one only needs not be told any more.
            if let Some(member) = self.members.get_mut(id) {
                member.told = true;
            }
            return;
        }
        if !self.members.contains_key(id) && self.has_place(id) {
            // It may have died with its first report on the way: that is no join.
            let mut unseen = Member::new(now);
            unseen.departed = Some(Departed::default());
            self.members.insert(id.clone(), unseen);
        }
        let Some(member) = self.members.get_mut(id) else { return };
        let known = member.departed.as_ref();
        let sent_total = departure.sent_total.or(known.and_then(|known| known.sent_total));
        let new = known.is_none();
        member.departed = Some(Departed { proven: true, sent_total });
        self.departures += 1;
        self.stock.departed(now, id, true);
        if new {
            self.left(now, id);
        }
        self.handle_timeout(now);
    }

    /// Takes in that a whole runner has ended: every process of it that is not known to be gone is. Poll for events and
    /// the timeout next.
    pub fn handle_runner_departure(&mut self, now: Tick, departure: &RunnerDeparture) {
        let of_it = |(id, member): &(&ProcessId, &Member)| {
            id.runner == departure.runner && member.departed.as_ref().is_none_or(|known| !known.proven)
        };
        let gone: Vec<ProcessId> = self.members.iter().filter(of_it).map(|(id, _)| id.clone()).collect();
        for process in gone {
            let departure = Departure { process, exit: departure.exit.clone(), sent_total: None };
            self.handle_departure(now, &departure);
        }
    }

    /// Takes in what may change of a run that is on, as the operator has it; one of a lower generation than is in force
    /// is ignored. Returns the generation in force. Poll for events and the timeout next.
    ///
    /// A new target counts from [`LEAD`] on: in mid-ramp users go on from where the line is then, at the new rate, and
    /// the first ramp ends when they reach the new target. A new duration moves the stop; one that is already over
    /// stops the load after [`LEAD`]. Once the load is being stopped, only thresholds change anything.
    pub fn handle_spec(&mut self, now: Tick, live: &LiveSpec) -> Result<u64, InvalidRun> {
        if self.generation < live.generation && self.heard_generation <= live.generation {
            self.obey(now, live)?;
            self.generation = live.generation;
            self.handle_timeout(now);
        }
        Ok(self.generation)
    }

    /// Takes the shape's answer in. Poll for events and the timeout next.
    pub fn handle_shape(&mut self, now: Tick, tick: ShapeTick) {
        match self.shape.answered(tick) {
            Answer::End => self.handle_stop(now, StopReason::ShapeEnded),
            Answer::Target { users, rate } if self.state == RunState::Running => {
                self.retarget(now, users, rate);
            }
            Answer::Target { .. } | Answer::Hold => {}
        }
        self.handle_timeout(now);
    }

    /// Stops the load, unless that has begun. Poll for events and the timeout next.
    pub fn handle_stop(&mut self, now: Tick, reason: StopReason) {
        if matches!(self.state, RunState::Waiting | RunState::Running) {
            self.stop = Some(Stop { at: now, deadline: now + self.spec.deadlines.stop, reason });
            self.handle_timeout(now);
        }
    }

    /// Does what is due. Poll for events next.
    pub fn handle_timeout(&mut self, now: Tick) {
        self.notice_silence(now);
        self.check_startup(now);
        self.check_members(now);
        self.check_grant(now);
        self.check_shape(now);
        self.check_stages(now);
        self.check_complete(now);
        self.check_rendezvous(now);
        self.check_gaps(now);
        self.check_stop(now);
        self.check_teardown(now);
        self.check_end(now);
        self.layout.prune(now);
    }

    /// When to call [`Self::handle_timeout`] at the latest; `None` once the run is over.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Tick> {
        let silence = self.present().map(|(_, member)| self.silent_at(member)).min();
        let startup = Tick::ZERO + self.spec.deadlines.startup;
        let complete = self.start_complete.map(|complete| complete.at).filter(|_| !self.completed);
        let stop = self.stop.map(|stop| stop.at);
        match self.state {
            RunState::Waiting => silence.into_iter().chain(stop).chain([startup]).min(),
            RunState::Running => {
                let settle = self.adopting.or(self.settle_at);
                let load =
                    self.shape.poll_timeout().filter(|_| !self.pauses.is_on()).or_else(|| self.next_stage());
                [silence, complete, stop, settle, load].into_iter().flatten().min()
            }
            RunState::Draining => {
                let end = self.torn_down_by().or_else(|| self.last_moment());
                silence.into_iter().chain(end).min()
            }
            RunState::Ended => None,
        }
    }

    /// What has happened; `None` when there is nothing more for now.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<MasterEvent> {
        self.events.pop_front()
    }

    /// What the run is doing.
    pub fn state(&self) -> RunState {
        self.state
    }

    /// Users that are live in all processes together, as reported.
    pub fn users(&self) -> u32 {
        self.present().fold(0, |sum, (_, member)| sum.saturating_add(member.live()))
    }

    /// Users that the plan has at an instant; 0 unless the run is on.
    pub fn target(&self, now: Tick) -> u32 {
        if self.state == RunState::Running { self.layout.plan().users(now) } else { 0 }
    }

    /// How long each part may take, as it is in force.
    pub fn deadlines(&self) -> Deadlines {
        self.spec.deadlines
    }

    /// Everything measured so far. Mostly there is one window, and nothing to merge.
    pub fn statistics(&self) -> Cow<'_, Statistics> {
        let mut windows = self.windows().values();
        let mut all = windows.next().map_or_else(|| Cow::Owned(Statistics::default()), Cow::Borrowed);
        windows.for_each(|window| all.to_mut().merge(window));
        all
    }

    /// The processes that are here.
    pub fn processes(&self) -> impl Iterator<Item = ProcessView<'_>> {
        self.present().map(|(id, member)| ProcessView {
            id,
            users: member.live(),
            health: &member.health,
            state: member.state,
        })
    }

    /// Whether every process that is here knows that the run is over.
    pub fn everybody_told(&self) -> bool {
        self.state == RunState::Ended && self.present().all(|(_, member)| member.told)
    }

    fn present(&self) -> impl Iterator<Item = (&ProcessId, &Member)> {
        self.members.iter().filter(|(_, member)| member.departed.is_none())
    }

    fn assignment(&self, now: Tick, id: &ProcessId, send_full: bool) -> Assignment {
        Assignment {
            version: VERSION,
            epoch: self.epoch,
            run: self.spec.run.id.clone(),
            now,
            acknowledged: self.members.get(id).map_or(0, |member| member.acknowledged),
            send_full,
            state: self.state,
            start: self.start,
            plan: self.layout.plan().clone(),
            share: self.layout.share(id),
            marks: self.marks.clone(),
            start_complete: self.start_complete,
            stop: self.stop,
            users: self.users(),
            most_users: self.spec.load.most_users(),
            rendezvous: self.meetings(now),
            generation: self.generation.max(self.heard_generation),
            rows: None,
        }
    }

    fn silent_at(&self, member: &Member) -> Tick {
        member.last_heard + self.spec.dead_man + SILENCE_MARGIN
    }

    fn notice_silence(&mut self, now: Tick) {
        if self.state == RunState::Ended {
            return;
        }
        let silent = self.present().filter(|(_, member)| self.silent_at(member) <= now);
        let silent: Vec<ProcessId> = silent.map(|(id, _)| id.clone()).collect();
        for id in silent {
            if let Some(member) = self.members.get_mut(&id) {
                member.departed = Some(Departed { proven: false, sent_total: None });
            }
            self.departures += 1;
            self.stock.departed(now, &id, false);
            self.left(now, &id);
        }
    }

    /// A process is gone: what it still had to do is missing from now on.
    fn left(&mut self, now: Tick, id: &ProcessId) {
        self.share_anew(now);
        let Some(member) = self.members.get(id) else { return };
        if self.start.is_some_and(|start| start <= now) && !member.is_final() && self.state != RunState::Ended
        {
            self.gaps.open(id.clone(), member.last_merged);
        }
    }
}

#[cfg(test)]
mod tests;
