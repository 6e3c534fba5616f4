//! A runner process' state machine: from assignments to users started and ended, from measurements to reports.
//!
//! Its ticks are its own monotonic clock's; the master's are translated. Knows nothing of sockets or of Python: its
//! shell carries out the actions and brings in what happened. At every wake the shell calls, in this order,
//! [`Runner::handle_measurement`] if [`Runner::measurement_due`], then [`Runner::handle_timeout`], then
//! [`Runner::poll_action`] until there is none, then [`Runner::poll_report`], and waits until
//! [`Runner::poll_timeout`]. Start at [`Runner`].

mod action;
mod arrivals;
mod begin;
mod clock;
mod outbox;
mod pace;
mod rendezvous;
mod rows;
mod users;

use std::collections::VecDeque;
use std::time::Duration;

use crate::message::{
    Assignment, ClassUsers, Health, Meeting, ProcessId, ProcessState, Refusal, Report, RunState, Stop,
    VERSION,
};
use crate::share::ShareRow;
use crate::stats::Statistics;
use crate::tick::Tick;
pub use action::Action;
use begin::Begin;
use clock::MasterClock;
use outbox::Outbox;
use pace::Pace;
use rendezvous::Places;
use rows::Rows;
pub use rows::RowsTold;
use users::Users;

/// Between reports while the load is on.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between reports while something is awaited: the start, or the end.
const BRISK: Duration = Duration::from_millis(250);
/// After which an unanswered report is sent again.
const RESEND: Duration = Duration::from_secs(2);
/// How long users may take to end when the process is going to be replaced.
const HAND_OVER: Duration = Duration::from_secs(10);
/// Exit code of a process that was told to make room before the run's end.
pub const EXIT_HANDED_OVER: u8 = 75;
/// Exit code of a process that its master refused.
pub const EXIT_REFUSED: u8 = 1;

/// What a shell has measured since it was last asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measurement {
    /// What was recorded.
    pub statistics: Statistics,
    /// Requests on the wire since the process began.
    pub sent_total: u64,
    /// How the process is.
    pub health: Health,
}

/// One runner process.
#[derive(Clone, Debug)]
pub struct Runner {
    id: ProcessId,
    classes: Vec<String>,
    pace: Pace,
    dead_man: Duration,
    clock: MasterClock,
    outbox: Outbox,
    users: Users,
    /// By the master's clock: iterations before it have been looked at.
    begun_until: Option<Tick>,
    places: Places,
    rows: Rows,
    assignment: Option<Assignment>,
    actions: VecDeque<Action>,
    /// Until then the load may go on without another word from the master.
    lease_until: Option<Tick>,
    /// When it last did not go on, by the master's clock.
    stopped_at: Option<Tick>,
    phase: Phase,
    /// The last mark that a measurement was made at or after.
    window: Tick,
    begin: Begin,
    health: Health,
    sent_total: u64,
    next_report: Tick,
    /// When the last report went out.
    last_report: Option<Tick>,
    sent_at: Option<Tick>,
    /// When the report that is on its way went out first.
    first_sent_at: Tick,
    /// The last call had no answer: it may be another master that takes the next one.
    unanswered: bool,
    completed: bool,
    /// Every user has ended, and then measurements were taken once more.
    settled: Settled,
    left_told: bool,
}

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No load yet.
    Waiting,
    /// Obeys the plan.
    Running,
    /// The master is silent; obeys again when it speaks.
    Stopped,
    /// Ends its users, with the run or because it is replaced.
    Draining { leaving: bool },
    /// Has been told to end.
    Ended,
}

/// Whether everything that users did has been measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    /// Some are live.
    No,
    /// The last one has ended; what it did last may not have been measured yet.
    Ended,
    /// Measured after that.
    Yes,
}

