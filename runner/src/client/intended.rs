//! When an iteration was to begin, as far as the scenario has said so: each call that follows in the same task, or in one
//! that this makes, is recorded a second time with how late the iteration began. Never says when anything is to happen.
//! A scenario without intended starts pays one load per call. Start at [`intended_start`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;

/// Whether anybody in this process has ever said so.
static USED: AtomicBool = AtomicBool::new(false);

fn variable(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    imported!(py, "aiotest.client", "_lateness")
}

/// Says that what follows in this task was to begin at `at`, in the loop's time.
#[pyfunction]
pub(super) fn intended_start(py: Python<'_>, at: f64) -> PyResult<()> {
    let running = imported!(py, "asyncio", "get_running_loop")?.call0()?;
    let now: f64 = running.call_method0(intern!(py, "time"))?.extract()?;
    let late = Duration::try_from_secs_f64((now - at).max(0.0)).ok().filter(|_| at.is_finite());
    let late = late.ok_or_else(|| {
        PyValueError::new_err(format!(
            "an intended start is a time of the loop, as loop.time() tells, not {at}"
        ))
    })?;
    USED.store(true, Ordering::Relaxed);
    variable(py)?.call_method1(intern!(py, "set"), (late.as_secs_f64(),))?;
    Ok(())
}

/// How late the present iteration began; `None` if it had no intended start.
pub(super) fn lateness(py: Python<'_>) -> PyResult<Option<Duration>> {
    if !USED.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let late: Option<f64> = variable(py)?.call_method0(intern!(py, "get"))?.extract()?;
    Ok(late.map(Duration::from_secs_f64))
}
