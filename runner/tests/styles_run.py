"""Runs an aiotestfile as its author would over two machines: a master and two workers, each a command."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command_line import Command, free_port
from example_target import Target, running_target

STYLES = Path(__file__).parent / "styles"


@dataclass(frozen=True)
class Row:
    """One line of the closing table."""

    requests: int
    failed: int


@dataclass(frozen=True)
class Run:
    """What a master and two workers left behind."""

    codes: list[int]
    """Of the master, then of the workers."""
    outputs: list[str]
    counts: dict[str, Any]
    """What the target counted."""
    curve: list[tuple[float, int]]
    """Seconds since the first user came, and the users there were: each has one connection to the target."""

    @property
    def text(self) -> str:
        """Everything that was printed."""
        return "\n".join(self.outputs)

    @property
    def rows(self) -> dict[str, Row]:
        """The closing table, by `METHOD name`."""
        found = re.findall(r"^([A-Z]+ \S.*?) {2,}([\d,]+) +([\d,]+) +[\d,.]+ ", self.outputs[0], re.MULTILINE)
        return {name: Row(_number(requests), _number(failed)) for name, requests, failed in found}

    @property
    def sent(self) -> int:
        """Requests that were sent, as the table has it."""
        (sent,) = re.findall(r"([\d,]+) requests sent", self.outputs[0])
        return _number(sent)

    def told(self, pattern: str) -> list[list[str]]:
        """What is found in each worker's output."""
        return [re.findall(pattern, output) for output in self.outputs[1:]]


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def run_style(
    name: str, folder: Path, load: Sequence[object] = (), own: Sequence[object] = (), host: str | None = None
) -> Run:
    """Run `styles/NAME.py` against a target of its own, or another `host`; `own` are its own options."""
    folder.mkdir()
    port = free_port()
    with running_target() as target:
        both = ["-f", STYLES / name, "-H", host or target.url, *own]
        ports = ["--master-bind-port", port, "--prometheus-port", free_port()]
        with (
            Command(*both, "--master", "--expect-workers", 2, *load, *ports, cwd=folder) as master,
            Command(*both, "--worker", "--master-port", port, cwd=folder) as first,
            Command(*both, "--worker", "--master-port", port, cwd=folder) as second,
        ):
            curve = _watch(target, master)
            commands = [master, first, second]
            codes = [command.end() for command in commands]
        target.settled()
        return Run(codes, [command.output for command in commands], target.counts(), curve)


def _watch(target: Target, command: Command) -> list[tuple[float, int]]:
    curve: list[tuple[float, int]] = []
    first: float | None = None
    end = time.monotonic() + 60
    while command.is_running() and time.monotonic() < end:
        users = target.counts()["connections"]["open"]
        if first is None and users:
            first = time.monotonic()
        if first is not None:
            curve.append((time.monotonic() - first, users))
        time.sleep(0.1)
    return curve
