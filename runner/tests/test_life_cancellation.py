"""How users end: retired, cut, cancelled, and `on_stop` exactly once."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from aiotest import User
from hosting import Recorder, hosted, in_loop, scope, soon, until


def test_a_user_outside_a_call_is_cancelled_at_once() -> None:
    class TestA(Recorder):
        wait_time = 1000

        async def test_it(self) -> None: ...

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 3))
            await it.native.until(lambda: it.native.live == {0: 3})
            it.native.do(("retire", 0, 2))
            await it.native.until(lambda: it.native.live == {0: 1})
            assert it.native.dead == {0: 0}

    in_loop(story)
    assert TestA.log == ["on_stop"] * 3


def test_a_user_inside_a_call_leaves_when_the_call_is_recorded() -> None:
    class TestA(Recorder):
        reply: ClassVar[asyncio.Event]

        async def test_it(self) -> None:
            await scope().call(TestA.reply.wait)
            self.log.append("recorded")

        async def on_stop(self) -> None:
            await scope().call()
            await super().on_stop()

    async def story() -> None:
        TestA.reply = asyncio.Event()
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: bool(it.scopes and it.scopes[0].open_calls))
            it.native.do(("retire", 0, 1))
            await until(lambda: it.scopes[0].refuses)
            await asyncio.sleep(0.01)
            assert it.native.live == {0: 1}
            TestA.reply.set()
            await it.native.until(lambda: it.native.live == {0: 0})
            assert it.scopes[0].aborted == 0

    in_loop(story)
    assert TestA.log == ["recorded", "on_stop"]


def test_a_user_inside_a_call_is_cut_at_the_deadline_and_still_has_its_on_stop() -> None:
    class TestA(Recorder):
        async def test_it(self) -> None:
            await scope().call(asyncio.Event().wait)

        async def on_stop(self) -> None:
            await scope().call()
            await super().on_stop()

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 2))
            await until(lambda: len(it.scopes) == 2 and all(each.open_calls for each in it.scopes))
            it.native.do(("drain", 0.1))
            await it.native.until(lambda: it.native.live == {0: 0})
            assert [each.aborted for each in it.scopes] == [1, 1]
            assert it.native.dead == {0: 0}

    in_loop(story)
    assert TestA.log == ["on_stop", "on_stop"]


def test_an_overridden_start_with_a_call_open_in_another_task_waits_for_it() -> None:
    class TestA(Recorder):
        reply: ClassVar[asyncio.Event]
        started: ClassVar[int] = 0

        async def start(self) -> None:
            await asyncio.gather(*(job(self) for job in self.jobs))

        async def test_slow(self) -> None:
            await scope().call(TestA.reply.wait)
            self.log.append("recorded")

        async def test_loop(self) -> None:
            while True:
                await scope().call(soon)

    async def story() -> None:
        TestA.reply = asyncio.Event()
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: bool(it.scopes and it.scopes[0].open_calls == 2))
            it.native.do(("retire", 0, 1))
            await until(lambda: it.scopes[0].open_calls == 1)
            await asyncio.sleep(0.02)
            assert TestA.log == []
            TestA.reply.set()
            await it.native.until(lambda: it.native.live == {0: 0})

    in_loop(story)
    assert TestA.log == ["recorded", "on_stop"]


def test_the_tasks_that_a_user_made_end_with_it() -> None:
    children: list[asyncio.Task[Any]] = []

    class TestA(Recorder):
        async def start(self) -> None:
            children.append(asyncio.create_task(asyncio.sleep(1000)))
            await asyncio.Event().wait()

        async def test_it(self) -> None: ...

        async def on_stop(self) -> None:
            self.log.append(f"child cancelled: {children[0].cancelled()}")

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: len(children) == 1)
            it.native.do(("retire", 0, 1))
            await it.native.until(lambda: it.native.live == {0: 0})

    in_loop(story)
    assert TestA.log == ["child cancelled: True"]


def test_a_user_that_swallows_its_cancellation_is_cancelled_again() -> None:
    class TestA(Recorder):
        async def test_it(self) -> None:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                self.log.append("swallowed")
                if self.log.count("swallowed") == 2:
                    raise

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await it.native.until(lambda: it.native.live == {0: 1})
            await asyncio.sleep(0.01)
            it.native.do(("retire", 0, 1))
            await it.native.until(lambda: it.native.live == {0: 0})

    in_loop(story)
    assert TestA.log == ["swallowed", "swallowed", "on_stop"]


def test_on_stop_runs_once_when_the_user_stops_itself() -> None:
    class TestA(Recorder):
        async def test_it(self) -> None:
            await self.stop_user()
            await asyncio.sleep(1000)

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await it.native.until(lambda: it.native.dead == {0: 1})
            assert it.native.of("user_error") == []

    in_loop(story)
    assert TestA.log == ["on_stop"]


def test_on_stop_runs_once_when_the_user_never_took_its_first_step() -> None:
    class TestA(Recorder):
        async def test_it(self) -> None: ...

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1), ("retire", 0, 1))
            await it.native.until(lambda: TestA.log == ["on_stop"])
            await it.end()

    in_loop(story)
    assert TestA.log == ["on_stop"]


def test_on_stop_runs_once_under_an_overridden_start_user() -> None:
    class TestA(Recorder):
        def start_user(self) -> None:
            self.task = asyncio.create_task(self.start(), name="mine")

        async def test_it(self) -> None:
            await asyncio.sleep(1000)

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await it.native.until(lambda: it.native.live == {0: 1})
            it.native.do(("retire", 0, 1))
            await it.native.until(lambda: it.native.live == {0: 0})

    in_loop(story)
    assert TestA.log == ["on_stop"]


def test_a_timeout_works_in_on_stop_after_a_cancellation() -> None:
    class TestA(Recorder):
        wait_time = 1000

        async def test_it(self) -> None: ...

        async def on_stop(self) -> None:
            try:
                async with asyncio.timeout(0.01):
                    await asyncio.sleep(1000)
            except TimeoutError:
                self.log.append("timed out")
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(0))
            self.log.append("grouped")

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await it.native.until(lambda: it.native.live == {0: 1})
            it.native.do(("retire", 0, 1))
            await it.native.until(lambda: it.native.live == {0: 0})

    in_loop(story)
    assert TestA.log == ["timed out", "grouped"]


def test_the_newest_users_are_retired_first() -> None:
    ended: list[int] = []

    class TestA(User):
        made: ClassVar[int] = 0
        wait_time = 1000

        def __init__(self) -> None:
            super().__init__()
            TestA.made += 1
            self.number = TestA.made

        async def test_it(self) -> None: ...

        async def on_stop(self) -> None:
            ended.append(self.number)

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 4))
            await it.native.until(lambda: it.native.live == {0: 4})
            it.native.do(("retire", 0, 2))
            await it.native.until(lambda: it.native.live == {0: 2})
            assert sorted(ended) == [3, 4]

    in_loop(story)
