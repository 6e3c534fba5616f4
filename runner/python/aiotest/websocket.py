"""WebSockets as aiohttp's client has them: `session.ws_connect(…)`.

Connecting is one call, recorded as any other: its latency ends with the server's reply of 101. What is said
afterwards is no call. Framing and sockets are Rust's (`WebSocketStream`); here is what pings, closes and
timeouts are answered with. Start at [`Connecting`][] and [`WebSocket`][].
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from enum import IntEnum
from types import TracebackType
from typing import Any, NamedTuple

from multidict import CIMultiDict

from aiotest._native import ClientSession, Response, WebSocketStream
from aiotest.exception import (
    ClientConnectionError,
    ServerTimeoutError,
    WebSocketError,
    WSMessageTypeError,
    WSServerHandshakeError,
)

__all__ = ["ClientWSTimeout", "Connecting", "WSMessage", "WSMsgType", "WebSocket"]

_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_ABNORMAL = 1006
"""The code of a connection that ended without a close."""


class WSMsgType(IntEnum):
    """What a message is. The upper ones never travel: they say how the connection is."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    PING = 9
    PONG = 10
    CLOSE = 8
    CLOSING = 256
    CLOSED = 257
    ERROR = 258


class WSMessage(NamedTuple):
    """A message: text, bytes, the code of a close (`extra`: its reason), or the exception of an error."""

    type: Any
    data: Any
    extra: str | None

    def json(self, *, loads: Callable[[Any], Any] = json.loads) -> Any:
        """The text as JSON."""
        return loads(self.data)


class ClientWSTimeout(NamedTuple):
    """Seconds; `None`: for ever."""

    ws_receive: float | None = None
    """For one message."""
    ws_close: float | None = 10.0
    """For the server's answer to a close."""


