"""The same calls to names through our client and through aiohttp's; a process whose `/etc/resolv.conf` names
the DNS server that runs here.

`python both_names_run.py` prints, by what was done, a pair of what each gave.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from both_clients import Play, arrived, both, told
from call_server import Server, reply
from dns_server import SERVER, Zone

HOSTS = ["shop.test", "www.shop.test", "a.www.shop.test", "other.test", "xn--bcher-kva.test"]
REDIRECTS = [
    (301, "http://other.test:{port}/echo"),
    (302, "http://other.test:{port}/echo?a=b#c"),
    (303, "//www.shop.test:{port}/echo"),
    (307, "http://other.test:{port}/echo"),
    (308, "http://xn--bcher-kva.test:{port}/echo"),
]
COOKIES = [
    "",
    "; Domain=shop.test",
    "; Domain=.shop.test",
    "; Domain=SHOP.test; Path=/echo",
    "; Domain=www.shop.test",
    "; Domain=a.www.shop.test",
    "; Domain=other.test",
]


async def main() -> dict[str, Any]:
    """Each with a session of its own."""
    await Zone({host: ["127.0.0.1"] for host in HOSTS}, ttl=60).listen(SERVER)
    async with Server() as server:

        def url(host: str, path: str = "/echo") -> str:
            return f"http://{host}:{server.port}{path}"

        async def name(session: Any) -> Any:
            async with session.get(url("Bücher.test")) as response:
                return (await response.json())["headers"]["host"], str(response.url), response.url.host

        async def redirects(session: Any) -> Any:
            seen = []
            for number in range(len(REDIRECTS)):
                headers = {"Authorization": "Bearer x", "X-A": "1", "Cookie": "own=1"}
                call = session.post(url("shop.test", f"/{number}"), data=b"body", headers=headers)
                hop = await arrived(call)
                told_of = ("host", "authorization", "x-a", "cookie", "content-length")
                seen.append((hop["method"], hop["body"], [hop["headers"].get(each) for each in told_of]))
            return seen

        def cookie(attributes: str) -> Play:
            async def play(session: Any) -> Any:
                server.replies["/set"] = reply(head=f"Set-Cookie: a=1{attributes}\r\n")
                await told(session.get(url("www.shop.test", "/set")))
                went = [await arrived(session.get(url(host))) for host in HOSTS]
                return [each["headers"].get("cookie") for each in went]

            return play

        for number, (status, location) in enumerate(REDIRECTS):
            head = f"Location: {location.format(port=server.port)}\r\n"
            server.replies[f"/{number}"] = reply(f"{status} Moved", head=head)
        plays: dict[str, Play] = {"a name in another script": name, "redirects": redirects}
        plays |= {f"a cookie{attributes}": cookie(attributes) for attributes in COOKIES}
        return {what: await both(server, play) for what, play in plays.items()}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main())))
