"""Puts the rivals onto this machine: virtual environments from PyPI, k6 from source. Nothing is installed
twice.

What is specific to this clone lies in `.cache/bench`; k6, which takes minutes to build, in the folder that
all clones share.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from functools import cache
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent
SHARED = Path.home() / ".cache/aiotest-operator"
GO_MODULE = HOUSE / "bench/go"


class NotInstallable(Exception):
    """This rival cannot run on this machine; the text says why."""


@cache
def pythons() -> dict[str, str]:
    """The CPythons of this machine by version, the newest first."""
    listed = subprocess.run([HOUSE / "scripts/pythons.sh"], capture_output=True, text=True, check=True).stdout
    found = dict(line.split(" ", 1) for line in listed.splitlines())
    return dict(sorted(found.items(), key=lambda item: tuple(map(int, item[0].split("."))), reverse=True))


def newest_python() -> str:
    """The version of the newest CPython here."""
    return next(iter(pythons()))


def environment(name: str, requirement: str, version: str, newer_than: Path | None = None) -> str:
    """The Python of a virtual environment that has `requirement`; made when absent or old."""
    if version not in pythons():
        raise NotInstallable(f"{requirement} needs CPython {version}, which is not on this machine")
    folder = HOUSE / ".cache/bench" / name
    made = folder / "ready"
    wanted = f"{requirement} on {version}"
    current = made.exists() and made.read_text() == wanted
    if current and (newer_than is None or newer_than.stat().st_mtime < made.stat().st_mtime):
        return str(folder / "bin/python")
    try:
        subprocess.run([pythons()[version], "-m", "venv", "--clear", folder], check=True)
        pip = [str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", requirement]
        subprocess.run(pip, check=True)
    except subprocess.CalledProcessError as error:
        raise NotInstallable(f"failed to install {requirement} on CPython {version}: {error}") from error
    made.write_text(wanted)
    return str(folder / "bin/python")


def k6() -> Path:
    """k6, built from the sources that `go/go.sum` pins; once for each state of that and version of Go."""
    try:
        key = hashlib.sha256(subprocess.check_output(["go", "env", "GOVERSION", "GOARCH"]))
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotInstallable(f"k6 is built by Go 1.25 or newer, from https://go.dev/dl: {error}") from error
    for name in ("go.mod", "go.sum"):
        key.update((GO_MODULE / name).read_bytes())
    built = SHARED / f"k6-{key.hexdigest()[:16]}"
    SHARED.mkdir(parents=True, exist_ok=True)
    with (SHARED / "k6.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            print("building k6 from source: once, some minutes", flush=True)
            unfinished = built.with_suffix(".unfinished")
            build = ["go", "build", "-trimpath", "-gcflags=all=-dwarf=false", "-ldflags", "-s -w"]
            command = [*build, "-o", str(unfinished), "go.k6.io/k6"]
            try:
                subprocess.run(command, cwd=GO_MODULE, env=os.environ | {"CGO_ENABLED": "0"}, check=True)
            except subprocess.CalledProcessError as error:
                raise NotInstallable(f"Go could not build k6: {error}") from error
            unfinished.rename(built)
    return built
