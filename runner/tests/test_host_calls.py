"""Users with real calls, under a host: what a stop does to a call, and what is counted of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from aiotest import AsyncHttpUser, ClientSession, User, _native, events
from hosting import hosted, in_loop, until
from one_server import OneServer, one_server


@pytest.fixture
def server() -> Iterator[OneServer]:
    _native.take_statistics_json()
    with one_server() as running:
        yield running
        running.release.set()


def counted(name: str) -> dict[str, Any]:
    """What has been recorded under a name since this was last asked."""
    rows = json.loads(_native.take_statistics_json()).get("rows", [])
    (row,) = (row for row in rows if row["name"] == name) if rows else [{}]
    assert isinstance(row, dict)
    return row


def figures(row: dict[str, Any]) -> tuple[int, int, int, int]:
    """Requests, failures, aborted, sent."""
    return row["requests"], row["failures"], row["aborted"], row["sent"]


def a_class(server: OneServer, path: str, **more: Any) -> type[AsyncHttpUser]:
    """Users that get a path again and again."""

    class TestShop(AsyncHttpUser):
        host = server.url
        wait_time = 0.001
        stopped: int = 0
        after: int = 0

        async def test_it(self) -> None:
            async with self.session.get(path) as resp:
                await resp.read()
            type(self).after += 1

        async def on_stop(self) -> None:
            type(self).stopped += 1

    for name, value in more.items():
        setattr(TestShop, name, value)
    return TestShop


def test_a_user_inside_a_call_is_let_go_when_the_call_is_recorded(server: OneServer) -> None:
    users: Any = a_class(server, "/held")

    async def story() -> None:
        async with hosted(users, real=True) as it:
            it.native.do(("start", 0, 3))
            await until(lambda: server.counts["/held"] == 3)
            it.native.do(("retire", 0, 3))
            await asyncio.sleep(0.05)
            assert it.native.live == {0: 3}
            server.release.set()
            await it.native.until(lambda: it.native.live == {0: 0})
            assert it.native.dead == {0: 0}

    in_loop(story)
    assert users.stopped == 3
    assert figures(counted("/held")) == (3, 0, 0, 3)
    assert server.counts["/held"] == 3


def test_a_call_that_is_open_at_the_deadline_is_aborted_and_counts_as_neither_request_nor_failure(
    server: OneServer,
) -> None:
    users: Any = a_class(server, "/held")

    async def story() -> None:
        async with hosted(users, real=True) as it:
            it.native.do(("start", 0, 3))
            await until(lambda: server.counts["/held"] == 3)
            it.native.do(("drain", 0.1))
            await it.native.until(lambda: it.native.live == {0: 0})
            assert it.native.dead == {0: 0}
            assert it.native.of("user_error") == []

    in_loop(story)
    assert users.stopped == 3
    assert figures(counted("/held")) == (0, 0, 3, 3)


def test_on_stop_may_make_calls_and_nobody_else_starts_one_after_the_stop(server: OneServer) -> None:
    async def on_stop(self: AsyncHttpUser) -> None:
        async with self.session.get("/logout") as resp:
            assert resp.status == 200

    async def start(self: AsyncHttpUser) -> None:
        async def forever() -> None:
            while True:
                async with self.session.get("/ok") as resp:
                    await resp.read()

        await asyncio.gather(forever(), forever())

    users = a_class(server, "/ok", on_stop=on_stop, start=start)

    async def story() -> None:
        async with hosted(users, real=True) as it:
            it.native.do(("start", 0, 4))
            await until(lambda: server.counts["/ok"] > 50)
            it.native.do(("drain", 5.0))
            await it.native.until(lambda: it.native.live == {0: 0})
            sent = server.counts["/ok"]
            await asyncio.sleep(0.05)
            assert server.counts["/ok"] == sent
            assert it.native.dead == {0: 0}

    in_loop(story)
    assert server.counts["/logout"] == 4
    row = json.loads(_native.take_statistics_json())["rows"]
    by_name = {each["name"]: figures(each) for each in row}
    assert by_name["/logout"] == (4, 0, 0, 4)
    assert by_name["/ok"] == (server.counts["/ok"], 0, 0, server.counts["/ok"])


def test_a_refused_host_is_counted_and_the_user_goes_on(server: OneServer) -> None:
    users: Any = a_class(server, "/ok", host="http://127.0.0.1:1", seen=0)

    async def test_first(self: Any) -> None:
        type(self).seen += 1

    users.jobs = [test_first, *users.jobs]

    async def story() -> None:
        async with hosted(users, real=True) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: users.seen >= 3)
            assert it.native.of("user_error") == []
            it.native.do(("drain", 5.0))
            await it.native.until(lambda: it.native.live == {0: 0})
            assert it.native.dead == {0: 0}

    in_loop(story)
    row = counted("/ok")
    assert row["requests"] == row["failures"] >= 2
    assert row["sent"] == 0


def test_the_handlers_of_stats_request_are_awaited_on_leaving_the_block(server: OneServer) -> None:
    told: list[Any] = []

    async def on_stats_request(request_name: str, response_time: float, error: str | None) -> None:
        told.append((request_name, error, asyncio.current_task().get_name()))  # type: ignore[union-attr]
        assert response_time > 0

    events.stats_request += on_stats_request

    async def story() -> None:
        async with hosted(a_class(server, "/missing"), real=True) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: len(told) >= 2)
            it.native.do(("drain", 5.0))
            await it.native.until(lambda: it.native.live == {0: 0})

    in_loop(story)
    name, error, task = told[0]
    assert (name, task) == ("/missing", "TestShop")
    assert error is not None
    row = counted("/missing")
    assert row["requests"] == row["failures"] == len(told)


def test_a_session_of_the_users_own_making_is_retired_with_it(server: OneServer) -> None:
    class TestOwn(User):
        wait_time = 0.001

        async def on_start(self) -> None:
            self.session = ClientSession(base_url=server.url)

        async def test_it(self) -> None:
            async with self.session.get("/held") as resp:
                await resp.read()

    async def story() -> None:
        async with hosted(TestOwn, real=True) as it:
            it.native.do(("start", 0, 2))
            await until(lambda: server.counts["/held"] == 2)
            it.native.do(("drain", 0.1))
            await it.native.until(lambda: it.native.live == {0: 0})

    in_loop(story)
    assert figures(counted("/held")) == (0, 0, 2, 2)
