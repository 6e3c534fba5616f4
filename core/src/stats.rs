//! What is measured: rows by request name and method, that merge exactly over processes.
//!
//! Recording a call that succeeded allocates nothing and looks nothing up once its row is known. Names and error texts
//! are bounded in number and length; what is beyond is counted under `(other)`. Start at [`Statistics::record_row`].

mod bounded;
mod iterations;
mod row;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::histogram::Histogram;
use crate::tick::micros_of;
use bounded::{Counts, cut};
pub use iterations::Iterations;
pub use row::{Phase, Row, Times};

/// The most distinct request names; further ones are counted under [`OTHER`].
pub const MAX_NAMES: usize = 500;
/// The most rows, that is pairs of name and method.
pub const MAX_ROWS: usize = 2000;
/// The most distinct error texts of all rows together; further ones are counted under [`OTHER`].
pub const MAX_ERRORS: usize = 500;
/// Names, methods and error texts are cut at this many characters.
pub const MAX_TEXT: usize = 500;
/// What is beyond the bounds goes by this name.
pub const OTHER: &str = "(other)";

/// One finished call.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// The name that statistics use.
    pub name: &'a str,
    /// Such as `GET`.
    pub method: &'a str,
    /// From the start of the call to the last byte of the body, or to its failure.
    pub latency: Duration,
    /// Parts of the latency. One that appears twice (a redirect's second hop) is recorded twice.
    pub phases: &'a [(Phase, Duration)],
    /// Of the last reply; `None` if there was none.
    pub status: Option<u16>,
    /// Of the body as received.
    pub bytes_received: u64,
    /// What the call counts as.
    pub outcome: Outcome<'a>,
    /// Requests put on the wire for it, redirect hops and retries included.
    pub sent: u32,
    /// How often it was sent again.
    pub retried: u32,
    /// The body was left unread in part.
    pub truncated: bool,
    /// How late the iteration that it belongs to began; `None` if that had no intended start.
    pub late: Option<Duration>,
}

/// What a call counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// As it should be.
    Success,
    /// Failed, with this text.
    Failure(&'a str),
    /// Failed because of the load generator itself (no descriptors or ports left, its own DNS), with this text: counted
    /// apart, in neither requests nor failures nor times, as it says nothing about the target; the run is Invalid.
    GeneratorFault(&'a str),
    /// Cut by our own stop: counted as aborted, in neither requests nor failures nor times.
    Aborted,
}

/// A row of one [`Statistics`], known by [`Statistics::row`]. Stays valid over [`Statistics::take`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowKey(u32);

/// Methods and rows by name. Asked at every call; the names are the scenario's own, and few.
type Keys = HashMap<Box<str>, Vec<(Box<str>, RowKey)>, foldhash::fast::FixedState>;

/// Everything measured by one process, or merged from many.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    rows: Vec<Row>,
    keys: Keys,
    errors: bounded::Known,
    user_errors: Counts,
    /// What became of the iterations of the open model.
    pub iterations: Iterations,
}

impl Statistics {
    /// Finds the row of a name and method, or makes it. Keep the key: it saves the look-up.
    pub fn row(&mut self, name: &str, method: &str) -> RowKey {
        let (name, method) = (cut(name), cut(method));
        if let Some(key) = self.find(name, method) {
            return key;
        }
        // What stands for the others takes no place of its own, or its row's place in a message would matter.
        let names = self.keys.len() - usize::from(self.keys.contains_key(OTHER));
        let rows = self.rows.len() - usize::from(self.find(OTHER, OTHER).is_some());
        let full = MAX_ROWS <= rows;
        let name = if full || (MAX_NAMES <= names && !self.keys.contains_key(name)) { OTHER } else { name };
        let method = if full { OTHER } else { method };
        if let Some(key) = self.find(name, method) {
            return key;
        }
        let key = RowKey(self.rows.len() as u32);
        self.rows.push(Row::new(name, method));
        self.keys.entry(name.into()).or_default().push((method.into(), key));
        key
    }

    /// Adds a call to the row of its name and method.
    pub fn record(&mut self, sample: &Sample<'_>) {
        let key = self.row(sample.name, sample.method);
        self.record_row(key, sample);
    }

    /// Adds a call to a known row; the sample's name and method are not looked at. A key of other statistics is
    /// looked up instead.
    pub fn record_row(&mut self, key: RowKey, sample: &Sample<'_>) {
        if self.rows.len() <= key.0 as usize {
            return self.record(sample);
        }
        let row = &mut self.rows[key.0 as usize];
        row.sent = row.sent.saturating_add(u64::from(sample.sent));
        row.retried = row.retried.saturating_add(u64::from(sample.retried));
        row.bytes_received = row.bytes_received.saturating_add(sample.bytes_received);
        match sample.outcome {
            Outcome::Aborted => {
                row.aborted = row.aborted.saturating_add(1);
                return;
            }
            Outcome::GeneratorFault(text) => {
                row.generator_faults = row.generator_faults.saturating_add(1);
                row.faults.add(self.errors.admit(cut(text)), 1);
                return;
            }
            Outcome::Success | Outcome::Failure(_) => {}
        }
        row.requests = row.requests.saturating_add(1);
        row.truncated = row.truncated.saturating_add(u64::from(sample.truncated));
        if sample.late.is_some() || row.since_intended().is_some() {
            let since = sample.latency.saturating_add(sample.late.unwrap_or_default());
            row.since_intended_mut().record(micros_of(since));
        }
        let times = row.times_mut(sample.status, sample.outcome != Outcome::Success);
        times.bytes_received = times.bytes_received.saturating_add(sample.bytes_received);
        times.latency.record(micros_of(sample.latency));
        for (phase, duration) in sample.phases {
            row.phase_mut(*phase).record(micros_of(*duration));
        }
        if let Outcome::Failure(text) = sample.outcome {
            row.failures = row.failures.saturating_add(1);
            row.errors.add(self.errors.admit(cut(text)), 1);
        }
    }

