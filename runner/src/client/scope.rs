//! One user's calls: how many are open, whether new ones may start, and how its stop waits for them or cuts them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::driver;
use super::session::ClientSession;
use crate::reactor::engine::engine;
use crate::reactor::{Abort, CallId};

/// The state behind a [`UserScope`], shared with the sessions and calls of its user. The lock is never held across
/// Python code.
#[derive(Default)]
pub(super) struct Scope {
    state: Mutex<State>,
    /// No user's: its calls are none of the load.
    unmeasured: bool,
}

#[derive(Default)]
struct State {
    open: Vec<CallId>,
    retired: bool,
    /// Called once when the last open call has been recorded.
    on_idle: Option<Py<PyAny>>,
}

impl Scope {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no new call may start.
    pub(super) fn is_retired(&self) -> bool {
        self.state().retired
    }

    pub(super) const fn is_unmeasured(&self) -> bool {
        self.unmeasured
    }

    pub(super) fn opened(&self, call: CallId) {
        self.state().open.push(call);
    }

    /// The call has been recorded.
    pub(super) fn closed(&self, py: Python<'_>, call: CallId) {
        let on_idle = {
            let mut state = self.state();
            state.open.retain(|open| *open != call);
            if state.open.is_empty() { state.on_idle.take() } else { None }
        };
        if let Some(callback) = on_idle
            && let Err(error) = driver::call_soon(py, &callback)
        {
            error.write_unraisable(py, None);
        }
    }
}

/// One per user; the sessions that are made while it is in `aiotest.client.current_scope` belong to it.
#[pyclass(module = "aiotest._native")]
pub(super) struct UserScope {
    scope: Arc<Scope>,
}

impl UserScope {
    pub(super) fn scope(&self) -> Arc<Scope> {
        Arc::clone(&self.scope)
    }
}

#[pymethods]
impl UserScope {
    #[new]
    #[pyo3(signature = (*, unmeasured = false))]
    fn new(unmeasured: bool) -> Self {
        Self { scope: Arc::new(Scope { unmeasured, ..Scope::default() }) }
    }

    /// Whether its calls are none of the load: what is done once in a run is no user's.
    #[getter]
    fn unmeasured(&self) -> bool {
        self.scope.is_unmeasured()
    }

    /// Whether a session was made by this user, and so ends with it.
    fn owns(&self, session: &Bound<'_, ClientSession>) -> bool {
        session.borrow().is_of(&self.scope)
    }

    /// Calls that have been started and not yet recorded.
    #[getter]
    fn open_calls(&self) -> usize {
        self.scope.state().open.len()
    }

    /// From now on no new call starts. True: none is open. Otherwise `callback` is called, by `call_soon`, when the
    /// last one has been recorded.
    fn retire(&self, callback: Py<PyAny>) -> bool {
        let mut state = self.scope.state();
        state.retired = true;
        if state.open.is_empty() {
            return true;
        }
        let before = state.on_idle.replace(callback);
        drop(state);
        drop(before);
        false
    }

    /// Calls may start again, for `on_stop`.
    fn reopen(&self) {
        let mut state = self.scope.state();
        state.retired = false;
        let before = state.on_idle.take();
        drop(state);
        drop(before);
    }

    /// Cuts the open calls; they count as aborted, and the tasks that wait for them are cancelled.
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        let open = self.scope.state().open.clone();
        for call in open {
            engine().lock().abort(call, Abort::Stopped);
            driver::cancel_waiters(py, call)?;
            self.scope.closed(py, call);
        }
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.scope.state.try_lock() {
            Ok(state) => visit.call(&state.on_idle),
            Err(_) => Ok(()),
        }
    }

    fn __clear__(&mut self) {
        let callback = self.scope.state().on_idle.take();
        drop(callback);
    }
}
