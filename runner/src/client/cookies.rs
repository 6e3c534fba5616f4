//! `ClientSession.cookie_jar`: a thin view of the cookies that the reactor keeps for a session.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::payload;
use super::target::Targets;
use crate::reactor::SessionId;
use crate::reactor::engine::engine;
use crate::reactor::request::Target;

/// A session's cookies.
#[pyclass(module = "aiotest._native", frozen)]
pub(super) struct CookieJar {
    session: SessionId,
    targets: Arc<Targets>,
}

impl CookieJar {
    pub(super) fn of(session: SessionId, targets: Arc<Targets>) -> Self {
        Self { session, targets }
    }

    fn target(&self, url: Option<&Bound<'_, PyAny>>) -> PyResult<Arc<Target>> {
        match (url.filter(|url| !url.is_none()), self.targets.base()) {
            (Some(url), _) => self.targets.target(url, None),
            (None, Some(base)) => Ok(Arc::new(base.clone())),
            (None, None) => {
                Err(PyValueError::new_err("cookies need a URL where the session has no base_url"))
            }
        }
    }
}

/// Keeps cookies as if `target` had set them for all of its paths.
pub(super) fn keep(session: SessionId, target: &Target, pairs: &[(String, String)]) {
    let mut reactor = engine().lock();
    for (name, value) in pairs {
        reactor.set_cookie(session, target, &format!("{name}={value}; Path=/"));
    }
}

/// URL and `Set-Cookie` value of what a jar of the scenario's own holds; `None` of a dummy, which keeps nothing.
pub(super) type Held = Option<Vec<(String, String)>>;

/// What a jar of the scenario's own holds.
pub(super) fn held(jar: &Bound<'_, PyAny>) -> PyResult<Held> {
    imported!(jar.py(), "aiotest.client", "_cookies_of_jar")?.call1((jar,))?.extract()
}

/// Keeps what a jar of the scenario's own held, or keeps no cookie at all where that is a dummy.
/// Cookies of no host are `base`'s.
pub(super) fn take_over(session: SessionId, base: Option<&Target>, held: Held) {
    let mut reactor = engine().lock();
    let Some(held) = held else { return reactor.keep_no_cookies(session) };
    for (url, cookie) in held {
        let own = Target::parse(&url).ok();
        if let Some(target) = own.as_ref().or(base) {
            reactor.set_cookie(session, target, &cookie);
        }
    }
}

#[pymethods]
impl CookieJar {
    /// Keeps `cookies` as if `response_url` (unless given, the session's `base_url`) had set them.
    #[pyo3(signature = (cookies, response_url=None))]
    fn update_cookies(
        &self,
        cookies: &Bound<'_, PyAny>,
        response_url: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let target = self.target(response_url)?;
        keep(self.session, &target, &payload::cookie_pairs(cookies)?);
        Ok(())
    }

    /// Name and `Morsel` of the cookies that a call to `request_url` would send.
    #[pyo3(signature = (request_url=None))]
    fn filter_cookies<'py>(
        &self,
        py: Python<'py>,
        request_url: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let target = self.target(request_url)?;
        let pairs = engine().lock().cookies(self.session, &target);
        let values = PyDict::new(py);
        for (name, value) in pairs {
            values.set_item(name, value)?;
        }
        imported!(py, "http.cookies", "SimpleCookie")?.call1((values,))
    }
}
