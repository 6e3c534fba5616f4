"""The first process of a node: `python -I node_init.py SETTINGS.json`, in new namespaces.

It mounts what the node must not share with the host, waits for a line on its standard input (the network is
there), starts containerd and then the others, and collects every process that is left to it. When one of the
node's programs ends, or on TERM, it ends them all, and with it the kernel ends whatever else runs in the
node.

It stands alone, with nothing but Python's own library, since it is started by path.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

MS_BIND, MS_REC, MS_SHARED = 4096, 16384, 1 << 20
# What the node's programs get after TERM, before everything is killed.
GRACE = 5.0


def main() -> None:
    """Run the node until it is told to end."""
    settings = json.loads(Path(sys.argv[1]).read_text())
    _mounts(settings["state"], Path(settings["directory"]), settings["kernel_settings"])
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    if not sys.stdin.readline():
        sys.exit("nobody connected the node's network")
    signal.signal(signal.SIGTERM, _terminated)
    programs = [_start(settings["containerd"])]
    try:
        while not Path(settings["socket"]).exists():
            _collect(programs, os.WNOHANG)
            time.sleep(0.05)
        programs += [_start(command) for command in settings["others"]]
        while True:
            _collect(programs, 0)
    except Ended as reason:
        print(f"node_init: the node ends: {reason}", flush=True)
    finally:
        _end(programs)


class Ended(Exception):
    """Why the node ends."""


def _terminated(_number: int, _frame: object) -> None:
    raise Ended("told to")


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def _collect(programs: list[subprocess.Popen[bytes]], options: int) -> None:
    """Collect one ended process; fails when it was one of the node's programs."""
    try:
        pid, status = os.waitpid(-1, options)
    except ChildProcessError as error:
        raise Ended("nothing runs any more") from error
    for program in programs:
        if program.pid == pid:
            code = program.returncode = os.waitstatus_to_exitcode(status)
            raise Ended(f"{program.args!r} ended with {code}")


def _end(programs: list[subprocess.Popen[bytes]]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    running = [program for program in programs if program.returncode is None]
    for program in running:
        program.terminate()
    deadline = time.monotonic() + GRACE
    for program in running:
        try:
            program.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            program.kill()


def _mounts(state: str, directory: Path, kernel_settings: list[str]) -> None:
    # Among themselves the node's mounts are shared, as kubelet expects; the host sees none of them.
    _mount("none", "/", "", MS_REC | MS_SHARED, "")
    _mount("aiotest-node", "/run", "tmpfs", 0, "mode=755")
    # The cluster's state lies in /var/lib, which is otherwise hidden: keep it at hand while that is done.
    aside = Path("/run/state")
    aside.mkdir()
    _mount(state, str(aside), "", MS_BIND, "")
    for path in ("/var/lib", "/var/log"):
        _mount("aiotest-node", path, "tmpfs", 0, "mode=755")
    Path(state).mkdir()
    _mount(str(aside), state, "", MS_BIND, "")
    for setting in kernel_settings:
        _mount(str(directory / "kernel" / setting), f"/proc/sys/{setting}", "", MS_BIND, "")


def _mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode())
    if result != 0:
        raise OSError(ctypes.get_errno(), f"failed to mount {target}")


if __name__ == "__main__":
    main()