impl Runner {
    /// A process that has not joined yet.
    pub fn new(id: ProcessId, classes: Vec<String>, dead_man: Duration, now: Tick) -> Self {
        let users = Users::new(classes.len());
        Self {
            pace: Pace::of(&id),
            id,
            classes,
            dead_man,
            clock: MasterClock::default(),
            outbox: Outbox::default(),
            users,
            begun_until: None,
            places: Places::default(),
            rows: Rows::default(),
            assignment: None,
            actions: VecDeque::new(),
            lease_until: None,
            stopped_at: None,
            phase: Phase::Waiting,
            window: Tick::ZERO,
            begin: Begin::default(),
            health: Health::default(),
            sent_total: 0,
            next_report: now,
            last_report: None,
            sent_at: None,
            first_sent_at: now,
            unanswered: false,
            completed: false,
            settled: Settled::No,
            left_told: false,
        }
    }

    /// Takes in the answer to a report that was sent at `sent_at`. Poll for actions, a report and the timeout next.
    pub fn handle_assignment(&mut self, sent_at: Tick, received_at: Tick, mut assignment: Assignment) {
        if self.phase == Phase::Ended || assignment.version != VERSION {
            return;
        }
        if self.assignment.as_ref().is_some_and(|known| known.epoch != assignment.epoch) {
            if self.phase != Phase::Waiting {
                return;
            }
            // Another master waits for the start of the run in the place of the one before, by a clock of its own. It would
            // refuse what is on its way for that one.
            self.assignment = None;
            self.clock = MasterClock::default();
            self.outbox.want_full();
        }
        // By the plan that was known: it may be gone from the next one.
        self.begin_iterations(received_at);
        let known = self.assignment.as_ref();
        self.outbox.acknowledge(assignment.acknowledged);
        if self.outbox.unacknowledged().is_none() {
            self.sent_at = None;
        }
        if known.is_some_and(|known| assignment.now < known.now) {
            return;
        }
        self.unanswered = false;
        let classes = self.classes.len();
        assignment.plan.arrivals.take_if(|arrivals| !arrivals.is_sane(classes));
        self.clock.learn(assignment.now, sent_at, received_at);
        // A master that hears the same report again cannot tell whether its answers arrive, and gives the part away. So a
        // late answer to an earlier report than the newest counts for nothing: the first answer to that one has counted.
        if self.first_sent_at <= sent_at {
            self.lease_until = self.lease_until.max(Some(self.first_sent_at + self.dead_man));
        }
        if assignment.send_full {
            self.outbox.want_full();
            self.sent_at = None;
            self.next_report = received_at;
        }
        if assignment.state == RunState::Ended {
            self.end(0);
            return;
        }
        let leased = Some(received_at) < self.lease_until;
        if self.phase == Phase::Stopped && leased {
            self.phase = Phase::Running;
        }
        // Later than that, the rows may be another process' by now.
        if let Some(rows) = assignment.rows.as_ref().filter(|_| self.phase == Phase::Running && leased) {
            self.rows.take(rows, &mut self.actions);
        }
        self.assignment = Some(assignment);
        self.handle_timeout(received_at);
    }

    /// For how long from `now` calls may start without another word of the master; `None` before its first one.
    #[must_use]
    pub fn lease(&self, now: Tick) -> Option<Duration> {
        self.lease_until.map(|until| until - now)
    }

    /// The master does not want this process: stop the load and end.
    pub fn handle_refusal(&mut self, _now: Tick, _refusal: &Refusal) {
        if self.phase != Phase::Ended {
            self.users.forget_orders(&mut self.actions);
            self.actions.push_back(Action::StopNow);
            self.end(EXIT_REFUSED);
        }
    }

    /// The master could not be reached, or did not answer in time: the report goes out again soon.
    pub fn handle_no_answer(&mut self, now: Tick) {
        self.unanswered = true;
        if self.sent_at.take().is_some() {
            self.next_report = now + BRISK;
        }
    }

    /// How many users of a class are live and how many have died. Call it only when all that was polled before has been
    /// carried out.
    pub fn handle_users(&mut self, class: usize, live: u32, dead: u32) {
        let users = ClassUsers { live, dead };
        self.begin.see(users);
        self.users.report(class, users, &self.actions);
    }

