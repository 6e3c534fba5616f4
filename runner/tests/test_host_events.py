"""A whole run in one process: events, records, the loop's lag, every kind of loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiotest import events, host, runners
from hosting import Recorder, hosted, in_loop, scope, soon, until


def test_stop_now_aborts_every_call_and_lets_nobody_call_again() -> None:
    class TestA(Recorder):
        async def test_it(self) -> None:
            await scope().call(asyncio.Event().wait)

        async def on_stop(self) -> None:
            self.log.append("on_stop")
            scope().refuses = not scope().reopened
            await scope().call()
            self.log.append("called")

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: bool(it.scopes and it.scopes[0].open_calls))
            it.native.do(("stop_now",))
            await it.native.until(lambda: it.native.live == {0: 0})
            assert it.scopes[0].aborted == 1
            # The master is heard again: users come back.
            it.native.do(("start", 0, 1))
            await it.native.until(lambda: it.native.live == {0: 1})
            it.native.do(("stop_now",))

    in_loop(story)
    assert TestA.log == ["on_stop", "on_stop"]


def test_events_of_a_run_fire_in_order_with_the_runner_and_the_clusters_count() -> None:
    told: list[Any] = []

    async def on_test_start(runner: Any) -> None:
        await asyncio.sleep(0.02)
        told.append(("test_start", type(runner).__name__))

    async def on_start_complete(user_count: int, runner: Any) -> None:
        told.append(("start_complete", user_count))

    async def on_test_stop(runner: Any) -> None:
        told.append(("test_stop", runner.user_count))

    async def on_quitting() -> None:
        told.append(("quitting",))

    class TestA(Recorder):
        wait_time = 1000

        async def test_it(self) -> None: ...

    async def story() -> None:
        events.test_start += on_test_start
        events.start_complete += on_start_complete
        events.test_stop += on_test_stop
        events.quitting += on_quitting
        async with hosted(TestA) as it:
            # Users wait for the handlers of test_start; one that is retired meanwhile never starts.
            it.native.do(("test_start",), ("start", 0, 3), ("retire", 0, 1))
            await it.native.until(lambda: it.native.live == {0: 2})
            await until(lambda: bool(told))
            it.native.do(("start_complete", 7))
            await until(lambda: ("start_complete", 7) in told)
            it.native.do(("drain", 5.0))
            await it.native.until(lambda: it.native.live == {0: 0})
            assert await it.end(3) == 3

    in_loop(story)
    assert told == [("test_start", "LocalRunner"), ("start_complete", 7), ("test_stop", 0), ("quitting",)]
    assert TestA.log == ["on_stop"] * 2


def test_a_call_of_a_custom_client_is_recorded_and_its_handlers_are_called() -> None:
    told: list[Any] = []

    async def on_stats_request(runner: Any, request_name: str, error: str | None) -> None:
        told.append((type(runner).__name__, request_name, error))

    class TestSql(Recorder):
        async def test_it(self) -> None:
            for error in (None, TimeoutError("slow")):
                await events.stats_request.fire(
                    runner=runners.global_runner,
                    request_name="select",
                    request_method="SQL",
                    response_time=1.5,
                    response_length=20,
                    error=error,
                )
            await asyncio.sleep(1000)

    async def story() -> None:
        events.stats_request += on_stats_request
        async with hosted(TestSql) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: len(told) == 2)
            assert it.recorded == [
                ("SQL", "select", 1.5, 20, None, False),
                ("SQL", "select", 1.5, 20, "TimeoutError: slow", False),
            ]

    in_loop(story)
    assert [each[:2] for each in told] == [("LocalRunner", "select")] * 2


def test_a_user_error_fired_by_the_scenario_is_counted() -> None:
    async def story() -> None:
        async with hosted() as it:
            await until(lambda: events.user_error.record is not None)
            await events.user_error.fire(runner=runners.global_runner, error="out of cards")
            assert it.native.of("user_error") == [("out of cards",)]

    in_loop(story)


def test_a_busy_loop_is_told_as_its_lag() -> None:
    async def story() -> None:
        async with hosted() as it:
            await it.native.until(lambda: bool(it.native.of("loop_lag")))
            time.sleep(0.3)  # noqa: ASYNC251 - the fault under test
            seen = len(it.native.of("loop_lag"))
            await it.native.until(lambda: len(it.native.of("loop_lag")) > seen)
            assert it.native.of("loop_lag")[-1][0] >= 0.15

    in_loop(story)


def test_a_user_that_a_scenario_makes_itself_has_the_same_life() -> None:
    class Extra(Recorder):
        async def test_it(self) -> None:
            self.log.append("job")
            await asyncio.sleep(1000)

    class TestA(Recorder):
        async def test_it(self) -> None:
            extra = Extra()
            extra.start_user()
            await until(lambda: Extra.log == ["job"])
            await extra.stop_user()
            self.log.append("stopped")
            await asyncio.sleep(1000)

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: TestA.log == ["stopped"])
            assert it.native.live == {0: 1}

    in_loop(story)
    assert Extra.log == ["job", "on_stop"]


@pytest.mark.parametrize("mode", ["debug", "eager", "uvloop"])
def test_a_run_is_the_same_in_debug_mode_with_eager_tasks_and_on_uvloop(mode: str) -> None:
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if mode == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop
    if mode == "eager" and not hasattr(asyncio, "eager_task_factory"):
        pytest.skip("eager tasks are new in CPython 3.12")

    class TestA(Recorder):
        async def test_it(self) -> None:
            await asyncio.gather(scope().call(), scope().call(soon))

    async def story() -> None:
        if mode == "eager":
            asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 - absent in 3.11
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 5))
            await it.native.until(lambda: it.native.live == {0: 5})
            it.native.do(("retire", 0, 2))
            await it.native.until(lambda: it.native.live == {0: 3})
            it.native.do(("drain", 5.0))
            await it.native.until(lambda: it.native.live == {0: 0})
            assert it.native.dead == {0: 0}
            assert await it.end() == 0

    with asyncio.Runner(debug=mode == "debug", loop_factory=factory) as runner:
        runner.run(asyncio.wait_for(story(), 20))
    assert TestA.log == ["on_stop"] * 5


def test_users_that_are_stopped_while_they_wait_for_test_start_are_told_as_gone() -> None:
    prepared = asyncio.Event()

    async def on_test_start() -> None:
        await prepared.wait()

    class TestA(Recorder):
        async def test_it(self) -> None: ...

    async def story() -> None:
        events.test_start += on_test_start
        async with hosted(TestA) as it:
            it.native.do(("test_start",), ("start", 0, 3), ("retire", 0, 1))
            await it.native.until(lambda: it.native.live == {0: 2})
            it.native.do(("drain", 5.0))
            await it.native.until(lambda: it.native.live == {0: 0})
            prepared.set()

    in_loop(story)
    assert TestA.log == []


def test_a_user_that_withstands_every_cancellation_does_not_hold_the_end(
    monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    monkeypatch.setattr(host, "ON_STOP_PATIENCE", 0.05)
    released = asyncio.Event()

    class TestStubborn(Recorder):
        async def test_it(self) -> None:
            while not released.is_set():
                try:
                    await released.wait()
                except asyncio.CancelledError:
                    self.log.append("no")

    async def story() -> None:
        async with hosted(TestStubborn) as it:
            it.native.do(("start", 0, 1))
            await it.native.until(lambda: it.native.live == {0: 1})
            await asyncio.sleep(0.01)
            it.native.do(("test_start",), ("drain", 0.05))
            assert await it.end(0) == 0
            assert it.host.stuck
            released.set()

    in_loop(story)
    assert TestStubborn.log.count("no") >= 2
    assert any("withstood every cancellation" in line for line in log_lines)
