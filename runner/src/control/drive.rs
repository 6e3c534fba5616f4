//! The control thread: measures, wakes the state machine, carries its reports to the master and its orders to Python.
//! Start at [`Drive::run`].

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aiotest_core::health::Blocked;
use aiotest_core::message::{Assignment, Health, ProcessId, ProcessState};
use aiotest_core::run::{ClassSpec, RunSpec};
use aiotest_core::runner::{Action, Measurement, Runner};
use aiotest_core::tick::Tick;

use super::Hooks;
use super::dial::{Dial, Error};
use super::health::Meter;
use super::seat::{Facts, Seat};
use crate::alarm::Alarm;
use crate::clock::Clock;

/// How long users may take to end once nobody answers for their load; then the process is ended.
const STOP_NOW: Duration = Duration::from_secs(5);
/// A loop that has not turned for so long while the load is on never will: the process is ended.
const STUCK: Duration = Duration::from_secs(30);
/// The same once the users' time to end is over.
const STUCK_AT_THE_END: Duration = Duration::from_secs(1);
/// Between looks while a call is open and the state machine would like another.
const OPEN_CALL: Duration = Duration::from_millis(100);
/// How long a process that leaves its seat waits for a master that takes what it has measured.
const HAND_OVER: Duration = Duration::from_secs(20);
/// Exit code of a process that its master does not know, or that found none in time.
const EXIT_NO_MASTER: u8 = 3;

/// A report on its way: when it was sent, and the answer.
type Call = Pin<Box<dyn Future<Output = (Tick, Result<Assignment, Error>)> + Send>>;

/// Everything that the control thread owns.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own; no two make one state")]
pub(super) struct Drive {
    core: Runner,
    clock: Clock,
    dial: Arc<Dial>,
    hooks: Hooks,
    seat: Arc<Seat>,
    meter: Meter,
    /// What Python has told and no measurement has taken in yet.
    told: Facts,
    /// Dialling goes on until then; later once the process has joined.
    give_up: Tick,
    /// Added to `give_up` at the first answer.
    after_joining: Duration,
    joined: bool,
    completed: bool,
    ended: bool,
    /// From then on live users cost the process its life.
    kill_at: Option<Tick>,
    /// Until then users have time to end.
    drained_by: Option<Tick>,
    /// The load has begun.
    load_began: bool,
    /// The loop does not turn any more: where it is. The process is about to end.
    stuck: Option<Blocked>,
}

impl Drive {
    pub(super) fn new(
        who: ProcessId,
        spec: &RunSpec,
        classes: &[ClassSpec],
        dial: Dial,
        hooks: Hooks,
        seat: Arc<Seat>,
        clock: Clock,
    ) -> Self {
        let names = classes.iter().map(|class| class.name.clone()).collect();
        Self {
            core: Runner::new(who, names, spec.dead_man, clock.now()).with_data(&spec.data),
            clock,
            dial: Arc::new(dial),
            hooks,
            seat,
            meter: Meter::start(),
            told: Facts::default(),
            give_up: clock.now() + spec.deadlines.startup,
            after_joining: spec.deadlines.run + spec.deadlines.stop,
            joined: false,
            completed: false,
            ended: false,
            kill_at: None,
            drained_by: None,
            load_began: false,
            stuck: None,
        }
    }

    /// Until the owner is gone.
    pub(super) async fn run(mut self) {
        let mut call: Option<Call> = None;
        let alarm = Alarm::of(self.clock);
        while !self.hear() {
            let now = self.clock.now();
            self.wake(now);
            if call.is_none() && !self.ended {
                call = self.report(now);
            }
            let due = self.due(now, call.is_some());
            let seat = Arc::clone(&self.seat);
            tokio::select! {
                (sent_at, answer) = answer(&mut call) => {
                    call = None;
                    self.take_in(sent_at, answer);
                }
                () = alarm.ring(due) => {}
                () = seat.arrived.notified() => {}
            }
        }
    }

