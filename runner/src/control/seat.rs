//! Where the interpreter's thread and the control thread meet: orders one way, small facts the other, under a lock that
//! neither holds for longer than a copy. Neither waits for the other. Start at [`Seat`].

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aiotest_core::data::RowSet;
use aiotest_core::health::Usage;
use aiotest_core::histogram::Histogram;
use aiotest_core::message::{ClassUsers, Meeting};
use aiotest_core::runner::{Action, RowsTold};
use aiotest_core::stats::Statistics;
use aiotest_core::tick::micros_of;
use tokio::sync::Notify;

use super::watch::{Watch, Watched};
use crate::outbox::Outbox;

/// What has come in from Python since it was last taken.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Users by class, where they changed.
    pub(super) users: Vec<Option<ClassUsers>>,
    /// By data set.
    pub(super) rows: Vec<RowFacts>,
    /// How many users wait at each rendezvous, and for how many, where that changed.
    pub(super) waiting: BTreeMap<String, (u32, Option<u32>)>,
    /// Errors that ended users, and iterations of the open model.
    pub(super) counted: Statistics,
    /// The longest that the loop was late.
    pub(super) loop_lag: Duration,
    /// The latest that a user was woken.
    pub(super) lateness: Duration,
    /// Somebody asked to leave the seat.
    pub(super) hand_over: bool,
    /// The owner is gone.
    pub(super) closed: bool,
}

/// What has come in of one data set.
#[derive(Debug, Default)]
pub(super) struct RowFacts {
    /// How it stands among the users, where that changed.
    pub(super) told: Option<RowsTold>,
    /// What no user has any more.
    pub(super) given_back: RowSet,
}

/// One process' seat, from both sides.
#[derive(Debug)]
pub struct Seat {
    actions: Outbox<Action>,
    shared: Mutex<Shared>,
    /// Something came in that does not wait for the next report.
    pub(super) arrived: Notify,
    /// Whether the loop turns.
    pub(super) watch: Arc<Watch>,
}

#[derive(Debug)]
struct Shared {
    facts: Facts,
    live: Vec<u32>,
    state: &'static str,
    /// The most users of the load, and its rendezvous, as the master said them last.
    most_users: Option<u32>,
    meetings: Vec<Meeting>,
    /// Since the load began.
    punctuality: Punctuality,
}

/// How late the loop and the users were.
#[derive(Debug)]
struct Punctuality {
    lag: Duration,
    looks: u64,
    late: Duration,
    steps: Histogram,
}

impl Default for Punctuality {
    fn default() -> Self {
        let steps = Histogram::new(Histogram::PHASE);
        Self { lag: Duration::ZERO, looks: 0, late: Duration::ZERO, steps }
    }
}

