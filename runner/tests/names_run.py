"""Calls to names that a DNS server of the test's own knows, which `/etc/resolv.conf` of this process names.

`python names_run.py CASE` prints what the case says as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

from aiotest.client import ClientSession, TCPConnector
from aiotest.exception import ClientConnectorError
from call_server import reply
from dns_server import Zone

SERVER = "127.0.0.77"
NAME = "api.prod.test"


class Web:
    """Listens on loopback addresses, one port for all; knows when each got its connections."""

    def __init__(self) -> None:
        self.connections: list[tuple[float, str]] = []
        self.port = 0

    async def listen(self, *addresses: str) -> None:
        """Add addresses."""
        for address in addresses:
            server = await asyncio.start_server(self.answer, address, self.port)
            self.port = server.sockets[0].getsockname()[1]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One call and the end."""
        self.connections.append((time.monotonic(), writer.get_extra_info("sockname")[0]))
        while (await reader.readline()).strip():
            pass
        writer.write(reply(body=b"ok", head="Connection: close\r\n"))
        writer.close()


async def follow(ttl: int) -> dict[str, Any]:
    """For five seconds; the name's addresses change after the first."""
    zone, web = Zone({NAME: ["127.0.0.2", "127.0.0.3"]}, ttl), Web()
    await zone.listen(SERVER)
    await web.listen("127.0.0.2", "127.0.0.3", "127.0.0.4")
    begun = time.monotonic()
    changed = 0.0
    async with ClientSession(f"http://api:{web.port}", connector=TCPConnector(force_close=True)) as session:
        while time.monotonic() < begun + 5:
            async with session.get("/") as response:
                assert await response.text() == "ok"
            await asyncio.sleep(0.01)
            if not changed and begun + 1 < time.monotonic():
                zone.addresses[NAME] = ["127.0.0.4"]
                changed = time.monotonic()
    before = Counter(address for at, address in web.connections if at < changed)
    after = min(at for at, address in web.connections if address == "127.0.0.4") - changed
    late = [address for at, address in web.connections if changed + after < at]
    return {"before": before, "after": after, "late": Counter(late), "asked": zone.asked}


async def fail(silent: bool) -> dict[str, Any]:
    """One call to a name that nobody knows, or of which nobody speaks."""
    zone = Zone({}, 60, silent)
    await zone.listen(SERVER)
    begun = time.monotonic()
    async with ClientSession() as session:
        try:
            await session.get("http://nobody/")
        except ClientConnectorError as error:
            return {"text": str(error), "took": time.monotonic() - begun, "asked": zone.asked}
    raise AssertionError("nobody answered, and yet there was a reply")


CASES = {
    "follow": lambda: follow(ttl=2),
    "no-time-to-live": lambda: follow(ttl=0),
    "unknown": lambda: fail(silent=False),
    "silent": lambda: fail(silent=True),
}

if __name__ == "__main__":
    print(json.dumps(asyncio.run(CASES[sys.argv[1]]())))
