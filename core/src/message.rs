//! What master and runner processes say to each other, as JSON over the control protocol.
//!
//! Level-triggered: every message holds the whole of what its sender wants known, so any of them may be lost, doubled,
//! late or out of order. Unknown fields are ignored. Never trusts a number: whoever takes a message in bounds it. Start
//! at [`Report`] and [`Assignment`].

mod operator;
mod rendezvous;
mod rows;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::health::Health;
use crate::plan::Plan;
use crate::run::RunIdentity;
use crate::share::Share;
use crate::stats::Statistics;
use crate::tick::{Tick, micros};
pub use operator::{LiveSpec, RunnerDeparture, Termination};
pub use rendezvous::{MAX_RENDEZVOUS, MAX_RENDEZVOUS_NAME, Meeting, Waiting, is_rendezvous_name};
pub use rows::{RowsAnswer, RowsReport, SetAnswer, SetReport};

/// The version of these messages.
pub const VERSION: u32 = 1;
/// The longest runner name that is accepted, in bytes.
pub const MAX_NAME: usize = 253;

/// One life of one process of a runner.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// Such as `runner-0`.
    pub runner: String,
    /// The process in its runner, from 0.
    pub process: u32,
    /// Rises every time the process is started again.
    pub incarnation: u64,
}

impl fmt::Display for ProcessId {
    /// Such as `runner-0/1#2`: the third life of the second process.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}#{}", self.runner, self.process, self.incarnation)
    }
}

/// What a runner process says about once a second. Sent again unchanged, under its number, until acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// The run's epoch, as the first assignment said; `None` before that.
    #[serde(default)]
    pub epoch: Option<u64>,
    /// Who reports.
    pub from: ProcessId,
    /// From 1 on, one higher with every new report.
    pub sequence: u64,
    /// `windows` hold everything since the process began, and replace what the master has of it.
    #[serde(default)]
    pub full: bool,
    /// The names of the scenario's classes, in the order of `users`.
    pub classes: Vec<String>,
    /// What the process is doing.
    pub state: ProcessState,
    /// The version of the plan that the process obeys now; 0 for none.
    #[serde(default)]
    pub plan_version: u64,
    /// The generation of the specification that the last assignment carried; 0 for none.
    #[serde(default)]
    pub generation: u64,
    /// Users by class.
    pub users: Vec<ClassUsers>,
    /// Where users wait for others, if some do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rendezvous: Vec<Waiting>,
    /// What was measured since the last report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// Requests on the wire since the process began, as its counter in the deposit has them.
    #[serde(default)]
    pub sent_total: u64,
    /// How the process is.
    #[serde(default)]
    pub health: Health,
    /// When it last stopped its load because it had not heard from its master for the dead-man time, by the master's
    /// clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<Tick>,
    /// When its first users began, once they are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Began>,
    /// What it heard last, `now` as it reckons the master's clock to be; only in reports that follow an unanswered one,
    /// for a master that was replaced and remembers nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<Box<Assignment>>,
    /// The rows of data sets that it has and wants; `None` where the run has no data sets. Always as they are now, also
    /// in a report that is sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Box<RowsReport>>,
}

/// Users of one class in one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassUsers {
    /// Users whose task runs, those that are ending included.
    pub live: u32,
    /// Users that ended with an error; they are not replaced.
    #[serde(default)]
    pub dead: u32,
}

/// When a process' first users began, by the master's clock as the process reckons it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Began {
    /// When the plan first had users for it.
    pub due: Tick,
    /// When they were there.
    pub at: Tick,
    /// The master's clock may have read so much more or less then: half of what a message took there and back.
    #[serde(with = "micros")]
    pub uncertainty: Duration,
}

/// What was measured between two marks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// The last mark before it; 0 before the first one.
    pub since: Tick,
    /// What was recorded in it.
    pub statistics: Statistics,
}

/// What a runner process is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// Has joined; there is no load yet.
    #[default]
    Waiting,
    /// Runs its share.
    Running,
    /// Ends its users.
    Draining,
    /// Every user has ended, everything measured has been or is hereby reported.
    Drained,
    /// As drained, and the process is going to end before the run does.
    Left,
    /// Hasn't heard from its master for the dead-man time, and has stopped its load.
    Stopped,
}

