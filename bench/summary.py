"""What the rounds add up to: medians, ratios, broken promises, the machine. Pure but for `machine`."""

import os
import platform
import statistics
from dataclasses import dataclass
from pathlib import Path

from measure import Window
from rivals import Case, Rival

OURS = "aiotest"
# What we promise: ours is at least so many times this rival, in this case.
PROMISES = {("get_json", "Locust FastHttpUser"): 6.0}


@dataclass(frozen=True)
class Row:
    """One rival in one case. Numbers are requests per CPU-second; loads are shares of a core."""

    name: str
    version: str
    parses: bool
    median: float
    lowest: float
    highest: float
    generator_load: float
    target_load: float
    ours_is_times: float | None
    windows: list[Window]


@dataclass(frozen=True)
class Summary:
    """All that was measured of one case."""

    case: Case
    rows: list[Row]

    def table(self) -> str:
        """The rows for people."""
        lines = [
            f"\n{self.case.name}, {self.case.users} users: requests per CPU-second of the generator\n"
            f"{'':22} {'median':>8} {'lowest':>8} {'highest':>8} {'aiotest is':>11}  replies are"
        ]
        for row in self.rows:
            ratio = "-" if row.ours_is_times is None else f"{row.ours_is_times:.2f} x"
            lines.append(
                f"{row.name:22} {row.median:8,.0f} {row.lowest:8,.0f} {row.highest:8,.0f} {ratio:>11}"
                f"  {'parsed, asserted' if row.parses else 'read'}"
            )
        return "\n".join(lines)

    def broken_promises(self) -> list[str]:
        """Each promised ratio of this case that was not met; one that was not measured is not met."""
        ratios = {row.name: row.ours_is_times or 0.0 for row in self.rows}
        return [
            f"{case}: promised {promise:g} times {rival}, measured {ratios.get(rival, 0.0):.2f}"
            for (case, rival), promise in PROMISES.items()
            if case == self.case.name and ratios.get(rival, 0.0) < promise
        ]


def summarise(case: Case, measured: list[tuple[Rival, list[Window]]]) -> Summary:
    """Medians and spreads of one case; a rival with no window has no row."""
    measured = [(rival, windows) for rival, windows in measured if windows]
    medians = {
        rival.name: statistics.median(w.per_cpu_second for w in windows) for rival, windows in measured
    }
    ours = medians.get(OURS)
    return Summary(
        case,
        [
            Row(
                name=rival.name,
                version=rival.version,
                parses=rival.parses,
                median=medians[rival.name],
                lowest=min(window.per_cpu_second for window in windows),
                highest=max(window.per_cpu_second for window in windows),
                generator_load=statistics.median(w.generator_cpu / w.seconds for w in windows),
                target_load=statistics.median(w.target_cpu / w.seconds for w in windows),
                ours_is_times=None if ours is None else ours / medians[rival.name],
                windows=windows,
            )
            for rival, windows in measured
        ],
    )


def machine() -> dict[str, object]:
    """What the numbers depend on."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": os.getloadavg(),
    }
