"""`aiotest init [FOLDER]`: a first file of users and a manifest for it. It overwrites nothing."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["run"]

USERS = '''\
"""Users of the system under test. `aiotest check aiotestfile.py` shows each call of it once."""

from aiotest import AsyncHttpUser


class TestVisitor(AsyncHttpUser):
    """Every user is one of these, with cookies and connections of its own."""

    host = "http://127.0.0.1:18080"  # `--host`, or the manifest's `host`, wins
    wait_time = (0.5, 1.5)  # seconds after each job; a number or a function will do, too

    async def on_start(self):
        """Once, before the first job: the place to log in."""

    async def test_front_page(self):
        """A job: every coroutine whose name starts or ends with `test` is one, in this order, for ever."""
        async with self.session.get("/", name="front page") as reply:
            text = await reply.text()
            assert text, "an empty page"  # what is raised in the block makes the call a failure
'''

MANIFEST = """\
# How much load. `aiotest run .` in this folder carries it out on this machine. A cluster with
# aiotest-operator does so once it has this and the users: `kubectl create configmap {name}
# --from-file=aiotestfile.py`, then `kubectl apply -f loadtest.yaml`.
apiVersion: aiotest.dev/v1alpha1
kind: LoadTest
metadata:
  name: {name}
spec:
  aiotestfile:
    configMap: {{name: {name}, key: aiotestfile.py}}
  host: http://127.0.0.1:18080 # the system under test
  load:
    constant: {{users: 10, spawnRate: 5, duration: 20s}}
  runners: 1
  thresholds:
    - expr: p95 < 500ms
    - expr: error_rate < 1%
"""


def run(argv: Sequence[str]) -> int:
    """Write the two files into a folder, which is made where there is none. Returns 1 if one of them is there
    already, or cannot be written, else 0.
    """
    parser = argparse.ArgumentParser(
        prog="aiotest init",
        description="Write a first aiotestfile.py and a loadtest.yaml. Nothing is overwritten.",
        allow_abbrev=False,
    )
    parser.add_argument("folder", nargs="?", default=".", metavar="FOLDER", help="where to (here)")
    folder = Path(parser.parse_args(argv).folder)
    files = {"aiotestfile.py": USERS, "loadtest.yaml": MANIFEST.format(name=_name_of(folder))}
    for file in files:
        if (folder / file).exists():
            return _refuse(f"{folder / file} is there already: move it, or name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            # Not even one that has come meanwhile.
            with (folder / file).open("x") as made:
                made.write(text)
    except OSError as error:
        return _refuse(f"failed to write into {folder}: {error}")
    _tell(folder)
    return 0


def _name_of(folder: Path) -> str:
    """What a LoadTest in this folder may be called."""
    words = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower())[:40].strip("-")
    return words if words[:1].isalpha() else "loadtest"


def _tell(folder: Path) -> None:
    users, manifest = folder / "aiotestfile.py", folder / "loadtest.yaml"
    print(f"Written: {users} and {manifest}. Put your system's address into both, as `host`. Then:")
    print(f"  aiotest check {shlex.quote(str(users))}   # each job once, every call shown")
    print(f"  aiotest run {shlex.quote(str(folder))}   # the load of loadtest.yaml, with a verdict")


def _refuse(text: str) -> int:
    print(f"aiotest: {text}", file=sys.stderr)
    return 1
