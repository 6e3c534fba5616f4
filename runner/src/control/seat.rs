//! Where the interpreter's thread and the control thread meet: orders one way, small facts the other, under a lock that
//! neither holds for longer than a copy. Neither waits for the other. Start at [`Seat`].

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aiotest_core::message::ClassUsers;
use aiotest_core::runner::Action;
use aiotest_core::stats::Statistics;
use tokio::sync::Notify;

use crate::outbox::Outbox;

/// What has come in from Python since it was last taken.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Users by class, where they changed.
    pub(super) users: Vec<Option<ClassUsers>>,
    /// Errors that ended users.
    pub(super) user_errors: Statistics,
    /// The longest that the loop was late.
    pub(super) loop_lag: Duration,
    /// The latest that a user was woken.
    pub(super) lateness: Duration,
    /// Somebody asked to leave the seat.
    pub(super) hand_over: bool,
    /// The owner is gone.
    pub(super) closed: bool,
}

/// One process' seat, from both sides.
#[derive(Debug)]
pub struct Seat {
    actions: Outbox<Action>,
    shared: Mutex<Shared>,
    /// Something came in that does not wait for the next report.
    pub(super) arrived: Notify,
}

#[derive(Debug)]
struct Shared {
    facts: Facts,
    live: Vec<u32>,
    state: &'static str,
}

impl Seat {
    pub(super) fn new() -> io::Result<Self> {
        let shared = Shared { facts: Facts::default(), live: Vec::new(), state: "ready" };
        Ok(Self { actions: Outbox::new()?, shared: Mutex::new(shared), arrived: Notify::new() })
    }

    // === Python's side ===

    /// Readable when there is something to do.
    pub fn fileno(&self) -> RawFd {
        self.actions.fileno()
    }

    /// What is to be done, oldest first; [`Action::End`] is the last one. Whoever polls carries it all out before it
    /// tells of users again.
    pub fn poll(&self) -> VecDeque<Action> {
        let mut shared = self.lock();
        let actions = self.actions.drain();
        for action in &actions {
            // A count from before this start would hide it; another follows.
            if let Action::Start { class, .. } = action
                && let Some(known) = shared.facts.users.get_mut(*class)
            {
                *known = None;
            }
        }
        actions
    }

    /// Users of a class as they are now; `dead` since the process began.
    pub fn users(&self, class: usize, live: u32, dead: u32) {
        let mut shared = self.lock();
        if shared.live.len() <= class {
            shared.live.resize(class + 1, 0);
        }
        shared.live[class] = live;
        let users = &mut shared.facts.users;
        if users.len() <= class {
            users.resize(class + 1, None);
        }
        users[class] = Some(ClassUsers { live, dead });
        drop(shared);
        self.arrived.notify_one();
    }

    /// An error that ended a user.
    pub fn user_error(&self, text: &str) {
        self.lock().facts.user_errors.user_error(text);
    }

    /// The interpreter's loop was this late.
    pub fn loop_lag(&self, late: Duration) {
        let facts = &mut self.lock().facts;
        facts.loop_lag = facts.loop_lag.max(late);
    }

    /// A user was woken this late.
    pub fn lateness(&self, late: Duration) {
        let facts = &mut self.lock().facts;
        facts.lateness = facts.lateness.max(late);
    }

    /// Leave the seat: drain, report everything, end with exit code 75.
    pub fn hand_over(&self) {
        self.lock().facts.hand_over = true;
        self.arrived.notify_one();
    }

    /// Live users of this process, as last told.
    pub fn user_count(&self) -> u32 {
        self.lock().live.iter().sum()
    }

    /// `ready`, `starting`, `running`, `stopping` or `stopped`.
    pub fn state(&self) -> &'static str {
        self.lock().state
    }

    // === the control thread's side ===

    pub(super) fn order(&self, action: Action) {
        self.actions.push(action);
    }

    pub(super) fn set_state(&self, state: &'static str) {
        self.lock().state = state;
    }

    pub(super) fn close(&self) {
        self.lock().facts.closed = true;
        self.arrived.notify_one();
    }

    /// Whatever has come in since the last time. Users are left until every order has been seen.
    pub(super) fn take(&self) -> Facts {
        let mut shared = self.lock();
        let mut facts = std::mem::take(&mut shared.facts);
        if !self.actions.is_empty() {
            shared.facts.users = std::mem::take(&mut facts.users);
        }
        facts
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_from_before_an_order_is_not_taken_after_it() {
        let seat = Seat::new().unwrap();
        seat.users(1, 3, 0);
        seat.users(0, 7, 1);
        seat.order(Action::Start { class: 1, users: 2 });
        assert!(seat.take().users.is_empty(), "while Python has not seen the order");
        assert_eq!(seat.poll().len(), 1);
        assert_eq!(seat.take().users, [Some(ClassUsers { live: 7, dead: 1 }), None]);
        seat.users(1, 5, 0);
        assert_eq!(seat.take().users, [None, Some(ClassUsers { live: 5, dead: 0 })]);
        assert_eq!(seat.user_count(), 12);
    }

    #[test]
    fn facts_are_taken_once_and_the_worst_lag_stays() {
        let seat = Seat::new().unwrap();
        seat.user_error("ValueError: no");
        seat.loop_lag(Duration::from_millis(30));
        seat.loop_lag(Duration::from_millis(2));
        let facts = seat.take();
        assert_eq!(facts.loop_lag, Duration::from_millis(30));
        assert_eq!(facts.user_errors.user_errors().collect::<Vec<_>>(), [("ValueError: no", 1)]);
        assert!(seat.take().user_errors.is_empty());
    }
}