    /// How many users wait at a rendezvous, and for how many of the run; `None` for all. The same holds as of
    /// [`Self::handle_users`]. A change is reported soon. Poll for a report next.
    pub fn handle_waiting(&mut self, now: Tick, name: &str, waiting: u32, users: Option<u32>) {
        if self.places.tell(name, waiting, users) {
            let soonest = self.last_report.map_or(now, |last| now.max(last + BRISK));
            self.next_report = self.next_report.min(soonest);
        }
    }

    /// Whether [`Self::handle_measurement`] is wanted now: a report is due, or a mark has passed.
    pub fn measurement_due(&self, now: Tick) -> bool {
        self.report_due(now) || self.settled == Settled::Ended || self.window < self.window_at(now)
    }

    /// Takes in what was measured until `now`; it belongs to the window before any mark that has just passed.
    pub fn handle_measurement(&mut self, now: Tick, measurement: Measurement) {
        let Measurement { statistics, sent_total, health } = measurement;
        self.outbox.add(self.window, &statistics);
        self.window = self.window.max(self.window_at(now));
        if self.settled == Settled::Ended {
            self.settled = Settled::Yes;
            self.next_report = self.next_report.min(now);
        }
        self.sent_total = self.sent_total.max(sent_total);
        self.health.follow(health);
    }

    /// Brings the process up to date. Poll for actions next.
    pub fn handle_timeout(&mut self, now: Tick) {
        self.check_lease(now);
        self.check_start(now);
        // Those of before the stop, though it be due as well.
        self.begin_iterations(now);
        self.check_stop(now);
        if let Some((wanted, _)) = self.wanted(now).filter(|_| !self.is_open_model()) {
            self.users.follow(&wanted, &mut self.actions);
        }
        self.check_rendezvous(now);
        self.check_begin(now);
        self.check_complete(now);
        if matches!(self.phase, Phase::Draining { .. })
            && self.settled == Settled::No
            && self.users.all_ended()
        {
            self.settled = Settled::Ended;
        }
        self.check_left();
    }

    /// The next report, once it is due; the same one again if it was not answered. Poll again at the timeout.
    #[must_use]
    pub fn poll_report(&mut self, now: Tick) -> Option<Report> {
        if !self.report_due(now) {
            return None;
        }
        self.sent_at = Some(now);
        self.last_report = Some(now);
        self.next_report = now + self.until_next(now);
        let rows = self.rows.report(now, self.phase == Phase::Running);
        if let Some(report) = self.outbox.unacknowledged() {
            return Some(Report { heard: self.heard(now), rows, ..report.clone() });
        }
        self.first_sent_at = now;
        let health = std::mem::take(&mut self.health);
        self.left_told |= self.state() == ProcessState::Left;
        let report = Report {
            version: VERSION,
            epoch: self.assignment.as_ref().map(|assignment| assignment.epoch),
            from: self.id.clone(),
            classes: self.classes.clone(),
            state: self.state(),
            plan_version: self.wanted(now).map_or(0, |(_, version)| version),
            generation: self.assignment.as_ref().map_or(0, |assignment| assignment.generation),
            users: self.users.now().to_vec(),
            rendezvous: self.places.waiting(),
            sent_total: self.sent_total,
            health,
            stopped_at: self.stopped_at,
            began: self.begin.began(),
            ..Report::default()
        };
        let report = self.outbox.close(report);
        Some(Report { heard: self.heard(now), rows, ..report })
    }

    /// For a master that remembers nothing. A part of the load that is not obeyed may be somebody else's by now.
    fn heard(&self, now: Tick) -> Option<Box<Assignment>> {
        let known = self.assignment.as_ref().filter(|_| self.unanswered)?;
        let mut heard = Assignment { now: self.clock.master(now)?, ..known.clone() };
        if self.phase != Phase::Running {
            heard.share.rows.fill(ShareRow::default());
        }
        Some(Box::new(heard))
    }

