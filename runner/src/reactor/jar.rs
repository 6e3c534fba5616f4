//! A user's cookies, as RFC 6265 keeps and returns them, and the `Cookie` header made of them. Pure: time is an argument.
//!
//! To find the cookies of a URL takes longer than to write the request, and a user asks few URLs again and again: the
//! header is kept, until a cookie is set or might have expired. Start at [`Jar::header`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use cookie_store::CookieStore;

use super::request::Target;

/// How long a header is kept. A cookie's expiry is told in whole seconds.
const KEEP: Duration = Duration::from_millis(100);
/// Targets whose headers are kept; more of them are found anew each time.
const TARGETS: usize = 8;

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

    /// Name and value of the cookies that go to `target`.
    pub(super) fn cookies<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.store.get_request_values(&target.url)
    }

    /// Keeps a `Set-Cookie` value that came from `target`; one that is malformed or foreign is ignored, as browsers do.
    pub(super) fn set(&mut self, target: &Target, value: &str) {
        self.headers.clear();
        let _ = self.store.parse(value, &target.url);
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
    fn headers_of_many_targets_take_bounded_room() {
        let mut jar = Jar::default();
        jar.set(&target("http://h/"), "a=1; Path=/");
        for n in 0..TARGETS * 3 {
            assert_eq!(&*jar.header(&target(&format!("http://h/{n}")), Instant::now()), "a=1");
        }
        assert!(jar.headers.len() <= TARGETS);
    }
}
