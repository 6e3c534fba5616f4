"""What Aiotest 0.5 did wrong, and the tests that show that it is not inherited; the missing ones are here."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from aiotest import AsyncHttpUser, User, events
from aiotest.client import ClientSession
from call_server import Recorded, Seen, Server, reply
from command_line import Command, free_port, write
from example_target import HOUSE
from hosting import hosted, in_loop, until
from one_server import one_server
from processes import until as becomes
from test_call import play
from test_command import metrics

NOT_INHERITED = {
    "on_stop ran twice on a cancel": [
        "test_on_stop_runs_once_however_the_user_ended",
        "test_a_user_outside_a_call_is_cancelled_at_once",
        "test_a_user_inside_a_call_is_cut_at_the_deadline_and_still_has_its_on_stop",
        "test_on_stop_runs_once_when_the_user_stops_itself",
        "test_on_stop_runs_once_when_the_user_never_took_its_first_step",
        "test_on_stop_runs_once_under_an_overridden_start_user",
    ],
    "on_stop never ran after an error": [
        "test_on_stop_runs_once_however_the_user_ended",
        "test_any_other_exception_ends_the_user_with_user_error_and_one_on_stop",
    ],
    "a failure before the reply ended the user": [
        "test_a_failure_before_the_reply_ends_no_user",
        "test_a_refused_host_is_counted_and_the_user_goes_on",
        "test_a_host_that_refuses_is_counted_and_the_jobs_go_on",
        "test_every_hostile_behaviour_has_its_label_and_costs_no_user",
    ],
    "a chunked reply, or one without a Content-Length, broke the block's entry": [
        "test_a_reply_is_entered_however_its_body_is_framed",
        "test_a_body_that_ends_with_the_connection_is_whole",
    ],
    "the time stopped at the headers": [
        "test_the_time_ends_with_the_bodys_last_byte",
        "test_every_row_says_what_the_witness_saw",
    ],
    "0 was the only time below a millisecond": ["test_times_below_a_millisecond_are_times"],
    "a response time held the time in which the Python loop was busy": [
        "test_a_busy_loop_is_in_no_response_time",
        "test_a_loop_that_is_blocked_moves_no_row",
        "test_a_loop_that_computes_moves_no_row",
        "a_reply_that_is_read_late_took_until_the_kernel_had_it",
    ],
    "each request was a message to the master": [
        "test_a_master_and_two_workers_on_one_line_each",
        "test_own_statistics",
    ],
    "the users of a lost worker were gone for good": [
        "test_a_worker_that_joins_is_given_users_and_those_of_a_lost_one_come_back",
        "test_a_killed_runner_is_replaced_and_the_gap_is_bounded",
        "a_proven_death_moves_the_share_within_five_seconds_and_the_gap_is_exact",
        "after_every_death_the_plan_is_carried_out_again",
    ],
    "a joining worker was never given users": [
        "test_a_worker_that_joins_is_given_users_and_those_of_a_lost_one_come_back",
        "a_join_takes_away_first_and_gives_later",
    ],
}
"""By fault. Those of the engine are Rust's."""


def test_every_test_that_is_named_here_exists() -> None:
    source = "\n".join(
        path.read_text()
        for folder in ("runner", "core")
        for path in (HOUSE / folder).rglob("*")
        if path.suffix in (".py", ".rs") and path != Path(__file__)
    )
    source += Path(__file__).read_text().partition("def test_every_test_that_is_named_here")[2]
    known = set(re.findall(r"\b(?:fn|def) (\w+)\(", source))
    assert sorted({name for names in NOT_INHERITED.values() for name in names} - known) == []


# === a user's end ===


@pytest.mark.parametrize(
    "end", ["retired", "stopped", "cancelled", "job", "on_start", "own start", "returned"]
)
def test_on_stop_runs_once_however_the_user_ended(end: str) -> None:
    async def story() -> None:
        stops = 0

        class TestIt(User):
            wait_time = 0.001

            async def on_start(self) -> None:
                if end == "on_start":
                    raise LookupError("no account")

            async def start(self) -> None:
                if end in ("own start", "returned"):
                    await asyncio.gather(*(job(self) for job in self.jobs))
                else:
                    await super().start()

            async def test_it(self) -> None:
                if end in ("job", "own start"):
                    raise LookupError("no item")
                if end == "stopped":
                    await self.stop_user()
                if end == "cancelled":
                    task = asyncio.current_task()
                    assert task is not None
                    task.cancel()
                await asyncio.sleep(0 if end != "retired" else 3600)

            async def on_stop(self) -> None:
                nonlocal stops
                stops += 1
                await super().on_stop()

        async with hosted(TestIt) as it:
            it.native.do(("start", 0, 1))
            if end == "retired":
                await it.native.until(lambda: it.native.live.get(0) == 1)
                it.native.do(("retire", 0, 1))
            await until(lambda: stops > 0)
            await it.native.until(lambda: it.native.live.get(0) == 0)
            await it.end()
        assert stops == 1

    in_loop(story)


