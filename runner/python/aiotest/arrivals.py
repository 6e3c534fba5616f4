"""The open model in one process: an iteration is given to a user that has nothing to do, or to a new one.

It is one pass over the jobs of a user, which takes one after the other. Decides neither when they are due nor
how many users there may be. Start at [`Arrivals.begin`][] and [`Turns.serve`][].
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from aiotest import life, waiting
from aiotest._native import intended_start
from aiotest.crew import Crew

__all__ = ["Arrivals", "Ledger", "Turns"]


class Ledger(Protocol):
    """Who counts iterations; the native `Runner`."""

    def began(self, started: int, shed: int) -> None: ...
    def begun_late(self, seconds: float) -> None: ...


class Arrivals:
    """The users of one process that take iterations, by class."""

    def __init__(self, crew: Crew, ledger: Ledger, classes: int) -> None:
        self._crew = crew
        self._ledger = ledger
        self._allowed = [0] * classes
        self._idle: list[dict[Turns, None]] = [{} for _ in range(classes)]
        self._held: list[tuple[int, float]] | None = None

    def allow(self, class_index: int, users: int) -> None:
        """Have at most `users` users of a class. Of those above it, who has been idle longest goes first,
        then the newest.
        """
        self._allowed[class_index] = users
        surplus = self._crew.living(class_index) - users
        for turns in list(self._idle[class_index])[: max(0, surplus)]:
            turns.end()
            surplus -= 1
        if surplus > 0:
            self._crew.retire(class_index, surplus)

    def hold(self) -> None:
        """Begin nothing until `release`; what comes meanwhile begins late."""
        self._held = []

    def release(self) -> None:
        """Begin what was held."""
        held, self._held = self._held or [], None
        self.begin(held, 0)

    def begin(self, iterations: list[tuple[int, float]], shed: int) -> None:
        """Begin these, each a class and its instant in the loop's time, and count `shed` more."""
        if self._held is not None:
            room = max(0, sum(self._allowed) - len(self._held))
            self._held += iterations[:room]
            self._ledger.began(0, shed + len(iterations[room:]))
            return
        begun = sum(self._give(class_index, due) for class_index, due in iterations)
        self._ledger.began(begun, shed + len(iterations) - begun)

    def end(self) -> None:
        """Nobody takes an iteration any more."""
        self._allowed = [0] * len(self._allowed)
        if self._held is not None:
            self.release()

    def late(self, seconds: float) -> None:
        """An iteration has begun, this late."""
        self._ledger.begun_late(seconds)

    def idle(self, turns: Turns) -> dict[Turns, None]:
        """Those of the same class that have nothing to do."""
        return self._idle[turns.class_index]

    def _give(self, class_index: int, due: float) -> bool:
        idle = self._idle[class_index]
        while idle:
            # The last that became idle: its connection is the freshest.
            turns, _ = idle.popitem()
            if turns.take(due):
                return True
        if self._crew.there(class_index) < self._allowed[class_index]:
            self._crew.start_with(class_index, Turns(self, class_index, due))
            return True
        return False


class Turns:
    """What one user does in the open model."""

    __slots__ = ("_due", "_next", "_of", "class_index", "life")

    def __init__(self, of: Arrivals, class_index: int, due: float) -> None:
        self._of = of
        self._due = due
        self._next: asyncio.Future[float] | None = None
        self.class_index = class_index
        self.life: life.Life | None = None

    def take(self, due: float) -> bool:
        """Begin the iteration of this instant, if the user is still idle."""
        if self._next is None or self._next.done():
            return False
        self._next.set_result(due)
        return True

    def end(self) -> None:
        """Let the user go."""
        if self.life is not None:
            self.life.host.let_go(self.life)

    async def serve(self, user: Any) -> None:
        """`on_start`, which belongs to the first iteration, then one iteration after the other, for ever."""
        loop = asyncio.get_running_loop()
        self._begin(loop)
        await user.on_start()
        while True:
            await one_pass(user)
            self._next = loop.create_future()
            idle = self._of.idle(self)
            idle[self] = None
            try:
                self._due = await self._next
            finally:
                idle.pop(self, None)
            self._begin(loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._of.late(max(0.0, loop.time() - self._due))
        intended_start(self._due)


async def one_pass(user: Any) -> None:
    """Each job once, in their order, with the user's `wait_time` between two."""
    if not user.jobs:
        raise ValueError(f"{type(user).__name__}.jobs is empty: there is nothing to run")
    for place, job in enumerate(user.jobs):
        if place:
            await life.pause(await waiting.seconds(user))
        try:
            await job(user)
        except Exception as error:
            if not life.is_recorded(error):
                raise
