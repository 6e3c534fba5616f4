"""WebSockets: what aiohttp's client does, ours does; and what only ours promises."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiotest import events, life
from aiotest.client import ClientSession
from aiotest.websocket import ClientWSTimeout
from both_clients import outcome
from call_server import Recorded, Server
from certificates import certificates
from test_call import play
from websocket_server import saying, serving

Play = Callable[[Any], Awaitable[Any]]


def heard(message: Any) -> tuple[int, Any, Any]:
    """A message as it can be compared."""
    data = type(message.data).__name__ if isinstance(message.data, Exception) else message.data
    return int(message.type), data, message.extra or None


def ends(socket: Any) -> tuple[Any, ...]:
    """How a socket is."""
    return socket.closed, socket.close_code, socket.protocol, bool(socket.compress)


async def echoes(session: Any) -> Any:
    async with session.ws_connect("/echo") as socket:
        await socket.send_str("Grüße")
        await socket.send_bytes(b"\x00" * 70_000)
        await socket.send_json({"a": [1, None]})
        got = [heard(await socket.receive()), heard(await socket.receive()), await socket.receive_json()]
        await socket.send_str("")
        got.append(await socket.receive_str(timeout=5))
        await socket.send_bytes(bytearray(b"ab"))
        got.append(await socket.receive_bytes())
    return got, ends(socket)


async def awaited(session: Any) -> Any:
    socket = await session.ws_connect("/echo", protocols=("v0.chat", "v1.chat"))
    await socket.send_str("a")
    got = [heard(await socket.receive()), await socket.close(), await socket.close()]
    got += [heard(await socket.receive()), heard(await socket.receive())]
    return got, ends(socket)


async def is_pinged(session: Any) -> Any:
    async with session.ws_connect("/pings") as socket:
        return heard(await socket.receive())


async def answers_pings_itself(session: Any) -> Any:
    async with session.ws_connect("/pings", autoping=False) as socket:
        ping = await socket.receive()
        await socket.pong(ping.data)
        return heard(ping), heard(await socket.receive())


async def pings(session: Any) -> Any:
    async with session.ws_connect("/echo", autoping=False) as socket:
        await socket.ping(b"hello")
        return heard(await socket.receive())


async def is_closed(session: Any) -> Any:
    async with session.ws_connect("/closes") as socket:
        got = [heard(message) async for message in socket]
        after = heard(await socket.receive())
        try:
            await socket.send_str("too late")
        except ConnectionError as error:
            got.append((0, type(error).__name__, None))
        except aiohttp.ClientError as error:
            got.append((0, type(error).__name__, None))
    return got, after, ends(socket)


async def is_closed_and_leaves_it_open(session: Any) -> Any:
    async with session.ws_connect("/closes", autoclose=False) as socket:
        got = [heard(await socket.receive()), heard(await socket.receive())]
        return got, socket.closed, heard(await socket.receive()), ends(socket)


async def is_dropped(session: Any) -> Any:
    async with session.ws_connect("/drops") as socket:
        got = [heard(await socket.receive()), heard(await socket.receive()), heard(await socket.receive())]
    return got, ends(socket)


async def waits_in_vain(session: Any) -> Any:
    async with session.ws_connect("/echo") as socket:
        try:
            await socket.receive(timeout=0.05)
        except TimeoutError:
            await socket.send_str("still here")
            return heard(await socket.receive())


async def is_refused(session: Any) -> Any:
    try:
        await session.ws_connect("/refuses")
    except aiohttp.WSServerHandshakeError as error:
        return error.status, error.message, error.request_info.method


async def finds_no_websocket(session: Any) -> Any:
    try:
        await session.ws_connect("/plain")
    except aiohttp.WSServerHandshakeError as error:
        return error.status, error.message


async def follows_a_redirect(session: Any) -> Any:
    async with session.ws_connect("/moved") as socket:
        await socket.send_str("a")
        return await socket.receive_str()


async def says_who_it_is(session: Any) -> Any:
    options = {"origin": "http://here", "headers": {"X-Own": "1"}}
    async with session.ws_connect("/headers", params={"q": "1"}, **options) as socket:
        return await socket.receive_json()


async def reads_the_wrong_kind(session: Any) -> Any:
    async with session.ws_connect("/echo") as socket:
        await socket.send_bytes(b"a")
        await socket.receive_str()


async def sends_the_wrong_kind(session: Any) -> Any:
    async with session.ws_connect("/echo") as socket:
        await socket.send_str(b"a")


async def takes_a_flood(session: Any) -> Any:
    async with session.ws_connect("/pushes") as socket:
        await socket.send_str("500 40000")
        return [(await socket.receive_bytes())[:4] for _ in range(500)]


async def closes_while_another_task_receives(session: Any) -> Any:
    async with session.ws_connect("/echo") as socket:
        waiting = asyncio.create_task(socket.receive())
        await asyncio.sleep(0.02)
        closed = await socket.close(code=1001, message=b"bye")
        return closed, int((await waiting).type) in (256, 257, 8), socket.closed


async def receives_twice_at_once(session: Any) -> Any:
    async with session.ws_connect("/echo") as socket:
        waiting = asyncio.create_task(socket.receive())
        await asyncio.sleep(0.02)
        try:
            await socket.receive()
        except RuntimeError as error:
            await socket.send_str("a")
            return str(error), heard(await waiting)


async def too_long(session: Any) -> Any:
    async with session.ws_connect("/echo", max_msg_size=100) as socket:
        await socket.send_str("a" * 100)
        message = await socket.receive()
        return heard(message), message.data.code, ends(socket)


PLAYS: list[Play] = [
    echoes,
    awaited,
    is_pinged,
    answers_pings_itself,
    pings,
    is_closed,
    is_closed_and_leaves_it_open,
    is_dropped,
    waits_in_vain,
    is_refused,
    finds_no_websocket,
    follows_a_redirect,
    says_who_it_is,
    reads_the_wrong_kind,
    sends_the_wrong_kind,
    takes_a_flood,
    closes_while_another_task_receives,
    receives_twice_at_once,
    too_long,
]


@pytest.mark.parametrize("scenario", PLAYS, ids=lambda scenario: scenario.__name__)
def test_it_gives_what_aiohttps_gives(scenario: Play) -> None:
    async def main() -> tuple[Any, Any]:
        async with asyncio.timeout(20), serving() as url:
            async with ClientSession(url) as ours:
                mine = await outcome(scenario, ours)
            async with aiohttp.ClientSession(url) as theirs:
                return mine, await outcome(scenario, theirs)

    mine, theirs = asyncio.run(main())
    assert mine == theirs


@pytest.mark.parametrize("scenario", [echoes, takes_a_flood, is_closed], ids=lambda each: each.__name__)
def test_compressed_messages_give_the_same(scenario: Play) -> None:
    class Compressing:
        def __init__(self, session: Any) -> None:
            self.session = session

        def ws_connect(self, url: str) -> Any:
            return self.session.ws_connect(url, compress=15)

    async def main() -> tuple[Any, Any]:
        async with asyncio.timeout(20), serving(compress=True) as url:
            async with ClientSession(url) as ours:
                mine = await outcome(scenario, Compressing(ours))
            async with aiohttp.ClientSession(url) as theirs:
                return mine, await outcome(scenario, Compressing(theirs))

    mine, theirs = asyncio.run(main())
    assert mine == theirs


def test_connecting_is_one_call_and_messages_are_none() -> None:
    told: list[dict[str, Any]] = []

    async def handler(**keywords: Any) -> None:
        told.append(keywords)

    async def main() -> None:
        events.stats_request += handler
        async with serving() as url, ClientSession(url) as session:
            async with session.ws_connect("/echo", name="chat") as socket:
                before = Recorded()
                assert before.row("chat")["requests"] == before.row("chat")["sent"] == 1
                assert before.row("chat")["times"][0]["status"] == 101
                for _ in range(10):
                    await socket.send_str("a")
                    await socket.receive()
                await asyncio.sleep(0.1)
            assert Recorded().rows == []
            for path in ("/refuses", "/plain"):
                with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
                    await session.ws_connect(path)
                assert life.is_recorded(raised.value)
            recorded = Recorded()
            assert recorded.errors() == {"403 Forbidden": 1, "Invalid response status": 1}
            assert recorded.total("sent") == recorded.total("failures") == 2

    Recorded()
    asyncio.run(main())
    assert [(each["request_name"], each["error"]) for each in told] == [
        ("chat", None),
        ("/refuses", "403 Forbidden"),
        ("/plain", "Invalid response status"),
    ]
    assert told[0]["response_time"] < 90


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Upgrade": "h2c"}, "Invalid upgrade header"),
        ({"Connection": "keep-alive"}, "Invalid connection header"),
        ({"Sec-WebSocket-Accept": "bm8="}, "Invalid challenge response"),
        (
            {"Sec-WebSocket-Extensions": "permessage-deflate"},
            "Extension that was not offered: permessage-deflate",
        ),
    ],
)
def test_a_reply_that_is_no_websockets_is_refused(headers: dict[str, str], message: str) -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        saying(server, "/ws", b"", **headers)
        with pytest.raises(aiohttp.WSServerHandshakeError, match=message):
            await session.ws_connect("/ws")
        await server.until(lambda: server.open == 0)

    assert play(scenario).errors() == {message: 1}


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"\x83\x00", 1002), (b"\x81\x01\xff", 1007), (b"\x81\x80\0\0\0\0", 1002), (b"\x88\x01a", 1002)],
)
def test_what_breaks_the_rules_ends_the_socket_with_its_code(data: bytes, code: int) -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        saying(server, "/ws", data)
        async with session.ws_connect("/ws") as socket:
            message = await socket.receive()
            assert message.type is aiohttp.WSMsgType.ERROR
            assert message.data.code == socket.close_code == code
            assert socket.closed
            assert socket.exception() is message.data
        await server.until(lambda: server.open == 0)

    play(scenario)


def test_a_server_that_never_answers_a_close_is_left_after_the_time_given() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        saying(server, "/ws", b"")
        loop = asyncio.get_running_loop()
        begun = loop.time()
        async with session.ws_connect("/ws", timeout=ClientWSTimeout(ws_close=0.2)) as socket:
            pass
        assert 0.2 <= loop.time() - begun < 5
        assert socket.close_code == 1006
        await server.until(lambda: server.open == 0)

    play(scenario)


def test_a_server_that_says_nothing_has_no_heartbeat() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        saying(server, "/ws", b"")
        async with session.ws_connect("/ws", heartbeat=0.1) as socket:
            message = await socket.receive()
            assert message.type is aiohttp.WSMsgType.ERROR
            assert isinstance(message.data, aiohttp.ServerTimeoutError)
            assert socket.close_code == 1006
        async with serving() as url, session.ws_connect(f"{url}/echo", heartbeat=0.05) as socket:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await socket.receive()
            assert not socket.closed

    play(scenario)


def test_a_server_that_does_not_read_makes_the_sender_wait_and_gets_everything() -> None:
    async def main() -> None:
        async with serving() as url, ClientSession(url) as session, session.ws_connect("/sinks") as socket:
            loop = asyncio.get_running_loop()
            begun = loop.time()
            for _ in range(400):
                await socket.send_bytes(b"x" * 50_000)
            assert loop.time() - begun > 0.2, "it was all taken at once"
            await socket.send_str("end")
            assert await socket.receive_str() == str(400 * 50_000)

    asyncio.run(main())


def test_one_task_sends_while_another_receives_under_pressure() -> None:
    async def main() -> None:
        async with serving() as url, ClientSession(url) as session, session.ws_connect("/echo") as socket:

            async def send() -> None:
                for _ in range(200):
                    await socket.send_bytes(b"x" * 100_000)

            async with asyncio.timeout(20), asyncio.TaskGroup() as group:
                group.create_task(send())
                for _ in range(200):
                    assert len(await socket.receive_bytes()) == 100_000

    asyncio.run(main())


def test_a_cancelled_receive_loses_nothing_and_closes_nothing() -> None:
    async def main() -> None:
        async with serving() as url, ClientSession(url) as session, session.ws_connect("/echo") as socket:
            for number in range(50):
                waiting = asyncio.create_task(socket.receive())
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
                await socket.send_str(str(number))
                assert await socket.receive_str() == str(number)

    asyncio.run(main())


def test_over_tls_it_is_the_same() -> None:
    async def main() -> None:
        made = certificates()
        async with serving(tls=made.server()) as url, ClientSession() as session:
            url = url.replace("https://", "wss://")
            async with session.ws_connect(f"{url}/pushes", ssl=made.client()) as socket:
                await socket.send_str("50 400000")
                for number in range(50):
                    assert await socket.receive_bytes() == number.to_bytes(4, "big") * 100_000
            async with session.ws_connect(f"{url}/sinks", ssl=made.client()) as socket:
                for _ in range(100):
                    await socket.send_bytes(b"x" * 100_000)
                await socket.send_str("end")
                assert await socket.receive_str() == "10000000"
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.ws_connect(f"{url}/echo")

    asyncio.run(main())


def test_it_goes_over_http_1_where_the_session_speaks_http_2() -> None:
    async def main() -> None:
        async with (
            serving() as url,
            ClientSession(url, http2="prior-knowledge") as session,
            session.ws_connect("/echo") as socket,
        ):
            await socket.send_str("a")
            assert await socket.receive_str() == "a"

    asyncio.run(main())


def test_a_session_that_closes_ends_its_sockets() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        saying(server, "/ws", b"")
        socket = await session.ws_connect("/ws")
        waiting = asyncio.create_task(socket.receive())
        await asyncio.sleep(0.02)
        await session.close()
        assert (await waiting).type is aiohttp.WSMsgType.CLOSED
        await server.until(lambda: server.open == 0)

    play(scenario)


def test_a_socket_that_nobody_holds_is_closed() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        saying(server, "/ws", b"\x81\x01a" * 100_000)
        socket = await session.ws_connect("/ws")
        assert (await socket.receive()).data == "a"
        del socket
        await server.until(lambda: server.open == 0)

    play(scenario)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"heartbeat": 0}, "heartbeat must be seconds above 0"),
        ({"max_msg_size": -1}, "max_msg_size must be bytes"),
        ({"nonsense": 1}, "a call takes no argument `nonsense`"),
    ],
)
def test_a_wrong_argument_is_named(options: dict[str, Any], said: str) -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        with pytest.raises((TypeError, ValueError), match=said):
            await session.ws_connect("/", **options)

    assert play(scenario).rows == []
