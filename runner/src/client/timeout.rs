//! `ClientTimeout`, and the limits that a session or a call is given in any of the accepted forms.

use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::reactor::request::Timeouts;

/// Limits of a call in seconds; `None` is for ever.
#[pyclass(module = "aiotest._native", frozen, eq, from_py_object)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ClientTimeout {
    #[pyo3(get)]
    total: Option<f64>,
    #[pyo3(get)]
    connect: Option<f64>,
    #[pyo3(get)]
    sock_read: Option<f64>,
    #[pyo3(get)]
    sock_connect: Option<f64>,
    limits: Timeouts,
}

impl From<Timeouts> for ClientTimeout {
    fn from(limits: Timeouts) -> Self {
        let seconds = |limit: Option<Duration>| limit.map(|limit| limit.as_secs_f64());
        Self {
            total: seconds(limits.total),
            connect: seconds(limits.connect),
            sock_read: seconds(limits.sock_read),
            sock_connect: seconds(limits.sock_connect),
            limits,
        }
    }
}

#[pymethods]
impl ClientTimeout {
    #[new]
    #[pyo3(signature = (total=None, connect=None, sock_read=None, sock_connect=None))]
    fn new(
        total: Option<f64>,
        connect: Option<f64>,
        sock_read: Option<f64>,
        sock_connect: Option<f64>,
    ) -> PyResult<Self> {
        let limits = Timeouts {
            total: limit("total", total)?,
            connect: limit("connect", connect)?,
            sock_read: limit("sock_read", sock_read)?,
            sock_connect: limit("sock_connect", sock_connect)?,
        };
        Ok(Self { total, connect, sock_read, sock_connect, limits })
    }

    fn __repr__(&self) -> String {
        let text = |limit: Option<f64>| limit.map_or_else(|| "None".to_owned(), |limit| limit.to_string());
        format!(
            "ClientTimeout(total={}, connect={}, sock_read={}, sock_connect={})",
            text(self.total),
            text(self.connect),
            text(self.sock_read),
            text(self.sock_connect)
        )
    }
}

/// The limits of `timeout=…`: ours, a number of seconds for the whole call, or aiohttp's `ClientTimeout`.
pub(super) fn limits(value: &Bound<'_, PyAny>) -> PyResult<Timeouts> {
    if let Ok(ours) = value.cast::<ClientTimeout>() {
        return Ok(ours.get().limits);
    }
    if let Ok(total) = value.extract::<f64>() {
        return Ok(Timeouts { total: limit("timeout", Some(total))?, ..Timeouts::default() });
    }
    let part = |name: &str| -> PyResult<Option<Duration>> {
        let Some(part) = value.getattr_opt(name)? else {
            let kind = value.get_type().name()?;
            let text = format!("timeout must be a ClientTimeout or a number of seconds, not {kind}");
            return Err(PyTypeError::new_err(text));
        };
        limit(name, part.extract()?)
    };
    Ok(Timeouts {
        total: part("total")?,
        connect: part("connect")?,
        sock_read: part("sock_read")?,
        sock_connect: part("sock_connect")?,
    })
}

/// As in aiohttp, 0 is no limit.
fn limit(name: &str, seconds: Option<f64>) -> PyResult<Option<Duration>> {
    match seconds {
        None | Some(0.0) => Ok(None),
        Some(seconds) => match Duration::try_from_secs_f64(seconds) {
            Ok(limit) => Ok(Some(limit)),
            Err(_) => {
                Err(PyValueError::new_err(format!("{name} must be a number of seconds, not {seconds}")))
            }
        },
    }
}
