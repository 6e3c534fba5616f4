"""Starts `aiotest run` on a manifest that a test writes, and looks at its processes from outside."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READER = """
    from aiotest import AsyncHttpUser

    class TestReader(AsyncHttpUser):
        wait_time = 0.05

        async def test_read(self):
            async with self.session.get("/json") as reply:
                assert (await reply.json())["message"] == "hello"
"""


def write_manifest(folder: Path, script: str, **spec: Any) -> Path:
    """A folder with a LoadTest and the ConfigMap of its script. `spec` is merged over a small default."""
    load = {"constant": {"users": 10, "spawnRate": 20, "duration": "4s"}}
    spec = {"aiotestfile": {"configMap": {"name": "reader"}}, "load": load, "runners": 2} | spec
    load_test = {
        "apiVersion": "aiotest.dev/v1alpha1",
        "kind": "LoadTest",
        "metadata": {"name": "reader"},
        "spec": spec,
    }
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "reader"},
        "data": {"aiotestfile.py": textwrap.dedent(script)},
    }
    manifest = folder / "manifest"
    manifest.mkdir()
    # JSON is YAML, too.
    (manifest / "loadtest.yaml").write_text(json.dumps(load_test))
    (manifest / "configmap.yaml").write_text(json.dumps(config_map))
    return manifest


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str
    seconds: float
    report: dict[str, Any] | None

    @property
    def told(self) -> dict[str, Any]:
        """The report, where there must be one."""
        assert self.report is not None, self.err
        return self.report


class Running:
    """A command under way."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        self._folder, self._started = folder, time.monotonic()
        self._out, self._err = folder / "out", folder / "err"
        command = [sys.executable, "-m", "aiotest", "run", *arguments]
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, process_group=0
            )

    def err(self) -> str:
        """What was said on the way, so far."""
        return self._err.read_text()

    def metrics(self) -> str:
        """A scrape; fails where nothing is served yet."""
        address = re.search(r"metrics on (http://\S+)", self.err())
        assert address is not None, self.err()
        with urllib.request.urlopen(address[1], timeout=10) as reply:
            text = reply.read().decode()
            assert isinstance(text, str)
            return text

    def metric(self, name: str, label: str = "") -> float:
        """The sum of a metric's samples whose labels contain `label`."""
        lines = [line for line in self.metrics().splitlines() if re.match(rf"{name}(\{{|\s)", line)]
        return sum(float(line.split()[-1]) for line in lines if label in line)

    def children(self) -> dict[str, int]:
        """Process ids of the master (`master`) and the runners (by their `--id`)."""
        found: dict[str, int] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                words = (folder / "cmdline").read_text().split("\0")
            except OSError:
                continue
            if parent == self.process.pid and words[1:3] == ["-m", "aiotest"]:
                found[words[words.index("--id") + 1] if "--id" in words else words[3]] = int(folder.name)
        return found

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def ended(self, within: float = 60) -> Ended:
        """Wait for the command's end."""
        code = self.process.wait(timeout=within)
        report = self._folder / "report.json"
        told = json.loads(report.read_text()) if report.exists() else None
        seconds = time.monotonic() - self._started
        return Ended(code, self._out.read_text(), self.err(), seconds, told)


@contextmanager
def running(folder: Path, manifest: Path, *arguments: str) -> Iterator[Running]:
    """`aiotest run MANIFEST` with a report and a metrics port of its own; it ends with the block."""
    report = str(folder / "report.json")
    run = Running(
        folder, [str(manifest), "--report-json", report, "--metrics-address", "127.0.0.1:0", *arguments]
    )
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


def run(folder: Path, manifest: Path) -> Ended:
    """`aiotest run MANIFEST` from its start to its end."""
    with running(folder, manifest) as under_way:
        return under_way.ended()


def until(what: str, condition: Callable[[], bool], within: float = 30) -> float:
    """Wait until `condition` holds. Returns the seconds it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < within, f"still not so after {within} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - started


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
