"""Runs one process's share of the users: obeys the native runner's actions on the loop that users live on.

The native runner talks to the master in a thread of its own and says through a file descriptor that it has
actions; everything Python happens here, on the loop's thread. Nothing here decides how many users there are
or when the run ends. Start at [`RunnerHost.run`][].
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from aiotest import data_sets, events
from aiotest.arrivals import Arrivals
from aiotest.client import is_unmeasured
from aiotest.crew import Crew, adopt_tasks
from aiotest.life import Scope
from aiotest.log import logger
from aiotest.runners import LocalRunner, WorkerRunner
from aiotest.user import User

__all__ = ["Background", "NativeRunner", "RunnerHost", "quit_with"]

METER_PERIOD = 0.05
"""Seconds between two looks at how late the loop is."""
NUDGE_PERIOD = 1.0
"""Seconds between two reminders to users that swallowed their cancellation."""
ON_STOP_PATIENCE = 3.0
"""Seconds that `on_stop` may take once calls have been cut."""
HANDLER_PATIENCE = 10.0
"""Seconds that the handlers of `test_stop` and of `quitting` may take before the process ends without
them.
"""


class NativeRunner(Protocol):
    """The part of `_native.Runner` that a host uses; `_native.pyi` says what each does."""

    def fileno(self) -> int: ...
    def poll(self) -> list[tuple[Any, ...]]: ...
    def users(self, class_index: int, live: int, dead: int) -> None: ...
    def rows(
        self, set_index: int, waiting: int, unused: int, taken: int, given_back: Sequence[int]
    ) -> None: ...
    def user_error(self, text: str) -> None: ...
    def loop_lag(self, seconds: float) -> None: ...
    def lateness(self, seconds: float) -> None: ...
    def began(self, started: int, shed: int) -> None: ...
    def begun_late(self, seconds: float) -> None: ...
    def waiting(self, rendezvous: str, waiting: int, users: int | None) -> None: ...
    def meeting(self, rendezvous: str) -> tuple[int, int] | None: ...
    @property
    def most_users(self) -> int | None: ...


Record = Callable[..., None]
"""Counts a custom client's call: method, name, ms, bytes, error, whether aborted (`_native.record`)."""


class Background:
    """Event handlers that run beside the rest, held so that they are not collected half-way."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run `work` beside the rest."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def finish(self, seconds: float) -> None:
        """Wait for what still runs, at most `seconds`, then cancel it."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                logger.warning(f"the handlers of `{task.get_name()}` took too long and were cancelled")
                task.cancel()


