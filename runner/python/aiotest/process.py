"""What every process of a run does around its loop: signals, its parent, its place in a plan file.

Decides nothing about a run. Start at [`on_signals`][] and [`on_parent_gone`][].
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from importlib.metadata import version as _installed
from pathlib import Path
from typing import Any, NoReturn

__all__ = [
    "hand_down",
    "handed_down",
    "let_go_of_ctrl_c",
    "on_parent_gone",
    "on_signals",
    "quit_now",
    "raise_open_files",
    "version",
    "write_atomically",
]

_HANDED_DOWN = "AIOTEST_HANDED_DOWN"


def version() -> str:
    """The version of the installed distribution."""
    return _installed("aiotest-runner")


def on_signals(first: Callable[[str], None], again: Callable[[], None]) -> None:
    """Call `first` with a reason at the first Ctrl-C or SIGTERM, `again` at every later one."""
    asked = False

    def handle(reason: str) -> None:
        nonlocal asked
        if asked:
            again()
        else:
            asked = True
            first(reason)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, handle, "interrupted")
    loop.add_signal_handler(signal.SIGTERM, handle, "terminated")


def raise_open_files() -> None:
    """Have this process hold as many open files, and so connections, as the machine lets it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A limit that cannot be raised is no reason to run less than the limit allows.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def quit_now(code: int = 1) -> NoReturn:
    """End this process without waiting for anything: users that hang cannot hold it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def on_parent_gone(do: Callable[[], None]) -> None:
    """Call `do` when whoever holds the other end of this process's stdin has died or closed it."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            do()

    try:
        loop.add_reader(0, read)
    except (OSError, ValueError):
        # A file or /dev/null cannot be waited for: nobody holds it, nobody can be gone.
        return


def let_go_of_ctrl_c() -> None:
    """Leave SIGINT to the Rust code that is called next."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def hand_down(given: argparse.Namespace) -> None:
    """Leave what a plan has no place for to the processes that this one starts."""
    os.environ[_HANDED_DOWN] = json.dumps(
        {name: getattr(given, name) for name in ("loglevel", "logfile", "buckets")}
    )


def handed_down() -> dict[str, Any]:
    """What the process that started this one has handed down: `loglevel`, `logfile`, `buckets`; or
    nothing.
    """
    found: dict[str, Any] = json.loads(os.environ.get(_HANDED_DOWN, "{}"))
    return found


def write_atomically(path: str, content: dict[str, str]) -> None:
    """Write `content` as JSON so that no reader ever sees a part of it. Raises: `OSError`."""
    half = Path(f"{path}.{os.getpid()}.part")
    half.write_text(json.dumps(content))
    half.replace(path)
