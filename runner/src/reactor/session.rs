//! A user's cookies and open calls, and where its connections are. Pure.

use std::sync::Arc;
use std::time::Instant;

use super::jar::Jar;
use super::request::{Authority, Target};
use super::trust::TlsSettings;
use super::{CallId, PoolId, tickets};

/// How many ways of TLS a user remembers sessions for, beside the usual one.
const OTHER_TLS: usize = 4;

pub(super) struct Session {
    /// Its own connections, or a connector's.
    pub(super) pool: PoolId,
    /// Calls that are not over.
    pub(super) calls: Vec<CallId>,
    /// Made at the first cookie: most users never have one.
    jar: Option<Box<Jar>>,
    keeps_no_cookies: bool,
    /// With the memory of its own TLS sessions; made at the first https call.
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    /// The same for the ways of TLS that it uses beside the usual one, the last made last. Each has a memory of its own.
    other_tls: Vec<(Arc<TlsSettings>, Arc<rustls::ClientConfig>)>,
}

impl Session {
    pub(super) fn of(pool: PoolId) -> Self {
        Self { pool, calls: Vec::new(), jar: None, keeps_no_cookies: false, tls: None, other_tls: Vec::new() }
    }

    /// How it speaks TLS by `settings`. Of those that it used first the memory may be lost.
    pub(super) fn tls_by(&mut self, settings: &Arc<TlsSettings>) -> Arc<rustls::ClientConfig> {
        if let Some((_, config)) = self.other_tls.iter().find(|(known, _)| Arc::ptr_eq(known, settings)) {
            return Arc::clone(config);
        }
        if self.other_tls.len() == OTHER_TLS {
            self.other_tls.remove(0);
        }
        let config = tickets::for_user(&settings.config);
        self.other_tls.push((Arc::clone(settings), Arc::clone(&config)));
        config
    }

    /// Whatever a server sets is ignored from now on.
    pub(super) fn keep_no_cookies(&mut self) {
        self.keeps_no_cookies = true;
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
        if !self.keeps_no_cookies {
            self.jar.get_or_insert_with(Box::default).set(target, value);
        }
    }
}

/// Whether two authorities share connections.
pub(super) fn same(a: &Authority, b: &Authority) -> bool {
    std::ptr::eq(a, b) || a == b
}
