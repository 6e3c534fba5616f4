//! The report of a run, as JSON version 1: what a pipeline reads and a person is shown.
//!
//! Only its form; [`crate::master::Master::report`] fills it in. Times of day are RFC 3339 in UTC, lengths of time are
//! seconds or milliseconds as their names say. Start at [`Report`].

pub(crate) mod figures;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::verdict::{Outcome, ThresholdResult, Verdict};

/// The version of the report's form.
pub const VERSION: u32 = 1;

/// Everything that is known about a run that has ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// Which run, and when.
    pub run: Run,
    /// How many users.
    pub users: Users,
    /// How far apart its processes began; absent where none did, and in the open model, whose iterations say how late they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
    /// What became of it.
    pub verdict: Verdict,
    /// All requests together.
    pub total: Figures,
    /// What became of the iterations of the open model; absent in the closed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterations: Option<Iterations>,
    /// What the warm-up had, which is in nothing above or below but `users`, `generator_faults`, `user_errors`, `gaps` and
    /// `runners`; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<WarmUp>,
    /// Requests by name and method, in this order.
    pub requests: Vec<Request>,
    /// Failures by request and text.
    pub errors: Vec<Failure>,
    /// Calls that failed by the load generator's own fault, by runner and text; none of them is in `errors`.
    #[serde(default)]
    pub generator_faults: Vec<GeneratorFault>,
    /// Users that ended with an error, by its text.
    pub user_errors: Vec<UserError>,
    /// Times in which a part of the load was missing.
    pub gaps: Vec<Gap>,
    /// One entry per runner, its processes inside.
    pub runners: Vec<Runner>,
}

/// Which run, and when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The run's id.
    pub id: String,
    /// When the load started; `null` if it never did.
    #[serde(rename = "startTime")]
    pub start_time: Option<String>,
    /// When the load was stopped.
    #[serde(rename = "completionTime")]
    pub completion_time: Option<String>,
    /// From the one to the other.
    pub duration_s: f64,
}

/// How many users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// The most that the plan asked for; in the open model, allowed.
    pub target: u32,
    /// The most that were live at one time, as reported.
    pub peak: u32,
}

/// Iterations of the open model. Where `started` and `shed` are less than `planned`, nobody was there to begin the others:
/// a runner was lost, or could not keep up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Iterations {
    /// That the plan had.
    pub planned: u64,
    /// Begun.
    pub started: u64,
    /// Not begun, as every user that there may be was busy.
    pub shed: u64,
    /// Of those begun, by more than 10 ms after their instants.
    pub late: u64,
}

/// How far apart processes began: of each the instant at which its first users were there is held against the instant at
/// which the plan first had users for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Processes that began, those that joined or were started again later included.
    pub processes: u32,
    /// From the earliest of them to the latest.
    pub skew_ms: f64,
    /// How far the latest was behind its plan.
    pub latest_ms: f64,
    /// Every instant is known to so much either way, or better: half of what a message took to the master and back.
    pub uncertainty_ms: f64,
}

/// What was measured apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WarmUp {
    /// From the start to its end, or to the stop.
    pub duration_s: f64,
    /// All its requests together.
    pub total: Figures,
}

/// Counts, rates and times of some requests. Of the calls that were made, `requests` finished, `aborted` were cut by the
/// stop, and `generator_faults` failed by the load generator's own fault; what any of them put on the wire is in `sent`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Finished calls, failed ones included.
    pub requests: u64,
    /// Failed calls.
    pub failures: u64,
    /// Requests on the wire, redirect hops and retries included.
    pub sent: u64,
    /// Calls cut by the stop; in neither `requests` nor `failures`.
    pub aborted: u64,
    /// Calls that failed by the load generator's own fault; in neither `requests` nor `failures` nor `latency_ms`.
    pub generator_faults: u64,
    /// Requests that were sent again.
    pub retried: u64,
    /// Calls whose body was left unread in part.
    pub truncated: u64,
    /// Failures per finished call, from 0 to 1.
    pub failure_ratio: f64,
    /// Finished calls per second of the run's duration.
    pub rps: f64,
    /// Bytes of bodies.
    pub bytes_received: u64,
    /// Times of finished calls.
    pub latency_ms: Latency,
    /// Times of the same calls since the intended start of their iterations: longer by how late each began. Absent where
    /// no call had an intended start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_intended_ms: Option<Latency>,
}

