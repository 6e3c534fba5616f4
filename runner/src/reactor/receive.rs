//! The way in: what epoll reports, what the sockets hold, what that makes of a call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aiotest_core::stats::Phase;
use rustix::event::epoll;
use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
use slotmap::KeyData;

use super::call::ReplyState;
use super::failure::{Failure, FailureKind};
use super::http1::{self, Body, Framing, Reply};
use super::request::Target;
use super::response::Head;
use super::{CallId, ConnectionId, Reactor};

/// Marks of the descriptors that are no connections; a connection's own number is never 0 or 1, as a slot map's
/// versions start above that.
pub(super) const NOTIFY: u64 = 0;
pub(super) const TIMER: u64 = 1;
const BATCH: usize = 256;
/// How often a connection is read in a row before others and the deadlines have their turn: a server may well send faster
/// than anybody reads, for ever.
const READS_IN_A_ROW: u32 = 16;
/// The most interim replies (1xx) before a reply.
pub(super) const MAX_INTERIM: u32 = 32;
/// The most bytes of a body that are kept for a scenario which wants it whole. In pieces a body may be of any length.
pub const MAX_BODY: usize = 64 * 1024 * 1024;

impl Reactor {
    /// Does all that is due, or only one event of it, and appends the calls to be woken to `ready`.
    /// Returns whether there may be more.
    ///
    /// Sockets come before deadlines: a reply that has arrived before its deadline is never a timeout, however late
    /// the loop is.
    pub(crate) fn drive(&mut self, one: bool) -> bool {
        let mut storage = [const { std::mem::MaybeUninit::uninit() }; BATCH];
        let room = if one { 1 } else { BATCH };
        let now = Timespec::default();
        let Ok((events, _)) = epoll::wait(&self.epoll, &mut storage[..room], Some(&now)) else {
            return false;
        };
        let count = events.len();
        if 0 < count {
            self.clocks.look();
        }
        for event in events.iter() {
            self.handle_event(event.data.u64(), event.flags);
        }
        self.serve_waiting();
        if count == room {
            return true;
        }
        let now = Instant::now();
        self.expire(now);
        self.close_lapsed(now);
        self.look_at_doubts(now);
        self.serve_waiting();
        self.set_timer();
        false
    }

    /// Moves the calls to be woken to `ready`.
    pub(crate) fn take_ready(&mut self, ready: &mut Vec<CallId>) {
        ready.append(&mut self.ready);
    }

