//! Which connection a call goes out on where connections are shared by many calls: one to each server, up to as many
//! streams as it allows; beyond that one more, as far as the pool has room, and otherwise the call waits for its turn.
//! A call that comes while a connection to its server is being opened waits for that (in the phase `queue`) rather than
//! opening another one, until the server's settings tell how many calls may go out on it.
//! Start at [`Reactor::join`].

use std::sync::Arc;
use std::time::Instant;

use aiotest_core::stats::Phase;

use super::Session;
use crate::reactor::call::Call;
use crate::reactor::failure::{Failure, FailureKind};
use crate::reactor::pool::Pool;
use crate::reactor::request::Authority;
use crate::reactor::route::Route;
use crate::reactor::{CallId, ConnectionId, PoolId, Reactor, session};

/// How HTTP/2 is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http2 {
    /// Offered to https servers, which choose.
    Offered,
    /// The same, and spoken to http servers without asking.
    PriorKnowledge,
}

/// What a pool has whose connections may speak HTTP/2.
pub(in crate::reactor) struct Multiplexed {
    pub(super) how: Http2,
    /// Connections that speak it.
    open: Vec<ConnectionId>,
    /// Connections that are being opened, and may.
    opening: Vec<ConnectionId>,
    /// Calls that wait for one of these, or for the settings of an open one.
    waiting: Vec<(CallId, ConnectionId)>,
    /// Servers that chose HTTP/1.
    plain: Vec<Arc<Authority>>,
}

/// A call that need not wait for a connection any longer: it goes on, or fails as that did.
pub(in crate::reactor) type Rejoining = (PoolId, CallId, Option<Failure>);

impl Session {
    /// A call has its place.
    pub(in crate::reactor) fn take_place(&mut self, call: CallId) {
        self.calls.push((call, 0));
    }
}

impl Multiplexed {
    pub(in crate::reactor) fn new(how: Http2) -> Self {
        Self { how, open: Vec::new(), opening: Vec::new(), waiting: Vec::new(), plain: Vec::new() }
    }

    pub(in crate::reactor) fn into_waiting(self) -> impl Iterator<Item = CallId> {
        self.waiting.into_iter().map(|(call, _)| call)
    }

    fn may_speak(&self, authority: &Authority) -> bool {
        (authority.tls || self.how == Http2::PriorKnowledge)
            && !self.plain.iter().any(|plain| session::same(plain, authority))
    }

    /// The calls that wait for a connection wait no longer.
    fn release(&mut self, on: ConnectionId) -> Vec<CallId> {
        let (released, kept) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(_, other)| *other == on);
        self.waiting = kept;
        let released: Vec<(CallId, ConnectionId)> = released;
        released.into_iter().map(|(call, _)| call).collect()
    }
}

impl Reactor {
    fn multiplexed(&mut self, pool: PoolId) -> Option<&mut Multiplexed> {
        let pool = self.pools.get_mut(pool)?;
        // Where each call has a connection of its own, there is nothing to share.
        if pool.has_new_connections_only() { None } else { pool.http2.as_deref_mut() }
    }

    /// Whether connections of this pool offer HTTP/2.
    pub(in crate::reactor) fn offers_http2(&self, pool: PoolId) -> bool {
        self.pools.get(pool).is_some_and(|pool| pool.http2.is_some())
    }

    /// An open connection to `authority` that has room for one more call.
    fn with_room(
        &self,
        pool: PoolId,
        authority: &Authority,
        route: Option<&Arc<Route>>,
    ) -> Option<ConnectionId> {
        let pool = self.pools.get(pool)?;
        let open = &pool.http2.as_ref()?.open;
        open.iter().copied().find(|id| {
            self.connections.get(*id).is_some_and(|connection| {
                connection.serves(authority, route)
                    && connection.http2.as_ref().is_some_and(|http2| 0 < http2.room())
            })
        })
    }

    /// Whether the next call of a queue can go out on a connection that others use, too.
    pub(in crate::reactor) fn has_room_for(&self, pool: PoolId, id: CallId) -> bool {
        let shares = |pool: &Pool| pool.http2.is_some() && !pool.has_new_connections_only();
        self.pools.get(pool).is_some_and(shares)
            && self.calls.get(id).is_some_and(|call| {
                let route = call.request.route.as_ref();
                !call.needs_http1() && self.with_room(pool, &call.target.authority, route).is_some()
            })
    }

    /// Sends a call's request on a connection that others use, too, or has it wait for one that is being opened. False:
    /// it needs a connection of its own. `fresh`: not on one that is open already.
    pub(in crate::reactor) fn join(&mut self, id: CallId, pool: PoolId, fresh: bool, now: Instant) -> bool {
        if !self.offers_http2(pool) {
            return false;
        }
        let Some(call) = self.calls.get(id).filter(|call| !call.needs_http1()) else { return false };
        let (authority, route) = (Arc::clone(&call.target.authority), call.request.route.clone());
        if self.multiplexed(pool).is_none_or(|shared| !shared.may_speak(&authority)) {
            return false;
        }
        if !fresh && let Some(on) = self.with_room(pool, &authority, route.as_ref()) {
            if let Some(pool) = self.pools.get_mut(pool) {
                pool.idle.retain(|idle| *idle != on);
            }
            self.send(id, on, now);
            return true;
        }
        let Some(shared) = self.pools.get(pool).and_then(|pool| pool.http2.as_ref()) else { return false };
        let under_way = shared.opening.iter().chain(&shared.open).copied().find(|id| {
            self.connections.get(*id).is_some_and(|connection| {
                connection.serves(&authority, route.as_ref())
                    && connection.http2.as_ref().is_none_or(|http2| !http2.settled && !http2.ending)
            })
        });
        let (Some(on), Some(call)) = (under_way, self.calls.get_mut(id)) else { return false };
        call.exchange.joined = Some(now);
        if let Some(shared) = self.multiplexed(pool) {
            shared.waiting.push((id, on));
        }
        true
    }

