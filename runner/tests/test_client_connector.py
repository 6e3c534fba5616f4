"""Connections that sessions share, and sessions that users share."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import aiohttp
import pytest
from aiotest import AsyncHttpUser, ClientSession, ClientTimeout, TCPConnector, User
from aiotest.exception import ServerTimeoutError
from call_server import Recorded, Seen, Server, reply
from hosting import hosted, in_loop, until
from one_server import one_server
from test_call import play


async def get(session: ClientSession, path: str = "/") -> int:
    async with session.get(path) as response:
        await response.read()
    return response.status


def test_sessions_share_the_connections_of_their_connector_and_nothing_else() -> None:
    async def scenario(server: Server, own: ClientSession) -> None:
        connector = TCPConnector(limit=3)
        sessions = [ClientSession(server.url, connector=connector, cookies={"n": n}) for n in range(10)]
        for _ in range(5):
            assert await asyncio.gather(*(get(session) for session in sessions)) == [200] * 10
        assert (server.connections, server.open) == (3, 3)
        for session in sessions:
            await session.close()
        assert server.open == 3, "they are the connector's"
        assert {seen.headers["cookie"] for seen in server.seen} == {f"n={n}" for n in range(10)}
        await connector.close()
        await server.until(lambda: server.open == 0)

    recorded = play(scenario)
    assert (recorded.total("requests"), recorded.total("failures"), recorded.total("sent")) == (50, 0, 50)
    assert "queue" in dict(recorded.row("/")["phases"])


def test_a_connector_is_gone_with_whoever_holds_it() -> None:
    async def scenario(server: Server, own: ClientSession) -> None:
        session = ClientSession(server.url, connector=TCPConnector())
        connector = weakref.ref(TCPConnector())
        assert await get(session) == 200
        assert connector() is None
        del session
        gc.collect()
        await server.until(lambda: server.open == 0)

    play(scenario)


def test_a_call_in_the_queue_can_time_out_or_be_cancelled_and_holds_nobody_up() -> None:
    async def scenario(server: Server, own: ClientSession) -> None:
        session = ClientSession(server.url, connector=TCPConnector(limit=1))
        holder = asyncio.create_task(get(session, "/hang"))
        await server.until(lambda: len(server.seen) == 1)
        for timeout in [ClientTimeout(total=0.02), ClientTimeout(connect=0.02)]:
            with pytest.raises(ServerTimeoutError):
                await session.get("/late", timeout=timeout)
        waiting = [asyncio.create_task(get(session, f"/{n}")) for n in range(3)]
        await asyncio.sleep(0.01)
        waiting[0].cancel()
        assert len(server.seen) == 1
        server.release()
        assert await holder == 200
        assert await asyncio.gather(*waiting[1:]) == [404, 404]
        assert [seen.path for seen in server.seen] == ["/hang", "/1", "/2"]
        assert server.connections == 1

    recorded = play(scenario)
    assert recorded.row("/late")["sent"] == recorded.row("/0")["sent"] == 0
    assert recorded.row("/0")["errors"] == {"Cancelled": 1}
    assert recorded.row("/late")["failures"] == 2


def test_each_call_has_a_connection_of_its_own_where_that_is_asked_for() -> None:
    async def scenario(server: Server, own: ClientSession) -> None:
        session = ClientSession(server.url, connector=TCPConnector(force_close=True))
        for _ in range(4):
            assert await get(session) == 200
        await server.until(lambda: server.open == 0)
        assert server.connections == 4
        assert server.seen[0].headers["connection"] == "close"

    play(scenario)


def test_a_closed_connector_takes_no_call_and_says_so() -> None:
    async def scenario(server: Server, own: ClientSession) -> None:
        connector = TCPConnector(limit=1)
        session = ClientSession(server.url, connector=connector)
        holder = asyncio.create_task(get(session, "/hang"))
        await server.until(lambda: len(server.seen) == 1)
        waiting = asyncio.create_task(get(session))
        await asyncio.sleep(0.01)
        await connector.close()
        assert connector.closed
        with pytest.raises(aiohttp.ClientError):
            await waiting
        with pytest.raises(RuntimeError, match="Connector is closed"):
            session.get("/")
        server.release()
        assert await holder == 200
        await server.until(lambda: server.open == 0)

    play(scenario)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(
        TypeError,
        match=r"takes no argument `resolver` \(it takes limit, limit_per_host, force_close, keepalive",
    ):
        TCPConnector(resolver=None)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="limit must be a number of connections"):
        TCPConnector(limit=-1)
    with pytest.raises(TypeError, match="connector must be a TCPConnector, not int"):
        ClientSession(connector=7)  # type: ignore[arg-type]
    connector = TCPConnector(limit=0, force_close=True)
    assert (connector.limit, connector.force_close, connector.closed) == (0, True, False)
    assert (connector.limit_per_host, TCPConnector(limit_per_host=3).limit_per_host) == (0, 3)


def test_a_connector_of_aiohttp_stands_for_one_of_ours() -> None:
    async def scenario(server: Server, own: ClientSession) -> None:
        given = aiohttp.TCPConnector(limit=2)
        sessions = [ClientSession(server.url, connector=given) for _ in range(6)]
        await asyncio.gather(*(get(session) for session in sessions))
        assert server.connections == 2
        closing = ClientSession(server.url, connector=aiohttp.TCPConnector(force_close=True))
        await get(closing)
        await get(closing)
        assert server.connections == 4
        one = ClientSession(
            server.url, connector=aiohttp.TCPConnector(limit_per_host=1, keepalive_timeout=0.2)
        )
        await asyncio.gather(*(get(one) for _ in range(5)))
        assert server.connections == 5
        before = server.open
        await server.until(lambda: server.open == before - 1)

    play(scenario)


def test_headers_are_made_when_somebody_looks_and_are_sent_either_way() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        async def sent() -> Any:
            async with session.get("/echo") as response:
                return (await response.json())["headers"]

        before = await sent()
        assert before["accept"] == "*/*"
        assert session.headers["Accept"] == "*/*"
        assert session.headers is session.headers
        assert await sent() == before
        session.headers["X-Late"] = "1"
        assert await sent() == before | {"x-late": "1"}
        other = ClientSession(server.url)
        assert "X-Late" not in other.headers

    play(scenario)


def test_a_session_of_all_users_outlives_each_of_them_and_its_calls_are_theirs() -> None:
    async def story() -> None:
        with one_server() as server:
            shared = ClientSession(base_url=server.url)

            class TestHeld(User):
                session = shared

                async def test_held(self) -> None:
                    async with self.session.get("/held") as response:
                        await response.read()

            class TestOther(AsyncHttpUser):
                wait_time = 0.001

                def __init__(self) -> None:
                    super().__init__()
                    self.session = shared

                async def test_other(self) -> None:
                    async with self.session.get("/other") as response:
                        await response.read()

            TestHeld.wait_time = 0
            Recorded()
            async with hosted(TestHeld, TestOther, real=True) as it:
                it.native.do(("start", 0, 2), ("start", 1, 2))
                await until(lambda: server.counts["/held"] == 2 and server.counts["/other"] > 5)
                # Its call is the user's own, so its stop waits for it.
                it.native.do(("retire", 0, 1), ("retire", 1, 1))
                before = server.counts["/other"]
                await until(lambda: before + 5 < server.counts["/other"])
                assert not shared.closed
                server.release.set()
                await until(lambda: server.counts["/held"] > 3)
                it.native.do(("drain", 5.0))
                await it.end()
            assert not shared.closed
            await shared.close()
            recorded = Recorded()
            assert recorded.errors() == {}
            assert recorded.total("sent") == server.counts.total()

    in_loop(story)


def test_connections_come_from_several_addresses_in_turn() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        peers: list[str] = []

        async def note(seen: Seen, writer: asyncio.StreamWriter) -> None:
            peers.append(writer.get_extra_info("peername")[0])
            writer.write(reply(body=b"ok"))

        server.handlers["/note"] = note
        for given in (["127.0.0.2", "127.0.0.3"], ("127.0.0.4", 0)):
            connector = TCPConnector(force_close=True, local_addr=given)
            async with ClientSession(server.url, connector=connector) as mine:
                for _ in range(4):
                    await (await mine.get("/note")).read()
        assert sorted(peers[:4]) == ["127.0.0.2"] * 2 + ["127.0.0.3"] * 2
        assert peers[4:] == ["127.0.0.4"] * 4
        theirs = aiohttp.TCPConnector(local_addr=("127.0.0.5", 0))
        async with ClientSession(server.url, connector=theirs) as mine:
            await (await mine.get("/note")).read()
        await theirs.close()
        assert peers[-1] == "127.0.0.5"

    play(scenario)


def test_an_address_of_another_machine_is_the_generators_own_fault() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        connector = TCPConnector(local_addr=("192.0.2.1", 0))
        async with ClientSession(server.url, connector=connector) as mine:
            with pytest.raises(aiohttp.ClientConnectorError, match="source address of no interface"):
                await mine.get("/")

    row = play(scenario).row("/")
    assert (row["generator_faults"], row["requests"], row["failures"]) == (1, 0, 0)


@pytest.mark.parametrize("given", ["10.0.0.1", ["here"], [], ("10.0.0.1", -1), 7])
def test_what_is_no_local_address_is_said_at_once(given: Any) -> None:
    with pytest.raises(ValueError, match="local_addr must be a pair of an address of this machine"):
        TCPConnector(local_addr=given)


@pytest.mark.parametrize("http2", [False, True, "prior-knowledge"])
def test_a_new_connection_for_each_call_is_waited_for_whatever_is_spoken(http2: Any) -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        connector = TCPConnector(limit=2, force_close=True, http2=http2)
        async with ClientSession(server.url, connector=connector) as mine:
            calls = [get(mine) for _ in range(10)] if http2 != "prior-knowledge" else []
            assert await asyncio.gather(*calls) == [200] * len(calls)
            if http2 == "prior-knowledge":
                # This server speaks none: what counts is that each call has its turn, and an end.
                ends = await asyncio.gather(*(get(mine) for _ in range(10)), return_exceptions=True)
                assert len(ends) == 10

    play(scenario)
