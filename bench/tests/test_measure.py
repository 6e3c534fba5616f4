"""Which windows show another work than the one that was meant."""

from __future__ import annotations

import pytest
from cases import GET_JSON, NEW_CONNECTION, POST_ECHO, Work
from measure import Sample, Window, between, wrong
from targets import Counts


def faults(work: Work, counts: Counts) -> list[str]:
    """What is wrong with a window in which the target counted this."""
    window = Window(5.0, 3.0, 1.0, 2.0, others=0.0, stolen=0.0, counts=counts)
    return wrong(window, work)


@pytest.mark.parametrize(
    ("work", "counts"),
    [
        (GET_JSON, Counts(requests=10_000, returning=10_000)),
        (GET_JSON, Counts(requests=10_000, returning=9_950, connections=50)),
        (POST_ECHO, Counts(requests=10_000)),
        (NEW_CONNECTION, Counts(requests=10_000, returning=10_000, connections=10_010, full=10_010)),
    ],
)
def test_the_work_that_was_meant_is_right(work: Work, counts: Counts) -> None:
    """A hundredth may differ, at the window's edges."""
    assert faults(work, counts) == []


@pytest.mark.parametrize(
    ("work", "counts", "said"),
    [
        (GET_JSON, Counts(), "nothing"),
        (GET_JSON, Counts(requests=10_000, returning=10_000, connections=200), "were to be kept"),
        (GET_JSON, Counts(requests=10_000, returning=9_000), "brought the cookie back"),
        (NEW_CONNECTION, Counts(requests=10_000, returning=10_000, connections=9_000), "9,000 connections"),
    ],
)
def test_another_work_is_named(work: Work, counts: Counts, said: str) -> None:
    """A rival that does less than it should is not measured."""
    (fault,) = faults(work, counts)
    assert said in fault


def test_a_window_is_the_difference_of_its_samples() -> None:
    """What others used of the core is what the generator did not."""
    first = Sample(10.0, Counts(requests=5), generator=(1.0, 0.5), target=(2.0, 2.0), core=(3.0, 0.0))
    last = Sample(16.0, Counts(requests=805), generator=(4.0, 1.5), target=(3.0, 4.0), core=(8.0, 0.25))
    window = between(first, last)
    assert (window.seconds, window.user, window.system, window.target_cpu) == (6.0, 3.0, 1.0, 3.0)
    assert (window.others, window.stolen, window.per_cpu_second) == (1.0, 0.25, 200.0)
