//! A user's own connections and cookies. Pure but for the cookies' expiry.

use cookie_store::CookieStore;

use super::request::{Authority, Target};
use super::{CallId, ConnectionId};

#[derive(Default)]
pub(super) struct Session {
    /// Open connections without a call, the last used last.
    pub(super) idle: Vec<ConnectionId>,
    /// Calls that are not over.
    pub(super) calls: Vec<CallId>,
    /// Made at the first cookie: most users never have one.
    jar: Option<Box<CookieStore>>,
}

impl Session {
    /// The `Cookie` header for `target`: the jar's and then the call's own; empty for none.
    pub(super) fn cookie_header(&self, target: &Target, own: Option<&str>) -> String {
        let mut header = String::new();
        for (name, value) in self.cookies(target) {
            push_pair(&mut header, &format!("{name}={value}"));
        }
        if let Some(own) = own {
            push_pair(&mut header, own);
        }
        header
    }

    /// Name and value of the cookies that go to `target`.
    pub(super) fn cookies<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.jar.iter().flat_map(|jar| jar.get_request_values(&target.url))
    }

    /// Keeps a `Set-Cookie` value that came from `target`; one that is malformed or foreign is ignored, as browsers do.
    pub(super) fn set_cookie(&mut self, target: &Target, value: &str) {
        let jar = self.jar.get_or_insert_with(Box::default);
        let _ = jar.parse(value, &target.url);
    }
}

fn push_pair(header: &mut String, pair: &str) {
    if !header.is_empty() {
        header.push_str("; ");
    }
    header.push_str(pair);
}

/// Whether two authorities share connections.
pub(super) fn same(a: &Authority, b: &Authority) -> bool {
    std::ptr::eq(a, b) || a == b
}
