"""How users wait between their jobs: on time, in their own context, cancelled at any point."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import random
import weakref

import pytest
import uvloop
from aiotest import _native

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.mark.parametrize("make_loop", LOOPS)
def test_every_task_wakes_and_none_before_its_time(make_loop: object) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        late: list[float] = []

        async def wait(seconds: float) -> None:
            due = loop.time() + seconds
            await _native.sleep(seconds, late.append)
            # A loop's own clock may be a millisecond old.
            assert due - 0.0015 <= loop.time()

        dice = random.Random(7)
        waits = [dice.uniform(0.001, 0.2) for _ in range(300)]
        await asyncio.gather(*map(wait, waits))
        assert len(late) == 300
        assert min(late) >= 0

    with asyncio.Runner(loop_factory=make_loop) as runner:  # type: ignore[arg-type]
        runner.run(main())


def test_each_task_wakes_in_its_own_context() -> None:
    mark: contextvars.ContextVar[int] = contextvars.ContextVar("mark")

    async def wait(number: int) -> None:
        mark.set(number)
        for _ in range(3):
            await _native.sleep(0.001, None)
            assert mark.get() == number
            assert asyncio.current_task() is tasks[number]

    async def main() -> None:
        tasks.extend(asyncio.create_task(wait(number)) for number in range(50))
        await asyncio.gather(*tasks)

    tasks: list[asyncio.Task[None]] = []
    asyncio.run(main())


@pytest.mark.parametrize("debug", [False, True])
def test_a_wait_is_a_good_asyncio_citizen(debug: bool) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await _native.sleep(60, None)
        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await task
        # Cancelled in the turn of the loop in which its time comes; and before its first step.
        for _ in range(200):
            task = asyncio.create_task(briefly())
            await asyncio.sleep(random.choice([0, 0.001]))
            task.cancel()
            await asyncio.wait([task])
        async with asyncio.TaskGroup() as group:
            group.create_task(briefly())
            group.create_task(briefly())
        await asyncio.wait_for(briefly(), 5)
        assert loop.time() - began < 10

    async def forever() -> None:
        await _native.sleep(3600, None)

    async def briefly() -> None:
        await _native.sleep(0.001, None)

    asyncio.run(main(), debug=debug)
    asyncio.run(main(), debug=debug)


def test_a_wait_that_was_cancelled_leaves_nothing_behind() -> None:
    class Told:
        def late(self, seconds: float) -> None: ...

    async def main() -> None:
        before = len(gc.get_objects())
        told = Told()
        gone = weakref.ref(told)

        async def wait(told: Told) -> None:
            await _native.sleep(3600, told.late)

        tasks = [asyncio.create_task(wait(told)) for _ in range(5_000)]
        del told
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        tasks.clear()
        del task
        gc.collect()
        assert gone() is None
        assert len(gc.get_objects()) < before + 1_000

    asyncio.run(main())


def test_a_wait_that_makes_no_sense_is_refused() -> None:
    for seconds in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="unable to wait for"):
            _native.sleep(seconds, None)


def test_what_stops_a_program_stops_the_loop() -> None:
    async def main() -> None:
        tasks.append(asyncio.create_task(leave()))
        await asyncio.sleep(5)

    async def leave() -> None:
        await _native.sleep(0.001, None)
        raise SystemExit(7)

    tasks: list[asyncio.Task[None]] = []
    with pytest.raises(SystemExit, match="7"):
        asyncio.run(main())
    assert isinstance(tasks[0].exception(), SystemExit)
