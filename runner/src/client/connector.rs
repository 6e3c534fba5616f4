//! `TCPConnector`: a pool of connections that sessions share. It holds the reactor's pool; what a pool is, is in
//! `reactor::pool`.

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

#[pymethods]
impl TcpConnector {
    #[new]
    #[pyo3(signature = (*, limit=100, force_close=false, ssl=None, verify_ssl=None, http2=None, **others))]
    fn new(
        limit: i64,
        force_close: bool,
        ssl: Option<&Bound<'_, PyAny>>,
        verify_ssl: Option<&Bound<'_, PyAny>>,
        http2: Option<&Bound<'_, PyAny>>,
        others: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        if let Some((keyword, _)) = others.and_then(|others| others.iter().next()) {
            let text = format!(
                "TCPConnector takes no argument `{keyword}` (it takes limit, force_close, ssl, verify_ssl, http2)"
            );
            return Err(PyTypeError::new_err(text));
        }
        let limit = usize::try_from(limit).map_err(|_| {
            PyValueError::new_err(format!(
                "limit must be a number of connections, or 0 for no limit, not {limit}"
            ))
        })?;
        let tls = way::tls(ssl, verify_ssl)?;
        let http2 = http2.map(options::http2).transpose()?.flatten();
        let mut reactor = engine().lock();
        let pool = reactor.open_pool(limit, force_close);
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
