"""What the client sends and gives back, beside a server that says exactly what it was sent."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiotest.client import ClientSession, ClientTimeout, Response
from aiotest.exception import ClientConnectionError, ClientError, ContentTypeError, InvalidURL
from call_server import Seen, Server, reply
from multidict import CIMultiDictProxy
from test_call import play
from yarl import URL


async def sent(call: Any) -> dict[str, Any]:
    async with call as response:
        said: dict[str, Any] = await response.json()
    return said


def test_each_method_is_sent() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        for method in ["get", "post", "put", "patch", "delete", "options"]:
            assert (await sent(getattr(session, method)("/echo")))["method"] == method.upper()
        assert (await sent(session.request("purge", "/echo")))["method"] == "PURGE"
        async with session.head("/") as response:
            assert (response.method, response.status, await response.read()) == ("HEAD", 200, b"")
        with pytest.raises(ValueError, match="is not a method"):
            session.request("G ET", "/")

    recorded = play(scenario)
    assert recorded.row("/echo", "PURGE")["requests"] == 1
    assert recorded.total("failures") == 0


def test_bodies_are_sent_with_their_content_type() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        async def check(body: str, content_type: str, **given: Any) -> None:
            said = await sent(session.post("/echo", **given))
            assert (said["body"], said["headers"]["content-type"]) == (body, content_type)
            assert said["headers"]["content-length"] == str(len(body))

        form = "application/x-www-form-urlencoded"
        await check('{"a": 1}', "application/json", json={"a": 1})
        await check("bytes", "application/octet-stream", data=b"bytes")
        await check("array", "application/octet-stream", data=bytearray(b"array"))
        await check("text", "text/plain; charset=utf-8", data="text")
        await check("a=1&b=x+y&b=%26", form, data={"a": 1, "b": ["x y", "&"]})
        await check("a=1&a=2", form, data=[("a", 1), ("a", "2")])
        await check("<a/>", "text/xml", data="<a/>", headers={"content-type": "text/xml"})
        said = await sent(session.post("/echo"))
        assert said["headers"]["content-length"] == "0"
        with pytest.raises(ValueError, match="data and json"):
            session.post("/", data=b"", json={})
        with pytest.raises(TypeError, match="object is not supported"):
            session.post("/", data=object())  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="params: `flag` must be a str, int or float, not bool"):
            session.get("/", params={"flag": True})

    play(scenario)


def test_two_ways_to_say_how_a_body_is_sent_are_one_too_many() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        for header, given in [
            ("Content-Length", {"chunked": True}),
            ("Content-Encoding", {"compress": "gzip"}),
            ("Transfer-Encoding", {}),
            ("Authorization", {"auth": ("me", "secret")}),
        ]:
            with pytest.raises(ValueError, match="header"):
                session.post("/", data=b"x", headers={header: "chunked"}, **given)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="compress must be `gzip`"):
            session.post("/", data=b"x", compress="br")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="skip_auto_headers must be names"):
            session.get("/", skip_auto_headers="User-Agent")
        with pytest.raises(TypeError, match="auth must be a pair"):
            session.get("/", auth="me:secret")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="`a` must be a str, int, float, bytes or a file, not object"):
            session.post("/", data={"a": object(), "b": b"x"})

    play(scenario)


def test_urls_are_joined_and_params_added() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        async def path(url: Any, **given: Any) -> str:
            said: str = (await sent(session.get(url, name="any", **given)))["path"]
            return said

        assert await path("/echo") == "/echo"
        assert await path(URL("/echo")) == "/echo"
        assert await path("echo") == "/echo"
        assert await path(server.url + "/echo") == "/echo"
        assert await path("/echo#part") == "/echo"
        assert await path("/echo?x=1", params={"q": "a b", "n": 2, "r": 0.5}) == "/echo?x=1&q=a+b&n=2&r=0.5"
        assert await path("/echo", params=[("a", "1"), ("a", "2")]) == "/echo?a=1&a=2"
        assert await path("/echo", params="raw=1") == "/echo?raw=1"
        assert await path("/echo", params={}) == "/echo"

    play(scenario)


def test_a_url_without_a_host_says_what_is_missing() -> None:
    async def main() -> None:
        session = ClientSession()
        with pytest.raises(InvalidURL, match="/login - a relative URL needs a host"):
            session.get("/login")
        with pytest.raises(InvalidURL, match="has the scheme `ftp`"):
            session.get("ftp://example/")
        with pytest.raises(InvalidURL, match="not an absolute URL"):
            ClientSession(base_url="example")

    asyncio.run(main())


def test_headers_of_the_session_and_of_the_call() -> None:
    async def scenario(server: Server, _: ClientSession) -> None:
        session = ClientSession(
            base_url=server.url, headers={"X-One": "1", "X-Two": "2"}, auth=("me", "secret")
        )
        said = (await sent(session.get("/echo", headers={"x-two": "3", "X-Three": "4"})))["headers"]
        assert (said["x-one"], said["x-two"], said["x-three"]) == ("1", "3", "4")
        assert said["accept"] == "*/*"
        assert said["user-agent"].startswith("aiotest/")
        assert said["authorization"] == "Basic bWU6c2VjcmV0"
        assert said["host"] == f"127.0.0.1:{server.port}"
        # What a scenario does when it has logged in.
        session.headers["Authorization"] = "Bearer token"
        session.headers.update({"X-One": "changed"})
        said = (await sent(session.get("/echo")))["headers"]
        assert (said["authorization"], said["x-one"]) == ("Bearer token", "changed")
        with pytest.raises(ValueError, match="line break"):
            session.get("/", headers={"X": "a\r\nb"})
        with pytest.raises(ValueError, match="is not a header name"):
            session.get("/", headers={"X Y": "a"})
        await session.close()
        assert session.closed

    play(scenario)


@pytest.mark.parametrize("keyword", ["trace_request_ctx", "whatever"])
def test_an_argument_that_is_not_built_is_named(keyword: str) -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        with pytest.raises(TypeError, match=f"takes no argument `{keyword}`"):
            session.get("/", **{keyword: None})
        with pytest.raises(TypeError, match=f"takes no argument `{keyword}`"):
            ClientSession(**{keyword: None})  # type: ignore[arg-type]

    play(scenario)


def test_what_a_response_tells() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        server.replies["/told"] = reply(
            "201 Made", b"{}", head="Content-Type: Application/JSON; charset=UTF-8\r\nX-A: 1\r\nx-a: 2\r\n"
        )
        async with session.post("/told?q=1#part", data=b"x") as response:
            assert isinstance(response, Response)
            assert (response.status, response.reason, response.ok) == (201, "Made", True)
            assert response.method == "POST"
            assert response.url == response.real_url == URL(f"{server.url}/told?q=1")
            assert response.host == "127.0.0.1"
            assert isinstance(response.headers, CIMultiDictProxy)
            assert response.headers.getall("X-A") == ["1", "2"]
            assert response.headers is response.headers
            assert (response.content_type, response.charset) == ("application/json", "utf-8")
            assert response.history == ()
            assert response.request_info.method == "POST"
            assert response.request_info.headers["accept"] == "*/*"
            assert await response.read() is await response.read()
            assert await response.json() == {}
            response.raise_for_status()
        assert repr(response) == f"<Response({server.url}/told?q=1) [201 Made]>"

    play(scenario)


def test_redirects_are_followed_and_kept_in_the_history() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        server.replies["/a"] = reply("302 Found", head="Location: /b\r\nSet-Cookie: hop=1\r\n")
        server.replies["/b"] = reply("307 Temporary Redirect", head="Location: /echo\r\n")
        server.replies["/loop"] = reply("302 Found", head="Location: /loop\r\n")
        async with session.get("/a") as response:
            assert response.url.path == "/echo"
            assert [hop.status for hop in response.history] == [302, 307]
            assert [hop.url.path for hop in response.history] == ["/a", "/b"]
            assert (await response.json())["headers"]["cookie"] == "hop=1"
        async with session.get("/a", allow_redirects=False) as response:
            assert response.status == 302
            assert response.cookies["hop"].value == "1"
        async with session.head("/a", name="head") as response:
            assert response.status == 302
        async with session.head("/a", name="head", allow_redirects=True) as response:
            assert response.status == 200
        with pytest.raises(ClientError):
            await session.get("/loop", max_redirects=3)

    recorded = play(scenario)
    assert (recorded.row("/a")["requests"], recorded.row("/a")["sent"]) == (2, 4)
    assert (recorded.row("/loop")["failures"], recorded.row("/loop")["sent"]) == (1, 4)


def test_cookies_are_a_sessions_own() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        server.replies["/login"] = reply(head="Set-Cookie: token=abc; Path=/\r\n")
        async with session.get("/login") as response:
            assert response.cookies["token"].value == "abc"
        assert (await sent(session.get("/echo")))["headers"]["cookie"] == "token=abc"
        assert session.cookie_jar.filter_cookies(server.url)["token"].value == "abc"
        own = (await sent(session.get("/echo", cookies={"own": "1"})))["headers"]["cookie"]
        assert set(own.split("; ")) == {"token=abc", "own=1"}
        session.cookie_jar.update_cookies({"more": "2"})
        assert "more=2" in (await sent(session.get("/echo")))["headers"]["cookie"]
        async with ClientSession(base_url=server.url, cookies={"given": "1"}) as other:
            assert (await sent(other.get("/echo")))["headers"]["cookie"] == "given=1"
        async with ClientSession(cookies={"given": "1"}) as free:
            assert (await sent(free.get(server.url + "/echo")))["headers"]["cookie"] == "given=1"

    play(scenario)


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain", "grüße".encode(), "grüße"),
        ("text/plain; charset=latin-1", "grüße".encode("latin-1"), "grüße"),
        ('text/html; charset="windows-1251"', "привет".encode("cp1251"), "привет"),
        ("text/plain; charset=no-such", b"plain", "plain"),
        ("", b"", ""),
    ],
)
def test_text_follows_the_replys_charset(content_type: str, body: bytes, text: str) -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        server.replies["/text"] = reply(body=body, head=f"Content-Type: {content_type}\r\n")
        async with session.get("/text") as response:
            assert await response.text() == text
            assert await response.text("latin-1") == body.decode("latin-1")
            assert await response.text(encoding="ascii", errors="ignore") == body.decode("ascii", "ignore")

    assert play(scenario).errors() == {}


def test_json_is_what_json_loads_gives() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        async def read(body: bytes, sent_as: str = "application/json", **given: Any) -> Any:
            server.replies["/json"] = reply(body=body, head=f"Content-Type: {sent_as}\r\n")
            return await (await session.get("/json")).json(**given)

        for value in [{"a": [1, 2.5, None, True, "ü\n"]}, [], "text", 12, None]:
            assert await read(json.dumps(value).encode()) == value
            assert await read(b" \n" + json.dumps(value, ensure_ascii=False).encode() + b" \n") == value
        assert await read(b"  ") is None
        assert await read(b"{}", "application/problem+json; charset=utf-8") == {}
        assert await read(b"{}", "text/html", content_type=None) == {}
        assert await read(b"{}", "text/html", content_type="text/html") == {}
        assert await read(b"[1]", loads=len) == 3
        with pytest.raises(ContentTypeError, match="unexpected mimetype: text/html"):
            await read(b"{}", "text/html")
        for bad in [b"{", b"{} {}", b"nope", b"\xff", b"[1,]"]:
            with pytest.raises(ValueError):  # noqa: PT011
                await read(bad)

    play(scenario)


def test_a_large_body_arrives_whole() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        body = bytes(range(256)) * 4096
        server.replies["/large"] = reply(body=body)
        async with session.get("/large") as response:
            assert await response.read() == body
        assert await (await session.get("/large")).read() == body
        async with session.get("/large") as response:
            pieces = [piece async for piece in response.content.iter_chunked(10_000)]
            assert max(map(len, pieces)) <= 10_000
            assert b"".join(pieces) == body
        async with session.get("/large") as response:
            assert b"".join([piece async for piece in response.content.iter_any()]) == body
        async with session.get("/large") as response:
            start = await response.content.read(10)
            assert start == body[: len(start)]
            assert start + await response.read() == body

    recorded = play(scenario)
    assert recorded.row("/large")["bytes_received"] == 5 * 1024 * 1024
    assert (recorded.total("truncated"), recorded.total("failures"), recorded.total("requests")) == (0, 0, 5)


def test_lines_and_chunks_of_a_stream() -> None:
    async def chunked(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for chunk in [b"one\ntw", b"o\n", b"three"]:
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")

    async def scenario(server: Server, session: ClientSession) -> None:
        server.handlers["/chunked"] = chunked
        async with session.get("/chunked") as response:
            assert [line async for line in response.content] == [b"one\n", b"two\n", b"three"]
            assert response.content.at_eof()
        async with session.get("/chunked") as response:
            assert await response.content.readline() == b"one\n"
            assert await response.content.read() == b"two\nthree"
            assert await response.content.read() == b""
            assert await response.content.readline() == b""
        async with session.get("/chunked") as response:
            assert await response.text() == "one\ntwo\nthree"

    assert play(scenario).errors() == {}


def test_replies_without_a_body_have_none() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        server.replies["/204"] = b"HTTP/1.1 204 No Content\r\n\r\n"
        server.replies["/304"] = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n\r\n"
        for path in ["/204", "/304"]:
            async with session.get(path) as response:
                assert await response.read() == b""
                assert await response.text() == ""
                assert await response.json(content_type=None) is None
        async with session.get("/") as response:
            assert await response.json() == {"ok": True}
        assert server.connections == 1

    play(scenario)


def test_a_body_that_ends_with_the_connection_is_whole() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        server.replies["/old"] = b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nto the end"
        async with session.get("/old") as response:
            assert await response.read() == b"to the end"

    assert play(scenario).errors() == {}


def test_a_released_reply_cannot_be_read() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        response = await session.get("/")
        await response.release()
        assert response.closed
        with pytest.raises(ClientConnectionError, match="Connection closed"):
            await response.read()
        response = await session.get("/")
        assert await response.read()
        response.close()
        assert await response.read() == b'{"ok": true}'

    assert play(scenario).row("/")["requests"] == 2


def test_client_timeout_takes_its_four_limits_in_order() -> None:
    timeout = ClientTimeout(1, 2, 3, 4.5)
    assert (timeout.total, timeout.connect, timeout.sock_read, timeout.sock_connect) == (1, 2, 3, 4.5)
    assert timeout == ClientTimeout(total=1, connect=2, sock_read=3, sock_connect=4.5)
    assert (
        repr(ClientTimeout(total=5))
        == "ClientTimeout(total=5, connect=None, sock_read=None, sock_connect=None)"
    )
    with pytest.raises(ValueError, match="total must be a number of seconds, not -1"):
        ClientTimeout(-1)

    async def main() -> None:
        assert ClientSession().timeout.total == 300
        assert ClientSession(timeout=timeout).timeout == timeout
        with pytest.raises(
            TypeError, match="timeout must be a ClientTimeout or a number of seconds, not str"
        ):
            ClientSession(timeout="5")  # type: ignore[arg-type]

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning")
def test_aiohttps_own_objects_are_accepted_and_its_exceptions_catch_ours() -> None:
    aiohttp = pytest.importorskip("aiohttp")

    async def scenario(server: Server, _: ClientSession) -> None:
        timeout = aiohttp.ClientTimeout(total=0.05)
        auth = aiohttp.BasicAuth("me", "secret")
        async with ClientSession(base_url=server.url, timeout=timeout, auth=auth) as session:
            assert (await sent(session.get("/echo")))["headers"]["authorization"] == "Basic bWU6c2VjcmV0"
            with pytest.raises(aiohttp.ServerTimeoutError):
                await session.get("/hang")
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get("http://127.0.0.1:1/")
            with pytest.raises(aiohttp.InvalidURL):
                session.get("ftp://example/")

    play(scenario)
