"""A call that is cut, in every phase and in every way, is recorded once, and its task is resumed once."""

# ruff: noqa: PT012 (blocks and what comes out of them are what is tested here)
from __future__ import annotations

import asyncio
import gc
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiotest._native import UserScope
from aiotest.client import ClientSession, current_scope
from call_server import Server
from test_call import as_coroutine, play


@asynccontextmanager
async def full_backlog() -> AsyncIterator[str]:
    """The URL of a listener that completes no more handshakes."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        await asyncio.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{address[1]}/connecting"
        finally:
            for filler in fillers:
                filler.close()


@asynccontextmanager
async def deaf_server() -> AsyncIterator[str]:
    """The URL of a server that accepts and never reads."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/sending"


Phase = Callable[[Server, ClientSession], Awaitable[None]]


async def resolving(server: Server, session: ClientSession) -> None:
    await session.get("http://a-name-to-look-up.invalid/resolving", name="phase")


async def connecting(server: Server, session: ClientSession) -> None:
    async with full_backlog() as url:
        await session.get(url, name="phase")


async def sending(server: Server, session: ClientSession) -> None:
    async with deaf_server() as url, session.post(url, data=bytes(20_000_000), name="phase"):
        pass


async def waiting(server: Server, session: ClientSession) -> None:
    async with session.get("/hang", name="phase"):
        pass


async def reading(server: Server, session: ClientSession) -> None:
    async with session.get("/body", name="phase") as response:
        await response.read()


async def leaving(server: Server, session: ClientSession) -> None:
    async with session.get("/body", name="phase"):
        pass


async def reading_plainly(server: Server, session: ClientSession) -> None:
    response = await session.get("/body", name="phase")
    await response.read()


PHASES = [connecting, sending, waiting, reading, leaving, reading_plainly]


@pytest.mark.parametrize("phase", [resolving, *PHASES])
def test_a_cancelled_call_is_one_failure(phase: Phase) -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        task = asyncio.ensure_future(phase(server, session))
        await asyncio.sleep(0 if phase is resolving else 0.1)
        if phase is resolving:
            await asyncio.sleep(0)
        assert task.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    recorded = play(scenario)
    row = recorded.rows[0]
    assert len(recorded.rows) == 1
    assert (row["requests"], row["failures"], row["aborted"]) == (1, 1, 0)
    assert recorded.errors() == {"Cancelled": 1}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("how", ["timeout", "wait_for"])
def test_a_call_under_a_timeout_of_the_scenario_is_one_timeout_error(phase: Phase, how: str) -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        with pytest.raises(TimeoutError):
            if how == "wait_for":
                await asyncio.wait_for(phase(server, session), 0.1)
            else:
                async with asyncio.timeout(0.1):
                    await phase(server, session)

    recorded = play(scenario)
    assert recorded.errors() == {"TimeoutError": 1}
    assert recorded.total("requests") == 1


def test_a_cancelled_wait_for_is_no_timeout() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        task = asyncio.create_task(asyncio.wait_for(session.get("/hang"), 60))
        await server.until(lambda: len(server.seen) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert play(scenario).errors() == {"Cancelled": 1}


def test_a_bare_call_under_wait_for_times_out() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.get("/hang"), 0.05)
        assert (await session.get("/")).status == 200

    recorded = play(scenario)
    assert recorded.errors() == {"TimeoutError": 1}
    assert recorded.total("requests") == recorded.total("sent") == 2


def test_a_task_that_survives_its_cancellation_goes_on() -> None:
    async def user(session: ClientSession) -> int:
        with suppress(asyncio.CancelledError):
            await session.get("/hang")
        return int((await session.get("/")).status)

    async def scenario(server: Server, session: ClientSession) -> None:
        task = asyncio.create_task(user(session))
        await server.until(lambda: len(server.seen) == 1)
        task.cancel()
        assert await task == 200

    recorded = play(scenario)
    assert (recorded.row("/hang")["failures"], recorded.row("/")["failures"]) == (1, 0)


def test_a_failing_sibling_cancels_a_task_groups_calls() -> None:
    async def fails(server: Server) -> None:
        await server.until(lambda: len(server.seen) == 2)
        raise LookupError

    async def scenario(server: Server, session: ClientSession) -> None:
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(as_coroutine(session.get("/hang")))
                group.create_task(as_coroutine(session.get("/hang")))
                group.create_task(fails(server))

    assert play(scenario).errors() == {"Cancelled": 2}


def test_a_shielded_call_outlives_its_waiter() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        inner = asyncio.ensure_future(session.get("/hang"))
        outer = asyncio.create_task(asyncio.wait_for(asyncio.shield(inner), 60))
        await server.until(lambda: len(server.seen) == 1)
        outer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outer
        server.release()
        assert (await inner).status == 200

    assert play(scenario).errors() == {}


