//! `aiotest._native.Runner`.

use std::path::Path;
use std::time::Duration;

use aiotest_core::arrivals::Arrival;
use aiotest_core::message::ProcessId;
use aiotest_core::runner::{Action, RowsTold};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::{checked_token, class_specs, os_error, run_spec, value_error};
use crate::control::{Control, Error, Hooks, Watched};
use crate::deposit::Deposit;
use crate::reactor::engine::engine;

#[pyclass(frozen, module = "aiotest._native")]
pub(super) struct Runner {
    inner: Control,
}

#[pymethods]
impl Runner {
    #[new]
    #[pyo3(signature = (plan, *, master, token, runner, process, incarnation, deposit, classes))]
    #[expect(clippy::too_many_arguments, reason = "keywords on Python's side")]
    fn new(
        plan: &str,
        master: &str,
        token: &str,
        runner: String,
        process: u32,
        incarnation: u64,
        deposit: Option<&str>,
        classes: Vec<(String, u32)>,
    ) -> PyResult<Self> {
        let spec = run_spec(plan)?;
        let token = checked_token(token)?;
        if let Some(path) = deposit {
            let deposit = Deposit::create(Path::new(path)).map_err(|error| os_error(&error))?;
            engine().lock().on_sent(Box::new(move |sent| deposit.store_sent(sent)));
        }
        let who = ProcessId { runner, process, incarnation };
        let inner = Control::start(who, &spec, &class_specs(classes), master, &token, hooks());
        match inner {
            Ok(inner) => Ok(Self { inner }),
            Err(error @ Error::Address(_)) => Err(value_error(&error)),
            Err(error) => Err(os_error(&error)),
        }
    }

    fn fileno(&self) -> i32 {
        self.inner.seat().fileno()
    }

    fn poll(&self, py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
        self.inner.seat().poll().into_iter().map(|action| self.asked(py, &action)).collect()
    }

    fn users(&self, class_index: usize, live: u32, dead: u32) {
        self.inner.seat().users(class_index, live, dead);
    }

    #[pyo3(signature = (rendezvous, waiting, users))]
    fn waiting(&self, rendezvous: &str, waiting: u32, users: Option<u32>) {
        self.inner.seat().waiting(rendezvous, waiting, users);
    }

    fn meeting(&self, rendezvous: &str) -> Option<(u32, u32)> {
        self.inner.seat().meeting(rendezvous)
    }

    #[getter]
    fn most_users(&self) -> Option<u32> {
        self.inner.seat().most_users()
    }

    fn rows(&self, set_index: usize, waiting: u32, unused: u32, taken: u64, given_back: Vec<u32>) {
        let given_back = given_back.into_iter().collect();
        self.inner.seat().rows(set_index, RowsTold { waiting, unused, taken }, &given_back);
    }

    fn user_error(&self, text: &str) {
        self.inner.seat().user_error(text);
    }

    fn loop_lag(&self, seconds: f64) -> PyResult<()> {
        self.inner.seat().loop_lag(duration(seconds)?);
        Ok(())
    }

    fn stack_pipe(&self) -> PyResult<i32> {
        Ok(self.inner.seat().stack_pipe()?)
    }

    #[pyo3(signature = (*, thread, period, folders, exit_code, signals))]
    fn watch(
        &self,
        thread: i32,
        period: f64,
        folders: Vec<String>,
        exit_code: u8,
        signals: Option<(i32, i32)>,
    ) -> PyResult<()> {
        let period = duration(period)?;
        self.inner.seat().watch(Watched { thread, period, folders, exit_code }, signals);
        Ok(())
    }

    fn stack(&self, text: &str) {
        self.inner.seat().stack(text);
    }

    fn unwatch(&self) {
        self.inner.seat().unwatch();
    }

    fn began(&self, started: u64, shed: u64) {
        self.inner.seat().began(started, shed);
    }

    fn begun_late(&self, seconds: f64) -> PyResult<()> {
        self.inner.seat().begun_late(duration(seconds)?);
        Ok(())
    }

    fn lateness(&self, seconds: f64) -> PyResult<()> {
        self.inner.seat().lateness(duration(seconds)?);
        Ok(())
    }

    #[getter]
    fn user_count(&self) -> u32 {
        self.inner.seat().user_count()
    }

    #[getter]
    fn state(&self) -> &'static str {
        self.inner.seat().state()
    }

    fn hand_over(&self) {
        self.inner.seat().hand_over();
    }
}

impl Runner {
    /// An order as Python matches it.
    fn asked(&self, py: Python<'_>, action: &Action) -> PyResult<Py<PyAny>> {
        let tuple = match action {
            Action::TestStart => ("test_start",).into_pyobject(py)?,
            Action::Start { class, users } => ("start", class, users).into_pyobject(py)?,
            Action::Retire { class, users } => ("retire", class, users).into_pyobject(py)?,
            Action::Allow { class, users } => ("allow", class, users).into_pyobject(py)?,
            Action::Begin { iterations, shed } => {
                let due = |iteration: &Arrival| (iteration.class, self.inner.monotonic(iteration.at));
                let iterations: Vec<(usize, f64)> = iterations.iter().map(due).collect();
                ("begin", iterations, shed).into_pyobject(py)?
            }
            Action::StartComplete { users } => ("start_complete", users).into_pyobject(py)?,
            Action::Release { name, late } => ("release", name, late.as_secs_f64()).into_pyobject(py)?,
            Action::Drain { deadline } => ("drain", deadline.as_secs_f64()).into_pyobject(py)?,
            Action::Rows { set, rows } => ("rows", set, rows.ranges().to_vec()).into_pyobject(py)?,
            Action::Recall { set } => ("recall", set).into_pyobject(py)?,
            Action::Exhausted { set } => ("exhausted", set).into_pyobject(py)?,
            Action::StopNow => ("stop_now",).into_pyobject(py)?,
            Action::End { exit_code } => ("end", exit_code).into_pyobject(py)?,
        };
        Ok(tuple.into_any().unbind())
    }
}

/// The control thread's way to this process' engine.
fn hooks() -> Hooks {
    Hooks {
        settle: Box::new(|| engine().settle()),
        take_statistics: Box::new(|| engine().take_statistics()),
        sent_total: Box::new(|| engine().sent_total()),
        lease: Box::new(|left| engine().lease(left)),
        refuse: Box::new(|refused| engine().refuse(refused)),
        abort_calls: Box::new(|| engine().lock().abort_all()),
        exit_process: Box::new(|code| crate::ffi::exit_now(code)),
        end_process: Box::new(|| {
            // Not `exit`: that would wait for the interpreter, which is what does not stop.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }),
    }
}

fn duration(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(error.to_string()))
}
