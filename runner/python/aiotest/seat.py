"""What a master or runner process knows before it takes part in a run: its plan, its token, its scenario.

A scenario that never ends being read is refused, with the line at which it hangs, instead of being waited
for. Runs no user and sends nothing. Start at [`take_seat`][] and [`Deadline`][].
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiotest import data_sets, process
from aiotest.collection import AiotestfileError, Collected, collect
from aiotest.options import parse_own

__all__ = ["READING", "Deadline", "Plan", "Seat", "read_plan", "take_seat"]

READING = 60.0
"""Seconds that reading a scenario may take: its imports, its own options, its handlers of `init`."""
MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Plan:
    """A run's plan, as the native side reads it and as Python looks at it."""

    text: str
    spec: dict[str, Any]

    @property
    def aiotestfile(self) -> str:
        """Where the scenario lies."""
        return str(self.spec["aiotestfile"])

    def deadline(self, name: str, default: float) -> float:
        """One of the run's deadlines, in seconds."""
        return float(self.spec.get("deadlines", {}).get(name, default * MICROSECONDS)) / MICROSECONDS


@dataclass(frozen=True)
class Seat:
    """What a process knows once it has read its plan and its scenario."""

    plan: Plan
    token: str
    collected: Collected
    options: argparse.Namespace


def read_plan(path: str) -> Plan:
    """Read a plan file. Raises: `OSError`; `ValueError` if it is no plan."""
    text = Path(path).read_text()
    spec = json.loads(text)
    if not isinstance(spec, dict) or "aiotestfile" not in spec:
        raise ValueError(f"{path} is no plan: it names no aiotestfile")
    return Plan(text, spec)


def take_seat(loop: asyncio.Runner, plan: Plan, token_file: str) -> Seat:
    """Read the token, the data sets and the scenario.

    Raises: `OSError` for a token that cannot be read; `AiotestfileError` and `UsageError` for a scenario or
    rows that cannot be used, with places told by the names of the files in their folder.
    """
    token = Path(token_file).read_text().strip()
    host = plan.spec.get("host")
    plan = _with_data(plan)
    try:
        collected = collect(plan.aiotestfile)
        collected.aim_at(host, "spec.host")
        if "arrivals" in plan.spec["load"]:
            collected.can_arrive()
    except AiotestfileError as error:
        raise AiotestfileError(_as_its_author_knows(str(error), plan)) from error
    options = loop.run(parse_own(plan.spec.get("args", []), host, process.version()))
    return Seat(plan, token, collected, options)


def _with_data(plan: Plan) -> Plan:
    """The plan with what was found in its data sets' files, by which master and runners tell that they have
    the same.
    """
    if "data" not in plan.spec:
        return plan
    spec = {**plan.spec, "data": data_sets.prepare(plan.spec["data"])}
    return Plan(json.dumps(spec), spec)


def _as_its_author_knows(text: str, plan: Plan) -> str:
    # Where the files are laid for this run is no place that their author has ever seen.
    path = Path(plan.aiotestfile)
    for folder in (path.resolve().parent, path.absolute().parent):
        text = text.replace(f"{folder}/", "")
    return text


class Deadline:
    """Ends this process if the block takes too long, whatever the main thread hangs in.

    Only a thread can do that: a scenario may catch any exception, and code in C need not look for signals.
    """

    def __init__(self, path: Path, seconds: float, what: str, refuse: Callable[[str], int]) -> None:
        """`path`: the scenario. `refuse` says that `what` took longer and where, and returns the exit
        code.
        """
        self._path, self._seconds, self._what, self._refuse = path.resolve(), seconds, what, refuse
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._main = threading.get_ident()

    @classmethod
    def of_reading(cls, plan: Plan, refuse: Callable[[str], int]) -> Self:
        """For reading a run's scenario, before there is any user. A run that would be given up sooner waits
        no longer than that.
        """
        seconds = min(READING, plan.deadline("startup", READING))
        return cls(
            Path(plan.aiotestfile),
            seconds,
            "reading the file",
            lambda text: refuse(_as_its_author_knows(text, plan)),
        )

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()

    def _end(self) -> None:
        text = f"{self._place()}: {self._what} did not come to an end within {self._seconds:g} s"
        process.quit_now(self._refuse(text))

    def _place(self) -> str:
        """The innermost line of the scenario that the main thread is in."""
        frames = traceback.extract_stack(sys._current_frames()[self._main])
        own = [frame for frame in frames if frame.filename.startswith(f"{self._path.parent}/")]
        return f"{own[-1].filename}:{own[-1].lineno}" if own else f"{self._path}:1"
