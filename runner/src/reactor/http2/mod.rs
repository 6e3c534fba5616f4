//! HTTP/2: many calls on one connection. The frames are the `h2` crate's, which is a state machine that waits for nothing:
//! it is polled after every read, every request and every byte that the scenario takes, and its bytes lie in memory
//! (`wire`). A call's part is its `stream`; which connection a call goes out on is decided in `share`.
//!
//! What several streams receive in one read has arrived when the last byte of that read did.
//!
//! Start at [`Reactor::pump`], which brings a connection as far as it can go.

mod share;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use rustix::io::Errno;

pub use share::Http2;
pub(super) use share::{Multiplexed, Rejoining};
pub(super) use stream::Stream;

use super::arrival::{Parting, has_arrived};
use super::connection::Connection;
use super::failure::{Failure, FailureKind};
use super::http1::{self, Framing};
use super::receive::MAX_INTERIM;
use super::{CallId, ConnectionId, Reactor};
use stream::{Progress, Woken};
use wire::{Marked, SharedWire};

use aiotest_core::stats::Phase;

/// What a server may send on one stream before the scenario has taken it, beyond `read_bufsize`.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Streams of ours on one connection at a time, whatever the server allows.
const MAX_STREAMS: usize = 256;
/// All streams' windows together: so none that nobody reads ever stalls another one.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS as u32;
/// Streams that we reset and whose last frames may still be on their way.
const MAX_RESET_STREAMS: usize = 1024;
/// How often a connection is polled in a row; it asks for another poll only where it has made progress.
const MAX_POLLS: usize = 1024;
const FRAME_HEAD: usize = 9;
const SETTINGS: u8 = 4;

/// The state of a connection that speaks HTTP/2.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own; no two make one state")]
pub(super) struct Session {
    requests: SendRequest<Bytes>,
    frames: client::Connection<SharedWire, Bytes>,
    wire: SharedWire,
    woken: Arc<Woken>,
    waker: Waker,
    /// The calls on it, with their streams' numbers; 0: the request is held for a moment, see `outbox`.
    calls: Vec<(CallId, u32)>,
    /// The head of the server's first frame, as far as it has come.
    first: Vec<u8>,
    /// Bytes received.
    received: usize,
    /// The server's settings are there, so that it is known how many streams it allows.
    settled: bool,
    /// No new stream: the server said goodbye, or the connection is out of order.
    ending: bool,
    /// `h2` reads on once the socket has taken what is to be sent.
    pub(super) stalled: bool,
    /// `pump` is at it.
    pumping: bool,
    /// Why the connection is lost.
    lost: Option<Failure>,
}

impl Session {
    fn new() -> Result<Self, Failure> {
        let wire = SharedWire::default();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let handshake = client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(http1::MAX_HEAD as u32)
            // Until the server has said how many it allows.
            .initial_max_send_streams(1)
            .max_concurrent_reset_streams(MAX_RESET_STREAMS)
            .handshake(wire.clone());
        let mut handshake = std::pin::pin!(handshake);
        match handshake.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(Ok((requests, frames))) => Ok(Self {
                requests,
                frames,
                wire,
                woken,
                waker,
                calls: Vec::new(),
                first: Vec::new(),
                received: 0,
                settled: false,
                ending: false,
                stalled: false,
                pumping: false,
                lost: None,
            }),
            // It only writes, to memory.
            _ => Err(Failure::with(FailureKind::Http2Unsendable, "the connection cannot be begun")),
        }
    }

    /// How many more streams may be opened.
    fn room(&self) -> usize {
        let most = if self.ending { 0 } else { self.requests.current_max_send_streams().min(MAX_STREAMS) };
        most.saturating_sub(self.calls.len())
    }

    /// Takes what has been received, unless it is no HTTP/2.
    fn receive(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let missing = FRAME_HEAD - self.first.len();
        if 0 < missing {
            self.first.extend_from_slice(&bytes[..missing.min(bytes.len())]);
            let spoken = match self.first[..] {
                [_, _, _, kind, flags, ..] => kind == SETTINGS && flags & 1 == 0,
                _ => !self.first.starts_with(b"HTTP"),
            };
            if !spoken {
                let detail = "the reply does not begin with SETTINGS";
                return Err(Failure::with(FailureKind::Http2NotSpoken, detail));
            }
        }
        self.received = self.received.saturating_add(bytes.len());
        self.wire.lock().input.extend_from_slice(bytes);
        Ok(())
    }

    /// Polls `h2` until it has nothing more to do; its outcome once it has ended.
    fn poll(&mut self) -> Option<Result<(), h2::Error>> {
        let mut context = Context::from_waker(&self.waker);
        for _ in 0..MAX_POLLS {
            if let Poll::Ready(outcome) = Pin::new(&mut self.frames).poll(&mut context) {
                return Some(outcome);
            }
            if !self.woken.take_connection() {
                break;
            }
        }
        self.ending |= matches!(self.requests.poll_ready(&mut context), Poll::Ready(Err(_)));
        self.stalled = !self.wire.lock().input.is_empty();
        if let [high, middle, low, ..] = self.first[..] {
            let length = u32::from_be_bytes([0, high, middle, low]) as usize;
            self.settled |= !self.stalled && FRAME_HEAD + length <= self.received;
        }
        None
    }

    fn call_of(&self, stream: u32) -> Option<CallId> {
        self.calls.iter().find(|(_, other)| *other == stream).map(|(call, _)| *call)
    }
}

