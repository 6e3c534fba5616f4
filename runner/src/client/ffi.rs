//! The client's corner of `unsafe`: what the interpreter's C interface offers and `PyO3` does not wrap.
//! Each function says why it is sound. Never holds any logic.
#![allow(unsafe_code)]

use pyo3::ffi::{PyObject, PySendResult};
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::resumed::Resumed;

// Of the stable interface since 3.12, and the same in 3.11, which exports them: PyO3 offers them from 3.12 on only, and
// makes a tuple for each call before.
unsafe extern "C" {
    fn PyObject_Vectorcall(
        callable: *mut PyObject,
        arguments: *const *mut PyObject,
        number: usize,
        keyword_names: *mut PyObject,
    ) -> *mut PyObject;

    fn PyObject_VectorcallMethod(
        name: *mut PyObject,
        receiver_and_arguments: *const *mut PyObject,
        number: usize,
        keyword_names: *mut PyObject,
    ) -> *mut PyObject;
}

/// Calls `callable`, with neither a tuple nor a dictionary made for it.
pub(super) fn call<'py, const N: usize>(
    callable: &Bound<'py, PyAny>,
    arguments: [&Bound<'py, PyAny>; N],
) -> PyResult<Bound<'py, PyAny>> {
    let arguments = arguments.map(Bound::as_ptr);
    // SAFETY: the interpreter is attached; all are live objects, `arguments` has as many as is said, and outlives the call.
    // What it returns is a reference that is ours, or null with an exception set.
    unsafe {
        let result = PyObject_Vectorcall(callable.as_ptr(), arguments.as_ptr(), N, std::ptr::null_mut());
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}

/// Calls a method of the first of `arguments` with the others, without making a bound method.
pub(super) fn call_method<'py, const N: usize>(
    name: &Bound<'py, PyString>,
    arguments: [&Bound<'py, PyAny>; N],
) -> PyResult<Bound<'py, PyAny>> {
    const { assert!(0 < N, "a method has a receiver") }
    let arguments = arguments.map(Bound::as_ptr);
    // SAFETY: as in `call`; there is a receiver.
    unsafe {
        let result = PyObject_VectorcallMethod(name.as_ptr(), arguments.as_ptr(), N, std::ptr::null_mut());
        Bound::from_owned_ptr_or_err(name.py(), result)
    }
}

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
