"""`asyncio.gather` of a user's coroutines, for less than asyncio's takes.

Users that gather their calls make as many tasks as calls, and with asyncio's `gather` those cost as much as
the calls. Here they are tasks of ours (`_native.gather`), begun at once and not when the loop comes round:
what is gathered is awaited there and then. They tell of their end without a callback, and what they asked for
goes out together. Everything else is asyncio's: results in order, the first exception at once while the
others go on, cancellation of all with the whole. Whatever is not just coroutines, or not a user's, goes to
asyncio's. Start at [`gather`][].
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiotest import _native
from aiotest.crew import make_task
from aiotest.life import current_life

__all__ = ["install"]

_plain_gather = asyncio.gather


def gather(*coroutines: Any, return_exceptions: bool = False) -> Any:
    """As `asyncio.gather`."""
    life, loop = current_life.get(), asyncio._get_running_loop()
    if life is not None and loop is not None and loop.get_task_factory() is make_task:
        whole = _native.gather(coroutines, bool(return_exceptions), loop, life.adopt)
        if whole is not None:
            return whole
    return _plain_gather(*coroutines, return_exceptions=return_exceptions)


def install() -> None:
    """Give it to files that are imported from now on."""
    asyncio.gather = asyncio.tasks.gather = gather
