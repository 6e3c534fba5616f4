"""How `aiotest run` looks on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from example_target import running_target
from manifest_run import READER, write_manifest

REWRITTEN = "\r\x1b[K"


def on_a_terminal(manifest: Path, **environment: str) -> str:
    """Everything that a run prints on a terminal of its own."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "aiotest", "run", str(manifest), "--metrics-address", "127.0.0.1:0"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | environment
    ) as process:
        os.close(theirs)
        printed = b""
        while chunk := read(ours):
            printed += chunk
        os.close(ours)
        assert process.wait(timeout=30) == 0, printed
    return printed.decode()


def read(descriptor: int) -> bytes:
    """What comes next; nothing once nobody holds the other end."""
    try:
        return os.read(descriptor, 65_536)
    except OSError:
        return b""


@pytest.mark.timeout(60)
def test_one_line_is_rewritten_and_the_scenarios_own_lines_stay_whole(tmp_path: Path) -> None:
    script = READER + '\n        async def on_start(self):\n            print("a user is here")\n'
    with running_target() as target:
        load = {"constant": {"users": 6, "spawnRate": 2, "duration": "8s"}}
        manifest = write_manifest(tmp_path, script, host=target.url, load=load)
        printed = on_a_terminal(manifest, PYTHONUNBUFFERED="1", NO_COLOR="1")
    assert printed.count(f"{REWRITTEN}a user is here\r\n") == 6, printed
    assert printed.count(REWRITTEN) > 10
    assert "  users 6/6  " in printed
    assert " left" in printed
    # With the live line taken away, what is left on the screen ends with the table, and without colours.
    table = printed.rsplit(REWRITTEN, 1)[1]
    assert table.startswith("request  ")
    assert "\r\nPassed\r\n" in table
    assert "\x1b" not in table
