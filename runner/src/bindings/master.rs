//! `aiotest._native.Master`.

use std::path::PathBuf;
use std::time::Duration;

use aiotest_core::master::{Hooks, MasterEvent, ShapeTick};
use aiotest_core::message::StopReason;
use aiotest_core::run::Load;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{checked_token, class_specs, os_error, run_spec, value_error};
use crate::master::{self, DEFAULT_BUCKETS_MS, Error, Options};

#[pyclass(frozen, module = "aiotest._native")]
pub(super) struct Master {
    inner: master::Master,
}

#[pymethods]
impl Master {
    #[new]
    #[pyo3(signature = (
        plan, *, token, control_address, metrics_address, classes, shape, buckets = None, keep_result = false,
        linger = None, state_dir = None, hooks = None,
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords on Python's side")]
    fn new(
        plan: &str,
        token: &str,
        control_address: String,
        metrics_address: String,
        classes: Vec<(String, u32)>,
        shape: bool,
        buckets: Option<Vec<f64>>,
        keep_result: bool,
        linger: Option<f64>,
        state_dir: Option<PathBuf>,
        hooks: Option<(bool, bool)>,
    ) -> PyResult<Self> {
        let spec = run_spec(plan)?;
        match (shape, &spec.load) {
            (true, Load::Constant(_) | Load::Stages(_) | Load::Arrivals(_)) => {
                return Err(PyValueError::new_err(
                    "the plan gives a load, and the file a LoadUserShape beside it",
                ));
            }
            (false, Load::Shape) => {
                return Err(PyValueError::new_err(
                    "the plan asks for a shape, and the file has no LoadUserShape",
                ));
            }
            _ => {}
        }
        let linger =
            linger.map(Duration::try_from_secs_f64).transpose().map_err(|error| value_error(&error))?;
        let options = Options {
            control_address,
            metrics_address,
            token: checked_token(token)?,
            buckets_ms: buckets.unwrap_or_else(|| DEFAULT_BUCKETS_MS.to_vec()),
            keep_result,
            linger,
            state_dir,
            hooks: hooks.map(|(setup, teardown)| Hooks { setup, teardown }).unwrap_or_default(),
        };
        match master::Master::start(spec, class_specs(classes), options) {
            Ok(inner) => Ok(Self { inner }),
            Err(error @ Error::Invalid(_)) => Err(value_error(&error)),
            Err(error) => Err(os_error(&error)),
        }
    }

    fn fileno(&self) -> i32 {
        self.inner.events().fileno()
    }

    fn poll(&self, py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
        self.inner.events().drain().into_iter().map(|event| told(py, &event)).collect()
    }

    fn shape(&self, users: u32, rate: f64) {
        self.inner.shape(ShapeTick::Users { users, rate });
    }

    fn shape_end(&self) {
        self.inner.shape(ShapeTick::End);
    }

    fn shape_failed(&self, text: String) {
        self.inner.shape(ShapeTick::Failed(text));
    }

    #[pyo3(signature = (error))]
    fn set_up(&self, error: Option<String>) {
        self.inner.set_up(error.map_or(Ok(()), Err));
    }

    #[pyo3(signature = (error))]
    fn torn_down(&self, error: Option<String>) {
        self.inner.torn_down(error.map_or(Ok(()), Err));
    }

    fn stop(&self, reason: &str) -> PyResult<()> {
        self.inner.stop(stop_reason(reason)?);
        Ok(())
    }

    fn report(&self) -> PyResult<String> {
        let report = self.inner.report();
        let report =
            report.ok_or_else(|| PyRuntimeError::new_err("the run is not over: it has no report yet"))?;
        serde_json::to_string(&report).map_err(|error| PyRuntimeError::new_err(error.to_string()))
    }

    fn termination(&self) -> Option<String> {
        self.inner.termination().map(|termination| termination.to_json())
    }

    #[getter]
    fn addresses(&self) -> (String, String) {
        (self.inner.control_address().to_string(), self.inner.metrics_address().to_string())
    }

    #[getter]
    fn user_count(&self) -> u32 {
        self.inner.user_count()
    }

    #[getter]
    fn state(&self) -> &'static str {
        self.inner.state()
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.inner.close());
    }
}

/// As the protocol writes it, or as Python's signal handlers say it.
fn stop_reason(reason: &str) -> PyResult<StopReason> {
    match reason {
        "terminated" => Ok(StopReason::Interrupted),
        _ => serde_json::from_value(reason.replace(' ', "_").into())
            .map_err(|error| PyValueError::new_err(format!("no reason to stop: {error}"))),
    }
}

/// An event as Python matches it.
fn told(py: Python<'_>, event: &MasterEvent) -> PyResult<Py<PyAny>> {
    let tuple = match event {
        MasterEvent::Setup => ("run_setup",).into_pyobject(py)?,
        MasterEvent::Teardown => ("run_teardown",).into_pyobject(py)?,
        MasterEvent::TestStart => ("test_start",).into_pyobject(py)?,
        MasterEvent::AskShape { run_time, .. } => ("ask_shape", run_time.as_secs_f64()).into_pyobject(py)?,
        MasterEvent::StartComplete { users } => ("start_complete", *users).into_pyobject(py)?,
        MasterEvent::WorkerReport(report) => {
            let data = PyDict::new(py);
            data.set_item("user_count", report.users)?;
            data.set_item("requests", report.requests)?;
            data.set_item("failures", report.failures)?;
            ("worker_report", report.id.to_string(), data).into_pyobject(py)?
        }
        MasterEvent::TestStop => ("test_stop",).into_pyobject(py)?,
        MasterEvent::Ended { exit_code } => ("ended", *exit_code).into_pyobject(py)?,
    };
    Ok(tuple.into_any().unbind())
}
