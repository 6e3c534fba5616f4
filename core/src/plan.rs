//! The load plan: how many users the whole run has at each instant.
//!
//! A plan is a few ramps, each in force from its own instant on until the next one. Never says whose the users are;
//! that is [`crate::share`]. Start at [`Plan::users`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arrivals::Arrivals;
use crate::run::is_rate;
use crate::tick::Tick;

/// Users per second of a line that reaches its end at once.
pub(crate) const AT_ONCE: f64 = u32::MAX as f64;

/// A straight line from a number of users to another one, which then holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ramp {
    /// The version of the plan that this ramp came with.
    pub version: u64,
    /// In force from here on.
    pub at: Tick,
    /// Where the line begins; not after `at`. Earlier where a change of shares goes on with the line.
    pub since: Tick,
    /// Users at `since`.
    pub from: u32,
    /// Users at the line's end.
    pub to: u32,
    /// Users started or ended per second; anything but a finite number above 0 reaches the end at once.
    pub rate: f64,
}

impl Ramp {
    /// Users at an instant, also before the ramp is in force.
    pub fn users(&self, now: Tick) -> u32 {
        let apart = self.from.abs_diff(self.to);
        let moved = if is_rate(self.rate) {
            // In floating point 10 a second after 0.3 s is 2.9999…: the addend is far below any real step.
            (self.rate * now.since(self.since).as_secs_f64() + 1e-6).floor().min(f64::from(apart)) as u32
        } else {
            apart
        };
        if self.from <= self.to { self.from + moved.min(apart) } else { self.from - moved.min(apart) }
    }

    /// When the line's end is reached.
    pub fn end(&self) -> Tick {
        let apart = self.from.abs_diff(self.to);
        if apart == 0 || !is_rate(self.rate) {
            return self.since;
        }
        self.since
            + Duration::try_from_secs_f64((f64::from(apart) / self.rate).min(1e9)).unwrap_or(Duration::MAX)
    }

    /// When there are `users` of them at the earliest, on a line that leads there upwards; never before the ramp is in
    /// force.
    pub fn reaches(&self, users: u32) -> Tick {
        let apart = f64::from(users.saturating_sub(self.from));
        let seconds = if is_rate(self.rate) { (apart / self.rate).min(1e9) } else { 0.0 };
        (self.since + Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)).max(self.at)
    }

    /// The first instant after `now` at which the number of users changes; `None` once the end is reached.
    pub fn next_change(&self, now: Tick) -> Option<Tick> {
        let users = self.users(now);
        if users == self.to || !is_rate(self.rate) {
            return None;
        }
        let steps = f64::from(self.from.abs_diff(users)) + 1.0;
        let seconds = (steps / self.rate).min(1e9);
        let next = self.since + Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        Some(next.max(now + Duration::from_micros(1)))
    }
}

/// The ramps that are or will be in force, by their instants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Rises with every change; 0 as long as there is no plan.
    pub version: u64,
    /// Rising in `at`. In the open model, how many users there may be.
    pub ramps: Vec<Ramp>,
    /// In the open model, when iterations begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrivals: Option<Arrivals>,
}

impl Plan {
    /// Users of the whole run at an instant; 0 before the first ramp.
    pub fn users(&self, now: Tick) -> u32 {
        self.in_force(now).map_or(0, |(_, ramp)| ramp.users(now))
    }

    /// The ramp in force at an instant, and its place in the list.
    pub fn in_force(&self, now: Tick) -> Option<(usize, &Ramp)> {
        self.ramps.iter().enumerate().rev().find(|(_, ramp)| ramp.at <= now)
    }

    /// The version in force at an instant; 0 before the first ramp.
    pub fn version_in_force(&self, now: Tick) -> u64 {
        self.in_force(now).map_or(0, |(_, ramp)| ramp.version)
    }

