//! The HTTP engine: sockets, HTTP/1.1, timeouts, cookies and the record of each call.
//!
//! It knows no Python: a call is a [`CallId`], and whoever waits for it keeps the waiter. It never blocks and owns no
//! thread ([`engine::Engine`] does); the same [`Reactor`] is driven by the loop's thread and, while that is busy, by a
//! stand-in. Start at [`Reactor::start`] and [`Reactor::drive`].
//!
//! The life of a call: `start` → (`wait` for the head → `drive` names it) → `head` or `failure` → body →
//! `leave` (the scenario's verdict) → recorded once, at the later of `leave` and the end of the body → `release`.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aiotest_core::stats::Statistics;
use bytes::Bytes;
use rustix::event::epoll;
use slotmap::{Key, SlotMap, new_key_type};

pub mod engine;
pub mod failure;
pub mod identity;
pub mod proxy;
pub mod request;
pub mod response;
pub mod route;
pub mod trust;
pub mod upload;

mod arrival;
mod call;
mod connection;
mod deadlines;
mod dns;
mod end;
mod http1;
mod http2;
mod idle;
mod jar;
mod key_exchange;
mod outbox;
mod pool;
mod ports;
mod receive;
mod resolver;
mod send;
mod session;
mod stamps;
#[cfg(test)]
mod tests;
mod tickets;
mod tls;
mod turn;
mod upgrade;

use call::Call;
use connection::Connection;
use deadlines::Deadlines;
use failure::Failure;
pub use http2::Http2;
use outbox::Outbox;
pub use pool::Limits;
use pool::Pool;
use ports::Ports;
pub use receive::MAX_BODY;
use request::{Request, Target};
use resolver::Resolver;
use response::Head;
use session::Session;
use stamps::Clocks;

new_key_type! {
    /// A user's cookies, with connections of its own or a pool's.
    pub struct SessionId;
    /// Connections that sessions share.
    pub struct PoolId;
    /// One call. It carries a generation: the id of a call that is over is answered with nothing, never with another call.
    pub struct CallId;
    struct ConnectionId;
}

impl CallId {
    /// The slot's number: dense, so that it can index a table of waiters.
    pub fn index(self) -> usize {
        (self.data().as_ffi() & 0xffff_ffff) as usize
    }
}

/// What a waiter waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The head of the reply, or the call's failure.
    Head,
    /// The whole body.
    Body,
    /// Any unread byte, or the end of the body.
    Chunk,
    /// The record, after `leave`.
    Recorded,
    /// All that was said on an upgraded connection is out; others may wait for its bytes meanwhile.
    Drained,
}

/// What the scenario says of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: a status of 400 or more is a failure, and so is a reply that was cut.
    ByStatus,
    /// A success, whatever the reply was.
    Success,
    /// A failure with that text.
    Failure(String),
}

/// How the scenario is done with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leave {
    /// It left the `async with` block: a body that is still coming is read to its end.
    Block(Verdict),
    /// It released what a plain `await` gave: a body that is still coming is cut.
    Await(Verdict),
}

/// Who cuts a call off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abort {
    /// The scenario cancelled it: a failure named `Cancelled`.
    Cancelled,
    /// The scenario's own timeout: a failure named `TimeoutError`.
    TimedOut,
    /// The stop of the run: aborted, in neither requests nor failures.
    Stopped,
    /// Nobody holds it any more.
    Collected,
}

/// What there is of a reply.
#[derive(Debug, Default)]
pub struct Reply {
    /// The head of the last hop, where redirects were followed; `None`: the call failed without one.
    pub head: Option<Arc<Head>>,
    /// The heads of the replies that redirected, oldest first.
    pub history: Vec<Arc<Head>>,
    /// The whole body, if it is there already.
    pub body: Option<Bytes>,
    /// Why the call has no whole reply.
    pub failure: Option<Failure>,
}

/// A call as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The row's name.
    pub name: Arc<str>,
    /// The row's method.
    pub method: Arc<str>,
    /// From the start of the call to the arrival of the last byte of its body.
    pub latency: Duration,
    /// Body bytes received, of all hops.
    pub bytes: u64,
    /// What went wrong; `None`: a success.
    pub error: Option<String>,
    /// It is none of the load, and in no figure.
    pub unmeasured: bool,
}

