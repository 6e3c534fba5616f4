//! `ClientSession`: a user's cookies, headers and connections (its own, or a connector's); each method makes a [`Call`].

use std::borrow::Cow;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use super::call::{Call, Manner, Prepared};
use super::connector::TcpConnector;
use super::cookies::{self, CookieJar};
use super::exchange::Exchange;
use super::login::Login;
use super::options::{self, Options};
use super::payload::{self, Payload};
use super::scope::{Scope, UserScope};
use super::step::Step;
use super::target::Targets;
use super::timeout::{self, ClientTimeout};
use super::upload::Streamed;
use super::way::Usual;
use super::{driver, errors, intended, login, notify};
use crate::reactor::engine::engine;
use crate::reactor::request::{HeaderBlock, Request, Timeouts, Version, is_token};
use crate::reactor::{Leave, SessionId};

/// Bytes of a body that are read ahead of the scenario.
const READ_AHEAD: usize = 64 * 1024;

/// A user's HTTP session.
#[pyclass(module = "aiotest._native", subclass, weakref, dict)]
pub(super) struct ClientSession {
    id: SessionId,
    closed: bool,
    targets: Arc<Targets>,
    /// The user's whose session it is; `None`: any user may use it.
    scope: Option<Arc<Scope>>,
    /// Whose connections it uses; `None`: its own.
    connector: Option<Py<TcpConnector>>,
    /// What the scenario sees and may change; `None` until it looks or says something.
    headers: Option<Py<PyAny>>,
    /// The scenario has `headers`, and may change them at any time.
    headers_given_away: bool,
    /// Of HTTP/1, that requests name.
    version_line: Version,
    /// The version of `headers` that `block` was made of.
    version: u64,
    block: Arc<HeaderBlock>,
    /// `block` with the type of the last body that was sent: users send bodies of one type.
    typed_block: Mutex<Option<(Cow<'static, str>, Arc<HeaderBlock>)>>,
    /// Cookies of every call, where there is no base URL to keep them for.
    cookies: Option<String>,
    usual: Usual,
    timeouts: Timeouts,
    manner: Manner,
    json_serialize: Option<Py<PyAny>>,
    read_ahead: usize,
    /// Replies of the plain form that may not have been released yet.
    lent: Vec<Weak<Exchange>>,
}

impl ClientSession {
    fn call<'py>(
        slf: &Bound<'py, Self>,
        method: &Method,
        url: &Bound<'py, PyAny>,
        keywords: Option<&Bound<'py, PyDict>>,
        upgrade: bool,
    ) -> PyResult<Call> {
        Self::refresh_headers(slf)?;
        let py = slf.py();
        let options = Options::read(keywords)?;
        let session = slf.borrow();
        if session.closed {
            return Err(PyRuntimeError::new_err("Session is closed"));
        }
        if session.connector.as_ref().is_some_and(|connector| connector.get().closed()) {
            return Err(PyRuntimeError::new_err("Connector is closed"));
        }
        let target = session.targets.target(url, options.params.as_ref())?;
        let streamed = options.streamed(&session.block)?;
        let route = match &options.way {
            Some(way) => way.route(&session.usual)?,
            None => session.usual.route.clone(),
        };
        let login = Login::of(route.as_deref(), &target);
        let payload: Option<Payload> = match (&options.data, &options.json, &session.json_serialize) {
            (Some(_), _, _) if streamed.is_some() => None,
            (Some(data), _, _) => Some(payload::of_data(data)?),
            (None, Some(json), Some(serialize)) => Some(payload::of_json(serialize.bind(py), json)?),
            _ => None,
        };
        // As aiohttp does it, nobody knows how long a compressed body is before it is sent.
        let chunked = options.chunked || options.compress.is_some();
        let payload = match (payload, options.compress) {
            (Some(payload), Some(compress)) => Some(payload.compressed(compress)?),
            (payload, _) => payload,
        };
        let payload = match (payload, &streamed) {
            (_, Some(streamed)) => Some(payload::streamed(streamed.chunked, options.compress)),
            (Some(payload), _) => Some(payload.framed(chunked)),
            // As aiohttp's: servers may ask for a type where they expect a body.
            (None, None) => matches!(&*method.name, "POST" | "PUT" | "PATCH").then(payload::none),
        };
        // The body that waits for the server's word follows as one that is streamed does.
        let (payload, streamed) = match (payload, streamed) {
            (Some(payload), None) if options.expect100 && !payload.body.is_empty() => {
                let (payload, pieces) = payload.expecting(py)?;
                (Some(payload), Some(Streamed { pieces, chunked: false }))
            }
            (payload, streamed) => (payload, streamed),
        };
        let request = Request {
            session: session.id,
            method: Arc::clone(&method.name),
            headers: session.headers_of(py, &options, login, payload.as_ref())?,
            target,
            name: options.name.clone(),
            cookies: session.cookies_of(&options)?,
            body: payload.map(|payload| payload.body).unwrap_or_default(),
            redirects: options.redirects(method.follows),
            timeouts: options.timeouts.unwrap_or(session.timeouts),
            read_ahead: options.read_ahead.unwrap_or(session.read_ahead),
            route,
            late: intended::lateness(py)?,
            upload: streamed.is_some(),
            expects_continue: options.expect100 && streamed.is_some(),
            version: session.version_line,
            upgrade,
            unmeasured: false,
        };
        let manner = Manner {
            raises_for_status: options.raise_for_status.unwrap_or(session.manner.raises_for_status),
            ..session.manner
        };
        let scope = match &session.scope {
            Some(scope) => Some(Arc::clone(scope)),
            None => current_scope(py)?,
        };
        drop(session);
        Ok(Call::new(slf.clone().unbind(), Prepared { request, scope, manner, streamed }))
    }

