//! The world: a clock, a queue of events, a network with faults.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use aiotest_core::master::{Decisions, Master, MasterEvent, ShapeTick};
use aiotest_core::message::{Assignment, Departure, LiveSpec, ProcessId, Refusal, Report, RunState};
use aiotest_core::plan::Plan;
use aiotest_core::run::{Constant, Desired, Load};
use aiotest_core::tick::Tick;

use crate::process::Process;
use crate::random::Random;
use crate::rendezvous::Rounds;
use crate::scenario::{Sabotage, Scenario, arrivals, stages};

enum Event {
    MasterWake,
    ProcessWake(usize),
    AtMaster { process: usize, sent_at: Tick, report: Box<Report> },
    Answered { process: usize, sent_at: Tick, answer: Box<Result<Assignment, Refusal>> },
    NoAnswer { process: usize, sequence: u64 },
    Departed(Departure),
    Crash,
    Restarted,
    Replaced,
    Born { runner: String, process: u32, incarnation: u64 },
    Second,
}

/// More events than this in a second are none that anybody waits for.
const SPINNING: u64 = 20_000;

/// Orders events by time, then by when they were made.
struct Timed(Reverse<(Tick, u64)>, Event);

impl PartialEq for Timed {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Timed {}
impl PartialOrd for Timed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Timed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

/// Everything there is.
pub(crate) struct World {
    pub(crate) now: Tick,
    pub(crate) scenario: Scenario,
    pub(crate) master: Master,
    /// The master's process is dead: nothing reaches it.
    pub(crate) down: bool,
    /// The world's time when the master's clock read zero, as far as it knows.
    pub(crate) zero: Tick,
    pub(crate) crashes: u32,
    /// When the last one was: what was on its way then goes with the connection.
    crashed_at: Tick,
    /// What the master wrote last, and when it has to write again.
    written: String,
    decided: Option<Decisions>,
    pub(crate) generation: u64,
    pub(crate) processes: Vec<Process>,
    /// Vouchers that were ever used.
    pub(crate) used: BTreeSet<u32>,
    /// When the last thing happened that may move users.
    pub(crate) unrest: Tick,
    /// Targets by second, the last ones.
    pub(crate) targets: BTreeMap<Tick, u32>,
    /// Plans by version, and when each was told last.
    pub(crate) plans: BTreeMap<u64, (Tick, Plan)>,
    /// A process was taken for gone, and was not.
    pub(crate) came_back: bool,
    /// All versions of a plan with a load in it that were told: where nobody edits it, another one shares it anew.
    pub(crate) versions: BTreeSet<u64>,
    pub(crate) events: Vec<(Tick, MasterEvent)>,
    pub(crate) rounds: Rounds,
    pub(crate) random: Random,
    queue: BinaryHeap<Timed>,
    made: u64,
    /// Events since the last whole second.
    happened: u64,
    woken: Vec<Option<Tick>>,
    master_woken: Option<Tick>,
}

impl World {
    pub(crate) fn new(seed: u64, scenario: Scenario) -> Self {
        let master = Master::new(scenario.spec.clone(), scenario.classes.clone(), 7).expect("a valid run");
        let mut world = Self {
            now: Tick::ZERO,
            scenario,
            master,
            down: false,
            zero: Tick::ZERO,
            crashes: 0,
            crashed_at: Tick::ZERO,
            written: String::new(),
            decided: None,
            generation: 0,
            processes: Vec::new(),
            used: BTreeSet::new(),
            unrest: Tick::ZERO,
            targets: BTreeMap::new(),
            plans: BTreeMap::new(),
            came_back: false,
            versions: BTreeSet::new(),
            events: Vec::new(),
            rounds: Rounds::default(),
            random: Random::new(seed.wrapping_mul(0x1000_0001)),
            queue: BinaryHeap::new(),
            made: 0,
            happened: 0,
            woken: Vec::new(),
            master_woken: None,
        };
        for runner in 0..world.scenario.spec.runners {
            for process in 0..world.scenario.spec.processes_per_runner {
                let delay = world.random.below(2_000_000);
                let born = Event::Born { runner: format!("runner-{runner}"), process, incarnation: 0 };
                world.later(Duration::from_micros(delay), born);
            }
        }
        world.later(Duration::from_secs(1), Event::Second);
        world.remember();
        world
    }

