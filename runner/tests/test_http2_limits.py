"""HTTP/2: what a server may not do to a call, and what ends the load."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import h2.events
import pytest
from aiotest import AsyncHttpUser, ClientSession
from aiotest.exception import ClientError, ClientPayloadError
from call_server import Recorded
from hosting import hosted, in_loop
from http2_server import Peer, Seen, Server
from test_http2 import get, play

MEBIBYTE = 1 << 20


@pytest.mark.parametrize("count", [32, 33])
def test_a_flood_of_interim_replies_fails_its_call_alone(count: int) -> None:
    async def flood(peer: Peer, stream: int, seen: Seen) -> None:
        for _ in range(count):
            peer.h2.send_headers(stream, [(":status", "103"), ("link", "</a>")])
        await peer.answer(stream, seen)

    async def scenario(server: Server, session: ClientSession) -> None:
        server.handlers["/echo"] = flood
        if count == 32:
            assert (await get(session, "/echo"))[0] == 200
        else:
            with pytest.raises(ClientError, match="too many interim replies"):
                await session.get("/echo")
        assert await get(session) == (200, b'{"ok": true}')
        assert server.connections == 1

    recorded = play(scenario)
    assert recorded.errors() == ({} if count == 32 else {"too many interim replies": 1})
    assert recorded.total("sent") == recorded.total("requests") == 2


def test_a_body_that_is_too_large_to_be_read_whole_fails_its_call_and_can_be_had_in_pieces() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        path = f"/big/{65 * MEBIBYTE}"
        with pytest.raises(ClientPayloadError, match="64 MiB"):
            await get(session, path)
        assert await get(session) == (200, b'{"ok": true}')
        assert server.connections == 1
        response = await session.get(path)
        assert sum([len(piece) async for piece in response.content.iter_chunked(MEBIBYTE)]) == 65 * MEBIBYTE

    play(scenario)


def test_a_redirect_to_another_host_is_the_same_as_over_http1() -> None:
    """The other host gets no credentials of the first, and over HTTP/2 has a connection of its own."""
    asked: list[list[Any]] = []

    async def scenario(first: Server, http2: ClientSession) -> None:
        async with Server() as second, ClientSession(first.url) as http1:
            # As the address is the same, another name makes it another host.
            there = second.url.replace("127.0.0.1", "localhost") + "/echo"
            for session in [http1, http2]:
                credentials = {"Authorization": "Basic YTpi", "Cookie": "own=1", "X-Kept": "yes"}
                for code in [302, 307]:
                    first.redirects[f"/{code}"] = (code, there)
                    response = await session.post(f"/{code}", data=b"body", headers=credentials)
                    assert [each.status for each in response.history] == [code]
                    assert str(response.url) == there
                asked.append([_without_ports(seen, second.port) for seen in second.seen])
                second.seen.clear()
            assert len(first.peers) == len(second.peers) == 1

    recorded = play(scenario)
    assert asked[0] == asked[1]
    assert [seen["method"] for seen in asked[0]] == ["GET", "POST"]
    for seen in asked[0]:
        assert "authorization" not in seen["headers"]
        assert seen["headers"]["x-kept"] == "yes"
    assert recorded.total("sent") == 8
    assert recorded.total("requests") == 4


def _without_ports(seen: Seen, port: int) -> dict[str, Any]:
    headers = {name: value for name, value in seen.headers if name not in {"host", "connection"}}
    authority = seen.authority.replace(str(port), "port")
    return {"method": seen.method, "authority": authority, "headers": headers, "body": seen.body}


@pytest.mark.parametrize("whose", ["own", "shared"])
def test_what_ends_the_load_ends_streams_and_the_connections_of_users(
    whose: Literal["own", "shared"],
) -> None:
    async def hang(peer: Peer, stream: int, seen: Seen) -> None:
        await asyncio.Event().wait()

    async def in_body(peer: Peer, stream: int, seen: Seen) -> None:
        peer.h2.send_headers(stream, [(":status", "200"), ("content-length", "100")])
        peer.h2.send_data(stream, b"some")
        peer.flush()
        await asyncio.Event().wait()

    async def story() -> None:
        async with Server() as server:
            server.handlers |= {"/hang": hang, "/part": in_body}

            class TestHanging(AsyncHttpUser):
                host = server.url
                wait_time = 0
                http2 = "prior-knowledge"
                connections = whose

                async def test_wait(self) -> None:
                    await asyncio.gather(self.session.get("/hang"), self.read())

                async def read(self) -> None:
                    async with self.session.get("/part") as response:
                        await response.read()

            async with hosted(TestHanging, real=True) as it:
                it.native.do(("start", 0, 3))
                await server.until(lambda: server.requests.total() == 6)
                it.native.do(("drain", 0.1))
                await it.native.until(lambda: it.native.live == {0: 0})
                assert it.native.dead == {0: 0}
                if whose == "own":
                    await server.until(lambda: server.open == 0)
                else:
                    (peer,) = server.peers
                    await server.until(lambda: peer.count(h2.events.StreamReset) == 6)

    Recorded()
    in_loop(story)
    recorded = Recorded()
    assert recorded.total("sent") == 6
    assert (recorded.total("requests"), recorded.total("failures"), recorded.total("aborted")) == (0, 0, 6)
