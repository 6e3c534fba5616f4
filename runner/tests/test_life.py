"""How users begin, and what an exception does to one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiotest import AsyncHttpUser, User, events, runners
from aiotest.life import current_life, is_recorded
from hosting import Recorder, hosted, in_loop, until


def test_users_run_as_tasks_named_after_their_class() -> None:
    seen: list[str] = []

    class TestA(User):
        async def test_it(self) -> None:
            task = asyncio.current_task()
            assert task is not None
            assert task is self.task
            seen.append(task.get_name())
            await asyncio.Event().wait()

        wait_time = 0

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 3))
            await until(lambda: len(seen) == 3)
            assert seen == ["TestA"] * 3
            assert it.native.live == {0: 3}
            await it.end()
            assert it.native.live == {0: 0}
            assert it.native.dead == {0: 0}

    in_loop(story)


def test_jobs_run_in_order_for_ever_and_a_reassigned_list_is_obeyed() -> None:
    class TestA(Recorder):
        async def on_start(self) -> None:
            self.log.append("on_start")

        async def test_b(self) -> None:
            self.log.append("b")

        async def test_a(self) -> None:
            self.log.append("a")
            if self.log.count("a") == 2:
                self.jobs = [TestA.test_b]

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: len(TestA.log) >= 7)

    in_loop(story)
    assert TestA.log[:7] == ["on_start", "b", "a", "b", "a", "b", "b"]


def test_jobs_that_never_suspend_let_others_run() -> None:
    class TestBusy(Recorder):
        async def test_it(self) -> None:
            self.log.append("job")

    async def story() -> None:
        async with hosted(TestBusy) as it:
            it.native.do(("start", 0, 2))
            await until(lambda: len(TestBusy.log) > 10)

    in_loop(story)


def test_the_wait_follows_on_start_and_every_job_and_lateness_is_told() -> None:
    waits: list[float] = []

    class TestA(Recorder):
        wait_time = 0.05

        async def on_start(self) -> None:
            waits.append(asyncio.get_running_loop().time())

        async def test_it(self) -> None:
            waits.append(asyncio.get_running_loop().time())

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: len(waits) == 3)
            assert waits[1] - waits[0] >= 0.049
            assert waits[2] - waits[1] >= 0.049
            assert len(it.native.of("lateness")) == 2
            assert all(0 <= late < 5 for (late,) in it.native.of("lateness"))

    in_loop(story)


def test_a_user_that_cannot_be_made_is_dead() -> None:
    class TestA(Recorder):
        def __init__(self) -> None:
            raise RuntimeError("no luck")

        async def test_it(self) -> None: ...

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 2))
            await it.native.until(lambda: it.native.dead == {0: 2})
            assert it.native.live == {0: 0}
            assert it.native.of("user_error") == [("RuntimeError: no luck",)] * 2

    in_loop(story)


def test_users_of_one_host_do_not_share_context_variables() -> None:
    seen: list[Any] = []

    class TestA(User):
        async def test_it(self) -> None:
            seen.append((current_life.get(), self))
            await asyncio.Event().wait()

        wait_time = 0

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 2))
            await until(lambda: len(seen) == 2)
            assert all(life.user is user for life, user in seen)

    in_loop(story)


class CallFailed(Exception):
    aiotest_recorded = True


def test_a_failure_that_is_counted_already_goes_on_with_the_next_job() -> None:
    class TestA(Recorder):
        async def test_fails(self) -> None:
            raise CallFailed

        async def test_group_fails(self) -> None:
            raise ExceptionGroup("two", [CallFailed(), CallFailed()])

        async def test_next(self) -> None:
            self.log.append("next")

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: TestA.log.count("next") >= 2)
            assert it.native.of("user_error") == []

    in_loop(story)
    assert TestA.log[-1] == "on_stop"


def test_a_group_with_one_uncounted_failure_is_not_counted_already() -> None:
    assert is_recorded(ExceptionGroup("both", [CallFailed(), CallFailed()]))
    assert not is_recorded(ExceptionGroup("mixed", [CallFailed(), ValueError()]))


@pytest.mark.parametrize("where", ["on_start", "test_it"])
def test_any_other_exception_ends_the_user_with_user_error_and_one_on_stop(where: str) -> None:
    told: list[dict[str, Any]] = []

    async def on_user_error(runner: Any, error: str) -> None:
        told.append({"runner": runner, "error": error})

    class TestA(Recorder):
        async def on_start(self) -> None:
            if where == "on_start":
                raise KeyError("token")

        async def test_it(self) -> None:
            raise KeyError("token")

    async def story() -> None:
        events.user_error += on_user_error
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await it.native.until(lambda: it.native.dead == {0: 1})
            assert it.native.live == {0: 0}
            assert TestA.log == ["on_stop"]
            [(text,)] = it.native.of("user_error")
            assert text.startswith("KeyError: 'token' (test_life.py:")
        [event] = told
        assert isinstance(event["runner"], runners.LocalRunner)
        assert event["error"].startswith("KeyError: 'token'\n  File ")
        assert f"in {where}" in event["error"]

    in_loop(story)
    assert TestA.log == ["on_stop"]


def test_an_error_is_told_with_the_scenarios_line_wherever_it_was_raised() -> None:
    async def story() -> None:
        class TestIt(Recorder):
            async def on_start(self) -> None:
                json.loads("{")

            async def test_it(self) -> None: ...

        async with hosted(TestIt) as it:
            it.native.do(("start", 0, 1))
            await it.native.until(lambda: it.native.dead.get(0) == 1)
            ((text,),) = it.native.of("user_error")
            line = TestIt.on_start.__code__.co_firstlineno + 1
            assert text.startswith("JSONDecodeError: ")
            assert text.endswith(f" (test_life.py:{line})")

    in_loop(story)


def test_sys_exit_in_a_job_ends_only_that_user() -> None:
    class TestA(Recorder):
        async def test_it(self) -> None:
            raise SystemExit(2)

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 2))
            await it.native.until(lambda: it.native.dead == {0: 2})
            assert await it.end(0) == 0

    in_loop(story)


def test_an_overridden_start_that_returns_leaves_a_user_missing(log_lines: list[str]) -> None:
    class TestA(Recorder):
        async def start(self) -> None:
            await asyncio.gather(*(job(self) for job in self.jobs))

        async def test_it(self) -> None: ...

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await it.native.until(lambda: it.native.dead == {0: 1})
            assert it.native.of("user_error") == []

    in_loop(story)
    assert TestA.log == ["on_stop"]
    assert any("TestA.start returned" in line for line in log_lines)


def test_an_empty_job_list_ends_the_user_instead_of_the_loop() -> None:
    class TestA(Recorder):
        async def test_it(self) -> None:
            self.jobs = []

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await it.native.until(lambda: it.native.dead == {0: 1})
            [(text,)] = it.native.of("user_error")
            assert text.startswith("ValueError: TestA.jobs is empty")

    in_loop(story)


def test_an_exception_in_on_stop_is_logged_and_the_session_is_closed(log_lines: list[str]) -> None:
    sessions: list[Any] = []

    class TestA(AsyncHttpUser):
        wait_time = 0

        async def on_start(self) -> None:
            sessions.append(self.session)

        async def test_it(self) -> None: ...

        async def on_stop(self) -> None:
            await super().on_stop()
            assert not self.session.closed
            raise OSError("bye")

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: len(sessions) == 1)
            await it.end()
            assert it.native.dead == {0: 0}

    in_loop(story)
    assert sessions[0].closed
    assert any("TestA.on_stop raised" in line for line in log_lines)
