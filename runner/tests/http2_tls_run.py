"""Calls over TLS to a server that chooses by ALPN; a process of its own, as the authorities that it trusts
are read once.

`python http2_tls_run.py CERTIFICATE KEY PROTOCOL…` prints what it saw as JSON.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from typing import Any

from aiotest import ClientSession, TCPConnector
from call_server import Recorded
from http2_server import Server


async def run(certificate: str, key: str, protocols: list[str]) -> dict[str, Any]:
    """Eight calls at once, and some after one another."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(protocols)
    async with Server(context) as server, asyncio.timeout(20):
        connector = TCPConnector(http2=True)
        async with ClientSession(server.url, connector=connector) as session:
            calls = await asyncio.gather(*(session.get(f"/echo?n={n}") for n in range(8)))
            bodies = [await response.json() for response in calls]
            connections = server.connections
            big = await (await session.get("/big/2000000")).read()
            posted = await (await session.post("/echo", data=b"x" * 500_000)).json()
        async with ClientSession(server.url) as session:
            unasked = (await session.get("/")).version
        await connector.close()
    return {
        "versions": sorted({response.version for response in calls}),
        "queries": [body["query"] for body in bodies],
        "connections": connections,
        "big": len(big),
        "posted": len(posted["body"]),
        "unasked": unasked,
        "received": server.requests.total(),
    }


if __name__ == "__main__":
    seen = asyncio.run(run(sys.argv[1], sys.argv[2], sys.argv[3:]))
    recorded = Recorded()
    seen["sent"] = recorded.total("sent")
    seen["errors"] = recorded.errors()
    seen["phases"] = sorted(name for name, _ in recorded.row("/echo")["phases"])
    print(json.dumps(seen))
