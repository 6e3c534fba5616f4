"""What a master process tells whoever started it: on a laptop, where it listens, by a ready file; on a
cluster, how the run ended, by its container's termination message. Either way, why a scenario cannot be run.

Decides nothing about the run. Start at [`Announcement`][].
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Protocol

from aiotest import _native, process

__all__ = ["NOT_RUN", "Announcement", "ReadyFile", "TerminationMessage"]

NOT_RUN = 3
"""The exit code of a process whose scenario cannot be run."""
CRASHED = 1
"""The exit code of a master in a pod that is to be started again."""


class Announcement(Protocol):
    """How a master's news reach whoever started it."""

    def ready(self, native: _native.Master, token: str) -> None:
        """It accepts runners from now on. Raises: `OSError`."""

    def refuse(self, error: str) -> int:
        """The scenario or the plan cannot be run, however often it is tried. Returns the exit code."""

    def fail(self, error: str) -> int:
        """Something on this machine stands in the way: a port that is taken. Returns the exit code."""

    def conclude(self, message: str | None) -> None:
        """The run is over; `message` is the verdict as a termination message."""

    def exit_code(self, concluded: bool, verdict: int) -> int:
        """The process's exit code; `verdict` is the run's."""


class ReadyFile:
    """For a parent on the same machine, who holds this process's stdin and asks the master for all else."""

    def __init__(self, path: str) -> None:
        self._path = path

    def ready(self, native: _native.Master, token: str) -> None:
        """Say where it listens; end the run with the parent."""
        process.on_parent_gone(lambda: native.stop("parent gone"))
        control, metrics = native.addresses
        process.write_atomically(self._path, {"control": control, "metrics": metrics})

    def refuse(self, error: str) -> int:
        """Say why, there and on stderr. Returns 3."""
        _complain(error)
        process.write_atomically(self._path, {"error": error})
        return NOT_RUN

    fail = refuse

    def conclude(self, message: str | None) -> None:
        """The parent reads the report."""

    def exit_code(self, concluded: bool, verdict: int) -> int:
        """The verdict's own."""
        return verdict


class TerminationMessage:
    """For a pod, which has no parent. The exit code is 0 whatever the verdict is: a concluded run must
    not be run again.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def ready(self, native: _native.Master, token: str) -> None:
        """Show in the pod's log how the run goes; that it is ready the probe sees."""
        _native.show_progress(native.addresses[0], token, acknowledge=False)

    def refuse(self, error: str) -> int:
        """Say why, there and on stderr. Returns 0."""
        _complain(error)
        self._write(_native.refusal(error))
        return 0

    def fail(self, error: str) -> int:
        """Say why on stderr. Returns 1."""
        _complain(error)
        return CRASHED

    def conclude(self, message: str | None) -> None:
        """Write it."""
        if message is not None:
            self._write(message)

    def exit_code(self, concluded: bool, verdict: int) -> int:
        """0 if the run is concluded, 1 if it is not."""
        return 0 if concluded else CRASHED

    def _write(self, message: str) -> None:
        try:
            # In place: the file is a mount of the container's own, which nothing can be renamed over.
            self._path.write_text(message)
        except OSError as error:
            # The report has the verdict, too.
            _complain(str(error))


def _complain(error: str) -> None:
    print(f"aiotest: {error}", file=sys.stderr, flush=True)