class Connecting:
    """What `ws_connect` returns: `async with` or `await` it."""

    def __init__(
        self,
        session: ClientSession,
        url: Any,
        *,
        name: str | None = None,
        method: str = "GET",
        protocols: Iterable[str] = (),
        timeout: Any = None,
        receive_timeout: float | None = None,
        autoclose: bool = True,
        autoping: bool = True,
        heartbeat: float | None = None,
        origin: str | None = None,
        headers: Any = None,
        compress: int = 0,
        max_msg_size: int = 4 * 1024 * 1024,
        **options: Any,
    ) -> None:
        """`options` are those of any call. `timeout`: a `ClientWSTimeout`, or seconds for the close;
        `heartbeat`: seconds between pings; `compress`: 9 to 15 offers compressed messages; `max_msg_size`:
        bytes, 0 for no bound.
        """
        if isinstance(timeout, int | float):
            timeout = ClientWSTimeout(ws_close=timeout)
        limits = timeout or ClientWSTimeout()
        if heartbeat is not None and not heartbeat > 0:
            raise ValueError(f"heartbeat must be seconds above 0, not {heartbeat!r}")
        if max_msg_size < 0:
            raise ValueError(f"max_msg_size must be bytes, or 0 for no bound, not {max_msg_size!r}")
        self._session = session
        self._method = method
        self._url = _over_http(url)
        self._protocols = tuple(protocols)
        self._compress = bool(compress)
        self._max_msg_size = max_msg_size
        self._key = base64.b64encode(os.urandom(16)).decode()
        self._options = {**options, "name": name, "headers": self._headers(headers, origin)}
        self._manner = _Manner(
            receive=receive_timeout if receive_timeout is not None else limits.ws_receive,
            close=limits.ws_close,
            autoclose=autoclose,
            autoping=autoping,
            heartbeat=heartbeat,
        )
        self._socket: WebSocket | None = None

    def __await__(self) -> Generator[Any, Any, WebSocket]:
        return self._connect().__await__()

    async def __aenter__(self) -> WebSocket:
        self._socket = await self._connect()
        return self._socket

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._socket is not None:
            await self._socket.close()

    def _headers(self, given: Any, origin: str | None) -> CIMultiDict[str]:
        headers = CIMultiDict(given or ())
        headers.setdefault("Upgrade", "websocket")
        headers.setdefault("Connection", "Upgrade")
        headers.setdefault("Sec-WebSocket-Version", "13")
        headers["Sec-WebSocket-Key"] = self._key
        if self._protocols:
            headers["Sec-WebSocket-Protocol"] = ",".join(self._protocols)
        if origin is not None:
            headers["Origin"] = origin
        if self._compress:
            headers["Sec-WebSocket-Extensions"] = "permessage-deflate"
        return headers

    async def _connect(self) -> WebSocket:
        response = await self._session._upgrade(self._method, self._url, **self._options)
        try:
            protocol, deflate = self._agreed(response)
        except WSServerHandshakeError as error:
            if response.ok:
                response.failure(error.message)
            response.release()
            raise
        stream = await response._websocket(self._max_msg_size, deflate)
        return WebSocket(stream, response, protocol, deflate, self._manner)

    def _agreed(self, response: Response) -> tuple[str | None, tuple[bool, bool] | None]:
        """The protocol that the server chose, and whether client and server compress each message by itself;
        `None` where they don't.
        """
        headers = response.headers
        if response.status != 101:
            raise _refused(response, "Invalid response status")
        if headers.get("Upgrade", "").lower() != "websocket":
            raise _refused(response, "Invalid upgrade header")
        if "upgrade" not in headers.get("Connection", "").lower():
            raise _refused(response, "Invalid connection header")
        digest = hashlib.sha1(self._key.encode() + _KEY, usedforsecurity=False).digest()
        if headers.get("Sec-WebSocket-Accept", "") != base64.b64encode(digest).decode():
            raise _refused(response, "Invalid challenge response")
        chosen = (each.strip() for each in headers.get("Sec-WebSocket-Protocol", "").split(","))
        protocol = next((each for each in chosen if each in self._protocols), None)
        return protocol, self._agreed_deflate(response)

    def _agreed_deflate(self, response: Response) -> tuple[bool, bool] | None:
        extensions = response.headers.get("Sec-WebSocket-Extensions", "").strip()
        if not extensions:
            return None
        extension, *parameters = (part.strip() for part in extensions.split(";"))
        names = {parameter.partition("=")[0].strip() for parameter in parameters}
        known = {"client_no_context_takeover", "server_no_context_takeover", "server_max_window_bits"}
        if not self._compress or extension != "permessage-deflate" or not names <= known:
            raise _refused(response, f"Extension that was not offered: {extensions}")
        return "client_no_context_takeover" in names, "server_no_context_takeover" in names


class _Manner(NamedTuple):
    receive: float | None
    close: float | None
    autoclose: bool
    autoping: bool
    heartbeat: float | None


