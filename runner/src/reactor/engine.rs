//! One reactor, two drivers. The thread of the event loop drives the reactor whenever its descriptor is readable; while
//! that thread is busy with the scenario's own code, a stand-in does, so that arrival times stay true and handshakes,
//! redirects and uploads go on. Neither the reactor nor the stand-in ever touches the interpreter.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use aiotest_core::stats::Statistics;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::{CallId, Reactor};

/// How long the loop's thread may leave something undone before the stand-in does it.
const PATIENCE: Duration = Duration::from_millis(1);

/// The reactor of this process and its drivers.
pub struct Engine {
    reactor: Mutex<Reactor>,
    pub(super) descriptor: OwnedFd,
    notify: Arc<OwnedFd>,
    /// Counts the drives of the loop's thread.
    drives: AtomicU64,
}

/// The engine of this process, made at first use.
///
/// # Panics
/// When the process has no open file left for it.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<&'static Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let engine: &'static Engine =
            Box::leak(Box::new(Engine::new().expect("open files for the HTTP engine")));
        // Without the stand-in calls are still made; only their times wait for the loop.
        let _ = thread::Builder::new().name("aiotest-stand-in".to_owned()).spawn(|| engine.stand_in());
        engine
    })
}

impl Engine {
    /// An engine without a stand-in.
    pub fn new() -> io::Result<Self> {
        let notify = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let reactor = Reactor::new(Arc::clone(&notify))?;
        let descriptor = reactor.descriptor()?;
        Ok(Self { reactor: Mutex::new(reactor), descriptor, notify, drives: AtomicU64::new(0) })
    }

    /// The reactor, for one short operation.
    pub fn lock(&self) -> MutexGuard<'_, Reactor> {
        self.reactor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the event loop watches: readable when there is something to drive.
    pub fn fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    /// Does all that is due and appends the calls whose waiters are to be woken. Called by the loop's thread.
    pub fn drive(&self, ready: &mut Vec<CallId>) {
        self.drives.fetch_add(1, Ordering::Relaxed);
        let mut reactor = self.lock();
        while reactor.drive(false) {}
        reactor.take_ready(ready);
    }

    /// How often the loop's thread has driven the reactor.
    pub fn drives(&self) -> u64 {
        self.drives.load(Ordering::Relaxed)
    }

    /// What was recorded since the last time it was taken.
    pub fn take_statistics(&self) -> Statistics {
        self.lock().take_statistics()
    }

    /// Requests on the wire so far, redirect hops and retries included.
    pub fn sent_total(&self) -> u64 {
        self.lock().sent_total()
    }

    /// Allows new calls for so long from now; see [`Reactor::lease_until`].
    pub fn lease(&self, left: Duration) {
        self.lock().lease_until(Instant::now() + left);
    }

    /// Refuses new calls, or allows them again.
    pub fn refuse(&self, refused: bool) {
        self.lock().refuse(refused);
    }

    fn stand_in(&self) {
        loop {
            let mut watched = [PollFd::from_borrowed_fd(self.descriptor.as_fd(), PollFlags::IN)];
            if poll(&mut watched, None).is_err() {
                continue;
            }
            let before = self.drives.load(Ordering::Relaxed);
            thread::sleep(PATIENCE);
            if self.drives.load(Ordering::Relaxed) == before {
                self.drive_in_steps();
            }
        }
    }

    /// Event by event, so that nobody waits for the lock longer than for one system call.
    pub(super) fn drive_in_steps(&self) {
        loop {
            let mut reactor = self.lock();
            reactor.write_held();
            let more = reactor.drive(true);
            let ready = reactor.has_ready();
            drop(reactor);
            if !more {
                if ready {
                    let _ = rustix::io::write(&*self.notify, &1_u64.to_ne_bytes());
                }
                return;
            }
        }
    }
}
