"""What users gather is run by a `gather` of ours: the same as asyncio's, in all that can be seen of it."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from aiotest import User, gathering
from gathered import PLAIN, Gather, at_once, forever, lived, value
from hosting import hosted, in_loop

pytestmark = pytest.mark.timeout(60)

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody's")


async def failing(text: str, turns: int = 1) -> str:
    await value(text, turns)
    raise ValueError(text)


async def in_order(gather: Gather) -> Any:
    return await gather(value("slow", 5), at_once("now"), value("a bit", 2))


async def of_one(gather: Gather) -> Any:
    return await gather(at_once("it"))


async def of_none(gather: Gather) -> Any:
    return await gather()


async def the_same_twice(gather: Gather) -> Any:
    coroutine = value("one")
    return await gather(coroutine, coroutine)


async def tasks_and_futures(gather: Gather) -> Any:
    future = asyncio.get_running_loop().create_future()
    future.set_result("future")
    return await gather(asyncio.ensure_future(value("task")), future, value("coroutine"))


async def the_first_failure(gather: Gather) -> Any:
    done: list[str] = []

    async def goes_on() -> None:
        await value("", 5)
        done.append("went on")

    try:
        await gather(goes_on(), failing("first", 2), failing("second", 3), failing("at once", 0))
    except ValueError as error:
        early = list(done)
        await asyncio.sleep(0.01)
        return str(error), early, done
    return None


async def failures_as_results(gather: Gather) -> Any:
    results = await gather(failing("one"), value("two"), failing("three", 0), return_exceptions=True)
    return [repr(each) for each in results]


async def cancelled_from_outside(gather: Gather) -> Any:
    seen: list[Any] = []

    async def noting() -> None:
        try:
            await forever()
        except asyncio.CancelledError as error:
            seen.append(error.args)
            raise

    whole = gather(noting(), at_once("done"), noting())
    await asyncio.sleep(0.001)
    told = whole.cancel("enough")
    try:
        await whole
    except asyncio.CancelledError as error:
        return told, seen, whole.done(), type(error), whole.cancel()
    return None


async def timed_out(gather: Gather) -> Any:
    try:
        async with asyncio.timeout(0.01):
            await gather(forever(), forever())
    except TimeoutError:
        return "timed out", len(asyncio.all_tasks())
    return None


async def waited_for(gather: Gather) -> Any:
    try:
        await asyncio.wait_for(gather(forever(), at_once("x")), 0.01)
    except TimeoutError:
        return "timed out"
    return None


async def one_cancels_itself(gather: Gather) -> Any:
    async def gives_up() -> None:
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    try:
        await gather(gives_up(), value("other", 3))
    except asyncio.CancelledError:
        cancelled = "cancelled"
    results = await gather(gives_up(), value("other", 3), return_exceptions=True)
    return cancelled, [type(each) for each in results]


async def cancelled_whole_with_failures_as_results(gather: Gather) -> Any:
    whole = gather(forever(), value("x", 2), return_exceptions=True)
    await asyncio.sleep(0.001)
    whole.cancel()
    try:
        return await whole
    except asyncio.CancelledError:
        return "cancelled"


async def one_refuses_to_be_cancelled(gather: Gather) -> Any:
    async def stubborn() -> str:
        with suppress(asyncio.CancelledError):
            await forever()
        return "stayed"

    whole = gather(stubborn(), forever())
    await asyncio.sleep(0.001)
    whole.cancel()
    try:
        return await whole
    except asyncio.CancelledError:
        return "cancelled all the same"


async def nested(gather: Gather) -> Any:
    async def pair(name: str) -> Any:
        return await gather(value(name + "1"), value(name + "2", 3))

    return await gather(pair("a"), pair("b"))


async def tasks_of_their_own(gather: Gather) -> Any:
    me = asyncio.current_task()

    async def who() -> Any:
        task = asyncio.current_task()
        VARIABLE.set("mine")
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        return task is not me, isinstance(task, asyncio.Task), "who" in repr(task)

    return await gather(who(), who()), VARIABLE.get()


async def a_callback_and_a_result(gather: Gather) -> Any:
    heard: list[Any] = []
    whole = gather(value("a"), value("b"))
    whole.add_done_callback(lambda future: heard.append(future.result()))
    assert asyncio.isfuture(whole)
    await asyncio.wait([whole])
    return heard, whole.result(), whole.exception(), whole.cancelled()


async def begun_though_nobody_waits(gather: Gather) -> Any:
    done: list[str] = []

    async def noting() -> None:
        await asyncio.sleep(0)
        done.append("done")

    gather(noting(), noting())
    await asyncio.sleep(0.01)
    return done


SCENARIOS: list[Callable[[Gather], Awaitable[Any]]] = [
    in_order,
    of_one,
    of_none,
    the_same_twice,
    tasks_and_futures,
    the_first_failure,
    failures_as_results,
    cancelled_from_outside,
    timed_out,
    waited_for,
    one_cancels_itself,
    cancelled_whole_with_failures_as_results,
    one_refuses_to_be_cancelled,
    nested,
    tasks_of_their_own,
    a_callback_and_a_result,
    begun_though_nobody_waits,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_it_gives_what_asyncios_gives(scenario: Callable[[Gather], Awaitable[Any]]) -> None:
    assert lived(scenario(gathering.gather)) == (given := lived(scenario(PLAIN)))
    assert given[0] is not None
    assert given[1] == []


def test_a_users_coroutines_are_gathered_by_ours_and_begun_at_once() -> None:
    begun: list[str] = []

    async def noting() -> None:
        begun.append("begun")
        await asyncio.sleep(0)

    async def user() -> Any:
        whole = gathering.gather(noting(), noting())
        so_far = list(begun)
        await whole
        return type(whole).__module__, so_far

    assert lived(user())[0] == ("aiotest._native", ["begun"] * 2)


def test_who_is_nobodys_user_has_asyncios() -> None:
    async def nobody() -> Any:
        whole = gathering.gather(at_once("a"))
        await whole
        return type(whole).__module__

    assert asyncio.run(nobody()).startswith("asyncio")


def test_nothing_of_it_is_left_to_the_garbage_collector() -> None:
    async def user() -> int:
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                await gathering.gather(value("a"), at_once("b"), value("c", 3))
            return gc.collect()
        finally:
            gc.enable()

    assert lived(user())[0] < 50


@pytest.mark.parametrize("fails", [False, True], ids=["all go on", "one has failed"])
def test_what_a_user_gathered_ends_with_the_user(fails: bool) -> None:
    ended: list[str] = []

    class TestA(User):
        wait_time = 0

        async def test_it(self) -> None:
            async def noting() -> None:
                try:
                    await forever()
                finally:
                    ended.append("ended")

            whole = gathering.gather(noting(), failing("x", 0) if fails else at_once("x"), noting())
            with suppress(ValueError):
                await (asyncio.wait_for(whole, 0.01) if fails else whole)
            await forever()

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await asyncio.sleep(0.05)
            assert ended == []
            await it.end()

    in_loop(story)
    assert ended == ["ended"] * 2


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="eager tasks are new in CPython 3.12")
def test_a_task_that_an_eager_user_makes_at_once_ends_with_the_user() -> None:
    ended: list[str] = []

    async def noting() -> None:
        try:
            await forever()
        finally:
            ended.append("ended")

    class TestA(User):
        async def start(self) -> None:
            self.other = asyncio.create_task(noting())
            await forever()

        async def test_it(self) -> None: ...

    async def story() -> None:
        asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 - absent in 3.11
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await asyncio.sleep(0.05)
            assert ended == []
            await it.end()
            assert ended == ["ended"]

    in_loop(story)


def test_files_are_given_it() -> None:
    gathering.install()
    try:
        assert asyncio.gather is gathering.gather
        assert asyncio.tasks.gather is gathering.gather
    finally:
        asyncio.gather = asyncio.tasks.gather = PLAIN
