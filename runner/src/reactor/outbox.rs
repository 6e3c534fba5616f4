//! Requests of one batch of users, held together for a moment and written one behind the other.
//!
//! A write that finds the server asleep pays for waking it, and a reply that comes at once makes a batch of one. So while
//! the loop resumes a batch, requests on open connections are held and go out together: at the end of the batch, or
//! after [`LONGEST`]. That the engine was busy is no time of the server's: a call's time begins with its write.
//! Never holds what has to be connected first. Start at [`Reactor::cork`].

use std::ops::Range;
use std::time::{Duration, Instant};

use super::{CallId, ConnectionId, Reactor, connection, http1};

/// How long a request may be held while the loop resumes others.
const LONGEST: Duration = Duration::from_micros(200);
/// When somebody else lets go of what is held, because the loop has not come to it: a user blocks it.
const ABANDONED: Duration = Duration::from_millis(1);

/// What is held.
#[derive(Default)]
pub(super) struct Outbox {
    corked: bool,
    since: Option<Instant>,
    held: Vec<Held>,
    bytes: Vec<u8>,
    /// Connections of HTTP/2 on which streams were opened.
    opened: Vec<ConnectionId>,
}

struct Held {
    call: CallId,
    connection: ConnectionId,
    bytes: Range<usize>,
    /// Bytes of the head.
    head: usize,
}

impl Reactor {
    /// From now on requests on open connections are held until `uncork`.
    pub fn cork(&mut self) {
        self.outbox.corked = true;
    }

    /// Writes what is held; what comes now is written at once.
    pub fn uncork(&mut self) {
        self.outbox.corked = false;
        self.write_held();
    }

    /// Writes a call's request to an open connection, or holds it.
    pub(super) fn submit(&mut self, id: CallId, connection_id: ConnectionId, cookies: &str, now: Instant) {
        let Some(call) = self.calls.get(id) else { return };
        let from = self.outbox.bytes.len();
        let http2 = self.connections.get(connection_id).is_some_and(|connection| connection.http2.is_some());
        if http2 {
            // The rest is made when the stream is opened.
            self.outbox.bytes.extend_from_slice(cookies.as_bytes());
        } else {
            http1::encode(&mut self.outbox.bytes, &call.method, &call.target, &call.request, cookies);
        }
        let bytes = from..self.outbox.bytes.len();
        let head = if http2 { 0 } else { bytes.len() - call.request.body.len() };
        self.outbox.held.push(Held { call: id, connection: connection_id, bytes, head });
        if !self.outbox.corked {
            return self.write_held();
        }
        match self.outbox.since {
            None => {
                self.outbox.since = Some(now);
                self.set_timer_for(now + ABANDONED);
            }
            Some(since) if now < since + LONGEST => {}
            Some(_) => self.write_held(),
        }
    }

    /// Writes what is held, one request behind the other. A call that is over or elsewhere by now is passed over. While
    /// nobody answers for the load all stay where they are: what ends it will cut their calls off.
    pub(super) fn write_held(&mut self) {
        if self.outbox.held.is_empty() || self.is_over(Instant::now()) {
            return;
        }
        let corked = self.outbox.corked;
        let mut outbox = std::mem::take(&mut self.outbox);
        for held in outbox.held.drain(..) {
            self.write_one(&held, &outbox.bytes);
        }
        outbox.bytes.clear();
        outbox.since = None;
        let mut opened = std::mem::take(&mut outbox.opened);
        // What a retry has put there meanwhile was written at once.
        opened.append(&mut self.outbox.opened);
        self.outbox = Outbox { corked, ..outbox };
        for connection in opened {
            self.pump(connection, Instant::now());
        }
    }

    fn write_one(&mut self, held: &Held, bytes: &[u8]) {
        let (Some(call), Some(connection)) =
            (self.calls.get_mut(held.call), self.connections.get_mut(held.connection))
        else {
            return;
        };
        if call.connection != Some(held.connection) || call.exchange.writing.is_some() || call.ended.is_some()
        {
            return;
        }
        let now = Instant::now();
        if call.is_first_attempt_on_open_connection() {
            // What was meant to start earlier did not: the delay counts there.
            call.request.late = call.request.late.map(|late| late + (now - call.started));
            call.started = now;
        }
        if connection.http2.is_some() {
            if self.outbox.opened.last() != Some(&held.connection) {
                self.outbox.opened.push(held.connection);
            }
            return self.open_stream(held.call, held.connection, &bytes[held.bytes.clone()], now);
        }
        call.exchange.writing = Some(now);
        let outcome = connection.submit(&bytes[held.bytes.clone()], held.head);
        if connection.head_is_out() {
            self.count_head(held.call);
        }
        match outcome {
            Ok(true) => self.all_is_out(held.call),
            Ok(false) => {}
            Err(errno) => self.fail(held.call, connection::socket_failure(errno), now),
        }
    }
}
