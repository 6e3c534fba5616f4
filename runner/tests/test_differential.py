"""The same calls through our client and through aiohttp, compared field by field: what a scenario sees of a
reply, and what the server sees of a request. What differs on purpose stands in a table, with its reason.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import itertools
import zlib
from collections.abc import Callable
from email.message import Message
from email.parser import BytesParser
from functools import partial
from types import FunctionType
from typing import Any

import aiohttp
import brotli
import pytest
from aiotest.client import FormData
from both_clients import arrived, both, told
from call_server import Seen, Server, reply
from yarl import URL

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning:aiohttp", "ignore:BasicAuth is deprecated", "ignore:The 'auth' parameter"
    ),
]

DIFFERENCES = {
    (
        "request",
        "path to be quoted",
    ): "a space in a query is %20, which every server reads as a space; aiohttp's is +",
    (
        "form",
        "a name with quotes",
    ): "only quotes and backslashes are escaped in a name; aiohttp escapes spaces, too",
    (
        "cookie",
        "a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    ): "it has expired; aiohttp takes that second for no date",
    ("cookie", "a="): "a value is sent back as it came; aiohttp writes quotes around it",
    ("cookie", "a=b=c"): "a value is sent back as it came; aiohttp writes quotes around it",
    (
        "names",
        "a cookie; Domain=SHOP.test; Path=/echo",
    ): "a domain is the same in any case; aiohttp takes it for another one",
    (
        "fault",
        "a bad chunk size",
    ): "a fault in a body is a ClientPayloadError; aiohttp's depends on the packets",
}
"""What differs on purpose, by test and case, with the reason."""

DIFFERENT_HEADERS = {
    "user-agent": "names the tool",
    "accept-encoding": "ours decodes br and zstd without further packages",
}
"""Headers of a request that differ on purpose, with the reason."""


def check(test: str, case: str, ours: object, theirs: object) -> None:
    """They are equal, unless the table says that they differ; then they do."""
    if (test, case) in DIFFERENCES:
        assert ours != theirs, "the table of differences has a row too many"
    else:
        assert ours == theirs


def in_pieces(body: bytes, sizes: list[int], trailer: bytes = b"") -> bytes:
    """A body in chunks of these sizes, over and over."""
    out, at = b"", 0
    for size in itertools.cycle(sizes):
        if len(body) <= at:
            break
        piece = body[at : at + size]
        out += f"{len(piece):X};note=x\r\n".encode() + piece + b"\r\n"
        at += size
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + out + b"0\r\n" + trailer + b"\r\n"


JSON = "Content-Type: application/json\r\n"
REPLIES: dict[str, bytes] = {
    "plain": reply(body=b"hello", head="Content-Type: text/plain\r\n"),
    "json": reply(body=b'{"a": [1, 2.5, null]}', head=JSON),
    "empty": reply(),
    "no-content": b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
    "not-modified": b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 77\r\n\r\n",
    "early": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    + reply(body=b"late"),
    "no-reason": b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
    "long-reason": b"HTTP/1.1 599 Any words of the server's\r\nContent-Length: 2\r\n\r\nno",
    "twice": reply(body=b"x", head="X-A: one\r\nX-A: two\r\nx-a: three\r\n"),
    "folded": b"HTTP/1.1 200 OK\r\nX-A: one\r\n two\r\n\tthree\r\nContent-Length: 1\r\n\r\nx",
    "spaced": reply(body=b"x", head="X-A:   padded   \r\nX-B:\r\nX-C:\tTab\t\r\n"),
    "latin": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX-A: caf\xc3\xa9\r\nX-B: caf\xe9\r\n\r\nx",
    "chunked": in_pieces(b"some words in pieces", [3, 1, 7]),
    "one-byte-chunks": in_pieces(b"z" * 300, [1]),
    "trailers": in_pieces(b"body", [2], b"X-Sum: 12\r\nX-More: y\r\n"),
    "to-the-close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
    "http-1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nold",
    "charset": reply(body="grün".encode("latin-1"), head="Content-Type: text/plain; charset=ISO-8859-1\r\n"),
    "charset-quoted": reply(body="ü".encode(), head='Content-Type: text/html; charset="utf-8"; x=y\r\n'),
    "type-only": reply(body=b"x", head="Content-Type: Image/PNG\r\n"),
    "type-odd": reply(body=b"x", head="Content-Type: nonsense\r\n"),
    "cookies": reply(body=b"x", head="Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=two; HttpOnly\r\n"),
    "cookie-quoted": reply(body=b"x", head='Set-Cookie: a="b c"; Path=/; Max-Age=100\r\n'),
    "gzip": reply(body=gzip.compress(b"small"), head="Content-Encoding: gzip\r\n"),
    "gzip-empty": reply(body=gzip.compress(b""), head="Content-Encoding: gzip\r\n"),
    "deflate": reply(body=zlib.compress(b"small"), head="Content-Encoding: deflate\r\n"),
    "br": reply(body=brotli.compress(b"small"), head="Content-Encoding: BR\r\n"),
    "identity": reply(body=b"as it is", head="Content-Encoding: identity\r\n"),
    "other-coding": reply(body=b"as it is", head="Content-Encoding: made-up\r\n"),
    "gzip-chunked": in_pieces(gzip.compress(b"w" * 9000), [20]).replace(
        b"OK\r\n", b"OK\r\nContent-Encoding: gzip\r\n", 1
    ),
    **{
        f"status-{status}": reply(f"{status} Word", b"body")
        for status in (201, 202, 206, 400, 401, 404, 418, 500, 503)
    },
    **{f"large-{size}": reply(body=bytes(range(256)) * (size // 256)) for size in (1024, 65_536, 262_144)},
}
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]


def without_a_body(whole: bytes) -> bytes:
    """The same to HEAD: interim replies and the head."""
    heads, rest, interim = b"", whole, True
    while interim:
        head, _, rest = rest.partition(b"\r\n\r\n")
        heads += head + b"\r\n\r\n"
        interim = head.startswith(b"HTTP/1.1 1")
    return heads


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_is_the_same_to_every_method(name: str) -> None:
    async def compare() -> None:
        async with Server() as server:
            server.replies["/it"] = REPLIES[name]
            for method in METHODS:
                if method == "HEAD":
                    server.replies["/it"] = without_a_body(REPLIES[name])
                ours, theirs = await both(server, partial(reply_of, method))
                assert ours == theirs, method

    asyncio.run(compare())


async def reply_of(method: str, session: Any) -> Any:
    return await told(session.request(method, "/it"))


def requests() -> dict[str, dict[str, Any]]:
    """Keywords of calls that the server is asked to tell what it saw of."""
    return {
        "nothing": {},
        "bytes": {"data": b"bytes\x00\xff"},
        "empty bytes": {"data": b""},
        "bytearray": {"data": bytearray(b"array")},
        "memoryview": {"data": memoryview(b"view")},
        "text": {"data": "text with ü"},
        "mapping": {"data": {"a": "1", "b": "x y&=+"}},
        "mapping of numbers": {"data": {"a": 1, "b": 2.5}},
        "pairs": {"data": [("a", "1"), ("a", "2")]},
        "ours, urlencoded": {"data": FormData({"a": "1", "b": "ü"})},
        "json": {"json": {"a": [1, 2.5, None, True, "ü", "\u2028"]}},
        "json of nothing": {"json": None},
        "json text": {"json": "text"},
        "own type": {"data": "<a/>", "headers": {"Content-Type": "text/xml"}},
        "headers": {"headers": {"X-A": "1", "accept": "text/html"}},
        "header pairs": {"headers": [("X-A", "1"), ("X-B", "2")]},
        "no user agent": {"skip_auto_headers": ["User-Agent", "Accept"]},
        "no type": {"data": b"x", "skip_auto_headers": ["content-type"]},
        "params": {"params": {"a": "1", "b": "x y"}},
        "params in pairs": {"params": [("a", "1"), ("a", "2")]},
        "params as text": {"params": "a=1&b=2"},
        "params of numbers": {"params": {"n": 1, "f": 2.5}},
        "cookies": {"cookies": {"a": "1", "b": "two"}},
        "auth": {"auth": lambda: aiohttp.BasicAuth("user", "päss")},
        "auth, no password": {"auth": lambda: aiohttp.BasicAuth("user")},
        "gzip": {"data": b"word " * 100, "compress": "gzip"},
        "deflate": {"data": b"word " * 100, "compress": True},
        "chunked": {"data": b"some words", "chunked": True},
        "chunked json": {"json": {"a": 1}, "chunked": True},
        "file": {"data": lambda: io.BytesIO(b"content")},
        "text file": {"data": lambda: io.StringIO("content ü")},
        "url object": {"path": URL("/echo?x=%20y")},
        "query": {"path": "/echo?a=1&b=%26"},
        "query and params": {"path": "/echo?a=1", "params": {"b": "2"}},
        "path to be quoted": {"path": "/echo?q=ü x"},
        "fragment": {"path": "/echo?a#part"},
        "dots": {"path": "/a/../echo"},
    }


def plain(seen: dict[str, Any]) -> dict[str, Any]:
    """What a server makes of it: a coding undone, and what differs on purpose left out."""
    headers = {name: value for name, value in seen["headers"].items() if name not in DIFFERENT_HEADERS}
    body = seen["body"].encode("latin-1")
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    elif headers.get("content-encoding") == "deflate":
        body = zlib.decompress(body)
    return {**seen, "headers": headers, "body": body}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("name", requests())
def test_a_request_arrives_the_same(name: str, method: str) -> None:
    given = dict(requests()[name])
    path = given.pop("path", "/echo")

    async def play(session: Any) -> Any:
        fresh = {key: value() if isinstance(value, FunctionType) else value for key, value in given.items()}
        if isinstance(fresh.get("data"), FormData) and isinstance(session, aiohttp.ClientSession):
            fresh["data"] = aiohttp.FormData({"a": "1", "b": "ü"})
        return plain(await arrived(session.request(method, path, **fresh)))

    async def compare() -> None:
        async with Server() as server:
            check("request", name, *await both(server, play))

    asyncio.run(compare())


def test_requests_one_after_the_other_arrive_the_same() -> None:
    """Nothing of a request is left for the next one of its session."""

    async def play(session: Any) -> Any:
        seen = []
        for _ in range(2):
            for data in (b"", b"some", None, "text", b"", b"more", {"a": "1"}):
                for method in ("POST", "GET", "PUT"):
                    options = {"chunked": True} if data == b"more" else {}
                    call = session.request(method, "/echo", data=data, **options)
                    seen.append(plain(await arrived(call)))
        return seen

    async def compare() -> None:
        async with Server() as server:
            ours, theirs = await both(server, play)
            assert ours == theirs

    asyncio.run(compare())


def parts(seen: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The parts of a form as a server reads them."""
    kind = seen["headers"]["content-type"]
    assert kind.startswith("multipart/form-data; boundary=")
    message = BytesParser().parsebytes(
        f"Content-Type: {kind}\r\n\r\n".encode() + seen["body"].encode("latin-1")
    )

    def part(each: Message) -> tuple[Any, ...]:
        disposition = each.get("content-disposition")
        return disposition, each.get_content_type(), each.get_content_charset(), each.get_payload(decode=True)

    return [part(each) for each in message.get_payload()]  # type: ignore[arg-type]


