"""The load's shape as a scenario writes it: a class with a `tick`. It is asked by the master's host, never
by users.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from numbers import Real
from time import perf_counter
from typing import TypeGuard

__all__ = ["LoadUserShape", "ShapeError", "checked"]


class ShapeError(Exception):
    """`tick` returned something that is no load; says what it should have been."""


class LoadUserShape(ABC):
    """Says once a second how many users there should be. A file that has one ignores users, rate and run
    time.
    """

    start_time: float = 0.0

    def __init__(self) -> None:
        self.start_time = perf_counter()

    def reset_time(self) -> None:
        """Let `get_run_time` count from 0 again."""
        self.start_time = perf_counter()

    def get_run_time(self) -> float:
        """Seconds since the start of the run, or since `reset_time`; goes on where it was if the master
        restarts.
        """
        return perf_counter() - self.start_time

    @abstractmethod
    def tick(self) -> tuple[int, float] | None:
        """Users there should be, and users to start or stop a second on the way there; `None` ends the
        test.
        """


def checked(answer: object) -> tuple[int, float] | None:
    """What `tick` answered, as whole users and users a second. Raises: `ShapeError`."""
    if answer is None:
        return None
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise ShapeError(f"tick() must return (user_count, rate) or None, not {answer!r}")
    users, rate = answer
    if not _is_number(users) or users < 0 or users != int(users):
        raise ShapeError(f"tick() must return a whole number of users, 0 or more, not {users!r}")
    if not _is_number(rate) or rate <= 0:
        raise ShapeError(f"tick() must return a rate above 0 (users a second), not {rate!r}")
    return int(users), float(rate)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
