"""`aiotest check FILE`: one user of each class runs each of its jobs once, and every call is shown.

The users live as in a run, on the same host; the orders come from here in place of a master's plan, so there
is no load and nobody else takes part. Start at [`run`][].
"""

from __future__ import annotations

import asyncio
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from aiotest import _native, data_sets, events, hooks, log, options, process, runners, waiting
from aiotest.check_sheet import Sheet
from aiotest.collection import AiotestfileError, Collected, collect, find_file
from aiotest.host import RunnerHost
from aiotest.life import described, is_recorded
from aiotest.seat import READING, Deadline
from aiotest.user import Job, User

__all__ = ["run"]

FAILED = 1
TO_BE_CUT = 10.0
"""Seconds beyond its time that a user is given to end once everything of it has been cancelled."""


def run(argv: Sequence[str]) -> int:
    """Carry out `aiotest check FILE …`. Returns 0 if every call and every job went well, else 1."""
    log.set_up()
    given = list(argv)
    name = given.pop(0) if given and not given[0].startswith("-") else "aiotestfile"
    with asyncio.Runner() as loop:
        try:
            if {"-h", "--help"} & set(given[:1]):
                loop.run(options.parse_check(given, process.version()))
            with Deadline(find_file(name), READING, "reading the file", _refuse):
                sheet = Sheet()  # before the file takes over the names that are watched
                data_sets.prepare(options.data_sets_of(given))
                collected = collect(name)
                parsed = loop.run(options.parse_check(given, process.version()))
                collected.aim_at(parsed.host)
                sheet.introduce(collected)
            stuck = loop.run(_Check(collected, parsed, sheet).carry_out())
        except (AiotestfileError, options.UsageError) as error:
            return _refuse(str(error))
        except KeyboardInterrupt:
            process.quit_now(_refuse("interrupted"))
        code = FAILED if sheet.conclude() else 0
        if stuck:
            process.quit_now(code)
    return code


def _refuse(text: str) -> int:
    print(f"aiotest: {text}", file=sys.stderr)
    return FAILED


class _Check:
    """One look at a scenario, class by class."""

    def __init__(self, collected: Collected, given: Namespace, sheet: Sheet) -> None:
        self._collected, self._sheet = collected, sheet
        self._seconds: float = given.check_timeout
        self._facade = runners.LocalRunner(given)

    async def carry_out(self) -> bool:
        """Returns whether some user withstood every cancellation."""
        runners.global_runner = self._facade
        await events.init.fire()
        events.stats_request += self._sheet.call
        orders = _Orders(self._sheet)
        self._facade.attach(orders)
        walks = [_Walk(cls, self._sheet, orders.changed) for cls in self._collected.user_classes]
        classes = [cast("type[User]", walk.maker()) for walk in walks]
        host = RunnerHost(orders, classes, _native.UserScope, _native.record, self._facade)
        hosting = asyncio.create_task(host.run(), name="check")
        await self._carry_out(events.run_setup)
        for rows in data_sets.everything():
            orders.do(rows)
        orders.do(("test_start",))
        for index, walk in enumerate(walks):
            self._sheet.begin(walk.cls)
            what = f"checking {walk.cls.__name__}"
            with Deadline(self._collected.path, self._seconds + 2 * TO_BE_CUT, what, _refuse):
                await self._walk(orders, index, walk)
        await self._carry_out(events.run_teardown)
        orders.do(("end", 0))
        await hosting
        orders.close()
        return host.stuck

    async def _carry_out(self, event: events.EventHook) -> None:
        if not event.has_handlers:
            return
        what = f"the handlers of `{event.name}`"
        with Deadline(self._collected.path, self._seconds + TO_BE_CUT, what, _refuse):
            try:
                async with asyncio.timeout(self._seconds):
                    error = await asyncio.create_task(hooks.carry_out(event), name=event.name)
            except TimeoutError:
                error = f"did not end within {self._seconds:g} s"
        if error is not None:
            self._sheet.problem(f"{what}: {error}")

    async def _walk(self, orders: _Orders, index: int, walk: _Walk) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                orders.do(("start", index, 1))
                await orders.until(lambda: walk.task is not None or index in orders.dead)
                orders.do(("start_complete", 1))
                await orders.until(lambda: walk.done or index in orders.dead)
                orders.do(("retire", index, 1))
                await orders.until(lambda: not orders.live.get(index))
        except TimeoutError:
            place = walk.place(self._collected.path)
            self._sheet.problem(f"{walk.unfinished()} did not end within {self._seconds:g} s{place}")
            orders.do(("stop_now",))
            try:
                async with asyncio.timeout(TO_BE_CUT):
                    await orders.until(lambda: not orders.live.get(index))
            except TimeoutError:
                self._sheet.problem(f"{walk.cls.__name__} withstood every cancellation")


