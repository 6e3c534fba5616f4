//! Times in which a part of the load was missing.
//!
//! Never says how much was lost: that is known of the processes. Start at [`Gaps::open`].

use serde::{Deserialize, Serialize};

use crate::message::ProcessId;
use crate::tick::Tick;

/// A time in which a process' users were nowhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Gap {
    pub(super) process: ProcessId,
    pub(super) from: Tick,
    /// `None` until every user of the plan is live again.
    pub(super) to: Option<Tick>,
}

/// All of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Gaps(Vec<Gap>);

impl Gaps {
    pub(super) fn open(&mut self, process: ProcessId, from: Tick) {
        self.0.push(Gap { process, from, to: None });
    }

    /// The load is whole again, or over.
    pub(super) fn close(&mut self, now: Tick) {
        for gap in self.0.iter_mut().filter(|gap| gap.to.is_none()) {
            gap.to = Some(now.max(gap.from));
        }
    }

    /// How many there are, and how many of them are closed.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.0.len(), self.0.iter().filter(|gap| gap.to.is_some()).count())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Gap> {
        self.0.iter()
    }

    /// Whether an instant is in a gap of this process.
    pub(super) fn holds(&self, process: &ProcessId, instant: Tick) -> bool {
        let mut of_it = self.0.iter().filter(|gap| gap.process == *process);
        of_it.any(|gap| gap.from <= instant && gap.to.is_none_or(|to| instant <= to))
    }

    /// Whether a later gap of the same process follows.
    pub(super) fn is_last_of_its_process(&self, gap: &Gap) -> bool {
        self.0
            .iter()
            .rev()
            .find(|other| other.process == gap.process)
            .is_none_or(|last| last.from == gap.from)
    }
}
