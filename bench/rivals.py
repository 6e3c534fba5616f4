"""The load generators that are measured, ours among them: how each is installed and started.

Every one gets the same work from a case's folder; none is tuned beyond its own documentation. To add one,
write a function that returns a `Rival` and put it into `RIVALS`; `NotInstallable` says why it cannot run.
To add a case, add its folder with the scenario files, and a line to `CASES`.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent
LOCUST = "locust==2.47.0"


class NotInstallable(Exception):
    """This rival cannot run on this machine; the text says why."""


@dataclass(frozen=True)
class Case:
    """One kind of work, whose scenario files lie in `bench/NAME/`."""

    name: str
    path: str
    users: int

    def file(self, name: str) -> str:
        """The path of one of the case's scenario files."""
        return str(HOUSE / "bench" / self.name / name)


@dataclass(frozen=True)
class Rival:
    """An installed load generator; `command` makes its arguments from a case, a base URL and seconds."""

    name: str
    version: str
    parses: bool
    command: Callable[[Case, str, int], list[str]]


def wrk() -> Rival:
    """wrk, the distribution's package: the ceiling, in C. It reads replies, but asserts nothing."""
    if shutil.which("wrk") is None:
        raise NotInstallable("wrk is not installed (apt install wrk)")
    banner = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout
    return Rival(
        name="wrk",
        version=banner.split(" ", 2)[1],
        parses=False,
        command=lambda case, url, seconds: [
            "wrk",
            "--threads=1",
            f"--connections={case.users}",
            f"--duration={seconds}s",
            url + case.path,
        ],
    )


def locust() -> Rival:
    """Locust with FastHttpUser, from PyPI, in a virtual environment of its own."""
    python = environment("locust", LOCUST)
    return Rival(
        name="Locust FastHttpUser",
        version=LOCUST.partition("==")[2],
        parses=True,
        command=lambda case, url, seconds: [
            *(python, "-m", "locust", "--locustfile", case.file("locustfile.py"), "--host", url),
            *("--headless", "--only-summary", "--users", str(case.users), "--spawn-rate", str(case.users)),
            *("--run-time", f"{seconds}s", "--stop-timeout", "1"),
        ],
    )


def aiotest() -> Rival:
    """Ours: the wheel built for release, in one process."""
    wheels = sorted((HOUSE / ".cache/wheels-release").glob("*.whl"))
    if not wheels:
        raise NotInstallable("the release wheel is not built (make bench builds it)")
    python = environment("aiotest", str(wheels[-1]), newer_than=wheels[-1])
    return Rival(
        name="aiotest",
        version=wheels[-1].name.split("-")[1],
        parses=True,
        command=lambda case, url, seconds: [
            *(python, "-m", "aiotest", "-f", case.file("aiotestfile.py"), "-H", url),
            *("-u", str(case.users), "-r", str(case.users), "-t", f"{seconds}s", "--prometheus-port", "0"),
        ],
    )


def environment(name: str, requirement: str, newer_than: Path | None = None) -> str:
    """The Python of a virtual environment that has `requirement`; made when absent or too old."""
    folder = HOUSE / ".cache/bench" / name
    made = folder / "ready"
    current = made.exists() and made.read_text() == requirement
    if current and (newer_than is None or newer_than.stat().st_mtime < made.stat().st_mtime):
        return str(folder / "bin/python")
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", requirement]
        subprocess.run(pip, check=True)
    except subprocess.CalledProcessError as error:
        raise NotInstallable(f"failed to install {requirement}: {error}") from error
    made.write_text(requirement)
    return str(folder / "bin/python")


RIVALS: list[Callable[[], Rival]] = [wrk, locust, aiotest]
CASES = [Case(name="get_json", path="/json", users=50)]