def test_cancelling_never_runs_the_other_task_inline() -> None:
    async def user(session: ClientSession, seen: list[object]) -> None:
        try:
            await session.get("/hang")
        except asyncio.CancelledError:
            seen.append(asyncio.current_task())
            raise

    async def scenario(server: Server, session: ClientSession) -> None:
        seen: list[object] = []
        task = asyncio.create_task(user(session, seen))
        await server.until(lambda: len(server.seen) == 1)
        task.cancel()
        task.cancel()
        assert seen == []
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == [task]

    assert play(scenario).errors() == {"Cancelled": 1}


@pytest.mark.parametrize("how", ["throw", "close", "collect"])
def test_a_call_that_is_let_go_of_under_way_is_recorded_once(how: str) -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        call = session.get("/hang")
        call.send(None)
        await server.until(lambda: len(server.seen) == 1)
        if how == "throw":
            with pytest.raises(LookupError):
                call.throw(LookupError("out of a test"))
        elif how == "close":
            call.close()
        del call
        gc.collect()
        await server.until(lambda: server.open == 0)

    recorded = play(scenario)
    assert recorded.row("/hang")["requests"] == recorded.row("/hang")["sent"] == 1
    assert recorded.errors() == {"Cancelled": 1}


def test_a_reply_that_is_collected_is_recorded_by_its_status() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        await session.get("/")
        await session.get("/missing")
        gc.collect()

    recorded = play(scenario)
    assert recorded.row("/")["failures"] == 0
    assert recorded.errors() == {"404 Not Found": 1}


def test_a_users_coroutine_that_is_collected_in_a_block_records_its_call_once() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        user = reading(server, session)
        user.send(None)
        await server.until(lambda: len(server.seen) == 1)
        user.close()

    assert play(scenario).total("requests") == 1


def test_a_storm_of_cancellations_counts_every_request() -> None:
    counted: list[int] = []

    async def user(session: ClientSession, path: str) -> None:
        async with session.get(path) as response:
            await response.read()

    async def scenario(server: Server, session: ClientSession) -> None:
        choose = random.Random(7)
        sessions = [ClientSession(base_url=server.url) for _ in range(100)]
        for _ in range(5):
            tasks = [
                asyncio.create_task(user(each, choose.choice(["/", "/hang", "/body"]))) for each in sessions
            ]
            rounds = [choose.randrange(12) for _ in tasks]
            for turn in range(12):
                for task, at in zip(tasks, rounds, strict=True):
                    if at == turn:
                        task.cancel()
                await asyncio.sleep(0.001)
            await asyncio.gather(*tasks, return_exceptions=True)
        for each in sessions:
            await each.close()
        await server.until(lambda: server.open == 0)
        counted.append(len(server.seen))

    recorded = play(scenario)
    assert recorded.total("sent") == counted[0]
    started = recorded.total("requests")
    assert 0 < started <= 500
    assert recorded.total("aborted") == 0
    assert set(recorded.errors()) <= {"Cancelled"}


def test_closing_a_session_ends_its_open_calls() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        task = asyncio.create_task(as_coroutine(session.get("/hang")))
        await server.until(lambda: len(server.seen) == 1)
        await session.close()
        with pytest.raises(Exception, match="Connection closed"):
            await task
        with pytest.raises(RuntimeError, match="Session is closed"):
            await session.get("/")

    assert play(scenario).errors() == {"Cancelled": 1}


def in_scope(server: Server) -> tuple[UserScope, ClientSession]:
    scope = UserScope()
    token = current_scope.set(scope)
    session = ClientSession(base_url=server.url)
    current_scope.reset(token)
    return scope, session


def test_a_retired_scope_starts_no_call_and_says_when_its_last_one_is_recorded() -> None:
    async def scenario(server: Server, _: ClientSession) -> None:
        scope, session = in_scope(server)
        assert scope.retire(lambda: None)
        with pytest.raises(asyncio.CancelledError):
            await session.get("/")
        scope.reopen()
        task = asyncio.create_task(leaving(server, session))
        await server.until(lambda: len(server.seen) == 1)
        assert scope.open_calls == 1
        done = asyncio.Event()
        assert not scope.retire(done.set)
        assert not done.is_set()
        server.release()
        await done.wait()
        await task
        assert scope.open_calls == 0
        await session.close()

    recorded = play(scenario)
    assert recorded.row("phase")["requests"] == 1
    assert recorded.errors() == {}


@pytest.mark.parametrize("phase", [waiting, reading, leaving, reading_plainly])
def test_an_aborted_scope_counts_its_calls_as_aborted(phase: Phase) -> None:
    async def scenario(server: Server, _: ClientSession) -> None:
        scope, session = in_scope(server)
        task: asyncio.Future[Any] = asyncio.ensure_future(phase(server, session))
        await server.until(lambda: len(server.seen) == 1)
        await asyncio.sleep(0.02)
        scope.abort()
        assert scope.open_calls == 0
        with pytest.raises(asyncio.CancelledError):
            await task
        await session.close()

    row = play(scenario).row("phase")
    assert (row["requests"], row["failures"], row["aborted"], row["sent"]) == (0, 0, 1, 1)
