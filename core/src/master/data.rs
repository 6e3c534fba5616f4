//! The rows of data sets as a master hands them out: which process has which, and which are free.
//!
//! Never gives a row to two processes. One that was given comes back when its process says so, when its death is
//! proven, or when it has been silent for so long that its users must have ended. A process is offered rows in the
//! answer to its report; the next report tells whether it took them, and an offer that was not taken is void. Start at
//! [`Stock::take_in`] and [`Stock::answer`].

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Master;
use crate::data::{AtEnd, DataSpec, Policy, RowSet};
use crate::message::{
    ProcessId, ProcessState, Refusal, Report, RowsAnswer, RowsReport, RunState, SetAnswer, SetReport,
};
use crate::tick::Tick;

/// How long the users of a process that has stopped its load may take to end; then it is ended itself.
const USERS_END: Duration = Duration::from_secs(5);
/// So many rows are written down as given at once, where that has to be done before they are.
const BLOCK: u32 = 512;
/// From when on it is told that users wait for a row.
const LONG: Duration = Duration::from_secs(5);

/// The rows of all data sets of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Stock {
    pools: Vec<Pool>,
    #[serde(with = "pairs")]
    hands: BTreeMap<ProcessId, Hand>,
    /// Nothing is given until then: somebody who has not been heard may have any row.
    closed_until: Option<Tick>,
    /// What is free has to be found anew once everybody is known.
    #[serde(skip)]
    stale: bool,
}

/// The rows of one data set.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Pool {
    /// The run's, which every process reads for itself.
    #[serde(skip)]
    spec: DataSpec,
    /// How many times all rows have been handed out.
    pass: u64,
    /// No row from here on has been given in this pass.
    reached: u32,
    /// As `reached`, for a master that is restarted: never less, and known to it before the row is given.
    written: u32,
    /// Rows of this pass that ended with the process that had them.
    spent: RowSet,
    /// Somebody whose rows are not known has ended.
    doubt: bool,
    #[serde(skip)]
    free: RowSet,
    /// Since when users wait although every row is in use.
    #[serde(skip)]
    short_since: Option<Tick>,
    /// Users have waited for long.
    waited: bool,
}

/// What one process has.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Hand {
    /// Of its last report; an offer is of this turn.
    turn: u64,
    /// That turn has been answered: its offer is settled.
    #[serde(skip)]
    answered: bool,
    /// It has said what it has to this life of the master.
    #[serde(skip)]
    known: bool,
    /// It is silent: by then it has nothing any more.
    gone: Option<Tick>,
    /// By data set.
    sets: Vec<Holding>,
}

/// What one process has of one data set.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Holding {
    taken: RowSet,
    offered: RowSet,
    /// The pass that `offered` is of.
    offer_pass: u64,
    #[serde(skip)]
    waiting: u32,
    #[serde(skip)]
    unused: u32,
    #[serde(skip)]
    reserve: u32,
}

impl Pool {
    /// Whether somebody has heard of a later pass.
    fn is_behind(&self, pass: u64) -> bool {
        self.spec.policy == Policy::Sharded && self.pass < pass
    }
}

impl Holding {
    /// Takes in what is said of it, and returns the rows that it no longer has.
    fn take_in(&mut self, pass: u64, took: bool, said: &SetReport) -> RowSet {
        let mut back = RowSet::default();
        let offered = std::mem::take(&mut self.offered);
        match took {
            _ if self.offer_pass != pass => {}
            true => self.taken.add(&offered),
            false => back.add(&offered),
        }
        let mut given_back = self.taken.clone();
        if said.pass == pass {
            given_back.remove(&said.held);
        }
        self.taken.remove(&given_back);
        back.add(&given_back);
        back
    }

    /// What it has in a pass, or may have.
    fn all(&self, pass: u64) -> RowSet {
        let mut all = self.taken.clone();
        if self.offer_pass == pass {
            all.add(&self.offered);
        }
        all
    }

    /// Users that no row is on its way for.
    fn need(&self) -> u32 {
        self.waiting.saturating_sub(self.unused).saturating_sub(self.offered.len())
    }
}

impl Stock {
    pub(super) fn new(specs: &[DataSpec]) -> Self {
        let pool =
            |spec: &DataSpec| Pool { spec: spec.clone(), free: RowSet::all(spec.rows), ..Pool::default() };
        Self { pools: specs.iter().map(pool).collect(), ..Self::default() }
    }

