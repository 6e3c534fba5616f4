//! A task of a `gather`: what asyncio's own is, as documented for tasks of others' make, but begun at once, for a third of
//! the cost.
//!
//! asyncio sees it (`current_task`, `all_tasks`), and so do `timeout` and `TaskGroup`. It runs in a context of its own, a
//! copy of its maker's. Start at [`Task::step`].

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::PyRuntimeError;
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use super::future::{Cancellation, Future, Outcome};
use super::gathering::Gathering;
use super::resumed::{self, Resumed};
use super::waiter::Waiter;
use super::{event_loop, ffi};

/// A coroutine that runs beside others.
#[pyclass(module = "aiotest._native", extends = Future, freelist = 512)]
pub(super) struct Task {
    coroutine: Option<Py<PyAny>>,
    context: Py<PyAny>,
    name: Option<Py<PyAny>>,
    /// What it awaits.
    waits_for: Option<Py<PyAny>>,
    /// What its next step is to raise, whatever it waited for.
    throws: Option<PyErr>,
    /// It was cancelled while it waited for nothing.
    must_cancel: Option<Cancellation>,
    /// How often it was cancelled, less how often that was taken back.
    cancels: usize,
    gathering: Option<Py<Gathering>>,
    index: usize,
    begun: bool,
}

