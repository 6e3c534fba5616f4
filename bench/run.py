"""Side by side, in one run: requests per CPU-second of each load generator. `make bench` calls this.

Rounds alternate between the generators, so that a machine that gets slower gets slower for all. Prints a
table of medians, writes `bench/results/DATE.json` with every round and the machine's facts, and fails if a
rival could not be measured or a ratio that we promise is not met.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import asdict

from measure import Failed, Window, measure, target
from rivals import CASES, HOUSE, RIVALS, Case, NotInstallable, Rival
from summary import machine, summarise


def main() -> int:
    """Measure all rivals in all cases and report."""
    options = arguments()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("The benchmark needs two cores: one for the target, one for the generator.", file=sys.stderr)
        return 1
    facts = machine()
    rivals, faults = install()
    summaries = []
    for case in CASES:
        measured, failed = rounds(case, rivals, options, cores)
        summary = summarise(case, measured)
        summaries.append(summary)
        print(summary.table())
        faults += failed + summary.broken_promises()
    cases = [asdict(summary) for summary in summaries]
    save({"machine": facts, "options": vars(options), "cases": cases, "faults": faults})
    for fault in faults:
        print(f"FAILED {fault}", file=sys.stderr)
    return 1 if faults else 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Requests per CPU-second of load generators, side by side.")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each generator (default 7)")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of one measurement (default 6)")
    return parser.parse_args()


def install() -> tuple[list[Rival], list[str]]:
    """Every rival that can run here, and why the others cannot."""
    rivals, faults = [], []
    for make in RIVALS:
        try:
            rivals.append(make())
        except NotInstallable as error:
            faults.append(f"{make.__name__}: {error}")
    return rivals, faults


def rounds(
    case: Case, rivals: list[Rival], options: argparse.Namespace, cores: list[int]
) -> tuple[list[tuple[Rival, list[Window]]], list[str]]:
    """Measure the rivals in turn, round after round; a failed measurement is a fault and leaves a gap."""
    measured: list[tuple[Rival, list[Window]]] = [(rival, []) for rival in rivals]
    faults = []
    for number in range(1, options.rounds + 1):
        for rival, windows in measured:
            about = f"{case.name}, round {number} of {options.rounds}, {rival.name}"
            try:
                with target(cores[0]) as aim:
                    windows.append(measure(rival, case, aim, cores[-1], options.seconds))
            except Failed as error:
                faults.append(f"{about}: {error}")
            else:
                print(f"{about}: {windows[-1].per_cpu_second:,.0f}", flush=True)
    return measured, faults


def save(result: dict[str, object]) -> None:
    """Write everything to today's file."""
    file = HOUSE / "bench/results" / f"{time.strftime('%Y-%m-%d')}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nWritten to {file.relative_to(HOUSE)}")


if __name__ == "__main__":
    sys.exit(main())