    /// Whether somebody is to be woken.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    fn handle_event(&mut self, mark: u64, flags: epoll::EventFlags) {
        use epoll::EventFlags;
        let mut counter = [0_u8; 8];
        match mark {
            NOTIFY => {
                let _ = rustix::io::read(&*self.notify, &mut counter);
                self.resume_resolved(Instant::now());
                for id in std::mem::take(&mut self.unfinished) {
                    self.read(id, true);
                }
            }
            TIMER => {
                let _ = rustix::io::read(&self.timer, &mut counter);
                self.timer_at = None;
            }
            mark => {
                let id = ConnectionId::from(KeyData::from_ffi(mark));
                let Some(connection) = self.connections.get_mut(id) else { return };
                if connection.connecting.is_some() {
                    return self.finish_handshake(id, flags);
                }
                if connection.tunnel.is_some() {
                    return self.advance_tunnel(id, flags);
                }
                if connection.securing.is_some() {
                    return self.advance_tls(id, flags);
                }
                if let Some(tls) = &mut connection.tls {
                    tls.notice(flags);
                }
                if flags.contains(EventFlags::OUT) {
                    self.flush(id);
                }
                let closing = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
                if closing || flags.contains(EventFlags::IN) {
                    self.read(id, closing);
                }
            }
        }
    }

    /// Reads a connection empty. `closing`: the server's close lies behind the bytes, so a short read isn't the end.
    pub(super) fn read(&mut self, id: ConnectionId, closing: bool) {
        let mut buffer = std::mem::take(&mut self.read_buffer);
        let mut reads = 0;
        while let Some(connection) = self.connections.get_mut(id) {
            if connection.call.and_then(|call| self.calls.get(call)).is_some_and(|call| call.paused)
                || connection.http2.as_ref().is_some_and(|http2| http2.stalled)
            {
                break;
            }
            if reads == READS_IN_A_ROW {
                self.unfinished.push(id);
                let _ = rustix::io::write(&*self.notify, &1_u64.to_ne_bytes());
                break;
            }
            reads += 1;
            // A short read of TLS's plain bytes says nothing about what the socket still holds; TLS itself knows that.
            let to_the_end = closing || connection.tls.is_some();
            match connection.read(&mut buffer) {
                Ok(None) => break,
                Ok(Some((0, _))) => {
                    self.on_close(id, Instant::now());
                    break;
                }
                Ok(Some((count, stamp))) => {
                    let arrived = stamp.and_then(|stamp| self.clocks.instant(stamp));
                    self.on_bytes(id, &buffer[..count], arrived.unwrap_or_else(Instant::now));
                    if count < buffer.len() && !to_the_end {
                        break;
                    }
                }
                Err(failure) => {
                    self.on_error(id, failure, Instant::now());
                    break;
                }
            }
        }
        self.read_buffer = buffer;
    }

    /// A paused body is read on, once there is room again.
    pub(super) fn read_on(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(id) else { return };
        if !call.paused || call.is_full() {
            return;
        }
        call.paused = false;
        if call.exchange.stream.is_some() {
            return self.resume_stream(id);
        }
        if let Some(connection) = call.connection {
            self.clocks.look();
            // What came while it was paused raised its edge then; the close may lie behind it.
            self.read(connection, true);
        }
    }

    fn on_bytes(&mut self, id: ConnectionId, bytes: &[u8], now: Instant) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Some(call_id) = connection.call else {
            if connection.http2.is_some() {
                return self.on_frames(id, bytes, now);
            }
            // Bytes that nobody asked for: the connection cannot be trusted to be in step.
            return self.close_idle(id);
        };
        let Some(call) = self.calls.get_mut(call_id) else { return };
        // No reply comes before its request, whatever the clocks say.
        let now = call.exchange.writing.map_or(now, |writing| now.max(writing));
        if call.exchange.first_byte.is_none() {
            call.exchange.first_byte = Some(now);
            if let Some(written) = call.exchange.written {
                call.phases.add(Phase::Wait, now - written);
            }
        }
        call.exchange.last_byte = Some(now);
        if call.exchange.reply.is_some() {
            return self.on_body(call_id, bytes, now);
        }
        if connection.input.is_empty() {
            if let Some(rest) = self.on_head(call_id, bytes, now) {
                match self.connections.get_mut(id) {
                    Some(connection) => connection.input.extend_from_slice(&bytes[rest..]),
                    None => debug_assert!(false, "a call whose head is incomplete keeps its connection"),
                }
            }
            return;
        }
        let mut input = std::mem::take(&mut connection.input);
        let known = input.len();
        input.extend_from_slice(bytes);
        if !http1::may_say_more(&input, known) {
            connection.input = input;
            return;
        }
        if let Some(rest) = self.on_head(call_id, &input, now)
            && let Some(connection) = self.connections.get_mut(id)
        {
            input.drain(..rest);
            connection.input = input;
        }
    }

    /// Parses heads (interim ones are skipped) and goes on with the body. `Some(n)`: the bytes from `n` on are an
    /// incomplete head.
    fn on_head(&mut self, id: CallId, bytes: &[u8], now: Instant) -> Option<usize> {
        let mut at = 0;
        loop {
            let call = self.calls.get_mut(id)?;
            let mut reply = match http1::parse_head(&bytes[at..], &call.method, &call.target) {
                Ok(Some(reply)) => reply,
                Ok(None) => return Some(at),
                Err(failure) => {
                    self.fail(id, failure, now);
                    return None;
                }
            };
            at += reply.length;
            match reply.head.status {
                101 if call.request.upgrade => {
                    call.upgraded = Some(now);
                    reply.framing = Framing::UntilClose;
                    reply.keep_alive = false;
                }
                101 => {
                    self.fail(id, FailureKind::ProtocolSwitched.into(), now);
                    return None;
                }
                100..200 if MAX_INTERIM <= call.exchange.interim => {
                    self.fail(id, FailureKind::TooManyInterim.into(), now);
                    return None;
                }
                100..200 => {
                    call.exchange.interim += 1;
                    if call.request.expects_continue {
                        // Which of them it is makes no difference: the server wants to hear more.
                        self.drained(id);
                    }
                    continue;
                }
                _ => {}
            }
            if self.on_reply(id, reply, now) {
                self.on_body(id, &bytes[at..], now);
            }
            return None;
        }
    }

    /// The head of a reply that is no interim one; false if the call has failed by it.
    pub(super) fn on_reply(&mut self, id: CallId, reply: Reply, now: Instant) -> bool {
        let head = Arc::new(reply.head);
        self.keep_cookies(id, &head);
        let next = match self.next_hop(id, &head) {
            Ok(next) => next,
            Err(failure) => {
                self.fail(id, failure, now);
                return false;
            }
        };
        let Some(call) = self.calls.get_mut(id) else { return false };
        if next.is_none() {
            call.head = Some(Arc::clone(&head));
        }
        let body = Body::new(reply.framing);
        call.exchange.reply = Some(ReplyState { head, body, keep_alive: reply.keep_alive, next });
        true
    }

    fn keep_cookies(&mut self, id: CallId, head: &Head) {
        let Some(session) = self.calls.get(id).and_then(|c| self.sessions.get_mut(c.request.session)) else {
            return;
        };
        for (name, value) in head.headers() {
            if name.eq_ignore_ascii_case(b"set-cookie")
                && let Ok(value) = std::str::from_utf8(value)
            {
                session.set_cookie(&head.target, value);
            }
        }
    }

    /// Where a reply redirects to, if this call follows it.
    fn next_hop(&self, id: CallId, head: &Head) -> Result<Option<Arc<Target>>, Failure> {
        let Some(call) = self.calls.get(id) else { return Ok(None) };
        if !matches!(head.status, 301 | 302 | 303 | 307 | 308) || call.request.redirects == 0 {
            return Ok(None);
        }
        let Some(location) = head.header("location") else { return Ok(None) };
        if call.request.redirects <= call.hops {
            let detail = format!("more than {}", call.request.redirects);
            return Err(Failure::with(FailureKind::TooManyRedirects, detail));
        }
        let location = String::from_utf8_lossy(location);
        match head.target.join(&location) {
            Ok(target) => Ok(Some(Arc::new(target))),
            Err(error) => Err(Failure::with(FailureKind::RedirectInvalid, error.to_string())),
        }
    }

    pub(super) fn on_body(&mut self, id: CallId, bytes: &[u8], now: Instant) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let Some(reply) = &mut call.exchange.reply else { return };
        let before = call.body.len();
        let used = match reply.body.feed(bytes, &mut call.body) {
            Ok(used) => used,
            Err(failure) => return self.fail(id, failure, now),
        };
        call.received += (call.body.len() - before) as u64;
        if reply.body.ended() {
            // Bytes behind the end: the next reply could not be told from them.
            reply.keep_alive &= used == bytes.len();
            return self.reply_ended(id, now);
        }
        if reply.next.is_some() {
            let long = call.request.read_ahead < call.body.len();
            call.body.clear();
            if long {
                reply.keep_alive = false;
                return self.reply_ended(id, now);
            }
        } else if call.left.is_some() && call.is_over_full() {
            return self.truncate(id, now);
        } else if MAX_BODY < call.body.len() {
            call.body = bytes::BytesMut::new();
            return self.fail(id, too_long_body(), now);
        }
        call_paused(call);
        self.wake(id);
        self.arm_if_read_limited(id);
    }

    fn arm_if_read_limited(&mut self, id: CallId) {
        if self.calls.get(id).is_some_and(|call| call.request.timeouts.sock_read.is_some()) {
            self.arm(id);
        }
    }

    fn on_close(&mut self, id: ConnectionId, now: Instant) {
        let Some(call_id) = self.connections.get(id).and_then(|connection| connection.call) else {
            return self.on_lost(id, FailureKind::ClosedBeforeReply.into(), now);
        };
        let Some(call) = self.calls.get_mut(call_id) else { return };
        match &mut call.exchange.reply {
            Some(reply) if reply.body.may_end_with_connection() => {
                reply.keep_alive = false;
                self.reply_ended(call_id, now);
            }
            Some(_) => self.fail(call_id, Failure::with(FailureKind::ClosedInReply, "in its body"), now),
            None => {
                // What came may be no head at all, which `may_say_more` left unsaid.
                let told = self.connections.get(id).map_or(Ok(None), |connection| {
                    http1::parse_head(&connection.input, &call.method, &call.target)
                });
                let failure = told.err().unwrap_or(FailureKind::ClosedBeforeReply.into());
                self.fail(call_id, failure, now);
            }
        }
    }

    fn on_error(&mut self, id: ConnectionId, failure: Failure, now: Instant) {
        match self.connections.get(id).and_then(|connection| connection.call) {
            Some(call) => self.fail(call, failure, now),
            None => self.on_lost(id, failure, now),
        }
    }

    /// A connection that is no single call's is over.
    fn on_lost(&mut self, id: ConnectionId, failure: Failure, now: Instant) {
        if self.connections.get(id).is_some_and(|connection| connection.http2.is_some()) {
            self.lose(id, failure, now);
        } else {
            self.close_idle(id);
        }
    }

    /// Programs the timer for the nearest deadline, if that is nearer than what it is set to.
    pub(super) fn set_timer(&mut self) {
        let nexts = [self.deadlines.next(), self.doubts.look_at(), self.next_lapse()];
        if let Some(next) = nexts.into_iter().flatten().min() {
            self.set_timer_for(next);
        }
    }

    /// Has the reactor driven at `next`, if nothing else does before.
    pub(super) fn set_timer_for(&mut self, next: Instant) {
        if self.timer_at.is_some_and(|at| at <= next) {
            return;
        }
        // A zero would disarm it.
        let left = next.saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
        let value = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let spec = Itimerspec { it_interval: Timespec::default(), it_value: value };
        if timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec).is_ok() {
            self.timer_at = Some(next);
        }
    }
}

fn call_paused(call: &mut super::call::Call) {
    call.paused = call.exchange.reply.as_ref().is_some_and(|reply| reply.next.is_none()) && call.is_full();
}

fn too_long_body() -> Failure {
    let detail = format!(
        "at most {} MiB are kept for one reply; read a longer one in pieces, by `content.iter_chunked`",
        MAX_BODY / (1024 * 1024)
    );
    Failure::with(FailureKind::BodyTooLong, detail)
}
