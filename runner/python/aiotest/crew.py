"""The users of one process: starts them, retires the newest first, counts the living and the dead of every
class.

Decides nothing about how many there should be. Start at [`Crew.start`][] and [`Crew.retire`][].
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Protocol

from aiotest import memory
from aiotest.client import current_scope
from aiotest.life import Life, Scope, Work, current_life
from aiotest.log import logger
from aiotest.rendezvous import Master, Waiters
from aiotest.user import User

__all__ = ["Counter", "Crew", "adopt_tasks", "make_task"]


class Counter(Master, Protocol):
    """Who is told of users; the native `Runner`."""

    def users(self, class_index: int, live: int, dead: int) -> None: ...
    def user_error(self, text: str) -> None: ...
    def lateness(self, seconds: float) -> None: ...


class Crew:
    """The users of one process, by class."""

    def __init__(
        self, classes: Sequence[type[User]], counter: Counter, make_scope: Callable[[], Scope]
    ) -> None:
        self._classes = classes
        self._counter = counter
        self._make_scope = make_scope
        self._living: list[dict[Life, None]] = [{} for _ in classes]
        self._leaving: list[dict[Life, None]] = [{} for _ in classes]
        self._dead = [0 for _ in classes]
        self._held = [0 for _ in classes]
        self._holds = False
        self._most = 0
        """Users that have been there at once."""
        self._changed: set[int] = set()
        self._tells = False
        self.waiters = Waiters(counter, self._tell_soon)
        self._empty = asyncio.Event()
        self._empty.set()

    # === what the plan asks for ===

    def hold(self) -> None:
        """Start nobody until `release`. Whoever waits counts as live, as from the moment of the order."""
        self._holds = True

    def release(self) -> None:
        """Start those that were held."""
        self._holds = False
        for class_index, users in enumerate(self._take_held()):
            self.start(class_index, users)

    def start(self, class_index: int, users: int) -> None:
        """Start `users` users of a class now, or when they are released."""
        self._empty.clear()
        if self._holds:
            self._held[class_index] += users
            self._note(class_index)
            return
        for _ in range(users):
            self._start_one(class_index)
        self._grown()
        self._note(class_index)

    def start_with(self, class_index: int, work: Work) -> None:
        """Start one user of a class that does this work in the place of its `start`."""
        self._empty.clear()
        self._start_one(class_index, work)
        self._grown()
        self._note(class_index)

    def retire(self, class_index: int, users: int) -> None:
        """Let `users` users of a class go, the newest first: who has been there longest has most to lose."""
        never_started = min(users, self._held[class_index])
        self._held[class_index] -= never_started
        for life in list(reversed(self._living[class_index]))[: users - never_started]:
            self._retire_one(life)
        self._note(class_index)

    def retire_all(self) -> None:
        """Let everybody go."""
        self._take_held()
        for life in [life for lives in self._living for life in lives]:
            self._retire_one(life)

    def cut_all(self, may_call: bool = True) -> None:
        """Abort every open call and cancel every user, those in `on_stop` included."""
        self._take_held()
        for life in list(self._everybody()):
            life.cut(may_call)

    def nudge(self) -> None:
        """Cancel again the users that were told to go and did not."""
        for lives in self._leaving:
            for life in list(lives):
                life.nudge()

    async def gone(self, seconds: float) -> bool:
        """Wait until nobody is left, at most `seconds`. False: somebody is."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    def living(self, class_index: int) -> int:
        """How many users of a class there are, without those that were told to go."""
        return len(self._living[class_index])

    def there(self, class_index: int) -> int:
        """How many users of a class there are, with those that were told to go and have not gone yet."""
        return len(self._living[class_index]) + len(self._leaving[class_index])

    # === what the lives tell ===

    def let_go(self, life: Life) -> None:
        """Let this one user go."""
        if life in self._living[life.class_index]:
            self._retire_one(life)
            self._note(life.class_index)

    def lateness(self, seconds: float) -> None:
        """A user was woken this late."""
        self._counter.lateness(seconds)

    def user_error(self, text: str) -> None:
        """A user died of this."""
        self._counter.user_error(text)

    def ended(self, life: Life, dead: bool) -> None:
        """A user is gone: its `on_stop` has run, its session is closed."""
        index = life.class_index
        self._living[index].pop(life, None)
        self._leaving[index].pop(life, None)
        self._dead[index] += dead
        self._note(index)

    # === inside ===

    def _take_held(self) -> list[int]:
        held, self._held = self._held, [0 for _ in self._held]
        for class_index, users in enumerate(held):
            if users:
                self._note(class_index)
        return held

    def _grown(self) -> None:
        if self._most < (there := sum(map(len, self._living))):
            self._most = there
            memory.grown()

    def _start_one(self, class_index: int, work: Work | None = None) -> None:
        scope = self._make_scope()
        life = Life(self, class_index, scope, work)
        if work is not None:
            work.life = life
        make = self._classes[class_index]
        self._living[class_index][life] = None
        try:
            # A context of its own: what a user sets in a context variable is nobody else's.
            contextvars.copy_context().run(_begin, life, scope, make)
        except Exception as error:
            logger.opt(exception=error).error(f"failed to make a {make.__name__}")
            self.user_error(f"{type(error).__name__}: {error}")
            self.ended(life, dead=True)

    def _retire_one(self, life: Life) -> None:
        index = life.class_index
        del self._living[index][life]
        self._leaving[index][life] = None
        life.retire()

    def _everybody(self) -> Iterator[Life]:
        for lives in (*self._living, *self._leaving):
            yield from lives

    def _note(self, class_index: int) -> None:
        self._changed.add(class_index)
        self._tell_soon()

    def _tell_soon(self) -> None:
        # Users end in crowds: one message per class and turn of the loop is enough.
        if not self._tells:
            self._tells = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self._tells = False
        # First: of a user that is gone it must be known that it waits no more.
        self.waiters.tell()
        for index in sorted(self._changed):
            live = len(self._living[index]) + len(self._leaving[index]) + self._held[index]
            self._counter.users(index, live, self._dead[index])
        self._changed.clear()
        if not any(self._held) and not any(self._everybody()):
            self._empty.set()


def _begin(life: Life, scope: Scope, make: Callable[[], User]) -> None:
    current_life.set(life)
    current_scope.set(scope)
    life.begin(make)


def make_task(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[Any, Any, Any],
    make: Callable[..., asyncio.Task[Any]] = asyncio.Task,
    **kwargs: Any,
) -> asyncio.Task[Any]:
    """A task factory that lets every task that a user makes be known to its life."""
    life = current_life.get()
    is_users = life is not None and not life.starting
    if life is not None:
        # Before it is made: an eager task makes others meanwhile.
        life.starting = False
    task = make(coro, loop=loop, **kwargs)
    if life is not None and is_users:
        life.adopt(task)
    return task


def adopt_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Let every task that a user makes be known to its life, on top of whatever task factory the loop has."""
    previous: Any = loop.get_task_factory()
    if previous is None:
        loop.set_task_factory(make_task)  # type: ignore[arg-type]
        return

    def factory(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **kwargs: Any) -> Any:
        return make_task(loop, coro, lambda coro, loop, **kwargs: previous(loop, coro, **kwargs), **kwargs)

    loop.set_task_factory(factory)  # type: ignore[arg-type]
