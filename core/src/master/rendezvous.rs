//! Where users of all processes wait for each other: who has come, and when everybody goes on.
//!
//! A round is over once enough users wait, at an instant [`LEAD`] ahead, and stays so whatever happens. Who waits is never
//! remembered: it is what the processes that are here said last. Start at [`Master::check_rendezvous`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{LEAD, Master};
use crate::message::{MAX_RENDEZVOUS, Meeting, ProcessId, Waiting, is_rendezvous_name};
use crate::tick::Tick;

/// What has been decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rendezvous {
    /// The rounds that are over, by name.
    over: BTreeMap<String, Over>,
    /// Those that were waited for when the load stopped.
    unmet: Vec<Meeting>,
}

/// The rounds of one rendezvous that are over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Over {
    rounds: u64,
    /// The last of them.
    at: Option<Tick>,
}

impl Over {
    /// As it is told, with nobody there.
    fn meeting(self, name: &str) -> Meeting {
        let Self { rounds, at } = self;
        Meeting { name: name.to_owned(), rounds, at, ..Meeting::default() }
    }
}

/// Who waits, as a process said it.
pub(super) type Waits = BTreeMap<String, Waiting>;

/// What is believed of a report's.
pub(super) fn believed(waiting: &[Waiting], live: u32) -> Waits {
    let named = waiting.iter().take(MAX_RENDEZVOUS).filter(|waiting| is_rendezvous_name(&waiting.name));
    named.map(|one| (one.name.clone(), Waiting { waiting: one.waiting.min(live), ..one.clone() })).collect()
}

impl Rendezvous {
    fn rounds(&self, name: &str) -> u64 {
        self.over.get(name).map_or(0, |over| over.rounds)
    }

    /// Takes a predecessor's word, as a process heard it.
    pub(super) fn learn(&mut self, heard: &[Meeting]) {
        for Meeting { name, rounds, at, .. } in heard {
            if self.rounds(name) < *rounds && self.has_place(name) {
                self.over.insert(name.clone(), Over { rounds: *rounds, at: *at });
            }
        }
    }

    fn has_place(&self, name: &str) -> bool {
        is_rendezvous_name(name) && (self.over.len() < MAX_RENDEZVOUS || self.over.contains_key(name))
    }

    /// A sentence on each that nobody was let go on from.
    pub(super) fn notes(&self) -> Vec<String> {
        let note = |unmet: &Meeting| {
            let Meeting { name, rounds, waiting, needed, .. } = unmet;
            let round = rounds.saturating_add(1);
            format!(
                "rendezvous `{name}`, round {round}: {waiting} of {needed} users had come when the load stopped"
            )
        };
        self.unmet.iter().map(note).collect()
    }
}

impl Master {
    /// Has those go on who are complete. Not while it is open who has which part of the load, or there is none.
    pub(super) fn check_rendezvous(&mut self, now: Tick) {
        if self.on_since().is_none() {
            return;
        }
        for met in self.meetings(now).into_iter().filter(|meeting| 0 < meeting.waiting) {
            let complete = met.needed <= met.waiting;
            let over = self.rendezvous.over.entry(met.name).or_default();
            if complete {
                *over = Over { rounds: over.rounds.saturating_add(1), at: Some(now + LEAD) };
            }
        }
    }

    /// Every rendezvous that users have waited at.
    pub fn meetings(&self, now: Tick) -> Vec<Meeting> {
        let known = self.rendezvous.over.iter();
        let mut meetings: BTreeMap<&str, Meeting> =
            known.map(|(name, over)| (name.as_str(), over.meeting(name))).collect();
        // Mostly nobody waits, and nobody has to be counted.
        let mut everybody: Option<u32> = None;
        for Waiting { name, round, waiting, users } in
            self.present().flat_map(|(_, member)| member.waits.values())
        {
            if MAX_RENDEZVOUS <= meetings.len() && !meetings.contains_key(name.as_str()) {
                continue;
            }
            let meeting = meetings.entry(name.as_str()).or_insert_with(|| Over::default().meeting(name));
            // Who is still to hear that his round is over is none of this one; who is in a later one, of which a master that
            // was replaced knows nothing, has come all the same.
            if meeting.rounds <= *round {
                meeting.waiting = meeting.waiting.saturating_add(*waiting);
                let all = || *everybody.get_or_insert_with(|| self.everybody(now));
                meeting.needed = meeting.needed.max(users.map_or_else(all, |users| users.max(1)));
            }
        }
        meetings.into_values().collect()
    }

    /// Everybody who lives, and everybody who is still to come: on a line that rises, also those at its end. Who has died
    /// is not replaced.
    fn everybody(&self, now: Tick) -> u32 {
        let plan = self.layout.plan();
        let planned = plan.in_force(now).map_or(0, |(_, line)| line.users(now).max(line.to));
        // As many places of a process' part as it has are taken by its dead.
        let part =
            |id: &ProcessId| self.layout.share(id).users(plan, now).into_iter().fold(0, u32::saturating_add);
        let dead = self.present().filter(|(_, member)| 0 < member.dead());
        let taken = dead.fold(0_u32, |sum, (id, member)| sum.saturating_add(member.dead().min(part(id))));
        planned.saturating_sub(taken).max(self.users())
    }

    /// The load stops: who waits now waits in vain.
    pub(super) fn note_unmet(&mut self, now: Tick) {
        let meetings = self.meetings(now).into_iter();
        self.rendezvous.unmet = meetings.filter(|meeting| 0 < meeting.waiting).collect();
    }
}

#[cfg(test)]
mod tests;
