//! What a restarted master goes on from: its decisions, and what nobody else knows.
//!
//! Holds what was decided and what departed processes measured; never what living ones did, who are asked for it again.
//! Once the run has ended it holds everything, so that the report stays the same to the byte. It is to be written before
//! an answer that carries a new decision leaves; [`Master::decisions`] says when there is one. Start at
//! [`Master::checkpoint`] and [`Master::restore`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::data::Stock;
use super::gap::Gaps;
use super::hooks::Once;
use super::layout::Layout;
use super::machines::RunnerPeaks;
use super::member::{Departed, Member};
use super::pause::Pauses;
use super::rendezvous::Rendezvous;
use super::shape::Shape;
use super::{Master, MasterEvent, SILENCE_MARGIN};
use crate::message::{
    Began, ClassUsers, LiveSpec, ProcessId, ProcessState, RunState, StartComplete, Stop, Window,
};
use crate::run::{ClassSpec, InvalidRun, Load, RunSpec};
use crate::tick::Tick;

/// The version of a checkpoint's form.
const VERSION: u32 = 1;

/// A master's memory, as it is kept over a restart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    version: u32,
    run: String,
    classes: Vec<String>,
    epoch: u64,
    at: Tick,
    heard_generation: u64,
    adopting: Option<Tick>,
    forgotten_at: Option<Tick>,
    live: LiveSpec,
    state: RunState,
    start: Option<Tick>,
    stop: Option<Stop>,
    layout: Layout,
    shape: Shape,
    #[serde(default)]
    pauses: Pauses,
    #[serde(default)]
    rendezvous: Rendezvous,
    #[serde(default)]
    once: Once,
    first_ramp_end: Option<Tick>,
    marks: Vec<Tick>,
    start_complete: Option<StartComplete>,
    completed: bool,
    members: Vec<Kept>,
    gaps: Gaps,
    #[serde(default)]
    stock: Stock,
    target: u32,
    peak: u32,
    runners: BTreeMap<String, RunnerPeaks>,
}

/// What is kept of a process: of a living one no more than that it is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) id: ProcessId,
    pub(super) departed: Option<Departed>,
    pub(super) unheard: bool,
    pub(super) state: ProcessState,
    /// Everything up to here is in `windows`; 0 if nothing is kept.
    pub(super) acknowledged: u64,
    pub(super) users: Vec<ClassUsers>,
    pub(super) last_merged: Tick,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) began: Option<Began>,
    pub(super) windows: Vec<Window>,
}

/// What a checkpoint says beyond living processes' measurements, for comparison: another value is a new decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Decisions {
    epoch: u64,
    state: RunState,
    start: Option<Tick>,
    stop: Option<Stop>,
    generation: u64,
    plan_version: u64,
    members: usize,
    departures: u64,
    marks: Vec<Tick>,
    start_complete: Option<StartComplete>,
    completed: bool,
    gaps: (usize, usize),
    pauses: Pauses,
    rendezvous: Rendezvous,
    once: Once,
    rows: Vec<u32>,
}

/// Why a checkpoint cannot be gone on from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Another version's.
    #[error("it has version {0}, this master writes {VERSION}")]
    Version(u32),
    /// Another run's.
    #[error("it is of run `{0}`")]
    Run(String),
    /// The scenario is another one.
    #[error("the user classes were {0}")]
    Classes(String),
    /// Its parts do not fit each other.
    #[error("its parts do not fit each other")]
    Broken,
    /// What it says of the load cannot be carried out.
    #[error("{0}")]
    Invalid(#[from] InvalidRun),
}

impl Checkpoint {
    /// The master's clock when it was made. A restored master's never reads less.
    pub fn at(&self) -> Tick {
        self.at
    }
}

impl Master {
    /// Everything that a restarted master needs.
    pub fn checkpoint(&self, now: Tick) -> Checkpoint {
        let waiting = self.state == RunState::Waiting;
        // Who has only joined joins again.
        let wanted = |(_, member): &(&ProcessId, &Member)| !waiting || member.departed.is_some();
        let whole = self.state == RunState::Ended;
        let kept = |(id, member): (&ProcessId, &Member)| member.kept(id, whole);
        Checkpoint {
            version: VERSION,
            run: self.spec.run.id.clone(),
            classes: self.classes.clone(),
            epoch: self.epoch,
            at: now,
            heard_generation: self.heard_generation,
            adopting: self.adopting,
            forgotten_at: self.forgotten_at,
            live: LiveSpec::of(&self.spec, self.generation),
            state: self.state,
            start: self.start,
            stop: self.stop,
            layout: self.layout.clone(),
            shape: self.shape.clone(),
            pauses: self.pauses.clone(),
            rendezvous: self.rendezvous.clone(),
            once: self.once.clone(),
            first_ramp_end: self.first_ramp_end,
            marks: self.marks.clone(),
            start_complete: self.start_complete,
            completed: self.completed,
            members: self.members.iter().filter(wanted).map(kept).collect(),
            gaps: self.gaps.clone(),
            stock: self.stock.clone(),
            target: self.target,
            peak: self.peak,
            runners: self.runners.clone(),
        }
    }

