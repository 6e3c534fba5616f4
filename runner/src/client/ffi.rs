//! The client's corner of `unsafe`: what the interpreter's C interface offers and `PyO3` does not wrap.
//! Each function says why it is sound. Never holds any logic.
#![allow(unsafe_code)]

use pyo3::ffi::PySendResult;
use pyo3::prelude::*;

use super::resumed::Resumed;

/// Leaves `value` as the value of a pending `StopIteration`, without an exception object where the interpreter needs
/// none. The caller must return to the interpreter at once, with nothing. A tuple is taken for the exception's arguments.
pub(super) fn set_stop_iteration(value: &Bound<'_, PyAny>) {
    // SAFETY: the interpreter is attached, as `value` is bound to it; both pointers are live objects, and the
    // function takes references of its own.
    unsafe { pyo3::ffi::PyErr_SetObject(pyo3::ffi::PyExc_StopIteration, value.as_ptr()) }
}

/// Sends `None` into a coroutine; a value that it returns comes without an exception object.
pub(super) fn send_none(coroutine: &Bound<'_, PyAny>) -> PyResult<Resumed> {
    let py = coroutine.py();
    let mut result = std::ptr::null_mut();
    // SAFETY: the interpreter is attached; both objects are live, and any object may be sent into. Unless it says that
    // it failed the call leaves in `result` a reference that is ours.
    unsafe {
        let step = pyo3::ffi::PyIter_Send(coroutine.as_ptr(), pyo3::ffi::Py_None(), &raw mut result);
        match step {
            PySendResult::PYGEN_NEXT => Ok(Resumed::Suspended(Bound::from_owned_ptr(py, result).unbind())),
            PySendResult::PYGEN_RETURN => Ok(Resumed::Returned(Bound::from_owned_ptr(py, result).unbind())),
            PySendResult::PYGEN_ERROR => Err(PyErr::fetch(py)),
        }
    }
}
