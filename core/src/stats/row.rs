//! One row of the statistics: all calls of one name and method.
//!
//! Never grows its own texts; they come bounded. Start at [`Row`].

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::bounded::{Counts, Known, cut};
use crate::histogram::Histogram;

/// The most distinct status codes of a row that have times of their own; the others share those without a status.
const MAX_STATUS: usize = 64;

/// The finished calls of a row that had one status and one verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Of the last reply; `None` if there was none.
    pub status: Option<u16>,
    /// Whether they count as failed.
    pub failed: bool,
    /// Bytes of their bodies.
    #[serde(default)]
    pub bytes_received: u64,
    /// From the start of each call to the last byte of the body, or to its failure.
    pub latency: Histogram,
}

/// A part of a call's latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waiting for a connection.
    Queue,
    /// Resolving the name.
    Dns,
    /// Connecting.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Sending the request.
    Send,
    /// Until the first byte of the reply.
    Wait,
    /// From the first byte to the last.
    Receive,
}

impl Phase {
    /// Every phase, in the order in which they happen.
    pub const ALL: [Self; 7] =
        [Self::Queue, Self::Dns, Self::Connect, Self::Tls, Self::Send, Self::Wait, Self::Receive];

    /// As reports write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Send => "send",
            Self::Wait => "wait",
            Self::Receive => "receive",
        }
    }
}

/// All calls of one name and method: `requests` finished, `aborted` were cut by our own stop, and `generator_faults`
/// failed by our own fault; these three add up to the calls that were made. What any of them put on the wire is in
/// `sent`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The calls' name.
    pub name: String,
    /// The calls' method.
    pub method: String,
    /// Finished calls, failed ones included.
    #[serde(default)]
    pub requests: u64,
    /// Failed calls.
    #[serde(default)]
    pub failures: u64,
    /// Requests on the wire.
    #[serde(default)]
    pub sent: u64,
    /// Calls cut by our own stop, beside the finished ones.
    #[serde(default)]
    pub aborted: u64,
    /// Requests that were sent again.
    #[serde(default)]
    pub retried: u64,
    /// Calls whose body was left unread in part.
    #[serde(default)]
    pub truncated: u64,
    /// Calls that failed by the load generator's own fault, beside the finished ones.
    #[serde(default)]
    pub generator_faults: u64,
    /// Bytes of bodies.
    #[serde(default)]
    pub bytes_received: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    times: Vec<Times>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    phases: Vec<(Phase, Histogram)>,
    /// Of all finished calls; `None` is as the latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since_intended: Option<Histogram>,
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub(super) errors: Counts,
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub(super) faults: Counts,
}

impl Row {
    /// An empty row.
    pub(super) fn new(name: &str, method: &str) -> Self {
        Self {
            name: name.to_owned(),
            method: method.to_owned(),
            requests: 0,
            failures: 0,
            sent: 0,
            aborted: 0,
            retried: 0,
            truncated: 0,
            generator_faults: 0,
            bytes_received: 0,
            times: Vec::new(),
            phases: Vec::new(),
            since_intended: None,
            errors: Counts::default(),
            faults: Counts::default(),
        }
    }

    /// The times of one phase, if any call had it.
    pub fn phase(&self, phase: Phase) -> Option<&Histogram> {
        self.phases.iter().find(|(known, _)| *known == phase).map(|(_, histogram)| histogram)
    }

    /// Times of finished calls by status and verdict, rising.
    pub fn times(&self) -> &[Times] {
        &self.times
    }

    /// Times of all finished calls.
    pub fn latency(&self) -> Histogram {
        let mut all = Histogram::new(Histogram::LATENCY);
        self.times.iter().for_each(|times| all.merge(&times.latency));
        all
    }

    /// Times of all finished calls since the intended start: the latency, and how late the call's iteration began. A
    /// call without an intended start was in time, so that this counts the same calls as [`Row::latency`]. `None` if no
    /// call had one.
    pub fn since_intended(&self) -> Option<&Histogram> {
        self.since_intended.as_ref()
    }

