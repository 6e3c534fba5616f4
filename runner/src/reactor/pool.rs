//! Connections that calls share. A session's own pool has no bound; a connector's has, and then calls wait for their turn.
//!
//! Who waits is served at the end of a drive, first come, first served, and nowhere else: so a call that has just failed, or
//! a reply that has just ended, never starts another call in its midst. Whenever nobody drives, a pool in which calls wait
//! has neither an idle connection nor room for another. Start at [`Reactor::serve_waiting`].

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aiotest_core::stats::Phase;

use super::connection::Connection;
use super::http2::Multiplexed;
use super::request::Authority;
use super::route::Route;
use super::{Abort, CallId, ConnectionId, PoolId, Reactor};

/// Connections to any number of hosts.
#[derive(Default)]
pub(super) struct Pool {
    /// Open connections without a call, the last used last.
    pub(super) idle: Vec<ConnectionId>,
    /// A connector's: any number of sessions use it.
    pub(super) shared: Option<Box<Shared>>,
    /// Addresses of this machine that its connections come from in turn; none: as the system chooses.
    pub(super) sources: Vec<SocketAddr>,
    /// Connections that speak HTTP/2, where that is asked for.
    pub(super) http2: Option<Box<Multiplexed>>,
}

/// How many connections a connector has, and how long it keeps them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at most.
    pub all: usize,
    /// Connections to a host and port at most.
    pub per_host: usize,
    /// Each call has a new connection.
    pub force_close: bool,
    /// How long one without a call is kept; `None`: as long as its server keeps it.
    pub keep: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { all: usize::MAX, per_host: usize::MAX, force_close: false, keep: None }
    }
}

/// What a connector's pool has beyond a session's own.
pub(super) struct Shared {
    pub(super) limits: Limits,
    /// Connections there are, those under way included.
    open: usize,
    /// The same by host, where that has a limit.
    hosts: HashMap<Arc<Authority>, usize>,
    /// Calls that wait for a connection, by ticket.
    waiting: BTreeMap<u64, CallId>,
    next_ticket: u64,
    /// Among the reactor's `freed`.
    freed: bool,
}

/// A call's place in the queue of its pool.
pub(super) struct Queued {
    since: Instant,
    ticket: u64,
}

/// How a call that has no idle connection goes on.
pub(super) enum Room {
    /// It may open a connection.
    New,
    /// This one has become idle in the meantime.
    Idle(ConnectionId),
    /// It waits for its turn.
    None,
}

impl Shared {
    /// Whether there may be no more connections to a host.
    fn is_full_for(&self, authority: &Authority) -> bool {
        self.hosts.get(authority).is_some_and(|open| self.limits.per_host <= *open)
    }

    /// Notes a connection to a host.
    fn count(&mut self, authority: &Arc<Authority>) {
        self.open += 1;
        if self.limits.per_host != usize::MAX {
            *self.hosts.entry(Arc::clone(authority)).or_default() += 1;
        }
    }

    /// Notes that it is closed.
    fn discount(&mut self, authority: &Authority) {
        self.open -= 1;
        if let Some(open) = self.hosts.get_mut(authority) {
            *open -= 1;
            if *open == 0 {
                self.hosts.remove(authority);
            }
        }
    }
}

impl Pool {
    /// Whether each call has a connection of its own.
    pub(super) fn has_new_connections_only(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.limits.force_close)
    }

    /// Takes an idle connection to `authority` by `route`, the one last used, that no other call uses.
    fn take(
        &mut self,
        connections: &Connections,
        authority: &Authority,
        route: Option<&Arc<Route>>,
    ) -> Option<ConnectionId> {
        let position = self.idle.iter().rposition(|connection| {
            connections
                .get(*connection)
                .is_some_and(|other| other.http2.is_none() && other.serves(authority, route))
        })?;
        Some(self.idle.remove(position))
    }
}

type Connections = slotmap::SlotMap<ConnectionId, Connection>;

impl Reactor {
    /// Opens a pool for sessions to share.
    pub fn open_pool(&mut self, limits: Limits) -> PoolId {
        let (hosts, waiting) = (HashMap::new(), BTreeMap::new());
        let shared = Shared { limits, open: 0, hosts, waiting, next_ticket: 0, freed: false };
        self.pools.insert(Pool {
            idle: Vec::new(),
            shared: Some(Box::new(shared)),
            sources: Vec::new(),
            http2: None,
        })
    }