    /// Plays to the end; the first broken promise, or how many times users met.
    pub(crate) fn run(mut self) -> Result<u64, String> {
        self.run_until(Self::is_over)?;
        self.check_end().map(|()| self.rounds.over())
    }

    /// Plays until something is so.
    pub(crate) fn run_until(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), String> {
        while !done(self) {
            let Some(Timed(Reverse((at, _)), event)) = self.queue.pop() else { return self.check_end() };
            self.now = at;
            self.happened += 1;
            if SPINNING < self.happened {
                return Err(format!("somebody spins at {:?}: {:?}", self.now, self.master.poll_timeout()));
            }
            self.happen(event)?;
            if !self.down {
                self.wake_master();
                self.check()?;
            }
        }
        Ok(())
    }

    /// Everybody knows that the run is over, or it is far too late.
    pub(crate) fn is_over(&self) -> bool {
        let ended = !self.down && self.master.state() == RunState::Ended;
        (ended && self.processes.iter().all(|process| !process.alive || process.ended.is_some()))
            || Tick::ZERO + Duration::from_secs(600) < self.now
    }

    /// What the master's clock reads.
    pub(crate) fn master_now(&self) -> Tick {
        Tick::ZERO + self.world_now().since(self.zero)
    }

    fn world_now(&self) -> Tick {
        match self.scenario.sabotage {
            Some(Sabotage::StandingClock) => self.now.min(Tick::ZERO + Duration::from_secs(12)),
            _ => self.now,
        }
    }

    fn later(&mut self, after: Duration, event: Event) {
        self.at(self.now + after, event);
    }

    fn at(&mut self, at: Tick, event: Event) {
        self.made += 1;
        self.queue.push(Timed(Reverse((at, self.made)), event));
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::MasterWake => {
                self.master_woken = None;
                if !self.down {
                    self.master.handle_timeout(self.master_now());
                    self.remember();
                }
            }
            Event::ProcessWake(process) => {
                if self.woken[process] == Some(self.now) {
                    self.woken[process] = None;
                    self.wake(process);
                }
            }
            Event::AtMaster { process, sent_at, report } => self.at_master(process, sent_at, &report),
            Event::Answered { process, sent_at, answer } => self.answered(process, sent_at, *answer),
            Event::NoAnswer { process, sequence } => {
                if self.processes[process].awaiting == Some(sequence) {
                    let who = &mut self.processes[process];
                    who.awaiting = None;
                    who.core.handle_no_answer(who.local(self.now));
                    self.wake(process);
                }
            }
            Event::Departed(departure) if self.down => {
                self.later(Duration::from_millis(500), Event::Departed(departure));
            }
            Event::Departed(departure) => {
                self.unrest = self.now;
                self.master.handle_departure(self.master_now(), &departure);
                self.remember();
            }
            Event::Crash if self.down => {}
            Event::Crash => {
                let long = if self.random.chance(0.2) { 24_000 } else { 3_000 };
                let time = Duration::from_millis(100 + self.random.below(long));
                let ended = self.master.state() == RunState::Ended;
                if !ended && self.random.chance(self.scenario.faults.amnesia) {
                    self.lose(time);
                } else {
                    self.crash(time);
                }
            }
            Event::Restarted => self.restart(),
            Event::Replaced => self.replace(),
            Event::Born { runner, process, incarnation } => {
                self.born(ProcessId { runner, process, incarnation });
            }
            Event::Second => return self.second(),
        }
        Ok(())
    }

    pub(crate) fn born(&mut self, id: ProcessId) {
        let names: Vec<String> = self.scenario.classes.iter().map(|class| class.name.clone()).collect();
        let skew = self.random.below(1_000_000_000_000);
        let (dead_man, sabotage) = (self.scenario.spec.dead_man, self.scenario.sabotage);
        let known = (&names[..], &self.scenario.spec.data[..]);
        let meets = self.scenario.meets;
        self.processes.push(Process::new(id, known, self.now, dead_man, skew, sabotage, meets));
        self.woken.push(None);
        self.unrest = self.now;
        self.wake(self.processes.len() - 1);
    }

