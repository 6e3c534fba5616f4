//! The forms of load. Start at [`Load`].

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;

/// How much load: exactly one form.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new(
        "[has(self.constant), has(self.stages), has(self.arrivals), has(self.shape)].exists_one(given, given)"
    )
    .message("exactly one of constant, stages, arrivals and shape must be given"),
    validation = Rule::new(
        "!has(self.stages) || self.stages.exists(stage, stage.users > 0 && duration(stage.duration) > duration('0s'))"
    )
    .message("stages must have one with users and a duration above 0s, or there is no load"),
    validation = Rule::new(
        "!has(self.warmUp) || !has(self.constant) || duration(self.warmUp) < duration(self.constant.duration)"
    )
    .message("warmUp must be shorter than constant.duration, or nothing is measured"),
    validation = Rule::new(
        "!has(self.warmUp) || !has(self.stages) || duration(self.warmUp).getSeconds() \
         < self.stages.map(stage, duration(stage.duration).getSeconds()).sum()"
    )
    .message("warmUp must be shorter than the stages together, or nothing is measured"),
    validation = Rule::new(
        "!has(self.warmUp) || !has(self.arrivals) || duration(self.warmUp).getSeconds() \
         < self.arrivals.stages.map(stage, duration(stage.duration).getSeconds()).sum()"
    )
    .message("warmUp must be shorter than arrivals.stages together, or nothing is measured")
)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// A number of users, reached by a ramp and then held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constant: Option<Constant>,
    /// From 1 to 100 lines, each from where the one before it ended, and the load ends with the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub stages: Option<Vec<Stage>>,
    /// Iterations that begin at their own instants, whoever is still busy with earlier ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrivals: Option<Arrivals>,
    /// The `LoadUserShape` of the file says how many users there are at each moment, and when it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    /// From the start on, measured apart, such as `1m`: neither in the report's figures nor looked at by thresholds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<Duration>,
}

/// The one form that a [`Load`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form<'a> {
    /// A number of users, reached by a ramp and then held.
    Constant(&'a Constant),
    /// A line after the other.
    Stages(&'a [Stage]),
    /// The open model.
    Arrivals(&'a Arrivals),
    /// The file's own shape.
    Shape(&'a Shape),
}

impl Load {
    /// The form; `None` where the rule that there is exactly one was not checked and does not hold.
    pub fn form(&self) -> Option<Form<'_>> {
        match (&self.constant, &self.stages, &self.arrivals, &self.shape) {
            (Some(constant), None, None, None) => Some(Form::Constant(constant)),
            (None, Some(stages), None, None) => Some(Form::Stages(stages)),
            (None, None, Some(arrivals), None) => Some(Form::Arrivals(arrivals)),
            (None, None, None, Some(shape)) => Some(Form::Shape(shape)),
            _ => None,
        }
    }
}

/// A number of users, reached by a ramp and then held.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("duration(self.duration) > duration('0s')").message("duration must be above 0s"),
    validation = Rule::new("self.users / self.spawnRate <= duration(self.duration).getSeconds()")
        .message("duration must be at least users divided by spawnRate seconds, or the users are never reached")
)]
#[serde(rename_all = "camelCase")]
pub struct Constant {
    /// How many users there are after the ramp, over all runners: from 1 to 1000000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub users: u32,
    /// Users started per second during the ramp, over all runners: from 1 to 1000000, and it may be above `users`.
    /// Defaults to 1, as the command line's `--rate` does.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub spawn_rate: u32,
    /// From the first user's start to the stop, the ramp included, such as `90s` or `1h20m`.
    pub duration: Duration,
}

/// Whether a load is to be on.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DesiredState {
    /// As planned.
    #[default]
    Running,
    /// No user lives, and the time of the load stands still.
    Paused,
    /// The run ends as cancelled, for good.
    Stopped,
}

impl DesiredState {
    /// Whether nothing else than usual is wanted.
    pub fn is_running(&self) -> bool {
        *self == Self::Running
    }
}

/// A line from the users that there are to others.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// From the begin of the line to its end, such as `2m`; `0s` has users change at once.
    pub duration: Duration,
    /// Users at the line's end, over all runners: from 0 to 1000000.
    #[schemars(range(max = 1_000_000))]
    pub users: u32,
}

/// The open model: iterations begin at a rate, each at its own instant. One is a pass over the jobs of a user that has nothing
/// else to do.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("duration(self.per) >= duration('1s')").message("per must be at least 1s"),
    validation = Rule::new(
        "self.stages.exists(stage, stage.target > 0) && \
         self.stages.exists(stage, duration(stage.duration) > duration('0s'))"
    )
    .message("stages must have a target and a duration above 0s, or there is no load"),
    validation = Rule::new(
        "duration(self.per) < duration('1s') || \
         self.stages.all(stage, stage.target <= duration(self.per).getSeconds() * 1000000)"
    )
    .message("target must be at most 1000000 a second")
)]
#[serde(rename_all = "camelCase")]
pub struct Arrivals {
    /// The time that targets are per, at least `1s`, such as `1m`. Defaults to `1s`.
    #[serde(default = "second")]
    pub per: Duration,
    /// The most users at one time, over all runners: from 1 to 1000000, and at least one of each class for each process. An
    /// iteration that finds all of them busy is shed, and counted.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_users: u32,
    /// From 1 to 100 lines of the rate, the first from none, each from where the one before it ended. The load ends with the
    /// last one.
    #[schemars(length(min = 1, max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub stages: Vec<ArrivalStage>,
}

/// A line from the rate that there is to another.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArrivalStage {
    /// From the begin of the line to its end, such as `2m`; `0s` has the rate change at once.
    pub duration: Duration,
    /// Iterations per `per` at the line's end, over all runners: from 0 to 1000000 a second.
    #[schemars(range(max = 1_000_000_000))]
    pub target: u32,
}

fn second() -> Duration {
    Duration::from_secs(1)
}

fn one() -> u32 {
    1
}

/// Empty: everything about a shape is in the file.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {}