class WebSocket:
    """An open WebSocket. One task at a time may wait in `receive`; others may send meanwhile."""

    def __init__(
        self,
        stream: WebSocketStream,
        response: Response,
        protocol: str | None,
        deflate: tuple[bool, bool] | None,
        manner: _Manner,
    ) -> None:
        self._stream = stream
        self._response = response
        self._manner = manner
        self._kinds = _kinds()
        self._closed = False
        self._closing = False
        self._receiver: asyncio.Future[None] | None = None
        self._exception: BaseException | None = None
        self._deflate = deflate
        self.protocol = protocol
        """What the server chose of `protocols`."""
        self.close_code: int | None = None
        """Of the close that ended it; 1006 if there was none."""
        self._heart: asyncio.Task[None] | None = None
        if manner.heartbeat is not None:
            self._heart = asyncio.create_task(self._beat(manner.heartbeat), name="aiotest-heartbeat")

    @property
    def closed(self) -> bool:
        """Whether it is closed, from either side."""
        return self._closed

    @property
    def compress(self) -> int:
        """15 if messages are compressed, or else 0."""
        return 15 if self._deflate else 0

    @property
    def client_notakeover(self) -> bool:
        """Whether each message that is sent is compressed by itself."""
        return bool(self._deflate and self._deflate[0])

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The engine's sockets are not Python's: `default`."""
        return default

    def exception(self) -> BaseException | None:
        """What broke the connection, if anything did."""
        return self._exception

    # === sending ===

    async def ping(self, message: bytes | str = b"") -> None:
        """Send a ping, of at most 125 bytes."""
        await self._send(9, _control(message, "ping"))

    async def pong(self, message: bytes | str = b"") -> None:
        """Send a pong, of at most 125 bytes."""
        await self._send(10, _control(message, "pong"))

    async def send_str(self, data: str, compress: int | None = None) -> None:
        """Send a text. Raises: `ClientConnectionError` once it is closed."""
        if not isinstance(data, str):
            raise TypeError(f"data argument must be str ({type(data)!r})")
        await self._send(1, data)

    async def send_bytes(self, data: bytes | bytearray | memoryview, compress: int | None = None) -> None:
        """Send bytes. Raises: `ClientConnectionError` once it is closed."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data argument must be byte-ish ({type(data)!r})")
        await self._send(2, bytes(data))

    async def send_json(
        self, data: Any, compress: int | None = None, *, dumps: Callable[[Any], str] = json.dumps
    ) -> None:
        """Send what `dumps` makes of `data`, as a text."""
        await self.send_str(dumps(data))

    async def _send(self, opcode: int, payload: bytes | str) -> None:
        if self._closed or self._closing:
            raise _cannot_write()
        await self._stream.send(opcode, payload)

    # === receiving ===

    async def receive(self, timeout: float | None = None) -> WSMessage:  # noqa: ASYNC109 - aiohttp\'s
        """The next message. Raises: `TimeoutError` after `timeout` seconds (or the call's own)."""
        if self._receiver is not None:
            raise RuntimeError("Concurrent call to receive() is not allowed")
        while True:
            if self._closed:
                return self._say("CLOSED")
            if self._closing:
                await self.close()
                return self._say("CLOSED")
            message = await self._next(timeout if timeout is not None else self._manner.receive)
            if not self._manner.autoping or message.type not in (9, 10):
                return message
            if message.type == 9:
                await self.pong(message.data)

    async def _next(self, timeout: float | None) -> WSMessage:  # noqa: ASYNC109 - aiohttp\'s
        self._receiver = asyncio.get_running_loop().create_future()
        try:
            if timeout is None:
                frame = await self._stream.receive()
            else:
                async with asyncio.timeout(timeout):
                    frame = await self._stream.receive()
        except ClientConnectionError as error:
            self._end(_ABNORMAL, error)
            return self._say("CLOSED")
        except WebSocketError as error:
            await self._breach(error)
            return self._say("ERROR", error)
        finally:
            self._receiver.set_result(None)
            self._receiver = None
        if frame is None:
            if self._exception is not None:
                return self._say("ERROR", self._exception)
            if not self._closed:
                self._end(_ABNORMAL if self.close_code is None else self.close_code)
            return self._say("CLOSED")
        opcode, data, extra = frame
        if opcode == 8:
            self._closing = True
            self.close_code = data
            if self._manner.autoclose:
                await self.close()
        return WSMessage(self._kinds(opcode), data, extra)

    async def receive_str(self, *, timeout: float | None = None) -> str:  # noqa: ASYNC109 - aiohttp\'s
        """The next message, which must be a text. Raises: `WSMessageTypeError`, a `TypeError`."""
        message = await self.receive(timeout)
        if message.type != 1:
            raise WSMessageTypeError(
                f"Received message {message.type}:{message.data!r} is not WSMsgType.TEXT"
            )
        return str(message.data)

    async def receive_bytes(self, *, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - aiohttp\'s
        """The next message, which must be bytes. Raises: `WSMessageTypeError`, a `TypeError`."""
        message = await self.receive(timeout)
        if message.type != 2:
            raise WSMessageTypeError(
                f"Received message {message.type}:{message.data!r} is not WSMsgType.BINARY"
            )
        return bytes(message.data)

    async def receive_json(
        self,
        *,
        loads: Callable[[str], Any] = json.loads,
        timeout: float | None = None,  # noqa: ASYNC109 - aiohttp's
    ) -> Any:
        """The next message as JSON. Raises: `TypeError` if it is no text."""
        return loads(await self.receive_str(timeout=timeout))

    def __aiter__(self) -> AsyncIterator[WSMessage]:
        return self

    async def __anext__(self) -> WSMessage:
        message = await self.receive()
        if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
            raise StopAsyncIteration
        return message

    def _say(self, kind: str, data: Any = None) -> WSMessage:
        return WSMessage(self._kinds[kind], data, None)

    # === the end ===

    async def close(self, *, code: int = 1000, message: bytes | str = b"") -> bool:
        """Send a close and wait for the server's, `ClientWSTimeout.ws_close` seconds at most. False if it was
        closed already.
        """
        if self._closed:
            return False
        self._closed = self._closing = True
        self._stop_heart()
        reason = message.encode() if isinstance(message, str) else bytes(message)
        try:
            async with asyncio.timeout(self._manner.close):
                await self._stream.send(8, _control(code.to_bytes(2, "big") + reason, "close"))
                while self.close_code is None:
                    await self._await_close()
        except (ClientConnectionError, TimeoutError, WebSocketError) as error:
            self.close_code = _ABNORMAL
            self._exception = error
        except asyncio.CancelledError:
            self.close_code = _ABNORMAL
            raise
        finally:
            self._stream.cut()
        return True

    async def _await_close(self) -> None:
        """One more message on the way to the server's close; a task that waits in `receive` takes it."""
        if self._receiver is not None:
            await asyncio.shield(self._receiver)
            return
        frame = await self._stream.receive()
        if frame is None:
            raise ClientConnectionError("the connection ended without a close")
        if frame[0] == 8:
            self.close_code = frame[1]

    async def _breach(self, error: WebSocketError) -> None:
        self._closed = self._closing = True
        self._stop_heart()
        self.close_code = error.code
        self._exception = error
        try:
            await self._stream.send(8, int(error.code).to_bytes(2, "big"))
        except ClientConnectionError:
            pass
        finally:
            self._stream.cut()

    def _end(self, code: int, error: BaseException | None = None) -> None:
        self._closed = self._closing = True
        self._stop_heart()
        self.close_code = code
        self._exception = error or self._exception
        self._stream.cut()

    def _stop_heart(self) -> None:
        if self._heart is not None and self._heart is not asyncio.current_task():
            self._heart.cancel()

    async def _beat(self, seconds: float) -> None:
        """Ping every so often; a server that says nothing within half that time is gone."""
        while True:
            await asyncio.sleep(seconds)
            heard = self._stream.heard
            await self.ping()
            await asyncio.sleep(seconds / 2)
            if self._stream.heard == heard:
                self._end(_ABNORMAL, ServerTimeoutError(f"No PONG received after {seconds / 2} seconds"))
                return

    async def __aenter__(self) -> WebSocket:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def _kinds() -> Any:
    """aiohttp's message types where the scenario uses it: it may compare by `is`."""
    return getattr(sys.modules.get("aiohttp"), "WSMsgType", WSMsgType)


def _control(message: bytes | str, what: str) -> bytes:
    payload = message.encode() if isinstance(message, str) else bytes(message)
    if len(payload) > 125:
        raise ValueError(f"{what}: a message of {len(payload)} bytes is too long, 125 is the most")
    return payload


def _cannot_write() -> ClientConnectionError:
    kind = getattr(sys.modules.get("aiohttp"), "ClientConnectionResetError", ClientConnectionError)
    return kind("Cannot write to closing transport")


def _over_http(url: Any) -> Any:
    text = str(url)
    for scheme, http in (("ws://", "http://"), ("wss://", "https://")):
        if text.lower().startswith(scheme):
            return http + text[len(scheme) :]
    return url


def _refused(response: Response, message: str) -> WSServerHandshakeError:
    error = WSServerHandshakeError(
        response.request_info,
        response.history,
        status=response.status,
        message=message,
        headers=response.headers,
    )
    error.__dict__["aiotest_recorded"] = True
    return error
