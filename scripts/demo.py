"""Runs examples/quickstart against a target that it starts and stops itself, and compares their counts.

`make demo` calls this; the exit code is the verdict's.
"""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent
REPORT = HOUSE / "report.json"
# The ports that the examples' manifests name.
PORT, CONTROL_PORT = 18080, 18081


def main() -> int:
    """Start the target, run the example, compare, and return the exit code."""
    target = subprocess.Popen(
        [
            HOUSE / ".cache/bin/aiotest-example-target",
            f"--port={PORT}",
            f"--control-port={CONTROL_PORT}",
            "--while-stdin",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,  # Ctrl-C is for the run: the target must outlive its draining
    )
    # Leaving the block closes the target's standard input, which ends it, and waits for that.
    with target:
        assert target.stdout is not None
        if not target.stdout.readline():
            print(f"The demo needs the ports {PORT} and {CONTROL_PORT} of 127.0.0.1.", file=sys.stderr)
            return 3
        return run_and_compare()


def run_and_compare() -> int:
    """Run the example and say whether the target received what the report says was sent."""
    command = [str(HOUSE / ".venv/bin/aiotest"), "run", "examples/quickstart", "--report-json", str(REPORT)]
    print("$ aiotest run examples/quickstart --report-json report.json", flush=True)
    REPORT.unlink(missing_ok=True)
    run = subprocess.Popen(command, cwd=HOUSE)
    while True:
        try:
            code = run.wait()
            break
        except KeyboardInterrupt:
            continue  # the run got it too: it drains and ends by itself
    if not REPORT.exists():
        return code or 3
    sent = json.loads(REPORT.read_text())["total"]["sent"]
    received = counted()
    print(f"\nSent, as report.json says: {sent}. Received, as the target counted: {received}.")
    if sent != received:
        print("These must be equal: please report this.", file=sys.stderr)
        return code or 1
    return code


def counted() -> int:
    """Ask the target how many requests it has received."""
    with urllib.request.urlopen(f"http://127.0.0.1:{CONTROL_PORT}/count", timeout=10) as reply:
        total = json.load(reply)["total"]
    assert isinstance(total, int)
    return total


if __name__ == "__main__":
    sys.exit(main())
