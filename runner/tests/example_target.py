"""Starts examples/target for a test, and asks it what it received."""

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parent.parent.parent
BINARY = HOUSE / ".cache/bin/aiotest-example-target"

received: list[int] = []
"""How many requests each target of the present test had received when it ended."""


@dataclass(frozen=True)
class Target:
    """A running target: its base URL, and where its counts are told."""

    url: str
    control: str

    def counts(self) -> dict[str, Any]:
        """`total`, `paths` by pattern, and `connections` (`accepted`, `open`, `peak`)."""
        with urllib.request.urlopen(f"{self.control}/count", timeout=10) as reply:
            counts: dict[str, Any] = json.load(reply)
        return counts

    def settled(self) -> int:
        """How many requests it has received, once every connection to it is closed and so read to its end."""
        until = time.monotonic() + 5
        while (counts := self.counts())["connections"]["open"] and time.monotonic() < until:
            time.sleep(0.02)
        total: int = counts["total"]
        return total


@contextmanager
def running_target() -> Iterator[Target]:
    """A target of the test's own, on ports from the kernel; it ends with the block."""
    if not BINARY.exists():
        raise FileNotFoundError(f"{BINARY} is not built: run `make test-python`, which builds it")
    command = [str(BINARY), "--port=0", "--control-port=0", "--while-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        addresses = json.loads(process.stdout.readline())
        target = Target(f"http://{addresses['target']}", f"http://{addresses['control']}")
        yield target
        received.append(target.settled())
