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
