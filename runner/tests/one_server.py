"""A small HTTP server in a thread of the test, which counts what reaches it."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class OneServer(ThreadingHTTPServer):
    """Answers every path with a small JSON: `/missing` with 404, `/held` when it is released. `counts` is by
    path, and so is `latest`, the monotonic time of the last request; `stamps` says when each came, by
    the same clock.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tls = tls
        self.counts: Counter[str] = Counter()
        self.stamps: defaultdict[str, list[float]] = defaultdict(list)
        self.latest: dict[str, float] = {}
        self.changed = threading.Condition()
        self.release = threading.Event()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.server_address[1]}"

    def get_request(self) -> tuple[socket.socket, Any]:
        """The handshake is the handler's, at its first read."""
        connection, address = super().get_request()
        if self.tls:
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that it refuses is no fault of a test's."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OneServer

    def do_GET(self) -> None:
        with self.server.changed:
            self.server.counts[self.path] += 1
            self.server.stamps[self.path].append(time.monotonic())
            self.server.latest[self.path] = time.monotonic()
            self.server.changed.notify_all()
        if self.path == "/held":
            self.server.release.wait(20)
        body = b'{"ok": true}'
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        # The client may have gone meanwhile.
        with suppress(OSError):
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def one_server(tls: ssl.SSLContext | None = None) -> Iterator[OneServer]:
    """A server for the length of the block."""
    server = OneServer(tls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        thread.join()
        server.server_close()
