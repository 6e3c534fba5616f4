"""The tasks of a `gather` of ours are to their coroutines what asyncio's own tasks are."""

from __future__ import annotations

import asyncio
import contextvars
import io
import sys
import weakref
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from typing import Any

import pytest
from aiotest import gathering
from gathered import PLAIN, Gather, at_once, forever, lived, value

pytestmark = pytest.mark.timeout(10)


def me() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def seen_by_asyncio(gather: Gather) -> Any:
    outer = me()

    async def who() -> Any:
        await asyncio.sleep(0)
        task = me()
        return task in asyncio.all_tasks(), task.get_loop() is asyncio.get_running_loop(), task.done()

    result = await gather(who(), who())
    return result, me() is outer, asyncio.all_tasks() == {outer}


async def cancelled_with_a_message(gather: Gather) -> Any:
    async def waits() -> Any:
        try:
            await forever()
        except asyncio.CancelledError as error:
            return error.args, me().cancelling(), me().uncancel(), me().cancelling()

    async def cancels() -> Any:
        (other,) = (task for task in asyncio.all_tasks() if task.get_name() == "the other")
        return other.cancel("why not"), other.cancelled()

    async def named() -> Any:
        me().set_name("the other")
        return await waits()

    return await gather(named(), cancels())


async def cancelled_before_it_waits(gather: Gather) -> Any:
    async def cancels_itself() -> Any:
        me().cancel("early")
        try:
            await asyncio.sleep(0.001)
        except asyncio.CancelledError as error:
            return error.args
        return "went on"

    return await gather(cancels_itself())


async def cancelled_in_its_last_step(gather: Gather) -> Any:
    async def cancels_itself() -> str:
        await asyncio.sleep(0)
        me().cancel()
        return "returned"

    return [type(each) for each in await gather(cancels_itself(), return_exceptions=True)]


async def a_group_of_its_own(gather: Gather) -> Any:
    async def parent() -> Any:
        async with asyncio.TaskGroup() as group:
            child = group.create_task(value("child"))
        return child.result()

    async def fails() -> Any:
        async def raising() -> None:
            raise ValueError("child")

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(raising())
                group.create_task(forever())
        except ExceptionGroup as errors:
            return [str(each) for each in errors.exceptions]

    return await gather(parent(), fails())


async def a_timeout_of_its_own(gather: Gather) -> Any:
    async def patient() -> Any:
        try:
            async with asyncio.timeout(0.01):
                await forever()
        except TimeoutError:
            return "timed out", me().cancelling()

    return await gather(patient(), patient())


async def awaited_by_others(gather: Gather) -> Any:
    tasks: list[asyncio.Task[Any]] = []
    heard: list[Any] = []

    async def first() -> str:
        tasks.append(me())
        await asyncio.sleep(0.001)
        return "first"

    async def second() -> Any:
        await asyncio.sleep(0)
        (task,) = tasks
        task.add_done_callback(lambda done: heard.append(done is task))
        task.add_done_callback(heard.append)
        removed = task.remove_done_callback(heard.append)
        with suppress(asyncio.InvalidStateError):
            heard.append(task.result())
        return await task, removed, heard, task.result(), task.exception(), task.cancelled()

    return await gather(first(), second())


async def a_shielded_whole(gather: Gather) -> Any:
    whole = gather(value("a", 3), at_once("b"))
    shield = asyncio.shield(whole)
    await asyncio.sleep(0)
    shield.cancel()
    return await whole


async def wholes_in_asyncios_own(gather: Gather) -> Any:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("one")

    inner = gather(forever(), forever())
    whole = PLAIN(gather(value("a"), value("b")), gather(fails()), inner, return_exceptions=True)
    await asyncio.sleep(0.001)
    inner.cancel("enough")
    first, second, third = await whole
    both = PLAIN(gather(value("a"), forever()), gather(forever()))
    await asyncio.sleep(0.001)
    both.cancel("all")
    try:
        await both
    except asyncio.CancelledError as error:
        return first, repr(second), type(third), type(error)


async def tasks_in_asyncios_own(gather: Gather) -> Any:
    async def one() -> Any:
        others = asyncio.all_tasks() - {me(), outer}
        for other in others:
            other.cancel("over")
        return [type(each) for each in await PLAIN(*others, return_exceptions=True)]

    outer = me()
    waited, seen = await gather(forever(), one(), return_exceptions=True)
    return type(waited), seen


