"""What the native module's calls and sessions are given. Types only: there is no such module at run time."""

from collections.abc import AsyncIterable, Iterable, Mapping
from ssl import SSLContext
from typing import Any, Literal, Protocol, TypedDict, TypeVar

from yarl import URL

_T = TypeVar("_T")
Pairs = Mapping[str, _T] | Iterable[tuple[str, _T]]

class Limits(Protocol):
    """aiohttp's `ClientTimeout`, or anything like it."""

    @property
    def total(self) -> float | None: ...
    @property
    def connect(self) -> float | None: ...
    @property
    def sock_read(self) -> float | None: ...
    @property
    def sock_connect(self) -> float | None: ...

Timeout = Limits | float

Http2 = bool | Literal["prior-knowledge"]

class Fingerprint(Protocol):
    """aiohttp's `Fingerprint`."""

    @property
    def fingerprint(self) -> bytes: ...

TLS = SSLContext | Fingerprint | bool | None

class Connector(Protocol):
    """aiohttp's `TCPConnector`."""

    @property
    def limit(self) -> int: ...
    @property
    def limit_per_host(self) -> int: ...
    @property
    def force_close(self) -> bool: ...

class Form(Protocol):
    """Our `FormData`, and aiohttp's."""

    @property
    def is_multipart(self) -> bool: ...

class File(Protocol):
    """What can be read; a file that was opened in text mode is sent in UTF-8."""

    def read(self) -> bytes | str: ...

class Options(TypedDict, total=False):
    """The keywords of a call; see `ClientSession.request`."""

    name: str | None
    params: Pairs[Any] | str | None
    data: bytes | bytearray | memoryview | str | Pairs[Any] | Form | File | AsyncIterable[bytes] | None
    json: Any
    headers: Pairs[str] | None
    skip_auto_headers: Iterable[str] | None
    cookies: Pairs[Any] | None
    auth: tuple[str, str] | None
    compress: Literal["gzip", "deflate"] | bool | None
    chunked: bool | None
    timeout: Timeout | None
    allow_redirects: bool | None
    max_redirects: int | None
    raise_for_status: bool | None
    expect100: bool | None
    read_bufsize: int | None
    ssl: TLS
    verify_ssl: bool | None
    proxy: str | URL | None
    proxy_auth: tuple[str, str] | None
    proxy_headers: Pairs[str] | None
