//! Hands items from a Rust thread to Python's loop: a queue, and one descriptor that is readable while the queue holds
//! anything, for `loop.add_reader`. Neither side ever waits for the other. Start at [`Outbox::push`].

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

/// A queue with a descriptor. Pushed by one thread, drained by another.
#[derive(Debug)]
pub struct Outbox<T> {
    items: Mutex<VecDeque<T>>,
    readable: OwnedFd,
}

impl<T> Outbox<T> {
    /// An empty one. Fails where the process is out of descriptors.
    pub fn new() -> io::Result<Self> {
        let readable = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { items: Mutex::default(), readable })
    }

    /// Adds `item` and makes the descriptor readable.
    pub fn push(&self, item: T) {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        items.push_back(item);
        if items.len() == 1 {
            // Cannot fail: the count is 0 or 1, far from where a write to an eventfd would block.
            let _ = rustix::io::write(&self.readable, &1_u64.to_ne_bytes());
        }
    }

    /// Takes everything, in order; the descriptor is not readable afterwards.
    pub fn drain(&self) -> VecDeque<T> {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        if !items.is_empty() {
            let _ = rustix::io::read(&self.readable, &mut [0; 8]);
        }
        std::mem::take(&mut *items)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.items.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The descriptor to watch for reading. Valid as long as `self`.
    pub fn fileno(&self) -> RawFd {
        self.readable.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn readable<T>(outbox: &Outbox<T>) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&outbox.readable, PollFlags::IN)], Some(&now)).unwrap() == 1
    }

    #[test]
    fn the_descriptor_is_readable_exactly_while_something_waits() {
        let outbox = Outbox::new().unwrap();
        assert!(!readable(&outbox));
        outbox.push('a');
        outbox.push('b');
        assert!(readable(&outbox));
        assert_eq!(outbox.drain(), ['a', 'b']);
        assert!(!readable(&outbox));
        assert!(outbox.drain().is_empty());
        outbox.push('c');
        assert!(readable(&outbox));
    }
}
