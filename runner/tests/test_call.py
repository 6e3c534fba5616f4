"""A call is a good asyncio citizen: whatever asyncio does with coroutines, it does with calls."""

from __future__ import annotations

import asyncio
import collections.abc
import contextvars
import gc
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from aiotest.client import Call, ClientSession
from call_server import Recorded, Seen, Server, reply

Scenario = Callable[[Server, ClientSession], Awaitable[None]]


def play(scenario: Scenario, *, debug: bool = False) -> Recorded:
    """Run a scenario against a server of its own and return what was recorded."""

    async def main() -> None:
        async with Server() as server, ClientSession(base_url=server.url) as session:
            async with asyncio.timeout(20):
                await scenario(server, session)

    Recorded()
    asyncio.run(main(), debug=debug)
    return Recorded()


def as_coroutine(call: Call) -> Coroutine[Any, Any, Any]:
    assert isinstance(call, collections.abc.Coroutine)
    return call


@pytest.mark.parametrize("debug", [False, True])
def test_a_call_can_be_awaited_in_every_way(debug: bool) -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        responses = [
            await session.get("/"),
            await asyncio.create_task(as_coroutine(session.get("/"))),
            await asyncio.wait_for(session.get("/"), 5),
            await asyncio.shield(session.get("/")),
            *await asyncio.gather(session.get("/"), session.get("/")),
        ]
        async with asyncio.TaskGroup() as group:
            task = group.create_task(as_coroutine(session.get("/")))
        responses.append(task.result())
        async with asyncio.timeout(5), session.get("/") as response:
            responses.append(response)
            assert await response.json() == {"ok": True}
        assert [response.status for response in responses] == [200] * 8
        assert await responses[0].json() == {"ok": True}
        assert list(await asyncio.gather(responses[1].json(), responses[2].text())) == [
            {"ok": True},
            '{"ok": true}',
        ]
        assert await asyncio.create_task(as_coroutine(responses[3].read())) == b'{"ok": true}'
        assert await asyncio.wait_for(responses[4].read(), 5) == b'{"ok": true}'

    recorded = play(scenario, debug=debug)
    assert recorded.row("/")["requests"] == recorded.row("/")["sent"] == 8
    assert recorded.errors() == {}


def test_a_call_is_no_future() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        call = session.get("/")
        assert asyncio.iscoroutine(call)
        assert not asyncio.isfuture(call)
        await call

    play(scenario)


def test_a_call_starts_when_it_is_awaited_and_warns_if_it_never_is() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        call = session.get("/")
        await asyncio.sleep(0)
        await session.get("/first")
        assert [seen.path for seen in server.seen] == ["/first"]
        with pytest.warns(RuntimeWarning, match=r"'ClientSession\.get' was never awaited"):
            del call
        closed = session.get("/")
        closed.close()
        del closed
        gc.collect()

    assert play(scenario).total("sent") == 1


def test_a_call_cannot_be_awaited_twice() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        call = session.get("/")
        await call
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await call
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            async with call:
                pass

    assert play(scenario).total("requests") == 1


def test_context_variables_are_the_tasks_own_after_a_call() -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")

    async def user(session: ClientSession, number: int) -> None:
        variable.set(number)
        for _ in range(5):
            async with session.get("/") as response:
                assert variable.get() == number
                await response.read()
            assert variable.get() == number
            variable.set(number)

    async def scenario(server: Server, session: ClientSession) -> None:
        await asyncio.gather(*(user(session, number) for number in range(20)))
        assert variable.get(None) is None

    assert play(scenario).row("/")["requests"] == 100


def test_an_exception_in_one_step_does_not_drop_the_rest_of_the_batch() -> None:
    async def fails(session: ClientSession) -> None:
        await session.get("/hang")
        raise LookupError("a step that raises")

    async def scenario(server: Server, session: ClientSession) -> None:
        sessions = [ClientSession(base_url=server.url) for _ in range(20)]
        steps = [fails(each) if number % 2 else each.get("/hang") for number, each in enumerate(sessions)]
        everything = asyncio.gather(*steps, return_exceptions=True)
        await server.until(lambda: len(server.seen) == 20)
        server.release()
        results: list[Any] = list(await everything)
        assert sum(isinstance(result, LookupError) for result in results) == 10
        assert [result.status for result in results[::2]] == [200] * 10

    assert play(scenario).row("/hang")["requests"] == 20


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_out_of_one_step_is_raised_after_the_rest_of_the_batch(
    stop: type[BaseException],
) -> None:
    resumed: list[int] = []

    async def user(server: Server, number: int) -> None:
        async with ClientSession(base_url=server.url) as session:
            await session.get("/hang")
            resumed.append(number)
            if number == 0:
                raise stop

    async def main() -> None:
        async with Server() as server:
            users = [asyncio.create_task(user(server, number)) for number in range(5)]
            await server.until(lambda: len(server.seen) == 5)
            server.release()
            await asyncio.wait(users)

    with pytest.raises(stop):
        asyncio.run(main())
    assert 0 in resumed


