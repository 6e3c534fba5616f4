//! The one place where the protocol's time comes from: this process' monotonic clock as [`Tick`]s. Never decides what
//! happens when.

use std::time::Instant;

use aiotest_core::tick::Tick;

/// Counts microseconds from its making.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    made: Instant,
    /// What it read then.
    first: Tick,
}

impl Clock {
    /// A clock that reads zero now.
    pub(crate) fn start() -> Self {
        Self::reading(Tick::ZERO)
    }

    /// A clock that reads `tick` now.
    pub(crate) fn reading(tick: Tick) -> Self {
        Self { made: Instant::now(), first: tick }
    }

    /// What it reads.
    pub(crate) fn now(&self) -> Tick {
        self.first + self.made.elapsed()
    }

    /// When it reads `tick`, in seconds of the system's monotonic clock, as Python's `time.monotonic` has them.
    pub(crate) fn monotonic(&self, tick: Tick) -> f64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let read = self.now();
        let ahead = tick.since(read).as_secs_f64() - read.since(tick).as_secs_f64();
        now.tv_sec as f64 + now.tv_nsec as f64 / 1e9 + ahead
    }

    /// Waits until it reads `tick`; for ever where there is none.
    pub(crate) async fn sleep_until(&self, tick: Option<Tick>) {
        match tick {
            // Rounded up to the timer's millisecond, so that nobody wakes a moment too early and asks again.
            Some(tick) => {
                let instant = self.made + tick.since(self.first);
                tokio::time::sleep_until(instant.into()).await;
            }
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_tell_the_same_distances() {
        let clock = Clock::reading(Tick::from_micros(7_000_000));
        let (early, late) = (Tick::from_micros(4_000_000), Tick::from_micros(19_500_000));
        let apart = clock.monotonic(late) - clock.monotonic(early);
        assert!((apart - 15.5).abs() < 1.0, "{apart}");
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let off = clock.monotonic(clock.now()) - now.tv_sec as f64 - now.tv_nsec as f64 / 1e9;
        // A microsecond is what a tick is rounded to.
        assert!((-1e-5..1.0).contains(&off), "{off} s, more than it takes to ask");
    }
}
