//! What is known of names: equal questions are asked once, answers are kept for as long as they hold. Each new connection
//! begins with the next of a name's addresses. Addresses that are written as such never get here.
//!
//! Never asks anybody itself; see [`super::dns`]. Start at [`Resolver::lookup`].

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use super::CallId;
use super::dns::{self, Answer, Key, Outcome};
use super::failure::{Failure, FailureKind};

/// The most names that are known or asked for at a time: redirects may lead to ever new ones.
const MAX_NAMES: usize = 1024;

/// A name's addresses in the order in which a connection tries them.
pub(super) type InTurn = Result<VecDeque<SocketAddr>, Failure>;

/// What is known of a name at the moment.
pub(super) enum Lookup {
    Known(InTurn),
    /// The call is remembered; `drain` names it when the answer is there.
    Pending,
}

enum Entry {
    Waiting(Vec<CallId>),
    Known { outcome: Outcome, until: Instant, turn: usize },
}

pub(super) struct Resolver {
    entries: HashMap<Key, Entry>,
    questions: Option<UnboundedSender<Key>>,
    answers: Arc<Mutex<Vec<Answer>>>,
    notify: Arc<OwnedFd>,
}

impl Resolver {
    /// A resolver that writes to the event descriptor `notify` when `drain` has something.
    pub(super) fn new(notify: Arc<OwnedFd>) -> Self {
        Self { entries: HashMap::new(), questions: None, answers: Arc::default(), notify }
    }

    pub(super) fn lookup(&mut self, call: CallId, host: &str, port: u16, now: Instant) -> Lookup {
        if let Ok(address) = host.parse() {
            return Lookup::Known(Ok(VecDeque::from([SocketAddr::new(address, port)])));
        }
        let key = (host.to_owned(), port);
        match self.entries.get_mut(&key) {
            Some(Entry::Known { outcome, until, turn }) if now < *until => {
                return Lookup::Known(in_turn(outcome, turn));
            }
            Some(Entry::Waiting(calls)) => {
                calls.push(call);
                return Lookup::Pending;
            }
            _ => {}
        }
        if MAX_NAMES <= self.entries.len() && !self.make_room(now) {
            let detail = "too many names are waited for at a time";
            return Lookup::Known(Err(Failure::with(FailureKind::ResolverFailed, detail)));
        }
        self.entries.insert(key.clone(), Entry::Waiting(vec![call]));
        if self.questions().send(key.clone()).is_err() {
            let failure = Failure::with(FailureKind::ResolverFailed, "no resolver thread runs");
            self.entries.remove(&key);
            return Lookup::Known(Err(failure));
        }
        Lookup::Pending
    }

    /// No connection was opened to the address whose turn it was: the next one begins with it. Otherwise a call that has
    /// to wait for its turn in a pool would take two of them, and the same addresses be passed over again and again.
    pub(super) fn give_back(&mut self, host: &str, port: u16) {
        if let Some(Entry::Known { turn, .. }) = self.entries.get_mut(&(host.to_owned(), port)) {
            *turn = turn.saturating_sub(1);
        }
    }

    /// Forgets answers: those that no longer hold, or else all. False if that leaves no room.
    fn make_room(&mut self, now: Instant) -> bool {
        self.entries.retain(|_, entry| !matches!(entry, Entry::Known { until, .. } if *until <= now));
        if MAX_NAMES <= self.entries.len() {
            self.entries.retain(|_, entry| matches!(entry, Entry::Waiting(_)));
        }
        self.entries.len() < MAX_NAMES
    }

    /// Answers that have come, with the calls that wait for them.
    pub(super) fn drain(&mut self, now: Instant) -> Vec<(CallId, InTurn)> {
        let answers = std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner));
        let mut resumed = Vec::new();
        for Answer { key, outcome, holds } in answers {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            let mut turn = 0;
            if let Entry::Waiting(calls) = entry {
                resumed.extend(calls.drain(..).map(|call| (call, in_turn(&outcome, &mut turn))));
            }
            *entry = Entry::Known { outcome, until: now + holds, turn };
        }
        resumed
    }

    fn questions(&mut self) -> &UnboundedSender<Key> {
        self.questions.get_or_insert_with(|| {
            let (answers, notify) = (Arc::clone(&self.answers), Arc::clone(&self.notify));
            dns::spawn(move |answer| {
                answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
                let _ = rustix::io::write(&notify, &1_u64.to_ne_bytes());
            })
        })
    }
}

/// Each connection begins with another address, so that all of them are used alike; those of IPv6 come last where there are
/// others.
fn in_turn(outcome: &Outcome, turn: &mut usize) -> InTurn {
    let addresses = outcome.clone()?;
    let preferred = addresses.iter().any(SocketAddr::is_ipv4);
    let (mut first, last): (VecDeque<_>, VecDeque<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv4() == preferred);
    let places = first.len().max(1);
    first.rotate_left(*turn % places);
    *turn = turn.wrapping_add(1);
    first.extend(last);
    Ok(first)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_address_has_its_turn_and_those_of_ipv6_come_last() {
        let all: Vec<SocketAddr> = ["[::1]:80", "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        let outcome: Outcome = Ok(all.clone().into());
        let (mut turn, mut first) = (0, BTreeMap::<SocketAddr, u32>::new());
        for _ in 0..30 {
            let order = in_turn(&outcome, &mut turn).unwrap();
            assert_eq!((order.len(), order[3]), (4, all[0]));
            *first.entry(order[0]).or_default() += 1;
        }
        assert_eq!(first.into_values().collect::<Vec<_>>(), [10, 10, 10]);
        assert!(in_turn(&Err(FailureKind::NameNotFound.into()), &mut turn).is_err());
        assert!(in_turn(&Ok(Arc::new([])), &mut turn).unwrap().is_empty());
    }
}
