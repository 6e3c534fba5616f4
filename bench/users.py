"""How many users a process holds: memory of each, how fast they start, how late their jobs are.

Four cases: users with a connection each in one process (a), in five (b), and many more users over
connections that they share in one process (c), in four (d). Starts targets and runs of its own on loopback,
and fails where the target's count is another than the report's, or where a promise is not met. `python
bench/users.py --help`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import case_names

HOUSE = Path(__file__).resolve().parent.parent
SCENARIO = HOUSE / "bench/users/aiotestfile.py"
TARGET = HOUSE / ".cache/bin/aiotest-example-target"
TICKS = os.sysconf("SC_CLK_TCK")
OPEN_FILES = 20_000
"""What a process may hold open on a machine as it is meant here."""
LATE_STEP = 0.0001
LONGEST_LATENESS = 0.050
RATE_REACHED = 0.97
"""Share of the rate that must be reached: the ramp's ends are whole reports of the plan."""


@dataclass(frozen=True)
class Case:
    """What is asked of it. `users` and `rate` are of all processes together; `connections` is shared by the
    users of a process, 0 for one each.
    """

    name: str
    processes: int
    users: int
    rate: int
    think: float
    connections: int
    kilobytes: float


CASES = {
    "a": Case("one process, a connection each", 1, 18_000, 5_000, 10.0, 0, 16.0),
    "b": Case("five processes, a connection each", 5, 90_000, 5_000, 30.0, 0, 16.0),
    "c": Case("one process, shared connections", 1, 100_000, 5_000, 60.0, 1_000, 8.0),
    "d": Case("four processes, shared connections", 4, 300_000, 6_000, 90.0, 1_000, 8.0),
}


