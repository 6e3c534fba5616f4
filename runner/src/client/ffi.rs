//! The client's corner of `unsafe`: what the interpreter's C interface offers and `PyO3` does not wrap.
//! Each function says why it is sound. Never holds any logic.
#![allow(unsafe_code)]

use pyo3::prelude::*;

/// Leaves `value` as the value of a pending `StopIteration`, without an exception object where the interpreter needs
/// none. The caller must return to the interpreter at once, with nothing. A tuple is taken for the exception's arguments.
pub(super) fn set_stop_iteration(value: &Bound<'_, PyAny>) {
    // SAFETY: the interpreter is attached, as `value` is bound to it; both pointers are live objects, and the
    // function takes references of its own.
    unsafe { pyo3::ffi::PyErr_SetObject(pyo3::ffi::PyExc_StopIteration, value.as_ptr()) }
}
