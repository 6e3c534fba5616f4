"""What runners cost their master: one real master process, and as many simulated runners as asked for.

The runners (`bench/scale/swarm`) are the real state machines in one compiled process, each with a connection
of its own, and report made-up calls once a second. For each number of runners and of request names, prints
the master's CPU and memory, how long a report waits for its answer, how long it takes until all have joined,
how far apart their clocks show the start, and how long a master that was killed takes to know everything
again. Fails where a promise is broken, or where the master counts another number of requests than were made
up. `make bench-scale`, or `python bench/scale.py 1000x20`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import case_names

HOUSE = Path(__file__).resolve().parent.parent
SCENARIO = HOUSE / "bench/scale/aiotestfile.py"
SWARM = HOUSE / ".cache/bin/aiotest-swarm"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
SECRET = "of-the-benchmark"
CALLS = 200
"""Calls that a runner makes up in a second: of a thousand runners two hundred thousand."""
USERS = 10
"""Users of a runner."""
SETTLED = 3.0
"""Seconds from the start until figures are taken."""
SCRAPE = 5.0
"""Seconds between two scrapes; the status is asked for once a second."""
PATIENCE = 120.0
"""Seconds that anything may take."""

CASES = {f"{runners}x{names}": (runners, names) for names in (20, 200) for runners in (10, 100, 1_000)}


@dataclass(frozen=True)
class Promise:
    """A figure of the case with a thousand runners and twenty names, and what it stays below."""

    figure: str
    below: float
    text: str


PROMISED = "1000x20"
PROMISES = (
    Promise("cpu", 1.0, "of a core"),
    Promise("megabytes", 500.0, "MB"),
    Promise("answer_p99_ms", 50.0, "ms until 99 of 100 answers"),
    Promise("joined_s", 10.0, "s until all have joined"),
    Promise("start_skew_ms", 20.0, "ms between the first start and the last"),
)


@dataclass(frozen=True)
class Outcome:
    """What a case showed. CPU is a share of one core, memory the highest of the whole run."""

    case: str
    cpu: float
    cpu_per_report_ms: float
    megabytes: float
    answer_p50_ms: float
    answer_p99_ms: float
    answer_max_ms: float
    joined_s: float
    start_skew_ms: float
    """Between the first clock of a runner that showed the start and the last."""
    reported_start: dict[str, float]
    """What the report says of the same, as measured by the runners themselves."""
    status_ms: float
    """The longest that the status took, as those after it."""
    scrape_ms: float
    learned_s: float
    """From a master that was killed to one that knows everything again."""
    ended_s: float
    """From the stop to the report."""
    report_kb: float
    answer_kb: float
    requests: int
    faults: list[str] = field(default_factory=list)


COLUMNS: tuple[tuple[str, str, Callable[[Outcome], str]], ...] = (
    ("case", "", lambda of: of.case),
    ("CPU", "of a core", lambda of: f"{of.cpu:.0%}"),
    ("a report", "CPU ms", lambda of: f"{of.cpu_per_report_ms:.2f}"),
    ("memory", "MB", lambda of: f"{of.megabytes:.0f}"),
    ("answer", "p50 ms", lambda of: f"{of.answer_p50_ms:.1f}"),
    ("answer", "p99 ms", lambda of: f"{of.answer_p99_ms:.1f}"),
    ("joined", "s", lambda of: f"{of.joined_s:.2f}"),
    ("skew", "clocks ms", lambda of: f"{of.start_skew_ms:.2f}"),
    ("skew", "users ms", lambda of: f"{of.reported_start.get('skew_ms', 0.0):.1f}"),
    ("status", "ms", lambda of: f"{of.status_ms:.0f}"),
    ("scrape", "ms", lambda of: f"{of.scrape_ms:.0f}"),
    ("restart", "s", lambda of: f"{of.learned_s:.1f}"),
    ("end", "s", lambda of: f"{of.ended_s:.1f}"),
)
"""Headings, units and figures of the table."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the cases that are asked for. Returns 1 where one failed."""
    options = arguments(argv)
    # A connection for each runner, on both sides.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for line in (0, 1):
        print("".join(f"{column[line]:>10}" for column in COLUMNS))
    outcomes = []
    for name in options.cases:
        outcome = measure(name, options.seconds)
        outcomes.append(outcome)
        print("".join(f"{show(outcome):>10}" for _, _, show in COLUMNS), flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))
    faults = [f"{outcome.case}: {fault}" for outcome in outcomes for fault in outcome.faults]
    for fault in faults:
        print(f"FAILED {fault}", file=sys.stderr)
    return 1 if faults else 0


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="What runners cost their master.")
    parser.add_argument("--seconds", type=float, default=15.0, help="of measuring each case (default 15)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    return case_names.parse(parser, CASES, argv)


class Master:
    """A real master process on a core of its own; it can be killed, and started again."""

    def __init__(self, folder: Path, core: int) -> None:
        """On ports that stay the same."""
        self.folder, self.core = folder, core
        self.control, self.metrics = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """A new process on the same files."""
        log = HOUSE / ".cache/bench/scale.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        command: list[str | Path] = [
            *("taskset", "-c", str(self.core), sys.executable, "-m", "aiotest", "master"),
            *(self.folder / "plan.json", "--token-file", self.folder / "token", "--ready-file", ready),
            *("--control-address", self.control, "--metrics-address", self.metrics),
            *("--state-dir", self.folder / "state"),
        ]
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output)
        until("the master is ready", ready.exists)
        return self.process

    def kill(self) -> None:
        """Without a warning."""
        self.process.kill()
        self.process.communicate()

    def ask(self, method: str, path: str, port: str | None = None) -> tuple[int, Any]:
        """One call of a port: the status, and what it says."""
        body = json.dumps({"reason": "stopped"}).encode() if method == "POST" else None
        request = urllib.request.Request(
            f"http://{port or self.control}{path}",
            method=method,
            data=body,
            headers={"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
                text = reply.read()
                return reply.status, text if port else json.loads(text)
        except urllib.error.HTTPError as error:
            return error.code, None

    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def megabytes(self) -> float:
        """The most memory that it has had."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


@contextmanager
def run(runners: int, names: int, seconds: float) -> Iterator[tuple[Master, subprocess.Popen[str]]]:
    """A master and its runners; whatever happens, neither is left."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        users = USERS * runners
        spec = {
            "run": {"id": "scale", "name": "scale"},
            "load": {"constant": {"users": users, "spawn_rate": 10.0 * users}},
            "runners": runners,
            "processes_per_runner": 1,
            "aiotestfile": str(SCENARIO),
        }
        (folder / "plan.json").write_text(json.dumps(spec))
        (folder / "token").write_text(SECRET)
        master = Master(folder, cores[0])
        command = ["taskset", "-c", str(cores[-1]), str(SWARM), str(folder / "plan.json")]
        command += ["--master", master.control, "--token-file", str(folder / "token"), "--class", "TestScale"]
        command += ["--names", str(names), "--calls", str(CALLS)]
        command += ["--after", str(SETTLED), "--seconds", str(seconds)]
        swarm = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        try:
            yield master, swarm
        finally:
            for process in (swarm, master.process):
                process.kill()
                process.wait()


def measure(case: str, seconds: float) -> Outcome:
    """One run with a window, a kill, and an end."""
    runners, names = CASES[case]
    with run(runners, names, seconds) as (master, swarm):
        until("the load is on", lambda: float(master.ask("GET", "/v1/status")[1]["elapsed"] or 0) > 0)
        time.sleep(SETTLED)
        before, began = master.cpu(), time.monotonic()
        status_ms, scrape_ms = look_on(master, seconds)
        cpu = (master.cpu() - before) / (time.monotonic() - began)
        megabytes = master.megabytes()
        learned = restarted(master)
        stopped = time.monotonic()
        master.ask("POST", "/v1/stop")
        until("there is a report", lambda: master.ask("GET", "/v1/result")[0] == 200)
        ended = time.monotonic() - stopped
        report = master.ask("GET", "/v1/result")[1]
        told = json.loads(swarm.communicate(timeout=PATIENCE)[0])
        megabytes = max(megabytes, master.megabytes())
        master.ask("POST", "/v1/result/acknowledged")
    outcome = Outcome(
        case=case,
        cpu=cpu,
        cpu_per_report_ms=cpu / runners * 1000,
        megabytes=megabytes,
        answer_p50_ms=told["answer_ms"]["p50"],
        answer_p99_ms=told["answer_ms"]["p99"],
        answer_max_ms=told["answer_ms"]["max"],
        joined_s=told["joined_s"],
        start_skew_ms=told["start_skew_ms"],
        reported_start=report.get("start") or {},
        status_ms=status_ms,
        scrape_ms=scrape_ms,
        learned_s=learned,
        ended_s=ended,
        report_kb=told["report_bytes"] / 1024,
        answer_kb=told["answer_bytes"] / 1024,
        requests=report["total"]["sent"],
    )
    outcome.faults.extend(faults_of(outcome, told, report, runners))
    return outcome


def look_on(master: Master, seconds: float) -> tuple[float, float]:
    """Ask as an operator and as Prometheus do. Returns the longest that each took, in milliseconds."""
    longest = {"/v1/status": 0.0, "/metrics": 0.0}
    end, scrape = time.monotonic() + seconds, time.monotonic()
    while (began := time.monotonic()) < end:
        asked: list[tuple[str, str | None]] = [("/v1/status", None)]
        if scrape <= began:
            scrape += SCRAPE
            asked.append(("/metrics", master.metrics))
        for path, port in asked:
            sent = time.monotonic()
            master.ask("GET", path, port)
            longest[path] = max(longest[path], time.monotonic() - sent)
        time.sleep(max(0.0, began + 1.0 - time.monotonic()))
    return longest["/v1/status"] * 1000, longest["/metrics"] * 1000


def restarted(master: Master) -> float:
    """Kill the master and start it again. Returns the seconds until it knew everything again."""
    killed = time.monotonic()
    master.kill()
    master.start()
    until("it knows everything", lambda: master.ask("GET", "/metrics", master.metrics)[0] == 200)
    return time.monotonic() - killed


def faults_of(outcome: Outcome, told: dict[str, Any], report: dict[str, Any], runners: int) -> Iterator[str]:
    """What was promised and is not so."""
    if outcome.requests != told["sent"]:
        yield f"{outcome.requests} requests are in the report, {told['sent']} were made up"
    if told["astray"] or told["runners"] != runners:
        yield f"of {told['runners']} runners {told['astray']} did not come to the end: {told['errors']}"
    if report["gaps"]:
        yield f"there are gaps: {report['gaps'][:3]}"
    if outcome.case == PROMISED:
        for promise in PROMISES:
            figure = getattr(outcome, promise.figure)
            if promise.below <= figure:
                yield f"{figure:.2f} {promise.text}, which is to stay below {promise.below:g}"


def until(what: str, is_so: Callable[[], bool]) -> None:
    """Wait for it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(OSError):
            if is_so():
                return
        time.sleep(0.05)
    raise SystemExit(f"still not so after {PATIENCE:g} s: {what}; see .cache/bench/scale.log")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
