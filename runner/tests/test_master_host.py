"""The master's Python side: the shape is asked, and every answer of it is told."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiotest import LoadUserShape, events, runners
from aiotest.master_host import MasterHost
from fakes import FakeNative
from hosting import in_loop

Telling = Callable[[FakeNative], Awaitable[None]]


def mastered(
    shape: LoadUserShape | None, telling: Telling, runner: runners.MasterRunner | None = None
) -> int:
    """The exit code of a master that the test plays the native side of."""
    codes: list[int] = []

    async def story() -> None:
        native = FakeNative()
        task = asyncio.create_task(MasterHost(native, shape, runner).run())
        await telling(native)
        native.do(("ended", 3))
        codes.append(await task)
        native.close()

    in_loop(story)
    return codes[0]


def answers(tick: Callable[[LoadUserShape], Any], *asked: float) -> list[tuple[Any, ...]]:
    """What the native master is told when the shape is asked at these run times."""
    shape = type("ShapeTest", (LoadUserShape,), {"tick": tick})()
    told: list[tuple[Any, ...]] = []

    async def telling(native: FakeNative) -> None:
        for run_time in asked:
            before = len(native.told)
            native.do(("ask_shape", run_time))
            await native.until(lambda before=before: len(native.told) > before)  # type: ignore[misc]
        told.extend(native.told)

    assert mastered(shape, telling) == 3
    return told


def test_the_shapes_answer_is_told_and_none_ends_the_test() -> None:
    steps = iter([(10, 2), (20, 0.5), None])
    assert answers(lambda _: next(steps), 0.0, 1.0, 2.0) == [
        ("shape", 10, 2.0),
        ("shape", 20, 0.5),
        ("shape_end",),
    ]


def test_the_run_time_goes_on_where_it_was_after_a_restart_of_the_master() -> None:
    [(_, users, _)] = answers(lambda shape: (int(shape.get_run_time()), 1), 100.0)
    assert users == 100


def test_the_run_time_is_the_masters_also_if_it_asks_before_the_start() -> None:
    told = answers(lambda shape: (int(shape.get_run_time()), 1), 0.0, 0.0, 7.0)
    assert [users for _, users, _ in told] == [0, 0, 7]


def test_a_reset_of_the_run_time_is_kept() -> None:
    def tick(shape: LoadUserShape) -> tuple[int, float]:
        if shape.get_run_time() >= 100:
            shape.reset_time()
        return int(shape.get_run_time()), 1

    assert answers(tick, 100.0, 101.0) == [("shape", 0, 1.0), ("shape", 0, 1.0)]


def test_a_tick_that_raises_is_told_and_asked_again(log_lines: list[str]) -> None:
    calls = iter([1, 0])
    told = answers(lambda _: (10 // next(calls), 1), 0.0, 1.0)
    assert told == [
        ("shape", 10, 1.0),
        ("shape_failed", "ZeroDivisionError: integer division or modulo by zero"),
    ]
    assert any("ShapeTest.tick raised; the last plan holds" in line for line in log_lines)


def test_an_answer_that_is_no_load_is_told_by_its_fault() -> None:
    [(kind, text)] = answers(lambda _: 5, 0.0)
    assert kind == "shape_failed"
    assert text == "tick() must return (user_count, rate) or None, not 5"


@pytest.mark.parametrize("fires", [True, False])
def test_the_masters_events_fire_in_a_master_and_not_beside_a_local_runner(fires: bool) -> None:
    told: list[Any] = []

    async def on_worker_report(runner: Any, worker_id: str, data: dict[str, Any]) -> None:
        told.append((type(runner).__name__, worker_id, data))

    async def on_start_complete(user_count: int) -> None:
        told.append(user_count)

    async def on_test_stop(runner: Any) -> None:
        told.append("test_stop")

    async def telling(native: FakeNative) -> None:
        native.do(
            ("test_start",),
            ("worker_report", "runner-0", {"user_count": 5}),
            ("start_complete", 5),
            ("test_stop",),
        )

    events.worker_report += on_worker_report
    events.start_complete += on_start_complete
    events.test_stop += on_test_stop
    mastered(None, telling, runners.MasterRunner(Namespace()) if fires else None)
    assert told == ([("MasterRunner", "runner-0", {"user_count": 5}), 5, "test_stop"] if fires else [])


def test_what_is_done_once_is_carried_out_and_how_it_went_is_told(log_lines: list[str]) -> None:
    called: list[object] = []

    async def prepare(runner: object) -> None:
        called.append(runner)

    async def fail() -> None:
        raise ValueError("no way")

    async def telling(native: FakeNative) -> None:
        events.run_setup += prepare
        native.do(("run_setup",))
        await native.until(lambda: len(native.told) == 1)
        events.run_setup += fail
        events.run_setup += prepare
        native.do(("run_setup",))
        await native.until(lambda: len(native.told) == 2)
        events.run_teardown += fail
        events.run_teardown += prepare
        native.do(("run_teardown",))
        await native.until(lambda: len(native.told) == 3)
        (first,), (second,) = native.of("set_up")
        ((third,),) = native.of("torn_down")
        assert first is None
        assert second == third
        assert second.startswith("ValueError: no way (test_master_host.py:")
        # A setup ends with the first that fails; a teardown does not.
        assert len(called) == 3

    assert mastered(None, telling) == 3
    assert any("a handler of `run_setup` raised" in line for line in log_lines)


def test_a_setup_that_the_run_ends_without_is_cancelled() -> None:
    seen: list[str] = []

    async def hang() -> None:
        seen.append("begun")
        try:
            await asyncio.sleep(3600)
        finally:
            seen.append("taken back")

    async def telling(native: FakeNative) -> None:
        events.run_setup += hang
        native.do(("run_setup",))
        async with asyncio.timeout(5):
            while not seen:  # noqa: ASYNC110 - what is awaited here has no event of its own
                await asyncio.sleep(0.001)

    assert mastered(None, telling) == 3
    assert seen == ["begun", "taken back"]
