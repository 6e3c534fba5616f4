//! What to run: the plan file that whoever starts a master writes, and every process of the run reads.
//!
//! Says nothing about user classes; those are in the scenario. Unknown fields are ignored, so that an older master
//! reads a newer file. Start at [`RunSpec`].

use std::time::Duration;

use aiotest_api::threshold::Threshold;
use serde::{Deserialize, Serialize};

use crate::arrivals::{MAX_ITERATIONS, MAX_RATE};
use crate::data::DataSpec;
use crate::tick::{micros, micros_of};

/// The most users of a run.
pub const MAX_USERS: u32 = 10_000_000;
/// The most stages of a load.
pub const MAX_STAGES: usize = 100;
/// The most runner processes of a run.
pub const MAX_PROCESSES: u32 = 4096;
/// The most user classes of a scenario.
pub const MAX_CLASSES: usize = 256;

/// One run. Durations are whole microseconds in the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// Which run this is.
    pub run: RunIdentity,
    /// How many users, and when.
    pub load: Load,
    /// From the start on, measured apart: neither in the report's figures nor looked at by thresholds.
    #[serde(default, with = "micros")]
    pub warm_up: Duration,
    /// Whether the load is to be on.
    #[serde(default)]
    pub desired: Desired,
    /// Runners of the run; at least 1.
    pub runners: u32,
    /// Processes in every runner; at least 1.
    pub processes_per_runner: u32,
    /// What the run must keep. With none, any failed request or dead user fails it.
    #[serde(default)]
    pub thresholds: Vec<Threshold>,
    /// How long each part may take.
    #[serde(default)]
    pub deadlines: Deadlines,
    /// How long a runner goes on with its load without having heard from its master.
    #[serde(default = "dead_man", with = "micros")]
    pub dead_man: Duration,
    /// Where the load goes; wins over the scenario's own.
    #[serde(default)]
    pub host: Option<String>,
    /// The scenario's own options.
    #[serde(default)]
    pub args: Vec<String>,
    /// Path of the scenario.
    pub aiotestfile: String,
    /// What scenarios may ask for by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<DataSpec>,
}

/// Names a run, in labels and in the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunIdentity {
    /// Unique.
    pub id: String,
    /// The load test's name.
    pub name: String,
    /// The load test's namespace; empty outside a cluster.
    #[serde(default)]
    pub namespace: String,
    /// The load test's how-manieth run this is, from 1.
    #[serde(default)]
    pub number: u64,
}

/// Whether the load is to be on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Desired {
    /// As planned.
    #[default]
    Running,
    /// No user lives, and the time of the load stands still.
    Paused,
    /// The run ends as cancelled, for good.
    Stopped,
}

/// How many users, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Load {
    /// A ramp to a number of users, held.
    Constant(Constant),
    /// A line after the other, each from where the one before it ended; 1 to [`MAX_STAGES`].
    Stages(Vec<Stage>),
    /// The open model: iterations begin at their own instants, whoever is still busy.
    Arrivals(Arrivals),
    /// The scenario's `LoadUserShape` says it as the run goes.
    Shape,
}

/// A ramp from the start instant on, held until the duration is over.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Constant {
    /// Users to reach; 1 to [`MAX_USERS`].
    pub users: u32,
    /// Users started per second; finite and above 0. More than `users` is accepted.
    pub spawn_rate: f64,
    /// From the start instant to the stop, ramp included. Without one the run ends when it is stopped, or at its
    /// deadline.
    #[serde(default, with = "micros::option")]
    pub duration: Option<Duration>,
}

/// A line to a number of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// From the begin of the line to its end; with none, users change at once.
    #[serde(with = "micros")]
    pub duration: Duration,
    /// Users at the line's end; at most [`MAX_USERS`].
    pub users: u32,
}

/// Lines of the rate at which iterations begin, each from where the one before it ended, the first from none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrivals {
    /// The time that targets are per; above 0.
    #[serde(with = "micros")]
    pub per: Duration,
    /// The most users at one time, which is the most iterations: whatever finds all of them busy is shed. At least one of
    /// each class for each process.
    pub max_users: u32,
    /// From 1 to [`MAX_STAGES`].
    pub lines: Vec<ArrivalLine>,
}