impl Task {
    /// A task that has not begun, whose outcome is number `index` of the whole's.
    pub(super) fn of(
        event_loop: Py<PyAny>,
        coroutine: Bound<'_, PyAny>,
        gathering: Py<Gathering>,
        index: usize,
    ) -> PyResult<Bound<'_, Self>> {
        let py = coroutine.py();
        let task = Self {
            coroutine: Some(coroutine.unbind()),
            context: imported!(py, "contextvars", "copy_context")?.call0()?.unbind(),
            name: None,
            waits_for: None,
            throws: None,
            must_cancel: None,
            cancels: 0,
            gathering: Some(gathering),
            index,
            begun: false,
        };
        Bound::new(py, PyClassInitializer::from(Future::new(event_loop)).add_subclass(task))
    }

    /// Runs it to its first suspension. Who begins many says afterwards whose turn it is again, once.
    pub(super) fn begin(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        ffi::call(imported!(py, "aiotest.tasks", "register")?, [slf])?;
        let context = slf.borrow().context.clone_ref(py);
        ffi::call_method(intern!(py, "run"), [context.bind(py), Self::unbound_step(py)?, slf]).map(drop)
    }

    /// What resumes the task that it is called with.
    pub(super) fn unbound_step(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
        static STEP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let step = STEP.get_or_try_init(py, || Ok(py.get_type::<Self>().getattr("_step")?.unbind()));
        step.map(|step| step.bind(py))
    }

    /// Resumes the coroutine; in the task's context.
    fn step(slf: &Bound<'_, Self>, thrown: Option<PyErr>) -> PyResult<()> {
        let py = slf.py();
        let (coroutine, instead, must_cancel, waited_for, is_first) = {
            let mut task = slf.borrow_mut();
            let is_first = !std::mem::replace(&mut task.begun, true);
            let coroutine = task.coroutine.as_ref().map(|coroutine| coroutine.clone_ref(py));
            (coroutine, task.throws.take(), task.must_cancel.take(), task.waits_for.take(), is_first)
        };
        drop(waited_for);
        let Some(coroutine) = coroutine else { return Ok(()) };
        let thrown = instead.or(thrown);
        let is_cancelled = thrown.as_ref().is_some_and(|error| error.is_instance_of::<CancelledError>(py));
        let thrown = must_cancel.filter(|_| !is_cancelled).map(Cancellation::error).or(thrown);

        let event_loop = slf.as_super().borrow().event_loop(py)?;
        let swap = imported!(py, "aiotest.tasks", "swap")?;
        let before = ffi::call(swap, [event_loop.bind(py), slf])?;
        let stepped = match thrown {
            None => resumed::send(coroutine.bind(py)),
            Some(error) => resumed::throw(coroutine.bind(py), error),
        };
        if !is_first {
            ffi::call(swap, [event_loop.bind(py), &before])?;
        }
        match stepped {
            Ok(Resumed::Suspended(awaited)) => Self::wait(slf, &event_loop, awaited.bind(py)),
            Ok(Resumed::Returned(value)) => Self::end(slf, Outcome::Value(value)),
            Err(error) => {
                let value = error.clone_ref(py).into_value(py).into_any();
                if error.is_instance_of::<CancelledError>(py) {
                    return Self::end(slf, Outcome::Cancelled(value));
                }
                Self::end(slf, Outcome::Raised(value))?;
                if event_loop::is_stop(py, &error) { Err(error) } else { Ok(()) }
            }
        }
    }

    /// Has itself resumed when what its coroutine has yielded is done.
    fn wait(slf: &Bound<'_, Self>, event_loop: &Py<PyAny>, awaited: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let context = slf.borrow().context.clone_ref(py);
        if let Ok(waiter) = awaited.cast_exact::<Waiter>() {
            Waiter::call_back(waiter, slf.clone().into_any().unbind(), context)?;
        } else {
            let unfit = Self::unfit(slf, event_loop, awaited)?;
            if awaited.is_none() || unfit.is_some() {
                slf.borrow_mut().throws = unfit.map(PyRuntimeError::new_err);
                return event_loop::call_soon(event_loop.bind(py), slf, None, &context);
            }
            awaited.setattr(intern!(py, "_asyncio_future_blocking"), false)?;
            let step = slf.getattr(intern!(py, "_step"))?;
            let keywords = event_loop::in_context(py, &context)?;
            awaited.call_method(intern!(py, "add_done_callback"), (step,), Some(&keywords))?;
        }
        let must_cancel = {
            let mut task = slf.borrow_mut();
            task.waits_for = Some(awaited.clone().unbind());
            task.must_cancel.as_ref().map(|cancellation| cancellation.clone_ref(py))
        };
        if let Some(Cancellation(message)) = must_cancel
            && Self::cancel_awaited(awaited, message.as_ref())?
        {
            slf.borrow_mut().must_cancel = None;
        }
        Ok(())
    }

    fn cancel_awaited(awaited: &Bound<'_, PyAny>, message: Option<&Py<PyAny>>) -> PyResult<bool> {
        let py = awaited.py();
        let keywords = PyDict::new(py);
        keywords.set_item(intern!(py, "msg"), message)?;
        awaited.call_method(intern!(py, "cancel"), (), Some(&keywords))?.is_truthy()
    }

    /// Why it cannot wait for that; as asyncio says it.
    fn unfit(
        slf: &Bound<'_, Self>,
        event_loop: &Py<PyAny>,
        awaited: &Bound<'_, PyAny>,
    ) -> PyResult<Option<String>> {
        let py = slf.py();
        if awaited.is_none() {
            return Ok(None);
        }
        let blocking = awaited.getattr_opt(intern!(py, "_asyncio_future_blocking"))?;
        let text = match blocking.filter(|blocking| !blocking.is_none()) {
            None => format!("Task got bad yield: {}", awaited.repr()?),
            Some(_) if awaited.is(slf) => format!("Task cannot await on itself: {}", slf.repr()?),
            Some(_) if !awaited.call_method0(intern!(py, "get_loop"))?.is(event_loop) => {
                format!("Task {} got Future {} attached to a different loop", slf.repr()?, awaited.repr()?)
            }
            Some(blocking) if !blocking.is_truthy()? => {
                format!(
                    "yield was used instead of yield from in task {} with {}",
                    slf.repr()?,
                    awaited.repr()?
                )
            }
            Some(_) => return Ok(None),
        };
        Ok(Some(text))
    }

    fn end(slf: &Bound<'_, Self>, outcome: Outcome) -> PyResult<()> {
        let py = slf.py();
        let (coroutine, must_cancel, gathering, index) = {
            let mut task = slf.borrow_mut();
            (task.coroutine.take(), task.must_cancel.take(), task.gathering.take(), task.index)
        };
        drop(coroutine);
        ffi::call(imported!(py, "aiotest.tasks", "unregister")?, [slf])?;
        // Cancelled while it took its last step.
        let outcome = match (outcome, must_cancel) {
            (Outcome::Value(_), Some(cancellation)) => {
                Outcome::Cancelled(cancellation.error().into_value(py).into_any())
            }
            (outcome, _) => outcome,
        };
        let told = gathering.map_or(Ok(()), |whole| Gathering::ended(whole.bind(py), index, &outcome));
        Future::settle(slf.as_super(), outcome, true)?;
        told
    }
}