    /// Refuses a process whose files are not the master's.
    pub(super) fn check(&self, report: Option<&RowsReport>) -> Result<(), Refusal> {
        let sets = report.map_or(&[][..], |report| &report.sets);
        for index in 0..self.pools.len().max(sets.len()) {
            let ours = self.pools.get(index).map(|pool| &pool.spec);
            let theirs = sets.get(index);
            let same = |(ours, theirs): (&DataSpec, &SetReport)| {
                (&ours.name, ours.rows, &ours.hash) == (&theirs.name, theirs.rows, &theirs.hash)
            };
            if !ours.zip(theirs).is_some_and(same) {
                let name = ours.map(|ours| &ours.name).or(theirs.map(|theirs| &theirs.name));
                let name: String = name.into_iter().flat_map(|name| name.chars().take(64)).collect();
                let ours = ours.map(|ours| (ours.rows, ours.hash.as_str()));
                let theirs = theirs.filter(|theirs| theirs.name == name);
                let theirs = theirs.map(|theirs| (theirs.rows, theirs.hash.as_str()));
                return Err(Refusal::Data { name, theirs: described(theirs), ours: described(ours) });
            }
        }
        Ok(())
    }

    /// Takes in what a process that is here says, once per turn.
    pub(super) fn take_in(&mut self, now: Tick, id: &ProcessId, report: &RowsReport) {
        // While nothing is given, whatever somebody says to have is its.
        let known = self.closed_until.is_none_or(|until| until <= now);
        let sets = vec![Holding::default(); self.pools.len()];
        let hand = self.hands.entry(id.clone()).or_insert(Hand { known, sets, ..Hand::default() });
        if hand.known && report.turn <= hand.turn {
            return;
        }
        let (known, took) = (hand.known, report.heard == hand.turn);
        (hand.turn, hand.answered, hand.known, hand.gone) = (report.turn, false, true, None);
        for (index, said) in report.sets.iter().enumerate().take(self.pools.len()) {
            if known {
                self.take_back(index, id, took, said);
            } else {
                self.believe(index, id, said);
            }
            if let Some(holding) = self.holding(id, index) {
                (holding.waiting, holding.unused, holding.reserve) =
                    (said.waiting, said.unused, said.reserve);
            }
        }
    }

    fn holding(&mut self, id: &ProcessId, index: usize) -> Option<&mut Holding> {
        self.hands.get_mut(id)?.sets.get_mut(index)
    }

    fn take_back(&mut self, index: usize, id: &ProcessId, took: bool, said: &SetReport) {
        let pass = self.pools[index].pass;
        if let Some(holding) = self.holding(id, index) {
            let back = holding.take_in(pass, took, said);
            self.release(index, id, back);
        }
    }

    /// What a process has that this life of the master has not heard before.
    fn believe(&mut self, index: usize, id: &ProcessId, said: &SetReport) {
        if self.pools[index].is_behind(said.pass) {
            self.begin_pass(index, said.pass);
        }
        let pool = &mut self.pools[index];
        let mut held = if said.pass == pool.pass { said.held.clone() } else { RowSet::default() };
        held.truncate(pool.spec.rows);
        pool.reached = pool.reached.max(held.end());
        if let Some(holding) = self.holding(id, index) {
            *holding = Holding { taken: held, ..Holding::default() };
        }
    }

    /// Rows of one process are nobody's any more, unless another has said to have them as well.
    fn release(&mut self, index: usize, id: &ProcessId, mut rows: RowSet) {
        if rows.is_empty() {
            return;
        }
        let pool = &mut self.pools[index];
        for (_, hand) in self.hands.iter().filter(|(other, _)| *other != id) {
            if let Some(holding) = hand.sets.get(index) {
                rows.remove(&holding.all(pool.pass));
            }
        }
        pool.free.add(&rows);
    }

    /// All rows are handed out once more. Whatever is left of the pass before is of no interest.
    fn begin_pass(&mut self, index: usize, pass: u64) {
        let pool = &mut self.pools[index];
        (pool.pass, pool.reached, pool.doubt) = (pass, 0, false);
        pool.spent = RowSet::default();
        pool.free = RowSet::all(pool.spec.rows);
        for holding in self.hands.values_mut().filter_map(|hand| hand.sets.get_mut(index)) {
            holding.taken = RowSet::default();
        }
    }

    /// Takes in that a process has ended, or that nothing is heard of it.
    pub(super) fn departed(&mut self, now: Tick, id: &ProcessId, proven: bool) {
        if proven {
            self.end(id);
        } else if let Some(hand) = self.hands.get_mut(id) {
            hand.gone.get_or_insert(now + USERS_END);
        }
    }

