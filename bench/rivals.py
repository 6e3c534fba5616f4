"""The load generators that are measured, ours among them: how each is installed, started and found to have
failed.

Every one gets the same work from a case's folder, in one process; none is tuned beyond its own
documentation. To add one, write a function that returns a `Rival` and put it into `RIVALS`; `NotInstallable`
says why it cannot run.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from cases import AIOTEST_1, K6, LOCUST, OURS, WRK, Work
from install import HOUSE, NotInstallable, environment, k6, newest_python

LOCUST_PIN = "locust==2.47.0"
AIOTEST_1_PIN = "aiotest==1.2.0"
AIOTEST_1_PYTHON = "3.12"


@dataclass(frozen=True)
class Rival:
    """An installed load generator. `command` makes its arguments from a work, a base URL and seconds;
    `complaint` is found in what it printed if a request of it failed or an assertion didn't hold.
    """

    name: str
    version: str
    complaint: re.Pattern[str]
    command: Callable[[Work, str, int], list[str]]
    shares_connections: bool = False
    """Its users need not open one each."""


def file(work: Work, name: str) -> str:
    """The path of one of a work's scenario files."""
    return str(HOUSE / "bench" / work.folder / name)


def wrk() -> Rival:
    """wrk, the distribution's package: the ceiling, in C. It reads replies, but asserts nothing, and knows no
    cookies: it is given the one that the others keep.
    """
    if shutil.which("wrk") is None:
        raise NotInstallable("wrk is not installed (apt install wrk)")
    banner = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout
    return Rival(
        name=WRK,
        version=banner.split(" ", 2)[1],
        complaint=re.compile(r"Socket errors|Non-2xx"),
        command=lambda work, url, seconds: [
            *("wrk", "--threads=1", f"--connections={work.users}", f"--duration={seconds}s"),
            *("--header", "Cookie: visitor=known", url + work.path),
        ],
    )


def grafana_k6() -> Rival:
    """k6, whose scenarios are JavaScript that Go interprets."""
    program = str(k6())
    version = subprocess.check_output([program, "version"], text=True).split(" ")[1]
    return Rival(
        name=K6,
        version=version,
        # It now and then opens a second connection for a user: less than one check in a hundred may fail.
        complaint=re.compile(r"(checks_failed|http_req_failed)\.*: (?!0\.)"),
        command=lambda work, url, seconds: [
            *(program, "run", "--quiet", "--no-color", "--no-usage-report", "--address", ""),
            *("--vus", str(work.users), "--duration", f"{seconds}s", "--env", f"BENCH_URL={url}"),
            file(work, "k6.js"),
        ],
    )


def locust() -> Rival:
    """Locust with FastHttpUser, from PyPI, in a virtual environment of its own."""
    python = environment("locust", LOCUST_PIN, newest_python())
    return Rival(
        name=LOCUST,
        version=f"{LOCUST_PIN.partition('==')[2]} on {newest_python()}",
        complaint=re.compile(r"Error report|Traceback"),
        command=lambda work, url, seconds: [
            *(python, "-m", "locust", "--locustfile", file(work, "locustfile.py"), "--host", url),
            *("--headless", "--only-summary", "--users", str(work.users), "--spawn-rate", str(work.users)),
            *("--run-time", f"{seconds}s", "--stop-timeout", "1"),
        ],
    )


def aiotest_1() -> Rival:
    """Aiotest 1.x, from PyPI: one local process, which needs no Redis."""
    python = environment("aiotest-1", AIOTEST_1_PIN, AIOTEST_1_PYTHON)
    return Rival(
        name=AIOTEST_1,
        version=f"{AIOTEST_1_PIN.partition('==')[2]} on {AIOTEST_1_PYTHON}",
        complaint=re.compile(r"ERROR|任务中断言失败|Traceback"),
        shares_connections=True,
        command=lambda work, url, seconds: [
            *("env", f"BENCH_USERS={work.users}", f"BENCH_URL={url}", python, "-m", "aiotest"),
            *("-f", file(work, "aiotest1file.py"), "-L", "WARNING", "--prometheus-port", "0"),
        ],
    )


def aiotest() -> Rival:
    """Ours: the wheel built for release, in one process."""
    wheels = sorted((HOUSE / ".cache/wheels-release").glob("*.whl"))
    if not wheels:
        raise NotInstallable("the release wheel is not built (make bench builds it)")
    python = environment("aiotest", str(wheels[-1]), newest_python(), newer_than=wheels[-1])
    return Rival(
        name=OURS,
        version=f"{wheels[-1].name.split('-')[1]} on {newest_python()}",
        complaint=re.compile(r"^failures$|Traceback|ERROR", re.MULTILINE),
        command=lambda work, url, seconds: [
            *("env", f"BENCH_NAMES={work.names}", python, "-m", "aiotest"),
            *("-f", file(work, "aiotestfile.py"), "-H", url, "--prometheus-port", "0"),
            *("-u", str(work.users), "-r", str(work.users), "-t", f"{seconds}s"),
        ],
    )


RIVALS: dict[str, Callable[[], Rival]] = {
    WRK: wrk,
    K6: grafana_k6,
    LOCUST: locust,
    AIOTEST_1: aiotest_1,
    OURS: aiotest,
}