@dataclass(frozen=True)
class Outcome:
    """What a run of a case showed. Times in seconds, CPU as a share of one core."""

    case: Case
    kilobytes: float
    started_per_second: float
    connected_per_second: float
    late: dict[str, float]
    start_cpu: float
    """Of a user's start, with its connection and its first request."""
    cpu: float
    starved: float
    """Share of the time in which a loop was ready to run and had no core: that makes it late anyway."""
    requests: int
    connections: int
    faults: list[str]

    def line(self) -> str:
        """One line of the table."""
        p50, p99, longest = (self.late[name] * 1000 for name in ("p50", "p99", "max"))
        verdict = f"FAILED {'; '.join(self.faults)}" if self.faults else "passed"
        return (
            f"{self.case.name}: {self.case.users:,} users, {self.kilobytes:.2f} KB each "
            f"(at most {self.case.kilobytes:g}), started at {self.started_per_second:,.0f} a second "
            f"({self.connected_per_second:,.0f} with a reply), late p50 {p50:.1f} p99 {p99:.1f} "
            f"max {longest:.1f} ms, CPU {self.start_cpu * 1e6:.0f} us a start, then {self.cpu:.0%}, "
            f"{self.starved:.0%} of the time without a core, {self.requests:,} requests over "
            f"{self.connections:,} connections: {verdict}"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the cases that are asked for. Returns 1 where one failed."""
    options = arguments(argv)
    outcomes = []
    for letter in options.cases:
        case = CASES[letter]
        given = {"users": options.users, "rate": options.rate, "think": options.think}
        given |= {"connections": options.connections if case.connections else None}
        case = replace(case, **{name: value for name, value in given.items() if value is not None})
        outcome = measure(case, options.seconds)
        outcomes.append(outcome)
        print(outcome.line(), flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))
    return 1 if any(outcome.faults for outcome in outcomes) else 0


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Memory, start and lateness of many users.")
    parser.add_argument("--users", type=int, help="of all processes together")
    parser.add_argument("--rate", type=int, help="users started per second, of all processes together")
    parser.add_argument("--think", type=float, help="seconds between two requests of a user")
    parser.add_argument("--connections", type=int, help="of a process in cases c and d")
    parser.add_argument(
        "--seconds", type=float, help="of load beyond the ramp (default: a think time and a ramp more)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    return case_names.parse(parser, CASES, argv)


def measure(case: Case, seconds: float | None) -> Outcome:
    """Run a case against targets of its own."""
    targets = 1 if case.connections else -(-case.users // (OPEN_FILES - 1_000))
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        aims = [stack.enter_context(target()) for _ in range(targets)]
        environment = {
            "BENCH_TARGETS": " ".join(url for url, _ in aims),
            "BENCH_CONNECTIONS": str(case.connections),
            "BENCH_THINK": str(case.think),
            "BENCH_FOLDER": name,
        }
        ramp = case.users / case.rate
        duration = f"{round(ramp + (seconds or case.think + ramp + 5))}s"
        load = {"users": case.users, "spawnRate": case.rate, "duration": duration}
        manifest = write_load_test(folder, SCENARIO, {"constant": load}, runners=case.processes)
        run(manifest, folder, environment)
        told = [json.loads(file.read_text()) for file in folder.glob("[0-9]*.json")]
        counts = [ask(control) for _, control in aims]
        return judge(case, told, counts, json.loads((folder / "report.json").read_text()))


@contextmanager
def target() -> Iterator[tuple[str, str]]:
    """A target, its URL and that of its control side; it ends with the block."""
    command = [str(TARGET), "--port=0", "--control-port=0", "--while-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        addresses = json.loads(process.stdout.readline())
        yield f"http://{addresses['target']}", f"http://{addresses['control']}"


def ask(control: str) -> dict[str, Any]:
    """What a target has counted."""
    with urllib.request.urlopen(f"{control}/count", timeout=30) as reply:
        counts: dict[str, Any] = json.load(reply)
    return counts


def write_load_test(folder: Path, scenario: Path, load: dict[str, Any], **spec: Any) -> Path:
    """A manifest of a load and its scenario."""
    spec |= {"aiotestfile": {"configMap": {"name": "bench"}}, "load": load}
    kinds = [
        ("aiotest.dev/v1alpha1", "LoadTest", {"spec": spec}),
        ("v1", "ConfigMap", {"data": {"aiotestfile.py": scenario.read_text()}}),
    ]
    manifest = folder / "manifest"
    manifest.mkdir()
    for version, kind, content in kinds:
        document = {"apiVersion": version, "kind": kind, "metadata": {"name": "bench"}, **content}
        # JSON is YAML, too.
        (manifest / f"{kind.lower()}.yaml").write_text(json.dumps(document))
    return manifest


def run(manifest: Path, folder: Path, environment: dict[str, str]) -> None:
    """`aiotest run MANIFEST` from its start to its end. Fails if it could not run."""
    report = folder / "report.json"
    flags = ["--report-json", str(report), "--metrics-address", "127.0.0.1:0"]
    command = [sys.executable, "-m", "aiotest", "run", str(manifest), *flags]
    log = HOUSE / ".cache/bench/users.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=os.environ | environment
        )
    if not report.exists():
        raise SystemExit(f"the run left no report; see {log}")


def judge(
    case: Case, told: list[dict[str, Any]], counts: list[dict[str, Any]], report: dict[str, Any]
) -> Outcome:
    """The figures of a run, and what is wrong with them."""
    late: Counter[int] = Counter()
    for process in told:
        late.update({int(step): count for step, count in process["late"].items()})
    grown = sum(max(sample[2] for sample in each["samples"]) - each["samples"][0][2] for each in told)
    ramps = [ramp(each["samples"]) for each in told]
    outcome = Outcome(
        case=case,
        kilobytes=grown / case.users / 1024,
        started_per_second=pace(told, "begun"),
        connected_per_second=pace(told, "replied"),
        late={name: quantile(late, share) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))},
        start_cpu=sum(there[1] - first[1] for first, there, _ in ramps) / case.users,
        cpu=sum((last[1] - there[1]) / max(last[0] - there[0], 1e-9) for _, there, last in ramps),
        starved=max((last[4] - first[4]) / (last[0] - first[0]) for first, _, last in ramps),
        requests=sum(count["total"] for count in counts),
        connections=sum(count["connections"]["accepted"] for count in counts),
        faults=[],
    )
    faults = list(faults_of(outcome, told, report))
    return replace(outcome, faults=faults)


def pace(told: list[dict[str, Any]], what: str) -> float:
    """Users per second from the first to the last, of all processes."""
    first, last = min(each[what][0] for each in told), max(each[what][1] for each in told)
    users: int = sum(each[what][2] for each in told)
    return users / float(max(last - first, 1e-9))


def ramp(samples: list[list[float]]) -> tuple[list[float], list[float], list[float]]:
    """A process's first sample, its first with all of its users, and its last."""
    users = max(sample[3] for sample in samples)
    return samples[0], next(sample for sample in samples if sample[3] == users), samples[-1]


def quantile(steps: Counter[int], share: float) -> float:
    """The upper end, in seconds, of the step that `share` of all samples reach at most."""
    left = share * steps.total()
    for step in sorted(steps):
        left -= steps[step]
        if left <= 0:
            return (step + 1) * LATE_STEP
    return 0.0


def faults_of(outcome: Outcome, told: list[dict[str, Any]], report: dict[str, Any]) -> Iterator[str]:
    """What was promised and is not so."""
    case, total = outcome.case, report["total"]
    if len(told) != case.processes or sum(each["replied"][2] for each in told) != case.users:
        yield f"not every user had a reply: {[each['replied'][2] for each in told]}"
    if outcome.requests != total["sent"] or total["failures"]:
        yield f"{outcome.requests} requests arrived, {total['sent']} sent, {total['failures']} failures"
    shared = case.connections * case.processes
    if shared < outcome.connections if shared else outcome.connections != case.users:
        yield f"{outcome.connections} connections in place of {shared or case.users}"
    if case.kilobytes < outcome.kilobytes:
        yield f"more than {case.kilobytes:g} KB per user"
    if outcome.started_per_second < RATE_REACHED * case.rate:
        yield f"not {case.rate:,} started per second"
    if outcome.late["p99"] > LONGEST_LATENESS:
        yield f"jobs later than {LONGEST_LATENESS * 1000:g} ms"


if __name__ == "__main__":
    sys.exit(main())