    fn headers_of(
        &self,
        py: Python<'_>,
        options: &Options<'_>,
        login: Option<Login<'_>>,
        payload: Option<&Payload>,
    ) -> PyResult<Arc<HeaderBlock>> {
        if let (None, None, None, [], Some(payload)) =
            (&options.headers, &options.auth, login, &options.skipped[..], payload)
            && payload.is_plain()
        {
            let mut known = self.typed_block.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, block)) = known.as_ref().filter(|(kind, _)| *kind == payload.content_type) {
                return Ok(Arc::clone(block));
            }
            let block = Arc::new(payload.typed(&self.block, &[])?);
            *known = Some((payload.content_type.clone(), Arc::clone(&block)));
            return Ok(block);
        }
        let mut block = Cow::Borrowed(&*self.block);
        if !options.skipped.is_empty() {
            block = Cow::Owned(block.without_defaults(&options.skipped, &*default_block(py)?));
        }
        if let Some(headers) = &options.headers {
            block = Cow::Owned(payload::add_headers(&block, headers)?);
        }
        if let Some(value) = login::authorization(py, &block, options, login)? {
            let given = [("Authorization", value)];
            block = Cow::Owned(payload::add_headers(&block, &given.into_pyobject(py)?.into_any())?);
        }
        if let Some(payload) = payload {
            block = Cow::Owned(payload.typed(&block, &options.skipped)?);
        }
        Ok(match block {
            Cow::Borrowed(_) => Arc::clone(&self.block),
            Cow::Owned(block) => Arc::new(block),
        })
    }

    fn cookies_of(&self, options: &Options<'_>) -> PyResult<Option<String>> {
        let Some(cookies) = &options.cookies else { return Ok(self.cookies.clone()) };
        let own = payload::cookie_header(&payload::cookie_pairs(cookies)?);
        Ok(match (&self.cookies, own) {
            (Some(session), Some(own)) => Some(format!("{session}; {own}")),
            (session, own) => own.or_else(|| session.clone()),
        })
    }

    /// The scenario may have changed `session.headers` since the last call.
    fn refresh_headers(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let (headers, known) = {
            let session = slf.borrow();
            if !session.headers_given_away && session.version != 0 {
                return Ok(());
            }
            (session.headers.as_ref().map(|headers| headers.clone_ref(py)), session.version)
        };
        let Some(headers) = headers else { return Ok(()) };
        let headers = headers.bind(py);
        let version = imported!(py, "multidict", "getversion")?.call1((headers,))?.extract::<u64>()?;
        if version != known {
            let block = Arc::new(payload::add_headers(&HeaderBlock::default(), headers)?);
            let mut session = slf.borrow_mut();
            session.version = version;
            session.block = block;
            session.typed_block = Mutex::default();
        }
        Ok(())
    }

    /// Whether it was made by the user that has this scope.
    pub(super) fn is_of(&self, scope: &Arc<Scope>) -> bool {
        self.scope.as_ref().is_some_and(|own| Arc::ptr_eq(own, scope))
    }

    /// A reply of the plain form was given away: closing the session releases it.
    pub(super) fn lend(&mut self, exchange: &Arc<Exchange>) {
        self.lent.retain(|lent| lent.upgrade().is_some_and(|lent| !lent.is_over()));
        self.lent.push(Arc::downgrade(exchange));
    }

    fn shut(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        if std::mem::replace(&mut slf.borrow_mut().closed, true) {
            return Ok(());
        }
        let lent = std::mem::take(&mut slf.borrow_mut().lent);
        for exchange in lent.iter().filter_map(Weak::upgrade).filter(|exchange| !exchange.is_over()) {
            // One that a task is reading is cut with the session's other calls.
            if !driver::is_waited_for(py, exchange.id)?
                && let Some(record) = exchange.leave(py, Leave::Await(exchange.verdict()))
            {
                notify::detached(py, &record);
            }
        }
        engine().lock().close_session(slf.borrow().id);
        Ok(())
    }
}

