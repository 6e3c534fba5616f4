//! One started call, from the client's side: it is recorded once, whoever lets go of it and however.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::asyncio::CancelledError;
use pyo3::prelude::*;

use super::scope::Scope;
use super::{driver, notify};
use crate::reactor::engine::engine;
use crate::reactor::request::Request;
use crate::reactor::{Abort, CallId, Leave, Record, Reply, Verdict};

/// A started call. Shared by the objects that speak for it; the last one to go aborts what is not recorded.
/// It holds no Python object, so that it may be shared without the garbage collector knowing.
pub(super) struct Exchange {
    pub(super) id: CallId,
    scope: Option<Arc<Scope>>,
    /// It has been recorded.
    over: AtomicBool,
    /// What the scenario has said by `success` or `failure`.
    given: Mutex<Option<Verdict>>,
}

impl Exchange {
    /// Starts the call, and gives its reply where that is there already.
    pub(super) fn start(
        py: Python<'_>,
        mut request: Request,
        scope: Option<Arc<Scope>>,
    ) -> PyResult<(Arc<Self>, Option<Reply>)> {
        driver::attach(py)?;
        if scope.as_ref().is_some_and(|scope| scope.is_retired()) {
            return Err(CancelledError::new_err("the user is being stopped: no new call starts"));
        }
        request.unmeasured = scope.as_ref().is_some_and(|scope| scope.is_unmeasured());
        if request.target.authority.tls && request.route.as_ref().is_none_or(|route| route.tls.is_none()) {
            engine().prepare_tls();
        }
        let (id, reply) = {
            let mut reactor = engine().lock();
            let id = reactor.start(request);
            (id, reactor.take_reply(id))
        };
        if let Some(scope) = &scope {
            scope.opened(id);
        }
        Ok((Arc::new(Self { id, scope, over: AtomicBool::new(false), given: Mutex::default() }), reply))
    }

    /// Whether it is none of the load.
    pub(super) fn is_unmeasured(&self) -> bool {
        self.scope.as_ref().is_some_and(|scope| scope.is_unmeasured())
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Keeps what the scenario says of the call.
    pub(super) fn mark(&self, verdict: Verdict) {
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
    }

    /// What the scenario has said of the call, if it has.
    pub(super) fn given(&self) -> Option<Verdict> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is to be recorded, as far as the scenario has said.
    pub(super) fn verdict(&self) -> Verdict {
        self.given().unwrap_or(Verdict::ByStatus)
    }

    /// The scenario is done with the call. `Some`: it has been recorded.
    pub(super) fn leave(&self, py: Python<'_>, leave: Leave) -> Option<Record> {
        let record = engine().lock().leave(self.id, leave);
        self.settle(py, record)
    }

    /// The connection that the call asked for is taken. `Some`: the call has been recorded.
    pub(super) fn accept_upgrade(&self, py: Python<'_>) -> Option<Record> {
        let record = engine().lock().accept_upgrade(self.id);
        self.settle(py, record)
    }

    /// Cuts the call, unless it has been recorded.
    pub(super) fn abort(&self, py: Python<'_>, by: Abort) -> Option<Record> {
        let record = {
            let mut reactor = engine().lock();
            reactor.abort(self.id, by);
            reactor.record_of(self.id).cloned()
        };
        self.settle(py, record)
    }

    /// The record, if there is one by now.
    pub(super) fn record(&self, py: Python<'_>) -> Option<Record> {
        let record = engine().lock().record_of(self.id).cloned();
        self.settle(py, record)
    }

    fn settle(&self, py: Python<'_>, record: Option<Record>) -> Option<Record> {
        if record.is_some()
            && !self.over.swap(true, Ordering::Relaxed)
            && let Some(scope) = &self.scope
        {
            scope.closed(py, self.id);
        }
        record
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.is_over() {
            // An interpreter that is shutting down has no handlers to tell.
            let told = Python::try_attach(|py| {
                if let Some(record) = self.abort(py, Abort::Collected) {
                    notify::detached(py, &record);
                }
            });
            if told.is_none() {
                engine().lock().abort(self.id, Abort::Collected);
            }
        }
        engine().lock().release(self.id);
    }
}
