//! Watches whether the interpreter's loop turns, and finds out where it is when it does not.
//!
//! Nobody here attaches to the interpreter. The loop's thread is sent a signal, and the interpreter, between two of its
//! instructions, runs our handler in that very thread, which tells its stack. Code in C that does not come back has no
//! such place: after a while the thread is sent another signal, on which `faulthandler`, which is C and asks for no lock,
//! writes the stack to a pipe of ours. That one is the last resort, as a stack that is being changed while it is written
//! can end the process (`CPython` 3.12 and 3.13 do); one that has stood still for so long is not. A scenario that takes the
//! signals for itself has them: then blocks are still measured, but no line is named. Start at [`Watch::turned`] and
//! [`look_on`].

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aiotest_core::health::{Blocked, Usage};
use rustix::pipe::{PipeFlags, pipe_with};

use super::blocks::Blocks;
use super::stack;
use crate::ffi;

/// Between two looks at a loop.
const GLANCE: Duration = Duration::from_millis(25);
/// The same while its stack is awaited.
const AWAIT: Duration = Duration::from_millis(5);
/// A thread that has not told its stack for so long is in no code of the interpreter's.
const LAST_RESORT: Duration = Duration::from_secs(10);
/// From this time between two looks on it is the whole process that stood still.
const FROZEN: Duration = Duration::from_secs(1);
/// So much is read of one stack: a hundred frames with long names.
const MOST_BYTES: usize = 256 * 1024;

/// What is known of the loop, from both sides.
#[derive(Debug, Default)]
pub(super) struct Watch {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// `None`: nobody turns the loop, or has stopped to.
    blocks: Option<Blocks>,
    usage: Usage,
    sight: Option<Sight>,
    watched: Option<Watched>,
    looked: Option<Instant>,
}

/// The loop's thread, and what is known of its process.
#[derive(Clone, Debug)]
pub struct Watched {
    /// As the system numbers it.
    pub thread: i32,
    /// Between two turns of a loop that is not blocked, at most.
    pub period: Duration,
    /// The folders of the scenario's own files.
    pub folders: Vec<String>,
    /// Exit code of a process that is ended because its loop does not turn any more.
    pub exit_code: u8,
}

/// How stacks are seen.
#[derive(Debug)]
struct Sight {
    reader: OwnedFd,
    /// Held for the one who writes to it by its number.
    writer: OwnedFd,
    /// Has the interpreter tell where it is.
    ask: Option<Signal>,
    /// Has it written by `faulthandler`.
    last_resort: Option<Signal>,
    /// A stack that is being written.
    dump: Vec<u8>,
    awaited: bool,
}

/// The signal, and what handled it when it was handed to us.
#[derive(Clone, Copy, Debug)]
struct Signal {
    number: i32,
    handler: usize,
}

impl Watch {
    /// Where the loop's thread shall write its stack: a descriptor that is valid as long as this.
    pub(super) fn pipe(&self) -> io::Result<RawFd> {
        let mut state = self.lock();
        if state.sight.is_none() {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
            let (ask, last_resort, dump, awaited) = (None, None, Vec::new(), false);
            state.sight = Some(Sight { reader, writer, ask, last_resort, dump, awaited });
        }
        Ok(state.sight.as_ref().map_or(-1, |sight| sight.writer.as_raw_fd()))
    }

    /// The loop turns from now on. On the first of `signals` its thread tells its stack by [`Self::told`], on the second it
    /// writes it to the pipe: as long as they are handled as they are now.
    pub(super) fn begin(&self, watched: Watched, signals: Option<(i32, i32)>) {
        let mut state = self.lock();
        state.blocks = Some(Blocks::new(watched.period, Instant::now()));
        state.watched = Some(watched);
        if let Some(sight) = &mut state.sight {
            let known = |number| Some(Signal { number, handler: ffi::signal_handler(number)? });
            sight.ask = signals.and_then(|(ask, _)| known(ask));
            sight.last_resort = signals.and_then(|(_, last)| known(last));
        }
    }

