"""The open model: who takes an iteration, what one is, what is shed; with real processes, what is counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from example_target import Target, running_target
from hosting import Hosted, Recorder, hosted, in_loop, until
from manifest_run import run, write_manifest

pytestmark = pytest.mark.timeout(120)


class Visitor(Recorder):
    """Two jobs; the second ends when the test says so."""

    gates: ClassVar[list[asyncio.Event]] = []

    async def on_start(self) -> None:
        self.log.append("on_start")

    async def test_enter(self) -> None:
        self.log.append("enter")

    async def test_stay(self) -> None:
        gate = asyncio.Event()
        self.gates.append(gate)
        await gate.wait()
        self.log.append("leave")


@pytest.fixture(autouse=True)
def _empty() -> None:
    Visitor.log.clear()
    Visitor.gates.clear()


def due(number: int) -> list[tuple[int, float]]:
    return [(0, time.monotonic())] * number


def totals(it: Hosted) -> tuple[int, int]:
    told = it.native.of("began")
    return sum(started for started, _ in told), sum(shed for _, shed in told)


def test_an_iteration_is_one_pass_and_the_next_one_goes_to_who_is_free() -> None:
    async def story() -> None:
        async with hosted(Visitor) as it:
            it.native.do(("allow", 0, 5), ("begin", due(1), 0))
            await until(lambda: len(Visitor.gates) == 1)
            assert Visitor.log == ["on_start", "enter"]
            Visitor.gates[0].set()
            await until(lambda: Visitor.log[-1] == "leave")
            await asyncio.sleep(0.02)
            assert len(Visitor.gates) == 1, "it does not go on by itself"
            it.native.do(("begin", due(1), 0))
            await until(lambda: len(Visitor.gates) == 2)
            assert Visitor.log == ["on_start", "enter", "leave", "enter"], (
                "the same user, which is started once"
            )
            it.native.do(("begin", due(1), 0))
            await until(lambda: len(Visitor.gates) == 3)
            assert Visitor.log.count("on_start") == 2, "that one is busy"
            assert (totals(it), it.native.live) == ((3, 0), {0: 2})

    in_loop(story)


def test_what_finds_every_user_busy_is_shed() -> None:
    async def story() -> None:
        async with hosted(Visitor) as it:
            it.native.do(("allow", 0, 2), ("begin", due(5), 7))
            await until(lambda: len(Visitor.gates) == 2)
            assert totals(it) == (2, 10)
            Visitor.gates[0].set()
            await until(lambda: "leave" in Visitor.log)
            await asyncio.sleep(0)
            it.native.do(("begin", due(2), 0))
            await until(lambda: len(Visitor.gates) == 3)
            assert totals(it) == (3, 11)

    in_loop(story)


def test_when_fewer_are_allowed_those_that_are_idle_go_first() -> None:
    async def story() -> None:
        async with hosted(Visitor) as it:
            it.native.do(("allow", 0, 3), ("begin", due(3), 0))
            await until(lambda: len(Visitor.gates) == 3)
            Visitor.gates[1].set()
            await until(lambda: "leave" in Visitor.log)
            it.native.do(("allow", 0, 2))
            await it.native.until(lambda: it.native.live[0] == 2)
            assert Visitor.log.count("on_stop") == 1
            assert [gate.is_set() for gate in Visitor.gates] == [False, True, False], "who was busy is"
            it.native.do(("allow", 0, 0))
            await it.native.until(lambda: it.native.live[0] == 0)
            it.native.do(("begin", due(1), 0))
            await until(lambda: totals(it) == (3, 1))

    in_loop(story)


def test_an_iteration_that_begins_late_says_by_how_much_and_its_calls_know() -> None:
    async def story() -> None:
        async with hosted(Visitor) as it:
            it.native.do(("allow", 0, 1), ("begin", [(0, time.monotonic() - 0.5)], 0))
            await until(lambda: len(Visitor.gates) == 1)
            ((late,),) = it.native.of("begun_late")
            assert 0.5 <= late < 5

    in_loop(story)


def test_what_comes_while_the_test_prepares_itself_begins_afterwards() -> None:
    async def story() -> None:
        from aiotest import events

        ready = asyncio.Event()

        async def prepare(runner: object) -> None:
            await ready.wait()

        events.test_start += prepare
        try:
            async with hosted(Visitor) as it:
                it.native.do(("test_start",), ("allow", 0, 2), ("begin", due(3), 0))
                await until(lambda: totals(it) == (0, 1))
                assert Visitor.log == []
                ready.set()
                await until(lambda: len(Visitor.gates) == 2)
                assert totals(it) == (2, 1)
        finally:
            events.test_start -= prepare

    in_loop(story)


def test_a_user_that_dies_is_counted_and_the_next_iteration_has_another() -> None:
    class Dies(Recorder):
        async def test_it(self) -> None:
            raise RuntimeError("no")

    async def story() -> None:
        async with hosted(Dies) as it:
            it.native.do(("allow", 0, 1), ("begin", due(1), 0))
            await it.native.until(lambda: it.native.dead.get(0) == 1 and it.native.live[0] == 0)
            it.native.do(("begin", due(1), 0))
            await it.native.until(lambda: it.native.dead[0] == 2)
            assert totals(it) == (2, 0)

    in_loop(story)


def test_at_the_stop_the_idle_go_at_once_and_nothing_begins_any_more() -> None:
    async def story() -> None:
        async with hosted(Visitor) as it:
            it.native.do(("allow", 0, 2), ("begin", due(2), 0))
            await until(lambda: len(Visitor.gates) == 2)
            Visitor.gates[0].set()
            await until(lambda: "leave" in Visitor.log)
            it.native.do(("drain", 1.0), ("begin", due(1), 0))
            await it.native.until(lambda: it.native.live[0] == 0)
            assert totals(it) == (2, 1)
            assert Visitor.log.count("on_stop") == 2

    in_loop(story)


# === real processes ===


@pytest.fixture
def target() -> Iterator[Target]:
    with running_target() as started:
        yield started


def arrivals(rate: int, seconds: int, users: int) -> dict[str, object]:
    stages = [{"duration": "0s", "target": rate}, {"duration": f"{seconds}s", "target": rate}]
    return {"arrivals": {"maxUsers": users, "stages": stages}}


BUYER = """
    from aiotest import AsyncHttpUser

    class TestBuyer(AsyncHttpUser):
        wait_time = 0.01

        async def test_look(self):
            async with self.session.get("/json"):
                pass

        async def test_buy(self):
            async with self.session.get("/delay/MILLISECONDS"):
                pass
