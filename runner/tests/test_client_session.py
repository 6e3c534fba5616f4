"""Keywords of a session and a call that change what goes over the wire: as aiohttp has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiotest.client import ClientSession, TCPConnector
from call_server import Recorded, Seen, Server, reply
from test_call import play
from yarl import URL


@asynccontextmanager
async def serving(asked: list[str]) -> AsyncIterator[str]:
    """A server that asks for a body at `/wanted` and does not at `/refused`; it notes what it was sent."""

    async def wanted(request: web.Request) -> web.Response:
        body = await request.read()
        asked.append(f"{request.headers.get('Expect')} {request.headers.get('Content-Length')} {len(body)}")
        return web.Response(text=str(len(body)))

    async def refuse(request: web.Request) -> web.Response:
        asked.append("refused")
        return web.Response(status=417)

    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/wanted", wanted)
    app.router.add_post("/refused", wanted, expect_handler=refuse)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
    finally:
        await runner.cleanup()


async def pieces() -> AsyncIterator[bytes]:
    yield b"ab"
    yield b"c"


@pytest.mark.parametrize(
    "options",
    [
        {"data": b"x" * 300_000},
        {"json": {"a": 1}},
        {"data": {"a": "b"}},
        {"data": b"abc", "compress": True},
        {},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/wanted", "/refused"])
def test_a_body_that_is_expected_arrives_the_same(path: str, options: dict[str, Any]) -> None:
    async def main() -> None:
        outcomes = []
        for kind in (ClientSession, aiohttp.ClientSession):
            asked: list[str] = []
            async with serving(asked) as url, kind(url) as session, asyncio.timeout(20):
                async with session.post(path, expect100=True, **options) as response:
                    outcomes.append((response.status, await response.text(), asked))
                async with session.post("/wanted", data=b"abc") as response:
                    assert await response.text() == "3"
        if options:
            assert outcomes[0] == outcomes[1]
        else:
            assert outcomes[0][0] == 200, "without a body there is nothing to wait for"

    asyncio.run(main())


def test_a_streamed_body_is_held_back_until_it_is_wanted() -> None:
    async def main() -> None:
        asked: list[str] = []
        async with serving(asked) as url, ClientSession(url) as session, asyncio.timeout(20):
            headers = {"Expect": "100-continue"}
            async with session.post("/wanted", data=pieces(), headers=headers, expect100=True) as response:
                assert await response.text() == "3"

    asyncio.run(main())


@pytest.mark.parametrize("version", [aiohttp.HttpVersion10, aiohttp.HttpVersion11])
def test_the_version_stands_in_the_request(version: Any) -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        lines: list[bytes] = []

        async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            lines.append(await reader.readline())
            while (await reader.readline()).strip():
                pass
            writer.write(reply(body=b"ok"))
            writer.close()

        raw = await asyncio.start_server(note, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{raw.sockets[0].getsockname()[1]}"
        async with ClientSession(url, version=version) as mine, mine.get("/a") as response:
            assert await response.text() == "ok"
        raw.close()
        assert lines == [f"GET /a HTTP/{version.major}.{version.minor}\r\n".encode()]

    play(scenario)


def test_what_a_jar_holds_is_taken_over() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        jar = aiohttp.CookieJar(unsafe=True)
        jar.update_cookies({"a": "1", "b": "two"}, URL(server.url))
        jar.update_cookies({"elsewhere": "3"}, URL("http://127.0.0.9/"))
        jar.update_cookies({"everywhere": "4"})
        async with ClientSession(server.url, cookie_jar=jar) as mine, mine.get("/echo") as response:
            sent = (await response.json())["headers"]["cookie"]
        assert sorted(sent.split("; ")) == ["a=1", "b=two", "everywhere=4"]

    play(scenario)


def test_with_a_dummy_no_cookie_is_kept() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        server.replies["/set"] = reply(head="Set-Cookie: a=1\r\n")
        async with ClientSession(server.url, cookie_jar=aiohttp.DummyCookieJar()) as mine:
            await (await mine.get("/set")).read()
            async with mine.get("/echo") as response:
                assert "cookie" not in (await response.json())["headers"]

    play(scenario)


def test_a_call_says_how_much_of_its_body_is_read_ahead() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        left = asyncio.Event()

        async def large(seen: Seen, writer: asyncio.StreamWriter) -> None:
            writer.write(reply(body=b"x" * 50_000_000))
            try:
                await writer.drain()
            finally:
                left.set()

        server.handlers["/large"] = large
        async with session.get("/large", read_bufsize=1000) as response:
            await asyncio.sleep(0.1)
            assert not left.is_set(), "it was read without being asked for"
            assert len(await response.read()) == 50_000_000

    recorded = play(scenario)
    assert recorded.row("/large")["requests"] == 1


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"version": (2, 0)}, "version must be HttpVersion10 or HttpVersion11"),
        ({"cookie_jar": {}}, "cookie_jar must be aiohttp's CookieJar or DummyCookieJar"),
        ({"trace_configs": []}, "ClientSession takes no argument `trace_configs`"),
    ],
)
def test_a_wrong_argument_is_named(keywords: dict[str, Any], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        ClientSession("http://127.0.0.1", **keywords)


def test_a_given_connector_is_never_closed() -> None:
    async def main() -> None:
        connector = TCPConnector()
        for owner in (True, False):
            async with ClientSession("http://127.0.0.1", connector=connector, connector_owner=owner):
                pass
            assert not connector.closed

    Recorded()
    asyncio.run(main())
