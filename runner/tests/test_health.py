"""The generator's own health in real runs: lines that block the loop, loops that never turn again, and
faults of this machine that are not the target's.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Command, free_port, write
from example_target import Target, running_target
from manifest_run import is_alive, run, running, until, write_manifest
from one_server import one_server

BLOCKS = """
    import json
    import time

    from aiotest import AsyncHttpUser


    def count(lines):
        for _ in range(lines):
            json.loads('[' + '1,' * 20000 + '1]')


    class TestShop(AsyncHttpUser):
        wait_time = 0.05

        async def test_read(self):
            async with self.session.get("/json") as reply:
                await reply.json()


    class TestSleeper(AsyncHttpUser):
        wait_time = 0.7

        async def test_sleep(self):
            time.sleep(0.3)


    class TestCounter(AsyncHttpUser):
        wait_time = 1.1

        async def test_count(self):
            until = time.monotonic() + 0.3
            while time.monotonic() < until:
                count(10)
"""

HANGS = """
    import itertools
    import time

    from aiotest import AsyncHttpUser


    def spin():
        while True: pass


    class TestHang(AsyncHttpUser):
        wait_time = 0.05
        calls = 0

        async def test_read(self):
            async with self.session.get("/json") as reply:
                await reply.json()
            type(self).calls += 1
            if type(self).calls == 20:
                HANG
"""


@pytest.fixture
def target() -> Iterator[Target]:
    with running_target() as started:
        yield started


def load(users: int, duration: str) -> dict[str, Any]:
    return {"constant": {"users": users, "spawnRate": 100, "duration": duration}}


def line_of(script: str, text: str) -> int:
    """The number of the first line of a script that has this text."""
    lines = textwrap.dedent(script).splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_lines_that_block_the_loop_are_named_and_their_runner_is_marked(
    target: Target, tmp_path: Path
) -> None:
    ended = run(tmp_path, write_manifest(tmp_path, BLOCKS, host=target.url, load=load(3, "8s"), runners=1))
    (runner,) = ended.told["runners"]
    places = {blocked["place"]: blocked for blocked in runner["blocked"]}
    slept = f"aiotestfile.py:{line_of(BLOCKS, 'time.sleep(0.3)')} in test_sleep"
    assert slept in places, runner
    assert 0.5 < places[slept]["seconds"] < 8, runner
    assert places[slept]["longest_ms"] > 150, runner
    parsed = f"aiotestfile.py:{line_of(BLOCKS, 'json.loads')} in count"
    assert any(place.startswith(parsed) for place in places), runner
    assert runner["loop_lag_ms_max"] >= 200
    assert any("its loop was blocked for up to" in mark for mark in runner["marks"]), runner
    assert any("runner-0: its loop was blocked" in reason for reason in ended.told["verdict"]["reasons"])
    assert slept in ended.err, "said while the run was on"
    assert ended.told["total"]["sent"] == target.counts()["total"]
    assert ended.told["total"]["failures"] == 0


@pytest.mark.parametrize(
    ("hang", "place", "duration"),
    [
        ("spin()", "{while True} in spin", "6s"),
        ("time.sleep(3600)", "{time.sleep} in test_read", "6s"),
        # In C, where the interpreter hears no signal: only the last resort, after 10 s, sees it.
        ("sum(itertools.repeat(1))", "{sum(} in test_read", "16s"),
        # Not even the stop is near.
        ("spin()", "{while True} in spin", "10m"),
    ],
    ids=["endless-loop", "endless-sleep", "endless-in-c", "in-mid-run"],
)
def test_a_loop_that_never_turns_again_is_named_and_its_process_ended_with_exact_counts(
    target: Target, tmp_path: Path, hang: str, place: str, duration: str
) -> None:
    script = HANGS.replace("HANG", hang)
    text = place[place.index("{") + 1 : place.index("}")]
    where = "aiotestfile.py:" + place.replace("{" + text + "}", str(line_of(script, text)))
    manifest = write_manifest(
        tmp_path, script, host=target.url, load=load(5, duration), runners=1, deadlines={"stop": "3s"}
    )
    with running(tmp_path, manifest) as started:
        until("the line is named", lambda: where in started.err())
        hanging = started.children()["runner-0"]
        assert is_alive(hanging)
        ended = started.ended(within=90)
    assert not is_alive(hanging)
    assert (ended.code, ended.told["verdict"]["result"]) == (2, "Invalid"), ended.err
    reason = ended.told["verdict"]["reasons"][0]
    assert "a process was ended because its loop had not turned for" in reason, ended.told["verdict"]
    assert where in reason
    assert ended.told["gaps"] == [], "everything was handed over"
    assert ended.told["total"]["sent"] == target.counts()["total"] >= 20
    assert ended.seconds < 60


def test_a_hang_in_the_old_command_line_is_named_by_its_line(tmp_path: Path) -> None:
    script = HANGS.replace("HANG", "spin()")
    with one_server() as server:
        write(tmp_path, script)
        with Command("-H", server.url, "--prometheus-port", free_port(), "-t", 3, cwd=tmp_path) as command:
            where = f"aiotestfile.py:{line_of(script, 'while True')} in spin"
            command.until_so(lambda: where in command.output, "the line that blocks")


def test_calls_without_a_free_descriptor_are_the_generators_fault_and_no_failures(
    target: Target, tmp_path: Path
) -> None:
    script = """
        import resource

        from aiotest import AsyncHttpUser, events

        async def few(**_):
            resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))

        events.test_start += few

        class TestShop(AsyncHttpUser):
            wait_time = 0.2

            async def test_read(self):
                async with self.session.get("/json") as reply:
                    await reply.json()
    """
    thresholds = [{"expr": "error_rate < 1%"}, {"expr": "max < 20s"}]
    ended = run(
        tmp_path,
        write_manifest(
            tmp_path, script, host=target.url, load=load(80, "5s"), runners=1, thresholds=thresholds
        ),
    )
    faulty(ended.told, "no open files left", ended.err)
    assert [threshold["passed"] for threshold in ended.told["verdict"]["thresholds"]] == [True, True]
    assert ended.code == 2
    assert ended.told["total"]["sent"] == ended.told["total"]["requests"] == target.counts()["total"] > 0
    (runner,) = ended.told["runners"]
    assert runner["open_files_limit"] == 60
    assert runner["open_files_max"] >= 55


def faulty(told: dict[str, Any], text: str, err: str) -> None:
    """The run is Invalid by faults of its own with this text, and by nothing else."""
    total = told["total"]
    assert (total["failures"], total["failure_ratio"], told["errors"]) == (0, 0, []), err
    assert total["generator_faults"] == sum(fault["count"] for fault in told["generator_faults"]) > 0
    assert {fault["runner"] for fault in told["generator_faults"]} == {"runner-0"}
    assert all(text in fault["error"] for fault in told["generator_faults"]), told["generator_faults"]
    assert told["verdict"]["result"] == "Invalid", told["verdict"]
    reason = told["verdict"]["reasons"][0]
    assert reason.startswith("runner-0: "), reason
    assert "calls failed by the load generator's own fault, more than 0" in reason, reason
