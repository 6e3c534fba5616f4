"""What a call counts as, what is recorded of it, and what goes on to the scenario."""

# ruff: noqa: PT012, SIM117 (blocks and what comes out of them are what is tested here)
from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from aiotest import events
from aiotest._native import record
from aiotest.client import ClientSession, ClientTimeout
from aiotest.exception import (
    ClientConnectionError,
    ClientConnectorError,
    ClientError,
    ClientPayloadError,
    ClientResponseError,
    ConnectionTimeoutError,
    ServerDisconnectedError,
    ServerTimeoutError,
    SocketTimeoutError,
)
from call_server import Recorded, Seen, Server, reply
from test_call import play
from test_call_cancel import full_backlog


def test_a_status_below_400_is_a_success_and_one_from_400_a_failure() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        for status in ["200 OK", "302 Found", "399 Odd", "400 Bad Request", "404 Not Found", "503 Away"]:
            server.replies["/" + status[:3]] = reply(status)
            async with session.get("/" + status[:3]) as response:
                assert response.ok is (response.status < 400)

    recorded = play(scenario)
    assert recorded.errors() == {"400 Bad Request": 1, "404 Not Found": 1, "503 Service Unavailable": 1}
    assert recorded.total("requests") == 6


def test_the_scenarios_verdict_wins() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        async with session.get("/missing") as response:
            response.success()
        async with session.get("/") as response:
            response.failure("wrong colour")
        async with session.get("/") as response:
            response.failure(LookupError("no such colour"))
        response = await session.get("/missing")
        response.success()
        await response.read()
        response = await session.get("/")
        response.failure("too late a train")
        response.release()

    recorded = play(scenario)
    assert recorded.errors() == {"wrong colour": 1, "no such colour": 1, "too late a train": 1}
    assert recorded.total("requests") == 5


def test_a_verdict_after_the_record_warns() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        async with session.get("/") as response:
            pass
        with pytest.warns(RuntimeWarning, match="recorded already"):
            response.failure("too late")
        response = await session.get("/")
        await response.read()
        with pytest.warns(RuntimeWarning, match="recorded already"):
            response.failure("too late")

    assert play(scenario).errors() == {}


SWALLOWED = [
    (ClientError("client"), "client"),
    (ClientPayloadError("payload"), "payload"),
    (TimeoutError("slow"), "slow"),
    (AssertionError("not equal"), "not equal"),
    (AssertionError(), "AssertionError"),
    (KeyError("token"), "KeyError: 'token'"),
    (IndexError("list index out of range"), "list index out of range"),
    (TypeError("a type"), "a type"),
    (AttributeError("an attribute"), "an attribute"),
    (ValueError("a value"), "a value"),
    (
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        "'utf-8' codec can't decode byte 0xff in position 0: bad",
    ),
]


@pytest.mark.parametrize(("error", "text"), SWALLOWED, ids=lambda each: type(each).__name__)
def test_these_exceptions_mark_the_call_failed_and_end_at_the_block(error: Exception, text: str) -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        went_on = False
        async with session.get("/"):
            raise error
        went_on = True
        assert went_on

    assert play(scenario).errors() == {text: 1}


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug"), LookupError("a bug"), OSError("a bug"), Exception("a bug")]
)
def test_any_other_exception_is_recorded_and_raised(error: Exception) -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        with pytest.raises(type(error), match="a bug"):
            async with session.get("/"):
                raise error
        assert not getattr(error, "aiotest_recorded", False)

    recorded = play(scenario)
    assert recorded.errors() == {"a bug": 1}
    assert recorded.total("requests") == 1


@pytest.mark.parametrize("verdict", ["success", "failure"])
@pytest.mark.parametrize("error", [error for error, _ in SWALLOWED[:6]], ids=lambda each: type(each).__name__)
def test_after_a_verdict_every_exception_is_raised(verdict: str, error: Exception) -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        with pytest.raises(type(error)):
            async with session.get("/") as response:
                if verdict == "success":
                    response.success()
                else:
                    response.failure("the verdict")
                raise error

    assert play(scenario).errors() == ({} if verdict == "success" else {"the verdict": 1})


def test_a_cancel_after_a_verdict_keeps_it() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), session.get("/") as response:
                response.success()
                await asyncio.sleep(10)

    assert play(scenario).errors() == {}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_block_is_recorded_and_raised(error: type[BaseException]) -> None:
    async def main() -> None:
        async with Server() as server, ClientSession(base_url=server.url) as session:
            async with session.get("/body"):
                raise error

    Recorded()
    with pytest.raises(error):
        asyncio.run(main())
    assert Recorded().errors() == {error.__name__: 1}


