"""A reply as scenarios read it. At run time it is in the native module."""

from collections.abc import Awaitable, Callable, Coroutine
from http.cookies import SimpleCookie
from types import TracebackType
from typing import Any, Self, final

from multidict import CIMultiDictProxy
from yarl import URL

from aiotest._said import WebSocketStream
from aiotest.client import HttpVersion, RequestInfo

@final
class Response:
    """The reply to a call: the surface of aiohttp's `ClientResponse`, and a verdict of the scenario's."""

    @property
    def status(self) -> int: ...
    @property
    def version(self) -> HttpVersion:
        """As aiohttp's: `(1, 0)`, `(1, 1)` or `(2, 0)`."""

    @property
    def reason(self) -> str:
        """As the server said it; HTTP/2 says none, and the standard's own stands for it."""

    @property
    def method(self) -> str: ...
    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""

    def _websocket(
        self, max_message: int, deflate: tuple[bool, bool] | None
    ) -> Coroutine[Any, Any, WebSocketStream]:
        """The connection of a reply of 101, of messages of at most `max_message` bytes (0: any number); the
        call has been recorded as a success. `deflate`: compressed messages were agreed on, and whether client
        and server compress each by itself. Raises: `ClientConnectionError` for any other reply.
        """

    @property
    def host(self) -> str | None: ...
    @property
    def url(self) -> URL:
        """Of the last hop, where redirects were followed."""

    @property
    def real_url(self) -> URL: ...
    @property
    def headers(self) -> CIMultiDictProxy[str]: ...
    @property
    def cookies(self) -> SimpleCookie:
        """What this reply sets."""

    @property
    def content_type(self) -> str: ...
    @property
    def charset(self) -> str | None: ...
    @property
    def history(self) -> tuple[Response, ...]:
        """The replies that redirected here, oldest first."""

    @property
    def request_info(self) -> RequestInfo: ...
    @property
    def content(self) -> Content: ...
    @property
    def closed(self) -> bool: ...
    def read(self) -> Coroutine[Any, Any, bytes]:
        """The whole body, kept for later reads. Raises: `ClientPayloadError` if it was cut."""

    def text(self, encoding: str | None = None, errors: str = "strict") -> Coroutine[Any, Any, str]:
        """The body in `encoding`, or in the charset that the reply names, or in UTF-8."""

    def json(
        self,
        *,
        encoding: str | None = None,
        loads: Callable[[str], Any] | None = None,
        content_type: str | None = ...,
    ) -> Coroutine[Any, Any, Any]:
        """The body as JSON, `None` if it is empty; `content_type` is `application/json` unless given.

        Raises: `ContentTypeError` if the reply has another content type (`None` accepts any); `ValueError`
            for bad JSON.
        """

    def raise_for_status(self) -> None:
        """Raises: `ClientResponseError` if the status is 400 or more."""

    def success(self) -> None:
        """Count the call as a success, whatever follows; from here on every exception leaves the block."""

    def failure(self, exc: BaseException | str) -> None:
        """Count the call as a failure with that text, whatever follows. Warns if it has been recorded
        already.
        """

    def release(self) -> Awaitable[None]:
        """Let go of a reply of the plain form, at once: it is recorded, and the rest of its body is not
        read.
        """

    def close(self) -> None:
        """As `release`."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> bool: ...

@final
class Content:
    """A reply's body as a stream. Beyond `read_bufsize` bytes the server waits until they are taken."""

    def read(self, n: int = ...) -> Coroutine[Any, Any, bytes]:
        """At most `n` bytes as soon as there are some, nothing at the end; all that is left if `n` is
        negative.
        """

    def readany(self) -> Coroutine[Any, Any, bytes]: ...
    def readline(self) -> Coroutine[Any, Any, bytes]: ...
    def iter_chunked(self, n: int) -> Chunks:
        """Pieces of at most `n` bytes, at least 1."""

    def iter_any(self) -> Chunks:
        """Pieces as they come."""

    def __aiter__(self) -> Chunks:
        """Lines."""

    def at_eof(self) -> bool: ...

@final
class Chunks:
    """What `async for` over a body goes over."""

    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> bytes: ...