def test_a_callback_that_fails_is_reported_to_the_loop() -> None:
    reported: list[dict[str, Any]] = []

    def callback(waiter: object) -> None:
        raise LookupError("out of a step")

    async def scenario(server: Server, session: ClientSession) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
        call = session.get("/hang")
        waiter: Any = call.send(None)
        waiter.add_done_callback(callback, context=contextvars.copy_context())
        good = asyncio.create_task(as_coroutine(session.get("/hang")))
        await server.until(lambda: len(server.seen) == 2)
        server.release()
        assert (await good).status == 200
        with pytest.raises(StopIteration) as stopped:
            call.send(None)
        assert stopped.value.value.status == 200

    play(scenario)
    assert [type(context["exception"]) for context in reported] == [LookupError]


def test_a_second_loop_after_the_first_works() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        assert (await session.get("/")).status == 200

    for _ in range(3):
        assert play(scenario).row("/")["requests"] == 1


def test_a_nested_job_may_hold_many_calls_open() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        calls = [asyncio.create_task(as_coroutine(session.get("/hang"))) for _ in range(30)]
        await server.until(lambda: len(server.seen) == 30)
        assert server.connections == 30
        server.release()
        assert {response.status for response in await asyncio.gather(*calls)} == {200}

    assert play(scenario).row("/hang")["requests"] == 30


def test_two_tasks_may_read_one_reply() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        async with session.get("/body") as response:
            reads = asyncio.gather(response.read(), response.text())
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="another task is reading"):
                await response.content.readany()
            server.release()
            assert await reads == [b"halfmore", "halfmore"]

    assert play(scenario).row("/body")["failures"] == 0


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_eager_tasks_start_calls_at_once() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        factory = asyncio.eager_task_factory  # type: ignore[attr-defined,unused-ignore]
        asyncio.get_running_loop().set_task_factory(factory)
        tasks = [asyncio.create_task(as_coroutine(session.get("/"))) for _ in range(5)]
        assert {response.status for response in await asyncio.gather(*tasks)} == {200}
        assert (await asyncio.wait_for(session.get("/"), 5)).status == 200

    assert play(scenario).row("/")["requests"] == 6


def test_pythons_own_task_drives_calls() -> None:
    made = asyncio.tasks._PyTask  # type: ignore[attr-defined]

    async def scenario(server: Server, session: ClientSession) -> None:
        asyncio.get_running_loop().set_task_factory(
            lambda loop, coroutine, **given: made(coroutine, loop=loop, **given)
        )
        responses = await asyncio.gather(*(session.get("/") for _ in range(5)))
        assert {response.status for response in responses} == {200}
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.create_task(as_coroutine(session.get("/hang"))), 0.05)

    recorded = play(scenario)
    assert recorded.row("/")["requests"] == 5
    assert recorded.row("/hang")["failures"] == 1


def test_uvloop_drives_calls() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        async with Server() as server, ClientSession(base_url=server.url) as session:
            responses = await asyncio.gather(*(session.get("/") for _ in range(10)))
            assert {response.status for response in responses} == {200}
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(session.get("/hang"), 0.05)

    Recorded()
    uvloop.run(main())
    recorded = Recorded()
    assert recorded.row("/")["requests"] == 10
    assert recorded.errors() == {"TimeoutError": 1}


def test_calls_and_replies_are_not_leaked() -> None:
    async def scenario(server: Server, session: ClientSession) -> None:
        async def user() -> None:
            async with session.get("/") as response:
                # A cycle through the reply, as a scenario that keeps its last reply makes it.
                kept: list[Any] = [response, response.headers]
                kept.append(kept)

        for _ in range(50):
            await asyncio.create_task(user())
        gc.collect()
        kinds = [type(each).__name__ for each in gc.get_objects()]
        assert kinds.count("Response") == 0
        assert kinds.count("Call") == 0
        assert kinds.count("Waiter") <= 1

    play(scenario)


def test_a_stale_event_of_a_closed_connection_harms_nobody() -> None:
    async def both(seen: Seen, writer: Any) -> None:
        writer.write(reply(body=b"x" * 10, length=20))
        await writer.drain()
        writer.write(b"x" * 10)
        writer.close()

    async def scenario(server: Server, session: ClientSession) -> None:
        server.handlers["/both"] = both
        for turn in range(50):
            calls = [asyncio.create_task(as_coroutine(session.get("/both"))) for _ in range(4)]
            await server.until(lambda sent=4 * (turn + 1): len(server.seen) == sent)  # type: ignore[misc]
            calls[0].cancel()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [r.status for r in results[1:]] == [200, 200, 200]  # type: ignore[union-attr]
            for response in results[1:]:
                assert len(await response.read()) == 20  # type: ignore[union-attr]

    play(scenario)
