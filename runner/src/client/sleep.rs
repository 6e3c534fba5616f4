//! How users wait between their jobs: one object per wait, and one timer of the loop for all that wait.
//!
//! asyncio makes a coroutine, a Future and a timer for each, and orders its timers by a method in Python. Here one object is
//! awaited, is what the task waits on, and stands in the heap; all that are due are resumed in one callback, each in its
//! own context. Start at [`sleep`] and [`Sleepers::ring`].

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use pyo3::exceptions::asyncio::{CancelledError, InvalidStateError};
use pyo3::exceptions::{PyRuntimeError, PyStopIteration, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::event_loop;

/// Waits that were cancelled and may stay in the heap, beyond as many as those that go on.
const LEFT_BEHIND: usize = 64;

enum State {
    /// Not awaited yet.
    Fresh,
    Pending,
    Done,
    Cancelled(Option<Py<PyAny>>),
}

/// One wait: an awaitable, and what its task waits on. The collector need not know it, which saves a look at every user in
/// every collection: while it refers to its task it stands in the heap, and it lets go of everything at its end.
#[pyclass(module = "aiotest._native", freelist = 512)]
pub(super) struct Sleep {
    #[pyo3(get, set, name = "_asyncio_future_blocking")]
    blocking: bool,
    state: State,
    lasts: Duration,
    due: Option<Instant>,
    /// Is told the seconds by which the task was woken late.
    late: Option<Py<PyAny>>,
    event_loop: Option<Py<PyAny>>,
    callback: Option<Py<PyAny>>,
    context: Option<Py<PyAny>>,
}

/// Waits `seconds` in the task that awaits it, then calls `late` with the seconds by which that task was woken late.
#[pyfunction]
pub(super) fn sleep(seconds: f64, late: Option<Py<PyAny>>) -> PyResult<Sleep> {
    let lasts = Duration::try_from_secs_f64(seconds)
        .map_err(|error| PyValueError::new_err(format!("unable to wait for {seconds} seconds: {error}")))?;
    Ok(Sleep {
        blocking: false,
        state: State::Fresh,
        lasts,
        due: None,
        late,
        event_loop: None,
        callback: None,
        context: None,
    })
}

impl Sleep {
    fn is_pending(&self) -> bool {
        matches!(self.state, State::Pending)
    }

    fn begin(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let running = imported!(py, "asyncio", "get_running_loop")?.call0()?;
        let due = Instant::now()
            .checked_add(slf.borrow().lasts)
            .ok_or_else(|| PyValueError::new_err("unable to wait beyond the end of time"))?;
        let mut own = slf.borrow_mut();
        own.state = State::Pending;
        own.due = Some(due);
        own.event_loop = Some(running.clone().unbind());
        drop(own);
        Sleepers::add(sleepers(py)?, running, Sleeper { due, wait: slf.clone().unbind() })
    }

    /// Resumes the task here and now, in its own context. Called from the loop's callback only.
    fn wake(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (callback, context) = {
            let mut own = slf.borrow_mut();
            own.state = State::Done;
            (own.callback.take(), own.context.take())
        };
        if let (Some(callback), Some(context)) = (callback, context) {
            event_loop::run_in(context.bind(slf.py()), callback.bind(slf.py()), slf)?;
        }
        Ok(())
    }

    fn call_soon(slf: &Bound<'_, Self>, callback: &Py<PyAny>, context: &Py<PyAny>) -> PyResult<()> {
        let py = slf.py();
        let event_loop = slf.borrow().event_loop.as_ref().map(|event_loop| event_loop.clone_ref(py));
        let Some(event_loop) = event_loop else { return Ok(()) };
        event_loop::call_soon(event_loop.bind(py), callback.bind(py), Some(slf.as_any()), context)
    }
}

#[pymethods]
impl Sleep {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        let begins = matches!(slf.borrow().state, State::Fresh);
        if begins {
            Self::begin(&slf)?;
        }
        if slf.borrow().is_pending() {
            slf.borrow_mut().blocking = true;
            return Ok(slf);
        }
        let py = slf.py();
        let (late, due) = {
            let mut own = slf.borrow_mut();
            (own.late.take(), own.due)
        };
        slf.borrow().result(py)?;
        if let (Some(late), Some(due)) = (late, due) {
            late.bind(py).call1((due.elapsed().as_secs_f64(),))?;
        }
        Err(PyStopIteration::new_err(()))
    }

    fn get_loop(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.event_loop.as_ref().map(|event_loop| event_loop.clone_ref(py))
    }

    #[pyo3(signature = (callback, *, context=None))]
    fn add_done_callback(
        slf: &Bound<'_, Self>,
        callback: Py<PyAny>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let context = event_loop::given_or_present(slf.py(), context)?;
        let mut own = slf.borrow_mut();
        if !own.is_pending() {
            drop(own);
            return Self::call_soon(slf, &callback, &context);
        }
        if own.callback.is_some() {
            return Err(PyRuntimeError::new_err("one wait has one waiting task"));
        }
        own.callback = Some(callback);
        own.context = Some(context);
        Ok(())
    }

    fn remove_done_callback(slf: &Bound<'_, Self>, callback: &Bound<'_, PyAny>) -> PyResult<usize> {
        let known = slf.borrow().callback.as_ref().map(|known| known.clone_ref(slf.py()));
        if !known.map_or(Ok(false), |known| known.bind(slf.py()).eq(callback))? {
            return Ok(0);
        }
        let taken = slf.borrow_mut().callback.take();
        drop(taken);
        Ok(1)
    }

    /// Has the task resumed with a `CancelledError`, by the loop: the canceller may be a task that is running.
    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let (callback, context, _late) = {
            let mut own = slf.borrow_mut();
            if !own.is_pending() {
                return Ok(false);
            }
            own.state = State::Cancelled(msg);
            (own.callback.take(), own.context.take(), own.late.take())
        };
        Sleepers::one_left(sleepers(slf.py())?);
        if let (Some(callback), Some(context)) = (callback, context) {
            Self::call_soon(slf, &callback, &context)?;
        }
        Ok(true)
    }

    fn cancelled(&self) -> bool {
        matches!(self.state, State::Cancelled(_))
    }

    fn done(&self) -> bool {
        matches!(self.state, State::Done | State::Cancelled(_))
    }

    fn result(&self, py: Python<'_>) -> PyResult<()> {
        match &self.state {
            State::Done => Ok(()),
            State::Fresh | State::Pending => Err(InvalidStateError::new_err("the wait is not over")),
            State::Cancelled(None) => Err(CancelledError::new_err(())),
            State::Cancelled(Some(message)) => Err(CancelledError::new_err((message.clone_ref(py),))),
        }
    }

    fn exception(&self, py: Python<'_>) -> PyResult<()> {
        self.result(py)
    }
}