    /// A process dies; its parent sees it and starts the next life, unless nobody sees it.
    pub(crate) fn kill(&mut self, process: usize, seen: bool) {
        self.unrest = self.now;
        let who = &mut self.processes[process];
        who.die();
        let id = who.id.clone();
        let sent_total = match self.scenario.sabotage {
            Some(Sabotage::WrongDeposit) => Some(who.sent / 2),
            _ => Some(who.sent),
        };
        let departure = Departure { process: id.clone(), exit: "killed by signal 9".into(), sent_total };
        let again = Event::Born { runner: id.runner, process: id.process, incarnation: id.incarnation + 1 };
        if seen {
            let delay = Duration::from_micros(self.random.below(300_000));
            self.later(delay, Event::Departed(departure));
        }
        let delay = Duration::from_micros(300_000 + self.random.below(3_000_000));
        self.later(delay, again);
    }

    fn second(&mut self) -> Result<(), String> {
        self.happened = 0;
        let faults = self.scenario.faults;
        for process in 0..self.processes.len() {
            let who = &self.processes[process];
            if !who.alive || who.ended.is_some() || self.master.state() == RunState::Ended {
                continue;
            }
            if self.random.chance(faults.death) {
                let seen = !self.random.chance(faults.unseen);
                self.kill(process, seen);
            } else if self.random.chance(faults.cut_off) {
                let long = Duration::from_secs(1 + self.random.below(25));
                self.processes[process].cut_off_until = self.now + long;
            }
        }
        self.later(Duration::from_secs(1), Event::Second);
        if self.down {
            return Ok(());
        }
        if self.random.chance(faults.edit) {
            self.edit();
        }
        if self.random.chance(faults.crash) {
            let after = Duration::from_micros(self.random.below(1_000_000));
            self.later(after, Event::Crash);
        }
        self.check_waiting()?;
        self.check_held()
    }

    /// The master's process dies, and is back so much later.
    pub(crate) fn crash(&mut self, time: Duration) {
        (self.down, self.master_woken) = (true, None);
        self.crashes += 1;
        self.crashed_at = self.now;
        self.later(time, Event::Restarted);
    }

    /// The master's machine dies, and another master is there so much later.
    pub(crate) fn lose(&mut self, time: Duration) {
        (self.down, self.master_woken) = (true, None);
        self.crashes += 1;
        self.crashed_at = self.now;
        self.later(time, Event::Replaced);
    }

    fn replace(&mut self) {
        let (spec, classes) = (self.scenario.spec.clone(), self.scenario.classes.clone());
        let epoch = 1000 + u64::from(self.crashes);
        self.master = Master::new(spec, classes, epoch).expect("a valid run");
        (self.down, self.unrest, self.zero) = (false, self.now, self.now);
        self.rounds.forget_heard();
        self.decided = None;
        self.remember();
    }

    fn restart(&mut self) {
        let checkpoint = serde_json::from_str(&self.written).expect("a checkpoint");
        let (spec, classes) = (self.scenario.spec.clone(), self.scenario.classes.clone());
        self.master = Master::restore(spec, classes, checkpoint, self.master_now()).expect("of this run");
        (self.down, self.unrest) = (false, self.now);
        self.rounds.forget_heard();
        self.decided = None;
        self.remember();
    }

    /// Writes the checkpoint if there is something new in it. Between this and the answer nothing happens.
    fn remember(&mut self) {
        let decided = Some(self.master.decisions());
        if self.decided != decided {
            self.decided = decided;
            let hasty = self.scenario.sabotage == Some(Sabotage::HastyMaster);
            if !hasty || self.written.is_empty() || self.random.chance(0.5) {
                self.written =
                    serde_json::to_string(&self.master.checkpoint(self.master_now())).expect("JSON");
            }
        }
    }

    /// Another load, or a pause, or the end of one.
    fn edit(&mut self) {
        let load = match &self.scenario.spec.load {
            Load::Constant(load) => {
                let users = 1 + self.random.below(60) as u32;
                let spawn_rate = [2.0, 10.0, 33.3, 1000.0][self.random.below(4) as usize];
                let duration = load.duration.map(|long| long + Duration::from_secs(self.random.below(10)));
                Load::Constant(Constant { users, spawn_rate, duration })
            }
            Load::Stages(_) => stages(&mut self.random),
            Load::Arrivals(_) => arrivals(&mut self.random),
            Load::Shape => return,
        };
        let desired = if self.random.chance(0.2) { Desired::Paused } else { Desired::Running };
        let live = LiveSpec { load, desired, ..LiveSpec::of(&self.scenario.spec, self.generation + 1) };
        self.tell(&live);
    }

