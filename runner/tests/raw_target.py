"""A server on bare sockets that counts the request heads that reach it: the second opinion on what was sent.

It is a process of its own, `python raw_target.py [CERTIFICATE KEY]`, so that it reads on while the load's own
process is busy. One thread and one selector; it reads a connection to its end before it does anything else
with it. Each line on its standard input is answered with its counts, as a line of JSON. The path says what it
does with a request: see `Connection.answer`.
"""

from __future__ import annotations

import heapq
import json
import random
import re
import selectors
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"
BYE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
MOVED = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /ok\r\n\r\n"


class Plain:
    """Bytes as they are."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def read(self) -> tuple[bytes, bool]:
        """All that is there, and whether that is the end."""
        read = bytearray()
        with suppress(BlockingIOError):
            while True:
                try:
                    data = self.sock.recv(1 << 18)
                except OSError as error:
                    if isinstance(error, BlockingIOError):
                        raise
                    return bytes(read), True
                if not data:
                    return bytes(read), True
                read += data
        return bytes(read), False

    def write(self, data: bytes) -> None:
        """Replies are small: a peer that is gone is no concern, and one that does not read, either."""
        with suppress(OSError):
            self.sock.send(data)


class Tls(Plain):
    """The server's side of TLS, over `Plain`."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(sock)
        self.came, self.goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.came, self.goes, server_side=True)
        self.ready = False

    def read(self) -> tuple[bytes, bool]:
        raw, ended = super().read()
        self.came.write(raw)
        read = bytearray()
        try:
            if not self.ready:
                self.tls.do_handshake()
                self.ready = True
            while data := self.tls.read(1 << 18):
                read += data
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            ended = True
        super().write(self.goes.read())
        return bytes(read), ended

    def write(self, data: bytes) -> None:
        self.tls.write(data)
        super().write(self.goes.read())


class Connection:
    """One connection, and the requests on it."""

    def __init__(self, target: RawTarget, wire: Plain) -> None:
        self.target, self.wire = target, wire
        self.unread = b""
        self.body_left = 0
        self.path = ""
        self.requests = 0
        self.open = True

    def feed(self) -> None:
        """Read all that is there."""
        data, ended = self.wire.read()
        self.unread += data
        while self.open and self.unread:
            if self.body_left:
                taken = min(self.body_left, len(self.unread))
                self.unread, self.body_left = self.unread[taken:], self.body_left - taken
            else:
                head, end, rest = self.unread.partition(b"\r\n\r\n")
                if not end:
                    break
                self.unread = rest
                self.path = head.split(b" ", 2)[1].decode()
                length = re.search(rb"(?i)content-length: *(\d+)", head)
                self.body_left = int(length[1]) if length else 0
                self.requests += 1
                self.target.count(self.path)
            if not self.body_left:
                self.answer()
        if ended:
            self.close()

    def answer(self) -> None:
        """Reply by the path: `/ok`, `/hang` (never), `/half` (a body that never ends), `/moved` (a redirect
        to `/ok`), `/bye` (closes and says so), `/shut` (closes and says nothing), `/mute` (closes without a
        reply), `/fin` and `/rst` (close in one way or the other at some moment of the next three
        milliseconds, as idle: a request that has been read by then is answered instead).
        """
        name = self.path.partition("?")[0]
        reply = {"/hang": b"", "/mute": b"", "/half": HALF, "/moved": MOVED, "/bye": BYE}.get(name, OK)
        if reply:
            self.wire.write(reply)
        if name in ("/bye", "/shut", "/mute"):
            self.close()
        if name in ("/fin", "/rst"):
            self.target.later(random.uniform(0, 0.003), partial(self.close_idle, self.requests, name))

    def close_idle(self, requests: int, name: str) -> None:
        """Close unless another request is there. It looks once more before: on a busy machine one may have
        lain unread for so long (40 ms) that it is acknowledged, and nobody outside can tell that apart.
        """
        if self.open:
            self.feed()
        if self.requests == requests and self.open:
            if name == "/rst":
                self.wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.close()

    def close(self) -> None:
        """Close as a process does that has nothing more to say."""
        if self.open:
            self.open = False
            self.target.forget(self)


class RawTarget:
    """The listeners, the connections and the counts."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.counts: dict[str, int] = {}
        self.connections = 0
        self.open = 0
        self.context = context
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = iter(range(sys.maxsize))

    def listen(self, secure: bool) -> int:
        """A listener on a port from the kernel; the port."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener, secure))
        port: int = listener.getsockname()[1]
        return port

    def count(self, path: str) -> None:
        """A head has come whole."""
        name = path.partition("?")[0]
        self.counts[name] = self.counts.get(name, 0) + 1

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """Do it in so many seconds."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), what))

    def forget(self, connection: Connection) -> None:
        """Close its socket."""
        self._selector.unregister(connection.wire.sock)
        connection.wire.sock.close()
        self.open -= 1

    def serve(self) -> None:
        """Until the standard input closes."""
        self._selector.register(sys.stdin, selectors.EVENT_READ, self._tell)
        while True:
            due = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
            for key, _ in self._selector.select(due):
                key.data()
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()

    def _accept(self, listener: socket.socket, secure: bool) -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                sock.setblocking(False)
                self.connections += 1
                self.open += 1
                wire = Tls(sock, self.context) if secure and self.context else Plain(sock)
                connection = Connection(self, wire)
                self._selector.register(sock, selectors.EVENT_READ, connection.feed)

    def _tell(self) -> None:
        if not sys.stdin.readline():
            sys.exit(0)
        total = sum(self.counts.values())
        told = {"total": total, "paths": self.counts, "connections": self.connections, "open": self.open}
        print(json.dumps(told), flush=True)


@dataclass(frozen=True)
class Raw:
    """A raw target that runs."""

    url: str
    tls_url: str
    process: subprocess.Popen[str]

    def counts(self) -> dict[str, Any]:
        """`total`, `paths`, `connections` ever and `open` now."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        counts: dict[str, Any] = json.loads(self.process.stdout.readline())
        return counts

    def settled(self) -> dict[str, Any]:
        """The counts once every connection has been read to its end."""
        until = time.monotonic() + 20
        while (counts := self.counts())["open"]:
            assert time.monotonic() < until, counts
            time.sleep(0.02)
        return counts


@contextmanager
def raw_target(*certificate: Path) -> Iterator[Raw]:
    """A raw target for the length of the block; over TLS too, with a certificate and its key."""
    command = [sys.executable, __file__, *map(str, certificate)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ports = json.loads(process.stdout.readline())
        yield Raw(f"http://127.0.0.1:{ports[0]}", f"https://127.0.0.1:{ports[-1]}", process)


def main() -> None:
    """Listen, say where, and serve."""
    context = None
    if sys.argv[1:]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*sys.argv[1:3])
    target = RawTarget(context)
    ports = [target.listen(secure) for secure in ([False, True] if context else [False])]
    print(json.dumps(ports), flush=True)
    target.serve()


if __name__ == "__main__":
    main()
