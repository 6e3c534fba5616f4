"""A process that does everything wrong that a server can do: over HTTP by path, over TLS by port. It tells
where it is in its first line and, when its stdin ends, how many requests it has read, by path. Start at
`BEHAVIOURS`.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

Behaviour = Callable[[socket.socket], None]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def say(data: bytes) -> Behaviour:
    """These bytes; the close comes after every behaviour."""
    return lambda client: client.sendall(data)


def flood(begin: bytes, again: bytes) -> Behaviour:
    """For as long as somebody reads, and ten gigabytes at most."""

    def behave(client: socket.socket) -> None:
        client.sendall(begin)
        block = again * (65_536 // len(again) + 1)
        for _ in range(10_000_000_000 // len(block)):
            client.sendall(block)

    return behave


def drip(begin: bytes) -> Behaviour:
    """A byte at a time."""

    def behave(client: socket.socket) -> None:
        client.sendall(begin)
        for _ in range(1000):
            client.sendall(b"a")
            time.sleep(0.02)

    return behave


def reset(begin: bytes) -> Behaviour:
    """A reset after these bytes."""

    def behave(client: socket.socket) -> None:
        if begin:
            client.sendall(begin)
            time.sleep(0.03)  # what was said must have been read, or the reset takes it away
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    return behave


def silent(client: socket.socket) -> None:
    """Nothing, until the other side has gone."""
    while client.recv(1024):
        pass


def half_closed(client: socket.socket) -> None:
    """No reply will come, but requests are taken."""
    client.shutdown(socket.SHUT_WR)
    silent(client)


def deaf(client: socket.socket) -> None:
    """No request will be taken, but this one is answered."""
    client.shutdown(socket.SHUT_RD)
    client.sendall(OK)


BEHAVIOURS: dict[str, tuple[Behaviour, str | None]] = {
    "/garbage": (say(b"SSH-2.0-OpenSSH_9.2\r\n"), "reply is no HTTP/1"),
    "/http-0.9": (say(b"<html>hello</html>\n"), "reply is no HTTP/1"),
    "/http-2": (say(b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64"), "reply is no HTTP/1"),
    "/malformed-header": (say(b"HTTP/1.1 200 OK\r\nX y: z\r\n\r\n"), "reply has a malformed header"),
    "/endless-header": (flood(b"HTTP/1.1 200 OK\r\nX: ", b"a"), "reply head too long"),
    "/endless-headers": (flood(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), "reply has too many headers"),
    "/endless-interim": (flood(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), "too many interim replies"),
    "/switched": (say(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), "protocol switched unasked"),
    "/two-lengths": (
        say(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        "reply has an invalid Content-Length",
    ),
    "/negative-length": (
        say(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
        "reply has an invalid Content-Length",
    ),
    "/huge-length": (
        say(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n"),
        "reply has an invalid Content-Length",
    ),
    "/unknown-coding": (
        say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
        "reply has an unknown Transfer-Encoding",
    ),
    "/chunk-size": (say(CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n"), "chunk size invalid"),
    "/chunk-overflow": (say(CHUNKED + b"FFFFFFFFFFFFFFFFF\r\n"), "chunk size invalid"),
    "/chunk-end": (say(CHUNKED + b"5\r\nhelloX\r\n0\r\n\r\n"), "chunk does not end at its size"),
    "/chunk-line": (flood(CHUNKED + b"5;", b"x"), "chunk line too long"),
    "/trailers": (flood(CHUNKED + b"0\r\n", b"A: b\r\n"), "trailers too long"),
    "/cut-short": (
        say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        "connection closed in the reply",
    ),
    "/closed": (say(b""), "connection closed before the reply"),
    "/half-closed": (half_closed, "connection closed before the reply"),
    "/reset": (reset(b""), "connection reset before the reply"),
    "/reset-in-body": (
        reset(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        "connection reset in the reply",
    ),
    "/silent": (silent, "timeout: total time over"),
    "/drip": (drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"), "timeout: total time over"),
    "/drip-head": (drip(b"HTTP/1.1 200 OK\r\nX: "), "timeout: total time over"),
    "/circle": (
        say(b"HTTP/1.1 302 Found\r\nLocation: /circle?again\r\nContent-Length: 0\r\n\r\n"),
        "too many redirects",
    ),
    "/nowhere": (
        say(b"HTTP/1.1 302 Found\r\nLocation: ftp://h/\r\nContent-Length: 0\r\n\r\n"),
        "redirect to no usable URL",
    ),
    "/status": (
        say(b"HTTP/1.1 503 Sorry No 8172\r\nContent-Length: 0\r\n\r\n"),
        "503 Service Unavailable",
    ),
    "/good": (say(OK), None),
    "/says-close": (say(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"), None),
    "/until-close": (say(b"HTTP/1.1 200 OK\r\n\r\nok"), None),
    "/deaf": (deaf, None),
    "/early-hints": (say(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK), None),
    "/two-replies": (say(OK + OK), None),
    "/superfluous": (say(OK + b"and more"), None),
    "/length-and-chunks": (
        say(CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\n") + b"2\r\nok\r\n0\r\n\r\n"),
        None,
    ),
    "/no-text": (say(b"HTTP/1.1 200 \xff\r\nX: \xff\x80\r\nContent-Length: 2\r\n\r\nok"), None),
    "/cookies": (
        say(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
            + b"".join(b"Set-Cookie: n%d=%s\r\n" % (number, b"v" * 300) for number in range(120))
            + b"\r\nok"
        ),
        None,
    ),
}
"""What each path does, and the label of its failure; `None`: it is a reply."""

ENDLESS = flood(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", b"x" * 65_536)
"""At `/endless`, which is no part of the others: it takes its time."""

TLS: dict[str, str] = {
    "expired": "TLS: certificate expired",
    "unknown": "TLS: certificate of an unknown issuer",
    "other-host": "TLS: certificate of another host",
    "cut": "TLS: connection cut in the handshake",
    "plain": "TLS: server speaks no TLS",
    "alert": "TLS: refused by the server",
    "old": "TLS: no version or cipher in common",
}
"""The TLS servers, and the label of what each does."""


class Hostile:
    """All servers of the process."""

    def __init__(self, certificates: Path) -> None:
        self.certificates = certificates
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def listen(self, serve: Behaviour) -> int:
        """A port of its own; each connection is served in a thread."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        threading.Thread(target=self._accept, args=(listener, serve), daemon=True).start()
        port: int = listener.getsockname()[1]
        return port

    def _accept(self, listener: socket.socket, serve: Behaviour) -> None:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=self._serve, args=(client, serve), daemon=True).start()

    def _serve(self, client: socket.socket, serve: Behaviour) -> None:
        with suppress(OSError), client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            serve(client)

    def http(self, client: socket.socket) -> None:
        """One request is read and counted, and answered as its path says."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            data = client.recv(65_536)
            if not data:
                return
            head += data
        path = head.split(b" ", 2)[1].decode().partition("?")[0]
        with self._lock:
            self.counts[path] += 1
        behave = ENDLESS if path == "/endless" else BEHAVIOURS[path][0]
        behave(client)

    def tls(self, name: str) -> Behaviour:
        """A handshake that goes wrong in this way."""
        if name in ("cut", "plain", "alert"):
            said = {"cut": b"", "plain": OK, "alert": b"\x15\x03\x03\x00\x02\x02\x50"}[name]

            def broken(client: socket.socket) -> None:
                client.recv(65_536)
                client.sendall(said)

            return broken
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        folder = self.certificates
        context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
        if name == "old":
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1

        def secured(client: socket.socket) -> None:
            with suppress(ssl.SSLError), context.wrap_socket(client, server_side=True) as wrapped:
                self.http(wrapped)

        return secured


def blackhole() -> tuple[int, list[socket.socket]]:
    """A port that completes no handshake, its backlog being full, for as long as what is returned is held."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
    return listener.getsockname()[1], [listener, *fillers]


def main() -> None:
    """Serve until stdin ends."""
    hostile = Hostile(Path(sys.argv[1]))
    ports = {name: hostile.listen(hostile.tls(name)) for name in TLS}
    closed, held = blackhole()
    print(json.dumps({"http": hostile.listen(hostile.http), "blackhole": closed, "tls": ports}), flush=True)
    sys.stdin.read()
    print(json.dumps(hostile.counts), flush=True)
    for each in held:
        each.close()


if __name__ == "__main__":
    main()