"""


def test_every_planned_iteration_is_counted_once_over_two_runners(target: Target, tmp_path: Path) -> None:
    manifest = write_manifest(
        tmp_path, BUYER.replace("MILLISECONDS", "20"), host=target.url, load=arrivals(100, 5, 200)
    )
    ended = run(tmp_path, manifest)
    assert ended.code == 0, ended.out + ended.err
    counted = ended.told["iterations"]
    assert counted["planned"] == counted["started"] == 500, counted
    assert counted["shed"] == 0
    total = ended.told["total"]
    # Those that the stop found between two jobs, or in a call that it cut, have not bought.
    assert 900 <= total["sent"] <= 1000
    assert target.settled() == total["sent"]
    assert ended.told["users"]["target"] == 200 > ended.told["users"]["peak"]
    assert total["since_intended_ms"]["p50"] >= total["latency_ms"]["p50"] * 0.999
    assert "500 of 500 iterations started" in ended.out


def test_a_slow_target_is_no_reason_to_send_less_but_to_say_so(target: Target, tmp_path: Path) -> None:
    manifest = write_manifest(
        tmp_path, BUYER.replace("MILLISECONDS", "1000"), host=target.url, load=arrivals(50, 4, 6)
    )
    ended = run(tmp_path, manifest)
    counted = ended.told["iterations"]
    assert (ended.code, ended.told["verdict"]["result"]) == (1, "Failed"), ended.out + ended.err
    assert counted["started"] + counted["shed"] == counted["planned"] == 200, counted
    assert counted["shed"] > 100, counted
    reason = f"{counted['shed']} of 200 iterations were shed: all 6 users that there may be were busy"
    assert reason in ended.told["verdict"]["reasons"]
    assert ended.told["users"]["peak"] <= 6


def test_a_class_with_a_start_of_its_own_is_refused_with_its_line(tmp_path: Path) -> None:
    script = """
        from aiotest import User

        class TestOwn(User):
            async def test_it(self):
                pass

            async def start(self):
                pass
    """
    ended = run(tmp_path, write_manifest(tmp_path, script, load=arrivals(1, 1, 2)))
    assert ended.code == 3, ended.out + ended.err
    assert "aiotestfile.py:8: TestOwn has a `start` of its own, which load.arrivals never calls" in ended.err


def test_too_few_users_for_every_process_are_refused(tmp_path: Path) -> None:
    ended = run(tmp_path, write_manifest(tmp_path, BUYER, load=arrivals(1, 1, 1)))
    assert ended.code in (3, 64), ended.out + ended.err
    assert "at least 2, one of each class for each process" in ended.err
