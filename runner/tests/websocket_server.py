"""A WebSocket server for the client's tests: aiohttp's own, and one that breaks the rules."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from call_server import Seen, Server

Talk = Callable[[web.WebSocketResponse], Awaitable[None]]


async def echo(socket: web.WebSocketResponse) -> None:
    """Whatever is sent, until the client closes."""
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await socket.send_bytes(message.data)


async def pings(socket: web.WebSocketResponse) -> None:
    """A ping, then what was answered."""
    await socket.ping(b"are you there")
    pong = await socket.receive()
    await socket.send_bytes(pong.data)
    await socket.receive()


async def closes(socket: web.WebSocketResponse) -> None:
    """A text, then a close with a code of its own."""
    await socket.send_str("last words")
    await socket.close(code=4001, message=b"enough")


async def drops(socket: web.WebSocketResponse) -> None:
    """A text, then nothing more: the connection is cut."""
    await socket.send_str("last words")
    transport = socket._req.transport if socket._req is not None else None
    assert transport is not None
    await asyncio.sleep(0.05)
    transport.abort()


async def pushes(socket: web.WebSocketResponse) -> None:
    """As many messages as the client asks for, as fast as it reads."""
    count, size = map(int, (await socket.receive_str()).split())
    for number in range(count):
        await socket.send_bytes(number.to_bytes(4, "big") * (size // 4))
    await socket.receive()


async def sinks(socket: web.WebSocketResponse) -> None:
    """Reads nothing for a while, then counts the bytes that had been sent before a text."""
    await asyncio.sleep(0.3)
    total = 0
    while isinstance(data := (await socket.receive()).data, bytes):
        total += len(data)
    await socket.send_str(str(total))
    await socket.receive()


TALKS: dict[str, Talk] = {
    "/echo": echo,
    "/pings": pings,
    "/closes": closes,
    "/drops": drops,
    "/pushes": pushes,
    "/sinks": sinks,
}


@asynccontextmanager
async def serving(
    compress: bool = False, heard: Counter[str] | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """The URL of a server with all of `TALKS`, as `http://…`. `heard`: where it counts what `/echo` hears."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/refuses":
            return web.Response(status=403, text="not you")
        if request.path == "/plain":
            return web.Response(text="no WebSocket here")
        if request.path == "/moved":
            return web.HTTPFound("/echo")
        socket = web.WebSocketResponse(
            protocols=("v2.chat", "v1.chat"), autoping=request.path != "/pings", compress=compress
        )
        await socket.prepare(request)
        if request.path == "/headers":
            names = ("Origin", "Cookie", "X-Own", "Sec-WebSocket-Version")
            await socket.send_json({name: request.headers.get(name) for name in names})
            await socket.receive()
        elif heard is not None:
            async for message in socket:
                heard[message.data] += 1
                await socket.send_str(message.data)
        else:
            await TALKS[request.path](socket)
        return socket

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def saying(server: Server, path: str, data: bytes, **headers: str) -> None:
    """At `path` a raw server accepts a WebSocket with these headers instead of its own, and says `data`,
    and no more, whatever it hears.
    """

    async def talk(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        key = seen.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        given = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept, **headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
        writer.write(f"HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n".encode() + data)
        while await reader.read(65536):
            pass

    server.talks[path] = talk
