"""The life of users: a host obeys, users begin and end."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
from aiotest import AsyncHttpUser, User, events, runners
from aiotest.host import RunnerHost
from aiotest.life import current_life, is_recorded
from fakes import FakeNative, FakeScope

Story = Callable[[], Awaitable[None]]


def in_loop(story: Story) -> None:
    asyncio.run(asyncio.wait_for(story(), 20))


class Hosted:
    """A host on the running loop, with the native side in the test's hand."""

    def __init__(self, *classes: type[User]) -> None:
        self.native = FakeNative()
        self.scopes: list[FakeScope] = []
        self.recorded: list[tuple[Any, ...]] = []
        runner = runners.LocalRunner(self.native, Namespace())
        runners.global_runner = runner
        self.host = RunnerHost(
            self.native, classes, self._scope, lambda *call: self.recorded.append(call), runner
        )
        self.task = asyncio.create_task(self.host.run(), name="host")

    def _scope(self) -> FakeScope:
        self.scopes.append(FakeScope())
        return self.scopes[-1]

    async def end(self, code: int = 0) -> int:
        self.native.do(("end", code))
        return await self.task


@asynccontextmanager
async def hosted(*classes: type[User]) -> AsyncIterator[Hosted]:
    it = Hosted(*classes)
    try:
        yield it
    finally:
        if not it.task.done():
            await it.end()
        it.native.close()
        runners.global_runner = None


def scope() -> FakeScope:
    life = current_life.get()
    assert life is not None
    assert isinstance(life.scope, FakeScope)
    return life.scope


async def soon() -> None:
    await asyncio.sleep(0.001)


class Recorder(User):
    """A user that notes what happens to it."""

    log: ClassVar[list[str]]
    wait_time: float = 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.log = []

    async def on_stop(self) -> None:
        self.log.append("on_stop")


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():  # noqa: ASYNC110 - what is awaited here has no event of its own
            await asyncio.sleep(0.001)


# === beginning ===


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


# === exceptions ===


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
            assert text.startswith("KeyError: 'token' (test_users.py:")
        [event] = told
        assert isinstance(event["runner"], runners.LocalRunner)
        assert event["error"].startswith("KeyError: 'token'\n  File ")
        assert f"in {where}" in event["error"]

    in_loop(story)
    assert TestA.log == ["on_stop"]


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


# === retiring ===


def test_a_user_outside_a_call_is_cancelled_at_once() -> None:
    class TestA(Recorder):
        wait_time = 1000

        async def test_it(self) -> None: ...

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 3))
            await it.native.until(lambda: it.native.live == {0: 3})
            it.native.do(("retire", 0, 2))
            await it.native.until(lambda: it.native.live == {0: 1})
            assert it.native.dead == {0: 0}

    in_loop(story)
    assert TestA.log == ["on_stop"] * 3


def test_a_user_inside_a_call_leaves_when_the_call_is_recorded() -> None:
    class TestA(Recorder):
        reply: ClassVar[asyncio.Event]

        async def test_it(self) -> None:
            await scope().call(TestA.reply.wait)
            self.log.append("recorded")

        async def on_stop(self) -> None:
            await scope().call()
            await super().on_stop()

    async def story() -> None:
        TestA.reply = asyncio.Event()
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: bool(it.scopes and it.scopes[0].open_calls))
            it.native.do(("retire", 0, 1))
            await until(lambda: it.scopes[0].refuses)
            await asyncio.sleep(0.01)
            assert it.native.live == {0: 1}
            TestA.reply.set()
            await it.native.until(lambda: it.native.live == {0: 0})
            assert it.scopes[0].aborted == 0

    in_loop(story)
    assert TestA.log == ["recorded", "on_stop"]


def test_a_user_inside_a_call_is_cut_at_the_deadline_and_still_has_its_on_stop() -> None:
    class TestA(Recorder):
        async def test_it(self) -> None:
            await scope().call(asyncio.Event().wait)

        async def on_stop(self) -> None:
            await scope().call()
            await super().on_stop()

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 2))
            await until(lambda: len(it.scopes) == 2 and all(each.open_calls for each in it.scopes))
            it.native.do(("drain", 0.1))
            await it.native.until(lambda: it.native.live == {0: 0})
            assert [each.aborted for each in it.scopes] == [1, 1]
            assert it.native.dead == {0: 0}

    in_loop(story)
    assert TestA.log == ["on_stop", "on_stop"]


def test_an_overridden_start_with_a_call_open_in_another_task_waits_for_it() -> None:
    class TestA(Recorder):
        reply: ClassVar[asyncio.Event]
        started: ClassVar[int] = 0

        async def start(self) -> None:
            await asyncio.gather(*(job(self) for job in self.jobs))

        async def test_slow(self) -> None:
            await scope().call(TestA.reply.wait)
            self.log.append("recorded")

        async def test_loop(self) -> None:
            while True:
                await scope().call(soon)

    async def story() -> None:
        TestA.reply = asyncio.Event()
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: bool(it.scopes and it.scopes[0].open_calls == 2))
            it.native.do(("retire", 0, 1))
            await until(lambda: it.scopes[0].open_calls == 1)
            await asyncio.sleep(0.02)
            assert TestA.log == []
            TestA.reply.set()
            await it.native.until(lambda: it.native.live == {0: 0})

    in_loop(story)
    assert TestA.log == ["recorded", "on_stop"]


