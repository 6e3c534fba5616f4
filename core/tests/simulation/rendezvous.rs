//! Users that meet again and again, and what must be so whenever they do.
//!
//! Each process knows which of its users are there; what the master knows of it is the last report that it heard. Start
//! at [`World::check_rounds`].

use std::collections::BTreeMap;
use std::time::Duration;

use aiotest_core::message::Meeting;
use aiotest_core::run::Load;
use aiotest_core::tick::Tick;

use crate::process::Process;
use crate::random::Random;
use crate::scenario::Scenario;
use crate::world::World;

/// So long after the last one has come everybody goes on, where nothing is lost: a report, and the lead.
const SOON: Duration = Duration::from_secs(4);
/// The same on any network, once nobody dies and the load does not change.
const LATE: Duration = Duration::from_secs(30);
/// Whoever waited for a round that is over has gone on by then, or has been stopped.
const SLOW: Duration = Duration::from_secs(19);

/// The users of one process: on their way to the others, or there.
#[derive(Default)]
pub(crate) struct Crowd {
    /// When each will be there.
    coming: Vec<Tick>,
    /// Since when each is there.
    there: Vec<Tick>,
}

impl Crowd {
    /// As many users as `live`, and those there who have come by now. True: another number is there.
    pub(crate) fn follow(&mut self, live: u32, now: Tick, random: &mut Random) -> bool {
        let before = self.there.len();
        while self.coming.len() + self.there.len() < live as usize {
            self.coming.push(arrival(now, random));
        }
        while (live as usize) < self.coming.len() + self.there.len() {
            let place = random.below((self.coming.len() + self.there.len()) as u64) as usize;
            if place < self.coming.len() {
                self.coming.swap_remove(place);
            } else {
                self.there.remove(place - self.coming.len());
            }
        }
        let mut left = self.there.len() < before;
        for at in self.coming.extract_if(.., |at| *at <= now) {
            self.there.push(at);
            left = true;
        }
        left
    }

    /// Those go on who had come by an instant.
    pub(crate) fn release(&mut self, now: Tick, by: Tick, random: &mut Random) {
        for _ in self.there.extract_if(.., |came| *came <= by) {
            self.coming.push(arrival(now, random));
        }
    }

    pub(crate) fn waiting(&self) -> u32 {
        self.there.len() as u32
    }

    pub(crate) fn missing(&self) -> u32 {
        self.coming.len() as u32
    }

    pub(crate) fn next(&self) -> Option<Tick> {
        self.coming.iter().min().copied()
    }
}

/// Most are soon there, a few are not.
fn arrival(now: Tick, random: &mut Random) -> Tick {
    let most = if random.chance(0.03) { 15_000_000 } else { 2_500_000 };
    now + Duration::from_micros(1 + random.below(most))
}

impl Scenario {
    /// As drawn, for longer, with users that meet.
    pub(crate) fn of_meetings(seed: u64) -> Self {
        let mut scenario = Self { meets: true, ..Self::drawn(seed) };
        if let Load::Constant(load) = &mut scenario.spec.load {
            load.users = load.users.min(25);
            load.duration = load.duration.map(|long| 3 * long);
        }
        scenario
    }
}

/// What is known of the rounds so far.
#[derive(Default)]
pub(crate) struct Rounds {
    /// By the master's clock, by their number.
    over: BTreeMap<u64, Tick>,
    /// The same by the world's.
    instants: Vec<Tick>,
    /// Users that were there and that were not when a process made a report.
    said: BTreeMap<(usize, u64), (u32, u32)>,
    /// The last report of each process that this life of the master has heard.
    heard: BTreeMap<usize, u64>,
}

impl Rounds {
    pub(crate) fn over(&self) -> u64 {
        self.over.len() as u64
    }

    pub(crate) fn forget_heard(&mut self) {
        self.heard.clear();
    }
}

