//! The scenario's side of the HTTP engine: what `aiotest.ClientSession` is made of.
//!
//! A call is one method call into Rust and one wake-up per batch: [`session`] makes a [`call::Call`], which starts the
//! request at its first await and suspends on a [`waiter::Waiter`]; [`driver`] drives the reactor when the loop says
//! that there is something to do, and resumes each waiting task inside that one callback. Nothing here does I/O or
//! keeps a statistic, no thread but the loop's comes here, and the reactor's lock is never held across Python code.
//! Start at [`call`].

/// An attribute of a Python module, looked up once.
macro_rules! imported {
    ($py:expr, $module:literal, $name:literal) => {{
        static ITEM: pyo3::sync::PyOnceLock<pyo3::Py<pyo3::PyAny>> = pyo3::sync::PyOnceLock::new();
        ITEM.import($py, $module, $name)
    }};
}

mod body;
mod call;
mod connector;
mod content;
mod cookies;
mod driver;
mod errors;
mod event_loop;
mod exchange;
mod ffi;
mod future;
mod gathering;
mod intended;
mod json_decode;
mod json_encode;
mod leaving;
mod login;
mod notify;
mod options;
mod payload;
mod response;
mod resumed;
mod said;
mod scope;
mod session;
mod sleep;
mod step;
mod target;
mod task;
mod timeout;
mod upload;
mod verdict;
mod waiter;
mod way;
mod websocket;

use std::time::Duration;

use aiotest_core::stats::Outcome;
use pyo3::prelude::*;

use crate::reactor::engine::engine;

/// Adds the engine's classes and functions to the module `aiotest._native`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<call::Call>()?;
    module.add_class::<connector::TcpConnector>()?;
    module.add_class::<content::Chunks>()?;
    module.add_class::<content::Content>()?;
    module.add_class::<cookies::CookieJar>()?;
    module.add_class::<future::Future>()?;
    module.add_class::<gathering::Gathering>()?;
    module.add_class::<response::Response>()?;
    module.add_class::<scope::UserScope>()?;
    module.add_class::<session::ClientSession>()?;
    module.add_class::<step::Step>()?;
    module.add_class::<task::Task>()?;
    module.add_class::<timeout::ClientTimeout>()?;
    module.add_class::<said::Said>()?;
    module.add_class::<upload::Upload>()?;
    module.add_class::<websocket::WebSocketStream>()?;
    module.add_class::<way::TlsSettings>()?;
    module.add_function(wrap_pyfunction!(gathering::gather, module)?)?;
    module.add_function(wrap_pyfunction!(loop_turn, module)?)?;
    module.add_function(wrap_pyfunction!(intended::intended_start, module)?)?;
    module.add_function(wrap_pyfunction!(record, module)?)?;
    module.add_function(wrap_pyfunction!(sleep::sleep, module)?)?;
    module.add_function(wrap_pyfunction!(take_statistics_json, module)?)?;
    // asyncio takes an object for a coroutine if it is registered as one; a Future-like would never be sent into.
    let coroutine = module.py().import("collections.abc")?.getattr("Coroutine")?;
    for class in ["Call", "Said", "Step"] {
        coroutine.call_method1("register", (module.getattr(class)?,))?;
    }
    Ok(())
}

/// Records what a client of the scenario's own has measured.
#[pyfunction]
#[pyo3(signature = (method, name, response_time, length, error=None, aborted=false))]
fn record(
    py: Python<'_>,
    method: &str,
    name: &str,
    response_time: f64,
    length: u64,
    error: Option<&str>,
    aborted: bool,
) -> PyResult<()> {
    let latency = Duration::try_from_secs_f64(response_time / 1000.0).map_err(|_| {
        pyo3::exceptions::PyValueError::new_err(format!(
            "response_time must be a number of milliseconds, 0 or more, not {response_time}"
        ))
    })?;
    let late = intended::lateness(py)?;
    let outcome = match error {
        _ if aborted => Outcome::Aborted,
        Some(text) => Outcome::Failure(text),
        None => Outcome::Success,
    };
    engine().lock().record_custom(method, name, latency, length, outcome, late);
    Ok(())
}

/// Names the loop's last turn that drove the calls: another one than before means that other tasks have run in between.
#[pyfunction]
fn loop_turn() -> u64 {
    engine().last_drive()
}

/// What was recorded since the last time it was taken, as JSON. In a run the control thread takes it.
#[pyfunction]
fn take_statistics_json(py: Python<'_>) -> PyResult<String> {
    py.detach(|| engine().settle());
    serde_json::to_string(&engine().take_statistics())
        .map_err(|error| pyo3::exceptions::PyRuntimeError::new_err(error.to_string()))
}