/// All sockets and calls of a process. See the module's documentation.
pub struct Reactor {
    epoll: OwnedFd,
    notify: Arc<OwnedFd>,
    timer: OwnedFd,
    timer_at: Option<Instant>,
    clocks: Clocks,
    /// Has the kernel stamp for as long as the process lives: to begin and to end with each socket costs it far more.
    _stamped: OwnedFd,
    calls: SlotMap<CallId, Call>,
    connections: SlotMap<ConnectionId, Connection>,
    sessions: SlotMap<SessionId, Session>,
    pools: SlotMap<PoolId, Pool>,
    /// Pools with waiting calls in which something became free.
    freed: Vec<PoolId>,
    /// Calls that waited for a connection which another one opened.
    rejoining: Vec<http2::Rejoining>,
    /// When which connections may have been idle for long enough; each is there once.
    lapses: std::collections::BTreeSet<(Instant, ConnectionId)>,
    resolver: Resolver,
    source_turn: usize,
    ports: Ports,
    deadlines: Deadlines,
    doubts: arrival::Doubts,
    ready: Vec<CallId>,
    /// Connections with more to read than one turn allows.
    unfinished: Vec<ConnectionId>,
    statistics: Statistics,
    sent_total: u64,
    on_sent: Option<Box<dyn Fn(u64) + Send>>,
    refused: bool,
    lease_until: Option<Instant>,
    /// Calls that were started while nobody answered for the load.
    held_back: Vec<CallId>,
    /// What all users have in common; made at the first https call.
    tls: Option<Arc<rustls::ClientConfig>>,
    read_buffer: Vec<u8>,
    outbox: Outbox,
}