class Named(io.BytesIO):
    """A file as `open` gives it, as far as anybody asks."""

    def __init__(self, name: str, content: bytes) -> None:
        super().__init__(content)
        self.name = name


FORMS: dict[str, Callable[[Any], Any]] = {
    "a file": lambda form: {"upload": Named("folder/picture.png", b"\x89PNG\r\n\x1a\n")},
    "a file and fields": lambda form: {"a": "1", "upload": Named("notes.txt", b"words"), "b": "ü"},
    "a file without a name": lambda form: {"upload": io.BytesIO(b"content")},
    "an odd name": lambda form: {"upload": Named('x/ö "q" &.txt', b"words")},
    "fields in parts": lambda form: filled(form, ("a", "1", {"content_type": "text/html"})),
    "a named text": lambda form: filled(
        form, ("a", "1,2", {"filename": "t.csv", "content_type": "text/csv"})
    ),
    "bytes": lambda form: filled(form, ("a", b"\x00\xff", {"filename": "a.bin"})),
    "the same name twice": lambda form: filled(
        form, ("a", io.BytesIO(b"1"), {"filename": "1"}), ("a", io.BytesIO(b"2"), {"filename": "2"})
    ),
    "a name with quotes": lambda form: filled(form, ('a "b" \\c', b"x", {"filename": "f"})),
}


