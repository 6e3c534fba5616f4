//! The awaitables of a reply: `read`, `text`, `json`, the pieces of `content`, and the end of a block.
//!
//! Each is a coroutine to asyncio. When what it gives is there already it is over without suspending.

use pyo3::exceptions::{PyGeneratorExit, PyRuntimeError, PyStopAsyncIteration};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes};

use super::body::{self, Piece};
use super::leaving::{Leaving, Outcome};
use super::response::Response;
use super::resumed::{self, Resumed};

/// What an awaitable of a reply gives.
pub(super) enum Want {
    /// This; there is nothing to wait for. May be awaited any number of times.
    Value(Py<PyAny>),
    Bytes,
    Text {
        encoding: Option<String>,
        errors: String,
    },
    Json {
        content_type: Option<String>,
        encoding: Option<String>,
        loads: Option<Py<PyAny>>,
    },
    /// At most so many bytes, as soon as there are some; nothing at the end.
    Chunk(usize),
    /// All that is left.
    Rest,
    Line,
    /// As `Chunk`, for `async for`.
    NextChunk(usize),
    /// As `Line`, for `async for`.
    NextLine,
    Leave(Leaving),
    /// It has been awaited, or is being.
    Over,
}

/// An awaitable of a reply.
#[pyclass(module = "aiotest._native", freelist = 512)]
pub(super) struct Step {
    response: Option<Py<Response>>,
    want: Want,
}

impl Step {
    pub(super) fn of(response: &Bound<'_, Response>, want: Want) -> Self {
        Self { response: Some(response.clone().unbind()), want }
    }

    /// Over at once, with that value.
    pub(super) fn value(value: Py<PyAny>) -> Self {
        Self { response: None, want: Want::Value(value) }
    }

    pub(super) fn leave(leaving: Leaving) -> Self {
        Self { response: None, want: Want::Leave(leaving) }
    }

    /// The end of a block with nothing to wait for; made once, as it holds nothing.
    pub(super) fn left(py: Python<'_>, swallow: bool) -> PyResult<Bound<'_, PyAny>> {
        static ENDS: PyOnceLock<[Py<Step>; 2]> = PyOnceLock::new();
        let ends = ENDS.get_or_try_init(py, || {
            let end = |value| Py::new(py, Self::value(PyBool::new(py, value).to_owned().into_any().unbind()));
            Ok::<_, PyErr>([end(false)?, end(true)?])
        })?;
        Ok(ends[usize::from(swallow)].bind(py).clone().into_any())
    }

    fn resume(slf: &Bound<'_, Self>) -> PyResult<Resumed> {
        let py = slf.py();
        let want = std::mem::replace(&mut slf.borrow_mut().want, Want::Over);
        let response = match want {
            Want::Value(value) => {
                slf.borrow_mut().want = Want::Value(value.clone_ref(py));
                return Ok(Resumed::Returned(value));
            }
            Want::Leave(leaving) => return Self::keep(slf, leaving.resume(py)),
            Want::Over => return Err(PyRuntimeError::new_err("cannot reuse already awaited coroutine")),
            _ => slf.borrow().response.as_ref().map(|response| response.clone_ref(py)),
        };
        let Some(response) = response else {
            return Err(PyRuntimeError::new_err("cannot reuse already awaited coroutine"));
        };
        let response = response.bind(py);
        match advance(response, &want) {
            Ok(Piece::Wait(waiter)) => {
                slf.borrow_mut().want = want;
                Ok(Resumed::Suspended(waiter))
            }
            Ok(Piece::Here(value)) => Self::end(slf, response, Outcome::Return(value)),
            Err(error) => Self::end(slf, response, Outcome::raise(py, error)),
        }
    }

    /// In the plain `await` form the end of the body is the end of the call.
    fn end(slf: &Bound<'_, Self>, response: &Bound<'_, Response>, outcome: Outcome) -> PyResult<Resumed> {
        let leaving = body::end_of_await(response, outcome)?;
        Self::keep(slf, leaving.resume(slf.py()))
    }

    fn keep(slf: &Bound<'_, Self>, step: PyResult<(Option<Leaving>, Resumed)>) -> PyResult<Resumed> {
        let (leaving, resumed) = step?;
        if let Some(leaving) = leaving {
            slf.borrow_mut().want = Want::Leave(leaving);
        }
        Ok(resumed)
    }

    fn interrupt(slf: &Bound<'_, Self>, error: PyErr) -> PyResult<Resumed> {
        let py = slf.py();
        let want = std::mem::replace(&mut slf.borrow_mut().want, Want::Over);
        match want {
            Want::Leave(leaving) => Self::keep(slf, leaving.throw(py, error)),
            Want::Value(_) | Want::Over => Err(error),
            _ => {
                let response = slf.borrow().response.as_ref().map(|response| response.clone_ref(py));
                if let Some(response) = response {
                    body::cut(response.bind(py), &error);
                }
                Err(error)
            }
        }
    }
}

fn advance(response: &Bound<'_, Response>, want: &Want) -> PyResult<Piece> {
    match want {
        Want::Bytes => body::bytes(response),
        Want::Text { encoding, errors } => body::text(response, encoding.as_deref(), errors),
        Want::Json { content_type, encoding, loads } => {
            body::json(response, content_type.as_deref(), encoding.as_deref(), loads.as_ref())
        }
        Want::Chunk(size) => body::chunk(response, *size),
        Want::Rest => body::rest(response),
        Want::Line => body::line(response),
        Want::NextChunk(size) => not_at_end(response.py(), body::chunk(response, *size)),
        Want::NextLine => not_at_end(response.py(), body::line(response)),
        Want::Value(_) | Want::Leave(_) | Want::Over => unreachable!("handled where it is resumed"),
    }
}

fn not_at_end(py: Python<'_>, piece: PyResult<Piece>) -> PyResult<Piece> {
    match piece? {
        Piece::Here(value)
            if value.bind(py).cast::<PyBytes>().is_ok_and(|bytes| bytes.as_bytes().is_empty()) =>
        {
            Err(PyStopAsyncIteration::new_err(()))
        }
        piece => Ok(piece),
    }
}

#[pymethods]
impl Step {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        resumed::next(slf.py(), Self::resume(slf))
    }

    fn send(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        resumed::only_none(value)?;
        resumed::give(Self::resume(slf))
    }

    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        slf: &Bound<'_, Self>,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let _ = traceback;
        resumed::give(Self::interrupt(slf, resumed::thrown(kind, value)))
    }

    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        if !matches!(slf.borrow().want, Want::Leave(_)) {
            // Nothing has been taken; the reply itself stays open.
            return Ok(());
        }
        match Self::interrupt(slf, PyGeneratorExit::new_err(())) {
            Err(error) if error.is_instance_of::<PyGeneratorExit>(slf.py()) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(PyRuntimeError::new_err("coroutine ignored GeneratorExit")),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.response)?;
        match &self.want {
            Want::Value(value) => visit.call(value),
            Want::Leave(leaving) => leaving.visit(&visit),
            Want::Json { loads, .. } => visit.call(loads),
            _ => Ok(()),
        }
    }

    fn __clear__(&mut self) {
        self.response = None;
        self.want = Want::Over;
    }
}