/// Times in milliseconds; `null` where nothing finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Latency {
    pub min: Option<f64>,
    pub mean: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p95: Option<f64>,
    pub p98: Option<f64>,
    pub p99: Option<f64>,
    pub p999: Option<f64>,
    pub max: Option<f64>,
}

/// The requests of one name and method.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Their name.
    pub name: String,
    /// Their method.
    pub method: String,
    /// As of all requests.
    #[serde(flatten)]
    pub figures: Figures,
    /// Replies by status code.
    pub status: BTreeMap<String, u64>,
    /// Times of the parts of a call, such as `connect` and `wait`; only the parts that occurred.
    pub phases_ms: BTreeMap<String, PhaseTimes>,
}

/// Times of one part of the calls that had it, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct PhaseTimes {
    pub mean: f64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

/// Failures of one request with one text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The request's name.
    pub name: String,
    /// The request's method.
    pub method: String,
    /// The text.
    pub error: String,
    /// How many.
    pub count: u64,
}

/// Calls of one runner that failed by its own fault, with one text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratorFault {
    /// Whose calls they were.
    pub runner: String,
    /// The text.
    pub error: String,
    /// How many.
    pub count: u64,
}

/// Users that ended with one error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserError {
    /// The error's text.
    pub error: String,
    /// How many users.
    pub count: u64,
}

/// A time in which a process' part of the load was missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Whose process it was.
    pub runner: String,
    /// The last that was heard of the process; what it did until then is counted.
    pub from: String,
    /// When the users were all live again, or the load stopped.
    pub to: String,
    /// At most so many requests went out without being counted; `null` where nothing bounds it.
    pub lost_at_most: Option<u64>,
}

/// A runner with all its processes: of rates and times the highest, and the mean over the time of the load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Runner {
    /// Such as `runner-0`.
    pub id: String,
    /// Processes, those started again counted once.
    pub processes: u32,
    /// The most users that were live in it at one time.
    pub users_peak: u32,
    /// Of one core, of its busiest process.
    pub cpu_percent_max: f64,
    /// Of one core, of its processes.
    pub cpu_percent_mean: f64,
    /// How long an interpreter's thread had no idle time.
    pub saturated_s: f64,
    /// How much of the time an interpreter's thread was ready to run and had no CPU.
    pub waited_percent_mean: f64,
    /// Of the machine's time, taken by others.
    pub steal_percent_max: f64,
    /// As `steal_percent_max`.
    pub steal_percent_mean: f64,
    /// How long a CPU limit kept its processes from running, over all CPUs.
    pub throttled_ms: f64,
    /// In so many of the limit's periods.
    pub throttled_periods: u64,
    /// The longest that an interpreter's loop was late.
    pub loop_lag_ms_max: f64,
    /// How late it was on average, looked at many times a second.
    pub loop_lag_ms_mean: f64,
    /// The latest that a user's step was started.
    pub lateness_ms: f64,
    /// How late steps were started on average.
    pub lateness_ms_mean: f64,
    /// So late, at most, were 99 % of them.
    pub lateness_ms_p99: f64,
    /// The most descriptors that were in use in one process.
    pub open_files_max: u64,
    /// How many a process may have; 0 if unknown.
    pub open_files_limit: u64,
    /// The lines that blocked a loop, the worst first.
    pub blocked: Vec<BlockedLoop>,
    /// What was wrong with it as a load generator, a sentence each; empty if all was well.
    pub marks: Vec<String>,
}

/// A line of the scenario that blocked a loop.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlockedLoop {
    /// Such as `aiotestfile.py:12 in test_report`.
    pub place: String,
    /// Altogether.
    pub seconds: f64,
    /// The longest at one time.
    pub longest_ms: f64,
}
