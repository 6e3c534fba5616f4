//! Whether a request has reached its server, where no reply says so: it was cut off, its time ran out, or the server
//! closed. *Sent* counts requests whose whole head the server's kernel has: from there on its application sees them,
//! and a body that is cut later makes them no less received. Through a proxy the first server is the proxy: a request
//! that it answers itself is sent, too. The `CONNECT` that opens a tunnel is no request, and in no count.
//!
//! The kernel knows how much of what was written has been acknowledged; but an acknowledgement may take 40 ms, and once
//! the socket is closed nobody can ask. So a connection whose request is in doubt lingers: no more is sent, the server
//! sees the end behind the request, and it is looked at until the answer is there. Nothing waits for it but the count.
//! On a kept connection an acknowledgement is not enough, as the server may be about to close it as idle: a server that
//! has read everything answers or closes; it resets where something lies unread. Start at [`Reactor::part_with`].

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown, recv, shutdown, sockopt};

use super::{CallId, ConnectionId, Reactor};
use crate::ffi::{TcpState, tcp_state};

/// Between looks at connections in doubt.
const LOOK: Duration = Duration::from_millis(10);
/// A server that has not acknowledged a request after this is never to get it: the connection is reset.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most connections in doubt at a time; of further ones an acknowledgement decides.
const MOST: usize = 1024;

/// How a call parts with its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// The server reset a kept connection: its application has not read the request, acknowledged or not.
    Unread,
    /// We cut the call off.
    Cut,
    /// The server said that it has not processed the request, and will not.
    Unprocessed,
    /// Anything else.
    Ended,
}

/// Connections in doubt, and when they are looked at next.
#[derive(Default)]
pub(super) struct Doubts {
    connections: Vec<Lingering>,
    look_at: Option<Instant>,
}

/// A connection that a call has let go of, with a request on it that may or may not arrive.
struct Lingering {
    socket: OwnedFd,
    /// The head has arrived once so many bytes are acknowledged.
    head_end: u64,
    /// In use before, and without TLS, whose own goodbye would look like a reply.
    kept: bool,
    until: Instant,
    name: Arc<str>,
    method: Arc<str>,
}

impl Doubts {
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.look_at
    }
}

/// Whether the server's kernel has the first `head_end` bytes; `None`: not yet known.
///
/// A server that has closed acknowledged with its close all that it had received before.
fn arrived(state: Option<TcpState>, head_end: u64) -> Option<bool> {
    match state {
        // A kernel that does not tell delivers what it was given, as far as anybody knows.
        None => Some(true),
        Some(state) if head_end <= state.acknowledged => Some(true),
        Some(state) if state.closed_by_peer => Some(false),
        Some(_) => None,
    }
}

/// Whether a request of a connection that is lost had arrived, as far as the kernel tells.
pub(super) fn has_arrived(socket: &OwnedFd, head_end: u64) -> bool {
    arrived(tcp_state(socket), head_end) != Some(false)
}

/// Whether a server has read the request on a kept connection; `None`: not yet known.
fn read(socket: &OwnedFd, head_end: u64) -> Option<bool> {
    match recv(socket, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        // It closed behind the request, or before it came.
        Ok((0, _)) => arrived(tcp_state(socket), head_end),
        Ok(_) => Some(true),
        Err(Errno::AGAIN | Errno::INTR) => None,
        Err(_) => Some(false),
    }
}

impl Lingering {
    fn arrived(&self) -> Option<bool> {
        if self.kept {
            read(&self.socket, self.head_end)
        } else {
            arrived(tcp_state(&self.socket), self.head_end)
        }
    }

    /// The same once nobody waits for more.
    fn arrived_after_all(&self) -> bool {
        arrived(tcp_state(&self.socket), self.head_end) == Some(true)
    }
}

impl Reactor {
    /// Closes the connection of a call that ends here, and counts its request as sent only if it has arrived.
    pub(super) fn part_with(&mut self, id: CallId, connection: ConnectionId, parting: Parting, now: Instant) {
        if self.leave_stream(id, connection, parting, now) {
            return;
        }
        let Some(connection) = self.take_out(connection) else { return };
        let Some(call) = self.calls.get_mut(id) else { return };
        if !call.exchange.counted || call.exchange.first_byte.is_some() {
            return;
        }
        let kept = parting == Parting::Cut
            && call.exchange.reused
            && connection.tls.is_none()
            && self.doubts.connections.len() < MOST;
        let arrived = match parting {
            Parting::Unread => Some(false),
            _ if kept => read(&connection.socket, connection.head_end),
            _ => arrived(tcp_state(&connection.socket), connection.head_end),
        };
        match arrived {
            Some(true) => {}
            Some(false) => {
                call.sent -= 1;
                self.count_sent(self.sent_total - 1);
            }
            None if call.request.unmeasured => call.sent -= 1,
            None => {
                call.sent -= 1;
                // It fails on a connection that is gone by now, which the next look finds out.
                let _ = shutdown(&connection.socket, Shutdown::Write);
                self.doubts.connections.push(Lingering {
                    socket: connection.socket,
                    head_end: connection.head_end,
                    kept,
                    until: now + PATIENCE,
                    name: Arc::clone(&call.name),
                    method: Arc::clone(&call.request.method),
                });
                self.doubts.look_at.get_or_insert(now + LOOK);
                self.set_timer();
            }
        }
    }

    /// Looks at the connections in doubt, if it is time.
    pub(super) fn look_at_doubts(&mut self, now: Instant) {
        if self.doubts.look_at.is_some_and(|at| at <= now) {
            self.settle(now);
        }
    }

    /// Looks at every connection in doubt and counts what has arrived; true when none is left.
    pub(crate) fn settle(&mut self, now: Instant) -> bool {
        let doubts = std::mem::take(&mut self.doubts.connections);
        for doubt in doubts {
            match doubt.arrived() {
                None if now < doubt.until => self.doubts.connections.push(doubt),
                arrived if arrived.unwrap_or_else(|| doubt.arrived_after_all()) => {
                    let row = self.statistics.row(&doubt.name, &doubt.method);
                    self.statistics.sent(row, 1);
                }
                _ => {
                    // Reset, so that what is still on its way is not received after all.
                    let _ = sockopt::set_socket_linger(&doubt.socket, Some(Duration::ZERO));
                    self.count_sent(self.sent_total - 1);
                }
            }
        }
        self.doubts.look_at = (!self.doubts.connections.is_empty()).then_some(now + LOOK);
        self.doubts.look_at.is_none()
    }
}
