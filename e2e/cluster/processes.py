"""The processes of the cluster: started, written down, and ended by pid.

A pid is written down together with the start time of its process, so that a pid that the kernel has given to
somebody else in the meantime is never touched.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from e2e.cluster import layout
from e2e.cluster.shell import ClusterError

# What processes get between TERM and KILL, in seconds.
GRACE = 10.0


@dataclass(frozen=True)
class Process:
    """A process that we started. `started` is its start time in the kernel's ticks since boot."""

    name: str
    pid: int
    started: int

    def alive(self) -> bool:
        """Whether this very process runs still; one that has ended and waits to be collected doesn't."""
        found = _stat(self.pid)
        return found is not None and found == self.started


@dataclass
class State:
    """What `up` has made, so that `down` can take it away: written at each step."""

    nodes: int = 0
    complete: bool = False
    processes: list[Process] = field(default_factory=list)

    @classmethod
    def read(cls) -> State | None:
        """The state of the cluster of this machine; None where there is none."""
        try:
            raw = json.loads(layout.STATE_FILE.read_text())
        except FileNotFoundError:
            return None
        except json.JSONDecodeError as error:
            raise ClusterError(f"{layout.STATE_FILE} is not readable ({error}); remove it by hand") from error
        return cls(raw["nodes"], raw["complete"], [Process(**process) for process in raw["processes"]])

    def write(self) -> None:
        """Replace the file in one step."""
        layout.STATE.mkdir(parents=True, exist_ok=True)
        new = layout.STATE_FILE.with_suffix(".new")
        new.write_text(json.dumps(asdict(self), indent=1))
        new.rename(layout.STATE_FILE)

    def start(
        self, name: str, command: list[str], *, stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Start a process in a session of its own, its output in a log file, and write it down."""
        layout.LOGS.mkdir(parents=True, exist_ok=True)
        with log_file(name).open("ab") as log:
            child = subprocess.Popen(
                command, stdin=stdin, stdout=log, stderr=log, cwd="/", start_new_session=True
            )
        self.note(name, child.pid)
        return child

    def note(self, name: str, pid: int) -> None:
        """Write down a process of ours that runs."""
        started = _stat(pid)
        if started is None:
            raise ClusterError(f"{name} ended at once; see {layout.LOGS}")
        self.processes.append(Process(name, pid, started))
        self.write()

    def dead(self) -> list[str]:
        """The names of the processes that have ended by themselves."""
        return [process.name for process in self.processes if not process.alive()]


def log_file(name: str) -> Path:
    """Where the process writes."""
    return layout.LOGS / f"{name}.log"


def end(processes: list[Process]) -> None:
    """TERM to all, and KILL to those that don't hear it; returns when they are gone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            if process.alive():
                os.kill(process.pid, number)
        deadline = time.monotonic() + GRACE
        while any(process.alive() for process in processes) and time.monotonic() < deadline:
            time.sleep(0.02)
    for process in processes:
        if process.alive():
            raise ClusterError(f"{process.name} (pid {process.pid}) cannot be killed")


def _stat(pid: int) -> int | None:
    """The start time of a living process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
