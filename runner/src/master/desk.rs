//! What the ports and the clock share: the state machine, and what became of its result. Everything that changes it
//! runs on the one master thread; Python only reads, for a moment. Start at [`Desk::with`].

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aiotest_core::master::Master as Core;
use aiotest_core::message::RunState;
use aiotest_core::report::Report;
use aiotest_core::tick::Tick;
use aiotest_core::wall::WallClock;
use tokio::sync::Notify;

use super::exporter::{Figures, Node, Source};
use crate::clock::Clock;

/// The state machine on its desk.
pub(super) struct Desk {
    core: Mutex<Core>,
    /// The clock of all ticks here.
    pub(super) clock: Clock,
    /// The time of day at the clock's zero.
    wall: WallClock,
    /// Something was handled: effects may wait to be polled, and the next timeout may be another.
    pub(super) changed: Notify,
    acknowledged: AtomicBool,
    late_scrapes: AtomicU32,
}

impl Desk {
    pub(super) fn new(core: Core, clock: Clock, wall: WallClock) -> Self {
        Self {
            core: Mutex::new(core),
            clock,
            wall,
            changed: Notify::new(),
            acknowledged: AtomicBool::new(false),
            late_scrapes: AtomicU32::new(0),
        }
    }

    /// Lets `visit` handle something at this moment.
    pub(super) fn with<T>(&self, visit: impl FnOnce(&mut Core, Tick) -> T) -> T {
        let outcome = visit(&mut self.core.lock().unwrap_or_else(PoisonError::into_inner), self.clock.now());
        self.changed.notify_one();
        outcome
    }

    /// Lets `poll` take an effect out, which gives nobody anything new to do.
    pub(super) fn poll<T>(&self, poll: impl FnOnce(&mut Core) -> T) -> T {
        poll(&mut self.core.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets `look` read something at this moment.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Core, Tick) -> T) -> T {
        look(&self.core.lock().unwrap_or_else(PoisonError::into_inner), self.clock.now())
    }

    /// The run's report, once it is over.
    pub(super) fn report(&self) -> Option<Report> {
        self.look(|core, _| core.report(self.wall))
    }

    /// Whether the run is over.
    pub(super) fn is_over(&self) -> bool {
        self.look(|core, _| core.state() == RunState::Ended)
    }

    /// The report is in its reader's hands.
    pub(super) fn acknowledge(&self) {
        self.acknowledged.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    pub(super) fn is_acknowledged(&self) -> bool {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// A scrape was answered; those after the end count.
    pub(super) fn count_scrape(&self) {
        if self.is_over() {
            self.late_scrapes.fetch_add(1, Ordering::Relaxed);
            self.changed.notify_one();
        }
    }

    /// Scrapes answered since the end.
    pub(super) fn late_scrapes(&self) -> u32 {
        self.late_scrapes.load(Ordering::Relaxed)
    }
}

impl Source for Arc<Desk> {
    fn look(&self, look: &mut dyn FnMut(&Figures<'_>)) {
        Desk::look(self, |core, now| {
            look(&Figures {
                statistics: core.statistics(),
                nodes: nodes(core),
                users_target: core.target(now),
                verdict: core.report(self.wall).map(|report| format!("{:?}", report.verdict.result)),
            });
        });
    }
}

/// One node per place: for a moment two incarnations may hold the same one, and no series may appear twice.
fn nodes(core: &Core) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for process in core.processes() {
        let name = format!("{}/{}", process.id.runner, process.id.process);
        let (users, cpu_percent) = (process.users, process.health.cpu_percent);
        match nodes.last_mut() {
            Some(last) if last.name == name => {
                last.users += users;
                last.cpu_percent += cpu_percent;
            }
            _ => nodes.push(Node { name, users, cpu_percent }),
        }
    }
    nodes
}
