//! The conditions of a `LoadTest`, so that kstatus, `kubectl wait` and a person read the same.
//!
//! While a run waits, goes on or drains, `Reconciling` is True and `Succeeded` Unknown; every end makes `Reconciling`
//! False, so one wait serves all ends. There is no phase: the reason of `Succeeded` is the state. Start at [`State`].

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::status::VerdictResult;

/// One observation about a `LoadTest`, in the form that Kubernetes tools share.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is observed.
    #[serde(rename = "type")]
    pub type_: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, in a word for programs.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Z][A-Za-z0-9]*$"))]
    pub reason: String,
    /// Why, in a sentence for people.
    #[schemars(length(max = 8192))]
    pub message: String,
    /// The `metadata.generation` that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// When the status last became another one.
    #[schemars(schema_with = "crate::schema::time")]
    pub last_transition_time: Time,
}

/// What is observed.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConditionType {
    /// The spec and the file were checked and are good.
    Accepted,
    /// There is still something to do: the run waits, goes on or drains.
    Reconciling,
    /// It ended in a way that needs a person: a failed or invalid run, or one that could not start.
    Stalled,
    /// How the run ended. Its reason is the state of the load test.
    Succeeded,
}

/// Whether a condition holds.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be known yet.
    Unknown,
}

/// Where a load test stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its file, its pods or its runners are not all there.
    Waiting,
    /// Load is sent.
    Running,
    /// No load is sent until it is wanted again.
    Paused,
    /// The load is over; calls end and figures come in.
    Draining,
    /// It has ended and nothing more will be done.
    Ended(VerdictResult),
}

impl State {
    /// The reason of `Succeeded`, which is the STATE column.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::Running => "Running",
            Self::Paused => "Paused",
            Self::Draining => "Draining",
            Self::Ended(VerdictResult::Passed) => "Passed",
            Self::Ended(VerdictResult::Failed) => "Failed",
            Self::Ended(VerdictResult::Invalid) => "Invalid",
            Self::Ended(VerdictResult::Cancelled) => "Cancelled",
            Self::Ended(VerdictResult::NotStarted) => "NotStarted",
        }
    }

    /// The statuses of `Reconciling`, `Stalled` and `Succeeded`, in this order.
    pub const fn statuses(self) -> [(ConditionType, ConditionStatus); 3] {
        use ConditionStatus::{False, True, Unknown};
        let (reconciling, stalled, succeeded) = match self {
            Self::Waiting | Self::Running | Self::Paused | Self::Draining => (True, False, Unknown),
            Self::Ended(VerdictResult::Passed) => (False, False, True),
            Self::Ended(VerdictResult::Cancelled) => (False, False, False),
            Self::Ended(VerdictResult::Failed | VerdictResult::Invalid | VerdictResult::NotStarted) => {
                (False, True, False)
            }
        };
        [
            (ConditionType::Reconciling, reconciling),
            (ConditionType::Stalled, stalled),
            (ConditionType::Succeeded, succeeded),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::ConditionStatus::{False, True, Unknown};
    use super::*;

    fn check(
        state: State,
        reconciling: ConditionStatus,
        stalled: ConditionStatus,
        succeeded: ConditionStatus,
    ) {
        let statuses = state.statuses().map(|(_, status)| status);
        assert_eq!(statuses, [reconciling, stalled, succeeded], "{state:?}");
    }

    #[test]
    fn a_run_that_goes_on_is_in_progress() {
        check(State::Waiting, True, False, Unknown);
        check(State::Running, True, False, Unknown);
        check(State::Paused, True, False, Unknown);
        check(State::Draining, True, False, Unknown);
    }

    #[test]
    fn every_end_stops_reconciling_and_only_a_bad_one_stalls() {
        check(State::Ended(VerdictResult::Passed), False, False, True);
        check(State::Ended(VerdictResult::Failed), False, True, False);
        check(State::Ended(VerdictResult::Invalid), False, True, False);
        check(State::Ended(VerdictResult::NotStarted), False, True, False);
        check(State::Ended(VerdictResult::Cancelled), False, False, False);
    }

    #[test]
    fn the_state_of_an_ended_test_is_its_verdict() {
        for verdict in [
            VerdictResult::Passed,
            VerdictResult::Failed,
            VerdictResult::Invalid,
            VerdictResult::Cancelled,
            VerdictResult::NotStarted,
        ] {
            assert_eq!(State::Ended(verdict).reason(), format!("{verdict:?}"));
        }
    }
}