    /// Takes in what Python has told. True: the owner is gone.
    fn hear(&mut self) -> bool {
        let facts = self.seat.take();
        // A process that has given its users up has none, whatever comes back to life.
        for (class, users) in facts.users.iter().enumerate().filter(|_| self.stuck.is_none()) {
            if let Some(users) = users {
                self.core.handle_users(class, users.live, users.dead);
            }
        }
        for (name, (waiting, users)) in &facts.waiting {
            self.core.handle_waiting(self.clock.now(), name, *waiting, *users);
        }
        for (set, rows) in facts.rows.iter().enumerate() {
            self.core.handle_given_back(set, &rows.given_back);
            if let Some(told) = rows.told {
                self.core.handle_rows(set, told);
            }
        }
        if facts.hand_over {
            let now = self.clock.now();
            self.core.hand_over(now);
            // A master that is gone as well does not keep this process for the length of a run.
            self.give_up = self.give_up.min(now + HAND_OVER);
            self.after_joining = Duration::ZERO;
        }
        self.told.counted.merge(&facts.counted);
        self.told.loop_lag = self.told.loop_lag.max(facts.loop_lag);
        self.told.lateness = self.told.lateness.max(facts.lateness);
        facts.closed
    }

    /// Brings the state machine up to date and passes its orders on.
    fn wake(&mut self, now: Tick) {
        self.check_loop(now);
        if self.core.measurement_due(now) {
            let measurement = self.measure();
            self.core.handle_measurement(now, measurement);
        }
        self.core.handle_timeout(now);
        while let Some(action) = self.core.poll_action() {
            self.order(now, action);
        }
        self.seat.set_state(self.state());
        if !self.ended && self.give_up <= now {
            self.end_without_master(now, "no master answered in time");
        }
        if self.kill_at.take_if(|kill_at| *kill_at <= now).is_some() && 0 < self.seat.user_count() {
            crate::complain("users did not end within 5 s of the order to stop: ending the process");
            (self.hooks.end_process)();
        }
    }

    /// Gives a process up whose loop does not turn any more: what it measured is flushed, and it ends.
    fn check_loop(&mut self, now: Tick) {
        let over = self.drained_by.is_some_and(|by| by <= now);
        let limit = if over { STUCK_AT_THE_END } else { STUCK };
        if self.ended || self.stuck.is_some() || !self.load_began {
            return;
        }
        if let Some(stuck) = self.seat.watch.stuck(limit) {
            let seconds = stuck.longest.as_secs();
            let place = &stuck.place;
            crate::complain(&format!(
                "the loop has not turned for {seconds} s and the process is ended: {place}"
            ));
            (self.hooks.refuse)(true);
            (self.hooks.abort_calls)();
            self.stuck = Some(stuck);
            self.core.give_up(now);
            self.give_up = self.give_up.min(now + HAND_OVER);
            self.after_joining = Duration::ZERO;
        }
    }

    fn order(&mut self, now: Tick, action: Action) {
        match action {
            Action::TestStart | Action::Start { .. } | Action::Begin { .. } => {
                (self.hooks.refuse)(false);
                self.kill_at = None;
                self.drained_by = None;
                // How late anything is before the first user costs nobody anything.
                let begins = action != Action::TestStart && !self.load_began;
                if begins {
                    self.load_began = true;
                    self.begin_measuring();
                }
            }
            Action::StopNow => {
                (self.hooks.refuse)(true);
                self.kill_at = Some(now + STOP_NOW);
            }
            Action::StartComplete { .. } => self.completed = true,
            Action::Drain { deadline } => self.drained_by = Some(now + deadline),
            Action::End { .. } => self.ended = true,
            Action::Retire { .. }
            | Action::Allow { .. }
            | Action::Release { .. }
            | Action::Rows { .. }
            | Action::Recall { .. }
            | Action::Exhausted { .. } => {}
        }
        // Before the order: what Python does for it reads the state.
        self.seat.set_state(self.state());
        self.seat.order(action);
        if self.ended && self.stuck.is_some() {
            let exit_code = self.seat.watch.watched().map_or(EXIT_NO_MASTER, |watched| watched.exit_code);
            (self.hooks.exit_process)(exit_code);
        }
    }

    fn begin_measuring(&mut self) {
        self.seat.begin_measuring();
        (self.told.loop_lag, self.told.lateness) = (Duration::ZERO, Duration::ZERO);
        self.meter.begin(self.seat.watch.watched().map(|watched| watched.thread));
    }

