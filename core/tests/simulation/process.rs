//! One runner process: the real state machine, with made-up users and requests.

use std::time::Duration;

use aiotest_core::arrivals::Arrival;
use aiotest_core::data::DataSpec;
use aiotest_core::message::{ProcessId, Report};
use aiotest_core::runner::{Action, Measurement, Runner};
use aiotest_core::stats::{Outcome, Sample, Statistics};
use aiotest_core::tick::Tick;

use crate::random::Random;
use crate::rendezvous::Crowd;
use crate::rows::Hands;
use crate::scenario::Sabotage;

/// A process and the truth about it.
pub(crate) struct Process {
    pub(crate) id: ProcessId,
    pub(crate) core: Runner,
    /// Its clock's lead on the world's.
    skew: u64,
    /// Users by class, those that are ending included.
    pub(crate) live: Vec<u32>,
    /// Users that end at these instants.
    ending: Vec<(Tick, usize)>,
    /// In the open model: how many there may be by class, and who is busy until when.
    allowed: Vec<u32>,
    busy: Vec<(Tick, usize)>,
    /// Iterations that began, by number, and when.
    pub(crate) begun: Vec<(u64, Tick)>,
    /// Requests that are on their way.
    open: u32,
    /// Requests ever put on the wire: the deposit.
    pub(crate) sent: u64,
    statistics: Statistics,
    /// The rows of data sets.
    pub(crate) hands: Hands,
    /// Everything ever recorded.
    pub(crate) recorded: Statistics,
    pub(crate) alive: bool,
    /// Its exit code, once it was told to end.
    pub(crate) ended: Option<u8>,
    pub(crate) cut_off_until: Tick,
    pub(crate) awaiting: Option<u64>,
    /// Its users as they meet others, if they do.
    pub(crate) crowd: Option<Crowd>,
    sabotage: Option<Sabotage>,
}

impl Process {
    pub(crate) fn new(
        id: ProcessId,
        (classes, data): (&[String], &[DataSpec]),
        now: Tick,
        dead_man: Duration,
        skew: u64,
        sabotage: Option<Sabotage>,
        meets: bool,
    ) -> Self {
        let local = Tick::from_micros(now.as_micros() + skew);
        Self {
            core: Runner::new(id.clone(), classes.to_vec(), dead_man, local).with_data(data),
            id,
            skew,
            live: vec![0; classes.len()],
            ending: Vec::new(),
            allowed: vec![0; classes.len()],
            busy: Vec::new(),
            begun: Vec::new(),
            open: 0,
            sent: 0,
            statistics: Statistics::default(),
            hands: Hands::new(skew),
            recorded: Statistics::default(),
            alive: true,
            ended: None,
            cut_off_until: Tick::ZERO,
            awaiting: None,
            crowd: meets.then(Crowd::default),
            sabotage,
        }
    }

    pub(crate) fn local(&self, now: Tick) -> Tick {
        Tick::from_micros(now.as_micros() + self.skew)
    }

    pub(crate) fn users(&self) -> u32 {
        if self.alive { self.live.iter().sum() } else { 0 }
    }

    /// Brings everything up to date; a report if one is to be sent.
    pub(crate) fn wake(&mut self, now: Tick, random: &mut Random) -> Option<Report> {
        if !self.alive || self.ended.is_some() {
            return None;
        }
        self.end_users(now, random);
        self.come(now, random);
        self.make_requests(random);
        let local = self.local(now);
        if self.core.measurement_due(local) {
            let mut statistics = self.statistics.take();
            match self.sabotage {
                Some(Sabotage::LostMeasurement) if random.chance(0.1) => statistics = Statistics::default(),
                Some(Sabotage::DoubledMeasurement) if random.chance(0.1) => {
                    statistics.merge(&statistics.clone());
                }
                _ => {}
            }
            let measurement = Measurement { statistics, sent_total: self.sent, ..Measurement::default() };
            self.core.handle_measurement(local, measurement);
        }
        self.core.handle_timeout(local);
        while let Some(action) = self.core.poll_action() {
            self.carry_out(now, &action, random);
        }
        if self.ended.is_none() {
            self.hands.settle(now, self.live.iter().sum(), &mut self.core, self.sabotage);
        }
        if self.awaiting.is_some() { None } else { self.core.poll_report(local) }
    }

    /// When to wake up next, in the world's time.
    pub(crate) fn next_wake(&self, now: Tick) -> Option<Tick> {
        if !self.alive || self.ended.is_some() {
            return None;
        }
        let core = self.core.poll_timeout(self.local(now));
        let core = core.map(|local| Tick::from_micros(local.as_micros().saturating_sub(self.skew)));
        // The answer, or its absence, wakes a process that waits for one: then its due report is not looked at.
        let core = core
            .map(|due| if self.awaiting.is_some() { due.max(now + Duration::from_millis(20)) } else { due });
        let ending = self.ending.iter().map(|(at, _)| *at).min();
        let coming = self.crowd.as_ref().and_then(Crowd::next);
        core.into_iter().chain(ending).chain(coming).chain(self.hands.next_end()).min()
    }

    pub(crate) fn die(&mut self) {
        self.alive = false;
    }