/// A line to a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrivalLine {
    /// From the begin of the line to its end; with none, the rate changes at once.
    #[serde(with = "micros")]
    pub duration: Duration,
    /// Iterations at the line's end, per `per`; at most [`MAX_RATE`] a second.
    pub target: u32,
}

impl Load {
    /// What the form is called.
    pub const fn form(&self) -> &'static str {
        match self {
            Self::Constant(_) => "constant",
            Self::Stages(_) => "stages",
            Self::Arrivals(_) => "arrivals",
            Self::Shape => "shape",
        }
    }

    /// The most users that it comes to; of a shape, that any load may have.
    pub fn most_users(&self) -> u32 {
        match self {
            Self::Constant(load) => load.users,
            Self::Stages(stages) => stages.iter().map(|stage| stage.users).max().unwrap_or_default(),
            Self::Arrivals(load) => load.max_users,
            Self::Shape => MAX_USERS,
        }
    }
}

/// How long each part of a run may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deadlines {
    /// From the master's start until every process has joined; then the run is not started.
    #[serde(with = "micros")]
    pub startup: Duration,
    /// From the start instant until the load is stopped, whatever the load says.
    #[serde(with = "micros")]
    pub run: Duration,
    /// From the stop until open calls are aborted and users cancelled.
    #[serde(with = "micros")]
    pub stop: Duration,
    /// From the end until the master no longer waits for its report to be acknowledged.
    #[serde(with = "micros")]
    pub results: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            startup: Duration::from_secs(600),
            run: Duration::from_secs(24 * 3600),
            stop: Duration::from_secs(30),
            results: Duration::from_secs(600),
        }
    }
}

const fn dead_man() -> Duration {
    Duration::from_secs(15)
}

/// A kind of user, as the scenario defines it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassSpec {
    /// The class's name.
    pub name: String,
    /// Its share among the weights of all classes; 0 leaves it out.
    pub weight: u32,
}

/// Why a run cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRun {
    /// No class would get a user.
    #[error("no user class has a weight above 0")]
    NoClass,
    /// More classes than a message can hold.
    #[error("{0} user classes are too many: at most {MAX_CLASSES} are supported")]
    TooManyClasses(usize),
    /// `runners` or `processes_per_runner` is 0, or there are too many.
    #[error("{runners} runners of {processes} processes: their product must be 1 to {MAX_PROCESSES}")]
    Processes {
        /// The run's `runners`.
        runners: u32,
        /// The run's `processes_per_runner`.
        processes: u32,
    },
    /// `users` is out of its bounds.
    #[error("{0} users: must be 1 to {MAX_USERS}")]
    Users(u32),
    /// `spawn_rate` cannot be a rate.
    #[error("a spawn rate of {0} users a second: must be a finite number above 0")]
    SpawnRate(String),
    /// There are no stages, or too many.
    #[error("{0} stages: there must be 1 to {MAX_STAGES}")]
    Stages(usize),
    /// The stages make no load.
    #[error("no stage has both users and a duration above 0")]
    EmptyStages,
    /// A rate that nobody can keep.
    #[error("a target of {target} iterations per {per:?}: must be at most {MAX_RATE} a second")]
    Rate {
        /// The line's `target`.
        target: u32,
        /// The load's `per`.
        per: Duration,
    },
    /// The lines make no load.
    #[error("no line of arrivals has a rate and a duration above 0")]
    EmptyArrivals,
    /// More iterations than can be told apart.
    #[error(
        "the lines of arrivals make more than {MAX_ITERATIONS} iterations: shorten them, or lower their rates"
    )]
    TooManyIterations,
    /// Some class would never have a user in some process.
    #[error(
        "max_users of {most}: must be 1 to {MAX_USERS}, and at least {least}, one of each class for each process"
    )]
    MaxUsers {
        /// The load's `max_users`.
        most: u32,
        /// Classes with a weight, times processes.
        least: u64,
    },
    /// The load of a run that is on was to become another kind of load.
    #[error(
        "the load of a run cannot change its form: this run began with a {began}, another form needs another run"
    )]
    Form {
        /// What the run began with: the name of a form.
        began: &'static str,
    },
}

