"""A small proxy: forwards `http` requests by their whole URL, and opens tunnels by `CONNECT`."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from listener import Listener


class Proxy(Listener):
    """`async with Proxy() as proxy:`; `seen` is every head that it was sent, as first line and headers."""

    def __init__(self, user: str | None = None) -> None:
        super().__init__()
        self.user = user
        """The `Proxy-Authorization` that it wants."""
        self.answer: bytes | None = None
        """What it says to `CONNECT` instead of opening a tunnel; nothing at all if that is empty."""
        self.silent = False
        """It never answers `CONNECT`."""
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one request after the other, or become a tunnel."""
        self.connections += 1
        try:
            while head := await _head(reader):
                line, *rest = head.decode("latin-1").split("\r\n")
                headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in rest)}
                self.seen.append((line, headers))
                method, where, _ = line.split(" ")
                if self.user is not None and headers.get("proxy-authorization") != self.user:
                    writer.write(
                        b"HTTP/1.1 407 Who is it\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno"
                    )
                elif method == "CONNECT":
                    await self._tunnel(where, reader, writer)
                    return
                else:
                    await _forward(method, where, rest, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _tunnel(self, where: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.silent:
            await asyncio.Event().wait()
        if self.answer is not None:
            writer.write(self.answer)
            await writer.drain()
            return
        host, _, port = where.rpartition(":")
        try:
            there = await asyncio.open_connection(host.strip("[]"), int(port))
        except OSError:
            writer.write(b"HTTP/1.1 502 Nobody there\r\nContent-Length: 0\r\n\r\n")
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_pass_on(reader, there[1]), _pass_on(there[0], writer))
        finally:
            there[1].close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return (await reader.readuntil(b"\r\n\r\n"))[:-4]
    except asyncio.IncompleteReadError:
        return b""


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _forward(method: str, url: str, headers: list[str], writer: asyncio.StreamWriter) -> None:
    parts = urlsplit(url)
    reader, there = await asyncio.open_connection(parts.hostname, parts.port)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    kept = [each for each in headers if not each.lower().startswith("proxy-")]
    there.write("\r\n".join([f"{method} {path} HTTP/1.1", *kept, "", ""]).encode("latin-1"))
    head = await _head(reader)
    length = next(
        int(line[16:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")
    )
    writer.write(head + b"\r\n\r\n" + await reader.readexactly(length))
    await writer.drain()
    there.close()
