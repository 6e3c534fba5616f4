//! A user's cookies, as RFC 6265 keeps and returns them, and the `Cookie` header made of them. Pure: time is an argument.
//!
//! To find the cookies of a URL takes longer than to write the request, and a user asks few URLs again and again: the
//! header is kept, until a cookie is set or might have expired. Start at [`Jar::header`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use cookie_store::{Cookie, CookieStore};

use super::request::Target;

/// How long a header is kept. A cookie's expiry is told in whole seconds.
const KEEP: Duration = Duration::from_millis(100);
/// Targets whose headers are kept; more of them are found anew each time.
const TARGETS: usize = 8;

/// The most cookies of a user, and the most bytes of their names and values together. Servers take less in a request.
pub(super) const MAX_COOKIES: usize = 150;
pub(super) const MAX_COOKIE_BYTES: usize = 64 * 1024;
/// The longest `Set-Cookie` value, as RFC 6265 has it.
pub(super) const MAX_COOKIE: usize = 4096;

#[derive(Default)]
pub(super) struct Jar {
    store: CookieStore,
    headers: Vec<(Arc<Target>, Arc<str>)>,
    kept_since: Option<Instant>,
}

impl Jar {
    /// The `Cookie` header for `target`; empty for none.
    pub(super) fn header(&mut self, target: &Arc<Target>, now: Instant) -> Arc<str> {
        if self.kept_since.is_none_or(|since| since + KEEP < now) {
            self.headers.clear();
            self.kept_since = Some(now);
        }
        if let Some((_, header)) = self.headers.iter().find(|(known, _)| Arc::ptr_eq(known, target)) {
            return Arc::clone(header);
        }
        let pairs: Vec<String> =
            self.cookies(target).map(|(name, value)| format!("{name}={value}")).collect();
        let header: Arc<str> = pairs.join("; ").into();
        if TARGETS <= self.headers.len() {
            self.headers.clear();
        }
        self.headers.push((Arc::clone(target), Arc::clone(&header)));
        header
    }

    /// Name and value of the cookies that go to `target`. Secure ones go over TLS only, to this machine too.
    pub(super) fn cookies<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = (&'a str, &'a str)> {
        let may_go = |cookie: &&Cookie<'_>| target.authority.tls || !cookie.secure().unwrap_or_default();
        self.store.matches(&target.url).into_iter().filter(may_go).map(|cookie| cookie.name_value())
    }

    /// Keeps a `Set-Cookie` value that came from `target`; one that is malformed, foreign or too long is ignored, as
    /// browsers do, and so is a further one when the jar is full: what a user logged in with stays.
    pub(super) fn set(&mut self, target: &Target, value: &str) {
        // No control character but the tab: it would stand in the next request's head.
        if MAX_COOKIE < value.len() || value.chars().any(|c| c != '\t' && c.is_ascii_control()) {
            return;
        }
        let Ok(cookie) = Cookie::parse(value, &target.url).map(Cookie::into_owned) else { return };
        if self.is_full() && !self.replaces(&cookie) {
            self.sweep();
            if self.is_full() {
                return;
            }
        }
        self.headers.clear();
        let _ = self.store.insert(cookie, &target.url);
    }

    fn is_full(&self) -> bool {
        let sizes = self.store.iter_any().map(|cookie| (1, cookie.name().len() + cookie.value().len()));
        let (count, bytes) = sizes.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        MAX_COOKIES <= count || MAX_COOKIE_BYTES <= bytes + MAX_COOKIE
    }

    /// Whether the cookie takes another's place.
    fn replaces(&self, cookie: &Cookie<'_>) -> bool {
        let domain = cookie.domain.as_cow();
        domain.is_some_and(|domain| self.store.contains_any(&domain, &cookie.path, cookie.name()))
    }

    /// Forgets what is expired.
    fn sweep(&mut self) {
        let place = |cookie: &Cookie<'_>| {
            Some((cookie.domain.as_cow()?.into_owned(), String::from(&cookie.path), cookie.name().to_owned()))
        };
        let expired: Vec<_> =
            self.store.iter_any().filter(|cookie| cookie.is_expired()).filter_map(place).collect();
        for (domain, path, name) in expired {
            self.store.remove(&domain, &path, &name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Arc<Target> {
        Arc::new(Target::parse(url).unwrap())
    }

    #[test]
    fn a_kept_header_knows_of_a_new_cookie_at_once_and_of_an_expired_one_soon() {
        let (home, other) = (target("http://h/"), target("http://other/"));
        let mut jar = Jar::default();
        let now = Instant::now();
        assert_eq!(&*jar.header(&home, now), "");
        jar.set(&home, "a=1; Max-Age=1");
        assert_eq!((&*jar.header(&home, now), &*jar.header(&other, now)), ("a=1", ""));
        jar.set(&home, "b=2");
        assert_eq!(jar.header(&home, now).split("; ").count(), 2);
        std::thread::sleep(Duration::from_millis(1100));
        assert_eq!(&*jar.header(&home, now + KEEP * 2), "b=2");
    }

    #[test]
    fn a_cookie_adds_no_line_to_a_request() {
        let home = target("http://h/");
        let mut jar = Jar::default();
        for value in ["a=b\r\nX: y", "a=b\nX: y", "a=\0", "a\u{7f}=b"] {
            jar.set(&home, value);
        }
        jar.set(&home, "good=1\t; Path=/");
        assert_eq!(&*jar.header(&home, Instant::now()), "good=1");
    }

    #[test]
    fn headers_of_many_targets_take_bounded_room() {
        let mut jar = Jar::default();
        jar.set(&target("http://h/"), "a=1; Path=/");
        for n in 0..TARGETS * 3 {
            assert_eq!(&*jar.header(&target(&format!("http://h/{n}")), Instant::now()), "a=1");
        }
        assert!(jar.headers.len() <= TARGETS);
    }
}
