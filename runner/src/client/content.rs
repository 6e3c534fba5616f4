//! `Response.content`: the body as a stream.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::response::Response;
use super::step::{Step, Want};

/// How much `iter_any` and `readany` give at most at once.
const ANY: usize = 256 * 1024;

/// A reply's body as a stream.
#[pyclass(module = "aiotest._native")]
pub(super) struct Content {
    response: Option<Py<Response>>,
}

impl Content {
    pub(super) fn of(response: &Bound<'_, Response>) -> Self {
        Self { response: Some(response.clone().unbind()) }
    }

    fn step(&self, py: Python<'_>, want: Want) -> PyResult<Step> {
        let response = self.response.as_ref().ok_or_else(|| super::errors::closed(py))?;
        Ok(Step::of(response.bind(py), want))
    }

    fn chunks(&self, py: Python<'_>, size: Option<usize>) -> Chunks {
        Chunks { response: self.response.as_ref().map(|response| response.clone_ref(py)), size }
    }
}

#[pymethods]
impl Content {
    /// At most `n` bytes as soon as there are some; all that is left if `n` is negative.
    #[pyo3(signature = (n=-1))]
    fn read(&self, py: Python<'_>, n: isize) -> PyResult<Step> {
        match usize::try_from(n) {
            Ok(0) => Ok(Step::value(pyo3::types::PyBytes::new(py, b"").into_any().unbind())),
            Ok(size) => self.step(py, Want::Chunk(size)),
            Err(_) => self.step(py, Want::Rest),
        }
    }

    fn readany(&self, py: Python<'_>) -> PyResult<Step> {
        self.step(py, Want::Chunk(ANY))
    }

    fn readline(&self, py: Python<'_>) -> PyResult<Step> {
        self.step(py, Want::Line)
    }

    fn iter_chunked(&self, py: Python<'_>, n: usize) -> PyResult<Chunks> {
        if n == 0 {
            return Err(pyo3::exceptions::PyValueError::new_err("iter_chunked needs a size of at least 1"));
        }
        Ok(self.chunks(py, Some(n)))
    }

    fn iter_any(&self, py: Python<'_>) -> Chunks {
        self.chunks(py, Some(ANY))
    }

    /// Line by line.
    fn __aiter__(&self, py: Python<'_>) -> Chunks {
        self.chunks(py, None)
    }

    /// Whether nothing is left to read.
    fn at_eof(&self, py: Python<'_>) -> bool {
        self.response.as_ref().is_none_or(|response| {
            let response = response.borrow(py);
            response.ended && response.pending.is_empty()
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.response)
    }

    fn __clear__(&mut self) {
        self.response = None;
    }
}

/// What `async for` goes over.
#[pyclass(module = "aiotest._native")]
pub(super) struct Chunks {
    response: Option<Py<Response>>,
    /// Bytes at most; `None`: lines.
    size: Option<usize>,
}

#[pymethods]
impl Chunks {
    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__(&self, py: Python<'_>) -> PyResult<Step> {
        let response = self.response.as_ref().ok_or_else(|| super::errors::closed(py))?;
        Ok(Step::of(response.bind(py), self.size.map_or(Want::NextLine, Want::NextChunk)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.response)
    }

    fn __clear__(&mut self) {
        self.response = None;
    }
}
