"""Everything that `wait_time` may be, and what is no time."""

from __future__ import annotations

import asyncio
import random
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiotest import User, events, waiting
from aiotest.collection import AiotestfileError, collect
from hosting import hosted, in_loop, until


class Shop(User):
    offset = 2.0

    async def test_it(self) -> None: ...

    def method(self) -> float:
        return 1 + self.offset

    async def coroutine(self) -> float:
        await asyncio.sleep(0)
        return self.offset


class Callable3:
    """Compares by value, so it has no hash."""

    def __eq__(self, other: object) -> bool:
        return self is other

    def __call__(self) -> int:
        return 3


async def three() -> int:
    return 3


def of_user(user: Shop) -> float:
    return user.offset + 1


GOOD: dict[str, Any] = {
    "number": 3,
    "float": 3.0,
    "pair": (3, 3),
    "list": [3.0, 3],
    "method": Shop.method,
    "of the user": lambda self: self.offset + 1,
    "of nobody": lambda: 3,
    "static": staticmethod(lambda: 3),
    "static of the user": staticmethod(of_user),
    "class method": classmethod(lambda cls: cls.offset + 1),
    "anything that takes all": lambda *anything, **named: 3,
    "callable object": Callable3(),
    "coroutine function of nobody": three,
    "coroutine function": Shop.coroutine,
    "property": property(lambda self: self.offset + 1),
}


@pytest.mark.parametrize("kind", GOOD)
def test_each_kind_of_wait_time_gives_its_seconds(kind: str) -> None:
    cls = type("TestIt", (Shop,), {"wait_time": GOOD[kind]})
    wait = cls.wait_time  # type: ignore[attr-defined]
    assert isinstance(wait, property) or waiting.fault(wait) is None
    assert asyncio.run(waiting.seconds(cls())) == (2 if kind == "coroutine function" else 3)


@pytest.mark.parametrize("wait", [3, (3, 3), lambda: 3, of_user, three, Shop().method, random.random])
def test_it_may_be_set_for_one_user(wait: Any) -> None:
    user, other = Shop(), Shop()
    user.wait_time = wait
    expected = pytest.approx(0.5, abs=0.5) if wait is random.random else 3
    assert asyncio.run(waiting.seconds(user)) == expected
    assert asyncio.run(waiting.seconds(other)) == 1


def test_a_pair_is_drawn_from_evenly() -> None:
    async def main() -> None:
        waits = sorted([await waiting.seconds(user) for _ in range(2000)])
        assert 1 <= waits[0] < 1.02
        assert 2.98 < waits[-1] <= 3
        # Twelve standard deviations of a quartile: no chance decides.
        for quarter in (1, 2, 3):
            assert waits[quarter * 500] == pytest.approx(1 + quarter / 2, abs=0.3)

    user = Shop()
    user.wait_time = (1, 3)
    asyncio.run(main())


def test_the_default_start_waits_that_long_after_on_start_and_after_every_job() -> None:
    async def story() -> None:
        asked: list[str] = []

        class TestIt(User):
            async def on_start(self) -> None:
                asked.append("on_start")

            async def wait_time(self) -> float:
                asked.append("wait")
                return 0.001

            async def test_a(self) -> None:
                asked.append("a")

            async def test_b(self) -> None:
                asked.append("b")

        async with hosted(TestIt) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: len(asked) > 9)
            # How late each user wakes is told to the health's watch, as with a number.
            assert it.native.of("lateness")
        assert asked[:8] == ["on_start", "wait", "a", "wait", "b", "wait", "a", "wait"]

    in_loop(story)


def test_a_function_that_gives_0_lets_others_run() -> None:
    async def story() -> None:
        calls = {"wait": 0, "job": 0}

        class TestIt(User):
            def wait_time(self) -> float:
                calls["wait"] += 1
                return 0

            async def test_it(self) -> None:
                calls["job"] += 1

        async with hosted(TestIt) as it:
            it.native.do(("start", 0, 2))
            await until(lambda: calls["job"] > 20)
        assert calls["wait"] == calls["job"] + 2, "once after on_start, too"

    in_loop(story)


