//! The rows of data sets in one process: an account for every user, and vouchers that are used up; and what must be
//! so of them over all processes.

use std::collections::VecDeque;
use std::time::Duration;

use aiotest_core::data::{AtEnd, DataSpec, Policy, RowSet};
use aiotest_core::message::RunState;
use aiotest_core::runner::{RowsTold, Runner};
use aiotest_core::tick::Tick;

use crate::process::Process;
use crate::random::Random;
use crate::scenario::Sabotage;
use crate::world::World;

/// The places of the data sets in a run's.
const ACCOUNTS: usize = 0;
const VOUCHERS: usize = 1;
/// How many vouchers there are.
const MANY: u32 = 700;

/// As many accounts as there may be users, and vouchers for the half of a run.
pub(crate) fn data(accounts: u32) -> Vec<DataSpec> {
    let set = |name: &str, rows, policy, at_end| DataSpec {
        name: name.to_owned(),
        policy,
        at_end,
        file: format!("{name}.csv"),
        rows,
        hash: "1f".to_owned(),
    };
    vec![
        set("accounts", accounts, Policy::Unique, AtEnd::Loop),
        set("vouchers", MANY, Policy::Sharded, AtEnd::Stop),
    ]
}

/// The rows of one process.
#[derive(Debug, Default)]
pub(crate) struct Hands {
    /// Accounts of users.
    pub(crate) accounts: Vec<u32>,
    /// Accounts of users that were told to stop at once, and when these have ended.
    lingering: Vec<(Tick, u32)>,
    unused: [VecDeque<u32>; 2],
    taken: [u64; 2],
    /// Users that wait for a voucher.
    waiting: u32,
    exhausted: bool,
    /// Vouchers that were used, until somebody looks.
    used: Vec<u32>,
    /// Accounts came or went since somebody looked.
    changed: bool,
    random: Random,
}

impl Hands {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), ..Self::default() }
    }

    pub(crate) fn add(&mut self, set: usize, rows: &RowSet) {
        self.unused[set].extend(rows.iter());
        self.changed = true;
    }

    pub(crate) fn recall(&mut self, set: usize, core: &mut Runner) {
        core.handle_given_back(set, &self.unused[set].drain(..).collect());
    }

    /// Whoever is told to stop at once takes a while all the same; after five seconds its process would be killed.
    pub(crate) fn stop_now(&mut self, now: Tick) {
        for account in self.accounts.drain(..) {
            let end = now + Duration::from_micros(self.random.below(5_000_000));
            self.lingering.push((end, account));
        }
    }

    /// When the next of them has ended.
    pub(crate) fn next_end(&self) -> Option<Tick> {
        self.lingering.iter().map(|(end, _)| *end).min()
    }

    pub(crate) fn exhausted(&mut self, set: usize) {
        assert_eq!(set, VOUCHERS, "accounts come back");
        (self.waiting, self.exhausted) = (0, true);
    }

    /// Every user has an account as soon as there is one, and sometimes wants a voucher.
    pub(crate) fn settle(&mut self, now: Tick, users: u32, core: &mut Runner, sabotage: Option<Sabotage>) {
        let ended = self.lingering.extract_if(.., |(end, _)| *end <= now);
        core.handle_given_back(ACCOUNTS, &ended.map(|(_, account)| account).collect());
        let random = &mut self.random;
        while users < self.accounts.len() as u32 {
            let one = self.accounts.swap_remove(random.below(self.accounts.len() as u64) as usize);
            if sabotage != Some(Sabotage::LostRow) || random.chance(0.5) {
                core.handle_given_back(ACCOUNTS, &[one].into_iter().collect());
            }
        }
        while (self.accounts.len() as u32) < users
            && let Some(one) = self.unused[ACCOUNTS].pop_front()
        {
            self.accounts.push(one);
            self.taken[ACCOUNTS] += 1;
        }
        if !self.exhausted {
            self.waiting = (self.waiting + random.below(3) as u32).min(users);
        }
        while 0 < self.waiting
            && let Some(one) = self.unused[VOUCHERS].pop_front()
        {
            self.used.push(one);
            self.taken[VOUCHERS] += 1;
            self.waiting -= 1;
        }
        let waiting = [users - self.accounts.len() as u32, self.waiting];
        for set in [ACCOUNTS, VOUCHERS] {
            let unused = self.unused[set].len() as u32;
            core.handle_rows(set, RowsTold { waiting: waiting[set], unused, taken: self.taken[set] });
        }
    }

    /// A bug on purpose: accounts are given back when their users are told to end.
    pub(crate) fn give_back_early(&self, users: u32, core: &mut Runner) {
        core.handle_given_back(ACCOUNTS, &self.accounts.iter().copied().take(users as usize).collect());
    }
}

impl World {
    /// Nobody has what another has.
    pub(crate) fn check_rows(&mut self) -> Result<(), String> {
        let mut changed = false;
        for process in &mut self.processes {
            changed |= std::mem::take(&mut process.hands.changed);
        }
        let accounts = self.scenario.spec.data.first().map_or(0, |set| set.rows);
        let mut known = vec![false; accounts as usize];
        for process in self.processes.iter().filter(|process| changed && is_there(process)) {
            let hands = &process.hands;
            let lingering = hands.lingering.iter().map(|(_, account)| account);
            for row in hands.accounts.iter().chain(&hands.unused[ACCOUNTS]).chain(lingering) {
                if std::mem::replace(&mut known[*row as usize], true) {
                    return Err(format!("account {row} is with {} and with another process", process.id));
                }
            }
        }
        let forgets = 0.0 < self.scenario.faults.amnesia;
        for process in &mut self.processes {
            for row in process.hands.used.drain(..) {
                if !self.used.insert(row) && !forgets {
                    return Err(format!("voucher {row} was used twice, the last time by {}", process.id));
                }
            }
        }
        self.check_calm_rows()
    }

    /// On a good network no row is lost, and nobody waits for one that there is.
    fn check_calm_rows(&self) -> Result<(), String> {
        // A master that has forgotten all waits until whoever it has not heard must have stopped.
        let running = self.master.state() == RunState::Running && self.scenario.faults.amnesia == 0.0;
        if !running || !self.is_calm() {
            return Ok(());
        }
        let all: u32 = self.processes.iter().filter(|process| is_there(process)).map(Process::users).sum();
        if self.scenario.spec.data.first().is_none_or(|accounts| accounts.rows < all) {
            return Ok(());
        }
        for process in self.processes.iter().filter(|process| is_there(process)) {
            let (users, accounts) = (process.users(), process.hands.accounts.len() as u32);
            if accounts < users {
                return Err(format!(
                    "{} has {users} users with {accounts} accounts, although nothing has happened for long",
                    process.id
                ));
            }
        }
        Ok(())
    }

    /// Whoever is told that there is no voucher left is told so because all are used.
    pub(crate) fn check_used(&self) -> Result<(), String> {
        let faults = self.scenario.faults;
        // What a process had that ended, or was silent, nobody can tell. Where messages are lost one may be silent by chance.
        let all_there = (0..self.processes.len()).all(|process| self.is_known(process)) && !self.came_back;
        let known = faults.death + faults.cut_off + faults.amnesia == 0.0 && all_there;
        let told = self.processes.iter().any(|process| process.hands.exhausted);
        let used = self.used.len();
        if known && told && used < MANY as usize {
            return Err(format!("{used} of {MANY} vouchers were used, and users were told that all are"));
        }
        Ok(())
    }
}

fn is_there(process: &Process) -> bool {
    process.alive && process.ended.is_none()
}
