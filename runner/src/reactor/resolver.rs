//! Name resolution off the loop: a few threads call the system's resolver, equal questions are asked once, answers are
//! kept for a while. Addresses that are written as such never get here.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::CallId;
use super::failure::{Failure, FailureKind};
use crate::ffi;

/// How long an answer holds. The system's resolver does not tell a name's own time to live.
const KEEP_ADDRESSES: Duration = Duration::from_secs(30);
/// How long a failure holds, so that ten thousand users do not ask ten thousand times at once.
const KEEP_FAILURE: Duration = Duration::from_secs(1);
const THREADS: usize = 4;
/// The most names that are known or asked for at a time: redirects may lead to ever new ones.
const MAX_NAMES: usize = 1024;

type Key = (String, u16);
type Outcome = Result<Arc<[SocketAddr]>, Failure>;

/// What is known of a name at the moment.
pub(super) enum Lookup {
    Known(Outcome),
    /// The call is remembered; `drain` names it when the answer is there.
    Pending,
}

enum Entry {
    Waiting(Vec<CallId>),
    Known { outcome: Outcome, until: Instant },
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
            return Lookup::Known(Ok(Arc::new([SocketAddr::new(address, port)])));
        }
        let key = (host.to_owned(), port);
        match self.entries.get_mut(&key) {
            Some(Entry::Known { outcome, until }) if now < *until => return Lookup::Known(outcome.clone()),
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

    /// Forgets answers: those that no longer hold, or else all. False if that leaves no room.
    fn make_room(&mut self, now: Instant) -> bool {
        self.entries.retain(|_, entry| !matches!(entry, Entry::Known { until, .. } if *until <= now));
        if MAX_NAMES <= self.entries.len() {
            self.entries.retain(|_, entry| matches!(entry, Entry::Waiting(_)));
        }
        self.entries.len() < MAX_NAMES
    }

    /// Answers that have come, with the calls that wait for them.
    pub(super) fn drain(&mut self, now: Instant) -> Vec<(CallId, Outcome)> {
        let answers = std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner));
        let mut resumed = Vec::new();
        for (key, outcome) in answers {
            let until = now + if outcome.is_ok() { KEEP_ADDRESSES } else { KEEP_FAILURE };
            let known = Entry::Known { outcome: outcome.clone(), until };
            if let Some(Entry::Waiting(calls)) = self.entries.insert(key, known) {
                resumed.extend(calls.into_iter().map(|call| (call, outcome.clone())));
            }
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
