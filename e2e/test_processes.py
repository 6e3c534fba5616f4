"""What `make cluster-down` ends, and what it leaves alone. Needs no cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest

from e2e.cluster import layout, processes
from e2e.cluster.processes import State, end

# Longer than any test; each is ended by its test.
SLEEP = ["sleep", "600"]
DEAF = ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 600; done"]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    """An empty state in a folder of the test's own."""
    monkeypatch.setattr(layout, "STATE", tmp_path)
    monkeypatch.setattr(layout, "STATE_FILE", tmp_path / "state.json")
    monkeypatch.setattr(layout, "LOGS", tmp_path / "logs")
    found = State()
    yield found
    end(found.processes)


def test_what_was_started_is_read_back_and_ended(state: State) -> None:
    children = [state.start(name, SLEEP) for name in ("one", "two")]
    known = State.read()
    assert known is not None
    assert known.processes == state.processes
    assert known.dead() == []
    end(known.processes)
    assert known.dead() == ["one", "two"]
    assert [child.wait() for child in children] == [-SIGTERM, -SIGTERM]


def test_a_pid_that_is_somebody_elses_by_now_is_left_alone(state: State) -> None:
    child = state.start("ours", SLEEP)
    somebody_elses = replace(state.processes[0], started=state.processes[0].started - 1)
    end([somebody_elses])
    assert child.poll() is None
    end(state.processes)
    assert child.wait() == -SIGTERM


def test_who_does_not_hear_is_killed(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "GRACE", 0.3)
    child = state.start("deaf", DEAF)
    while not (layout.LOGS / "deaf.log").read_text():
        assert child.poll() is None
    end(state.processes)
    assert child.wait() == -SIGKILL


def test_no_state_is_no_cluster(state: State) -> None:
    assert State.read() is None
