//! A `gather` of a user's coroutines: each in a task of ours that has begun when `gather` returns, and that tells the
//! whole of its end itself.
//!
//! asyncio learns of a task's end by a callback and a turn of the loop, and of the whole's by one more; together they cost
//! more than half a call. What is left to asyncio's own `gather` is decided in `aiotest/gathering.py`. Start at [`gather`].

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use super::future::{Cancellation, Future, Outcome};
use super::task::Task;
use super::{driver, ffi};

/// All results of a `gather`, in order, or the first exception.
#[pyclass(module = "aiotest._native", extends = Future)]
pub(super) struct Gathering {
    tasks: Vec<Py<Task>>,
    results: Vec<Option<Py<PyAny>>>,
    left: usize,
    returns_exceptions: bool,
    /// Somebody cancelled the whole.
    cancelled: Option<Cancellation>,
    /// Tells the user's life whom to end with it.
    adopt: Option<Py<PyAny>>,
}

/// As `asyncio.gather` of coroutines that nobody has begun; `None` if they are anything else, or one is named twice. `adopt`
/// is called with whoever must not outlive the user: the whole while it lasts, and then those that still go on. Requests
/// made by all of them go out together.
#[pyfunction]
pub(super) fn gather<'py>(
    coroutines: &Bound<'py, PyTuple>,
    return_exceptions: bool,
    event_loop: &Bound<'py, PyAny>,
    adopt: Py<PyAny>,
) -> PyResult<Option<Bound<'py, Gathering>>> {
    let py = coroutines.py();
    if !are_coroutines(coroutines)? {
        return Ok(None);
    }
    driver::cork(py)?;
    let gathering = Gathering {
        tasks: Vec::with_capacity(coroutines.len()),
        results: coroutines.iter().map(|_| None).collect(),
        left: coroutines.len(),
        returns_exceptions: return_exceptions,
        cancelled: None,
        adopt: Some(adopt),
    };
    let future = PyClassInitializer::from(Future::new(event_loop.clone().unbind()));
    let whole = Bound::new(py, future.add_subclass(gathering))?;
    let swap = imported!(py, "aiotest.tasks", "swap")?;
    let maker = ffi::call(swap, [event_loop, &py.None().into_bound(py)])?;
    let begun = begin(&whole, coroutines, event_loop);
    ffi::call(swap, [event_loop, &maker])?;
    begun?;
    if !whole.as_super().borrow().is_done() {
        Gathering::adopt(&whole, whole.as_any())?;
    }
    Ok(Some(whole))
}

fn begin(
    whole: &Bound<'_, Gathering>,
    coroutines: &Bound<'_, PyTuple>,
    event_loop: &Bound<'_, PyAny>,
) -> PyResult<()> {
    for (index, coroutine) in coroutines.iter().enumerate() {
        let task = Task::of(event_loop.clone().unbind(), coroutine, whole.clone().unbind(), index)?;
        whole.borrow_mut().tasks.push(task.clone().unbind());
        Task::begin(&task)?;
        if whole.as_super().borrow().is_done() {
            Gathering::adopt(whole, task.as_any())?;
        }
    }
    Ok(())
}

/// Whether there are some, each is a coroutine, and no two are the same.
fn are_coroutines(awaited: &Bound<'_, PyTuple>) -> PyResult<bool> {
    let class = imported!(awaited.py(), "types", "CoroutineType")?;
    let mut seen: Vec<_> = awaited.iter().map(|each| each.as_ptr()).collect();
    seen.sort_unstable();
    let all_differ = seen.windows(2).all(|pair| pair[0] != pair[1]);
    Ok(!seen.is_empty() && all_differ && awaited.iter().all(|each| each.get_type().is(class)))
}

impl Gathering {
    /// A task has ended.
    pub(super) fn ended(slf: &Bound<'_, Self>, index: usize, outcome: &Outcome) -> PyResult<()> {
        let py = slf.py();
        let (Outcome::Value(result) | Outcome::Raised(result) | Outcome::Cancelled(result)) = outcome;
        let (is_last, fails) = {
            let mut whole = slf.borrow_mut();
            whole.results[index] = Some(result.clone_ref(py));
            whole.left -= 1;
            (whole.left == 0, !whole.returns_exceptions && !matches!(outcome, Outcome::Value(_)))
        };
        if fails {
            Self::fail(slf, result.clone_ref(py))?;
        }
        if !is_last {
            return Ok(());
        }
        // Whole and tasks hold each other: nothing of it is left to the garbage collector.
        let (results, cancelled, tasks, adopt) = {
            let mut whole = slf.borrow_mut();
            let results = std::mem::take(&mut whole.results);
            (results, whole.cancelled.take(), std::mem::take(&mut whole.tasks), whole.adopt.take())
        };
        drop((tasks, adopt));
        let outcome = match cancelled {
            Some(cancelled) => Outcome::Raised(cancelled.error().into_value(py).into_any()),
            None => Outcome::Value(PyList::new(py, results.into_iter().flatten())?.into_any().unbind()),
        };
        Future::settle(slf.as_super(), outcome, false)
    }

    /// The first exception is the whole's, at once. The user's life knew the tasks by the whole, which is over now.
    fn fail(slf: &Bound<'_, Self>, error: Py<PyAny>) -> PyResult<()> {
        if slf.as_super().borrow().is_done() {
            return Ok(());
        }
        Future::settle(slf.as_super(), Outcome::Raised(error), false)?;
        let tasks: Vec<Py<Task>> = slf.borrow().tasks.iter().map(|task| task.clone_ref(slf.py())).collect();
        tasks.iter().try_for_each(|task| Self::adopt(slf, task.bind(slf.py())))
    }

    fn adopt(slf: &Bound<'_, Self>, future: &Bound<'_, PyAny>) -> PyResult<()> {
        let adopt = slf.borrow().adopt.as_ref().map(|adopt| adopt.clone_ref(slf.py()));
        adopt.map_or(Ok(()), |adopt| adopt.call1(slf.py(), (future,)).map(drop))
    }
}

#[pymethods]
impl Gathering {
    /// Cancels whoever has not ended; the whole is cancelled once all of them have.
    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let py = slf.py();
        if slf.as_super().borrow().is_done() {
            return Ok(false);
        }
        let tasks: Vec<Py<Task>> = slf.borrow().tasks.iter().map(|task| task.clone_ref(py)).collect();
        let mut told = false;
        for task in tasks {
            told |= Task::cancel(task.bind(py), msg.as_ref().map(|message| message.clone_ref(py)))?;
        }
        if told {
            slf.borrow_mut().cancelled = Some(Cancellation(msg));
        }
        Ok(told)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.tasks.iter().try_for_each(|task| visit.call(task))?;
        self.results.iter().flatten().try_for_each(|result| visit.call(result))?;
        visit.call(self.cancelled.as_ref().and_then(|cancelled| cancelled.0.as_ref()))?;
        visit.call(&self.adopt)
    }

    fn __clear__(&mut self) {
        self.tasks.clear();
        self.results.clear();
        self.cancelled = None;
        self.adopt = None;
    }
}
