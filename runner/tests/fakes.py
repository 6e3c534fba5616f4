"""Stand-ins for the native side where a test is about Python's own decisions."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any


async def _at_once() -> None:
    await asyncio.sleep(0)


class FakeScope:
    """A user's calls: `call` opens one, as a session would."""

    def __init__(self) -> None:
        self.open_calls = 0
        self.refuses = False
        self.aborted = 0
        self.reopened = 0
        self._callback: Callable[[], object] | None = None
        self._waiting: set[asyncio.Future[Any]] = set()

    def owns(self, session: object) -> bool:
        return True

    def retire(self, callback: Callable[[], object]) -> bool:
        self.refuses = True
        self._callback = callback
        return self.open_calls == 0

    def reopen(self) -> None:
        self.refuses = False
        self.reopened += 1
        self._callback = None

    def abort(self) -> None:
        for waiting in self._waiting:
            self.aborted += not waiting.done()
            waiting.cancel()

    async def call(self, reply: Callable[[], Awaitable[object]] = _at_once) -> None:
        """Wait for `reply()`, then be recorded."""
        if self.refuses:
            raise asyncio.CancelledError
        self.open_calls += 1
        waiting = asyncio.ensure_future(reply())
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)
            self.open_calls -= 1
            if self.open_calls == 0 and self._callback is not None:
                asyncio.get_running_loop().call_soon(self._callback)


class FakeNative:
    """The native runner or master: `do` is what its thread decided, `told` what Python reported."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._todo: list[tuple[Any, ...]] = []
        self.told: list[tuple[Any, ...]] = []
        self.live: dict[int, int] = {}
        self.dead: dict[int, int] = {}
        self.meetings: dict[str, tuple[int, int]] = {}
        self.most_users: int | None = 10
        self.changed = asyncio.Event()

    def do(self, *actions: tuple[Any, ...]) -> None:
        self._todo += actions
        os.eventfd_write(self._fd, 1)

    def fileno(self) -> int:
        return self._fd

    def poll(self) -> list[tuple[Any, ...]]:
        os.eventfd_read(self._fd)
        todo, self._todo = self._todo, []
        return todo

    def close(self) -> None:
        os.close(self._fd)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until what Python reported makes `is_so` true."""
        async with asyncio.timeout(5):
            while not is_so():
                self.changed.clear()
                await self.changed.wait()

    def _tell(self, *what: Any) -> None:
        self.told.append(what)
        self.changed.set()

    # What a runner is told.

    def users(self, class_index: int, live: int, dead: int) -> None:
        self.live[class_index], self.dead[class_index] = live, dead
        self._tell("users", class_index, live, dead)

    def rows(self, set_index: int, waiting: int, unused: int, taken: int, given_back: Sequence[int]) -> None:
        self._tell("rows", set_index, waiting, unused, taken, list(given_back))

    def user_error(self, text: str) -> None:
        self._tell("user_error", text)

    def loop_lag(self, seconds: float) -> None:
        self._tell("loop_lag", seconds)

    def lateness(self, seconds: float) -> None:
        self._tell("lateness", seconds)

    def began(self, started: int, shed: int) -> None:
        self._tell("began", started, shed)

    def begun_late(self, seconds: float) -> None:
        self._tell("begun_late", seconds)

    def waiting(self, rendezvous: str, waiting: int, users: int | None) -> None:
        self._tell("waiting", rendezvous, waiting, users)

    def meeting(self, rendezvous: str) -> tuple[int, int] | None:
        return self.meetings.get(rendezvous)

    @property
    def user_count(self) -> int:
        return sum(self.live.values())

    @property
    def state(self) -> str:
        return "running"

    # What a master is told.

    def shape(self, users: int, rate: float) -> None:
        self._tell("shape", users, rate)

    def shape_end(self) -> None:
        self._tell("shape_end")

    def shape_failed(self, text: str) -> None:
        self._tell("shape_failed", text)

    def set_up(self, error: str | None) -> None:
        self._tell("set_up", error)

    def torn_down(self, error: str | None) -> None:
        self._tell("torn_down", error)

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        """Everything told of one kind, without its name."""
        return [tuple(values) for name, *values in self.told if name == kind]
