//! When a process that has died is started again. Pure: how long it lived is an argument. Start at [`Restarts::next`].

use std::time::Duration;

/// A process that lived shorter than this has not worked: even the start of an interpreter takes a good part of it.
pub(crate) const SHORT_LIFE: Duration = Duration::from_secs(5);
/// Short lives in a row after which starting again is given up.
const MOST_SHORT_LIVES: u32 = 20;
/// The first wait; each later one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What to do about a process that has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Start it again after this time.
    StartAfter(Duration),
    /// It dies every time: leave it.
    GiveUp,
}

/// The short lives of one process, over its incarnations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Restarts {
    short_lives: u32,
}

impl Restarts {
    /// Counts a death after `lived` and says what follows: a new start at once for a process that had worked, and for
    /// the first that had not; later ones wait longer each time.
    pub(crate) fn next(&mut self, lived: Duration) -> Next {
        if SHORT_LIFE <= lived {
            self.short_lives = 0;
            return Next::StartAfter(Duration::ZERO);
        }
        self.short_lives += 1;
        match self.short_lives {
            1 => Next::StartAfter(Duration::ZERO),
            MOST_SHORT_LIVES.. => Next::GiveUp,
            later => Next::StartAfter((FIRST_WAIT * 2_u32.saturating_pow(later - 2)).min(LONGEST_WAIT)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_had_worked_is_started_again_at_once() {
        let mut restarts = Restarts::default();
        for _ in 0..100 {
            assert_eq!(restarts.next(SHORT_LIFE), Next::StartAfter(Duration::ZERO));
        }
    }

    #[test]
    fn one_that_dies_again_and_again_waits_longer_and_is_then_left() {
        let mut restarts = Restarts::default();
        let waits: Vec<_> = (0..20).map(|_| restarts.next(Duration::from_millis(1))).collect();
        let milliseconds = [0, 100, 200, 400, 800, 1_600, 3_200, 5_000];
        for (index, wait) in milliseconds.into_iter().enumerate() {
            assert_eq!(waits[index], Next::StartAfter(Duration::from_millis(wait)), "{index}");
        }
        assert_eq!(waits[18], Next::StartAfter(LONGEST_WAIT));
        assert_eq!(waits[19], Next::GiveUp);
    }

    #[test]
    fn a_long_life_forgives_the_short_ones() {
        let mut restarts = Restarts::default();
        for _ in 0..19 {
            restarts.next(Duration::ZERO);
        }
        restarts.next(Duration::from_secs(60));
        assert_eq!(restarts.next(Duration::ZERO), Next::StartAfter(Duration::ZERO));
    }
}
