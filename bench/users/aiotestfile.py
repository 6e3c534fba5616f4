"""Many users, each with a long think time: with a connection each, or with a pool that all of them share.

Beside the load, tells `bench/users.py` what only the process itself knows: when each user was begun and had
its first reply, and how late jobs were woken.
"""

import asyncio
import itertools
import json
import os
import time
from array import array
from pathlib import Path
from typing import Any

from aiotest import AsyncHttpUser, ClientSession, TCPConnector, events
from aiotest.crew import Crew

HOSTS = itertools.cycle(os.environ["BENCH_TARGETS"].split())
LIMIT = int(os.environ["BENCH_CONNECTIONS"])
CONNECTOR = TCPConnector(limit=LIMIT) if LIMIT else None
# Seconds of one step of the histogram of lateness, and its steps.
STEP, STEPS = 0.0001, 100_000

begun, replied = array("d"), array("d")
late = array("L", bytes(8 * STEPS))
samples: list[tuple[float, float, int, int, float]] = []


class TestUser(AsyncHttpUser):
    """Asks when it is begun, then again after each think time."""

    wait_time = float(os.environ["BENCH_THINK"])

    def __init__(self) -> None:
        """Aim at the next of the targets."""
        self.host = next(HOSTS)
        if CONNECTOR is None:
            super().__init__()
        else:
            super(AsyncHttpUser, self).__init__()
            self.session = ClientSession(self.host, connector=CONNECTOR)

    async def on_start(self) -> None:
        """The first request, with its connection."""
        begun.append(time.monotonic())
        await self.test_ask()
        replied.append(time.monotonic())

    async def test_ask(self) -> None:
        """One request."""
        async with self.session.get("/json") as reply:
            body = await reply.json()
            assert body["message"] == "hello"


def lateness(self: Crew, seconds: float) -> None:
    """What the runner is told of each wake-up, in place of its maximum alone."""
    late[min(int(seconds / STEP), STEPS - 1)] += 1


Crew.lateness = lateness  # type: ignore[method-assign]


def resident() -> int:
    """Bytes of resident memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def waited() -> float:
    """Seconds that the loop's thread has been ready to run while others had the cores."""
    return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9


def sample() -> None:
    """Clock, CPU, memory, users that are there, and time without a core."""
    samples.append((time.monotonic(), time.process_time(), resident(), len(replied), waited()))


def look(runner: Any) -> None:
    """Sample memory and CPU twice a second while users live."""
    if runner.state in ("starting", "running"):
        sample()
    asyncio.get_running_loop().call_later(0.5, look, runner)


async def begin(runner: Any, **_: Any) -> None:
    """The first sample is of a process without users."""
    sample()
    look(runner)


async def tell(**_: Any) -> None:
    """Write down what this process knows."""
    told = {
        "begun": [min(begun), max(begun), len(begun)],
        "replied": [min(replied), max(replied), len(replied)],
        "late": {index: count for index, count in enumerate(late) if count},
        "samples": samples,
    }
    write(f"{os.getpid()}.json", json.dumps(told))


def write(name: str, text: str) -> None:
    """The users are gone: nobody waits for the loop."""
    Path(os.environ["BENCH_FOLDER"], name).write_text(text)


events.test_start += begin
events.test_stop += tell