def filled(form: Any, *fields: tuple[str, Any, dict[str, str]]) -> Any:
    for name, value, options in fields:
        form.add_field(name, value, **options)
    return form


@pytest.mark.parametrize("taken", ["its own", "aiohttp's"])
@pytest.mark.parametrize("name", FORMS)
def test_a_form_arrives_in_the_same_parts(name: str, taken: str) -> None:
    async def play(session: Any) -> Any:
        own = isinstance(session, aiohttp.ClientSession) or taken == "aiohttp's"
        form: Any = aiohttp.FormData() if own else FormData()
        return parts(await arrived(session.post("/echo", data=FORMS[name](form))))

    async def compare() -> None:
        async with Server() as server:
            check("form", name, *await both(server, play))

    asyncio.run(compare())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", METHODS)
def test_redirects_lead_to_the_same(method: str, status: int) -> None:
    async def compare() -> None:
        async with Server() as server:
            for target in (
                "/echo",
                "echo?x=1#there",
                f"{server.url}/echo",
                "//127.0.0.1:{port}/echo",
                "/a/../echo",
            ):
                location = target.format(port=server.port)
                server.replies["/from"] = reply(
                    f"{status} Moved", head=f"Location: {location}\r\nSet-Cookie: c=1\r\n"
                )
                for look in (request_at_the_end, reply_at_the_end):
                    ours, theirs = await both(server, partial(look, method))
                    assert ours == theirs, (target, look.__name__)

    asyncio.run(compare())


