"""What the rounds of a case add up to: medians with their spread, ratios, broken promises. Pure.

A ratio is taken within each round, from two windows a few seconds apart, and the median of those ratios is
judged: a machine that gets slower in the course of a run spreads the windows, but not the ratios.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cases import Case, Promise
from measure import Window
from rivals import Rival

Rounds = Mapping[str, Sequence[Window | None]]
"""The windows of each contestant by its label, one for each round; None where it could not be measured."""


# How much of the generator's core may go elsewhere, and of its own the target may use, without a word.
QUIET = 0.05
FULL = 0.95


@dataclass(frozen=True)
class Spread:
    """A median and its surroundings."""

    lowest: float
    quarter: float
    median: float
    three_quarters: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        several = [*values] * 2 if len(values) == 1 else values
        quarter, median, three_quarters = statistics.quantiles(several, n=4, method="inclusive")
        return cls(min(values), quarter, median, three_quarters, max(values))


@dataclass(frozen=True)
class Row:
    """One contestant. `speed` is requests per CPU-second, loads are shares of a core, `system` of the CPU."""

    label: str
    version: str
    speed: Spread
    requests_per_second: float
    system: float
    generator_load: float
    target_load: float
    others_load: float
    stolen: float
    resumed: float


@dataclass(frozen=True)
class Verdict:
    """A promise and what came of it; no ratio where one of the two was not measured."""

    promise: Promise
    ratio: Spread | None

    @property
    def counts(self) -> float:
        """The ratio that is compared with goal and floor."""
        if self.ratio is None:
            return 0.0
        return self.ratio.three_quarters if self.promise.within_spread else self.ratio.median

    def line(self) -> str:
        """For people."""
        promise = self.promise
        about = f"  {promise.better} is"
        if self.ratio is None:
            return f"{about} not comparable with {promise.other}: FAILED"
        end = "met" if promise.goal <= self.counts else "below the goal"
        if self.counts < promise.floor:
            end = "FAILED"
        spread = (
            f"{self.ratio.median:.2f} x {promise.other} ({self.ratio.lowest:.2f} to {self.ratio.highest:.2f})"
        )
        return f"{about} {spread}, goal {promise.goal:g}, floor {promise.floor:g}: {end}"


@dataclass(frozen=True)
class Summary:
    """All that was measured of one case."""

    case: Case
    rows: list[Row]
    verdicts: list[Verdict]

    def table(self) -> str:
        """The rows for people."""
        lines = [
            f"\n{self.case.name}: {self.case.title}",
            f"{'requests per CPU-second':24}{'median':>9}{'lowest':>9}{'highest':>9}"
            f"{'req/s':>9}{'system':>8}{'load':>6}{'target':>8}{'others':>8}{'stolen':>8}  version",
        ]
        lines += [
            f"{row.label:24}{row.speed.median:9,.0f}{row.speed.lowest:9,.0f}{row.speed.highest:9,.0f}"
            f"{row.requests_per_second:9,.0f}{row.system:8.0%}{row.generator_load:6.0%}{row.target_load:8.0%}"
            f"{row.others_load:8.0%}{row.stolen:8.0%}  {row.version}"
            + (f"; {row.resumed:.0%} of TLS handshakes resumed" if row.resumed >= 0 else "")
            for row in self.rows
        ]
        return "\n".join([*lines, *self.doubts(), *(verdict.line() for verdict in self.verdicts)])

    def doubts(self) -> list[str]:
        """What makes these figures worth less."""
        doubts = []
        noise = max((row.others_load + row.stolen for row in self.rows), default=0.0)
        if noise > QUIET:
            doubts.append(f"  NOT QUIET: up to {noise:.0%} of the generator's core went elsewhere")
        doubts += [
            f"  TARGET FULL: beside {row.label} it used {row.target_load:.0%} of its core"
            for row in self.rows
            if row.target_load > FULL
        ]
        return doubts

    def broken_promises(self) -> list[str]:
        """Each promise whose floor was not reached; one that was not measured is not kept."""
        return [
            f"{self.case.name}: {verdict.promise.better} is to be {verdict.promise.floor:g} times "
            f"{verdict.promise.other}, measured {verdict.counts:.2f}"
            for verdict in self.verdicts
            if verdict.counts < verdict.promise.floor
        ]


def summarise(case: Case, rivals: Mapping[str, Rival], rounds: Rounds) -> Summary:
    """Medians, spreads and verdicts of one case; a contestant with no window has no row."""
    rows = []
    for contestant in case.contestants:
        windows = [window for window in rounds.get(contestant.label, ()) if window is not None]
        if windows:
            rows.append(row(contestant.label, rivals[contestant.rival].version, windows))
    return Summary(case, rows, [Verdict(promise, ratio(promise, rounds)) for promise in case.promises])


def row(label: str, version: str, windows: Sequence[Window]) -> Row:
    """One contestant's medians."""
    seconds = sum(window.seconds for window in windows)
    shakes = sum(window.counts.full + window.counts.resumed for window in windows)
    return Row(
        label=label,
        version=version,
        speed=Spread.of([window.per_cpu_second for window in windows]),
        requests_per_second=statistics.median(w.counts.requests / w.seconds for w in windows),
        system=sum(w.system for w in windows) / sum(w.user + w.system for w in windows),
        generator_load=statistics.median((w.user + w.system) / w.seconds for w in windows),
        target_load=statistics.median(w.target_cpu / w.seconds for w in windows),
        others_load=sum(w.others for w in windows) / seconds,
        stolen=sum(w.stolen for w in windows) / seconds,
        resumed=sum(w.counts.resumed for w in windows) / shakes if shakes else -1.0,
    )


def ratio(promise: Promise, rounds: Rounds) -> Spread | None:
    """How many times faster, by round; of the rounds in which both were measured."""
    pairs = zip(rounds.get(promise.better, ()), rounds.get(promise.other, ()), strict=False)
    ratios = [one.per_cpu_second / other.per_cpu_second for one, other in pairs if one and other]
    return Spread.of(ratios) if ratios else None