    fn carry_out(&mut self, now: Tick, action: &Action, random: &mut Random) {
        match action.clone() {
            Action::Allow { class, users } => {
                self.allowed[class] = users;
                self.retire(now, class, self.live[class].saturating_sub(users), random);
            }
            Action::Begin { iterations, shed } => {
                for iteration in &iterations {
                    self.begin(now, iteration, random);
                }
                self.count(0, shed);
            }
            Action::Release { late, .. } => {
                if self.sabotage != Some(Sabotage::DeafProcess)
                    && let Some(crowd) = &mut self.crowd
                {
                    crowd.release(now, now.before(late), random);
                    self.tell_waiting(now);
                }
            }
            Action::Start { class, users } => {
                let more = match self.sabotage {
                    Some(Sabotage::OneUserTooMany) => 1,
                    _ => 0,
                };
                let lazy = self.sabotage == Some(Sabotage::LazyProcess) && random.chance(0.3);
                self.live[class] += if lazy { users - 1 } else { users + more };
            }
            Action::Retire { class, users } => {
                if self.sabotage == Some(Sabotage::EarlyRow) {
                    self.hands.give_back_early(users, &mut self.core);
                }
                self.retire(now, class, users, random);
            }
            Action::Drain { deadline } => {
                self.ending.clear();
                for class in 0..self.live.len() {
                    for _ in 0..self.live[class] {
                        let limit = u64::try_from(deadline.as_micros()).unwrap().min(4_000_000);
                        let after = if random.chance(0.7) { 0 } else { random.below(limit + 1) };
                        self.ending.push((now + Duration::from_micros(after), class));
                    }
                }
            }
            Action::StopNow => {
                self.busy.clear();
                self.ending.clear();
                self.live.fill(0);
                self.hands.stop_now(now);
            }
            Action::End { exit_code } => self.ended = Some(exit_code),
            Action::Rows { set, rows } => self.hands.add(set, &rows),
            Action::Recall { set } => self.hands.recall(set, &mut self.core),
            Action::Exhausted { set } => self.hands.exhausted(set),
            Action::TestStart | Action::StartComplete { .. } => {}
        }
        self.end_users(now, random);
        self.come(now, random);
        self.tell();
    }

    fn retire(&mut self, now: Tick, class: usize, users: u32, random: &mut Random) {
        let ending = self.ending.iter().filter(|(_, of)| *of == class).count() as u32;
        for _ in 0..users.min(self.live[class] - ending) {
            let after = if random.chance(0.5) { 0 } else { random.below(3_000_000) };
            self.ending.push((now + Duration::from_micros(after), class));
        }
    }

    /// As a scenario's host: with a user that has nothing to do, or a new one, or not at all.
    fn begin(&mut self, now: Tick, iteration: &Arrival, random: &mut Random) {
        let class = iteration.class;
        self.busy.retain(|(until, _)| now < *until);
        let busy = self.busy.iter().filter(|(_, of)| *of == class).count() as u32;
        let twice = self.sabotage == Some(Sabotage::DoubledIteration) && random.chance(0.1);
        if self.live[class] <= busy && self.allowed[class] <= self.live[class] {
            return self.count(0, 1);
        }
        self.live[class] = self.live[class].max(busy + 1);
        self.busy.push((now + Duration::from_micros(random.below(2_000_000)), class));
        for _ in 0..=u32::from(twice) {
            self.begun.push((iteration.number, now));
            self.count(1, 0);
        }
    }

    fn count(&mut self, started: u64, shed: u64) {
        self.statistics.iterations.began(started, shed);
        self.recorded.iterations.began(started, shed);
    }

    /// As many users as live, each on its way to the others or there.
    fn come(&mut self, now: Tick, random: &mut Random) {
        let live = self.live.iter().sum();
        if let Some(crowd) = &mut self.crowd
            && crowd.follow(live, now, random)
        {
            self.tell_waiting(now);
        }
    }

    fn tell_waiting(&mut self, now: Tick) {
        let Some(crowd) = &self.crowd else { return };
        let early =
            self.sabotage == Some(Sabotage::OneWaitsTooMany) && 0 < crowd.waiting() && 0 < crowd.missing();
        self.core.handle_waiting(self.local(now), "sale", crowd.waiting() + u32::from(early), None);
    }

    fn end_users(&mut self, now: Tick, random: &mut Random) {
        let before = self.ending.len();
        for (_, class) in self.ending.extract_if(.., |(at, _)| *at <= now) {
            self.live[class] -= 1;
            if let Some(at) = self.busy.iter().position(|(_, of)| *of == class) {
                self.busy.swap_remove(at);
            }
        }
        if self.ending.len() < before {
            self.come(now, random);
            self.tell();
        }
    }

    fn tell(&mut self) {
        for (class, live) in self.live.iter().enumerate() {
            self.core.handle_users(class, *live, 0);
        }
    }

    /// Requests that are open end and are recorded, and others begin.
    fn make_requests(&mut self, random: &mut Random) {
        let name = self.id.to_string();
        for _ in 0..self.open {
            let sample = Sample {
                name: &name,
                method: "GET",
                latency: Duration::from_micros(random.below(1000)),
                phases: &[],
                status: Some(200),
                bytes_received: 7,
                outcome: if random.chance(0.1) { Outcome::Failure("refused") } else { Outcome::Success },
                sent: 1,
                retried: 0,
                truncated: false,
                late: None,
            };
            self.statistics.record(&sample);
            self.recorded.record(&sample);
        }
        self.open = if self.users() == 0 { 0 } else { random.below(4) as u32 };
        self.sent += u64::from(self.open);
    }
}
