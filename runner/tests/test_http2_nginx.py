"""HTTP/2 to nginx, whose own log says how many requests there were."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiotest import ClientSession, TCPConnector
from call_server import Recorded
from command_line import free_port
from systems import process, program
from test_http2 import get

CONFIGURATION = """\
daemon off;
pid {folder}/pid;
error_log {folder}/error;
worker_processes 1;
events {{ worker_connections 512; }}
http {{
    log_format one "$server_protocol $request_method $uri $status $request_length";
    access_log {folder}/log one;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 8m;
    server {{
        listen 127.0.0.1:{port} http2;
        root {folder}/root;
        keepalive_requests {requests};
        http2_max_concurrent_streams 16;
        location = /read {{ proxy_pass http://127.0.0.1:{port1}/; proxy_request_buffering on; }}
    }}
    server {{
        listen 127.0.0.1:{port1};
        access_log off;
        location / {{ return 201 "$http_content_length"; }}
    }}
}}
"""


@dataclass
class Nginx:
    """One that runs."""

    port: int
    folder: Path

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def reload(self) -> None:
        """Have new workers serve; the old ones say goodbye on their connections."""
        os.kill(int((self.folder / "pid").read_text()), signal.SIGHUP)

    def served(self) -> Counter[tuple[str, str, str]]:
        """Requests by protocol, path and status."""
        lines = (line.split() for line in (self.folder / "log").read_text().splitlines())
        return Counter((protocol, uri, status) for protocol, _, uri, status, _ in lines)

    def until_served(self, count: int) -> Counter[tuple[str, str, str]]:
        """The same, once there are so many: a line is written after its reply."""
        end = time.monotonic() + 10
        while (served := self.served()).total() < count and time.monotonic() < end:
            time.sleep(0.01)
        return served


@contextmanager
def nginx(folder: Path, requests: int = 1_000_000) -> Iterator[Nginx]:
    """A server of `/small` and `/large`; `/read` takes a body. A connection ends after so many requests."""
    root = folder / "root"
    root.mkdir()
    (root / "small").write_bytes(b"small")
    (root / "large").write_bytes(b"x" * 3_000_000)
    for each in [folder, *folder.parents][:3]:
        each.chmod(0o755)
    port, port1 = free_port(), free_port()
    text = CONFIGURATION.format(folder=folder, port=port, port1=port1, requests=requests)
    (folder / "nginx.conf").write_text(text)
    command = [program("nginx"), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error")]
    with process(*command, port=port):
        yield Nginx(port, folder)


async def many(session: ClientSession, calls: int, at_once: int, path: str = "/small") -> None:
    """So many calls by so many users."""

    async def user() -> None:
        for _ in range(calls // at_once):
            status, body = await get(session, path)
            assert (status, len(body)) == (200, 5 if path == "/small" else 3_000_000)

    await asyncio.gather(*(user() for _ in range(at_once)))


def recorded(scenario: Callable[[], Any]) -> Recorded:
    Recorded()
    asyncio.run(asyncio.wait_for(scenario(), 60))
    return Recorded()


def test_each_call_is_one_request_in_its_log(tmp_path: Path) -> None:
    with nginx(tmp_path) as server:

        async def scenario() -> None:
            connector = TCPConnector(limit=1, http2="prior-knowledge")
            async with ClientSession(server.url, connector=connector) as session:
                await many(session, 2_000, 50)
                await many(session, 20, 10, "/large")
                body = b"y" * 5_000_000
                async with session.post("/read", data=body) as response:
                    assert (response.status, response.version) == (201, (2, 0))
                    assert int(await response.text()) == len(body)
                async with session.post("/read", data=b"z" * 9_000_000) as response:
                    assert response.status == 413
                assert (await get(session, "/missing"))[0] == 404
            await connector.close()

        seen = recorded(scenario)
        served = server.until_served(2_023)
    assert served == {
        ("HTTP/2.0", "/small", "200"): 2_000,
        ("HTTP/2.0", "/large", "200"): 20,
        ("HTTP/2.0", "/read", "201"): 1,
        ("HTTP/2.0", "/read", "413"): 1,
        ("HTTP/2.0", "/missing", "404"): 1,
    }
    assert seen.total("sent") == seen.total("requests") == 2_023
    assert seen.errors() == {"413 Content Too Large": 1, "404 Not Found": 1}


def test_a_server_that_says_goodbye_after_so_many_requests_loses_none(tmp_path: Path) -> None:
    with nginx(tmp_path, requests=100) as server:

        async def scenario() -> None:
            connector = TCPConnector(limit=4, http2="prior-knowledge")
            async with ClientSession(server.url, connector=connector) as session:
                await many(session, 5_000, 50)
            await connector.close()

        seen = recorded(scenario)
        served = server.until_served(5_000)
    assert served == {("HTTP/2.0", "/small", "200"): 5_000}
    assert (seen.total("requests"), seen.total("failures"), seen.total("sent")) == (5_000, 0, 5_000)
    assert seen.total("retried") > 0, (
        "what it refused after its goodbye was made once more, and is counted once"
    )


def test_a_server_that_is_reloaded_in_the_midst_of_a_load_loses_no_call(tmp_path: Path) -> None:
    with nginx(tmp_path) as server:

        async def scenario() -> None:
            connector = TCPConnector(limit=4, http2="prior-knowledge")
            async with ClientSession(server.url, connector=connector) as session:
                load = asyncio.create_task(many(session, 5_000, 50))
                for _ in range(5):
                    await asyncio.sleep(0.1)
                    server.reload()
                await load
            await connector.close()

        seen = recorded(scenario)
        served = server.until_served(5_000)
    assert served == {("HTTP/2.0", "/small", "200"): 5_000}
    assert (seen.total("requests"), seen.total("failures"), seen.total("sent")) == (5_000, 0, 5_000)