def on_start(wait: Any) -> Callable[[Any], Awaitable[None]]:
    async def set_it(self: Any) -> None:
        self.wait_time = wait

    return set_it


def after_a_job(wait: Any) -> Callable[[Any], Awaitable[None]]:
    async def set_it(self: Any) -> None:
        self.wait_time = 0
        self.jobs = [on_start(wait)]

    return set_it


def fails(self: object) -> float:
    raise LookupError("no such pace")


NUMBER = "TestIt.wait_time must be a number of seconds, 0 or more, a pair"
BAD: list[tuple[Any, str]] = [
    (-1, f"ValueError: {NUMBER}"),
    (None, f"ValueError: {NUMBER}"),
    ("2", f"ValueError: {NUMBER}"),
    (float("nan"), f"ValueError: {NUMBER}"),
    (float("inf"), f"ValueError: {NUMBER}"),
    ((1, 2, 3), f"ValueError: {NUMBER}"),
    ((-1, 2), f"ValueError: {NUMBER}"),
    (("1", "2"), f"ValueError: {NUMBER}"),
    ((3, 1), "ValueError: TestIt.wait_time is a pair whose low is above its high: write (1, 3)"),
    (lambda a, b: 1, "ValueError: TestIt.wait_time is a function that takes more than the user"),
    (lambda: None, "ValueError: TestIt.wait_time returned None: it must return a number of seconds, 0 or"),
    (lambda: -1, "ValueError: TestIt.wait_time returned -1"),
    (lambda: "soon", "ValueError: TestIt.wait_time returned 'soon'"),
    (lambda: (1, 2), "ValueError: TestIt.wait_time returned (1, 2)"),
    (lambda: 1 / 0, "ZeroDivisionError: division by zero (test_life_wait.py:"),
    (fails, "LookupError: no such pace (test_life_wait.py:"),
]


@pytest.mark.parametrize("when", [on_start, after_a_job])
@pytest.mark.parametrize(("wait", "says"), BAD)
def test_what_is_no_time_ends_the_user_and_says_so(wait: Any, says: str, when: Any) -> None:
    async def story() -> None:
        told: list[str] = []

        async def on_user_error(error: str) -> None:
            told.append(error)

        events.user_error += on_user_error
        cls = type("TestIt", (Shop,), {"on_start": when(wait)})
        async with hosted(cls) as it:
            it.native.do(("start", 0, 1))
            await it.native.until(lambda: it.native.dead.get(0) == 1)
            ((text,),) = it.native.of("user_error")
        assert text.startswith(says)
        assert len(told) == 1
        assert told[0].startswith(says.split(" (test_")[0])

    in_loop(story)


REFUSED = [
    ("-1", f"{NUMBER} (low, high) of such, or a function or coroutine function that returns one, not -1"),
    ("float('nan')", f"{NUMBER} (low, high) of such, or a function or coroutine function that returns one"),
    ("'2'", NUMBER),
    ("True", NUMBER),
    ("None", NUMBER),
    ("(1, 2, 3)", NUMBER),
    ("(2, 1)", "TestIt.wait_time is a pair whose low is above its high: write (1, 2)"),
    ("[2, 1]", "TestIt.wait_time is a pair whose low is above its high: write [1, 2]"),
    ("lambda self, rows: 1", "TestIt.wait_time is a function that takes more than the user: let it take"),
]


@pytest.mark.parametrize(("value", "says"), REFUSED)
def test_a_bad_wait_time_is_refused_when_the_file_is_read(tmp_path: Path, value: str, says: str) -> None:
    path = tmp_path / "waits_of_a_test.py"
    path.write_text(
        textwrap.dedent(f"""
        from aiotest import User

        class TestIt(User):
            wait_time = {value}

            async def test_it(self): pass
        """)
    )
    line = 5 if value.startswith("lambda") else 4
    with pytest.raises(AiotestfileError) as raised:
        collect(str(path))
    assert str(raised.value).startswith(f"{path}:{line}: {says}")
