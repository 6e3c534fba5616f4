//! The native module's control side as Python sees it: conversions, no decisions. `_native.pyi` documents each name.
//!
//! No method waits, save `Master.close`, which lets other Python threads run meanwhile. No object here holds a Python
//! object, so none takes part in garbage collection.

mod runner;

use aiotest_core::run::{ClassSpec, RunSpec};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::master::Token;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    crate::client::register(module)?;
    module.add_class::<runner::Runner>()
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
