//! How calls end: the end of a reply, redirects, failures, deadlines, the scenario's leave, and the one record.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aiotest_core::stats::{Outcome, Phase, Sample};
use bytes::Bytes;

use super::arrival::Parting;
use super::failure::{Failure, FailureKind};
use super::request::Target;
use super::route::Route;
use super::{Abort, CallId, Leave, Reactor, Record, Verdict, session};

impl Reactor {
    /// The last byte of a reply is there: the connection is free, and the call goes on to its next hop or ends.
    pub(super) fn reply_ended(&mut self, id: CallId, now: Instant) {
        let Some(call) = self.calls.get_mut(id) else { return };
        if let Some(first) = call.exchange.first_byte {
            call.phases.add(Phase::Receive, now - first);
        }
        let Some(reply) = call.exchange.reply.take() else { return };
        // A reply before the end of the request leaves the connection out of step.
        let reusable = reply.keep_alive && call.exchange.written.is_some();
        if let Some(connection) = call.connection.take()
            && !self.leave_stream(id, connection, Parting::Ended, now)
        {
            if reusable {
                self.park(connection, now);
            } else {
                self.close(connection);
            }
        }
        match reply.next {
            Some(target) => self.follow(id, &reply.head, target, now),
            None => self.end(id, now),
        }
    }

    fn follow(&mut self, id: CallId, head: &Arc<super::response::Head>, target: Arc<Target>, now: Instant) {
        let Some(call) = self.calls.get_mut(id) else { return };
        if call.request.upload && matches!(head.status, 307 | 308) {
            let failure = Failure::with(FailureKind::UploadFailed, "a streamed body cannot be sent again");
            return self.fail(id, failure, now);
        }
        call.request.upload = false;
        call.uploading = false;
        call.history.push(Arc::clone(head));
        call.hops += 1;
        call.body.clear();
        // As browsers and aiohttp do: 303 always becomes GET, 301 and 302 only where it was POST.
        let to_get = match head.status {
            303 => &*call.method != "HEAD",
            301 | 302 => &*call.method == "POST",
            _ => false,
        };
        let mut dropped: Vec<&str> = Vec::new();
        if to_get {
            call.method = Arc::from("GET");
            call.request.body = Bytes::new();
            dropped.extend(["content-length", "content-type", "content-encoding", "transfer-encoding"]);
        }
        let elsewhere = !session::same(&call.target.authority, &target.authority);
        if elsewhere {
            dropped.extend(["authorization", "cookie", "host"]);
            call.request.cookies = None;
        }
        if !dropped.is_empty() {
            call.request.headers = Arc::new(call.request.headers.without(&dropped));
        }
        let login = Route::login(call.request.route.as_deref().filter(|_| elsewhere), &target);
        if let Some(login) = login {
            let mut headers = call.request.headers.without(&["authorization"]);
            // What cannot be a header's value was never a user's name.
            let _ = headers.push("Authorization", login.as_bytes());
            call.request.headers = Arc::new(headers);
        }
        call.target = target;
        self.dispatch(id, false, now);
        self.arm(id);
    }

    /// A call ends without a whole reply, or is tried once more.
    pub(super) fn fail(&mut self, id: CallId, mut failure: Failure, now: Instant) {
        let Some(call) = self.calls.get_mut(id).filter(|call| call.ended.is_none()) else { return };
        if call.exchange.first_byte.is_some() {
            failure.kind = failure.kind.in_reply();
        }
        let connection = call.connection.take();
        let lost = failure.kind.is_lost_before_reply();
        let unprocessed = failure.kind.is_unprocessed();
        let unwritten = (lost || unprocessed) && call.aborted.is_none() && call.is_unwritten();
        let retry = call.may_retry(&failure);
        // A server that has read everything closes; it resets where something lies unread, which on a kept connection
        // is the request that it had not waited for, acknowledged or not. (It may have read the head and nothing of
        // the body: nobody outside can tell, and that is the rarer of the two.)
        let unread = (call.exchange.reused && failure.kind == FailureKind::ResetBeforeReply)
            || failure.kind.is_refusal_of_tls();
        let parting = match (unread, unprocessed) {
            (true, _) => Parting::Unread,
            (_, true) => Parting::Unprocessed,
            _ => Parting::Ended,
        };
        if let Some(connection) = connection {
            self.fail_waiting(connection, &failure);
            self.part_with(id, connection, parting, now);
        }
        let Some(call) = self.calls.get_mut(id) else { return };
        if unwritten || retry {
            call.retried += u32::from(!unwritten);
            // What was idle beside it may be as stale.
            self.dispatch(id, true, now);
            return self.arm(id);
        }
        call.failure = Some(failure);
        self.end(id, now);
    }

    /// No more of the call will come.
    fn end(&mut self, id: CallId, now: Instant) {
        if self.calls.get(id).is_some_and(|call| call.queued.is_some()) {
            self.unqueue(id, now);
        }
        let Some(call) = self.calls.get_mut(id) else { return };
        call.ended = Some(now);
        call.paused = false;
        // A call that failed before its reply cannot enter the block; nobody will leave it.
        if call.left.is_some() || call.head.is_none() {
            self.record(id);
        }
        self.drained(id);
        self.wake(id);
    }

    /// The scenario is done with the call. `Some`: it is recorded.
    pub fn leave(&mut self, id: CallId, leave: Leave) -> Option<Record> {
        let call = self.calls.get_mut(id)?;
        if call.record.is_some() || call.left.is_some() {
            return call.record.clone();
        }
        let (verdict, waits) = match leave {
            Leave::Block(verdict) => (verdict, true),
            Leave::Await(verdict) => (verdict, false),
        };
        call.left = Some(verdict);
        if call.ended.is_some() {
            self.record(id);
        } else if !waits || call.streamed || call.paused {
            self.truncate(id, Instant::now());
            self.have_waiting_served();
        } else {
            return None;
        }
        self.record_of(id).cloned()
    }

