//! The coroutines of one `gather`: each is run by a task as usual, and tells the whole of its end itself.
//!
//! asyncio learns of a task's end by a callback and a turn of the loop, which together cost more than half a call.
//! What a gather means, what cancels it and who its tasks are, is decided in `aiotest/gathering.py`.

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::driver;
use super::resumed::{self, Resumed};

/// What has ended so far.
///
/// Its `future` hears `failed(exception)` of each branch that raised, and `ended(results)` once, at the last one's end.
#[pyclass(module = "aiotest._native")]
pub(super) struct Gathering {
    future: Option<Py<PyAny>>,
    results: Vec<Option<Py<PyAny>>>,
    left: usize,
}

#[pymethods]
impl Gathering {
    #[new]
    fn new(py: Python<'_>, future: Py<PyAny>, branches: usize) -> PyResult<Self> {
        driver::cork(py)?;
        let results = (0..branches).map(|_| None).collect();
        Ok(Self { future: Some(future), results, left: branches })
    }

    /// A coroutine that does what `coroutine` does; its outcome is the whole's result number `index`.
    fn branch(slf: &Bound<'_, Self>, index: usize, coroutine: Py<PyAny>) -> PyResult<Branch> {
        if slf.borrow().results.len() <= index {
            return Err(PyRuntimeError::new_err("there are not so many branches"));
        }
        Ok(Branch { coroutine: Some(coroutine), gathering: Some(slf.clone().unbind()), index })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.future)?;
        self.results.iter().flatten().try_for_each(|result| visit.call(result))
    }

    fn __clear__(&mut self) {
        self.future = None;
        self.results.clear();
    }
}

impl Gathering {
    fn ended(slf: &Bound<'_, Self>, index: usize, outcome: &PyResult<Resumed>) -> PyResult<()> {
        let py = slf.py();
        let result = match outcome {
            Ok(Resumed::Suspended(_)) => return Ok(()),
            Ok(Resumed::Returned(value)) => value.clone_ref(py),
            Err(error) => {
                let error = error.value(py).clone().into_any().unbind();
                let future = slf.borrow().future.as_ref().map(|future| future.clone_ref(py));
                if let Some(future) = future {
                    future.call_method1(py, intern!(py, "failed"), (&error,))?;
                }
                error
            }
        };
        let mut gathering = slf.borrow_mut();
        if let Some(place) = gathering.results.get_mut(index) {
            *place = Some(result);
        }
        gathering.left -= 1;
        if 0 < gathering.left {
            return Ok(());
        }
        // Gathering, future and tasks hold each other: nothing of it is left to the garbage collector.
        let (future, results) = (gathering.future.take(), std::mem::take(&mut gathering.results));
        drop(gathering);
        match future {
            Some(future) => future
                .call_method1(py, intern!(py, "ended"), (PyList::new(py, results.into_iter().flatten())?,))
                .map(drop),
            None => Ok(()),
        }
    }
}

/// One coroutine of a gather; a coroutine itself, as far as a task can see.
#[pyclass(module = "aiotest._native", freelist = 512)]
pub(super) struct Branch {
    coroutine: Option<Py<PyAny>>,
    gathering: Option<Py<Gathering>>,
    index: usize,
}

impl Branch {
    fn step(
        slf: &Bound<'_, Self>,
        step: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<Resumed>,
    ) -> PyResult<Resumed> {
        let py = slf.py();
        let coroutine = slf.borrow().coroutine.as_ref().map(|coroutine| coroutine.clone_ref(py));
        let Some(coroutine) = coroutine else {
            return Err(PyRuntimeError::new_err("cannot reuse already awaited coroutine"));
        };
        let outcome = step(coroutine.bind(py));
        if matches!(outcome, Ok(Resumed::Suspended(_))) {
            return outcome;
        }
        let (index, gathering) = {
            let mut branch = slf.borrow_mut();
            branch.coroutine = None;
            (branch.index, branch.gathering.take())
        };
        if let Some(gathering) = gathering {
            Gathering::ended(gathering.bind(py), index, &outcome)?;
        }
        outcome
    }
}

#[pymethods]
impl Branch {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        resumed::next(slf.py(), Self::step(slf, resumed::send))
    }

    fn send(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        resumed::only_none(value)?;
        resumed::give(Self::step(slf, resumed::send))
    }

    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        slf: &Bound<'_, Self>,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let _ = traceback;
        let error = resumed::thrown(kind, value);
        resumed::give(Self::step(slf, |coroutine| resumed::throw(coroutine, error)))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match &self.coroutine {
            Some(coroutine) => coroutine.call_method0(py, intern!(py, "close")).map(drop),
            None => Ok(()),
        }
    }

    /// What is asked of a coroutine beside: its name, its frame, what it waits for.
    fn __getattr__(&self, py: Python<'_>, name: &str) -> PyResult<Py<PyAny>> {
        match &self.coroutine {
            Some(coroutine) => coroutine.getattr(py, name),
            None => Err(pyo3::exceptions::PyAttributeError::new_err(name.to_owned())),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.coroutine)?;
        visit.call(&self.gathering)
    }

    fn __clear__(&mut self) {
        self.coroutine = None;
        self.gathering = None;
    }
}
