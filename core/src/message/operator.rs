//! What an operator says to a master, and what a master leaves for it to read.
//!
//! Level-triggered like the rest: a specification is the whole of what may change in a running run, and the one with
//! the highest generation holds. Start at [`LiveSpec`] and [`Termination`].

use std::time::Duration;

use aiotest_api::threshold::Threshold;
use serde::{Deserialize, Serialize};

use crate::run::{Deadlines, Desired, Load, RunSpec};
use crate::tick::micros;
use crate::verdict::{Outcome, Verdict};

/// What may change of a run while it is on: the body of `PUT /v1/spec`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveSpec {
    /// The load test's `metadata.generation`; a lower one than is in force is ignored.
    #[serde(default)]
    pub generation: u64,
    /// How many users, and when. Its form stays what the run began with.
    pub load: Load,
    /// From the start on, measured apart.
    #[serde(default, with = "micros")]
    pub warm_up: Duration,
    /// Whether the load is to be on.
    #[serde(default)]
    pub desired: Desired,
    /// Runners that the run expects; at least 1.
    pub runners: u32,
    /// What the run must keep, judged at its end.
    #[serde(default)]
    pub thresholds: Vec<Threshold>,
    /// How long each part may take.
    #[serde(default)]
    pub deadlines: Deadlines,
}

impl LiveSpec {
    /// What a plan file says of it.
    pub fn of(spec: &RunSpec, generation: u64) -> Self {
        Self {
            generation,
            load: spec.load.clone(),
            warm_up: spec.warm_up,
            desired: spec.desired,
            runners: spec.runners,
            thresholds: spec.thresholds.clone(),
            deadlines: spec.deadlines,
        }
    }
}

/// Proof that a whole runner has ended, from whoever saw its pod end: the body of `POST /v1/departed-runner`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerDeparture {
    /// Its name, which is its pod's.
    pub runner: String,
    /// How it ended, in a few words, such as `the pod was deleted`.
    #[serde(default)]
    pub exit: String,
}

/// What a master's process leaves behind when it ends, as its container's termination message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Termination {
    /// The run came to an end of its own, whatever that was.
    Ended {
        /// The verdict in one word.
        result: Outcome,
        /// Of the verdict; the process itself exits with 0.
        exit_code: u8,
        /// Of the verdict, the weightiest first.
        #[serde(default)]
        reasons: Vec<String>,
    },
    /// The scenario or the plan cannot be run.
    Refused {
        /// Such as `aiotestfile.py:3: SyntaxError: invalid syntax`.
        error: String,
    },
}

impl Termination {
    /// The most that Kubernetes keeps of a termination message, in bytes.
    pub const MAX_BYTES: usize = 4096;

    /// For a run with this verdict.
    pub fn of(verdict: &Verdict) -> Self {
        let (result, reasons) = (verdict.result, verdict.reasons.clone());
        Self::Ended { result, exit_code: result.exit_code(), reasons }
    }

    /// As JSON of [`Self::MAX_BYTES`] at most: reasons are left out from the last one on, then the text that remains is
    /// cut.
    pub fn to_json(&self) -> String {
        let mut cut = self.clone();
        loop {
            let json = serde_json::to_string(&cut).unwrap_or_default();
            let Some(beyond) = json.len().checked_sub(Self::MAX_BYTES).filter(|beyond| 0 < *beyond) else {
                return json;
            };
            match &mut cut {
                Self::Ended { reasons, .. } if 1 < reasons.len() => drop(reasons.pop()),
                Self::Ended { reasons, .. } => match reasons.first_mut() {
                    Some(reason) => shorten(reason, beyond),
                    None => return json,
                },
                Self::Refused { error } => shorten(error, beyond),
            }
        }
    }
}

/// Cuts at least so many bytes off the end, and says so.
fn shorten(text: &mut String, bytes: usize) {
    const MARK: &str = "…";
    // In JSON a byte of the text takes at least one.
    let longest = text.len().saturating_sub(bytes + MARK.len());
    text.truncate((0..=longest).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default());
    text.push_str(MARK);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ended(reasons: Vec<String>) -> Termination {
        Termination::Ended { result: Outcome::Failed, exit_code: 1, reasons }
    }

    #[test]
    fn a_termination_message_is_what_an_operator_parses() {
        let text = ended(vec!["p95 < 300ms: measured 412ms".into()]).to_json();
        assert_eq!(
            text,
            r#"{"ended":{"result":"Failed","exit_code":1,"reasons":["p95 < 300ms: measured 412ms"]}}"#
        );
        let refused = Termination::Refused { error: "aiotestfile.py:3: SyntaxError: invalid syntax".into() };
        assert_eq!(
            refused.to_json(),
            r#"{"refused":{"error":"aiotestfile.py:3: SyntaxError: invalid syntax"}}"#
        );
        assert_eq!(serde_json::from_str::<Termination>(&refused.to_json()).unwrap(), refused);
    }

    #[test]
    fn the_weightiest_reasons_are_kept() {
        let reasons: Vec<String> = (0..400).map(|number| format!("reason {number}")).collect();
        let Termination::Ended { reasons: kept, .. } =
            serde_json::from_str(&ended(reasons.clone()).to_json()).unwrap()
        else {
            panic!("another kind")
        };
        assert!(100 < kept.len() && kept[..] == reasons[..kept.len()], "{}", kept.len());
    }

    proptest! {
        #[test]
        fn no_message_is_longer_than_kubernetes_keeps(text in "\\PC{0,9000}", controls in "[\\x00-\\x1f]{0,3000}") {
            for whole in [
                Termination::Refused { error: format!("{text}{controls}") },
                ended(vec![format!("{controls}{text}"), text.clone()]),
            ] {
                let json = whole.to_json();
                prop_assert!(json.len() <= Termination::MAX_BYTES);
                prop_assert!(serde_json::from_str::<Termination>(&json).is_ok());
            }
        }
    }

    #[test]
    fn a_specification_of_another_writer_needs_little() {
        let live: LiveSpec = serde_json::from_str(
            r#"{"generation": 3, "load": {"constant": {"users": 9, "spawn_rate": 2}}, "runners": 2, "mood": "good"}"#,
        )
        .unwrap();
        assert_eq!((live.generation, live.thresholds.len(), live.deadlines), (3, 0, Deadlines::default()));
    }
}
