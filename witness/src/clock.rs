//! The machine's monotonic clock in nanoseconds: the one that stamps are told in, whichever process reads it.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub(crate) type Nanoseconds = i64;

/// What it reads.
pub(crate) fn now() -> Nanoseconds {
    read(ClockId::CLOCK_MONOTONIC)
}

/// A time of day, as the kernel stamps what arrives, on the monotonic clock.
pub(crate) fn monotonic(time_of_day: Nanoseconds) -> Nanoseconds {
    time_of_day - read(ClockId::CLOCK_REALTIME) + now()
}

/// Waits until it reads `until`.
pub(crate) fn sleep_until(until: Nanoseconds) {
    let until = TimeSpec::from_duration(Duration::from_nanos(until.max(0).cast_unsigned()));
    let flags = ClockNanosleepFlags::TIMER_ABSTIME;
    while clock_nanosleep(ClockId::CLOCK_MONOTONIC, flags, &until) == Err(Errno::EINTR) {}
}

/// A time span of the kernel's in nanoseconds.
pub(crate) fn nanoseconds(time: &TimeSpec) -> Nanoseconds {
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}

fn read(clock: ClockId) -> Nanoseconds {
    nanoseconds(&clock_gettime(clock).expect("every Linux has both clocks"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_now_is_now() {
        let before = now();
        let converted = monotonic(read(ClockId::CLOCK_REALTIME));
        // Converting reads two clocks, one after the other.
        assert!((before - 1_000_000..=now() + 1_000_000).contains(&converted));
    }

    #[test]
    fn sleeping_ends_after_its_instant() {
        let until = now() + 2_000_000;
        sleep_until(until);
        assert!(until <= now());
    }
}