#[pymethods]
impl Task {
    /// `isinstance` takes it for one of asyncio's own.
    #[getter]
    fn __class__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Ok(imported!(slf.py(), "asyncio", "Task")?.clone().unbind())
    }

    #[pyo3(signature = (awaited=None))]
    fn _step(slf: &Bound<'_, Self>, awaited: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let py = slf.py();
        let thrown = awaited.and_then(|awaited| match awaited.cast_exact::<Waiter>() {
            Ok(waiter) => waiter.borrow().result(py).err(),
            Err(_) => awaited.call_method0(intern!(py, "result")).err(),
        });
        Self::step(slf, thrown)
    }

    #[pyo3(signature = (msg=None))]
    pub(super) fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let py = slf.py();
        if slf.as_super().borrow().is_done() {
            return Ok(false);
        }
        let awaited = {
            let mut task = slf.borrow_mut();
            task.cancels += 1;
            task.waits_for.as_ref().map(|awaited| awaited.clone_ref(py))
        };
        if let Some(awaited) = awaited
            && Self::cancel_awaited(awaited.bind(py), msg.as_ref())?
        {
            return Ok(true);
        }
        slf.borrow_mut().must_cancel = Some(Cancellation(msg));
        Ok(true)
    }

    fn uncancel(&mut self) -> usize {
        self.cancels = self.cancels.saturating_sub(1);
        if self.cancels == 0 {
            self.must_cancel = None;
        }
        self.cancels
    }

    fn cancelling(&self) -> usize {
        self.cancels
    }

    fn get_coro(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.coroutine.as_ref().map(|coroutine| coroutine.clone_ref(py))
    }

    fn get_context(&self, py: Python<'_>) -> Py<PyAny> {
        self.context.clone_ref(py)
    }

    fn get_name(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        if self.name.is_none() {
            let name = format!("Gathered-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
            self.name = Some(name.into_pyobject(py)?.into_any().unbind());
        }
        Ok(self.name.as_ref().map_or_else(|| py.None(), |name| name.clone_ref(py)))
    }

    fn set_name(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.name = Some(value.str()?.into_any().unbind());
        Ok(())
    }

    #[pyo3(signature = (*, limit=None))]
    fn get_stack<'py>(slf: &Bound<'py, Self>, limit: Option<usize>) -> PyResult<Bound<'py, PyAny>> {
        imported!(slf.py(), "asyncio.base_tasks", "_task_get_stack")?.call1((slf, limit))
    }

    #[pyo3(signature = (*, limit=None, file=None))]
    fn print_stack(slf: &Bound<'_, Self>, limit: Option<usize>, file: Option<Py<PyAny>>) -> PyResult<()> {
        imported!(slf.py(), "asyncio.base_tasks", "_task_print_stack")?.call1((slf, limit, file)).map(drop)
    }

    /// As `asyncio.Task` names it, which whoever looks for a task's frames asks for.
    #[getter]
    fn _coro(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.get_coro(py)
    }

    #[getter]
    fn _exception(slf: &Bound<'_, Self>) -> Option<Py<PyAny>> {
        slf.as_super().borrow_mut().exception(slf.py()).ok().flatten()
    }

    #[getter]
    fn _fut_waiter(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.waits_for.as_ref().map(|awaited| awaited.clone_ref(py))
    }

    #[getter]
    const fn _must_cancel(&self) -> bool {
        self.must_cancel.is_some()
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let py = slf.py();
        let name = slf.borrow_mut().get_name(py)?;
        let state = if slf.as_super().borrow().is_done() { "finished" } else { "pending" };
        let coroutine = slf.borrow().get_coro(py);
        let coroutine = coroutine.map(|coroutine| coroutine.bind(py).repr()).transpose()?;
        let coroutine = coroutine.map(|text| format!(" coro={text}")).unwrap_or_default();
        Ok(format!("<Task {state} name={}{coroutine}>", name.bind(py).repr()?))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.coroutine)?;
        visit.call(&self.context)?;
        visit.call(&self.waits_for)?;
        visit.call(self.must_cancel.as_ref().and_then(|cancellation| cancellation.0.as_ref()))?;
        visit.call(&self.gathering)
    }

    fn __clear__(&mut self) {
        self.coroutine = None;
        self.waits_for = None;
        self.must_cancel = None;
        self.gathering = None;
    }
}
