"""The HTTP client of a scenario: `ClientSession` and what belongs to it.

The classes are Rust's (`aiotest._native`); here is what they ask of Python, at most once per reply and only
when somebody looks: yarl and multidict objects, cookies, and the handlers of `events.stats_request`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Coroutine, Iterable, Mapping
from contextvars import ContextVar
from http.cookies import CookieError, SimpleCookie
from importlib.metadata import PackageNotFoundError, version
from types import FrameType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from aiotest import events, runners, tls
from aiotest._native import Call, ClientSession, ClientTimeout, CookieJar, Response, TCPConnector
from aiotest.forms import FormData

__all__ = [
    "Call",
    "ClientSession",
    "ClientTimeout",
    "CookieJar",
    "FormData",
    "HttpVersion",
    "RequestInfo",
    "Response",
    "TCPConnector",
    "current_scope",
    "is_unmeasured",
]

# Here, as a session can be made without a scenario file: a context's certificate would go unseen.
tls.install()

current_scope: ContextVar[Any] = ContextVar("current_scope", default=None)
"""The `UserScope` of the user whose task this is; sessions made there belong to it. `None` outside of
users.
"""


def is_unmeasured() -> bool:
    """Whether what is done here is none of the load, and so in no figure: what is done once in a run."""
    return getattr(current_scope.get(), "unmeasured", False)


_lateness: ContextVar[float | None] = ContextVar("lateness", default=None)
"""How many seconds late the present iteration began; `intended_start` sets it."""


class HttpVersion(NamedTuple):
    """A version of HTTP, equal to aiohttp's of the same numbers."""

    major: int
    minor: int


class RequestInfo(NamedTuple):
    """What was asked for, as aiohttp's class of that name."""

    url: URL
    method: str
    headers: CIMultiDictProxy[str]
    real_url: URL


def _version() -> str:
    try:
        return version("aiotest-runner")
    except PackageNotFoundError:
        return "0"


