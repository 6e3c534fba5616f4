"""Content codings of replies: decoded when the scenario reads, whole or in pieces."""

from __future__ import annotations

import gzip
import sys
import zlib
from typing import Any

import brotli
import pytest
from aiotest.client import ClientSession
from aiotest.exception import ClientPayloadError
from call_server import Server, reply
from test_call import play

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PLAIN = b'{"words": "' + b"as many as it takes " * 5_000 + b'"}'


def raw_deflate(data: bytes) -> bytes:
    """Without zlib's wrapping, as many servers send it."""
    coder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return coder.compress(data) + coder.flush()


CODINGS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "raw deflate": raw_deflate,
    "br": brotli.compress,
    "zstd": zstd.compress,
}


def coded(name: str, data: bytes = PLAIN) -> bytes:
    """A reply in that coding."""
    head = f"Content-Type: application/json\r\nContent-Encoding: {name.rpartition(' ')[2]}\r\n"
    return reply(body=CODINGS[name](data), head=head)


@pytest.mark.parametrize("name", CODINGS)
def test_a_coded_body_is_read_as_what_it_was(name: str) -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        server.replies["/coded"] = coded(name)
        server.replies["/small"] = coded(name, b'{"a": 1}')
        server.replies["/empty"] = coded(name, b"")
        async with session.get("/coded") as response:
            assert await response.read() == PLAIN
            assert (await response.json())["words"].startswith("as many")
            assert response.headers["content-encoding"] == name.rpartition(" ")[2]
        async with session.get("/small") as response:
            assert await response.json() == {"a": 1}
        async with session.get("/empty") as response:
            assert await response.read() == b""
        async with session.get("/coded") as response:
            pieces = [piece async for piece in response.content.iter_chunked(1000)]
            assert b"".join(pieces) == PLAIN
            assert max(map(len, pieces)) <= 1000
        async with session.get("/coded") as response:
            first = await response.content.read(10)
            assert first + await response.content.read() == PLAIN
        async with session.head("/coded") as response:
            assert await response.read() == b""
        assert await (await session.get("/small")).text() == '{"a": 1}'

    recorded = play(scenario)
    assert recorded.total("failures") == 0


def test_what_is_counted_is_what_came() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        server.replies["/coded"] = coded("gzip")
        async with session.get("/coded") as response:
            await response.read()

    assert play(scenario).row("/coded")["bytes_received"] == len(gzip.compress(PLAIN))


def test_a_body_that_is_not_what_it_says_is_a_failure_of_the_call() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        head = "Content-Encoding: gzip\r\n"
        server.replies["/other"] = reply(body=b"<html>no such thing</html>", head=head)
        server.replies["/cut"] = reply(body=gzip.compress(PLAIN)[:-9], head=head)
        for path, said in (("/other", "is not in gzip"), ("/cut", "is cut short")):
            caught: list[str] = []
            async with session.get(path) as response:
                try:
                    await response.read()
                except ClientPayloadError as error:
                    caught.append(str(error))
                    raise
            assert said in caught[0]
            async with session.get(path) as response:
                async for _ in response.content.iter_any():
                    pass
        async with session.get("/other"):
            pass  # whoever does not read it has nothing to complain of

    recorded = play(scenario)
    assert [recorded.row(path)["failures"] for path in ("/other", "/cut")] == [2, 2]
    assert len(recorded.row("/other")["errors"]) == 1


def test_few_bytes_that_stand_for_many_are_refused() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        server.replies["/bomb"] = reply(
            body=brotli.compress(bytes(80_000_000)), head="Content-Encoding: br\r\n"
        )
        async with session.get("/bomb") as response:
            with pytest.raises(ClientPayloadError, match="more than 64 MiB"):
                await response.read()
            response.success()

    play(scenario)


def test_codings_that_are_not_known_and_those_that_are_not_wanted_are_left() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        body = gzip.compress(b"left")
        server.replies["/both"] = reply(body=body, head="Content-Encoding: gzip, br\r\n")
        server.replies["/gzip"] = reply(body=body, head="Content-Encoding: gzip\r\n")
        async with session.get("/both") as response:
            assert await response.read() == body
        async with ClientSession(server.url, auto_decompress=False) as plain, plain.get("/gzip") as response:
            assert await response.read() == body

    play(scenario)


def test_servers_are_told_what_is_taken() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        async def accepted(**given: Any) -> Any:
            async with session.get("/echo", **given) as response:
                return (await response.json())["headers"].get("accept-encoding")

        assert await accepted() == "gzip, deflate, br, zstd"
        assert await accepted(headers={"accept-encoding": "identity"}) == "identity"
        assert await accepted(skip_auto_headers=["Accept-Encoding"]) is None

    play(scenario)