impl Connection {
    /// Gives the socket what `h2` has written; true when nothing is left.
    fn flush_frames(&mut self) -> Result<bool, Errno> {
        let Some(http2) = &self.http2 else { return Ok(true) };
        let shared = http2.wire.clone();
        let mut wire = shared.lock();
        if let Some(tls) = &mut self.tls {
            // What is in TLS's hands counts as taken once all of it is out.
            loop {
                if !tls.flush(&self.socket, &mut self.written)? {
                    return Ok(false);
                }
                let taken = std::mem::take(&mut wire.in_tls);
                wire.advance(taken);
                if wire.output.is_empty() {
                    return Ok(true);
                }
                wire.in_tls = wire.output.len();
                tls.queue(&wire.output)?;
            }
        }
        while !wire.output.is_empty() {
            match self.write(&wire.output)? {
                0 => return Ok(false),
                count => wire.advance(count),
            }
        }
        Ok(true)
    }
}

impl Reactor {
    /// Opens the stream of a call that has its place on a connection; `pump` brings it to the socket.
    pub(super) fn open_stream(&mut self, id: CallId, on: ConnectionId, cookies: &[u8], now: Instant) {
        let (Some(call), Some(http2)) =
            (self.calls.get_mut(id), self.connections.get_mut(on).and_then(|c| c.http2.as_mut()))
        else {
            return;
        };
        call.exchange.writing = Some(now);
        match Stream::open(id, call, cookies, &mut http2.requests, &http2.woken) {
            Ok(stream) => {
                if let Some(entry) = http2.calls.iter_mut().find(|(other, _)| *other == id) {
                    entry.1 = stream.id;
                }
                call.exchange.stream = Some(Box::new(stream));
                self.look(id, now);
            }
            Err(failure) => {
                // The server's goodbye came before.
                call.exchange.writing = None;
                self.fail(id, failure, now);
            }
        }
    }

    /// What a connection has received.
    pub(super) fn on_frames(&mut self, on: ConnectionId, bytes: &[u8], now: Instant) {
        let Some(http2) = self.connections.get_mut(on).and_then(|c| c.http2.as_mut()) else { return };
        match http2.receive(bytes) {
            Ok(()) => self.pump(on, now),
            Err(failure) => self.lose(on, failure, now),
        }
    }

    /// Nothing more will be received.
    pub(super) fn lose(&mut self, on: ConnectionId, failure: Failure, now: Instant) {
        let Some(http2) = self.connections.get_mut(on).and_then(|c| c.http2.as_mut()) else { return };
        http2.lost = Some(failure);
        http2.wire.lock().closed = true;
        self.pump(on, now);
        self.end_connection(on, now);
    }

