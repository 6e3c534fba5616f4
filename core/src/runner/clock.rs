//! The master's time, as seen from a process with a clock of its own.
//!
//! Never ahead of the master: an answer was made before it arrived, so "the answer's time plus what has passed since it
//! arrived" is a lower bound, and the highest of the recent bounds is the best one. Users are so never started early.
//! How far behind it may be is known too: an answer was made after its report was sent. Start at
//! [`MasterClock::master`].

use std::collections::VecDeque;
use std::time::Duration;

use crate::tick::Tick;

/// Bounds kept. Old ones go, as clocks drift apart (by about a millisecond in this many seconds at worst).
const KEPT: usize = 30;

/// Translates between the own clock and the master's.
#[derive(Clone, Debug, Default)]
pub(super) struct MasterClock {
    /// Master's time less own time, in microseconds: at least and at most.
    bounds: VecDeque<(i128, i128)>,
}

impl MasterClock {
    /// An answer made at the master's `now`, to a report sent at the own `sent_at`, arrived at the own `received_at`.
    pub(super) fn learn(&mut self, now: Tick, sent_at: Tick, received_at: Tick) {
        if KEPT <= self.bounds.len() {
            self.bounds.pop_front();
        }
        let since = |own: Tick| i128::from(now.as_micros()) - i128::from(own.as_micros());
        self.bounds.push_back((since(received_at), since(sent_at)));
    }

    fn offset(&self) -> Option<i128> {
        self.bounds.iter().map(|(least, _)| *least).max()
    }

    /// The master's time at an own time in the middle of what it can be, and how far from there it can be; `None`
    /// before the first answer.
    pub(super) fn between(&self, own: Tick) -> Option<(Tick, Duration)> {
        let (least, most) = (self.offset()?, self.bounds.iter().map(|(_, most)| *most).min()?);
        // Below zero where the clocks have drifted apart: then it is known as well as it can be.
        let half = (most - least).clamp(0, i128::from(u64::MAX)) / 2;
        Some((shifted(own, least + half), Duration::from_micros(half as u64)))
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
        clock.learn(at(1_000), at(4_900), at(5_300));
        clock.learn(at(2_000), at(5_800), at(6_100));
        clock.learn(at(3_000), at(6_800), at(7_900));
        assert_eq!(clock.master(at(10_000)), Some(at(5_900)));
        assert_eq!(clock.own(at(5_900)), Some(at(10_000)));
    }

    #[test]
    fn what_is_not_known_of_the_masters_time_is_half_of_the_shortest_way_there_and_back() {
        let mut clock = MasterClock::default();
        assert_eq!(clock.between(at(1)), None);
        clock.learn(at(1_000), at(4_000), at(5_300));
        assert_eq!(clock.between(at(10_000)), Some((at(6_350), Duration::from_micros(650))));
        clock.learn(at(2_000), at(5_800), at(6_100));
        assert_eq!(clock.between(at(10_000)), Some((at(6_050), Duration::from_micros(150))));
        // As if the own clock had run slow.
        clock.learn(at(9_000), at(9_000), at(9_100));
        assert_eq!(clock.between(at(10_000)), Some((at(9_900), Duration::ZERO)));
    }

    #[test]
    fn absurd_times_stop_at_the_ends() {
        let mut clock = MasterClock::default();
        clock.learn(at(u64::MAX), at(0), at(0));
        assert_eq!(clock.master(at(9)), Some(at(u64::MAX)));
        assert_eq!(clock.own(at(9)), Some(at(0)));
    }
}
