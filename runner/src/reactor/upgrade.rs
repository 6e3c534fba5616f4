//! Connections that become something else than HTTP: the scenario asked for it, and the server answered with 101.
//!
//! From then on what comes is read as the call's body, to the connection's end, and what is said goes out behind its
//! request, by [`Reactor::say`]. The call is recorded when the scenario has accepted the reply, at the time when that came;
//! how long the connection lives after that, and what is said on it, is no call's. It is closed when the call is
//! released, with its session, and by the stop. Start at [`Reactor::accept_upgrade`].

use std::time::Instant;

use super::{CallId, Reactor, Record, Verdict};

impl Reactor {
    /// Records a call whose reply was 101 as a success; its connection goes on. `None` without such a reply.
    pub fn accept_upgrade(&mut self, id: CallId) -> Option<Record> {
        let call = self.calls.get_mut(id)?;
        call.upgraded?;
        call.left.get_or_insert(Verdict::Success);
        self.record(id);
        self.record_of(id).cloned()
    }

    /// Bytes that have come on an upgraded connection.
    pub fn heard(&self, id: CallId) -> u64 {
        self.calls.get(id).map_or(0, |call| call.received)
    }

    /// Closes an upgraded connection, if it is still open.
    pub fn hang_up(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(id).filter(|call| call.upgraded.is_some()) else { return };
        call.ended.get_or_insert_with(Instant::now);
        if let Some(connection) = call.connection.take() {
            self.close(connection);
        }
    }
}
