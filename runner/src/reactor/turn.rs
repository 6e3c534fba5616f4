//! Whose turn it is to drive the reactor: the thread of the event loop's, or the stand-in's. Pure; used by `engine`.

use std::time::Duration;

/// How long the loop's thread counts as about to drive again, from when it last began to.
const PATIENCE: Duration = Duration::from_micros(300);
/// The same where the loop has no idle time: it drives in long batches that are no blocks, and being relieved in each of
/// them costs an eighth of its CPU. Whoever makes calls without a pause sees handshakes and redirects go on so much later.
const PATIENCE_WITH_THE_BUSY: Duration = Duration::from_micros(700);
/// What it is given in any case, to wake up if it was idle.
const GRACE: Duration = Duration::from_micros(100);
/// The loop is busy if its thread had more of a CPU than this, in a time as long as `WINDOW`. It is below 1 because a core
/// may have to serve the stand-in, too.
const BUSY: f64 = 0.75;
const WINDOW: Duration = Duration::from_millis(10);

/// Whose turn it is. Drives are known by when the loop's thread began them, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// The last drive before the stand-in took over.
    taken_after: Option<u64>,
    is_busy: bool,
    /// When it was last looked at, and the CPU time that the loop's thread had had by then.
    looked: (Duration, Option<Duration>),
}

impl Turn {
    /// Learns whether the loop is busy, from the CPU time of its thread so far. Asks for it once in a while only.
    pub(super) fn look(&mut self, now: Duration, cpu_time: impl FnOnce() -> Option<Duration>) {
        let (at, before) = self.looked;
        let passed = now.saturating_sub(at);
        if passed < WINDOW {
            return;
        }
        let cpu = cpu_time();
        let had = cpu.zip(before).and_then(|(cpu, before)| cpu.checked_sub(before));
        self.is_busy = had.is_some_and(|had| passed.mul_f64(BUSY) < had);
        self.looked = (now, cpu);
    }

    /// How much longer the loop's thread, which last drove at `driven`, may leave undone what there is to do. `None`: the
    /// stand-in has taken over, and waits for nothing more until the loop's thread has driven again.
    pub(super) fn patience(&self, now: Duration, driven: u64) -> Option<Duration> {
        let since = now.saturating_sub(Duration::from_nanos(driven));
        let most = if self.is_busy { PATIENCE_WITH_THE_BUSY } else { PATIENCE };
        (self.taken_after != Some(driven)).then(|| most.saturating_sub(since).max(GRACE))
    }

    /// The loop's thread has not driven since, although it had its time.
    pub(super) fn take(&mut self, driven: u64) {
        self.taken_after = Some(driven);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Microseconds since the engine was made.
    const NOW: u64 = 100_000;

    fn patience(turn: &Turn, driven_before: u64) -> Option<Duration> {
        turn.patience(Duration::from_micros(NOW), (NOW - driven_before) * 1000)
    }

    #[test]
    fn a_loop_that_drives_has_its_patience_and_an_idle_one_the_time_to_wake_up() {
        let turn = Turn::default();
        assert_eq!(patience(&turn, 0), Some(PATIENCE));
        assert_eq!(patience(&turn, 100), Some(PATIENCE.saturating_sub(Duration::from_micros(100))));
        assert_eq!(patience(&turn, 300), Some(GRACE));
        assert_eq!(patience(&turn, 5_000), Some(GRACE));
        assert_eq!(turn.patience(Duration::ZERO, 1), Some(PATIENCE), "it has just driven");
    }

    #[test]
    fn a_stand_in_that_has_taken_over_waits_for_nothing_until_the_loop_drives_again() {
        let mut turn = Turn::default();
        turn.take((NOW - 5_000) * 1000);
        assert_eq!(patience(&turn, 5_000), None);
        assert_eq!(patience(&turn, 10), Some(PATIENCE.saturating_sub(Duration::from_micros(10))));
    }

    #[test]
    fn a_loop_without_idle_time_is_given_longer_until_it_has_some() {
        let mut turn = Turn::default();
        let look = |turn: &mut Turn, now: u64, cpu: Option<u64>| {
            turn.look(Duration::from_millis(now), || cpu.map(Duration::from_millis));
            patience(turn, 0)
        };
        assert_eq!(look(&mut turn, 20, Some(20)), Some(PATIENCE), "one look tells nothing");
        assert_eq!(look(&mut turn, 40, Some(39)), Some(PATIENCE_WITH_THE_BUSY));
        turn.look(Duration::from_millis(45), || unreachable!("looked at 5 ms ago"));
        assert_eq!(look(&mut turn, 60, Some(49)), Some(PATIENCE));
        assert_eq!(look(&mut turn, 80, Some(69)), Some(PATIENCE_WITH_THE_BUSY));
        assert_eq!(look(&mut turn, 100, None), Some(PATIENCE), "its thread is gone");
        assert_eq!(look(&mut turn, 120, Some(20)), Some(PATIENCE), "another thread");
        assert_eq!(look(&mut turn, 140, Some(10)), Some(PATIENCE), "and one more");
    }
}