def test_a_failing_status_and_its_exception_are_one_failure() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        async with session.get("/missing") as response:
            response.raise_for_status()
        response = await session.get("/missing")
        with pytest.raises(ClientResponseError) as raised:
            response.raise_for_status()
        assert raised.value.aiotest_recorded  # type: ignore[attr-defined]
        assert raised.value.status == 404
        assert raised.value.headers["content-length"] == "12"
        with pytest.raises(ClientResponseError, match="404"):
            async with session.get("/missing", raise_for_status=True):
                pytest.fail("the block was entered")
        async with ClientSession(base_url=server.url, raise_for_status=True) as strict:
            with pytest.raises(ClientResponseError, match="404"):
                await strict.get("/missing")
            assert (await strict.get("/missing", raise_for_status=False)).status == 404

    recorded = play(scenario)
    assert recorded.errors() == {"404 Not Found": 5}
    assert recorded.total("requests") == 5


def test_a_bad_json_reply_is_a_failure_of_its_call() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        server.replies["/bad"] = reply(body=b"{oops", head="Content-Type: application/json\r\n")
        async with session.get("/bad") as response:
            await response.json()
            pytest.fail("bad JSON was read")

    assert len(play(scenario).errors()) == 1


def test_the_inner_calls_failure_marks_the_outer_ones_block() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        async with session.get("/"), session.get("/closed-port", name="inner"):
            pass
        async with session.get("/"):
            await session.get("http://127.0.0.1:1/", name="inner")

    recorded = play(scenario)
    assert recorded.row("/")["failures"] == 1
    assert recorded.row("inner")["failures"] == 2


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_a_refused_call_is_recorded_and_raised() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        url = f"http://127.0.0.1:{unused_port()}/"
        for _ in range(2):
            with pytest.raises(ClientConnectorError) as raised:
                async with session.get(url, name="refused"):
                    pytest.fail("the block was entered")
            assert raised.value.aiotest_recorded  # type: ignore[attr-defined]
            assert raised.value.host == "127.0.0.1"

    row = play(scenario).row("refused")
    assert (row["requests"], row["failures"], row["sent"]) == (2, 2, 0)


async def close(seen: Seen, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def garbage(seen: Seen, writer: asyncio.StreamWriter) -> None:
    writer.write(b"this is no HTTP\r\n\r\n")
    writer.close()


async def reset(seen: Seen, writer: asyncio.StreamWriter) -> None:
    linger = socket.SO_LINGER
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, linger, b"\1\0\0\0\0\0\0\0")
    writer.close()


@pytest.mark.parametrize(
    ("handler", "kind"),
    [(close, ServerDisconnectedError), (garbage, ClientResponseError), (reset, ClientConnectionError)],
)
def test_no_reply_is_a_failure_by_its_kind(handler: Any, kind: type[Exception]) -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        server.handlers["/fails"] = handler
        with pytest.raises(kind) as raised:
            await session.post("/fails")
        assert raised.value.aiotest_recorded  # type: ignore[attr-defined]

    row = play(scenario).row("/fails", "POST")
    assert (row["requests"], row["failures"], row["sent"], row["retried"]) == (1, 1, 1, 0)


def test_a_name_that_does_not_resolve_is_a_connector_error() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        with pytest.raises(ClientConnectorError):
            await session.get("http://no-such-name.invalid/", name="dns")

    assert play(scenario).row("dns")["requests"] == 1


def test_a_body_that_is_cut_is_a_payload_error_and_swallowed_in_the_block() -> None:
    async def cut(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(body=b"half", length=8))
        await writer.drain()
        writer.close()

    async def scenario(server: Server, session: ClientSession) -> None:
        server.handlers["/cut"] = cut
        async with session.get("/cut") as response:
            await response.read()
            pytest.fail("a cut body was read")
        async with session.get("/cut") as response:
            pass
        response = await session.get("/cut")
        with pytest.raises(ClientPayloadError) as raised:
            await response.read()
        assert raised.value.aiotest_recorded  # type: ignore[attr-defined]
        async with session.get("/cut") as response:
            pieces = []
            with pytest.raises(ClientPayloadError):
                async for piece in response.content.iter_any():
                    pieces.append(piece)
            assert pieces == [b"half"]

    recorded = play(scenario)
    assert recorded.row("/cut")["requests"] == recorded.row("/cut")["failures"] == 4
    assert len(recorded.errors()) == 1


