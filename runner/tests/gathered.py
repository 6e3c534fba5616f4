"""For the tests of `gather`: coroutines to gather, and a user that does."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

from aiotest import crew
from aiotest.life import Life, current_life

Gather = Callable[..., Any]
PLAIN = asyncio.gather


async def value(text: str, turns: int = 1) -> str:
    for _ in range(turns):
        await asyncio.sleep(0)
    return text


async def at_once(text: str) -> str:
    return text


async def forever() -> None:
    await asyncio.Event().wait()


class Nobody:
    waiters = None

    def lateness(self, seconds: float) -> None: ...
    def user_error(self, text: str) -> None: ...
    def ended(self, life: Life, dead: bool) -> None: ...


def lived(scenario: Awaitable[Any]) -> tuple[Any, list[dict[str, Any]]]:
    """What a user's code gives, and what the loop's exception handler is told meanwhile."""
    heard: list[dict[str, Any]] = []

    async def user() -> Any:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: heard.append(context))
        crew.adopt_tasks(loop)
        life = Life(Nobody(), 0, None)  # type: ignore[arg-type]
        life.starting = False
        current_life.set(life)
        given = await scenario
        gc.collect()
        await asyncio.sleep(0)
        return given

    return asyncio.run(user()), heard
