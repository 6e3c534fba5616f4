//! What the ports and the clock share: the state machine, its memory, and what became of its result. Everything that
//! changes it runs on the one master thread; Python only reads, for a moment. Start at [`Desk::with`].

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aiotest_core::master::{Decisions, Hooks, Master as Core};
use aiotest_core::message::{self, Assignment, Refusal, RunState};
use aiotest_core::report::Report;
use aiotest_core::run::{ClassSpec, InvalidRun, RunSpec};
use aiotest_core::tick::{Tick, micros_of};
use aiotest_core::wall::WallClock;
use tokio::sync::Notify;

use super::exporter::{Figures, Node, Source};
use super::memory::{Memory, Remembered};
use crate::clock::Clock;

/// The state machine on its desk.
pub(super) struct Desk {
    inner: Mutex<Inner>,
    /// Something was handled: effects may wait to be polled, and the next timeout may be another. Everybody who waits
    /// for it does so on the one thread, so nobody looks and then misses it.
    pub(super) changed: Notify,
    late_scrapes: AtomicU32,
}

struct Inner {
    core: Core,
    /// The clock of all ticks here.
    clock: Clock,
    /// The time of day at the clock's zero.
    wall: WallClock,
    acknowledged: bool,
    /// It goes on with a run that another life of this master began.
    restored: bool,
    /// Where the checkpoint goes, and what the last one said.
    memory: Option<(Memory, Option<(Decisions, bool)>)>,
}

impl Desk {
    /// A desk at which the run begins, or goes on where `memory` says that it was left. `wall` is the time of day in
    /// microseconds; it names this life of the run too, as no two masters of a run start within one microsecond.
    pub(super) fn new(
        spec: RunSpec,
        classes: Vec<ClassSpec>,
        hooks: Hooks,
        memory: Option<Memory>,
        wall: u64,
    ) -> Result<Self, InvalidRun> {
        let restored = memory.as_ref().and_then(|memory| restored(memory, &spec, &classes, wall));
        let mut inner = match restored {
            Some(inner) => inner,
            None => Inner {
                core: Core::new(spec, classes, wall)?,
                clock: Clock::start(),
                wall: WallClock { zero: wall },
                acknowledged: false,
                restored: false,
                memory: None,
            },
        };
        inner.core.expect_hooks(hooks);
        inner.memory = memory.map(|memory| (memory, None));
        inner.remember();
        Ok(Self { inner: Mutex::new(inner), changed: Notify::new(), late_scrapes: AtomicU32::new(0) })
    }

    /// Lets `visit` handle something at this moment. What it decided is remembered before anybody can hear of it.
    pub(super) fn with<T>(&self, visit: impl FnOnce(&mut Core, Tick) -> T) -> T {
        let mut inner = self.lock();
        let now = inner.clock.now();
        let outcome = visit(&mut inner.core, now);
        inner.remember();
        drop(inner);
        self.changed.notify_waiters();
        outcome
    }

    /// Takes a report in, and with it the time axis of a run that this master has forgotten.
    pub(super) fn report_in(&self, report: &message::Report) -> Result<Assignment, Refusal> {
        {
            let mut inner = self.lock();
            let now = inner.clock.now();
            if let Some(reads) = inner.core.clock_of(report).filter(|reads| now < *reads) {
                inner.clock = Clock::reading(reads);
                inner.wall.zero = inner.wall.zero.saturating_sub(micros_of(reads - now));
            }
        }
        self.with(|core, now| core.handle_report(now, report))
    }

    /// Lets `poll` take an effect out, which gives nobody anything new to do.
    pub(super) fn poll<T>(&self, poll: impl FnOnce(&mut Core) -> T) -> T {
        poll(&mut self.lock().core)
    }

    /// Lets `look` read something at this moment.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Core, Tick) -> T) -> T {
        let inner = self.lock();
        look(&inner.core, inner.clock.now())
    }

    /// Waits until the state machine has something to do of its own.
    pub(super) async fn due(&self) {
        let (clock, due) = {
            let inner = self.lock();
            (inner.clock, inner.core.poll_timeout())
        };
        clock.sleep_until(due).await;
    }

    /// The run's report, once it is over.
    pub(super) fn report(&self) -> Option<Report> {
        let inner = self.lock();
        inner.core.report(inner.wall)
    }

    /// Whether the run is over.
    pub(super) fn is_over(&self) -> bool {
        self.look(|core, _| core.state() == RunState::Ended)
    }

    /// Whether another life of this master began the run.
    pub(super) fn is_restored(&self) -> bool {
        self.lock().restored
    }

    /// The report is in its reader's hands.
    pub(super) fn acknowledge(&self) {
        let mut inner = self.lock();
        inner.acknowledged = true;
        inner.remember();
        drop(inner);
        self.changed.notify_waiters();
    }

    pub(super) fn is_acknowledged(&self) -> bool {
        self.lock().acknowledged
    }

    /// A scrape was answered; those after the end count.
    pub(super) fn count_scrape(&self) {
        if self.is_over() {
            self.late_scrapes.fetch_add(1, Ordering::Relaxed);
            self.changed.notify_waiters();
        }
    }

    /// Scrapes answered since the end.
    pub(super) fn late_scrapes(&self) -> u32 {
        self.late_scrapes.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Writes the checkpoint if there is anything new that a later life of this master has to know.
    fn remember(&mut self) {
        let Some((memory, known)) = &mut self.memory else { return };
        let new = (self.core.decisions(), self.acknowledged);
        if known.as_ref() != Some(&new) {
            let checkpoint = self.core.checkpoint(self.clock.now());
            memory.write(&Remembered { wall: self.wall, acknowledged: self.acknowledged, checkpoint });
            *known = Some(new);
        }
    }
}

/// What an earlier life of this master left, if it is of this run.
fn restored(memory: &Memory, spec: &RunSpec, classes: &[ClassSpec], wall: u64) -> Option<Inner> {
    let Remembered { wall: zero, acknowledged, checkpoint } = memory.read()?;
    // By the node's clock, but never back: runners ignore a master whose time runs backwards.
    let now = Tick::from_micros(wall.saturating_sub(zero.zero)).max(checkpoint.at());
    match Core::restore(spec.clone(), classes.to_vec(), checkpoint, now) {
        Ok(core) => {
            let clock = Clock::reading(now);
            Some(Inner { core, clock, wall: zero, acknowledged, restored: true, memory: None })
        }
        Err(unusable) => memory.useless(&unusable.to_string()),
    }
}

impl Source for Arc<Desk> {
    fn look(&self, look: &mut dyn FnMut(&Figures<'_>)) {
        let inner = self.lock();
        let (core, now) = (&inner.core, inner.clock.now());
        look(&Figures {
            statistics: &core.statistics(),
            nodes: nodes(core),
            users_target: core.target(now),
            verdict: core.report(inner.wall).map(|report| format!("{:?}", report.verdict.result)),
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
