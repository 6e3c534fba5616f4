"""One `aiotest run` against a witness: each call has an id, by which its own time, as handlers of
`stats_request` are told it, is joined with what the witness stamped; and the report's figures are shown to
be those of these times. Start at `measure`.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from manifest_run import write_manifest
from truth_witness import GENERATOR, Stamp, Witness, real_time

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}

SCRIPT = """
    import asyncio, itertools, json, os, pathlib, time
    from contextvars import ContextVar
    from aiotest import AsyncHttpUser, events

    PLAN = json.loads(pathlib.Path("PLAN_FILE").read_text())
    users, ids = itertools.count(), itertools.count(1)
    current = ContextVar("current")
    told = []

    class TestAsker(AsyncHttpUser):
        wait_time = PLAN["wait"]

        async def on_start(self):
            number = next(users)
            self.row = PLAN["rows"][number % len(PLAN["rows"])]
            # They don't move in step.
            await asyncio.sleep(number % 97 / 97 * PLAN["wait"])

        async def test_ask(self):
            number = next(ids)
            current.set((number, self.row["name"]))
            url = f"{self.row['url']}?id={number}"
            self.row["calls"] += 1
            if self.row["stalled"] and self.row["calls"] == 100:
                url += "&stall=2000"
            headers = {"Connection": "close"} if self.row["new"] else {}
            async with self.session.get(url, name=self.row["name"], headers=headers) as reply:
                assert len(await reply.read()) == self.row["size"]

    async def block():
        while True:
            await asyncio.sleep(1 - PLAN["blocked"])
            end = time.monotonic() + PLAN["blocked"]
            if PLAN["spin"]:
                while time.monotonic() < end:
                    pass
            else:
                time.sleep(PLAN["blocked"])

    def give_way():
        # Of two real-time threads with one priority none ever gives way to the other, as ordinary ones do:
        # the loop's thread would keep the engine's stand-in from running.
        if os.sched_getscheduler(0) == os.SCHED_FIFO:
            for thread in pathlib.Path("/proc/self/task").iterdir():
                if (thread / "comm").read_text().startswith("aiotest-stand"):
                    priority = os.sched_param(os.sched_getparam(0).sched_priority + 1)
                    os.sched_setscheduler(int(thread.name), os.SCHED_FIFO, priority)

    async def on_start(runner):
        global blocking
        give_way()
        if PLAN["blocked"]:
            blocking = asyncio.create_task(block())

    async def on_stats(runner, request_name, request_method, response_time, response_length, error):
        told.append((*current.get(), response_time, error))

    async def on_stop(runner):
        if PLAN["blocked"] and "blocking" in globals():
            blocking.cancel()
        if told:
            pathlib.Path("TOLD_FILE").write_text(json.dumps(told))

    events.test_start += on_start
    events.stats_request += on_stats
    events.test_stop += on_stop
"""


@dataclass(frozen=True)
class Row:
    """A kind of call: the witness' delays, the mean in milliseconds, the body's size in bytes."""

    name: str
    delays: str = "tail"
    mean: int = 10
    size: int = 100
    tls: bool = False
    new: bool = False
    redirected: bool = False
    stalled: bool = False

    def url(self, witness: Witness) -> str:
        """Where it calls."""
        base = f"https://{witness.tls}" if self.tls else f"http://{witness.plain}"
        return f"{base}{'/hop' if self.redirected else ''}/{self.delays}/{self.mean}/{self.size}"


@dataclass(frozen=True)
class Load:
    """Users, their pause between calls, for how long; and for how much of each second the loop is blocked."""

    users: int
    wait: float
    seconds: int
    blocked: float = 0.0
    spin: bool = False


@dataclass(frozen=True)
class Truth:
    """One row's calls: how many, how many of them the machine disturbed, and of each of the others the
    milliseconds as measured and as witnessed. `longest`: measured, of all calls.
    """

    name: str
    calls: int
    disturbed: int
    longest: float
    pairs: list[tuple[float, float]]

    def measured(self, quantile: float) -> float:
        """Milliseconds."""
        return percentile((own for own, _ in self.pairs), quantile)

    def differences(self) -> dict[str, tuple[float, float]]:
        """Of each quantile the milliseconds as witnessed, and by how much the measured ones are more."""
        witnessed = {name: percentile((seen for _, seen in self.pairs), at) for name, at in QUANTILES.items()}
        return {name: (seen, self.measured(QUANTILES[name]) - seen) for name, seen in witnessed.items()}

    def beyond(self) -> list[float]:
        """By how many milliseconds each call's own time is more than the witnessed one."""
        return [own - seen for own, seen in self.pairs]

    def with_more(self, other: Truth) -> Truth:
        """The same row in two runs."""
        calls, disturbed = self.calls + other.calls, self.disturbed + other.disturbed
        longest = max(self.longest, other.longest)
        return Truth(self.name, calls, disturbed, longest, self.pairs + other.pairs)