def test_a_body_left_early_is_truncated_and_its_connection_closed() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        server.replies["/large"] = reply(body=bytes(4_000_000))
        async with session.get("/large") as response:
            assert await response.content.read(100)
        await server.until(lambda: server.open == 0)
        async with session.get("/"):
            pass
        assert server.connections == 2

    recorded = play(scenario)
    assert (recorded.row("/large")["truncated"], recorded.row("/large")["failures"]) == (1, 0)


def test_each_limit_of_the_timeout_has_its_exception() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        with pytest.raises(ServerTimeoutError) as total:
            await session.get("/hang", name="total", timeout=ClientTimeout(total=0.05))
        assert isinstance(total.value, TimeoutError)
        assert isinstance(total.value, ClientError)
        with pytest.raises(ServerTimeoutError):
            await session.get("/hang", name="number", timeout=0.05)
        with pytest.raises(SocketTimeoutError):
            await session.get("/hang", name="read", timeout=ClientTimeout(sock_read=0.05))
        async with full_backlog() as url:
            with pytest.raises(ConnectionTimeoutError):
                await session.get(url, name="connect", timeout=ClientTimeout(connect=0.05))
            with pytest.raises(ConnectionTimeoutError):
                await session.get(url, name="connect", timeout=ClientTimeout(sock_connect=0.05))
        async with session.get("/body", name="body", timeout=0.05) as response:
            await response.read()
            pytest.fail("a body was read that never came")
        async with session.get("/body", name="left", timeout=0.05):
            pass

    recorded = play(scenario)
    assert {row["name"]: row["failures"] for row in recorded.rows} == {
        "total": 1,
        "number": 1,
        "read": 1,
        "connect": 2,
        "body": 1,
        "left": 1,
    }
    assert all("timeout" in text for text in recorded.errors())


def test_a_call_is_named_after_its_first_hop_or_as_it_says() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        server.replies["/from"] = reply("302 Found", head="Location: /\r\n")
        for number in range(3):
            async with session.get(f"/item/{number}?q={number}", name="/item/[id]"):
                pass
            async with session.get(f"/from?number={number}"):
                pass

    recorded = play(scenario)
    assert recorded.row("/item/[id]")["requests"] == 3
    assert recorded.row("/from")["requests"] == 3
    assert len(recorded.rows) == 2


def test_a_custom_clients_call_is_recorded() -> None:
    Recorded()
    record("SQL", "select", 12.5, 100, None)
    record("SQL", "select", 0.25, 0, "no such table")
    recorded = Recorded()
    assert (recorded.row("select", "SQL")["requests"], recorded.errors()) == (2, {"no such table": 1})
    with pytest.raises(ValueError, match="response_time"):
        record("SQL", "select", -1, 0)


def listen() -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []

    async def handler(**keywords: Any) -> None:
        await asyncio.sleep(0)
        told.append({**keywords, "task": asyncio.current_task()})

    events.stats_request += handler
    return told


def test_handlers_of_stats_request_are_awaited_in_the_users_task() -> None:
    told = listen()

    async def scenario(server: Server, session: ClientSession) -> None:
        task = asyncio.current_task()
        async with session.get("/", name="ok"):
            pass
        assert [each["request_name"] for each in told] == ["ok"]
        async with session.get("/") as response:
            await response.json()
            raise AssertionError("swallowed")
        assert told[1]["error"] == "swallowed"
        with pytest.raises(ClientConnectorError):
            await session.get("http://127.0.0.1:1/")
        assert "127.0.0.1" not in told[2]["request_name"]
        assert told[2]["error"]
        response = await session.get("/missing")
        await response.read()
        assert told[3]["error"] == "404 Not Found"
        assert {each["task"] for each in told} == {task}
        assert told[0].keys() >= {"runner", "request_method", "response_time", "response_length"}
        assert (told[0]["request_method"], told[0]["error"]) == ("GET", None)
        assert 0 < told[0]["response_time"] < 5000
        assert told[0]["response_length"] == 12

    play(scenario)


def test_handlers_are_told_of_calls_that_nobody_leaves() -> None:
    told = listen()

    async def scenario(server: Server, session: ClientSession) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.get("/hang"), 0.05)
        response = await session.get("/")
        response.release()
        response = await session.get("/missing")
        del response
        for _ in range(10):
            await asyncio.sleep(0)

    play(scenario)
    assert [each["error"] for each in told] == ["TimeoutError", None, "404 Not Found"]
