"""Users of several runner processes that fire together, as the server sees it; also when runners and the
master die meanwhile.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import pytest
from command_line import Command, write
from one_server import OneServer, one_server
from processes import (
    PodMaster,
    ask,
    constant,
    master_argv,
    pod_argv,
    result,
    runner_argv,
    until,
    wait_for_json,
)

pytestmark = pytest.mark.timeout(120)

USERS = 12
TOGETHER = 1.0
"""Seconds within which the server sees all of them: far less than they need to log in one after the other."""
LOGIN = """
    import asyncio
    import aiotest
    from aiotest import AsyncHttpUser, events

    class TestBuyer(AsyncHttpUser):
        wait_time = 0

        async def on_start(self):
            await self.session.get("/login")
"""
MEETING = (
    LOGIN
    + """
        async def test_buy(self):
            await aiotest.rendezvous("sale")
            await self.session.get("/buy")
"""
)
SEMAPHORE = (
    LOGIN
    + """
            await opening.acquire()

        async def test_buy(self):
            await self.session.get("/buy")
            await asyncio.sleep(3600)

    opening = asyncio.Semaphore(0)

    async def open_the_sale(user_count, runner):
        for _ in range(user_count):
            opening.release()

    events.start_complete += open_the_sale
"""
)


@pytest.fixture
def server() -> Iterator[OneServer]:
    with one_server() as started:
        yield started


def two_runners(folder: Path, server: OneServer, seconds: float) -> dict[str, Any]:
    """A run of `USERS` users over two runner processes, six more every second. Returns its report."""
    load = constant(USERS, seconds)
    load["constant"]["spawn_rate"] = 6
    with Command(*master_argv(folder, host=server.url, load=load, runners=2), cwd=folder) as master:
        control = wait_for_json(folder / "ready", master)["control"]
        with (
            Command(*runner_argv(folder, control), cwd=folder) as one,
            Command(*runner_argv(folder, control, "--id", "runner-1"), cwd=folder) as other,
        ):
            assert (one.end(), other.end()) == (0, 0), one.output + other.output
        report = result(control)
        ask("POST", control, "/v1/result/acknowledged")
        assert master.end() == 0, master.output
        return report


def test_users_of_two_runners_meet_again_and_again_and_fire_together(
    server: OneServer, tmp_path: Path
) -> None:
    write(tmp_path, MEETING)
    report = two_runners(tmp_path, server, 12)
    buys = sorted(server.stamps["/buy"])
    rounds = [buys[first : first + USERS] for first in range(0, len(buys) - USERS + 1, USERS)]
    assert len(rounds) >= 2, buys
    assert max(server.stamps["/login"]) < buys[0], "nobody buys before the last one has logged in"
    for together in rounds:
        assert together[-1] - together[0] < TOGETHER, rounds
    for before, after in pairwise(rounds):
        # The lead alone takes a second and a half from the last one's coming.
        assert after[0] - before[-1] > 1.4, rounds
    assert report["user_errors"] == []


def test_a_semaphore_that_start_complete_releases_opens_on_both_runners_at_one_moment(
    server: OneServer, tmp_path: Path
) -> None:
    write(tmp_path, SEMAPHORE)
    two_runners(tmp_path, server, 8)
    buys = sorted(server.stamps["/buy"])
    assert len(buys) == USERS
    assert max(server.stamps["/login"]) < buys[0]
    assert buys[-1] - buys[0] < TOGETHER, buys


LATE = """
    import asyncio
    import aiotest
    from aiotest import AsyncHttpUser

    class TestBuyer(AsyncHttpUser):
        weight = 3
        wait_time = 0

        async def test_buy(self):
            await aiotest.rendezvous("sale")
            await self.session.get("/buy")

    class TestLate(AsyncHttpUser):
        async def test_buy(self):
            await self.session.get("/held")
            await aiotest.rendezvous("sale")
            await self.session.get("/buy")
            await asyncio.sleep(3600)
"""


class Sale:
    """Three users that wait at once and a fourth that the server holds, in two pods."""

    def __init__(self, folder: Path, server: OneServer) -> None:
        write(folder, LATE)
        self.server = server
        self.master = PodMaster(folder, host=server.url, load=constant(4, 90), runners=2)
        self.pods = [Command(*pod_argv(folder, self.master.control, name), cwd=folder) for name in ("a", "b")]

    def __enter__(self) -> Self:
        until("the late one is held", lambda: self.server.counts["/held"] == 1)
        until("all users live", lambda: self.master.users() == 4)
        return self

    def __exit__(self, *_: object) -> None:
        for pod in self.pods:
            pod.__exit__(None, None, None)
        self.master.__exit__(None, None, None)

    def has_bought(self, times: int) -> bool:
        return self.server.counts["/buy"] == times

    def end(self) -> list[str]:
        """Stop the load. Returns what the verdict says."""
        ask("POST", self.master.control, "/v1/stop", {"reason": "stopped"})
        for pod in self.pods:
            assert pod.end() == 0, pod.output
        reasons: list[str] = self.master.result()["verdict"]["reasons"]
        return reasons


def test_who_waits_in_a_process_that_dies_counts_no_more_until_it_has_come_again(
    server: OneServer, tmp_path: Path
) -> None:
    with Sale(tmp_path, server) as sale:
        # With its whole pod, so that no process comes back and takes users over again.
        lost = sale.pods.pop(0)
        lost.signal(signal.SIGKILL)
        lost.end()
        ask(
            "POST", sale.master.control, "/v1/departed-runner", {"runner": "a", "exit": "the pod was deleted"}
        )
        until("the master knows", lambda: sale.master.users() == 2, within=10)
        assert sale.has_bought(0), "the late one has not come"
        server.release.set()
        until("all four have bought", lambda: server.counts["/buy"] >= 4)
        # Were the dead ones taken for waiting, the others would have gone without them.
        buys = sorted(server.stamps["/buy"])
        assert (len(buys), buys[-1] - buys[0] < TOGETHER) == (4, True), buys


def test_a_master_that_is_killed_lets_nobody_go_on_twice(server: OneServer, tmp_path: Path) -> None:
    with Sale(tmp_path, server) as sale:
        sale.master.die()
        sale.master.start_again()
        until("it has heard from all", lambda: sale.master.users() == 4)
        assert sale.has_bought(0)
        server.release.set()
        until("all four have bought", lambda: sale.has_bought(4), within=20)
        # Three wait for the next round, which the fourth never comes to.
        sale.master.die()
        sale.master.start_again()
        until("it has heard from all", lambda: sale.master.users() == 4)
        time.sleep(4)
        assert sale.has_bought(4), "longer than it takes to let them go on"
        reasons = sale.end()
    assert "rendezvous `sale`, round 2: 3 of 4 users had come when the load stopped" in reasons
