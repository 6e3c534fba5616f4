"""HTTP/2: what a call is there, and that it is the same as over HTTP/1."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import h2.errors
import h2.events
import http2_tls_run
import pytest
from aiotest import AsyncHttpUser, ClientSession, ClientTimeout, TCPConnector
from aiotest.exception import (
    ClientConnectionError,
    ClientError,
    ClientPayloadError,
    ServerDisconnectedError,
    ServerTimeoutError,
)
from call_server import Recorded
from h2.settings import SettingCodes
from http2_server import Peer, Seen, Server

Scenario = Callable[[Server, ClientSession], Awaitable[None]]


def play(scenario: Scenario, server: Server | None = None, http2: Any = "prior-knowledge") -> Recorded:
    """Run a scenario against a server of its own and return what was recorded."""

    async def main() -> None:
        async with server or Server() as running, ClientSession(running.url, http2=http2) as session:
            async with asyncio.timeout(20):
                await scenario(running, session)

    Recorded()
    asyncio.run(main())
    return Recorded()


async def get(session: ClientSession, path: str = "/", **options: Any) -> tuple[int, bytes]:
    response = await session.get(path, **options)
    return response.status, await response.read()


async def whole(session: ClientSession, method: str, path: str, options: dict[str, Any]) -> dict[str, Any]:
    """All that a scenario can see of a call, but for the version."""
    response = await session.request(method, path, **options)
    body = await response.read()
    chain = [*response.history, response]
    return {
        "status": [each.status for each in chain],
        "urls": [each.url.path_qs for each in chain],
        "headers": [sorted((name.lower(), value) for name, value in each.headers.items()) for each in chain],
        "cookies": [sorted(each.cookies) for each in chain],
        "jar": sorted(session.cookie_jar.filter_cookies(response.url)),
        "body": body,
    }


CALLS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "plain": ("GET", "/", {}),
    "query": ("GET", "/echo", {"params": {"a": "b c", "ä": "`|'\"<>^"}}),
    "headers": ("GET", "/echo", {"headers": {"X-Upper": "Value", "TE": "trailers", "Keep-Alive": "5"}}),
    "host": ("GET", "/echo", {"headers": {"Host": "other.example"}}),
    "cookies": ("GET", "/cookies", {}),
    "own cookies": ("GET", "/echo", {"cookies": {"x": "y"}}),
    "json": ("POST", "/echo", {"json": {"a": 1}}),
    "form": ("PUT", "/echo", {"data": {"a": "b"}}),
    "nothing": ("POST", "/echo", {}),
    "chunked": ("POST", "/echo", {"data": b"in chunks", "chunked": True}),
    "compressed": ("POST", "/echo", {"data": b"small" * 100, "compress": "gzip"}),
    "redirect": ("GET", "/redirect/302/3", {}),
    "redirected post": ("POST", "/redirect/303/1", {"data": b"body"}),
    "kept post": ("POST", "/redirect/307/1", {"data": b"body"}),
    "not followed": ("GET", "/redirect/301/1", {"allow_redirects": False}),
    "head": ("HEAD", "/", {}),
    "options": ("OPTIONS", "/echo", {}),
    "204": ("GET", "/status/204", {}),
    "304": ("GET", "/status/304", {}),
    "404": ("GET", "/none", {}),
    "503": ("DELETE", "/status/503", {}),
    "gzip": ("GET", "/gzip", {}),
    "big": ("GET", "/big/3000000", {}),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_call_over_http2_is_what_it_is_over_http1(case: str) -> None:
    method, path, options = CALLS[case]
    seen: dict[Any, Any] = {}

    async def scenario(server: Server, http2: ClientSession) -> None:
        async with ClientSession(server.url) as http1:
            for session in [http1, http2]:
                seen[session] = await whole(session, method, path, options)
                asked = [(s.method, s.path, s.authority, s.body) for s in server.seen]
                seen[session]["asked"] = asked
                server.seen.clear()
            assert len(server.peers) == 1

    recorded = play(scenario)
    over_http1, over_http2 = seen.values()
    for headers in over_http1["headers"] + over_http2["headers"]:
        # A reply without a body need not tell a length, and the echo of a request has its own.
        headers[:] = [pair for pair in headers if pair[0] != "content-length"]
    for result in seen.values():
        if (path == "/echo" and method != "HEAD") or "redirect" in path:
            # Of what a hop of HTTP/1 alone needs, nothing is sent.
            result["body"] = result["body"].replace(b'["keep-alive", "5"], ', b"")
    assert over_http2 == over_http1
    for row in recorded.rows:
        assert row["sent"] == row["requests"] * len(over_http1["status"])
        assert row["requests"] == 2


def test_concurrent_calls_share_one_connection_and_so_do_sessions_of_a_connector() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        assert await asyncio.gather(*(get(session) for _ in range(50))) == [(200, b'{"ok": true}')] * 50
        assert (server.connections, server.peers[0].opened) == (1, 50)
        assert server.most_at_once > 10
        connector = TCPConnector(http2="prior-knowledge")
        async with (
            ClientSession(server.url, connector=connector) as one,
            ClientSession(server.url, connector=connector) as other,
        ):
            await asyncio.gather(*(get(each) for each in [one, other] * 10))
            assert server.connections == 2
            assert (await one.get("/")).version == (2, 0)
        await connector.close()
        await server.until(lambda: server.open == 1)

    recorded = play(scenario)
    assert recorded.total("sent") == recorded.total("requests") == 71
    phases = dict(recorded.row("/")["phases"])
    assert {"connect", "queue", "send", "wait", "receive"} <= set(phases)


def test_beyond_what_the_server_allows_more_connections_are_opened_or_calls_wait() -> None:
    allowed = {SettingCodes.MAX_CONCURRENT_STREAMS: 4}

    async def opened(server: Server, session: ClientSession) -> None:
        results = await asyncio.gather(*(get(session, "/echo") for _ in range(16)))
        assert [status for status, _ in results] == [200] * 16
        assert server.most_at_once <= 4
        assert 1 < server.connections <= 16

    async def queued(server: Server, own: ClientSession) -> None:
        connector = TCPConnector(limit=1, http2="prior-knowledge")
        async with ClientSession(server.url, connector=connector) as session:
            results = await asyncio.gather(*(get(session, "/echo") for _ in range(16)))
        assert [status for status, _ in results] == [200] * 16
        assert server.connections == 1
        assert 1 < server.most_at_once <= 4
        await connector.close()

    for scenario in [opened, queued]:
        recorded = play(scenario, Server(settings=allowed))
        assert (recorded.total("requests"), recorded.total("sent")) == (16, 16)
        assert recorded.errors() == {}


def test_a_server_that_allows_one_stream_serves_a_connector_one_call_after_another() -> None:
    async def scenario(server: Server, own: ClientSession) -> None:
        connector = TCPConnector(limit=1, http2="prior-knowledge")
        async with ClientSession(server.url, connector=connector) as session:
            assert len(await asyncio.gather(*(get(session) for _ in range(10)))) == 10
        assert (server.connections, server.most_at_once) == (1, 1)

    play(scenario, Server(settings={SettingCodes.MAX_CONCURRENT_STREAMS: 1}))


def test_a_connection_that_cannot_be_opened_fails_all_calls_that_wait_for_it() -> None:
    async def scenario(server: Server, own: ClientSession) -> None:
        async with ClientSession("http://127.0.0.1:1", http2="prior-knowledge") as session:
            results = await asyncio.gather(*(get(session) for _ in range(5)), return_exceptions=True)
        assert all(isinstance(result, ClientConnectionError) for result in results), results

    recorded = play(scenario)
    assert recorded.errors() == {"connection refused": 5}
    assert recorded.total("sent") == 0


def test_a_server_of_http1_is_told_from_one_of_http2() -> None:
    async def only_http1(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async def scenario(server: Server, own: ClientSession) -> None:
        plain = await asyncio.start_server(only_http1, "127.0.0.1", 0)
        port = plain.sockets[0].getsockname()[1]
        async with ClientSession(f"http://127.0.0.1:{port}", http2="prior-knowledge") as session:
            with pytest.raises(ClientError, match="HTTP/2: server speaks none"):
                await session.get("/")
        plain.close()

    assert play(scenario).errors() == {"HTTP/2: server speaks none": 1}


def test_true_offers_http2_to_https_servers_only() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        assert (await session.get("/")).version == (1, 1)
        assert server.peers == []

    play(scenario, http2=True)


@pytest.mark.parametrize("value", ["h2", 2, "True", b"prior-knowledge"])
def test_what_is_no_value_of_http2_is_said_at_once(value: Any) -> None:
    for make in [ClientSession, TCPConnector]:
        with pytest.raises(ValueError, match=r"http2 must be False, True .* not "):
            make(http2=value)
    with pytest.raises(ValueError, match=r"TCPConnector\(http2="):
        ClientSession(connector=TCPConnector(), http2=True)


def test_a_user_says_it_with_an_attribute() -> None:
    async def scenario(server: Server, own: ClientSession) -> None:
        class User(AsyncHttpUser):
            host = server.url
            http2 = "prior-knowledge"

        user = User()
        assert (await get(user.session))[0] == 200
        assert len(server.peers) == 1
        await user.session.close()

    play(scenario)


def test_a_call_that_is_cancelled_resets_its_stream_and_the_connection_lives_on() -> None:
    async def hang(peer: Peer, stream: int, seen: Seen) -> None:
        await asyncio.Event().wait()

    async def scenario(server: Server, session: ClientSession) -> None:
        server.handlers["/hang"] = hang
        await get(session)
        hanging = [asyncio.create_task(get(session, "/hang")) for _ in range(3)]
        await server.until(lambda: server.requests["/hang"] == 3)
        hanging[0].cancel()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(hanging[1], 0.01)
        with pytest.raises(ServerTimeoutError):
            await session.get("/hang", timeout=ClientTimeout(total=0.02))
        with pytest.raises(ServerTimeoutError):
            await session.get("/hang", timeout=ClientTimeout(sock_read=0.02))
        await server.until(lambda: server.peers[0].count(h2.events.StreamReset) == 4)
        assert await get(session) == (200, b'{"ok": true}')
        assert server.connections == 1
        hanging[2].cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        await server.until(lambda: server.peers[0].count(h2.events.StreamReset) == 5)
        assert server.requests["/hang"] == 5

    recorded = play(scenario)
    assert recorded.row("/hang")["sent"] == 5
    assert recorded.row("/hang")["errors"] == {
        "Cancelled": 2,
        "TimeoutError": 1,
        "timeout: total time over": 1,
        "timeout: no byte in time": 1,
    }


def test_a_stream_that_the_server_resets_is_a_failure_of_its_own() -> None:
    async def reset(peer: Peer, stream: int, seen: Seen) -> None:
        peer.h2.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)

    async def reset_in_body(peer: Peer, stream: int, seen: Seen) -> None:
        peer.h2.send_headers(stream, [(":status", "200")])
        peer.h2.send_data(stream, b"some")
        peer.h2.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)

    async def scenario(server: Server, session: ClientSession) -> None:
        server.handlers |= {"/reset": reset, "/cut": reset_in_body}
        with pytest.raises(ServerDisconnectedError, match="HTTP/2: stream reset by the server"):
            await session.post("/reset")
        with pytest.raises(ClientPayloadError):
            await get(session, "/cut")
        assert await get(session) == (200, b'{"ok": true}')
        assert server.connections == 1

    recorded = play(scenario)
    assert recorded.errors() == {"HTTP/2: stream reset by the server": 2}
    assert recorded.total("sent") == recorded.total("requests") == 3


@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize("goodbye", [None, 0, 11])
@pytest.mark.parametrize("size", [40_000, 200_000])
def test_a_reply_that_has_come_whole_is_whole_however_its_connection_ends(
    goodbye: int | None, size: int, closes: bool
) -> None:
    """Also where it waits for the scenario, as more of it has come than is read ahead."""
    gone = asyncio.Event()

    async def reply_and_go(peer: Peer, stream: int, seen: Seen) -> None:
        peer.h2.send_headers(stream, [(":status", "200"), ("content-length", str(size))])
        await peer.send_body(stream, bytes(size))
        if goodbye is not None:
            peer.h2.close_connection(error_code=goodbye, last_stream_id=stream)
        peer.flush()
        await peer.writer.drain()
        if closes:
            peer.writer.close()
        gone.set()

    async def scenario(server: Server, session: ClientSession) -> None:
        server.handlers["/whole"] = reply_and_go
        await get(session)
        for late in (0.0, 0.05):
            gone.clear()
            response = await session.get("/whole")
            if late:
                await gone.wait()
                await asyncio.sleep(late)
            assert len(await response.read()) == size
            assert await get(session) == (200, b'{"ok": true}')
        assert server.requests["/whole"] == 2

    recorded = play(scenario)
    assert recorded.errors() == {}
    assert recorded.row("/whole")["sent"] == recorded.row("/whole")["requests"] == 2


@pytest.mark.parametrize("named", [True, False], ids=["named in it", "above what it names"])
def test_a_request_whose_reply_a_goodbye_cuts_off_was_sent(named: bool) -> None:
    async def half(peer: Peer, stream: int, seen: Seen) -> None:
        peer.h2.send_headers(stream, [(":status", "200"), ("content-length", "100")])
        await peer.send_body(stream, bytes(50), end=False)
        await asyncio.sleep(0.05)
        peer.h2.close_connection(error_code=11, last_stream_id=stream if named else 0)
        peer.flush()
        await peer.writer.drain()
        peer.writer.close()

    async def scenario(server: Server, session: ClientSession) -> None:
        server.handlers["/half"] = half
        with pytest.raises(ClientPayloadError, match="connection closed in the reply"):
            await get(session, "/half")
        assert server.requests["/half"] == 1

    recorded = play(scenario)
    assert recorded.errors() == {"connection closed in the reply": 1}
    assert (recorded.row("/half")["sent"], recorded.row("/half")["retried"]) == (1, 0)


def test_what_the_server_has_not_processed_is_tried_again_whatever_its_method() -> None:
    async def refuse(peer: Peer, stream: int, seen: Seen) -> None:
        peer.h2.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)

    async def refuse_first(peer: Peer, stream: int, seen: Seen) -> None:
        if peer is peer.server.peers[0]:
            await refuse(peer, stream, seen)
        else:
            await peer.answer(stream, seen)

    async def scenario(server: Server, session: ClientSession) -> None:
        server.handlers |= {"/once": refuse_first, "/always": refuse}
        assert (await session.post("/once", data=b"x")).status == 404
        assert server.connections == 2
        with pytest.raises(ClientError, match="HTTP/2: stream refused by the server"):
            await session.post("/always", data=b"x")
        assert server.requests["/always"] == 6

    recorded = play(scenario)
    once, always = recorded.row("/once", "POST"), recorded.row("/always", "POST")
    assert (once["requests"], once["sent"], once["retried"]) == (1, 1, 1)
    assert (always["failures"], always["sent"], always["retried"]) == (1, 0, 5)


def test_streams_above_the_last_of_a_goodbye_are_made_elsewhere_and_those_below_end() -> None:
    """The server takes the first of three, says goodbye, and still answers the first."""

    async def first(peer: Peer, stream: int, seen: Seen) -> None:
        await peer.server.until(lambda: peer.opened == 4)
        peer.h2.close_connection(last_stream_id=stream)
        # The library believes that it may say no more.
        data = peer.h2.data_to_send()
        headers = peer.h2.encoder.encode([(":status", "200"), ("content-length", "2")])
        frame = len(headers).to_bytes(3) + b"\x01\x04" + stream.to_bytes(4) + headers
        peer.writer.write(data)
        await peer.writer.drain()
        peer.writer.write(frame + b"\0\0\x02\0\x01" + stream.to_bytes(4) + b"ok")

    async def others(peer: Peer, stream: int, seen: Seen) -> None:
        if peer is not peer.server.peers[0]:
            await peer.answer(stream, seen)

    async def scenario(server: Server, session: ClientSession) -> None:
        server.handlers |= {"/first": first, "/": others, "/echo": others}
        await get(session, "/status/200")
        calls = [asyncio.create_task(get(session, "/first"))]
        await server.until(lambda: server.requests["/first"] == 1)
        calls.append(asyncio.create_task(get(session, "/")))

        async def post() -> tuple[int, bytes]:
            return (await session.post("/echo", data=b"x")).status, b""

        calls.append(asyncio.create_task(post()))
        results = await asyncio.gather(*calls)
        assert results == [(200, b"ok"), (200, b'{"ok": true}'), (200, b"")]
        assert server.connections == 2
        await server.until(lambda: server.open == 1)

    recorded = play(scenario)
    assert recorded.errors() == {}
    assert recorded.total("retried") == 2
    assert recorded.total("sent") == 4


def test_a_body_is_read_ahead_by_so_much_and_one_that_is_not_read_stalls_no_other() -> None:
    sizes: list[int] = []

    async def endless(peer: Peer, stream: int, seen: Seen) -> None:
        peer.h2.send_headers(stream, [(":status", "200")])
        sizes.append(0)
        place = len(sizes) - 1
        while True:
            await peer.send_body(stream, bytes(8192), end=False)
            sizes[place] += 8192

    async def scenario(server: Server, session: ClientSession) -> None:
        server.handlers["/endless"] = endless
        unread = [await session.get("/endless") for _ in range(20)]
        most = 256 * 1024 + 64 * 1024 + 2 * 8192
        await server.until(lambda: len(sizes) == 20 and min(sizes) >= 256 * 1024)
        assert (await get(session, "/big/1000000"))[1][:3] == b"\0\1\2"
        assert max(sizes) <= most
        chunks = unread[0].content.iter_chunked(50_000)
        taken = 0
        while taken < 2_000_000:
            taken += len(await anext(chunks))
        assert sizes[0] >= taken - 8192, "no byte comes from nowhere"
        assert max(sizes[1:]) <= most, "the others still wait"
        assert server.connections == 1
        for response in unread:
            response.release()
        assert await get(session) == (200, b'{"ok": true}')

    play(scenario)


def test_an_upload_goes_on_as_the_windows_open() -> None:
    def has(seen: Seen, size: int) -> bool:
        return size <= len(seen.body)

    async def slowly(peer: Peer, stream: int, seen: Seen) -> None:
        taken = 0
        while len(seen.body) < 1_000_000:
            peer.h2.increment_flow_control_window(50_000)
            peer.h2.increment_flow_control_window(50_000, stream)
            peer.flush()
            taken += 50_000
            await peer.server.until(functools.partial(has, seen, min(taken, 1_000_000)))
        peer.h2.send_headers(stream, [(":status", "200")])
        peer.h2.send_data(stream, str(len(seen.body)).encode(), end_stream=True)

    async def scenario(server: Server, session: ClientSession) -> None:
        server.takes_bodies = False
        server.early["/up"] = slowly
        upload = asyncio.create_task(read_all(session, b"u" * 1_000_000))
        assert (await get(session))[0] == 200
        assert await upload == b"1000000"

    async def read_all(session: ClientSession, data: bytes) -> bytes:
        return await (await session.post("/up", data=data)).read()

    assert play(scenario).errors() == {}


def test_interim_replies_trailers_pings_and_settings_are_no_events_of_a_call() -> None:
    async def everything(peer: Peer, stream: int, seen: Seen) -> None:
        for _ in range(3):
            peer.h2.send_headers(stream, [(":status", "103"), ("link", "</a>")])
        peer.h2.ping(b"12345678")
        peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10, SettingCodes.MAX_FRAME_SIZE: 20_000})
        peer.h2.send_headers(stream, [(":status", "200"), ("x-a", "1"), ("x-a", "2")])
        peer.h2.send_data(stream, b"body")
        peer.h2.send_headers(stream, [("x-trailer", "t")], end_stream=True)

    async def scenario(server: Server, session: ClientSession) -> None:
        server.handlers["/all"] = everything
        response = await session.get("/all")
        assert (response.status, await response.read()) == (200, b"body")
        assert response.headers.getall("X-A") == ["1", "2"]
        assert "x-trailer" not in response.headers
        await server.until(lambda: server.peers[0].count(h2.events.PingAckReceived) == 1)
        echoed = await (await session.post("/echo", data=b"x" * 1000)).json()
        assert len(echoed["body"]) == 1000

    assert play(scenario).errors() == {}


def test_a_connection_that_ends_ends_its_calls_and_an_idle_one_is_replaced() -> None:
    async def close(peer: Peer, stream: int, seen: Seen) -> None:
        # A close over something unread is a reset.
        await peer.server.until(lambda: peer.count(h2.events.SettingsAcknowledged) == 1)
        if seen.path == "/cut":
            peer.h2.send_headers(stream, [(":status", "200"), ("content-length", "100")])
            peer.h2.send_data(stream, b"some")
            peer.flush()
        peer.writer.close()

    async def scenario(server: Server, session: ClientSession) -> None:
        server.handlers |= {"/close": close, "/cut": close}
        with pytest.raises(ServerDisconnectedError):
            await session.post("/close")
        with pytest.raises(ClientPayloadError):
            await get(session, "/cut")
        await get(session)
        server.peers[-1].writer.close()
        await server.until(lambda: server.open == 0)
        assert await get(session) == (200, b'{"ok": true}')
        assert server.connections == 4

    recorded = play(scenario)
    assert recorded.errors() == {
        "connection closed before the reply": 1,
        "connection closed in the reply": 1,
    }
    assert recorded.total("sent") == 4


def test_a_server_that_says_no_settings_lets_those_who_wait_run_out_of_time() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        server.silent = True
        server.early["/"] = lambda peer, stream, seen: asyncio.Event().wait()
        timeout = ClientTimeout(total=0.2)
        results = await asyncio.gather(
            *(get(session, timeout=timeout) for _ in range(3)), return_exceptions=True
        )
        assert [type(result) for result in results] == [ServerTimeoutError] * 3
        assert server.connections == 1

    recorded = play(scenario)
    assert recorded.errors() == {"timeout: total time over": 3}
    assert recorded.total("sent") == 1


def test_a_head_that_is_too_large_fails_its_call_alone() -> None:
    async def large(peer: Peer, stream: int, seen: Seen) -> None:
        headers = [(f"x-{n}", "v" * 1000) for n in range(100)]
        peer.h2.send_headers(stream, [(":status", "200"), *headers], end_stream=True)

    async def scenario(server: Server, session: ClientSession) -> None:
        server.handlers["/large"] = large
        with pytest.raises(ClientError, match="HTTP/2: protocol broken by the server"):
            await session.get("/large")
        assert await get(session) == (200, b'{"ok": true}')

    play(scenario)


def test_what_cannot_be_said_in_http2_is_said_to_the_scenario() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        with pytest.raises(ClientError, match=r"HTTP/2: request cannot be sent: .*x-a"):
            await session.get("/", headers={"X-A": "a\x01b"})
        assert await get(session) == (200, b'{"ok": true}')

    assert play(scenario).errors() == {"HTTP/2: request cannot be sent": 1}


@pytest.mark.parametrize("protocols", [["h2", "http/1.1"], ["http/1.1"], ["h2"]], ids="-".join)
def test_over_tls_the_server_chooses_by_alpn(protocols: list[str], tmp_path: Path) -> None:
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem")]
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    usage = ["-addext", "basicConstraints=critical,CA:FALSE"]
    made = subprocess.run(
        ["openssl", "req", "-x509", *new_key, *name, *usage, *files], capture_output=True, check=False
    )
    assert made.returncode == 0, made.stderr
    command = [sys.executable, http2_tls_run.__file__, files[3], files[1], *protocols]
    environment = os.environ | {"SSL_CERT_FILE": files[3]}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    chosen = protocols[0] == "h2"
    assert seen["versions"] == [[2, 0] if chosen else [1, 1]]
    assert seen["queries"] == [f"n={n}" for n in range(8)]
    assert seen["connections"] == 1 if chosen else 1 < seen["connections"] <= 8
    assert (seen["big"] // 256, seen["posted"], seen["unasked"]) == (2_000_000 // 256, 500_000, [1, 1])
    assert seen["sent"] == seen["received"] == 11
    assert seen["errors"] == {}
    assert {"connect", "tls", "send", "wait", "receive"} <= set(seen["phases"])