    /// Adds requests on the wire that belong to no recorded sample.
    pub fn sent(&mut self, key: RowKey, requests: u64) {
        if let Some(row) = self.rows.get_mut(key.0 as usize) {
            row.sent = row.sent.saturating_add(requests);
        }
    }

    /// Adds a user's death.
    pub fn user_error(&mut self, text: &str) {
        self.user_errors.add(self.errors.admit(cut(text)), 1);
    }

    /// Adds all of `other`, exactly. The order of merges makes no difference, up to what goes to [`OTHER`].
    pub fn merge(&mut self, other: &Self) {
        self.merge_by(other, Histogram::merge);
    }

    /// As [`Self::merge`], in the least room: for what is held by the thousand and looked at seldom.
    pub fn hold(&mut self, other: &Self) {
        self.merge_by(other, Histogram::hold);
    }

    fn merge_by(&mut self, other: &Self, add: fn(&mut Histogram, &Histogram)) {
        other.rows.iter().for_each(|row| self.merge_row(row, add));
        for (text, count) in other.user_errors.iter() {
            self.user_errors.add(self.errors.admit(text), count);
        }
        self.iterations.merge(other.iterations);
    }

    /// What was recorded since the last take. Names, and so keys, stay.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let mut taken = Self {
            user_errors: std::mem::take(&mut self.user_errors),
            iterations: std::mem::take(&mut self.iterations),
            ..Self::default()
        };
        for row in self.rows.iter_mut().filter(|row| !row.is_empty()) {
            let empty = Row::new(&row.name, &row.method);
            let key = taken.row(&row.name, &row.method);
            taken.rows[key.0 as usize] = std::mem::replace(row, empty);
        }
        taken
    }

    /// True if nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.user_errors.is_empty() && self.iterations.is_empty() && self.rows.iter().all(Row::is_empty)
    }

    /// Rows with something in them, by name and method.
    pub fn rows(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows.iter().filter(|row| !row.is_empty()).collect();
        rows.sort_unstable_by(|a, b| (&a.name, &a.method).cmp(&(&b.name, &b.method)));
        rows
    }

    /// All rows as one, named `Total` without a method.
    pub fn total(&self) -> Row {
        self.total_of(|_| true)
    }

    /// The rows that `wanted` picks as one, named `Total` without a method.
    pub fn total_of(&self, wanted: impl Fn(&Row) -> bool) -> Row {
        let mut total = Row::new("Total", "");
        let mut errors = bounded::Known::default();
        self.rows
            .iter()
            .filter(|row| wanted(row))
            .for_each(|row| total.merge(row, &mut errors, Histogram::merge));
        total
    }

    /// Requests on the wire, of all rows.
    pub fn sent_total(&self) -> u64 {
        self.rows.iter().fold(0, |total, row| total.saturating_add(row.sent))
    }

    /// Deaths of users by their error's text.
    pub fn user_errors(&self) -> impl Iterator<Item = (&str, u64)> {
        self.user_errors.iter()
    }

    fn find(&self, name: &str, method: &str) -> Option<RowKey> {
        self.keys.get(name)?.iter().find(|(known, _)| **known == *method).map(|(_, key)| *key)
    }

    fn merge_row(&mut self, theirs: &Row, add: fn(&mut Histogram, &Histogram)) {
        if !theirs.is_empty() {
            let key = self.row(&theirs.name, &theirs.method);
            self.rows[key.0 as usize].merge(theirs, &mut self.errors, add);
        }
    }
}

impl PartialEq for Statistics {
    fn eq(&self, other: &Self) -> bool {
        self.user_errors == other.user_errors
            && self.iterations == other.iterations
            && self.rows() == other.rows()
    }
}

/// The form on the wire.
#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    rows: Vec<Row>,
    #[serde(default)]
    user_errors: BTreeMap<String, u64>,
    #[serde(default)]
    iterations: Iterations,
}

impl Serialize for Statistics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct WireRef<'a> {
            #[serde(skip_serializing_if = "Vec::is_empty")]
            rows: Vec<&'a Row>,
            #[serde(skip_serializing_if = "Counts::is_empty")]
            user_errors: &'a Counts,
            #[serde(skip_serializing_if = "Iterations::is_empty")]
            iterations: Iterations,
        }
        let iterations = self.iterations;
        WireRef { rows: self.rows(), user_errors: &self.user_errors, iterations }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Statistics {
    /// Bounds whatever came: more rows or texts than allowed are counted under [`OTHER`].
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let mut statistics = Self { iterations: wire.iterations, ..Self::default() };
        wire.rows.iter().for_each(|row| statistics.merge_row(row, Histogram::merge));
        for (text, count) in wire.user_errors {
            statistics.user_errors.add(statistics.errors.admit(cut(&text)), count);
        }
        Ok(statistics)
    }
}

#[cfg(test)]
mod tests;
