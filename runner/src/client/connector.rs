//! `TCPConnector`: a pool of connections that sessions share. It holds the reactor's pool; what a pool is, is in
//! `reactor::pool`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::options;
use super::step::Step;
use super::way;
use crate::reactor::PoolId;
use crate::reactor::engine::engine;
use crate::reactor::trust::TlsSettings;

/// Connections that all sessions made with it share.
#[pyclass(module = "aiotest._native", name = "TCPConnector", frozen, weakref)]
pub(super) struct TcpConnector {
    pool: PoolId,
    limit: usize,
    force_close: bool,
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
    #[pyo3(signature = (*, limit=100, force_close=false, ssl=None, verify_ssl=None, http2=None, local_addr=None,
        use_dns_cache=None, ttl_dns_cache=None, enable_cleanup_closed=None, **others))]
    #[expect(clippy::too_many_arguments, reason = "the keywords of aiohttp's TCPConnector")]
    fn new(
        limit: i64,
        force_close: bool,
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
                "TCPConnector takes no argument `{keyword}` (it takes limit, force_close, ssl, verify_ssl, http2, \
                 local_addr, and without effect use_dns_cache, ttl_dns_cache, enable_cleanup_closed)"
            );
            return Err(PyTypeError::new_err(text));
        }
        let limit = usize::try_from(limit).map_err(|_| {
            PyValueError::new_err(format!(
                "limit must be a number of connections, or 0 for no limit, not {limit}"
            ))
        })?;
        let tls = way::tls(ssl, verify_ssl)?;
        // The engine has one cache of names for all connectors, and leaves no TLS half closed.
        let _ = (use_dns_cache, ttl_dns_cache, enable_cleanup_closed);
        let http2 = http2.map(options::http2).transpose()?.flatten();
        let sources = local_addr.map(sources).transpose()?.unwrap_or_default();
        let mut reactor = engine().lock();
        let pool = reactor.open_pool(limit, force_close);
        reactor.use_sources(pool, sources);
        if let Some(how) = http2 {
            reactor.speak_http2_in(pool, how);
        }
        drop(reactor);
        Ok(Self { pool, limit, force_close, closed: AtomicBool::new(false), tls })
    }

    #[getter]
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    #[getter]
    pub(super) fn force_close(&self) -> bool {
        self.force_close
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
        format!("<TCPConnector limit={}{}>", self.limit, if self.closed() { " closed" } else { "" })
    }
}

impl Drop for TcpConnector {
    fn drop(&mut self) {
        // Every session holds its connector, and every call and reply its session, so none is open here.
        self.shut();
    }
}
