"""A host of users on the running loop, with the native side in the test's hand."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from aiotest import User, _native, runners
from aiotest.host import RunnerHost
from aiotest.life import current_life
from fakes import FakeNative, FakeScope

Story = Callable[[], Awaitable[None]]


def in_loop(story: Story) -> None:
    asyncio.run(asyncio.wait_for(story(), 20))


class Hosted:
    """A host on the running loop, with the native side in the test's hand."""

    def __init__(self, *classes: type[User], real: bool = False) -> None:
        self.native = FakeNative()
        self.scopes: list[FakeScope] = []
        self.recorded: list[tuple[Any, ...]] = []
        runner = runners.LocalRunner(Namespace())
        runner.attach(self.native)
        runners.global_runner = runner
        self.host = RunnerHost(
            self.native,
            classes,
            _native.UserScope if real else self._scope,
            lambda *call: self.recorded.append(call),
            runner,
        )
        self.task = asyncio.create_task(self.host.run(), name="host")

    def _scope(self) -> FakeScope:
        self.scopes.append(FakeScope())
        return self.scopes[-1]

    async def end(self, code: int = 0) -> int:
        self.native.do(("end", code))
        return await self.task


@asynccontextmanager
async def hosted(*classes: type[User], real: bool = False) -> AsyncIterator[Hosted]:
    """`real`: the users' calls are the engine's own."""
    it = Hosted(*classes, real=real)
    try:
        yield it
    finally:
        if not it.task.done():
            await it.end()
        it.native.close()
        runners.global_runner = None


def scope() -> FakeScope:
    life = current_life.get()
    assert life is not None
    assert isinstance(life.scope, FakeScope)
    return life.scope


async def soon() -> None:
    await asyncio.sleep(0.001)


class Recorder(User):
    """A user that notes what happens to it."""

    log: ClassVar[list[str]]
    wait_time: float = 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.log = []

    async def on_stop(self) -> None:
        self.log.append("on_stop")


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():  # noqa: ASYNC110 - what is awaited here has no event of its own
            await asyncio.sleep(0.001)