    /// A process has nothing any more.
    fn end(&mut self, id: &ProcessId) {
        let Some(hand) = self.hands.remove(id) else { return };
        for (index, holding) in hand.sets.into_iter().enumerate().take(self.pools.len()) {
            let pool = &mut self.pools[index];
            let rows = holding.all(pool.pass);
            match pool.spec.policy {
                Policy::Unique => self.release(index, id, rows),
                // Nobody knows which of them were used.
                Policy::Sharded => {
                    pool.spent.add(&rows);
                    pool.doubt |= !hand.known;
                }
                Policy::Shared => {}
            }
        }
    }

    /// The answer to the last report of a process; `may_give`: the load is on.
    pub(super) fn answer(&mut self, now: Tick, id: &ProcessId, may_give: bool) -> Option<RowsAnswer> {
        let over = |hand: &Hand| hand.gone.is_some_and(|gone| gone <= now);
        let ended: Vec<ProcessId> =
            self.hands.iter().filter(|(_, hand)| over(hand)).map(|(id, _)| id.clone()).collect();
        for id in &ended {
            self.end(id);
        }
        let open = self.is_open(now) && may_give;
        let hand = self.hands.get_mut(id)?;
        let (turn, settled) = (hand.turn, std::mem::replace(&mut hand.answered, true));
        for index in 0..self.pools.len() {
            if open && !settled {
                self.offer(index, id);
            }
        }
        let sets = (0..self.pools.len()).map(|index| self.set_answer(now, index, id, open)).collect();
        Some(RowsAnswer { turn, sets })
    }

    /// Whether it is known who has what.
    fn is_open(&mut self, now: Tick) -> bool {
        let closed = self.closed_until.is_some_and(|until| now < until);
        let open = !closed && self.hands.values().all(|hand| hand.known);
        if open && std::mem::take(&mut self.stale) {
            self.closed_until = None;
            for index in 0..self.pools.len() {
                self.find_free(index);
            }
        }
        open
    }

    fn find_free(&mut self, index: usize) {
        let pool = &mut self.pools[index];
        let mut given = RowSet::default();
        for holding in self.hands.values().filter_map(|hand| hand.sets.get(index)) {
            given.add(&holding.all(pool.pass));
        }
        if std::mem::take(&mut pool.doubt) && pool.spec.policy == Policy::Sharded {
            let mut lost = RowSet::all(pool.reached);
            lost.remove(&given);
            pool.spent.add(&lost);
        }
        pool.free = RowSet::all(pool.spec.rows);
        pool.free.remove(&given);
        pool.free.remove(&pool.spent);
    }

    /// Rows for users that wait, and some for those to come. Of what little is left nobody gets much beforehand, and of
    /// what others wait for nothing.
    fn offer(&mut self, index: usize, id: &ProcessId) {
        let Some(holding) = self.holding(id, index) else { return };
        let need = holding.need();
        let wanted = holding.waiting.saturating_add(holding.reserve).saturating_sub(holding.unused);
        if wanted == 0 {
            return;
        }
        let DataSpec { policy, at_end, .. } = self.pools[index].spec;
        if (policy, at_end) == (Policy::Sharded, AtEnd::Loop) && self.pools[index].free.is_empty() {
            self.begin_pass(index, self.pools[index].pass.saturating_add(1));
        }
        let here = self.hands.values().filter(|hand| hand.gone.is_none()).count().max(1) as u32;
        let needs = self.hands.values().filter_map(|hand| Some(hand.sets.get(index)?.need()));
        let all_need = needs.fold(0, u32::saturating_add);
        let pool = &mut self.pools[index];
        let spare = pool.free.len().saturating_sub(all_need) / here.saturating_mul(2);
        let rows = pool.free.first(need.saturating_add(wanted.saturating_sub(need).min(spare)));
        pool.free.remove(&rows);
        pool.reached = pool.reached.max(rows.end());
        if pool.written < pool.reached {
            pool.written = pool.reached.saturating_add(BLOCK).min(pool.spec.rows);
        }
        let pass = pool.pass;
        if let Some(holding) = self.holding(id, index) {
            (holding.offered, holding.offer_pass) = (rows, pass);
        }
    }

