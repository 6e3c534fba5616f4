//! `Call`: what `session.get(…)` returns. A coroutine in all that asyncio asks of one, and a context manager.
//!
//! The request starts at the first await, so a call that is never awaited sends nothing, and warns as a coroutine does.

use std::ffi::CString;
use std::sync::Arc;

use pyo3::exceptions::{PyGeneratorExit, PyRuntimeError, PyRuntimeWarning};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::errors::{self, Asked};
use super::exchange::Exchange;
use super::leaving::{Leaving, Outcome};
use super::response::{Received, Response};
use super::resumed::{self, Resumed};
use super::scope::Scope;
use super::session::ClientSession;
use super::upload::{Streamed, Upload};
use super::{driver, notify, verdict};
use crate::reactor::engine::engine;
use crate::reactor::request::Request;
use crate::reactor::{Leave, Reply, Verdict, Wake};

/// A call that has not started yet.
pub(super) struct Prepared {
    pub(super) request: Request,
    pub(super) scope: Option<Arc<Scope>>,
    pub(super) manner: Manner,
    /// The body, where that is no part of the request.
    pub(super) streamed: Option<Streamed>,
}

/// How the reply is given to the scenario.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// A status of 400 or more raises.
    pub(super) raises_for_status: bool,
    /// Whatever its Content-Encoding was.
    pub(super) decodes: bool,
}

enum State {
    Fresh(Box<Prepared>),
    /// Waits for the head of the reply.
    Waiting {
        exchange: Arc<Exchange>,
        manner: Manner,
    },
    /// There is no reply to enter the block with: the record and its handlers, then the exception.
    Failing(Leaving),
    /// The reply was given away.
    Replied(Py<Response>),
    Over,
}

/// One HTTP call: `async with` it, `await` it, or hand it to asyncio as a coroutine.
#[pyclass(module = "aiotest._native", freelist = 512, weakref)]
pub(super) struct Call {
    state: State,
    session: Option<Py<ClientSession>>,
    asked: Asked,
    /// In an `async with`, where the end of the block is the end of the call.
    block: bool,
}

impl Call {
    pub(super) fn new(session: Py<ClientSession>, prepared: Prepared) -> Self {
        let asked = Asked {
            method: Arc::clone(&prepared.request.method),
            target: Arc::clone(&prepared.request.target),
            headers: Arc::clone(&prepared.request.headers),
            route: prepared.request.route.clone(),
        };
        Self { state: State::Fresh(Box::new(prepared)), session: Some(session), asked, block: false }
    }

    fn resume(slf: &Bound<'_, Self>) -> PyResult<Resumed> {
        let py = slf.py();
        let state = std::mem::replace(&mut slf.borrow_mut().state, State::Over);
        match state {
            State::Fresh(prepared) => {
                let Prepared { request, scope, manner, streamed } = *prepared;
                let (exchange, reply) = Exchange::start(py, request, scope)?;
                if let Some(streamed) = streamed {
                    Upload::begin(py, &exchange, streamed)?;
                }
                if let Some(reply) = reply {
                    return Self::replied(slf, &exchange, reply, manner);
                }
                let waiter = driver::suspend(py, exchange.id, Wake::Head)?;
                slf.borrow_mut().state = State::Waiting { exchange, manner };
                Ok(Resumed::Suspended(waiter))
            }
            State::Waiting { exchange, manner } => {
                let reply = engine().lock().take_reply(exchange.id);
                if let Some(reply) = reply {
                    return Self::replied(slf, &exchange, reply, manner);
                }
                let waiter = driver::suspend(py, exchange.id, Wake::Head)?;
                slf.borrow_mut().state = State::Waiting { exchange, manner };
                Ok(Resumed::Suspended(waiter))
            }
            State::Failing(leaving) => Self::keep(slf, leaving.resume(py)),
            State::Replied(response) => {
                slf.borrow_mut().state = State::Replied(response);
                Err(reused())
            }
            State::Over => Err(reused()),
        }
    }

    /// The head is there, or the call has failed.
    fn replied(
        slf: &Bound<'_, Self>,
        exchange: &Arc<Exchange>,
        reply: Reply,
        manner: Manner,
    ) -> PyResult<Resumed> {
        let py = slf.py();
        let Some(head) = reply.head else {
            let error = match reply.failure {
                Some(failure) => errors::of_failure(py, &failure, &slf.borrow().asked, None),
                None => errors::closed(py),
            };
            errors::mark_recorded(py, &error);
            return Self::fail(slf, exchange, error);
        };
        let (session, asked, block) = {
            let mut call = slf.borrow_mut();
            (call.session.take(), call.asked.clone(), call.block)
        };
        if let Some(session) = &session
            && !block
        {
            session.borrow_mut(py).lend(exchange);
        }
        let received = Received { head, history: reply.history, body: reply.body, decodes: manner.decodes };
        let response = Response::new(Arc::clone(exchange), session, received, asked, block);
        let response = Py::new(py, response)?;
        if manner.raises_for_status
            && let Some(error) = Response::status_error(response.bind(py))
        {
            response.borrow_mut(py).give_up();
            exchange.leave(py, Leave::Block(Verdict::ByStatus));
            return Self::fail(slf, exchange, error);
        }
        slf.borrow_mut().state = State::Replied(response.clone_ref(py));
        Ok(Resumed::Returned(response.into_any()))
    }