    /// Brings a connection as far as it can go: what was received to its calls, what is to be sent to the socket.
    pub(super) fn pump(&mut self, on: ConnectionId, now: Instant) {
        let Some(http2) = self.connections.get_mut(on).and_then(|c| c.http2.as_mut()) else { return };
        if std::mem::replace(&mut http2.pumping, true) {
            return;
        }
        let was_stalled = http2.stalled;
        for _ in 0..MAX_POLLS {
            let Some(connection) = self.connections.get_mut(on) else { return };
            let Some(http2) = connection.http2.as_mut() else { return };
            let ended = http2.poll();
            let woken = http2.woken.take();
            // An error is left to the reading side.
            let _ = connection.flush_frames();
            self.note_sent(on);
            for id in &woken {
                self.look(*id, now);
            }
            if let Some(outcome) = ended {
                if let Some(http2) = self.connections.get_mut(on).and_then(|c| c.http2.as_mut()) {
                    let error = outcome.err().filter(|error| !error.is_io());
                    http2.lost = http2.lost.take().or_else(|| error.map(|error| stream::failure(&error)));
                }
                return self.end_connection(on, now);
            }
            let Some(http2) = self.connections.get_mut(on).and_then(|c| c.http2.as_mut()) else { return };
            let drained = {
                let mut wire = http2.wire.lock();
                wire.output.is_empty() && std::mem::take(&mut wire.blocked)
            };
            if woken.is_empty() && !http2.woken.take_connection() && !drained {
                break;
            }
        }
        let Some(http2) = self.connections.get_mut(on).and_then(|c| c.http2.as_mut()) else { return };
        http2.pumping = false;
        if was_stalled && !http2.stalled {
            // What came meanwhile raised its edge then.
            self.unfinished.push(on);
            self.ask_to_be_driven();
        }
        self.look_at_settings(on);
    }

    /// Heads and ends of requests that the socket has taken.
    fn note_sent(&mut self, on: ConnectionId) {
        loop {
            let Some(connection) = self.connections.get(on) else { return };
            let Some(http2) = &connection.http2 else { return };
            let Some(mark) = http2.wire.lock().next_mark() else { return };
            let Some(id) = http2.call_of(mark.stream) else { continue };
            let out = if connection.tls.is_some() { connection.written } else { mark.at };
            match mark.what {
                Marked::Head => {
                    if let Some(stream) =
                        self.calls.get_mut(id).and_then(|call| call.exchange.stream.as_mut())
                    {
                        stream.head_end = out;
                    }
                    self.count_head(id);
                }
                Marked::End => self.mark_written(id),
            }
        }
    }

    /// Looks at a call's stream, in which there is something new.
    fn look(&mut self, id: CallId, now: Instant) {
        loop {
            let Some(call) = self.calls.get_mut(id) else { return };
            let Some(stream) = &mut call.exchange.stream else { return };
            let progress = stream.poll_head();
            if matches!(progress, Progress::Interim(_) | Progress::Head(_)) {
                let first = *call.exchange.first_byte.get_or_insert(now);
                if let Some(written) = call.exchange.written
                    && call.exchange.last_byte.is_none()
                {
                    call.phases.add(Phase::Wait, first.saturating_duration_since(written));
                }
                call.exchange.last_byte = Some(now);
            }
            match progress {
                Progress::Waiting => break,
                Progress::Interim(status) => {
                    call.exchange.interim += 1;
                    if status == 101 {
                        return self.fail(id, FailureKind::ProtocolSwitched.into(), now);
                    }
                    if MAX_INTERIM < call.exchange.interim {
                        return self.fail(id, FailureKind::TooManyInterim.into(), now);
                    }
                }
                Progress::Head(parts) => {
                    let reply = http1::Reply {
                        head: stream::head(&parts, call),
                        framing: Framing::UntilClose,
                        keep_alive: true,
                        length: 0,
                    };
                    if !self.on_reply(id, reply, now) {
                        return;
                    }
                    self.on_body(id, &[], now);
                    break;
                }
                Progress::Failed(failure) => return self.stream_failed(id, failure, now),
            }
        }
        if let Some(stream) = self.calls.get_mut(id).and_then(|call| call.exchange.stream.as_mut()) {
            stream.poll_body(now);
            self.deliver(id);
        }
    }

