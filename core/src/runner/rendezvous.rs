//! A process' users that wait for others: how many wait where, and when they go on.
//!
//! A round that is over for this process is over for good, also where it was heard of too late. Never counts other processes'
//! users. Start at [`Places::follow`].

use std::collections::{BTreeMap, VecDeque};

use super::Action;
use crate::message::{MAX_RENDEZVOUS, Meeting, Waiting};
use crate::tick::Tick;

/// Every rendezvous that this process has to do with, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(BTreeMap<String, Place>);

#[derive(Clone, Debug, Default)]
struct Place {
    /// Rounds that are over.
    round: u64,
    waiting: u32,
    users: Option<u32>,
}

impl Places {
    /// Takes in how many users wait, and for how many. True: that is news.
    pub(super) fn tell(&mut self, name: &str, waiting: u32, users: Option<u32>) -> bool {
        if self.0.len() >= MAX_RENDEZVOUS && !self.0.contains_key(name) {
            return false;
        }
        let place = self.0.entry(name.to_owned()).or_default();
        let before = std::mem::replace(&mut place.waiting, waiting);
        place.users = users;
        before != waiting
    }

    /// Lets those go on whose round is over at the master's time `now`.
    pub(super) fn follow(&mut self, meetings: &[Meeting], now: Tick, actions: &mut VecDeque<Action>) {
        for Meeting { name, rounds, at, .. } in meetings.iter().take(MAX_RENDEZVOUS) {
            let Some(at) = at.filter(|at| *at <= now && self.round(name) < *rounds) else { continue };
            let place = self.0.entry(name.clone()).or_default();
            place.round = *rounds;
            if 0 < std::mem::take(&mut place.waiting) {
                actions.push_back(Action::Release { name: name.clone(), late: now.since(at) });
            }
        }
    }

    /// The next instant of the master's at which a round is over here.
    pub(super) fn next(&self, meetings: &[Meeting], now: Tick) -> Option<Tick> {
        let ahead = |meeting: &&Meeting| self.round(&meeting.name) < meeting.rounds;
        meetings.iter().filter(ahead).filter_map(|meeting| meeting.at).filter(|at| now < *at).min()
    }

    /// For the report.
    pub(super) fn waiting(&self) -> Vec<Waiting> {
        let waiting = |(name, place): (&String, &Place)| Waiting {
            name: name.clone(),
            round: place.round,
            waiting: place.waiting,
            users: place.users,
        };
        self.0.iter().filter(|(_, place)| 0 < place.waiting).map(waiting).collect()
    }

    fn round(&self, name: &str) -> u64 {
        self.0.get(name).map_or(0, |place| place.round)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOBODY: [Duration; 0] = [];

    const fn at(milliseconds: u64) -> Tick {
        Tick::from_micros(milliseconds * 1000)
    }

    fn sale(rounds: u64, at: Option<Tick>) -> Vec<Meeting> {
        vec![Meeting { name: "sale".into(), rounds, at, ..Meeting::default() }]
    }

    fn released(places: &mut Places, meetings: &[Meeting], now: Tick) -> Vec<Duration> {
        let mut actions = VecDeque::new();
        places.follow(meetings, now, &mut actions);
        let late = |action: Action| match action {
            Action::Release { late, .. } => late,
            other => panic!("{other:?}"),
        };
        actions.into_iter().map(late).collect()
    }

    #[test]
    fn who_waits_goes_on_at_the_instant_and_once() {
        let mut places = Places::default();
        assert!(places.tell("sale", 3, None));
        assert!(!places.tell("sale", 3, None), "no news");
        let over = sale(1, Some(at(2000)));
        assert_eq!(released(&mut places, &sale(0, None), at(1000)), NOBODY);
        assert_eq!(
            (released(&mut places, &over, at(1999)), places.next(&over, at(1999))),
            (NOBODY.to_vec(), Some(at(2000)))
        );
        assert_eq!(released(&mut places, &over, at(2000)), [Duration::ZERO]);
        assert!(places.waiting().is_empty());
        places.tell("sale", 2, Some(5));
        assert_eq!(
            (released(&mut places, &over, at(9000)), places.next(&over, at(9000))),
            (NOBODY.to_vec(), None)
        );
        let waiting = Waiting { name: "sale".into(), round: 1, waiting: 2, users: Some(5) };
        assert_eq!(places.waiting(), [waiting]);
    }

    #[test]
    fn rounds_before_a_process_came_let_nobody_of_it_go() {
        let mut places = Places::default();
        let over = sale(4, Some(at(2000)));
        assert_eq!(released(&mut places, &over, at(5000)), NOBODY);
        places.tell("sale", 1, None);
        assert_eq!(released(&mut places, &over, at(5001)), NOBODY);
        assert_eq!(places.waiting()[0].round, 4);
    }

    #[test]
    fn a_round_that_was_heard_of_late_says_how_late() {
        let mut places = Places::default();
        places.tell("sale", 2, None);
        assert_eq!(released(&mut places, &sale(2, Some(at(2000))), at(2700)), [Duration::from_millis(700)]);
        assert_eq!(released(&mut places, &sale(1, Some(at(1000))), at(2800)), NOBODY, "an older answer");
    }

    #[test]
    fn there_are_no_more_names_than_a_run_may_have() {
        let mut places = Places::default();
        for number in 0..2 * MAX_RENDEZVOUS {
            assert_eq!(places.tell(&number.to_string(), 1, None), number < MAX_RENDEZVOUS);
        }
        assert_eq!(places.waiting().len(), MAX_RENDEZVOUS);
    }
}