_DEFAULT_HEADERS = (
    ("Accept", "*/*"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("User-Agent", f"aiotest/{_version()}"),
)
_dumps = json.dumps  # the one whose bytes are known; a scenario may put another in its place
_notifications: set[asyncio.Task[None]] = set()
_connectors: WeakKeyDictionary[Any, TCPConnector] = WeakKeyDictionary()
"""Ours, by the aiohttp connector that it stands for."""


def _session_headers(
    given: Mapping[str, str] | Iterable[tuple[str, str]] | None,
    auth: tuple[str, str] | None,
    skipped: list[str],
    closes: bool,
) -> CIMultiDict[str]:
    """A session's headers: the defaults, but for the `skipped` ones, under what the scenario gave. `closes`:
    no connection is used twice.
    """
    try:
        headers = CIMultiDict(given or ())
    except (TypeError, ValueError) as error:
        kind = type(given).__name__
        raise TypeError(f"headers must be a mapping or pairs of name and value, not {kind}") from error
    if closes:
        # The server closes first, so that it has the closed connections to remember, and not this machine's
        # local ports.
        headers.setdefault("Connection", "close")
    without = {name.lower() for name in skipped}
    for name, value in _DEFAULT_HEADERS:
        if name.lower() not in without:
            headers.setdefault(name, value)
    if auth is not None:
        headers["Authorization"] = _authorization(auth)
    return headers


def _authorization(auth: Any, argument: str = "auth") -> str:
    """The header's value for a pair of user and password, or for aiohttp's `BasicAuth`, which names its
    encoding.
    """
    if not isinstance(auth, tuple | list) or len(auth) < 2:
        raise TypeError(f"{argument} must be a pair of user and password, not {type(auth).__name__}")
    if callable(encode := getattr(auth, "encode", None)):
        return str(encode())
    user, password = auth[:2]
    if ":" in user:
        raise ValueError(f"{argument}: a user's name cannot have a `:` in it")
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _connector(given: Any) -> TCPConnector:
    """Ours for one of aiohttp's: the same one for each session that is given it."""
    kind = getattr(sys.modules.get("aiohttp"), "TCPConnector", None)
    if kind is None or not isinstance(given, kind):
        raise TypeError(f"connector must be a TCPConnector, not {type(given).__name__}")
    if (known := _connectors.get(given)) is None:
        source = getattr(given, "_local_addr_infos", None)
        known = _connectors[given] = TCPConnector(
            limit=given.limit,
            limit_per_host=given.limit_per_host,
            force_close=given.force_close,
            keepalive_timeout=None if given.force_close else getattr(given, "_keepalive_timeout", None),
            ssl=getattr(given, "_ssl", True),
            local_addr=source[0][-1][:2] if source else None,
        )
    return known


def _cookies_of_jar(jar: Any) -> list[tuple[str, str]] | None:
    """URL and `Set-Cookie` value of what aiohttp's jar, or another session's, holds; `None` of a dummy, which
    keeps nothing.
    """
    kinds = sys.modules.get("aiohttp")
    if kinds is not None and isinstance(jar, kinds.DummyCookieJar):
        return None
    if kinds is None or not isinstance(jar, kinds.CookieJar):
        raise TypeError(
            "cookie_jar must be aiohttp's CookieJar or DummyCookieJar, whose cookies are taken over, not "
            f"{type(jar).__name__}; cookies=… sets some"
        )
    held = []
    # Those that a host set for itself alone have its name in them all the same.
    of_one_host = getattr(jar, "_host_only_cookies", ())
    for morsel in jar:
        host, path = morsel["domain"].lstrip("."), morsel["path"] or "/"
        cookie = morsel.copy()
        if (morsel["domain"], morsel.key) in of_one_host:
            cookie["domain"] = ""
        scheme = "https" if morsel["secure"] else "http"
        held.append((f"{scheme}://{host}{path}" if host else "", cookie.OutputString()))
    return held


def _url(text: str) -> URL:
    return URL(text, encoded=True)


def _headers(pairs: list[tuple[str, str]]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(pairs))


def _request_info(method: str, url: str, block: bytes) -> RequestInfo:
    lines = (line.partition(": ") for line in block.decode("utf-8", "surrogateescape").splitlines())
    headers = _headers([(name, value) for name, _, value in lines])
    return RequestInfo(_url(url), method, headers, _url(url))


def _cookies(headers: CIMultiDictProxy[str]) -> SimpleCookie:
    """The cookies that a reply sets. One that cannot be read is left out, as browsers do."""
    cookies: SimpleCookie = SimpleCookie()
    for value in headers.getall("Set-Cookie", ()):
        try:
            cookies.load(value)
        except CookieError:
            continue
    return cookies


async def _notify(name: str, method: str, milliseconds: float, length: int, error: str | None) -> None:
    """Await the handlers of `stats_request`, in the task of the user whose call it was."""
    await events.stats_request.notify(
        runner=runners.global_runner,
        request_name=name,
        request_method=method,
        response_time=milliseconds,
        response_length=length,
        error=error,
    )


def _notify_detached(name: str, method: str, milliseconds: float, length: int, error: str | None) -> None:
    """Call the handlers in a task of their own: the call ended where nothing can be awaited."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return  # collected after the loop: nobody is left to tell
    notification: Coroutine[Any, Any, None] = _notify(name, method, milliseconds, length, error)
    task = loop.create_task(notification)
    _notifications.add(task)
    task.add_done_callback(_notifications.discard)


def _cancelled_by_timeout() -> bool:
    """Whether the task that is being cancelled right now ran out of time: asked from inside of `cancel`.

    asyncio cancels for a timeout as for anything else; only the canceller's own frame tells. That is
    `Timeout._on_timeout`, or before Python 3.12 `wait_for`, whose inner future is done by its timer and
    cancelled by anybody else.
    """
    frame: FrameType | None = sys._getframe(1)
    if frame is not None and frame.f_code.co_name == "_cancel_and_wait":
        # A coroutine's frame has the one that awaits it behind it.
        frame = frame.f_back
        if frame is None or frame.f_code.co_name != "wait_for":
            return False
        waiter = frame.f_locals.get("waiter")
        return waiter is not None and waiter.done() and not waiter.cancelled()
    return frame is not None and frame.f_code.co_name in ("_on_timeout", "_do_timeout")
