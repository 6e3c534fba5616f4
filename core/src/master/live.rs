//! The last seconds of a run, for the line of progress: rates and times as they are now.
//!
//! Never part of a verdict. Start at [`Live::figures`].

use std::collections::VecDeque;
use std::time::Duration;

use crate::histogram::Histogram;
use crate::stats::Statistics;
use crate::tick::Tick;

/// So many seconds are looked at, the current one included.
const SECONDS: u64 = 10;

/// What arrived in the last seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    seconds: VecDeque<Second>,
}

#[derive(Clone, Debug)]
struct Second {
    number: u64,
    requests: u64,
    failures: u64,
    latency: Histogram,
}

/// Rates and times of the last seconds.
#[derive(Clone, Debug)]
pub(super) struct LiveFigures {
    pub(super) rps: f64,
    pub(super) failures_per_second: f64,
    pub(super) latency: Histogram,
}

impl Live {
    pub(super) fn add(&mut self, now: Tick, statistics: &Statistics) {
        let number = second(now);
        if self.seconds.back().is_none_or(|last| last.number < number) {
            let latency = Histogram::new(Histogram::LATENCY);
            self.seconds.push_back(Second { number, requests: 0, failures: 0, latency });
        }
        while SECONDS < self.seconds.len() as u64 {
            self.seconds.pop_front();
        }
        let Some(last) = self.seconds.back_mut() else { return };
        for row in statistics.rows() {
            last.requests = last.requests.saturating_add(row.requests);
            last.failures = last.failures.saturating_add(row.failures);
            row.times().iter().for_each(|times| last.latency.merge(&times.latency));
        }
    }

    /// Over the last seconds, or since `start` if that is less.
    pub(super) fn figures(&self, now: Tick, start: Tick) -> LiveFigures {
        let first = second(now).saturating_sub(SECONDS - 1);
        let since = Tick::from_micros(first.saturating_mul(1_000_000)).max(start);
        let span = now.since(since).max(Duration::from_secs(1)).as_secs_f64();
        let mut latency = Histogram::new(Histogram::LATENCY);
        let (mut requests, mut failures) = (0_u64, 0_u64);
        for second in self.seconds.iter().filter(|second| first <= second.number) {
            requests = requests.saturating_add(second.requests);
            failures = failures.saturating_add(second.failures);
            latency.merge(&second.latency);
        }
        LiveFigures { rps: requests as f64 / span, failures_per_second: failures as f64 / span, latency }
    }
}

const fn second(now: Tick) -> u64 {
    now.as_micros() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Outcome, Sample};

    #[test]
    fn only_the_last_ten_seconds_count() {
        let mut live = Live::default();
        for at in 0..60 {
            let mut statistics = Statistics::default();
            for _ in 0..(if at < 40 { 500 } else { 20 }) {
                let latency = Duration::from_millis(at);
                let outcome = if at % 2 == 0 { Outcome::Success } else { Outcome::Failure("refused") };
                statistics.record(&Sample {
                    name: "/",
                    method: "GET",
                    latency,
                    phases: &[],
                    status: None,
                    bytes_received: 0,
                    outcome,
                    sent: 1,
                    retried: 0,
                    truncated: false,
                    late: None,
                });
            }
            live.add(Tick::from_micros(at * 1_000_000), &statistics);
        }
        let figures = live.figures(Tick::from_micros(59_999_999), Tick::ZERO);
        assert!((figures.rps - 20.0).abs() < 0.01, "{figures:?}");
        assert!((figures.failures_per_second - 10.0).abs() < 0.01, "{figures:?}");
        assert_eq!(figures.latency.count(), 200);
        assert_eq!(live.figures(Tick::from_micros(90_000_000), Tick::ZERO).latency.count(), 0);
    }
}
