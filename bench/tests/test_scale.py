"""Which figures of many runners count as broken promises."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import scale

GOOD = scale.Outcome(
    case=scale.PROMISED,
    cpu=0.5,
    cpu_per_report_ms=0.5,
    megabytes=100.0,
    answer_p50_ms=1.0,
    answer_p99_ms=5.0,
    answer_max_ms=50.0,
    joined_s=1.0,
    start_skew_ms=1.0,
    reported_start={"skew_ms": 3.0},
    status_ms=5.0,
    scrape_ms=50.0,
    learned_s=3.0,
    ended_s=2.0,
    report_kb=20.0,
    answer_kb=1.0,
    requests=7,
)


def faults(outcome: scale.Outcome, sent: int = 7, astray: int = 0, gaps: tuple[str, ...] = ()) -> list[str]:
    """What is wrong with an outcome."""
    told: dict[str, Any] = {"sent": sent, "astray": astray, "runners": 1_000, "errors": ["refused"]}
    return list(scale.faults_of(outcome, told, {"gaps": list(gaps)}, 1_000))


def test_a_figure_that_reaches_its_bound_is_a_broken_promise_of_the_promised_case_alone() -> None:
    assert faults(GOOD) == []
    for promise in scale.PROMISES:
        figures: dict[str, Any] = {promise.figure: promise.below}
        bad = replace(GOOD, **figures)
        assert [promise.text in fault for fault in faults(bad)] == [True]
        assert faults(replace(bad, case="10x20")) == []


def test_requests_runners_and_gaps_that_should_not_be_are_faults() -> None:
    assert len(faults(GOOD, sent=8)) == 1
    assert "refused" in faults(GOOD, astray=1)[0]
    assert len(faults(GOOD, gaps=("a gap",))) == 1


def test_without_a_case_all_are_measured() -> None:
    assert scale.PROMISED in scale.CASES
    assert scale.arguments([]).cases == list(scale.CASES)
    assert scale.arguments(["10x200"]).cases == ["10x200"]
