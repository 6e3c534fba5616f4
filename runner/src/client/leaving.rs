//! The end of a call that cannot be had at once: its body is still coming, or handlers are to be told.

use std::sync::Arc;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::exchange::Exchange;
use super::resumed::{self, Resumed};
use super::{driver, errors, notify};
use crate::reactor::{Record, Wake};

/// What the awaitable ends with, once the call has been recorded and told of.
pub(super) enum Outcome {
    Return(Py<PyAny>),
    Raise(Py<PyAny>),
}

impl Outcome {
    pub(super) fn raise(py: Python<'_>, error: PyErr) -> Self {
        Self::Raise(error.into_value(py).into_any())
    }

    fn take(self, py: Python<'_>) -> PyResult<Resumed> {
        match self {
            Self::Return(value) => Ok(Resumed::Returned(value)),
            Self::Raise(error) => Err(PyErr::from_value(error.into_bound(py))),
        }
    }

    fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Return(value) | Self::Raise(value) => visit.call(value),
        }
    }
}

/// Waits for the record, awaits the handlers, then ends with its outcome.
pub(super) struct Leaving {
    phase: Phase,
    outcome: Outcome,
}

enum Phase {
    Recording(Arc<Exchange>),
    Notifying(Py<PyAny>),
    Over,
}

impl Leaving {
    /// The end of a call that has been left. Without handlers, and with the call recorded, it never suspends.
    pub(super) fn new(
        py: Python<'_>,
        exchange: &Arc<Exchange>,
        record: Option<&Record>,
        outcome: Outcome,
    ) -> PyResult<Self> {
        let phase = match record {
            None => Phase::Recording(Arc::clone(exchange)),
            Some(_) => notify::coroutine(py, record)?.map_or(Phase::Over, Phase::Notifying),
        };
        Ok(Self { phase, outcome })
    }

    /// An end with nothing to wait for and nobody to tell.
    pub(super) fn done(outcome: Outcome) -> Self {
        Self { phase: Phase::Over, outcome }
    }

    /// Whether nothing needs to be awaited.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Goes on; comes back itself while it is not at its end.
    pub(super) fn resume(mut self, py: Python<'_>) -> PyResult<(Option<Self>, Resumed)> {
        loop {
            match self.phase {
                Phase::Recording(exchange) => {
                    if let Some(waiter) = driver::wait(py, exchange.id, Wake::Recorded)? {
                        self.phase = Phase::Recording(exchange);
                        return Ok((Some(self), Resumed::Suspended(waiter)));
                    }
                    let record = exchange.record(py);
                    self.phase =
                        notify::coroutine(py, record.as_ref())?.map_or(Phase::Over, Phase::Notifying);
                }
                Phase::Notifying(coroutine) => {
                    let step = resumed::send(coroutine.bind(py))?;
                    if let Resumed::Suspended(_) = step {
                        self.phase = Phase::Notifying(coroutine);
                        return Ok((Some(self), step));
                    }
                    self.phase = Phase::Over;
                }
                Phase::Over => return self.outcome.take(py).map(|step| (None, step)),
            }
        }
    }

    /// `error` was thrown in.
    pub(super) fn throw(self, py: Python<'_>, error: PyErr) -> PyResult<(Option<Self>, Resumed)> {
        match self.phase {
            Phase::Recording(exchange) => {
                if let Some(record) = exchange.abort(py, errors::abort_of(py, &error)) {
                    notify::detached(py, &record);
                }
                Err(error)
            }
            Phase::Notifying(coroutine) => {
                let step = resumed::throw(coroutine.bind(py), error)?;
                match step {
                    Resumed::Suspended(_) => {
                        Ok((Some(Self { phase: Phase::Notifying(coroutine), outcome: self.outcome }), step))
                    }
                    Resumed::Returned(_) => self.outcome.take(py).map(|step| (None, step)),
                }
            }
            Phase::Over => Err(error),
        }
    }

    pub(super) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.outcome.visit(visit)?;
        match &self.phase {
            Phase::Notifying(coroutine) => visit.call(coroutine),
            Phase::Recording(_) | Phase::Over => Ok(()),
        }
    }
}