def test_the_tasks_that_a_user_made_end_with_it() -> None:
    children: list[asyncio.Task[Any]] = []

    class TestA(Recorder):
        async def start(self) -> None:
            children.append(asyncio.create_task(asyncio.sleep(1000)))
            await asyncio.Event().wait()

        async def test_it(self) -> None: ...

        async def on_stop(self) -> None:
            self.log.append(f"child cancelled: {children[0].cancelled()}")

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: len(children) == 1)
            it.native.do(("retire", 0, 1))
            await it.native.until(lambda: it.native.live == {0: 0})

    in_loop(story)
    assert TestA.log == ["child cancelled: True"]


def test_a_user_that_swallows_its_cancellation_is_cancelled_again() -> None:
    class TestA(Recorder):
        async def test_it(self) -> None:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                self.log.append("swallowed")
                if self.log.count("swallowed") == 2:
                    raise

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await it.native.until(lambda: it.native.live == {0: 1})
            await asyncio.sleep(0.01)
            it.native.do(("retire", 0, 1))
            await it.native.until(lambda: it.native.live == {0: 0})

    in_loop(story)
    assert TestA.log == ["swallowed", "swallowed", "on_stop"]


def test_on_stop_runs_once_when_the_user_stops_itself() -> None:
    class TestA(Recorder):
        async def test_it(self) -> None:
            await self.stop_user()
            await asyncio.sleep(1000)

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await it.native.until(lambda: it.native.dead == {0: 1})
            assert it.native.of("user_error") == []

    in_loop(story)
    assert TestA.log == ["on_stop"]


def test_on_stop_runs_once_when_the_user_never_took_its_first_step() -> None:
    class TestA(Recorder):
        async def test_it(self) -> None: ...

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1), ("retire", 0, 1))
            await it.native.until(lambda: TestA.log == ["on_stop"])
            await it.end()

    in_loop(story)
    assert TestA.log == ["on_stop"]


def test_on_stop_runs_once_under_an_overridden_start_user() -> None:
    class TestA(Recorder):
        def start_user(self) -> None:
            self.task = asyncio.create_task(self.start(), name="mine")

        async def test_it(self) -> None:
            await asyncio.sleep(1000)

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await it.native.until(lambda: it.native.live == {0: 1})
            it.native.do(("retire", 0, 1))
            await it.native.until(lambda: it.native.live == {0: 0})

    in_loop(story)
    assert TestA.log == ["on_stop"]


def test_a_timeout_works_in_on_stop_after_a_cancellation() -> None:
    class TestA(Recorder):
        wait_time = 1000

        async def test_it(self) -> None: ...

        async def on_stop(self) -> None:
            try:
                async with asyncio.timeout(0.01):
                    await asyncio.sleep(1000)
            except TimeoutError:
                self.log.append("timed out")
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(0))
            self.log.append("grouped")

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await it.native.until(lambda: it.native.live == {0: 1})
            it.native.do(("retire", 0, 1))
            await it.native.until(lambda: it.native.live == {0: 0})

    in_loop(story)
    assert TestA.log == ["timed out", "grouped"]


def test_the_newest_users_are_retired_first() -> None:
    ended: list[int] = []

    class TestA(User):
        made: ClassVar[int] = 0
        wait_time = 1000

        def __init__(self) -> None:
            super().__init__()
            TestA.made += 1
            self.number = TestA.made

        async def test_it(self) -> None: ...

        async def on_stop(self) -> None:
            ended.append(self.number)

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 4))
            await it.native.until(lambda: it.native.live == {0: 4})
            it.native.do(("retire", 0, 2))
            await it.native.until(lambda: it.native.live == {0: 2})
            assert sorted(ended) == [3, 4]

    in_loop(story)


# === the run ===


def test_stop_now_aborts_every_call_and_lets_nobody_call_again() -> None:
    class TestA(Recorder):
        async def test_it(self) -> None:
            await scope().call(asyncio.Event().wait)

        async def on_stop(self) -> None:
            self.log.append("on_stop")
            scope().refuses = not scope().reopened
            await scope().call()
            self.log.append("called")

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: bool(it.scopes and it.scopes[0].open_calls))
            it.native.do(("stop_now",))
            await it.native.until(lambda: it.native.live == {0: 0})
            assert it.scopes[0].aborted == 1
            # The master is heard again: users come back.
            it.native.do(("start", 0, 1))
            await it.native.until(lambda: it.native.live == {0: 1})
            it.native.do(("stop_now",))

    in_loop(story)
    assert TestA.log == ["on_stop", "on_stop"]