class RunnerHost:
    """One process's users, on the running loop."""

    def __init__(
        self,
        native: NativeRunner,
        classes: Sequence[type[User]],
        make_scope: Callable[[], Scope],
        record: Record,
        runner: LocalRunner | WorkerRunner,
    ) -> None:
        self._native = native
        self._record = record
        self._runner = runner
        self._crew = Crew(classes, native, make_scope)
        self._arrivals = Arrivals(self._crew, native, len(classes))
        self._background = Background()
        self._test_start: asyncio.Task[None] | None = None
        self._test_stop: asyncio.Task[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._ended: asyncio.Future[int] | None = None
        self.stuck = False
        """Some users withstood every cancellation: this process's loop cannot be closed in peace."""

    async def run(self) -> int:
        """Do what the native runner says until it says that the run is over. Returns the process's exit
        code.
        """
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        adopt_tasks(loop)
        data_sets.attach(self._native)
        events.stats_request.record = self._record_request
        events.user_error.record = self._record_user_error
        loop.add_reader(self._native.fileno(), self._act)
        self._every(METER_PERIOD, self._measure)
        self._every(NUDGE_PERIOD, lambda late: self._crew.nudge())
        try:
            code = await self._ended
            await self._wind_up()
        finally:
            loop.remove_reader(self._native.fileno())
            events.stats_request.record = events.user_error.record = None
            for timer in self._timers:
                timer.cancel()
        return code

    # === actions ===

    def _act(self) -> None:
        for action in self._native.poll():
            match action:
                case ("test_start",):
                    self._on_test_start()
                case ("start", class_index, users):
                    self._crew.start(class_index, users)
                case ("retire", class_index, users):
                    self._crew.retire(class_index, users)
                case ("allow", class_index, users):
                    self._arrivals.allow(class_index, users)
                case ("begin", iterations, shed):
                    self._arrivals.begin(iterations, shed)
                case ("start_complete", users):
                    self._on_start_complete(users)
                case ("release", rendezvous, late):
                    self._crew.waiters.release(rendezvous, late)
                case ("drain", seconds):
                    self._on_drain(seconds)
                case ("rows", set_index, ranges):
                    data_sets.offered(set_index, ranges)
                case ("recall", set_index):
                    data_sets.recalled(set_index)
                case ("exhausted", set_index):
                    data_sets.exhausted(set_index)
                case ("stop_now",):
                    self._on_stop_now()
                case ("end", exit_code):
                    self._on_end(exit_code)
                case _:
                    raise ValueError(f"the native runner asked for an unknown action: {action!r}")

    def _on_test_start(self) -> None:
        # Users wait for these handlers: a file prepares its data here.
        self._test_start = self._background.spawn(events.test_start.fire(runner=self._runner), "test_start")
        self._crew.hold()
        self._arrivals.hold()
        self._test_start.add_done_callback(lambda _: self._release())

    def _release(self) -> None:
        self._crew.release()
        self._arrivals.release()

    def _on_start_complete(self, users: int) -> None:
        # Everything that lives now lives long: a full collection over all users would stop the loop for its
        # time.
        gc.freeze()
        self._background.spawn(
            events.start_complete.fire(user_count=users, runner=self._runner), "start_complete"
        )

    def _on_drain(self, seconds: float) -> None:
        self._arrivals.end()
        self._crew.retire_all()
        self._stop_after(seconds)

    def _on_stop_now(self) -> None:
        self._arrivals.end()
        self._crew.cut_all(may_call=False)

    def _on_end(self, exit_code: int) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(exit_code)

    # === the end ===

    def _stop_after(self, seconds: float) -> None:
        if self._test_stop is None:
            self._test_stop = self._background.spawn(self._stop_users(seconds), "test_stop")

    async def _stop_users(self, seconds: float) -> None:
        if not await self._crew.gone(seconds):
            self._crew.cut_all()
            if not await self._crew.gone(ON_STOP_PATIENCE):
                self._crew.cut_all()
                await self._crew.gone(1.0)
        await events.test_stop.fire(runner=self._runner)

    async def _wind_up(self) -> None:
        self._crew.retire_all()
        if self._test_start is not None:
            self._stop_after(0.0)
        await self._background.finish(HANDLER_PATIENCE)
        self.stuck = not await self._crew.gone(0)
        if self.stuck:
            logger.error("some users withstood every cancellation; the process ends without them")
        await quit_with(self._background)

    # === measuring ===

    def _every(self, period: float, do: Callable[[float], None]) -> None:
        """Call `do` every `period` seconds with the seconds by which it was late."""
        loop = asyncio.get_running_loop()
        index = len(self._timers)

        def again(due: float) -> None:
            now = loop.time()
            do(max(0.0, now - due))
            self._timers[index] = loop.call_at(now + period, again, now + period)

        due = loop.time() + period
        self._timers.append(loop.call_at(due, again, due))

    def _measure(self, late: float) -> None:
        self._native.loop_lag(late)

    def _record_request(
        self,
        request_name: str,
        request_method: str,
        response_time: float,
        response_length: int = 0,
        error: object = None,
        aborted: bool = False,
        **_: object,
    ) -> None:
        if is_unmeasured():
            return
        failure = _text(error) if error else None
        self._record(
            str(request_method),
            str(request_name),
            float(response_time),
            int(response_length),
            failure,
            aborted,
        )

    def _record_user_error(self, error: object = None, **_: object) -> None:
        self._native.user_error(_text(error))


def _text(error: object) -> str:
    return f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error)


async def quit_with(background: Background) -> None:
    """Fire `quitting`, and give its handlers their time."""
    background.spawn(events.quitting.fire(), "quitting")
    await background.finish(HANDLER_PATIENCE)
