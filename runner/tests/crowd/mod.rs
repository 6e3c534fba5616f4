//! A runner process without an interpreter: users that start and end at once, each sending a request every so often.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use aiotest_core::message::ProcessId;
use aiotest_core::run::{ClassSpec, RunSpec};
use aiotest_core::runner::Action;
use aiotest_core::stats::{Outcome, Sample, Statistics};
use aiotest_runner::control::{Control, Hooks};
use aiotest_runner::master::Token;

/// How often a user sends.
const PERIOD: Duration = Duration::from_millis(10);

/// What everybody sees of a crowd.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) users: AtomicU32,
    /// Orders to start users, of however many each.
    pub(crate) orders: AtomicU32,
    pub(crate) sent: AtomicU64,
    pub(crate) refused: AtomicBool,
    /// The control thread has given up on these users.
    pub(crate) process_ended: AtomicBool,
    /// These users do not end when they are told to.
    pub(crate) stubborn: AtomicBool,
    pub(crate) exit_code: Mutex<Option<u8>>,
    statistics: Mutex<Statistics>,
    gone: AtomicBool,
    leaving: AtomicBool,
}

/// The users of one process.
pub(crate) struct Crowd {
    pub(crate) seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    pub(crate) fn join(
        who: ProcessId,
        spec: &RunSpec,
        classes: &[ClassSpec],
        master: &str,
        token: &Token,
    ) -> Self {
        let seen = Arc::new(Seen::default());
        let [statistics, sent, refused, ended] = [(); 4].map(|()| Arc::clone(&seen));
        let hooks = Hooks {
            settle: Box::new(|| ()),
            take_statistics: Box::new(move || statistics.statistics.lock().unwrap().take()),
            sent_total: Box::new(move || sent.sent.load(Ordering::Relaxed)),
            lease: Box::new(|_| ()),
            refuse: Box::new(move |refuse| refused.refused.store(refuse, Ordering::Relaxed)),
            abort_calls: Box::new(|| {}),
            exit_process: Box::new(|_| {}),
            end_process: Box::new(move || ended.process_ended.store(true, Ordering::Relaxed)),
        };
        let control = Control::start(who, spec, classes, master, token, hooks).unwrap();
        let live = Arc::clone(&seen);
        let thread = std::thread::spawn(move || live.run(&control));
        Self { seen, thread: Some(thread) }
    }

    /// Dies without a word. Returns the requests that it had sent.
    pub(crate) fn kill(mut self) -> u64 {
        self.seen.gone.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.seen.sent.load(Ordering::Relaxed)
    }

    /// Asks to leave the seat before the run's end.
    pub(crate) fn hand_over(&self) {
        self.seen.leaving.store(true, Ordering::Relaxed);
    }

    /// Waits until the run's end. Returns the exit code.
    pub(crate) fn finish(mut self) -> u8 {
        self.thread.take().unwrap().join().unwrap();
        self.seen.exit_code.lock().unwrap().expect("ended by the master")
    }
}

impl Seen {
    fn run(&self, control: &Control) {
        let mut live: Vec<u32> = Vec::new();
        while !self.gone.load(Ordering::Relaxed) {
            for action in control.seat().poll() {
                match action {
                    Action::Start { class, users } => {
                        live.resize(live.len().max(class + 1), 0);
                        live[class] += users;
                        self.orders.fetch_add(1, Ordering::Relaxed);
                    }
                    Action::Retire { class, users } => live[class] -= users,
                    Action::StopNow if self.stubborn.load(Ordering::Relaxed) => {}
                    Action::Drain { .. } | Action::StopNow => live.fill(0),
                    Action::End { exit_code } => {
                        *self.exit_code.lock().unwrap() = Some(exit_code);
                        return;
                    }
                    _ => continue,
                }
                live.iter().enumerate().for_each(|(class, live)| control.seat().users(class, *live, 0));
                self.users.store(live.iter().sum(), Ordering::Relaxed);
            }
            if self.leaving.swap(false, Ordering::Relaxed) {
                control.seat().hand_over();
            }
            self.send(live.iter().sum());
            std::thread::sleep(PERIOD);
        }
    }

    fn send(&self, users: u32) {
        let mut statistics = self.statistics.lock().unwrap();
        for _ in 0..users {
            self.sent.fetch_add(1, Ordering::Relaxed);
            statistics.record(&Sample {
                name: "/",
                method: "GET",
                latency: Duration::from_millis(3),
                phases: &[],
                status: Some(200),
                bytes_received: 10,
                outcome: Outcome::Success,
                sent: 1,
                retried: 0,
                truncated: false,
                late: None,
            });
        }
    }
}