    /// The rest of the body is not wanted: the connection is closed, and the call ends here.
    pub(super) fn truncate(&mut self, id: CallId, now: Instant) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.truncated = true;
        if let Some(connection) = call.connection.take()
            && !self.leave_stream(id, connection, Parting::Cut, now)
        {
            self.close(connection);
        }
        self.end(id, now);
    }

    /// Cuts a call off and records it, unless that has happened. Wakes nobody.
    pub fn abort(&mut self, id: CallId, by: Abort) {
        let now = Instant::now();
        let Some(call) = self.calls.get_mut(id) else { return };
        call.wake = None;
        if call.record.is_some() {
            return;
        }
        call.aborted = Some(by);
        call.left.get_or_insert(Verdict::ByStatus);
        if call.ended.is_some() {
            return self.record(id);
        }
        call.truncated = call.head.is_some();
        if let Some(connection) = call.connection.take() {
            self.part_with(id, connection, Parting::Cut, now);
            self.have_waiting_served();
        }
        self.end(id, now);
    }

    /// Cuts every open call off as by the stop, and records it.
    pub fn abort_all(&mut self) {
        let open: Vec<CallId> = self.calls.keys().collect();
        for id in open {
            self.abort(id, Abort::Stopped);
            self.hang_up(id);
        }
    }

    /// Nobody will ask for this call again. It is forgotten once it is recorded.
    pub fn release(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.wake = None;
        if call.record.is_some() {
            self.hang_up(id);
            self.forget(id);
        } else {
            call.released = true;
            if call.left.is_none() {
                self.leave(id, Leave::Await(Verdict::ByStatus));
            }
        }
    }

    fn forget(&mut self, id: CallId) {
        if let Some(call) = self.calls.remove(id)
            && let Some(session) = self.sessions.get_mut(call.request.session)
        {
            session.calls.swap_remove(call.place);
            if let Some(moved) = session.calls.get(call.place).and_then(|moved| self.calls.get_mut(*moved)) {
                moved.place = call.place;
            }
        }
    }

    /// Puts a call into the statistics, once.
    pub(super) fn record(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(id).filter(|call| call.record.is_none()) else { return };
        let error = call.error();
        let latency = call.upgraded.or(call.ended).unwrap_or(call.started) - call.started;
        let own_fault = call.failure.as_ref().is_some_and(|failure| failure.kind.is_generators());
        let outcome = match &error {
            _ if call.aborted == Some(Abort::Stopped) => Outcome::Aborted,
            None => Outcome::Success,
            Some(text) if own_fault => Outcome::GeneratorFault(text),
            Some(text) => Outcome::Failure(text),
        };
        let sample = Sample {
            name: &call.name,
            method: &call.request.method,
            latency,
            phases: call.phases.as_slice(),
            status: call.head.as_ref().map(|head| head.status),
            bytes_received: call.received,
            outcome,
            sent: call.sent,
            retried: call.retried,
            truncated: call.truncated,
            late: call.request.late,
        };
        if !call.request.unmeasured {
            self.statistics.record(&sample);
        }
        call.record = Some(Record {
            name: Arc::clone(&call.name),
            method: Arc::clone(&call.request.method),
            latency,
            bytes: call.received,
            error,
            unmeasured: call.request.unmeasured,
        });
        if call.released {
            self.forget(id);
        }
    }

    /// Records what a client of the scenario's own has measured.
    pub fn record_custom(
        &mut self,
        method: &str,
        name: &str,
        latency: Duration,
        length: u64,
        outcome: Outcome<'_>,
        late: Option<Duration>,
    ) {
        self.statistics.record(&Sample {
            name,
            method,
            latency,
            phases: &[],
            status: None,
            bytes_received: length,
            outcome,
            sent: 1,
            retried: 0,
            truncated: false,
            late,
        });
        self.count_sent(self.sent_total + 1);
    }

    /// Names the call among the ready ones if what it waits for is there.
    pub(super) fn wake(&mut self, id: CallId) {
        if let Some(call) = self.calls.get_mut(id)
            && call.wake.is_some_and(|wake| call.reached(wake))
        {
            call.wake = None;
            self.ready.push(id);
        }
    }

    /// Has the call looked at when its next deadline comes.
    pub(super) fn arm(&mut self, id: CallId) {
        let Some(call) = self.calls.get(id) else { return };
        if let Some((at, _)) = call.deadline(self.connecting_since(id)) {
            self.deadlines.arm(id, at);
        }
    }

    fn connecting_since(&self, id: CallId) -> Option<Instant> {
        let connection = self.calls.get(id)?.connection?;
        self.connections.get(connection)?.connecting.as_ref().map(|connecting| connecting.since)
    }

    /// Fails the calls whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(id) = self.deadlines.pop_due(now) {
            let Some(call) = self.calls.get(id) else { continue };
            match call.deadline(self.connecting_since(id)) {
                Some((at, kind)) if at <= now => self.time_out(id, kind, now),
                Some((at, _)) => self.deadlines.arm(id, at),
                None => {}
            }
        }
    }

    fn time_out(&mut self, id: CallId, kind: FailureKind, now: Instant) {
        if self.calls.get(id).is_some_and(|call| call.exchange.resolving.is_some()) {
            // The target has not been asked for anything yet.
            return self.fail(id, Failure::with(FailureKind::ResolverFailed, "no answer in time"), now);
        }
        self.fail(id, kind.into(), now);
    }
}
