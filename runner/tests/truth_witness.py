"""Starts `witness/` for a test, on loopback or behind a veth pair between network namespaces of the test's
own, and reads its stamps. Whatever happened in the block, the witness and the namespaces are gone after it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

BINARY = Path(__file__).resolve().parent.parent.parent / ".cache/bin/aiotest-witness"

GENERATOR, WITNESS = 10, 20
"""Real-time priorities: before everything else on the machine, as what other programs do meanwhile is no
part of what is measured; and the witness, which watches the machine's punctuality, before the generator.
"""

_ASK = "import sys, urllib.request as r; sys.stdout.write(r.urlopen(sys.argv[1], timeout=20).read().decode())"
_numbers = count(1)


class Stamp(NamedTuple):
    """One request as the witness saw it; times in nanoseconds."""

    id: int
    hop: bool
    nth: int
    opened: int
    received: int
    written: int | None
    delay: int


@dataclass(frozen=True)
class Network:
    """Words to put before a command, so that it runs on the one side or on the other."""

    name: str
    address: str
    server: list[str]
    client: list[str]


@dataclass(frozen=True)
class Witness:
    """A running witness."""

    network: Network
    plain: str
    tls: str
    control: str
    authority: Path
    pid: int

    def _ask(self, what: str) -> str:
        command = [*self.network.server, sys.executable, "-c", _ASK, f"http://{self.control}/{what}"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def requests(self) -> int:
        """How many requests it has received."""
        answer: dict[str, Any] = json.loads(self._ask("count"))
        return int(answer["requests"])

    def stamps(self) -> list[Stamp]:
        """All requests that it has received, in the order of their arrival."""
        return [Stamp(**json.loads(line)) for line in self._ask("stamps").splitlines()]

    def lapses(self) -> list[tuple[int, int]]:
        """Times at which a core was late, from when it was due to when it came; in nanoseconds. None are
        told where the witness has no priority over the generator, which might then be what made the core
        late.
        """
        if not real_time(WITNESS):
            return []
        return [tuple(json.loads(line)) for line in self._ask("lapses").splitlines()]


@contextmanager
def running_witness(network: Network, folder: Path) -> Iterator[Witness]:
    """A witness of the test's own, on ports from the kernel; it ends with the block."""
    if not BINARY.exists():
        raise FileNotFoundError(f"{BINARY} is not built: run `make test-python`, which builds it")
    authority = folder / "authority.pem"
    command = [*network.server, *real_time(WITNESS), str(BINARY), "--probe", "--address", network.address]
    command += ["--tls-authority", str(authority), "--while-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        addresses = json.loads(process.stdout.readline())
        yield Witness(network, **addresses, authority=authority, pid=process.pid)


@contextmanager
def loopback() -> Iterator[Network]:
    """Both sides on this machine's loopback."""
    yield Network("loopback", "127.0.0.1", [], [])


@contextmanager
def veth() -> Iterator[Network]:
    """The sides in a namespace each, joined by a veth pair with an MTU of 1500."""
    number = f"{os.getpid()}-{next(_numbers)}"
    sides = {side: f"aiotest-truth-{number}-{side}" for side in ("server", "client")}
    made: list[str] = []
    try:
        for namespace in sides.values():
            _ip("netns", "add", namespace)
            made.append(namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
        one, other = sides.values()
        _ip("link", "add", "out", "netns", one, "type", "veth", "peer", "name", "out", "netns", other)
        for last, namespace in enumerate((one, other), start=1):
            _ip("-n", namespace, "address", "add", f"198.18.0.{last}/30", "dev", "out")
            _ip("-n", namespace, "link", "set", "out", "mtu", "1500", "up")
        inside = {side: ["ip", "netns", "exec", namespace] for side, namespace in sides.items()}
        yield Network("veth", "198.18.0.1", inside["server"], inside["client"])
    finally:
        # The pair goes with either of them.
        for namespace in made:
            _ip("netns", "delete", namespace)


def why_no_veth() -> str | None:
    """Why this machine cannot make network namespaces; `None`: it can."""
    if shutil.which("ip") is None:
        return "there is no `ip` (Debian's package iproute2)"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"no right to make network namespaces: {tried.stderr.strip()}"


def real_time(priority: int) -> list[str]:
    """Words to put before a command, so that it has this priority; none where that is not allowed."""
    words = ["chrt", "--fifo", str(priority)]
    allowed = shutil.which("chrt") and subprocess.run([*words, "true"], capture_output=True).returncode == 0
    return words if allowed else []


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
