"""Lets the native runner see where the loop's thread is when the loop does not turn.

On one signal the interpreter, between two instructions, tells its stack. Code in C that does not come back
gives it no such moment: on another signal `faulthandler`, which is C, writes the stack to a pipe. That is the
last resort, for a stack that stands still: one that changes while it is written can end the process. Decides
nothing about what a blocked loop means. Start at [`watched`][].
"""

from __future__ import annotations

import faulthandler
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Protocol

from aiotest.host import METER_PERIOD
from aiotest.log import logger

__all__ = ["ASK", "LAST_RESORT", "Watcher", "watched"]

ASK = signal.SIGPWR
"""Has the interpreter tell its stack. Nobody sends it to a process like this one, and it does not queue."""
LAST_RESORT = signal.SIGSTKFLT
"""Has `faulthandler` write it. Linux has never sent it, and it does not queue."""
MOST_FRAMES = 100
"""So much of a stack is told, from its innermost frame on."""


class Watcher(Protocol):
    """The part of `_native.Runner` that is used here; `_native.pyi` says what each does."""

    def stack_pipe(self) -> int: ...
    def stack(self, text: str) -> None: ...
    def watch(
        self,
        *,
        thread: int,
        period: float,
        folders: Sequence[str],
        exit_code: int,
        signals: tuple[int, int] | None,
    ) -> None: ...
    def unwatch(self) -> None: ...


@contextmanager
def watched(native: Watcher, aiotestfile: Path, exit_code: int) -> Iterator[None]:
    """Have the loop of this thread looked at while the block runs. `exit_code` is that of a process which is
    ended because its loop does not turn any more.

    A scenario that has a handler of its own for the signals keeps it: then no line is named.
    """
    free = all(signal.getsignal(one) is signal.SIG_DFL for one in (ASK, LAST_RESORT))
    if free:
        signal.signal(ASK, lambda _, frame: native.stack(_told(frame)))
        # A system call of a library in C goes on where it was.
        signal.siginterrupt(ASK, False)
        faulthandler.register(LAST_RESORT, file=native.stack_pipe(), all_threads=False, chain=False)
    else:
        logger.warning(
            f"the scenario handles {ASK.name} or {LAST_RESORT.name}: lines that block the loop are not named"
        )
    native.watch(
        thread=threading.get_native_id(),
        period=METER_PERIOD,
        folders=_folders(aiotestfile),
        exit_code=exit_code,
        signals=(ASK, LAST_RESORT) if free else None,
    )
    try:
        yield
    finally:
        native.unwatch()
        if free:
            # Ignored from now on: the last one may still be on its way.
            signal.signal(ASK, signal.SIG_IGN)
            faulthandler.unregister(LAST_RESORT)
            signal.signal(ASK, signal.SIG_DFL)


def _told(frame: FrameType | None) -> str:
    """A stack in the words of `faulthandler`, innermost frame first."""
    lines = ["Stack (most recent call first):"]
    while frame is not None and len(lines) <= MOST_FRAMES:
        code = frame.f_code
        lines.append(f'  File "{_ascii(code.co_filename)}", line {frame.f_lineno} in {_ascii(code.co_name)}')
        frame = frame.f_back
    return "\n".join(lines)


def _folders(aiotestfile: Path) -> list[str]:
    """Where the scenario's own files lie."""
    folders = {aiotestfile.resolve().parent, aiotestfile.absolute().parent}
    return sorted(_ascii(str(folder)) for folder in folders)


def _ascii(text: str) -> str:
    """As `faulthandler` writes it: nothing but ASCII."""
    return text.encode("ascii", "backslashreplace").decode()
