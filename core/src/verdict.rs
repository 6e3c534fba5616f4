//! The verdict: what became of a run, and why, in sentences that have the figures in them.
//!
//! Pure: looks at evidence that was gathered elsewhere. Start at [`Verdict`]; what the load generator's own health has to
//! do with it is in [`generator`].

pub mod generator;

use std::time::Duration;

use aiotest_api::threshold::{Expression, Metric, Threshold};
use serde::{Deserialize, Serialize};

use crate::message::StopReason;
use crate::report::Iterations;
use crate::stats::{Row, Statistics};
use generator::{Generator, Weighed};

/// A part of the load may be missing for so long at one time before the run is [`Outcome::Invalid`].
pub const MISSING_ALLOWED: Duration = Duration::from_secs(10);
/// So many iterations of a hundred may never have begun, though no runner was lost, before the run is [`Outcome::Invalid`].
pub const UNBEGUN_ALLOWED_PERCENT: u64 = 1;
/// So many users of a hundred may have ended with an error before the run is [`Outcome::Invalid`].
pub const DEAD_ALLOWED_PERCENT: u64 = 1;

/// What became of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It kept its thresholds; with none, nothing failed.
    Passed,
    /// It didn't.
    Failed,
    /// The load generator itself was at fault: what was measured says nothing about the target.
    Invalid,
    /// It was stopped before its end.
    Cancelled,
    /// It sent no load.
    #[default]
    NotStarted,
}

impl Outcome {
    /// The exit code that says this everywhere.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::Invalid => 2,
            Self::Cancelled | Self::NotStarted => 3,
        }
    }
}

/// What became of a run, and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// In one word.
    pub result: Outcome,
    /// A sentence each, the weightiest first. A run that passed may have some too.
    pub reasons: Vec<String>,
    /// In the order of the spec.
    pub thresholds: Vec<ThresholdResult>,
}

/// How one threshold came out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ThresholdResult {
    /// As it was written.
    pub expr: String,
    /// Which requests it looked at; all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// From when on it looked, in seconds after the start; `null` if the run ended before.
    pub from_s: Option<f64>,
    /// Milliseconds, a share from 0 to 1, or requests per second; `null` if there was nothing to measure.
    pub value: Option<f64>,
    /// Whether the bound was kept.
    pub passed: bool,
}

impl ThresholdResult {
    /// The measured value in the unit of its metric, for people.
    pub fn measured(&self) -> String {
        let Some(value) = self.value else { return "not measured".to_owned() };
        match self.expr.parse::<Expression>() {
            // The report has times in milliseconds, the grammar's base unit is the microsecond.
            Ok(expr) if expr.metric().is_latency() => expr.format(value * 1_000.0),
            Ok(expr) => expr.format(value),
            Err(_) => value.to_string(),
        }
    }
}

/// What a verdict is made of.
#[derive(Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) stop: StopReason,
    /// How long the load was on; `None` if it never started.
    pub(crate) load_on: Option<Duration>,
    /// The same without the warm-up; `None` if that was never over.
    pub(crate) measured_for: Option<Duration>,
    pub(crate) startup: Duration,
    /// What went wrong before the start, if it was not that processes did not come.
    pub(crate) not_set_up: Option<String>,
    pub(crate) expected: u32,
    pub(crate) joined: u32,
    pub(crate) target: u32,
    pub(crate) dead_users: u64,
    pub(crate) statistics: &'a Statistics,
    /// In the open model.
    pub(crate) iterations: Option<Iterations>,
    pub(crate) thresholds: Vec<Judged<'a>>,
    pub(crate) missing: Vec<Missing<'a>>,
    pub(crate) generators: &'a [Generator],
    pub(crate) notes: &'a [String],
}

/// A threshold and what it looks at.
#[derive(Debug)]
pub(crate) struct Judged<'a> {
    pub(crate) threshold: &'a Threshold,
    /// `None` if the load stopped before the threshold's time began.
    pub(crate) measured: Option<Measured>,
}

/// What was measured from some time on.
#[derive(Debug)]
pub(crate) struct Measured {
    /// After the start.
    pub(crate) from: Duration,
    /// From there to the stop.
    pub(crate) length: Duration,
    pub(crate) statistics: Statistics,
}