/// The master's answer to a report: everything that a process has to know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// [`VERSION`].
    pub version: u32,
    /// Names this life of the run.
    pub epoch: u64,
    /// The run's id.
    #[serde(default)]
    pub run: String,
    /// The master's clock when it answered.
    pub now: Tick,
    /// The highest report number that has been merged.
    pub acknowledged: u64,
    /// The next report must be a full one.
    #[serde(default)]
    pub send_full: bool,
    /// What the run is doing.
    pub state: RunState,
    /// When the run starts, once agreed.
    #[serde(default)]
    pub start: Option<Tick>,
    /// How many users the run has.
    #[serde(default)]
    pub plan: Plan,
    /// Which of them are this process'.
    #[serde(default)]
    pub share: Share,
    /// Instants at which what is measured before and after is reported apart; rising.
    #[serde(default)]
    pub marks: Vec<Tick>,
    /// When every user of the plan runs, once known: all processes say so to their scenario at once.
    #[serde(default)]
    pub start_complete: Option<StartComplete>,
    /// When and how long the load is stopped, as far as it is known.
    #[serde(default)]
    pub stop: Option<Stop>,
    /// Users that are live in all processes together.
    #[serde(default)]
    pub users: u32,
    /// The most users that the load comes to, as far as is known.
    #[serde(default)]
    pub most_users: u32,
    /// Every rendezvous that users have waited at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rendezvous: Vec<Meeting>,
    /// Of the specification in force; 0 as long as nobody has put one.
    #[serde(default)]
    pub generation: u64,
    /// The rows of data sets that the process is offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Box<RowsAnswer>>,
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Waits for its processes.
    #[default]
    Waiting,
    /// The load is on, or its start is agreed.
    Running,
    /// The load is being stopped.
    Draining,
    /// Over: a process that is told so ends with exit code 0.
    Ended,
}

/// The instant at which every user of the first ramp runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartComplete {
    /// The agreed instant.
    pub at: Tick,
    /// Users of all processes.
    pub users: u32,
}

/// The end of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// From here on no call starts and users end.
    pub at: Tick,
    /// From here on what is still open is aborted.
    pub deadline: Tick,
    /// Why.
    pub reason: StopReason,
}

/// Why a run's load ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Its duration is over.
    Completed,
    /// The shape said so.
    ShapeEnded,
    /// `deadlines.run` is over.
    RunDeadline,
    /// Somebody interrupted it, as by Ctrl-C.
    Interrupted,
    /// Somebody asked for it.
    Stopped,
    /// Another run takes its place.
    Superseded,
    /// Whoever started the master is gone.
    ParentGone,
    /// Too few processes came within `deadlines.startup`.
    NotStarted,
}

/// Proof that a process has ended: from the parent that saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// Which one.
    pub process: ProcessId,
    /// How it ended, in a few words, such as `killed by signal 9`.
    #[serde(default)]
    pub exit: String,
    /// Requests that it put on the wire in its life, if its counter could be read.
    #[serde(default)]
    pub sent_total: Option<u64>,
}

/// The live figures of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`VERSION`].
    pub version: u32,
    /// Which run.
    pub run: RunIdentity,
    /// What it is doing.
    pub state: RunState,
    /// Of the specification in force; 0 as long as nobody has put one.
    #[serde(default)]
    pub generation: u64,
    /// Users that are live.
    pub users: u32,
    /// Users that the plan has now.
    pub target: u32,
    /// The load is paused: no user lives, and its time stands still.
    #[serde(default)]
    pub paused: bool,
    /// Users that ended with an error, since the start.
    pub dead_users: u64,
    /// Iterations of the open model; `None` in the closed one.
    #[serde(default)]
    pub iterations: Option<IterationStatus>,
    /// Finished calls since the start.
    pub requests: u64,
    /// Failed ones of them.
    pub failures: u64,
    /// Requests on the wire since the start.
    pub sent: u64,
    /// Calls that failed by the load generator's own fault; in neither `requests` nor `failures`.
    #[serde(default)]
    pub generator_faults: u64,
    /// Finished calls per second over the last ten seconds or so.
    pub rps: f64,
    /// Failed ones of them.
    pub failures_per_second: f64,
    /// Of the same seconds, in microseconds; `None` if no call finished in them.
    pub p50_us: Option<u64>,
    /// As `p50_us`.
    pub p95_us: Option<u64>,
    /// As `p50_us`.
    pub p99_us: Option<u64>,
    /// Since the start instant, until the load stopped.
    #[serde(with = "micros::option")]
    pub elapsed: Option<Duration>,
    /// Until the load stops, as far as that is known.
    #[serde(with = "micros::option")]
    pub time_left: Option<Duration>,
    /// Processes that the run asked for.
    pub expected: u32,
    /// Processes that are here.
    pub joined: u32,
    /// Why the load ends or ended, once it does.
    pub stop: Option<StopReason>,
    /// What whoever watches should know, a sentence each.
    pub notes: Vec<String>,
    /// What is wrong with the runners as load generators; a sentence stays the same while it goes on.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// By the verdict, once the run is over.
    pub exit_code: Option<u8>,
}

