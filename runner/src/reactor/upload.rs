//! What is said on a call's connection behind its request: a body that is streamed, or anything at all on a connection that
//! was upgraded. Start at [`Reactor::say`].

use std::time::Instant;

use super::connection::{self, Connection};
use super::failure::{Failure, FailureKind};
use super::{CallId, ConnectionId, Reactor};

/// Why nothing can be said any more.
#[derive(Debug, Clone)]
pub enum Unsaid {
    /// The call is over, or the connection closed.
    Closed,
    /// It has failed.
    Failed(Failure),
}

impl Reactor {
    /// Says `data`: a piece of a body, framed, or anything on an upgraded connection. What the socket does not take at
    /// once is kept: wait for `Wake::Drained` before anything is said, and before more is.
    pub fn say(&mut self, id: CallId, data: &[u8]) -> Result<(), Unsaid> {
        let Some(call) = self.calls.get_mut(id) else { return Err(Unsaid::Closed) };
        let open = call.upgraded.is_some() || (call.uploading && call.exchange.writing.is_some());
        let connection = call.connection.filter(|_| open);
        let Some(connection) = connection.and_then(|id| self.connections.get_mut(id)) else {
            return Err(call.failure.clone().map_or(Unsaid::Closed, Unsaid::Failed));
        };
        match connection.push(data) {
            Ok(all) => call.draining |= !all,
            // The server may have replied before it closed: the reading side will tell.
            Err(_) if call.uploading => return Err(Unsaid::Closed),
            Err(errno) => {
                let failure = connection::socket_failure(errno);
                self.fail(id, failure.clone(), Instant::now());
                return Err(Unsaid::Failed(failure));
            }
        }
        Ok(())
    }

    /// All of the body has been said.
    pub fn end_upload(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(id).filter(|call| call.uploading) else { return };
        call.uploading = false;
        let out = call.connection.and_then(|id| self.connections.get_mut(id)).map(Connection::flush);
        if matches!(out, Some(Ok(true))) {
            self.all_is_out(id);
        }
    }

    /// The rest of the body cannot be had: the call fails.
    pub fn fail_upload(&mut self, id: CallId, why: String) {
        if self.calls.get(id).is_some_and(|call| call.uploading) {
            self.fail(id, Failure::with(FailureKind::UploadFailed, why), Instant::now());
            self.ask_to_be_driven();
        }
    }

    /// The socket takes bytes again.
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
}
