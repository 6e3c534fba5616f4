"""What `aiotest check` prints: a scenario's classes and shape, every call as it is recorded, every problem.

Runs nothing. Start at [`Sheet`][].
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from time import perf_counter
from typing import Any

import aiotest
from aiotest import _native, client, user
from aiotest.collection import Collected
from aiotest.shape import LoadUserShape, checked
from aiotest.user import User

__all__ = ["Sheet"]

STEPS = 8
"""Steps of a shape that are shown."""
SECONDS = 3600
"""How far into its run a shape is asked."""
METHODS = ("get", "post", "put", "patch", "delete", "options", "head")


class Sheet:
    """Prints as things happen, and keeps the problems for the end. Calls are those of this process."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._classes = self._jobs = self._calls = 0
        self._statuses: defaultdict[tuple[str, str], list[int | None]] = defaultdict(list)
        self._urls: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        _watch_names(lambda method, name, url: self._urls[method, name].append(url))

    def introduce(self, collected: Collected) -> None:
        """The file, its classes and their weights, and its shape."""
        print(collected.path)
        total = sum(weight for _, weight in collected.weights)
        for cls in collected.user_classes:
            jobs = ", ".join(getattr(job, "__name__", repr(job)) for job in cls.jobs)
            print(
                f"  {cls.__name__}: weight {cls.weight} ({cls.weight / total:.0%} of the users), jobs {jobs}"
            )
            self._classes += 1
            self._jobs += len(cls.jobs)
        if collected.shape is not None:
            self._shape(collected.shape)

    def begin(self, cls: type[User]) -> None:
        """From here on it is about a user of this class."""
        print(f"\n{cls.__name__}")
        if cls.start is not User.start:
            print("  its own `start` runs until it has called each job once")

    def step(self, name: str) -> None:
        """From here on it is about this part of the user's life."""
        print(f"  {name}", flush=True)

    async def call(
        self, request_name: str, request_method: str, response_time: float, error: object = None
    ) -> None:
        """A call was recorded; a handler of `stats_request`."""
        row = (request_method, request_name)
        self._take_statuses()
        status = self._statuses[row].pop(0) if self._statuses[row] else None
        urls = self._urls[row]
        url = f"  ({urls.pop(0)})" if urls else ""
        print(
            f"    {request_method:<6} {request_name}{url}  {status or '-'}  {response_time:.1f} ms  "
            f"{error or 'ok'}",
            flush=True,
        )
        self._calls += 1
        if error:
            self.problems.append(f"{request_method} {request_name} failed: {error}")

    def problem(self, text: str) -> None:
        """Something went wrong that is no call's failure."""
        print(f"    {text}", flush=True)
        self.problems.append(text)

    def conclude(self) -> int:
        """The last lines. Returns the number of problems."""
        print()
        for text in self.problems:
            print(f"problem: {text}")
        went = f"{_count(len(self.problems), 'problem')}" if self.problems else "all went well"
        classes = _count(self._classes, "class", "classes")
        print(f"{went}: {classes}, {_count(self._jobs, 'job')}, {_count(self._calls, 'call')}", flush=True)
        return len(self.problems)

    def _take_statuses(self) -> None:
        # No control thread takes them here.
        for row in json.loads(_native.take_statistics_json()).get("rows", ()):
            for times in row["times"]:
                calls = sum(count for _, count in times["latency"]["pairs"])
                self._statuses[row["method"], row["name"]] += [times["status"]] * calls

    def _shape(self, shape: LoadUserShape) -> None:
        print(f"  {type(shape).__name__}: the load, asked second by second")
        last: object = None
        shown = 0
        for second in range(SECONDS):
            shape.start_time = perf_counter() - second
            try:
                answer = checked(shape.tick())
            except Exception as error:
                self.problem(f"{type(shape).__name__}.tick at {second} s: {type(error).__name__}: {error}")
                return
            if answer is None:
                print(f"    {second:>5} s  the test ends")
                return
            if answer != last:
                if shown == STEPS:
                    print("        …")
                    return
                print(f"    {second:>5} s  {_count(answer[0], 'user')}, {answer[1]:g} a second")
                last, shown = answer, shown + 1


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _watch_names(note: Callable[[str, str, str], object]) -> None:
    """From now on every session tells the URL of a call that has a name of its own."""

    class Session(client.ClientSession):
        def request(self, method: str, url: Any, **keywords: Any) -> Any:
            if keywords.get("name"):
                note(method.upper(), keywords["name"], str(url))
            return super().request(method, url, **keywords)

    def noting(method: str) -> Callable[..., Any]:
        call = getattr(client.ClientSession, method)

        def noted(self: client.ClientSession, url: Any, **keywords: Any) -> Any:
            if keywords.get("name"):
                note(method.upper(), keywords["name"], str(url))
            return call(self, url, **keywords)

        return noted

    for method in METHODS:
        setattr(Session, method, noting(method))
    Session.__name__ = Session.__qualname__ = "ClientSession"
    for module in (aiotest, client, user):
        setattr(module, "ClientSession", Session)  # noqa: B010 - no type of theirs
