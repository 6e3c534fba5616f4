//! The way out: a connection for a call (idle, or a new one), and the request on it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use aiotest_core::stats::Phase;
use rustix::event::epoll::{self, EventFlags};
use slotmap::Key;

use super::call::Exchange;
use super::connection::{self, Connecting, Connection};
use super::failure::{Failure, FailureKind};
use super::pool::Room;
use super::resolver::Lookup;
use super::tls::{self, Handshake, Tls};
use super::trust::TlsSettings;
use super::{CallId, ConnectionId, PoolId, Reactor, SessionId, tickets};

impl Reactor {
    /// Puts the present hop of a call on its way: on an idle connection, if there is one and it need not be `fresh`.
    pub(super) fn dispatch(&mut self, id: CallId, fresh: bool, now: Instant) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.exchange = Exchange::default();
        let authority = Arc::clone(&call.target.authority);
        let pool = self.pool_of(id);
        if self.has_queue(pool, &authority) {
            if self.join(id, pool, fresh, now) {
                return;
            }
            return self.queue(id, pool, now);
        }
        self.go_on(id, pool, fresh, now);
    }

    /// The present hop goes out on an idle connection of `pool`, unless it must be `fresh`, or on a new one.
    pub(super) fn go_on(&mut self, id: CallId, pool: PoolId, fresh: bool, now: Instant) {
        if self.join(id, pool, fresh, now) {
            return;
        }
        let Some(call) = self.calls.get(id) else { return };
        let (authority, route) = (Arc::clone(&call.target.authority), call.request.route.clone());
        if !fresh && let Some(connection) = self.take_idle(pool, &authority, route.as_ref()) {
            return self.send(id, connection, now);
        }
        let Some(call) = self.calls.get(id) else { return };
        let first = call.first_stop();
        match self.resolver.lookup(id, &first.host, first.port, now) {
            Lookup::Known(Ok(addresses)) => self.connect(id, addresses, now),
            Lookup::Known(Err(failure)) => self.miss(id, failure, now),
            Lookup::Pending => {
                if let Some(call) = self.calls.get_mut(id) {
                    call.exchange.resolving = Some(now);
                }
            }
        }
    }

    /// Names whose answers have come: their calls go on.
    pub(super) fn resume_resolved(&mut self, now: Instant) {
        for (id, outcome) in self.resolver.drain(now) {
            let Some(call) = self.calls.get_mut(id).filter(|call| call.ended.is_none()) else { continue };
            let Some(since) = call.exchange.resolving.take() else { continue };
            call.phases.add(Phase::Dns, now - since);
            match outcome {
                Ok(addresses) => self.connect(id, addresses, now),
                Err(failure) => self.miss(id, failure, now),
            }
            self.arm(id);
        }
    }

    /// No connection could be made, to the target or to the proxy before it.
    fn miss(&mut self, id: CallId, mut failure: Failure, now: Instant) {
        if self.calls.get(id).is_some_and(|call| call.proxy().is_some()) {
            failure.kind = failure.kind.at_proxy();
        }
        self.fail(id, failure, now);
    }

    fn pool_of(&self, id: CallId) -> PoolId {
        let session = self.calls.get(id).and_then(|call| self.sessions.get(call.request.session));
        session.map_or_else(PoolId::null, |session| session.pool)
    }

    /// Opens a connection to the first address that takes one.
    pub(super) fn connect(&mut self, id: CallId, mut addresses: VecDeque<SocketAddr>, now: Instant) {
        let Some(call) = self.calls.get(id) else { return };
        let (authority, pool) = (Arc::clone(&call.target.authority), self.pool_of(id));
        let route = call.request.route.clone();
        let fresh = 0 < call.retried;
        if self.join(id, pool, fresh, now) {
            return self.give_turn_back(id);
        }
        match self.room(pool, &authority, route.as_ref()) {
            Room::New => {}
            Room::Idle(connection) => {
                self.give_turn_back(id);
                return self.send(id, connection, now);
            }
            Room::None => {
                self.give_turn_back(id);
                return self.queue(id, pool, now);
            }
        }
        let mut last = Failure::with(FailureKind::NameNotFound, "the name has no address");
        while let Some(address) = addresses.pop_front() {
            let source = self.next_source(pool, address);
            let socket = match connection::connect(address, source, &mut self.ports) {
                Ok(socket) => socket,
                Err(failure) => {
                    last = failure;
                    continue;
                }
            };
            let connection = self.connections.insert(Connection {
                socket,
                authority: Arc::clone(&authority),
                pool,
                route: route.clone(),
                call: Some(id),
                connecting: Some(Connecting { since: now, address, rest: addresses }),
                tunnel: None,
                tls: None,
                securing: None,
                unsent: VecDeque::new(),
                input: Vec::new(),
                written: 0,
                head_end: 0,
                reused: false,
                idle_since: None,
                lapses: false,
                http2: None,
            });
            self.opened(pool, &authority);
            self.opening(connection);
            if let Some(call) = self.calls.get_mut(id) {
                call.connection = Some(connection);
            }
            if let Err(errno) = self.watch(connection) {
                return self.miss(id, connection::connect_failure(errno, address), now);
            }
            return;
        }
        self.miss(id, last, now);
    }

    /// The call opens no connection now: the address whose turn it was is the next one's.
    fn give_turn_back(&mut self, id: CallId) {
        if let Some(call) = self.calls.get(id) {
            let first = call.first_stop();
            self.resolver.give_back(&first.host, first.port);
        }
    }

    fn watch(&self, id: ConnectionId) -> rustix::io::Result<()> {
        let Some(connection) = self.connections.get(id) else { return Ok(()) };
        // Edge-triggered and for everything: no system call ever changes what is watched.
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &connection.socket, epoll::EventData::new_u64(id.data().as_ffi()), flags)
    }

    /// The handshake is over: the request goes out, or the next address is tried.
    pub(super) fn finish_handshake(&mut self, id: ConnectionId, flags: EventFlags) {
        let now = Instant::now();
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Some(connecting) = connection.connecting.take() else { return };
        let Some(call_id) = connection.call else { return };
        // Only one that failed is asked why.
        let failed = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        let outcome = if failed { connection.handshake_result() } else { Ok(()) };
        match outcome {
            Ok(()) => {
                if let Some(call) = self.calls.get_mut(call_id) {
                    call.phases.add(Phase::Connect, now - connecting.since);
                }
                if connection.authority.tls {
                    if self.begin_tunnel(id, now) {
                        return self.arm(call_id);
                    }
                    return self.begin_tls(id, flags, now);
                }
                self.opened_for_many(id, now);
                self.send(call_id, id, now);
                self.arm(call_id);
            }
            Err(errno) => {
                self.close(id);
                if connecting.rest.is_empty() {
                    self.miss(call_id, connection::connect_failure(errno, connecting.address), now);
                } else {
                    self.connect(call_id, connecting.rest, now);
                    self.arm(call_id);
                }
            }
        }
    }

    /// The way to the target is there; TLS comes next.
    pub(super) fn begin_tls(&mut self, id: ConnectionId, flags: EventFlags, now: Instant) {
        let Some(connection) = self.connections.get(id) else { return };
        let Some(call) = connection.call else { return };
        let Some(session) = self.calls.get(call).map(|call| call.request.session) else { return };
        let settings = connection.route.as_ref().and_then(|route| route.tls.clone());
        let offers = self.offers_http2(connection.pool) && !self.calls[call].needs_http1();
        let begun = self.tls_of(session, settings.as_ref()).and_then(|mut config| {
            if offers {
                Arc::make_mut(&mut config).alpn_protocols = tls::OFFERED.map(<[u8]>::to_vec).to_vec();
            }
            Tls::new(&config, &self.connections[id].authority.host)
        });
        match begun {
            Ok(session) => {
                let connection = &mut self.connections[id];
                connection.tls = Some(Box::new(session));
                connection.securing = Some(now);
                self.advance_tls(id, flags);
            }
            Err(failure) => self.fail(call, failure, now),
        }
    }

    /// How a user speaks TLS.
    fn tls_of(
        &mut self,
        id: SessionId,
        settings: Option<&Arc<TlsSettings>>,
    ) -> Result<Arc<rustls::ClientConfig>, Failure> {
        let session = self.sessions.get_mut(id);
        if let Some(settings) = settings {
            let config = session.map(|session| session.tls_by(settings));
            return Ok(config.unwrap_or_else(|| Arc::clone(&settings.config)));
        }
        if let Some(config) = session.as_ref().and_then(|session| session.tls.as_ref()) {
            return Ok(Arc::clone(config));
        }
        let common = match &self.tls {
            Some(common) => Arc::clone(common),
            None => tls::configure()?,
        };
        let config = tickets::for_user(&common);
        self.tls = Some(common);
        if let Some(session) = session {
            session.tls = Some(Arc::clone(&config));
        }
        Ok(config)
    }

    /// Goes on with a TLS handshake, and with the request at its end.
    pub(super) fn advance_tls(&mut self, id: ConnectionId, flags: EventFlags) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let (Some(call), Some(session)) = (connection.call, connection.tls.as_mut()) else { return };
        session.notice(flags);
        let outcome = session.advance(&connection.socket, &mut connection.written);
        let now = Instant::now();
        match outcome {
            Ok(Handshake::Waiting) => {}
            Ok(Handshake::Done) => {
                if let (Some(since), Some(call)) = (connection.securing.take(), self.calls.get_mut(call)) {
                    call.phases.add(Phase::Tls, now - since);
                }
                self.opened_for_many(id, now);
                self.send(call, id, now);
                self.arm(call);
            }
            Err(failure) => self.fail(call, failure, now),
        }
    }

    /// Writes a call's request to an open connection.
    pub(super) fn send(&mut self, id: CallId, connection_id: ConnectionId, now: Instant) {
        let (Some(call), Some(connection)) =
            (self.calls.get_mut(id), self.connections.get_mut(connection_id))
        else {
            return;
        };
        let session = self.sessions.get_mut(call.request.session);
        let cookies = session
            .and_then(|session| session.cookie_header(&call.target, call.request.cookies.as_deref(), now));
        match &mut connection.http2 {
            Some(http2) => http2.take_place(id),
            None => connection.call = Some(id),
        }
        connection.idle_since = None;
        call.connection = Some(connection_id);
        call.exchange.reused = connection.reused;
        self.submit(id, connection_id, cookies.as_deref().unwrap_or_default(), now);
    }

    /// The socket takes bytes again.
    pub(super) fn flush(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Some(call) = connection.call else { return self.pump(id, Instant::now()) };
        let pending = self
            .calls
            .get(call)
            .is_some_and(|c| c.exchange.writing.is_some() && c.exchange.written.is_none());
        if !pending {
            return self.drain(call, id);
        }
        // An error is left to the reading side: the server may have replied before it closed.
        let outcome = connection.flush();
        if connection.head_is_out() {
            self.count_head(call);
        }
        if matches!(outcome, Ok(true)) {
            self.all_is_out(call);
        }
    }

    /// A request counts as sent once its head is out.
    pub(super) fn count_head(&mut self, id: CallId) {
        if let Some(call) = self.calls.get_mut(id).filter(|call| !call.exchange.counted) {
            call.exchange.counted = true;
            call.sent += 1;
            self.count_sent(self.sent_total + 1);
        }
    }

    /// The socket has taken all there was; of a body that is streamed more may come.
    pub(super) fn all_is_out(&mut self, id: CallId) {
        if let Some(call) = self.calls.get(id).filter(|call| call.uploading) {
            if !call.request.expects_continue || 0 < call.exchange.interim {
                self.drained(id);
            }
        } else {
            self.mark_written(id);
        }
    }

    pub(super) fn mark_written(&mut self, id: CallId) {
        let now = Instant::now();
        if let Some(call) = self.calls.get_mut(id) {
            call.exchange.written = Some(now);
            if let Some(writing) = call.exchange.writing {
                call.phases.add(Phase::Send, now - writing);
            }
            self.arm_read(id);
        }
    }

    /// The pause between reads is limited from here on.
    fn arm_read(&mut self, id: CallId) {
        if self.calls.get(id).is_some_and(|call| call.request.timeouts.sock_read.is_some()) {
            self.arm(id);
        }
    }
}
