"""`sent` is what the server has received, whatever cuts a call: two servers have the second opinion."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiotest.client import ClientSession
from call_server import Recorded
from example_target import running_target
from manifest_run import running, until, write_manifest
from raw_target import Raw, raw_target
from storm import PATHS

pytestmark = pytest.mark.timeout(300)

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that vouches for itself, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    files = folder / "certificate.pem", folder / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    command += ["-addext", "basicConstraints=critical,CA:FALSE"]
    command += ["-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run(command, check=True, capture_output=True)
    return files


@pytest.fixture
def raw(certificate: tuple[Path, Path]) -> Iterator[Raw]:
    with raw_target(*certificate) as target:
        yield target


def storm(url: str, count: int, seed: int, certificate: Path) -> dict[str, int]:
    """What the engine counted in a storm of so many cancellations."""
    command = [sys.executable, str(HERE / "storm.py"), url, str(count), str(seed)]
    environment = os.environ | {"SSL_CERT_FILE": str(certificate)}
    ended = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=240)
    counted: dict[str, int] = json.loads(ended.stdout.splitlines()[-1])
    return counted


@pytest.mark.parametrize(
    ("secure", "count", "seed"), [(False, 7000, 1), (True, 3000, 2)], ids=["http", "https"]
)
def test_sent_is_the_servers_count_after_ten_thousand_cancellations(
    raw: Raw, certificate: tuple[Path, Path], secure: bool, count: int, seed: int
) -> None:
    counted = storm(raw.tls_url if secure else raw.url, count, seed, certificate[0])
    counts = raw.settled()
    assert counts["total"] == counted["sent"], (counts, counted)
    assert counted["sent"] > 0
    assert set(counts["paths"]) == set(PATHS)


def test_sent_is_the_example_targets_count_after_a_storm(certificate: tuple[Path, Path]) -> None:
    with running_target() as target:
        counted = storm(target.url, 1500, 3, certificate[0])
        assert target.settled() == counted["sent"]


def counted_after(scenario: Any) -> Recorded:
    """What is recorded of a scenario on a loop of its own."""
    Recorded()
    asyncio.run(scenario())
    return Recorded()


@pytest.mark.parametrize("path", ["/fin", "/rst", "/shut", "/bye"])
def test_sent_is_the_servers_count_while_it_closes_idle_connections(raw: Raw, path: str) -> None:
    """The close races with the next request: some are lost with the connection, some are sent twice, none is
    counted where it did not arrive.
    """
    errors = []

    async def user(session: ClientSession, choose: random.Random) -> None:
        for number in range(60):
            method = session.get if number % 3 else session.post
            try:
                async with method(path):
                    pass
            except Exception as error:
                errors.append(error)
            await asyncio.sleep(choose.uniform(0, 0.004))

    async def scenario() -> None:
        choose = random.Random(path)
        sessions = [ClientSession(base_url=raw.url) for _ in range(20)]
        await asyncio.gather(*(user(each, choose) for each in sessions))
        await asyncio.gather(*(each.close() for each in sessions))

    recorded = counted_after(scenario)
    assert raw.settled()["total"] == recorded.total("sent")
    assert recorded.total("requests") == 20 * 60
    # Only what may not be sent twice fails, and only where the server says nothing before it closes.
    assert recorded.row(path).get("failures", 0) == 0
    assert recorded.row(path, "POST").get("failures", 0) == len(errors)
    if path == "/bye":
        assert not errors


MIXED = """
    import random
    from aiotest import AsyncHttpUser

    class TestMixed(AsyncHttpUser):
        wait_time = 0

        async def test_mixed(self):
            path = random.choice(["/ok", "/ok", "/hang", "/half", "/moved", "/bye", "/shut", "/fin", "/rst"])
            if random.random() < 0.2:
                async with self.session.post(path, data=bytes(1_000_000), timeout=0.2):
                    pass
            else:
                async with self.session.get(path, timeout=random.uniform(0.01, 0.5)) as reply:
                    await reply.read()
"""


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_run_that_is_stopped_at_some_moment_counts_what_the_server_has(
    raw: Raw, tmp_path: Path, seed: int
) -> None:
    choose = random.Random(seed)
    load = {"constant": {"users": 20, "spawnRate": 40, "duration": "60s"}}
    stop = choose.choice(["1s", "200ms"])
    manifest = write_manifest(tmp_path, MIXED, host=raw.url, load=load, deadlines={"stop": stop})
    with running(tmp_path, manifest) as started:
        until("the load is on", lambda: raw.counts()["total"] > 0)
        time.sleep(choose.uniform(0, 2))
        started.interrupt()
        ended = started.ended()
    counts = raw.settled()
    assert ended.told["total"]["sent"] == counts["total"], (ended.told["total"], counts)
    assert ended.told["gaps"] == []


def test_what_a_gather_opened_goes_back_to_one_connection_while_nothing_else_happens(raw: Raw) -> None:
    async def scenario() -> None:
        async with ClientSession(base_url=raw.url) as session:

            async def call() -> None:
                async with session.get("/ok"):
                    pass

            await asyncio.gather(*(call() for _ in range(5)))
            # Five, unless a reply came before the last call began, which then had its connection.
            opened = raw.counts()["open"]
            assert 1 < opened <= 5
            for _ in range(100):
                await asyncio.sleep(0.1)
                if raw.counts()["open"] == 1:
                    break
            assert raw.counts()["open"] == 1
            await call()
            assert raw.counts()["connections"] == opened

    assert counted_after(scenario).total("sent") == raw.settled()["total"] == 6


def deafen(sock: socket.socket) -> None:
    """Let nothing more in, by a filter of one instruction, `return 0`: what arrives is dropped silently."""
    instruction = ctypes.create_string_buffer(b"\x06\0\0\0\0\0\0\0", 8)

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    program = Program(1, ctypes.addressof(instruction))
    attach_filter = 26
    sock.setsockopt(socket.SOL_SOCKET, attach_filter, bytes(program))


def test_a_request_that_the_network_swallows_is_not_sent() -> None:
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"

        async def scenario() -> None:
            async with ClientSession(base_url=url) as session:
                loop = asyncio.get_running_loop()
                first = asyncio.ensure_future(get(session))
                sock, _ = await loop.run_in_executor(None, listener.accept)
                with sock:
                    await loop.run_in_executor(None, sock.recv, 10_000)
                    sock.sendall(ok)
                    await first
                    deafen(sock)
                    with suppress(TimeoutError):
                        await get(session, timeout=0.05)
                    task = asyncio.ensure_future(get(session))
                    second, _ = await loop.run_in_executor(None, listener.accept)
                    with second:
                        await loop.run_in_executor(None, second.recv, 10_000)
                        task.cancel()
                        with suppress(asyncio.CancelledError):
                            await task

        async def get(session: ClientSession, **more: Any) -> None:
            async with session.get("/", **more):
                pass

        row = counted_after(scenario).row("/")
    # Three calls: one replied to, one swallowed, one cancelled while the server had it.
    assert (row["requests"], row["failures"], row["sent"]) == (3, 2, 2)
