"""How long a user waits after a job: everything that `wait_time` may be, judged and turned into seconds.

Pure but for what the scenario's own function does. Start at [`seconds`][]; `collection` asks [`fault`][]
before there is any user.
"""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from numbers import Real
from types import FunctionType
from typing import Any, TypeGuard

__all__ = ["WaitTime", "fault", "seconds"]

WaitTime = float | Sequence[float] | Callable[..., float | Awaitable[float]]
"""Seconds, 0 or more; a pair `(low, high)` of such, from which each wait is drawn evenly; or a function or
coroutine function that returns seconds and takes the user or nothing.
"""

_FIX = (
    "must be a number of seconds, 0 or more, a pair (low, high) of such, "
    "or a function or coroutine function that returns one"
)
_NEITHER = "is a function that takes more than the user: let it take `self`, or nothing"


def fault(wait: object) -> str | None:
    """What is wrong with a `wait_time`, as the end of a sentence that begins with its name; `None` if nothing
    is.
    """
    if _is_seconds(wait):
        return None
    if isinstance(wait, tuple | list):
        if len(wait) != 2 or not all(map(_is_seconds, wait)):
            return f"{_FIX}, not {wait!r}"
        return None if wait[0] <= wait[1] else f"is a pair whose low is above its high: write {wait[::-1]!r}"
    if not callable(wait):
        return f"{_FIX}, not {wait!r}"
    return _NEITHER if _takes_user(wait, True) is None else None


async def seconds(user: Any) -> float:
    """How long this user is to wait now. Raises: `ValueError` naming class, value and fix; and whatever a
    function of the scenario's raises.
    """
    wait = user.wait_time
    if _is_seconds(wait):
        return wait
    name = f"{type(user).__name__}.wait_time"
    if callable(wait):
        return await _answer(wait, user, name)
    if wrong := fault(wait):
        raise ValueError(f"{name} {wrong}")
    return random.uniform(*wait)


async def _answer(function: Callable[..., Any], user: object, name: str) -> float:
    # A method comes bound to its user, also `wait_time = lambda: 3`, which takes nobody.
    plain = getattr(function, "__func__", function) if _is_of(function, user) else function
    takes_user = _takes_user(plain, plain is not function)
    if takes_user is None:
        raise ValueError(f"{name} {_NEITHER}")
    answer = plain(user) if takes_user else plain()
    if inspect.isawaitable(answer):
        answer = await answer
    if _is_seconds(answer):
        return answer
    raise ValueError(f"{name} returned {answer!r}: it must return a number of seconds, 0 or more")


def _is_of(function: object, user: object) -> bool:
    return getattr(function, "__self__", None) is user


def _takes_user(function: Callable[..., Any], is_method: bool) -> bool | None:
    """Whether a function is to be called with the user, `None` if it can be called neither way. One that
    takes both is called with the user if it is a method.
    """
    if isinstance(function, FunctionType):
        return _decided(function, is_method)
    return _decide(function, is_method)


def _decide(function: Callable[..., Any], is_method: bool) -> bool | None:
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except ValueError:
        return False  # written in C, and doesn't say
    for with_user in (is_method, not is_method):
        try:
            signature.bind(*[None] * with_user)
        except TypeError:
            continue
        return with_user
    return None


_decided = lru_cache(maxsize=256)(_decide)


def _is_seconds(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) < math.inf
