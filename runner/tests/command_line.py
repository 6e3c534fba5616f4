"""Runs the command `aiotest` as people do, in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE = 30.0
"""Seconds that a run in a test may take before it is killed."""


def write(folder: Path, source: str) -> Path:
    """An aiotestfile with this source."""
    path = folder / "aiotestfile.py"
    path.write_text(textwrap.dedent(source))
    return path


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert isinstance(port, int)
        return port


class Command:
    """One process of `aiotest`; killed at the end of the block, whatever happened in it."""

    def __init__(self, *argv: object, cwd: Path, token: str | None = None) -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            # As in a shell's background; a command would inherit it, and never hear of its Ctrl-C.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        environment = {name: value for name, value in os.environ.items() if name != "AIOTEST_TOKEN"}
        if token is not None:
            environment["AIOTEST_TOKEN"] = token
        self._process = subprocess.Popen(
            [sys.executable, "-m", "aiotest", *map(str, argv)],
            cwd=cwd,
            env=environment | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with self._changed:
                    self._lines.append(line.rstrip("\n"))
                    self._changed.notify_all()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """What it has written so far, to stdout and stderr."""
        return "\n".join(self._lines)

    def until(self, text: str, times: int = 1) -> None:
        """Wait until this text has been written that many times."""
        self._wait(lambda: self.output.count(text) >= times, f"{times} times `{text}`")

    def until_so(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait until something outside has become so; a command that has ended cannot bring it about."""
        end = time.monotonic() + PATIENCE
        while not is_so():
            ended = self._process.poll() is not None or end < time.monotonic()
            assert not ended, f"waited for {what} in vain:\n{self.output}"
            time.sleep(0.02)

    def _wait(self, is_so: Callable[[], bool], what: str) -> None:
        with self._changed:
            assert self._changed.wait_for(is_so, PATIENCE), f"waited for {what} in vain:\n{self.output}"

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self, within: float = PATIENCE) -> int:
        """Wait for its end. Returns its exit code."""
        code = self._process.wait(within)
        self._reader.join(PATIENCE)
        return code


def run(*argv: object, cwd: Path) -> tuple[int, str]:
    """Exit code and output of a command that ends by itself."""
    with Command(*argv, cwd=cwd) as command:
        return command.end(), command.output
