"""What scenarios see of the process they run in: `runners.global_runner`, also handed to event handlers.

A runner here only answers questions. Who starts and stops users is `aiotest.host`; who decides how many there
are is the master's plan, in Rust.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Protocol

__all__ = [
    "STATE_INIT",
    "STATE_RUNNING",
    "STATE_STARTING",
    "STATE_STOPPED",
    "STATE_STOPPING",
    "LocalRunner",
    "MasterRunner",
    "WorkerRunner",
    "global_runner",
]

STATE_INIT = "ready"
"""Joined or waiting for the others; no user was started yet."""
STATE_STARTING = "starting"
"""Users are being started."""
STATE_RUNNING = "running"
"""The users of the first ramp are there."""
STATE_STOPPING = "stopping"
"""No new call starts any more; open ones and `on_stop` are waited for."""
STATE_STOPPED = "stopped"
"""No user is left."""


class Source(Protocol):
    """Where a runner's answers come from: the native runner or master of this process."""

    @property
    def user_count(self) -> int: ...
    @property
    def state(self) -> str: ...


class _NotJoined:
    user_count = 0
    state = STATE_INIT


class _Runner:
    def __init__(self, options: Namespace) -> None:
        self._source: Source = _NotJoined()
        self.options = options
        """The command line as parsed, with the file's own options."""

    def attach(self, source: Source) -> None:
        """Answer from `source` from now on; until then no user is live. Called by whoever owns the
        process.
        """
        self._source = source

    @property
    def user_count(self) -> int:
        """Live users: of this process, or of all workers where this is the master."""
        return self._source.user_count

    @property
    def state(self) -> str:
        """One of the `STATE_…` names of this module."""
        return self._source.state


class LocalRunner(_Runner):
    """The one process of `aiotest -f FILE`: master and users in one."""


class MasterRunner(_Runner):
    """A process that shares out the load and runs no user."""


class WorkerRunner(_Runner):
    """A process that runs its share of the users."""


global_runner: LocalRunner | MasterRunner | WorkerRunner | None = None
"""The runner of this process; `None` until the scenario file has been read."""
