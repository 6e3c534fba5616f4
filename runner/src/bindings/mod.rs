//! The native module's control side as Python sees it: conversions, no decisions. `_native.pyi` documents each name.
//!
//! No method waits, save `Master.close`, `run_manifest`, `run_plan` and `run_pod`, which let other Python threads run
//! meanwhile. No object here holds a Python object, so none takes part in garbage collection.

mod master;
mod runner;

use std::net::SocketAddr;
use std::path::PathBuf;

use aiotest_core::message::Termination;
use aiotest_core::run::{ClassSpec, RunSpec};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::master::Token;
use crate::{pod, run};

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    crate::client::register(module)?;
    module.add_class::<runner::Runner>()?;
    module.add_class::<master::Master>()?;
    module.add_function(wrap_pyfunction!(run_manifest, module)?)?;
    module.add_function(wrap_pyfunction!(run_plan, module)?)?;
    module.add_function(wrap_pyfunction!(run_pod, module)?)?;
    module.add_function(wrap_pyfunction!(refusal, module)?)?;
    module.add_function(wrap_pyfunction!(show_progress, module)?)
}

#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "a Python list is converted into a value")]
fn run_manifest(py: Python<'_>, argv: Vec<String>) -> PyResult<i32> {
    let python = interpreter(py)?;
    Ok(py.detach(|| run::run_manifest(&argv, &python)))
}

#[pyfunction]
fn run_plan(py: Python<'_>, plan: &str, metrics_address: &str) -> PyResult<i32> {
    let metrics: SocketAddr = metrics_address.parse().map_err(|_| {
        PyValueError::new_err(format!(
            "`{metrics_address}` is no address for the metrics: it must be IP:PORT"
        ))
    })?;
    let python = interpreter(py)?;
    Ok(py.detach(|| run::run_plan(plan, metrics, &python)))
}

#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "a Python list is converted into a value")]
fn run_pod(py: Python<'_>, argv: Vec<String>) -> PyResult<i32> {
    let python = interpreter(py)?;
    Ok(py.detach(|| pod::run_pod(&argv, &python)))
}

#[pyfunction]
fn refusal(error: String) -> String {
    Termination::Refused { error }.to_json()
}

#[pyfunction]
#[pyo3(signature = (control_address, token, *, acknowledge = true))]
fn show_progress(control_address: &str, token: &str, acknowledge: bool) -> PyResult<()> {
    run::show_progress(control_address, token, acknowledge).map(drop).map_err(|error| os_error(&error))
}

/// The interpreter that has the package, for the processes of a run.
fn interpreter(py: Python<'_>) -> PyResult<PathBuf> {
    py.import("sys")?.getattr("executable")?.extract()
}

/// The run as JSON (`plan.json`).
fn run_spec(plan: &str) -> PyResult<RunSpec> {
    serde_json::from_str(plan)
        .map_err(|error| PyValueError::new_err(format!("failed to read the plan: {error}")))
}

fn checked_token(text: &str) -> PyResult<Token> {
    Token::new(text).ok_or_else(|| {
        PyValueError::new_err("the token must be visible ASCII characters without spaces, and not empty")
    })
}

fn class_specs(classes: Vec<(String, u32)>) -> Vec<ClassSpec> {
    classes.into_iter().map(|(name, weight)| ClassSpec { name, weight }).collect()
}

/// An error and all of its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn value_error(error: &dyn std::error::Error) -> PyErr {
    PyValueError::new_err(chain(error))
}

fn os_error(error: &dyn std::error::Error) -> PyErr {
    PyOSError::new_err(chain(error))
}