    fn report(&mut self, now: Tick) -> Option<Call> {
        let report = self.core.poll_report(now)?;
        let dial = Arc::clone(&self.dial);
        Some(Box::pin(async move { (now, dial.post("/v1/report", &report).await) }))
    }

    fn take_in(&mut self, sent_at: Tick, answer: Result<Assignment, Error>) {
        let now = self.clock.now();
        match answer {
            Ok(assignment) => {
                if !std::mem::replace(&mut self.joined, true) {
                    self.give_up = self.give_up + self.after_joining;
                }
                if let Some(stop) = assignment.stop.filter(|_| self.after_joining > Duration::ZERO) {
                    // An edit may have moved it beyond what the plan file allows. A master that answers is there: what
                    // it does after the load is waited for.
                    let left = (stop.deadline - assignment.now).max(HAND_OVER);
                    self.give_up = self.give_up.max(now + left);
                }
                self.core.handle_assignment(sent_at, now, assignment);
                self.seat.set_meetings(self.core.most_users(), self.core.meetings());
                if let Some(left) = self.core.lease(now) {
                    (self.hooks.lease)(left);
                }
            }
            Err(error) if error.is_passing() => self.core.handle_no_answer(now),
            Err(Error::Refused { refusal, .. }) => {
                crate::complain(&format!("the master refused this process: {refusal}"));
                self.core.handle_refusal(now, &refusal);
            }
            Err(error) => self.end_without_master(now, &error.to_string()),
        }
    }

    fn end_without_master(&mut self, now: Tick, why: &str) {
        crate::complain(why);
        self.order(now, Action::StopNow);
        self.order(now, Action::End { exit_code: EXIT_NO_MASTER });
    }

    fn measure(&mut self) -> Measurement {
        let told = std::mem::take(&mut self.told);
        if self.seat.user_count() == 0 {
            // This may be the last measurement; with users, the next one has what is late.
            (self.hooks.settle)();
        }
        // Before the statistics: what is sent in between is in the next measurement's count, never in none.
        let sent_total = (self.hooks.sent_total)();
        let mut statistics = (self.hooks.take_statistics)();
        statistics.merge(&told.counted);
        let sample = self.meter.sample();
        let mut so_far = self.meter.usage().clone();
        self.seat.add_punctuality(&mut so_far);
        so_far.stuck.clone_from(&self.stuck);
        // A loop that does not turn tells of no lag.
        let blocked = self.seat.watch.stuck(Duration::ZERO).map_or(Duration::ZERO, |blocked| blocked.longest);
        let blocked = if self.load_began { blocked } else { Duration::ZERO };
        let health = Health {
            cpu_percent: sample.cpu_percent,
            steal_percent: sample.steal_percent,
            loop_lag: told.loop_lag.max(blocked),
            lateness: told.lateness,
            open_files: sample.open_files,
            so_far,
        };
        Measurement { statistics, sent_total, health }
    }

    /// When to wake up next, as things were at `now`: what has become due since is due at once.
    fn due(&self, now: Tick, call_is_open: bool) -> Option<Tick> {
        let core = self.core.poll_timeout(now).filter(|_| !self.ended);
        // The answer wakes us; until then the state machine's wish for another report is not looked at. Users start at
        // their instants all the same: on a slow network a call is nearly always open.
        let core = core.map(|due| if call_is_open && due <= now { now + OPEN_CALL } else { due });
        let give_up = Some(self.give_up).filter(|_| !self.ended);
        [core, give_up, self.kill_at].into_iter().flatten().min()
    }

    fn state(&self) -> &'static str {
        match self.core.state() {
            _ if self.ended => "stopped",
            ProcessState::Waiting => "ready",
            ProcessState::Running if self.completed => "running",
            ProcessState::Running => "starting",
            ProcessState::Draining => "stopping",
            ProcessState::Drained | ProcessState::Left | ProcessState::Stopped => "stopped",
        }
    }
}

/// The open call's answer; never, where there is no call.
async fn answer(call: &mut Option<Call>) -> (Tick, Result<Assignment, Error>) {
    match call {
        Some(call) => call.await,
        None => std::future::pending().await,
    }
}
