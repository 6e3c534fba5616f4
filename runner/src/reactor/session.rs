//! A user's cookies and open calls, and where its connections are. Pure.

use std::sync::Arc;
use std::time::Instant;

use super::jar::Jar;
use super::request::{Authority, Target};
use super::{CallId, PoolId};

pub(super) struct Session {
    /// Its own connections, or a connector's.
    pub(super) pool: PoolId,
    /// Calls that are not over.
    pub(super) calls: Vec<CallId>,
    /// Made at the first cookie: most users never have one.
    jar: Option<Box<Jar>>,
    /// With the memory of its own TLS sessions; made at the first https call.
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
}

impl Session {
    pub(super) fn of(pool: PoolId) -> Self {
        Self { pool, calls: Vec::new(), jar: None, tls: None }
    }

    /// The `Cookie` header for `target`: the jar's and then the call's own. `None`: no header.
    pub(super) fn cookie_header(
        &mut self,
        target: &Arc<Target>,
        own: Option<&str>,
        now: Instant,
    ) -> Option<Arc<str>> {
        let kept = self.jar.as_mut().map(|jar| jar.header(target, now)).filter(|kept| !kept.is_empty());
        match (kept, own) {
            (Some(kept), Some(own)) => Some(format!("{kept}; {own}").into()),
            (kept, own) => kept.or_else(|| own.map(Arc::from)),
        }
    }

    /// Name and value of the cookies that go to `target`.
    pub(super) fn cookies<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.jar.iter().flat_map(|jar| jar.cookies(target))
    }

    /// Keeps a `Set-Cookie` value that came from `target`.
    pub(super) fn set_cookie(&mut self, target: &Target, value: &str) {
        self.jar.get_or_insert_with(Box::default).set(target, value);
    }
}

/// Whether two authorities share connections.
pub(super) fn same(a: &Authority, b: &Authority) -> bool {
    std::ptr::eq(a, b) || a == b
}
