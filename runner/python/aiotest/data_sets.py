"""Data sets: `aiotest.data("accounts")` hands out the rows of a file among the users of all processes.

Which rows this process has is the master's decision, and comes through the native runner; which of its users
gets one is decided here. What is in a row never leaves the process. Start at [`data`][] and [`DataSet`][].
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from aiotest.data_files import Rows, read
from aiotest.life import current_life
from aiotest.log import logger

__all__ = [
    "DataExhausted",
    "DataSet",
    "attach",
    "data",
    "everything",
    "exhausted",
    "offered",
    "prepare",
    "recalled",
]

LONG = 10.0
"""Seconds after which it is said that users wait for a row."""

UNIQUE, SHARED, SHARDED = "Unique", "Shared", "Sharded"
STOP = "Stop"


class DataExhausted(Exception):
    """A data set whose `atEnd` is `Stop` has no row left."""


class Supplier(Protocol):
    """Who is told how data sets stand among the users; the native `Runner`."""

    def rows(
        self, set_index: int, waiting: int, unused: int, taken: int, given_back: Sequence[int]
    ) -> None: ...


class DataSet:
    """The rows of one data set, as `aiotest.data(name)` finds it; `len` says how many there are."""

    name: str

    def __init__(self, index: int, name: str, policy: str, at_end: str, rows: Rows) -> None:
        self._index, self.name = index, name
        self._policy, self._at_end, self._rows = policy, at_end, rows
        self._supplier: Supplier | None = None
        self._unused: deque[int] = deque()
        self._waiting: OrderedDict[asyncio.Future[int], None] = OrderedDict()
        self._taken = 0
        self._changed = False
        self._alarm: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many rows the file has."""
        return len(self._rows)

    async def take(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - what is raised tells of what none was free
    ) -> dict[str, Any]:
        """One more row: of a CSV file a dict of texts by column, of JSON lines the object.

        `Unique`: it is this user's alone, over all runners, until the user has ended, `on_stop` included.
        While none is free this waits for one, `timeout` seconds at most; without one as long as it takes.
        `Sharded`: the next one of those that all processes go through together.
        `Shared`: the next one of this process's.
        Raises: `TimeoutError`; `DataExhausted` where `atEnd` is `Stop` and every row is used; `RuntimeError`
            outside of a run, and for `Unique` outside of a user.
        """
        if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float)):
            raise TypeError(f"timeout must be a number of seconds, or None, not {timeout!r}")
        life = current_life.get()
        if self._supplier is None:
            raise RuntimeError(f"no run is on: rows of `{self.name}` are for users, in `on_start` and jobs")
        if self._policy == SHARED:
            return self._rows[self._next()]
        if self._policy == UNIQUE and life is None:
            raise RuntimeError(f"a row of `{self.name}` is a user's: take it in `on_start` or a job")
        index = self._unused.popleft() if self._unused else await self._wait(timeout)
        self._taken += 1
        self._change()
        if self._policy == UNIQUE:
            assert life is not None
            life.at_end(partial(self._give_back, [index]))
        return self._rows[index]

    # === inside ===

    def _next(self) -> int:
        """Of `Shared` rows, which this process goes through by itself."""
        if self._at_end == STOP and len(self) <= self._taken:
            raise self._is_exhausted()
        self._taken += 1
        return (self._taken - 1) % len(self)

    async def _wait(self, seconds: float | None) -> int:
        loop = asyncio.get_running_loop()
        row: asyncio.Future[int] = loop.create_future()
        self._waiting[row] = None
        self._change()
        if self._alarm is None and self._at_end != STOP:
            self._alarm = loop.call_later(LONG, self._waits_long)
        try:
            async with asyncio.timeout(seconds):
                return await row
        except TimeoutError:
            self._put_back(row)
            raise TimeoutError(
                f"no row of `{self.name}` was free within {seconds:g} s: {self._use()}"
            ) from None
        except asyncio.CancelledError:
            self._put_back(row)
            raise
        finally:
            self._waiting.pop(row, None)
            if not self._waiting and self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None
            self._change()

    def _put_back(self, row: asyncio.Future[int]) -> None:
        """A row may have come in the moment in which nobody waited for it any more."""
        if row.done() and not row.cancelled() and row.exception() is None:
            self._add([row.result()])

    def _add(self, rows: Sequence[int]) -> None:
        self._unused.extend(rows)
        while self._unused and self._waiting:
            waiting, _ = self._waiting.popitem(last=False)
            if not waiting.done():
                waiting.set_result(self._unused.popleft())

    def _give_back(self, rows: Sequence[int]) -> None:
        # At once: whoever is told that a user has ended knows that its rows are free.
        self._tell(rows)

    def _change(self) -> None:
        if not self._changed:
            self._changed = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self, given_back: Sequence[int] = ()) -> None:
        self._changed = False
        if self._supplier is not None:
            waiting, unused = len(self._waiting), len(self._unused)
            self._supplier.rows(self._index, waiting, unused, self._taken, given_back)

    def _use(self) -> str:
        return f"it has {len(self)}, and all are {'in use' if self._policy == UNIQUE else 'used'}"

    def _is_exhausted(self) -> DataExhausted:
        return DataExhausted(f"no row of `{self.name}` is left: {self._use()}")

    def _waits_long(self) -> None:
        logger.warning(f"users have waited {LONG:g} s for a row of `{self.name}`: {self._use()}")

    # === what the native runner says ===

    def _attach(self, supplier: Supplier) -> None:
        self._supplier = supplier

    def _offered(self, ranges: Sequence[tuple[int, int]]) -> None:
        for first, behind_last in ranges:
            self._add(range(first, behind_last))
        self._change()

    def _recalled(self) -> None:
        rows = list(self._unused)
        self._unused.clear()
        self._tell(rows)

    def _exhausted(self) -> None:
        for row in self._waiting:
            if not row.done():
                row.set_exception(self._is_exhausted())
        self._waiting.clear()
        self._change()


