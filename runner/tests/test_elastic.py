"""Runners that come and go while the load is on: users stay even and whole, no more of them move than has to
be, and every request is counted.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet import Fleet
from one_server import OneServer, one_server
from processes import constant, until

pytestmark = pytest.mark.timeout(120)

USERS = 12


@pytest.fixture
def server() -> Iterator[OneServer]:
    with one_server() as started:
        yield started


def scale(fleet: Fleet, generation: int, runners: int) -> None:
    """What the operator tells the master of an edited LoadTest."""
    spec: dict[str, Any] = {"generation": generation, "load": constant(USERS, 60), "runners": runners}
    assert fleet.master.ask("PUT", "/v1/spec", spec)[0] == 200


def settled(fleet: Fleet, runners: int) -> bool:
    """Whether so many runners have all users, even within one, and each of them sends."""
    assert fleet.master.users() <= USERS
    users = fleet.master.users_by_runner()
    even = max(users.values(), default=0) - min(users.values(), default=0) <= 1
    return len(users) == runners and users.total() == USERS and even and all(map(fleet.is_loaded, users))


def test_from_two_runners_to_six_and_back_no_request_is_lost_and_only_as_many_users_move_as_have_to(
    server: OneServer, tmp_path: Path
) -> None:
    with Fleet(tmp_path, server, "pod-a", "pod-b", load=constant(USERS, 60)) as fleet:
        until("six users on each", lambda: settled(fleet, 2))
        assert server.counts["/begin"] == USERS
        scale(fleet, 1, 6)
        for name in ("pod-c", "pod-d", "pod-e", "pod-f"):
            fleet.join(name)
        until("two users on each", lambda: settled(fleet, 6))
        # Whoever joins gets its part and no more, however many have joined before it.
        up = sum(-(-USERS // runners) for runners in range(3, 7))
        moved_up = server.counts["/begin"] - USERS
        assert USERS - 4 <= moved_up <= up

        scale(fleet, 2, 2)
        gone = ["pod-c", "pod-d", "pod-e", "pod-f"]
        for name in gone:
            fleet.pods[name].signal(signal.SIGTERM)
        assert [fleet.pods[name].end() for name in gone] == [75] * 4
        until("six users on each again", lambda: settled(fleet, 2))
        # Who leaves gives up what it has then, and nobody else moves.
        down = sum(-(-USERS // runners) for runners in range(3, 7))
        assert USERS - 4 <= server.counts["/begin"] - USERS - moved_up <= down
        fleet.stop()
        result = fleet.checked_result()
        assert [pod.end() for name, pod in fleet.pods.items() if name not in gone] == [0, 0]
        assert result["gaps"] == []
        assert result["start"]["processes"] == 6
        assert result["verdict"]["result"] == "Cancelled", result["verdict"]