    /// The next instant at which the number of users may change.
    pub fn next_change(&self, now: Tick) -> Option<Tick> {
        let line = self.in_force(now).and_then(|(_, ramp)| ramp.next_change(now));
        let ramp = self.ramps.iter().map(|ramp| ramp.at).find(|at| now < *at);
        line.into_iter().chain(ramp).min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(seconds: u64) -> Tick {
        Tick::from_micros(seconds * 1_000_000)
    }

    fn ramp(start: u64, from: u32, to: u32, rate: f64) -> Ramp {
        Ramp { version: start, at: at(start), since: at(start), from, to, rate }
    }

    #[test]
    fn a_ramp_is_a_staircase_that_ends_at_its_target() {
        let ramp = ramp(10, 0, 100, 50.0);
        assert_eq!(ramp.users(at(10)), 0);
        assert_eq!(ramp.users(at(10) + Duration::from_millis(19)), 0);
        assert_eq!(ramp.users(at(10) + Duration::from_millis(20)), 1);
        assert_eq!(ramp.users(at(11)), 50);
        assert_eq!(ramp.users(at(99)), 100);
        assert_eq!(ramp.end(), at(12));
        assert_eq!(ramp.next_change(at(11)), Some(at(11) + Duration::from_millis(20)));
        assert_eq!(ramp.next_change(at(12)), None);
        assert_eq!([0, 50, 100].map(|users| ramp.reaches(users)), [at(10), at(11), at(12)]);
        assert_eq!(Ramp { at: at(11), rate: 0.0, ..ramp }.reaches(1), at(11));
    }

    #[test]
    fn a_ramp_downwards_falls_at_its_rate() {
        let ramp = ramp(0, 10, 4, 2.0);
        assert_eq!([0, 1, 2, 3, 9].map(|second| ramp.users(at(second))), [10, 8, 6, 4, 4]);
    }

    #[test]
    fn the_last_ramp_in_force_decides() {
        let ramps = vec![ramp(1, 0, 10, 1e9), ramp(5, 10, 3, 1e9)];
        let plan = Plan { version: 2, ramps, arrivals: None };
        assert_eq!([0, 1, 2, 5, 6].map(|second| plan.users(at(second))), [0, 0, 10, 10, 3]);
        assert_eq!(plan.next_change(at(3)), Some(at(5)));
        assert_eq!(plan.version_in_force(at(3)), 1);
    }

    proptest! {
        #[test]
        fn every_ramp_is_monotone_and_stays_between_its_ends(
            since: u64, from: u32, to: u32, rate: f64, mut times in prop::collection::vec(any::<u64>(), 2..8),
        ) {
            times.sort_unstable();
            let since = Tick::from_micros(since);
            let ramp = Ramp { version: 0, at: since, since, from, to, rate };
            let users: Vec<u32> = times.iter().map(|time| ramp.users(Tick::from_micros(*time))).collect();
            for (before, after) in users.iter().zip(&users[1..]) {
                let onwards = if from <= to { before <= after } else { after <= before };
                prop_assert!(onwards);
            }
            prop_assert!(users.iter().all(|users| (from.min(to)..=from.max(to)).contains(users)));
            let now = Tick::from_micros(times[0]);
            prop_assert!(ramp.next_change(now).is_none_or(|next| now < next || now.as_micros() == u64::MAX));
            ramp.end();
        }

        #[test]
        fn users_change_when_it_says_so(to in 1..500_u32, rate in 0.1..900.0_f64, now in 0..9_000_000_u64) {
            let ramp = Ramp { version: 0, at: Tick::ZERO, since: Tick::ZERO, from: 0, to, rate };
            let now = Tick::from_micros(now);
            if let Some(next) = ramp.next_change(now) {
                prop_assert_eq!(ramp.users(next.before(Duration::from_micros(50))), ramp.users(now));
                prop_assert_eq!(ramp.users(next + Duration::from_micros(1)), ramp.users(now) + 1);
            }
        }
    }
}
