"""One application, spoken in HTTP/1.1 and in HTTP/2, as the client begins: what differs is then the
protocol's. Handlers of HTTP/2 may do to a connection whatever they like.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from listener import Listener

Headers = list[tuple[str, str]]
Reply = tuple[int, Headers, bytes]
Handler = Callable[["Peer", int, "Seen"], Awaitable[Any]]

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_OF_HTTP1 = {"host", "connection", "transfer-encoding"}


@dataclass
class Seen:
    """One request as it came; pseudo headers are not among `headers`."""

    method: str
    path: str
    authority: str
    headers: Headers
    body: bytes = b""


def application(seen: Seen) -> Reply:
    """What every server says at a path."""
    path, _, query = seen.path.partition("?")
    match path.split("/")[1:]:
        case [""]:
            return 200, [("content-type", "application/json")], b'{"ok": true}'
        case ["echo"]:
            # Cookies are in no order.
            ordered = [(name, "; ".join(sorted(value.split("; ")))) for name, value in seen.headers]
            echoed = sorted(pair for pair in ordered if pair[0] not in _OF_HTTP1)
            said: dict[str, Any] = {
                "method": seen.method,
                "path": path,
                "query": query,
                "authority": seen.authority,
            }
            said |= {"headers": echoed, "body": seen.body.decode("latin-1")}
            return 200, [("content-type", "application/json")], json.dumps(said).encode()
        case ["status", code]:
            empty = code in {"204", "304"}
            return int(code), [("x-code", code)], b"" if empty else f"this is {code}".encode()
        case ["redirect", code, count]:
            to = f"/redirect/{code}/{int(count) - 1}" if int(count) else "/echo"
            return int(code), [("location", to), ("set-cookie", f"hop{count}=1; Path=/")], b"elsewhere"
        case ["cookies"]:
            return 200, [("set-cookie", "a=1; Path=/"), ("set-cookie", "b=2; Path=/"), ("x-a", "b")], b"set"
        case ["gzip"]:
            headers = [("content-encoding", "gzip"), ("content-type", "text/plain; charset=utf-8")]
            return 200, headers, gzip.compress("größer".encode() * 1000)
        case ["big", size]:
            return 200, [("content-type", "application/octet-stream")], bytes(range(256)) * (int(size) // 256)
        case _:
            return 404, [], b"nothing here"


class Peer:
    """One connection that speaks HTTP/2."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.server, self.reader, self.writer = server, reader, writer
        self.h2 = h2.connection.H2Connection(config)
        self.events: list[h2.events.Event] = []
        self.opened = 0
        self.changed = asyncio.Condition()
        self._seen: dict[int, Seen] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def flush(self) -> None:
        """Send what was said."""
        self.writer.write(self.h2.data_to_send())

    async def serve(self, begun: bytes) -> None:
        """Until the client goes."""
        settings = self.server.settings
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=settings)
        if not self.server.silent:
            self.h2.initiate_connection()
            self.flush()
        data = begun
        try:
            while data:
                for event in self.h2.receive_data(data):
                    self._on(event)
                if not self.server.silent:
                    self.flush()
                async with self.changed:
                    self.changed.notify_all()
                data = await self.reader.read(65536)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on(self, event: h2.events.Event) -> None:
        self.events.append(event)
        match event:
            case h2.events.RequestReceived(stream_id=stream, headers=headers):
                pseudo = {str(name): str(value) for name, value in headers if str(name).startswith(":")}
                others = [(str(name), str(value)) for name, value in headers if not str(name).startswith(":")]
                seen = Seen(pseudo[":method"], pseudo[":path"], pseudo[":authority"], others)
                self._seen[stream] = seen
                self.server.note(seen)
                self.opened += 1
                self.server.most_at_once = max(self.server.most_at_once, self.h2.open_inbound_streams)
                if seen.path in self.server.early:
                    self._begin(self.server.early[seen.path](self, stream, seen))
            case h2.events.DataReceived(stream_id=stream, data=data, flow_controlled_length=length):
                self._seen[stream].body += data
                if length and self.server.takes_bodies:
                    self.h2.acknowledge_received_data(length, stream)
            case h2.events.StreamEnded(stream_id=stream) if self._seen[stream].path not in self.server.early:
                seen = self._seen[stream]
                handler = self.server.handlers.get(seen.path, Peer.answer)
                self._begin(handler(self, stream, seen))
            case _:
                pass

    def _begin(self, handling: Awaitable[Any]) -> None:
        async def handled() -> None:
            await handling
            self.flush()

        self._tasks.add(asyncio.create_task(handled()))

    async def answer(self, stream: int, seen: Seen) -> None:
        """As the application says."""
        status, headers, body = self.server.say(seen)
        body = b"" if seen.method == "HEAD" else body
        length = [] if status in {204, 304} or seen.method == "HEAD" else [("content-length", str(len(body)))]
        self.h2.send_headers(stream, [(":status", str(status)), *headers, *length], end_stream=not body)
        self.flush()
        if body:
            await self.send_body(stream, body)

    async def send_body(self, stream: int, body: bytes, *, end: bool = True) -> None:
        """As the client's windows allow."""
        left = memoryview(body)
        while left:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(left))
            if room <= 0:
                async with self.changed:
                    await self.changed.wait()
                continue
            piece, left = bytes(left[:room]), left[room:]
            self.h2.send_data(stream, piece, end_stream=end and not left)
            self.flush()

    def count(self, kind: type[h2.events.Event]) -> int:
        """Events of that kind so far."""
        return sum(isinstance(event, kind) for event in self.events)


