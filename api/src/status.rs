//! What a `LoadTest` reports: written by the operator alone. All numbers are whole. Start at [`LoadTestStatus`].

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::conditions::{Condition, ConditionType};
use crate::threshold::RequestMatch;

/// What is known of the load test and of its newest run.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadTestStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// `Accepted`, `Reconciling`, `Stalled` and `Succeeded`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
    /// The newest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// Figures of the run as it goes; the last ones stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
    /// How many runners there are and should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runners: Option<Runners>,
    /// How the run ended; absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Where the report lies, and its sums; absent until the run has ended and its report is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<KeptReport>,
}

impl LoadTestStatus {
    /// The condition of this type, once it was written.
    pub fn condition(&self, type_: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == type_)
    }
}

/// Where the report of a run lies, and its sums.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptReport {
    /// The `ConfigMap` in the same namespace that holds it under `report.json`, or compressed under `report.json.gz`.
    #[schemars(length(min = 1, max = 253))]
    pub config_map: String,
    /// Finished calls, failed ones included.
    #[schemars(range(min = 0))]
    pub requests: i64,
    /// Failed calls.
    #[schemars(range(min = 0))]
    pub failures: i64,
    /// Requests on the wire, redirect hops and retries included.
    #[schemars(range(min = 0))]
    pub sent: i64,
}

/// One run of the load test.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Counts the runs of this load test, from 1.
    #[schemars(range(min = 1))]
    pub number: i64,
    /// Tells this run from every other, also from one of an earlier object of the same name.
    #[schemars(length(max = 64))]
    pub id: String,
    /// Hash of the source files that the run was started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub script_hash: Option<String>,
    /// Hash of the part of the spec that makes a run another run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub spec_hash: Option<String>,
    /// The image of its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub image: Option<String>,
    /// When the run was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::time")]
    pub start_time: Option<Time>,
    /// When the run ended, however it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::time")]
    pub completion_time: Option<Time>,
}

/// Figures of the moment; written at most every ten seconds, and only when changed.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Live {
    /// Users alive.
    #[schemars(range(min = 0))]
    pub users: i64,
    /// Requests per second.
    #[schemars(range(min = 0))]
    pub requests_per_second: i64,
    /// Failed requests in a thousand.
    #[schemars(range(min = 0, max = 1000))]
    pub failures_per_mille: i64,
    /// Median latency in microseconds; absent while no request has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub p50_microseconds: Option<i64>,
    /// The latency in microseconds that 95 % of the requests do not exceed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub p95_microseconds: Option<i64>,
    /// The latency in microseconds that 99 % of the requests do not exceed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub p99_microseconds: Option<i64>,
}

/// How many runners there are and should be.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Runners {
    /// How many there should be.
    #[schemars(range(min = 0))]
    pub desired: i32,
    /// How many have joined and report.
    #[schemars(range(min = 0))]
    pub ready: i32,
}

/// How a run ended, and why.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The verdict in a word.
    pub result: VerdictResult,
    /// What led to it, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 1024)), extend("x-kubernetes-list-type" = "atomic"))]
    pub reasons: Vec<String>,
    /// The thresholds with what was measured, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub thresholds: Vec<ThresholdResult>,
}

/// The verdict in a word.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VerdictResult {
    /// Every threshold was kept; with none, no request failed and no user died.
    Passed,
    /// A threshold was not kept.
    Failed,
    /// The load generator itself was the bottleneck or lost a part, so the figures prove nothing.
    Invalid,
    /// Stopped or superseded before its end.
    Cancelled,
    /// No load was sent.
    NotStarted,
}

/// One threshold and what was measured.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThresholdResult {
    /// The expression as the spec has it.
    #[schemars(length(max = 64))]
    pub expr: String,
    /// The requests that it looks at, as the spec has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestMatch>,
    /// What was measured, with its unit, such as `312ms`.
    #[schemars(length(max = 64))]
    pub value: String,
    /// Whether the threshold was kept.
    pub passed: bool,
}
