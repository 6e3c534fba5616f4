"""Side by side, in one run: requests per CPU-second of each load generator. `make bench` calls this.

Contestants take turns, round after round. Prints a table of medians for each case, where our own CPU goes,
and what the other programs of this folder show; writes everything to `bench/results/DATE.json`; and fails if
a rival could not be measured or a promise is not met. README.md says how to read it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import case_names
import shares
from cases import CASES, OURS, PROFILED, Case
from install import HOUSE, NotInstallable, environment, newest_python
from measure import Failed, Window, measure
from rivals import RIVALS, Rival
from summary import Summary, summarise
from targets import target

# Programs that judge by themselves: each prints what it finds, writes it as JSON where `--json` says, and
# fails where a promise is broken. The name is also that of the program.
PROGRAMS = ("users",)


def main() -> int:
    """Measure what is asked for and report."""
    options = arguments()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("The benchmark needs two cores: one for the target, one for the generator.", file=sys.stderr)
        return 1
    chosen = [case for case in CASES if case.name in options.cases]
    rivals, faults = install(chosen)
    facts = machine()
    print(", ".join(f"{name} {value}" for name, value in facts.items()), flush=True)
    found: dict[str, Any] = {"machine": facts, "options": vars(options), "cases": {}, "programs": {}}
    for case in chosen:
        rounds, failed = measured(case, rivals, options, cores)
        summary = summarise(case, rivals, rounds)
        print(summary.table(), flush=True)
        faults += failed + summary.broken_promises()
        found["cases"][case.name] = as_json(summary, rounds)
        save({**found, "faults": faults})
    if "shares" in options.cases and OURS in rivals:
        found["shares"], failed = profiles(rivals[OURS], cores)
        faults += failed
    for name in PROGRAMS:
        if name in options.cases:
            found["programs"][name], failed = program(name)
            faults += failed
    print(f"\nWritten to {save({**found, 'faults': faults})}")
    for fault in faults:
        print(f"FAILED {fault}", file=sys.stderr)
    return 1 if faults else 0


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; without a case it asks for all."""
    names = [*(case.name for case in CASES), "shares", *PROGRAMS]
    parser = argparse.ArgumentParser(description="Requests per CPU-second of load generators, side by side.")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each contestant (default 7)")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of one measurement (default 6)")
    return case_names.parse(parser, names, argv)


def install(cases: list[Case]) -> tuple[dict[str, Rival], list[str]]:
    """Every rival of these cases that can run here, and why the others cannot; ours in any case."""
    wanted = {OURS} | {contestant.rival for case in cases for contestant in case.contestants}
    rivals, faults = {}, []
    for name, make in RIVALS.items():
        try:
            if name in wanted:
                rivals[name] = make()
        except NotInstallable as error:
            faults.append(f"{name} could not be installed: {error}")
    return rivals, faults


def measured(
    case: Case, rivals: dict[str, Rival], options: argparse.Namespace, cores: list[int]
) -> tuple[dict[str, list[Window | None]], list[str]]:
    """Measure the contestants in turn, round after round; a failure is a fault and leaves a gap."""
    present = [contestant for contestant in case.contestants if contestant.rival in rivals]
    rounds: dict[str, list[Window | None]] = {contestant.label: [] for contestant in present}
    faults = []
    wait = partial(pause, options.seconds)
    for number in range(1, options.rounds + 1):
        for contestant in present:
            about = f"{case.name}, round {number} of {options.rounds}, {contestant.label}"
            window = None
            try:
                with target(contestant.work, cores[0]) as aim:
                    rival = rivals[contestant.rival]
                    window = measure(contestant, rival, aim, cores[-1], wait, options.seconds)
                print(f"{about}: {window.per_cpu_second:,.0f}", flush=True)
            except (Failed, OSError) as error:  # the latter from a target or a generator that is gone
                faults.append(f"{about}: {error}")
                print(f"{about}: {error}", flush=True)
            rounds[contestant.label].append(window)
    return rounds, faults


def pause(seconds: float, _pid: int) -> None:
    """Let a generator work undisturbed."""
    time.sleep(seconds)


def profiles(ours: Rival, cores: list[int]) -> tuple[dict[str, Any], list[str]]:
    """Where our CPU goes, for each work that is profiled."""
    found, faults = {}, []
    for contestant in PROFILED:
        try:
            profile = shares.of(contestant, ours, cores)
            print(profile.table(contestant.label), flush=True)
            found[contestant.label] = asdict(profile)
        except (Failed, shares.NoProfile, OSError) as error:
            faults.append(f"shares of {contestant.label}: {error}")
    return found, faults


def program(name: str) -> tuple[Any, list[str]]:
    """Run one of the other programs here by the release wheel's Python."""
    wheel = sorted((HOUSE / ".cache/wheels-release").glob("*.whl"))[-1]
    python = environment("aiotest", str(wheel), newest_python(), newer_than=wheel)
    answer = HOUSE / ".cache/bench" / f"{name}.json"
    answer.unlink(missing_ok=True)
    print(f"\n{name}:", flush=True)
    done = subprocess.run([python, HOUSE / "bench" / f"{name}.py", "--json", answer], check=False)
    faults = [f"{name}: see above"] if done.returncode else []
    return json.loads(answer.read_text()) if answer.exists() else None, faults


def as_json(summary: Summary, rounds: dict[str, list[Window | None]]) -> dict[str, Any]:
    """A case with every window."""
    windows = {
        label: [asdict(window) if window else None for window in taken] for label, taken in rounds.items()
    }
    return {**asdict(summary), "windows": windows}


def machine() -> dict[str, object]:
    """What the numbers depend on."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "load_before": os.getloadavg(),
    }


def save(result: dict[str, object]) -> str:
    """Write all that there is so far to today's file; returns its path."""
    file = HOUSE / "bench/results" / f"{time.strftime('%Y-%m-%d')}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n")
    return str(file.relative_to(HOUSE))


if __name__ == "__main__":
    sys.exit(main())