    /// As the operator.
    pub(crate) fn tell(&mut self, live: &LiveSpec) {
        assert_eq!(self.master.handle_spec(self.master_now(), live), Ok(live.generation));
        (self.generation, self.unrest) = (live.generation, self.now);
        self.remember();
    }

    fn wake(&mut self, process: usize) {
        let report = self.processes[process].wake(self.now, &mut self.random);
        if let Some(report) = report {
            self.send(process, &report);
        }
        if let Some(at) = self.processes[process].next_wake(self.now) {
            let at = at.max(self.now + Duration::from_micros(1));
            if self.woken[process].is_none_or(|known| at < known) {
                self.woken[process] = Some(at);
                self.at(at, Event::ProcessWake(process));
            }
        }
    }

    fn send(&mut self, process: usize, report: &Report) {
        let sent_at = self.now;
        self.processes[process].awaiting = Some(report.sequence);
        self.note_waiting(process, report.sequence);
        self.later(Duration::from_secs(3), Event::NoAnswer { process, sequence: report.sequence });
        for _ in 0..self.copies() {
            let delay = self.delay();
            if sent_at < self.processes[process].cut_off_until {
                continue;
            }
            let report = Box::new(report.clone());
            self.later(delay, Event::AtMaster { process, sent_at, report });
        }
    }

    fn copies(&mut self) -> u32 {
        let faults = self.scenario.faults;
        if self.random.chance(faults.loss) { 0 } else { 1 + u32::from(self.random.chance(faults.doubling)) }
    }

    fn delay(&mut self) -> Duration {
        let long = self.random.chance(self.scenario.faults.long_delay);
        Duration::from_micros(200 + self.random.below(if long { 6_000_000 } else { 20_000 }))
    }

    fn at_master(&mut self, process: usize, sent_at: Tick, report: &Report) {
        if self.down || sent_at < self.crashed_at {
            // Nobody listens there: the process hears so at once.
            let delay = self.delay();
            return self.later(delay, Event::NoAnswer { process, sequence: report.sequence });
        }
        if let Some(reads) = self.master.clock_of(report).filter(|reads| self.master_now() < *reads) {
            self.zero = self.now.before(reads.since(Tick::ZERO));
        }
        let was_there = self.is_known(process);
        self.came_back |= !was_there && 1 < report.sequence;
        let answer = self.master.handle_report(self.master_now(), report);
        self.note_heard(process, report.sequence, was_there);
        self.remember();
        if let Ok(assignment) = &answer {
            self.plans.insert(assignment.plan.version, (self.now, assignment.plan.clone()));
            self.versions.extend(assignment.plan.ramps.first().map(|_| assignment.plan.version));
        }
        for _ in 0..self.copies() {
            let delay = self.delay();
            if self.now < self.processes[process].cut_off_until {
                continue;
            }
            let answer = Box::new(answer.clone());
            self.later(delay, Event::Answered { process, sent_at, answer });
        }
    }

    /// Whether the master takes a process for one that is there.
    pub(crate) fn is_known(&self, process: usize) -> bool {
        self.master.processes().any(|known| *known.id == self.processes[process].id)
    }

    fn answered(&mut self, process: usize, sent_at: Tick, answer: Result<Assignment, Refusal>) {
        let who = &mut self.processes[process];
        let (sent_at, now) = (who.local(sent_at), who.local(self.now));
        who.awaiting = None;
        match answer {
            Ok(assignment) => who.core.handle_assignment(sent_at, now, assignment),
            Err(refusal) if refusal.is_passing() => who.core.handle_no_answer(now),
            Err(refusal) => who.core.handle_refusal(now, &refusal),
        }
        self.wake(process);
    }

    fn wake_master(&mut self) {
        while let Some(event) = self.master.poll_event() {
            if let MasterEvent::AskShape { run_time, .. } = &event {
                let second = (run_time.as_secs() as usize).min(self.scenario.shape.len().saturating_sub(1));
                let (users, rate) = self.scenario.shape[second];
                self.master.handle_shape(self.master_now(), ShapeTick::Users { users, rate });
            }
            self.events.push((self.now, event));
        }
        if let Some(at) = self.master.poll_timeout().filter(|_| self.now == self.world_now()) {
            let at = (self.zero + at.since(Tick::ZERO)).max(self.now + Duration::from_micros(1));
            if self.master_woken.is_none_or(|known| at < known) {
                self.master_woken = Some(at);
                self.at(at, Event::MasterWake);
            }
        }
    }
}