/// A wait in the heap: the one due first is the greatest.
struct Sleeper {
    due: Instant,
    wait: Py<Sleep>,
}

impl Ord for Sleeper {
    fn cmp(&self, other: &Self) -> Ordering {
        other.due.cmp(&self.due)
    }
}

impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sleeper {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Sleeper {}

/// All waits of the running loop, and its one timer for them.
#[pyclass(module = "aiotest._native")]
pub(super) struct Sleepers {
    event_loop: Option<Py<PyAny>>,
    heap: BinaryHeap<Sleeper>,
    /// Waits in the heap that were cancelled.
    left: usize,
    /// The loop's timer, and when it rings.
    timer: Option<(Instant, Py<PyAny>)>,
}

fn sleepers(py: Python<'_>) -> PyResult<&Bound<'_, Sleepers>> {
    static SLEEPERS: PyOnceLock<Py<Sleepers>> = PyOnceLock::new();
    let sleepers = SLEEPERS.get_or_try_init(py, || {
        Py::new(py, Sleepers { event_loop: None, heap: BinaryHeap::new(), left: 0, timer: None })
    })?;
    Ok(sleepers.bind(py))
}

impl Sleepers {
    fn add(slf: &Bound<'_, Self>, running: Bound<'_, PyAny>, sleeper: Sleeper) -> PyResult<()> {
        let known = slf.borrow().event_loop.as_ref().is_some_and(|known| known.is(&running));
        if !known {
            // Whoever waited on a loop before this one waits for ever, as its tasks do.
            let before = {
                let mut own = slf.borrow_mut();
                own.left = 0;
                (own.event_loop.replace(running.unbind()), std::mem::take(&mut own.heap), own.timer.take())
            };
            drop(before);
        }
        let due = sleeper.due;
        slf.borrow_mut().heap.push(sleeper);
        let in_time = slf.borrow().timer.as_ref().is_some_and(|(at, _)| *at <= due);
        if in_time { Ok(()) } else { Self::set_timer(slf, due) }
    }

    /// One of those in the heap was cancelled.
    fn one_left(slf: &Bound<'_, Self>) {
        let py = slf.py();
        let gone: BinaryHeap<Sleeper> = {
            let mut own = slf.borrow_mut();
            own.left += 1;
            if own.left < LEFT_BEHIND + own.heap.len() / 2 {
                return;
            }
            own.left = 0;
            let (stay, gone) = std::mem::take(&mut own.heap)
                .into_iter()
                .partition(|sleeper| sleeper.wait.borrow(py).is_pending());
            own.heap = stay;
            gone
        };
        drop(gone);
    }

    fn set_timer(slf: &Bound<'_, Self>, at: Instant) -> PyResult<()> {
        let py = slf.py();
        let (event_loop, before) = {
            let mut own = slf.borrow_mut();
            (own.event_loop.as_ref().map(|event_loop| event_loop.clone_ref(py)), own.timer.take())
        };
        if let Some((_, before)) = before {
            before.bind(py).call_method0(intern!(py, "cancel"))?;
        }
        let Some(event_loop) = event_loop else { return Ok(()) };
        let left = at.saturating_duration_since(Instant::now()).as_secs_f64();
        let timer = event_loop
            .bind(py)
            .call_method1(intern!(py, "call_later"), (left, slf.getattr(intern!(py, "ring"))?))?;
        slf.borrow_mut().timer = Some((at, timer.unbind()));
        Ok(())
    }

    fn pop_due(slf: &Bound<'_, Self>, now: Instant) -> Option<Py<Sleep>> {
        let mut own = slf.borrow_mut();
        if now < own.heap.peek()?.due {
            return None;
        }
        own.heap.pop().map(|sleeper| sleeper.wait)
    }
}

#[pymethods]
impl Sleepers {
    /// The loop's callback: resumes all that are due. As with calls, tasks keep their exceptions; only
    /// `KeyboardInterrupt` and `SystemExit` come through here, and stop the loop after the batch.
    fn ring(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let rung = slf.borrow_mut().timer.take();
        drop(rung);
        let now = Instant::now();
        let mut stop = None;
        while let Some(wait) = Self::pop_due(slf, now) {
            if !wait.borrow(py).is_pending() {
                let mut own = slf.borrow_mut();
                own.left = own.left.saturating_sub(1);
                continue;
            }
            let Err(error) = Sleep::wake(wait.bind(py)) else { continue };
            if event_loop::is_stop(py, &error) {
                stop.get_or_insert(error);
            } else {
                error.write_unraisable(py, None);
            }
        }
        let next = slf.borrow().heap.peek().map(|sleeper| sleeper.due);
        let is_set = slf.borrow().timer.as_ref().map(|(at, _)| *at);
        if let Some(next) = next
            && is_set.is_none_or(|at| next < at)
        {
            Self::set_timer(slf, next)?;
        }
        stop.map_or(Ok(()), Err)
    }
}
