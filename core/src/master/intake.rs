//! Taking reports in: who may report, and what of a report is new.
//!
//! Never changes what the run does; see [`super::course`]. Start at [`Master::admit`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::member::{Member, TakenIn, Windows};
use super::{Master, MasterEvent, WorkerReport};
use crate::message::{MAX_NAME, ProcessId, Refusal, Report, VERSION};
use crate::run::MAX_PROCESSES;
use crate::stats::{Row, Statistics};
use crate::tick::Tick;

impl Master {
    /// Refuses what can be none of this run's reports.
    pub(super) fn admit(&self, report: &Report) -> Result<(), Refusal> {
        if report.version != VERSION {
            return Err(Refusal::Version { theirs: report.version });
        }
        self.admit_epoch(report)?;
        let short = |names: &[String]| names.join(", ").chars().take(200).collect();
        if report.classes != self.classes {
            return Err(Refusal::Classes { theirs: short(&report.classes), ours: short(&self.classes) });
        }
        self.stock.check(report.rows.as_deref())?;
        if self.members.contains_key(&report.from) {
            return Ok(());
        }
        let id = &report.from;
        if !self.has_place(id) {
            return Err(Refusal::NoPlace(id.to_string().chars().take(MAX_NAME).collect()));
        }
        match self.superseded_by(id) {
            Some(by) => Err(Refusal::Superseded { process: id.clone(), by }),
            None => Ok(()),
        }
    }

    /// Whether another process can be taken in under this name.
    pub(super) fn has_place(&self, id: &ProcessId) -> bool {
        let most = MAX_PROCESSES as usize;
        let room = self.present().count() < most && self.members.len() < 16 * most;
        room && !id.runner.is_empty() && id.runner.len() <= MAX_NAME
    }

    /// The latest life of a process, if there was one after this.
    pub(super) fn superseded_by(&self, id: &ProcessId) -> Option<u64> {
        let last = ProcessId { incarnation: u64::MAX, ..id.clone() };
        let (latest, _) = self.members.range(id..=&last).next_back()?;
        (id.incarnation < latest.incarnation).then_some(latest.incarnation)
    }

    /// Merges a report's measurements; true if a full report is needed.
    pub(super) fn take_in(&mut self, now: Tick, report: &Report) -> bool {
        let mut windows: Windows<'_> = BTreeMap::new();
        for window in &report.windows {
            // Whatever a process says, there are no windows but those between our marks.
            let since =
                self.marks.iter().copied().filter(|mark| *mark <= window.since).max().unwrap_or_default();
            match windows.entry(since) {
                Entry::Vacant(first) => drop(first.insert(Cow::Borrowed(&window.statistics))),
                Entry::Occupied(known) => known.into_mut().to_mut().merge(&window.statistics),
            }
        }
        let Some(member) = self.members.get_mut(&report.from) else { return false };
        let (state, held_nothing) = (member.state, member.windows.is_empty());
        let stopped =
            report.stopped_at.filter(|stopped| member.stopped_at.replace(*stopped) < Some(*stopped));
        let taken = member.take_in(now, report, self.classes.len(), &windows);
        let new = !matches!(taken, TakenIn::Known);
        if matches!(taken, TakenIn::Merged | TakenIn::Replaced) && member.is_last_copy() {
            self.departures += 1;
        }
        // A process that was only silent is back once it has something new to say.
        let back = new && member.departed.as_ref().is_some_and(|departed| !departed.proven);
        if back {
            member.departed = None;
            // Whatever a report says that was on its way for long: it has stopped its load since, and nobody waits.
            member.users.clear();
            member.waits.clear();
        }
        if let Some(stopped) = stopped.map(|stopped| stopped.min(now)) {
            // Its load was missing, although it was never missed: the master itself was away.
            let on = self.start.is_some_and(|start| start <= stopped)
                && self.stop.is_some_and(|stop| stopped < stop.at);
            if on && !self.gaps.holds(&report.from, stopped) {
                self.gaps.open(report.from.clone(), stopped);
            }
        }
        let (users, changed) = (member.live(), back || state != member.state);
        if changed {
            self.share_anew(now);
        }
        match taken {
            TakenIn::Known => return false,
            TakenIn::Missing => return true,
            TakenIn::Merged => {
                for statistics in windows.values() {
                    self.live.add(now, statistics);
                }
                self.merge_in(&windows);
            }
            // After a restart everybody's: merging all that is held once for each would take minutes.
            TakenIn::Replaced if held_nothing => self.merge_in(&windows),
            TakenIn::Replaced => self.merge_all(),
        }
        let count = |of: fn(&Row) -> u64| -> u64 {
            let rows = windows.values().flat_map(|statistics| statistics.rows());
            rows.fold(0, |sum, row| sum.saturating_add(of(row)))
        };
        let (requests, failures) = (count(|row| row.requests), count(|row| row.failures));
        let id = report.from.clone();
        self.events.push_back(MasterEvent::WorkerReport(WorkerReport { id, users, requests, failures }));
        false
    }

    /// Merges what is held of a process beside what was held of it before.
    fn merge_in(&mut self, windows: &Windows<'_>) {
        if self.merged.is_empty() {
            return self.merge_all();
        }
        for (since, statistics) in windows {
            self.merged.entry(*since).or_default().merge(statistics);
        }
    }

    /// Merges everything anew, after what is held of a process was replaced.
    pub(super) fn merge_all(&mut self) {
        self.merged.clear();
        if self.only_measured().is_none() {
            self.members.values().for_each(|member| merge_into(&mut self.merged, &member.windows));
        }
    }

    /// Everything measured, by the mark before.
    pub(super) fn windows(&self) -> &BTreeMap<Tick, Statistics> {
        self.only_measured().map_or(&self.merged, |member| &member.windows)
    }

    /// The process that measured everything there is, if one did: what it reported is held once.
    fn only_measured(&self) -> Option<&Member> {
        let mut measured = self.members.values().filter(|member| !member.windows.is_empty());
        measured.next().filter(|_| measured.next().is_none())
    }
}

fn merge_into(all: &mut BTreeMap<Tick, Statistics>, windows: &BTreeMap<Tick, Statistics>) {
    for (since, statistics) in windows {
        all.entry(*since).or_default().merge(statistics);
    }
}