    fn set_answer(&mut self, now: Tick, index: usize, id: &ProcessId, open: bool) -> SetAnswer {
        let holdings = || self.hands.values().filter_map(move |hand| Some((hand, hand.sets.get(index)?)));
        let pool = &self.pools[index];
        let short = open && pool.free.is_empty() && holdings().any(|(_, holding)| 0 < holding.need());
        let all_used = short
            && holdings().all(|(hand, holding)| {
                hand.gone.is_none() && holding.unused == 0 && holding.offered.is_empty()
            });
        let own = self.hands.get(id).and_then(|hand| hand.sets.get(index)).cloned().unwrap_or_default();
        let exhausted = all_used && pool.spec.at_end == AtEnd::Stop && 0 < own.need();
        let pool = &mut self.pools[index];
        pool.short_since = if all_used { pool.short_since.or(Some(now)) } else { None };
        pool.waited |=
            pool.spec.at_end == AtEnd::Loop && pool.short_since.is_some_and(|since| LONG <= now.since(since));
        SetAnswer { pass: own.offer_pass, reached: pool.reached, offer: own.offered, short, exhausted }
    }

    /// What whoever watches should know.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> + '_ {
        self.pools.iter().filter(|pool| pool.waited).map(|pool| {
            let DataSpec { name, rows, .. } = &pool.spec;
            format!("users had to wait for a row of the data set `{name}`: all of its {rows} were in use")
        })
    }

    // === a master that begins again ===

    /// What a restarted master must know before a row is given.
    pub(super) fn decisions(&self) -> Vec<u32> {
        let once = |pool: &&Pool| pool.spec.policy == Policy::Sharded && pool.spec.at_end == AtEnd::Stop;
        self.pools.iter().filter(once).map(|pool| pool.written).collect()
    }

    /// Goes on from what was written. Nothing is given until every process that was there has said what it has, or
    /// has ended. False, and nothing is changed: it does not fit.
    pub(super) fn take_over(&mut self, other: Self, is_member: impl Fn(&ProcessId) -> bool) -> bool {
        let sets = self.pools.len();
        if other.pools.len() != sets || other.hands.values().any(|hand| hand.sets.len() != sets) {
            return false;
        }
        for (pool, before) in self.pools.iter_mut().zip(other.pools) {
            let reached = before.reached.max(before.written).min(pool.spec.rows);
            let spec = std::mem::take(&mut pool.spec);
            *pool = Pool { spec, reached, written: reached, ..before };
        }
        self.hands = other.hands.into_iter().filter(|(id, _)| is_member(id)).collect();
        (self.closed_until, self.stale) = (other.closed_until, true);
        true
    }

    /// Nothing is known of a run that is on: whoever may still have rows has `silence` to be heard, and its users
    /// their time to end.
    pub(super) fn forget(&mut self, silence: Tick) {
        self.hands.clear();
        (self.closed_until, self.stale) = (Some(silence + USERS_END), true);
        self.pools.iter_mut().for_each(|pool| pool.doubt = true);
    }

    /// Takes in what a process heard of the master before.
    pub(super) fn learn(&mut self, heard: &RowsAnswer) {
        for (index, heard) in heard.sets.iter().enumerate().take(self.pools.len()) {
            if self.pools[index].is_behind(heard.pass) {
                self.begin_pass(index, heard.pass);
                self.pools[index].doubt = true;
            }
            let pool = &mut self.pools[index];
            if pool.pass == heard.pass {
                pool.reached = pool.reached.max(heard.reached.min(pool.spec.rows));
            }
        }
    }
}

impl Master {
    /// Takes in what a report says of rows, and answers it.
    pub(super) fn serve_rows(&mut self, now: Tick, report: &Report) -> Option<Box<RowsAnswer>> {
        let rows = report.rows.as_ref()?;
        let member = self.members.get(&report.from).filter(|member| member.departed.is_none())?;
        if self.state == RunState::Ended {
            return None;
        }
        self.stock.take_in(now, &report.from, rows);
        if member.state == ProcessState::Left {
            // All its users have ended, and it takes no more.
            self.stock.departed(now, &report.from, true);
        }
        self.stock.answer(now, &report.from, self.state == RunState::Running).map(Box::new)
    }
}

fn described(set: Option<(u32, &str)>) -> String {
    match set {
        Some((rows, hash)) => format!("has {rows} rows ({})", hash.chars().take(16).collect::<String>()),
        None => "is not there".to_owned(),
    }
}

/// A map whose keys are no texts, as JSON: a list of pairs.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Hand, ProcessId};

    pub(super) fn serialize<S: Serializer>(
        hands: &BTreeMap<ProcessId, Hand>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(hands)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<ProcessId, Hand>, D::Error> {
        Vec::deserialize(deserializer).map(|pairs| pairs.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
