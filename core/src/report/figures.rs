//! From rows of the statistics to the report's figures. Rounds to what is measured: whole microseconds.

use crate::histogram::Histogram;
use crate::report::{Failure, Figures, Latency, PhaseTimes, Request, UserError};
use crate::stats::{Phase, Row, Statistics};

const fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1000.0
}

fn mean(histogram: &Histogram) -> Option<f64> {
    histogram.mean().map(|microseconds| microseconds.round() / 1000.0)
}

impl Latency {
    fn of(histogram: &Histogram) -> Self {
        let at = |quantile| histogram.value_at(quantile).map(milliseconds);
        Self {
            min: histogram.min().map(milliseconds),
            mean: mean(histogram),
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p98: at(0.98),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max().map(milliseconds),
        }
    }
}

impl PhaseTimes {
    fn of(histogram: &Histogram) -> Option<Self> {
        let at = |quantile| histogram.value_at(quantile).map(milliseconds);
        Some(Self {
            mean: mean(histogram)?,
            p50: at(0.5)?,
            p95: at(0.95)?,
            p99: at(0.99)?,
            max: histogram.max().map(milliseconds)?,
        })
    }
}

impl Figures {
    /// Of one row, with rates over so many seconds; 0 seconds have no rate.
    pub(crate) fn of(row: &Row, seconds: f64) -> Self {
        Self {
            requests: row.requests,
            failures: row.failures,
            sent: row.sent,
            aborted: row.aborted,
            generator_faults: row.generator_faults,
            retried: row.retried,
            truncated: row.truncated,
            failure_ratio: row.failure_ratio(),
            rps: if 0.0 < seconds { row.requests as f64 / seconds } else { 0.0 },
            bytes_received: row.bytes_received,
            latency_ms: Latency::of(&row.latency()),
            since_intended_ms: row.since_intended().map(Latency::of),
        }
    }
}

impl Request {
    pub(crate) fn of(row: &Row, seconds: f64) -> Self {
        let phase = |phase: Phase| Some((phase.name().to_owned(), PhaseTimes::of(row.phase(phase)?)?));
        Self {
            name: row.name.clone(),
            method: row.method.clone(),
            figures: Figures::of(row, seconds),
            status: row.status().iter().map(|(status, count)| (status.to_string(), *count)).collect(),
            phases_ms: Phase::ALL.into_iter().filter_map(phase).collect(),
        }
    }
}

/// Failures of every row.
pub(crate) fn failures(statistics: &Statistics) -> Vec<Failure> {
    let of_row = |row: &&Row| -> Vec<Failure> {
        row.errors()
            .map(|(error, count)| Failure {
                name: row.name.clone(),
                method: row.method.clone(),
                error: error.to_owned(),
                count,
            })
            .collect()
    };
    statistics.rows().iter().flat_map(of_row).collect()
}

/// Deaths of users.
pub(crate) fn user_errors(statistics: &Statistics) -> Vec<UserError> {
    statistics.user_errors().map(|(error, count)| UserError { error: error.to_owned(), count }).collect()
}
