//! Name resolution off the loop: a few threads call the system's resolver, equal questions are asked once, answers are
//! kept for a while. Each new connection begins with the next of a name's addresses. Addresses that are written as such
//! never get here.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::CallId;
use super::failure::{Failure, FailureKind};
use crate::ffi;

/// How long an answer holds. The system's resolver does not tell a name's own time to live, so this is shorter than most:
/// a Service whose pods change is followed.
const KEEP_ADDRESSES: Duration = Duration::from_secs(5);
/// How long a failure holds, so that ten thousand users do not ask ten thousand times at once.
const KEEP_FAILURE: Duration = Duration::from_secs(1);
const THREADS: usize = 4;
/// The most names that are known or asked for at a time: redirects may lead to ever new ones.
const MAX_NAMES: usize = 1024;

type Key = (String, u16);
type Outcome = Result<Arc<[SocketAddr]>, Failure>;

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
    questions: Option<Sender<Key>>,
    answers: Arc<Mutex<Vec<(Key, Outcome)>>>,
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
        for (key, outcome) in answers {
            let until = now + if outcome.is_ok() { KEEP_ADDRESSES } else { KEEP_FAILURE };
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            let mut turn = 0;
            if let Entry::Waiting(calls) = entry {
                resumed.extend(calls.drain(..).map(|call| (call, in_turn(&outcome, &mut turn))));
            }
            *entry = Entry::Known { outcome, until, turn };
        }
        resumed
    }

    fn questions(&mut self) -> &Sender<Key> {
        self.questions.get_or_insert_with(|| {
            let (sender, receiver) = mpsc::channel();
            let receiver = Arc::new(Mutex::new(receiver));
            for _ in 0..THREADS {
                let (receiver, answers) = (Arc::clone(&receiver), Arc::clone(&self.answers));
                let notify = Arc::clone(&self.notify);
                // A thread that cannot be started leaves fewer; with none the send fails, and says so.
                let _ = thread::Builder::new()
                    .name("aiotest-resolver".to_owned())
                    .spawn(move || answer_questions(&receiver, &answers, &notify));
            }
            sender
        })
    }
}

/// Each connection begins with another address, so that all of them are used alike; those of the other version of IP, of
/// which the system thinks less, come last.
fn in_turn(outcome: &Outcome, turn: &mut usize) -> InTurn {
    let addresses = outcome.clone()?;
    let preferred = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (mut first, last): (VecDeque<_>, VecDeque<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv4() == preferred);
    let places = first.len().max(1);
    first.rotate_left(*turn % places);
    *turn = turn.wrapping_add(1);
    first.extend(last);
    Ok(first)
}

fn answer_questions(
    questions: &Mutex<Receiver<Key>>,
    answers: &Mutex<Vec<(Key, Outcome)>>,
    notify: &OwnedFd,
) {
    loop {
        let question = questions.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(key) = question else { return };
        let outcome = resolve(&key.0, key.1);
        answers.lock().unwrap_or_else(PoisonError::into_inner).push((key, outcome));
        let _ = rustix::io::write(notify, &1_u64.to_ne_bytes());
    }
}

/// A name that does not exist is the target's; a resolver that does not say so is the generator's own fault.
fn resolve(host: &str, port: u16) -> Outcome {
    ffi::addresses(host, port).map(Arc::from).map_err(|error| {
        let kind = if error.no_such_name { FailureKind::NameNotFound } else { FailureKind::ResolverFailed };
        Failure::with(kind, format!("failed to resolve `{host}`: {}", error.text))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_address_has_its_turn_and_the_other_version_of_ip_comes_last() {
        let all: Vec<SocketAddr> = ["10.0.0.1:80", "10.0.0.2:80", "[::1]:80", "10.0.0.3:80"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        let outcome: Outcome = Ok(all.clone().into());
        let (mut turn, mut first) = (0, BTreeMap::<SocketAddr, u32>::new());
        for _ in 0..30 {
            let order = in_turn(&outcome, &mut turn).unwrap();
            assert_eq!((order.len(), order[3]), (4, all[2]));
            *first.entry(order[0]).or_default() += 1;
        }
        assert_eq!(first.into_values().collect::<Vec<_>>(), [10, 10, 10]);
        assert!(in_turn(&Err(FailureKind::NameNotFound.into()), &mut turn).is_err());
        assert!(in_turn(&Ok(Arc::new([])), &mut turn).unwrap().is_empty());
    }
}
