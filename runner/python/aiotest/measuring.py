"""Times and records anything that a user does: a query, a message, a call of some library's client.

Three spellings of one thing: a block ([`measure`][]), a plain call ([`record`][]), and the event
`stats_request`, which both of them fire. What is recorded stands in the report and in the metrics like an
HTTP call.
"""

from __future__ import annotations

import math
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from aiotest import events, runners
from aiotest.client import _notify_detached, is_unmeasured
from aiotest.life import Life, current_life

__all__ = ["measure", "record"]


async def record(
    name: str,
    *,
    method: str = "call",
    seconds: float,
    length: int = 0,
    error: BaseException | str | None = None,
) -> None:
    """Count something that has been done, under `name` and `method`.

    Arguments: `seconds` it took; `length`, bytes that came; `error`, why it failed, `None` if it didn't.
    Raises: `ValueError` for a time or a length below 0.
    """
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"seconds must be a number, 0 or more, not {seconds!r}")
    if length < 0:
        raise ValueError(f"length must be a number of bytes, 0 or more, not {length!r}")
    if is_unmeasured():
        return
    text = text_of(error) if isinstance(error, BaseException) else error
    await events.stats_request.fire(**_told(name, method, seconds, length, text))


class measure:
    """`async with measure("select user", method="SQL") as it:` times the block and counts it when it is left.

    An exception in the block makes it a failure, with the exception's text, and goes on: it ends the job, and
    the user goes on with its next one, as after a call without a reply. A block that is cut by the end of the
    load counts as aborted, and one that the scenario cancels as a failure named `Cancelled`; put
    `asyncio.timeout` inside of the block, so that its `TimeoutError` is what is counted. At the end of the
    load a user inside of a block is waited for as one inside a call.
    """

    def __init__(self, name: str, *, method: str = "call") -> None:
        self.name = name
        self.method = method
        self.length = 0
        """Bytes that came; for the block to set."""
        self._failure: str | None = None
        self._life: Life | None = None
        self._begun = 0
        self._started: float | None = None

    def failure(self, error: BaseException | str) -> None:
        """The block counts as failed, with this text, however it ends."""
        self._failure = text_of(error) if isinstance(error, BaseException) else error

    async def __aenter__(self) -> Self:
        """Raises: `CancelledError` where no new call starts, as the user is being stopped; `RuntimeError` the
        second time.
        """
        if self._started is not None:
            raise RuntimeError("a block is measured once: call measure() for each operation")
        self._life = current_life.get()
        if self._life is not None:
            self._begun = self._life.begin_block()
        self._started = perf_counter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._started is not None
        if is_unmeasured():
            return
        seconds = perf_counter() - self._started
        try:
            if (error is None or isinstance(error, Exception)) and not self._was_cut():
                await self._left(seconds, error)
            else:
                self._cut(seconds, error)
        finally:
            if self._life is not None:
                self._life.end_block(self._begun)

    def _was_cut(self) -> bool:
        return self._life is not None and self._life.was_cut(self._begun)

    async def _left(self, seconds: float, error: Exception | None) -> None:
        text = self._failure
        if error is not None:
            text = text or text_of(error)
            # It has been counted: the user lives on.
            error.__dict__["aiotest_recorded"] = True
        await events.stats_request.fire(**_told(self.name, self.method, seconds, self.length, text))

    def _cut(self, seconds: float, error: BaseException | None) -> None:
        """A task that is being cancelled waits for nothing: the handlers are told in a task of their own."""
        # Many a library makes an exception of its own of its cancellation.
        stopped = self._was_cut()
        if isinstance(error, Exception):
            error.__dict__["aiotest_recorded"] = True
        text = None if stopped else self._failure or "Cancelled"
        told = _told(self.name, self.method, seconds, self.length, text)
        if events.stats_request.record is not None:
            events.stats_request.record(**told, aborted=stopped)
        if events.stats_request.has_handlers:
            _notify_detached(self.name, self.method, seconds * 1000, self.length, text)


def _told(name: str, method: str, seconds: float, length: int, error: str | None) -> dict[str, Any]:
    return {
        "runner": runners.global_runner,
        "request_name": name,
        "request_method": method,
        "response_time": seconds * 1000,
        "response_length": length,
        "error": error,
    }


def text_of(error: BaseException) -> str:
    """An exception's own text, or its class where that is empty. A missing key alone says too little."""
    text = str(error)
    if not text.strip():
        return type(error).__name__
    return f"{type(error).__name__}: {text}" if isinstance(error, KeyError) else text