    /// Replies by their status code, rising.
    pub fn status(&self) -> Vec<(u16, u64)> {
        let mut counts: Vec<(u16, u64)> = Vec::new();
        for times in &self.times {
            match (times.status, counts.last_mut()) {
                (Some(status), Some(last)) if last.0 == status => {
                    last.1 = last.1.saturating_add(times.latency.count());
                }
                (Some(status), _) => counts.push((status, times.latency.count())),
                (None, _) => {}
            }
        }
        counts
    }

    /// Failures by their text, in the texts' order.
    pub fn errors(&self) -> impl Iterator<Item = (&str, u64)> {
        self.errors.iter()
    }

    /// Faults of the load generator's own by their text, in the texts' order.
    pub fn faults(&self) -> impl Iterator<Item = (&str, u64)> {
        self.faults.iter()
    }

    /// Failures per finished call; 0 if there was none.
    pub fn failure_ratio(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.failures as f64 / self.requests as f64 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests == 0 && self.sent == 0 && self.aborted == 0 && self.generator_faults == 0
    }

    /// For one more finished call, which is not among the times yet.
    pub(super) fn since_intended_mut(&mut self) -> &mut Histogram {
        if self.since_intended.is_none() {
            self.since_intended = Some(self.latency());
        }
        self.since_intended.as_mut().expect("made above")
    }

    pub(super) fn phase_mut(&mut self, phase: Phase) -> &mut Histogram {
        let at = self.phases.iter().position(|(known, _)| phase <= *known).unwrap_or(self.phases.len());
        if self.phases.get(at).is_none_or(|(known, _)| *known != phase) {
            self.phases.insert(at, (phase, Histogram::new(Histogram::PHASE)));
        }
        &mut self.phases[at].1
    }

    pub(super) fn times_mut(&mut self, status: Option<u16>, failed: bool) -> &mut Times {
        let full = MAX_STATUS * 2 <= self.times.len();
        let find =
            |status| self.times.binary_search_by_key(&(status, failed), |times| (times.status, times.failed));
        let (status, found) = match find(status) {
            Err(_) if full => (None, find(None)),
            found => (status, found),
        };
        let at = found.unwrap_or_else(|at| {
            let latency = Histogram::new(Histogram::LATENCY);
            self.times.insert(at, Times { status, failed, bytes_received: 0, latency });
            at
        });
        &mut self.times[at]
    }

    /// Adds all of `other`; `add` does it for times.
    pub(super) fn merge(&mut self, other: &Self, known: &mut Known, add: fn(&mut Histogram, &Histogram)) {
        for (mine, theirs) in [
            (&mut self.requests, other.requests),
            (&mut self.failures, other.failures),
            (&mut self.sent, other.sent),
            (&mut self.aborted, other.aborted),
            (&mut self.retried, other.retried),
            (&mut self.truncated, other.truncated),
            (&mut self.generator_faults, other.generator_faults),
            (&mut self.bytes_received, other.bytes_received),
        ] {
            *mine = mine.saturating_add(theirs);
        }
        // Before the times, which it may begin with.
        if self.since_intended.is_some() || other.since_intended.is_some() {
            let theirs = other.since_intended().map_or_else(|| Cow::Owned(other.latency()), Cow::Borrowed);
            add(self.since_intended_mut(), &theirs);
        }
        for theirs in &other.times {
            let mine = self.times_mut(theirs.status, theirs.failed);
            mine.bytes_received = mine.bytes_received.saturating_add(theirs.bytes_received);
            add(&mut mine.latency, &theirs.latency);
        }
        other.phases.iter().for_each(|(phase, theirs)| add(self.phase_mut(*phase), theirs));
        other.errors.iter().for_each(|(text, count)| self.errors.add(known.admit(cut(text)), count));
        other.faults.iter().for_each(|(text, count)| self.faults.add(known.admit(cut(text)), count));
    }
}
