//! What a call counts as when its block is left, and which exceptions end there.

use pyo3::exceptions::asyncio::CancelledError;
use pyo3::exceptions::{
    PyAssertionError, PyAttributeError, PyException, PyGeneratorExit, PyIndexError, PyKeyError,
    PyTimeoutError, PyTypeError, PyValueError,
};
use pyo3::prelude::*;

use super::errors;
use super::leaving::Leaving;
use super::notify;
use super::response::{self, Response};
use super::step::Step;
use crate::reactor::engine::engine;
use crate::reactor::{Leave, Verdict};

/// The block of `slf` was left, with `error` or with `None`. Gives the awaitable that `async with` waits for.
pub(super) fn leave_block<'py>(
    slf: &Bound<'py, Response>,
    error: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = slf.py();
    let exchange = {
        let mut response = slf.borrow_mut();
        response.left = true;
        response.exchange.clone()
    };
    let given = exchange.given();
    if error.is_none() {
        let record = exchange.leave(py, Leave::Block(given.unwrap_or(Verdict::ByStatus)));
        let leaving = Leaving::new(py, &exchange, record.as_ref(), response::swallowed(py, false))?;
        return response::ended_block(py, leaving, false);
    }
    // Where there is nothing to be counted as failed, an exception is what it is anywhere.
    let swallow = given.is_none() && !exchange.is_unmeasured() && is_swallowed(error)?;
    let cancels = error.is_instance_of::<CancelledError>() || error.is_instance_of::<PyGeneratorExit>();
    let verdict = match given {
        Some(verdict) => Some(verdict),
        None if cancels => None,
        None if is_own(slf, error) => Some(Verdict::ByStatus),
        None => Some(Verdict::Failure(text_of(error))),
    };
    if error.is_instance_of::<PyException>() {
        let record = exchange.leave(py, Leave::Block(verdict.unwrap_or(Verdict::ByStatus)));
        let leaving = Leaving::new(py, &exchange, record.as_ref(), response::swallowed(py, swallow))?;
        return response::ended_block(py, leaving, swallow);
    }
    // A task that is being stopped waits for nothing more: what is still coming is cut, and the handlers are told
    // in a task of their own.
    let error = PyErr::from_value(error.clone());
    let record = verdict.and_then(|verdict| exchange.leave(py, Leave::Block(verdict)));
    if let Some(record) = record.or_else(|| exchange.abort(py, errors::abort_of(py, &error))) {
        notify::detached(py, &record);
    }
    Step::left(py, false)
}

/// Whether the exception is the failure that the reactor knows of this very call, with a text of its own.
fn is_own(slf: &Bound<'_, Response>, error: &Bound<'_, PyAny>) -> bool {
    if !errors::is_recorded(error) {
        return false;
    }
    let response = slf.borrow();
    response.head.status >= 400 || engine().lock().failure(response.exchange.id).is_some()
}

fn is_swallowed(error: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = error.py();
    if error.is_instance_of::<PyAssertionError>()
        || error.is_instance_of::<PyTimeoutError>()
        || error.is_instance_of::<PyKeyError>()
        || error.is_instance_of::<PyIndexError>()
        || error.is_instance_of::<PyTypeError>()
        || error.is_instance_of::<PyAttributeError>()
        || error.is_instance_of::<PyValueError>()
    {
        return Ok(true);
    }
    error.is_instance(imported!(py, "aiotest.exception", "ClientError")?)
}

/// The text to record: an exception's own, or its class where that is empty. A missing key alone says too little.
pub(super) fn text_of(error: &Bound<'_, PyAny>) -> String {
    let text = error.str().map(|text| text.to_string()).unwrap_or_default();
    let class = || error.get_type().name().map(|name| name.to_string()).unwrap_or_default();
    if text.trim().is_empty() {
        class()
    } else if error.is_instance_of::<PyKeyError>() {
        format!("{}: {text}", class())
    } else {
        text
    }
}
