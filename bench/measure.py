"""Measures one load generator for one window of time: requests per second of its own CPU.

The requests are those that the target counted, the CPU is what the kernel charged to the generator and its
children, both over the same window, which begins after start-up and ramp. The two sides have a core each. The
target also tells whether the work was done as it is meant: connections kept or made anew, cookies brought
back.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cases import Contestant, Work
from install import HOUSE
from rivals import Rival
from targets import Counts, Target, environment

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# From the first request to the window's begin: the ramp, and what an interpreter specialises on first use.
WARM_UP = 2.0
# How long a generator may take from its start to its first request.
START_UP = 30.0
# Of a thousand requests so many may differ from what the work says: those at the window's edges, and k6's
# habit of closing a few connections.
TOLERANCE = 0.01


@dataclass(frozen=True)
class Window:
    """What one window showed. CPU in seconds: the generator's own code, the kernel in its name, the target's,
    what others used of the generator's core, and what the hypervisor took from it.
    """

    seconds: float
    user: float
    system: float
    target_cpu: float
    others: float
    stolen: float
    counts: Counts

    @property
    def per_cpu_second(self) -> float:
        """Requests for each second of the generator's CPU."""
        return self.counts.requests / (self.user + self.system)


class Failed(Exception):
    """A generator did not do its work; the text says how."""


@dataclass(frozen=True)
class Sample:
    """All counters at one instant, in the units of `Window`."""

    clock: float
    counts: Counts
    generator: tuple[float, float]
    target: tuple[float, float]
    core: tuple[float, float]


def measure(
    contestant: Contestant,
    rival: Rival,
    aim: Target,
    core: int,
    during: Callable[[int], None],
    longest: float,
) -> Window:
    """Run the contestant on `core` against `aim`, and return what the window showed in which `during` ran.

    `during` gets the generator's process id, and takes at most `longest` seconds.
    """
    work = contestant.work
    allowed = int(START_UP + WARM_UP + ramp(work) + longest) + 5
    command = ["taskset", "-c", str(core), *rival.command(work, aim.url, allowed)]
    name = f"{work.folder}-{work.tls}-{contestant.label}".replace(" ", "-")
    log = HOUSE / ".cache/bench" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
            cwd=log.parent,  # Aiotest 1.2 writes a folder of logs
            env=os.environ | environment(work),
        )
        try:
            connections = 1 if rival.shares_connections else work.users * work.connections_each
            until_all_are_there(process, aim, connections, START_UP + ramp(work), log)
            time.sleep(WARM_UP)
            first = sample(process.pid, aim, core)
            during(process.pid)
            last = sample(process.pid, aim, core)
            if process.poll() is not None:
                raise Failed(f"it ended early with code {process.returncode}; see {log}")
        finally:
            end(process)
    window = between(first, last)
    faults = wrong(window, work)
    if rival.complaint.search(log.read_text(errors="replace")):
        faults.append("it reports failures")
    if faults:
        raise Failed(f"{'; '.join(faults)}; see {log}")
    return window


def ramp(work: Work) -> float:
    """How long the users of a work may take to come, in seconds; a thousand start in less than one."""
    return 2.0 + work.users / 1_000


def until_all_are_there(
    process: subprocess.Popen[bytes], aim: Target, connections: int, patience: float, log: Path
) -> None:
    """Wait until the target has seen so many connections, one of each user where they have their own, and a
    request. Users that share theirs start in the second before the warm-up's end.
    """
    deadline = time.monotonic() + patience
    while True:
        counts = aim.counts()
        if connections <= counts.connections and counts.requests:
            return
        if process.poll() is not None:
            raise Failed(f"it ended with code {process.returncode} before its users were there; see {log}")
        if deadline < time.monotonic():
            raise Failed(f"not all users came: {counts.connections} connections; see {log}")
        time.sleep(0.05)


def wrong(window: Window, work: Work) -> list[str]:
    """What the target saw that is another work than the one that was meant."""
    counts = window.counts
    if counts.requests == 0 or window.user + window.system <= 0:
        return ["it sent nothing in the window"]
    faults = []
    share = counts.connections / counts.requests
    if work.connections == "kept" and share > TOLERANCE:
        faults.append(f"it made {counts.connections:,} new connections, which were to be kept")
    if work.connections == "new" and share < 1 - TOLERANCE:
        faults.append(f"it made {counts.connections:,} connections for {counts.requests:,} requests")
    if work.path == "/visit" and counts.returning < (1 - TOLERANCE) * counts.requests:
        faults.append(f"{counts.returning:,} of {counts.requests:,} requests brought the cookie back")
    return faults


def between(first: Sample, last: Sample) -> Window:
    """The window from one sample to the other."""
    user, system = (b - a for a, b in zip(first.generator, last.generator, strict=True))
    busy, stolen = (b - a for a, b in zip(first.core, last.core, strict=True))
    return Window(
        seconds=last.clock - first.clock,
        user=user,
        system=system,
        target_cpu=sum(last.target) - sum(first.target),
        others=max(0.0, busy - user - system),
        stolen=stolen,
        counts=last.counts.since(first.counts),
    )


def sample(pid: int, aim: Target, core: int) -> Sample:
    """All counters now."""
    spent = [cpu(member) for member in family(pid)]
    generator = sum(user for user, _ in spent), sum(system for _, system in spent)
    return Sample(time.monotonic(), aim.counts(), generator, cpu(aim.pid), core_use(core))


def family(pid: int) -> list[int]:
    """A process and everything that descends from it."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return [
        pid,
        *(kin for file in children for child in file.read_text().split() for kin in family(int(child))),
    ]


def cpu(pid: int) -> tuple[float, float]:
    """Seconds of CPU charged to a process so far, user's and system's, with its ended children's."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, childrens_user, childrens_system = map(int, fields[11:15])
    return (user + childrens_user) / TICKS_PER_SECOND, (system + childrens_system) / TICKS_PER_SECOND


def core_use(core: int) -> tuple[float, float]:
    """Seconds in which a core was busy so far, and those that the hypervisor took."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *numbers = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _wait, interrupts, soft, stolen = map(int, numbers[:8])
            return (user + nice + system + interrupts + soft) / TICKS_PER_SECOND, stolen / TICKS_PER_SECOND
    raise Failed(f"/proc/stat doesn't list core {core}")


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a generator that we started, with whatever it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
