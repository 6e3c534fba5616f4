//! `TCPConnector`: a pool of connections that sessions share. It holds the reactor's pool; what a pool is, is in
//! `reactor::pool`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::options;
use super::step::Step;
use super::way;
use crate::reactor::engine::engine;
use crate::reactor::trust::TlsSettings;
use crate::reactor::{Limits, PoolId};

/// Connections that all sessions made with it share.
#[pyclass(module = "aiotest._native", name = "TCPConnector", frozen, weakref)]
pub(super) struct TcpConnector {
    pool: PoolId,
    limits: Limits,
    closed: AtomicBool,
    tls: Option<Arc<TlsSettings>>,
}

impl TcpConnector {
    /// How its connections speak TLS; `None`: as usual.
    pub(super) fn tls(&self) -> Option<Arc<TlsSettings>> {
        self.tls.clone()
    }

    pub(super) fn pool(&self) -> PoolId {
        self.pool
    }

    fn shut(&self) {
        if !self.closed.swap(true, Ordering::Relaxed) {
            engine().lock().close_pool(self.pool);
        }
    }
}

/// A number of connections; 0 is no limit.
fn bound(name: &str, given: i64) -> PyResult<usize> {
    match usize::try_from(given) {
        Ok(0) => Ok(usize::MAX),
        Ok(limit) => Ok(limit),
        Err(_) => Err(PyValueError::new_err(format!(
            "{name} must be a number of connections, or 0 for no limit, not {given}"
        ))),
    }
}

/// The number that [`bound`] was given.
const fn shown(bound: usize) -> usize {
    if bound == usize::MAX { 0 } else { bound }
}

/// How long an idle connection is kept.
fn keep(seconds: f64, force_close: bool) -> PyResult<Duration> {
    if force_close {
        return Err(PyValueError::new_err("keepalive_timeout cannot be set where force_close is True"));
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        PyValueError::new_err(format!("keepalive_timeout must be a number of seconds from 0, not {seconds}"))
    })
}

/// What `local_addr` says: a pair of address and port, as aiohttp has it, or several addresses.
fn sources(given: &Bound<'_, PyAny>) -> PyResult<Vec<SocketAddr>> {
    if given.is_none() {
        return Ok(Vec::new());
    }
    let wrong = || {
        let given = given.repr().map_or_else(|error| error.to_string(), |text| text.to_string());
        PyValueError::new_err(format!(
            "local_addr must be a pair of an address of this machine and a port (0 for any), or a list of such \
             addresses, not {given}"
        ))
    };
    if let Ok((address, port)) = given.extract::<(String, u16)>() {
        return Ok(vec![SocketAddr::new(address.parse().map_err(|_| wrong())?, port)]);
    }
    let addresses = given.extract::<Vec<String>>().map_err(|_| wrong())?;
    let parsed = addresses.iter().map(|address| address.parse().map(|address| SocketAddr::new(address, 0)));
    let parsed = parsed.collect::<Result<Vec<_>, _>>().map_err(|_| wrong())?;
    if parsed.is_empty() { Err(wrong()) } else { Ok(parsed) }
}

#[pymethods]
impl TcpConnector {
    #[new]
    #[pyo3(signature = (*, limit=100, limit_per_host=0, force_close=false, keepalive_timeout=None, ssl=None, verify_ssl=None,
        http2=None, local_addr=None, use_dns_cache=None, ttl_dns_cache=None, enable_cleanup_closed=None, **others))]
    #[expect(clippy::too_many_arguments, reason = "the keywords of aiohttp's TCPConnector")]
    fn new(
        limit: i64,
        limit_per_host: i64,
        force_close: bool,
        keepalive_timeout: Option<f64>,
        ssl: Option<&Bound<'_, PyAny>>,
        verify_ssl: Option<&Bound<'_, PyAny>>,
        http2: Option<&Bound<'_, PyAny>>,
        local_addr: Option<&Bound<'_, PyAny>>,
        use_dns_cache: Option<&Bound<'_, PyAny>>,
        ttl_dns_cache: Option<&Bound<'_, PyAny>>,
        enable_cleanup_closed: Option<&Bound<'_, PyAny>>,
        others: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        if let Some((keyword, _)) = others.and_then(|others| others.iter().next()) {
            let text = format!(
                "TCPConnector takes no argument `{keyword}` (it takes limit, limit_per_host, force_close, \
                 keepalive_timeout, ssl, verify_ssl, http2, local_addr, and without effect use_dns_cache, ttl_dns_cache, enable_cleanup_closed)"
            );
            return Err(PyTypeError::new_err(text));
        }
        let limits = Limits {
            all: bound("limit", limit)?,
            per_host: bound("limit_per_host", limit_per_host)?,
            force_close,
            keep: keepalive_timeout.map(|seconds| keep(seconds, force_close)).transpose()?,
        };
        let tls = way::tls(ssl, verify_ssl)?;
        // The engine has one cache of names for all connectors, and leaves no TLS half closed.
        let _ = (use_dns_cache, ttl_dns_cache, enable_cleanup_closed);
        let http2 = http2.map(options::http2).transpose()?.flatten();
        let sources = local_addr.map(sources).transpose()?.unwrap_or_default();
        let mut reactor = engine().lock();
        let pool = reactor.open_pool(limits);
        reactor.use_sources(pool, sources);
        if let Some(how) = http2 {
            reactor.speak_http2_in(pool, how);
        }
        drop(reactor);
        Ok(Self { pool, limits, closed: AtomicBool::new(false), tls })
    }

    #[getter]
    fn limit(&self) -> usize {
        shown(self.limits.all)
    }

    #[getter]
    fn limit_per_host(&self) -> usize {
        shown(self.limits.per_host)
    }

    #[getter]
    pub(super) fn force_close(&self) -> bool {
        self.limits.force_close
    }

    #[getter]
    pub(super) fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Closes the idle connections; calls that wait for one are cut.
    fn close(&self, py: Python<'_>) -> Step {
        self.shut();
        Step::value(py.None())
    }

    fn __repr__(&self) -> String {
        format!("<TCPConnector limit={}{}>", self.limit(), if self.closed() { " closed" } else { "" })
    }
}

impl Drop for TcpConnector {
    fn drop(&mut self) {
        // Every session holds its connector, and every call and reply its session, so none is open here.
        self.shut();
    }
}