/// A part of the load that was missing.
#[derive(Debug)]
pub(crate) struct Missing<'a> {
    pub(crate) runner: &'a str,
    pub(crate) length: Duration,
}

/// Weighs the evidence.
pub(crate) fn judge(evidence: &Evidence<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    let results: Vec<(ThresholdResult, Option<String>)> =
        evidence.thresholds.iter().map(threshold_result).collect();
    let cancelled = cancelled(evidence);
    let Weighed { mut invalid, marks } = generator::weigh(evidence.generators);
    invalid.extend(self::invalid(evidence));
    invalid.extend(rate_that_says_nothing(evidence, &results));
    let (failed, aside) = if results.is_empty() {
        (failed(evidence), None)
    } else {
        (results.iter().filter_map(|(_, reason)| reason.clone()).collect(), shed(evidence))
    };
    // Where no process stays alive the run is stopped, but not because anybody wanted to.
    let stuck = evidence.generators.iter().any(|generator| generator.usage.stuck.is_some());
    verdict.result = match (evidence.load_on, &cancelled) {
        (None, Some(_)) if evidence.stop != StopReason::NotStarted => Outcome::Cancelled,
        (None, _) => Outcome::NotStarted,
        (Some(_), Some(_)) if !stuck => Outcome::Cancelled,
        _ if !invalid.is_empty() => Outcome::Invalid,
        _ if !failed.is_empty() => Outcome::Failed,
        _ => Outcome::Passed,
    };
    if stuck {
        verdict.reasons.append(&mut invalid);
    }
    verdict.reasons.extend(cancelled);
    if evidence.load_on.is_some() {
        verdict.reasons.extend(invalid);
        verdict.reasons.extend(failed);
        verdict.reasons.extend(aside);
        verdict.reasons.extend(marks);
    }
    verdict.reasons.extend(evidence.notes.iter().cloned());
    verdict.thresholds = results.into_iter().map(|(result, _)| result).collect();
    verdict
}

fn seconds(duration: Duration) -> String {
    format!("{} s", (duration.as_secs_f64() * 10.0).round() / 10.0)
}

/// Why the run did not come to its own end.
fn cancelled(evidence: &Evidence<'_>) -> Option<String> {
    let after = match evidence.load_on {
        Some(load_on) => format!("after {} of load", seconds(load_on)),
        None => "before the load started".to_owned(),
    };
    match evidence.stop {
        StopReason::Completed | StopReason::ShapeEnded => None,
        StopReason::Interrupted => Some(format!("interrupted {after}")),
        StopReason::Stopped => Some(format!("stopped on request {after}")),
        StopReason::Superseded => Some(format!("superseded by another run {after}")),
        StopReason::ParentGone => {
            Some(format!("stopped {after} because the process that started the run is gone"))
        }
        StopReason::RunDeadline => Some(format!("stopped at the run's deadline, {after}")),
        StopReason::NotStarted => evidence.not_set_up.clone().or_else(|| {
            Some(format!(
                "{} of {} runner processes joined within the startup deadline of {}",
                evidence.joined,
                evidence.expected,
                seconds(evidence.startup)
            ))
        }),
    }
}

/// A bound on the rate that was missed while a runner could do no more.
fn rate_that_says_nothing(
    evidence: &Evidence<'_>,
    results: &[(ThresholdResult, Option<String>)],
) -> Option<String> {
    let generator = generator::saturated(evidence.generators)?;
    let missed = evidence.thresholds.iter().zip(results).find(|(judged, (result, _))| {
        judged.threshold.expr.metric() == Metric::Rps && result.value.is_some() && !result.passed
    })?;
    Some(format!(
        "{}: says nothing about the target, as the interpreter of {} was saturated for {}, longer than {}",
        missed.0.threshold,
        generator.runner,
        seconds(generator.usage.saturated),
        seconds(generator::SATURATED_MARKED)
    ))
}

