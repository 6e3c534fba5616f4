"""The events of a run. A scenario adds handlers with `+=` and takes them off with `-=`.

Handlers are coroutines and are called with keywords. A handler that raises is logged and harms nothing, but
for the two that are called once in a run, over all of its processes (`run_setup`, `run_teardown`).
Events know neither the runner nor the statistics: whoever owns a process gives the two events that are
recorded (`stats_request`, `user_error`) the function that records them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Self

from aiotest.log import logger

__all__ = [
    "EventHook",
    "init",
    "init_command_line_parser",
    "quitting",
    "run_setup",
    "run_teardown",
    "start_complete",
    "stats_request",
    "test_start",
    "test_stop",
    "user_error",
    "worker_report",
]

Handler = Callable[..., Any]


class EventHook:
    """A list of handlers that is called when something happens.

    `fire` is what scenarios and custom clients call. The engine's own calls are recorded where they are made,
    so it calls `notify`, and only when `has_handlers` says that somebody listens.
    """

    def __init__(self, name: str = "event") -> None:
        self.name = name
        self._handlers: list[tuple[Handler, frozenset[str] | None]] = []
        self.has_handlers = False
        """Whether anybody listens; if not, `notify` does nothing and need not be called."""
        self.record: Callable[..., None] | None = None
        """Called with the keywords of every `fire`, before the handlers; set by the host of the process."""

    def __iadd__(self, handler: Handler) -> Self:
        """Call `handler` from now on. Raises: `TypeError` if it cannot be called."""
        if not callable(handler):
            raise TypeError(f"a handler of `{self.name}` must be a coroutine function, not {handler!r}")
        self._handlers.append((handler, _keywords(handler)))
        self.has_handlers = True
        return self

    def __isub__(self, handler: Handler) -> Self:
        """Stop calling `handler`. Raises: `ValueError` if it was never added."""
        for index, (known, _) in enumerate(self._handlers):
            if known == handler:
                del self._handlers[index]
                self.has_handlers = bool(self._handlers)
                return self
        raise ValueError(f"{handler!r} is no handler of `{self.name}`")

    async def fire(self, **keywords: Any) -> None:
        """Say that the event happened: record it where this event is recorded, then call the handlers in
        turn.
        """
        if self.record is not None:
            try:
                self.record(**keywords)
            except Exception as error:
                logger.error(f"failed to record `{self.name}`: {type(error).__name__}: {error}")
        await self.notify(**keywords)

    async def notify(self, **keywords: Any) -> None:
        """Call the handlers in turn, recording nothing. What one raises is logged; the next is called all
        the same.
        """
        for handler in tuple(self._handlers):
            try:
                await _call(*handler, keywords)
            except Exception:
                logger.opt(exception=True).error(
                    f"a handler of `{self.name}` raised, and is called again next time"
                )

    async def carry_out(self, *, to_the_end: bool, **keywords: Any) -> None:
        """Call the handlers in turn, recording nothing. What the first one raises is raised: at once, or
        `to_the_end`, when the others have been called all the same.
        """
        failed: list[Exception] = []
        for handler in tuple(self._handlers):
            try:
                await _call(*handler, keywords)
            except Exception as error:
                failed.append(error)
                if not to_the_end:
                    break
        if failed:
            raise failed[0]


async def _call(handler: Handler, accepted: frozenset[str] | None, keywords: dict[str, Any]) -> None:
    given = keywords if accepted is None else {k: v for k, v in keywords.items() if k in accepted}
    result = handler(**given)
    if inspect.isawaitable(result):
        await result


def _keywords(handler: Handler) -> frozenset[str] | None:
    """The keywords a handler takes; `None` for all. Older files name only the ones they use."""
    try:
        parameters = inspect.signature(handler).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return frozenset(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))


init_command_line_parser = EventHook("init_command_line_parser")
init = EventHook("init")
run_setup = EventHook("run_setup")
"""Once in a run, in the process of the master, when every runner is there and before the start is agreed."""
test_start = EventHook("test_start")
start_complete = EventHook("start_complete")
stats_request = EventHook("stats_request")
user_error = EventHook("user_error")
worker_report = EventHook("worker_report")
test_stop = EventHook("test_stop")
run_teardown = EventHook("run_teardown")
"""Once in a run, in the process of the master, when the load has ended and before the report is made."""
quitting = EventHook("quitting")
