"""The open model: how many iterations begin in each second, beside the plan, and how late each begins.

Starts a target and a run of its own on loopback, and fails where a second is off by more than promised or an
iteration was lost. `python bench/arrivals.py --help`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from users import HOUSE, ask, run, target, write_load_test

SCENARIO = HOUSE / "bench/arrivals/aiotestfile.py"
OFF = 0.005
"""A second may be off by this share of the plan."""


@dataclass(frozen=True)
class Outcome:
    """What a run showed. Lateness in seconds, against a grid of the rate from the first iteration on."""

    rate: int
    runners: int
    seconds: list[int]
    late: dict[str, float]
    iterations: dict[str, int]
    faults: list[str]

    def line(self) -> str:
        """One line of the table."""
        p50, p99, longest = (self.late[name] * 1000 for name in ("p50", "p99", "max"))
        off = max(abs(begun - self.rate) for begun in self.seconds) / self.rate
        verdict = f"FAILED {'; '.join(self.faults)}" if self.faults else "passed"
        return (
            f"{self.rate:,} a second over {self.runners} runners for {len(self.seconds)} s: "
            f"{min(self.seconds):,} to {max(self.seconds):,} began in a second, off by {off:.2%} at most, "
            f"late p50 {p50:.2f} p99 {p99:.2f} max {longest:.1f} ms, {self.iterations['started']:,} of "
            f"{self.iterations['planned']:,} started, {self.iterations['shed']:,} shed: {verdict}"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure. Returns 1 where a promise was not met."""
    options = arguments(argv)
    outcome = measure(options.rate, options.runners, options.seconds)
    print(outcome.line(), flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(asdict(outcome), indent=1))
    return 1 if outcome.faults else 0


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Iterations of the open model by the second.")
    parser.add_argument("--rate", type=int, default=5_000, help="iterations per second (default 5000)")
    parser.add_argument("--runners", type=int, default=2, help="runner processes (default 2)")
    parser.add_argument("--seconds", type=int, default=20, help="of load (default 20)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    return parser.parse_args(argv)


def measure(rate: int, runners: int, seconds: int) -> Outcome:
    """Run against a target of its own."""
    with tempfile.TemporaryDirectory() as name, target() as (url, control):
        folder = Path(name)
        stages = [{"duration": "0s", "target": rate}, {"duration": f"{seconds}s", "target": rate}]
        load = {"arrivals": {"maxUsers": 2_000, "stages": stages}}
        manifest = write_load_test(folder, SCENARIO, load, runners=runners)
        run(manifest, folder, {"BENCH_TARGETS": url, "BENCH_FOLDER": name})
        begun = array("d")
        for file in folder.glob("*.begun"):
            begun.frombytes(file.read_bytes())
        report = json.loads((folder / "report.json").read_text())
        return judge(rate, runners, seconds, sorted(begun), ask(control)["total"], report)


def judge(
    rate: int, runners: int, seconds: int, begun: list[float], arrived: int, report: dict[str, Any]
) -> Outcome:
    """The figures of a run, and what is wrong with them."""
    first = begun[0]
    counts = [0] * seconds
    for at in begun:
        counts[min(int(at - first), seconds - 1)] += 1
    # The last second has the stop in it.
    counts = counts[:-1]
    late = sorted(max(0.0, at - first - number / rate) for number, at in enumerate(begun))
    quantiles = {
        name: late[int(share * (len(late) - 1))] for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1))
    }
    faults = list(faults_of(rate, counts, arrived, report))
    return Outcome(rate, runners, counts, quantiles, report["iterations"], faults)


def faults_of(rate: int, counts: list[int], arrived: int, report: dict[str, Any]) -> Iterator[str]:
    """What was promised and is not so."""
    counted = report["iterations"]
    if counted["started"] + counted["shed"] != counted["planned"] or counted["shed"]:
        yield f"not every iteration was started: {counted}"
    if arrived != report["total"]["sent"]:
        yield f"{arrived} requests arrived, {report['total']['sent']} sent"
    if off := [begun for begun in counts if abs(begun - rate) > OFF * rate]:
        yield f"{len(off)} of {len(counts)} seconds off by more than {OFF:.1%}: {off}"


if __name__ == "__main__":
    sys.exit(main())
