"""Many users in one process: what each costs, and that none is lost. What is timed is in `bench/users.py`."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiotest import memory
from example_target import HOUSE


def measured(folder: Path, case: str, *flags: str) -> dict[str, Any]:
    """A case of the benchmark, with few users."""
    told = folder / "told.json"
    command = [sys.executable, str(HOUSE / "bench/users.py"), case, "--json", str(told), *flags]
    subprocess.run(command, check=False, timeout=110)
    outcome: dict[str, Any] = json.loads(told.read_text())[0]
    return outcome


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("case", "connections", "kilobytes"), [("a", 2_000, 16), ("c", 100, 8)])
def test_a_user_costs_no_more_than_that(
    tmp_path: Path, case: str, connections: int, kilobytes: float
) -> None:
    flags = ["--users", "2000", "--rate", "2000", "--think", "2", "--connections", "100"]
    outcome = measured(tmp_path, case, *flags)
    assert outcome["kilobytes"] < kilobytes
    assert outcome["connections"] == connections or (case == "c" and outcome["connections"] < connections)
    assert outcome["requests"] >= 4_000
    timed = ("started per second", "jobs later")
    assert [fault for fault in outcome["faults"] if not any(text in fault for text in timed)] == []


def test_what_survives_a_collection_of_a_growing_process_is_looked_at_once() -> None:
    before = gc.get_threshold()
    try:
        memory.settle()
        memory.grown()
        cycle: list[Any] = []
        cycle.append(cycle)
        gc.collect(0)
        frozen = gc.get_freeze_count()
        assert not any(each is cycle for generation in range(3) for each in gc.get_objects(generation))
        gc.collect(0)
        assert gc.get_freeze_count() <= frozen, "only where there was growth"
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
        gc.callbacks.remove(memory._collected)
