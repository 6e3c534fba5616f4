//! When the reactor must look at a call again. At most one entry per slot of the call table, and a little more while
//! deadlines move earlier: ten thousand calls a second with a limit of 300 s must not keep three million entries.
//! So an entry names a slot, not a call, and is checked against the slot's present call when it fires.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::CallId;

#[derive(Default)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    call: Option<CallId>,
    armed: Option<Instant>,
}

impl Deadlines {
    /// The call must be looked at no later than `at`.
    pub(super) fn arm(&mut self, call: CallId, at: Instant) {
        let index = call.index();
        if self.slots.len() <= index {
            self.slots.resize(index + 1, Slot::default());
        }
        let slot = &mut self.slots[index];
        slot.call = Some(call);
        if slot.armed.is_none_or(|armed| at < armed) {
            slot.armed = Some(at);
            self.heap.push(Reverse((at, index)));
        }
    }

    /// A call that must be looked at now. The caller arms it again if it is not over.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<CallId> {
        while let Some(&Reverse((at, index))) = self.heap.peek() {
            if now < at {
                return None;
            }
            self.heap.pop();
            let slot = &mut self.slots[index];
            // An entry that a nearer one replaced has nothing to say.
            if slot.armed == Some(at) {
                slot.armed = None;
                if slot.call.is_some() {
                    return slot.call;
                }
            }
        }
        None
    }

    /// When `pop_due` will next have something to look at.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}
