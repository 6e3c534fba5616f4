"""What is measured: the works, who does each, and what we promise. Only data; `run.py` measures it.

A *contestant* is a load generator with a work; the contestants of a case take turns, so that a machine that
gets slower gets slower for all. To add a case, add its folder with a scenario for each generator, and an
entry here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

WRK, K6, LOCUST, AIOTEST_1 = "wrk", "k6", "Locust FastHttpUser", "Aiotest 1.2"
OURS = "aiotest"


@dataclass(frozen=True)
class Work:
    """What the users of a contestant do. `folder` holds the scenario files, `names` is how many rows the
    statistics get.
    """

    folder: str
    path: str = "/visit"
    users: int = 50
    tls: Literal["none", "resumable", "full"] = "none"
    connections: Literal["kept", "new"] = "kept"
    connections_each: int = 1
    names: int = 1


@dataclass(frozen=True)
class Contestant:
    """Who does what; `label` is its row's name, `rival` an entry of `rivals.RIVALS`."""

    label: str
    rival: str
    work: Work


@dataclass(frozen=True)
class Promise:
    """`better` makes at least so many times the requests per CPU-second that `other` makes.

    `goal` is what is aimed at, below `floor` it isn't accepted. With `within_spread` the upper quartile of
    the rounds' ratios counts rather than their median: it may not be proven worse.
    """

    better: str
    other: str
    goal: float
    floor: float
    within_spread: bool = False


@dataclass(frozen=True)
class Case:
    """Contestants that are compared with each other, and what we promise of them."""

    name: str
    title: str
    contestants: tuple[Contestant, ...]
    promises: tuple[Promise, ...] = ()


def all_do(work: Work, *rivals: str) -> tuple[Contestant, ...]:
    """The same work for each of the rivals."""
    return tuple(Contestant(rival, rival, work) for rival in rivals)


GET_JSON = Work("get_json")
POST_JSON = Work("post_json")
# Every reply carries the posted document back.
POST_ECHO = Work("post_echo", path="/echo")
NEW_CONNECTION = Work("new_connection", connections="new", tls="resumable")
# As many calls under way as in get_json: ten users with five each.
GATHER = Work("gather", users=10, connections_each=5)

# Whose CPU is looked into.
PROFILED = tuple(
    Contestant(work.folder, OURS, work) for work in (GET_JSON, POST_JSON, NEW_CONNECTION, GATHER)
)

ONE_BY_ONE, GATHERED = "aiotest, one by one", "aiotest, gather of five"


def grown(**changes: int) -> Contestant:
    """Ours, with more users or names than usual."""
    label = ", ".join(f"{value:,} {name}" for name, value in changes.items())
    return Contestant(label, OURS, replace(Work("growth"), **changes))  # type: ignore[arg-type]


CASES = [
    Case(
        "get_json",
        "GET of a small JSON on a kept connection, parsed and asserted, cookies on",
        all_do(GET_JSON, WRK, K6, LOCUST, AIOTEST_1, OURS),
        (
            Promise(OURS, WRK, 0.5, 0.42),
            Promise(OURS, K6, 8.0, 6.5),
            Promise(OURS, LOCUST, 16.0, 12.0),
            Promise(OURS, AIOTEST_1, 18.0, 13.0),
        ),
    ),
    Case(
        "post_json",
        "POST of 1 KB of JSON, serialised each time; its reply parsed and asserted twice",
        all_do(POST_JSON, K6, LOCUST, OURS),
        (Promise(OURS, K6, 8.0, 6.5), Promise(OURS, LOCUST, 16.0, 12.0)),
    ),
    Case(
        "post_echo",
        "the same, and the reply is the 1 KB that was posted (printed only)",
        all_do(POST_ECHO, K6, LOCUST, OURS),
    ),
    Case(
        "tls_kept",
        "get_json over TLS: each user's session is kept with its connection",
        all_do(replace(GET_JSON, tls="resumable"), K6, OURS),
        (Promise(OURS, K6, 4.0, 4.0),),
    ),
    Case(
        "tls_new",
        "a new connection over TLS for each call; the server offers to resume sessions",
        all_do(NEW_CONNECTION, K6, OURS),
        (Promise(OURS, K6, 4.0, 4.0),),
    ),
    Case(
        "tls_full",
        "the same, and the server resumes nothing: a full handshake for each call (printed only)",
        all_do(replace(NEW_CONNECTION, tls="full"), K6, OURS),
    ),
    Case(
        "gather",
        "five calls at a time by an overridden start, beside one at a time",
        (Contestant(ONE_BY_ONE, OURS, GET_JSON), Contestant(GATHERED, OURS, GATHER)),
        (Promise(GATHERED, ONE_BY_ONE, 1.0, 1.0, within_spread=True),),
    ),
    Case(
        "growth",
        "ours with ever more users, and with ever more names",
        (
            *(grown(users=users) for users in (10, 100, 1_000, 10_000)),
            *(grown(names=names) for names in (1, 20, 500)),
        ),
    ),
]
