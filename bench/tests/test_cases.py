"""The table of cases names what is there."""

from __future__ import annotations

import pytest
from cases import AIOTEST_1, CASES, K6, LOCUST, OURS, WRK, Case
from install import HOUSE
from rivals import RIVALS

SCENARIOS = {K6: "k6.js", LOCUST: "locustfile.py", AIOTEST_1: "aiotest1file.py", OURS: "aiotestfile.py"}


def test_every_rival_but_wrk_has_a_kind_of_scenario() -> None:
    """What the next test looks for."""
    assert {*SCENARIOS, WRK} == set(RIVALS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_contestant_has_its_scenario(case: Case) -> None:
    """One that is missing would be found after minutes."""
    for one in case.contestants:
        assert one.rival == WRK or (HOUSE / "bench" / one.work.folder / SCENARIOS[one.rival]).exists()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_promises_are_of_contestants(case: Case) -> None:
    """A misspelt one could never be kept; and no floor is above its goal."""
    labels = [one.label for one in case.contestants]
    assert len(set(labels)) == len(labels)
    for promise in case.promises:
        assert {promise.better, promise.other} <= set(labels)
        assert promise.floor <= promise.goal
