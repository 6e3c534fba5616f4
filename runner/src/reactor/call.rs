//! The state of one call, from its start to its record. Pure; the reactor moves it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aiotest_core::stats::Phase;
use bytes::BytesMut;

use super::failure::{Failure, FailureKind};
use super::http1::Body;
use super::http2::Stream;
use super::pool::Queued;
use super::proxy::Proxy;
use super::request::{Authority, Request, Target, Version};
use super::response::{self, Head};
use super::{Abort, ConnectionId, Record, Verdict, Wake};

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own; no two make one state")]
pub(super) struct Call {
    pub(super) request: Request,
    /// Method, target and body of the hop under way; redirects change them.
    pub(super) method: Arc<str>,
    pub(super) target: Arc<Target>,
    pub(super) hops: u32,
    pub(super) name: Arc<str>,
    pub(super) started: Instant,
    /// Where it stands among its session's calls.
    pub(super) place: usize,
    /// It waits for a connection of a pool that has none to spare.
    pub(super) queued: Option<Box<Queued>>,
    pub(super) connection: Option<ConnectionId>,
    pub(super) exchange: Exchange,
    pub(super) head: Option<Arc<Head>>,
    pub(super) history: Vec<Arc<Head>>,
    /// Body bytes that the scenario has not taken.
    pub(super) body: BytesMut,
    /// Body bytes that have come, of all hops.
    pub(super) received: u64,
    /// The scenario takes the body in pieces.
    pub(super) streamed: bool,
    /// Reading waits for the scenario: more than `read_ahead` is unread.
    pub(super) paused: bool,
    pub(super) failure: Option<Failure>,
    /// The end of the body, or of the call without one.
    pub(super) ended: Option<Instant>,
    /// When the reply came that made something else of its connection.
    pub(super) upgraded: Option<Instant>,
    /// More of the request's body is to come.
    pub(super) uploading: bool,
    /// Not all that was said is out, or nothing can be said yet.
    pub(super) draining: bool,
    pub(super) left: Option<Verdict>,
    pub(super) record: Option<Record>,
    pub(super) released: bool,
    pub(super) aborted: Option<Abort>,
    pub(super) wake: Option<Wake>,
    pub(super) phases: Phases,
    pub(super) sent: u32,
    pub(super) retried: u32,
    pub(super) truncated: bool,
}

/// So often a call is tried again that its server has not processed.
const MAX_REFUSALS: u32 = 5;

/// One request on the wire and its reply; made anew at each hop and retry.
#[derive(Default)]
pub(super) struct Exchange {
    /// Waiting for the resolver since.
    pub(super) resolving: Option<Instant>,
    /// Writing began.
    pub(super) writing: Option<Instant>,
    /// The request's head was written, and counts as sent.
    pub(super) counted: bool,
    /// The last byte of the request was written.
    pub(super) written: Option<Instant>,
    /// The first byte of the reply.
    pub(super) first_byte: Option<Instant>,
    /// The last byte that came.
    pub(super) last_byte: Option<Instant>,
    pub(super) reply: Option<ReplyState>,
    /// Interim replies before it.
    pub(super) interim: u32,
    /// On a connection that has had a reply before.
    pub(super) reused: bool,
    /// Waiting since for a connection that another call opens.
    pub(super) joined: Option<Instant>,
    /// Its part of a connection that speaks HTTP/2.
    pub(super) stream: Option<Box<Stream>>,
}

/// A reply whose head is there.
pub(super) struct ReplyState {
    pub(super) head: Arc<Head>,
    pub(super) body: Body,
    pub(super) keep_alive: bool,
    /// Where this reply redirects to, if that is followed.
    pub(super) next: Option<Arc<Target>>,
}

/// Time spent in each phase, over all hops.
pub(super) struct Phases {
    entries: [(Phase, Duration); Phase::ALL.len()],
    known: usize,
}

impl Phases {
    const NONE: Self = Self { entries: [(Phase::Queue, Duration::ZERO); Phase::ALL.len()], known: 0 };

    pub(super) fn add(&mut self, phase: Phase, spent: Duration) {
        let known = self.entries[..self.known].iter_mut().find(|(known, _)| *known == phase);
        if let Some((_, sum)) = known {
            *sum += spent;
        } else {
            self.entries[self.known] = (phase, spent);
            self.known += 1;
        }
    }

    pub(super) fn as_slice(&self) -> &[(Phase, Duration)] {
        &self.entries[..self.known]
    }
}

impl Call {
    pub(super) fn new(request: Request, name: Arc<str>, started: Instant) -> Self {
        Self {
            method: Arc::clone(&request.method),
            target: Arc::clone(&request.target),
            hops: 0,
            name,
            started,
            place: 0,
            queued: None,
            connection: None,
            exchange: Exchange::default(),
            head: None,
            history: Vec::new(),
            body: BytesMut::new(),
            received: 0,
            streamed: false,
            paused: false,
            failure: None,
            ended: None,
            upgraded: None,
            draining: request.upload,
            uploading: request.upload,
            request,
            left: None,
            record: None,
            released: false,
            aborted: None,
            wake: None,
            phases: Phases::NONE,
            sent: 0,
            retried: 0,
            truncated: false,
        }
    }

