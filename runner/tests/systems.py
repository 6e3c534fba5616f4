"""Starts the real servers that the examples load, and asks them what they counted.

Each is a process or a thread of the test's own, on a free port of loopback.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import grpc
from command_line import free_port
from websocket_server import serving

PATIENCE = 30.0


def program(name: str) -> str:
    """Where a server's program is. Debian keeps some of them out of the way of users."""
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: int(each.parent.name))
    where = os.pathsep.join([*map(str, reversed(newest)), os.environ["PATH"], "/usr/sbin"])
    found = shutil.which(name, path=where)
    assert found, f"{name} is not installed: run `scripts/need.sh servers`"
    return found


@contextmanager
def process(*command: str, port: int, **more: Any) -> Iterator[None]:
    """A server that is there once its port is open, and ends with the block."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more) as running:
        try:
            end = time.monotonic() + PATIENCE
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert running.poll() is None, f"{command[0]} ended: {running.returncode}"
                assert time.monotonic() < end, f"{command[0]} does not listen"
                time.sleep(0.05)
            yield
        finally:
            running.terminate()


@contextmanager
def folder_of(user: str | None) -> Iterator[Path]:
    """A folder that belongs to a user, beside the test's own, into which only root can look."""
    with tempfile.TemporaryDirectory() as name:
        if user is not None:
            shutil.chown(name, user)
        yield Path(name)


class Postgres:
    """A PostgreSQL of one's own."""

    def __init__(self, port: int) -> None:
        self.host = f"postgresql://postgres@127.0.0.1:{port}/postgres"

    def ask(self, statement: str) -> str:
        """What psql prints for a statement."""
        command = [program("psql"), "-qAt", "-d", self.host, "-c", statement]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """It does not run as root."""
    user = "postgres" if os.geteuid() == 0 else None
    more: dict[str, Any] = {"user": user, "group": pwd.getpwnam(user).pw_gid} if user else {}
    with folder_of(user) as folder:
        data = str(folder / "data")
        initdb = [program("initdb"), "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder, **more)
        port = free_port()
        command = [program("postgres"), "-D", data, "-p", str(port), "-k", str(folder), "-h", "127.0.0.1"]
        with process(*command, port=port, cwd=folder, **more):
            server = Postgres(port)
            end = time.monotonic() + PATIENCE
            while True:
                try:
                    server.ask("SELECT 1")
                    break
                except subprocess.CalledProcessError:
                    assert time.monotonic() < end, "it does not come up"
                    time.sleep(0.05)
            yield server


class Redis:
    """A Redis of one's own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.host = f"redis://127.0.0.1:{port}"

    def calls(self) -> Counter[str]:
        """How often each command was called, and failed as `name!`."""
        counts: Counter[str] = Counter()
        with (
            socket.create_connection(("127.0.0.1", self.port)) as connection,
            connection.makefile("rb") as text,
        ):
            connection.sendall(b"INFO commandstats\r\nQUIT\r\n")
            for line in text.read().decode().splitlines():
                name, found, figures = line.removeprefix("cmdstat_").partition(":calls=")
                if found:
                    calls = figures.split(",")
                    counts[name] = int(calls[0])
                    counts[f"{name}!"] = int(calls[-1].partition("failed_calls=")[2] or 0)
        return counts


@contextmanager
def redis() -> Iterator[Redis]:
    port = free_port()
    with folder_of(None) as folder:
        command = [program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        with process(*command, port=port, cwd=folder):
            yield Redis(port)


@contextmanager
def mosquitto() -> Iterator[int]:
    """An MQTT broker; its port."""
    port = free_port()
    with folder_of(None) as folder:
        settings = folder / "mosquitto.conf"
        settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")
        with process(program("mosquitto"), "-c", str(settings), port=port, cwd=folder):
            yield port


# === servers in a loop of their own ===


@contextmanager
def in_thread(serve: Callable[[], AbstractAsyncContextManager[str]]) -> Iterator[str]:
    """What `serve` gives, as long as the block lasts."""
    address: list[str] = []
    ready, over = threading.Event(), threading.Event()

    async def main() -> None:
        async with serve() as given:
            address.append(given)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield address[0]
    finally:
        over.set()
        thread.join()


class Shop(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A gRPC service without generated code."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def service(self, details: Any) -> Any:
        self.counts[details.method] += 1
        if details.method == "/shop.Shop/Price":
            return grpc.unary_unary_rpc_method_handler(self._price)
        if details.method == "/shop.Shop/Items":
            return grpc.unary_stream_rpc_method_handler(self._items)
        return None

    async def _price(self, request: bytes, context: Any) -> bytes:
        if request != b"apple":
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such fruit")
        return b"apple: 3"

    async def _items(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(int(request)):
            yield b"apple"

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((self,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        yield f"127.0.0.1:{port}"
        await server.stop(None)


class Subscriber:
    """Counts what a broker hands on."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.count = 0

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        async def count(client: aiomqtt.Client) -> None:
            async for _ in client.messages:
                self.count += 1

        async with aiomqtt.Client("127.0.0.1", self.port) as client:
            await client.subscribe("readings", qos=1)
            counting: Coroutine[Any, Any, None] = count(client)
            task = asyncio.create_task(counting)
            yield f"127.0.0.1:{self.port}"
            task.cancel()
            await asyncio.wait([task])


@contextmanager
def websockets(heard: Counter[str]) -> Iterator[str]:
    """A WebSocket server whose `/echo` counts what it hears; its URL."""
    with in_thread(lambda: serving(heard=heard)) as url:
        yield url


class Lines(socketserver.ThreadingTCPServer):
    """Answers `ping` with `pong`, and counts."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Line)
        self.counts: Counter[bytes] = Counter()
        self.lock = threading.Lock()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Line(socketserver.StreamRequestHandler):
    server: Lines

    def handle(self) -> None:
        for line in self.rfile:
            with self.server.lock:
                self.server.counts[line] += 1
            if line != b"ping\n":
                return
            self.wfile.write(b"pong\n")


@contextmanager
def lines() -> Iterator[Lines]:
    with Lines() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
