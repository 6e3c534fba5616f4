//! What became of the iterations of the open model: begun, begun late, or not begun because every user was busy.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An iteration that begins so long after its instant is late.
const LATE: Duration = Duration::from_millis(10);

/// Counts of iterations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Iterations {
    /// Begun.
    pub started: u64,
    /// Not begun: every user that there may be was busy.
    pub shed: u64,
    /// Of those begun, by more than 10 ms after their instants.
    pub late: u64,
}

impl Iterations {
    /// Adds some that were given to users, and some that found every user busy.
    pub fn began(&mut self, started: u64, shed: u64) {
        self.started = self.started.saturating_add(started);
        self.shed = self.shed.saturating_add(shed);
    }

    /// One that is counted already began so long after its instant.
    pub fn begun_late(&mut self, late: Duration) {
        self.late = self.late.saturating_add(u64::from(LATE < late));
    }

    /// Adds another process', or another time's.
    pub fn merge(&mut self, other: Self) {
        self.started = self.started.saturating_add(other.started);
        self.shed = self.shed.saturating_add(other.shed);
        self.late = self.late.saturating_add(other.late);
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
