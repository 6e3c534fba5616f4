"""`asyncio.gather` of a user's coroutines, for less than asyncio's takes.

Users that gather their calls make as many tasks as calls, and with asyncio's `gather` those cost as much as
the calls. Here they are begun at once where Python can do that (from 3.12 on), not when the loop comes
round: what is gathered is awaited there and then. They tell of their end without a callback, and what they
asked for goes out together. Everything else is asyncio's: results in order, the first exception at once
while the others go on, cancellation of all with the whole. Whatever is not just coroutines, or not a user's,
goes to asyncio's. Start at [`gather`][].
"""

from __future__ import annotations

import asyncio
import sys
from types import CoroutineType
from typing import Any

from aiotest._native import Gathering
from aiotest.crew import make_task
from aiotest.life import Life, current_life

__all__ = ["install"]

_COROUTINES = {CoroutineType}
_AT_ONCE: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}

_plain_gather = asyncio.gather


class _Gathered(asyncio.Future[list[Any]]):
    """All of their results."""

    def __init__(self, life: Life, return_exceptions: bool, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.tasks: list[asyncio.Task[Any]] = []
        self._life = life
        self._returns_exceptions = return_exceptions
        self._cancelled_by: tuple[Any, ...] | None = None

    def cancel(self, msg: Any = None) -> bool:
        """Cancel whoever has not ended; the whole is cancelled once all of them have."""
        if self.done():
            return False
        told = [task.cancel(msg=msg) for task in self.tasks]
        if any(told):
            self._cancelled_by = () if msg is None else (msg,)
        return any(told)

    def failed(self, error: BaseException) -> None:
        """The task that runs now ends with this."""
        if task := asyncio.current_task():
            task.add_done_callback(_retrieve)
        if not self._returns_exceptions and not self.done():
            self.set_exception(error)
            for each in self.tasks:
                # The life knew them by the whole, which is done now.
                self._life.adopt(each)

    def ended(self, results: list[Any]) -> None:
        """So has the last one."""
        self.tasks = []
        if self.done():
            return
        if self._cancelled_by is None:
            self.set_result(results)
        else:
            self.set_exception(asyncio.CancelledError(*self._cancelled_by))


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Its exception is the whole's: nobody shall be told that it was never looked at."""
    if not task.cancelled():
        task.exception()


def gather(*coroutines: Any, return_exceptions: bool = False) -> Any:
    """As `asyncio.gather`."""
    life, loop = current_life.get(), asyncio._get_running_loop()
    if life is None or loop is None or not _may_be_ours(coroutines, loop):
        return _plain_gather(*coroutines, return_exceptions=return_exceptions)
    whole = _Gathered(life, return_exceptions, loop)
    branch, tasks = Gathering(whole, len(coroutines)).branch, whole.tasks
    for index, coroutine in enumerate(coroutines):
        tasks.append(asyncio.Task(branch(index, coroutine), loop=loop, **_AT_ONCE))
    for each in tasks if whole.done() else (whole,):
        life.adopt(each)
    return whole


def _may_be_ours(coroutines: tuple[Any, ...], loop: asyncio.AbstractEventLoop) -> bool:
    """Each a coroutine that is named once, and no task factory of somebody else's on the loop."""
    return (
        {*map(type, coroutines)} == _COROUTINES
        and len({*coroutines}) == len(coroutines)
        and loop.get_task_factory() is make_task
    )


def install() -> None:
    """Give it to files that are imported from now on."""
    asyncio.gather = asyncio.tasks.gather = gather
