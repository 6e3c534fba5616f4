//! When in a second a process reports: each at a place of its own, so that the reports of a thousand processes come to
//! their master one after the other, and again so after an interruption that all of them had.
//!
//! Never random: the place comes from the process' name. Start at [`Pace::until_next`].

use std::time::Duration;

use crate::message::ProcessId;
use crate::tick::{Tick, micros_of};

/// Where in an interval of the master's clock a process reports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace(u64);

impl Pace {
    pub(super) fn of(id: &ProcessId) -> Self {
        // FNV-1a, and a last step that spreads its lower bits over all of them.
        let bytes = id.runner.bytes().chain(id.process.to_le_bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(hash ^ (hash >> 32))
    }

    /// From a report at the master's `now` to the next: a little more than `interval` at most.
    pub(super) fn until_next(self, now: Tick, interval: Duration) -> Duration {
        let interval = micros_of(interval).max(1);
        let wait = (self.0 % interval + interval - now.as_micros() % interval) % interval;
        // One that is hardly ahead of its place is at it.
        Duration::from_micros(if wait < interval / 20 { wait + interval } else { wait })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace(runner: &str) -> Pace {
        Pace::of(&ProcessId { runner: runner.into(), ..ProcessId::default() })
    }

    #[test]
    fn whenever_a_process_reported_it_comes_to_its_place_and_keeps_it() {
        let pace = pace("runner-7");
        for started in [0, 300_000, 999_999, 5_000_001] {
            let mut now = Tick::from_micros(started);
            let mut waits = Vec::new();
            for _ in 0..4 {
                let wait = pace.until_next(now, SECOND);
                waits.push(wait);
                // Each is a little late.
                now = now + wait + Duration::from_micros(90);
            }
            assert!(waits.iter().all(|wait| *wait <= SECOND + SECOND / 20), "{waits:?}");
            assert!(waits[1..].iter().all(|wait| *wait == Duration::from_micros(999_910)), "{waits:?}");
        }
    }

    #[test]
    fn a_thousand_processes_report_in_every_part_of_a_second() {
        let mut parts = [0; 20];
        for runner in 0..1000 {
            let wait = pace(&format!("shop-1-runner-{runner}-abcde")).until_next(Tick::ZERO, SECOND);
            parts[wait.as_millis() as usize % 1000 / 50] += 1;
        }
        assert!(parts.iter().all(|reports| (20..100).contains(reports)), "{parts:?}");
    }
}
