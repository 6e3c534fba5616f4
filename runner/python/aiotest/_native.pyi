"""The Rust half of aiotest: the HTTP engine, the control protocol, the master, and `aiotest run`.

Times are in seconds unless a name says otherwise. Two kinds of object belong to a process's event loop and
are polled: when `fileno()` becomes readable, `poll()` returns what is to be done, oldest first; it never
blocks. Their network work happens in a thread of their own that never attaches to the interpreter.
"""

from collections.abc import Callable
from typing import Any

# === control ===

class Runner:
    """One process's seat in a run: joins the master, reports to it about once a second, obeys its plan."""

    def __init__(
        self,
        plan: str,
        *,
        master: str,
        token: str,
        runner: str,
        process: int,
        incarnation: int,
        deposit: str | None,
        classes: list[tuple[str, int]],
    ) -> None:
        """Dial the master and go on dialling until the run's deadline.

        Arguments: `plan`, the run as JSON (`plan.json`); `master`, its control address, `host:port`;
            `runner`, the identity that the report names; `process`, which of its processes, from 0;
            `incarnation`, higher at each restart; `deposit`, a file that a parent reads after this process's
            death, `None` without one; `classes`, name and weight of every user class, in order.
        Raises: `ValueError` for a plan, token or address that cannot be read; `OSError` for a deposit that
            cannot be made.
        """

    def fileno(self) -> int: ...
    def poll(self) -> list[tuple[Any, ...]]:
        """What is to be done now.

        `("test_start",)` · `("start", class_index, users)` · `("retire", class_index, users)` ·
        `("start_complete", users)`, the whole run's count · `("drain", seconds)`, no new calls, open ones
        have that long · `("stop_now",)`, no load from this instant · `("end", exit_code)`, the last one.
        """

    def users(self, class_index: int, live: int, dead: int) -> None:
        """Users of a class as they are now; `dead` since this process began."""

    def user_error(self, text: str) -> None:
        """Count an error that ended a user; cut at 500 characters."""

    def loop_lag(self, seconds: float) -> None:
        """The event loop was this late."""

    def lateness(self, seconds: float) -> None:
        """A user was woken this late after its wait."""

    @property
    def user_count(self) -> int:
        """Live users of this process."""

    @property
    def state(self) -> str:
        """`ready`, `starting`, `running`, `stopping` or `stopped`."""

    def hand_over(self) -> None:
        """Leave: drain, send everything, and end with exit code 75, so that another takes this seat."""

class Master:
    """The master of a run: shares the load out, gathers reports, serves the control port and `/metrics`."""

    def __init__(
        self,
        plan: str,
        *,
        token: str,
        control_address: str,
        metrics_address: str,
        classes: list[tuple[str, int]],
        shape: bool,
        buckets: list[float] | None = None,
    ) -> None:
        """Bind both ports and accept runners from now on.

        Arguments: `plan`, the run as JSON; `control_address` and `metrics_address`, `host:port`, port 0 for
            any; `classes`, name and weight of every user class, in order; `shape`, whether the file's shape
            gives the load; `buckets`, bounds of `aiotest_response_times` in ms, `None` for the usual ones.
        Raises: `ValueError` for a plan, token or address that cannot be read; `OSError` for a port that
            cannot be bound.
        """

    def fileno(self) -> int: ...
    def poll(self) -> list[tuple[Any, ...]]:
        """What has happened.

        `("test_start",)` · `("ask_shape", run_time)`, answer with one of the three below ·
        `("start_complete", users)` · `("worker_report", worker_id, data)` · `("test_stop",)` ·
        `("ended", exit_code)`, the last one.
        """

    def shape(self, users: int, rate: float) -> None:
        """The shape's answer: users to reach, at this many a second."""

    def shape_end(self) -> None:
        """The shape's answer: the test is over."""

    def shape_failed(self, text: str) -> None:
        """The shape gave no answer; the last plan holds, and the report says so."""

    def stop(self, reason: str) -> None:
        """End the run early: runners drain, the report names the reason."""

    def report(self) -> str:
        """The report as JSON, version 1. Raises: `RuntimeError` before `("ended", …)`."""

    @property
    def addresses(self) -> tuple[str, str]:
        """The control address and the metrics address as bound."""

    @property
    def user_count(self) -> int:
        """Live users of the whole run."""

    @property
    def state(self) -> str:
        """`ready`, `starting`, `running`, `stopping` or `stopped`."""

    def close(self) -> None:
        """Stop serving and free both ports; the thread has ended when this returns."""

def run_manifest(argv: list[str]) -> int:
    """`aiotest run`: carry out a LoadTest manifest with processes of its own.

    `argv` is what follows `run`. Returns the exit code: 0 passed, 1 failed, 2 invalid, 3 not run or
    cancelled, 64 for a command line or manifest that cannot be used.
    """

def run_plan(plan: str, metrics_address: str) -> int:
    """Carry out a run (the JSON of a plan) as `run_manifest` does once it has read its manifest.

    Blocks; SIGINT and SIGTERM are its own. Returns the same exit codes.
    """

def show_progress(control_address: str, token: str) -> None:
    """Show a run's progress on stderr and its table at the end, from a thread that never attaches to the
    interpreter; it ends with the run.
    """

# === engine ===

class UserScope:
    """The calls of one user."""

    def __init__(self) -> None: ...
    @property
    def open_calls(self) -> int:
        """Calls that are not recorded yet."""

    def retire(self, callback: Callable[[], object]) -> bool:
        """Refuse new calls with `CancelledError`. True: no call is open; else `callback` follows the last
        one.
        """

    def reopen(self) -> None:
        """Accept calls again, for `on_stop`."""

    def abort(self) -> None:
        """Abort the open calls; they count as aborted, not as failures."""

def record(method: str, name: str, response_time: float, length: int, error: str | None) -> None:
    """Count a call of a custom client: `response_time` in ms, `length` in bytes, `error` `None` for a
    success.
    """