    /// Says when a checkpoint has to be written: whenever this is another than when the last one was.
    pub fn decisions(&self) -> Decisions {
        Decisions {
            epoch: self.epoch,
            state: self.state,
            start: self.start,
            stop: self.stop,
            generation: self.generation,
            plan_version: self.layout.plan().version,
            members: if self.state == RunState::Waiting { 0 } else { self.members.len() },
            departures: self.departures,
            marks: self.marks.clone(),
            start_complete: self.start_complete,
            completed: self.completed,
            gaps: self.gaps.counts(),
            pauses: self.pauses.clone(),
            rendezvous: self.rendezvous.clone(),
            once: self.once.clone(),
            rows: self.stock.decisions(),
        }
    }

    /// A master that goes on from `checkpoint`, on the same time axis. Every process that was alive has the dead-man
    /// time from `now` on to be heard again. Poll for events and the timeout next: what became due meanwhile is done
    /// then. The scenario's `test_start` is told again, as this process has not heard it.
    pub fn restore(
        spec: RunSpec,
        classes: Vec<ClassSpec>,
        checkpoint: Checkpoint,
        now: Tick,
    ) -> Result<Self, Unusable> {
        let Checkpoint { live, .. } = &checkpoint;
        if checkpoint.version != VERSION {
            return Err(Unusable::Version(checkpoint.version));
        }
        if checkpoint.run != spec.run.id {
            return Err(Unusable::Run(checkpoint.run));
        }
        let spec = RunSpec {
            load: live.load.clone(),
            warm_up: live.warm_up,
            desired: live.desired,
            runners: live.runners,
            thresholds: live.thresholds.clone(),
            deadlines: live.deadlines,
            ..spec
        };
        let mut master = Self::new(spec, classes, checkpoint.epoch)?;
        if checkpoint.classes != master.classes {
            return Err(Unusable::Classes(checkpoint.classes.join(", ")));
        }
        if !master.layout.take_over(checkpoint.layout) {
            return Err(Unusable::Broken);
        }
        master.generation = checkpoint.live.generation;
        master.state = checkpoint.state;
        master.start = checkpoint.start;
        master.stop = checkpoint.stop;
        master.shape = checkpoint.shape;
        master.pauses = checkpoint.pauses;
        master.rendezvous = checkpoint.rendezvous;
        master.once = checkpoint.once;
        master.first_ramp_end = checkpoint.first_ramp_end;
        master.marks = checkpoint.marks;
        master.start_complete = checkpoint.start_complete;
        master.completed = checkpoint.completed;
        master.gaps = checkpoint.gaps;
        master.target = checkpoint.target;
        master.peak = checkpoint.peak;
        master.runners = checkpoint.runners;
        let begun = checkpoint.start.unwrap_or(now);
        let whole = checkpoint.state == RunState::Ended;
        let member = |kept: Kept| (kept.id.clone(), Member::restored(kept, whole, begun, now));
        master.members = checkpoint.members.into_iter().map(member).collect();
        master.patience = now + master.spec.dead_man + SILENCE_MARGIN;
        master.adopting = checkpoint.adopting.map(|_| master.patience);
        master.heard_generation = checkpoint.heard_generation;
        master.forgotten_at = checkpoint.forgotten_at;
        let (stock, members) = (&mut master.stock, &master.members);
        if !stock.take_over(checkpoint.stock, |id| members.contains_key(id)) {
            return Err(Unusable::Broken);
        }
        master.merge_all();
        master.go_on(now);
        Ok(master)
    }

    /// Whether some process that was alive before a restart has not told what it measured yet: until then the
    /// statistics are less than they were.
    pub fn is_learning(&self) -> bool {
        let ended = self.state == RunState::Ended;
        !ended && (self.adopting.is_some() || self.present().any(|(_, member)| !member.known))
    }

    /// Takes up what a fresh process has to do for the state it is in.
    fn go_on(&mut self, now: Tick) {
        self.go_on_with_hooks();
        match self.state {
            RunState::Running => {
                self.events.push_back(MasterEvent::TestStart);
                // A change that was only about to be made.
                self.share_anew(now);
                if self.spec.load == Load::Shape {
                    self.shape.begin(now);
                }
            }
            RunState::Ended => {
                let exit_code = self.verdict().result.exit_code();
                self.events.push_back(MasterEvent::Ended { exit_code });
            }
            RunState::Waiting | RunState::Draining => {}
        }
    }
}

#[cfg(test)]
mod tests;
