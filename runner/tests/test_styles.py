"""A file in each style that such files are written in, unmodified, over a master and two workers.

The runs go on beside each other while the tests wait for theirs: most of a run's time is waiting.
"""

from __future__ import annotations

import itertools
import json
import socketserver
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from styles_run import STYLES, Run, run_style

BESIDE_EACH_OTHER = 4
SHORT = ("-u", 6, "-r", 20, "-t", "4s")

pytestmark = pytest.mark.timeout(180)


class Store(socketserver.ThreadingTCPServer):
    """The key-value server that a scenario brings its own client for."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Commands)
        self.values: dict[str, str] = {}
        self.commands: Counter[str] = Counter()
        self.lock = threading.Lock()


class _Commands(socketserver.StreamRequestHandler):
    server: Store

    def handle(self) -> None:
        for line in self.rfile:
            word, *rest = line.decode().split()
            with self.server.lock:
                self.server.commands[word] += 1
                match word, rest:
                    case "set", [key, value]:
                        self.server.values[key] = value
                        answer = "+ ok"
                    case "get", [key]:
                        answer = f"+ {self.server.values[key]}"
                    case _:
                        answer = "- unknown command"
            self.wfile.write(f"{answer}\n".encode())


@contextmanager
def store() -> Iterator[Store]:
    with Store() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def accounts(folder: Path) -> Run:
    with sqlite3.connect(folder / "accounts.db") as connection:
        connection.execute("CREATE TABLE accounts (name TEXT, taken INT DEFAULT 0, used INT DEFAULT 0)")
        connection.executemany("INSERT INTO accounts (name) VALUES (?)", [(f"owner-{n}",) for n in range(10)])
    connection.close()
    return run_style("accounts.py", folder / "run", SHORT, ["--accounts", folder / "accounts.db"])


def own_statistics(folder: Path) -> Run:
    own = ["--summary", folder, "--label=blue"]
    return run_style("own_statistics.py", folder / "run", ["-u", 5, "-r", 20, "-t", "4s"], own)


def own_client(folder: Path) -> Run:
    with store() as server:
        host = f"127.0.0.1:{server.server_address[1]}"
        run = run_style("own_client.py", folder / "run", ["-u", 4, "-r", 20, "-t", "3s"], host=host)
    return Run(run.codes, run.outputs, dict(server.commands), [])


RUNS: dict[str, Callable[[Path], Run]] = {
    "login_and_chain": lambda folder: run_style("login_and_chain.py", folder / "run", SHORT),
    "weights_and_waits": lambda folder: run_style(
        "weights_and_waits.py", folder / "run", ["-u", 12, "-r", 50, "-t", "4s"]
    ),
    "flash_sale": lambda folder: run_style("flash_sale.py", folder / "run", ["-u", 9, "-r", 9, "-t", "4s"]),
    "accounts": accounts,
    "own_statistics": own_statistics,
    "own_client": own_client,
    "shape_stepped": lambda folder: run_style("shape_stepped.py", folder / "run"),
    "shape_wave": lambda folder: run_style("shape_wave.py", folder / "run"),
    "shape_peak": lambda folder: run_style("shape_peak.py", folder / "run"),
    "shape_random": lambda folder: run_style("shape_random.py", folder / "run"),
    "shape_spike": lambda folder: run_style("shape_spike.py", folder / "run"),
}

Started = dict[str, tuple[Path, Future[Run]]]
Ran = Callable[[str], tuple[Path, Run]]


@pytest.fixture(scope="module")
def started(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """The runs of the tests that were asked for, under way."""
    asked = {item.name for item in request.session.items}
    with ThreadPoolExecutor(BESIDE_EACH_OTHER) as pool:
        runs: Started = {}
        for name, start in RUNS.items():
            if f"test_{name}" in asked:
                folder = tmp_path_factory.mktemp(name)
                runs[name] = (folder, pool.submit(start, folder))
        yield runs
        for _, run in runs.values():
            run.cancel()


@pytest.fixture
def ran(started: Started) -> Ran:
    """Waits for a run, and holds what holds for every one."""

    def wait(name: str) -> tuple[Path, Run]:
        folder, future = started[name]
        run = future.result()
        print(run.text)  # shown by pytest where the test fails
        return folder, run

    return wait


def went_well(run: Run) -> None:
    """No process failed, and the report has what the target counted."""
    assert run.codes == [0, 0, 0]
    assert run.sent == run.counts["total"] > 0
    assert all(row.failed == 0 for row in run.rows.values())


def test_login_and_chain(ran: Ran) -> None:
    _, run = ran("login_and_chain")
    went_well(run)
    assert sorted(run.rows) == ["GET /item/[n]", "GET /profile", "GET logout", "POST /login", "POST order"]
    assert run.rows["POST /login"].requests == run.rows["GET logout"].requests == 6
    assert run.rows["GET /item/[n]"].requests == run.counts["paths"]["/item/{n}"] > 40
    assert run.rows["POST order"].requests == run.counts["paths"]["/echo"]
    assert run.rows["GET /profile"].requests == run.counts["paths"]["/profile"]


def test_weights_and_waits(ran: Ran) -> None:
    _, run = ran("weights_and_waits")
    went_well(run)
    rows = {name.removeprefix("GET "): row.requests for name, row in run.rows.items()}
    assert (rows["reader is here"], rows["buyer is here"], rows["admin is here"]) == (6, 4, 2)
    assert "TestNobody has weight 0" in run.text
    assert abs(rows["look"] - rows["pay"]) <= 4, "each buyer does one after the other"
    # Users wait 0.1 s on average between two jobs, or begin one every 0.2 s, for 4 s from the first on.
    assert 6 * 20 < rows["read"] < 6 * 45
    assert 4 * 15 < rows["look"] + rows["pay"] < 4 * 55
    assert 2 * 12 <= rows["watch"] <= 2 * 22


def test_flash_sale(ran: Ran) -> None:
    _, run = ran("flash_sale")
    went_well(run)
    assert run.rows["POST /login"].requests == run.rows["POST buy"].requests == 9
    waits = [float(at) for each in run.told(r"waits since ([\d.]+)") for at in each]
    buys = [[float(at) for at in each] for each in run.told(r"buys at ([\d.]+)")]
    assert sorted(map(len, buys)) == [4, 5]
    all_buys = sorted(at for each in buys for at in each)
    assert max(waits) < all_buys[0], "nobody buys before the last one has logged in"
    assert all_buys[-1] - all_buys[0] < 0.5, "on both workers at the same moment"


def test_accounts(ran: Ran) -> None:
    folder, run = ran("accounts")
    went_well(run)
    taken = run.told(r"account (owner-\d)")
    assert [len(each) for each in taken] == [3, 3]
    assert len({name for each in taken for name in each}) == 6, "no account twice"
    with sqlite3.connect(folder / "accounts.db") as connection:
        rows = connection.execute("SELECT taken, used, count(*) FROM accounts GROUP BY 1, 2").fetchall()
    connection.close()
    assert rows == [(0, 0, 4), (0, 1, 6)], "each is given back once"
    assert run.rows["POST /login"].requests == 6


def test_own_statistics(ran: Ran) -> None:
    folder, run = ran("own_statistics")
    assert run.codes == [1, 0, 0], "it is the master's to tell of failures"
    summaries: list[dict[str, Any]] = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    by_runner = Counter(summary["runner"] for summary in summaries)
    assert by_runner == {"WorkerRunner": 2, "MasterRunner": 1}
    assert {summary["label"] for summary in summaries} == {"blue"}
    workers = [summary for summary in summaries if summary["runner"] == "WorkerRunner"]
    (master,) = (summary for summary in summaries if summary["runner"] == "MasterRunner")
    counted = sum((Counter(worker["requests"]) for worker in workers), Counter[str]())
    assert counted == {name: row.requests for name, row in run.rows.items()}
    assert counted.total() == run.sent == run.counts["total"]
    failed = sum((Counter(worker["failures"]) for worker in workers), Counter[str]())
    assert list(failed) == ["500 Internal Server Error"]
    assert failed.total() == run.rows["GET maybe"].failed > 0
    assert sum((Counter(worker["deaths"]) for worker in workers), Counter[str]()) == {"KeyError: 'token'": 1}
    assert all(worker["slowest_ms"] > 0 for worker in workers)
    assert len(master["reports"]) == 2
    assert min(master["reports"].values()) >= 3, "about one a second of each worker"
    assert master["requests"] == {}


def test_own_client(ran: Ran) -> None:
    _, run = ran("own_client")
    assert run.codes[0] == 1, "the server refuses a command"
    rows = {name.removeprefix("KV "): (row.requests, row.failed) for name, row in run.rows.items()}
    told = {name: requests for name, (requests, _) in rows.items()}
    assert run.sent == sum(told.values()) > 50
    assert {name: failed for name, (_, failed) in rows.items()} == {"drop": told["drop"], "get": 0, "set": 0}
    # Nobody but its author knows of a command under way: one of each user may be cut at the stop, untold.
    cut = {name: run.counts[name] - told[name] for name in told}
    assert min(cut.values()) >= 0
    assert sum(cut.values()) <= 4
    assert "ValueError: - unknown command" in run.outputs[0]


# === shapes: a user is a connection to the target ===


def plateaus(run: Run, least: float = 0.7) -> list[int]:
    """How many users there were, one number after the other, each for `least` seconds or longer."""
    went_well(run)
    found: list[int] = []
    for users, looks in itertools.groupby(run.curve, key=lambda look: look[1]):
        times = [at for at, _ in looks]
        if users and times[-1] - times[0] >= least and found[-1:] != [users]:
            found.append(users)
    return found


def test_shape_stepped(ran: Ran) -> None:
    _, run = ran("shape_stepped")
    assert "did not answer" not in run.text, "also where both workers are there at once"
    assert plateaus(run) == [2, 4, 6, 8]
    assert run.counts["connections"]["accepted"] == 8, "nobody came twice"


def test_shape_wave(ran: Ran) -> None:
    _, run = ran("shape_wave")
    tops = plateaus(run, 0.4)
    # As it is asked once a second, it may miss the very top and the very bottom.
    first = next(index for index, users in enumerate(tops) if users >= 7)
    trough = next(index for index, users in enumerate(tops) if index > first and users <= 3)
    assert max(tops[trough:]) >= 7
    assert max(tops) <= 8


def test_shape_peak(ran: Ran) -> None:
    _, run = ran("shape_peak")
    users = plateaus(run, 0.4)
    top = users.index(max(users))
    assert users[top] in (7, 8)
    assert users[: top + 1] == sorted(users[: top + 1])
    assert users[top:] == sorted(users[top:], reverse=True)
    assert users[0] <= 3
    assert users[-1] <= 5, "the end of a test comes at once, a change of its load 1.5 s ahead"


def test_shape_random(ran: Ran) -> None:
    _, run = ran("shape_random")
    users = plateaus(run)
    assert users
    assert min(users) >= 2
    assert max(users) <= 6


def test_shape_spike(ran: Ran) -> None:
    _, run = ran("shape_spike")
    assert plateaus(run) == [2, 8, 2]
    high = [at for at, users in run.curve if users == 8]
    assert high[-1] - high[0] == pytest.approx(3, abs=1)


def test_every_style_has_a_test() -> None:
    assert {path.stem for path in STYLES.glob("*.py")} == set(RUNS)
    source = Path(__file__).read_text()
    assert [name for name in RUNS if f"def test_{name}(" not in source] == []
