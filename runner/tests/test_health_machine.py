"""Whose fault it is when this machine runs out of local ports, or its resolver is away: in network and mount
namespaces of the test's own, with calls made by the client alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("ip") is None,
    reason="namespaces of its own need root, unshare and ip",
)

CALLS = """
    import asyncio
    import socket
    import threading

    from aiotest._native import take_statistics_json
    from aiotest.client import ClientSession, ClientTimeout


    async def call(url, times, timeout):
        sessions = [ClientSession(timeout=ClientTimeout(total=timeout)) for _ in range(times)]
        for session in sessions:
            try:
                async with session.get(url, name="/") as reply:
                    await reply.read()
            except Exception:
                pass
        for session in sessions:
            await session.close()


    async def answer(reader, writer):
        while await reader.readline() not in (b"\\r\\n", b""):
            pass
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
        await writer.drain()


    def no_such_name(server):
        while True:
            question, client = server.recvfrom(512)
            server.sendto(question[:2] + b"\\x81\\x83" + question[4:6] + bytes(6) + question[12:], client)


    def resolver(answers):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 53))
        if answers:
            threading.Thread(target=no_such_name, args=(server,), daemon=True).start()
        return server


    async def main():
        BODY

    asyncio.run(main())
    print(take_statistics_json())
"""

RESOLVER = (
    "printf 'nameserver 127.0.0.1\\noptions timeout:4 attempts:1\\n' > resolv.conf && "
    "mount --bind resolv.conf /etc/resolv.conf"
)


def row(folder: Path, set_up: str, body: str) -> dict[str, Any]:
    """The one row that calls in namespaces of their own leave in the statistics."""
    script = textwrap.dedent(CALLS).replace("BODY", textwrap.indent(textwrap.dedent(body), "    ").strip())
    (folder / "calls.py").write_text(script)
    done = subprocess.run(
        [
            "unshare",
            "--net",
            "--mount",
            "sh",
            "-c",
            f"ip link set lo up && {set_up} && exec {sys.executable} calls.py",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (only,) = json.loads(done.stdout.splitlines()[-1])["rows"]
    assert isinstance(only, dict)
    return only


def test_without_local_ports_it_is_the_generators_fault(tmp_path: Path) -> None:
    body = """
        server = await asyncio.start_server(answer, "127.0.0.1", 8081)
        await call("http://127.0.0.1:8081/", 12, 5)
    """
    only = row(tmp_path, "echo 40000 40004 > /proc/sys/net/ipv4/ip_local_port_range", body)
    assert 0 < only["requests"] == only["sent"] <= 5, only
    assert only["failures"] == 0
    assert only["generator_faults"] == 12 - only["requests"]
    (text,) = only["faults"]
    assert text == "generator: no local ports left"


def test_a_resolver_that_nobody_runs_is_the_generators_fault(tmp_path: Path) -> None:
    only = row(tmp_path, RESOLVER, 'await call("http://shop.example/", 1, 10)')
    assert (only["requests"], only["failures"], only["generator_faults"]) == (0, 0, 1)
    assert list(only["faults"]) == ["generator: resolver does not answer"]


def test_a_resolver_that_does_not_answer_in_time_is_the_generators_fault(tmp_path: Path) -> None:
    body = """
        server = resolver(answers=False)
        await call("http://shop.example/", 1, 1)
    """
    only = row(tmp_path, RESOLVER, body)
    assert (only["requests"], only["failures"], only["generator_faults"]) == (0, 0, 1)
    assert list(only["faults"]) == ["generator: resolver does not answer"]


def test_a_name_that_does_not_exist_is_the_targets(tmp_path: Path) -> None:
    body = """
        server = resolver(answers=True)
        await call("http://shop.example/", 1, 10)
    """
    only = row(tmp_path, RESOLVER, body)
    assert (only["requests"], only["failures"], only["generator_faults"]) == (1, 1, 0)
    assert list(only["errors"]) == ["name not found"]
