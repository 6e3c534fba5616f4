"""The master's Python side: asks the file's shape, has done what is done once in a run, and fires events in
the master's process.

Reports, metrics and deadlines are served by the native master's own thread, so a `tick` that blocks this loop
stops none of them: the native side says that the deadline was missed, and the last plan holds. Start at
[`MasterHost.run`][].
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Any, Protocol

from aiotest import events, hooks
from aiotest.host import HANDLER_PATIENCE, Background, quit_with
from aiotest.log import logger
from aiotest.runners import MasterRunner
from aiotest.shape import LoadUserShape, ShapeError, checked

__all__ = ["MasterHost", "NativeMaster"]


class NativeMaster(Protocol):
    """The part of `_native.Master` that a host uses; `_native.pyi` says what each does."""

    def fileno(self) -> int: ...
    def poll(self) -> list[tuple[Any, ...]]: ...
    def shape(self, users: int, rate: float) -> None: ...
    def shape_end(self) -> None: ...
    def shape_failed(self, text: str) -> None: ...
    def set_up(self, error: str | None) -> None: ...
    def torn_down(self, error: str | None) -> None: ...


class MasterHost:
    """The master of a run, on the running loop."""

    def __init__(
        self, native: NativeMaster, shape: LoadUserShape | None, runner: MasterRunner | None
    ) -> None:
        """`runner`: whom event handlers are given; `None` where the process's runner fires the events
        itself.
        """
        self._native = native
        self._shape = shape
        self._shape_start: float | None = None
        self._runner = runner
        self._background = Background()
        self._hook: asyncio.Task[None] | None = None
        self._ended: asyncio.Future[int] | None = None

    async def run(self) -> int:
        """Serve the native master until the run has ended. Returns its exit code."""
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        loop.add_reader(self._native.fileno(), self._act)
        try:
            code = await self._ended
            await self._background.finish(HANDLER_PATIENCE)
            if self._runner is not None:
                await quit_with(self._background)
        finally:
            loop.remove_reader(self._native.fileno())
        return code

    def _act(self) -> None:
        for event in self._native.poll():
            match event:
                case ("run_setup",):
                    self._carry_out(events.run_setup, self._native.set_up)
                case ("run_teardown",):
                    self._carry_out(events.run_teardown, self._native.torn_down)
                case ("ask_shape", run_time):
                    self._ask_shape(run_time)
                case ("test_start",):
                    self._fire(events.test_start)
                case ("start_complete", users):
                    self._fire(events.start_complete, user_count=users)
                case ("worker_report", worker_id, data):
                    self._fire(events.worker_report, worker_id=worker_id, data=data)
                case ("test_stop",):
                    self._fire(events.test_stop)
                case ("ended", exit_code):
                    self.end(exit_code)
                case _:
                    raise ValueError(f"the native master told of an unknown event: {event!r}")

    def _ask_shape(self, run_time: float) -> None:
        shape = self._shape
        if shape is None:
            self._native.shape_failed("the file has no LoadUserShape")
            return
        if self._shape_start in (None, shape.start_time):
            # The run's time is the master's: it asks before the start too, and goes on after a restart.
            # From a `reset_time` on the shape has a time of its own.
            self._shape_start = shape.start_time = perf_counter() - run_time
        try:
            answer = checked(shape.tick())
        except ShapeError as error:
            self._fail_shape(str(error))
        except Exception as error:
            logger.opt(exception=error).error(f"{type(shape).__name__}.tick raised; the last plan holds")
            self._native.shape_failed(f"{type(error).__name__}: {error}")
        else:
            if answer is None:
                self._native.shape_end()
            else:
                self._native.shape(*answer)

    def _fail_shape(self, text: str) -> None:
        logger.error(f"{text}; the last plan holds")
        self._native.shape_failed(text)

    def _carry_out(self, event: events.EventHook, tell: Callable[[str | None], None]) -> None:
        async def carry_out() -> None:
            tell(await hooks.carry_out(event))

        self._hook = self._background.spawn(carry_out(), event.name)

    def _fire(self, event: events.EventHook, **keywords: Any) -> None:
        if self._runner is not None and event.has_handlers:
            self._background.spawn(event.fire(runner=self._runner, **keywords), event.name)

    def end(self, exit_code: int) -> None:
        """Let `run` end with this exit code, unless it has one."""
        if self._hook is not None:
            # The run has ended without it.
            self._hook.cancel()
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(exit_code)