    /// When to wake up at the latest; `None` once the process has been told to end.
    #[must_use]
    pub fn poll_timeout(&self, now: Tick) -> Option<Tick> {
        if self.phase == Phase::Ended {
            return None;
        }
        let report = self.sent_at.map_or(self.next_report, |sent_at| sent_at + RESEND);
        let instants = self.assignment.iter().filter_map(|assignment| {
            let master = self.clock.master(now)?;
            let plan = if self.phase == Phase::Running { assignment.plan.next_change(master) } else { None };
            let stop = assignment.stop.map(|stop| stop.at);
            let complete = assignment.start_complete.filter(|_| !self.completed).map(|complete| complete.at);
            let marks = assignment.marks.iter().copied();
            let iteration = self.next_iteration(assignment);
            let round = self.places.next(&assignment.rendezvous, master);
            let known = [plan, iteration, assignment.start, stop, complete, round].into_iter().flatten();
            self.clock.own(known.chain(marks).filter(|instant| master < *instant).min()?)
        });
        let lease = self.lease_until.filter(|_| self.phase == Phase::Running);
        let settle = (self.settled == Settled::Ended).then_some(now);
        instants.chain(lease).chain(settle).chain([report]).min()
    }

    /// What to do next; `None` when there is nothing more for now.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The process is to make room before the run's end: its users end, its measurements are handed over.
    pub fn hand_over(&mut self, now: Tick) {
        match self.phase {
            Phase::Ended | Phase::Draining { leaving: true } => {}
            Phase::Draining { .. } => self.phase = Phase::Draining { leaving: true },
            Phase::Waiting | Phase::Running | Phase::Stopped => self.drain(HAND_OVER, true),
        }
        self.next_report = self.next_report.min(now);
    }

    /// The scenario's code has not let go of the loop for too long: no user of this process will ever end by itself, so
    /// it ends without them. What was measured is handed over, and so is its part of the load. Take no more users in.
    pub fn give_up(&mut self, now: Tick) {
        if self.phase != Phase::Ended {
            self.users.forget_orders(&mut self.actions);
            self.users.lose();
            self.phase = Phase::Draining { leaving: true };
            self.settled = Settled::Ended;
            self.next_report = self.next_report.min(now);
        }
    }

    /// What the process is doing.
    pub fn state(&self) -> ProcessState {
        let over = self.settled == Settled::Yes;
        match self.phase {
            Phase::Waiting => ProcessState::Waiting,
            Phase::Running => ProcessState::Running,
            Phase::Stopped => ProcessState::Stopped,
            Phase::Draining { leaving: true } if over => ProcessState::Left,
            Phase::Draining { .. } if !over => ProcessState::Draining,
            Phase::Draining { .. } | Phase::Ended => ProcessState::Drained,
        }
    }

    /// When the load starts, by the process' own clock; `None` until that is agreed.
    pub fn starts_at(&self) -> Option<Tick> {
        self.clock.own(self.assignment.as_ref()?.start?)
    }

    /// Users that are live in all processes together, as last heard.
    pub fn user_count(&self) -> u32 {
        self.assignment.as_ref().map_or(0, |assignment| assignment.users)
    }

    /// The most users that the load comes to, as last heard; `None` before that.
    pub fn most_users(&self) -> Option<u32> {
        self.assignment.as_ref().map(|assignment| assignment.most_users)
    }

    /// Every rendezvous of the run, as last heard.
    pub fn meetings(&self) -> &[Meeting] {
        self.assignment.as_ref().map_or(&[][..], |assignment| &assignment.rendezvous)
    }

    fn report_due(&self, now: Tick) -> bool {
        let due = self.sent_at.map_or(self.next_report, |sent_at| sent_at + RESEND);
        self.phase != Phase::Ended && due <= now
    }

    fn until_next(&self, now: Tick) -> Duration {
        match (self.interval(now), self.clock.master(now)) {
            (INTERVAL, Some(master)) => self.pace.until_next(master, INTERVAL),
            (interval, _) => interval,
        }
    }

    fn interval(&self, now: Tick) -> Duration {
        let started = self.assignment.as_ref().and_then(|assignment| assignment.start);
        let starting = match (started, self.clock.master(now)) {
            (Some(start), Some(master)) => master < start,
            _ => true,
        };
        if starting || matches!(self.phase, Phase::Draining { .. }) { BRISK } else { INTERVAL }
    }

