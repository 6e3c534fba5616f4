"""Users of a run wait for each other, over all its processes: `await aiotest.rendezvous("sale")`.

Here is who waits in this process, and since when. How many have come to all processes, and when everybody
goes on, is the master's to decide, in Rust: it hears how many wait here, and says when a round is over. Start
at [`rendezvous`][] and [`Waiters`][].
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from aiotest.life import Life, Phase, current_life

__all__ = ["MAX_NAMES", "MAX_NAME_BYTES", "MAX_USERS", "Master", "Waiters", "rendezvous"]

MAX_NAMES = 100
"""Different rendezvous of a run."""
MAX_NAME_BYTES = 100
MAX_USERS = 10_000_000
"""Users of any run."""


async def rendezvous(
    name: str,
    users: int | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 - it is the others who have that long
) -> None:
    """Wait until all users of the run are here, over all its processes; then all go on at one instant.

    Everybody who is named by the load has to come: those who live, those who are still to be started on the
    way up, and those who are started in the place of a lost process's; not those who died. The last to come
    waits for about two seconds, so that every process hears of the instant before it is there. Who comes
    after that instant waits for the next round of the same name.

    Arguments: `name`, which rendezvous, of at most 100 bytes; a run has at most 100 of them, each for as many
        rounds as it likes; `users`, how many are enough, unless given all; whoever is there at the instant
        goes on, also beyond that number, and of users that ask for different numbers the greatest counts;
        `timeout`, seconds to wait at most, `None` until the load is stopped.
    Raises: `TimeoutError` that says how many of how many had come, when `timeout` is over; `CancelledError`
        at the end of the load, as any wait does (the report then says how many had come); `ValueError` or
        `TypeError` for an argument that cannot be, `RuntimeError` outside of a user and in `on_stop`.
    """
    _check_name(name)
    _check_timeout(timeout)
    life = current_life.get()
    waiters = None if life is None else life.host.waiters
    if life is None or waiters is None:
        raise RuntimeError("rendezvous: only users wait for each other: call it in a job or in on_start")
    waiters.check_users(users)
    if life.phase is not Phase.LIVING:
        raise RuntimeError("rendezvous: nobody waits for a user that is in on_stop: call it before")
    if life.retired:
        raise asyncio.CancelledError("the user is being stopped: it waits for nobody")
    await waiters.wait(life, name, users, timeout)


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"rendezvous: name must be a str, not {name!r}")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise ValueError(f"rendezvous: name must be text that UTF-8 can hold, not {name!r}") from None
    if not 1 <= size <= MAX_NAME_BYTES:
        raise ValueError(f"rendezvous: name must have 1 to {MAX_NAME_BYTES} bytes, and has {size}")


def _check_timeout(timeout: object) -> None:
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"rendezvous: timeout must be a number of seconds or None, not {timeout!r}")
    if not (math.isfinite(timeout) and timeout >= 0):
        raise ValueError(
            f"rendezvous: timeout must be seconds, 0 or more, not {timeout!r}: without one, a user waits "
            "until the load is stopped"
        )


class Master(Protocol):
    """Whom the master hears, and what is heard of it: the native `Runner`."""

    def waiting(self, rendezvous: str, waiting: int, users: int | None) -> None: ...
    def meeting(self, rendezvous: str) -> tuple[int, int] | None: ...
    @property
    def most_users(self) -> int | None: ...


class _Place:
    """One rendezvous in this process."""

    def __init__(self) -> None:
        self._there: dict[asyncio.Future[None], tuple[Life, int | None, float]] = {}
        self._lives: Counter[Life] = Counter()
        self._asked: Counter[int | None] = Counter()

    @property
    def waiting(self) -> int:
        """Users that are here, however many of their tasks are."""
        return len(self._lives)

    @property
    def users(self) -> int | None:
        """How many are waited for; `None` for all."""
        return None if None in self._asked else max(filter(None, self._asked), default=None)

    def come(self, life: Life, users: int | None) -> asyncio.Future[None]:
        """A user is here. Returns what it is to wait for."""
        loop = asyncio.get_running_loop()
        here: asyncio.Future[None] = loop.create_future()
        self._there[here] = life, users, loop.time()
        self._lives[life] += 1
        self._asked[users] += 1
        return here

    def go(self, here: asyncio.Future[None]) -> bool:
        """It is not any more. False: it had gone already."""
        if here not in self._there:
            return False
        life, users, _ = self._there.pop(here)
        _take_off(self._lives, life)
        _take_off(self._asked, users)
        return True

    def release(self, by: float) -> None:
        """Everybody goes on who was here at that time of the loop."""
        for here, (_, _, since) in list(self._there.items()):
            if since <= by:
                self.go(here)
                if not here.done():
                    here.set_result(None)


def _take_off(counter: Counter[Any], one: object) -> None:
    counter[one] -= 1
    if not counter[one]:
        del counter[one]


class Waiters:
    """Everybody who waits for others in this process."""

    def __init__(self, master: Master, tell_soon: Callable[[], None]) -> None:
        """`tell_soon`: have `tell` called once this turn of the loop is over."""
        self._master = master
        self._tell_soon = tell_soon
        self._places: dict[str, _Place] = {}
        self._changed: set[str] = set()

    def check_users(self, users: object) -> None:
        """Raises: `TypeError` or `ValueError` for a number of users that this load never has."""
        if users is None:
            return
        if isinstance(users, bool) or not isinstance(users, int):
            raise TypeError(f"rendezvous: users must be a whole number or None for all, not {users!r}")
        if users < 1:
            raise ValueError(
                f"rendezvous: users must be 1 or more, not {users}: leave it out to wait for all"
            )
        told = self._master.most_users
        most = MAX_USERS if told is None else told
        if users > most:
            raise ValueError(
                f"rendezvous: users={users} would never come, as the load has {most} at most: ask for fewer, "
                "or have more users"
            )

    async def wait(self, life: Life, name: str, users: int | None, seconds: float | None) -> None:
        """Wait for the others, `seconds` at most. Raises: `TimeoutError`; `ValueError` for a name too
        many.
        """
        place = self._place(name)
        here = place.come(life, users)
        self._note(name)
        try:
            async with asyncio.timeout(seconds):
                await here
        except TimeoutError:
            if not here.done() or here.cancelled():
                raise TimeoutError(self._too_few(name, place, seconds)) from None
        finally:
            if place.go(here):
                self._note(name)

    def release(self, name: str, late: float) -> None:
        """Let everybody go on who had come `late` seconds ago."""
        if (place := self._places.get(name)) is not None:
            place.release(asyncio.get_running_loop().time() - late)
            # The master's side takes them all for gone.
            self._note(name)

    def tell(self) -> None:
        """Say how many wait, where that has changed."""
        for name in sorted(self._changed):
            place = self._places[name]
            self._master.waiting(name, place.waiting, place.users)
        self._changed.clear()

    def _place(self, name: str) -> _Place:
        if name not in self._places and len(self._places) >= MAX_NAMES:
            raise ValueError(
                f"rendezvous: name `{name}` would be one more than the {MAX_NAMES} that a run may have: use "
                "a name again, which begins its next round"
            )
        return self._places.setdefault(name, _Place())

    def _note(self, name: str) -> None:
        self._changed.add(name)
        self._tell_soon()

    def _too_few(self, name: str, place: _Place, seconds: float | None) -> str:
        come, needed = self._master.meeting(name) or (0, place.users or "all")
        come = max(come, place.waiting)
        return f"rendezvous `{name}`: {come} of {needed} users had come within {seconds:g} s"
