//! One row of the statistics: all calls of one name and method.
//!
//! Never grows its own texts; they come bounded. Start at [`Row`].

use serde::{Deserialize, Serialize};

use super::bounded::{Counts, Known, cut};
use crate::histogram::Histogram;

/// The most distinct status codes of a row; there are 900 three-digit ones.
const MAX_STATUS: usize = 1000;

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

/// All calls of one name and method.
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
    /// Failures that were the load generator's own fault.
    #[serde(default)]
    pub generator_faults: u64,
    /// Bytes of bodies.
    #[serde(default)]
    pub bytes_received: u64,
    /// Times of finished calls.
    pub latency: Histogram,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    phases: Vec<(Phase, Histogram)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    status: Vec<(u16, u64)>,
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub(super) errors: Counts,
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
            latency: Histogram::new(Histogram::LATENCY),
            phases: Vec::new(),
            status: Vec::new(),
            errors: Counts::default(),
        }
    }

    /// The times of one phase, if any call had it.
    pub fn phase(&self, phase: Phase) -> Option<&Histogram> {
        self.phases.iter().find(|(known, _)| *known == phase).map(|(_, histogram)| histogram)
    }

    /// Replies by their status code, rising.
    pub fn status(&self) -> &[(u16, u64)] {
        &self.status
    }

    /// Failures by their text, in the texts' order.
    pub fn errors(&self) -> impl Iterator<Item = (&str, u64)> {
        self.errors.iter()
    }

    /// Failures per finished call; 0 if there was none.
    pub fn failure_ratio(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.failures as f64 / self.requests as f64 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests == 0 && self.sent == 0 && self.aborted == 0
    }

    pub(super) fn phase_mut(&mut self, phase: Phase) -> &mut Histogram {
        let at = self.phases.iter().position(|(known, _)| phase <= *known).unwrap_or(self.phases.len());
        if self.phases.get(at).is_none_or(|(known, _)| *known != phase) {
            self.phases.insert(at, (phase, Histogram::new(Histogram::PHASE)));
        }
        &mut self.phases[at].1
    }

    pub(super) fn count_status(&mut self, status: u16, count: u64) {
        let full = MAX_STATUS <= self.status.len();
        match self.status.binary_search_by_key(&status, |(known, _)| *known) {
            Ok(at) => self.status[at].1 = self.status[at].1.saturating_add(count),
            Err(_) if full => {}
            Err(at) => self.status.insert(at, (status, count)),
        }
    }

    pub(super) fn merge(&mut self, other: &Self, known: &mut Known) {
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
        self.latency.merge(&other.latency);
        other.phases.iter().for_each(|(phase, theirs)| self.phase_mut(*phase).merge(theirs));
        other.status.iter().for_each(|(status, count)| self.count_status(*status, *count));
        other.errors.iter().for_each(|(text, count)| self.errors.add(known.admit(cut(text)), count));
    }
}