def test_events_of_a_run_fire_in_order_with_the_runner_and_the_clusters_count() -> None:
    told: list[Any] = []

    async def on_test_start(runner: Any) -> None:
        await asyncio.sleep(0.02)
        told.append(("test_start", type(runner).__name__, runner.user_count))

    async def on_start_complete(user_count: int, runner: Any) -> None:
        told.append(("start_complete", user_count))

    async def on_test_stop(runner: Any) -> None:
        told.append(("test_stop", runner.user_count))

    async def on_quitting() -> None:
        told.append(("quitting",))

    class TestA(Recorder):
        wait_time = 1000

        async def test_it(self) -> None: ...

    async def story() -> None:
        events.test_start += on_test_start
        events.start_complete += on_start_complete
        events.test_stop += on_test_stop
        events.quitting += on_quitting
        async with hosted(TestA) as it:
            # Users wait for the handlers of test_start; one that is retired meanwhile never starts.
            it.native.do(("test_start",), ("start", 0, 3), ("retire", 0, 1))
            await it.native.until(lambda: it.native.live == {0: 2})
            it.native.do(("start_complete", 7))
            await until(lambda: ("start_complete", 7) in told)
            it.native.do(("drain", 5.0))
            await it.native.until(lambda: it.native.live == {0: 0})
            assert await it.end(3) == 3

    in_loop(story)
    assert told == [("test_start", "LocalRunner", 0), ("start_complete", 7), ("test_stop", 0), ("quitting",)]
    assert TestA.log == ["on_stop"] * 2


def test_a_call_of_a_custom_client_is_recorded_and_its_handlers_are_called() -> None:
    told: list[Any] = []

    async def on_stats_request(runner: Any, request_name: str, error: str | None) -> None:
        told.append((type(runner).__name__, request_name, error))

    class TestSql(Recorder):
        async def test_it(self) -> None:
            for error in (None, TimeoutError("slow")):
                await events.stats_request.fire(
                    runner=runners.global_runner,
                    request_name="select",
                    request_method="SQL",
                    response_time=1.5,
                    response_length=20,
                    error=error,
                )
            await asyncio.sleep(1000)

    async def story() -> None:
        events.stats_request += on_stats_request
        async with hosted(TestSql) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: len(told) == 2)
            assert it.recorded == [
                ("SQL", "select", 1.5, 20, None),
                ("SQL", "select", 1.5, 20, "TimeoutError: slow"),
            ]

    in_loop(story)
    assert [each[:2] for each in told] == [("LocalRunner", "select")] * 2


def test_a_user_error_fired_by_the_scenario_is_counted() -> None:
    async def story() -> None:
        async with hosted() as it:
            await until(lambda: events.user_error.record is not None)
            await events.user_error.fire(runner=runners.global_runner, error="out of cards")
            assert it.native.of("user_error") == [("out of cards",)]

    in_loop(story)


def test_a_busy_loop_is_told_as_its_lag() -> None:
    import time

    async def story() -> None:
        async with hosted() as it:
            await it.native.until(lambda: bool(it.native.of("loop_lag")))
            time.sleep(0.3)  # noqa: ASYNC251 - the fault under test
            seen = len(it.native.of("loop_lag"))
            await it.native.until(lambda: len(it.native.of("loop_lag")) > seen)
            assert it.native.of("loop_lag")[-1][0] >= 0.15

    in_loop(story)


def test_a_user_that_a_scenario_makes_itself_has_the_same_life() -> None:
    class Extra(Recorder):
        async def test_it(self) -> None:
            self.log.append("job")
            await asyncio.sleep(1000)

    class TestA(Recorder):
        async def test_it(self) -> None:
            extra = Extra()
            extra.start_user()
            await until(lambda: Extra.log == ["job"])
            await extra.stop_user()
            self.log.append("stopped")
            await asyncio.sleep(1000)

    async def story() -> None:
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: TestA.log == ["stopped"])
            assert it.native.live == {0: 1}

    in_loop(story)
    assert Extra.log == ["job", "on_stop"]


@pytest.mark.parametrize("mode", ["debug", "eager", "uvloop"])
def test_a_run_is_the_same_in_debug_mode_with_eager_tasks_and_on_uvloop(mode: str) -> None:
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if mode == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop
    if mode == "eager" and not hasattr(asyncio, "eager_task_factory"):
        pytest.skip("eager tasks are new in CPython 3.12")

    class TestA(Recorder):
        async def test_it(self) -> None:
            await asyncio.gather(scope().call(), scope().call(soon))

    async def story() -> None:
        if mode == "eager":
            asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 - absent in 3.11
        async with hosted(TestA) as it:
            it.native.do(("start", 0, 5))
            await it.native.until(lambda: it.native.live == {0: 5})
            it.native.do(("retire", 0, 2))
            await it.native.until(lambda: it.native.live == {0: 3})
            it.native.do(("drain", 5.0))
            await it.native.until(lambda: it.native.live == {0: 0})
            assert it.native.dead == {0: 0}
            assert await it.end() == 0

    with asyncio.Runner(debug=mode == "debug", loop_factory=factory) as runner:
        runner.run(asyncio.wait_for(story(), 20))
    assert TestA.log == ["on_stop"] * 5
