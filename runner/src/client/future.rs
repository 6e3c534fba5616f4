//! What asyncio asks of a Future, for ours that anybody may wait for: the whole of a `gather`, and its tasks.
//!
//! Who waits is called back soon: at the end of the batch in which it was settled, or else when the loop comes round.
//! How one is cancelled is its subclass' business. Start at [`Future::settle`].

use pyo3::exceptions::PyRuntimeError;
use pyo3::exceptions::asyncio::{CancelledError, InvalidStateError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;

use super::driver;
use super::event_loop;
use super::resumed::{self, Resumed};

/// How it ended. Exceptions are instances.
pub(super) enum Outcome {
    Value(Py<PyAny>),
    Raised(Py<PyAny>),
    Cancelled(Py<PyAny>),
}

/// Somebody's wish that it end, with a message if there was one.
pub(super) struct Cancellation(pub(super) Option<Py<PyAny>>);

impl Cancellation {
    pub(super) fn error(self) -> PyErr {
        self.0.map_or_else(|| CancelledError::new_err(()), |message| CancelledError::new_err((message,)))
    }

    pub(super) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self(self.0.as_ref().map(|message| message.clone_ref(py)))
    }
}

/// A Future as asyncio knows it, but for `cancel` and whatever sets its result.
#[pyclass(module = "aiotest._native", subclass, weakref)]
pub(super) struct Future {
    #[pyo3(get, set, name = "_asyncio_future_blocking")]
    blocking: bool,
    event_loop: Option<Py<PyAny>>,
    outcome: Option<Outcome>,
    /// Somebody knows of the exception.
    heard: bool,
    /// With the context that each is to run in.
    callbacks: Vec<(Py<PyAny>, Py<PyAny>)>,
}

impl Future {
    pub(super) fn new(event_loop: Py<PyAny>) -> Self {
        let event_loop = Some(event_loop);
        Self { blocking: false, event_loop, outcome: None, heard: false, callbacks: Vec::new() }
    }

    pub(super) const fn is_done(&self) -> bool {
        self.outcome.is_some()
    }

    pub(super) fn event_loop(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let known = self.event_loop.as_ref().map(|event_loop| event_loop.clone_ref(py));
        known.ok_or_else(|| PyRuntimeError::new_err("this future is being destroyed"))
    }

    /// Ends it, unless it has ended. `heard`: nobody need be told if its exception is never looked at.
    pub(super) fn settle(slf: &Bound<'_, Self>, outcome: Outcome, heard: bool) -> PyResult<()> {
        let callbacks = {
            let mut future = slf.borrow_mut();
            if future.is_done() {
                return Ok(());
            }
            future.outcome = Some(outcome);
            future.heard = heard;
            std::mem::take(&mut future.callbacks)
        };
        callbacks.into_iter().try_for_each(|(callback, context)| Self::call(slf, callback, context))
    }

    fn call(slf: &Bound<'_, Self>, callback: Py<PyAny>, context: Py<PyAny>) -> PyResult<()> {
        let event_loop = slf.borrow().event_loop(slf.py())?;
        driver::soon(
            slf.py(),
            &event_loop,
            driver::Due { callback, context, argument: slf.clone().into_any().unbind() },
        )
    }

    fn pending() -> PyErr {
        InvalidStateError::new_err("Result is not set.")
    }
}

#[pymethods]
impl Future {
    fn get_loop(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.event_loop(py)
    }

    #[pyo3(signature = (callback, *, context=None))]
    fn add_done_callback(
        slf: &Bound<'_, Self>,
        callback: Py<PyAny>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let context = event_loop::given_or_present(py, context)?;
        if slf.borrow().is_done() {
            return Self::call(slf, callback, context);
        }
        slf.borrow_mut().callbacks.push((callback, context));
        Ok(())
    }