impl RunSpec {
    /// Refuses what no master can carry out.
    pub fn check(&self, classes: &[ClassSpec]) -> Result<(), InvalidRun> {
        if classes.iter().all(|class| class.weight == 0) {
            return Err(InvalidRun::NoClass);
        }
        if MAX_CLASSES < classes.len() {
            return Err(InvalidRun::TooManyClasses(classes.len()));
        }
        self.check_numbers()?;
        let weighted = classes.iter().filter(|class| 0 < class.weight).count() as u64;
        let least = weighted * u64::from(self.processes().unwrap_or(u32::MAX));
        match &self.load {
            Load::Arrivals(Arrivals { max_users: most, .. }) if u64::from(*most) < least => {
                Err(InvalidRun::MaxUsers { most: *most, least })
            }
            _ => Ok(()),
        }
    }

    /// The part of [`Self::check`] that does not depend on the scenario.
    pub fn check_numbers(&self) -> Result<(), InvalidRun> {
        if self.processes().is_none_or(|processes| !(1..=MAX_PROCESSES).contains(&processes)) {
            let (runners, processes) = (self.runners, self.processes_per_runner);
            return Err(InvalidRun::Processes { runners, processes });
        }
        match &self.load {
            Load::Constant(load) if load.users < 1 || MAX_USERS < load.users => {
                Err(InvalidRun::Users(load.users))
            }
            Load::Constant(load) if !is_rate(load.spawn_rate) => {
                Err(InvalidRun::SpawnRate(load.spawn_rate.to_string()))
            }
            Load::Stages(stages) => check_stages(stages),
            Load::Arrivals(arrivals) => check_arrivals(arrivals),
            _ => Ok(()),
        }
    }

    /// Processes of all runners together; `None` if that is no number.
    pub fn processes(&self) -> Option<u32> {
        self.runners.checked_mul(self.processes_per_runner)
    }
}

fn check_stages(stages: &[Stage]) -> Result<(), InvalidRun> {
    if stages.is_empty() || MAX_STAGES < stages.len() {
        return Err(InvalidRun::Stages(stages.len()));
    }
    if let Some(stage) = stages.iter().find(|stage| MAX_USERS < stage.users) {
        return Err(InvalidRun::Users(stage.users));
    }
    if stages.iter().all(|stage| stage.users == 0 || stage.duration.is_zero()) {
        return Err(InvalidRun::EmptyStages);
    }
    Ok(())
}

fn check_arrivals(arrivals: &Arrivals) -> Result<(), InvalidRun> {
    let Arrivals { per, max_users: most, lines } = arrivals;
    if lines.is_empty() || MAX_STAGES < lines.len() {
        return Err(InvalidRun::Stages(lines.len()));
    }
    if !(1..=MAX_USERS).contains(most) {
        return Err(InvalidRun::MaxUsers { most: *most, least: 1 });
    }
    let possible =
        |target: u32| u128::from(target) * 1_000_000 <= u128::from(MAX_RATE) * u128::from(micros_of(*per));
    if let Some(line) = lines.iter().find(|line| !possible(line.target) || per.is_zero()) {
        return Err(InvalidRun::Rate { target: line.target, per: *per });
    }
    let mut before = 0;
    let mut doubled = 0_u128;
    for line in lines {
        let both = u128::from(before) + u128::from(line.target);
        doubled = doubled.saturating_add(both * u128::from(micros_of(line.duration)));
        before = line.target;
    }
    match doubled / 2 / u128::from(micros_of(*per)) {
        _ if doubled == 0 => Err(InvalidRun::EmptyArrivals),
        iterations if u128::from(MAX_ITERATIONS) < iterations => Err(InvalidRun::TooManyIterations),
        _ => Ok(()),
    }
}