def redirected(method: str, session: Any) -> Any:
    data = {"data": b"body"} if method in ("POST", "PUT") else {}
    return session.request(method, "/from", allow_redirects=True, headers={"X-A": "1"}, **data)


async def request_at_the_end(method: str, session: Any) -> Any:
    return plain(await arrived(redirected(method, session))) if method != "HEAD" else "asked"


async def reply_at_the_end(method: str, session: Any) -> Any:
    seen = await told(redirected(method, session))
    return seen["status"], seen["url"], seen["history"], seen["method"]


def test_what_goes_to_another_host_is_the_same() -> None:
    async def compare() -> None:
        async with Server() as server, Server() as other:
            server.replies["/from"] = reply("302 Found", head=f"Location: {other.url}/echo\r\n")

            async def play(session: Any) -> Any:
                headers = {"Authorization": "Bearer x", "X-A": "1", "Cookie": "own=1"}
                seen = await arrived(session.get("/from", headers=headers))
                del seen["headers"]["host"]
                return plain(seen)

            ours, theirs = await both(server, play)
            assert ours == theirs

    asyncio.run(compare())


COOKIES = [
    "a=1",
    "a=1; Path=/",
    "a=1; Path=/sub",
    "a=1; Path=/sub/",
    "a=1; Max-Age=0",
    "a=1; Max-Age=100",
    "a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    "a=1; Secure",
    "a=1; HttpOnly; SameSite=Lax",
    "a=",
    "a=b=c",
    "a=1; Domain=127.0.0.1",
    "a=1; Domain=example.com",
]


@pytest.mark.parametrize("cookie", COOKIES)
def test_a_cookie_goes_where_it_should(cookie: str) -> None:
    async def compare() -> None:
        async with Server() as server:
            server.replies["/sub/set"] = reply(head=f"Set-Cookie: {cookie}\r\n")

            async def note(seen: Seen, writer: asyncio.StreamWriter) -> None:
                writer.write(reply(body=seen.headers.get("cookie", "").encode()))

            paths = ["/", "/sub", "/sub/", "/sub/deep", "/submarine", "/other"]
            for path in paths:
                server.replies.pop(path, None)
                server.handlers[path] = note

            async def play(session: Any) -> Any:
                await told(session.get("/sub/set"))
                return {path: (await told(session.get(path)))["body"] for path in paths}

            check("cookie", cookie, *await both(server, play))

    asyncio.run(compare())


FAULTS = {
    "no http": b"nonsense\r\n\r\n",
    "cut in its head": b"HTTP/1.1 200 OK\r\nContent-",
    "cut in its body": reply(body=b"half", length=9) + b"",
    "cut in a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\nhalf",
    "a bad chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nXY\r\nhalf\r\n0\r\n\r\n",
    "lengths that differ": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "no number": b"HTTP/1.1 200 OK\r\nContent-Length: one\r\n\r\nx",
    "no gzip": reply(body=b"<html>", head="Content-Encoding: gzip\r\n"),
    "nothing": b"",
    "redirects for ever": reply("302 Found", head="Location: /fault\r\n"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught_by_the_same_except(name: str) -> None:
    async def compare() -> None:
        async with Server() as server:

            async def fault(seen: Seen, writer: asyncio.StreamWriter) -> None:
                writer.write(FAULTS[name])
                if name != "redirects for ever":
                    writer.close()

            server.handlers["/fault"] = fault

            async def play(session: Any) -> Any:
                try:
                    response = await session.get("/fault")
                    await response.read()
                except aiohttp.ClientError as error:
                    return type(error).__name__
                return "read"

            check("fault", name, *await both(server, play))

    asyncio.run(compare())
