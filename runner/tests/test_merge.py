"""Four processes' histograms, merged by the master, equal one histogram of every sample, bucket by bucket."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from aiotest import _native, process
from call_server import Recorded
from example_target import Target, running_target
from manifest_run import running, until, write_manifest

pytestmark = pytest.mark.timeout(180)

SCRIPT = """
    import asyncio, os
    from aiotest import AsyncHttpUser, events

    samples = open(f"FOLDER/{os.getpid()}.samples", "a", buffering=1)

    class TestMany(AsyncHttpUser):
        wait_time = 0

        async def test_many(self):
            for number in range(250):
                path = f"/delay/{number % 23}" if number % 5 == 0 else "/json"
                async with self.session.get(path, name="/odd" if number % 2 else "/even"):
                    pass
            await asyncio.sleep(3600)

    async def on_request(request_name, response_time, **_):
        # What a float of milliseconds holds exactly is the whole number of nanoseconds that it came from.
        samples.write(f"{request_name} {round(response_time * 1e6)}\\n")

    events.stats_request += on_request
"""
USERS, CALLS = 8, 250


def edges() -> list[int]:
    """The highest value, in microseconds, of each bucket of three digits up to an eighth of a second."""
    fine = list(range(1, 2048))
    for octave in range(6):
        width = 2 << octave
        fine += range((2048 << octave) + width - 1, 4096 << octave, width)
    return fine


def recorded_in_one(samples: list[tuple[str, int]]) -> dict[str, dict[str, Any]]:
    """By name, one histogram of all samples, made by the engine's own crate."""
    Recorded()
    for name, nanoseconds in samples:
        _native.record("GET", name, nanoseconds / 1e6, 0)
    return {row["name"]: row["times"][0]["latency"] for row in Recorded().rows}


def scraped(metrics: str, name: str, part: str) -> list[float]:
    """The samples of a row, in their order."""
    line = rf'^aiotest_response_times_{part}{{(?=[^}}]*\bname="{name}").*}} (\S+)$'
    return [float(value) for value in re.findall(line, metrics, re.MULTILINE)]


def cumulative(histogram: dict[str, Any], bounds: list[int]) -> list[int]:
    """How many times are not above each bound, and at last how many there are."""
    counts = dict(histogram["pairs"])
    beyond = {value for value in counts if bounds[-1] < value}
    assert set(counts) - set(bounds) == beyond, "the bounds are the buckets' own"
    return [*accumulate(counts.get(bound, 0) for bound in bounds), sum(counts.values())]


@pytest.fixture
def target() -> Iterator[Target]:
    with running_target() as started:
        yield started


def test_four_processes_merge_to_the_histogram_of_all_samples(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds = edges()
    # Between two whole microseconds, so that no rounding of a bound moves a value.
    buckets = [float(f"{bound / 1000 + 0.0005:.4f}") for bound in bounds]
    monkeypatch.setenv(process._HANDED_DOWN, json.dumps({"buckets": buckets}, separators=(",", ":")))
    script = SCRIPT.replace("FOLDER", str(tmp_path))
    load = {"constant": {"users": USERS, "spawnRate": USERS, "duration": "120s"}}
    manifest = write_manifest(tmp_path, script, host=target.url, load=load, runners=4)
    with running(tmp_path, manifest) as started:
        until("the metrics are there", lambda: "metrics on" in started.err())
        whole = USERS * CALLS
        until("all is counted", lambda: started.metric("aiotest_requests_total") == whole, within=90)
        metrics = started.metrics()
        started.interrupt()
        ended = started.ended()
    files = [path for path in tmp_path.glob("*.samples") if path.stat().st_size]
    assert len(files) == 4
    lines = [line.split() for path in files for line in path.read_text().splitlines()]
    one = recorded_in_one([(name, int(nanoseconds)) for name, nanoseconds in lines])
    assert len(lines) == whole
    for row in ended.told["requests"]:
        histogram = one[row["name"]]
        assert scraped(metrics, row["name"], "bucket") == cumulative(histogram, bounds)
        assert scraped(metrics, row["name"], "count") == [row["requests"]]
        assert scraped(metrics, row["name"], "sum") == [histogram["sum"] / 1000]
        told = row["latency_ms"]
        assert (told["min"], told["max"]) == (histogram["min"] / 1000, histogram["max"] / 1000)
    assert {row["name"] for row in ended.told["requests"]} == set(one) == {"/even", "/odd"}
