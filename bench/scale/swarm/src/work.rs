//! Made-up measurements: what a runner's calls of a second may look like, the same on every machine.
//!
//! A few seconds are made once, and runners take them in turn: what is measured is the master, not how quickly samples
//! can be recorded. Start at [`Work::make`].

use std::sync::Arc;
use std::time::Duration;

use aiotest_core::stats::{Outcome, Phase, Sample, Statistics};

/// Distinct seconds.
const SECONDS: u64 = 16;

/// Seconds of measurements.
pub(crate) struct Work {
    seconds: Arc<[Statistics]>,
}

/// What one runner measures, second by second.
pub(crate) struct Turn {
    seconds: Arc<[Statistics]>,
    next: usize,
}

impl Work {
    /// Each second has `calls` of them, spread over as many names.
    pub(crate) fn make(names: u32, calls: u32) -> Self {
        Self { seconds: (0..SECONDS).map(|number| second(number, names, calls)).collect() }
    }

    /// For the runner with this number: another second for each.
    pub(crate) fn of(&self, runner: u32) -> Turn {
        Turn { seconds: Arc::clone(&self.seconds), next: runner as usize }
    }
}

impl Turn {
    /// What was measured in one more second.
    pub(crate) fn take(&mut self) -> Statistics {
        self.next += 1;
        self.seconds[self.next % self.seconds.len()].clone()
    }
}

fn second(number: u64, names: u32, calls: u32) -> Statistics {
    let (mut statistics, mut random) = (Statistics::default(), Random(number + 1));
    for call in 0..calls {
        let name = call % names;
        // From 2 ms on, some names slower than others; a few calls take a multiple.
        let usual = 2_000 + 400 * u64::from(name % 50);
        let wait =
            usual + random.below(usual) + if random.below(50) == 0 { random.below(9 * usual) } else { 0 };
        let (send, receive) = (20 + random.below(80), 50 + random.below(400));
        let (fails, connects) = (random.below(500) == 0, random.below(100) == 0);
        let connect = if connects { 200 + random.below(2_000) } else { 0 };
        let micros = Duration::from_micros;
        let phases = [
            (Phase::Send, micros(send)),
            (Phase::Wait, micros(wait)),
            (Phase::Receive, micros(receive)),
            (Phase::Connect, micros(connect)),
        ];
        statistics.record(&Sample {
            name: &format!("/shop/page-{name}"),
            method: "GET",
            latency: micros(connect + send + wait + receive),
            phases: if connects { &phases } else { &phases[..3] },
            status: Some(if fails { 503 } else { 200 }),
            bytes_received: 500 + random.below(4_000),
            outcome: if fails { Outcome::Failure("503 Service Unavailable") } else { Outcome::Success },
            sent: 1,
            retried: 0,
            truncated: false,
            late: None,
        });
    }
    statistics
}

/// Numbers without a visible order (splitmix64), the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_calls_and_names_and_seconds_differ() {
        let work = Work::make(20, 1000);
        let (mut one, mut other) = (work.of(0), work.of(1));
        let (first, second) = (one.take(), other.take());
        assert_eq!((first.rows().len(), first.total().requests, first.sent_total()), (20, 1000, 1000));
        assert_ne!(first, second);
        assert_eq!(one.take(), second);
    }
}