    /// The mark before an own time.
    fn window_at(&self, now: Tick) -> Tick {
        let marks = self.assignment.as_ref().map_or(&[][..], |assignment| &assignment.marks);
        match self.clock.master(now) {
            Some(master) => marks.iter().copied().filter(|mark| *mark <= master).max().unwrap_or_default(),
            None => Tick::ZERO,
        }
    }

    /// Users by class, and the plan's version, as long as the plan is to be obeyed.
    fn wanted(&self, now: Tick) -> Option<(Vec<u32>, u64)> {
        let (assignment, master) = (self.assignment.as_ref()?, self.clock.master(now)?);
        if self.phase != Phase::Running {
            return None;
        }
        let users = assignment.share.users(&assignment.plan, master);
        Some((users, assignment.plan.version_in_force(master)))
    }

    fn check_lease(&mut self, now: Tick) {
        if self.phase == Phase::Running && self.lease_until.is_none_or(|until| until <= now) {
            self.phase = Phase::Stopped;
            self.stopped_at = self.clock.master(now);
            self.users.forget_orders(&mut self.actions);
            self.actions.push_back(Action::StopNow);
            self.rows.recall(&mut self.actions);
        }
    }

    fn check_start(&mut self, now: Tick) {
        let start = self.assignment.as_ref().and_then(|assignment| assignment.start);
        if self.phase == Phase::Waiting
            && start.is_some()
            && self.lease_until.is_some_and(|until| now < until)
        {
            // Told at once, so that a scenario can prepare itself in the time that is left before the start.
            self.phase = Phase::Running;
            self.actions.push_back(Action::TestStart);
        }
    }

    fn check_stop(&mut self, now: Tick) {
        let stop = self.assignment.as_ref().and_then(|assignment| assignment.stop);
        let (Some(Stop { at, deadline, .. }), Some(master)) = (stop, self.clock.master(now)) else { return };
        if at <= master && !matches!(self.phase, Phase::Draining { .. } | Phase::Ended) {
            self.drain(deadline - master, false);
            self.next_report = self.next_report.min(now + BRISK);
        }
    }

    fn check_begin(&mut self, now: Tick) {
        let Some(assignment) = self.assignment.as_ref().filter(|_| self.phase == Phase::Running) else {
            return;
        };
        if assignment.plan.arrivals.is_some() {
            // Users come with their iterations, which say themselves how late they are.
            return;
        }
        if let Some(master) = self.clock.master(now) {
            self.begin.order(&assignment.plan, &assignment.share, master);
            self.begin.check(|| self.clock.between(now));
        }
    }

    fn check_complete(&mut self, now: Tick) {
        let complete = self.assignment.as_ref().and_then(|assignment| assignment.start_complete);
        let (Some(complete), Some(master)) = (complete, self.clock.master(now)) else { return };
        if self.completed || self.phase != Phase::Running || master < complete.at {
            return;
        }
        // One that joins later says so once its own users run, and with nobody to start at once.
        let reached = |wanted: &[u32]| self.is_open_model() || self.users.reached(wanted);
        if self.wanted(now).is_some_and(|(wanted, _)| reached(&wanted)) {
            self.completed = true;
            self.actions.push_back(Action::StartComplete { users: complete.users });
        }
    }

    fn check_rendezvous(&mut self, now: Tick) {
        let (Some(assignment), Some(master)) = (&self.assignment, self.clock.master(now)) else { return };
        if self.phase == Phase::Running {
            self.places.follow(&assignment.rendezvous, master, &mut self.actions);
        }
    }

    fn check_left(&mut self) {
        if self.state() == ProcessState::Left && self.left_told && self.outbox.is_empty() {
            self.end(EXIT_HANDED_OVER);
        }
    }

    fn drain(&mut self, deadline: Duration, leaving: bool) {
        self.phase = Phase::Draining { leaving };
        self.users.forget_orders(&mut self.actions);
        self.actions.push_back(Action::Drain { deadline });
        self.rows.recall(&mut self.actions);
    }

    fn end(&mut self, exit_code: u8) {
        self.phase = Phase::Ended;
        self.sent_at = None;
        self.actions.push_back(Action::End { exit_code });
    }
}

#[cfg(test)]
mod tests;
