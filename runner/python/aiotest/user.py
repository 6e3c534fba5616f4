"""What scenarios subclass: `User`, and `AsyncHttpUser` for HTTP.

Jobs are found when a class is made, without a metaclass: the coroutines of its own body whose names start or
end with `test`, or else those of the nearest base that has some. Whether a class is any good is judged by
`aiotest.collection`; how a user begins and ends is `aiotest.life`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterable, Sequence
from math import inf
from types import FunctionType
from typing import Any, Literal
from weakref import WeakKeyDictionary

from aiotest import life, waiting
from aiotest._native import loop_turn
from aiotest.client import ClientSession, TCPConnector
from aiotest.waiting import WaitTime

__all__ = ["AsyncHttpUser", "Job", "User"]

Job = Callable[[Any], Coroutine[Any, Any, Any]]
"""A coroutine function that takes the user; `self.jobs` holds these."""


def is_job_name(name: str) -> bool:
    """Whether an attribute of this name is meant to be a job."""
    return name.startswith("test") or name.endswith("test")


def is_job(value: object) -> bool:
    """Whether a class attribute is a coroutine function, or a plain wrapper that says it wraps one."""
    if not isinstance(value, FunctionType) and not callable(value):
        return False
    return inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(inspect.unwrap(value))


def find_jobs(cls: type) -> list[Job]:
    """The jobs of the class's own body in definition order, or else of the nearest base that has some."""
    for base in cls.__mro__:
        if base is not cls and "jobs" in vars(base) and vars(base)["jobs"]:
            return list(vars(base)["jobs"])
        if found := list(_own_jobs(base)):
            return found
    return []


def _own_jobs(cls: type) -> Iterable[Job]:
    return (value for name, value in vars(cls).items() if is_job_name(name) and is_job(value))


class User:
    """One simulated user: a task that runs its jobs one after the other, for ever."""

    host: str | None = None
    wait_time: WaitTime = 1
    """Seconds to wait after every job, and once after `on_start`; 0 only lets others run.

    Also a pair `(low, high)`, from which every wait is drawn evenly, or a function or coroutine function that
    is called for every wait, with the user or without anything, and returns seconds: `def wait_time(self)`,
    `async def wait_time(self)`, `lambda self: …`, `staticmethod`. It may be set for one user, as in
    `self.wait_time = (1, 3)`. What is no time ends the user with a `ValueError` that says so.
    """
    weight: int = 1
    """Share of this class in all users; 0 disables the class."""
    session: Any = None
    task: asyncio.Task[Any] | None = None
    jobs: list[Job] = []  # noqa: RUF012 - replaced, never changed in place

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "jobs" not in vars(cls):
            cls.jobs = find_jobs(cls)

    async def on_start(self) -> None:
        """Called once before the first job. What it raises ends the user."""

    async def on_stop(self) -> None:
        """Called exactly once however the user ended. May make calls; the session is closed afterwards."""

    def start_user(self) -> None:
        """Start the user's task, named after its class."""
        self.task = asyncio.create_task(life.live(self), name=type(self).__name__)

    async def stop_user(self) -> None:
        """Cancel the user's task and wait until it has ended, `on_stop` included."""
        task = self.task
        if task is None or task.done():
            return
        task.cancel()
        if task is not asyncio.current_task():
            await asyncio.wait([task])

    async def start(self) -> None:
        """Await `on_start`, then run the jobs one after the other for ever.

        A call that failed before there was a reply is already counted; the next job follows. Anything else
        that a job raises ends the user. Override it to run jobs in another way, such as `asyncio.gather`.
        """
        await self.on_start()
        await life.pause(await waiting.seconds(self))
        turn = loop_turn()
        while True:
            if not self.jobs:
                raise ValueError(f"{type(self).__name__}.jobs is empty: there is nothing to run")
            for job in self.jobs:
                try:
                    await job(self)
                except Exception as error:
                    if not life.is_recorded(error):
                        raise
                # A job that waited for a call has let the others run already.
                before, turn = turn, loop_turn()
                wait: Any = self.wait_time
                try:
                    waits = 0 < wait < inf
                except TypeError:  # no number
                    wait = await waiting.seconds(self)
                    waits = wait > 0
                if waits:
                    await life.pause(wait)
                elif wait != 0:
                    await waiting.seconds(self)  # says what is wrong with it
                elif before == turn:
                    await life.pause(0)


class AsyncHttpUser(User):
    """A user with a `session` of its own: its own cookies, its own connections, relative to `host`."""

    session: ClientSession
    http2: bool | Literal["prior-knowledge"] = False
    """Whether the session speaks HTTP/2: true, where an https server chooses it; `"prior-knowledge"`, to http
    servers, too.
    """

    connections: Literal["own", "shared", "close"] = "own"
    """Whose connections the users of this class use: each its own, as people with a browser do; those of a
    pool that all of them share in a process, as the clients of one gateway do; or a new one for each call.
    Cookies are each user's own, whatever it is.
    """
    connection_limit: int = 100
    """The most connections of a shared pool, per process; 0 for any number. A call that finds none free
    waits, in the phase `queue`.
    """

    source_addresses: Sequence[str] = ()
    """Addresses of this machine that connections come from in turn; none: as the system chooses."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.connections != "own":
            self.session = ClientSession(base_url=self.host, connector=_connector_of(type(self)))
        elif self.source_addresses:
            own = TCPConnector(limit=0, http2=self.http2, local_addr=self.source_addresses)
            self.session = ClientSession(base_url=self.host, connector=own)
        else:
            self.session = ClientSession(base_url=self.host, http2=self.http2)


_connectors: WeakKeyDictionary[type[AsyncHttpUser], TCPConnector] = WeakKeyDictionary()


def _connector_of(cls: type[AsyncHttpUser]) -> TCPConnector:
    """What all users of a class use that have no connections of their own."""
    if (known := _connectors.get(cls)) is None:
        closes = cls.connections == "close"
        known = TCPConnector(
            limit=0 if closes else cls.connection_limit,
            force_close=closes,
            http2=cls.http2,
            local_addr=cls.source_addresses or None,
        )
        _connectors[cls] = known
    return known
