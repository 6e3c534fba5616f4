"""What a loop's thread tells when it is asked where it is, and whose the signals are."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiotest.watch import ASK, LAST_RESORT, watched


class FakeWatcher:
    """What the native side is told."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.told: list[str] = []
        self.watched: list[dict[str, Any]] = []

    def stack_pipe(self) -> int:
        return self._writer

    def stack(self, text: str) -> None:
        self.told.append(text)

    def watch(self, **given: Any) -> None:
        self.watched.append(given)

    def unwatch(self) -> None:
        self.watched.append({})

    def close(self) -> None:
        os.close(self.reader)
        os.close(self._writer)


@pytest.fixture
def native() -> Iterator[FakeWatcher]:
    watcher = FakeWatcher()
    yield watcher
    watcher.close()


def test_on_the_first_signal_the_interpreter_tells_its_stack(native: FakeWatcher) -> None:
    with watched(native, Path(__file__), 3):
        signal.raise_signal(ASK)
        (stack,) = native.told
    first, frame, *_ = stack.splitlines()
    assert first == "Stack (most recent call first):"
    assert frame.startswith(f'  File "{__file__}", line ')
    assert frame.endswith("in test_on_the_first_signal_the_interpreter_tells_its_stack")
    (given, over) = native.watched
    assert given["thread"] == threading.get_native_id()
    assert (given["exit_code"], given["signals"]) == (3, (ASK, LAST_RESORT))
    assert str(Path(__file__).parent) in given["folders"]
    assert over == {}
    assert signal.getsignal(ASK) is signal.SIG_DFL


def test_on_the_second_it_is_written_without_the_interpreter(native: FakeWatcher) -> None:
    with watched(native, Path(__file__), 3):
        signal.raise_signal(LAST_RESORT)
    written = os.read(native.reader, 65536).decode()
    assert written.startswith("Stack (most recent call first):")
    assert f'File "{__file__}", line ' in written


@pytest.mark.parametrize("number", [ASK, LAST_RESORT])
def test_a_signal_that_the_scenario_handles_stays_its_own(
    native: FakeWatcher, log_lines: list[str], number: signal.Signals
) -> None:
    heard: list[int] = []

    def handle(one: int, _: object) -> None:
        heard.append(one)

    signal.signal(number, handle)
    try:
        with watched(native, Path(__file__), 3):
            assert native.watched[0]["signals"] is None
            signal.raise_signal(number)
        assert heard == [number]
        assert signal.getsignal(number) is handle
    finally:
        signal.signal(number, signal.SIG_DFL)
    assert any("are not named" in line for line in log_lines)
