"""The life of one user: its task, its end, `on_stop` exactly once, its session closed, its tasks gone.

A life ends in one of two ways. *Retired*: the host wants one user less; outside a call the task is cancelled
at once, inside one when the call has been recorded, or when the host loses patience (`cut`). *Dead*: an
exception, or the scenario itself, ended it. Who is told, and which user goes first, is the host's business
(`aiotest.host`). Start at [`Life.run`][].
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import sysconfig
import traceback
import weakref
from collections.abc import Awaitable, Callable
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from aiotest import _native, events, runners
from aiotest.client import ClientSession
from aiotest.log import logger

if TYPE_CHECKING:
    from aiotest.rendezvous import Waiters
    from aiotest.user import User

__all__ = ["Host", "Life", "Scope", "Work", "current_life", "described", "is_recorded", "live", "pause"]


class Scope(Protocol):
    """The calls of one user, as the engine knows them (`_native.UserScope`)."""

    @property
    def open_calls(self) -> int: ...
    def owns(self, session: ClientSession) -> bool: ...
    def retire(self, callback: Callable[[], object]) -> bool: ...
    def reopen(self) -> None: ...
    def abort(self) -> None: ...


class Host(Protocol):
    """Who wants to know about a life."""

    @property
    def waiters(self) -> Waiters | None:
        """Where its users wait for others; `None` where there are no others."""

    def lateness(self, seconds: float) -> None: ...
    def user_error(self, text: str) -> None: ...
    def ended(self, life: Life, dead: bool) -> None: ...
    def let_go(self, life: Life) -> None: ...


class Work(Protocol):
    """What a user does in the place of its `start`."""

    life: Life | None

    async def serve(self, user: User) -> None: ...


class Phase(Enum):
    """Where a life is. `STOPPING`: `start` is over, `on_stop` and the clean-up are not."""

    LIVING = 1
    STOPPING = 2
    ENDED = 3


current_life: contextvars.ContextVar[Life | None] = contextvars.ContextVar("aiotest_life", default=None)
"""The life of the user whose context this is; every task a user makes inherits it."""


class Life:
    """One user of a host, from the making of its task to the close of its session."""

    __slots__ = (
        "__weakref__",
        "_blocks",
        "_cuts",
        "_ends",
        "_recorded",
        "_reopened",
        "_room",
        "_tasks",
        "class_index",
        "host",
        "may_call",
        "phase",
        "retired",
        "scope",
        "starting",
        "task",
        "user",
        "work",
    )

    def __init__(self, host: Host, class_index: int, scope: Scope, work: Work | None = None) -> None:
        self.host = host
        self.class_index = class_index
        self.scope = scope
        self.work = work
        self.user: User | None = None
        self.task: asyncio.Task[Any] | None = None
        self.phase = Phase.LIVING
        self.retired = False
        self.may_call = True
        self.starting = True
        """Until the user's own task is made; the tasks made after it are the user's tasks."""
        self._tasks: list[weakref.ref[asyncio.Future[Any]]] | None = None
        self._room = 0
        self._blocks = 0
        self._cuts = 0
        self._reopened = False
        self._recorded: asyncio.Event | None = None
        self._ends: list[Callable[[], object]] | None = None

    # === beginning ===

    def begin(self, make: Callable[[], User]) -> None:
        """Make the user and start its task. To be called in a context of its own, where `current_life` is
        set.
        """
        self.user = make()
        self.user.start_user()
        task = self.user.task
        if task is None:
            raise TypeError(f"{type(self.user).__name__}.start_user() left no task in self.task")
        self.task = task
        task.add_done_callback(self._task_done)

    def adopt(self, task: asyncio.Future[Any]) -> None:
        """Remember a task that the user made, or a whole of several, to cancel it with the user."""
        if self.phase is Phase.ENDED or task.done():
            return
        # A callback at each end would cost as much as the task: the ended ones are dropped now and then.
        if self._tasks is None or self._room <= len(self._tasks):
            known = [ref for ref in self._tasks or () if (each := ref()) and not each.done()]
            self._tasks, self._room = known, 2 * len(known) + 8
        self._tasks.append(weakref.ref(task))

    def at_end(self, do: Callable[[], object]) -> None:
        """Do this once the user is gone, before its host hears of that; at once where it is gone already."""
        if self.phase is Phase.ENDED:
            do()
        elif self._ends is None:
            self._ends = [do]
        else:
            self._ends.append(do)

    def begin_block(self) -> int:
        """A `measure` block of the user's begins, which is waited for as a call is. Returns what it ends
        with. Raises: `CancelledError` where no new call starts.
        """
        if self.retired and not self._reopened:
            raise asyncio.CancelledError("the user is being stopped: no new call starts")
        self._blocks += 1
        return self._cuts

    def was_cut(self, begun: int) -> bool:
        """Whether the stop has cut off what was open when a block began."""
        return self._cuts != begun

    def end_block(self, begun: int) -> None:
        if self.was_cut(begun):
            return
        self._blocks -= 1
        if self.retired and not self._is_inside_a_call():
            self._calls_recorded()

    def _is_inside_a_call(self) -> bool:
        return self._blocks > 0 or self.scope.open_calls > 0

    async def run(self, user: User) -> None:
        """The whole of a user's task."""
        try:
            await (user.start() if self.work is None else self.work.serve(user))
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            await self._stop(user, error)
        else:
            await self._stop(user, None)

    # === end ===

    def retire(self) -> None:
        """Let the user go: at once when it is outside a call, else when its call has been recorded."""
        if self.retired or self.phase is not Phase.LIVING:
            return
        self.retired = True
        if self.scope.retire(self._calls_recorded):
            self._calls_recorded()  # unless a block is open

    def cut(self, may_call: bool = True) -> None:
        """Abort the user's open calls and cancel whatever it is in, `on_stop` included.

        `may_call`: whether an `on_stop` that is still to come may make calls.
        """
        self.retired = True
        self.may_call = self.may_call and may_call
        self.scope.abort()
        self._cuts += 1
        self._blocks = 0
        if self._recorded is not None:
            self._recorded.set()
        self._cancel()

    def nudge(self) -> None:
        """Cancel again a retired user whose scenario swallowed the first cancellation."""
        if self.retired and self.phase is Phase.LIVING and not self._is_inside_a_call():
            self._cancel()

    def _calls_recorded(self) -> None:
        if self._blocks:
            return
        if self._recorded is not None:
            self._recorded.set()
        if self.phase is Phase.LIVING:
            self._cancel()

    def _cancel(self) -> None:
        if self.task is not None and not self.task.done():
            self.task.cancel()

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        # Cancelled before its first step, or made by an overridden `start_user`: nobody has ended this life
        # yet.
        error = None if task.cancelled() else task.exception()
        if self.phase is Phase.LIVING and not isinstance(error, KeyboardInterrupt | GeneratorExit):
            assert self.user is not None
            self.task = asyncio.create_task(self._stop(self.user, error), name=task.get_name())

    async def _stop(self, user: User, error: BaseException | None) -> None:
        if self.phase is not Phase.LIVING:
            return
        self.phase = Phase.STOPPING
        dead = not self.retired
        try:
            await self._part(user, error)
            await self._say_goodbye(user)
        finally:
            self.scope.abort()
            await _close(user, self.scope)
            self.phase = Phase.ENDED
            # User, task, work and life hold each other: let the reference counts free them.
            self.user = self.task = self.work = None
            for do in self._ends or ():
                do()
            self.host.ended(self, dead)

    async def _part(self, user: User, error: BaseException | None) -> None:
        """Tell why the user ended and end its other tasks; being cut here must not cost it its `on_stop`."""
        task = asyncio.current_task()
        cancelled = task is not None and task.cancelling() > 0
        while task is not None and task.cancelling():
            task.uncancel()
        try:
            if not self.retired or (error is not None and not cancelled and not _is_cancellation(error)):
                await self._tell_why(user, error, cancelled)
            await self._settle(task)
        except asyncio.CancelledError:
            await self._end_tasks(task)

    async def _say_goodbye(self, user: User) -> None:
        if self.retired and self.may_call:
            self.scope.reopen()
            self._reopened = True
        try:
            await user.on_stop()
        except asyncio.CancelledError:
            logger.warning(f"{type(user).__name__}.on_stop was cut short")
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            if not is_recorded(error):
                logger.opt(exception=error).error(f"{type(user).__name__}.on_stop raised")

    async def _settle(self, task: asyncio.Task[Any] | None) -> None:
        """Wait for calls that the user's other tasks still have open, then end those tasks."""
        if self.retired and self._is_inside_a_call():
            self._recorded = asyncio.Event()
            await self._recorded.wait()
        await self._end_tasks(task)

    async def _end_tasks(self, task: asyncio.Task[Any] | None) -> None:
        known = [ref() for ref in self._tasks or ()]
        left = {each for each in known if each is not None and each is not task and not each.done()}
        for each in left:
            each.cancel()
        if left:
            await asyncio.wait(left, timeout=1.0)

    async def _tell_why(self, user: User, error: BaseException | None, cancelled: bool) -> None:
        name = type(user).__name__
        if error is None:
            logger.warning(f"{name}.start returned: the user is gone and counts as missing")
        elif cancelled and _is_cancellation(error):
            logger.warning(f"{name} was cancelled by the scenario: the user is gone and counts as missing")
        else:
            self.host.user_error(described(error))
            text = f"{_summary(error)}\n{''.join(traceback.format_tb(error.__traceback__))}".rstrip()
            logger.error(f"{name} died: {text}")
            await events.user_error.notify(runner=runners.global_runner, error=text)