/// The user's whose task this is, if it is one's.
fn current_scope(py: Python<'_>) -> PyResult<Option<Arc<Scope>>> {
    let scope = imported!(py, "aiotest.client", "current_scope")?.call_method0(intern!(py, "get"))?;
    Ok(scope.cast::<UserScope>().ok().map(|scope| scope.borrow().scope()))
}

/// What was given as a connector, or what stands for one of aiohttp's.
fn connector_of(given: &Bound<'_, PyAny>) -> PyResult<Py<TcpConnector>> {
    if let Ok(connector) = given.cast::<TcpConnector>() {
        return Ok(connector.clone().unbind());
    }
    let connector = imported!(given.py(), "aiotest.client", "_connector")?.call1((given,))?;
    Ok(connector.cast_into::<TcpConnector>()?.unbind())
}

fn session_headers<'py>(
    py: Python<'py>,
    given: Option<&Bound<'py, PyAny>>,
    auth: Option<&Bound<'py, PyAny>>,
    skipped: Vec<String>,
    closes: bool,
) -> PyResult<Bound<'py, PyAny>> {
    imported!(py, "aiotest.client", "_session_headers")?.call1((given, auth, skipped, closes))
}

/// The headers of every session that was given none.
fn default_block(py: Python<'_>) -> PyResult<Arc<HeaderBlock>> {
    static BLOCK: PyOnceLock<Arc<HeaderBlock>> = PyOnceLock::new();
    let block = BLOCK.get_or_try_init(py, || {
        let headers = session_headers(py, None, None, Vec::new(), false)?;
        payload::add_headers(&HeaderBlock::default(), &headers).map(Arc::new)
    });
    block.map(Arc::clone)
}

/// A method as it goes on the wire, and whether it follows redirects unless told otherwise.
struct Method {
    name: Arc<str>,
    follows: bool,
}

impl Method {
    fn named(method: &str) -> PyResult<Self> {
        let name = method.to_ascii_uppercase();
        if !is_token(&name) {
            return Err(PyValueError::new_err(format!("`{method}` is not a method")));
        }
        let follows = name != "HEAD";
        Ok(Self { name: Arc::from(name), follows })
    }
}

macro_rules! methods {
    ($($constant:ident = $name:literal, $follows:literal;)*) => {
        $(static $constant: LazyLock<Method> =
            LazyLock::new(|| Method { name: Arc::from($name), follows: $follows });)*
    };
}

methods! {
    GET = "GET", true;
    POST = "POST", true;
    PUT = "PUT", true;
    PATCH = "PATCH", true;
    DELETE = "DELETE", true;
    OPTIONS = "OPTIONS", true;
    HEAD = "HEAD", false;
}

