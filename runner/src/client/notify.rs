//! Tells the handlers of `events.stats_request` of a recorded call. With none it costs one attribute.

use pyo3::intern;
use pyo3::prelude::*;

use crate::reactor::Record;

fn has_handlers(py: Python<'_>) -> PyResult<bool> {
    let hook = imported!(py, "aiotest.events", "stats_request")?;
    hook.getattr(intern!(py, "has_handlers"))?.is_truthy()
}

/// The coroutine to await in the user's task; `None` if nobody listens.
pub(super) fn coroutine(py: Python<'_>, record: Option<&Record>) -> PyResult<Option<Py<PyAny>>> {
    match record {
        Some(record) if !record.unmeasured && has_handlers(py)? => {
            call(imported!(py, "aiotest.client", "_notify")?, record).map(Some)
        }
        _ => Ok(None),
    }
}

/// Tells them in a task of its own: the call was cut, released or collected where nothing can be awaited.
pub(super) fn detached(py: Python<'_>, record: &Record) {
    let told = has_handlers(py).and_then(|listening| {
        if !listening || record.unmeasured {
            return Ok(());
        }
        call(imported!(py, "aiotest.client", "_notify_detached")?, record).map(drop)
    });
    if let Err(error) = told {
        error.write_unraisable(py, None);
    }
}

fn call(function: &Bound<'_, PyAny>, record: &Record) -> PyResult<Py<PyAny>> {
    let milliseconds = record.latency.as_secs_f64() * 1000.0;
    let made = function.call1((
        &*record.name,
        &*record.method,
        milliseconds,
        record.bytes,
        record.error.as_deref(),
    ))?;
    Ok(made.unbind())
}