impl Reactor {
    /// A reactor without calls. `notify` is an event descriptor that anybody may write to, to have it driven.
    pub(crate) fn new(notify: Arc<OwnedFd>) -> io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &*notify, epoll::EventData::new_u64(receive::NOTIFY), epoll::EventFlags::IN)?;
        epoll::add(&epoll, &timer, epoll::EventData::new_u64(receive::TIMER), epoll::EventFlags::IN)?;
        let mut clocks = Clocks::default();
        clocks.look();
        Ok(Self {
            epoll,
            timer,
            timer_at: None,
            clocks,
            _stamped: stamps::keep()?,
            calls: SlotMap::with_key(),
            connections: SlotMap::with_key(),
            sessions: SlotMap::with_key(),
            pools: SlotMap::with_key(),
            freed: Vec::new(),
            rejoining: Vec::new(),
            lapses: std::collections::BTreeSet::new(),
            resolver: Resolver::new(Arc::clone(&notify)),
            source_turn: 0,
            ports: Ports::of_this_machine(),
            notify,
            deadlines: Deadlines::default(),
            doubts: arrival::Doubts::default(),
            ready: Vec::new(),
            unfinished: Vec::new(),
            statistics: Statistics::default(),
            sent_total: 0,
            on_sent: None,
            refused: false,
            lease_until: None,
            held_back: Vec::new(),
            tls: None,
            read_buffer: vec![0; 128 * 1024],
            outbox: Outbox::default(),
        })
    }

    /// A second descriptor of what is to be watched: readable when there is something to drive.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(rustix::io::fcntl_dupfd_cloexec(&self.epoll, 0)?)
    }

    /// Opens a user's session, with connections of its own or a pool's: no connection yet, no cookie.
    pub fn open_session(&mut self, pool: Option<PoolId>) -> SessionId {
        let pool = pool.unwrap_or_else(|| self.pools.insert(Pool::default()));
        self.sessions.insert(Session::of(pool))
    }

    /// Has a session's own connections speak HTTP/2 from now on.
    pub fn speak_http2(&mut self, session: SessionId, how: Http2) {
        if let Some(pool) = self.sessions.get(session).map(|session| session.pool) {
            self.speak_http2_in(pool, how);
        }
    }

    /// Has a pool's connections speak HTTP/2 from now on.
    pub fn speak_http2_in(&mut self, pool: PoolId, how: Http2) {
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.http2 = Some(Box::new(http2::Multiplexed::new(how)));
        }
    }

    /// Closes a session and its own connections, while a pool's stay; calls still open on it are aborted as cancelled.
    pub fn close_session(&mut self, session: SessionId) {
        let Some(open) = self.sessions.get(session).map(|session| session.calls.clone()) else { return };
        for id in open {
            self.cut(id);
        }
        if let Some(session) = self.sessions.remove(session)
            && self.pools.get(session.pool).is_some_and(|pool| pool.shared.is_none())
        {
            self.close_pool(session.pool);
        }
    }

    /// Name and value of the session's cookies for `target`.
    pub fn cookies(&self, session: SessionId, target: &Target) -> Vec<(String, String)> {
        let session = self.sessions.get(session);
        let pairs = session.into_iter().flat_map(|session| session.cookies(target));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Has a session keep no cookie from now on.
    pub fn keep_no_cookies(&mut self, session: SessionId) {
        if let Some(session) = self.sessions.get_mut(session) {
            session.keep_no_cookies();
        }
    }

    /// Keeps a cookie given as a `Set-Cookie` value, as if `target` had sent it.
    pub fn set_cookie(&mut self, session: SessionId, target: &Target, value: &str) {
        if let Some(session) = self.sessions.get_mut(session) {
            session.set_cookie(target, value);
        }
    }

    /// Starts a call; its first bytes are written at once where there is a connection. While nobody answers for the load
    /// it stays here.
    pub fn start(&mut self, request: Request) -> CallId {
        let now = Instant::now();
        let name = Arc::clone(request.name.as_ref().unwrap_or(&request.target.name));
        let session = request.session;
        let id = self.calls.insert(Call::new(request, name, now));
        if let Some(session) = self.sessions.get_mut(session) {
            self.calls[id].place = session.calls.len();
            session.calls.push(id);
        }
        if self.is_over(now) {
            // Its user is about to be cut off; one that was refused would end by itself, as if it had died.
            self.held_back.push(id);
        } else {
            self.dispatch(id, false, now);
        }
        self.arm(id);
        self.set_timer();
        id
    }

    /// True when that much is there already, or the call is over: no need to suspend. Otherwise the id is among the
    /// ready ones of a later `drive`, once.
    pub fn wait(&mut self, id: CallId, wake: Wake) -> bool {
        let Some(call) = self.calls.get_mut(id) else { return true };
        if call.reached(wake) {
            return true;
        }
        if wake == Wake::Drained {
            return false;
        }
        call.wake = Some(wake);
        self.read_on(id);
        let reached = self.calls.get(id).is_none_or(|call| call.reached(wake));
        if reached {
            self.ready.retain(|ready| *ready != id);
        }
        reached
    }

    /// What there is of the reply once its head or the call's failure is there: its body too, where that is whole.
    /// `None`: wait for it, as `wait` says.
    pub fn take_reply(&mut self, id: CallId) -> Option<Reply> {
        if !self.wait(id, Wake::Head) {
            return None;
        }
        let Some(call) = self.calls.get_mut(id) else { return Some(Reply::default()) };
        let whole = call.ended.is_some() && call.failure.is_none() && call.record.is_none();
        Some(Reply {
            head: call.head.clone(),
            history: std::mem::take(&mut call.history),
            body: whole.then(|| std::mem::take(&mut call.body).freeze()),
            failure: call.failure.clone(),
        })
    }

    /// The head of the reply; of the last hop, where redirects were followed.
    #[cfg(test)]
    fn head(&self, id: CallId) -> Option<&Arc<Head>> {
        self.calls.get(id)?.head.as_ref()
    }

    /// Why the call has no whole reply. It may come after the head, when the body was cut.
    pub fn failure(&self, id: CallId) -> Option<&Failure> {
        self.calls.get(id)?.failure.as_ref()
    }

    /// Whether no more of the body will come.
    pub fn body_ended(&self, id: CallId) -> bool {
        self.calls.get(id).is_none_or(|call| call.ended.is_some())
    }

    /// All of the body that is unread.
    pub fn take_body(&mut self, id: CallId) -> Bytes {
        self.calls.get_mut(id).map_or_else(Bytes::new, |call| std::mem::take(&mut call.body).freeze())
    }

    /// At most `max` unread bytes; the reactor reads on where it had paused.
    pub fn take_chunk(&mut self, id: CallId, max: usize) -> Bytes {
        let Some(call) = self.calls.get_mut(id) else { return Bytes::new() };
        call.streamed = true;
        let size = max.min(call.body.len());
        let chunk = call.body.split_to(size).freeze();
        self.read_on(id);
        chunk
    }

    /// The record of a call, once there is one.
    pub fn record_of(&self, id: CallId) -> Option<&Record> {
        self.calls.get(id)?.record.as_ref()
    }

    /// What was recorded since the last time it was taken.
    pub fn take_statistics(&mut self) -> Statistics {
        self.statistics.take()
    }

    /// Requests on the wire so far, redirect hops and retries included; those of which it is not known yet whether they
    /// arrived are in it.
    pub fn sent_total(&self) -> u64 {
        self.sent_total
    }

    /// Calls `hook` with each new total of sent requests, so that the count outlives the process.
    pub fn on_sent(&mut self, hook: Box<dyn Fn(u64) + Send>) {
        self.on_sent = Some(hook);
    }

    /// No request goes out from that instant on, unless it is moved on: neither one of a new call nor, after a redirect or
    /// once there is a connection, of an open one. They wait, to go out when it is moved on, or to be cut off. Without a
    /// lease there is no such end.
    pub fn lease_until(&mut self, until: Instant) {
        self.lease_until = Some(until);
        self.let_go();
    }

    /// Lets no request go out, or lets them go out again; see [`Self::lease_until`].
    pub fn refuse(&mut self, refused: bool) {
        self.refused = refused;
        self.let_go();
    }

    /// Sends what was held back, if somebody answers for it now.
    fn let_go(&mut self) {
        let now = Instant::now();
        if self.is_over(now) {
            return;
        }
        for id in std::mem::take(&mut self.held_back) {
            if self.calls.get(id).is_some_and(|call| call.ended.is_none()) {
                self.dispatch(id, false, now);
                self.arm(id);
            }
        }
        self.write_held();
    }

    /// Nobody answers for this load now.
    fn is_over(&self, now: Instant) -> bool {
        self.refused || self.lease_until.is_some_and(|until| until <= now)
    }

    fn count_sent(&mut self, sent: u64) {
        self.sent_total = sent;
        if let Some(hook) = &self.on_sent {
            hook(sent);
        }
    }
}
