//! One reactor, two drivers. The thread of the event loop drives the reactor whenever its descriptor is readable; while
//! that thread is busy with the scenario's own code, a stand-in does, so that handshakes, redirects, uploads and long
//! bodies go on. (When a reply arrived the kernel tells, see `stamps`.) Neither the reactor nor the stand-in ever touches
//! the interpreter.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use aiotest_core::stats::Statistics;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::process::{Resource, getrlimit};

use super::turn::Turn;
use super::{CallId, Reactor};
use crate::ffi;

/// A pause of the stand-in after each of its drives, so that a burst is a few drives and not one per event.
const PAUSE: Duration = Duration::from_micros(100);
/// The most descriptors that room is made for at the start: half a megabyte of the kernel's memory.
const ROOM_FOR_DESCRIPTORS: u64 = 65_536;

/// The reactor of this process and its drivers.
pub struct Engine {
    reactor: Mutex<Reactor>,
    pub(super) descriptor: OwnedFd,
    made: Instant,
    /// When the loop's thread last began to drive, in nanoseconds since `made`.
    driven: AtomicU64,
    /// The clock of that thread's CPU time.
    clock: AtomicI32,
    /// Readable when the stand-in has left calls to be woken. Not among what the reactor watches: the stand-in, which
    /// waits for that, would find its own word there and nothing else.
    left: OwnedFd,
    /// Whether `left` is readable; changed under the reactor's lock.
    has_left: AtomicBool,
    /// The system's authorities have been read.
    tls_ready: AtomicBool,
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
        let reactor = Reactor::new(notify)?;
        let descriptor = reactor.descriptor()?;
        make_room_for_descriptors(&descriptor);
        Ok(Self {
            reactor: Mutex::new(reactor),
            descriptor,
            made: Instant::now(),
            driven: AtomicU64::new(0),
            clock: AtomicI32::new(ffi::cpu_clock()),
            left: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            has_left: AtomicBool::new(false),
            tls_ready: AtomicBool::new(false),
        })
    }

    /// The reactor, for one short operation.
    pub fn lock(&self) -> MutexGuard<'_, Reactor> {
        self.reactor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the system's authorities ready before a call needs them: to read them takes some 10 ms, and the reactor's lock
    /// is not held meanwhile. A failure is left to the call.
    pub fn prepare_tls(&self) {
        if !self.tls_ready.load(Ordering::Relaxed)
            && let Ok(common) = super::tls::configure()
        {
            self.lock().tls.get_or_insert(common);
            self.tls_ready.store(true, Ordering::Relaxed);
        }
    }

    /// What the event loop watches: one of them is readable when there is something to drive.
    pub fn watched(&self) -> [RawFd; 2] {
        [self.descriptor.as_raw_fd(), self.left.as_raw_fd()]
    }

    /// Does all that is due and appends the calls whose waiters are to be woken. Called by the loop's thread.
    pub fn drive(&self, ready: &mut Vec<CallId>) {
        self.driven.store(self.made.elapsed().as_nanos() as u64, Ordering::Relaxed);
        self.clock.store(ffi::cpu_clock(), Ordering::Relaxed);
        let mut reactor = self.lock();
        while reactor.drive(false) {}
        reactor.take_ready(ready);
        if self.has_left.swap(false, Ordering::Relaxed) {
            let _ = rustix::io::read(&self.left, &mut [0_u8; 8]);
        }
    }

    /// When the loop's thread last began to drive: another number than before means that it has come round.
    pub fn last_drive(&self) -> u64 {
        self.driven.load(Ordering::Relaxed)
    }

    /// Waits until it is known of each request that was cut off whether it arrived: a second at most, mostly not at all.
    /// Before the statistics are taken for the last time.
    pub fn settle(&self) {
        while !self.lock().settle(Instant::now()) {
            thread::sleep(PAUSE);
        }
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

    /// Drives in the place of the loop's thread while that is busy.
    fn stand_in(&self) {
        let mut turn = Turn::default();
        loop {
            let mut watched = [PollFd::from_borrowed_fd(self.descriptor.as_fd(), PollFlags::IN)];
            if poll(&mut watched, None).is_err() {
                continue;
            }
            let (now, driven) = (self.made.elapsed(), self.driven.load(Ordering::Relaxed));
            turn.look(now, || ffi::cpu_time(self.clock.load(Ordering::Relaxed)));
            if let Some(patience) = turn.patience(now, driven) {
                thread::sleep(patience);
                if self.driven.load(Ordering::Relaxed) != driven {
                    continue;
                }
                turn.take(driven);
            }
            self.drive_in_steps();
            thread::sleep(PAUSE);
        }
    }

    /// Event by event, so that nobody waits for the lock longer than for one system call.
    pub(super) fn drive_in_steps(&self) {
        loop {
            let mut reactor = self.lock();
            reactor.write_held();
            if reactor.drive(true) {
                continue;
            }
            if reactor.has_ready() && !self.has_left.swap(true, Ordering::Relaxed) {
                let _ = rustix::io::write(&self.left, &1_u64.to_ne_bytes());
            }
            return;
        }
    }
}

/// The kernel doubles a process' table of descriptors when it is full, and with several threads it waits for every core
/// meanwhile, 10 ms and more, which would fall into the calls that are under way. So it grows once, before there are any.
fn make_room_for_descriptors(any: &OwnedFd) {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let last = limit.min(ROOM_FOR_DESCRIPTORS).saturating_sub(1);
    // A duplicate at its end makes the table that large, and it never shrinks. Without it calls are still made.
    let _ = rustix::io::fcntl_dupfd_cloexec(any, last as RawFd);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_waits_for_the_table_of_descriptors_to_grow() {
        let _engine = Engine::new().unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        assert!(limit.min(ROOM_FOR_DESCRIPTORS) <= size.trim().parse().unwrap(), "{size}");
    }
}