@dataclass(frozen=True)
class Measured:
    """Everything of one run."""

    rows: list[Truth]
    sent: int
    received: int
    rate: float

    def with_more(self, other: Measured) -> Measured:
        """The same rows in two runs; the rate is the lower one."""
        others = {row.name: row for row in other.rows}
        rows = [row.with_more(others[row.name]) for row in self.rows]
        sent, received = self.sent + other.sent, self.received + other.received
        return Measured(rows, sent, received, min(self.rate, other.rate))

    def table(self) -> str:
        """For people."""
        head = f"{'row':<12}{'calls':>6}{'out':>5}" + "".join(f"{name:>19}" for name in QUANTILES)
        lines = [
            f"{self.rate:.0f} calls/s; ms measured (less witnessed), and by how much each call's differ",
            f"{head}{'median':>9}{'highest':>9}",
        ]
        for row in self.rows:
            cells = (f"{seen + more:.3f} ({more:+.3f})" for seen, more in row.differences().values())
            line = f"{row.name:<12}{row.calls:>6}{row.disturbed:>5}" + "".join(
                f"{cell:>19}" for cell in cells
            )
            lines.append(f"{line}{percentile(row.beyond(), 0.5):>9.3f}{max(row.beyond()):>9.3f}")
        return "\n".join(lines)


def percentile(values: Iterable[float], quantile: float) -> float:
    """The value that the share `quantile` does not exceed, as the report has it: never between two."""
    ordered = sorted(values)
    return ordered[max(math.ceil(quantile * len(ordered)), 1) - 1]


def interval(stamped: list[Stamp]) -> float | None:
    """Milliseconds of a call as the witness has them, from the first contact to the last byte written. The
    first request of a connection begins with the connection, as it does for whoever waits. `None`: not
    answered.
    """
    first, last = stamped[0], stamped[-1]
    if last.written is None or last.hop:
        return None
    return (last.written - _start(first)) / 1e6


def is_disturbed(stamped: list[Stamp], beyond: float, lapses: list[tuple[int, int]]) -> bool:
    """Whether a core was late around the first contact or the last write. What the call took `beyond` the
    witness' interval lies there; whatever was late in between, in either process, is in both.
    """
    around = round(abs(beyond) * 1e6) + 100_000
    first, last = _start(stamped[0]), stamped[-1].written or stamped[-1].received
    return any(fro <= end + around and end - around <= to for end in (first, last) for fro, to in lapses)


def _start(first: Stamp) -> int:
    return first.opened if first.nth == 1 else first.received


def measure(witness: Witness, folder: Path, rows: list[Row], load: Load) -> Measured:
    """One run with these rows mixed, the users divided evenly."""
    plan = asdict(load) | {"rows": [asdict(row) | {"url": row.url(witness), "calls": 0} for row in rows]}
    (folder / "plan.json").write_text(json.dumps(plan))
    told_file = folder / "told.json"
    script = SCRIPT.replace("PLAN_FILE", str(folder / "plan.json")).replace("TOLD_FILE", str(told_file))
    constant = {"users": load.users, "spawnRate": load.users, "duration": f"{load.seconds}s"}
    manifest = write_manifest(
        folder, script, load={"constant": constant}, runners=1, host="http://nowhere.invalid"
    )
    report = _run(witness, folder, manifest, load.seconds + 60)
    stamps, lapses = witness.stamps(), witness.lapses()
    by_id: dict[int, list[Stamp]] = defaultdict(list)
    for stamp in stamps:
        by_id[stamp.id].append(stamp)
    told: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for number, name, milliseconds, error in json.loads(told_file.read_text()):
        assert error is None, error
        told[name].append((number, milliseconds))
    truths = [_truth(request, told[request["name"]], by_id, lapses) for request in report["requests"]]
    total = report["total"]
    return Measured(truths, total["sent"], len(stamps), total["rps"])


def _truth(
    request: dict[str, Any],
    calls: list[tuple[int, float]],
    by_id: dict[int, list[Stamp]],
    lapses: list[tuple[int, int]],
) -> Truth:
    """A row of the report, its calls' own times, and their stamps. The report's figures are those of all its
    calls."""
    assert request["requests"] == len(calls), request
    for name, share in QUANTILES.items():
        exact = percentile((own for _, own in calls), share)
        assert abs(request["latency_ms"][name] - exact) <= exact / 1000 + 0.001, (
            request["name"],
            name,
            exact,
        )
    pairs = []
    for number, own in calls:
        stamped = sorted(by_id[number], key=lambda stamp: stamp.received)
        seen = interval(stamped)
        assert seen is not None, f"call {number} has a reply that nobody wrote"
        if not is_disturbed(stamped, own - seen, lapses):
            pairs.append((own, seen))
    longest = max(own for _, own in calls)
    return Truth(request["name"], len(calls), len(calls) - len(pairs), longest, pairs)


def _run(witness: Witness, folder: Path, manifest: Path, within: float) -> dict[str, Any]:
    path = folder / "report.json"
    command = [
        *witness.network.client,
        *real_time(GENERATOR),
        sys.executable,
        "-m",
        "aiotest",
        "run",
        str(manifest),
    ]
    command += ["--report-json", str(path), "--metrics-address", "127.0.0.1:0"]
    ended = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=within,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"SSL_CERT_FILE": str(witness.authority)},
    )
    assert path.exists(), ended.stderr
    report: dict[str, Any] = json.loads(path.read_text())
    assert report["total"]["failures"] == 0, (report["errors"], ended.stdout)
    return report
