"""A run of pods, each with a proxy of its own between it and the master, and what holds of every run whatever
was done to it.

The target tells requests of different pods apart, so that a test can say whose load went on, and until when.
Start at [`Fleet`][].
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from textwrap import dedent
from types import TracebackType
from typing import Any, Self

from command_line import Command
from faulty_proxy import NONE, Fault, FaultyProxy
from one_server import OneServer
from processes import PodMaster, children, constant, pod_argv

DEAD_MAN = 2.0
"""Seconds for which a runner goes on without having heard from its master."""
USERS = 8

SHOP = """
    import asyncio
    import sys
    from aiotest import AsyncHttpUser

    WHO = sys.argv[sys.argv.index("--id") + 1] if "--id" in sys.argv else "master"

    class TestShop(AsyncHttpUser):
        wait_time = 0.05

        async def on_start(self):
            await self.ask("/begin")

        async def test_ask(self):
            await self.ask("/" + WHO)

        async def ask(self, path):
            async with self.session.get(path) as reply:
                await reply.read()

        async def on_stop(self):
            await asyncio.sleep(LINGER)
"""


def shop(linger: float = 0.0) -> str:
    """Users that ask for a path named after their pod; `linger` is how long each takes to end."""
    return dedent(SHOP).replace("LINGER", str(linger))


class Fleet:
    """A master and pods of one process each. Every process is killed at the end of the block."""

    def __init__(
        self,
        folder: Path,
        server: OneServer,
        *pods: str,
        linger: float = 0.0,
        dead_man: float = DEAD_MAN,
        **more: Any,
    ) -> None:
        """Start a master, and these pods."""
        (folder / "aiotestfile.py").write_text(shop(linger))
        self.folder, self.server = folder, server
        self._stack = ExitStack()
        spec: dict[str, Any] = {"host": server.url, "load": constant(USERS, 60), "runners": len(pods)}
        spec |= {"dead_man": round(dead_man * 1_000_000)}
        self.master = self._stack.enter_context(PodMaster(folder, **spec | more))
        self.proxies: dict[str, FaultyProxy] = {}
        self.pods: dict[str, Command] = {}
        for name in pods:
            self.join(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What is frozen would not hear that its parent is gone.
        for name in self.pods:
            with suppress(OSError, ValueError):
                self.signal(name, signal.SIGCONT)
        self._stack.__exit__(kind, error, trace)

    def join(self, name: str) -> None:
        """Start another pod."""
        self.proxies[name] = self._stack.enter_context(FaultyProxy(self.master.control))
        argv = pod_argv(self.folder, self.proxies[name].address, name)
        self.pods[name] = self._stack.enter_context(Command(*argv, cwd=self.folder))

    def signal(self, name: str, number: int) -> None:
        """A signal to the process in a pod that runs its users."""
        (process,) = children(self.pods[name].pid)
        os.kill(process, number)

    def network(self, fault: Fault = NONE) -> None:
        """The same fault between the master and everybody."""
        for proxy in self.proxies.values():
            proxy.set(fault)

    def is_loaded(self, by: str) -> bool:
        """Whether a pod has sent a request within the last moments."""
        return time.monotonic() - self.server.latest.get(f"/{by}", 0.0) < 0.3

    def joined(self) -> int:
        """Processes that the master takes for alive; -1 while it is away."""
        return int(self.master.status().get("joined", -1))

    def is_whole(self) -> bool:
        """Whether every user lives."""
        return self.master.users() == USERS

    def last_request(self) -> float:
        """The monotonic time of the target's last request."""
        return max(self.server.latest.values())

    def stop(self) -> None:
        """End the load, as an operator does."""
        self.master.ask("POST", "/v1/stop", {"reason": "stopped"})

    def checked_result(self, bounded: bool = False) -> dict[str, Any]:
        """The report, held against what the target counted: to the sample, or where a process was killed
        (`bounded`) within what the report says is missing.
        """
        result = self.master.result()
        received, sent = self.server.counts.total(), result["total"]["sent"]
        lost = [gap["lost_at_most"] for gap in result["gaps"]]
        told = json.dumps(result["gaps"])
        assert None not in lost, f"nothing bounds what is missing: {told}"
        most = sum(lost) if bounded else 0
        assert sent <= received <= sent + most, f"{sent} sent, {received} received: {told}"
        assert self.master.sent() == sent
        assert result["users"]["peak"] <= result["users"]["target"]
        assert (result["errors"], result["user_errors"], result["total"]["failures"]) == ([], [], 0)
        return result
