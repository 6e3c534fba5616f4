//! The awaitables of a WebSocket and of a body that is streamed: a message that comes, and that what was said is out.

use std::sync::Arc;

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::driver;
use super::exchange::Exchange;
use super::resumed::{self, Resumed};
use super::websocket::WebSocketStream;
use crate::reactor::Wake;

enum Want {
    Message(Py<WebSocketStream>),
    /// Everything that was said is out, or the call is over.
    Drained(Arc<Exchange>),
    Over,
}

/// One awaitable. Cancelling it loses nothing: what has come is there for the next one, and what was said goes out.
#[pyclass(module = "aiotest._native")]
pub(super) struct Said {
    want: Want,
}

impl Said {
    pub(super) fn message(stream: &Bound<'_, WebSocketStream>) -> Self {
        Self { want: Want::Message(stream.clone().unbind()) }
    }

    pub(super) fn drained(exchange: &Arc<Exchange>) -> Self {
        Self { want: Want::Drained(Arc::clone(exchange)) }
    }

    fn resume(slf: &Bound<'_, Self>) -> PyResult<Resumed> {
        let py = slf.py();
        let want = std::mem::replace(&mut slf.borrow_mut().want, Want::Over);
        let step = match &want {
            Want::Message(stream) => WebSocketStream::advance(stream.bind(py)),
            Want::Drained(exchange) => driver::wait(py, exchange.id, Wake::Drained)
                .map(|waiter| waiter.map_or_else(|| Resumed::Returned(py.None()), Resumed::Suspended)),
            Want::Over => return Err(PyRuntimeError::new_err("cannot reuse already awaited coroutine")),
        };
        if matches!(step, Ok(Resumed::Suspended(_))) {
            slf.borrow_mut().want = want;
        }
        step
    }
}

#[pymethods]
impl Said {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        resumed::next(slf.py(), Self::resume(slf))
    }

    fn send(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        resumed::only_none(value)?;
        resumed::give(Self::resume(slf))
    }

    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        slf: &Bound<'_, Self>,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let _ = traceback;
        Self::close(slf);
        Err(resumed::thrown(kind, value))
    }

    fn close(slf: &Bound<'_, Self>) {
        let want = std::mem::replace(&mut slf.borrow_mut().want, Want::Over);
        drop(want);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.want {
            Want::Message(stream) => visit.call(stream),
            Want::Drained(_) | Want::Over => Ok(()),
        }
    }

    fn __clear__(&mut self) {
        self.want = Want::Over;
    }
}