/// Which part of the load was missing.
fn invalid(evidence: &Evidence<'_>) -> Vec<String> {
    let mut reasons = Vec::new();
    if evidence.measured_for.is_none() {
        reasons.push("nothing was measured: the load ended before its warm-up did".to_owned());
    }
    let (whole, what) = deaths_of(evidence);
    let dead = evidence.dead_users;
    if whole * DEAD_ALLOWED_PERCENT < dead.saturating_mul(100) {
        reasons.push(format!("{dead} of {whole} {what}, more than {DEAD_ALLOWED_PERCENT} %"));
    }
    if let Some(Iterations { planned, started, shed, .. }) = evidence.iterations {
        let never = planned.saturating_sub(started.saturating_add(shed));
        // What was lost with a runner is judged by how long it was missing.
        if evidence.missing.is_empty() && planned * UNBEGUN_ALLOWED_PERCENT < never.saturating_mul(100) {
            reasons.push(format!(
                "{never} of {planned} iterations never began, more than {UNBEGUN_ALLOWED_PERCENT} %: the runners could not \
                 keep up"
            ));
        }
    }
    for missing in evidence.missing.iter().filter(|missing| MISSING_ALLOWED < missing.length) {
        reasons.push(format!(
            "the load of a process of {} was missing for {}, longer than {}",
            missing.runner,
            seconds(missing.length),
            seconds(MISSING_ALLOWED)
        ));
    }
    reasons
}

/// What fails a run that has no thresholds.
fn failed(evidence: &Evidence<'_>) -> Vec<String> {
    let total = evidence.statistics.total();
    let mut reasons = Vec::new();
    if 0 < total.failures {
        reasons.push(format!("{} of {} requests failed", total.failures, total.requests));
    }
    if 0 < evidence.dead_users {
        let (whole, what) = deaths_of(evidence);
        reasons.push(format!("{} of {whole} {what}", evidence.dead_users));
    }
    reasons.extend(shed(evidence));
    reasons
}

/// Of how many there were dead users, and what is said of them. In the open model the next iteration has another user.
fn deaths_of(evidence: &Evidence<'_>) -> (u64, &'static str) {
    match evidence.iterations {
        Some(iterations) => (iterations.started, "iterations ended their user with an error"),
        None => (evidence.target.into(), "users died"),
    }
}

/// Load that found every user busy.
fn shed(evidence: &Evidence<'_>) -> Option<String> {
    let Iterations { planned, shed, .. } = evidence.iterations.filter(|iterations| 0 < iterations.shed)?;
    Some(format!(
        "{shed} of {planned} iterations were shed: all {} users that there may be were busy",
        evidence.target
    ))
}

fn threshold_result(judged: &Judged<'_>) -> (ThresholdResult, Option<String>) {
    let threshold = judged.threshold;
    let mut result = ThresholdResult {
        expr: threshold.expr.as_str().to_owned(),
        request: threshold.request.as_ref().map(ToString::to_string),
        ..ThresholdResult::default()
    };
    let Some(measured) = &judged.measured else {
        let reason = format!("{threshold}: not measured, the load stopped before its time began");
        return (result, Some(reason));
    };
    result.from_s = Some(measured.from.as_secs_f64());
    let row = measured.statistics.total_of(|row| threshold.looks_at(&row.name, &row.method));
    let Some(value) = measure(threshold.expr.metric(), &row, measured.length) else {
        let from = seconds(measured.from);
        return (
            result,
            Some(format!("{threshold}: not measured, no request finished from {from} after the start on")),
        );
    };
    result.value = Some(if threshold.expr.metric().is_latency() { value / 1000.0 } else { value });
    result.passed = threshold.passes(value);
    let reason = (!result.passed).then(|| format!("{threshold}: measured {}", threshold.expr.format(value)));
    (result, reason)
}

/// A metric in its base unit; `None` without a request.
fn measure(metric: Metric, row: &Row, length: Duration) -> Option<f64> {
    if row.requests == 0 {
        return None;
    }
    if let Some(quantile) = metric.quantile() {
        return row.latency().value_at(quantile).map(|value| value as f64);
    }
    match metric {
        Metric::Mean => row.latency().mean(),
        Metric::Max => row.latency().max().map(|value| value as f64),
        Metric::ErrorRate => Some(row.failure_ratio()),
        Metric::Rps => Some(row.requests as f64 / length.as_secs_f64()).filter(|rate| rate.is_finite()),
        Metric::P50 | Metric::P90 | Metric::P95 | Metric::P99 => None,
    }
}

#[cfg(test)]
mod tests;
