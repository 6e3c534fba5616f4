"""Visitors that make one request each; tells `bench/arrivals.py` when each of them began."""

import os
import time
from array import array
from pathlib import Path
from typing import Any

from aiotest import AsyncHttpUser, events

begun = array("d")


class TestVisitor(AsyncHttpUser):
    """Asks once in an iteration."""

    host = os.environ["BENCH_TARGETS"]

    async def test_visit(self) -> None:
        """One request."""
        begun.append(time.monotonic())
        async with self.session.get("/json") as reply:
            await reply.json()


async def tell(**_: Any) -> None:
    """Write down what this process knows."""
    write()


def write() -> None:
    """The users are gone: nobody waits for the loop."""
    Path(os.environ["BENCH_FOLDER"], f"{os.getpid()}.begun").write_bytes(begun.tobytes())


events.test_stop += tell
