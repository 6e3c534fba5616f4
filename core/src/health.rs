//! How runner processes are: what they got of their machine, how late their loops and users were, and where their loops
//! were blocked.
//!
//! Only figures; [`crate::verdict`] says what they mean. Whatever is summed up is summed up since the load began and
//! sent as a whole, so that any message may be lost or doubled. Start at [`Health`] and [`Usage`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::tick::micros;

/// The most places at which a loop was blocked that are told apart.
pub const MAX_PLACES: usize = 20;
/// Other places go by this name.
const OTHER_PLACES: &str = "(other places)";

/// How a runner process is, since its last report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Of one core.
    pub cpu_percent: f64,
    /// Of the machine's time, taken by others on its host.
    pub steal_percent: f64,
    /// The longest that the interpreter's loop was late.
    #[serde(with = "micros")]
    pub loop_lag: Duration,
    /// The latest that a user's step was started.
    #[serde(with = "micros")]
    pub lateness: Duration,
    /// Descriptors in use.
    pub open_files: u64,
    /// Since the load began.
    pub so_far: Usage,
}

impl Health {
    /// Takes in what was measured after this: of rates and times the highest stays.
    pub fn follow(&mut self, newer: Self) {
        let older = std::mem::replace(self, newer);
        self.cpu_percent = self.cpu_percent.max(older.cpu_percent);
        self.steal_percent = self.steal_percent.max(older.steal_percent);
        self.loop_lag = self.loop_lag.max(older.loop_lag);
        self.lateness = self.lateness.max(older.lateness);
    }
}

/// What a process used, got and missed since its load began; or several processes, or lives of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// How long that is; the sum of several processes.
    #[serde(with = "micros")]
    pub wall: Duration,
    /// CPU time of the whole process.
    #[serde(with = "micros")]
    pub cpu: Duration,
    /// How long the interpreter's thread had no idle time, or nearly; of several processes the longest.
    #[serde(with = "micros")]
    pub saturated: Duration,
    /// How long the interpreter's thread was ready to run and had no CPU.
    #[serde(with = "micros")]
    pub waited: Duration,
    /// How long the process' cgroup was kept from the CPU by its limit, over all CPUs.
    #[serde(with = "micros")]
    pub throttled: Duration,
    /// In so many of the limit's periods.
    pub throttled_periods: u64,
    /// The machine's CPU time that its host took, as a share of one machine's time.
    #[serde(with = "micros")]
    pub stolen: Duration,
    /// Sum of how late the loop was at each look at it.
    #[serde(with = "micros")]
    pub lag: Duration,
    /// Looks at the loop.
    pub looks: u64,
    /// Sum of how late users' steps were started.
    #[serde(with = "micros")]
    pub late: Duration,
    /// Users' steps that had a time to start at.
    pub steps: u64,
    /// So late, at most, were 99 % of them; of several processes the latest.
    #[serde(with = "micros")]
    pub late_p99: Duration,
    /// The most descriptors that were in use at one time; of several processes the most.
    pub open_files: u64,
    /// How many a process may have; 0 if unknown.
    pub open_files_limit: u64,
    /// Where the loop was blocked.
    pub blocked: Vec<Blocked>,
    /// Why the process ended itself: where its loop was stuck, and for how long.
    pub stuck: Option<Blocked>,
}

/// One place of the scenario that blocked the loop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// Such as `aiotestfile.py:12 in test_report`.
    pub place: String,
    /// Altogether.
    #[serde(with = "micros")]
    pub time: Duration,
    /// The longest at one time.
    #[serde(with = "micros")]
    pub longest: Duration,
}

