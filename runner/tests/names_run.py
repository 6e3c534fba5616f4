"""Calls to names that a DNS server of the test's own knows, which `/etc/resolv.conf` of this process names.

`python names_run.py CASE` prints what the case says as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from time import monotonic
from typing import Any

from aiotest.client import ClientSession, TCPConnector
from aiotest.exception import ClientConnectorError
from call_server import Recorded, Seen, Server, reply
from certificates import Certificates
from dns_server import SERVER, Zone

NAME = "api.prod.test"
DELAY = 0.1
"""Seconds that DNS takes; the first byte of a reply takes twice that, the rest of it three times."""


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
        self.connections.append((monotonic(), writer.get_extra_info("sockname")[0]))
        while (await reader.readline()).strip():
            pass
        writer.write(reply(body=b"ok", head="Connection: close\r\n"))
        writer.close()


async def follow(ttl: int) -> dict[str, Any]:
    """For five seconds; the name's addresses change after the first."""
    zone, web = Zone({NAME: ["127.0.0.2", "127.0.0.3"]}, ttl), Web()
    await zone.listen(SERVER)
    await web.listen("127.0.0.2", "127.0.0.3", "127.0.0.4")
    begun = monotonic()
    changed = 0.0
    async with ClientSession(f"http://api:{web.port}", connector=TCPConnector(force_close=True)) as session:
        while monotonic() < begun + 5:
            async with session.get("/") as response:
                assert await response.text() == "ok"
            await asyncio.sleep(0.01)
            if not changed and begun + 1 < monotonic():
                zone.addresses[NAME] = ["127.0.0.4"]
                changed = monotonic()
    before = Counter(address for at, address in web.connections if at < changed)
    after = min(at for at, address in web.connections if address == "127.0.0.4") - changed
    late = [address for at, address in web.connections if changed + after < at]
    return {"before": before, "after": after, "late": Counter(late), "asked": zone.asked}


async def fail(silent: bool) -> dict[str, Any]:
    """One call to a name that nobody knows, or of which nobody speaks."""
    zone = Zone({}, 60, silent)
    await zone.listen(SERVER)
    begun = monotonic()
    async with ClientSession() as session:
        try:
            await session.get("http://nobody/")
        except ClientConnectorError as error:
            return {"text": str(error), "took": monotonic() - begun, "asked": zone.asked}
    raise AssertionError("nobody answered, and yet there was a reply")


async def phases() -> dict[str, Any]:
    """Two calls over one connection: what each of their phases took, in milliseconds, and the whole."""
    zone = Zone({NAME: ["127.0.0.1"]}, 60, delay=DELAY)
    await zone.listen(SERVER)
    certificates = Certificates()

    async def slowly(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * DELAY)
        writer.write(reply(body=b"some", length=8))
        await asyncio.sleep(3 * DELAY)
        writer.write(b"more")

    async with Server(certificates.server()) as server:
        server.handlers["/slow"] = slowly
        base = f"https://{NAME}:{server.port}"
        connector = TCPConnector(limit=1, ssl=False)
        async with ClientSession(base, connector=connector) as session:

            async def call(name: str) -> None:
                async with session.get("/slow", name=name) as response:
                    assert await response.read() == b"somemore"

            await asyncio.gather(call("first"), call("second"))
        await connector.close()
    recorded = Recorded()
    seen = {}
    for name in ("first", "second"):
        row = recorded.row(name)
        took = {phase: times["sum"] / 1000 for phase, times in row["phases"]}
        seen[name] = took | {"all": sum(times["latency"]["sum"] for times in row["times"]) / 1000}
    return seen


CASES = {
    "follow": lambda: follow(ttl=2),
    "no-time-to-live": lambda: follow(ttl=0),
    "unknown": lambda: fail(silent=False),
    "silent": lambda: fail(silent=True),
    "phases": phases,
}

if __name__ == "__main__":
    print(json.dumps(asyncio.run(CASES[sys.argv[1]]())))