    /// Whether what a waiter waits for is there.
    pub(super) fn reached(&self, wake: Wake) -> bool {
        match wake {
            Wake::Head => self.head.is_some() || self.ended.is_some(),
            Wake::Body => self.ended.is_some(),
            Wake::Chunk => self.ended.is_some() || (self.head.is_some() && !self.body.is_empty()),
            Wake::Recorded => self.record.is_some(),
            Wake::Drained => self.ended.is_some() || !self.draining,
        }
    }

    /// Whether more than `read_ahead` bytes wait for a scenario that has not asked for the whole body.
    pub(super) fn is_full(&self) -> bool {
        self.head.is_some() && self.wake != Some(Wake::Body) && self.request.read_ahead < self.body.len()
    }

    /// Whether more of a body that nobody will ask for has come than is read ahead.
    pub(super) fn is_over_full(&self) -> bool {
        self.upgraded.is_none() && self.request.read_ahead < self.body.len()
    }

    /// The proxy that the present hop goes through.
    pub(super) fn proxy(&self) -> Option<&Arc<Proxy>> {
        self.request.route.as_ref()?.proxy(&self.target)
    }

    /// Where the connection of the present hop leads: to its target, or to the proxy before it.
    pub(super) fn first_stop(&self) -> &Authority {
        self.proxy().map_or(&*self.target.authority, |proxy| &proxy.authority)
    }

    /// Whether the present hop cannot go over HTTP/2: the connection is to become something else, its body is streamed, or a
    /// proxy stands before a server without TLS.
    pub(super) fn needs_http1(&self) -> bool {
        self.request.upgrade
            || self.request.upload
            || self.request.version == Version::Http10
            || (!self.target.authority.tls && self.proxy().is_some())
    }

    /// When this call fails unless something happens before, and as what.
    pub(super) fn deadline(&self, connecting_since: Option<Instant>) -> Option<(Instant, FailureKind)> {
        if self.ended.is_some() || self.record.is_some() {
            return None;
        }
        let timeouts = &self.request.timeouts;
        let total = limit(Some(self.started), timeouts.total, FailureKind::TotalTimeout);
        let without_connection = (self.exchange.writing.is_none()).then_some(self.started);
        let connect = limit(without_connection, timeouts.connect, FailureKind::ConnectTimeout);
        let handshake = limit(connecting_since, timeouts.sock_connect, FailureKind::ConnectTimeout);
        let last = self.exchange.last_byte.or(self.exchange.written);
        let read = limit(last.filter(|_| !self.paused), timeouts.sock_read, FailureKind::ReadTimeout);
        [total, connect, handshake, read].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Whether the call had nothing to wait for but its turn in the engine until its request is written.
    pub(super) fn is_first_attempt_on_open_connection(&self) -> bool {
        self.exchange.reused && self.hops == 0 && self.retried == 0 && self.phases.as_slice().is_empty()
    }

    /// Whether the request was not even begun when its connection ended: the server had closed it as idle.
    pub(super) fn is_unwritten(&self) -> bool {
        self.exchange.reused && self.exchange.writing.is_none()
    }

    /// Whether a failure before any byte of the reply may be tried again: where the method is idempotent and the
    /// connection had been used before, so that the server may have closed it as idle. The next try is on a connection
    /// of its own, so that it is the last one of its hop.
    ///
    /// What the server says that it has not processed is tried again, whatever the method, up to [`MAX_REFUSALS`] times: of
    /// many calls some meet one connection after the other that says goodbye.
    pub(super) fn may_retry(&self, failure: &Failure) -> bool {
        if failure.kind.is_unprocessed() {
            return self.aborted.is_none()
                && self.retried < MAX_REFUSALS
                && self.exchange.first_byte.is_none();
        }
        failure.kind.is_lost_before_reply()
            && !self.request.upload
            && self.aborted.is_none()
            && self.exchange.reused
            && self.exchange.first_byte.is_none()
            && matches!(&*self.method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" | "TRACE")
    }

    /// The text of the error to record; `None`: a success.
    pub(super) fn error(&self) -> Option<String> {
        match (&self.left, &self.aborted) {
            (Some(Verdict::Success), _) => None,
            (Some(Verdict::Failure(text)), _) => Some(text.clone()),
            (_, Some(Abort::Cancelled | Abort::Collected)) => Some("Cancelled".to_owned()),
            (_, Some(Abort::TimedOut)) => Some("TimeoutError".to_owned()),
            _ => {
                let label = self.failure.as_ref().map(|failure| failure.kind.label().to_owned());
                label.or_else(|| self.status_error())
            }
        }
    }

    fn status_error(&self) -> Option<String> {
        let head = self.head.as_ref().filter(|head| 400 <= head.status)?;
        // The standard's own words: what a server writes instead may differ from reply to reply.
        Some(format!("{} {}", head.status, response::reason(head.status)).trim_end().to_owned())
    }
}

fn limit(
    since: Option<Instant>,
    timeout: Option<Duration>,
    kind: FailureKind,
) -> Option<(Instant, FailureKind)> {
    Some((since?.checked_add(timeout?)?, kind))
}