_sets: list[DataSet] = []
"""Of this process, in the order of the run's."""


def prepare(specs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Read the files of these data sets, which are this process's from now on. Returns them with what was
    found. Raises: `DataFileError`.
    """
    _sets.clear()
    found = []
    for index, spec in enumerate(specs):
        name = str(spec["name"])
        rows = read(Path(spec["file"]), name)
        _sets.append(
            DataSet(index, name, str(spec.get("policy", UNIQUE)), str(spec.get("at_end", "Loop")), rows)
        )
        found.append({**spec, "rows": len(rows), "hash": rows.hash})
    return found


def data(name: str) -> DataSet:
    """The data set of this name, which the manifest has in `spec.data` and the command line in `--data-set`.
    Raises: `LookupError`, which tells the names that there are.
    """
    for known in _sets:
        if known.name == name:
            return known
    names = ", ".join(f"`{known.name}`" for known in _sets)
    there_is = f"there is {names}" if names else "there is none"
    raise LookupError(
        f"no data set is called {name!r}: {there_is}. "
        "A manifest has them in spec.data, a command line in --data-set NAME=FILE"
    )


def attach(supplier: Supplier) -> None:
    """Hand out rows in a run of which this is the native runner."""
    for known in _sets:
        known._attach(supplier)


def offered(set_index: int, ranges: Sequence[tuple[int, int]]) -> None:
    """The native runner has rows for users."""
    _sets[set_index]._offered(ranges)


def recalled(set_index: int) -> None:
    """The native runner wants back what no user has."""
    _sets[set_index]._recalled()


def exhausted(set_index: int) -> None:
    """The native runner says that every row is used."""
    _sets[set_index]._exhausted()


def everything() -> list[tuple[Any, ...]]:
    """What a native runner would say that has all rows: for a look at a scenario, where nobody else is."""
    return [("rows", index, [(0, len(known))]) for index, known in enumerate(_sets)]
