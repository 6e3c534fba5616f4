"""What is measured is counted once, as what it was, whoever ends it."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from aiotest import User, _native, events, intended_start, life, measure, record
from hosting import hosted, in_loop, until

Row = tuple[Any, ...]


def counted(rows: list[Row]) -> list[Row]:
    """Method, name, length, error, whether aborted."""
    return [(method, name, length, error, aborted) for method, name, _, length, error, aborted in rows]


def run_once(work: Any, **more: Any) -> tuple[list[Row], Any]:
    """What a user's one job does, and what was counted of it; also the user's class."""

    class TestDatabase(User):
        wait_time = 0.001
        turns = 0

        async def test_it(self) -> None:
            type(self).turns += 1
            if self.turns == 1:
                await work(self)

    recorded: list[Row] = []

    async def story() -> None:
        async with hosted(TestDatabase) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: TestDatabase.turns > 2)
            recorded.extend(it.recorded)
            assert it.native.dead.get(0, 0) == 0

    in_loop(story)
    return recorded, TestDatabase


def test_a_block_is_timed_and_counted_when_it_is_left() -> None:
    async def work(user: User) -> None:
        async with measure("select user", method="SQL") as it:
            await asyncio.sleep(0.05)
            it.length = 12
        async with measure("quick"):
            pass

    rows, _ = run_once(work)
    assert counted(rows) == [("SQL", "select user", 12, None, False), ("call", "quick", 0, None, False)]
    assert 50 <= rows[0][2] < 1000
    assert 0 < rows[1][2] < 50, "milliseconds, with their fractions"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no such user"), "no such user"),
        (KeyError("id"), "KeyError: 'id'"),
        (OSError(), "OSError"),
        (AssertionError("wrong"), "wrong"),
    ],
)
def test_an_exception_is_a_failure_that_ends_the_job_and_not_the_user(error: Exception, text: str) -> None:
    went_on: list[bool] = []

    async def work(user: User) -> None:
        async with measure("it"):
            raise error
        went_on.append(True)

    rows, _ = run_once(work)
    assert counted(rows) == [("call", "it", 0, text, False)]
    assert went_on == []
    assert life.is_recorded(error)


def test_a_failure_that_the_scenario_names_counts_and_the_job_goes_on() -> None:
    async def work(user: User) -> None:
        async with measure("it") as it:
            it.failure("no rows")
        async with measure("it") as it:
            it.failure(ValueError("two"))

    rows, _ = run_once(work)
    assert [row[3] for row in counted(rows)] == ["no rows", "two"]


def test_a_timeout_inside_of_the_block_is_what_is_counted() -> None:
    async def work(user: User) -> None:
        async with measure("it"), asyncio.timeout(0.01):
            await asyncio.sleep(5)

    rows, _ = run_once(work)
    assert counted(rows) == [("call", "it", 0, "TimeoutError", False)]


def test_one_that_the_scenario_cancels_is_a_failure_named_cancelled() -> None:
    async def work(user: User) -> None:
        async def wait() -> None:
            async with measure("it"):
                await asyncio.sleep(5)

        task = asyncio.create_task(wait())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])

    rows, _ = run_once(work)
    assert counted(rows) == [("call", "it", 0, "Cancelled", False)]


def test_a_user_inside_a_block_is_waited_for_and_no_new_block_begins() -> None:
    class TestDatabase(User):
        wait_time = 0
        after = 0

        async def test_it(self) -> None:
            async with measure("it"):
                begun.append(self)
                await go.wait()
            async with measure("behind"):
                type(self).after += 1

        async def on_stop(self) -> None:
            async with measure("bye"):
                pass

    begun: list[User] = []
    go = asyncio.Event()

    async def story() -> None:
        async with hosted(TestDatabase) as it:
            it.native.do(("start", 0, 2))
            await until(lambda: len(begun) == 2)
            it.native.do(("retire", 0, 2))
            await asyncio.sleep(0.05)
            assert it.native.live == {0: 2}, "they are inside"
            go.set()
            await it.native.until(lambda: it.native.live == {0: 0})
            assert it.native.dead == {0: 0}
            names = sorted((name, error, aborted) for _, name, _, error, aborted in counted(it.recorded))
            assert names == [("bye", None, False)] * 2 + [("it", None, False)] * 2

    in_loop(story)
    assert TestDatabase.after == 0


def test_a_block_that_is_open_at_the_deadline_is_aborted() -> None:
    class TestDatabase(User):
        async def test_it(self) -> None:
            async with measure("it"):
                begun.append(self)
                await asyncio.sleep(60)

    begun: list[User] = []

    async def story() -> None:
        async with hosted(TestDatabase) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: len(begun) == 1)
            it.native.do(("drain", 0.05))
            await it.native.until(lambda: it.native.live == {0: 0})
            assert counted(it.recorded) == [("call", "it", 0, None, True)]

    in_loop(story)


def test_a_plain_call_and_the_event_are_the_same() -> None:
    told: list[dict[str, Any]] = []

    async def handler(**keywords: Any) -> None:
        told.append(keywords)

    async def work(user: User) -> None:
        events.stats_request += handler
        await record("a", method="SQL", seconds=0.002, length=3)
        await record("a", seconds=0, error=KeyError("b"))
        keywords: dict[str, Any] = {"request_name": "a", "request_method": "SQL"}
        await events.stats_request.fire(**keywords, response_time=2.0, response_length=3, error=None)
        async with measure("a", method="SQL"):
            pass

    rows, _ = run_once(work)
    assert counted(rows) == [
        ("SQL", "a", 3, None, False),
        ("call", "a", 0, "KeyError: 'b'", False),
        ("SQL", "a", 3, None, False),
        ("SQL", "a", 0, None, False),
    ]
    assert rows[0][2] == 2.0
    assert [each["error"] for each in told] == [None, "KeyError: 'b'", None, None]
    assert {each["request_name"] for each in told} == {"a"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"seconds": -1}, "seconds must be a number, 0 or more, not -1"),
        ({"seconds": float("nan")}, "seconds must be a number"),
        ({"seconds": 1, "length": -2}, "length must be a number of bytes"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        asyncio.run(record("a", **arguments))


def test_it_reaches_the_statistics_with_its_lateness() -> None:
    async def main() -> None:
        intended_start(asyncio.get_running_loop().time() - 1)
        _native.record("SQL", "a", 2.0, 3, None)
        _native.record("SQL", "a", 2.0, 3, "broken")
        _native.record("SQL", "a", 2.0, 3, None, True)

    _native.take_statistics_json()
    asyncio.run(main())
    (row,) = json.loads(_native.take_statistics_json())["rows"]
    assert (row["requests"], row["failures"], row["aborted"], row["errors"]) == (2, 1, 1, {"broken": 1})
    assert row["since_intended"]["min"] >= 1_000_000


def test_parallel_blocks_of_a_user_end_with_the_load_and_no_other_begins() -> None:
    class TestParallel(User):
        begun = 0

        async def start(self) -> None:
            await asyncio.gather(*(self.repeat(0.02 + number / 300) for number in range(5)))

        async def repeat(self, seconds: float) -> None:
            while True:
                async with measure("it"):
                    type(self).begun += 1
                    await asyncio.sleep(seconds)

        async def test_it(self) -> None: ...

    async def story() -> None:
        async with hosted(TestParallel, real=True) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: TestParallel.begun > 20)
            begun = TestParallel.begun
            it.native.do(("drain", 60.0))
            await it.native.until(lambda: it.native.live == {0: 0})
            assert TestParallel.begun == begun
            assert counted(it.recorded) == [("call", "it", 0, None, False)] * begun

    in_loop(story)


def test_one_that_the_scenario_cancels_while_its_user_is_to_go_is_a_failure() -> None:
    class TestPatient(User):
        wait_time = 0.001
        inside = False

        async def test_it(self) -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.3), measure("it"):
                    type(self).inside = True
                    await asyncio.sleep(60)

    async def story() -> None:
        async with hosted(TestPatient, real=True) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: TestPatient.inside)
            it.native.do(("retire", 0, 1))
            await it.native.until(lambda: it.native.live == {0: 0})
            assert counted(it.recorded) == [("call", "it", 0, "Cancelled", False)]

    in_loop(story)


def test_one_whose_exception_the_stop_brought_about_is_aborted() -> None:
    class TestLibrary(User):
        wait_time = 0.001
        inside = False

        async def test_it(self) -> None:
            async with measure("it"):
                type(self).inside = True
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    raise ConnectionError("the connection is broken now") from None

    async def story() -> None:
        async with hosted(TestLibrary, real=True) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: TestLibrary.inside)
            it.native.do(("drain", 0.05))
            await it.native.until(lambda: it.native.live == {0: 0})
            assert counted(it.recorded) == [("call", "it", 0, None, True)]
            assert it.native.of("user_error") == []

    in_loop(story)


def test_a_block_is_entered_once() -> None:
    async def twice() -> None:
        it = measure("it")
        for _ in range(2):
            async with it:
                pass

    with pytest.raises(RuntimeError, match="call measure"):
        asyncio.run(twice())