def test_a_failure_before_the_reply_ends_no_user() -> None:
    async def story() -> None:
        passes = 0

        class TestIt(AsyncHttpUser):
            host = f"http://127.0.0.1:{free_port()}"
            wait_time = 0

            async def test_refused(self) -> None:
                async with self.session.get("/"):
                    raise AssertionError("there is no reply to enter the block with")

            async def test_next(self) -> None:
                nonlocal passes
                passes += 1

        Recorded()
        async with hosted(TestIt, real=True) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: passes >= 5)
            assert it.native.dead.get(0, 0) == 0
            assert it.native.of("user_error") == []
        recorded = Recorded()
        assert recorded.total("failures") >= 5
        assert set(recorded.errors()) == {"connection refused"}

    in_loop(story)


# === a call ===


FRAMES = {
    "a length": reply(body=b"12345"),
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n123\r\n2\r\n45\r\n0\r\n\r\n",
    "the end of the connection": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n12345",
    "nothing": b"HTTP/1.1 204 No Content\r\n\r\n",
}


@pytest.mark.parametrize("framed_by", FRAMES)
def test_a_reply_is_entered_however_its_body_is_framed(framed_by: str) -> None:
    told: list[tuple[int, Any]] = []

    async def on_request(response_length: int, error: Any) -> None:
        told.append((response_length, error))

    async def scenario(server: Server, session: ClientSession) -> None:
        server.replies["/framed"] = FRAMES[framed_by]
        events.stats_request += on_request
        body = b"" if framed_by == "nothing" else b"12345"
        async with session.get("/framed") as resp:
            assert await resp.read() == body
        assert told == [(len(body), None)]

    play(scenario)


def test_the_time_ends_with_the_bodys_last_byte() -> None:
    async def on_request(response_time: float) -> None:
        times.append(response_time)

    times: list[float] = []

    async def scenario(server: Server, session: ClientSession) -> None:
        async def slowly(seen: Seen, writer: asyncio.StreamWriter) -> None:
            head, _, body = reply(body=b"12345").partition(b"\r\n\r\n")
            writer.write(head + b"\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.15)
            writer.write(body)

        server.handlers["/slow"] = slowly
        events.stats_request += on_request
        began = time.monotonic()
        async with session.get("/slow"):
            headers_after = time.monotonic() - began
        assert headers_after < 0.12, "the block is entered with the headers"
        assert 148 <= times[0] <= (time.monotonic() - began) * 1000

    play(scenario)


def test_times_below_a_millisecond_are_times() -> None:
    async def on_request(response_time: float) -> None:
        times.append(response_time)

    times: list[float] = []

    async def scenario(server: Server, session: ClientSession) -> None:
        events.stats_request += on_request
        for _ in range(200):
            async with session.get("/"):
                pass

    play(scenario)
    short = [each for each in times if each < 1]
    assert len(times) == 200
    assert len(short) > 50, "loopback takes less than a millisecond"
    assert min(short) > 0
    assert len({round(each * 1000) for each in short}) > 10, "to the microsecond"


def test_a_busy_loop_is_in_no_response_time() -> None:
    async def story() -> None:
        with one_server() as server:
            async with ClientSession(server.url) as session:
                await (await session.get("/ok")).read()
                Recorded()
                call = asyncio.create_task(session.get("/ok", name="busy"))
                with server.changed:
                    seen = server.counts["/ok"]
                # It is sent when its task runs; then the loop does nothing else for a while.
                await asyncio.sleep(0)
                time.sleep(0.3)  # noqa: ASYNC251 - a scenario that computes
                assert server.counts["/ok"] == seen + 1
                await (await call).read()
        (times,) = Recorded().row("busy")["times"]
        assert times["latency"]["max"] < 150_000, "microseconds"

    in_loop(story)


# === workers ===

USERS = """
    from aiotest import AsyncHttpUser, events

    class TestShop(AsyncHttpUser):
        wait_time = 0.1

        async def test_ok(self):
            async with self.session.get("/ok"):
                pass

    async def on_start_complete(user_count, runner):
        print("complete", type(runner).__name__, user_count, flush=True)

    events.start_complete += on_start_complete
"""


def users_by_worker(port: int) -> list[int]:
    """Users of each worker that the master knows of, the fewest first."""
    found = re.findall(r"^aiotest_workers_user_count\{[^}]*\} (\d+)", metrics(port), re.MULTILINE)
    return sorted(map(int, found))


@pytest.mark.timeout(120)
def test_a_worker_that_joins_is_given_users_and_those_of_a_lost_one_come_back(tmp_path: Path) -> None:
    write(tmp_path, USERS)
    port, prometheus = free_port(), free_port()
    with one_server() as server:
        argv = ["--worker", "-H", server.url, "--master-port", port]
        load = ["-u", 6, "-r", 50, "--master-bind-port", port, "--prometheus-port", prometheus]
        with (
            Command("--master", *load, cwd=tmp_path) as master,
            Command(*argv, cwd=tmp_path) as first,
        ):
            master.until("complete MasterRunner 6")
            assert users_by_worker(prometheus) == [6]
            with Command(*argv, cwd=tmp_path) as second:
                becomes(
                    "users are shared with the one that joined", lambda: users_by_worker(prometheus) == [3, 3]
                )
                second.until("complete WorkerRunner 6")
                first.signal(signal.SIGKILL)
                becomes(
                    "the lost worker's users are elsewhere", lambda: users_by_worker(prometheus)[-1] == 6, 40
                )
                master.signal(signal.SIGINT)
                # Nobody has seen the lost one end: the master waits for its last words.
                assert second.end(60) == 0, second.output
            master.end()
    assert "load that was missing" in master.output, "the gap is told"