    fn remove_done_callback(slf: &Bound<'_, Self>, callback: &Bound<'_, PyAny>) -> PyResult<usize> {
        let py = slf.py();
        let known: Vec<Py<PyAny>> =
            slf.borrow().callbacks.iter().map(|(known, _)| known.clone_ref(py)).collect();
        let mut removed = Vec::new();
        // Comparing runs Python code, which may change the list.
        for each in known {
            if each.bind(py).eq(callback)? {
                let callbacks = &mut slf.borrow_mut().callbacks;
                removed.extend(
                    callbacks.iter().position(|(known, _)| known.is(&each)).map(|at| callbacks.remove(at)),
                );
            }
        }
        Ok(removed.len())
    }

    fn done(&self) -> bool {
        self.is_done()
    }

    fn cancelled(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Cancelled(_)))
    }

    fn result(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.heard = true;
        match &self.outcome {
            None => Err(Self::pending()),
            Some(Outcome::Value(value)) => Ok(value.clone_ref(py)),
            Some(Outcome::Raised(error) | Outcome::Cancelled(error)) => {
                Err(PyErr::from_value(error.bind(py).clone()))
            }
        }
    }

    pub(super) fn exception(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.heard = true;
        match &self.outcome {
            None => Err(Self::pending()),
            Some(Outcome::Value(_)) => Ok(None),
            Some(Outcome::Raised(error)) => Ok(Some(error.clone_ref(py))),
            Some(Outcome::Cancelled(error)) => Err(PyErr::from_value(error.bind(py).clone())),
        }
    }

    /// What asyncio's own `gather` asks of one that was cancelled.
    fn _make_cancelled_error(&self, py: Python<'_>) -> Py<PyAny> {
        match &self.outcome {
            Some(Outcome::Cancelled(error)) => error.clone_ref(py),
            _ => CancelledError::new_err(()).into_value(py).into_any(),
        }
    }

    #[getter]
    fn _cancel_message(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let Some(Outcome::Cancelled(error)) = &self.outcome else { return Ok(None) };
        let arguments = error.bind(py).getattr(intern!(py, "args"))?;
        arguments.try_iter()?.next().transpose().map(|message| message.map(Bound::unbind))
    }

    fn __await__(slf: Bound<'_, Self>) -> Awaited {
        Awaited { future: slf.unbind(), asked: false }
    }

    fn __iter__(slf: Bound<'_, Self>) -> Awaited {
        Self::__await__(slf)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        if let Some(Outcome::Value(known) | Outcome::Raised(known) | Outcome::Cancelled(known)) =
            &self.outcome
        {
            visit.call(known)?;
        }
        self.callbacks.iter().try_for_each(|(callback, context)| {
            visit.call(callback)?;
            visit.call(context)
        })
    }

    fn __clear__(&mut self) {
        self.event_loop = None;
        self.callbacks.clear();
        self.outcome = None;
    }
}

impl Drop for Future {
    /// As asyncio's, an exception that nobody has looked at is told of.
    fn drop(&mut self) {
        let (Some(Outcome::Raised(error)), false, Some(event_loop)) =
            (&self.outcome, self.heard, &self.event_loop)
        else {
            return;
        };
        Python::try_attach(|py| {
            event_loop::report(event_loop.bind(py), "Future exception was never retrieved", error.bind(py));
        });
    }
}

/// One `await` of a Future.
#[pyclass(module = "aiotest._native", freelist = 512)]
pub(super) struct Awaited {
    future: Py<Future>,
    asked: bool,
}

#[pymethods]
impl Awaited {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let mut future = self.future.borrow_mut(py);
        if future.is_done() {
            return resumed::next(py, future.result(py).map(Resumed::Returned));
        }
        if std::mem::replace(&mut self.asked, true) {
            return Err(PyRuntimeError::new_err("await wasn't used with future"));
        }
        future.blocking = true;
        drop(future);
        Ok(Some(self.future.clone_ref(py).into_any()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.future)
    }
}
