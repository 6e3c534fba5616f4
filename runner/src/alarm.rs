//! Waiting for an instant to within some microseconds, where tokio's own timer goes by whole milliseconds: iterations of the
//! open model begin on time. Never decides when. Start at [`Alarm::ring`].

use std::os::fd::OwnedFd;

use aiotest_core::tick::{Tick, micros_of};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::clock::Clock;
use crate::ffi;

/// A timer of the kernel's, one wait at a time.
#[derive(Debug)]
pub(crate) struct Alarm {
    clock: Clock,
    /// `None` where the process had no descriptor left: then milliseconds have to do.
    timer: Option<AsyncFd<OwnedFd>>,
}

impl Alarm {
    /// Goes by this clock. To be made where tokio runs.
    pub(crate) fn of(clock: Clock) -> Self {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC).ok();
        Self { clock, timer: timer.and_then(|timer| ffi::watched(timer).ok()) }
    }

    /// Waits until the clock reads `tick`; for ever where there is none. A wait that is given up leaves nothing behind.
    pub(crate) async fn ring(&self, tick: Option<Tick>) {
        let (Some(tick), Some(timer)) = (tick, &self.timer) else {
            return self.clock.sleep_until(tick).await;
        };
        // Zero would switch it off. What is due comes only once the sockets have been looked at, too.
        let left = micros_of(tick - self.clock.now()).max(1);
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec {
                tv_sec: i64::try_from(left / 1_000_000).unwrap_or(i64::MAX),
                tv_nsec: i64::try_from(left % 1_000_000 * 1000).unwrap_or_default(),
            },
        };
        if timerfd_settime(timer, TimerfdTimerFlags::empty(), &once).is_err() {
            return self.clock.sleep_until(Some(tick)).await;
        }
        while let Ok(mut ready) = timer.readable().await {
            match rustix::io::read(timer, &mut [0; 8]) {
                // Of a wait before, which was given up.
                Err(Errno::AGAIN) => ready.clear_ready(),
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_rings_at_its_instant_and_not_before_whatever_was_given_up() {
        let clock = Clock::start();
        let alarm = Alarm::of(clock);
        let at = |milliseconds: u64| clock.now() + Duration::from_micros(milliseconds * 1000);
        let far = tokio::time::timeout(Duration::from_millis(3), alarm.ring(Some(at(60_000)))).await;
        assert!(far.is_err(), "it rang a minute early");
        let given_up = tokio::time::timeout(Duration::from_millis(20), alarm.ring(Some(at(2)))).await;
        assert!(given_up.is_ok());
        for _ in 0..20 {
            let due = clock.now() + Duration::from_micros(300);
            alarm.ring(Some(due)).await;
            assert!(due <= clock.now());
        }
        let past = clock.now();
        alarm.ring(Some(past)).await;
        assert!(tokio::time::timeout(Duration::from_millis(3), alarm.ring(None)).await.is_err());
    }
}
