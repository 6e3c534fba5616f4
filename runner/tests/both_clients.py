"""The same call through our client and through aiohttp, against the same server, and what differs."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aiotest.client import ClientSession
from call_server import Server

Play = Callable[[Any], Awaitable[Any]]
"""What is done with a session; what it returns is compared."""


async def both(server: Server, play: Play, **session: Any) -> tuple[Any, Any]:
    """What `play` gives with our session, and with aiohttp's; of an exception, its families."""
    async with ClientSession(server.url, **session) as ours:
        mine = await outcome(play, ours)
    jar = aiohttp.CookieJar(unsafe=True)  # ours keeps the cookies of addresses, too
    async with aiohttp.ClientSession(server.url, cookie_jar=jar, **session) as theirs:
        return mine, await outcome(play, theirs)


async def outcome(play: Play, session: Any) -> Any:
    """What it returns or raises."""
    try:
        return await play(session)
    except aiohttp.ClientError as error:
        return [type(each).__name__ for each in type(error).__mro__ if issubclass(each, aiohttp.ClientError)]
    except (ValueError, TypeError) as error:
        return type(error).__name__


async def told(call: Any) -> dict[str, Any]:
    """Everything of a reply that can be compared."""
    async with call as response:
        body = await response.read()
        return {
            "status": response.status,
            "reason": response.reason,
            "method": response.method,
            "url": str(response.url),
            "headers": [(name.lower(), value) for name, value in response.headers.items()],
            "cookies": {name: morsel.value for name, morsel in response.cookies.items()},
            "content_type": response.content_type,
            "charset": response.charset,
            "history": [(each.status, str(each.url)) for each in response.history],
            "ok": response.ok,
            "body": body,
        }


async def arrived(call: Any) -> dict[str, Any]:
    """What the server's `/echo` says that it was sent."""
    async with call as response:
        seen: dict[str, Any] = json.loads(await response.read())
    return seen
