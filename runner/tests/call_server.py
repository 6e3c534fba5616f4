"""A raw HTTP server for the client's tests: it says exactly what it is told, and counts what it was sent."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

from aiotest import _native
from listener import Listener

Handler = Callable[["Seen", asyncio.StreamWriter], Awaitable[None]]
Talk = Callable[["Seen", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Has the connection to itself, to its end."""


class Seen:
    """One request as it came."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body


def reply(status: str = "200 OK", body: bytes = b"", *, head: str = "", length: int | None = None) -> bytes:
    """A whole reply; `length` lies about the body's."""
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{head}\r\n".encode() + body


class Server(Listener):
    """`async with Server() as server:`; paths are looked up in `replies`, `talks` and `handlers`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.replies: dict[str, bytes] = {
            "/": reply(body=b'{"ok": true}', head="Content-Type: application/json\r\n")
        }
        self.handlers: dict[str, Handler] = {"/echo": echo, "/hang": self.hang, "/body": self.hang_in_body}
        self.talks: dict[str, Talk] = {}
        self.seen: list[Seen] = []
        self.connections = 0
        self.open = 0
        self.changed = asyncio.Condition()
        self._release = asyncio.Event()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release.set()
        await super().__aexit__(kind, error, trace)

    def release(self) -> None:
        """Let everything that hangs go on."""
        self._release.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds of what was seen so far."""
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(condition)

    async def hang(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        """No reply until `release`."""
        await self._release.wait()
        writer.write(reply(body=b"late"))

    async def hang_in_body(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        """Head and four bytes; four more after `release`."""
        writer.write(reply(body=b"half", length=8))
        await writer.drain()
        await self._release.wait()
        writer.write(b"more")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request after the other."""
        self.connections += 1
        self.open += 1
        try:
            while seen := await _read(reader):
                self.seen.append(seen)
                await self._note()
                path = seen.path.partition("?")[0]
                if path in self.replies:
                    data = self.replies[path]
                    writer.write(data)
                    if b"Connection: close" in data:
                        break
                elif path in self.talks:
                    await self.talks[path](seen, reader, writer)
                    break
                elif path in self.handlers:
                    if not await _unless_left(self.handlers[path](seen, writer), reader):
                        break
                else:
                    writer.write(reply("404 Not Found", b"nothing here"))
                if writer.is_closing():
                    break
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()
            await self._note()

    async def _note(self) -> None:
        async with self.changed:
            self.changed.notify_all()


async def _unless_left(handling: Awaitable[None], reader: asyncio.StreamReader) -> bool:
    """Handle a request as long as the client is there."""
    handled = asyncio.ensure_future(handling)
    left = asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait([handled, left], return_when=asyncio.FIRST_COMPLETED)
        return handled.done() and handled.result() is None
    finally:
        for task in (handled, left):
            task.cancel()
        await asyncio.gather(handled, left, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Seen | None:
    line = await reader.readline()
    if not line:
        return None
    method, path, _ = line.decode().split(" ")
    headers: dict[str, str] = {}
    while (header := (await reader.readline()).decode().strip()) != "":
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        return Seen(method, path, headers, await _read_chunks(reader))
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method, path, headers, body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        assert await reader.readline() == b"\r\n"
    assert await reader.readline() == b"\r\n"
    return body


async def echo(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """What was sent, as JSON."""
    said = {
        "method": seen.method,
        "path": seen.path,
        "headers": seen.headers,
        "body": seen.body.decode("latin-1"),
    }
    whole = reply(body=json.dumps(said).encode(), head="Content-Type: application/json\r\n")
    writer.write(whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if seen.method == "HEAD" else whole)


class Recorded:
    """What the engine has recorded since the last one was made."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = json.loads(_native.take_statistics_json()).get("rows", [])

    def row(self, name: str, method: str = "GET") -> dict[str, Any]:
        """The one row of that name; empty if there is none."""
        found = [row for row in self.rows if (row["name"], row["method"]) == (name, method)]
        assert len(found) <= 1
        return found[0] if found else {}

    def total(self, column: str) -> int:
        """The sum of a column over all rows."""
        return sum(row[column] for row in self.rows)

    def errors(self) -> dict[str, int]:
        """Error texts and their counts, over all rows."""
        counts: dict[str, int] = {}
        for row in self.rows:
            for text, count in row.get("errors", {}).items():
                counts[text] = counts.get(text, 0) + count
        return counts
