"""Calls to a name with several addresses; a process of its own, in which `/etc/hosts` is the test's.

`python addresses_run.py NAME ADDRESS…` listens on those addresses and prints how many connections each got.
"""

from __future__ import annotations

import asyncio
import json
import sys

from aiotest.client import ClientSession, TCPConnector
from call_server import reply


async def main(name: str, listening: list[str]) -> None:
    """Twenty calls, each on a connection of its own, by four users at a time that share two."""
    counts = dict.fromkeys(listening, 0)
    port = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counts[writer.get_extra_info("sockname")[0]] += 1
        while (await reader.readline()).strip():
            pass
        writer.write(reply(body=b"ok", head="Connection: close\r\n"))
        writer.close()

    for address in listening:
        server = await asyncio.start_server(answer, address, port)
        port = server.sockets[0].getsockname()[1]
    connector = TCPConnector(limit=2, force_close=True)
    async with ClientSession(f"http://{name}:{port}", connector=connector) as session:

        async def user() -> None:
            for _ in range(5):
                async with session.get("/") as response:
                    assert await response.text() == "ok"

        await asyncio.gather(*(user() for _ in range(4)))
    print(json.dumps(counts))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
