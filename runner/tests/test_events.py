"""Events call handlers; a bad handler harms nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiotest import events
from aiotest.events import EventHook


def fire(hook: EventHook, **keywords: Any) -> None:
    asyncio.run(hook.fire(**keywords))


def test_handlers_are_called_in_order_with_keywords() -> None:
    hook = EventHook()
    seen: list[Any] = []

    async def first(user_count: int, runner: object) -> None:
        seen.append(("first", user_count, runner))

    async def second(**keywords: Any) -> None:
        seen.append(("second", keywords))

    hook += first
    hook += second
    fire(hook, user_count=3, runner="r")
    assert seen == [("first", 3, "r"), ("second", {"user_count": 3, "runner": "r"})]


def test_a_handler_gets_only_the_keywords_that_it_names() -> None:
    hook, seen = EventHook(), []

    async def old(user_count: int) -> None:
        seen.append(user_count)

    hook += old
    fire(hook, user_count=3, runner="r")
    assert seen == [3]


def test_a_handler_that_raises_is_logged_and_the_next_is_called(log_lines: list[str]) -> None:
    hook, seen = EventHook("test_start"), []

    async def bad() -> None:
        raise ZeroDivisionError("no way")

    async def good() -> None:
        seen.append(1)

    hook += bad
    hook += good
    fire(hook)
    assert seen == [1]
    assert any("`test_start`" in line and "no way" in line for line in log_lines)


def test_a_handler_taken_off_is_not_called_again() -> None:
    hook, seen = EventHook(), []

    async def handler() -> None:
        seen.append(1)

    hook += handler
    assert hook.has_handlers
    hook -= handler
    assert not hook.has_handlers
    fire(hook)
    assert seen == []
    with pytest.raises(ValueError, match="is no handler of `event`"):
        hook -= handler


def test_something_that_cannot_be_called_is_refused_as_a_handler() -> None:
    hook = EventHook("init")
    with pytest.raises(TypeError, match="a handler of `init` must be a coroutine function, not 3"):
        hook += 3  # type: ignore[arg-type]


def test_what_is_carried_out_raises_at_once_or_when_all_have_been_called() -> None:
    hook, seen = EventHook("run_setup"), []

    async def bad() -> None:
        raise ZeroDivisionError("no way")

    async def good(runner: object) -> None:
        seen.append(runner)

    hook += bad
    hook += good
    with pytest.raises(ZeroDivisionError):
        asyncio.run(hook.carry_out(to_the_end=False, runner="r"))
    assert seen == []
    with pytest.raises(ZeroDivisionError):
        asyncio.run(hook.carry_out(to_the_end=True, runner="r"))
    assert seen == ["r"]


def test_fire_records_and_notify_does_not() -> None:
    recorded: list[dict[str, Any]] = []
    hook = EventHook()
    hook.record = lambda **keywords: recorded.append(keywords)
    asyncio.run(hook.notify(error="a"))
    assert recorded == []
    fire(hook, error="b")
    assert recorded == [{"error": "b"}]


def test_a_call_that_cannot_be_recorded_is_logged_and_its_handlers_are_called(log_lines: list[str]) -> None:
    hook, seen = EventHook("stats_request"), []

    def record(request_name: str) -> None:
        raise AssertionError("never reached: the keyword is missing")

    async def handler(**keywords: Any) -> None:
        seen.append(keywords)

    hook.record = record
    hook += handler
    fire(hook, name="x")
    assert seen == [{"name": "x"}]
    assert any("failed to record `stats_request`" in line for line in log_lines)


def test_the_events_exist() -> None:
    hooks = {name for name in events.__all__ if isinstance(getattr(events, name), EventHook)}
    assert hooks == {
        "init_command_line_parser",
        "init",
        "run_setup",
        "test_start",
        "start_complete",
        "stats_request",
        "user_error",
        "worker_report",
        "test_stop",
        "run_teardown",
        "quitting",
    }