    /// A connection is being opened, and others may wait for it.
    pub(in crate::reactor) fn opening(&mut self, on: ConnectionId) {
        let Some(connection) = self.connections.get(on) else { return };
        if self.is_for_http1(on) {
            return;
        }
        let (pool, authority) = (connection.pool, Arc::clone(&connection.authority));
        if let Some(shared) = self.multiplexed(pool).filter(|shared| shared.may_speak(&authority)) {
            shared.opening.push(on);
        }
    }

    /// Whether a connection was opened for a call that cannot go over HTTP/2.
    fn is_for_http1(&self, on: ConnectionId) -> bool {
        let call = self.connections.get(on).and_then(|connection| self.calls.get(connection.call?));
        call.is_some_and(Call::needs_http1)
    }

    /// A connection is open: it is known by now whether it speaks HTTP/2.
    pub(in crate::reactor) fn opened_for_many(&mut self, on: ConnectionId, now: Instant) {
        if self.is_for_http1(on) {
            return;
        }
        let Some(connection) = self.connections.get_mut(on) else { return };
        let (pool_id, authority) = (connection.pool, Arc::clone(&connection.authority));
        let Some(shared) = self.pools.get_mut(pool_id).and_then(|pool| pool.http2.as_mut()) else { return };
        let speaks = match &connection.tls {
            Some(tls) => tls.speaks_http2(),
            None => shared.how == Http2::PriorKnowledge,
        };
        shared.opening.retain(|other| *other != on);
        shared.plain.retain(|plain| !session::same(plain, &authority));
        if !speaks {
            if authority.tls {
                shared.plain.push(authority);
            }
            return self.let_go_on(pool_id, on, None);
        }
        match Session::new() {
            Ok(http2) => {
                connection.http2 = Some(Box::new(http2));
                connection.call = None;
                shared.open.push(on);
            }
            Err(failure) => {
                if let Some(call) = connection.call {
                    self.fail(call, failure, now);
                }
            }
        }
    }

    /// Once the server's settings are there, those who wait go out.
    pub(super) fn look_at_settings(&mut self, on: ConnectionId) {
        let Some(connection) = self.connections.get(on) else { return };
        if connection.http2.as_ref().is_some_and(|http2| http2.settled || http2.ending) {
            self.let_go_on(connection.pool, on, None);
        }
    }

    fn let_go_on(&mut self, pool: PoolId, on: ConnectionId, failure: Option<&Failure>) {
        let Some(shared) = self.pools.get_mut(pool).and_then(|pool| pool.http2.as_mut()) else { return };
        if shared.waiting.is_empty() {
            return;
        }
        let released = shared.release(on);
        self.rejoining.extend(released.into_iter().map(|call| (pool, call, failure.cloned())));
        self.have_waiting_served();
    }

    /// A connection could not be opened: whoever waits for it fails alike, unless only the first one's time was over.
    pub(in crate::reactor) fn fail_waiting(&mut self, on: ConnectionId, failure: &Failure) {
        let Some(connection) = self.connections.get(on) else { return };
        let own = matches!(failure.kind, FailureKind::ConnectTimeout | FailureKind::TotalTimeout);
        if connection.http2.is_none() && !own {
            self.let_go_on(connection.pool, on, Some(failure));
        }
    }

    /// A connection is gone; who waits for it goes on without.
    pub(in crate::reactor) fn forget_shared(&mut self, pool: PoolId, on: ConnectionId) {
        let Some(shared) = self.pools.get_mut(pool).and_then(|pool| pool.http2.as_mut()) else { return };
        shared.open.retain(|other| *other != on);
        shared.opening.retain(|other| *other != on);
        self.let_go_on(pool, on, None);
    }

    /// Has the calls go on that waited for a connection.
    pub(in crate::reactor) fn rejoin(&mut self) {
        for (pool, id, failure) in std::mem::take(&mut self.rejoining) {
            let now = Instant::now();
            let Some(call) = self.calls.get_mut(id).filter(|call| call.ended.is_none()) else { continue };
            let Some(since) = call.exchange.joined.take() else { continue };
            call.phases.add(Phase::Queue, now - since);
            if let Some(failure) = failure {
                self.fail(id, failure, now);
            } else {
                self.go_on(id, pool, false, now);
                self.arm(id);
            }
        }
    }

    /// A stream has ended: its place is free, and a connection without any is idle.
    pub(super) fn rest(&mut self, on: ConnectionId, now: Instant) {
        let Some(connection) = self.connections.get_mut(on) else { return };
        let pool = connection.pool;
        let Some(http2) = connection.http2.as_ref() else { return };
        if http2.lost.is_some() {
            return;
        }
        match (http2.calls.is_empty(), http2.ending) {
            (true, true) => self.close(on),
            (true, false) => self.park(on, now),
            (false, _) => {
                connection.reused = true;
                self.note_freed(pool);
            }
        }
    }
}