    /// The loop's thread says where it is, in the words of `faulthandler`.
    pub(super) fn told(&self, stack: &str) {
        let mut state = self.lock();
        let State { blocks, usage, watched, .. } = &mut *state;
        let (Some(blocks), Some(watched)) = (blocks, watched) else { return };
        if let Some(place) = stack::place(stack, &watched.folders) {
            blocks.seen(Instant::now(), place, usage);
        }
    }

    /// The loop turns no more, and nobody is to be asked.
    pub(super) fn end(&self) {
        self.lock().blocks = None;
    }

    /// The loop has turned.
    pub(super) fn turned(&self) {
        let mut state = self.lock();
        let State { blocks, usage, .. } = &mut *state;
        if let Some(blocks) = blocks {
            blocks.turned(Instant::now(), usage);
        }
    }

    /// What was blocked until now is forgotten: the load begins.
    pub(super) fn reset(&self) {
        self.lock().usage = Usage::default();
    }

    /// Where the loop was blocked so far.
    pub(super) fn blocked(&self) -> Vec<Blocked> {
        self.lock().usage.blocked.clone()
    }

    /// The block that is on, once it has lasted for `limit`. None while nobody has looked either: then the whole process
    /// stood still, and the next look takes that into account.
    pub(super) fn stuck(&self, limit: Duration) -> Option<Blocked> {
        let (state, now) = (self.lock(), Instant::now());
        let unseen = state.looked.is_some_and(|looked| FROZEN < now.saturating_duration_since(looked));
        state.blocks.as_ref().filter(|_| !unseen)?.stuck(now, limit)
    }

    /// Who is watched, once that has begun.
    pub(super) fn watched(&self) -> Option<Watched> {
        self.lock().watched.clone()
    }

    /// One look. True: a stack is awaited.
    fn look(&self) -> bool {
        let mut state = self.lock();
        let State { blocks, usage, sight, watched, looked } = &mut *state;
        let now = Instant::now();
        let since = looked.replace(now).map_or(Duration::ZERO, |looked| now.duration_since(looked));
        let (Some(blocks), Some(sight), Some(watched)) = (blocks, sight, watched) else { return false };
        if FROZEN < since {
            blocks.stood_still(since);
        }
        if let Some(place) = sight.read().and_then(|dump| stack::place(&dump, &watched.folders)) {
            blocks.seen(now, place, usage);
        }
        if blocks.look(now) {
            sight.ask(watched.thread, LAST_RESORT <= blocks.silent(now));
        }
        sight.awaited
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sight {
    /// Asks for the stack. A signal that is still on its way is not doubled, as it is none of those that queue.
    fn ask(&mut self, thread: i32, last_resort: bool) {
        let Some(signal) = (if last_resort { self.last_resort } else { self.ask }) else { return };
        if ffi::signal_handler(signal.number) == Some(signal.handler) {
            self.awaited = ffi::signal_thread(thread, signal.number) && last_resort;
        }
    }

    /// A whole stack, once there is one: nothing more came for the time of a glance.
    fn read(&mut self) -> Option<String> {
        if !self.awaited {
            return None;
        }
        let (mut part, mut more) = ([0; 4096], false);
        while let Ok(length) = rustix::io::read(&self.reader, &mut part) {
            if length == 0 {
                break;
            }
            more = true;
            if self.dump.len() < MOST_BYTES {
                self.dump.extend_from_slice(&part[..length]);
            }
        }
        if more || self.dump.is_empty() {
            return None;
        }
        self.awaited = false;
        Some(String::from_utf8_lossy(&std::mem::take(&mut self.dump)).into_owned())
    }
}

/// Looks at the loop for ever.
pub(super) async fn look_on(watch: Arc<Watch>) {
    loop {
        let awaited = watch.look();
        tokio::time::sleep(if awaited { AWAIT } else { GLANCE }).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_stood_still_as_a_whole_is_not_stuck() {
        let (minute, limit) = (Duration::from_secs(60), Duration::from_secs(30));
        let long_ago = Instant::now().checked_sub(minute).unwrap();
        let watch = Watch::default();
        watch.lock().blocks = Some(Blocks::new(Duration::from_millis(50), long_ago));
        watch.lock().looked = Some(long_ago);
        assert_eq!(watch.stuck(limit), None);
        watch.lock().looked = Some(Instant::now());
        assert!(watch.stuck(limit).is_some(), "it was looked at all the while");
    }
}