/// The open model, as it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IterationStatus {
    /// That the plan has now, in iterations per second.
    pub rate: f64,
    /// Begun since the start.
    pub started: u64,
    /// Not begun, as every user that there may be was busy.
    pub shed: u64,
    /// Of those begun, so many late.
    pub late: u64,
}

/// Why a report was not taken. The process must stop its load and end, unless the refusal [is
/// passing](Refusal::is_passing).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Another version of these messages.
    #[error("the report has version {theirs}, the master speaks {VERSION}")]
    Version {
        /// The report's version.
        theirs: u32,
    },
    /// The report belongs to another life of the run.
    #[error("the report is of epoch {theirs}, the run is in epoch {ours}")]
    StaleEpoch {
        /// The report's epoch.
        theirs: u64,
        /// The master's epoch.
        ours: u64,
    },
    /// The report belongs to a life of the run that the master has no memory of, and does not say what was heard in it.
    #[error(
        "the master was replaced and knows nothing of epoch {theirs}: it has to be told what was heard last"
    )]
    Forgotten {
        /// The report's epoch.
        theirs: u64,
    },
    /// A later incarnation of the process has joined.
    #[error("{process} has been replaced by its incarnation {by}")]
    Superseded {
        /// Who reported.
        process: ProcessId,
        /// The incarnation that counts.
        by: u64,
    },
    /// The process has read another scenario.
    #[error("the runner's user classes ({theirs}) are not the master's ({ours})")]
    Classes {
        /// The report's classes.
        theirs: String,
        /// The master's classes.
        ours: String,
    },
    /// The process has read another file.
    #[error("the runner's data set `{name}` {theirs}, the master's {ours}: give both the same file")]
    Data {
        /// Of the data set.
        name: String,
        /// What the process has, such as `has 200 rows (1f3a)`.
        theirs: String,
        /// What the master has.
        ours: String,
    },
    /// The name cannot be a runner's, or there are more processes than a run may have.
    #[error("no place for process {0}")]
    NoPlace(String),
}

impl Refusal {
    /// Whether the same process is to report again: this is as if there had been no answer.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Forgotten { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_report_of_another_writer_is_understood() {
        let report: Report = serde_json::from_str(
            r#"{"version": 1, "from": {"runner": "runner-0", "process": 0, "incarnation": 1}, "sequence": 1,
                "classes": ["TestShop"], "state": "running", "users": [{"live": 3}], "mood": "good"}"#,
        )
        .unwrap();
        assert_eq!(report.users, [ClassUsers { live: 3, dead: 0 }]);
        assert_eq!((report.epoch, report.full, report.health), (None, false, Health::default()));
        assert_eq!(report.from.to_string(), "runner-0/0#1");
    }

    #[test]
    fn a_message_survives_the_wire() {
        let assignment = Assignment {
            version: VERSION,
            start_complete: Some(StartComplete { at: Tick::from_micros(7), users: 3 }),
            stop: Some(Stop { at: Tick::ZERO, deadline: Tick::ZERO, reason: StopReason::ParentGone }),
            ..Assignment::default()
        };
        let text = serde_json::to_string(&assignment).unwrap();
        assert_eq!(serde_json::from_str::<Assignment>(&text).unwrap(), assignment);
        let refusal = Refusal::StaleEpoch { theirs: 1, ours: 2 };
        let text = serde_json::to_string(&refusal).unwrap();
        assert_eq!(serde_json::from_str::<Refusal>(&text).unwrap(), refusal);
    }
}
