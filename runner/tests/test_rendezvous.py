"""Users that wait for each other, in one process: who counts as there, who goes on, and what each is told.
The native side is in the test's hand.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiotest import rendezvous
from command_line import free_port, run, write
from hosting import Hosted, Recorder, hosted, in_loop, until
from one_server import one_server


def meeting(**given: Any) -> type[Recorder]:
    """Users that meet at `sale` and then stay."""

    class TestBuyer(Recorder):
        async def start(self) -> None:
            try:
                await rendezvous("sale", **given)
                self.log.append("went on")
                await asyncio.sleep(3600)
            except TimeoutError as error:
                self.log.append(str(error))
            await asyncio.sleep(3600)

    return TestBuyer


async def told(it: Hosted, *wanted: tuple[str, int, int | None]) -> None:
    """The native side hears just this of those who wait; forgotten then."""
    await it.native.until(lambda: len(it.native.of("waiting")) >= len(wanted))
    await asyncio.sleep(0.01)
    assert it.native.of("waiting") == [*wanted]
    it.native.told.clear()


def test_users_wait_until_they_are_let_go_on_and_go_in_one_batch() -> None:
    async def story() -> None:
        buyer = meeting()
        async with hosted(buyer) as it:
            it.native.do(("start", 0, 3))
            await told(it, ("sale", 3, None))
            assert buyer.log == []
            it.native.do(("release", "sale", 0.0))
            await until(lambda: len(buyer.log) == 3)
            await told(it, ("sale", 0, None))
            assert buyer.log == ["went on"] * 3

    in_loop(story)


def test_who_came_after_the_instant_waits_for_the_next_round() -> None:
    async def story() -> None:
        buyer = meeting()
        async with hosted(buyer) as it:
            it.native.do(("start", 0, 2))
            await told(it, ("sale", 2, None))
            await asyncio.sleep(0.5)
            it.native.do(("start", 0, 1))
            await told(it, ("sale", 3, None))
            # The round was over between them; this process hears of it now.
            it.native.do(("release", "sale", 0.4))
            await told(it, ("sale", 1, None))
            assert buyer.log == ["went on"] * 2

    in_loop(story)


def test_one_that_is_retired_or_dies_waits_no_more_and_that_is_told_before_its_end() -> None:
    async def story() -> None:
        buyer = meeting()
        async with hosted(buyer) as it:
            it.native.do(("start", 0, 3))
            await told(it, ("sale", 3, None))
            it.native.do(("retire", 0, 1))
            await it.native.until(lambda: it.native.live[0] == 2)
            heard = [what for what in it.native.told if what[0] in ("waiting", "users")]
            assert heard == [("waiting", "sale", 2, None), ("users", 0, 2, 0)]
            assert buyer.log == ["on_stop"]

    in_loop(story)


def test_a_user_counts_once_however_many_of_its_tasks_wait() -> None:
    class TestBuyer(Recorder):
        async def start(self) -> None:
            await asyncio.gather(rendezvous("sale"), rendezvous("sale"), rendezvous("sale", users=2))
            self.log.append("went on")
            await asyncio.sleep(3600)

    async def story() -> None:
        async with hosted(TestBuyer) as it:
            it.native.do(("start", 0, 2))
            await told(it, ("sale", 2, None))
            it.native.do(("release", "sale", 0.0))
            await until(lambda: TestBuyer.log == ["went on"] * 2)

    in_loop(story)


def test_the_greatest_number_that_is_asked_for_counts() -> None:
    class TestFew(Recorder):
        async def start(self) -> None:
            await rendezvous("sale", 2)

    class TestMany(Recorder):
        async def start(self) -> None:
            await rendezvous("sale", users=5)

    async def story() -> None:
        async with hosted(TestFew, TestMany) as it:
            it.native.do(("start", 0, 1))
            await told(it, ("sale", 1, 2))
            it.native.do(("start", 1, 1))
            await told(it, ("sale", 2, 5))

    in_loop(story)


def test_a_timeout_says_how_many_of_how_many_had_come_and_leaves_the_place() -> None:
    async def story() -> None:
        buyer = meeting(timeout=0.05)
        async with hosted(buyer) as it:
            it.native.meetings["sale"] = (3, 8)
            it.native.do(("start", 0, 1))
            await told(it, ("sale", 1, None), ("sale", 0, None))
            assert buyer.log == ["rendezvous `sale`: 3 of 8 users had come within 0.05 s"]

    in_loop(story)


def test_a_timeout_that_is_not_caught_ends_the_user_with_that_text(log_lines: list[str]) -> None:
    class TestBuyer(Recorder):
        async def start(self) -> None:
            await rendezvous("sale", users=7, timeout=0)

    async def story() -> None:
        async with hosted(TestBuyer) as it:
            it.native.do(("start", 0, 1))
            await it.native.until(lambda: it.native.dead.get(0) == 1)
            ((text,),) = it.native.of("user_error")
            assert text.startswith("TimeoutError: rendezvous `sale`: 1 of 7 users had come within 0 s (")

    in_loop(story)


WRONG: dict[str, tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]] = {
    "no name": (("",), {}, ValueError, "name must have 1 to 100 bytes, and has 0"),
    "a long name": (("ä" * 51,), {}, ValueError, "name must have 1 to 100 bytes, and has 102"),
    "a name that is no text": ((7,), {}, TypeError, "name must be a str, not 7"),
    "a name beyond UTF-8": (("\udc80",), {}, ValueError, "name must be text that UTF-8 can hold"),
    "nobody": (("sale", 0), {}, ValueError, "users must be 1 or more, not 0: leave it out to wait for all"),
    "more than there are": (("sale", 11), {}, ValueError, "users=11 would never come, as the load has 10"),
    "half a user": (("sale", 1.5), {}, TypeError, "users must be a whole number or None for all, not 1.5"),
    "true": (("sale", True), {}, TypeError, "users must be a whole number"),
    "a negative time": (("sale",), {"timeout": -1}, ValueError, "timeout must be seconds, 0 or more, not -1"),
    "no time": (
        ("sale",),
        {"timeout": "3"},
        TypeError,
        "timeout must be a number of seconds or None, not '3'",
    ),
    "for ever": (("sale",), {"timeout": float("inf")}, ValueError, "timeout must be seconds, 0 or more"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_use_raises_at_once_and_names_the_argument(
    wrong: tuple[tuple[Any, ...], dict[str, Any], type[Exception], str],
) -> None:
    arguments, keywords, kind, text = wrong

    class TestBuyer(Recorder):
        async def start(self) -> None:
            with pytest.raises(kind) as raised:
                await rendezvous(*arguments, **keywords)
            self.log.append(str(raised.value))
            await asyncio.sleep(3600)

    async def story() -> None:
        async with hosted(TestBuyer) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: len(TestBuyer.log) == 1)
            assert TestBuyer.log[0].startswith("rendezvous: ")
            assert text in TestBuyer.log[0]
            assert it.native.of("waiting") == []

    in_loop(story)


def test_one_name_too_many_is_refused() -> None:
    class TestBuyer(Recorder):
        async def start(self) -> None:
            for number in range(100):
                with pytest.raises(TimeoutError):
                    await rendezvous(f"round {number}", timeout=0)
            with pytest.raises(ValueError, match="would be one more than the 100 that a run may have"):
                await rendezvous("another")
            self.log.append("refused")
            await asyncio.sleep(3600)

    async def story() -> None:
        async with hosted(TestBuyer) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: TestBuyer.log == ["refused"])

    in_loop(story)


def test_outside_of_users_and_in_on_stop_nobody_is_waited_for() -> None:
    class TestBuyer(Recorder):
        async def start(self) -> None:
            await asyncio.sleep(3600)

        async def on_stop(self) -> None:
            with pytest.raises(RuntimeError, match="nobody waits for a user that is in on_stop"):
                await rendezvous("sale")
            self.log.append("refused")

    async def story() -> None:
        with pytest.raises(RuntimeError, match="only users wait for each other"):
            await rendezvous("sale")
        async with hosted(TestBuyer) as it:
            it.native.do(("start", 0, 1))
            await it.native.until(lambda: it.native.live.get(0) == 1)
            it.native.do(("drain", 5.0))
            await until(lambda: TestBuyer.log == ["refused"])

    in_loop(story)


ONE_PROCESS = """
    import aiotest
    from aiotest import AsyncHttpUser

    class TestBuyer(AsyncHttpUser):
        wait_time = 0

        async def on_start(self):
            await self.session.get("/login")

        async def test_buy(self):
            await aiotest.rendezvous("sale", users=USERS)
            await self.session.get("/buy")
            await aiotest.rendezvous("never", users=USERS, timeout=20)
"""


def test_in_one_process_users_meet_as_in_many(tmp_path: Any) -> None:
    write(tmp_path, ONE_PROCESS.replace("USERS", "None"))
    with one_server() as server:
        argv = ["-f", "aiotestfile.py", "-H", server.url, "-u", 5, "-r", 10, "-t", 9]
        code, output = run(*argv, "--prometheus-port", free_port(), cwd=tmp_path)
        assert code == 0, output
        assert max(server.stamps["/login"]) < min(server.stamps["/buy"])
        assert server.counts["/buy"] % 5 == 0
        assert server.counts["/buy"] >= 5


def test_a_check_waits_for_nobody(tmp_path: Any) -> None:
    write(tmp_path, ONE_PROCESS.replace("USERS", "500"))
    with one_server() as server:
        code, output = run("check", "aiotestfile.py", "--host", server.url, cwd=tmp_path)
    assert code == 0, output
    assert server.counts["/buy"] == 1
