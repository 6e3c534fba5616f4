"""`aiotest run` with real processes and a real target: counts, verdicts, interrupts, deaths."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from example_target import Target, running_target
from manifest_run import READER, is_alive, run, running, until, write_manifest

pytestmark = pytest.mark.timeout(120)

HELD = """
    from aiotest import AsyncHttpUser

    class TestHeld(AsyncHttpUser):
        wait_time = 0

        async def test_held(self):
            async with self.session.get("/delay/MILLISECONDS"):
                pass
"""


@pytest.fixture
def target() -> Iterator[Target]:
    with running_target() as started:
        yield started


def constant(users: int, seconds: int) -> dict[str, object]:
    return {"constant": {"users": users, "spawnRate": users, "duration": f"{seconds}s"}}


def test_target_report_and_metrics_count_the_same(target: Target, tmp_path: Path) -> None:
    script = """
        import asyncio
        from aiotest import AsyncHttpUser

        class TestTen(AsyncHttpUser):
            wait_time = 0

            async def test_ten(self):
                for _ in range(10):
                    async with self.session.get("/json"):
                        pass
                await asyncio.sleep(3600)
    """
    with running(
        tmp_path, write_manifest(tmp_path, script, host=target.url, load=constant(10, 8))
    ) as started:
        until("the metrics are there", lambda: "metrics on" in started.err())
        until(
            "all ten users have sent their ten",
            lambda: started.metric("aiotest_requests_sent_total") == target.counts()["total"] == 100,
        )
        ended = started.ended()
    assert target.counts()["total"] == ended.told["total"]["sent"] == ended.told["total"]["requests"] == 100
    assert (ended.code, ended.told["verdict"]["result"]) == (0, "Passed"), ended.out
    assert ended.told["users"] == {"target": 10, "peak": 10}
    assert [runner["users_peak"] for runner in ended.told["runners"]] == [5, 5]
    assert "GET /json" in ended.out
    assert "Passed" in ended.out.splitlines(), (
        "whatever the host did to the runners meanwhile, which is said below it"
    )


def test_users_start_on_the_plan_and_never_before_it(target: Target, tmp_path: Path) -> None:
    script = """
        import asyncio
        from aiotest import AsyncHttpUser

        class TestOnce(AsyncHttpUser):
            async def start(self):
                async with self.session.get("/json"):
                    pass
                await asyncio.sleep(3600)

            async def test_nothing(self):
                pass
    """
    load = {"constant": {"users": 100, "spawnRate": 50, "duration": "6s"}}
    seen: list[tuple[float, int]] = []
    with running(tmp_path, write_manifest(tmp_path, script, host=target.url, load=load)) as started:

        def all_are_there() -> bool:
            # The clock is read behind the count: a user counted here had started by then.
            count = target.counts()["total"]
            seen.append((time.time(), count))
            return bool(count == 100)

        until("all users have sent their one request", all_are_there)
        ended = started.ended()
    start = datetime.fromisoformat(ended.told["run"]["startTime"]).timestamp()
    early = [(at - start, count) for at, count in seen if count > max(0.0, 50 * (at - start) + 0.05)]
    assert early == [], "more users than the plan has at that time"
    assert seen[-1][0] - start < 3.0, "100 users at 50 a second are there after 2 s, and within 1 s of it"
    assert [runner["users_peak"] for runner in ended.told["runners"]] == [50, 50]


def test_a_broken_threshold_fails_with_the_measured_value(target: Target, tmp_path: Path) -> None:
    thresholds = [{"expr": "p50 < 10ms"}, {"expr": "error_rate < 1%"}]
    script = HELD.replace("MILLISECONDS", "50")
    ended = run(tmp_path, write_manifest(tmp_path, script, host=target.url, thresholds=thresholds))
    assert ended.code == 1, ended.out
    slow, clean = ended.told["verdict"]["thresholds"]
    assert (slow["passed"], clean["passed"], clean["value"]) == (False, True, 0)
    assert 50 <= slow["value"] < 1000
    assert f"broken  p50 < 10ms: {slow['value']:.3g}"[:30] in ended.out
    assert ended.told["verdict"]["result"] == "Failed"


def test_without_thresholds_a_failed_request_fails_the_run(target: Target, tmp_path: Path) -> None:
    script = READER.replace('"/json"', '"/status/503"')
    ended = run(tmp_path, write_manifest(tmp_path, script, host=target.url))
    assert (ended.code, ended.told["verdict"]["result"]) == (1, "Failed")
    total = ended.told["total"]
    assert total["failures"] == total["requests"] == total["sent"] == target.counts()["total"]
    assert [(error["name"], error["count"]) for error in ended.told["errors"]] == [
        ("/status/503", total["failures"])
    ]


def test_an_interrupt_lets_open_calls_end_and_counts_them(target: Target, tmp_path: Path) -> None:
    script = HELD.replace("MILLISECONDS", "5000")
    with running(
        tmp_path, write_manifest(tmp_path, script, host=target.url, load=constant(6, 60))
    ) as started:
        until("every user is in a call", lambda: target.counts()["total"] == 6)
        pids = started.children()
        started.interrupt()
        ended = started.ended(within=20)
    assert ended.code == 3, ended.err
    assert ended.told["verdict"]["result"] == "Cancelled"
    assert any("interrupted" in reason for reason in ended.told["verdict"]["reasons"])
    total = ended.told["total"]
    assert (total["sent"], total["requests"], total["aborted"]) == (target.counts()["total"], 6, 0)
    assert sorted(pids) == ["master", "runner-0", "runner-1"]
    assert not any(is_alive(pid) for pid in pids.values())


def test_at_the_stop_deadline_what_is_open_is_cut_and_still_counted(target: Target, tmp_path: Path) -> None:
    script = HELD.replace("MILLISECONDS", "30000")
    manifest = write_manifest(
        tmp_path, script, host=target.url, load=constant(6, 3), deadlines={"stop": "1s"}
    )
    ended = run(tmp_path, manifest)
    total = ended.told["total"]
    assert (total["sent"], total["requests"], total["aborted"]) == (target.counts()["total"], 0, 6)
    assert ended.seconds < 20


def test_a_second_interrupt_quits_at_once_and_leaves_no_process(target: Target, tmp_path: Path) -> None:
    script = HELD.replace("MILLISECONDS", "30000")
    with running(
        tmp_path, write_manifest(tmp_path, script, host=target.url, load=constant(6, 60))
    ) as started:
        until("every user is in a call", lambda: target.counts()["total"] == 6)
        pids = started.children()
        started.interrupt()
        until("the first is heard", lambda: "once more quits" in started.err())
        started.interrupt()
        ended = started.ended(within=5)
    assert (ended.code, ended.report) == (3, None)
    assert "interrupted twice" in ended.err
    until("no process is left", lambda: not any(is_alive(pid) for pid in pids.values()), within=5)


def test_a_parent_that_is_killed_leaves_no_load_behind(target: Target, tmp_path: Path) -> None:
    with running(
        tmp_path, write_manifest(tmp_path, READER, host=target.url, load=constant(10, 60))
    ) as started:
        until("there is load", lambda: target.counts()["total"] > 100)
        pids = started.children()
        assert len(pids) == 3
        started.process.kill()
        started.process.wait()
    until("no process is left", lambda: not any(is_alive(pid) for pid in pids.values()), within=20)
    assert target.counts()["connections"]["open"] == 0


def test_a_killed_runner_is_replaced_and_the_gap_is_bounded(target: Target, tmp_path: Path) -> None:
    with running(
        tmp_path, write_manifest(tmp_path, READER, host=target.url, load=constant(20, 16))
    ) as started:
        until("both runners have their users", lambda: "users 20/20" in started.err())
        victim = started.children()["runner-0"]
        os.kill(victim, signal.SIGKILL)
        until("the master knows", lambda: started.metric("aiotest_workers_user_count") < 20, within=5)
        seconds = until(
            "all users are live again", lambda: started.metric("aiotest_workers_user_count") == 20, within=5
        )
        until("the process is back", lambda: started.children().get("runner-0", victim) != victim)
        until(
            "it has its share again",
            lambda: started.metric("aiotest_workers_user_count", "runner-0") == 10,
            within=10,
        )
        ended = started.ended()
    assert seconds < 5
    assert "runner-0/0#0 has died: killed by signal 9" in ended.err
    (gap,) = ended.told["gaps"]
    assert gap["runner"] == "runner-0"
    assert "at most" in ended.out
    lost = target.counts()["total"] - ended.told["total"]["sent"]
    assert 0 <= lost <= gap["lost_at_most"]
    assert (ended.code, ended.told["total"]["failures"]) == (0, 0), ended.out
