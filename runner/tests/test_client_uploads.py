"""Bodies that are sent while they are made: as aiohttp sends them, and what only ours promises."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiotest.client import ClientSession
from both_clients import arrived, both
from call_server import Recorded, Seen, Server, reply
from test_call import play


async def pieces(*of: bytes) -> AsyncIterator[bytes]:
    """One after the other, with a turn of the loop between."""
    for piece in of:
        yield piece
        await asyncio.sleep(0)


def stream(data: bytes) -> asyncio.StreamReader:
    """A reader that has this to read."""
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


BODIES: dict[str, Any] = {
    "pieces": lambda: {"data": pieces(b"a", b"", b"bc" * 50_000)},
    "nothing": lambda: {"data": pieces()},
    "empty pieces": lambda: {"data": pieces(b"", b"")},
    "a reader": lambda: {"data": stream(b"line\nline")},
    "its length": lambda: {"data": pieces(b"abc", b"def"), "headers": {"Content-Length": "6"}},
    "its type": lambda: {"data": pieces(b"{}"), "headers": {"Content-Type": "application/json"}},
}
HEADERS = ("content-type", "content-length", "transfer-encoding", "content-encoding")


@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
@pytest.mark.parametrize("kind", BODIES)
def test_a_streamed_body_arrives_the_same(kind: str, method: str) -> None:
    async def main() -> tuple[Any, Any]:
        async def plays(session: Any) -> Any:
            seen = await arrived(session.request(method, "/echo", **BODIES[kind]()))
            return seen["body"], {name: seen["headers"].get(name) for name in HEADERS}

        async with asyncio.timeout(20), Server() as server:
            return await both(server, plays)

    mine, theirs = asyncio.run(main())
    assert mine == theirs


@pytest.mark.parametrize(("compress", "decode"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_a_streamed_body_is_compressed(compress: Any, decode: Any) -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        await (await session.post("/echo", data=pieces(b"ab" * 40_000, b"c"), compress=compress)).read()
        assert decode(server.seen[0].body) == b"ab" * 40_000 + b"c"
        assert server.seen[0].headers["content-encoding"] == compress

    play(scenario)


def test_a_reply_is_sent_on_as_it_is_read() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        server.replies["/from"] = reply(body=b"x" * 300_000 + b"\ny")
        async with session.get("/from") as response, session.post("/echo", data=response.content) as sent:
            await sent.read()
        assert server.seen[1].body == b"x" * 300_000 + b"\ny"

    play(scenario)


def test_a_server_that_does_not_read_holds_the_scenario_back() -> None:
    taken = 0

    async def many() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield b"x" * 100_000

    async def scenario(server: Server, session: ClientSession) -> None:
        let_go = asyncio.Event()
        got = 0

        async def reads_late(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal got
            await let_go.wait()
            while (data := await reader.read(1 << 20)) != b"":
                got += len(data)
                if data.endswith(b"0\r\n\r\n"):
                    break
            writer.write(reply(body=b"thanks"))
            await writer.drain()

        # With a length of 0, so that the server leaves the body to the talk.
        server.talks["/late"] = reads_late
        call = asyncio.ensure_future(session.post("/late", data=many(), headers={"Content-Length": "0"}))
        await asyncio.sleep(0.3)
        assert taken < 200, "as much as the kernel's buffers hold"
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        let_go.set()

    assert play(scenario).errors() == {"Cancelled": 1}


def test_a_reply_before_the_end_of_the_body_ends_the_call() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 10_000
                await asyncio.sleep(0.001)
        finally:
            closed.set()

    async def scenario(server: Server, session: ClientSession) -> None:
        async def refuses(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(reply("413 Too Large", b"no more"))
            await writer.drain()
            await reader.read(100_000)

        server.talks["/refuses"] = refuses
        async with session.post("/refuses", data=endless(), headers={"Content-Length": "0"}) as response:
            assert (response.status, await response.read()) == (413, b"no more")
        async with asyncio.timeout(5):
            await closed.wait()
        async with session.get("/") as response:
            assert response.status == 200, "on another connection"

    recorded = play(scenario)
    assert recorded.errors() == {"413 Content Too Large": 1}
    assert recorded.total("sent") == 2


@pytest.mark.parametrize(
    ("piece", "said"),
    [("text", "TypeError: data: a generator's pieces must be bytes"), (None, "ValueError: dry")],
)
def test_a_generator_that_fails_fails_its_call(piece: Any, said: str) -> None:
    async def breaks() -> AsyncIterator[Any]:
        yield b"ab"
        if piece is None:
            raise ValueError("dry")
        yield piece

    async def scenario(server: Server, session: ClientSession) -> None:
        with pytest.raises(aiohttp.ClientConnectionError, match=f"upload failed: {said}"):
            await session.post("/echo", data=breaks())
        async with session.get("/") as response:
            assert response.ok

    recorded = play(scenario)
    assert recorded.errors() == {"upload failed": 1}
    assert recorded.total("sent") == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_no_streamed_body_along(status: int) -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        server.replies["/moved"] = reply(f"{status} Moved", head="Location: /echo\r\n")
        call = session.post("/moved", data=pieces(b"a", b"b"))
        if status < 307:
            async with call as response:
                assert (await response.json())["method"] == "GET"
                assert (await response.json())["body"] == ""
                assert "transfer-encoding" not in (await response.json())["headers"]
        else:
            with pytest.raises(aiohttp.ClientConnectionError, match="a streamed body cannot be sent again"):
                await call

    recorded = play(scenario)
    assert recorded.total("sent") == (2 if status < 307 else 1)


def test_a_call_that_is_cancelled_lets_its_generator_go() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            try:
                while True:
                    begun.set()
                    yield b"x"
                    await asyncio.sleep(0.01)
            finally:
                ended.set()

        call = asyncio.ensure_future(session.post("/echo", data=slow()))
        await begun.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        async with asyncio.timeout(5):
            await ended.wait()

    assert play(scenario).errors() == {"Cancelled": 1}


def test_it_goes_over_http_1_where_the_session_speaks_http_2() -> None:
    async def main() -> None:
        async with (
            Server() as server,
            ClientSession(server.url, http2="prior-knowledge") as session,
            session.post("/echo", data=pieces(b"a", b"b")) as response,
        ):
            assert (await response.json())["body"] == "ab"

    asyncio.run(main())


def test_nobody_to_connect_to_asks_for_no_piece() -> None:
    asked = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal asked
        asked += 1
        yield b"x"

    async def main() -> None:
        async with ClientSession("http://127.0.0.1:1") as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.post("/", data=counted())
            await asyncio.sleep(0.01)

    Recorded()
    asyncio.run(main())
    assert asked == 0
    assert Recorded().total("sent") == 0
