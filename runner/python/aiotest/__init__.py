"""Load tests in plain Python asyncio: what a scenario file imports.

Users are written here, in Python; everything that happens once per request happens in Rust
(`aiotest._native`).
"""

from typing import TYPE_CHECKING, NoReturn

from aiotest import events
from aiotest._native import intended_start
from aiotest.client import ClientSession, ClientTimeout, TCPConnector
from aiotest.data_sets import DataExhausted, DataSet, data
from aiotest.log import logger
from aiotest.measuring import measure, record
from aiotest.rendezvous import rendezvous
from aiotest.shape import LoadUserShape
from aiotest.user import AsyncHttpUser, User

__all__ = [
    "AsyncHttpUser",
    "ClientSession",
    "ClientTimeout",
    "DataExhausted",
    "DataSet",
    "LoadUserShape",
    "TCPConnector",
    "User",
    "data",
    "events",
    "intended_start",
    "logger",
    "measure",
    "record",
    "rendezvous",
]

if not TYPE_CHECKING:  # to a type checker these names do not exist
    _OF_1_X = frozenset(
        (
            "DistributedLock",
            "ExecutionMode",
            "HTTPClient",
            "HttpUser",
            "RedisConnection",
            "WaitTimeResolver",
            "WaitTimeType",
            "request_metrics",
            "startup_completed",
            "test_quit",
            "test_start",
            "test_stop",
            "weight",
        )
    )

    def __getattr__(name: str) -> NoReturn:
        if name in _OF_1_X:
            # Of any other kind of exception `from aiotest import …` would drop the text.
            raise ImportError(
                f"`{name}` is of Aiotest 1.x, which does not run here: write the file with the names of "
                "Aiotest 0.5 (User, AsyncHttpUser, LoadUserShape, events, ClientSession, logger)",
                name=__name__,
            )
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
