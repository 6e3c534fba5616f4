"""The processes of a run, one by one, as `aiotest run` and pods start them: their command lines, their plan,
and what one can ask a master.
"""

from __future__ import annotations

import json
import re
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from command_line import Command, free_port

TOKEN = "secret"

USERS = """
    from aiotest import AsyncHttpUser, events

    class TestShop(AsyncHttpUser):
        wait_time = 0.02

        async def test_ok(self):
            async with self.session.get("/ok") as resp:
                await resp.read()

        async def on_stop(self):
            print("on_stop", flush=True)

    async def on_start_complete(user_count, runner):
        print("start_complete", type(runner).__name__, user_count, flush=True)

    async def on_worker_report(runner, worker_id, data):
        print("worker_report", worker_id, flush=True)

    events.start_complete += on_start_complete
    events.worker_report += on_worker_report
"""


def constant(users: int, seconds: float) -> dict[str, Any]:
    """A load of so many users, there within a moment."""
    return {"constant": {"users": users, "spawn_rate": 50, "duration": round(seconds * 1_000_000)}}


def plan(folder: Path, token: str = TOKEN, **more: Any) -> Path:
    """A plan file of 4 users for 6 seconds, and the run's token beside it."""
    (folder / "token").write_text(token)
    path = folder / "plan.json"
    spec = {
        "run": {"id": "r1", "name": "shop", "number": 1},
        "load": constant(4, 6),
        "runners": 1,
        "processes_per_runner": 1,
        "aiotestfile": str(folder / "aiotestfile.py"),
    }
    path.write_text(json.dumps(spec | more))
    return path


def master_argv(folder: Path, **more: Any) -> list[object]:
    """A master as on a laptop, with a plan of its own."""
    return [
        *("master", plan(folder, **more), "--token-file", folder / "token", "--ready-file", folder / "ready"),
        *("--control-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"),
    ]


def runner_argv(folder: Path, master: str, *more: object) -> list[object]:
    """The first process of `runner-0`."""
    return [
        *("runner", folder / "plan.json", "--master", master, "--token-file", folder / "token"),
        *("--id", "runner-0", "--process", 0, "--incarnation", 1, *more),
    ]


def pod_argv(folder: Path, master: str, name: str) -> list[object]:
    """The first process of a runner's pod."""
    return [
        *("pod", folder / "plan.json", "--master", master, "--token-file", folder / "token", "--id", name)
    ]


def ask(method: str, address: str, path: str, body: object = None, token: str = TOKEN) -> tuple[int, str]:
    """Speak to a master with the run's token. Returns the status and the text of its answer."""
    request = urllib.request.Request(
        f"http://{address}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return reply.status, reply.read().decode()


def wait_for_json(path: Path, command: Command) -> dict[str, str]:
    """The content of a file that a command writes when it is ready."""
    command.until_so(path.exists, f"{path.name}")
    content: dict[str, str] = json.loads(path.read_text())
    return content


def until(what: str, condition: Callable[[], bool], within: float = 30) -> float:
    """Wait until `condition` holds. Returns the seconds it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < within, f"still not so after {within} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - started


def children(pid: int) -> dict[int, list[str]]:
    """The command lines of the live children of a process."""
    found: dict[int, list[str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            if int(parent) == pid and state != "Z":
                found[int(folder.name)] = (folder / "cmdline").read_text().split("\0")
        except OSError:
            continue
    return found


def result(control: str) -> dict[str, Any]:
    """The report of the master there, awaited; not acknowledged."""
    until("the run has a result", lambda: ask("GET", control, "/v1/result")[0] == 200)
    report: dict[str, Any] = json.loads(ask("GET", control, "/v1/result")[1])
    return report


class PodMaster:
    """A master as in a pod, on ports of its own; it can be killed, and started again."""

    def __init__(self, folder: Path, token: str = TOKEN, control: str | None = None, **more: Any) -> None:
        self.folder, self.token = folder, token
        plan(folder, token, **more)
        (folder / "state").mkdir()
        (folder / "termination").write_text("")
        self.control = control or f"127.0.0.1:{free_port()}"
        self.metrics = f"127.0.0.1:{free_port()}"
        self.command = self._start()

    def _start(self) -> Command:
        folder = self.folder
        return Command(
            *("master", folder / "plan.json", "--token-file", folder / "token"),
            *("--control-address", self.control, "--metrics-address", self.metrics),
            *("--state-dir", folder / "state", "--termination-message", folder / "termination"),
            cwd=folder,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.command.__exit__(kind, error, trace)

    def die(self) -> None:
        """SIGKILL."""
        self.command.signal(signal.SIGKILL)
        self.command.end()
        self.command.__exit__(None, None, None)

    def start_again(self) -> None:
        """As the kubelet does after a crash: the same files, a new process."""
        self.command = self._start()

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """Speak to it with the run's token. Returns the status and the text of its answer."""
        return ask(method, self.control, path, body, self.token)

    def has_result(self) -> bool:
        """Whether the run is over; not so while it is away."""
        with suppress(OSError):
            return self.ask("GET", "/v1/result")[0] == 200
        return False

    def status(self) -> dict[str, Any]:
        """The live figures; empty while it is away."""
        try:
            _, text = self.ask("GET", "/v1/status")
        except OSError:
            return {}
        status: dict[str, Any] = json.loads(text)
        return status

    def users(self) -> int:
        """Live users of the whole run."""
        return int(self.status().get("users", -1))

    def termination(self) -> dict[str, Any]:
        """Its termination message, once it has written one."""
        path = self.folder / "termination"
        self.command.until_so(lambda: path.read_text() != "", "the termination message")
        message: dict[str, Any] = json.loads(path.read_text())
        return message

    def result(self) -> dict[str, Any]:
        """The report, awaited; not acknowledged."""
        until("the run has a result", self.has_result)
        result: dict[str, Any] = json.loads(self.ask("GET", "/v1/result")[1])
        return result

    def sent(self) -> int:
        """Requests sent, as `/metrics` has them."""
        samples = re.findall(r"^aiotest_requests_sent_total\{.*\} (\d+)", self.scrape(), re.MULTILINE)
        return sum(int(sample) for sample in samples)

    def users_by_runner(self) -> Counter[str]:
        """Live users by runner, as `/metrics` has them; none while it is away or does not know."""
        users: Counter[str] = Counter()
        with suppress(OSError):
            nodes = r'^aiotest_workers_user_count\{.*node="([^/"]+)/\d+"\} (\d+)'
            for runner, count in re.findall(nodes, self.scrape(), re.MULTILINE):
                users[runner] += int(count)
        return users

    def scrape(self) -> str:
        """What Prometheus would read."""
        return ask("GET", self.metrics, "/metrics")[1]

    def end(self) -> int:
        """Take the result's reader's part, and Prometheus's: then nothing keeps it. Returns its exit code."""
        self.ask("POST", "/v1/result/acknowledged")
        for _ in range(2):
            # With scrapes that the test has made since the end, the first of these may have been the last.
            with suppress(OSError):
                self.scrape()
        return self.command.end()
