//! What a master holds of one process: what it reported last, everything it measured, and how it left.
//!
//! Takes each report's measurements exactly once, whatever the network does with it. Start at [`Member::take_in`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::checkpoint::Kept;
use super::rendezvous::{Waits, believed};
use crate::message::{Began, ClassUsers, Health, ProcessId, ProcessState, Report, Window};
use crate::stats::Statistics;
use crate::tick::Tick;

/// What a report measured, by marks that the master knows.
pub(super) type Windows<'a> = BTreeMap<Tick, Cow<'a, Statistics>>;

/// One life of one process.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// The highest report number that was merged.
    pub(super) acknowledged: u64,
    /// The highest report number that was seen.
    pub(super) newest: u64,
    pub(super) state: ProcessState,
    pub(super) plan_version: u64,
    pub(super) users: Vec<ClassUsers>,
    /// Where its users wait for others.
    pub(super) waits: Waits,
    pub(super) health: Health,
    /// Everything it measured, by the mark before.
    pub(super) windows: BTreeMap<Tick, Statistics>,
    /// When it last had something new to say.
    pub(super) last_heard: Tick,
    /// When its measurements last grew: until then, nothing of it is missing.
    pub(super) last_merged: Tick,
    pub(super) departed: Option<Departed>,
    /// When it last stopped its load for want of a master, as far as that is known.
    pub(super) stopped_at: Option<Tick>,
    /// When its first users began.
    pub(super) began: Option<Began>,
    /// The run has ended without its last words.
    pub(super) unheard: bool,
    /// It knows that the run is over.
    pub(super) told: bool,
    /// Everything that it had reported is held; not so of a living one after a restart, until it says it again.
    pub(super) known: bool,
}

/// How a process left.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Departed {
    /// Somebody saw it end; otherwise it is only silent.
    pub(super) proven: bool,
    /// Requests on the wire in its life, if known.
    pub(super) sent_total: Option<u64>,
}

/// What a report changed.
#[derive(Debug)]
pub(super) enum TakenIn {
    /// Its measurements are new, and are now held.
    Merged,
    /// It is a full report, which replaced what was held.
    Replaced,
    /// It was known.
    Known,
    /// Others before it are missing; a full report is needed.
    Missing,
}

impl Member {
    pub(super) fn new(now: Tick) -> Self {
        Self {
            acknowledged: 0,
            newest: 0,
            state: ProcessState::Waiting,
            plan_version: 0,
            users: Vec::new(),
            waits: Waits::new(),
            health: Health::default(),
            windows: BTreeMap::new(),
            last_heard: now,
            last_merged: now,
            departed: None,
            stopped_at: None,
            began: None,
            unheard: false,
            told: false,
            known: true,
        }
    }

    /// Whether its measurements are held nowhere else: it is gone, or may go as soon as it is answered.
    pub(super) fn is_last_copy(&self) -> bool {
        self.departed.is_some() || (self.state == ProcessState::Left && self.is_final())
    }

    /// What a checkpoint keeps of it; `whole` is more than that.
    pub(super) fn kept(&self, id: &ProcessId, whole: bool) -> Kept {
        let (id, departed) = (id.clone(), self.departed.clone());
        if !whole && !self.is_last_copy() {
            let state = ProcessState::default();
            let (users, windows) = (Vec::new(), Vec::new());
            let (unheard, last_merged, began) = (self.unheard, self.last_merged, self.began);
            return Kept {
                id,
                departed,
                unheard,
                state,
                acknowledged: 0,
                users,
                last_merged,
                began,
                windows,
            };
        }
        let window = |(since, statistics): (&Tick, &Statistics)| Window {
            since: *since,
            statistics: statistics.clone(),
        };
        Kept {
            id,
            departed,
            unheard: self.unheard,
            state: self.state,
            acknowledged: self.acknowledged,
            users: self.users.clone(),
            last_merged: self.last_merged,
            began: self.began,
            windows: self.windows.iter().map(window).collect(),
        }
    }

    /// From a checkpoint. A living process that is not `whole` has nothing of what it reported acknowledged, so its
    /// next report is answered with the wish for a full one; until then everything since `begun` is missing.
    pub(super) fn restored(kept: Kept, whole: bool, begun: Tick, now: Tick) -> Self {
        let known = whole || kept.departed.is_some() || 0 < kept.acknowledged;
        Self {
            acknowledged: kept.acknowledged,
            newest: kept.acknowledged,
            state: kept.state,
            users: kept.users,
            windows: kept.windows.into_iter().map(|window| (window.since, window.statistics)).collect(),
            last_merged: if known { kept.last_merged } else { begun },
            departed: kept.departed,
            began: kept.began,
            unheard: kept.unheard,
            known,
            ..Self::new(now)
        }
    }

    /// Takes a report in. `windows` are the report's, by marks that the master knows.
    pub(super) fn take_in(
        &mut self,
        now: Tick,
        report: &Report,
        classes: usize,
        windows: &Windows<'_>,
    ) -> TakenIn {
        if self.newest < report.sequence {
            self.newest = report.sequence;
            self.state = report.state;
            self.plan_version = report.plan_version;
            self.users = report.users.iter().copied().take(classes).collect();
            self.waits = believed(&report.rendezvous, self.live());
            self.health.clone_from(&report.health);
            self.began = self.began.or(report.began);
        }
        if report.sequence <= self.acknowledged {
            return TakenIn::Known;
        }
        let next = report.sequence == self.acknowledged.saturating_add(1);
        if !next && !report.full {
            return TakenIn::Missing;
        }
        self.acknowledged = report.sequence;
        self.last_merged = now;
        self.known = true;
        if report.full {
            let owned =
                |(since, statistics): (&Tick, &Cow<'_, Statistics>)| (*since, statistics.as_ref().clone());
            self.windows = windows.iter().map(owned).collect();
            return TakenIn::Replaced;
        }
        for (since, statistics) in windows {
            self.windows.entry(*since).or_default().hold(statistics);
        }
        TakenIn::Merged
    }

    /// Users whose tasks run. One that has stopped its load has none: what is still there makes no call, and is being
    /// ended.
    pub(super) fn live(&self) -> u32 {
        if self.state == ProcessState::Stopped {
            return 0;
        }
        self.users.iter().fold(0, |sum, users| sum.saturating_add(users.live))
    }

    /// Users that ended with an error.
    pub(super) fn dead(&self) -> u32 {
        self.users.iter().fold(0, |sum, users| sum.saturating_add(users.dead))
    }

    /// Whether it has nothing more to say: every user ended and everything measured is held.
    pub(super) fn is_final(&self) -> bool {
        matches!(self.state, ProcessState::Drained | ProcessState::Left) && self.newest <= self.acknowledged
    }

    /// Requests on the wire that are held of it.
    pub(super) fn sent(&self) -> u64 {
        self.windows.values().fold(0, |sum, statistics| sum.saturating_add(statistics.sent_total()))
    }

    /// At most so many requests are not held of it; `None` if nothing bounds it.
    pub(super) fn lost_at_most(&self) -> Option<u64> {
        match &self.departed {
            None if self.unheard => None,
            None => Some(0),
            Some(departed) => departed.sent_total.map(|sent| sent.saturating_sub(self.sent())),
        }
    }
}
