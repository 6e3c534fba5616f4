//! What a process has measured and the master has not acknowledged yet.
//!
//! At most one report is on its way; it is sent again unchanged, under its number, until it is acknowledged. What is
//! measured meanwhile waits for the next. Nothing is ever dropped. Start at [`Outbox::close`].

use std::collections::BTreeMap;

use crate::message::{Report, Window};
use crate::stats::Statistics;
use crate::tick::Tick;

/// Measurements on their way to the master.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    /// The last number used.
    sequence: u64,
    sent: Option<Report>,
    /// Since the last report, by the mark before it.
    open: BTreeMap<Tick, Statistics>,
    /// Since the process began, what is in `open` left out.
    closed: BTreeMap<Tick, Statistics>,
    full_wanted: bool,
}

impl Outbox {
    /// Adds what was measured after the mark `since`.
    pub(super) fn add(&mut self, since: Tick, statistics: &Statistics) {
        if !statistics.is_empty() {
            self.open.entry(since).or_default().merge(statistics);
        }
    }

    /// The report that is on its way.
    pub(super) fn unacknowledged(&self) -> Option<&Report> {
        self.sent.as_ref()
    }

    /// True if everything measured has been acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_none() && self.open.is_empty()
    }

    /// The master has merged every report up to this number.
    pub(super) fn acknowledge(&mut self, sequence: u64) {
        if self.sent.as_ref().is_some_and(|report| report.sequence <= sequence) {
            self.sent = None;
        }
    }

    /// The master asked for everything. What is on its way would not help it: a full report holds that too.
    pub(super) fn want_full(&mut self) {
        self.full_wanted = true;
        self.sent = None;
    }

    /// Puts what was measured into the next report. Call it only with none on its way.
    pub(super) fn close(&mut self, report: Report) -> Report {
        self.sequence = self.sequence.saturating_add(1);
        for (since, statistics) in &self.open {
            self.closed.entry(*since).or_default().hold(statistics);
        }
        let full = std::mem::take(&mut self.full_wanted);
        let open = std::mem::take(&mut self.open);
        let windows = if full { self.closed.clone() } else { open };
        let windows = windows.into_iter().map(|(since, statistics)| Window { since, statistics }).collect();
        let report = Report { sequence: self.sequence, full, windows, ..report };
        self.sent = Some(report.clone());
        report
    }
}
