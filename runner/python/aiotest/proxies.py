"""What the environment says of proxies, and the netrc file of users: for sessions with `trust_env`.

Read when such a session is made, never per call. Start at [`environment`][].
"""

from __future__ import annotations

import netrc
import os
from functools import cache
from pathlib import Path
from urllib.request import getproxies

from yarl import URL

from aiotest.client import _authorization
from aiotest.log import logger

__all__ = ["environment"]

Logins = tuple[list[tuple[str, str]], str | None]
"""Values of an `Authorization` header by host, and the one for every other host."""


def environment() -> tuple[list[tuple[str, str, str | None]], str, Logins | None]:
    """Scheme, URL and `Proxy-Authorization` of each proxy; the hosts without one; the netrc file's users."""
    found = getproxies()
    logins = _logins()
    proxies = []
    for scheme in ("http", "https"):
        if (url := found.get(scheme)) is None:
            continue
        proxy = URL(url)
        if proxy.scheme != "http":
            _warn(f"{scheme}_proxy: `{proxy.scheme}` proxies are not built, so it is not used")
            continue
        known = None if proxy.raw_user is not None or logins is None else _login(logins, proxy.host)
        proxies.append((scheme, url, known))
    return proxies, found.get("no", ""), logins


@cache
def _warn(text: str) -> None:
    """Once, however many users have a session."""
    logger.warning(text)


def _login(logins: Logins, host: str | None) -> str | None:
    return dict(logins[0]).get(host or "", logins[1])


def _logins() -> Logins | None:
    given = os.environ.get("NETRC")
    try:
        path = Path(given) if given is not None else Path.home() / ".netrc"
        if given is None and not path.is_file():
            return None
        entries = netrc.netrc(str(path)).hosts
    except (OSError, RuntimeError, netrc.NetrcParseError) as error:
        _warn(f"the netrc file cannot be used: {error}")
        return None
    # A user's name may be in either place.
    values = {
        host: _authorization((login or account or "", password or ""))
        for host, (login, account, password) in entries.items()
    }
    default = values.pop("default", None)
    return list(values.items()), default
