"""Measures one load generator for one window of time: requests per second of its own CPU.

The requests are those that the target counted, the CPU is what the kernel charged to the generator and its
children, both over the same window, which begins after start-up and ramp. The two sides have a core each.
"""

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rivals import HOUSE, Case, Rival

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# From the first request to the window's begin: the ramp, and what an interpreter specialises on first use.
WARM_UP = 2.0
# How long a generator may take from its start to its first request.
START_UP = 30.0


@dataclass(frozen=True)
class Window:
    """What one window showed. CPU in seconds, of the generator and of the target."""

    requests: int
    seconds: float
    generator_cpu: float
    target_cpu: float

    @property
    def per_cpu_second(self) -> float:
        """Requests for each second of the generator's CPU."""
        return self.requests / self.generator_cpu


class Failed(Exception):
    """A generator did not do its work; the text says how."""


class Target:
    """A running examples/target on a core of its own."""

    def __init__(self, process: subprocess.Popen[str], addresses: dict[str, str]) -> None:
        """Take a started process and the addresses that it printed."""
        self.pid = process.pid
        self.url = f"http://{addresses['target']}"
        self.control = f"http://{addresses['control']}"

    def count(self) -> int:
        """How many requests have been received so far."""
        with urllib.request.urlopen(f"{self.control}/count", timeout=10) as reply:
            return int(json.load(reply)["total"])


@contextmanager
def target(core: int) -> Iterator[Target]:
    """Start a target pinned to `core`; it ends with the block."""
    binary = str(HOUSE / ".cache/bin/aiotest-example-target")
    command = ["taskset", "-c", str(core), binary, "--port=0", "--control-port=0", "--while-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Target(process, json.loads(process.stdout.readline()))


def measure(rival: Rival, case: Case, aim: Target, core: int, seconds: float) -> Window:
    """Run `rival` on `core` against `aim` and return what a window of `seconds` showed."""
    longest = int(START_UP + WARM_UP + seconds) + 5
    command = ["taskset", "-c", str(core), *rival.command(case, aim.url, longest)]
    before = aim.count()
    log = HOUSE / ".cache/bench" / f"{rival.name.replace(' ', '-')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, process_group=0, cwd=HOUSE)
        try:
            until_first_request(process, aim, before, log)
            time.sleep(WARM_UP)
            first = sample(process.pid, aim)
            time.sleep(seconds)
            last = sample(process.pid, aim)
            if process.poll() is not None:
                raise Failed(f"it ended early with code {process.returncode}; see {log}")
        finally:
            end(process)
    generator_cpu = last[2] - first[2]
    if last[1] == first[1] or generator_cpu <= 0:
        raise Failed(f"it sent nothing in the window; see {log}")
    return Window(last[1] - first[1], last[0] - first[0], generator_cpu, last[3] - first[3])


def until_first_request(process: subprocess.Popen[bytes], aim: Target, before: int, log: Path) -> None:
    """Wait until the target has received a request of this generator."""
    deadline = time.monotonic() + START_UP
    while aim.count() == before:
        if process.poll() is not None or deadline < time.monotonic():
            raise Failed(f"it sent no request; see {log}")
        time.sleep(0.05)


def sample(pid: int, aim: Target) -> tuple[float, int, float, float]:
    """This instant: clock, requests received, the generator's CPU, the target's CPU."""
    return time.monotonic(), aim.count(), sum(map(cpu, family(pid))), cpu(aim.pid)


def family(pid: int) -> list[int]:
    """A process and everything that descends from it."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return [
        pid,
        *(kin for file in children for child in file.read_text().split() for kin in family(int(child))),
    ]


def cpu(pid: int) -> float:
    """Seconds of CPU charged to a process so far, its ended and awaited children included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS_PER_SECOND


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a generator that we started, with whatever it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
