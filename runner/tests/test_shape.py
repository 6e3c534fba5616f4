"""A shape counts its time; its answers are checked."""

from __future__ import annotations

from time import perf_counter

import pytest
from aiotest import LoadUserShape
from aiotest.shape import ShapeError, checked


class Steps(LoadUserShape):
    def tick(self) -> tuple[int, float] | None:
        return None


def test_the_run_time_counts_from_the_start_and_from_a_reset() -> None:
    shape = Steps()
    shape.start_time = perf_counter() - 100
    assert 100 <= shape.get_run_time() < 101
    shape.reset_time()
    assert 0 <= shape.get_run_time() < 1


def test_a_shape_without_a_tick_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="tick"):
        LoadUserShape()  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("answer", "meaning"), [(None, None), ((10, 2), (10, 2.0)), ([0, 0.5], (0, 0.5)), ((3.0, 1), (3, 1.0))]
)
def test_an_answer_of_users_and_rate_is_taken(answer: object, meaning: object) -> None:
    assert checked(answer) == meaning


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (5, r"\(user_count, rate\) or None, not 5"),
        ((1, 2, 3), "user_count, rate"),
        ((-1, 2), "whole number of users, 0 or more, not -1"),
        ((1.5, 2), "not 1.5"),
        ((True, 2), "not True"),
        ((1, 0), "rate above 0"),
        ((1, float("inf")), "rate above 0"),
        (("1", 2), "not '1'"),
    ],
)
def test_any_other_answer_is_refused_by_its_fault(answer: object, says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        checked(answer)