impl Usage {
    /// Adds another process', or another life's.
    pub fn merge(&mut self, other: &Self) {
        self.wall += other.wall;
        self.cpu += other.cpu;
        self.saturated = self.saturated.max(other.saturated);
        self.waited += other.waited;
        self.throttled += other.throttled;
        self.throttled_periods = self.throttled_periods.saturating_add(other.throttled_periods);
        self.stolen += other.stolen;
        self.lag += other.lag;
        self.looks = self.looks.saturating_add(other.looks);
        self.late += other.late;
        self.steps = self.steps.saturating_add(other.steps);
        self.late_p99 = self.late_p99.max(other.late_p99);
        self.open_files = self.open_files.max(other.open_files);
        self.open_files_limit = self.open_files_limit.max(other.open_files_limit);
        for blocked in &other.blocked {
            self.block(&blocked.place, blocked.time, blocked.longest);
        }
        if let Some(stuck) = &other.stuck {
            let longer = self.stuck.as_ref().is_none_or(|known| known.longest < stuck.longest);
            if longer {
                self.stuck = Some(stuck.clone());
            }
        }
    }

    /// Adds time in which the loop was blocked at a place. `longest` is of the whole block so far.
    pub fn block(&mut self, place: &str, time: Duration, longest: Duration) {
        let known = self.blocked.iter().any(|blocked| blocked.place == place);
        let place = if known || self.blocked.len() < MAX_PLACES { place } else { OTHER_PLACES };
        let at = self.blocked.iter().position(|blocked| blocked.place == place).unwrap_or_else(|| {
            self.blocked.push(Blocked { place: place.to_owned(), ..Blocked::default() });
            self.blocked.len() - 1
        });
        let blocked = &mut self.blocked[at];
        blocked.time += time;
        blocked.longest = blocked.longest.max(longest);
    }

    /// Where the loop was blocked for the longest time at once.
    pub fn worst_block(&self) -> Option<&Blocked> {
        self.blocked.iter().max_by_key(|blocked| blocked.longest)
    }

    /// Bounds what came over the wire, where nothing keeps a sender from writing what it likes.
    #[must_use]
    pub fn bounded(&self) -> Self {
        let mut bounded = Self { blocked: Vec::new(), ..self.clone() };
        for blocked in &self.blocked {
            bounded.block(cut(&blocked.place), blocked.time, blocked.longest);
        }
        if let Some(stuck) = &mut bounded.stuck {
            stuck.place = cut(&stuck.place).to_owned();
        }
        bounded
    }
}

fn cut(place: &str) -> &str {
    place.char_indices().nth(crate::stats::MAX_TEXT).map_or(place, |(end, _)| &place[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn places_add_up_and_beyond_the_bound_share_one() {
        let mut usage = Usage::default();
        for line in 0..2 * MAX_PLACES {
            usage.block(&format!("aiotestfile.py:{line} in test"), SECOND, SECOND);
        }
        usage.block("aiotestfile.py:0 in test", SECOND, 2 * SECOND);
        assert_eq!(usage.blocked.len(), MAX_PLACES + 1);
        assert_eq!(usage.blocked[0].time, 2 * SECOND);
        assert_eq!(usage.worst_block(), Some(&usage.blocked[0]));
        assert_eq!(usage.blocked[MAX_PLACES].time, MAX_PLACES as u32 * SECOND);
        assert_eq!(usage.bounded(), usage);
    }

    #[test]
    fn processes_merge_to_sums_and_to_the_worst() {
        let one = Usage { wall: SECOND, cpu: SECOND / 2, late_p99: SECOND, steps: 3, ..Usage::default() };
        let stuck = Blocked { place: "a.py:1 in f".into(), time: SECOND, longest: SECOND };
        let mut sum = Usage { stuck: Some(stuck.clone()), ..one.clone() };
        sum.merge(&Usage { late_p99: SECOND / 2, ..one });
        assert_eq!((sum.wall, sum.cpu, sum.late_p99, sum.steps), (2 * SECOND, SECOND, SECOND, 6));
        assert_eq!(sum.stuck, Some(stuck));
    }

    #[test]
    fn an_older_form_is_read_and_a_newer_one_too() {
        let old: Health = serde_json::from_str(r#"{"cpu_percent": 12.5, "colour": "blue"}"#).unwrap();
        assert_eq!(old, Health { cpu_percent: 12.5, ..Health::default() });
        let full = Health { so_far: Usage { wall: SECOND, ..Usage::default() }, ..old };
        let text = serde_json::to_string(&full).unwrap();
        assert_eq!(serde_json::from_str::<Health>(&text).unwrap(), full);
    }
}