impl World {
    pub(crate) fn note_waiting(&mut self, process: usize, sequence: u64) {
        if let Some(crowd) = &self.processes[process].crowd {
            let said = (crowd.waiting(), crowd.missing());
            self.rounds.said.entry((process, sequence)).or_insert(said);
        }
    }

    /// A report of one who was not there, for the master, is from before it stopped its load: nobody of it lives any more.
    pub(crate) fn note_heard(&mut self, process: usize, sequence: u64, was_there: bool) {
        let heard = self.rounds.heard.entry(process).or_default();
        if *heard < sequence {
            *heard = sequence;
            if !was_there {
                self.rounds.said.insert((process, sequence), (0, 0));
            }
        }
    }

    /// A round has one instant for good, and is over only if all had come whom the master knew to be there.
    pub(crate) fn check_rounds(&mut self) -> Result<(), String> {
        let Some(Meeting { rounds, at: Some(at), .. }) = self.master.meetings(self.master_now()).pop() else {
            return Ok(());
        };
        let forgets = 0.0 < self.scenario.faults.amnesia;
        match self.rounds.over.insert(rounds, at) {
            Some(known) if known == at => return Ok(()),
            Some(known) if !forgets => {
                return Err(format!("round {rounds} was to be over at {known:?}, and now at {at:?}"));
            }
            // A master that was replaced says the instants of the last one.
            _ if at <= self.master_now() => return Ok(()),
            _ => {}
        }
        self.rounds.instants.push(self.zero + at.since(Tick::ZERO));
        self.check_decision(rounds, forgets)
    }

    fn check_decision(&self, rounds: u64, forgets: bool) -> Result<(), String> {
        let mut there = 0;
        for (index, process) in self.processes.iter().enumerate() {
            if !self.is_known(index) {
                continue;
            }
            let heard =
                self.rounds.heard.get(&index).and_then(|heard| self.rounds.said.get(&(index, *heard)));
            let (waiting, missing) = heard.copied().unwrap_or_default();
            if 0 < missing && !forgets {
                return Err(format!(
                    "round {rounds} is over, and {missing} users of {} had not come",
                    process.id
                ));
            }
            there += waiting;
        }
        let target = self.master.target(self.master_now());
        if there < target && !forgets {
            return Err(format!("round {rounds} is over with {there} users of {target}"));
        }
        Ok(())
    }

    /// Who has come to a round that is over goes on.
    pub(crate) fn check_waiting(&self) -> Result<(), String> {
        let waits = |process: &&Process| process.alive && process.ended.is_none();
        for process in self.processes.iter().filter(waits).filter(|_| self.scenario.faults.amnesia == 0.0) {
            let there = process.crowd.iter().flat_map(|crowd| &crowd.there);
            for came in there {
                // By the clock of a process that is a little behind it may have come after all.
                let came = *came + Duration::from_millis(100);
                let over = self.rounds.instants.iter().any(|at| came <= *at && *at + SLOW < self.now);
                if over {
                    return Err(format!("a user of {} still waits for a round that is over", process.id));
                }
            }
        }
        Ok(())
    }

    /// Where all have come, all go on.
    pub(crate) fn check_nobody_waits_in_vain(&self, target: u32, live: u32) -> Result<(), String> {
        let limit = if self.scenario.faults.loss == 0.0 { SOON } else { LATE };
        let since = self.now.before(limit);
        let settled = self.targets.range(since..).all(|(_, known)| *known == target);
        let young = self.targets.first_key_value().is_none_or(|(first, _)| since < *first);
        if live == 0 || live != target || !settled || young || since < self.unrest {
            return Ok(());
        }
        let crowds = || {
            self.processes.iter().filter(|process| process.alive).filter_map(|process| process.crowd.as_ref())
        };
        let all = crowds().all(|crowd| crowd.missing() == 0 && crowd.there.iter().all(|came| *came < since));
        if all && crowds().next().is_some() && self.rounds.instants.iter().all(|at| *at < since) {
            return Err(format!("all {live} users wait and nobody goes on"));
        }
        Ok(())
    }
}