async def a_callback_that_was_taken_back(gather: Gather) -> Any:
    heard: list[Any] = []
    whole = gather(value("a"))
    whole.add_done_callback(heard.append)
    whole.add_done_callback(heard.append)
    removed = whole.remove_done_callback(heard.append)
    await whole
    await asyncio.sleep(0)
    late: list[Any] = []
    whole.add_done_callback(lambda future: late.append(future.result()), context=contextvars.copy_context())
    at_first = list(late)
    await asyncio.sleep(0)
    return removed, heard, at_first, late


async def its_stack(gather: Gather) -> Any:
    async def deep() -> Any:
        task = me()
        await asyncio.sleep(0)
        text = io.StringIO()
        task.print_stack(file=text)
        return [frame.f_code.co_name for frame in task.get_stack()], "deep" in text.getvalue()

    return await gather(deep())


async def a_weak_reference(gather: Gather) -> Any:
    references: list[weakref.ref[Any]] = []

    async def noting() -> None:
        references.append(weakref.ref(me()))
        await asyncio.sleep(0)

    await gather(noting(), noting())
    await asyncio.sleep(0)
    return [reference() for reference in references]


class Bad:
    """Yields what no task can wait for."""

    def __init__(self, given: Any) -> None:
        self.given = given

    def __await__(self) -> Generator[Any, None, Any]:
        return (yield self.given)


async def what_cannot_be_awaited(gather: Gather) -> Any:
    other = asyncio.new_event_loop()
    foreign = other.create_future()
    other.close()
    unblocked = asyncio.get_running_loop().create_future()

    async def said(given: Any) -> Any:
        try:
            await Bad(given() if callable(given) else given)
        except RuntimeError as error:
            return str(error).partition(":")[0].partition(" <")[0]

    async def foreigner() -> Any:
        try:
            await foreign
        except RuntimeError as error:
            return "attached to a different loop" in str(error)

    async def itself() -> Any:
        try:
            await me()
        except RuntimeError as error:
            return str(error).partition(":")[0]

    return await gather(said(17), said("text"), said(unblocked), foreigner(), itself())


async def an_exception_nobody_hears_of(gather: Gather) -> Any:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("unheard")

    gather(fails(), value("x", 3))
    await asyncio.sleep(0.01)
    return "done"


SCENARIOS: list[Callable[[Gather], Awaitable[Any]]] = [
    seen_by_asyncio,
    cancelled_with_a_message,
    cancelled_before_it_waits,
    cancelled_in_its_last_step,
    a_group_of_its_own,
    a_timeout_of_its_own,
    awaited_by_others,
    a_shielded_whole,
    wholes_in_asyncios_own,
    tasks_in_asyncios_own,
    a_callback_that_was_taken_back,
    its_stack,
    a_weak_reference,
    what_cannot_be_awaited,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_it_gives_what_asyncios_gives(scenario: Callable[[Gather], Awaitable[Any]]) -> None:
    assert lived(scenario(gathering.gather)) == (given := lived(scenario(PLAIN)))
    assert given[1] == []


def test_an_exception_that_nobody_hears_of_is_told_of() -> None:
    for gather in gathering.gather, PLAIN:
        given, heard = lived(an_exception_nobody_hears_of(gather))
        assert given == "done"
        assert [str(each["exception"]) for each in heard] == ["unheard"]
        assert "never retrieved" in heard[0]["message"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_what_stops_the_loop_gets_through(stop: type[BaseException]) -> None:
    async def stops() -> None:
        await asyncio.sleep(0)
        raise stop

    async def user() -> Any:
        await gathering.gather(stops(), forever())

    with pytest.raises(stop):
        lived(user())


def test_it_has_the_names_of_an_asyncio_task() -> None:
    async def user() -> Any:
        async def names() -> set[str]:
            return set(dir(me()))

        return (await gathering.gather(names()))[0]

    private = {name for name in dir(asyncio.Task) if name.startswith("_")}
    # Set once by whoever runs the coroutine, which is nobody but the task itself.
    missing = set(dir(asyncio.Task)) - private - lived(user())[0] - {"set_result", "set_exception"}
    assert missing == set(), sys.version