    /// Gives a call what has come of its body, as long as it takes it.
    fn deliver(&mut self, id: CallId) {
        loop {
            let Some(call) = self.calls.get_mut(id).filter(|call| !call.paused) else { return };
            let Some(stream) = &mut call.exchange.stream else { return };
            if let Some((piece, arrived)) = stream.pieces.pop_front() {
                stream.release(piece.len());
                call.exchange.last_byte = Some(arrived);
                self.on_body(id, &piece, arrived);
                continue;
            }
            match stream.ended.take() {
                None => return,
                Some((Ok(()), at)) => {
                    stream.ended = Some((Ok(()), at));
                    return self.reply_ended(id, at);
                }
                Some((Err(failure), at)) => return self.stream_failed(id, failure, at),
            }
        }
    }

    /// A call takes its body again.
    pub(super) fn resume_stream(&mut self, id: CallId) {
        let on = self.calls.get(id).and_then(|call| call.connection);
        self.deliver(id);
        if let Some(on) = on {
            self.pump(on, Instant::now());
        }
    }

    fn stream_failed(&mut self, id: CallId, failure: Failure, now: Instant) {
        let on = self.calls.get(id).and_then(|call| call.connection);
        let lost = on.and_then(|on| self.connections.get(on)?.http2.as_ref()?.lost.clone());
        let of_connection = failure.kind == FailureKind::ClosedBeforeReply;
        self.fail(id, if of_connection { lost.unwrap_or(failure) } else { failure }, now);
    }

    /// A connection is over: so are the calls on it, but for those whose replies have come whole and wait for the scenario.
    fn end_connection(&mut self, on: ConnectionId, now: Instant) {
        let Some(http2) = self.connections.get_mut(on).and_then(|c| c.http2.as_mut()) else { return };
        http2.ending = true;
        http2.pumping = true;
        let lost = http2.lost.get_or_insert_with(|| FailureKind::ClosedBeforeReply.into()).clone();
        for (id, _) in http2.calls.clone() {
            self.look(id, now);
            let Some(call) = self.calls.get(id).filter(|call| call.connection == Some(on)) else { continue };
            let stream = call.exchange.stream.as_ref();
            if !stream.is_some_and(|stream| matches!(stream.ended, Some((Ok(()), _)))) {
                self.fail(id, lost.clone(), now);
            }
        }
        self.close_idle(on);
    }

    /// A call lets go of its connection, if that is one of many calls: its stream is reset unless it has ended. False: it
    /// has the connection for itself.
    pub(super) fn leave_stream(
        &mut self,
        id: CallId,
        on: ConnectionId,
        parting: Parting,
        now: Instant,
    ) -> bool {
        let Some(connection) = self.connections.get_mut(on) else { return false };
        let Some(http2) = connection.http2.as_mut() else { return false };
        if let Some(place) = http2.calls.iter().position(|(call, _)| *call == id) {
            http2.calls.swap_remove(place);
        }
        let lost = http2.lost.is_some();
        let on_its_way = |stream: u32| http2.wire.lock().marks.iter().any(|mark| mark.stream == stream);
        if let Some(call) = self.calls.get_mut(id)
            && let Some(stream) = call.exchange.stream.take()
        {
            let counted = call.exchange.counted;
            let unread = parting == Parting::Unprocessed
                || (lost
                    && call.exchange.first_byte.is_none()
                    && !has_arrived(&connection.socket, stream.head_end));
            let is_coming = !lost && !counted && on_its_way(stream.id);
            drop(stream);
            if counted && unread {
                call.sent -= 1;
                self.count_sent(self.sent_total - 1);
            } else if is_coming {
                self.count_head(id);
            }
        }
        self.pump(on, now);
        self.rest(on, now);
        true
    }
}
