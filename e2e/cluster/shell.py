"""Running commands, and saying what is done."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

START = time.monotonic()


class CommandError(RuntimeError):
    """A command ended with an error; the text has the command and what it said."""


class ClusterError(RuntimeError):
    """The cluster cannot do what was asked; the text says why and what to do."""


def say(text: str) -> None:
    """Tell the person who waits what is going on, with the seconds since the start."""
    print(f"[{time.monotonic() - START:5.1f} s] {text}", flush=True)


def run(*command: str | Path, stdin: str = "", env: dict[str, str] | None = None) -> str:
    """The standard output of a command that must succeed."""
    words = [str(word) for word in command]
    done = subprocess.run(words, input=stdin, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandError(f"`{' '.join(words)}` ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def wait_until(what: str, seconds: float, holds: Callable[[], bool]) -> None:
    """Ask again and again until `holds`; fails with `what` after so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise ClusterError(f"waited {seconds:.0f} s in vain: {what}")
        time.sleep(0.1)
