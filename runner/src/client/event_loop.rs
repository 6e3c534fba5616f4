//! What everything here that stands for a Future asks of asyncio's loop. Never keeps anything. Start at [`call_soon`].
//!
//! A callback is anything that can be called with what was waited for, or a [`Task`] of ours, which is then resumed: that
//! needs no method bound to it.

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::ffi;
use super::task::Task;

/// Calls `callback` in `context`, here and now.
pub(super) fn run_in<'py>(
    context: &Bound<'py, PyAny>,
    callback: &Bound<'py, PyAny>,
    argument: &Bound<'py, PyAny>,
) -> PyResult<()> {
    let run = intern!(context.py(), "run");
    if callback.is_exact_instance_of::<Task>() {
        return ffi::call_method(run, [context, Task::unbound_step(context.py())?, callback, argument])
            .map(drop);
    }
    ffi::call_method(run, [context, callback, argument]).map(drop)
}

/// Has the loop call `callback` in `context`, as soon as it comes round.
pub(super) fn call_soon<'py>(
    event_loop: &Bound<'py, PyAny>,
    callback: &Bound<'py, PyAny>,
    argument: Option<&Bound<'py, PyAny>>,
    context: &Py<PyAny>,
) -> PyResult<()> {
    let py = event_loop.py();
    let step;
    let callback = if callback.is_exact_instance_of::<Task>() {
        step = callback.getattr(intern!(py, "_step"))?;
        &step
    } else {
        callback
    };
    let arguments = PyTuple::new(py, std::iter::once(callback).chain(argument).collect::<Vec<_>>())?;
    event_loop.call_method(intern!(py, "call_soon"), arguments, Some(&in_context(py, context)?)).map(drop)
}

/// The keyword that names the context of a callback.
pub(super) fn in_context<'py>(py: Python<'py>, context: &Py<PyAny>) -> PyResult<Bound<'py, PyDict>> {
    let keywords = PyDict::new(py);
    keywords.set_item(intern!(py, "context"), context)?;
    Ok(keywords)
}

/// The context that a callback was given, or a copy of the present one.
pub(super) fn given_or_present(py: Python<'_>, context: Option<Py<PyAny>>) -> PyResult<Py<PyAny>> {
    match context {
        Some(context) => Ok(context),
        None => Ok(imported!(py, "contextvars", "copy_context")?.call0()?.unbind()),
    }
}

/// Tells the loop's exception handler of an exception that nobody else hears of.
pub(super) fn report(event_loop: &Bound<'_, PyAny>, message: &str, error: &Bound<'_, PyAny>) {
    let py = event_loop.py();
    let told = (|| {
        let context = PyDict::new(py);
        context.set_item("message", message)?;
        context.set_item("exception", error)?;
        event_loop.call_method1(intern!(py, "call_exception_handler"), (context,))
    })();
    if let Err(unheard) = told {
        unheard.write_unraisable(py, None);
    }
}

/// Whether an exception stops the loop, rather than its task.
pub(super) fn is_stop(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py)
}
