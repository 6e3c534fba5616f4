"""Whether memory stays what it is: resident memory of every process of a run over so many million requests,
with ten thousand distinct URLs and error texts. `python bench/steady.py --millions 50`.

Fails where a process has grown by more than two per cent since a tenth of the requests had been made.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from users import HOUSE, ask, target, write_load_test

SCENARIO = HOUSE / "bench/steady/aiotestfile.py"
GROWTH = 1.02
"""How much larger a process may become."""
SETTLED = 0.1
"""Share of the requests after which everything that is made once has been made."""
PERIOD = 1.0
"""Seconds between two looks."""


def main(argv: Sequence[str] | None = None) -> int:
    """Make the requests. Returns 1 where a process has grown."""
    parser = argparse.ArgumentParser(description="Memory over many requests.")
    parser.add_argument("--millions", type=float, default=50.0, help="requests to make (default 50)")
    parser.add_argument("--users", type=int, default=50)
    options = parser.parse_args(argv)
    requests = int(options.millions * 1e6)
    with tempfile.TemporaryDirectory() as name, target() as (url, control):
        samples = watch(Path(name), url, control, requests, options.users)
    grown = {role: growth(seen, requests) for role, seen in samples.items()}
    for role, seen in samples.items():
        print(f"{role}, MB by tenths: {' '.join(f'{each / 1024:.1f}' for each in tenths(seen, requests))}")
    for role, (before, most) in grown.items():
        print(f"{role}: {before / 1024:.1f} MB, at most {most / 1024:.1f} MB later: {most / before - 1:+.2%}")
    steady = all(most <= GROWTH * before for before, most in grown.values())
    made = max(seen[-1][0] for seen in samples.values())
    print(f"{made:,} requests: {'steady' if steady else 'FAILED: memory has grown by more than 2 %'}")
    return 0 if steady and grown else 1


def watch(
    folder: Path, url: str, control: str, requests: int, users: int
) -> dict[str, list[tuple[int, int]]]:
    """Requests received and kilobytes of resident memory, by process, until so many have been made."""
    load = {"users": users, "spawnRate": users, "duration": "24h"}
    manifest = write_load_test(folder, SCENARIO, {"constant": load}, runners=1, host=url)
    log = HOUSE / ".cache/bench/steady.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    report = str(folder / "report.json")
    command = [sys.executable, "-m", "aiotest", "run", str(manifest), "--report-json", report]
    command += ["--metrics-address", "127.0.0.1:0"]
    samples: dict[str, list[tuple[int, int]]] = {}
    with log.open("w") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            while (made := ask(control)["total"]) < requests:
                if process.poll() is not None:
                    raise SystemExit(f"the run ended by itself; see {log}")
                for role, memory in memories(process.pid).items():
                    samples.setdefault(role, []).append((made, memory))
                time.sleep(PERIOD)
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
        finally:
            process.kill()
            process.wait()
    sent = json.loads(Path(report).read_text())["total"]["sent"]
    if sent != ask(control)["total"]:
        raise SystemExit(f"{sent} requests sent, {ask(control)['total']} arrived")
    return samples


def memories(parent: int) -> dict[str, int]:
    """Kilobytes of resident memory of a run's children, by what they are."""
    found = {}
    for file in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in map(int, file.read_text().split()):
            try:
                role = Path(f"/proc/{child}/cmdline").read_text().split("\0")[3]
                lines = Path(f"/proc/{child}/status").read_text().splitlines()
            except (OSError, IndexError):
                continue  # it has just begun, or ended
            found[role] = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return found


def growth(seen: list[tuple[int, int]], requests: int) -> tuple[int, int]:
    """Memory once settled, and the most there was later."""
    settled = [memory for made, memory in seen if SETTLED * requests <= made]
    return settled[0], max(settled)


def tenths(seen: list[tuple[int, int]], requests: int) -> list[int]:
    """Memory when each tenth of the requests had been made."""
    marks = [requests * tenth // 10 for tenth in range(1, 10)]
    return [next((memory for made, memory in seen if mark <= made), seen[-1][1]) for mark in marks]


if __name__ == "__main__":
    sys.exit(main())
