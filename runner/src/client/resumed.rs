//! What an awaitable does when it is sent into, and how that is said in Python's iterator protocol.

use pyo3::exceptions::{PyBaseException, PyStopIteration, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

/// One step of an awaitable that raised nothing.
pub(super) enum Resumed {
    /// It waits for this object: yield it to the task.
    Suspended(Py<PyAny>),
    /// It is over with this value.
    Returned(Py<PyAny>),
}

/// A step as `__next__` gives it. `None`: it is over; its value is that of the pending `StopIteration`, or none.
///
/// Every await takes this way, and making an exception takes longer than the rest of the step.
pub(super) fn next(py: Python<'_>, step: PyResult<Resumed>) -> PyResult<Option<Py<PyAny>>> {
    let value = match step? {
        Resumed::Suspended(waiter) => return Ok(Some(waiter)),
        Resumed::Returned(value) => value.into_bound(py),
    };
    if value.is_instance_of::<PyTuple>() || value.is_instance_of::<PyBaseException>() {
        // They would be taken for the exception's arguments, or for the exception itself.
        return Err(PyStopIteration::new_err((value.unbind(),)));
    }
    if !value.is_none() {
        super::ffi::set_stop_iteration(&value);
    }
    Ok(None)
}

/// A step as `send` and `throw` give it: a value is a `StopIteration`.
pub(super) fn give(step: PyResult<Resumed>) -> PyResult<Py<PyAny>> {
    match step? {
        Resumed::Suspended(waiter) => Ok(waiter),
        Resumed::Returned(value) => Err(PyStopIteration::new_err((value,))),
    }
}

/// Sends `None` into a Python coroutine.
pub(super) fn send(coroutine: &Bound<'_, PyAny>) -> PyResult<Resumed> {
    super::ffi::send_none(coroutine)
}

/// Throws `error` into a Python coroutine.
pub(super) fn throw(coroutine: &Bound<'_, PyAny>, error: PyErr) -> PyResult<Resumed> {
    let py = coroutine.py();
    match coroutine.call_method1(pyo3::intern!(py, "throw"), (error.into_value(py),)) {
        Ok(waiter) => Ok(Resumed::Suspended(waiter.unbind())),
        Err(error) if error.is_instance_of::<PyStopIteration>(py) => {
            Ok(Resumed::Returned(error.value(py).getattr("value")?.unbind()))
        }
        Err(error) => Err(error),
    }
}

/// The exception that `throw` was called with, in its old form (class, value) or its new one (instance).
pub(super) fn thrown(kind: &Bound<'_, PyAny>, value: Option<&Bound<'_, PyAny>>) -> PyErr {
    let value = value.filter(|value| !value.is_none());
    match (kind.cast::<PyType>(), value) {
        (Err(_), _) => PyErr::from_value(kind.clone()),
        (Ok(class), Some(value)) if value.is_instance(class).unwrap_or(false) => {
            PyErr::from_value(value.clone())
        }
        (Ok(class), value) => {
            let made = match value {
                Some(value) => class.call1((value,)),
                None => class.call0(),
            };
            made.map_or_else(|error| error, PyErr::from_value)
        }
    }
}

/// `send` of anything but `None`: nothing here asks for a value.
pub(super) fn only_none(value: &Bound<'_, PyAny>) -> PyResult<()> {
    if value.is_none() {
        return Ok(());
    }
    Err(PyTypeError::new_err("only None can be sent into a call"))
}