    /// Has a pool's connections come from these addresses of this machine in turn.
    pub fn use_sources(&mut self, pool: PoolId, sources: Vec<SocketAddr>) {
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.sources = sources;
        }
    }

    /// Where the next connection of a pool to `address` comes from. The turn is the process's: users with pools of their own
    /// don't all begin with the first.
    pub(super) fn next_source(&mut self, pool: PoolId, address: SocketAddr) -> Option<SocketAddr> {
        let sources = &self.pools.get(pool)?.sources;
        let alike = |source: &&SocketAddr| source.is_ipv4() == address.is_ipv4();
        let count = sources.iter().filter(alike).count();
        if count == 0 {
            return None;
        }
        self.source_turn = self.source_turn.wrapping_add(1);
        sources.iter().filter(alike).nth(self.source_turn % count).copied()
    }

    /// Closes a pool's idle connections; calls that wait for one are aborted as cancelled. Those in use are closed when their
    /// calls end.
    pub fn close_pool(&mut self, pool: PoolId) {
        let Some(pool) = self.pools.remove(pool) else { return };
        for connection in pool.idle {
            self.connections.remove(connection);
        }
        let joined = pool.http2.into_iter().flat_map(|http2| http2.into_waiting());
        for id in pool.shared.into_iter().flat_map(|shared| shared.waiting.into_values()).chain(joined) {
            self.cut(id);
        }
    }

    /// Connections of a pool: those without a call, and all of them.
    #[cfg(test)]
    pub(super) fn pool_counts(&self, pool: PoolId) -> (usize, usize, usize) {
        let pool = &self.pools[pool];
        let shared = pool.shared.as_ref().unwrap();
        (pool.idle.len(), shared.open, shared.waiting.len())
    }

    /// Connections of a pool to the host that has most of them.
    #[cfg(test)]
    pub(super) fn most_to_a_host(&self, pool: PoolId) -> usize {
        self.pools[pool].shared.as_ref().unwrap().hosts.values().copied().max().unwrap_or(0)
    }

    /// Aborts a call that somebody may be waiting for.
    pub(super) fn cut(&mut self, id: CallId) {
        let waited_for = self.calls.get(id).is_some_and(|call| call.wake.is_some() || call.draining);
        self.abort(id, Abort::Cancelled);
        self.hang_up(id);
        if waited_for {
            self.ready.push(id);
            self.ask_to_be_driven();
        }
    }

    pub(super) fn ask_to_be_driven(&self) {
        let _ = rustix::io::write(&*self.notify, &1_u64.to_ne_bytes());
    }

    pub(super) fn take_idle(
        &mut self,
        pool: PoolId,
        authority: &Authority,
        route: Option<&Arc<Route>>,
    ) -> Option<ConnectionId> {
        self.pools.get_mut(pool)?.take(&self.connections, authority, route)
    }

    /// Whether calls wait in this pool already that a new one goes behind: those to its host, or all where there is no limit
    /// by host.
    pub(super) fn has_queue(&self, pool: PoolId, authority: &Authority) -> bool {
        let Some(shared) = self.pools.get(pool).and_then(|pool| pool.shared.as_ref()) else { return false };
        let alike =
            |id: &CallId| self.calls.get(*id).is_some_and(|call| *call.target.authority == *authority);
        let any_host = shared.limits.per_host == usize::MAX || shared.limits.all <= shared.open;
        shared.waiting.values().any(|id| any_host || alike(id))
    }

    /// Whether the pool has room for a connection to `authority`; another one makes room if it is idle.
    pub(super) fn room(&mut self, pool: PoolId, authority: &Authority, route: Option<&Arc<Route>>) -> Room {
        let Some(pool) = self.pools.get_mut(pool) else { return Room::New };
        let Some(shared) = &mut pool.shared else { return Room::New };
        let host_is_full = shared.is_full_for(authority);
        if shared.open < shared.limits.all && !host_is_full {
            return Room::New;
        }
        if let Some(connection) = pool.take(&self.connections, authority, route) {
            return Room::Idle(connection);
        }
        let connections = &self.connections;
        let makes_room = |id: &ConnectionId| {
            !host_is_full || connections.get(*id).is_some_and(|other| *other.authority == *authority)
        };
        let Some(longest_idle) = pool.idle.iter().position(makes_room) else { return Room::None };
        let longest_idle = pool.idle.remove(longest_idle);
        self.close(longest_idle);
        Room::New
    }

    /// Has a call wait until a connection is free.
    pub(super) fn queue(&mut self, id: CallId, pool: PoolId, now: Instant) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let Some(shared) = self.pools.get_mut(pool).and_then(|pool| pool.shared.as_mut()) else { return };
        call.queued = Some(Box::new(Queued { since: now, ticket: shared.next_ticket }));
        shared.waiting.insert(shared.next_ticket, id);
        shared.next_ticket += 1;
    }

    /// Takes a call out of the queue that it may be in.
    pub(super) fn unqueue(&mut self, id: CallId, now: Instant) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let Some(queued) = call.queued.take() else { return };
        call.phases.add(Phase::Queue, now - queued.since);
        let pool =
            self.sessions.get(call.request.session).and_then(|session| self.pools.get_mut(session.pool));
        if let Some(shared) = pool.and_then(|pool| pool.shared.as_mut()) {
            shared.waiting.remove(&queued.ticket);
        }
    }

    /// A new connection takes its place.
    pub(super) fn opened(&mut self, pool: PoolId, authority: &Arc<Authority>) {
        if let Some(shared) = self.pools.get_mut(pool).and_then(|pool| pool.shared.as_mut()) {
            shared.count(authority);
        }
    }

    /// Closes a connection that is not among the idle ones; its place is free.
    pub(super) fn close(&mut self, id: ConnectionId) {
        drop(self.take_out(id));
    }

    /// Takes a connection that is not among the idle ones out of its pool; its place is free.
    pub(super) fn take_out(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.connections.remove(id)?;
        self.forget_shared(connection.pool, id);
        if let Some(shared) = self.pools.get_mut(connection.pool).and_then(|pool| pool.shared.as_mut()) {
            shared.discount(&connection.authority);
            self.note_freed(connection.pool);
        }
        Some(connection)
    }

    /// Closes an idle connection.
    pub(super) fn close_idle(&mut self, id: ConnectionId) {
        let pool = self.connections.get(id).map(|connection| connection.pool);
        if let Some(pool) = pool.and_then(|pool| self.pools.get_mut(pool)) {
            pool.idle.retain(|idle| *idle != id);
        }
        self.close(id);
    }

    pub(super) fn note_freed(&mut self, id: PoolId) {
        let shared = self.pools.get_mut(id).and_then(|pool| pool.shared.as_mut());
        if let Some(shared) = shared.filter(|shared| !shared.freed && !shared.waiting.is_empty()) {
            shared.freed = true;
            self.freed.push(id);
        }
    }

    /// Has that done by the next drive: a place became free outside of one.
    pub(super) fn have_waiting_served(&self) {
        if !self.freed.is_empty() || !self.rejoining.is_empty() {
            self.ask_to_be_driven();
        }
    }

    /// Gives free connections, and free places for new ones, to the calls that wait for them.
    pub(super) fn serve_waiting(&mut self) {
        if !self.rejoining.is_empty() {
            self.rejoin();
        }
        while let Some(pool) = self.freed.pop() {
            if let Some(shared) = self.pools.get_mut(pool).and_then(|pool| pool.shared.as_mut()) {
                shared.freed = false;
            }
            let now = Instant::now();
            while let Some(id) = self.next_in_turn(pool) {
                self.unqueue(id, now);
                self.go_on(id, pool, false, now);
                self.arm(id);
            }
        }
    }

    fn next_in_turn(&self, id: PoolId) -> Option<CallId> {
        let pool = self.pools.get(id)?;
        let shared = pool.shared.as_ref()?;
        let is_served = |next: &CallId| {
            let Some(authority) = self.calls.get(*next).map(|call| &call.target.authority) else {
                return true;
            };
            let to_host = |idle: &ConnectionId| {
                self.connections.get(*idle).is_some_and(|idle| idle.authority == *authority)
            };
            let room = if shared.is_full_for(authority) {
                pool.idle.iter().any(to_host)
            } else {
                shared.open < shared.limits.all || !pool.idle.is_empty()
            };
            room || self.has_room_for(id, *next)
        };
        // Where no host has a limit of its own, whoever is behind the first is served no sooner.
        let looked_at = if shared.limits.per_host == usize::MAX { 1 } else { usize::MAX };
        shared.waiting.values().take(looked_at).find(|next| is_served(next)).copied()
    }
}