async def live(user: User) -> None:
    """Run a user to its end: as the host's, or, if the scenario made it itself, with the same care but
    uncounted.
    """
    life = current_life.get()
    if life is None or life.user is not user:
        life = Life(_Nobody(), 0, _NoScope())
        life.user = user
        current_life.set(life)
    await life.run(user)


def pause(seconds: float) -> Awaitable[None]:
    """Wait `seconds` in a user's task, and tell its host how late the loop woke it."""
    if seconds <= 0:
        return asyncio.sleep(0)
    life = current_life.get()
    return _native.sleep(seconds, None if life is None else life.host.lateness)


def is_recorded(error: BaseException) -> bool:
    """Whether an exception is only a call's failure that has been counted already (or a group of such)."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_recorded(each) for each in error.exceptions)
    return getattr(error, "aiotest_recorded", False) is True


def described(error: BaseException) -> str:
    """Type, message and the scenario's line of an error: what it is counted by."""
    return f"{_summary(error)}{_place(error.__traceback__)}"


def _is_cancellation(error: BaseException) -> bool:
    return isinstance(error, asyncio.CancelledError)


async def _close(user: User, scope: Scope) -> None:
    session = user.session
    if session is None or getattr(session, "closed", False) or not hasattr(session, "close"):
        return
    if isinstance(session, ClientSession) and not scope.owns(session):
        return  # other users have it, too
    try:
        result = session.close()
        if inspect.isawaitable(result):
            await result
    except (Exception, asyncio.CancelledError) as error:
        logger.warning(f"failed to close the session of a {type(user).__name__}: {_summary(error)}")


def _summary(error: BaseException) -> str:
    # Notes name the argument of ours that was wrong.
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    return f"{type(error).__name__}{f': {error}' if str(error) else ''}{notes}"


def _place(trace: TracebackType | None) -> str:
    """` (file.py:12)`: the innermost line of the scenario, so that equal errors at different lines are
    two.
    """
    frames = [f for f in traceback.extract_tb(trace) if not f.filename.startswith(_OF_OTHERS)]
    if not frames:
        return ""
    return f" ({frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})"


_OF_OTHERS = (
    f"{os.path.dirname(__file__)}/",
    "<frozen ",
    *(f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib", "purelib", "platlib")),
)
"""Where the files begin that are no scenario's: ours, Python's, and what is installed."""


class _Nobody:
    waiters = None

    def lateness(self, seconds: float) -> None:
        pass

    def user_error(self, text: str) -> None:
        pass

    def ended(self, life: Life, dead: bool) -> None:
        pass

    def let_go(self, life: Life) -> None:
        pass


class _NoScope:
    open_calls = 0

    def owns(self, session: ClientSession) -> bool:
        return True

    def retire(self, callback: Callable[[], object]) -> bool:
        return True

    def reopen(self) -> None:
        pass

    def abort(self) -> None:
        pass