class _Orders:
    """What the host takes for the native runner: it is told here what to do, and what came of it."""

    def __init__(self, sheet: Sheet) -> None:
        self._sheet = sheet
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._todo: list[tuple[Any, ...]] = []
        self.live: dict[int, int] = {}
        self.dead: set[int] = set()
        """Classes whose user ended by itself."""
        self.changed = asyncio.Event()

    def do(self, action: tuple[Any, ...]) -> None:
        self._todo.append(action)
        os.eventfd_write(self._wake, 1)

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self.changed.clear()
            await self.changed.wait()

    def close(self) -> None:
        os.close(self._wake)

    # What the host asks and tells.

    def fileno(self) -> int:
        return self._wake

    def poll(self) -> list[tuple[Any, ...]]:
        os.eventfd_read(self._wake)
        todo, self._todo = self._todo, []
        return todo

    def users(self, class_index: int, live: int, dead: int) -> None:
        self.live[class_index] = live
        if dead:
            self.dead.add(class_index)
        self.changed.set()

    def rows(self, set_index: int, waiting: int, unused: int, taken: int, given_back: Sequence[int]) -> None:
        """Of no interest here: nobody else wants any."""

    def user_error(self, text: str) -> None:
        self._sheet.problem(f"the user died: {text}")

    def loop_lag(self, seconds: float) -> None:
        """Of no interest here."""

    def lateness(self, seconds: float) -> None:
        """Of no interest here."""

    def began(self, started: int, shed: int) -> None:
        """Of no interest here."""

    def begun_late(self, seconds: float) -> None:
        """Of no interest here."""

    def waiting(self, rendezvous: str, waiting: int, users: int | None) -> None:
        """Nobody else will come."""
        if waiting:
            self.do(("release", rendezvous, 0.0))

    def meeting(self, rendezvous: str) -> tuple[int, int] | None:
        return None

    @property
    def most_users(self) -> int | None:
        """Not known: no load is given."""
        return None

    @property
    def user_count(self) -> int:
        return sum(self.live.values())

    @property
    def state(self) -> str:
        return runners.STATE_RUNNING if self.user_count else runners.STATE_STARTING


class _Walk:
    """The way of one user through its jobs."""

    def __init__(self, cls: type[User], sheet: Sheet, changed: asyncio.Event) -> None:
        self.cls, self._sheet, self._changed = cls, sheet, changed
        self.step = "the handlers of `test_start`"
        self.task: asyncio.Task[Any] | None = None
        self.done = False
        self._left: list[Job] = []
        """Jobs that an own `start` is still to call."""
        self._told: Exception | None = None

    def maker(self) -> Callable[[], User]:
        """What makes the user, named as its class."""

        def make() -> User:
            user = self.cls()
            on_start, on_stop, start = user.on_start, user.on_stop, user.start
            walk: Any = user
            walk.on_stop = lambda: self._take("on_stop", on_stop())
            if self.cls.start is User.start:
                walk.start = lambda: self._default_start(user)
            else:
                walk.on_start = lambda: self._take("on_start", on_start(), ends_the_user=True)
                walk.start = lambda: self._own_start(user, start)
            return user

        make.__name__ = self.cls.__name__
        return make

    async def _default_start(self, user: User) -> None:
        self._begun()
        if await self._take("on_start", user.on_start()):
            await self._take("wait_time", waiting.seconds(user), shown=False)
            for job in user.jobs:
                await self._take(_name(job), job(user))
        await self._end()

    async def _own_start(self, user: User, start: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """The scenario's own `start`, until it has called each job once; a job that is called again does
        nothing.
        """
        self._begun()
        self._left = list(user.jobs)
        user.jobs = [self._once(user, job) for job in self._left]
        for job, once in zip(self._left, user.jobs, strict=True):
            if getattr(self.cls, _name(job), None) is job:
                setattr(user, _name(job), partial(once, user))
        self.step = f"{self.cls.__name__}.start"
        try:
            await start()
        except Exception as error:
            if not is_recorded(error) and error is not self._told:
                self._sheet.problem(f"{self.cls.__name__}.start raised {described(error)}")
        await self._end()

    def _once(self, user: User, job: Job) -> Job:
        begun = False

        async def once(_: User) -> None:
            nonlocal begun
            if begun:
                await asyncio.sleep(0)
                return
            begun = True
            await self._take(_name(job), job(user))
            self.step = f"{self.cls.__name__}.start"
            self._left.remove(job)
            if not self._left:
                self.done = True
                self._changed.set()

        once.__name__ = _name(job)
        return once

    def _begun(self) -> None:
        self.task = asyncio.current_task()
        self._changed.set()

    async def _end(self) -> None:
        self.done = True
        self._changed.set()
        # Until it is retired, as users are.
        await asyncio.Event().wait()

    async def _take(
        self, name: str, work: Coroutine[Any, Any, Any], *, shown: bool = True, ends_the_user: bool = False
    ) -> bool:
        """Do one thing of the user's. Returns whether it went well; what `ends_the_user` is raised."""
        self.step = f"{self.cls.__name__}.{name}"
        if shown:
            self._sheet.step(name)
        try:
            await work
        except Exception as error:
            # A call that failed has been shown already.
            if not is_recorded(error):
                self._sheet.problem(f"{self.cls.__name__}.{name} raised {described(error)}")
            elif name == "on_start":
                self._sheet.problem(
                    f"{self.cls.__name__}.{name} raises its call's failure: the user ends there"
                )
            self._told = error
            if ends_the_user:
                raise
            return False
        return True

    def unfinished(self) -> str:
        """What has not come to an end."""
        jobs = ", ".join(map(_name, self._left))
        return (
            f"{self.step}, which was to run {jobs}," if self.step.endswith(".start") and jobs else self.step
        )

    def place(self, path: Path) -> str:
        """` (file.py:12)`: the innermost line of the scenario that the user waits in."""
        found, inner = "", None if self.task is None else self.task.get_coro()
        while inner is not None:
            frame = getattr(inner, "cr_frame", None) or getattr(inner, "gi_frame", None)
            if frame is not None and frame.f_code.co_filename == str(path):
                found = f" ({path.name}:{frame.f_lineno})"
            inner = getattr(inner, "cr_await", None) or getattr(inner, "gi_yieldfrom", None)
        return found


def _name(job: Job) -> str:
    return str(getattr(job, "__name__", job))
