"""What rounds add up to, and which promises count as broken."""

from __future__ import annotations

import re

import pytest
from cases import Case, Contestant, Promise, Work
from measure import Window
from rivals import Rival
from summary import Spread, summarise
from targets import Counts

RIVALS = {
    name: Rival(name, "1.0", complaint=re.compile("failed"), command=lambda *_: [])
    for name in ("ours", "other")
}


def window(per_cpu_second: float) -> Window:
    """A window that showed this speed."""
    counts = Counts(requests=round(per_cpu_second * 4), connections=0)
    return Window(5.0, 3.0, 1.0, 2.0, others=0.0, stolen=0.0, counts=counts)


def broken(promise: Promise, ours: list[float | None], other: list[float | None]) -> list[str]:
    """The broken promises of a case with these speeds, round by round."""
    work = Work("get_json")
    contestants = tuple(Contestant(name, name, work) for name in RIVALS)
    rounds = {
        name: [None if speed is None else window(speed) for speed in speeds]
        for name, speeds in (("ours", ours), ("other", other))
    }
    return summarise(Case("a", "a case", contestants, (promise,)), RIVALS, rounds).broken_promises()


EIGHT = Promise("ours", "other", goal=8.0, floor=6.5)


@pytest.mark.parametrize(("speed", "expected"), [(660.0, 0), (640.0, 1)])
def test_a_promise_is_broken_below_its_floor(speed: float, expected: int) -> None:
    """The goal is only aimed at."""
    assert len(broken(EIGHT, [speed], [100.0])) == expected


def test_a_promise_that_was_not_measured_is_broken() -> None:
    """A rival that couldn't be installed, or one that failed in every round."""
    assert broken(EIGHT, [700.0, 700.0], [None, None])
    assert broken(EIGHT, [700.0], [])


def test_ratios_are_taken_within_rounds() -> None:
    """The second half of the run was on a machine of half the speed: no ratio changes by that."""
    assert not broken(EIGHT, [700.0, 700.0, 350.0, None], [100.0, 100.0, 50.0, 50.0])


def test_a_gap_leaves_the_other_rounds_in_pairs() -> None:
    """What is left of a round with a gap is compared with nothing."""
    assert broken(EIGHT, [None, 350.0], [50.0, 100.0])


def test_within_the_spread_is_no_proof_of_slower() -> None:
    """The upper quartile counts: one lucky round of many doesn't save it, a quarter of them does."""
    equal = Promise("ours", "other", goal=1.0, floor=1.0, within_spread=True)
    assert not broken(equal, [99.0, 98.0, 101.0, 102.0], [100.0] * 4)
    assert broken(equal, [99.0, 98.0, 97.0, 96.0, 101.0], [100.0] * 5)


def test_a_spread_of_one_value_is_that_value() -> None:
    """One round is enough to see a table."""
    assert Spread.of([3.0]) == Spread(3.0, 3.0, 3.0, 3.0, 3.0)