impl Seat {
    pub(super) fn new() -> io::Result<Self> {
        let punctuality = Punctuality::default();
        let (facts, live, meetings) = (Facts::default(), Vec::new(), Vec::new());
        let shared = Shared { facts, live, state: "ready", most_users: None, meetings, punctuality };
        let (shared, watch) = (Mutex::new(shared), Arc::default());
        Ok(Self { actions: Outbox::new()?, shared, arrived: Notify::new(), watch })
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
            // A count from before this order would hide it; another follows.
            match action {
                Action::Start { class, .. } => {
                    if let Some(known) = shared.facts.users.get_mut(*class) {
                        *known = None;
                    }
                }
                Action::Release { name, .. } => drop(shared.facts.waiting.remove(name)),
                _ => {}
            }
            if let Action::Rows { set, .. } = action
                && let Some(known) = shared.facts.rows.get_mut(*set)
            {
                known.told = None;
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

    /// How many users wait at a rendezvous now, and for how many of the run; `None` for all.
    pub fn waiting(&self, rendezvous: &str, waiting: u32, users: Option<u32>) {
        self.lock().facts.waiting.insert(rendezvous.to_owned(), (waiting, users));
        self.arrived.notify_one();
    }

    /// How many users of the run wait at a rendezvous, and how many it takes, as last heard; `None` where nobody has been
    /// heard to wait there.
    pub fn meeting(&self, rendezvous: &str) -> Option<(u32, u32)> {
        let shared = self.lock();
        let known = shared.meetings.iter().find(|meeting| meeting.name == rendezvous && 0 < meeting.needed);
        known.map(|meeting| (meeting.waiting, meeting.needed))
    }

    /// The most users that the load comes to, as last heard; `None` before that.
    pub fn most_users(&self) -> Option<u32> {
        self.lock().most_users
    }

    /// How a data set stands among the users now, and which of its rows no user has any more nor will.
    pub fn rows(&self, set: usize, told: RowsTold, given_back: &RowSet) {
        let mut shared = self.lock();
        let rows = &mut shared.facts.rows;
        if rows.len() <= set {
            rows.resize_with(set + 1, RowFacts::default);
        }
        rows[set].told = Some(told);
        rows[set].given_back.add(given_back);
        drop(shared);
        self.arrived.notify_one();
    }

    /// An error that ended a user.
    pub fn user_error(&self, text: &str) {
        self.lock().facts.counted.user_error(text);
    }

    /// Iterations of the open model that were given to users, and that found every user busy.
    pub fn began(&self, started: u64, shed: u64) {
        self.lock().facts.counted.iterations.began(started, shed);
    }

    /// One that was given to a user has begun, this late.
    pub fn begun_late(&self, late: Duration) {
        self.lock().facts.counted.iterations.begun_late(late);
        self.lateness(late);
    }

    /// The interpreter's loop turned, this late.
    pub fn loop_lag(&self, late: Duration) {
        let mut shared = self.lock();
        shared.facts.loop_lag = shared.facts.loop_lag.max(late);
        shared.punctuality.lag += late;
        shared.punctuality.looks += 1;
        drop(shared);
        self.watch.turned();
    }

    /// Where the loop's thread is to write its stack: a descriptor that is valid as long as this seat.
    pub fn stack_pipe(&self) -> io::Result<RawFd> {
        self.watch.pipe()
    }

    /// From now on the loop turns, and is looked at when it does not: on the first of `signals` its thread tells its stack
    /// to [`Self::stack`], on the second, the last resort, it writes it to [`Self::stack_pipe`]. A signal that is handled
    /// otherwise later is never sent.
    pub fn watch(&self, watched: Watched, signals: Option<(i32, i32)>) {
        self.watch.begin(watched, signals);
    }

    /// Where the loop's thread is, as `faulthandler` writes it.
    pub fn stack(&self, stack: &str) {
        self.watch.told(stack);
    }

    /// From now on nobody looks at the loop.
    pub fn unwatch(&self) {
        self.watch.end();
    }

    /// A user was woken this late.
    pub fn lateness(&self, late: Duration) {
        let mut shared = self.lock();
        shared.facts.lateness = shared.facts.lateness.max(late);
        shared.punctuality.late += late;
        shared.punctuality.steps.record(micros_of(late));
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

    /// The load begins: how late anything was before is of no interest.
    pub(super) fn begin_measuring(&self) {
        let mut shared = self.lock();
        (shared.facts.loop_lag, shared.facts.lateness) = (Duration::ZERO, Duration::ZERO);
        shared.punctuality = Punctuality::default();
        drop(shared);
        self.watch.reset();
    }

    /// Adds how late the loop and the users were since the load began, and where the loop was blocked.
    pub(super) fn add_punctuality(&self, usage: &mut Usage) {
        let shared = self.lock();
        let Punctuality { lag, looks, late, steps } = &shared.punctuality;
        (usage.lag, usage.looks, usage.late, usage.steps) = (*lag, *looks, *late, steps.count());
        usage.late_p99 = Duration::from_micros(steps.value_at(0.99).unwrap_or_default());
        drop(shared);
        usage.blocked = self.watch.blocked();
    }

    pub(super) fn order(&self, action: Action) {
        self.actions.push(action);
    }

    pub(super) fn set_state(&self, state: &'static str) {
        self.lock().state = state;
    }

    pub(super) fn set_meetings(&self, most_users: Option<u32>, meetings: &[Meeting]) {
        let mut shared = self.lock();
        shared.most_users = most_users;
        if shared.meetings != meetings {
            shared.meetings = meetings.to_vec();
        }
    }

    pub(super) fn close(&self) {
        self.lock().facts.closed = true;
        self.arrived.notify_one();
    }

    /// Whatever has come in since the last time. Users, and who of them waits, are left until every order has been seen.
    pub(super) fn take(&self) -> Facts {
        let mut shared = self.lock();
        let mut facts = std::mem::take(&mut shared.facts);
        if !self.actions.is_empty() {
            shared.facts.users = std::mem::take(&mut facts.users);
            shared.facts.waiting = std::mem::take(&mut facts.waiting);
            for rows in &mut facts.rows {
                let told = rows.told.take();
                shared.facts.rows.push(RowFacts { told, given_back: RowSet::default() });
            }
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
    fn who_waited_before_a_release_is_not_counted_after_it() {
        let seat = Seat::new().unwrap();
        seat.waiting("sale", 3, None);
        seat.waiting("end", 1, Some(9));
        seat.order(Action::Release { name: "sale".into(), late: Duration::ZERO });
        assert!(seat.take().waiting.is_empty(), "while Python has not seen the order");
        seat.poll();
        assert_eq!(seat.take().waiting, BTreeMap::from([("end".into(), (1, Some(9)))]));
        seat.waiting("sale", 0, None);
        assert_eq!(seat.take().waiting, BTreeMap::from([("sale".into(), (0, None))]));
    }

    #[test]
    fn a_row_that_is_given_back_is_told_at_once_and_counts_when_every_order_was_seen() {
        let seat = Seat::new().unwrap();
        let told = RowsTold { waiting: 0, unused: 0, taken: 1 };
        seat.rows(1, told, &[7].into_iter().collect());
        seat.order(Action::Rows { set: 1, rows: [8].into_iter().collect() });
        let facts = seat.take();
        assert_eq!((facts.rows[1].told, facts.rows[1].given_back.len()), (None, 1));
        assert_eq!(seat.poll().len(), 1);
        assert!(seat.take().rows.iter().all(|rows| rows.told.is_none()), "that was before");
        seat.rows(1, RowsTold { unused: 1, ..told }, &RowSet::default());
        assert_eq!(seat.take().rows[1].told, Some(RowsTold { unused: 1, ..told }));
    }

    #[test]
    fn facts_are_taken_once_and_the_worst_lag_stays() {
        let seat = Seat::new().unwrap();
        seat.user_error("ValueError: no");
        seat.loop_lag(Duration::from_millis(30));
        seat.loop_lag(Duration::from_millis(2));
        let facts = seat.take();
        assert_eq!(facts.loop_lag, Duration::from_millis(30));
        assert_eq!(facts.counted.user_errors().collect::<Vec<_>>(), [("ValueError: no", 1)]);
        assert!(seat.take().counted.is_empty());
    }
}
