//! What a task waits on while its call is under way: the one Future-like object, made per suspension.
//!
//! `asyncio.Task` asks of it `_asyncio_future_blocking`, `get_loop`, `add_done_callback`, `cancel` and `result`, in
//! C and in Python, from 3.11 on. Completion runs the task's callback inside the batch, in the task's own context;
//! cancellation never runs it inline, because the canceller may be a task that is running.

use pyo3::exceptions::PyRuntimeError;
use pyo3::exceptions::asyncio::{CancelledError, InvalidStateError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::{errors, event_loop};
use crate::reactor::CallId;
use crate::reactor::engine::engine;

enum State {
    Pending,
    Done,
    Cancelled(Option<Py<PyAny>>),
}

/// Suspends one task until its call has got on.
#[pyclass(module = "aiotest._native", freelist = 512)]
pub(super) struct Waiter {
    #[pyo3(get, set, name = "_asyncio_future_blocking")]
    blocking: bool,
    call: CallId,
    event_loop: Option<Py<PyAny>>,
    callback: Option<Py<PyAny>>,
    context: Option<Py<PyAny>>,
    state: State,
}

impl Waiter {
    pub(super) fn new(call: CallId, event_loop: Py<PyAny>) -> Self {
        let event_loop = Some(event_loop);
        Self { blocking: true, call, event_loop, callback: None, context: None, state: State::Pending }
    }

    pub(super) fn is_pending(&self) -> bool {
        matches!(self.state, State::Pending)
    }

    /// Has `callback` called in `context` once there is something to look at.
    pub(super) fn call_back(slf: &Bound<'_, Self>, callback: Py<PyAny>, context: Py<PyAny>) -> PyResult<()> {
        let mut waiter = slf.borrow_mut();
        if !waiter.is_pending() {
            drop(waiter);
            return Self::call_soon(slf, &callback, &context);
        }
        if waiter.callback.is_some() {
            return Err(PyRuntimeError::new_err("one suspension of a call has one waiting task"));
        }
        waiter.callback = Some(callback);
        waiter.context = Some(context);
        Ok(())
    }

    /// Resumes the task here and now, in its own context. Called from the loop's callback only.
    pub(super) fn wake(slf: &Bound<'_, Self>) -> PyResult<()> {
        if let Some((callback, context)) = Self::settle(slf, State::Done) {
            event_loop::run_in(context.bind(slf.py()), callback.bind(slf.py()), slf)?;
        }
        Ok(())
    }

    /// Has the task resumed by the loop, to look again at what it waits for.
    pub(super) fn wake_soon(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::settle_soon(slf, State::Done)
    }

    /// Has the task resumed with a `CancelledError`; the call itself is left alone.
    pub(super) fn cancel_soon(slf: &Bound<'_, Self>, message: Option<Py<PyAny>>) -> PyResult<()> {
        Self::settle_soon(slf, State::Cancelled(message))
    }

    fn settle(slf: &Bound<'_, Self>, state: State) -> Option<(Py<PyAny>, Py<PyAny>)> {
        let mut waiter = slf.borrow_mut();
        if !waiter.is_pending() {
            return None;
        }
        waiter.state = state;
        Some((waiter.callback.take()?, waiter.context.take()?))
    }

    fn settle_soon(slf: &Bound<'_, Self>, state: State) -> PyResult<()> {
        match Self::settle(slf, state) {
            Some((callback, context)) => Self::call_soon(slf, &callback, &context),
            None => Ok(()),
        }
    }

    fn call_soon(slf: &Bound<'_, Self>, callback: &Py<PyAny>, context: &Py<PyAny>) -> PyResult<()> {
        let py = slf.py();
        let event_loop = slf.borrow().event_loop.as_ref().map(|event_loop| event_loop.clone_ref(py));
        let Some(event_loop) = event_loop else { return Ok(()) };
        event_loop::call_soon(event_loop.bind(py), callback.bind(py), Some(slf.as_any()), context)
    }
}

#[pymethods]
impl Waiter {
    fn get_loop(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.event_loop.as_ref().map(|event_loop| event_loop.clone_ref(py))
    }

    #[pyo3(signature = (callback, *, context=None))]
    fn add_done_callback(
        slf: &Bound<'_, Self>,
        callback: Py<PyAny>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let context = event_loop::given_or_present(slf.py(), context)?;
        Self::call_back(slf, callback, context)
    }

    fn remove_done_callback(slf: &Bound<'_, Self>, callback: &Bound<'_, PyAny>) -> PyResult<usize> {
        let known = slf.borrow().callback.as_ref().map(|known| known.clone_ref(slf.py()));
        let Some(known) = known else { return Ok(0) };
        if !known.bind(slf.py()).eq(callback)? {
            return Ok(0);
        }
        let taken = slf.borrow_mut().callback.take();
        drop(taken);
        Ok(1)
    }

    /// Aborts the exchange and has the task resumed with a `CancelledError`.
    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        if !slf.borrow().is_pending() {
            return Ok(false);
        }
        let by = errors::canceller(slf.py())?;
        let call = slf.borrow().call;
        engine().lock().abort(call, by);
        Self::cancel_soon(slf, msg)?;
        super::driver::look_again(slf.py(), call)?;
        Ok(true)
    }

    fn cancelled(&self) -> bool {
        matches!(self.state, State::Cancelled(_))
    }

    fn done(&self) -> bool {
        !self.is_pending()
    }

    pub(super) fn result(&self, py: Python<'_>) -> PyResult<()> {
        match &self.state {
            State::Done => Ok(()),
            State::Pending => Err(InvalidStateError::new_err("the call is under way")),
            State::Cancelled(None) => Err(CancelledError::new_err(())),
            State::Cancelled(Some(message)) => Err(CancelledError::new_err((message.clone_ref(py),))),
        }
    }

    fn exception(&self, py: Python<'_>) -> PyResult<()> {
        self.result(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        visit.call(&self.callback)?;
        visit.call(&self.context)?;
        if let State::Cancelled(message) = &self.state {
            visit.call(message)?;
        }
        Ok(())
    }

    fn __clear__(&mut self) {
        self.event_loop = None;
        self.callback = None;
        self.context = None;
        self.state = State::Done;
    }
}
