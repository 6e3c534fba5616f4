"""Load tests in plain Python asyncio: what a scenario file imports.

Users are written here, in Python; everything that happens once per request happens in Rust
(`aiotest._native`).
"""

from aiotest import events
from aiotest._native import intended_start
from aiotest.client import ClientSession, ClientTimeout, TCPConnector
from aiotest.log import logger
from aiotest.shape import LoadUserShape
from aiotest.user import AsyncHttpUser, User

__all__ = [
    "AsyncHttpUser",
    "ClientSession",
    "ClientTimeout",
    "LoadUserShape",
    "TCPConnector",
    "User",
    "events",
    "intended_start",
    "logger",
]