/// Whether a number can be users per second.
pub(crate) fn is_rate(rate: f64) -> bool {
    rate.is_finite() && 0.0 < rate
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &serde_json::Value) -> RunSpec {
        let mut whole = serde_json::json!({
            "run": {"id": "a", "name": "quickstart"}, "load": "shape", "runners": 2, "processes_per_runner": 1,
            "aiotestfile": "aiotestfile.py",
        });
        whole.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    fn classes(weights: &[u32]) -> Vec<ClassSpec> {
        weights.iter().map(|weight| ClassSpec { name: format!("Test{weight}"), weight: *weight }).collect()
    }

    #[test]
    fn a_plan_file_needs_little_and_ignores_what_it_does_not_know() {
        let spec = spec(&serde_json::json!({"colour": "blue", "load": {"constant": {
            "users": 100, "spawn_rate": 50, "duration": 60_000_000}}}));
        assert_eq!(spec.dead_man, Duration::from_secs(15));
        assert_eq!(spec.deadlines.stop, Duration::from_secs(30));
        let Load::Constant(load) = spec.load else { panic!("{:?}", spec.load) };
        assert_eq!((load.users, load.duration), (100, Some(Duration::from_secs(60))));
        assert_eq!(spec.check(&classes(&[1, 0])), Ok(()));
    }

    #[test]
    fn what_cannot_be_carried_out_is_refused() {
        let constant = |users: u32, rate: f64| {
            spec(&serde_json::json!({"load": {"constant": {"users": users, "spawn_rate": rate}}}))
        };
        assert_eq!(constant(0, 1.0).check(&classes(&[1])), Err(InvalidRun::Users(0)));
        assert_eq!(constant(1, 0.0).check(&classes(&[1])), Err(InvalidRun::SpawnRate("0".into())));
        assert_eq!(constant(1, 1.0).check(&classes(&[0])), Err(InvalidRun::NoClass));
        assert_eq!(constant(1, 1.0).check(&classes(&[1; 257])), Err(InvalidRun::TooManyClasses(257)));
        let open = |per: u64, max_users: u32, lines: &[(u64, u32)]| {
            let lines: Vec<_> = lines
                .iter()
                .map(|(duration, target)| serde_json::json!({"duration": duration, "target": target}))
                .collect();
            let load = serde_json::json!({"per": per, "max_users": max_users, "lines": lines});
            spec(&serde_json::json!({"load": {"arrivals": load}})).check(&classes(&[1]))
        };
        let second = 1_000_000;
        assert_eq!(open(second, 2, &[(second, 1_000_000)]), Ok(()), "a million a second");
        assert_eq!(open(60 * second, 2, &[(0, 1), (second, 1)]), Ok(()), "one a minute");
        assert_eq!(open(second, 2, &[(second, 5), (second, 0)]), Ok(()), "to nothing, on the way down");
        let too_fast = InvalidRun::Rate { target: 1_000_001, per: Duration::from_secs(1) };
        assert_eq!(open(second, 2, &[(second, 1_000_001)]), Err(too_fast));
        assert_eq!(open(0, 2, &[(second, 1)]), Err(InvalidRun::Rate { target: 1, per: Duration::ZERO }));
        let years = 100_000_000 * second;
        assert_eq!(open(60 * second, 2, &[(0, 1), (years, 1)]), Ok(()), "for years, seldom");
        assert_eq!(open(second, 2, &[(years, 5_000)]), Err(InvalidRun::TooManyIterations));
        assert_eq!(open(second, 2, &[(second, 0)]), Err(InvalidRun::EmptyArrivals));
        assert_eq!(open(second, 2, &[(0, 5)]), Err(InvalidRun::EmptyArrivals), "a duration of 0");
        assert_eq!(open(second, 2, &[]), Err(InvalidRun::Stages(0)));
        assert_eq!(open(second, 1, &[(second, 1)]), Err(InvalidRun::MaxUsers { most: 1, least: 2 }));
        let many = spec(&serde_json::json!({"runners": u32::MAX, "processes_per_runner": 2}));
        assert_eq!(
            many.check(&classes(&[1])),
            Err(InvalidRun::Processes { runners: u32::MAX, processes: 2 })
        );
    }
}