    fn fail(slf: &Bound<'_, Self>, exchange: &Arc<Exchange>, error: PyErr) -> PyResult<Resumed> {
        let py = slf.py();
        let record = exchange.record(py);
        let leaving = Leaving::new(py, exchange, record.as_ref(), Outcome::raise(py, error))?;
        Self::keep(slf, leaving.resume(py))
    }

    fn keep(slf: &Bound<'_, Self>, step: PyResult<(Option<Leaving>, Resumed)>) -> PyResult<Resumed> {
        let (leaving, resumed) = step?;
        if let Some(leaving) = leaving {
            slf.borrow_mut().state = State::Failing(leaving);
        }
        Ok(resumed)
    }

    fn interrupt(slf: &Bound<'_, Self>, error: PyErr) -> PyResult<Resumed> {
        let py = slf.py();
        let state = std::mem::replace(&mut slf.borrow_mut().state, State::Over);
        match state {
            State::Fresh(_) => Err(error),
            State::Waiting { exchange, .. } => {
                if let Some(record) = exchange.abort(py, errors::abort_of(py, &error)) {
                    notify::detached(py, &record);
                }
                Err(error)
            }
            State::Failing(leaving) => Self::keep(slf, leaving.throw(py, error)),
            State::Replied(response) => {
                slf.borrow_mut().state = State::Replied(response);
                Err(reused())
            }
            State::Over => Err(reused()),
        }
    }
}

fn reused() -> PyErr {
    PyRuntimeError::new_err("cannot reuse already awaited coroutine")
}

#[pymethods]
impl Call {
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
        resumed::give(Self::interrupt(slf, resumed::thrown(kind, value)))
    }

    /// Ends the call where it is; one that is under way is cut.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        if matches!(slf.borrow().state, State::Replied(_) | State::Over) {
            return Ok(());
        }
        match Self::interrupt(slf, PyGeneratorExit::new_err(())) {
            Err(error) if error.is_instance_of::<PyGeneratorExit>(slf.py()) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(PyRuntimeError::new_err("coroutine ignored GeneratorExit")),
        }
    }

    fn __aenter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        if !matches!(slf.borrow().state, State::Fresh(_)) {
            return Err(reused());
        }
        slf.borrow_mut().block = true;
        Ok(slf)
    }

    fn __aexit__<'py>(
        slf: &Bound<'py, Self>,
        kind: &Bound<'py, PyAny>,
        error: &Bound<'py, PyAny>,
        traceback: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = (kind, traceback);
        let state = std::mem::replace(&mut slf.borrow_mut().state, State::Over);
        let State::Replied(response) = state else {
            return Err(PyRuntimeError::new_err("the block was never entered"));
        };
        verdict::leave_block(response.bind(slf.py()), error)
    }

    #[getter]
    fn __qualname__(&self) -> String {
        format!("ClientSession.{}", self.asked.method.to_lowercase())
    }

    fn __repr__(&self) -> String {
        format!("<Call {} {}>", self.asked.method, self.asked.target.url)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.session)?;
        match &self.state {
            State::Failing(leaving) => leaving.visit(&visit),
            State::Replied(response) => visit.call(response),
            State::Fresh(prepared) => {
                prepared.streamed.as_ref().map_or(Ok(()), |streamed| visit.call(&streamed.pieces))
            }
            State::Waiting { .. } | State::Over => Ok(()),
        }
    }

    fn __clear__(&mut self) {
        self.session = None;
        if matches!(self.state, State::Failing(_) | State::Replied(_)) {
            self.state = State::Over;
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !matches!(self.state, State::Fresh(_)) {
            return;
        }
        let text = format!("coroutine '{}' was never awaited", self.__qualname__());
        Python::try_attach(|py| {
            let Ok(text) = CString::new(text) else { return };
            let category = py.get_type::<PyRuntimeWarning>();
            if let Err(error) = PyErr::warn(py, &category, &text, 1) {
                error.write_unraisable(py, None);
            }
        });
    }
}
