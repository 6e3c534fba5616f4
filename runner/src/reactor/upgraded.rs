//! Connections that have become something else than HTTP: the scenario asked for it, and the server answered with 101.
//!
//! From then on what comes is read as the call's body, to the connection's end, and what is said goes out behind its
//! request. The call is recorded when the scenario has accepted the reply, at the time when that came; how long the connection
//! lives after that, and what is said on it, is no call's. It is closed when the call is released, with its session, and
//! by the stop. Start at [`Reactor::accept_upgrade`].

use std::time::Instant;

use super::failure::Failure;
use super::{CallId, ConnectionId, Reactor, Record, Verdict, connection};

impl Reactor {
    /// Records a call whose reply was 101 as a success; its connection goes on. `None` without such a reply.
    pub fn accept_upgrade(&mut self, id: CallId) -> Option<Record> {
        let call = self.calls.get_mut(id)?;
        call.upgraded?;
        call.left.get_or_insert(Verdict::Success);
        self.record(id);
        self.record_of(id).cloned()
    }

    /// Says `data` on an upgraded connection. What the socket does not take at once is kept: wait for `Wake::Drained`
    /// before more is said.
    pub fn say(&mut self, id: CallId, data: &[u8]) -> Result<(), Said> {
        let Some(call) = self.calls.get_mut(id) else { return Err(Said::Closed) };
        let connection = call.connection.filter(|_| call.upgraded.is_some());
        let Some(connection) = connection.and_then(|id| self.connections.get_mut(id)) else {
            return Err(call.failure.clone().map_or(Said::Closed, Said::Failed));
        };
        match connection.push(data) {
            Ok(all) => call.draining |= !all,
            Err(errno) => {
                let failure = connection::socket_failure(errno);
                self.fail(id, failure.clone(), Instant::now());
                return Err(Said::Failed(failure));
            }
        }
        Ok(())
    }

    /// Bytes that have come on it.
    pub fn heard(&self, id: CallId) -> u64 {
        self.calls.get(id).map_or(0, |call| call.received)
    }

    /// The socket of an upgraded connection takes bytes again.
    pub(super) fn drain(&mut self, id: CallId, connection: ConnectionId) {
        let Some(connection) = self.connections.get_mut(connection) else { return };
        // An error is left to the reading side, which ends the call.
        if self.calls.get(id).is_some_and(|call| call.draining) && matches!(connection.flush(), Ok(true)) {
            self.drained(id);
        }
    }

    /// Nothing more goes out, or everything has.
    pub(super) fn drained(&mut self, id: CallId) {
        if let Some(call) = self.calls.get_mut(id)
            && std::mem::take(&mut call.draining)
        {
            self.ready.push(id);
        }
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

/// Why nothing can be said any more.
#[derive(Debug, Clone)]
pub enum Said {
    /// The connection has been closed.
    Closed,
    /// It has failed.
    Failed(Failure),
}
