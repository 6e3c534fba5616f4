//! Drives the reactor from the event loop and resumes the tasks whose calls have got on: one callback per batch.
//!
//! One per process. It watches the reactor's descriptor on the loop that runs; a process that runs a second loop
//! after the first (two `asyncio.run`) moves it there. Start at [`wait`] and [`Driver::drain`].

use std::collections::VecDeque;

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::event_loop;
use super::waiter::Waiter;
use crate::reactor::engine::engine;
use crate::reactor::{CallId, Wake};

/// The tasks that wait for one call, all for the same.
struct Slot {
    call: CallId,
    wake: Wake,
    first: Py<Waiter>,
    others: Vec<Py<Waiter>>,
}

impl Slot {
    fn waiters(&self) -> impl Iterator<Item = &Py<Waiter>> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// The reactor's driver on the interpreter's side.
#[pyclass(module = "aiotest._native")]
pub(super) struct Driver {
    event_loop: Option<Py<PyAny>>,
    slots: Vec<Option<Slot>>,
    ready: Vec<CallId>,
    /// The loop is in `drain`: it is the one that runs.
    draining: bool,
    /// `uncork` will be called.
    corked: bool,
    /// What the batch under way has made due.
    due: VecDeque<Due>,
}

/// A callback with the context that it is to run in.
pub(super) struct Due {
    pub(super) callback: Py<PyAny>,
    pub(super) context: Py<PyAny>,
    pub(super) argument: Py<PyAny>,
}

/// Tasks resumed at once from which on their requests are written together.
const CORKED_FROM: usize = 4;

fn driver(py: Python<'_>) -> PyResult<&Bound<'_, Driver>> {
    static DRIVER: PyOnceLock<Py<Driver>> = PyOnceLock::new();
    let driver = DRIVER.get_or_try_init(py, || {
        let driver = Driver {
            event_loop: None,
            slots: Vec::new(),
            ready: Vec::new(),
            draining: false,
            corked: false,
            due: VecDeque::new(),
        };
        Py::new(py, driver)
    })?;
    Ok(driver.bind(py))
}

/// Makes sure that the running loop drives the reactor. Called before a call starts.
pub(super) fn attach(py: Python<'_>) -> PyResult<()> {
    let driver = driver(py)?;
    if driver.borrow().draining {
        return Ok(());
    }
    let running = imported!(py, "asyncio", "get_running_loop")?.call0()?;
    if driver.borrow().event_loop.as_ref().is_some_and(|known| known.is(&running)) {
        return Ok(());
    }
    Driver::move_to(driver, running)
}

/// Waits until the call has got that far. `None`: it has, do not suspend.
pub(super) fn wait(py: Python<'_>, call: CallId, wake: Wake) -> PyResult<Option<Py<PyAny>>> {
    let driver = driver(py)?;
    if driver.borrow().waits_otherwise(py, call, wake) {
        if wake != Wake::Recorded {
            return Err(PyRuntimeError::new_err(
                "another task is reading this reply already, in another way",
            ));
        }
        look_again(py, call)?;
    }
    if engine().lock().wait(call, wake) {
        return Ok(None);
    }
    suspend(py, call, wake).map(Some)
}

/// A waiter for a call that the reactor has been told to name when it has got that far.
pub(super) fn suspend(py: Python<'_>, call: CallId, wake: Wake) -> PyResult<Py<PyAny>> {
    let driver = driver(py)?;
    let event_loop = driver.borrow().event_loop.as_ref().map(|event_loop| event_loop.clone_ref(py));
    let event_loop = event_loop.ok_or_else(|| PyRuntimeError::new_err("no event loop drives the calls"))?;
    let waiter = Py::new(py, Waiter::new(call, event_loop))?;
    let stale = driver.borrow_mut().keep(py, call, wake, waiter.clone_ref(py));
    drop(stale);
    Ok(waiter.into_any())
}

/// Whether a task waits for the call.
pub(super) fn is_waited_for(py: Python<'_>, call: CallId) -> PyResult<bool> {
    let driver = driver(py)?.borrow();
    let slot = driver.slots.get(call.index()).and_then(Option::as_ref).filter(|slot| slot.call == call);
    Ok(slot.is_some_and(|slot| slot.waiters().any(|waiter| waiter.borrow(py).is_pending())))
}

/// Has every task that waits for the call look again, soon: it was aborted.
pub(super) fn look_again(py: Python<'_>, call: CallId) -> PyResult<()> {
    let slot = driver(py)?.borrow_mut().take(call);
    slot.iter().flat_map(Slot::waiters).try_for_each(|waiter| Waiter::wake_soon(waiter.bind(py)))
}

/// Cancels every task that waits for the call, soon.
pub(super) fn cancel_waiters(py: Python<'_>, call: CallId) -> PyResult<()> {
    let slot = driver(py)?.borrow_mut().take(call);
    slot.iter().flat_map(Slot::waiters).try_for_each(|waiter| Waiter::cancel_soon(waiter.bind(py), None))
}

/// Has the loop call `callback`.
pub(super) fn call_soon(py: Python<'_>, callback: &Py<PyAny>) -> PyResult<()> {
    let event_loop = driver(py)?.borrow().event_loop.as_ref().map(|event_loop| event_loop.clone_ref(py));
    if let Some(event_loop) = event_loop {
        event_loop.bind(py).call_method1(intern!(py, "call_soon"), (callback,))?;
    }
    Ok(())
}

/// Has a callback called: when the batch that is under way has woken everybody, or else when the loop comes round.
pub(super) fn soon(py: Python<'_>, event_loop: &Py<PyAny>, due: Due) -> PyResult<()> {
    let driver = driver(py)?;
    if driver.borrow().draining {
        driver.borrow_mut().due.push_back(due);
        return Ok(());
    }
    let Due { callback, context, argument } = due;
    event_loop::call_soon(event_loop.bind(py), callback.bind(py), Some(argument.bind(py)), &context)
}

/// Requests are held together to the end of the batch that is under way, or else until the loop comes round.
pub(super) fn cork(py: Python<'_>) -> PyResult<()> {
    attach(py)?;
    let driver = driver(py)?;
    let (in_batch, corked) = {
        let mut driver = driver.borrow_mut();
        let in_batch = driver.draining;
        (in_batch, !in_batch && std::mem::replace(&mut driver.corked, true))
    };
    if corked {
        return Ok(());
    }
    engine().lock().cork();
    if in_batch { Ok(()) } else { call_soon(py, &driver.getattr(intern!(py, "uncork"))?.unbind()) }
}

impl Driver {
    fn move_to(slf: &Bound<'_, Self>, running: Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let watched = engine().watched();
        let known = slf.borrow().event_loop.as_ref().map(|known| known.clone_ref(py));
        if let Some(known) = known.as_ref().map(|known| known.bind(py))
            && !known.call_method0("is_closed")?.is_truthy()?
        {
            if known.call_method0("is_running")?.is_truthy()? {
                let text = "calls can be made from one event loop at a time; another one is running";
                return Err(PyRuntimeError::new_err(text));
            }
            for fd in watched {
                known.call_method1("remove_reader", (fd,))?;
            }
        }
        // In a context of its own, so that no context of the scenario is kept or found entered.
        let context = py.import("contextvars")?.getattr("Context")?.call0()?;
        for fd in watched {
            context.call_method1("run", (running.getattr("add_reader")?, fd, slf.getattr("drain")?))?;
        }
        let (slots, known) = {
            let mut driver = slf.borrow_mut();
            driver.corked = false;
            (std::mem::take(&mut driver.slots), driver.event_loop.replace(running.unbind()))
        };
        drop((slots, known));
        Ok(())
    }

    fn waits_otherwise(&self, py: Python<'_>, call: CallId, wake: Wake) -> bool {
        let slot = self.slots.get(call.index()).and_then(Option::as_ref);
        let apart = |slot: &&Slot| ![wake, slot.wake].contains(&Wake::Drained) && slot.wake != wake;
        let slot = slot.filter(|slot| slot.call == call).filter(apart);
        slot.is_some_and(|slot| slot.waiters().any(|waiter| waiter.borrow(py).is_pending()))
    }

    /// Keeps the waiter until the call is ready; returns what that pushes out, to be dropped unborrowed.
    fn keep(&mut self, py: Python<'_>, call: CallId, wake: Wake, waiter: Py<Waiter>) -> Option<Slot> {
        let index = call.index();
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        if let Some(slot) = &mut self.slots[index]
            && slot.call == call
            && slot.waiters().any(|waiter| waiter.borrow(py).is_pending())
        {
            slot.others.push(waiter);
            return None;
        }
        self.slots[index].replace(Slot { call, wake, first: waiter, others: Vec::new() })
    }

    fn take(&mut self, call: CallId) -> Option<Slot> {
        self.slots.get_mut(call.index())?.take_if(|slot| slot.call == call)
    }

    fn report(slf: &Bound<'_, Self>, error: &PyErr) {
        let py = slf.py();
        let event_loop = slf.borrow().event_loop.as_ref().map(|event_loop| event_loop.clone_ref(py));
        if let Some(event_loop) = event_loop {
            let message = "a task could not be resumed after its call";
            event_loop::report(event_loop.bind(py), message, error.value(py));
        }
    }
}

#[pymethods]
impl Driver {
    /// The loop's callback: does the I/O that is due and resumes the tasks whose calls have got on.
    ///
    /// What one step raises never keeps the others from being resumed. Tasks keep their exceptions; only
    /// `KeyboardInterrupt` and `SystemExit` come through here, and stop the loop after the batch.
    fn drain(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let mut ready = std::mem::take(&mut slf.borrow_mut().ready);
        engine().drive(&mut ready);
        if CORKED_FROM <= ready.len() {
            engine().lock().cork();
        }
        slf.borrow_mut().draining = true;
        let mut stop = None;
        let mut heed = |step: PyResult<()>| match step {
            Err(error) if event_loop::is_stop(py, &error) => drop(stop.get_or_insert(error)),
            Err(error) => Self::report(slf, &error),
            Ok(()) => {}
        };
        for call in ready.drain(..) {
            let slot = slf.borrow_mut().take(call);
            slot.iter().flat_map(Slot::waiters).for_each(|waiter| heed(Waiter::wake(waiter.bind(py))));
        }
        while let Some(Due { callback, context, argument }) = { slf.borrow_mut().due.pop_front() } {
            heed(event_loop::run_in(context.bind(py), callback.bind(py), argument.bind(py)));
        }
        engine().lock().uncork();
        let mut driver = slf.borrow_mut();
        driver.draining = false;
        driver.ready = ready;
        stop.map_or(Ok(()), Err)
    }

    /// Writes what is held.
    fn uncork(&mut self) {
        self.corked = false;
        engine().lock().uncork();
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        for slot in self.slots.iter().flatten() {
            visit.call(&slot.first)?;
            for waiter in &slot.others {
                visit.call(waiter)?;
            }
        }
        self.due.iter().try_for_each(|due| {
            visit.call(&due.callback)?;
            visit.call(&due.context)?;
            visit.call(&due.argument)
        })
    }

    fn __clear__(&mut self) {
        self.event_loop = None;
        self.slots.clear();
        self.due.clear();
    }
}
