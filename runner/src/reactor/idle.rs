//! How long connections without a call are kept: a connector's for as long as it says; a user's own beside another one to the
//! same host for a little while, and the last one for as long as its server keeps it.
//!
//! Start at [`Reactor::park`].

use std::time::{Duration, Instant};

use super::{ConnectionId, Reactor};

/// How long what a `gather` opened is kept for the next one.
const KEEP_SURPLUS: Duration = Duration::from_secs(5);

impl Reactor {
    /// A connection has no call any more: it waits for the next one.
    pub(super) fn park(&mut self, id: ConnectionId, now: Instant) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Some(pool) = self.pools.get_mut(connection.pool) else { return self.close(id) };
        let keep = match &pool.shared {
            Some(shared) if shared.limits.force_close => return self.close(id),
            Some(shared) => shared.limits.keep,
            None => (!pool.idle.is_empty()).then_some(KEEP_SURPLUS),
        };
        connection.call = None;
        connection.reused = true;
        connection.idle_since = Some(now);
        if let Some(keep) = keep
            && !std::mem::replace(&mut connection.lapses, true)
        {
            self.lapses.insert((now + keep, id));
        }
        let freed = connection.pool;
        pool.idle.push(id);
        self.note_freed(freed);
    }

    /// When the next connection may have been idle for long enough.
    pub(super) fn next_lapse(&self) -> Option<Instant> {
        self.lapses.first().map(|(due, _)| *due)
    }

    /// Closes the connections that have been idle for long enough.
    pub(super) fn close_lapsed(&mut self, now: Instant) {
        while let Some((due, id)) = self.lapses.first().copied().filter(|(due, _)| *due <= now) {
            self.lapses.remove(&(due, id));
            let Some(connection) = self.connections.get_mut(id) else { continue };
            connection.lapses = false;
            // In use: it is noted again when it is idle.
            let Some(since) = connection.idle_since else { continue };
            let Some(pool) = self.pools.get(connection.pool) else { continue };
            let keep = pool.shared.as_ref().map_or(Some(KEEP_SURPLUS), |shared| shared.limits.keep);
            let Some(due) = keep.map(|keep| since + keep) else { continue };
            if now < due {
                connection.lapses = true;
                self.lapses.insert((due, id));
            } else if pool.shared.is_some() || self.has_another(id) {
                self.close_idle(id);
            }
        }
    }

    /// Whether another idle connection of its pool could serve in its place.
    fn has_another(&self, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.get(id) else { return false };
        let Some(pool) = self.pools.get(connection.pool) else { return false };
        pool.idle.iter().any(|other| {
            let other = self.connections.get(*other).filter(|_| *other != id);
            other.is_some_and(|other| other.serves(&connection.authority, connection.route.as_ref()))
        })
    }
}
