//! What a `LoadTest` asks for. Holds types and their rules; decides nothing.
//!
//! A union is a struct of optional members with a rule that exactly one is set: an enum that carries data has no
//! structural schema. Every text, list and number has a bound, or the API server refuses the rules as too costly.
//! A field that isn't built yet is absent, never accepted and ignored. Start at [`LoadTestSpec`].

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::data::DataSet;
use crate::duration::Duration;
use crate::load::{DesiredState, Load};
use crate::status::LoadTestStatus;
use crate::threshold::Threshold;

/// One load test: which file, how much load from how many runners, and what counts as passed.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "aiotest.dev",
    version = "v1alpha1",
    kind = "LoadTest",
    doc = "A load test: users written in Python, the load to put on a service, and the verdict.",
    namespaced,
    shortname = "lt",
    category = "aiotest",
    status = "LoadTestStatus",
    derive = "PartialEq",
    validation = Rule::new("size(self.metadata.name) <= 40")
        .message("metadata.name must be at most 40 characters long: the names of pods are made from it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be made of a-z, 0-9 and -, begin with a letter and not end with -"),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Succeeded\")].reason",
        description = "Waiting, Running, Paused, Draining, or how it ended"
    ),
    printcolumn(
        name = "Users",
        type_ = "integer",
        json_path = ".status.live.users",
        description = "Users alive"
    ),
    printcolumn(
        name = "RPS",
        type_ = "integer",
        json_path = ".status.live.requestsPerSecond",
        description = "Requests per second"
    ),
    printcolumn(
        name = "Fail",
        type_ = "integer",
        json_path = ".status.live.failuresPerMille",
        description = "Failed requests in a thousand"
    ),
    printcolumn(
        name = "P95",
        type_ = "integer",
        json_path = ".status.live.p95Microseconds",
        description = "The latency in microseconds that 95 % of the requests do not exceed"
    ),
    printcolumn(
        name = "Runners",
        type_ = "integer",
        json_path = ".status.runners.ready",
        description = "Runners that have joined"
    ),
    printcolumn(name = "Verdict", type_ = "string", json_path = ".status.verdict.result"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = Rule::new(
        "!has(self.load.constant) || duration(self.load.constant.duration) <= duration(self.deadlines.run)"
    )
    .message("deadlines.run must be at least load.constant.duration, or it would cut the run"),
    validation = Rule::new(
        "!has(self.load.stages) || self.load.stages.map(stage, duration(stage.duration).getSeconds()).sum() \
         <= duration(self.deadlines.run).getSeconds()"
    )
    .message("deadlines.run must be at least the durations of load.stages together, or it would cut the run"),
    validation = Rule::new(
        "!has(self.load.arrivals) || self.load.arrivals.stages.map(stage, duration(stage.duration).getSeconds()).sum() \
         <= duration(self.deadlines.run).getSeconds()"
    )
    .message(
        "deadlines.run must be at least the durations of load.arrivals.stages together, or it would cut the run"
    ),
    validation = Rule::new(
        "!has(self.data) || self.data.all(one, self.data.exists_one(other, other.name == one.name))"
    )
        .message("data must have no two sets of one name")
)]
#[serde(rename_all = "camelCase")]
pub struct LoadTestSpec {
    /// Where the users are written: exactly one of `configMap` and `inline`.
    pub aiotestfile: Aiotestfile,
    /// The file's own command line options, as it declares them, such as `--tenant=blue`. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1024)), extend("x-kubernetes-list-type" = "atomic"))]
    pub args: Vec<String>,
    /// What the users put load on, such as `http://shop.default.svc`. It wins over the host in the file; without it
    /// the file must have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^[!-~]+$"))]
    pub host: Option<String>,
    /// Rows that the aiotestfile hands out among its users, by name; at most 16 sets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub data: Vec<DataSet>,
    /// How much load, and for how long: exactly one of `constant`, `stages` and `shape`.
    pub load: Load,
    /// Whether the load is to be on. `Paused`: no user lives, and the time of the load stands still until it is `Running`
    /// again; deadlines go on. `Stopped`: the run ends as cancelled, for good.
    #[serde(default, skip_serializing_if = "DesiredState::is_running")]
    pub desired_state: DesiredState,
    /// How many runners carry the load, from 1 to 1000; the users are spread evenly. Defaults to 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub runners: u32,
    /// What the run must keep to pass; all of them, at most 64. With none, any failed request or dead user makes it
    /// `Failed`.
    // Atomic: what tells two thresholds apart is the expression and the request together, and a map list's keys must
    // be scalars of the item. Keyed by the expression alone, two requests could not share a bound.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub thresholds: Vec<Threshold>,
    /// How long each step of the run may take.
    #[serde(default)]
    pub deadlines: Deadlines,
}

fn one() -> u32 {
    1
}

/// The source of the users.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("[has(self.configMap), has(self.inline)].exists_one(given, given)")
        .message("exactly one of configMap and inline must be given")
)]
#[serde(rename_all = "camelCase")]
pub struct Aiotestfile {
    /// A key of a `ConfigMap` in the same namespace. All keys of the map lie side by side, so the file can import
    /// its neighbours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapKey>,
    /// The file itself, at most 262144 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 262_144))]
    pub inline: Option<String>,
}

/// One key of a `ConfigMap`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKey {
    /// The name of the `ConfigMap`.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
    /// The key that holds the aiotestfile. Defaults to `aiotestfile.py`.
    #[serde(default = "aiotestfile_py")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

fn aiotestfile_py() -> String {
    "aiotestfile.py".to_owned()
}

/// How long each step of a run may take, so that nothing waits without an end.
#[derive(KubeSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("duration(self.startup) > duration('0s')").message("startup must be above 0s"),
    validation = Rule::new("duration(self.run) > duration('0s')").message("run must be above 0s")
)]
#[serde(rename_all = "camelCase")]
pub struct Deadlines {
    /// From the start until all runners have joined; after it the verdict is `NotStarted`. Defaults to `10m`.
    #[serde(default = "startup")]
    pub startup: Duration,
    /// From the first user's start to the end of the load, whatever the load says. Defaults to `24h`.
    #[serde(default = "run")]
    pub run: Duration,
    /// How long calls may go on once the load is stopped; then they are cut. Defaults to `30s`.
    #[serde(default = "stop")]
    pub stop: Duration,
    /// How long the report is kept for whoever asks for it. Defaults to `10m`.
    #[serde(default = "results")]
    pub results: Duration,
}

fn startup() -> Duration {
    Duration::from_secs(600)
}

fn run() -> Duration {
    Duration::from_secs(24 * 3600)
}

fn stop() -> Duration {
    Duration::from_secs(30)
}

fn results() -> Duration {
    Duration::from_secs(600)
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { startup: startup(), run: run(), stop: stop(), results: results() }
    }
}
