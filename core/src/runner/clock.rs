//! The master's time, as seen from a process with a clock of its own.
//!
//! Never ahead of the master: an answer was made before it arrived, so "the answer's time plus what has passed since it
//! arrived" is a lower bound, and the highest of the recent bounds is the best one. Users are so never started early.
//! Start at [`MasterClock::master`].

use std::collections::VecDeque;

use crate::tick::Tick;

/// Bounds kept. Old ones go, as clocks drift apart (by about a millisecond in this many seconds at worst).
const KEPT: usize = 30;

/// Translates between the own clock and the master's.
#[derive(Clone, Debug, Default)]
pub(super) struct MasterClock {
    /// Master's time less own time, in microseconds.
    bounds: VecDeque<i128>,
}

impl MasterClock {
    /// An answer made at the master's `now` arrived at the own `received_at`.
    pub(super) fn learn(&mut self, now: Tick, received_at: Tick) {
        if KEPT <= self.bounds.len() {
            self.bounds.pop_front();
        }
        self.bounds.push_back(i128::from(now.as_micros()) - i128::from(received_at.as_micros()));
    }

    fn offset(&self) -> Option<i128> {
        self.bounds.iter().max().copied()
    }

    /// The master's time at an own time; `None` before the first answer.
    pub(super) fn master(&self, own: Tick) -> Option<Tick> {
        Some(shifted(own, self.offset()?))
    }

    /// The own time at a master's time; `None` before the first answer.
    pub(super) fn own(&self, master: Tick) -> Option<Tick> {
        Some(shifted(master, -self.offset()?))
    }
}

fn shifted(tick: Tick, offset: i128) -> Tick {
    let microseconds = (i128::from(tick.as_micros()) + offset).clamp(0, i128::from(u64::MAX));
    Tick::from_micros(microseconds as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(microseconds: u64) -> Tick {
        Tick::from_micros(microseconds)
    }

    #[test]
    fn the_answer_that_travelled_shortest_counts() {
        let mut clock = MasterClock::default();
        assert_eq!(clock.master(at(1)), None);
        clock.learn(at(1_000), at(5_300));
        clock.learn(at(2_000), at(6_100));
        clock.learn(at(3_000), at(7_900));
        assert_eq!(clock.master(at(10_000)), Some(at(5_900)));
        assert_eq!(clock.own(at(5_900)), Some(at(10_000)));
    }

    #[test]
    fn absurd_times_stop_at_the_ends() {
        let mut clock = MasterClock::default();
        clock.learn(at(u64::MAX), at(0));
        assert_eq!(clock.master(at(9)), Some(at(u64::MAX)));
        assert_eq!(clock.own(at(9)), Some(at(0)));
    }
}