#[pymethods]
impl ClientSession {
    #[new]
    #[pyo3(signature = (base_url=None, *, connector=None, headers=None, cookies=None, auth=None, json_serialize=None,
        raise_for_status=false, timeout=None, read_bufsize=None, auto_decompress=true, skip_auto_headers=None,
        proxy=None, proxy_auth=None, trust_env=false, http2=None, version=None, cookie_jar=None,
        connector_owner=None, **others))]
    #[expect(clippy::too_many_arguments, reason = "the keywords of aiohttp's ClientSession")]
    fn new(
        py: Python<'_>,
        base_url: Option<&Bound<'_, PyAny>>,
        connector: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        cookies: Option<&Bound<'_, PyAny>>,
        auth: Option<&Bound<'_, PyAny>>,
        json_serialize: Option<Py<PyAny>>,
        raise_for_status: bool,
        timeout: Option<&Bound<'_, PyAny>>,
        read_bufsize: Option<usize>,
        auto_decompress: bool,
        skip_auto_headers: Option<&Bound<'_, PyAny>>,
        proxy: Option<&Bound<'_, PyAny>>,
        proxy_auth: Option<&Bound<'_, PyAny>>,
        trust_env: bool,
        http2: Option<&Bound<'_, PyAny>>,
        version: Option<&Bound<'_, PyAny>>,
        cookie_jar: Option<&Bound<'_, PyAny>>,
        connector_owner: Option<&Bound<'_, PyAny>>,
        others: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        if let Some((keyword, _)) = others.and_then(|others| others.iter().next()) {
            return Err(PyTypeError::new_err(format!("ClientSession takes no argument `{keyword}`")));
        }
        let base = base_url.map(PyAnyMethods::str).transpose()?;
        let base = base.as_ref().map(PyStringMethods::to_cow).transpose()?;
        let targets = Targets::of(base.as_deref()).map_err(|error| {
            errors::invalid_url(py, base.as_deref().unwrap_or_default(), &error.to_string())
        })?;
        let pairs = cookies.map(payload::cookie_pairs).transpose()?.unwrap_or_default();
        let timeouts = timeout.map(timeout::limits).transpose()?.unwrap_or_default();
        let connector = connector.map(connector_of).transpose()?;
        let http2 = http2.map(options::http2).transpose()?.flatten();
        if http2.is_some() && connector.is_some() {
            return Err(PyValueError::new_err(
                "http2 is the connector's where there is one: say TCPConnector(http2=…) instead",
            ));
        }
        let closes = connector.as_ref().is_some_and(|connector| connector.get().force_close());
        let skipped = skip_auto_headers.map(options::names).transpose()?.unwrap_or_default();
        let headers = if headers.is_some() || auth.is_some() || closes || !skipped.is_empty() {
            Some(session_headers(py, headers, auth, skipped, closes)?.unbind())
        } else {
            None
        };
        let json_serialize = match json_serialize {
            Some(serialize) if serialize.bind(py).is_callable() => serialize,
            Some(_) => {
                return Err(PyTypeError::new_err("json_serialize must be a function, such as json.dumps"));
            }
            None => imported!(py, "json", "dumps")?.clone().unbind(),
        };
        // Closing a session never closes a connector that it was given, whatever is said of it.
        let _ = connector_owner;
        let version_line = options::version(version)?;
        let held = cookie_jar.filter(|jar| !jar.is_none()).map(cookies::held).transpose()?;
        let tls = connector.as_ref().and_then(|connector| connector.get().tls());
        let usual = Usual::of_session(py, tls, proxy, proxy_auth, trust_env)?;
        // What is made outside of users belongs to nobody: whose a call of it is, its task says.
        let scope = current_scope(py)?.filter(|scope| !scope.is_unmeasured());
        let pool = connector.as_ref().map(|connector| connector.get().pool());
        let mut reactor = engine().lock();
        let id = reactor.open_session(pool);
        if let Some(how) = http2 {
            reactor.speak_http2(id, how);
        }
        drop(reactor);
        if let Some(held) = held {
            cookies::take_over(id, targets.base(), held);
        }
        if let Some(target) = targets.base() {
            cookies::keep(id, target, &pairs);
        }
        Ok(Self {
            id,
            closed: false,
            cookies: payload::cookie_header(&pairs).filter(|_| targets.base().is_none()),
            targets,
            scope,
            connector,
            headers_given_away: false,
            version_line,
            version: 0,
            block: match headers {
                Some(_) => Arc::default(),
                None => default_block(py)?,
            },
            typed_block: Mutex::default(),
            headers,
            usual,
            timeouts,
            manner: Manner { raises_for_status: raise_for_status, decodes: auto_decompress },
            json_serialize: Some(json_serialize),
            read_ahead: read_bufsize.unwrap_or(READ_AHEAD),
            lent: Vec::new(),
        })
    }

    #[pyo3(signature = (url, **options))]
    fn get(
        slf: &Bound<'_, Self>,
        url: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Call> {
        Self::call(slf, &GET, url, options, false)
    }

    #[pyo3(signature = (url, **options))]
    fn post(
        slf: &Bound<'_, Self>,
        url: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Call> {
        Self::call(slf, &POST, url, options, false)
    }

    #[pyo3(signature = (url, **options))]
    fn put(
        slf: &Bound<'_, Self>,
        url: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Call> {
        Self::call(slf, &PUT, url, options, false)
    }

    #[pyo3(signature = (url, **options))]
    fn patch(
        slf: &Bound<'_, Self>,
        url: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Call> {
        Self::call(slf, &PATCH, url, options, false)
    }

    #[pyo3(signature = (url, **options))]
    fn delete(
        slf: &Bound<'_, Self>,
        url: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Call> {
        Self::call(slf, &DELETE, url, options, false)
    }

    #[pyo3(signature = (url, **options))]
    fn head(
        slf: &Bound<'_, Self>,
        url: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Call> {
        Self::call(slf, &HEAD, url, options, false)
    }

    #[pyo3(signature = (url, **options))]
    fn options(
        slf: &Bound<'_, Self>,
        url: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Call> {
        Self::call(slf, &OPTIONS, url, options, false)
    }

    #[pyo3(signature = (method, url, **options))]
    fn request(
        slf: &Bound<'_, Self>,
        method: &str,
        url: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Call> {
        Self::call(slf, &Method::named(method)?, url, options, false)
    }

    /// A call that asks for the connection itself, by a reply of 101.
    #[pyo3(signature = (method, url, **options))]
    fn _upgrade(
        slf: &Bound<'_, Self>,
        method: &str,
        url: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Call> {
        Self::call(slf, &Method::named(method)?, url, options, true)
    }

    /// `async with` or `await` it for a WebSocket.
    #[pyo3(signature = (url, **options))]
    fn ws_connect<'py>(
        slf: &Bound<'py, Self>,
        url: &Bound<'py, PyAny>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        imported!(slf.py(), "aiotest.websocket", "Connecting")?.call((slf, url), options)
    }

    /// Closes the connections; calls still open are cut.
    fn close(slf: &Bound<'_, Self>) -> PyResult<Step> {
        Self::shut(slf)?;
        Ok(Step::value(slf.py().None()))
    }

    #[getter]
    fn closed(&self) -> bool {
        self.closed
    }

    /// The headers of every call; changes count from the next call on.
    #[getter]
    fn headers<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        slf.borrow_mut().headers_given_away = true;
        if let Some(headers) = &slf.borrow().headers {
            return Ok(headers.bind(py).clone());
        }
        let headers = session_headers(py, None, None, Vec::new(), false)?;
        slf.borrow_mut().headers = Some(headers.clone().unbind());
        Ok(headers)
    }

    #[getter]
    fn cookie_jar(&self) -> CookieJar {
        CookieJar::of(self.id, Arc::clone(&self.targets))
    }

    #[getter]
    fn timeout(&self) -> ClientTimeout {
        self.timeouts.into()
    }

    fn __aenter__(slf: &Bound<'_, Self>) -> Step {
        Step::value(slf.clone().into_any().unbind())
    }

    #[pyo3(signature = (*_error))]
    fn __aexit__(slf: &Bound<'_, Self>, _error: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<Step> {
        Self::close(slf)
    }

    fn __repr__(&self) -> String {
        let base = self.targets.base().map_or("", |base| base.url.as_str());
        format!("<ClientSession {base}{}>", if self.closed { "closed" } else { "" })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.headers)?;
        visit.call(&self.json_serialize)
    }

    fn __clear__(&mut self) {
        self.headers = None;
        self.json_serialize = None;
    }
}

impl Drop for ClientSession {
    fn drop(&mut self) {
        // Every call and reply holds its session, so none is open here.
        if !self.closed {
            engine().lock().close_session(self.id);
        }
    }
}