class Server(Listener):
    """`async with Server() as server:`, in plain TCP or, with a context, TLS."""

    def __init__(self, context: ssl.SSLContext | None = None, settings: dict[Any, int] | None = None) -> None:
        super().__init__(context)
        self.settings = settings or {}
        self.silent = False
        self.takes_bodies = True
        self.handlers: dict[str, Handler] = {}
        self.early: dict[str, Handler] = {}
        self.redirects: dict[str, tuple[int, str]] = {}
        self.peers: list[Peer] = []
        self.requests: Counter[str] = Counter()
        self.seen: list[Seen] = []
        self.connections = self.open = self.most_at_once = 0
        self.changed = asyncio.Condition()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - of conditions that nobody notifies of
                await asyncio.sleep(0.002)

    def note(self, seen: Seen) -> None:
        """A request is there."""
        self.requests[seen.path.partition("?")[0]] += 1
        self.seen.append(seen)

    def say(self, seen: Seen) -> Reply:
        """What a redirect of this server says, or else the application."""
        if (to := self.redirects.get(seen.path)) is None:
            return application(seen)
        return to[0], [("location", to[1])], b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """In HTTP/2 if the client begins so, or else in HTTP/1.1."""
        self.connections += 1
        self.open += 1
        try:
            begun = await reader.read(65536)
            if begun[:3] == _PREFACE[:3]:
                peer = Peer(self, reader, writer)
                self.peers.append(peer)
                await peer.serve(begun)
            elif begun:
                await self._http1(begun, reader, writer)
        except (OSError, EOFError, h2.exceptions.ProtocolError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _http1(self, begun: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            while b"\r\n\r\n" not in begun:
                if not (more := await reader.read(65536)):
                    return
                begun += more
            head, _, begun = begun.partition(b"\r\n\r\n")
            line, *lines = head.decode().split("\r\n")
            method, path, _ = line.split(" ")
            headers = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
            known = dict(headers)
            if known.get("transfer-encoding") == "chunked":
                while not begun.endswith(b"0\r\n\r\n"):
                    begun += await reader.read(65536)
                size, _, rest = begun.partition(b"\r\n")
                body, begun = rest[: int(size, 16)], b""
            else:
                length = int(known.get("content-length", "0"))
                while len(begun) < length:
                    begun += await reader.readexactly(length - len(begun))
                body, begun = begun[:length], begun[length:]
            seen = Seen(method, path, known["host"], headers, body)
            self.note(seen)
            status, said, body = self.say(seen)
            if status not in {204, 304} and method != "HEAD":
                said = [*said, ("content-length", str(len(body)))]
            text = "".join(f"{name}: {value}\r\n" for name, value in said)
            writer.write(
                f"HTTP/1.1 {status} Word\r\n{text}\r\n".encode() + (b"" if method == "HEAD" else body)
            )
            await writer.drain()
